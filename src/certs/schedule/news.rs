//! What an event means; the end of an order has a page of its own.

use std::time::Duration;

use super::{Decision, Entry, Held, Origin, Phase, Schedule, WAKES, gate, jitter};
use crate::{domain::Domain, limits};

impl Schedule {
    pub(super) fn mapped(&mut self, domain: Domain) {
        let at = self.admit(Entry::new(domain));
        let now = self.clock.budget();
        let entry = &mut self.entries[at];
        if !std::mem::replace(&mut entry.is_mapped, true) {
            entry.arrival = self.arrivals;
            self.arrivals += 1;
            if entry.held.is_some() {
                entry.next_window = Some(now);
            }
            if entry.step > 0 || entry.is_unresolved {
                entry.watched_since = Some(now);
                entry.next_look = Some(now);
            }
            self.place(at);
        }
    }

    pub(super) fn unmapped(&mut self, at: usize) {
        let now = self.clock.budget();
        let entry = &mut self.entries[at];
        entry.is_mapped = false;
        entry.is_asked_for = false;
        match entry.phase {
            Phase::Idle => {}
            Phase::Checking => self.checking -= 1,
            Phase::Ordering { order, .. } => {
                // What it has spent stays spent: nobody will know how far it came.
                entry.next_try = entry.next_try.max(now.saturating_add(limits::RETRY_AFTER[0].as_secs()));
                self.abandoned.push(Decision::Abandon { domain: entry.domain.clone(), order });
                self.end(at);
                self.note(at);
            }
        }
        self.entries[at].phase = Phase::Idle;
        self.place(at);
        self.forget(at);
    }

    /// Forgets a name about which nothing needs to be known.
    pub(super) fn forget(&mut self, at: usize) {
        if self.entries[at].is_forgettable(self.clock.budget()) && self.index.get(&self.entries[at].domain) == Some(&at)
        {
            let domain = self.entries[at].domain.clone();
            self.entries[at].is_unsaved = false;
            self.index.remove(&domain);
            if self.entries[at].is_on_disk {
                self.forgotten.insert(domain);
            }
            self.free.push(at);
        }
    }

    pub(super) fn asked(&mut self, at: usize) {
        let (now, entry) = (self.clock.budget(), &mut self.entries[at]);
        if entry.held.is_some() || !entry.is_mapped {
            return;
        }
        // Somebody who reached us for it is a reason to believe that its address has changed.
        let soon = entry.looked_up.saturating_add(limits::LOOK_UP_AGAIN[0].1.as_secs()).max(now);
        entry.next_look = entry.next_look.map(|look| look.min(soon));
        entry.is_asked_for = true;
        self.place(at);
    }

    pub(super) fn retried(&mut self, at: usize) {
        let entry = &mut self.entries[at];
        entry.next_try = 0;
        if std::mem::take(&mut entry.is_paused) {
            entry.held_until = 0;
        }
        if self.budget.stopped.is_narrow() {
            // One order, to see whether the account is well again.
            self.budget.stopped.until = 0;
            self.is_budget_unsaved = true;
        }
        // The same where the CA, or the way to it, was in trouble: the person may have mended that.
        self.budget.breaker.let_one_pass();
        self.is_budget_unsaved |= self.budget.breaker.is_narrow();
        self.read_directory_soon();
        self.note(at);
        self.place(at);
    }

    /// Another certificate serves this name, wherever it comes from.
    pub(super) fn held(&mut self, domain: Domain, held: Option<Held>) {
        let at = self.admit(Entry::new(domain));
        let now = self.clock.budget();
        let entry = &mut self.entries[at];
        if entry.held == held {
            return;
        }
        entry.held = held;
        if held.is_some_and(|held| held.origin == Origin::Issued) {
            entry.next_window = Some(now);
            if !std::mem::replace(&mut entry.was_issued, true) {
                self.note(at);
            }
        }
        self.place(at);
    }

