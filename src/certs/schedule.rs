//! When to order which certificate: a pure function of time and events.
//!
//! [`Schedule::event`] tells it what happened, [`Schedule::poll`] says what to do, [`Schedule::wait`] for how long to sleep, and
//! [`Schedule::unsaved`] gives the texts that must be on disk before anything is done; [`Schedule::restore`] reads them again.
//! It keeps below the limits of Let's Encrypt (its page on rate limits) by token buckets of the same shape and a little
//! smaller, spent before an order begins. So a crash, a restart loop, a wrong clock or a dead CA costs time and never a limit.
//!
//! Never here: a clock, a file, a socket, a task, a key. Nothing in it can tell one kind of CA from another.

mod agenda;
mod bucket;
mod budget;
mod clock;
mod deciding;
mod ending;
mod entry;
mod event;
mod gate;
mod jitter;
mod news;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use crate::{domain::Domain, limits};

pub use clock::Now;
pub use event::{Challenge, Decision, Event, Failure, Held, OrderId, Origin, Outcome, Reached, Scope};
pub use state::State;

use agenda::Agenda;
use budget::{Budget, Family, ORDERS};
use clock::Clock;
use entry::{Entry, Phase, Place, WAKES};
use gate::Gate;

/// What a schedule is made with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For jitter: any number, drawn anew at each start or not.
    pub seed: u64,
    /// Nothing is ordered while the clock is before this: [`limits::CLOCK_EARLIEST`]. Seconds since 1970.
    pub earliest: u64,
}

/// What was found on disk of a record that [`Schedule::unsaved`] gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved<'a> {
    /// It was never there: the first start, a new name.
    Never,
    /// This. A text that cannot be understood counts as [`Saved::Lost`].
    Text(&'a [u8]),
    /// It should be there (an account exists, a file cannot be read): what it may have spent counts as spent.
    Lost,
}

/// Whose record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordOf {
    /// The account's budget.
    Budget,
    /// One name's.
    Name(Domain),
}

/// See the page of this module.
#[derive(Debug)]
pub struct Schedule {
    seed: u64,
    clock: Clock,
    budget: Budget,
    is_budget_unsaved: bool,
    entries: Vec<Entry>,
    index: HashMap<Domain, usize>,
    /// Places in `entries` whose name was forgotten.
    free: Vec<usize>,
    agenda: Agenda,
    /// Names whose record changed, and those whose record is to go.
    unsaved: Vec<usize>,
    forgotten: BTreeSet<Domain>,
    /// Orders under way, look-ups before one, all look-ups, readings of renewal information.
    ordering: usize,
    checking: usize,
    looking: usize,
    reading: usize,
    /// Names that may need an order.
    wanted: usize,
    arrivals: u64,
    orders: u64,
    directory: Directory,
    is_account_unknown: bool,
    is_registering: bool,
    /// The state folder could not be written: until this time of the budget's clock.
    store_until: u64,
    /// The breaker is closed because of the state folder.
    is_disk_to_blame: bool,
    /// When the gate that stopped the last poll opens, by the budget's clock.
    opens: Option<u64>,
    /// The second of the last look-ups, and how many they were.
    looked: (u64, usize),
    abandoned: Vec<Decision>,
}

/// The CA's directory; times are seconds of the steady clock.
#[derive(Debug, Default)]
struct Directory {
    is_asked: bool,
    asked_at: Option<u64>,
    due: u64,
    failures: u32,
    offers_windows: bool,
}

impl Schedule {
    /// A schedule that knows no name, with the budget of an earlier one. [`Saved::Never`] is right only if no account was ever
    /// made in this folder.
    pub fn new(settings: Settings, budget: Saved<'_>, now: Now) -> Self {
        let budget = match budget {
            Saved::Never => Some(Budget::full()),
            Saved::Text(text) => Budget::read(text),
            Saved::Lost => None,
        };
        let is_budget_unsaved = budget.is_none();
        Self {
            seed: settings.seed,
            clock: Clock::new(now, settings.earliest),
            budget: budget.unwrap_or_else(Budget::lost),
            is_budget_unsaved,
            entries: Vec::new(),
            index: HashMap::new(),
            free: Vec::new(),
            agenda: Agenda::default(),
            unsaved: Vec::new(),
            forgotten: BTreeSet::new(),
            ordering: 0,
            checking: 0,
            looking: 0,
            reading: 0,
            wanted: 0,
            arrivals: 0,
            orders: 0,
            directory: Directory { due: now.steady, ..Directory::default() },
            is_account_unknown: false,
            is_registering: false,
            store_until: 0,
            is_disk_to_blame: false,
            opens: None,
            looked: (0, 0),
            abandoned: Vec::new(),
        }
    }

