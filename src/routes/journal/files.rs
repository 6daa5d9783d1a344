//! The names of the journal's files, and which of them count.
//!
//! Each file carries a number, its generation, that only grows. `routes.snapshot.7` holds everything that was in logs below
//! 7; `routes.log.7` and the logs above continue it. A snapshot thus never takes the place of the one before: that one goes
//! when the new one is safe.

use std::io;

use crate::routes::storage::Storage;

const SNAPSHOT: &str = "routes.snapshot.";
const LOG: &str = "routes.log.";
const UNFINISHED: &str = ".tmp";
const DAMAGED: &str = ".damaged-";

/// Generations end here; far from an overflow.
const GENERATION_MAX: u64 = 1 << 62;

/// What a folder holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Files {
    /// The newest snapshot.
    pub(super) snapshot: Option<u64>,
    /// The logs that continue it, in order.
    pub(super) logs: Vec<u64>,
    /// What a newer snapshot has replaced and what was never finished, oldest first.
    pub(super) leftovers: Vec<String>,
    /// Damaged files that were kept aside, oldest first, with their numbers.
    pub(super) kept: Vec<(u64, String)>,
    /// The highest generation of all; the next file takes one above.
    pub(super) highest: u64,
}

impl Files {
    pub(super) fn list<S: Storage>(storage: &S) -> io::Result<Self> {
        Ok(Self::of(storage.list()?))
    }

    fn of(names: Vec<String>) -> Self {
        let mut files = Self::default();
        let (mut snapshots, mut logs) = (Vec::new(), Vec::new());
        for name in names {
            if let Some(number) = damaged_number(&name) {
                files.kept.push((number, name));
            } else if is_unfinished(&name) {
                files.leftovers.push(name);
            } else if let Some(generation) = generation(&name, SNAPSHOT) {
                snapshots.push(generation);
            } else if let Some(generation) = generation(&name, LOG) {
                logs.push(generation);
            }
        }
        snapshots.sort_unstable();
        logs.sort_unstable();
        files.kept.sort_unstable();
        files.highest = snapshots.iter().chain(&logs).copied().max().unwrap_or(0);
        files.snapshot = snapshots.pop();
        let old_logs = logs.iter().take_while(|&&log| Some(log) < files.snapshot).count();
        files.logs = logs.split_off(old_logs);
        files.leftovers.extend(snapshots.into_iter().map(snapshot_name));
        files.leftovers.extend(logs.into_iter().map(log_name));
        files
    }

    /// Takes away what counts no more: best effort, oldest first, so that what is left is always a whole history.
    pub(super) fn sweep<S: Storage>(&self, storage: &S) {
        for name in &self.leftovers {
            _ = storage.remove(name);
        }
    }

    /// Keeps a damaged file aside under a name that nothing reads, and lets the oldest of them go beyond `most`.
    pub(super) fn keep_aside<S: Storage>(&mut self, storage: &S, name: &str, most: usize) -> io::Result<String> {
        let number = self.kept.last().map_or(1, |(number, _)| number.saturating_add(1));
        let aside = format!("{name}{DAMAGED}{number}");
        storage.rename(name, &aside)?;
        self.kept.push((number, aside.clone()));
        while self.kept.len() > most {
            let (_, oldest) = self.kept.remove(0);
            _ = storage.remove(&oldest);
        }
        Ok(aside)
    }
}

pub(super) fn snapshot_name(generation: u64) -> String {
    format!("{SNAPSHOT}{generation}")
}

/// A snapshot's name until it is whole.
pub(super) fn unfinished_name(generation: u64) -> String {
    format!("{SNAPSHOT}{generation}{UNFINISHED}")
}

pub(super) fn is_unfinished(name: &str) -> bool {
    name.starts_with(SNAPSHOT) && name.ends_with(UNFINISHED)
}

pub(super) fn is_log(name: &str) -> bool {
    name.starts_with(LOG)
}

pub(super) fn log_name(generation: u64) -> String {
    format!("{LOG}{generation}")
}

fn generation(name: &str, kind: &str) -> Option<u64> {
    plain_number(name.strip_prefix(kind)?)
}

fn damaged_number(name: &str) -> Option<u64> {
    let (original, number) = name.split_once(DAMAGED)?;
    generation(original, SNAPSHOT).or_else(|| generation(original, LOG))?;
    plain_number(number)
}

/// A number as this file writes it: `007` is somebody else's file.
fn plain_number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok().filter(|&number| number <= GENERATION_MAX)?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Files {
        Files::of(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn the_newest_snapshot_and_the_logs_from_its_number_on_count() {
        let files = files(&["routes.log.9", "routes.snapshot.2", "routes.log.10", "routes.log.8", "routes.snapshot.9"]);
        assert_eq!((files.snapshot, files.logs, files.highest), (Some(9), vec![9, 10], 10));
        assert_eq!(files.leftovers, ["routes.snapshot.2", "routes.log.8"]);
    }

    #[test]
    fn without_a_snapshot_every_log_counts() {
        let files = files(&["routes.log.2", "routes.log.1", "routes.snapshot.3.tmp"]);
        assert_eq!((files.snapshot, files.logs, files.highest), (None, vec![1, 2], 2));
        assert_eq!(files.leftovers, ["routes.snapshot.3.tmp"]);
    }

    #[test]
    fn names_of_others_are_left_alone() {
        let strange = [
            "routes",
            "routes.log",
            "routes.log.",
            "routes.log.01",
            "routes.log.+1",
            "routes.log.1~",
            "lock",
            "routes.log.4611686018427387905",
            "routes.snapshot.x",
            "cert.tmp",
            "generation",
            "routes.log.1.damaged-",
            "routes.log.x.damaged-1",
        ];
        assert_eq!(files(&strange), Files::default());
        assert_eq!(files(&["routes.log.4611686018427387904"]).highest, GENERATION_MAX);
    }

    #[test]
    fn files_kept_aside_are_known_in_the_order_of_their_numbers() {
        let files = files(&["routes.log.1.damaged-10", "routes.snapshot.7.damaged-9"]);
        let names: Vec<_> = files.kept.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!((names, files.highest), (vec!["routes.snapshot.7.damaged-9", "routes.log.1.damaged-10"], 0));
    }
}
