//! A real server in this process, driven over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod backends;
mod bodies;
mod front;
mod holding;
mod panics;
mod pooling;
mod proxy;
mod responses;
mod stale;
mod trailers;
mod upgrades;
mod workers;
