//! Which records are written: not the same line again and again, and not too many in all (B219). Time is passed in.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tracing::Level;

use super::record::Record;
use crate::limits;

/// What was decided about a record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Write,
    /// Counted; a line with the count comes later.
    Repeated,
    /// Beyond the rate; counted.
    Dropped,
}

#[derive(Debug)]
struct Repeat {
    record: Record,
    written: Instant,
    count: u64,
}

/// Remembers what was written lately. Bounded by [`limits::LOG_REPEATS_MAX`].
#[derive(Debug)]
pub(super) struct Gate {
    repeats: HashMap<String, Repeat>,
    lines: Bucket,
    access: Option<Bucket>,
    dropped: u64,
}

impl Gate {
    /// `bound_access`: records of single requests are held to a rate too, one of their own, so that they never cost the others
    /// their place (journald counts them all).
    pub(super) fn new(now: Instant, bound_access: bool) -> Self {
        Self {
            repeats: HashMap::new(),
            lines: Bucket::new(now),
            access: bound_access.then(|| Bucket::new(now)),
            dropped: 0,
        }
    }

    pub(super) fn admit(&mut self, record: &Record, text: &str, now: Instant) -> Verdict {
        if record.access {
            let is_free = self.access.as_mut().is_none_or(|bucket| bucket.take(now));
            return if is_free { Verdict::Write } else { self.dropped() };
        }
        if let Some(repeat) = self.repeats.get_mut(text) {
            repeat.count += 1;
            return Verdict::Repeated;
        }
        // No stranger can cause an error-level line: those are never lost.
        if !self.lines.take(now) && record.level > Level::ERROR {
            return self.dropped();
        }
        if self.repeats.len() >= limits::LOG_REPEATS_MAX {
            self.forget_the_oldest();
        }
        self.repeats.insert(text.to_owned(), Repeat { record: record.clone(), written: now, count: 0 });
        Verdict::Write
    }

    /// Lines whose minute is over and that came again, with how often (`all`: without waiting for the minute).
    pub(super) fn due(&mut self, now: Instant, all: bool) -> Vec<(Record, String, u64)> {
        let mut due = Vec::new();
        self.repeats.retain(|text, repeat| {
            if !all && now.saturating_duration_since(repeat.written) < limits::LOG_REPEAT {
                return true;
            }
            if repeat.count == 0 {
                return false;
            }
            due.push((repeat.record.clone(), text.clone(), repeat.count));
            repeat.count = 0;
            repeat.written = now;
            true
        });
        due
    }

    /// When [`Gate::due`] should be asked next.
    pub(super) fn next_due(&self, now: Instant) -> Duration {
        self.repeats
            .values()
            .map(|repeat| (repeat.written + limits::LOG_REPEAT).saturating_duration_since(now))
            .min()
            .unwrap_or(limits::LOG_REPEAT)
            .max(Duration::from_millis(1))
    }

    /// Records dropped since the last call.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    fn dropped(&mut self) -> Verdict {
        self.dropped += 1;
        Verdict::Dropped
    }

    fn forget_the_oldest(&mut self) {
        let oldest = self.repeats.iter().min_by_key(|(_, repeat)| repeat.written).map(|(text, _)| text.clone());
        if let Some(text) = oldest {
            self.repeats.remove(&text);
        }
    }
}

/// A token bucket in whole microseconds of credit.
#[derive(Debug)]
struct Bucket {
    credit: Duration,
    seen: Instant,
}

impl Bucket {
    const PRICE: Duration = Duration::from_micros(1_000_000 / limits::LOG_LINES_PER_SECOND as u64);
    const FULL: Duration =
        Duration::from_micros(1_000_000 / limits::LOG_LINES_PER_SECOND as u64 * limits::LOG_BURST as u64);

    fn new(now: Instant) -> Self {
        Self { credit: Self::FULL, seen: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        self.credit = (self.credit + now.saturating_duration_since(self.seen)).min(Self::FULL);
        self.seen = now;
        match self.credit.checked_sub(Self::PRICE) {
            Some(rest) => {
                self.credit = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn line(text: &str, level: Level) -> Record {
        Record::note(SystemTime::UNIX_EPOCH, level, text.to_owned())
    }

    fn admit(gate: &mut Gate, text: &str, now: Instant) -> Verdict {
        gate.admit(&line(text, Level::WARN), text, now)
    }

    #[test]
    fn the_same_line_is_written_at_once_and_then_once_a_minute_with_its_count_b219() {
        let start = Instant::now();
        let mut gate = Gate::new(start, false);
        assert_eq!(admit(&mut gate, "a", start), Verdict::Write);
        for second in 1..=10 {
            assert_eq!(admit(&mut gate, "a", start + Duration::from_secs(second)), Verdict::Repeated);
        }
        assert_eq!(admit(&mut gate, "b", start), Verdict::Write);
        let just_before = start + limits::LOG_REPEAT - Duration::from_millis(1);
        assert!(gate.due(just_before, false).is_empty());
        assert_eq!(gate.next_due(just_before), Duration::from_millis(1));
        let due = gate.due(start + limits::LOG_REPEAT, false);
        assert_eq!(due.iter().map(|(_, text, count)| (text.as_str(), *count)).collect::<Vec<_>>(), [("a", 10)]);
        // Written again just now, so its next repetition waits for the next minute; "b" is forgotten and would be new.
        assert_eq!(admit(&mut gate, "a", start + limits::LOG_REPEAT), Verdict::Repeated);
        assert_eq!(admit(&mut gate, "b", start + limits::LOG_REPEAT), Verdict::Write);
        assert_eq!(gate.due(start + limits::LOG_REPEAT, true).len(), 1, "the end of the process does not wait");
    }

    #[test]
    fn the_rate_is_bounded_and_errors_still_pass_b219() {
        let start = Instant::now();
        let mut gate = Gate::new(start, true);
        for number in 0..limits::LOG_BURST {
            assert_eq!(admit(&mut gate, &number.to_string(), start), Verdict::Write, "{number}");
        }
        assert_eq!(admit(&mut gate, "one more", start), Verdict::Dropped);
        assert_eq!(gate.admit(&line("loud", Level::ERROR), "loud", start), Verdict::Write);
        assert_eq!((gate.take_dropped(), gate.take_dropped()), (1, 0));
        // Records of requests have a rate of their own.
        let mut access = line("GET", Level::INFO);
        access.access = true;
        assert_eq!(gate.admit(&access, "GET", start), Verdict::Write);
        assert_eq!(gate.admit(&access, "GET", start), Verdict::Write, "never a repetition (B217)");
        let later = start + Duration::from_secs(1);
        let passed = (0..1_000).filter(|n| admit(&mut gate, &format!("x{n}"), later) == Verdict::Write).count();
        assert_eq!(passed, limits::LOG_LINES_PER_SECOND as usize);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let start = Instant::now();
        let mut gate = Gate::new(start, false);
        for number in 0..limits::LOG_REPEATS_MAX + 5 {
            let now = start + Duration::from_millis(20) * u32::try_from(number).unwrap();
            assert_eq!(admit(&mut gate, &number.to_string(), now), Verdict::Write);
        }
        assert_eq!(gate.repeats.len(), limits::LOG_REPEATS_MAX);
        assert!(!gate.repeats.contains_key("0"), "the oldest goes first");
    }
}
