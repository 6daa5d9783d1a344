//! What `hotcore serve` was told: options and environment, read once.

use std::{net::SocketAddr, path::PathBuf};

/// How to serve. `cli` makes it from options and their environment twins; nothing below reads the environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Where plain HTTP is served; empty: the default addresses.
    pub http: Vec<SocketAddr>,
    /// Where HTTPS is served; empty: the default addresses.
    pub https: Vec<SocketAddr>,
    /// Where commands arrive, loopback only; empty: 127.0.0.1 and `[::1]`, port 40608.
    pub control: Vec<SocketAddr>,
    /// The state folder.
    pub state: PathBuf,
    /// Loopback only, no certificate authority, no own user.
    pub local: bool,
    /// Data-plane threads; `None`: one for each usable processor.
    pub workers: Option<usize>,
    /// Write one log record for each request.
    pub access_log: bool,
}
