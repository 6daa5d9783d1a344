//! Building a whole table at once, from rules read from disk, on all cores where it pays.

use std::{
    collections::BTreeSet,
    hash::BuildHasher,
    panic,
    sync::{Arc, atomic::AtomicUsize},
    thread,
};

use arc_swap::ArcSwap;
use hashbrown::{DefaultHashBuilder, HashTable};

use super::{ByName, Rule, Shard, Shards, Slot, Table, TableWriter, shard_of};
use crate::limits;

/// Below so many rules one thread is done before a second one has started.
const PARALLEL_FROM: usize = 20_000;

impl TableWriter {
    /// A table of all `rules`, quick when they come sorted by name. Of two with the same name the later one stays.
    pub fn from_rules(mut rules: Vec<Arc<Rule>>) -> Self {
        one_for_each_name(&mut rules);
        let hasher = DefaultHashBuilder::default();
        let cores =
            if rules.len() < PARALLEL_FROM { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
        let per_core = limits::ROUTE_SHARDS.div_ceil(cores);
        let hashes = in_parallel(rules.len(), cores, |part| {
            rules.get(part).unwrap_or_default().iter().map(|rule| hasher.hash_one(rule.domain.as_str())).collect()
        });
        let slots = in_parallel(limits::ROUTE_SHARDS, limits::ROUTE_SHARDS.div_ceil(per_core), |part| {
            shards_in_place(part, &rules, &hashes, &hasher)
        });
        let len = AtomicUsize::new(rules.len());
        let table = Table(Arc::new(Shards { slots: slots.into(), hasher, len }));
        Self { table, index: rules.into_iter().map(ByName).collect::<BTreeSet<_>>(), touched: None }
    }
}

/// Sorts the rules by name; of two with the same name the later one stays.
pub(in crate::routes) fn one_for_each_name(rules: &mut Vec<Arc<Rule>>) {
    if !rules.is_sorted_by(|a, b| a.domain.as_str() < b.domain.as_str()) {
        // Stable, and from the back, so that the later one of two comes first, which is the one that is kept.
        rules.reverse();
        rules.sort_by(|a, b| a.domain.cmp(&b.domain));
        rules.dedup_by(|next, kept| next.domain == kept.domain);
    }
}

/// The shards whose numbers lie in `part`, each allocated once and in its final size.
fn shards_in_place(
    part: std::ops::Range<usize>,
    rules: &[Arc<Rule>],
    hashes: &[u64],
    hasher: &DefaultHashBuilder,
) -> Vec<Slot> {
    let mut counts = vec![0_usize; part.len()];
    let place = |hash: u64| shard_of(hash).checked_sub(part.start);
    for &hash in hashes {
        if let Some(count) = place(hash).and_then(|at| counts.get_mut(at)) {
            *count += 1;
        }
    }
    let mut shards: Vec<Shard> = counts.into_iter().map(HashTable::with_capacity).collect();
    for (rule, &hash) in rules.iter().zip(hashes) {
        if let Some(shard) = place(hash).and_then(|at| shards.get_mut(at)) {
            shard.insert_unique(hash, Arc::clone(rule), |rule| hasher.hash_one(rule.domain.as_str()));
        }
    }
    let filled = |shard: Shard| if shard.is_empty() { Slot::new() } else { ArcSwap::from_pointee(shard).into() };
    shards.into_iter().map(filled).collect()
}

/// Splits `0..total` into `parts` ranges, works on each in a thread of its own and joins the results in order. Where the
/// system gives no thread, the caller's does the work.
pub(in crate::routes) fn in_parallel<T: Send>(
    total: usize,
    parts: usize,
    work: impl Fn(std::ops::Range<usize>) -> Vec<T> + Sync,
) -> Vec<T> {
    let step = total.div_ceil(parts.max(1)).max(1);
    let ranges = (0..total).step_by(step).map(|start| start..total.min(start + step));
    if parts <= 1 {
        return work(0..total);
    }
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = ranges
            .map(|range| {
                let own = range.clone();
                let builder = thread::Builder::new().name("routes".into());
                builder.spawn_scoped(scope, move || work(own)).map_err(|_| range)
            })
            .collect();
        let mut results = Vec::new();
        for thread in threads {
            let mut part = match thread {
                Ok(thread) => thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause)),
                Err(range) => work(range),
            };
            if results.is_empty() {
                results = part;
            } else {
                results.append(&mut part);
            }
        }
        results
    })
}
