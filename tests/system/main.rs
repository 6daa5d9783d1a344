//! The real program, driven by real clients and backends.

mod cli;
mod service;
