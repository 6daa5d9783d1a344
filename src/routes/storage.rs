//! The seam between the journal and a folder: what the journal needs of one, and the real one.
//!
//! A test puts a model in its place that knows what a crash may leave behind. The promises are those of POSIX and no more: a
//! file's bytes survive after [`StorageFile::sync_data`], its name after [`Storage::sync_folder`], and neither implies the
//! other. Never here: a rule, a line, a decision about a failure.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// A folder that holds the journal's files. Clones are the same folder; the journal uses one on a second thread.
pub trait Storage: Clone + Send + 'static {
    /// An open file of this folder.
    type File: StorageFile;

    /// What a person calls this file, for messages.
    fn location(&self, name: &str) -> PathBuf;
    /// The names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// The whole file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// A new, empty file; one that exists is emptied.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// An existing file, to be continued.
    fn open_append(&self, name: &str) -> io::Result<Self::File>;
    /// Another name for a file; a file of that name is replaced. Survives a crash after [`Self::sync_folder`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Survives a crash after [`Self::sync_folder`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns when all names made, changed and removed before survive a crash.
    fn sync_folder(&self) -> io::Result<()>;
}

/// An open file that only grows, or is cut.
pub trait StorageFile: Send {
    /// Adds `bytes` at the end. After an error any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns when the content survives a crash. After an error nothing is known of it, and asking again proves nothing.
    fn sync_data(&mut self) -> io::Result<()>;
    /// Cuts the file to its first `bytes` bytes.
    fn truncate(&mut self, bytes: u64) -> io::Result<()>;
}

/// A folder on the disk.
#[derive(Clone, Debug)]
pub struct Disk {
    path: Arc<Path>,
    /// Kept open: a sync of the folder must not fail for want of descriptors.
    folder: Arc<File>,
}

impl Disk {
    /// Opens the folder; a missing one is made, for its owner alone (0700).
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(path)?;
                // Without its own name on disk the folder's content is lost with it. Best effort: it may be above our rights.
                if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                    _ = File::open(parent).and_then(|parent| parent.sync_all());
                }
                File::open(path)?
            }
            folder => folder?,
        };
        if !folder.metadata()?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { path: path.into(), folder: Arc::new(folder) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Storage for Disk {
    type File = File;

    fn location(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.location(name))
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(self.location(name))?;
        file.set_len(0)?;
        // The mode above counts only for a file that did not exist.
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(file)
    }

    fn open_append(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().append(true).open(self.location(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.location(from), self.location(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.location(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }
}

impl StorageFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        Self::sync_data(self)
    }

    fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_missing_folder_is_made_for_its_owner_alone_and_so_are_files() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("state/hotcore");
        let disk = Disk::open(&path).unwrap();
        let mut file = disk.create("a").unwrap();
        file.append(b"one").unwrap();
        assert_eq!((mode(&path), mode(&path.join("a"))), (0o700, 0o600));
    }

    #[test]
    fn a_file_that_others_could_read_is_closed_to_them_when_made_anew() {
        let outer = tempfile::tempdir().unwrap();
        let disk = Disk::open(outer.path()).unwrap();
        fs::write(outer.path().join("a"), "old").unwrap();
        fs::set_permissions(outer.path().join("a"), Permissions::from_mode(0o644)).unwrap();
        drop(disk.create("a").unwrap());
        assert_eq!((disk.read("a").unwrap(), mode(&outer.path().join("a"))), (Vec::new(), 0o600));
    }

    #[test]
    fn bytes_go_to_the_end_also_after_a_cut() {
        let outer = tempfile::tempdir().unwrap();
        let disk = Disk::open(outer.path()).unwrap();
        disk.create("a").unwrap().append(b"0123456789").unwrap();
        let mut file = disk.open_append("a").unwrap();
        file.append(b"xyz").unwrap();
        file.truncate(4).unwrap();
        file.append(b"!").unwrap();
        StorageFile::sync_data(&mut file).unwrap();
        disk.rename("a", "b").unwrap();
        disk.sync_folder().unwrap();
        assert_eq!((disk.list().unwrap(), disk.read("b").unwrap()), (vec!["b".to_owned()], b"0123!".to_vec()));
        disk.remove("b").unwrap();
        assert_eq!(disk.read("b").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(disk.open_append("b").is_err());
    }

    #[test]
    fn a_file_in_the_place_of_the_folder_is_an_error() {
        let outer = tempfile::tempdir().unwrap();
        fs::write(outer.path().join("a"), "").unwrap();
        assert_eq!(Disk::open(&outer.path().join("a")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
