//! Which names a warning was given for: once an hour each, by all workers together, in a memory that does not grow (B175).
//!
//! Never here: a lock, a name (a part of its hash has to do: two names that share it share a warning), the words of a warning.

use std::{
    array, fmt,
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use crate::{
    domain::Domain,
    limits::{REMINDER_EVERY, REMINDERS_MAX},
};

/// Places in which one name may be remembered: so many names have to meet before one is left out.
const CHOICES: usize = 4;

/// When which name was reminded of.
pub(super) struct Reminders {
    /// Half of a hash, and the second of the reminder; 0: nothing.
    places: [AtomicU64; REMINDERS_MAX],
    hasher: RandomState,
    start: Instant,
}

impl Reminders {
    pub(super) fn new(now: Instant) -> Self {
        Self { places: array::from_fn(|_| AtomicU64::new(0)), hasher: RandomState::new(), start: now }
    }

    /// Whether a reminder for this name is due; then it counts as given. No more of them are due in an hour than there are places.
    pub(super) fn is_due(&self, domain: &Domain, now: Instant) -> bool {
        let hash = self.hasher.hash_one(domain);
        let (tag, place) = (hash >> 32, usize::try_from(hash & 0xffff).unwrap_or_default());
        // Never 0, which is nothing; and there is room for a century.
        let now = (now.saturating_duration_since(self.start).as_secs() + 1) & 0xffff_ffff;
        let mut free = None;
        for choice in 0..CHOICES {
            let Some(place) = self.places.get((place + choice) % REMINDERS_MAX) else { continue };
            let found = place.load(Ordering::Relaxed);
            let (known, at) = (found >> 32, found & 0xffff_ffff);
            if at == 0 || now.saturating_sub(at) >= REMINDER_EVERY.as_secs() {
                free = free.or(Some((place, found)));
            } else if known == tag {
                return false;
            }
        }
        let take = |(place, found): (&AtomicU64, u64)| {
            place.compare_exchange(found, tag << 32 | now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        free.is_some_and(take)
    }
}

impl fmt::Debug for Reminders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reminders").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    /// B175: at the limit and one second before it.
    #[test]
    fn a_reminder_is_due_once_an_hour_for_each_name() {
        let start = Instant::now();
        let reminders = Reminders::new(start);
        let (a, b) = (domain("a.test"), domain("b.test"));
        assert!(reminders.is_due(&a, start));
        assert!(reminders.is_due(&b, start), "another name");
        assert!(!reminders.is_due(&a, start));
        assert!(!reminders.is_due(&a, start + REMINDER_EVERY - Duration::from_secs(1)));
        assert!(reminders.is_due(&a, start + REMINDER_EVERY));
        assert!(!reminders.is_due(&a, start + REMINDER_EVERY));
    }

    #[test]
    fn many_names_are_bounded() {
        let start = Instant::now();
        let reminders = Reminders::new(start);
        let names: Vec<_> = (0..10 * REMINDERS_MAX).map(|number| domain(&format!("n{number}.test"))).collect();
        let due = names.iter().filter(|name| reminders.is_due(name, start)).count();
        assert!((REMINDERS_MAX / 2..=REMINDERS_MAX).contains(&due), "{due}");
        let again = names.iter().filter(|name| reminders.is_due(name, start + REMINDER_EVERY)).count();
        assert!((REMINDERS_MAX / 2..=REMINDERS_MAX).contains(&again), "{again}");
    }

    /// Of all workers one gives it.
    #[test]
    fn one_of_many_threads_gives_it() {
        let start = Instant::now();
        let reminders = Reminders::new(start);
        let mut given = 0;
        for number in 0..50 {
            let name = domain(&format!("n{number}.test"));
            let due: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| reminders.is_due(&name, start))).collect();
                threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
            });
            assert!(due <= 1, "{name}");
            given += due;
        }
        // Some may have met others in all their places.
        assert!(given > 40, "{given}");
    }
}
