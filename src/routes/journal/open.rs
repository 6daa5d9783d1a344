//! Opening a journal: reading what is there, then taking the pen.
//!
//! The two are apart for the hand-over (B206): a new generation reads while the old one still writes, and when the old one
//! has let go, reads only what came since. Start never fails for a full or read-only disk (B196), nor for damage (B194).

use std::{error, fmt, io, mem, path::PathBuf, sync::Arc, sync::atomic::AtomicBool};

use super::{
    Change, Journal, Pen, compaction,
    files::{Files, log_name, snapshot_name},
    reason,
    replay::{NewerFormat, Replay},
    snapshot::{self, Rules},
};
use crate::{
    limits,
    routes::{
        Rule, Table, TableWriter,
        storage::{Storage, StorageFile},
    },
};

/// How often reading starts again because a file was replaced meanwhile by the process that still writes.
const READS_MAX: usize = 8;

/// What a start found on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Number of rules in force.
    pub rules: usize,
    /// What is wrong, one sentence each: for the log, and for `status` until the next start. Empty: all is well.
    pub problems: Vec<String>,
    /// What is worth a line of the log and nothing more, such as a change that a crash left unfinished.
    pub notes: Vec<String>,
    /// Damaged files that were kept aside, now or earlier.
    pub kept_aside: Vec<PathBuf>,
}

/// Why a journal cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// A file, or the folder, exists and cannot be read: to start without its rules would be worse than not to start.
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A newer hotcore wrote it; nothing was touched.
    Newer(NewerFormat),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, cause } => write!(f, "cannot read routes from {}: {}", path.display(), reason(cause)),
            Self::Newer(newer) => newer.fmt(f),
        }
    }
}

impl error::Error for OpenError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Read { cause, .. } => Some(cause),
            Self::Newer(newer) => Some(newer),
        }
    }
}

/// The rules as they were read, without the right to change them.
#[derive(Debug)]
pub struct Loaded {
    writer: TableWriter,
    found: Found,
}

impl Loaded {
    /// Reads the rules and writes nothing; needs no lock. Another process may be writing meanwhile.
    pub fn read<S: Storage>(storage: &S) -> Result<Self, OpenError> {
        let (found, rules) = Found::read(storage)?;
        Ok(Self { writer: TableWriter::from_rules(rules), found })
    }

    /// A reader of these rules; it goes on to see the changes of the journal that is opened after.
    pub fn table(&self) -> Table {
        self.writer.table()
    }
}

impl<S: Storage> Journal<S> {
    /// Opens the folder's journal. The caller holds its [`Lock`](crate::routes::Lock).
    pub fn open(storage: S) -> Result<(Self, TableWriter, Recovery), OpenError> {
        let (found, rules) = Found::read(&storage)?;
        Ok(Self::start(storage, found, TableWriter::from_rules(rules)))
    }

    /// Opens the journal after an earlier reading, and reads only what was added since, where that is possible. Readers of
    /// the earlier table see the result.
    pub fn open_after(loaded: Loaded, storage: S) -> Result<(Self, TableWriter, Recovery), OpenError> {
        let Loaded { mut writer, found } = loaded;
        let found = match found.catch_up(&storage)? {
            Some((found, changes)) => {
                for change in changes {
                    match change {
                        Change::Map(domain, port) => writer.insert_proven(domain, port),
                        Change::Unmap(domain) => writer.remove(&domain),
                    }
                }
                found
            }
            None => {
                let (found, rules) = Found::read(&storage)?;
                writer.become_like(rules);
                found
            }
        };
        Ok(Self::start(storage, found, writer))
    }

    fn start(storage: S, found: Found, writer: TableWriter) -> (Self, TableWriter, Recovery) {
        let mut recovery =
            Recovery { rules: writer.table().len(), problems: found.problems.clone(), ..Recovery::default() };
        let journal = Self::take_pen(storage, found, &writer.table(), &mut recovery);
        let kept = Files::list(&journal.storage).map(|files| files.kept).unwrap_or_default();
        recovery.kept_aside = kept.iter().map(|(_, name)| journal.storage.location(name)).collect();
        (journal, writer, recovery)
    }

