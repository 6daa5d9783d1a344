//! The lock of a state folder: two daemons never write to one (B198).
//!
//! It is apart from the storage because a hand-over passes it on while both processes have the folder open (B206): the old
//! one drops it, the new one takes it, and if the new one fails the old one takes it back.

use std::{
    error, fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

/// The name of the lock's file. It holds the process id of who has the lock; the lock itself is flock(2)'s, so a crash
/// releases it and a stale file means nothing.
const FILE: &str = "lock";

/// Held until it is dropped, or until the process ends in whatever way.
#[derive(Debug)]
pub struct Lock {
    _held: Flock<File>,
}

impl Lock {
    /// Takes the lock of the folder `dir`, which must exist. Never waits.
    pub fn try_take(dir: &Path) -> Result<Self, LockError> {
        let failed = |cause| LockError::Open { path: dir.join(FILE), cause };
        let mut options = OpenOptions::new();
        let file = match options.read(true).write(true).create(true).truncate(false).mode(0o600).open(dir.join(FILE)) {
            // A full or read-only disk must not stop the start (B196): the folder itself serves as well.
            Err(error) if is_want_of_space(&error) => {
                File::open(dir.join(FILE)).or_else(|_| File::open(dir)).map_err(failed)?
            }
            file => file.map_err(failed)?,
        };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut held) => {
                // Only for the other one's message: a disk that has no room for it is no reason to fail.
                _ = held.set_len(0).and_then(|()| held.write_all(format!("{}\n", process::id()).as_bytes()));
                Ok(Self { _held: held })
            }
            Err((file, Errno::EWOULDBLOCK)) => Err(LockError::Held { folder: dir.into(), by: holder(&file) }),
            Err((_, errno)) => Err(failed(errno.into())),
        }
    }
}

/// Why the lock cannot be had.
#[derive(Debug)]
pub enum LockError {
    /// Another process has it.
    Held {
        /// The state folder.
        folder: PathBuf,
        /// Its process id, where it could be read.
        by: Option<u32>,
    },
    /// The lock's file cannot be opened or locked.
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { folder, by } => {
                f.write_str("another hotcore")?;
                if let Some(id) = by {
                    write!(f, " (process {id})")?;
                }
                write!(f, " uses {}: stop it, or give another folder with --state", folder.display())
            }
            Self::Open { path, cause } => write!(f, "cannot lock {}: {cause}", path.display()),
        }
    }
}

impl error::Error for LockError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Held { .. } => None,
            Self::Open { cause, .. } => Some(cause),
        }
    }
}

fn is_want_of_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn holder(mut file: &File) -> Option<u32> {
    let mut text = [0; 16];
    let length = file.read(&mut text).ok()?;
    std::str::from_utf8(text.get(..length)?).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn b198_the_second_one_is_told_the_process_id_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::try_take(folder.path()).unwrap();
        let error = Lock::try_take(folder.path()).unwrap_err();
        assert!(matches!(error, LockError::Held { by: Some(id), .. } if id == process::id()), "{error}");
        assert!(error.to_string().contains(&format!("(process {})", process::id())));
        drop(first);
        Lock::try_take(folder.path()).unwrap();
    }

    #[test]
    fn b206_the_lock_is_passed_on_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..3 {
            let old = Lock::try_take(folder.path()).unwrap();
            assert!(Lock::try_take(folder.path()).is_err());
            drop(old);
        }
    }

    #[test]
    fn a_file_left_by_a_crash_locks_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "999999 and much more than a process id").unwrap();
        let lock = Lock::try_take(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join(FILE)).unwrap(), format!("{}\n", process::id()));
        drop(lock);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = Lock::try_take(&folder.path().join("none")).unwrap_err();
        assert!(matches!(error, LockError::Open { .. }));
        assert!(error.to_string().contains("none/lock"), "{error}");
    }
}
