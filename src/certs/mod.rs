//! Certificates: where they come from.
//!
//! Never here: an order that the schedule did not ask for, one name's certificate under another name, a worker's time.

pub mod issuer;