    /// Gives the schedule what an earlier one knew of a name. To be called before the first event about it; later it does
    /// nothing.
    pub fn restore(&mut self, domain: &Domain, saved: Saved<'_>) {
        if self.index.contains_key(domain) {
            return;
        }
        let read = match saved {
            Saved::Never => return,
            Saved::Text(text) => Entry::read(domain.clone(), text, self.seed),
            Saved::Lost => None,
        };
        let is_lost = read.is_none();
        let entry = read.unwrap_or_else(|| Entry::lost(domain.clone()));
        let at = self.admit(Entry { is_on_disk: true, ..entry });
        if is_lost {
            self.note(at);
        }
    }

    /// Tells what happened.
    pub fn event(&mut self, now: Now, event: Event) {
        self.advance(now);
        match event {
            Event::Mapped(domain) => self.mapped(domain),
            Event::Held(domain, held) => self.held(domain, held),
            Event::Directory { date, offers_windows } => self.directory_read(date, offers_windows),
            Event::DirectoryFailed => self.directory_failed(),
            Event::Registered(known) => self.registered(known),
            Event::Unmapped(domain) => self.with(&domain, Self::unmapped),
            Event::Asked(domain) => self.with(&domain, Self::asked),
            Event::Retry(domain) => self.with(&domain, Self::retried),
            Event::LookedUp { domain, addresses } => self.with(&domain, |this, at| this.looked_up(at, addresses)),
            Event::Window { domain, window, again } => {
                self.with(&domain, |this, at| this.window_read(at, window, again));
            }
            Event::Ended { domain, order, outcome } => self.with(&domain, |this, at| this.ended(at, order, outcome)),
        }
    }

    /// What to do now, after [`Self::unsaved`] is on disk.
    pub fn poll(&mut self, now: Now) -> Vec<Decision> {
        self.advance(now);
        let mut decisions = std::mem::take(&mut self.abandoned);
        self.opens = None;
        let (steady, is_absurd) = (self.clock.steady(), self.clock.is_absurd());
        if self.wanted > 0 && !self.directory.is_asked && !is_absurd && steady >= self.directory.due {
            (self.directory.is_asked, self.directory.asked_at) = (true, Some(steady));
            decisions.push(Decision::ReadDirectory);
        }
        if self.clock.is_confirmed() {
            for at in self.agenda.due(self.clock.budget(), self.clock.wall()) {
                self.place(at);
            }
            self.register(&mut decisions);
            self.start(&mut decisions);
            self.look(&mut decisions);
            self.read_windows(&mut decisions);
        }
        decisions
    }

    /// How long nothing happens by itself after a poll; whoever sleeps wakes after [`limits::SCHEDULE_WAIT_MAX`] all the same,
    /// for the wall clock may be set.
    pub fn wait(&self) -> Duration {
        let (budget, wall, steady) = (self.clock.budget(), self.clock.wall(), self.clock.steady());
        let mut wait = u64::MAX;
        if self.wanted > 0 && !self.directory.is_asked && !self.clock.is_absurd() {
            wait = wait.min(self.directory.due.saturating_sub(steady));
        }
        if self.clock.is_confirmed() {
            let looks = self.agenda.next_look().filter(|_| self.looking < limits::LOOK_UPS_IN_FLIGHT_MAX);
            let windows = self.agenda.next_window().filter(|_| self.reads_windows());
            let times = [self.agenda.next_try(), looks, windows, self.opens].into_iter().flatten();
            wait = times.fold(wait, |wait, time| wait.min(time.saturating_sub(budget)));
            wait = self.agenda.next_due().map_or(wait, |time| wait.min(time.saturating_sub(wall)));
        }
        // What could be done at once was done by the poll.
        Duration::from_secs(wait.max(1))
    }

