//! What the schedule promises: rules one by one, then any sequence of events, then years of virtual time.

mod any_order;
mod ca;
mod renewals;
mod restarts;
mod rules;
mod simulation;

use super::{bucket::Bucket, *};

/// Some moment after the release.
const START: u64 = limits::CLOCK_EARLIEST + 1_000_000;
const MINUTE: u64 = 60;
const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn held(not_before: u64, not_after: u64) -> Option<Held> {
    Some(Held { not_before, not_after, origin: Origin::Issued })
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed { failure, reached: Reached::Site, reason: String::new() }
}

fn site() -> Outcome {
    failed(Failure::Site { until: None })
}

/// A schedule, its clocks, and whoever does what it decides.
struct Rig {
    schedule: Schedule,
    /// Seconds since [`START`], by both clocks.
    time: u64,
    /// What the wall clock shows beyond that.
    wall_error: i64,
    /// Names without an address.
    lost: Vec<Domain>,
    started: Vec<(u64, Domain, OrderId, Challenge)>,
    others: Vec<Decision>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Saved::Never)
    }

    fn with(budget: Saved<'_>) -> Self {
        let settings = Settings { seed: 7, earliest: limits::CLOCK_EARLIEST };
        let schedule = Schedule::new(settings, budget, Now { wall: START, steady: 0 });
        Self { schedule, time: 0, wall_error: 0, lost: Vec::new(), started: Vec::new(), others: Vec::new() }
    }

    fn mapped(names: &[&str]) -> Self {
        let mut rig = Self::new();
        for name in names {
            rig.tell(Event::Mapped(domain(name)));
        }
        rig.turn();
        rig
    }

    fn now(&self) -> Now {
        let wall = (START + self.time).saturating_add_signed(self.wall_error);
        Now { wall, steady: self.time }
    }

    fn tell(&mut self, event: Event) {
        self.schedule.event(self.now(), event);
    }

    /// Polls until nothing is decided any more; look-ups and the directory are answered at once.
    fn turn(&mut self) {
        loop {
            let decisions = self.schedule.poll(self.now());
            if decisions.is_empty() {
                return;
            }
            for decision in decisions {
                match decision {
                    Decision::ReadDirectory => {
                        self.tell(Event::Directory { date: Some(START + self.time), offers_windows: true });
                    }
                    Decision::LookUp(domain) => {
                        let addresses = (!self.lost.contains(&domain)).then_some(1);
                        self.tell(Event::LookedUp { domain, addresses });
                    }
                    Decision::Start { domain, order, challenge } => {
                        self.started.push((self.time, domain, order, challenge));
                    }
                    Decision::ReadWindow(domain) => {
                        self.tell(Event::Window { domain: domain.clone(), window: None, again: None });
                        self.others.push(Decision::ReadWindow(domain));
                    }
                    other => self.others.push(other),
                }
            }
        }
    }

    /// Lets time pass, with a turn whenever the schedule asked for one.
    fn pass(&mut self, seconds: u64) {
        let end = self.time + seconds;
        while self.time < end {
            self.time = end.min(self.time.saturating_add(self.schedule.wait().as_secs()));
            self.turn();
        }
    }

    fn names(&self) -> Vec<&str> {
        self.started.iter().map(|(_, domain, ..)| domain.as_str()).collect()
    }

    /// The end of the last order that was started for this name.
    fn end(&mut self, name: &str, outcome: Outcome) {
        let order = self.started.iter().rev().find(|start| start.1.as_str() == name).map(|start| start.2).unwrap();
        self.tell(Event::Ended { domain: domain(name), order, outcome });
        self.turn();
    }

    fn issue(&mut self, name: &str, life: u64) {
        let not_before = START + self.time;
        let issued = Outcome::Issued { not_before, not_after: not_before + life, proved_by: None };
        self.end(name, issued);
    }

    fn state(&self, name: &str) -> State {
        self.schedule.state(&domain(name)).unwrap()
    }

    /// The same after a crash: what was on disk, in another process.
    fn restart(&mut self) {
        self.restart_without(&[]);
    }

    /// ... and the records of these names can not be read.
    fn restart_without(&mut self, damaged: &[&str]) {
        let records: Vec<_> =
            self.schedule.index.iter().map(|(name, &at)| (name, &self.schedule.entries[at])).collect();
        let budget = self.schedule.budget.write();
        let settings = Settings { seed: 8, earliest: limits::CLOCK_EARLIEST };
        let mut schedule = Schedule::new(settings, Saved::Text(budget.as_bytes()), self.now());
        for (name, entry) in records {
            match damaged.contains(&name.as_str()) {
                true => schedule.restore(name, Saved::Text(b"damaged")),
                false => schedule.restore(name, Saved::Text(entry.write().as_bytes())),
            }
            if entry.held.is_some() {
                schedule.event(self.now(), Event::Held(name.clone(), entry.held));
            }
            if entry.is_mapped {
                schedule.event(self.now(), Event::Mapped(name.clone()));
            }
        }
        self.schedule = schedule;
        self.turn();
    }
}
