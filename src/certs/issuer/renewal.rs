//! When the CA wants a certificate renewed (RFC 9773).

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, extensions::ParsedExtension, prelude::FromDer};

use crate::limits::{CA_DETAIL_BYTES_MAX, WINDOW_AGAIN, WINDOW_AGAIN_MAX, WINDOW_AGAIN_MIN};

use super::{
    Acme,
    failure::{Failure, Step},
    patience::Deadline,
    problem::harmless,
    session::pause_in,
};

/// What names a certificate towards its CA: the issuer's key identifier and the serial number, both base64url (RFC 9773, 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateId(String);

impl CertificateId {
    /// Of the first certificate of a chain in PEM.
    pub fn from_pem(chain: &str) -> Option<Self> {
        let leaf = CertificateDer::from_pem_slice(chain.as_bytes()).ok()?;
        Self::from_der(&leaf)
    }

    /// Of a certificate in DER.
    pub fn from_der(certificate: &[u8]) -> Option<Self> {
        Self::of(&X509Certificate::from_der(certificate).ok()?.1)
    }

    pub(super) fn of(certificate: &X509Certificate<'_>) -> Option<Self> {
        let issuer = certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(found) => found.key_identifier.as_ref(),
            _ => None,
        })?;
        let encode = |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        Some(Self(format!("{}.{}", encode(issuer.0), encode(certificate.raw_serial()))))
    }

    /// As it stands in URLs and orders.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CertificateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The CA's wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalWindow {
    /// Renew at a random moment from here on ...
    pub start: SystemTime,
    /// ... to here. A window in the past means now.
    pub end: SystemTime,
    /// A page that tells why, if there is a special reason.
    pub explanation: Option<String>,
    /// Ask again after this time: 1 to 24 hours.
    pub ask_again: Duration,
}

impl RenewalWindow {
    /// The body of an answer (RFC 9773, 4.2), and the time after which the CA wants to be asked again.
    pub fn parse(body: &[u8], ask_again: Option<Duration>) -> Result<Self, &'static str> {
        let body: Value = serde_json::from_slice(body).map_err(|_| "not JSON")?;
        let time = |name| {
            let text = body.get("suggestedWindow")?.get(name)?.as_str()?;
            OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
        };
        let (Some(start), Some(end)) = (time("start"), time("end")) else { return Err("no window in it") };
        // RFC 9773, 4.2: such a window is to be treated as none.
        if end <= start {
            return Err("a window that ends before it begins");
        }
        let explanation = body.get("explanationURL").and_then(Value::as_str);
        Ok(Self {
            start,
            end,
            explanation: explanation.map(|text| harmless(text, CA_DETAIL_BYTES_MAX)),
            ask_again: ask_again.unwrap_or(WINDOW_AGAIN).clamp(WINDOW_AGAIN_MIN, WINDOW_AGAIN_MAX),
        })
    }
}

impl Acme {
    pub(super) async fn window(&self, certificate: &CertificateId) -> Result<Option<RenewalWindow>, Failure> {
        let deadline = Deadline::after(self.session.patience.step * 2);
        let Some(base) = self.directory(deadline).await?.renewal_info else { return Ok(None) };
        let (step, url) = (Step::RenewalInfo, format!("{}/{certificate}", base.trim_end_matches('/')));
        let reply = self.session.get(step, &url, deadline).await?;
        let window = RenewalWindow::parse(&reply.body, pause_in(&reply.headers));
        window.map(Some).map_err(|why| Failure::answer(step, why))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyIdMethod, KeyPair, SerialNumber};

    use super::*;

    /// The figures of the example in RFC 9773, 4.1.
    #[test]
    fn a_certificate_is_named_by_its_issuer_and_serial_number() {
        let issuer = BASE64_URL_SAFE_NO_PAD.decode("aYhba4dGQEHhs3uEe6CuLN4ByNQ").unwrap();
        let key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_identifier_method = KeyIdMethod::PreSpecified(issuer);
        let root = root.self_signed(&key).unwrap();
        let mut leaf = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        leaf.serial_number = Some(SerialNumber::from_slice(&[0x87, 0x65, 0x43, 0x21]));
        leaf.use_authority_key_identifier_extension = true;
        let leaf = leaf.signed_by(&key, &root, &key).unwrap().pem();
        assert_eq!(CertificateId::from_pem(&leaf).unwrap().as_str(), "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE");
    }

    #[test]
    fn a_damaged_certificate_has_no_name() {
        for body in ["", "AAAA", "MIIBQzCB66ADAgECAgUAh2VDIQ=="] {
            let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
            assert_eq!(CertificateId::from_pem(&text), None);
        }
    }

    #[test]
    fn a_window_is_read() {
        let body = br#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-03T04:00:00+00:00"},"explanationURL":"https://a/b"}"#;
        let window = RenewalWindow::parse(body, None).unwrap();
        assert_eq!(window.start, UNIX_EPOCH + Duration::from_secs(1_735_790_400));
        assert_eq!(window.end.duration_since(window.start).unwrap(), Duration::from_secs(86_400));
        assert_eq!(window.explanation.as_deref(), Some("https://a/b"));
        assert_eq!(window.ask_again, WINDOW_AGAIN);
        for (asked, kept) in [(0, 3_600), (3_600, 3_600), (3_601, 3_601), (86_400, 86_400), (86_401, 86_400)] {
            let window = RenewalWindow::parse(body, Some(Duration::from_secs(asked))).unwrap();
            assert_eq!(window.ask_again, Duration::from_secs(kept));
        }
    }

    #[test]
    fn nonsense_is_no_window() {
        for body in [
            "",
            "{}",
            r#"{"suggestedWindow":{}}"#,
            r#"{"suggestedWindow":{"start":"now","end":"later"}}"#,
            r#"{"suggestedWindow":{"start":"2025-01-02T04:00:00Z","end":"2025-01-02T04:00:00Z"}}"#,
            r#"{"suggestedWindow":{"start":"2025-01-03T04:00:00Z","end":"2025-01-02T04:00:00Z"}}"#,
            r#"{"suggestedWindow":{"start":1,"end":2}}"#,
        ] {
            assert!(RenewalWindow::parse(body.as_bytes(), None).is_err(), "{body}");
        }
    }
}
