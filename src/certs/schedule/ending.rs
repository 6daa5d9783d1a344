//! The end of an order: what it gives back, and what it means for the name and for all the others.

use super::{Entry, Failure, Held, ORDERS, OrderId, Origin, Outcome, Phase, Reached, Schedule, Scope, entry};
use crate::{certs::record, limits};

impl Schedule {
    pub(super) fn ended(&mut self, at: usize, order: OrderId, outcome: Outcome) {
        let entry = &mut self.entries[at];
        let began = match entry.phase {
            Phase::Ordering { order: current, began } if current == order => began,
            // An order that is history: only its certificate is worth something, if it is better than what serves.
            _ => {
                let Outcome::Issued { not_before, not_after, .. } = outcome else { return };
                if entry.held.is_none_or(|held| held.origin == Origin::Issued && held.not_after < not_after) {
                    let domain = entry.domain.clone();
                    self.held(domain, Some(Held { not_before, not_after, origin: Origin::Issued }));
                }
                return;
            }
        };
        entry.phase = Phase::Idle;
        let is_new = !entry.was_issued;
        self.end(at);
        match outcome {
            Outcome::Issued { not_before, not_after, proved_by } => {
                self.accepted(is_new);
                let held = Held { not_before, not_after, origin: Origin::Issued };
                let entry = &mut self.entries[at];
                entry.failures.refund(entry::FAILURES);
                entry.succeed(held, proved_by, self.clock.budget());
                self.note(at);
                self.place(at);
            }
            Outcome::Failed { failure, reached, reason } => {
                let entry = &mut self.entries[at];
                entry.reason = record::one_line(&reason);
                if reached < Reached::Signature {
                    entry.exact_set.refund(entry.exact_shape());
                }
                match failure {
                    Failure::Site { .. } => self.accepted(is_new),
                    Failure::Name | Failure::RateLimited { .. } => self.answered(),
                    _ => {}
                }
                self.failed(at, failure, reached, began);
                self.note(at);
                self.place(at);
            }
        }
    }

    /// The CA answers: its trouble is over.
    fn answered(&mut self) {
        if self.budget.breaker.is_narrow() {
            self.budget.breaker.success();
            self.is_budget_unsaved = true;
        }
    }

    /// The CA took an order, so no gate is closed for its kind any more. One that closed while it was under way stays closed.
    fn accepted(&mut self, is_new: bool) {
        self.answered();
        let now = self.clock.budget();
        for gate in [Some(&mut self.budget.stopped), Some(&mut self.budget.hold).filter(|_| is_new)] {
            if let Some(gate) = gate.filter(|gate| gate.is_narrow() && !gate.is_closed(now)) {
                gate.success();
                self.is_budget_unsaved = true;
            }
        }
    }

    /// An order is no longer under way.
    pub(super) fn end(&mut self, at: usize) {
        self.ordering -= 1;
        if let Some(family) = self.entries[at].family.take() {
            self.budget.occupy(&family, false);
        }
    }

    fn failed(&mut self, at: usize, failure: Failure, reached: Reached, began: u64) {
        let (seed, now) = (self.seed, self.clock.budget());
        let entry = &mut self.entries[at];
        match failure {
            Failure::Site { until } => {
                entry.climb(seed, now);
                entry.next_try = entry.next_try.max(bounded(until, now));
                watch(entry, now);
            }
            Failure::Name => {
                entry.step = entry.step.saturating_add(1);
                entry.once_a_day(seed, now);
            }
            Failure::Ca { .. } | Failure::NotKept => {
                let until = if let Failure::Ca { until } = failure { until } else { None };
                self.is_disk_to_blame = failure == Failure::NotKept;
                // What it may have seen of the site stays counted.
                if reached == Reached::Order {
                    refund(entry);
                }
                entry.stand_back(seed, now);
                entry.arrival = self.arrivals;
                self.arrivals += 1;
                self.budget.breaker.trouble(began, now, until);
                self.is_budget_unsaved = true;
            }
            Failure::RateLimited { scope, until } => {
                refund(entry);
                self.limited(at, scope, until);
            }
            Failure::AccountUnknown => {
                refund(entry);
                self.is_account_unknown = true;
            }
            Failure::AccountStopped => {
                refund(entry);
                self.budget.stopped.close_until(now.saturating_add(limits::ACCOUNT_STOPPED_PAUSE.as_secs()), now);
                self.is_budget_unsaved = true;
            }
            Failure::NotStored => {
                refund(entry);
                if !entry.was_issued {
                    self.budget.orders.refund(ORDERS);
                    self.is_budget_unsaved = true;
                }
                self.store_until = now.saturating_add(limits::STORE_PAUSE.as_secs());
            }
            Failure::GivenUp => {}
        }
    }

    fn limited(&mut self, at: usize, scope: Scope, until: Option<u64>) {
        let now = self.clock.budget();
        let pause = now.saturating_add(limits::RATE_LIMITED_PAUSE.as_secs());
        let until = until.map_or(pause, |until| bounded(Some(until), now).max(now.saturating_add(60)));
        let entry = &mut self.entries[at];
        match scope {
            Scope::Account | Scope::Unknown => {
                self.budget.hold.close_until(until, now);
                self.is_budget_unsaved = true;
                if entry.was_issued {
                    entry.held_until = until;
                }
            }
            Scope::Registered(domain) => {
                self.budget.limit(&domain, until, now);
                self.is_budget_unsaved = true;
                entry.held_until = until;
            }
            Scope::Name => entry.held_until = until,
            Scope::Paused => {
                entry.is_paused = true;
                entry.once_a_day(self.seed, now);
                entry.held_until = entry.next_try;
            }
        }
    }
}

/// The CA was not asked to look at the site, so there is no failure.
fn refund(entry: &mut Entry) {
    entry.failures.refund(entry::FAILURES);
    entry.consecutive.refund(entry::CONSECUTIVE);
}

/// Looks its addresses up from now on: a change may end the trouble.
fn watch(entry: &mut Entry, now: u64) {
    entry.watched_since.get_or_insert(now);
    if entry.next_look.is_none() && !entry.is_looking {
        entry.next_look = entry.look_again(now);
    }
}

/// A wish of the CA, as far as it is heeded.
fn bounded(until: Option<u64>, now: u64) -> u64 {
    until.unwrap_or(0).min(now.saturating_add(limits::RETRY_AFTER_MAX.as_secs()))
}