    /// The records that changed since the last call, and their texts; `None`: the record is to be removed. They count as saved
    /// from now on.
    pub fn unsaved(&mut self) -> Vec<(RecordOf, Option<String>)> {
        let mut records = Vec::new();
        if std::mem::take(&mut self.is_budget_unsaved) {
            records.push((RecordOf::Budget, Some(self.budget.write())));
        }
        let forgotten = std::mem::take(&mut self.forgotten);
        records.extend(forgotten.into_iter().map(|domain| (RecordOf::Name(domain), None)));
        for at in std::mem::take(&mut self.unsaved) {
            if let Some(entry) = self.entries.get_mut(at)
                && std::mem::take(&mut entry.is_unsaved)
            {
                entry.is_on_disk = true;
                records.push((RecordOf::Name(entry.domain.clone()), Some(entry.write())));
            }
        }
        records
    }

    /// What was given as unsaved could not be saved: it is given again. (The orders that wait for it end as
    /// [`Failure::NotStored`].)
    pub fn not_saved(&mut self, record: &RecordOf) {
        match record {
            RecordOf::Budget => self.is_budget_unsaved = true,
            RecordOf::Name(domain) => match self.index.get(domain) {
                Some(&at) => self.note(at),
                None => _ = self.forgotten.insert(domain.clone()),
            },
        }
    }

    /// Goes on with an order that an earlier process left unfinished and that costs nothing new: it takes a place among those
    /// under way. `None`: the name is unknown or has no rule, is being ordered already, or there is no room now.
    pub fn resume(&mut self, now: Now, domain: &Domain) -> Option<OrderId> {
        self.advance(now);
        let at = *self.index.get(domain)?;
        let order = OrderId(self.orders);
        let (began, is_full) = (self.clock.budget(), self.ordering + self.checking >= limits::ORDERS_IN_FLIGHT_MAX);
        let entry =
            self.entries.get_mut(at).filter(|entry| entry.is_mapped && entry.phase == Phase::Idle && !is_full)?;
        if !entry.was_interrupted {
            // Its start was not paid for, or its end gave that back.
            entry.begin(order, began);
        }
        (entry.phase, entry.was_interrupted) = (Phase::Ordering { order, began }, false);
        self.orders += 1;
        self.ordering += 1;
        self.note(at);
        self.place(at);
        Some(order)
    }

    fn advance(&mut self, now: Now) {
        if self.clock.advance(now) {
            self.read_directory_soon();
        }
    }

    fn read_directory_soon(&mut self) {
        let least = limits::DIRECTORY_AGAIN_MIN.as_secs();
        let soon = self.directory.asked_at.map_or(0, |asked| asked.saturating_add(least));
        self.directory.due = self.directory.due.min(soon.max(self.clock.steady()));
    }

    fn with(&mut self, domain: &Domain, tell: impl FnOnce(&mut Self, usize)) {
        if let Some(&at) = self.index.get(domain) {
            tell(self, at);
        }
    }

    /// A place for a name; known ones keep theirs.
    fn admit(&mut self, mut entry: Entry) -> usize {
        if let Some(&at) = self.index.get(&entry.domain) {
            return at;
        }
        let is_clamped = self.clock.is_set() && entry.clamp(self.clock.budget());
        entry.arrival = self.arrivals;
        self.arrivals += 1;
        let domain = entry.domain.clone();
        // Its old record is still there: the new one takes its place.
        let had_record = self.forgotten.remove(&domain);
        entry.is_on_disk |= had_record;
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        };
        self.index.insert(domain, at);
        if is_clamped || had_record {
            self.note(at);
        }
        at
    }

    /// This name's record has changed.
    fn note(&mut self, at: usize) {
        if !std::mem::replace(&mut self.entries[at].is_unsaved, true) {
            self.unsaved.push(at);
        }
    }
}
