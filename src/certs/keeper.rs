//! The keeper: lets schedule, issuer and store work together, on a thread of its own (B174), and is the one writer of the
//! keyring that the handshakes read.
//!
//! Never here: a decision about when to order, a byte of ACME, a wait of a worker or of the control loop.

mod board;
mod local;
mod resolver;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};

pub use board::{Board, Standing, State};
pub use local::LocalIssuer;
pub use resolver::{Resolver, SystemResolver};

use super::issuer;
use crate::{
    routes::{Table, Touched},
    tls::Keyring,
};

/// What a keeper is made with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of certificates, `certificates` in the state folder. Each CA has a folder in it, and so have own certificates
    /// (`own`) and those of local names (`local`).
    pub folder: PathBuf,
    /// The CA; `None`: none is asked.
    pub ca: Option<issuer::Settings>,
    /// The clock of the wall.
    pub clock: fn() -> SystemTime,
    /// One of our own HTTP sockets: there the answer to a challenge is looked at before the CA is asked to look. `None`: it is not.
    pub http: Option<SocketAddr>,
    /// The same of our HTTPS sockets.
    pub https: Option<SocketAddr>,
    /// Who is asked for the addresses of names.
    pub resolver: Arc<dyn Resolver>,
    /// Who makes certificates for local names; `None`: nobody, they are served by plain HTTP.
    pub local: Option<Arc<dyn LocalIssuer>>,
}

impl Settings {
    /// With the machine's resolver and without what is optional.
    pub fn new(folder: PathBuf, ca: Option<issuer::Settings>, clock: fn() -> SystemTime) -> Self {
        Self { folder, ca, clock, http: None, https: None, resolver: Arc::new(SystemResolver), local: None }
    }
}

/// Certificates at rest: loaded and served, but nothing is ordered, watched or written.
#[derive(Debug)]
pub struct Keeper {
    #[expect(dead_code, reason = "a skeleton")]
    settings: Settings,
    #[expect(dead_code, reason = "a skeleton")]
    keyring: Keyring,
    #[expect(dead_code, reason = "a skeleton")]
    table: Table,
    board: Board,
}

impl Keeper {
    /// Reads what is on disk into the keyring. Writes nothing and contacts nobody, so it needs no right to the folder (B202). What
    /// is wrong on disk is said on the board and in the log, and is never a reason not to serve.
    pub fn load(settings: Settings, table: Table, keyring: Keyring) -> Self {
        Self { settings, keyring, table, board: Board::default() }
    }

    /// What a person is told; clones stay up to date through start and stop.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Begins to order, renew and write, on a thread of its own; only who has the lock of the state folder may (B206). What
    /// another process wrote since [`Keeper::load`] is read again first. `touched` tells which rules change from now on; those
    /// that are in the table are known.
    pub fn start(self, touched: Touched) -> io::Result<Keeping> {
        let _ = touched;
        Ok(Keeping { keeper: self })
    }
}

/// A keeper at work.
#[derive(Debug)]
pub struct Keeping {
    keeper: Keeper,
}

impl Keeping {
    /// Tells it to stop: orders that can be resumed later are, the others are given up, and what has to be written is written.
    pub fn stop(&self) {}

    /// Resolves when it has stopped, with the keeper at rest; an error: its thread has ended by itself, which must never happen.
    /// Cancel safe.
    pub async fn ended(&mut self) -> Result<Keeper, String> {
        let _ = &self.keeper;
        std::future::pending().await
    }

    /// How often its loop has turned (B213).
    pub fn heartbeat(&self) -> u64 {
        0
    }
}
