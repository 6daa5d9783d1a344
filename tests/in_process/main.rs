//! A real server in this process, driven over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod backends;
mod bodies;
mod clients;
mod control;
mod crowds;
mod framing;
mod front;
mod garbage;
mod handshakes;
mod hellos;
mod holding;
mod house;
mod http2;
mod https;
mod limits;
mod names;
mod pages;
mod panics;
mod patience;
mod plain_door;
mod pooling;
mod proxy;
mod recorder;
mod records;
mod reload;
mod responses;
mod secure;
mod service;
mod stale;
mod trailers;
mod upgrades;
mod workers;

use std::io::{self, Write};

/// Says that `test` proves nothing on this machine, and why: on the real stderr, which the harness does not swallow. The test
/// command collects these lines.
fn skip(test: &str, reason: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {reason}");
}
