//! One generation of the process passes sockets and rules on to the next, without losing a request or a datagram (B206–B208).
//!
//! The one that runs is the *old* one, the one that takes over the *new* one. At any moment one of them has the pen: the lock of
//! the state folder, the journal, and the reading of datagrams. [`message`] are the words, [`machine`] says what follows from
//! which word on either side, [`old`] and [`new`] carry them: here over a Unix socket in the state folder, with the listening
//! sockets as SCM_RIGHTS (unix(7)).
//!
//! ```text
//! new: ask 1 ────────────►             old: serves
//!      ◄──────────── sockets http …         (with the descriptors)
//!      reads the rules, starts workers
//!      loaded ───────────►                  stops reading datagrams, last commit, drops the lock
//!      ◄──────────── yours
//!      takes the lock, catches up
//!      serving ──────────►                  drains, says nothing more to systemd
//!      ◄──────────── told
//!      accepts, reads datagrams
//! ```
//!
//! Until `told` the old one decides: if the new one fails or is silent, it says `no`, takes the pen back and goes on with
//! everything. Before `told` the new one reads no datagram, so that nothing was acknowledged that the old one does not know. If
//! the old one dies on the way, the lock decides: it is free then, and the new one goes on alone.
//!
//! Never here: a rule, a request. No socket goes to another user, and none to a stranger while systemd runs this service: it
//! would only start it again.

pub mod machine;
pub mod message;
pub mod new;
pub mod old;
mod path;

pub use self::{
    new::{AskError, New},
    old::{Doorway, Peer},
};
