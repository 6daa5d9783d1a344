//! Session tickets: sealed by keys that all workers share, that outlive the process, and that are turned over (B170, B264).
//!
//! A ticket is the state of a session, sealed and given to its client; who has the key can open every session whose ticket was
//! recorded, so the keys are as secret as a certificate's and live for [`TICKET_KEY_LIFE`] plus as long as the one before it
//! still opens tickets. Never here: a file (a [`TicketStore`] is passed in), the clock (the time is), a lock on the readers' side.

mod key;

use std::{
    fmt, io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use rustls::server::ProducesTickets;

use self::key::Key;
use crate::limits::TICKET_KEY_LIFE;

/// Where the keys are kept between processes: readable by nobody else (invariant 5).
pub trait TicketStore {
    /// What was saved last; `None`: nothing yet.
    fn load(&self) -> io::Result<Option<Vec<u8>>>;
    /// Returns when the bytes survive a crash. After an error the bytes before are still there.
    fn save(&self, bytes: &[u8]) -> io::Result<()>;
}

/// The keys of all workers.
pub struct Tickets(ArcSwap<Keys>);

#[derive(Clone)]
struct Keys {
    /// Seals and opens.
    current: Arc<Key>,
    /// Opens only.
    previous: Option<Arc<Key>>,
}

/// Why the keys on disk could not be read or written. Sessions resume all the same, as long as this process lives.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// The file cannot be read.
    #[error("cannot read the keys of session tickets: {0}")]
    Load(#[source] io::Error),
    /// The file is not what was written.
    #[error("the keys of session tickets are damaged and are replaced")]
    Damaged,
    /// The file cannot be written.
    #[error("cannot save the keys of session tickets: {0}")]
    Save(#[source] io::Error),
    /// The system gives no random numbers.
    #[error("cannot draw a key for session tickets")]
    Random,
}

/// The first line of the file.
const TITLE: &str = "hotcore ticket keys 1";

impl Tickets {
    /// With a key that nobody else knows yet.
    pub fn new(now: SystemTime) -> Result<Self, TicketError> {
        let current = Arc::new(Key::draw(seconds(now))?);
        Ok(Self(ArcSwap::from_pointee(Keys { current, previous: None })))
    }

    /// Takes over the keys that were saved before, turned over if it is time; where there are none, saves those of this process. To be
    /// called before the first handshake, by a process that alone may write.
    pub fn open(&self, store: &impl TicketStore, now: SystemTime) -> Result<(), TicketError> {
        let loaded = match store.load().map_err(TicketError::Load)? {
            None => return self.save(store, &self.0.load()),
            Some(bytes) => Keys::read(&bytes),
        };
        let Some(keys) = loaded else {
            self.save(store, &self.0.load())?;
            return Err(TicketError::Damaged);
        };
        self.0.store(Arc::new(keys));
        if self.is_due(now) { self.turn(store, now) } else { Ok(()) }
    }

    /// Whether the current key has been in use for long enough. A clock that has jumped back by more than a key's life counts as
    /// well, or the key would stay for ever.
    pub fn is_due(&self, now: SystemTime) -> bool {
        self.0.load().current.age(seconds(now)) >= TICKET_KEY_LIFE
    }

    /// A new key seals from now on, the present one only opens. Saved first, so that a ticket sealed with it can be opened by the
    /// next process; if that fails, it is used all the same and the error says so.
    pub fn turn(&self, store: &impl TicketStore, now: SystemTime) -> Result<(), TicketError> {
        let old = self.0.load();
        let is_fresh = old.current.age(seconds(now)) < 2 * TICKET_KEY_LIFE;
        let next =
            Keys { current: Arc::new(Key::draw(seconds(now))?), previous: is_fresh.then(|| old.current.clone()) };
        let saved = self.save(store, &next);
        self.0.store(Arc::new(next));
        saved
    }

    fn save(&self, store: &impl TicketStore, keys: &Keys) -> Result<(), TicketError> {
        store.save(keys.written().as_bytes()).map_err(TicketError::Save)
    }
}

impl Keys {
    fn written(&self) -> String {
        let keys = [Some(&self.current), self.previous.as_ref()];
        let lines = keys.into_iter().flatten().map(|key| key.written());
        std::iter::once(format!("{TITLE}\n")).chain(lines).collect()
    }

    /// `None`: not what [`Keys::written`] wrote.
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let mut lines = text.split('\n');
        if lines.next()? != TITLE {
            return None;
        }
        let current = Arc::new(Key::read(lines.next()?)?);
        let previous = match lines.next() {
            Some(line) => Some(Arc::new(Key::read(line)?)),
            None => None,
        };
        lines.next().is_none().then_some(Self { current, previous })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    /// Seconds; a ticket sealed at the very end of a key's life is opened for that long.
    fn lifetime(&self) -> u32 {
        u32::try_from(TICKET_KEY_LIFE.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, state: &[u8]) -> Option<Vec<u8>> {
        self.0.load().current.seal(state)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let keys = self.0.load();
        keys.current.open(ticket).or_else(|| keys.previous.as_ref()?.open(ticket))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No key in any log (B218).
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[derive(Default)]
    struct Memory {
        bytes: RefCell<Option<Vec<u8>>>,
        is_full: bool,
    }

    impl TicketStore for Memory {
        fn load(&self) -> io::Result<Option<Vec<u8>>> {
            Ok(self.bytes.borrow().clone())
        }

        fn save(&self, bytes: &[u8]) -> io::Result<()> {
            if self.is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            *self.bytes.borrow_mut() = Some(bytes.to_vec());
            Ok(())
        }
    }

    fn at(lives: f64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000) + TICKET_KEY_LIFE.mul_f64(lives)
    }

    fn opened(store: &Memory, now: SystemTime) -> Tickets {
        let tickets = Tickets::new(now).unwrap();
        tickets.open(store, now).unwrap();
        tickets
    }

    #[test]
    fn a_ticket_is_opened_by_its_own_keys_only() {
        let tickets = Tickets::new(at(0.0)).unwrap();
        let ticket = tickets.encrypt(b"a session").unwrap();
        assert_eq!(tickets.decrypt(&ticket).unwrap(), b"a session");
        assert!(Tickets::new(at(0.0)).unwrap().decrypt(&ticket).is_none());
        assert_ne!(tickets.encrypt(b"a session").unwrap(), ticket, "no two tickets are alike");
    }

    /// What strangers send instead of a ticket.
    #[test]
    fn a_changed_or_cut_ticket_is_not_opened() {
        let tickets = Tickets::new(at(0.0)).unwrap();
        let ticket = tickets.encrypt(b"a session").unwrap();
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert!(tickets.decrypt(&changed).is_none(), "byte {at}");
            assert!(tickets.decrypt(&ticket[..at]).is_none(), "cut at {at}");
        }
        assert!(tickets.decrypt(&[0; 65_535]).is_none());
    }

    /// B170: after a restart, and by a successor.
    #[test]
    fn keys_are_carried_over_to_the_next_process() {
        let store = Memory::default();
        let ticket = opened(&store, at(0.0)).encrypt(b"a session").unwrap();
        assert_eq!(opened(&store, at(0.5)).decrypt(&ticket).unwrap(), b"a session");
    }

    /// B170: at the limit of a key's life and one second before it.
    #[test]
    fn keys_are_turned_over() {
        let store = Memory::default();
        let tickets = opened(&store, at(0.0));
        let first = tickets.encrypt(b"first").unwrap();
        assert!(!tickets.is_due(at(1.0) - Duration::from_secs(1)));
        assert!(tickets.is_due(at(1.0)));
        tickets.turn(&store, at(1.0)).unwrap();
        assert!(!tickets.is_due(at(1.0)));
        let second = tickets.encrypt(b"second").unwrap();
        assert_eq!(tickets.decrypt(&first).unwrap(), b"first", "the one before still opens");
        tickets.turn(&store, at(2.0)).unwrap();
        assert!(tickets.decrypt(&first).is_none());
        assert_eq!(tickets.decrypt(&second).unwrap(), b"second");
        let next = opened(&store, at(2.1));
        assert_eq!(next.decrypt(&second).unwrap(), b"second", "both were saved");
    }

    #[test]
    fn keys_that_have_slept_for_long_open_nothing_any_more() {
        let store = Memory::default();
        let ticket = opened(&store, at(0.0)).encrypt(b"a session").unwrap();
        assert!(opened(&store, at(1.5)).decrypt(&ticket).is_some());
        let store = Memory::default();
        let ticket = opened(&store, at(0.0)).encrypt(b"a session").unwrap();
        assert!(opened(&store, at(2.0)).decrypt(&ticket).is_none());
    }

    /// B214: a clock that was wrong when the key was drawn.
    #[test]
    fn a_key_from_the_future_is_turned_over() {
        let tickets = Tickets::new(at(400.0)).unwrap();
        assert!(tickets.is_due(at(0.0)));
        assert!(!tickets.is_due(at(399.5)), "a small step back is none");
    }

    #[test]
    fn damaged_keys_are_replaced_and_reported() {
        let good = {
            let store = Memory::default();
            opened(&store, at(0.0));
            store.bytes.take().unwrap()
        };
        let mut long = good.clone();
        long.extend_from_slice(b"more\n");
        for bytes in [b"".to_vec(), b"\xff".to_vec(), good[..good.len() - 1].to_vec(), good[..40].to_vec(), long] {
            let store = Memory { bytes: RefCell::new(Some(bytes)), is_full: false };
            let tickets = Tickets::new(at(0.0)).unwrap();
            assert!(matches!(tickets.open(&store, at(0.0)), Err(TicketError::Damaged)));
            let ticket = tickets.encrypt(b"a session").unwrap();
            assert!(opened(&store, at(0.0)).decrypt(&ticket).is_some(), "the new ones were saved");
        }
    }

    /// B196.
    #[test]
    fn a_full_disk_does_not_keep_keys_from_being_used() {
        let store = Memory { is_full: true, ..Memory::default() };
        let tickets = Tickets::new(at(0.0)).unwrap();
        assert!(matches!(tickets.open(&store, at(0.0)), Err(TicketError::Save(_))));
        let first = tickets.encrypt(b"first").unwrap();
        assert!(matches!(tickets.turn(&store, at(1.0)), Err(TicketError::Save(_))));
        assert!(!tickets.is_due(at(1.0)), "it is not tried again at once");
        assert!(tickets.decrypt(&first).is_some());
    }

    /// B218.
    #[test]
    fn keys_are_not_printed() {
        let tickets = Tickets::new(at(0.0)).unwrap();
        assert_eq!(format!("{tickets:?}"), "Tickets { .. }");
    }
}
