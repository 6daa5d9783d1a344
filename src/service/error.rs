//! Why the service did not start, or ended.

use std::{error::Error, fmt, io, path::PathBuf};

use super::{handover::AskError, privileges::PrivilegeError, sockets::SocketError};
use crate::routes::LockError;

/// Each text names the thing and, where there is one, the remedy.
#[derive(Debug)]
pub enum ServiceError {
    /// The state folder cannot be used.
    State {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The lock of the state folder cannot be had.
    Lock(LockError),
    /// Another process has the state folder and does not hand over.
    Handover {
        /// Its process id, where it is known.
        process: Option<u32>,
        /// Why.
        source: AskError,
    },
    /// The sockets.
    Sockets(SocketError),
    /// Privileges could not be given up.
    Privileges(PrivilegeError),
    /// The rules cannot be read.
    Rules(String),
    /// The system refused something that every start needs.
    Start {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Something that must run ended: the process ends too, to be started again (B212).
    Ended {
        /// What.
        task: &'static str,
        /// Why.
        why: String,
    },
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { path, source } => {
                write!(f, "cannot use the state folder {}: {source}", path.display())?;
                if source.kind() == io::ErrorKind::PermissionDenied {
                    f.write_str("; run it as the folder's owner, or give another one with --state")?;
                }
                Ok(())
            }
            Self::Lock(error) => error.fmt(f),
            Self::Handover { process: Some(process), source } => {
                write!(f, "cannot take over from process {process}: {source}")
            }
            Self::Handover { process: None, source } => write!(f, "cannot take over: {source}"),
            Self::Sockets(error) => error.fmt(f),
            Self::Privileges(error) => error.fmt(f),
            Self::Rules(why) => f.write_str(why),
            Self::Start { what, source } => write!(f, "cannot start {what}: {source}"),
            Self::Ended { task, why } => write!(f, "{task} ended unexpectedly, so the service ends: {why}"),
        }
    }
}

impl Error for ServiceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::State { source, .. } | Self::Start { source, .. } => Some(source),
            Self::Lock(error) => Some(error),
            Self::Handover { source, .. } => Some(source),
            Self::Sockets(error) => Some(error),
            Self::Privileges(error) => Some(error),
            Self::Rules(_) | Self::Ended { .. } => None,
        }
    }
}

impl From<SocketError> for ServiceError {
    fn from(error: SocketError) -> Self {
        Self::Sockets(error)
    }
}

impl From<PrivilegeError> for ServiceError {
    fn from(error: PrivilegeError) -> Self {
        Self::Privileges(error)
    }
}
