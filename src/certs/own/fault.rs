//! What is wrong with what a person gave.

use std::{error, fmt};

use crate::limits;

/// How a file holds what it holds, if not as PEM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A certificate as DER.
    Certificate,
    /// A private key as DER.
    Key,
    /// Certificates and key under a password (PKCS #12, `.p12` or `.pfx`).
    Pkcs12,
    /// Certificates without a key (PKCS #7, `.p7b`).
    Pkcs7,
}

/// Why it cannot serve. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is nothing in it.
    Empty,
    /// More than [`limits::CERTIFICATE_FILE_BYTES_MAX`].
    TooLarge,
    /// More than [`limits::CERTIFICATE_CHAIN_MAX`] certificates.
    TooManyCertificates,
    /// Neither a certificate nor a key as PEM.
    NotPem,
    /// Not PEM, but to be made so.
    OtherForm(Form),
    /// A request to a CA, not what the CA made of it.
    Request,
    /// There is no key.
    NoKey,
    /// The key is under a password.
    EncryptedKey,
    /// There are several keys.
    SeveralKeys,
    /// The key cannot be used for TLS.
    UselessKey,
    /// There is a key, but no certificate.
    NoCertificate,
    /// A part of it is damaged.
    Damaged,
    /// No certificate in it has this key.
    OtherKey,
    /// The certificate with this key is not the first one, but the one in this place, counted from 1.
    NotFirst(usize),
    /// It is for these names, and not for the one that it was given for.
    OtherNames(Vec<String>),
    /// It has ended then.
    Ended(u64),
    /// It begins then.
    NotYet(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLarge => {
                write!(f, "it has more than {} KB", limits::CERTIFICATE_FILE_BYTES_MAX / 1024)
            }
            Self::TooManyCertificates => {
                write!(f, "it has more than {} certificates", limits::CERTIFICATE_CHAIN_MAX)
            }
            Self::NotPem => f.write_str("there is neither a certificate nor a key in it (PEM)"),
            Self::OtherForm(Form::Certificate) => f.write_str("it is a certificate in another form (DER, not PEM)"),
            Self::OtherForm(Form::Key) => f.write_str("it is a key in another form (DER, not PEM)"),
            Self::OtherForm(Form::Pkcs12) => f.write_str("it is in another form (PKCS #12, not PEM)"),
            Self::OtherForm(Form::Pkcs7) => f.write_str("it is in another form (PKCS #7, not PEM)"),
            Self::Request => f.write_str("it is the request for a certificate, not the certificate"),
            Self::NoKey => f.write_str("there is no private key in it"),
            Self::EncryptedKey => f.write_str("its key is under a password, which nobody can type when hotcore starts"),
            Self::SeveralKeys => f.write_str("there are several private keys"),
            Self::UselessKey => f.write_str("its key cannot be used: RSA of 2,048 bits or more, ECDSA or Ed25519 can"),
            Self::NoCertificate => f.write_str("there is a key, but no certificate"),
            Self::Damaged => f.write_str("a part of it is damaged"),
            Self::OtherKey => f.write_str("the key belongs to another certificate"),
            Self::NotFirst(place) => {
                write!(f, "the key belongs to certificate {place}, and the one of the site comes first")
            }
            Self::OtherNames(names) if names.is_empty() => {
                f.write_str("the certificate names no site (browsers look at subject alternative names alone)")
            }
            Self::OtherNames(names) => write!(f, "the certificate is for other names: {}", names.join(", ")),
            Self::Ended(_) => f.write_str("the certificate has ended"),
            Self::NotYet(_) => f.write_str("the certificate is not valid yet"),
        }
    }
}

impl error::Error for Fault {}
