//! `hotcore serve --hand-over PID`: asks the running process to start its successor, and waits for the outcome.
//!
//! Never here: a file that is opened, a socket that is bound, a signal that is sent.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{errno::Errno, sys::signal::kill, unistd::Pid};

use super::{
    message::{FromNew, FromOld},
    new::{AskError, New},
};
use crate::limits;

/// Asks `process`, which serves on `folder`, to reload, and waits until it has: for `patience` at most, which is
/// [`limits::RELOAD_WAIT`] but for tests.
pub fn reload(folder: &Path, process: u32, patience: Duration) -> Result<(), ReloadError> {
    let deadline = Instant::now() + patience;
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
        Err(AskError::Silent) => Err(ReloadError::Silent { process, patience }),
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
    Silent {
        /// The running process.
        process: u32,
        /// So long.
        patience: Duration,
    },
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
            Self::Silent { process, patience } => write!(
                f,
                "process {process} goes on: it has not said within {} s how the hand-over went",
                patience.as_secs()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::handover::Doorway;

    /// Somebody at the door of `folder` who hears `reload` and answers with `answers`, or with the end.
    fn answered(answers: &'static [FromOld], patience: Duration) -> Result<(), ReloadError> {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut door = runtime.block_on(async { Doorway::open(folder.path()) }).unwrap();
        thread::scope(|scope| {
            let asker = scope.spawn(|| reload(folder.path(), std::process::id(), patience));
            runtime.block_on(async {
                let (mut peer, word) = door.next().await.unwrap();
                assert_eq!(word, FromNew::Reload);
                answers.iter().for_each(|answer| peer.say(answer));
                if answers.is_empty() {
                    peer.gone().await;
                }
            });
            asker.join().unwrap()
        })
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn the_outcome_is_what_the_running_process_says() {
        answered(&[FromOld::Done], LONG).unwrap();
        let told = answered(&[FromOld::Told], LONG).unwrap_err().to_string();
        assert!(told.contains("out of step"), "{told}");
        let silent = answered(&[], Duration::from_millis(50)).unwrap_err();
        assert!(matches!(silent, ReloadError::Silent { .. }) && silent.to_string().contains(" goes on"), "{silent}");
    }

    #[test]
    fn a_refusal_is_told_with_its_reason_and_who_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut door = runtime.block_on(async { Doorway::open(folder.path()) }).unwrap();
        let own = std::process::id();
        for ends in [false, true] {
            let error = thread::scope(|scope| {
                let asker = scope.spawn(|| reload(folder.path(), own, LONG));
                runtime.block_on(async {
                    let (mut peer, _) = door.next().await.unwrap();
                    if !ends {
                        peer.say(&FromOld::No("no room".to_owned()));
                    }
                });
                asker.join().unwrap().unwrap_err().to_string()
            });
            let expected = match ends {
                false => format!("process {own} goes on as before: no room"),
                true => format!("process {own} ended before it said how the hand-over went"),
            };
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn only_the_process_that_serves_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // Greater than any process id (proc_sys_kernel(5), pid_max).
        let nobody = 4_194_305;
        assert!(matches!(reload(path, nobody, LONG), Err(ReloadError::NoProcess(_))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _door = runtime.block_on(async { Doorway::open(path) }).unwrap();
        let error = reload(path, 1, LONG).unwrap_err().to_string();
        assert!(error.contains("process 1 does not serve on"), "{error}");
        assert!(error.contains(&format!("process {} does", std::process::id())), "{error}");
    }
}
