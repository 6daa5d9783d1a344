//! The one certificate of all proxies, and the client's side of TLS.

use std::sync::{Arc, Mutex};

use hotcore::{
    certs::{
        schedule::Origin,
        store::{Certificate, Store},
    },
    domain::Domain,
};
use rustls::{
    ClientConfig, DigitallySignedStruct, NamedGroup, SignatureScheme,
    client::{
        ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs::{self, cipher_suite::TLS13_AES_128_GCM_SHA256, kx_group::X25519},
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use crate::{TLS_HOST, load::Session};

/// A certificate of ECDSA P-256 and its key, as PEM: certificate, key.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed([TLS_HOST.to_owned()]).unwrap();
        Self { certificate: made.cert.pem(), key: made.key_pair.serialize_pem() }
    }

    /// Puts it where hotcore looks for certificates that a person has given it.
    pub(crate) fn install(&self, state: &std::path::Path) {
        let pem = [self.key.as_bytes(), self.certificate.as_bytes()].concat();
        let certificate = Certificate::parse(&Domain::parse(TLS_HOST).unwrap(), Origin::Own, &pem).unwrap();
        let folder = state.join("certificates").join("own");
        std::fs::create_dir_all(&folder).unwrap();
        Store::open(&folder).unwrap().save(&certificate).unwrap();
    }
}

/// A client that leaves the servers no choice, and itself no work that is not theirs too.
pub(crate) fn client(is_http2: bool, session: Session) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting))
        .with_no_client_auth();
    config.alpn_protocols = vec![if is_http2 { b"h2".to_vec() } else { b"http/1.1".to_vec() }];
    config.resumption = match session {
        Session::Resumed => Resumption::store(Arc::new(Purse::default())),
        Session::Kept | Session::Full => Resumption::disabled(),
    };
    Arc::new(config)
}

/// All tickets, the newest first; the library's own store keeps eight, and loses some when many come before they are used.
#[derive(Debug, Default)]
struct Purse(Mutex<Vec<Tls13ClientSessionValue>>);

impl ClientSessionStore for Purse {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.0.lock().unwrap().push(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.lock().unwrap().pop()
    }
}

/// Believes everything: what is measured is the other side.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
