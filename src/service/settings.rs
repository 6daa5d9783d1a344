//! What `hotcore serve` was told: options and environment, read once.

use std::{fmt, net::SocketAddr, path::PathBuf};

use crate::certs::issuer::{self, SettingsError};

/// How to serve. `cli` makes it from options and their environment twins; nothing below reads the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where plain HTTP is served; empty: the default addresses.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served; empty: the default addresses.
    pub https: Vec<SocketAddr>,
    /// Where commands arrive, loopback only; empty: 127.0.0.1 and `[::1]`, port 40608.
    pub control: Vec<SocketAddr>,
    /// The state folder.
    pub state: PathBuf,
    /// Loopback only, no certificate authority, no own user.
    pub local: bool,
    /// Who signs certificates; `None`: nobody is asked.
    pub authority: Option<Authority>,
    /// Data-plane threads; `None`: one for each usable processor.
    pub workers: Option<usize>,
    /// Write one log record for each request.
    pub access_log: bool,
}

/// A certificate authority that speaks ACME (RFC 8555).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The URL of its directory.
    pub directory: String,
    /// Certificates in PEM that alone are trusted to have signed its own; `None`: the usual roots of the web.
    pub root: Option<Vec<u8>>,
    /// Where it reaches a person: a mail address.
    pub contact: Option<String>,
}

impl Default for Authority {
    /// Let's Encrypt.
    fn default() -> Self {
        Self { directory: issuer::LETS_ENCRYPT.to_owned(), root: None, contact: None }
    }
}

impl Authority {
    /// Whether it can be asked like this. Contacts nobody.
    pub fn check(&self) -> Result<(), AuthorityError> {
        if let Some(contact) = &self.contact
            && !is_contact(contact)
        {
            return Err(AuthorityError::Contact(contact.clone()));
        }
        self.for_issuer().check().map_err(|error| match error {
            SettingsError::Directory(url) => AuthorityError::Directory(url),
            SettingsError::Root(why) => AuthorityError::Root(why),
            SettingsError::Tls(why) => AuthorityError::Tls(why),
        })
    }

    pub(super) fn for_issuer(&self) -> issuer::Settings {
        let Self { directory, root, contact } = self.clone();
        issuer::Settings { directory, root, contact, ..issuer::Settings::default() }
    }
}

/// A mail address as far as it can be judged here, with or without `mailto:`. The authority judges the rest.
fn is_contact(text: &str) -> bool {
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    // RFC 8555, 7.3: one address, without header fields (RFC 6068).
    let is_one = !address.contains([',', '?', ':', '<', '>']);
    is_one
        && address.split_once('@').is_some_and(|(local, host)| is_plain(local) && is_plain(host) && !host.contains('@'))
}

/// Which setting of an [`Authority`] is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorityError {
    /// The directory is no https URL: this.
    Directory(String),
    /// The root holds no certificate, or a broken one: why.
    Root(String),
    /// The contact is no mail address: this.
    Contact(String),
    /// TLS towards it cannot be set up at all: why.
    Tls(String),
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(url) => write!(f, "{url:?} is not the https address of a directory"),
            Self::Root(why) => write!(f, "there is no certificate in PEM that can be used: {why}"),
            Self::Contact(text) => write!(f, "{text:?} is not a mail address"),
            Self::Tls(why) => write!(f, "TLS towards the certificate authority cannot be set up: {why}"),
        }
    }
}

impl std::error::Error for AuthorityError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_encrypt_itself_is_asked_unless_told_otherwise() {
        let authority = Authority::default();
        assert_eq!(authority.directory, "https://acme-v02.api.letsencrypt.org/directory");
        assert_eq!(authority.check(), Ok(()));
    }

    #[test]
    fn what_is_wrong_with_an_authority_is_named() {
        let with = |directory: &str, root: Option<&[u8]>, contact: Option<&str>| {
            let authority = Authority {
                directory: directory.to_owned(),
                root: root.map(<[u8]>::to_vec),
                contact: contact.map(str::to_owned),
            };
            authority.check()
        };
        let right = "https://ca.example/dir";
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(with(right, Some(root.pem().as_bytes()), Some("ann@a.example")), Ok(()));
        for url in ["http://ca.example/dir", "ca.example/dir", "", "https://", "https://me@ca.example/", "file:///x"] {
            assert_eq!(with(url, None, None), Err(AuthorityError::Directory(url.to_owned())));
        }
        for root in [&b""[..], b"no PEM at all", key.serialize_pem().as_bytes(), b"-----BEGIN CERTIFICATE-----\n"] {
            assert!(matches!(with(right, Some(root), None), Err(AuthorityError::Root(_))), "{root:?}");
        }
    }

    #[test]
    fn a_contact_is_one_mail_address() {
        for text in ["ann@a.example", "mailto:ann@a.example", "ann+web@a.example"] {
            assert!(is_contact(text), "{text}");
        }
        for text in
            ["", "ann", "@a.example", "ann@", "a@b@c", "a@b,c@d", "ann @a.example", "tel:+1", "ä@b.de", "a@b?subject=x"]
        {
            assert!(!is_contact(text), "{text}");
        }
    }
}
