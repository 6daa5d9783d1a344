//! Certificates: when to order one, and where they are kept.
//!
//! [`schedule`] decides, [`issuer`] asks the CA, [`store`] keeps. Nothing calls them yet.
//!
//! Never here: an order that the schedule did not ask for, one name's certificate under another name, a worker's time.

pub mod issuer;
pub mod local;
mod record;
pub mod schedule;
pub mod store;

pub use local::is_local;
