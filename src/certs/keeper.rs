//! The keeper: lets schedule, issuer and store work together, on a thread of its own (B174), and is the one writer of the
//! keyring that the handshakes read.
//!
//! Never here: a decision about when to order, a byte of ACME, a wait of a worker or of the control loop.

mod account;
mod board;
mod clock;
mod desk;
mod folders;
mod jobs;
mod keeping;
mod local;
mod office;
mod opening;
mod orders;
mod outcome;
mod pulse;
mod resolver;
mod roster;
mod shelf;
mod standing;
#[cfg(test)]
mod tests;
mod warnings;
mod work;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::SystemTime};

pub use board::{Board, Counts, Standing, State};
pub use keeping::Keeping;
pub use local::{Doing, LocalIssuer, LocalSigner};
pub use resolver::{Resolver, SystemResolver};

use super::issuer;
use crate::{
    routes::{Table, Touched},
    tls::Keyring,
};

use folders::Folders;
use shelf::Shelf;

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
    /// Who makes certificates for local names, mkcert's environment; `None`: nobody, they are served by plain HTTP.
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
    settings: Settings,
    keyring: Keyring,
    table: Table,
    board: Board,
    shelf: Shelf,
}

impl Keeper {
    /// Reads what is on disk into the keyring. Writes nothing and contacts nobody, so it needs no right to the folder (B202). What
    /// is wrong on disk is said on the board and in the log, and is never a reason not to serve.
    pub fn load(settings: Settings, table: Table, mut keyring: Keyring) -> Self {
        let directory = settings.ca.as_ref().map(|ca| ca.directory.as_str());
        let reading = Folders::new(settings.folder.clone(), directory).read();
        let (board, mut shelf) = (Board::default(), Shelf::default());
        shelf.replace(&reading, &mut keyring);
        board.set_problems(shelf.damages());
        Self { settings, keyring, table, board, shelf }
    }

    /// What a person is told; clones stay up to date through start and stop.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Begins to order, renew and write, on a thread of its own; only who has the lock of the state folder may (B206). What
    /// another process wrote since [`Keeper::load`] is read again first. `touched` tells which rules change from now on; those
    /// that are in the table are known.
    pub fn start(self, touched: Touched) -> io::Result<Keeping> {
        Keeping::start(self, touched)
    }
}
