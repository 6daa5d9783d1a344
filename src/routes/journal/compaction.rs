//! Compaction: a snapshot takes the place of the logs before it, written on a thread of its own.
//!
//! The order makes it safe: first a new log is on disk, then the visible rules are read (all changes of the older logs are
//! among them by then), then the snapshot is on disk under its name, then the older files go. A crash anywhere between
//! leaves a snapshot and logs that make up the same rules (B197).

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use super::{
    Journal, Pen,
    files::Files,
    reason,
    snapshot::{self, Failed, Rules},
};
use crate::{
    limits,
    routes::{Table, storage::Storage},
};

/// A snapshot in the making.
#[derive(Debug)]
pub(super) struct Compaction {
    thread: thread::JoinHandle<Result<u64, Failed>>,
    stop: Arc<AtomicBool>,
}

impl Compaction {
    pub(super) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

impl<S: Storage> Journal<S> {
    /// Begins a new log and the snapshot that goes with it. If there can be no new log, the old one goes on.
    pub(super) fn start_compaction(&mut self, table: &Table) {
        // A failure below is tried again when the log has grown further, not with every batch.
        self.compact_at = self.log_bytes + self.compact_from;
        let through = self.last;
        match self.new_log() {
            Ok(log) => self.pen = Pen::Ready(log),
            Err(error) => return tracing::warn!("the log of routes goes on growing: {error}"),
        }
        let (storage, table, generation) = (self.storage.clone(), table.clone(), self.generation);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("snapshot".into()).spawn(move || {
            let bytes = snapshot::write(&storage, generation, through, &stopped, || Rules::of(&table))?;
            sweep(&storage, &[]);
            Ok(bytes)
        });
        match thread {
            Ok(thread) => self.compaction = Some(Compaction { thread, stop }),
            Err(cause) => {
                tracing::warn!("the log of routes goes on growing: cannot start a thread: {}", reason(&cause))
            }
        }
    }

    /// Takes note of a snapshot that is finished; with `stop`, ends one that is not and waits for its thread.
    pub(super) fn finish_compaction(&mut self, stop: bool) {
        let Some(Compaction { thread, stop: flag }) = self.compaction.take_if(|it| stop || it.is_finished()) else {
            return;
        };
        flag.store(stop, Ordering::Relaxed);
        match thread.join() {
            Ok(Ok(bytes)) => self.replaced_by_snapshot(bytes),
            Ok(Err(Failed { cause, .. })) if stop && cause.kind() == io::ErrorKind::Interrupted => {}
            Ok(Err(Failed { file, cause })) => {
                let file = self.storage.location(&file);
                tracing::warn!(
                    "the log of routes goes on growing: cannot write {}: {}",
                    file.display(),
                    reason(&cause)
                );
            }
            Err(_) => tracing::error!("the log of routes goes on growing: writing a snapshot ended in a panic"),
        }
    }
}

/// After a snapshot is safe: keeps the `damaged` files aside and removes what else it has replaced. Best effort: what stays
/// is not read again. Returns the names under which damaged files were kept.
pub(super) fn sweep<S: Storage>(storage: &S, damaged: &[String]) -> Vec<String> {
    let Ok(mut files) = Files::list(storage) else { return Vec::new() };
    let mut kept = Vec::new();
    for name in damaged {
        // One that cannot be renamed stays where it is rather than being removed.
        files.leftovers.retain(|leftover| leftover != name);
        kept.extend(files.keep_aside(storage, name, limits::JOURNAL_DAMAGED_MAX).ok());
    }
    files.sweep(storage);
    kept
}
