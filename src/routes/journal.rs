//! The journal: every change of a rule, on disk before anyone can see it.

use std::fmt;

use super::{Port, Table};
use crate::domain::Domain;

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
