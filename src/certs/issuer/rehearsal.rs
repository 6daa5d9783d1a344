//! Our own look at the answer to a challenge, as the CA will look, but over loopback: a mistake on this side must not cost one
//! of the few failures that a CA allows.
//!
//! Never here: a look at the outside address of a name. Behind a router that cannot be reached from within.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature_with_raw_key},
        pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
        version::TLS13,
    },
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{domain::Domain, limits::REHEARSAL_BYTES_MAX};

use super::challenge::Answer;

/// Whether `front` gives this answer; the error says what it gives instead.
pub(super) async fn look(
    front: SocketAddr,
    domain: &Domain,
    answer: &Answer,
    patience: Duration,
) -> Result<(), String> {
    let looking: Pin<Box<dyn Future<Output = Result<(), String>> + '_>> = match answer {
        Answer::Http { token, key_authorization } => Box::pin(http(front, domain, token, key_authorization)),
        Answer::Tls { certificate } => {
            let certificate = certificate.end_entity_cert().map_err(|cause| cause.to_string())?;
            Box::pin(tls(front, domain, certificate))
        }
    };
    timeout(patience, looking).await.unwrap_or_else(|_| Err(format!("{front} gave no answer within {patience:?}")))
}

async fn http(front: SocketAddr, domain: &Domain, token: &str, wanted: &str) -> Result<(), String> {
    let broken = |cause: std::io::Error| format!("{front}: {cause}");
    let mut stream = TcpStream::connect(front).await.map_err(broken)?;
    let request = format!(
        "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nHost: {domain}\r\nUser-Agent: hotcore\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut reply = Vec::new();
    let limit = u64::try_from(REHEARSAL_BYTES_MAX).unwrap_or(u64::MAX);
    stream.take(limit).read_to_end(&mut reply).await.map_err(broken)?;
    let reply = String::from_utf8_lossy(&reply);
    let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
    let status = head.split(' ').nth(1).unwrap_or("no status");
    match (status, body.trim_end() == wanted) {
        ("200", true) => Ok(()),
        ("200", false) => Err(format!("{front} gives another text for {domain}")),
        _ => Err(format!("{front} answers with {} for {domain}", status.chars().take(16).collect::<String>())),
    }
}

async fn tls(front: SocketAddr, domain: &Domain, wanted: &CertificateDer<'_>) -> Result<(), String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(Exactly { certificate: wanted.clone().into_owned(), provider: Arc::clone(&provider) });
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(|cause| cause.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![rustls_acme::acme::ACME_TLS_ALPN_NAME.to_vec()];
    let server = ServerName::try_from(domain.as_str().to_owned()).map_err(|cause| cause.to_string())?;
    let broken = |cause: std::io::Error| format!("{front} with {domain}: {cause}");
    let stream = TcpStream::connect(front).await.map_err(broken)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(server, stream).await.map_err(broken)?;
    match stream.get_ref().1.alpn_protocol() {
        Some(rustls_acme::acme::ACME_TLS_ALPN_NAME) => Ok(()),
        _ => Err(format!("{front} does not speak acme-tls/1 for {domain}")),
    }
}

/// Trusts one certificate: the very one that was put in place.
#[derive(Debug)]
struct Exactly {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Exactly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match *end_entity == self.certificate {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(rustls::Error::General("another certificate than that of the challenge".to_owned())),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 was not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // By the key alone: the usual way refuses a certificate with a critical extension that it does not know, and RFC 8737,
        // 3 demands one.
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let key = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature_with_raw_key(message, &key, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
