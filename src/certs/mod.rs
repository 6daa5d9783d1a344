//! Certificates: when to order one.
//!
//! [`schedule`] decides. Nothing here issues a certificate yet.
//!
//! Never here: an order that the schedule did not ask for, one name's certificate under another name, a worker's time.

pub mod local;
pub mod schedule;

pub use local::is_local;
