//! The log file in the state folder: lines are appended, and at a limit it becomes `hotcore.log.1`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::fcntl::OFlag;

/// An append-only file that never holds much more than its limit; the one before it is kept.
///
/// Two generations may write to it during a hand-over: each appends whole lines, and before one rotates, it looks whether the
/// other already has.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    bytes_max: u64,
    open: Option<(File, u64)>,
}

impl RotatingFile {
    /// The file is opened with the first line.
    pub(super) fn new(path: PathBuf, bytes_max: u64) -> Self {
        Self { path, bytes_max, open: None }
    }

    /// Appends whole lines.
    pub(super) fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|(_, bytes)| *bytes + lines.len() as u64 > self.bytes_max) {
            self.rotate()?;
        }
        let (file, bytes) = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.path)?),
        };
        match file.write_all(lines) {
            Ok(()) => {
                *bytes += lines.len() as u64;
                Ok(())
            }
            Err(error) => {
                // The next line tries afresh: the disk may have room again.
                self.open = None;
                Err(error)
            }
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let Some((file, _)) = self.open.take() else { return Ok(()) };
        let ours = file.metadata()?;
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|at| at.ino() == ours.ino() && at.dev() == ours.dev());
        let mut previous = self.path.clone().into_os_string();
        previous.push(".1");
        if is_ours && ours.size() > 0 {
            fs::rename(&self.path, Path::new(&previous))?;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NOCTTY).bits())
        .open(path)?;
    let bytes = file.metadata()?.size();
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_rotates_once_past_its_limit_and_not_at_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let previous = folder.path().join("x.log.1");
        let mut file = RotatingFile::new(path.clone(), 10);
        file.append(b"12345\n").unwrap();
        file.append(b"678\n").unwrap();
        assert!(!previous.exists(), "ten bytes are allowed");
        file.append(b"a\n").unwrap();
        assert_eq!(fs::read(&previous).unwrap(), b"12345\n678\n");
        assert_eq!(fs::read(&path).unwrap(), b"a\n");
        file.append(b"123456789\n").unwrap();
        assert_eq!(fs::read(&previous).unwrap(), b"a\n", "one previous file is kept");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_another_process_has_rotated_is_not_rotated_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        let (mut one, mut two) = (RotatingFile::new(path.clone(), 10), RotatingFile::new(path.clone(), 10));
        one.append(b"12345\n").unwrap();
        two.append(b"678\n").unwrap();
        one.append(b"new one\n").unwrap();
        two.append(b"of two\n").unwrap();
        let all = [fs::read(folder.path().join("x.log.1")).unwrap(), fs::read(&path).unwrap()].concat();
        let all = String::from_utf8(all).unwrap();
        for line in ["12345", "678", "new one", "of two"] {
            assert!(all.contains(line), "{line} is lost: {all}");
        }
    }

    #[test]
    fn an_existing_file_is_continued_and_a_link_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.log");
        fs::write(&path, "old\n").unwrap();
        RotatingFile::new(path.clone(), 100).append(b"new\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old\nnew\n");
        let link = folder.path().join("link.log");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(RotatingFile::new(link, 100).append(b"x\n").is_err());
    }
}
