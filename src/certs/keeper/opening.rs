//! Opening the folders for work: they are made, the account is found or made, and everything is read. It blocks.

use std::{io, path::Path};

use crate::certs::{
    issuer::AccountKey,
    store::{Account, Record, Store},
};

use super::{
    account::{self, Trouble},
    folders::{Folders, Reading, Source},
};

/// Everything that orders need, from disk.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) account: Account,
    pub(super) key: AccountKey,
    pub(super) budget: Record,
    /// Whether the account existed before.
    pub(super) is_known: bool,
    pub(super) reading: Reading,
}

/// Opens the folder of the CA with this directory and reads all folders.
pub(super) fn open(folders: &Folders, directory: &str) -> Result<Opened, Trouble> {
    let path = folders.path(Source::Ca).ok_or_else(|| Trouble::Person("no CA is asked".to_owned()))?;
    let failed = |cause: io::Error| Trouble::Disk(cannot("open", &path, &cause));
    let mut store = Store::open(&path).map_err(failed)?;
    let is_known = matches!(store.account(directory), Ok(Some(_)));
    let within = |why: String| format!("in {}: {why}", path.display());
    let (account, key) = account::find_or_make(&mut store, directory).map_err(|trouble| match trouble {
        Trouble::Disk(why) => Trouble::Disk(within(why)),
        Trouble::Person(why) => Trouble::Person(within(why)),
    })?;
    let budget = store.budget();
    let reading = folders.read();
    match reading.unread.iter().find(|(source, _)| *source == Source::Ca) {
        // What was ordered before is not known: nothing may be ordered.
        Some((_, why)) => Err(Trouble::Disk(why.clone())),
        None => Ok(Opened { store, account, key, budget, is_known, reading }),
    }
}

/// Makes the folders that people and others put certificates into.
pub(super) fn make_folders(folders: &Folders) -> Vec<String> {
    let make = |source| {
        let path = folders.path(source)?;
        let made = Store::open(&path).err()?;
        Some(cannot("make", &path, &made))
    };
    [Source::Own, Source::Local].into_iter().filter_map(make).collect()
}

fn cannot(act: &str, path: &Path, cause: &io::Error) -> String {
    let remedy = match cause.kind() {
        io::ErrorKind::PermissionDenied => "; it must belong to the user that hotcore runs as",
        _ => "",
    };
    format!("cannot {act} {}: {cause}{remedy}", path.display())
}
