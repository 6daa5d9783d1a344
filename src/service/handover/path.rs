//! Where two generations meet: a Unix socket in the state folder.

use std::{
    fs::File,
    io,
    os::{
        fd::AsRawFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// Its file name.
pub(super) const NAME: &str = "handover.sock";

/// Longer paths do not fit into an address (108 bytes with the final zero: unix(7)).
const PATH_BYTES_MAX: usize = 107;

pub(super) fn bind(folder: &Path, name: &str) -> io::Result<UnixListener> {
    with_short(folder, name, |path| UnixListener::bind(path))
}

pub(super) fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    with_short(folder, name, |path| UnixStream::connect(path))
}

/// A folder with a long name is reached through a descriptor of it.
fn with_short<T>(folder: &Path, name: &str, open: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let path = folder.join(name);
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return open(&path);
    }
    let held = File::open(folder)?;
    open(&PathBuf::from(format!("/proc/self/fd/{}/{name}", held.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_a_long_name_works_as_well() {
        let outer = tempfile::tempdir().unwrap();
        let base = outer.path().as_os_str().len() + 1;
        for length in [PATH_BYTES_MAX - base - 1 - NAME.len(), PATH_BYTES_MAX - base - NAME.len(), 200] {
            let folder = outer.path().join("x".repeat(length));
            std::fs::create_dir(&folder).unwrap();
            let listener = bind(&folder, NAME).unwrap();
            connect(&folder, NAME).unwrap();
            listener.accept().unwrap();
        }
    }
}