    pub(super) fn directory_read(&mut self, date: Option<u64>, offers_windows: bool) {
        let was_confirmed = self.clock.is_confirmed();
        let is_set_now = self.clock.compare(date);
        let steady = self.clock.steady();
        self.directory.is_asked = false;
        self.directory.failures = 0;
        self.directory.offers_windows = offers_windows;
        let again = if self.clock.is_confirmed() { limits::DIRECTORY_AGAIN } else { limits::DIRECTORY_AGAIN_WRONG };
        self.directory.due = steady.saturating_add(again.as_secs());
        let now = self.clock.budget();
        if is_set_now {
            self.budget.clamp(now);
            self.is_budget_unsaved = true;
        }
        for at in 0..self.entries.len() {
            if is_set_now && self.entries[at].clamp(now) {
                self.note(at);
            }
            if !self.entries[at].is_mapped {
                self.forget(at);
            } else if !was_confirmed {
                self.place(at);
            }
        }
    }

    pub(super) fn directory_failed(&mut self) {
        self.directory.is_asked = false;
        self.directory.failures = self.directory.failures.saturating_add(1);
        self.directory.due = self.clock.steady().saturating_add(gate::pause(self.directory.failures));
    }

    pub(super) fn registered(&mut self, is_known: bool) {
        self.is_registering = false;
        self.is_account_unknown = !is_known;
    }

    pub(super) fn looked_up(&mut self, at: usize, addresses: Option<u64>) {
        let now = self.clock.budget();
        let entry = &mut self.entries[at];
        if !std::mem::take(&mut entry.is_looking) {
            return;
        }
        self.looking -= 1;
        let before = entry.answer.replace(addresses);
        entry.looked_up = now;
        let is_check = entry.phase == Phase::Checking;
        if is_check {
            entry.phase = Phase::Idle;
            self.checking -= 1;
        }
        if addresses.is_some() {
            let was_unresolved = std::mem::take(&mut entry.is_unresolved);
            if was_unresolved || before.is_some_and(|before| before != addresses) && !is_check && entry.step > 0 {
                // A few times at once, later with pauses: some answers change each time.
                entry.next_try = entry.wakes.next(WAKES).max(now);
                entry.wakes.spend(WAKES, now);
                self.note(at);
            }
        } else if is_check {
            entry.is_unresolved = true;
            entry.reason = "the name service knows no address for this name".to_owned();
            let since = *entry.watched_since.get_or_insert(now);
            entry.once_a_day(self.seed, entry.last_try.max(since));
            self.note(at);
        }
        self.entries[at].next_look = self.entries[at].look_again(now);
        self.place(at);
        self.forget(at);
    }

    pub(super) fn window_read(&mut self, at: usize, window: Option<(u64, u64)>, again: Option<Duration>) {
        let (seed, now) = (self.seed, self.clock.budget());
        let entry = &mut self.entries[at];
        let Some(of) = entry.reads_for.take() else { return };
        self.reading -= 1;
        if entry.held.is_none_or(|held| held.not_after != of) {
            // Renewed meanwhile: what the CA wanted for the old one would have the new one renewed at once.
            entry.next_window = Some(now);
            self.place(at);
            self.forget(at);
            return;
        }
        let again = again.unwrap_or(limits::WINDOW_AGAIN);
        let again = again.clamp(limits::WINDOW_AGAIN_MIN, limits::WINDOW_AGAIN_MAX).as_secs();
        entry.next_window = Some(now.saturating_add(again));
        // Nonsense is no window: the rule alone holds.
        let known = entry.window.filter(|window| window[0] == of).map(|[_, from, until, _]| (from, until));
        if let Some((from, until)) = window.filter(|window| window.0 < window.1 && Some(*window) != known) {
            let drawn = from.saturating_add(jitter::jitter(seed, entry.domain.as_str(), from, until - from));
            entry.window = Some([of, from, until, drawn]);
            self.note(at);
        }
        self.place(at);
        self.forget(at);
    }
}