    /// Makes the folder ready for the first batch. Whatever fails here is tried again with that batch.
    fn take_pen(storage: S, found: Found, table: &Table, recovery: &mut Recovery) -> Self {
        let Found { files, last, logs, snapshot_bytes, damaged, .. } = found;
        let compact_from = limits::JOURNAL_LOG_BYTES;
        let many = logs.len() >= limits::JOURNAL_LOGS_MAX;
        let mut journal = Self {
            storage,
            pen: Pen::Poisoned(None),
            generation: files.highest,
            last,
            snapshot_bytes,
            log_bytes: logs.iter().map(|log| log.whole).sum(),
            compact_at: if many { 0 } else { snapshot_bytes.max(compact_from) },
            compact_from,
            compaction: None,
            damaged,
            buffer: Vec::new(),
        };
        if journal.damaged.is_empty() {
            journal.sweep_leftovers(&files, recovery);
            journal.follow(&logs, recovery);
        } else {
            journal.heal(table, recovery);
        }
        journal
    }

    /// Takes away what a crash left of an earlier compaction, but not a damaged file that it left of an earlier mending.
    fn sweep_leftovers(&self, files: &Files, recovery: &mut Recovery) {
        let mut damaged = Vec::new();
        for name in &files.leftovers {
            if let Ok(bytes) = self.storage.read(name) {
                let outcome = Replay::of_one(name, &bytes).finish();
                damaged.extend(outcome.damaged);
                recovery.problems.extend(outcome.problems);
            }
        }
        self.sweep(&damaged, recovery);
    }

    fn sweep(&self, damaged: &[String], recovery: &mut Recovery) {
        for name in compaction::sweep(&self.storage, damaged) {
            let kept = self.storage.location(&name);
            recovery.problems.push(format!("the damaged file is kept as {}", kept.display()));
        }
    }

    /// Finishes the logs that were read and begins one of its own: whether a sync of theirs ever failed, only the process
    /// that wrote them knew (B195).
    fn follow(&mut self, logs: &[LogRead], recovery: &mut Recovery) {
        for log in logs {
            let name = log_name(log.generation);
            if !log.changes {
                // Nothing in it, perhaps not even its first line: a crash while it was made.
                _ = self.storage.remove(&name);
                continue;
            }
            let finished = self.storage.open_append(&name).and_then(|mut file| {
                if log.whole < log.bytes {
                    file.truncate(log.whole)?;
                    let name = self.storage.location(&name);
                    let name = name.display();
                    recovery
                        .notes
                        .push(format!("{name}: an unfinished change, never acknowledged, was cut off its end"));
                }
                // What a killed process wrote and did not sync is about to be visible: durable first.
                file.sync_data()
            });
            if let Err(cause) = finished {
                return recovery.problems.push(cannot_save(&self.storage.location(&name), &cause));
            }
        }
        self.begin(recovery);
    }

    fn begin(&mut self, recovery: &mut Recovery) {
        match self.new_log() {
            Ok(log) => self.pen = Pen::Ready(log),
            Err(error) => {
                recovery.problems.push(format!("{error}: new rules are refused until this is mended"));
                self.pen = Pen::Missing;
            }
        }
    }

    /// Writes the rules that could be read into a fresh snapshot, and keeps the damaged files aside.
    fn heal(&mut self, table: &Table, recovery: &mut Recovery) {
        self.generation += 1;
        let rules = || Rules::of(table);
        match snapshot::write(&self.storage, self.generation, self.last, &AtomicBool::new(false), rules) {
            Ok(bytes) => {
                self.replaced_by_snapshot(bytes);
                let damaged = mem::take(&mut self.damaged);
                self.sweep(&damaged, recovery);
                self.begin(recovery);
            }
            Err(failed) => {
                recovery.problems.push(cannot_save(&self.storage.location(&failed.file), &failed.cause));
            }
        }
    }
}

fn cannot_save(path: &std::path::Path, cause: &io::Error) -> String {
    let path = path.display();
    format!("cannot save routes to {path}: {}: new rules are refused until this is mended", reason(cause))
}

/// What a reading found besides the rules.
#[derive(Debug, Default)]
struct Found {
    files: Files,
    /// The number of the last change.
    last: u64,
    logs: Vec<LogRead>,
    snapshot_bytes: u64,
    damaged: Vec<String>,
    problems: Vec<String>,
}

/// A log, as far as it was read.
#[derive(Debug)]
struct LogRead {
    generation: u64,
    bytes: u64,
    /// Bytes up to the end of the last whole line.
    whole: u64,
    /// CRC-32 of those.
    checksum: u32,
    /// There is at least one change in it.
    changes: bool,
}

