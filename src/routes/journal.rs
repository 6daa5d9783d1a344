//! The journal: every change of a rule, on disk before anyone can see it.
//!
//! A snapshot holds the rules, a log the changes since; both are text with a checksum in each line. A batch of changes costs
//! one write and one fdatasync (B182). When the log has grown larger than the snapshot, a new log begins and another thread
//! writes the rules as they are then visible: with the new log they make up the exact state, since the last word on a name
//! wins and nothing is visible that is not in a log. No acknowledgement waits for that.
//!
//! * A write that fails is undone, and nothing was changed (B196).
//! * A sync that fails poisons its file for good: what it holds is unknown, and a second sync proves nothing. All rules go
//!   into a fresh snapshot, the batch with them; if that fails too, the batch is refused (B195).
//!
//! Never here: a look-up (that is `table`), a socket, a second sync of a file whose sync has failed.

mod compaction;
mod files;
mod line;
mod open;
mod replay;
mod snapshot;
#[cfg(test)]
mod tests;

use std::{fmt, io, mem, sync::atomic::AtomicBool};

pub use open::{Loaded, OpenError, Recovery};
pub use replay::{NewerFormat, Recovered, recover};

use compaction::Compaction;
use files::log_name;
use line::Header;
use snapshot::Rules;

use super::{
    Port, Table,
    storage::{Storage, StorageFile},
};
use crate::domain::Domain;

/// Bytes of the write buffer kept between batches.
const BUFFER_BYTES: usize = 1024 * 1024;

/// One change of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The domain goes to this port from now on.
    Map(Domain, Port),
    /// The domain is no longer mapped.
    Unmap(Domain),
}

/// Makes changes durable. Blocks: it is called on a thread of its own, never on the control task.
pub trait Commit: Send + 'static {
    /// Returns once all of `changes` survive a crash, or with an error when none of them was made. `table` holds what is
    /// visible, which is everything committed before.
    fn commit(&mut self, changes: &[Change], table: &Table) -> Result<(), SaveError>;
}

/// Why a change could not be saved.
#[derive(Debug)]
pub struct SaveError(pub String);

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SaveError {}

/// The journal of a folder. To open one is to be its only writer: the caller holds the folder's [`Lock`](super::Lock).
#[derive(Debug)]
pub struct Journal<S: Storage> {
    storage: S,
    pen: Pen<S::File>,
    /// The highest generation that a file ever had; none is used twice.
    generation: u64,
    /// The number of the last change that was, or may have been, written.
    last: u64,
    snapshot_bytes: u64,
    /// Bytes of all logs since the snapshot.
    log_bytes: u64,
    /// Compaction starts when the logs have so many bytes.
    compact_at: u64,
    /// The least that `compact_at` can be.
    compact_from: u64,
    compaction: Option<Compaction>,
    /// Files to be kept aside as soon as a snapshot has replaced them; until then the pen is poisoned.
    damaged: Vec<String>,
    buffer: Vec<u8>,
}

/// Where the next batch goes.
#[derive(Debug)]
enum Pen<F> {
    /// Into this log.
    Ready(Log<F>),
    /// There is no log: a new one is made.
    Missing,
    /// Into a fresh snapshot: the log's last sync failed, or files that must not be continued lie in the way. The log is there
    /// until what was refused has been cut off it.
    Poisoned(Option<Log<F>>),
}

#[derive(Debug)]
struct Log<F> {
    file: F,
    name: String,
    /// Bytes known to be whole lines on disk.
    good: u64,
}

impl<F: StorageFile> Log<F> {
    /// Returns when `lines` survive a crash.
    fn append(&mut self, lines: &[u8]) -> Result<(), Setback> {
        if let Err(cause) = self.file.append(lines) {
            // Never an error for a change that may still reach the disk (B183): the cut must be there before it is said.
            let undone = self.file.truncate(self.good).and_then(|()| self.file.sync_data());
            return Err(if undone.is_ok() { Setback::Undone(cause) } else { Setback::Poisoned(cause) });
        }
        self.file.sync_data().map_err(Setback::Poisoned)?;
        self.good += lines.len() as u64;
        Ok(())
    }
}

/// What a batch that was not written has left behind.
enum Setback {
    /// Nothing.
    Undone(io::Error),
    /// A file that nothing is known of.
    Poisoned(io::Error),
}

