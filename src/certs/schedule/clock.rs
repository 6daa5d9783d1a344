//! Which of the clocks to believe.
//!
//! Certificates end by the wall clock, which may be set, jump or be wrong; so it is compared with the CA's before anything is
//! ordered, and again after each jump (B214). Budgets and waits run by the steady clock instead, set once to the CA's time: a
//! wall clock that is set forward fills no bucket, and one that is set back silences no name.

use crate::limits;

/// What the caller's clocks say, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since 1970; 0 for anything before.
    pub wall: u64,
    /// Of a clock that is never set, since any moment that is the same for the life of the [`super::Schedule`].
    pub steady: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Not compared since the start or the last jump.
    Unknown,
    Confirmed,
    /// Before this program was made, or far from the CA's clock.
    Wrong,
}

#[derive(Debug)]
pub(super) struct Clock {
    now: Now,
    trust: Trust,
    /// The steady clock when the budget's was set, and to what.
    anchor: Option<(u64, u64)>,
    earliest: u64,
}

impl Clock {
    pub(super) fn new(now: Now, earliest: u64) -> Self {
        Self { now, trust: Trust::Unknown, anchor: None, earliest }
    }

    /// Whether the wall clock jumped since the last call.
    pub(super) fn advance(&mut self, now: Now) -> bool {
        let before = self.now;
        self.now = Now { wall: now.wall, steady: now.steady.max(before.steady) };
        let expected = before.wall.saturating_add(self.now.steady - before.steady);
        let jumped = now.wall.abs_diff(expected) > limits::CLOCK_JUMP.as_secs();
        if jumped {
            self.trust = Trust::Unknown;
        }
        jumped
    }

    /// The CA's clock was read; `None` if it shows none. Returns whether the budget's clock was set by it.
    pub(super) fn compare(&mut self, date: Option<u64>) -> bool {
        let is_far = date.is_some_and(|date| date.abs_diff(self.now.wall) > limits::CLOCK_ERROR_MAX.as_secs());
        self.trust = if is_far || self.is_absurd() { Trust::Wrong } else { Trust::Confirmed };
        if self.trust == Trust::Wrong || self.anchor.is_some() {
            return false;
        }
        self.anchor = Some((self.now.steady, date.unwrap_or(self.now.wall)));
        true
    }

    /// No clock shows such a time; the CA need not be asked.
    pub(super) fn is_absurd(&self) -> bool {
        let latest = self.earliest.saturating_add(limits::CLOCK_LATEST_AFTER.as_secs());
        !(self.earliest..=latest).contains(&self.now.wall)
    }

    pub(super) fn trust(&self) -> Trust {
        if self.is_absurd() { Trust::Wrong } else { self.trust }
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.trust() == Trust::Confirmed
    }

    /// Whether the budget's clock shows the time at all.
    pub(super) fn is_set(&self) -> bool {
        self.anchor.is_some()
    }

    /// The budget's clock. Before it is set it stands at 0, and nothing may be spent by it.
    pub(super) fn budget(&self) -> u64 {
        self.anchor.map_or(0, |(steady, time)| time.saturating_add(self.now.steady - steady))
    }

    pub(super) fn wall(&self) -> u64 {
        self.now.wall
    }

    pub(super) fn steady(&self) -> u64 {
        self.now.steady
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIEST: u64 = 1_000_000;

    fn at(wall: u64, steady: u64) -> Now {
        Now { wall, steady }
    }

    #[test]
    fn b214_a_clock_before_the_release_or_long_after_it_is_wrong_whatever_the_ca_says() {
        for (wall, wanted) in [
            (0, Trust::Wrong),
            (EARLIEST - 1, Trust::Wrong),
            (EARLIEST, Trust::Confirmed),
            (EARLIEST + limits::CLOCK_LATEST_AFTER.as_secs(), Trust::Confirmed),
            (EARLIEST + limits::CLOCK_LATEST_AFTER.as_secs() + 1, Trust::Wrong),
        ] {
            let mut clock = Clock::new(at(wall, 0), EARLIEST);
            clock.compare(Some(wall));
            assert_eq!(clock.trust(), wanted, "{wall}");
        }
    }

    #[test]
    fn b214_a_clock_may_differ_from_the_cas_by_an_hour_and_no_more() {
        for (date, wanted) in [(-3_600, true), (3_600, true), (-3_601, false), (3_601, false)] {
            let mut clock = Clock::new(at(EARLIEST + 10_000, 0), EARLIEST);
            clock.compare((EARLIEST + 10_000).checked_add_signed(date));
            assert_eq!(clock.is_confirmed(), wanted, "{date}");
        }
    }

    #[test]
    fn a_jump_is_compared_again_and_moves_no_budget() {
        let mut clock = Clock::new(at(EARLIEST, 0), EARLIEST);
        assert!(clock.compare(Some(EARLIEST + 5)) && clock.is_confirmed());
        assert!(!clock.advance(at(EARLIEST + 90, 30)), "60 s are no jump");
        assert!(clock.is_confirmed());
        assert!(clock.advance(at(EARLIEST + 121 + 60, 60)), "61 s are one");
        assert!(!clock.is_confirmed());
        assert_eq!(clock.budget(), EARLIEST + 65);
        assert!(!clock.compare(None), "set once");
        assert!(clock.is_confirmed());
        assert!(clock.advance(at(0, 61)));
        assert_eq!((clock.budget(), clock.trust()), (EARLIEST + 66, Trust::Wrong));
    }

    #[test]
    fn a_steady_clock_that_goes_back_stands_still() {
        let mut clock = Clock::new(at(EARLIEST, 50), EARLIEST);
        clock.compare(None);
        clock.advance(at(EARLIEST, 20));
        assert_eq!((clock.budget(), clock.steady()), (EARLIEST, 50));
    }
}
