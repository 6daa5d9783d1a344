//! The TLS front: which handshakes are taken, with which certificate, and how sessions resume.
//!
//! A handshake is judged by its ClientHello alone (`hello`), before a certificate, a ticket or a key is touched: the name
//! must be one with a rule, or one under challenge, and nothing is ever served for another name (invariant 7). A [`Keyring`] is
//! the writing half of what [`Certificates`] reads; whoever issues certificates has it. [`Tickets`] lets sessions resume on
//! every worker and in the next process.
//!
//! Never here: a rule of HTTP, an order, a file, the clock of the wall.

mod certificates;
mod front;
mod hello;
mod keyring;
mod tickets;

pub use certificates::Certificates;
pub use front::{Ending, Front, FrontConfig, Patience, Secured, Totals, speaks_http2};
pub use hello::Refusal;
pub use keyring::{Keyring, Misfit};
pub use rustls::sign::CertifiedKey;
pub use tickets::{TicketError, TicketStore, Tickets};
pub use tokio_rustls::server::TlsStream;

#[cfg(test)]
mod tests;
