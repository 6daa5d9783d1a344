//! The keys of session tickets between processes: their file in the state folder, and who turns them over.
//!
//! Only the process that has the folder's lock writes the file, so that a successor finds the keys of the one before it (B170).

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::SystemTime,
};

use crate::{
    routes::{
        Disk,
        storage::{Storage, StorageFile},
    },
    tls::{TicketError, TicketStore, Tickets},
};

const FILE: &str = "ticket-keys";
const UNFINISHED: &str = "ticket-keys.new";

/// Keeps the keys of all workers on disk and turns them over in time.
#[derive(Debug)]
pub(super) struct TicketKeys {
    tickets: Arc<Tickets>,
    disk: Disk,
    turning: Option<JoinHandle<()>>,
}

impl TicketKeys {
    /// With keys of this process's own: those on disk may still change.
    pub(super) fn new(disk: Disk) -> Result<Self, TicketError> {
        Ok(Self { tickets: Arc::new(Tickets::new(now())?), disk, turning: None })
    }

    /// What the workers seal and open with.
    pub(super) fn tickets(&self) -> Arc<Tickets> {
        self.tickets.clone()
    }

    /// Takes over the keys on disk. To be called with the folder's lock held and before anybody is accepted. Whatever is wrong
    /// with the file, clients are served: they only cannot resume.
    pub(super) fn open(&self) {
        report(self.tickets.open(&self.disk, now()));
    }

    /// Turns the keys over when it is time, on a thread of its own: a slow disk must not hold up who calls this.
    pub(super) fn beat(&mut self) {
        if self.turning.as_ref().is_some_and(|thread| !thread.is_finished()) || !self.tickets.is_due(now()) {
            return;
        }
        let (tickets, disk) = (self.tickets.clone(), self.disk.clone());
        let turn = move || report(tickets.turn(&disk, now()));
        match thread::Builder::new().name("ticket-keys".into()).spawn(turn) {
            Ok(thread) => self.turning = Some(thread),
            // The next beat tries again.
            Err(error) => {
                tracing::warn!(target: "hotcore::service", %error, "no thread for new keys of session tickets")
            }
        }
    }
}

fn report(result: Result<(), TicketError>) {
    if let Err(error) = result {
        tracing::warn!(target: "hotcore::service", "{error}");
    }
}

impl TicketStore for Disk {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        match self.read(FILE) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn save(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.create(UNFINISHED)?;
        file.append(bytes)?;
        file.sync_data()?;
        self.rename(UNFINISHED, FILE)?;
        self.sync_folder()
    }
}

#[expect(clippy::disallowed_methods, reason = "an edge: keys are turned over by the clock of the wall")]
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use rustls::server::ProducesTickets;

    use super::*;

    /// B170, invariant 5.
    #[test]
    fn the_next_process_finds_the_keys_and_nobody_else_can_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let first = TicketKeys::new(disk.clone()).unwrap();
        first.open();
        let ticket = first.tickets().encrypt(b"a session").unwrap();
        let second = TicketKeys::new(disk).unwrap();
        assert!(second.tickets().decrypt(&ticket).is_none(), "not before it may");
        second.open();
        assert_eq!(second.tickets().decrypt(&ticket).unwrap(), b"a session");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap()).collect();
        let [file] = &names[..] else { panic!("{names:?}") };
        assert_eq!(file.file_name(), FILE);
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn nothing_is_turned_over_before_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = TicketKeys::new(Disk::open(folder.path()).unwrap()).unwrap();
        keys.beat();
        assert!(keys.turning.is_none());
    }
}
