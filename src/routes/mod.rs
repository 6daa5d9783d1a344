//! The rules: which domain goes to which port.
//!
//! [`table`] is what the data plane reads, without ever waiting; [`journal`] makes changes durable. The order of a change is:
//! durable, then visible, then acknowledged, and only `control::server` makes one. Nothing here knows the network.

pub mod journal;
pub mod lock;
pub mod rule;
pub mod storage;
pub mod table;
pub mod touched;

pub use journal::{Change, Commit, Journal, Loaded, OpenError, Recovery, SaveError};
pub use lock::{Lock, LockError};
pub use rule::{Port, Rule};
pub use storage::Disk;
pub use table::{Table, TableWriter};
pub use touched::Touched;
