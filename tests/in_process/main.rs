//! A real server in this process, driven over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod clients;
mod control;
mod crowds;
mod framing;
mod front;
mod garbage;
mod house;
mod limits;
mod names;
mod pages;
mod patience;
mod proxy;
mod recorder;
mod records;
