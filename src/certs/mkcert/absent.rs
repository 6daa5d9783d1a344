//! Why there is no mkcert to ask, and what a person can do about it, in one line (B225).

use std::{error, fmt, path::PathBuf};

/// Local names are served by plain HTTP then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absent {
    /// This process is root's or a service's. Their CA, if they have one, is not the one that a person's browsers trust.
    NoPerson,
    /// It is not in `PATH`.
    NoProgram,
    /// Nothing says where its CA is: neither `HOME` nor another variable is set, or the place is not absolute.
    NoFolder,
    /// This file of its CA is not there.
    NoAuthority(PathBuf),
    /// This file of its CA cannot be used, for this reason.
    Unreadable(PathBuf, String),
    /// It does not say where its CA is.
    Failed(String),
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPerson => f.write_str(
                "mkcert's certificates are made for a person, and hotcore runs as a service: run `hotcore serve --local` \
                 as yourself, or set CAROOT",
            ),
            Self::NoProgram => {
                f.write_str("mkcert is not installed: install it, and run `mkcert -install` as yourself")
            }
            Self::NoFolder => f.write_str("mkcert has no place for its CA: set HOME, or CAROOT to an absolute path"),
            Self::NoAuthority(file) => {
                write!(f, "mkcert has no CA, since there is no {}: run `mkcert -install` as yourself", file.display())
            }
            Self::Unreadable(file, cause) => {
                write!(f, "mkcert's CA cannot be used: {}: {cause}: run `mkcert -install` as yourself", file.display())
            }
            Self::Failed(cause) => write!(f, "mkcert does not say where its CA is: {cause}"),
        }
    }
}

impl error::Error for Absent {}