impl<S: Storage> Commit for Journal<S> {
    fn commit(&mut self, changes: &[Change], table: &Table) -> Result<(), SaveError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.finish_compaction(false);
        if matches!(self.pen, Pen::Ready(_)) && self.compaction.is_none() && self.log_bytes >= self.compact_at {
            self.start_compaction(table);
        }
        if matches!(self.pen, Pen::Missing) {
            self.pen = Pen::Ready(self.new_log()?);
        }
        let Pen::Ready(log) = &mut self.pen else { return self.rewrite(changes, table) };
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_BYTES);
        for (sequence, change) in (self.last + 1..).zip(changes) {
            line::write_change(&mut self.buffer, sequence, change);
        }
        match log.append(&self.buffer) {
            Ok(()) => {
                self.last += changes.len() as u64;
                self.log_bytes += self.buffer.len() as u64;
                Ok(())
            }
            Err(Setback::Undone(cause)) => Err(save_error(&self.storage, &log.name, &cause)),
            Err(Setback::Poisoned(cause)) => {
                tracing::warn!("{}; writing all rules anew", save_error(&self.storage, &log.name, &cause));
                self.pen = match mem::replace(&mut self.pen, Pen::Missing) {
                    Pen::Ready(log) => Pen::Poisoned(Some(log)),
                    pen => pen,
                };
                self.rewrite(changes, table)
            }
        }
    }
}

impl<S: Storage> Journal<S> {
    /// Ends writing, so that another process can open the folder: what was acknowledged is on disk in any case, a snapshot
    /// in the making is given up. Dropping does the same.
    pub fn close(self) {}

    /// Saves everything visible and `changes` in a fresh snapshot.
    fn rewrite(&mut self, changes: &[Change], table: &Table) -> Result<(), SaveError> {
        self.finish_compaction(true);
        // Also if this fails: the numbers may be on disk, with these changes.
        self.last += changes.len() as u64;
        self.generation += 1;
        let rules = || Rules::with(table, changes);
        match snapshot::write(&self.storage, self.generation, self.last, &AtomicBool::new(false), rules) {
            Ok(bytes) => {
                self.pen = Pen::Missing;
                self.replaced_by_snapshot(bytes);
                compaction::sweep(&self.storage, &mem::take(&mut self.damaged));
                // If there can be none now, the next batch will try again and say so.
                if let Ok(log) = self.new_log() {
                    self.pen = Pen::Ready(log);
                }
                Ok(())
            }
            Err(failed) => {
                if let Pen::Poisoned(log) = &mut self.pen
                    && let Some(mut log) = log.take()
                {
                    _ = log.file.truncate(log.good);
                }
                Err(save_error(&self.storage, &failed.file, &failed.cause))
            }
        }
    }

    /// A log for the changes from now on; it has its first line and survives a crash.
    fn new_log(&mut self) -> Result<Log<S::File>, SaveError> {
        self.generation += 1;
        let name = log_name(self.generation);
        let mut first = Vec::new();
        Header::Log { after: self.last }.write(&mut first);
        let made = self.storage.create(&name).and_then(|mut file| {
            file.append(&first)?;
            file.sync_data()?;
            self.storage.sync_folder()?;
            Ok(file)
        });
        match made {
            Ok(file) => {
                self.log_bytes += first.len() as u64;
                Ok(Log { file, name, good: first.len() as u64 })
            }
            Err(cause) => {
                _ = self.storage.remove(&name);
                Err(save_error(&self.storage, &name, &cause))
            }
        }
    }

    /// A snapshot of `bytes` has taken the place of all logs but the current one.
    fn replaced_by_snapshot(&mut self, bytes: u64) {
        self.snapshot_bytes = bytes;
        self.log_bytes = if let Pen::Ready(log) = &self.pen { log.good } else { 0 };
        self.compact_at = bytes.max(self.compact_from);
    }
}

impl<S: Storage> Drop for Journal<S> {
    fn drop(&mut self) {
        self.finish_compaction(true);
    }
}

fn save_error<S: Storage>(storage: &S, name: &str, cause: &io::Error) -> SaveError {
    SaveError(format!("cannot save routes to {}: {}", storage.location(name).display(), reason(cause)))
}

/// What the system said, as a part of a sentence: `no space left on device`.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match (letters.next(), letters.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text.to_owned(),
    }
}
