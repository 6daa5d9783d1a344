//! A certificate with its key and chain, checked: what cannot be shown to be right is never served.

use std::{error, fmt, sync::Arc};

use rustls::{
    client::verify_server_name,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use x509_parser::{extensions::GeneralName, prelude::*};

use crate::{certs::schedule::Origin, domain::Domain, limits};

/// A key that fits its certificate, which covers its name. Times are seconds since 1970.
#[derive(Clone)]
pub struct Certificate {
    /// Whose it is.
    pub domain: Domain,
    /// Where it comes from.
    pub origin: Origin,
    /// For the handshake.
    pub key: Arc<CertifiedKey>,
    /// Valid from.
    pub not_before: u64,
    /// Valid until. It may have ended: an old certificate is better than none (B171).
    pub not_after: u64,
    /// Key and chain.
    pub(super) pem: Arc<[u8]>,
}

/// A certificate as it serves, without its file. Times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct Kept {
    /// For the handshake.
    pub key: Arc<CertifiedKey>,
    /// Valid from.
    pub not_before: u64,
    /// Valid until.
    pub not_after: u64,
}

impl From<&Certificate> for Kept {
    fn from(certificate: &Certificate) -> Self {
        let Certificate { not_before, not_after, .. } = *certificate;
        Self { key: Arc::clone(&certificate.key), not_before, not_after }
    }
}

impl Certificate {
    /// Reads key and chain, in any order: one key, at least one certificate, the first of which has that key and covers
    /// `domain` (B172). Its dates are read and not judged.
    pub fn parse(domain: &Domain, origin: Origin, pem: &[u8]) -> Result<Self, CertificateError> {
        if pem.len() > limits::CERTIFICATE_FILE_BYTES_MAX {
            return Err(CertificateError::TooLarge);
        }
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|_| CertificateError::NoKey)?;
        let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|_| CertificateError::NoCertificate)?;
        if chain.len() > limits::CERTIFICATE_CHAIN_MAX {
            return Err(CertificateError::TooLarge);
        }
        let leaf = chain.first().ok_or(CertificateError::NoCertificate)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::NoCertificate)?;
        let [not_before, not_after] = [parsed.validity().not_before, parsed.validity().not_after]
            .map(|time| u64::try_from(time.timestamp()).unwrap_or(0));
        let name = ServerName::try_from(domain.as_str()).map_err(|_| CertificateError::OtherName)?;
        ParsedCertificate::try_from(leaf)
            .and_then(|leaf| verify_server_name(&leaf, &name))
            .map_err(|_| CertificateError::OtherName)?;
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|_| CertificateError::OtherKey)?;
        Ok(Self { domain: domain.clone(), origin, key: Arc::new(key), not_before, not_after, pem: pem.into() })
    }

    /// What a certificate must be besides when the CA has just given it: for this name alone, valid now, with its chain.
    pub fn check_fresh(&self, now: u64) -> Result<(), CertificateError> {
        let leaf = self.key.cert.first().ok_or(CertificateError::NoCertificate)?;
        let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::NoCertificate)?;
        let names = leaf.subject_alternative_name().ok().flatten().map(|names| &names.value.general_names);
        let is_alone = names.is_some_and(|names| {
            matches!(names.as_slice(), [GeneralName::DNSName(name)] if name.eq_ignore_ascii_case(self.domain.as_str()))
        });
        if !is_alone {
            return Err(CertificateError::OtherName);
        }
        if self.not_before > now.saturating_add(limits::CERTIFICATE_EARLY.as_secs()) || self.not_after <= now {
            return Err(CertificateError::NotValidNow);
        }
        if self.key.cert.len() < 2 {
            return Err(CertificateError::NoChain);
        }
        Ok(())
    }
}

/// Without the key (B218).
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Certificate");
        shown.field("domain", &self.domain).field("origin", &self.origin).field("not_after", &self.not_after);
        shown.finish_non_exhaustive()
    }
}

/// Why a certificate is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateError {
    /// The file or its chain is beyond the limits.
    TooLarge,
    /// No private key in it that can be read.
    NoKey,
    /// No certificate in it that can be read.
    NoCertificate,
    /// The key is not that of the first certificate.
    OtherKey,
    /// The first certificate does not cover the name; a fresh one: or others too.
    OtherName,
    /// It has ended or not begun.
    NotValidNow,
    /// The certificates that lead to a root are missing.
    NoChain,
    /// The file is not as it was written.
    Damaged,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "it is too large for a key and its chain",
            Self::NoKey => "there is no private key in it that can be read (PEM, without a password)",
            Self::NoCertificate => "there is no certificate in it that can be read (PEM)",
            Self::OtherKey => "its key does not belong to its first certificate",
            Self::OtherName => "its first certificate is not for this name",
            Self::NotValidNow => "it is not valid at this time",
            Self::NoChain => "the certificates that lead to a root are missing",
            Self::Damaged => "it is not as it was written",
        })
    }
}

impl error::Error for CertificateError {}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())))
}