impl LogRead {
    fn new(generation: u64, bytes: &[u8], whole: usize) -> Self {
        let lines = bytes.get(..whole).unwrap_or_default();
        let changes = lines.iter().filter(|&&byte| byte == b'\n').nth(1).is_some();
        let checksum = crc32fast::hash(lines);
        Self { generation, bytes: bytes.len() as u64, whole: whole as u64, checksum, changes }
    }
}

impl Found {
    /// Reads everything.
    fn read<S: Storage>(storage: &S) -> Result<(Self, Vec<Arc<Rule>>), OpenError> {
        let mut tries = 1;
        loop {
            match Self::read_once(storage) {
                // The writer has just replaced it.
                Err(OpenError::Read { cause, .. }) if cause.kind() == io::ErrorKind::NotFound && tries < READS_MAX => {
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    fn read_once<S: Storage>(storage: &S) -> Result<(Self, Vec<Arc<Rule>>), OpenError> {
        let files = list(storage)?;
        let mut found = Self { files, ..Self::default() };
        let mut replay = Replay::default();
        if let Some(generation) = found.files.snapshot {
            let name = snapshot_name(generation);
            let bytes = read(storage, &name)?;
            found.snapshot_bytes = bytes.len() as u64;
            replay.snapshot(&name, &bytes).map_err(|newer| newer_at(storage, newer))?;
        }
        for &generation in &found.files.logs {
            let name = log_name(generation);
            let bytes = read(storage, &name)?;
            let whole = replay.log(&name, &bytes).map_err(|newer| newer_at(storage, newer))?;
            found.logs.push(LogRead::new(generation, &bytes, whole));
        }
        let outcome = replay.finish();
        (found.last, found.damaged, found.problems) = (outcome.last, outcome.damaged, outcome.problems);
        Ok((found, outcome.rules))
    }

    /// Reads what was added since, where the last log that was read is still the beginning of what there is.
    fn catch_up<S: Storage>(mut self, storage: &S) -> Result<Option<(Self, Vec<Change>)>, OpenError> {
        let files = list(storage)?;
        let Some(known) = self.logs.last() else { return Ok(None) };
        let (generation, whole) = (known.generation, known.whole);
        let Some(at) = files.logs.iter().position(|&log| log == generation) else { return Ok(None) };
        if !self.damaged.is_empty() || whole == 0 {
            return Ok(None);
        }
        let mut replay = Replay::after(self.last);
        let mut logs = Vec::new();
        for &log in files.logs.get(at..).unwrap_or_default() {
            let name = log_name(log);
            let Ok(bytes) = storage.read(&name) else { return Ok(None) };
            let end = if log == generation {
                // What was read may have been undone since, and something else written in its place.
                let split = usize::try_from(whole).ok().and_then(|whole| bytes.split_at_checked(whole));
                let Some((known_bytes, rest)) = split else { return Ok(None) };
                if crc32fast::hash(known_bytes) != known.checksum {
                    return Ok(None);
                }
                known_bytes.len() + replay.rest_of_log(&name, rest)
            } else {
                replay.log(&name, &bytes).map_err(|newer| newer_at(storage, newer))?
            };
            logs.push(LogRead::new(log, &bytes, end));
        }
        let outcome = replay.finish_changes();
        if outcome.rewound || !outcome.damaged.is_empty() {
            return Ok(None);
        }
        // The earlier logs that still count were whole; only the last one of them was looked at again.
        let counts = |log: &LogRead| log.generation < generation && files.logs.contains(&log.generation);
        self.logs.retain(counts);
        self.logs.append(&mut logs);
        if self.files.snapshot != files.snapshot {
            let snapshot = files.snapshot.map(|generation| read(storage, &snapshot_name(generation))).transpose()?;
            self.snapshot_bytes = snapshot.map_or(0, |bytes| bytes.len() as u64);
        }
        self.last = outcome.last;
        self.files = files;
        Ok(Some((self, outcome.changes)))
    }
}

fn list<S: Storage>(storage: &S) -> Result<Files, OpenError> {
    Files::list(storage).map_err(|cause| OpenError::Read { path: storage.location(""), cause })
}

fn read<S: Storage>(storage: &S, name: &str) -> Result<Vec<u8>, OpenError> {
    storage.read(name).map_err(|cause| OpenError::Read { path: storage.location(name), cause })
}

fn newer_at<S: Storage>(storage: &S, newer: NewerFormat) -> OpenError {
    OpenError::Newer(NewerFormat { file: storage.location(&newer.file).display().to_string(), ..newer })
}
