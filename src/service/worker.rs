//! The workers: one thread per core, each with its own runtime, connections, upstream pool and timers.

use std::{io, net::TcpListener, time::Duration};

use crate::routes::Table;

/// What the workers need to start.
#[derive(Debug)]
pub struct WorkerConfig {
    /// Number of threads.
    pub count: usize,
    /// The rules.
    pub table: Table,
    /// Ports hotcore itself listens on: a rule that points there is answered with 508 (B30).
    pub own_ports: Vec<u16>,
    /// Write one record for each request, target `hotcore::access`.
    pub access_log: bool,
}

/// The listening sockets of the data plane, non-blocking.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Plain HTTP.
    pub http: Vec<TcpListener>,
    /// HTTPS.
    pub https: Vec<TcpListener>,
}

/// How long a drain may take.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Requests in flight.
    pub requests: Duration,
    /// Tunnels and moving bodies; zero: cut at once.
    pub tunnels: Duration,
}

/// What the workers hold at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Client connections, tunnels included.
    pub connections: usize,
    /// Tunnels.
    pub tunnels: usize,
    /// Requests answered since the start.
    pub requests: u64,
}

/// The running threads.
#[derive(Debug)]
pub struct Workers {}

impl Workers {
    /// Starts the threads; none accepts yet.
    pub fn start(config: WorkerConfig, listeners: Listeners) -> io::Result<Self> {
        let _ = (config, listeners);
        Ok(Self {})
    }

    /// From now on connections are accepted.
    pub fn accept(&self) {}

    /// Stops accepting, closes the workers' copies of the listeners, and ends each connection as soon as it allows.
    pub fn drain(&self, limits: Drain) {
        let _ = limits;
    }

    /// Resolves when every worker has drained and ended (`Ok`), or at once when one ended without being told (`Err`, the
    /// reason): then the process must end, to be restarted.
    pub async fn ended(&mut self) -> Result<(), String> {
        std::future::pending().await
    }

    /// For each worker a figure that moves with every turn of its loop, at least every 250 ms.
    pub fn heartbeats(&self) -> Vec<u64> {
        Vec::new()
    }

    /// What the workers hold at this moment.
    pub fn counts(&self) -> Counts {
        Counts::default()
    }
}
