//! One rule, *domain → port*, and what the data plane has learned about it.
//!
//! Rules are shared between the shards of the table, the ordered index and the connections that remember one. A change never
//! edits a rule: it makes a new one and retires the old.

use std::{
    fmt,
    num::NonZeroU16,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

use crate::domain::Domain;

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
        // Only the first one writes: the line is shared by all workers.
        if !self.is_proven() {
            self.proven.store(true, Ordering::Relaxed);
        }
    }

    /// The count of requests that wait for this rule's backend; `proxy` keeps it.
    pub fn held(&self) -> &AtomicU32 {
        &self.held
    }

    /// Tells every holder to look again. The table calls it after the successor (or its absence) is visible, so whoever
    /// sees the flag also finds what came after.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

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
