//! Certificates, the account's key and the schedule's records on disk.
//!
//! One file a domain holds key and chain together, for its owner alone (0600 in 0700, invariant 5). A new one is written beside
//! it, synced, read back, and takes its name only then, while the old one becomes the previous generation: at each moment, and
//! after each crash, one of the two is there (B172, B199). That a name once had a certificate is a file of its own, which no
//! damage to the certificate touches (B164).
//!
//! Never here: an order, a network, a decision about what to do with damage; a certificate that was not checked.

mod account;
mod certificate;
mod names;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    error, fmt,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use crate::{
    certs::schedule::{Origin, RecordOf},
    domain::Domain,
    limits,
    routes::{
        Disk,
        storage::{Storage, StorageFile},
    },
};

pub use account::{Account, AccountError};
pub use certificate::{Certificate, CertificateError, Kept};

use names::{BUDGET, CURRENT, ONCE, PENDING, PREVIOUS, ROOM, SCHEDULE, UNFINISHED, stem};

const TITLE: &str = "hotcore-certificate 1";

/// The folder of one CA's certificates: those of another CA, its account and its budget are in another one.
///
/// There is one writer; readers may have clones of the storage.
#[derive(Debug)]
pub struct Store<S = Disk> {
    storage: S,
}

/// What a folder knows of one name.
#[derive(Default)]
pub struct Found {
    /// The best certificate there is, checked; the previous one if the current one is damaged (B172).
    pub certificate: Option<Certificate>,
    /// It once had one, whatever has become of it: plain HTTP is redirected for ever (B164).
    pub had_one: bool,
    /// The schedule's record, as it is on disk.
    pub record: Record,
    /// An order that was interrupted, as [`Store::save_pending`] was given it.
    pub pending: Option<Vec<u8>>,
    /// What was wrong, for the log.
    pub problems: Vec<String>,
}

/// Without what the interrupted order has: a key (B218).
impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Found");
        shown.field("certificate", &self.certificate).field("had_one", &self.had_one).field("record", &self.record);
        shown.field("is_pending", &self.pending.is_some()).field("problems", &self.problems).finish()
    }
}

/// A record of the schedule on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Record {
    /// There is none.
    #[default]
    Never,
    /// This.
    Text(Vec<u8>),
    /// There is one that cannot be read.
    Unreadable,
}

impl Store<Disk> {
    /// Opens the folder, or makes it; it is closed to others.
    pub fn open(path: &Path) -> io::Result<Self> {
        let storage = Disk::open(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o700))?;
        Ok(Self::new(storage))
    }

    /// The folder as it is, for reading; `None`: there is none. Nothing is made or changed.
    pub fn existing(path: &Path) -> io::Result<Option<Self>> {
        match path.try_exists()? {
            true => Ok(Some(Self::new(Disk::open(path)?))),
            false => Ok(None),
        }
    }
}

impl<S: Storage> Store<S> {
    /// A store in this folder.
    pub fn new(storage: S) -> Self {
        Self { storage }
    }

    /// Keeps a certificate. When this returns well, a crash does not take it back, and it may serve. An own certificate is
    /// never replaced by one of the CA.
    pub fn save(&mut self, certificate: &Certificate) -> Result<(), SaveError> {
        let stem = stem(&certificate.domain);
        let current = format!("{stem}{CURRENT}");
        let bytes = file(certificate);
        let known = self.read(&current)?;
        let old = known.as_deref().and_then(|known| unfile(&certificate.domain, known).ok());
        if old.as_ref().is_some_and(|old| (old.origin, certificate.origin) == (Origin::Own, Origin::Issued)) {
            return Err(SaveError::Own);
        }
        let once = format!("{stem}{ONCE}");
        if self.read(&once)?.is_none() {
            self.write(&once, format!("hotcore-once 1 {}\n", certificate.domain).as_bytes())?;
        }
        let unfinished = format!("{current}{UNFINISHED}");
        self.write(&unfinished, &bytes)?;
        let written = self.storage.read(&unfinished)?;
        unfile(&certificate.domain, &written).map_err(SaveError::Certificate)?;
        // Only a good one becomes the previous one, and not the same twice: a save may be repeated.
        if old.is_some() && known.as_deref() != Some(&bytes) {
            self.storage.rename(&current, &format!("{stem}{PREVIOUS}"))?;
        }
        self.storage.rename(&unfinished, &current)?;
        self.storage.sync_folder()?;
        Ok(())
    }

