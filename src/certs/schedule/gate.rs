//! A gate that closes on trouble, each time for longer, and then lets one through to see.

use crate::limits;

/// Times are seconds of the budget's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    /// Troubles since the last success.
    pub(super) step: u32,
    pub(super) until: u64,
    /// When it closed last.
    closed_at: u64,
    /// Until when the CA wants it closed.
    asked: u64,
}

impl Gate {
    pub(super) fn restored(step: u32, until: u64) -> Self {
        // Who asked for it is not kept: it may have been the CA.
        Self { step, until, closed_at: 0, asked: until }
    }

    /// Closes for 1, 2, 4 … 60 min, or until `asked` if that is later. What began before it closed says nothing new: eight
    /// orders that meet one outage are one trouble.
    pub(super) fn trouble(&mut self, began: u64, now: u64, asked: Option<u64>) {
        if self.step == 0 || began >= self.closed_at.max(self.until) {
            self.step = self.step.saturating_add(1);
            self.closed_at = now;
            self.until = now.saturating_add(pause(self.step));
        }
        self.close_until(asked.unwrap_or(0), now);
    }

    /// Closes until `until`, and until the end of a longer time that was known before.
    pub(super) fn close_until(&mut self, until: u64, now: u64) {
        let latest = now.saturating_add(limits::RETRY_AFTER_MAX.as_secs());
        self.step = self.step.max(1);
        self.asked = self.asked.max(until).min(latest);
        self.until = self.until.max(until).min(latest);
    }

    /// Ends a wait of our own, so that one may pass to see; what the CA asked for stands.
    pub(super) fn let_one_pass(&mut self) {
        self.until = self.until.min(self.asked);
    }

    pub(super) fn success(&mut self) {
        *self = Self::default();
    }

    pub(super) fn is_closed(&self, now: u64) -> bool {
        self.step > 0 && now < self.until
    }

    /// Whether only one may pass, since nobody has come back well yet.
    pub(super) fn is_narrow(&self) -> bool {
        self.step > 0
    }

    pub(super) fn clamp(&mut self, now: u64) {
        self.until = self.until.min(now.saturating_add(limits::RETRY_AFTER_MAX.as_secs()));
    }
}

/// Seconds to wait after so many troubles.
pub(super) fn pause(step: u32) -> u64 {
    let doubled = limits::CA_PAUSE.as_secs().saturating_mul(1 << step.saturating_sub(1).min(20));
    doubled.min(limits::CA_PAUSE_MAX.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_closes_for_twice_as_long_each_time_up_to_an_hour() {
        let (mut gate, mut now) = (Gate::default(), 0);
        for wanted in [60, 120, 240, 480, 960, 1_920, 3_600, 3_600] {
            gate.trouble(now, now, None);
            assert_eq!(gate.until - now, wanted);
            assert!(gate.is_closed(gate.until - 1) && !gate.is_closed(gate.until) && gate.is_narrow());
            now = gate.until;
        }
        gate.success();
        assert!(!gate.is_closed(now) && !gate.is_narrow());
    }

    #[test]
    fn orders_that_were_under_way_in_the_same_outage_count_once() {
        let mut gate = Gate::default();
        for _ in 0..8 {
            gate.trouble(990, 1_000, None);
        }
        assert_eq!((gate.step, gate.until), (1, 1_060));
        gate.trouble(1_060, 1_090, None);
        assert_eq!((gate.step, gate.until), (2, 1_210));
    }

    #[test]
    fn a_longer_wish_of_the_ca_wins_and_a_week_is_the_most() {
        let mut gate = Gate::default();
        gate.trouble(0, 100, Some(5_000));
        assert_eq!(gate.until, 5_000);
        gate.trouble(5_000, 5_000, Some(1));
        assert_eq!(gate.until, 5_120);
        gate.close_until(u64::MAX, 5_000);
        assert_eq!(gate.until, 5_000 + limits::RETRY_AFTER_MAX.as_secs());
    }

    #[test]
    fn a_person_ends_a_wait_of_our_own_and_none_of_the_cas() {
        let mut gate = Gate::default();
        gate.trouble(0, 100, None);
        gate.let_one_pass();
        assert!(!gate.is_closed(100) && gate.is_narrow());
        gate.trouble(100, 110, Some(140));
        gate.let_one_pass();
        assert!(gate.is_closed(139) && !gate.is_closed(140));
        let mut gate = Gate::restored(2, 1_000);
        gate.let_one_pass();
        assert!(gate.is_closed(999), "the CA may have asked for it");
    }
}
