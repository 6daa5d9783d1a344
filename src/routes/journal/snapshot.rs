//! Writing a snapshot: all rules, sorted by name, in a file that appears under its name only when it is whole and on disk.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    Change,
    files::{snapshot_name, unfinished_name},
    line::{self, Header},
};
use crate::{
    domain::Domain,
    routes::{
        Port, Rule, Table,
        storage::{Storage, StorageFile},
    },
};

/// Bytes collected for one write.
const BLOCK_BYTES: usize = 256 * 1024;

/// Bytes written between syncs. A file system may write all of them out before it commits, and the sync of a batch then waits
/// for that: so neither the whole snapshot at once, nor a commit for each block.
const SYNC_BYTES: u64 = 8 * 1024 * 1024;

/// Why a snapshot was not written: the file, and what it said.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) file: String,
    pub(super) cause: io::Error,
}

/// Writes the snapshot `generation`, which holds the changes up to `through`, and returns its size once it survives a crash.
/// After an error it does not count, as far as that can be had; `stop` ends it early.
///
/// `rules` is asked when there is a file to write to: a read-only disk should not cost a walk through all of them.
pub(super) fn write<S: Storage>(
    storage: &S,
    generation: u64,
    through: u64,
    stop: &AtomicBool,
    rules: impl FnOnce() -> Rules,
) -> Result<u64, Failed> {
    let (unfinished, name) = (unfinished_name(generation), snapshot_name(generation));
    let written = storage.create(&unfinished).and_then(|mut file| rules().write_to(&mut file, through, stop));
    let bytes = written.map_err(|cause| {
        _ = storage.remove(&unfinished);
        Failed { file: unfinished.clone(), cause }
    })?;
    storage.rename(&unfinished, &name).and_then(|()| storage.sync_folder()).map_err(|cause| {
        // Under either name: it is not known how far it came. A name that is gone now may still be back after a crash; the
        // next snapshot takes a higher generation and thereby wins over it.
        _ = storage.remove(&unfinished);
        _ = storage.remove(&name);
        Failed { file: name, cause }
    })?;
    Ok(bytes)
}

/// The rules that a snapshot will hold, sorted by name.
pub(super) struct Rules(Vec<Arc<Rule>>);

impl Rules {
    /// What is visible now. Changes that become visible meanwhile may be in it or not: the log since its start has them all,
    /// and the last word on a name wins.
    pub(super) fn of(table: &Table) -> Self {
        let mut rules = Vec::with_capacity(table.len());
        table.for_each(|rule| rules.push(Arc::clone(rule)));
        rules.sort_unstable_by(|a, b| a.domain.cmp(&b.domain));
        Self(rules)
    }

    /// What is visible, and `changes` on top.
    pub(super) fn with(table: &Table, changes: &[Change]) -> Self {
        let mut last: HashMap<&Domain, Option<Port>> = HashMap::new();
        for change in changes {
            match change {
                Change::Map(domain, port) => last.insert(domain, Some(*port)),
                Change::Unmap(domain) => last.insert(domain, None),
            };
        }
        let Self(mut rules) = Self::of(table);
        rules.retain(|rule| !last.contains_key(&rule.domain));
        rules.extend(
            last.into_iter().filter_map(|(domain, port)| Some(Arc::new(Rule::new(domain.clone(), port?, true)))),
        );
        rules.sort_by(|a, b| a.domain.cmp(&b.domain));
        Self(rules)
    }

    fn write_to(&self, file: &mut impl StorageFile, through: u64, stop: &AtomicBool) -> io::Result<u64> {
        let mut block = Vec::with_capacity(BLOCK_BYTES + line::LINE_BYTES_MAX);
        let mut bytes = 0;
        Header::Snapshot { through }.write(&mut block);
        for rule in &self.0 {
            line::write_rule(&mut block, &rule.domain, rule.port);
            if block.len() >= BLOCK_BYTES {
                if stop.load(Ordering::Relaxed) {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                file.append(&block)?;
                bytes += block.len() as u64;
                if bytes / SYNC_BYTES > (bytes - block.len() as u64) / SYNC_BYTES {
                    file.sync_data()?;
                }
                block.clear();
            }
        }
        line::write_end(&mut block, self.0.len() as u64);
        file.append(&block)?;
        file.sync_data()?;
        Ok(bytes + block.len() as u64)
    }
}
