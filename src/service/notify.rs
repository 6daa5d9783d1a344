//! What the service manager is told (sd_notify(3)), and when its watchdog is fed.
//!
//! Never here: a ping from a thread of its own. It would prove nothing.

use std::{
    fmt,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;

/// The way to the service manager; silent where there is none.
pub struct Notifier {
    send: Option<Send>,
}

type Send = Box<dyn Fn(&[NotifyState<'_>]) -> std::io::Result<()>>;

impl Notifier {
    /// To the socket that the environment names (NOTIFY_SOCKET); silent without one.
    pub fn from_environment() -> Self {
        Self::to(sd_notify::notify)
    }

    /// To nobody.
    pub fn silent() -> Self {
        Self { send: None }
    }

    /// To a receiver of one's own.
    pub fn to(send: impl Fn(&[NotifyState<'_>]) -> std::io::Result<()> + 'static) -> Self {
        Self { send: Some(Box::new(send)) }
    }

    /// Everything that READY=1 promises is true: rules loaded, every worker accepts, commands are read (B202).
    pub fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The line that `systemctl status` shows.
    pub fn status(&self, status: &str) {
        self.tell(&[NotifyState::Status(status)]);
    }

    /// The service has begun to stop.
    pub fn stopping(&self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    /// Another process is the service from now on. The last thing that this one says (B204).
    pub fn main_process(&self, process: u32) {
        self.tell(&[NotifyState::MainPid(process)]);
    }

    /// All loops turn.
    pub fn alive(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// From now on nothing is said: one word of a generation that drains would confuse the manager (B204).
    pub fn silence(&mut self) {
        self.send = None;
    }

    fn tell(&self, states: &[NotifyState<'_>]) {
        if let Some(send) = &self.send
            && let Err(error) = send(states)
        {
            tracing::warn!(target: "hotcore::service", %error, "cannot tell systemd about the state of the service");
        }
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").field("silent", &self.send.is_none()).finish()
    }
}

/// Decides when the watchdog is fed: a third of its period after the last time, and only if every loop has turned since (B213).
/// Time is passed in.
#[derive(Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    last: Option<Instant>,
    seen: Vec<u64>,
}

impl Watchdog {
    /// `period` as the service manager set it; `None`: there is no watchdog.
    pub fn new(period: Option<Duration>) -> Self {
        Self { every: period.map(|period| period / 3), last: None, seen: Vec::new() }
    }

    /// The period set for this very process; a period inherited from another one (WATCHDOG_PID) does not count.
    pub fn from_environment() -> Self {
        Self::new(sd_notify::watchdog_enabled())
    }

    /// Whether to feed it now, as far as the loops are concerned. `beats` has one figure for each loop that must turn, always in
    /// the same order.
    pub fn is_due(&self, now: Instant, beats: &[u64]) -> bool {
        let Some(every) = self.every else { return false };
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < every) {
            return false;
        }
        self.seen.len() != beats.len() || self.seen.iter().zip(beats).all(|(before, beat)| before != beat)
    }

    /// It was fed, and the loops stood so.
    pub fn fed(&mut self, now: Instant, beats: &[u64]) {
        self.last = Some(now);
        self.seen = beats.to_vec();
    }

    /// Loops that starve the watchdog, by their place in `beats`: they have not turned since the last feeding, which is overdue
    /// by as long again.
    pub fn overdue(&self, now: Instant, beats: &[u64]) -> Vec<usize> {
        let (Some(every), Some(last)) = (self.every, self.last) else { return Vec::new() };
        if now.saturating_duration_since(last) < every * 2 || self.seen.len() != beats.len() {
            return Vec::new();
        }
        let stands_still = |index: &usize| self.seen.get(*index) == beats.get(*index);
        (0..beats.len()).filter(stands_still).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use super::*;

    impl Watchdog {
        fn feeds(&mut self, now: Instant, beats: &[u64]) -> bool {
            let is_due = self.is_due(now, beats);
            if is_due {
                self.fed(now, beats);
            }
            is_due
        }
    }

    const PERIOD: Duration = Duration::from_secs(30);

    #[test]
    fn the_watchdog_is_fed_every_third_of_its_period_while_all_loops_turn_b213() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Some(PERIOD));
        let fed: Vec<u64> = (0..=60)
            .filter(|second| watchdog.feeds(start + Duration::from_secs(*second), &[*second, 7 + *second, *second]))
            .collect();
        assert_eq!(fed, [0, 10, 20, 30, 40, 50, 60]);
    }

    #[test]
    fn one_loop_that_stands_still_starves_the_watchdog_b213() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Some(PERIOD));
        assert!(watchdog.feeds(start, &[1, 1, 1]));
        for second in 10..40 {
            let now = start + Duration::from_secs(second);
            assert!(!watchdog.feeds(now, &[second, 1, second]), "the second worker is dead-locked");
        }
        assert!(watchdog.overdue(start + Duration::from_secs(19), &[19, 1, 19]).is_empty());
        assert_eq!(watchdog.overdue(start + Duration::from_secs(20), &[20, 1, 20]), [1]);
        assert!(watchdog.feeds(start + Duration::from_secs(40), &[40, 2, 40]), "it turns again");
    }

    #[test]
    fn without_a_period_it_is_never_fed() {
        assert!(!Watchdog::new(None).is_due(Instant::now(), &[1]));
    }

    #[test]
    fn a_generation_that_drains_says_nothing_more_b204() {
        let said = Rc::new(RefCell::new(String::new()));
        let ear = Rc::clone(&said);
        let mut notifier = Notifier::to(move |states| {
            for state in states {
                ear.borrow_mut().push_str(&format!("{state};"));
            }
            Ok(())
        });
        notifier.ready("3 rules");
        notifier.main_process(42);
        notifier.silence();
        notifier.stopping();
        notifier.status("x");
        notifier.alive();
        assert_eq!(said.borrow().as_str(), "READY=1;STATUS=3 rules;MAINPID=42;");
    }
}
