//! A certificate as it comes from the CA, looked at before anyone else sees it.

use std::{fmt, time::SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine};
use tokio_rustls::rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time};

use crate::{domain::Domain, limits::CA_CHAIN_MAX};

use super::{
    failure::{Failure, Step},
    renewal::CertificateId,
};

/// A key and the chain of certificates for it. `Debug` shows no secret (B218).
#[derive(Clone)]
pub struct Issued {
    /// The one name that the certificate is for.
    pub domain: Domain,
    /// The private key, PKCS#8 in PEM. Secret.
    pub key_pem: String,
    /// The certificate, then those that lead to the root.
    pub chain_pem: String,
    /// The certificate is valid from here on ...
    pub not_before: SystemTime,
    /// ... to here.
    pub not_after: SystemTime,
    /// What the CA's renewal information is asked by, if the certificate has what that takes.
    pub id: Option<CertificateId>,
}

impl Issued {
    /// Judges what the CA sent as a chain: it parses, the first certificate is for our key and for exactly this name, and there
    /// is one behind it. Whether it is valid now is for those who have a clock.
    pub fn judge(domain: &Domain, key_pem: &str, chain_pem: &[u8]) -> Result<Self, Failure> {
        Self::checked(domain, key_pem, chain_pem).map_err(|why| Failure::answer(Step::Certificate, why))
    }

    fn checked(domain: &Domain, key_pem: &str, chain_pem: &[u8]) -> Result<Self, String> {
        let mut chain = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(chain_pem).take(CA_CHAIN_MAX + 1) {
            chain.push(certificate.map_err(|cause| format!("no chain of certificates: {cause}"))?);
        }
        if !(2..=CA_CHAIN_MAX).contains(&chain.len()) {
            return Err(format!("a chain of {} certificates", chain.len()));
        }
        let (leaf_der, pem) = (chain.first().cloned().unwrap_or_else(|| Vec::new().into()), pem(&chain));
        let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|cause| cause.to_string())?;
        // Also checks that the key belongs to the first certificate.
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|cause| format!("the certificate is not for our key: {cause}"))?;
        let (_, leaf) = X509Certificate::from_der(&leaf_der).map_err(|_| "the certificate is damaged")?;
        let names = leaf.subject_alternative_name().map_err(|_| "the certificate's names are damaged")?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        match names {
            [GeneralName::DNSName(name)] if name.eq_ignore_ascii_case(domain.as_str()) => {}
            _ => return Err(format!("a certificate that is not for {domain} alone")),
        }
        let time = |time: ASN1Time| SystemTime::from(time.to_datetime());
        Ok(Self {
            domain: domain.clone(),
            key_pem: key_pem.to_owned(),
            chain_pem: pem,
            not_before: time(leaf.validity().not_before),
            not_after: time(leaf.validity().not_after),
            id: CertificateId::of(&leaf),
        })
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Issued");
        shown.field("domain", &self.domain).field("not_before", &self.not_before).field("not_after", &self.not_after);
        shown.finish_non_exhaustive()
    }
}

/// The chain again, without what may have stood between (RFC 7468).
fn pem(chain: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in chain {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = BASE64_STANDARD.encode(certificate);
        let mut rest = encoded.as_str();
        while !rest.is_empty() {
            // The text is ASCII: every place is a boundary.
            let (line, after) = rest.split_at(rest.len().min(64));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

    use super::*;

    struct Signed {
        key: String,
        leaf: String,
        root: String,
    }

    fn signed(names: &[&str]) -> Signed {
        let root_key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = root.self_signed(&root_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut leaf = CertificateParams::new(names).unwrap();
        leaf.use_authority_key_identifier_extension = true;
        let leaf = leaf.signed_by(&key, &root, &root_key).unwrap();
        Signed { key: key.serialize_pem(), leaf: leaf.pem(), root: root.pem() }
    }

    fn judge(name: &str, key: &str, chain: &str) -> Result<Issued, Failure> {
        Issued::judge(&Domain::parse(name).unwrap(), key, chain.as_bytes())
    }

    #[test]
    fn a_good_chain_is_accepted_and_cleaned() {
        let Signed { key, leaf, root } = signed(&["a.example"]);
        let issued = judge("a.example", &key, &format!("{leaf}some words\r\n{root}")).unwrap();
        assert_eq!(issued.chain_pem.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(!issued.chain_pem.contains("words"));
        assert!(issued.not_before < issued.not_after);
        assert!(issued.id.is_some());
        assert_eq!(judge("a.example", &key, &issued.chain_pem).unwrap().chain_pem, issued.chain_pem);
    }

    /// B172: nothing else than what was asked for.
    #[test]
    fn any_other_chain_is_refused_with_the_reason() {
        let Signed { key, leaf, root } = signed(&["a.example"]);
        let other = signed(&["a.example"]);
        let both = signed(&["a.example", "b.example"]);
        for (name, key, chain, reason) in [
            ("b.example", &key, format!("{leaf}{root}"), "not for b.example alone"),
            ("a.example", &both.key, format!("{}{root}", both.leaf), "not for a.example alone"),
            ("a.example", &other.key, format!("{leaf}{root}"), "not for our key"),
            ("a.example", &key, leaf.clone(), "a chain of 1"),
            ("a.example", &key, String::new(), "a chain of 0"),
            ("a.example", &key, format!("{leaf}{}", root.repeat(CA_CHAIN_MAX)), "a chain of 11"),
            ("a.example", &key, leaf.replace("MII", "MIJ") + &root, "certificate"),
        ] {
            let failure = judge(name, key, &chain).unwrap_err().to_string();
            assert!(failure.contains(reason), "{failure}: {reason}");
        }
        assert!(judge("a.example", &key, &format!("{leaf}{}", root.repeat(CA_CHAIN_MAX - 1))).is_ok());
    }

    /// B218.
    #[test]
    fn a_certificate_shows_no_secret() {
        let Signed { key, leaf, root } = signed(&["a.example"]);
        let shown = format!("{:?}", judge("a.example", &key, &(leaf + &root)).unwrap());
        assert!(!shown.contains("PRIVATE"), "{shown}");
    }
}
