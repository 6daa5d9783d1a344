//! What clients under load saw: how long each answer took, and which requests got none.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt, io,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use super::{Habit, PATIENCE, Way, wait_for};

/// An answer that took longer is counted; only [`PATIENCE`] makes a failure of it.
const SLOW: Duration = Duration::from_secs(1);
/// A test that waits for answers gives up when so many requests have failed.
const FAILURES_MAX: u64 = 1_000;

/// Counts for many clients at once.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: Mutex<BTreeMap<&'static str, Row>>,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Failure {
    /// The server had closed a kept connection without a word, and it was seen before the request was sent: not lost, but not polite.
    Stale,
    /// Nobody listened.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection ended before the answer did.
    Cut,
    /// No answer within [`PATIENCE`].
    Late,
    /// Another answer than the one that is right, or none that can be understood.
    Wrong,
}

/// What was counted from one moment to another.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<&'static str, Row>);

/// The requests of one kind.
#[derive(Debug, Default)]
struct Row {
    /// Microseconds of each answer; in order in a [`Seen`].
    waits: Vec<u32>,
    failures: Vec<(Failure, String)>,
}

impl Tally {
    /// A right answer to a request of this kind.
    pub(crate) fn answered(&self, kind: &'static str, begun: Instant) {
        let micros = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        self.rows.lock().unwrap().entry(kind).or_default().waits.push(micros);
        self.answered.fetch_add(1, Relaxed);
    }

    /// A request without one.
    pub(crate) fn failed(&self, kind: &'static str, error: &io::Error) {
        let failure = (Failure::of(error), error.to_string());
        self.rows.lock().unwrap().entry(kind).or_default().failures.push(failure);
        self.failed.fetch_add(1, Relaxed);
    }

    /// A kept connection was found closed.
    pub(crate) fn stale(&self, kind: &'static str) {
        let failure = (Failure::Stale, "closed after an answer that did not say so".to_owned());
        self.rows.lock().unwrap().entry(kind).or_default().failures.push(failure);
    }

    /// Waits until `count` more requests were answered.
    pub(crate) fn wait_for_more(&self, count: u64) {
        let goal = self.answered.load(Relaxed) + count;
        let most = self.failed.load(Relaxed) + FAILURES_MAX;
        wait_for("answers under load", PATIENCE, || {
            (self.failed.load(Relaxed) > most || self.answered.load(Relaxed) >= goal).then_some(())
        });
    }

    /// What was counted since the start, or since this was asked for the last time.
    pub(crate) fn take(&self) -> Seen {
        let mut rows = std::mem::take(&mut *self.rows.lock().unwrap());
        for row in rows.values_mut() {
            row.waits.sort_unstable();
        }
        Seen(rows)
    }
}

impl Failure {
    /// Whether the connection ended.
    fn is_an_end(self) -> bool {
        matches!(self, Self::Stale | Self::Reset | Self::Cut)
    }

    /// The clients' libraries wrap what the system said.
    fn of(error: &io::Error) -> Self {
        let mut kind = error.kind();
        let mut cause = error.get_ref().map(|inner| inner as &dyn Error);
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                kind = io.kind();
            } else if inner.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_io) {
                kind = inner.downcast_ref::<h2::Error>().and_then(h2::Error::get_io).map_or(kind, io::Error::kind);
            } else if inner.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
                kind = io::ErrorKind::UnexpectedEof;
            }
            cause = inner.source();
        }
        match kind {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Self::Reset
            }
            io::ErrorKind::UnexpectedEof => Self::Cut,
            // What a socket with a time-out says.
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Late,
            _ => Self::Wrong,
        }
    }
}

impl Seen {
    /// Adds what was seen at another time.
    pub(crate) fn add(&mut self, other: Self) {
        for (kind, row) in other.0 {
            let sum = self.0.entry(kind).or_default();
            sum.failures.extend(row.failures);
            sum.waits.extend(row.waits);
            sum.waits.sort_unstable();
        }
    }

    /// Requests that were answered well.
    pub(crate) fn answered(&self) -> u64 {
        self.0.values().map(|row| row.waits.len() as u64).sum()
    }

    /// The longest wait for an answer.
    pub(crate) fn slowest(&self) -> Duration {
        let slowest = self.0.values().filter_map(|row| row.waits.last()).max();
        Duration::from_micros(slowest.copied().unwrap_or_default().into())
    }

    /// How many failed in this way.
    pub(crate) fn count(&self, failure: Failure) -> usize {
        self.failures().filter(|(_, (found, _))| *found == failure).count()
    }

    /// How many were lost: sent, and not answered well.
    pub(crate) fn lost(&self) -> usize {
        self.failures().filter(|(_, (failure, _))| *failure != Failure::Stale).count()
    }

    /// Fails the test if a request was lost whose client had done nothing to risk it: on a connection of its own, or as a stream of HTTP/2.
    /// Who sends one more on a kept connection of HTTP/1.1 may meet its end (RFC 9112, 9.3.1 and 9.5).
    pub(crate) fn assert_none_lost_but_on_kept(&self) {
        let kept = |kind: &str| Habit::is_kept(kind) || Way::is_kept(kind);
        let lost: Vec<_> = self.failures().filter(|(kind, failure)| !kept(kind) || !failure.0.is_an_end()).collect();
        assert!(lost.is_empty(), "{lost:#?}");
    }

    /// Fails the test if any request failed.
    pub(crate) fn assert_none_failed(&self) {
        let shown: Vec<_> = self.failures().take(8).collect();
        let (failed, answered) = (self.failures().count(), self.answered());
        assert_eq!(failed, 0, "of {answered} requests {failed} failed: {shown:#?}");
    }

    fn failures(&self) -> impl Iterator<Item = (&'static str, &(Failure, String))> {
        self.0.iter().flat_map(|(kind, row)| row.failures.iter().map(move |failure| (*kind, failure)))
    }
}

/// A line for each kind: answers, failures by the way they failed, and how long an answer took in milliseconds.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, row) in &self.0 {
            let at = |percent: usize| {
                let place = row.waits.len().saturating_sub(1) * percent / 100;
                row.waits.get(place).map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
            };
            let slow = row.waits.iter().filter(|micros| u128::from(**micros) > SLOW.as_micros()).count();
            let mut failures: BTreeMap<Failure, usize> = BTreeMap::new();
            for (failure, _) in &row.failures {
                *failures.entry(*failure).or_default() += 1;
            }
            let (answers, failed) = (row.waits.len(), row.failures.len());
            let (half, most, all) = (at(50), at(99), at(100));
            write!(f, "\n  {kind:<12} {answers:>8} answered, {failed} failed {failures:?}, {slow} > 1 s; ")?;
            write!(f, "p50 {half:.1} p99 {most:.1} worst {all:.1} ms")?;
        }
        Ok(())
    }
}
