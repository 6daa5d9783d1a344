//! The control protocol: UDP messages that change and show the rules. `docs/PROTOCOL.md` is the contract.
//!
//! [`protocol`] is the grammar and [`reply`] the answers, both pure; [`server`] is the only writer of rules (invariant 1);
//! [`socket`] is what the server needs of the kernel: who sent a datagram, and on which way it came.
//!
//! Never here: waiting for a disk, a resolver, a certificate authority or a backend before a datagram is read; a word about
//! HTTP.

mod batch;
mod certificates;
pub mod client;
mod counters;
mod inbox;
mod page;
pub mod protocol;
pub mod reply;
mod saver;
pub mod server;
pub mod socket;

pub use certificates::{Certificates, Standing};
pub use counters::{Counters, Dropped};
pub use server::{Server, ServerConfig, ServerError};
