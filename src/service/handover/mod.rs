//! One generation of the process passes sockets and rules on to the next, without losing a request or a datagram (B206–B208).
//!
//! The one that runs is the *old* one, the one that takes over the *new* one. At any moment one of them has the pen: the lock of
//! the state folder, the journal, and the reading of datagrams. [`message`] are the words, [`machine`] says what follows from
//! which word on either side, [`old`] and [`new`] carry them, with the listening sockets as SCM_RIGHTS (unix(7)). Where the channel
//! comes from is the only difference between the two occasions:
//!
//! * a *reload* (`systemctl reload`, an upgrade, SIGHUP): the old one starts the new one by its path ([`successor`]) and keeps one
//!   end of a socket pair; [`reload()`] asks for it and waits for the outcome;
//! * outside a service manager also a second `hotcore serve`, which knocks at the door in the state folder ([`Doorway`]).
//!
//! ```text
//! new: ask 1 PID ────────►             old: serves
//!      ◄──────────── sockets http …         (with the descriptors, and channels to generations that drain)
//!      reads the rules, starts workers
//!      loaded ───────────►                  stops reading datagrams, last commit, drops the lock
//!      ◄──────────── yours
//!      takes the lock, catches up
//!      serving ──────────►                  tells systemd MAINPID=PID, then says nothing more to it
//!      ◄──────────── told                   drains
//!      accepts, reads datagrams, READY=1
//!      ready ────────────►                  done ────► who asked for the reload
//! ```
//!
//! Until `told` the old one decides: if the new one fails or is silent, it says `no`, takes the pen back and goes on with
//! everything. Before `told` the new one reads no datagram, so that nothing was acknowledged that the old one does not know. If
//! the old one dies on the way, the lock decides: it is free then, and the new one goes on alone.
//!
//! The channel stays: its end tells the new one, and those after it ([`Generations`]), that the old one has drained; on it a
//! generation too many is told to end.
//!
//! Never here: a rule, a request. No socket goes to another user, and none to a stranger while systemd runs this service: it
//! would only start it again.

mod door;
mod generations;
pub mod machine;
pub mod message;
pub mod new;
pub mod old;
mod path;
pub mod reload;
pub mod successor;

pub use self::{
    door::Doorway,
    generations::Generations,
    new::{AskError, New},
    old::Peer,
    reload::{ReloadError, reload},
    successor::{Role, Successor},
};
