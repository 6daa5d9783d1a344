//! The control server over real UDP sockets.

mod commits;
mod contract;
mod flood;
mod model;
mod neighbour;
mod rig;
mod senders;
