//! What a person is told about a name.

use std::collections::HashMap;

use super::{Gate, ORDERS, Origin, Phase, Place, Schedule, clock::Trust};
use crate::domain::Domain;

/// Where a name stands. Times are seconds since 1970 as far as the clock is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// A local name: no CA signs it.
    Local,
    /// A person gave its certificate.
    Own,
    /// Its certificate needs nothing before this time.
    Valid {
        /// Of the certificate.
        until: u64,
        /// When it will be renewed.
        renewal: u64,
    },
    /// It is being ordered.
    Ordering,
    /// It has no address.
    WaitingForAddress,
    /// It is ready, and so many come before it.
    Queued(usize),
    /// It failed, and is tried again then.
    Waiting(u64),
    /// The CA refuses it until then.
    HeldByCa(u64),
    /// The CA refuses it until a person lifts that at the CA.
    Paused,
    /// Nothing is ordered: the CA's directory, and by it the clock, was not read yet.
    ClockUnknown,
    /// Nothing is ordered: the clock is wrong.
    ClockWrong,
    /// Nothing is ordered: the state folder cannot be written.
    StoreNotWritable,
    /// Nothing is ordered: the CA is in trouble, until then.
    CaTrouble(u64),
    /// Nothing is ordered: a person must act on the account.
    AccountStopped,
    /// Nothing is ordered: the CA does not know the account.
    AccountUnknown,
}

impl Schedule {
    /// Where `domain` stands; `None` if it has no rule.
    pub fn state(&self, domain: &Domain) -> Option<State> {
        let at = *self.index.get(domain)?;
        self.state_at(at, |place| self.agenda.position(place, at))
    }

    /// The same without counting the queue: each that is queued is the first.
    pub fn state_uncounted(&self, domain: &Domain) -> Option<State> {
        self.state_at(*self.index.get(domain)?, |_| 0)
    }

    /// Where each name that has a rule stands, in no order; for many names, as it counts the queue once.
    pub fn states(&self) -> impl Iterator<Item = (&Domain, State)> {
        let positions: HashMap<usize, usize> =
            self.agenda.queue().enumerate().map(|(position, at)| (at, position)).collect();
        self.index.iter().filter_map(move |(domain, &at)| {
            let state = self.state_at(at, |_| positions.get(&at).copied().unwrap_or(0))?;
            Some((domain, state))
        })
    }

    /// What keeps all names, or all new ones, from being ordered now.
    pub fn obstacle(&self) -> Option<State> {
        let budget = self.clock.budget();
        match self.clock.trust() {
            Trust::Wrong => Some(State::ClockWrong),
            Trust::Unknown => Some(State::ClockUnknown),
            Trust::Confirmed if self.budget.stopped.is_closed(budget) => Some(State::AccountStopped),
            Trust::Confirmed if self.is_account_unknown => Some(State::AccountUnknown),
            Trust::Confirmed if self.store_until > budget => Some(State::StoreNotWritable),
            Trust::Confirmed if self.is_disk_to_blame && self.budget.breaker.is_closed(budget) => {
                Some(State::StoreNotWritable)
            }
            Trust::Confirmed if self.budget.breaker.is_closed(budget) => {
                Some(State::CaTrouble(self.budget.breaker.until))
            }
            Trust::Confirmed if self.budget.hold.is_closed(budget) => Some(State::HeldByCa(self.budget.hold.until)),
            Trust::Confirmed => None,
        }
    }

    fn state_at(&self, at: usize, position: impl FnOnce(Place) -> usize) -> Option<State> {
        let entry = self.entries.get(at).filter(|entry| entry.is_mapped)?;
        let (budget, wall) = (self.clock.budget(), self.clock.wall());
        let is_own = entry.held.is_some_and(|held| held.origin == Origin::Own);
        let renewal = entry.due(self.seed);
        let is_shut = |gate: &Gate| gate.is_closed(budget);
        Some(match entry.place {
            _ if is_own => State::Own,
            _ if entry.is_local => State::Local,
            _ if entry.phase != Phase::Idle => State::Ordering,
            _ if renewal > wall => State::Valid { until: entry.held.map_or(0, |held| held.not_after), renewal },
            _ if self.clock.trust() == Trust::Wrong => State::ClockWrong,
            _ if self.clock.trust() == Trust::Unknown => State::ClockUnknown,
            _ if is_shut(&self.budget.stopped) => State::AccountStopped,
            _ if self.is_account_unknown => State::AccountUnknown,
            _ if self.store_until > budget => State::StoreNotWritable,
            _ if entry.is_paused => State::Paused,
            _ if entry.is_unresolved => State::WaitingForAddress,
            _ if entry.held_until > budget => State::HeldByCa(entry.held_until),
            _ if self.is_disk_to_blame && is_shut(&self.budget.breaker) => State::StoreNotWritable,
            _ if is_shut(&self.budget.breaker) => State::CaTrouble(self.budget.breaker.until),
            Place::Ready(class, _) if class > 1 && is_shut(&self.budget.hold) => {
                State::HeldByCa(self.budget.hold.until)
            }
            Place::Ready(..) => State::Queued(position(entry.place)),
            Place::Try(time) => State::Waiting(time),
            Place::Due(_) | Place::Nowhere => State::Waiting(entry.earliest()),
        })
    }

    /// Why the last order for `domain` failed; empty if it did not.
    pub fn reason(&self, domain: &Domain) -> &str {
        let entry = self.index.get(domain).and_then(|&at| self.entries.get(at));
        entry.map_or("", |entry| entry.reason.as_str())
    }

    /// Whether an order is under way: a handshake may wait for it (B163).
    pub fn is_ordering(&self, domain: &Domain) -> bool {
        let entry = self.index.get(domain).and_then(|&at| self.entries.get(at));
        entry.is_some_and(|entry| entry.phase != Phase::Idle)
    }

    /// When the next new name may be ordered, as far as the account's budget is concerned; 0 if at once.
    pub fn next_new_order(&self) -> u64 {
        self.budget.orders.next(ORDERS).saturating_sub(self.clock.budget())
    }
}
