//! The table of rules: immutable shards that readers take without waiting, and the one writer that replaces them.

use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU16,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use crate::domain::Domain;

/// A TCP port of a backend: 1 to 65535.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Port(NonZeroU16);

impl Port {
    /// `None` for 0.
    pub fn new(number: u16) -> Option<Self> {
        NonZeroU16::new(number).map(Self)
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One rule, and what the data plane has learned about it. A change makes a new one and retires this one.
#[derive(Debug)]
pub struct Rule {
    /// The name.
    pub domain: Domain,
    /// Where its requests go.
    pub port: Port,
    /// Set when the rule was replaced or removed; moves before the change is acknowledged.
    retired: AtomicBool,
    /// The port has accepted a connection since the rule was made. Rules read from disk count as proven (B23).
    proven: AtomicBool,
    /// Requests that wait for this rule's backend (B24).
    held: AtomicU32,
}

impl Rule {
    /// A rule as it comes into the table.
    pub fn new(domain: Domain, port: Port, proven: bool) -> Self {
        Self { domain, port, retired: AtomicBool::new(false), proven: AtomicBool::new(proven), held: AtomicU32::new(0) }
    }

    /// Whether a holder of this rule may still use it without looking it up again.
    pub fn is_current(&self) -> bool {
        !self.retired.load(Ordering::Acquire)
    }

    /// Whether the port has ever answered (B23).
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Notes that the port has accepted a connection.
    pub fn prove(&self) {
        if !self.is_proven() {
            self.proven.store(true, Ordering::Relaxed);
        }
    }

    /// The count of requests that wait for this rule's backend; `proxy` keeps it.
    pub fn held(&self) -> &AtomicU32 {
        &self.held
    }
}

/// The readers' side: cheap to clone, never waits.
#[derive(Clone, Debug, Default)]
pub struct Table(Arc<Mutex<BTreeMap<Domain, Arc<Rule>>>>);

impl Table {
    /// The rule for `domain`.
    pub fn find(&self, domain: &Domain) -> Option<Arc<Rule>> {
        self.0.lock().ok()?.get(domain).cloned()
    }

    /// Number of rules.
    pub fn len(&self) -> usize {
        self.0.lock().map_or(0, |map| map.len())
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The writer's side: there is one, and `control::server` has it.
#[derive(Debug, Default)]
pub struct TableWriter {
    table: Table,
    sorted: BTreeMap<Domain, Arc<Rule>>,
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

    /// Makes the rule visible and retires the one it replaces.
    pub fn insert(&mut self, domain: Domain, port: Port) {
        let rule = Arc::new(Rule::new(domain.clone(), port, false));
        self.sorted.insert(domain.clone(), rule.clone());
        if let Ok(mut map) = self.table.0.lock()
            && let Some(old) = map.insert(domain, rule)
        {
            old.retired.store(true, Ordering::Release);
        }
    }

    /// Makes the removal visible.
    pub fn remove(&mut self, domain: &Domain) {
        self.sorted.remove(domain);
        if let Ok(mut map) = self.table.0.lock()
            && let Some(old) = map.remove(domain)
        {
            old.retired.store(true, Ordering::Release);
        }
    }

    /// The rules sorted by the bytes of their names, from the first one behind `name`.
    pub fn page_after(&self, name: Option<&str>) -> impl Iterator<Item = &Arc<Rule>> {
        self.sorted.values().filter(move |rule| name.is_none_or(|name| rule.domain.as_str() > name))
    }
}
