//! The folders of certificates, and everything read in them. It blocks; nothing is made or changed.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    certs::store::{Found, Kept, Record, Store},
    domain::Domain,
};

/// Where a certificate comes from. The later wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Made for a local name.
    Local,
    /// The CA's.
    Ca,
    /// A person's.
    Own,
}

/// Where they are.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    outer: PathBuf,
    /// The URL of the CA's directory.
    ca: Option<String>,
}

/// What all folders together know of one name.
#[derive(Default)]
pub(super) struct Finding {
    pub(super) kept: BTreeMap<Source, Kept>,
    /// Plain HTTP is redirected for ever (B164).
    pub(super) had_one: bool,
    pub(super) record: Record,
    pub(super) pending: Option<Vec<u8>>,
    /// What is wrong with its files.
    pub(super) problems: Vec<String>,
}

/// Without what an interrupted order has: a key (B218).
impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Finding");
        shown.field("kept", &self.kept).field("had_one", &self.had_one).field("record", &self.record);
        shown.field("is_pending", &self.pending.is_some()).field("problems", &self.problems).finish()
    }
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) names: BTreeMap<Domain, Finding>,
    /// Folders that could not be read at all, and why: what they hold is not known.
    pub(super) unread: Vec<(Source, String)>,
}

impl Reading {
    /// Nothing could be read, so nothing is known to be gone.
    pub(super) fn failed(why: &str) -> Self {
        let unread = [Source::Local, Source::Ca, Source::Own].map(|source| (source, why.to_owned()));
        Self { unread: unread.into(), ..Self::default() }
    }

    /// Whether what lies in this folder is not known.
    pub(super) fn lacks(&self, source: Source) -> bool {
        self.unread.iter().any(|(unread, _)| *unread == source)
    }
}

impl Folders {
    pub(super) fn new(outer: PathBuf, ca: Option<&str>) -> Self {
        Self { outer, ca: ca.map(str::to_owned) }
    }

    /// `None`: there is no CA.
    pub(super) fn path(&self, source: Source) -> Option<PathBuf> {
        let name = match source {
            Source::Local => "local".to_owned(),
            Source::Own => "own".to_owned(),
            Source::Ca => name_of(self.ca.as_deref()?),
        };
        Some(self.outer.join(name))
    }

    /// Everything.
    pub(super) fn read(&self) -> Reading {
        let mut reading = Reading::default();
        self.each(&mut reading, |source, store, reading| {
            store.load_each(|domain, found| reading.names.entry(domain).or_default().take(source, found))
        });
        reading
    }

    /// One name.
    pub(super) fn read_name(&self, domain: &Domain) -> Reading {
        let mut reading = Reading::default();
        reading.names.insert(domain.clone(), Finding::default());
        self.each(&mut reading, |source, store, reading| {
            reading.names.entry(domain.clone()).or_default().take(source, store.find(domain));
            Ok(())
        });
        reading
    }

    fn each(&self, reading: &mut Reading, read: impl Fn(Source, &Store, &mut Reading) -> io::Result<()>) {
        for source in [Source::Local, Source::Ca, Source::Own] {
            let Some(path) = self.path(source) else { continue };
            let done = match Store::existing(&path) {
                Ok(None) => Ok(()),
                Ok(Some(store)) => read(source, &store, reading),
                Err(cause) => Err(cause),
            };
            if let Err(cause) = done {
                reading.unread.push((source, unreadable(&path, &cause)));
            }
        }
    }
}

fn unreadable(path: &Path, cause: &io::Error) -> String {
    format!("cannot read the certificates in {}: {cause}", path.display())
}

impl Finding {
    fn take(&mut self, source: Source, found: Found) {
        if let Some(certificate) = found.certificate {
            self.kept.insert(source, Kept::from(&certificate));
        }
        self.problems.extend(found.problems);
        // A local name's certificate may be gone tomorrow, with those who make them.
        self.had_one |= found.had_one && source != Source::Local;
        if source == Source::Ca {
            (self.record, self.pending) = (found.record, found.pending);
        }
    }

    /// The one to serve. An ended one serves all the same, if there is no better (B171).
    pub(super) fn best(&self) -> Option<(Source, &Kept)> {
        self.kept.last_key_value().map(|(source, kept)| (*source, kept))
    }
}

/// The name of the folder of the CA with this directory: readable, and another one for each URL.
fn name_of(directory: &str) -> String {
    let readable = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '-' };
    let bare = directory.split_once("://").map_or(directory, |(_, rest)| rest);
    let name: String = bare.trim_end_matches('/').chars().map(readable).take(100).collect();
    format!("ca-{name}-{:08x}", crc32fast::hash(directory.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ca_has_a_folder_of_its_own() {
        let production = name_of("https://acme-v02.api.letsencrypt.org/directory");
        assert!(production.starts_with("ca-acme-v02.api.letsencrypt.org-directory-"), "{production}");
        let strange = ["", "https://a/b", "https://a-b", "https://a/../../b", "own", "https://A/b", &"ä".repeat(999)];
        let names: std::collections::BTreeSet<_> = strange.iter().map(|url| name_of(url)).collect();
        assert_eq!(names.len(), strange.len());
        for name in names {
            assert!(name.len() < 200 && !name.contains('/') && !["own", "local"].contains(&name.as_str()), "{name}");
        }
    }

    #[test]
    fn folders_that_are_missing_hold_nothing_and_stay_missing() {
        let outer = tempfile::tempdir().unwrap();
        let folders = Folders::new(outer.path().join("certificates"), Some("https://ca.example/dir"));
        let reading = folders.read();
        assert!(reading.names.is_empty() && reading.unread.is_empty());
        assert!(folders.read_name(&Domain::parse("a.example").unwrap()).unread.is_empty());
        assert!(!outer.path().join("certificates").exists());
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_stops_no_other_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folders = Folders::new(outer.path().to_owned(), None);
        std::fs::write(outer.path().join("own"), "").unwrap();
        let reading = folders.read();
        assert!(matches!(reading.unread.as_slice(), [(Source::Own, why)] if why.contains("own")), "{reading:?}");
        assert!(folders.path(Source::Ca).is_none());
    }
}