    /// Takes the certificate away, with its key and the previous generation; whether there was one. After a crash it is there as
    /// before, or gone: never an older one. That the name once had one stays (B164).
    pub fn remove(&mut self, domain: &Domain) -> io::Result<bool> {
        let stem = stem(domain);
        let mut was_there = false;
        for file in [CURRENT.to_owned(), format!("{CURRENT}{UNFINISHED}"), PREVIOUS.to_owned()] {
            was_there |= self.read(&format!("{stem}{file}"))?.is_some();
        }
        let once = format!("{stem}{ONCE}");
        if was_there && self.read(&once)?.is_none() {
            self.write(&once, format!("hotcore-once 1 {domain}\n").as_bytes())?;
        }
        // What would be fallen back to goes first, and is gone for good before the current one goes.
        for ending in [format!("{PREVIOUS}{UNFINISHED}"), format!("{CURRENT}{UNFINISHED}"), PREVIOUS.to_owned()] {
            self.remove_file(&format!("{stem}{ending}"))?;
        }
        self.storage.sync_folder()?;
        self.remove_file(&format!("{stem}{CURRENT}"))?;
        self.storage.sync_folder()?;
        Ok(was_there)
    }

    /// Everything about every name, one at a time: all files together may be large.
    pub fn load_each(&self, mut see: impl FnMut(Domain, Found)) -> io::Result<()> {
        let mut stems: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for name in self.storage.list()? {
            if let Some((stem, _)) = names::split(&name) {
                stems.entry(stem.to_owned()).or_default().insert(name.clone());
            }
        }
        for (stem, files) in stems {
            if let Some(domain) = self.domain_of(&stem, &files) {
                let found = self.load(&domain, &stem, &files);
                see(domain, found);
            }
        }
        Ok(())
    }

    /// Everything about one name.
    pub fn find(&self, domain: &Domain) -> Found {
        let stem = stem(domain);
        let endings = [CURRENT, PREVIOUS, ONCE, SCHEDULE, PENDING].map(str::to_owned);
        let names = endings.into_iter().chain([format!("{CURRENT}{UNFINISHED}")]);
        let is_there = |name: &String| !matches!(self.read(name), Ok(None));
        let files = names.map(|ending| format!("{stem}{ending}")).filter(is_there).collect();
        self.load(domain, &stem, &files)
    }

    /// The record of the account's budget.
    pub fn budget(&self) -> Record {
        self.record(BUDGET)
    }

    /// Keeps what [`crate::certs::schedule::Schedule::unsaved`] gave: all or, after an error or a crash, any of it.
    pub fn save_records(&mut self, records: &[(RecordOf, Option<String>)]) -> io::Result<()> {
        let name = |of: &RecordOf| match of {
            RecordOf::Budget => BUDGET.to_owned(),
            RecordOf::Name(domain) => format!("{}{SCHEDULE}", stem(domain)),
        };
        let records: Vec<_> =
            records.iter().map(|(of, text)| (name(of), text.as_ref().map(|text| text.clone().into_bytes()))).collect();
        self.replace(&records)
    }

    /// Whether what an order leaves behind would find room: writes as much, synced, and removes it.
    pub fn try_room(&mut self) -> io::Result<()> {
        let name = format!("{ROOM}{UNFINISHED}");
        let written = self.write(&name, &[0; limits::STORE_ROOM_BYTES]);
        match self.storage.remove(&name) {
            Err(error) if written.is_ok() => Err(error),
            _ => written,
        }
    }

    /// Keeps what an interrupted order needs to be finished, key and all.
    pub fn save_pending(&mut self, domain: &Domain, order: &[u8]) -> io::Result<()> {
        let bytes = [format!("hotcore-pending 1 {domain}\n").as_bytes(), order].concat();
        self.replace(&[(format!("{}{PENDING}", stem(domain)), Some(bytes))])
    }

    /// The order is finished.
    pub fn remove_pending(&mut self, domain: &Domain) -> io::Result<()> {
        self.replace(&[(format!("{}{PENDING}", stem(domain)), None)])
    }

    /// Writes these files, or removes them, in one go: each is the old one or the new one, whatever happens.
    fn replace(&mut self, files: &[(String, Option<Vec<u8>>)]) -> io::Result<()> {
        for (name, bytes) in files.iter().filter_map(|(name, bytes)| Some((name, bytes.as_ref()?))) {
            self.write(&format!("{name}{UNFINISHED}"), bytes)?;
        }
        for (name, bytes) in files {
            match bytes {
                Some(_) => self.storage.rename(&format!("{name}{UNFINISHED}"), name)?,
                None => self.remove_file(name)?,
            }
        }
        self.storage.sync_folder()
    }

