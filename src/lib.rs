//! hotcore routes HTTP(S) by domain name to ports on the same machine.
//!
//! This page is the map of the house. Arrows between the rooms point downward only
//! (`cli → install → service → {proxy → tls, control, certs} → routes → domain, limits`), and `proxy`, `control` and `certs` do not know each
//! other; a test reads the imports and enforces it. `docs/ARCHITECTURE.md` tells the flows through the rooms.
//!
//! * [`limits`]: every limit, time-out, size and port, with its reason.
//! * [`domain`]: [`domain::Domain`], the one way to make a host name.
//! * [`routes`]: the rules: the table that the data plane reads, the journal that makes changes durable.
//! * [`control`]: the UDP protocol: its grammar, the server (the only writer of routes), the client.
//! * [`proxy`]: the way of a request to its backend and of the answer back.
//! * [`certs`]: where certificates come from.
//! * [`tls`]: the front of HTTPS: which handshakes are taken, with which certificate, and how sessions resume.
//! * [`service`]: sockets, workers, start, hand-over and stop.
//! * [`install`]: this program makes itself a service of the machine: a plan as data, then its execution.
//! * [`cli`]: the commands that a person types.

pub mod certs;
pub mod cli;
pub mod control;
pub mod domain;
pub mod install;
pub mod limits;
pub mod proxy;
pub mod routes;
pub mod service;
pub mod tls;

#[cfg(test)]
mod testing;
