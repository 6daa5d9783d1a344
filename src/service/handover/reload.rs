//! `hotcore serve --hand-over PID`: asks the running process to start its successor, and waits for the outcome.
//!
//! Never here: a file that is opened, a socket that is bound, a signal that is sent.

use std::{fmt, io, path::Path, path::PathBuf, thread, time::Instant};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use super::{
    message::{FromNew, FromOld},
    new::{AskError, New},
};
use crate::limits;

/// Asks `process`, which serves on `folder`, to reload, and waits until it has ([`limits::RELOAD_WAIT`] at most).
pub fn reload(folder: &Path, process: u32) -> Result<(), ReloadError> {
    let deadline = Instant::now() + limits::RELOAD_WAIT;
    let mut door = knock(folder, process)?;
    if door.process() != process {
        return Err(ReloadError::Other { folder: folder.to_owned(), asked: process, serves: door.process() });
    }
    door.say(&FromNew::Reload);
    match door.read_word(deadline) {
        Ok(Some(FromOld::Done)) => Ok(()),
        Ok(Some(FromOld::No(why))) => Err(ReloadError::Refused { process, why }),
        Ok(Some(_)) => Err(ReloadError::Channel { process, source: AskError::Refused("it is out of step".to_owned()) }),
        Ok(None) => Err(ReloadError::Ended(process)),
        Err(AskError::Silent) => Err(ReloadError::Silent(process)),
        Err(source) => Err(ReloadError::Channel { process, source }),
    }
}

/// One that has just started, or has just taken over, opens its door in a moment.
fn knock(folder: &Path, process: u32) -> Result<New, ReloadError> {
    let deadline = Instant::now() + limits::HANDOVER_REACH;
    loop {
        match New::connect(folder) {
            Ok(door) => return Ok(door),
            Err(_) if !lives(process) => return Err(ReloadError::NoProcess(process)),
            Err(AskError::Nobody(error)) if is_closed(&error) && Instant::now() < deadline => {
                thread::sleep(limits::LOCK_RETRY);
            }
            Err(source) => return Err(ReloadError::NoDoor { folder: folder.to_owned(), process, source }),
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// kill(2) without a signal: it may exist and be another user's.
fn lives(process: u32) -> bool {
    i32::try_from(process).is_ok_and(|process| kill(Pid::from_raw(process), None) != Err(Errno::ESRCH))
}

/// Why there was no reload, or none that is known of.
#[derive(Debug)]
pub enum ReloadError {
    /// There is no such process.
    NoProcess(u32),
    /// Nobody can be asked on the folder.
    NoDoor {
        /// The state folder.
        folder: PathBuf,
        /// Who was meant.
        process: u32,
        /// Why.
        source: AskError,
    },
    /// Another process serves there.
    Other {
        /// The state folder.
        folder: PathBuf,
        /// Who was meant.
        asked: u32,
        /// Who serves.
        serves: u32,
    },
    /// The running process goes on; why.
    Refused {
        /// The running process.
        process: u32,
        /// In its words.
        why: String,
    },
    /// It has not said in time how it went.
    Silent(u32),
    /// It ended before it said how it went.
    Ended(u32),
    /// The channel failed.
    Channel {
        /// The running process.
        process: u32,
        /// Why.
        source: AskError,
    },
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProcess(process) => write!(f, "there is no process {process}"),
            Self::NoDoor { folder, process, source } => {
                write!(f, "process {process} cannot be asked on {}: {source}", folder.display())
            }
            Self::Other { folder, asked, serves } => write!(
                f,
                "process {asked} does not serve on {}, process {serves} does: give that one, or another folder with --state",
                folder.display()
            ),
            Self::Refused { process, why } => write!(f, "process {process} goes on as before: {why}"),
            Self::Silent(process) => write!(
                f,
                "process {process} goes on: it has not said within {} s how the hand-over went",
                limits::RELOAD_WAIT.as_secs()
            ),
            Self::Ended(process) => write!(f, "process {process} ended before it said how the hand-over went"),
            Self::Channel { process, source } => write!(f, "cannot talk to process {process}: {source}"),
        }
    }
}

impl std::error::Error for ReloadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoDoor { source, .. } | Self::Channel { source, .. } => Some(source),
            _ => None,
        }
    }
}