    fn remove_file(&self, name: &str) -> io::Result<()> {
        match self.storage.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.storage.create(name)?;
        file.append(bytes)?;
        file.sync_data()
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match self.storage.read(name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn record(&self, name: &str) -> Record {
        match self.read(name) {
            Ok(None) => Record::Never,
            Ok(Some(text)) => Record::Text(text),
            Err(_) => Record::Unreadable,
        }
    }

    /// The name whose files these are: the stem itself, or for a long one what one of the files says.
    fn domain_of(&self, stem: &str, files: &BTreeSet<String>) -> Option<Domain> {
        let is_it = |domain: &Domain| names::stem(domain) == stem;
        if !stem.contains('_') {
            return Domain::parse(stem).ok().filter(is_it);
        }
        let read = |file| {
            let bytes = self.storage.read(file).ok()?;
            let line = str::from_utf8(bytes.split(|byte| *byte == b'\n').next()?).ok()?;
            Domain::parse(line.split(' ').nth(2)?).ok().filter(is_it)
        };
        files.iter().find_map(|file| read(file))
    }

    fn load(&self, domain: &Domain, stem: &str, files: &BTreeSet<String>) -> Found {
        let mut found = Found::default();
        let has = |ending: &str| files.contains(&format!("{stem}{ending}"));
        // The unfinished one is whole if the crash came just before it got its name.
        for ending in [CURRENT.to_owned(), format!("{CURRENT}{UNFINISHED}"), PREVIOUS.to_owned()] {
            if found.certificate.is_some() || !has(&ending) {
                continue;
            }
            let name = format!("{stem}{ending}");
            let certificate = self.storage.read(&name).map_err(|cause| cause.to_string());
            match certificate.and_then(|bytes| unfile(domain, &bytes).map_err(|cause| cause.to_string())) {
                Ok(certificate) => found.certificate = Some(certificate),
                Err(_) if ending.ends_with(UNFINISHED) => {}
                Err(cause) => {
                    found.problems.push(format!("cannot use {}: {cause}", self.storage.location(&name).display()));
                }
            }
        }
        found.had_one = has(ONCE) || has(CURRENT) || has(PREVIOUS);
        found.record = if has(SCHEDULE) { self.record(&format!("{stem}{SCHEDULE}")) } else { Record::Never };
        if found.record == Record::Unreadable {
            found.problems.push(format!("cannot read the schedule of {domain}: it is tried with caution"));
        }
        let title = format!("hotcore-pending 1 {domain}\n");
        let pending = has(PENDING).then(|| self.storage.read(&format!("{stem}{PENDING}")).ok()).flatten();
        found.pending = pending.and_then(|bytes| bytes.strip_prefix(title.as_bytes()).map(<[u8]>::to_vec));
        found
    }
}

/// The content of a certificate's file: a line of ours, which readers of PEM pass over, then key and chain.
fn file(certificate: &Certificate) -> Vec<u8> {
    let origin = match certificate.origin {
        Origin::Issued => "issued",
        Origin::Own => "own",
    };
    let sum = crc32fast::hash(&certificate.pem);
    let title = format!("{TITLE} {} {origin} {sum:08x}\n", certificate.domain);
    [title.as_bytes(), &certificate.pem].concat()
}

/// The other way, checked.
fn unfile(domain: &Domain, bytes: &[u8]) -> Result<Certificate, CertificateError> {
    if bytes.len() > limits::CERTIFICATE_FILE_BYTES_MAX + 1_024 {
        return Err(CertificateError::TooLarge);
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(CertificateError::Damaged)?;
    let (title, pem) = bytes.split_at(end + 1);
    let sum = crc32fast::hash(pem);
    let origin = [(Origin::Issued, "issued"), (Origin::Own, "own")]
        .into_iter()
        .find(|(_, origin)| title == format!("{TITLE} {domain} {origin} {sum:08x}\n").as_bytes());
    Certificate::parse(domain, origin.ok_or(CertificateError::Damaged)?.0, pem)
}

/// Why a certificate was not kept.
#[derive(Debug)]
pub enum SaveError {
    /// The disk.
    Io(io::Error),
    /// What was written does not read back.
    Certificate(CertificateError),
    /// A person gave the one that is there.
    Own,
}

impl From<io::Error> for SaveError {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(cause) => write!(f, "cannot save the certificate: {cause}"),
            Self::Certificate(cause) => write!(f, "cannot save the certificate, since {cause}"),
            Self::Own => f.write_str("this name has a certificate of its own: it is not replaced by one of the CA"),
        }
    }
}

impl error::Error for SaveError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Io(cause) => Some(cause),
            Self::Certificate(cause) => Some(cause),
            Self::Own => None,
        }
    }
}
