//! What an install writes: whole or not at all, under names that it owns.
//!
//! A file is written beside its place, synced, and renamed: a running program is never written to ("text file busy"), and a crash
//! leaves the old file or the new one. Links are replaced the same way. Never here: a link that is followed.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown, symlink},
    path::{Path, PathBuf},
};

/// Puts a file of root's there, with this content and mode. Its folder is made if it is missing.
pub(super) fn write_file(path: &Path, content: &mut impl Read, mode: u32) -> io::Result<()> {
    let (folder, new) = beside(path)?;
    fs::create_dir_all(folder)?;
    let outcome = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        io::copy(content, &mut file)?;
        if nix::unistd::geteuid().is_root() {
            fchown(&file, Some(0), Some(0))?;
        }
        // Whatever the umask is.
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)
    })();
    keep_or_clean(outcome, folder, &new)
}

/// Puts a link there.
pub(super) fn write_link(path: &Path, target: &str) -> io::Result<()> {
    let (folder, new) = beside(path)?;
    fs::create_dir_all(folder)?;
    let outcome = symlink(target, &new).and_then(|()| fs::rename(&new, path));
    keep_or_clean(outcome, folder, &new)
}

/// Removes a file or a link. Nothing there is as good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    absent_is_fine(fs::remove_file(path))
}

/// Removes a folder; `false`: something is left in it.
pub(super) fn remove_folder(path: &Path) -> io::Result<bool> {
    match absent_is_fine(fs::remove_dir(path)) {
        Err(cause) if cause.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
        outcome => outcome.map(|()| true),
    }
}

/// The folder of `path`, and where its successor is made; what a crash left there is gone.
fn beside(path: &Path) -> io::Result<(&Path, PathBuf)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let new = folder.join(format!(".{}.new", name.to_string_lossy()));
    remove(&new)?;
    Ok((folder, new))
}

fn keep_or_clean(outcome: io::Result<()>, folder: &Path, new: &Path) -> io::Result<()> {
    if outcome.is_err() {
        // The outcome is what is told; a rest is removed by the next run.
        _ = fs::remove_file(new);
        return outcome;
    }
    File::open(folder)?.sync_all()
}

fn absent_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_by_another_and_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/bin/hotcore");
        write_file(&path, &mut &b"one"[..], 0o755).unwrap();
        let (before, mut opened) = (fs::metadata(&path).unwrap(), File::open(&path).unwrap());
        // As a crash in the middle would leave it.
        fs::write(path.with_file_name(".hotcore.new"), "half").unwrap();
        write_file(&path, &mut &b"two"[..], 0o644).unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!((before.mode() & 0o7777, after.mode() & 0o7777), (0o755, 0o644));
        assert_ne!(before.ino(), after.ino());
        let mut old = String::new();
        opened.read_to_string(&mut old).unwrap();
        assert_eq!((old.as_str(), fs::read_to_string(&path).unwrap().as_str()), ("one", "two"));
        assert_eq!(names(path.parent().unwrap()), ["hotcore"]);
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there_and_no_rest() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hotcore");
        fs::write(&path, "old").unwrap();
        assert!(write_file(&path, &mut Broken, 0o755).is_err());
        assert_eq!(
            (fs::read_to_string(&path).unwrap().as_str(), names(folder.path())),
            ("old", vec!["hotcore".to_owned()])
        );
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (folder.path().join("hotcore"), folder.path().join("elsewhere"));
        fs::write(&elsewhere, "mine").unwrap();
        symlink(&elsewhere, &path).unwrap();
        write_link(&path, "/opt/x").unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("/opt/x"));
        write_file(&path, &mut &b"file"[..], 0o644).unwrap();
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "mine");
    }

    #[test]
    fn what_is_gone_is_removed_and_a_folder_with_files_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, file) = (folder.path().join("inner"), folder.path().join("inner/file"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "").unwrap();
        assert!(!remove_folder(&inner).unwrap());
        remove(&file).unwrap();
        remove(&file).unwrap();
        assert!(remove_folder(&inner).unwrap() && remove_folder(&inner).unwrap());
    }
}
