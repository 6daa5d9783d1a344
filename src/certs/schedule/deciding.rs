//! What to do now: who is ready, which gate is closed, whose address and whose window to ask for.

use super::{Decision, Family, ORDERS, OrderId, Phase, Schedule};
use crate::limits;

impl Schedule {
    pub(super) fn register(&mut self, decisions: &mut Vec<Decision>) {
        let now = self.clock.budget();
        if !self.is_account_unknown || self.is_registering {
            return;
        }
        let next = self.budget.registered.saturating_add(limits::REGISTER_EVERY.as_secs());
        if self.budget.registered > 0 && now < next {
            self.opens = Some(next);
            return;
        }
        (self.budget.registered, self.is_registering, self.is_budget_unsaved) = (now, true, true);
        decisions.push(Decision::Register);
    }

    /// Starts what may start: the first of those that are ready, as long as there is room and no gate is closed.
    pub(super) fn start(&mut self, decisions: &mut Vec<Decision>) {
        let now = self.clock.budget();
        while let Some((class, at)) = self.agenda.first_ready() {
            let is_new = class > 1;
            if self.ordering + self.checking >= limits::ORDERS_IN_FLIGHT_MAX || self.is_account_unknown {
                return;
            }
            let gates =
                [Some(&self.budget.breaker), Some(&self.budget.stopped), Some(&self.budget.hold).filter(|_| is_new)];
            let mut opens = if is_new { self.budget.orders.next(ORDERS) } else { 0 }.max(self.store_until);
            opens =
                gates.iter().flatten().filter(|gate| gate.is_narrow()).fold(opens, |opens, gate| opens.max(gate.until));
            if opens > now {
                self.opens = Some(self.opens.map_or(opens, |other| other.min(opens)));
                return;
            }
            if gates.iter().flatten().any(|gate| gate.is_narrow()) && self.ordering + self.checking > 0 {
                return;
            }
            let family = if is_new { self.budget.family(&self.entries[at].domain, now) } else { Family::Free };
            if let Family::Held(until) = family {
                self.entries[at].next_try = self.entries[at].next_try.max(until);
                self.note(at);
                self.place(at);
                continue;
            }
            if self.entries[at].needs_look_up(now) {
                if !self.may_look(now) {
                    self.opens = Some(now.saturating_add(1));
                    return;
                }
                self.checking += 1;
                self.entries[at].phase = Phase::Checking;
                self.place(at);
                if !self.entries[at].is_looking {
                    decisions.push(self.look_up(at, now));
                }
                continue;
            }
            if let Family::Narrow(family) = family {
                self.budget.occupy(&family, true);
                self.entries[at].family = Some(family);
            }
            decisions.push(self.begin(at, is_new, now));
        }
    }

    pub(super) fn begin(&mut self, at: usize, is_new: bool, now: u64) -> Decision {
        if is_new {
            self.budget.orders.spend(ORDERS, now);
            self.is_budget_unsaved = true;
        }
        let order = OrderId(self.orders);
        self.orders += 1;
        self.ordering += 1;
        let entry = &mut self.entries[at];
        let challenge = entry.challenge();
        entry.begin(order, now);
        let decision = Decision::Start { domain: entry.domain.clone(), order, challenge };
        self.note(at);
        self.place(at);
        decision
    }

    pub(super) fn may_look(&self, now: u64) -> bool {
        let (second, count) = self.looked;
        self.looking < limits::LOOK_UPS_IN_FLIGHT_MAX && (second != now || count < limits::LOOK_UPS_PER_SECOND)
    }

    pub(super) fn look_up(&mut self, at: usize, now: u64) -> Decision {
        self.looked = (now, if self.looked.0 == now { self.looked.1 + 1 } else { 1 });
        self.looking += 1;
        let entry = &mut self.entries[at];
        entry.is_looking = true;
        entry.next_look = None;
        self.agenda.look(at, None);
        Decision::LookUp(entry.domain.clone())
    }

    pub(super) fn look(&mut self, decisions: &mut Vec<Decision>) {
        let now = self.clock.budget();
        while self.may_look(now)
            && let Some(at) = self.agenda.look_due(now)
        {
            decisions.push(self.look_up(at, now));
        }
    }

    pub(super) fn reads_windows(&self) -> bool {
        self.directory.offers_windows && self.reading < limits::WINDOWS_IN_FLIGHT_MAX
    }

    pub(super) fn read_windows(&mut self, decisions: &mut Vec<Decision>) {
        let now = self.clock.budget();
        while self.reads_windows()
            && let Some(at) = self.agenda.window_due(now)
        {
            self.reading += 1;
            let entry = &mut self.entries[at];
            (entry.reads_for, entry.next_window) = (entry.held.map(|held| held.not_after), None);
            self.agenda.window(at, None);
            decisions.push(Decision::ReadWindow(entry.domain.clone()));
        }
    }
}
