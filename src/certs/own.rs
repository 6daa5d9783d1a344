//! Certificates that a person gives: looked at before they are kept, in a folder of their own.
//!
//! Whoever may write to that folder may install one; the daemon reads it. Never here: a certificate that could not serve, a
//! daemon that is asked, a change of rights.

mod fault;
mod given;

use std::{
    error, fmt, io,
    path::{Path, PathBuf},
};

use super::store::{SaveError, Store};
use crate::{
    domain::Domain,
    routes::{Lock, LockError},
};

pub use fault::{Fault, Form};
pub use given::{Given, Warning, look};

/// The folder of own certificates in a state folder.
pub fn folder(state: &Path) -> PathBuf {
    state.join("certificates/own")
}

/// The own certificates of a state folder, for one writer at a time.
#[derive(Debug)]
pub struct Own {
    store: Store,
    _lock: Lock,
}

impl Own {
    /// Opens their folder, or makes it. What is made belongs to the user of this process, who must be the one that the daemon
    /// runs as.
    pub fn open(state: &Path) -> Result<Self, OwnError> {
        let folder = folder(state);
        let store = Store::open(&folder).map_err(|cause| OwnError::Io(folder.clone(), cause))?;
        match Lock::try_take(&folder) {
            Ok(lock) => Ok(Self { store, _lock: lock }),
            Err(LockError::Held { .. }) => Err(OwnError::Busy),
            Err(LockError::Open { path, cause }) => Err(OwnError::Io(path, cause)),
        }
    }

    /// Keeps it: durable when this returns well.
    pub fn install(&mut self, given: &Given) -> Result<(), OwnError> {
        self.store.save(&given.certificate).map_err(OwnError::Save)
    }

    /// Takes the domain's certificate and key away, with the previous generation; whether there was one. That it once had one is
    /// not forgotten (B164).
    pub fn remove(&mut self, domain: &Domain) -> Result<bool, OwnError> {
        self.store.remove(domain).map_err(OwnError::Remove)
    }
}

/// Why nothing was done.
#[derive(Debug)]
pub enum OwnError {
    /// The folder cannot be used.
    Io(PathBuf, io::Error),
    /// Another process is writing there.
    Busy,
    /// It could not be kept.
    Save(SaveError),
    /// It could not be taken away, or only in part.
    Remove(io::Error),
}

impl OwnError {
    /// Whether this user may not do it.
    pub fn is_of_rights(&self) -> bool {
        match self {
            Self::Io(_, cause) | Self::Save(SaveError::Io(cause)) | Self::Remove(cause) => {
                cause.kind() == io::ErrorKind::PermissionDenied
            }
            _ => false,
        }
    }
}

impl fmt::Display for OwnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, cause) => write!(f, "cannot use {}: {cause}", path.display()),
            Self::Busy => f.write_str("another command is writing certificates at this moment: try again"),
            Self::Save(cause) => cause.fmt(f),
            Self::Remove(cause) => write!(f, "cannot take the certificate away: {cause}"),
        }
    }
}

impl error::Error for OwnError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Busy => None,
            Self::Save(cause) => Some(cause),
            Self::Io(_, cause) | Self::Remove(cause) => Some(cause),
        }
    }
}

#[cfg(test)]
mod tests;
