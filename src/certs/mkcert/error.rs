//! Why mkcert made no certificate.

use std::{error, fmt, io};

use super::{
    super::store::{CertificateError, SaveError},
    Absent,
};
use crate::limits;

/// Nothing was made, and nothing is left behind.
#[derive(Debug)]
pub enum MkcertError {
    /// Its CA is not there any more: [`super::Mkcert::look`] again.
    Absent(Absent),
    /// Its CA is another one than before: [`super::Mkcert::look`] again.
    OtherAuthority,
    /// It was not done in time, and was killed.
    TimedOut,
    /// It said more than [`limits::MKCERT_OUTPUT_BYTES_MAX`], and was killed.
    TooMuch,
    /// It says that it failed, in these words.
    Refused(String),
    /// What it made is none.
    Certificate(CertificateError),
    /// What it made was not kept.
    Save(SaveError),
    /// It could not be started, or its files not be read.
    Io(io::Error),
}

impl MkcertError {
    /// Whether to look for mkcert and its CA again, rather than to try again.
    pub fn is_of_the_authority(&self) -> bool {
        matches!(self, Self::Absent(_) | Self::OtherAuthority)
    }
}

impl fmt::Display for MkcertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(absent) => absent.fmt(f),
            Self::OtherAuthority => f.write_str("mkcert has another CA than before"),
            Self::TimedOut => write!(f, "mkcert was not done within {} s", limits::MKCERT_WAIT.as_secs()),
            Self::TooMuch => write!(f, "mkcert said more than {} bytes", limits::MKCERT_OUTPUT_BYTES_MAX),
            Self::Refused(words) if words.is_empty() => f.write_str("mkcert failed and does not say why"),
            Self::Refused(words) => write!(f, "mkcert failed: {words}"),
            Self::Certificate(cause) => write!(f, "what mkcert made cannot be used: {cause}"),
            Self::Save(cause) => cause.fmt(f),
            Self::Io(cause) => write!(f, "mkcert cannot be used: {cause}"),
        }
    }
}

impl error::Error for MkcertError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Absent(cause) => Some(cause),
            Self::Certificate(cause) => Some(cause),
            Self::Save(cause) => Some(cause),
            Self::Io(cause) => Some(cause),
            _ => None,
        }
    }
}
