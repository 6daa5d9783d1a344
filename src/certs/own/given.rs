//! Key and certificates as a person gives them, judged: each fault by its name.

use std::sync::Arc;

use rustls::{
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{
    asn1_rs::{Any, Tag},
    extensions::GeneralName,
    prelude::*,
};

use super::{
    super::{
        schedule::Origin,
        store::{Certificate, CertificateError},
    },
    Fault, Form,
};
use crate::{domain::Domain, limits};

/// Names of a certificate that are shown.
const NAMES_SHOWN_MAX: usize = 8;

/// A certificate that can serve.
#[derive(Debug)]
pub struct Given {
    /// It, with its key.
    pub certificate: Certificate,
    /// What is not as it should be, and yet can serve.
    pub warnings: Vec<Warning>,
}

/// See [`Given::warnings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// It vouches for itself: browsers trust it only where a person told them to.
    SelfSigned,
    /// The certificates that lead from it to a root are missing.
    NoChain,
    /// The certificates behind it do not each vouch for the one before.
    BrokenChain,
    /// It says that it is not for servers.
    NotForServers,
}

impl Warning {
    /// What it means for those who come to the site.
    pub fn text(self) -> &'static str {
        match self {
            Self::SelfSigned => "it vouches for itself: browsers warn, unless they were told to trust it",
            Self::NoChain => "the certificates that lead to a root are missing: many programs will not trust it",
            Self::BrokenChain => "its chain is not in order: many programs will not trust it",
            Self::NotForServers => "it is made for another use than servers: browsers will not take it",
        }
    }
}

impl Given {
    /// Reads PEM: the certificate of `domain` first, those that lead to a root behind it, and its key, before, behind or in a
    /// file of its own. Other names may be in it beside, and `*.`. `now` is in seconds since 1970.
    pub fn read(domain: &Domain, chain: &[u8], key: Option<&[u8]>, now: u64) -> Result<Self, Fault> {
        for file in [Some(chain), key].into_iter().flatten() {
            look(file)?;
        }
        // A line break between them; the key of a file of its own comes first.
        let pem = key.map_or_else(|| chain.to_vec(), |key| [key, b"\n", chain].concat());
        if pem.len() > limits::CERTIFICATE_FILE_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        let key = the_key(&pem)?;
        let chain = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().map_err(|_| Fault::Damaged)?;
        if chain.is_empty() {
            let is_request = holds(&pem, "CERTIFICATE REQUEST-----");
            return Err(if is_request { Fault::Request } else { Fault::NoCertificate });
        }
        if chain.len() > limits::CERTIFICATE_CHAIN_MAX {
            return Err(Fault::TooManyCertificates);
        }
        let mut parsed = Vec::new();
        for certificate in &chain {
            parsed.push(X509Certificate::from_der(certificate).map_err(|_| Fault::Damaged)?.1);
        }
        match chain.iter().position(|certificate| is_pair(certificate, &key)) {
            Some(0) => {}
            Some(place) => return Err(Fault::NotFirst(place + 1)),
            None => return Err(Fault::OtherKey),
        }
        let leaf = parsed.first().ok_or(Fault::NoCertificate)?;
        let certificate = Certificate::parse(domain, Origin::Own, &pem).map_err(|error| match error {
            CertificateError::OtherName => Fault::OtherNames(names(leaf)),
            CertificateError::OtherKey => Fault::OtherKey,
            CertificateError::TooLarge => Fault::TooLarge,
            CertificateError::NoKey => Fault::NoKey,
            _ => Fault::Damaged,
        })?;
        if certificate.not_after <= now {
            return Err(Fault::Ended(certificate.not_after));
        }
        if certificate.not_before > now.saturating_add(limits::CERTIFICATE_EARLY.as_secs()) {
            return Err(Fault::NotYet(certificate.not_before));
        }
        Ok(Self { certificate, warnings: warnings(leaf, &parsed) })
    }
}

/// The faults that a file shows by itself, whatever is beside it.
pub fn look(file: &[u8]) -> Result<(), Fault> {
    if file.len() > limits::CERTIFICATE_FILE_BYTES_MAX {
        return Err(Fault::TooLarge);
    }
    if file.trim_ascii().is_empty() {
        return Err(Fault::Empty);
    }
    if holds(file, "-----BEGIN PKCS7-----") {
        return Err(Fault::OtherForm(Form::Pkcs7));
    }
    if holds(file, "-----BEGIN ") {
        return Ok(());
    }
    Err(form(file).map_or(Fault::NotPem, Fault::OtherForm))
}

/// What this is as DER (X.690): each of them is a sequence, and begins with another thing.
fn form(file: &[u8]) -> Option<Form> {
    let (_, outer) = Any::from_der(file).ok()?;
    outer.tag().assert_eq(Tag::Sequence).ok()?;
    let (behind, first) = Any::from_der(outer.data).ok()?;
    let second = Any::from_der(behind).ok().map(|(_, second)| second.tag());
    match first.tag() {
        // RFC 5652, 3: the kind of the content.
        Tag::Oid => Some(Form::Pkcs7),
        // RFC 5280, 4.1: what is signed.
        Tag::Sequence => Some(Form::Certificate),
        // RFC 7292, 4: version 3, then a sequence. RFC 5958, 2: 0 or 1, then one; RFC 8017 and RFC 5915: other things.
        Tag::Integer if first.data == [3] && second == Some(Tag::Sequence) => Some(Form::Pkcs12),
        Tag::Integer => Some(Form::Key),
        _ => None,
    }
}

fn the_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    // RFC 7468, 11; and the older way of RFC 1421, 4.6.1.1.
    if holds(pem, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(pem, "Proc-Type: 4,ENCRYPTED") {
        return Err(Fault::EncryptedKey);
    }
    let keys = PrivateKeyDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| Fault::Damaged)?;
    let mut keys = keys.into_iter();
    let key = keys.next().ok_or(Fault::NoKey)?;
    if keys.next().is_some() {
        return Err(Fault::SeveralKeys);
    }
    provider().key_provider.load_private_key(key.clone_key()).map_err(|_| Fault::UselessKey)?;
    Ok(key)
}

fn is_pair(certificate: &CertificateDer<'static>, key: &PrivateKeyDer<'static>) -> bool {
    CertifiedKey::from_der(vec![certificate.clone()], key.clone_key(), &provider()).is_ok()
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let mut names: Vec<_> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .collect();
    let more = names.len().saturating_sub(NAMES_SHOWN_MAX);
    names.truncate(NAMES_SHOWN_MAX);
    if more > 0 {
        names.push(format!("and {more} more"));
    }
    names
}

fn warnings(leaf: &X509Certificate<'_>, chain: &[X509Certificate<'_>]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let vouches = |pair: &[X509Certificate<'_>]| match pair {
        [one, next] => one.issuer().as_raw() == next.subject().as_raw(),
        _ => true,
    };
    if leaf.issuer().as_raw() == leaf.subject().as_raw() {
        warnings.push(Warning::SelfSigned);
    } else if chain.len() == 1 {
        warnings.push(Warning::NoChain);
    } else if !chain.windows(2).all(vouches) {
        warnings.push(Warning::BrokenChain);
    }
    if let Ok(Some(usage)) = leaf.extended_key_usage()
        && !usage.value.server_auth
        && !usage.value.any
    {
        warnings.push(Warning::NotForServers);
    }
    warnings
}

fn holds(text: &[u8], words: &str) -> bool {
    memchr::memmem::find(text, words.as_bytes()).is_some()
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
