//! The table of rules: immutable shards that readers take without waiting, and the one writer that replaces them.
//!
//! A look-up hashes the name, takes one of [`limits::ROUTE_SHARDS`] shards and probes it: no lock, no wait, whatever the
//! writer does (performance.md 3.6). A change copies one shard, publishes it, then retires the old rule, so that a connection
//! that remembers a rule has one flag to look at ([`Rule::is_current`]).
//!
//! Never here: a disk, a lock on the readers' side, a rule that is edited in place.

mod build;
#[cfg(test)]
mod tests;

use std::{
    borrow::Borrow,
    cmp,
    collections::{BTreeSet, HashMap},
    fmt,
    hash::BuildHasher,
    mem,
    ops::Bound,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use hashbrown::{DefaultHashBuilder, HashTable};

pub(super) use build::{in_parallel, one_for_each_name};

use super::{Port, Rule, Touched};
use crate::{domain::Domain, limits};

/// The readers' side: cheap to clone, never waits.
#[derive(Clone, Default)]
pub struct Table(Arc<Shards>);

impl Table {
    /// The rule for `domain`.
    pub fn find(&self, domain: &Domain) -> Option<Arc<Rule>> {
        let hash = self.0.hash(domain);
        self.0.slot(hash)?.get()?.load().find(hash, |rule| rule.domain == *domain).cloned()
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.0.len.load(Ordering::Acquire)
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Shows every rule, in no order, shard by shard: each shard as it is when its turn comes. Changes made meanwhile may be
    /// seen or not; a rule that stays is seen exactly once.
    pub fn for_each(&self, mut see: impl FnMut(&Arc<Rule>)) {
        for shard in self.0.slots.iter().filter_map(OnceLock::get) {
            shard.load_full().iter().for_each(&mut see);
        }
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// The writer's side: there is one, and `control::server` has it. It also keeps the rules in order, for lists.
#[derive(Debug, Default)]
pub struct TableWriter {
    table: Table,
    /// The same rules (their memory is shared), sorted by the bytes of their names (B184).
    index: BTreeSet<ByName>,
    /// Who is told of each name whose rule changes.
    touched: Option<Touched>,
}

impl TableWriter {
    /// An empty table; or, see the journal, one filled from disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reader of this table.
    pub fn table(&self) -> Table {
        self.table.clone()
    }

    /// From now on each name whose rule changes is noted there, once the change is visible. What is in the table already is for
    /// the reader of `touched` to look up.
    pub fn note_changes(&mut self, touched: Touched) {
        self.touched = Some(touched);
    }

    /// Makes the rule visible and retires the one it replaces. The same port again changes nothing: the rule, and what was
    /// learned about it, stays (B179). A new rule is unproven (B23).
    pub fn insert(&mut self, domain: Domain, port: Port) {
        self.put(Rule::new(domain, port, false));
    }

    /// The same for a rule that comes from disk: it counts as proven (B23).
    pub(super) fn insert_proven(&mut self, domain: Domain, port: Port) {
        self.put(Rule::new(domain, port, true));
    }

    /// Changes the table into one of exactly `rules`, rule by rule; what stays the same stays untouched.
    pub(super) fn become_like(&mut self, rules: Vec<Arc<Rule>>) {
        let wanted: HashMap<Domain, Port> = rules.into_iter().map(|rule| (rule.domain.clone(), rule.port)).collect();
        let surplus = |rule: &&Arc<Rule>| !wanted.contains_key(&rule.domain);
        let surplus: Vec<Domain> = self.page_after(None).filter(surplus).map(|rule| rule.domain.clone()).collect();
        for domain in surplus {
            self.remove(&domain);
        }
        for (domain, port) in wanted {
            self.insert_proven(domain, port);
        }
    }

    /// Makes the removal visible.
    pub fn remove(&mut self, domain: &Domain) {
        let Shards { len, .. } = &*self.table.0;
        let hash = self.table.0.hash(domain);
        let Some(slot) = self.table.0.slot(hash) else { return };
        let Some(mut next) = slot.get().map(|shard| Shard::clone(&shard.load())) else { return };
        let Ok(place) = next.find_entry(hash, |rule| rule.domain == *domain) else { return };
        let (old, _) = place.remove();
        self.table.0.publish(slot, next);
        len.fetch_sub(1, Ordering::Release);
        old.retire();
        self.index.remove(domain.as_str());
        self.note(domain);
    }

    /// The rules in the order of their names' bytes, after the name `after`, which need not be mapped (B184).
    pub fn page_after(&self, after: Option<&str>) -> impl Iterator<Item = &Arc<Rule>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.index.range::<str, _>((from, Bound::Unbounded)).map(|ByName(rule)| rule)
    }

    fn put(&mut self, rule: Rule) {
        let Shards { len, hasher, .. } = &*self.table.0;
        let hash = self.table.0.hash(&rule.domain);
        let Some(slot) = self.table.0.slot(hash) else { return };
        let shard = slot.get().map(ArcSwap::load);
        let same = shard.as_ref().and_then(|shard| shard.find(hash, |old| old.domain == rule.domain));
        if same.is_some_and(|old| old.port == rule.port) {
            return;
        }
        let mut next = shard.map_or_else(Shard::new, |shard| Shard::clone(&shard));
        let rule = Arc::new(rule);
        let old = match next.find_mut(hash, |old| old.domain == rule.domain) {
            Some(place) => Some(mem::replace(place, Arc::clone(&rule))),
            None => {
                next.insert_unique(hash, Arc::clone(&rule), |rule| hasher.hash_one(rule.domain.as_str()));
                None
            }
        };
        self.table.0.publish(slot, next);
        match old {
            Some(old) => old.retire(),
            None => _ = len.fetch_add(1, Ordering::Release),
        }
        self.note(&rule.domain);
        // `replace`, not `insert`: the new rule takes the place of the equally named old one.
        self.index.replace(ByName(rule));
    }

    fn note(&self, domain: &Domain) {
        if let Some(touched) = &self.touched {
            touched.note(domain);
        }
    }
}

/// What readers and writer share.
struct Shards {
    slots: Box<[Slot]>,
    /// One random seed for all, so that nobody can choose names that collide.
    hasher: DefaultHashBuilder,
    len: AtomicUsize,
}

type Shard = HashTable<Arc<Rule>>;

/// A shard's place; the shard itself comes with its first rule.
type Slot = OnceLock<ArcSwap<Shard>>;

impl Shards {
    fn hash(&self, domain: &Domain) -> u64 {
        self.hasher.hash_one(domain.as_str())
    }

    /// Where rules with this hash live. Never `None`: the number of a shard is within bounds.
    fn slot(&self, hash: u64) -> Option<&Slot> {
        self.slots.get(shard_of(hash))
    }

    fn publish(&self, slot: &Slot, mut next: Shard) {
        // After many removals: give the memory back. Growing again costs what it saved, hence the distance.
        if next.capacity() > 16 && next.len() < next.capacity() / 8 {
            next.shrink_to(next.len() * 2, |rule| self.hasher.hash_one(rule.domain.as_str()));
        }
        match slot.get() {
            Some(shard) => shard.store(Arc::new(next)),
            // There is one writer, so nobody else can have set it.
            None => _ = slot.set(ArcSwap::from_pointee(next)),
        }
    }
}

impl Default for Shards {
    fn default() -> Self {
        let slots = (0..limits::ROUTE_SHARDS).map(|_| Slot::new()).collect();
        Self { slots, hasher: DefaultHashBuilder::default(), len: AtomicUsize::new(0) }
    }
}

/// The number of a hash's shard. Within a shard hashbrown takes the lowest bits for the place and the highest seven for its
/// tags, so the number comes from the middle: else all tags of a shard would be the same.
fn shard_of(hash: u64) -> usize {
    let [_, a, b, c, ..] = hash.to_be_bytes();
    (usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)) % limits::ROUTE_SHARDS
}

/// A rule as the ordered index sees it: its name.
#[derive(Debug)]
struct ByName(Arc<Rule>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        self.0.domain.as_str()
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.domain == other.0.domain
    }
}

impl Eq for ByName {}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        self.0.domain.as_str().cmp(other.0.domain.as_str())
    }
}
