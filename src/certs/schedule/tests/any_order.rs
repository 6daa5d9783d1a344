//! Any sequence of events: no limit is broken, and what is on disk is always what the schedule knows.

use std::collections::BTreeMap;

use super::{ca::Ca, *};
use crate::testing;

/// A process, its disk, and the CA; everything happens at random.
struct Chaos {
    random: fastrand::Rng,
    schedule: Schedule,
    disk: BTreeMap<RecordOf, String>,
    certificates: HashMap<Domain, Held>,
    names: Vec<Domain>,
    mapped: BTreeSet<Domain>,
    running: Vec<(Domain, OrderId, bool)>,
    past: Vec<Event>,
    ca: Ca,
    time: u64,
    wall_error: i64,
    /// Which of the steps in time are taken.
    paces: usize,
    mood: Mood,
}

/// What becomes of most orders.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Anything,
    /// The sites fail, and people are impatient.
    Fails,
    /// The CA signs, and the certificates are lost.
    Issues,
}

impl Chaos {
    fn new(mut random: fastrand::Rng) -> Self {
        let (paces, mood) = (random.usize(1..=4), [Mood::Anything, Mood::Fails, Mood::Issues][random.usize(..3)]);
        let settings = Settings { seed: 1, earliest: limits::CLOCK_EARLIEST };
        let schedule = Schedule::new(settings, Saved::Never, Now { wall: START, steady: 0 });
        let names = (0..12).map(|i| domain(&format!("n{i}.d{}.example", i % 3))).collect();
        Self {
            random,
            schedule,
            disk: BTreeMap::new(),
            certificates: HashMap::new(),
            names,
            mapped: BTreeSet::new(),
            running: Vec::new(),
            past: Vec::new(),
            ca: Ca::new(),
            time: 0,
            wall_error: 0,
            paces,
            mood,
        }
    }

    fn now(&self) -> Now {
        Now { wall: (START + self.time).saturating_add_signed(self.wall_error), steady: self.time }
    }

    fn tell(&mut self, event: Event) {
        self.schedule.event(self.now(), event);
    }

    fn name(&mut self) -> Domain {
        self.names[self.random.usize(..self.names.len())].clone()
    }

    fn failure(&mut self) -> Failure {
        if self.mood == Mood::Fails {
            return Failure::Site { until: None };
        }
        let until = (self.random.u8(..3) == 0).then(|| START + self.time + self.random.u64(..3 * DAY));
        match self.random.u8(..14) {
            0 => Failure::Ca { until },
            1 => Failure::Name,
            2 => Failure::RateLimited { scope: Scope::Account, until },
            3 => Failure::RateLimited { scope: Scope::Name, until },
            4 => Failure::RateLimited { scope: Scope::Registered(domain("d1.example")), until },
            5 => Failure::RateLimited { scope: Scope::Paused, until },
            6 => Failure::AccountUnknown,
            7 => Failure::AccountStopped,
            8 => Failure::NotStored,
            9 => Failure::GivenUp,
            10 => Failure::NotKept,
            _ => Failure::Site { until },
        }
    }

    /// The end of an order, at the CA and here.
    fn end(&mut self, at: usize) {
        let (domain, order, is_known) = self.running.swap_remove(at);
        let time = START + self.time;
        if is_known {
            self.ca.over(&domain);
        }
        let issues = match self.mood {
            Mood::Anything => self.random.u8(..3) == 0,
            Mood::Fails => false,
            Mood::Issues => self.random.u8(..8) != 0,
        };
        let outcome = match issues {
            true if is_known => {
                self.ca.signs(&domain, time);
                let life = [90 * DAY, 45 * DAY, 6 * DAY][self.random.usize(..3)];
                let held = Held { not_before: time, not_after: time + life, origin: Origin::Issued };
                self.certificates.insert(domain.clone(), held);
                let proved_by = self.random.bool().then_some(Challenge::Http01);
                Outcome::Issued { not_before: time, not_after: time + life, proved_by }
            }
            _ => {
                let failure = self.failure();
                let is_at_ca = matches!(failure, Failure::Site { .. } | Failure::Ca { .. } | Failure::GivenUp);
                let all = [Reached::Order, Reached::Site, Reached::Signature];
                let least = usize::from(!matches!(failure, Failure::Ca { .. }) || self.mood == Mood::Fails);
                let reached = if is_at_ca && is_known { all[self.random.usize(least..3)] } else { Reached::Order };
                if reached > Reached::Order && (self.mood == Mood::Fails || self.random.bool()) {
                    if reached == Reached::Signature && self.random.bool() {
                        self.ca.signs(&domain, time);
                    } else {
                        self.ca.fails(&domain, time);
                    }
                }
                // Nothing was asked of the CA: no order reached it.
                Outcome::Failed { failure, reached, reason: "x".to_owned() }
            }
        };
        let event = Event::Ended { domain, order, outcome };
        self.past.push(event.clone());
        self.tell(event);
    }

    /// Another process, with what is on disk.
    fn crash(&mut self) {
        for (domain, _, is_known) in std::mem::take(&mut self.running) {
            if !is_known {
                continue;
            }
            self.ca.over(&domain);
            // It may have come to any end at the CA.
            match self.random.u8(..3) {
                0 => self.ca.fails(&domain, START + self.time),
                1 => self.ca.signs(&domain, START + self.time),
                _ => {}
            }
        }
        let settings = Settings { seed: self.random.u64(..), earliest: limits::CLOCK_EARLIEST };
        let damage = if self.random.u8(..8) == 0 { self.random.usize(..20) } else { usize::MAX };
        let budget = match self.disk.get(&RecordOf::Budget) {
            Some(_) if damage == 19 => Saved::Lost,
            Some(text) => Saved::Text(text.as_bytes()),
            None => Saved::Never,
        };
        self.schedule = Schedule::new(settings, budget, self.now());
        for (at, domain) in self.names.iter().enumerate() {
            if let Some(text) = self.disk.get(&RecordOf::Name(domain.clone())) {
                let text = if at == damage { "" } else { text.as_str() };
                self.schedule.restore(domain, Saved::Text(text.as_bytes()));
            }
        }
        let now = self.now();
        for (domain, held) in &self.certificates {
            self.schedule.event(now, Event::Held(domain.clone(), Some(*held)));
        }
        for domain in &self.mapped {
            self.schedule.event(now, Event::Mapped(domain.clone()));
        }
        self.past.clear();
    }

    fn something(&mut self) {
        let name = self.name();
        match self.mood {
            Mood::Fails if self.random.u8(..3) == 0 => return self.tell(Event::Retry(name)),
            Mood::Issues if self.random.u8(..3) == 0 => return self.tell(Event::Held(name, None)),
            _ => {}
        }
        match self.random.u8(..40) {
            0..=5 => {
                self.mapped.insert(name.clone());
                self.tell(Event::Mapped(name));
            }
            6 => {
                self.mapped.remove(&name);
                self.tell(Event::Unmapped(name));
            }
            7 => self.tell(Event::Asked(name)),
            8 => self.tell(Event::Retry(name)),
            9 => {
                let addresses = self.random.bool().then(|| self.random.u64(..3));
                self.tell(Event::LookedUp { domain: name, addresses });
            }
            10 => {
                let window = Some((self.random.u64(..START), START + self.random.u64(..400 * DAY)));
                self.tell(Event::Window { domain: name, window, again: None });
            }
            11 => self.crash(),
            12 => self.wall_error = [0, 0, -31_536_000, 31_536_000, -3_000, 3_000][self.random.usize(..6)],
            13 => {
                self.certificates.remove(&name);
                self.tell(Event::Held(name, None));
            }
            14 if !self.past.is_empty() => {
                let at = self.random.usize(..self.past.len());
                let event = self.past[at].clone();
                self.tell(event);
            }
            15 => self.tell(Event::DirectoryFailed),
            16 => {
                self.schedule.not_saved(&RecordOf::Name(name));
                self.schedule.not_saved(&RecordOf::Budget);
            }
            17..=29 if !self.running.is_empty() => {
                let at = self.random.usize(..self.running.len());
                self.end(at);
            }
            _ => {
                let most = [2, 60, HOUR, 40 * HOUR][self.random.usize(..self.paces)];
                self.time += self.random.u64(..most);
            }
        }
    }

    fn poll(&mut self) {
        let decisions = self.schedule.poll(self.now());
        for (of, text) in self.schedule.unsaved() {
            match text {
                Some(text) => _ = self.disk.insert(of, text),
                None => _ = self.disk.remove(&of),
            }
        }
        if self.random.u8(..50) == 0 {
            // Between the disk and the first request.
            return self.crash();
        }
        for decision in decisions {
            match decision {
                Decision::ReadDirectory if self.random.u8(..4) == 0 => self.tell(Event::DirectoryFailed),
                Decision::ReadDirectory => {
                    let date = Some(START + self.time);
                    let offers_windows = self.random.bool();
                    self.tell(Event::Directory { date, offers_windows });
                }
                Decision::LookUp(domain) => {
                    let addresses = (self.random.u8(..4) != 0).then(|| self.random.u64(..3));
                    self.tell(Event::LookedUp { domain, addresses });
                }
                Decision::Start { domain, order, .. } => {
                    assert!(self.mapped.contains(&domain));
                    let reaches_the_ca = self.random.u8(..8) != 0;
                    if reaches_the_ca {
                        // Refusals are no ends here: they come by chance anyway.
                        self.ca.order(&domain, START + self.time);
                    }
                    self.running.push((domain, order, reaches_the_ca));
                }
                Decision::Abandon { domain, order } => {
                    let at = self.running.iter().position(|running| running.1 == order).unwrap();
                    if self.running.swap_remove(at).2 {
                        self.ca.over(&domain);
                    }
                }
                Decision::Register => {
                    let known = self.random.bool();
                    self.tell(Event::Registered(known));
                }
                Decision::ReadWindow(_) => {}
            }
        }
    }

    fn check(&mut self, seed: u64) {
        assert_eq!(self.ca.broken, [""; 0], "seed {seed}");
        let schedule = &self.schedule;
        let ordering = schedule.entries.iter().filter(|entry| matches!(entry.phase, Phase::Ordering { .. })).count();
        let checking = schedule.entries.iter().filter(|entry| entry.phase == Phase::Checking).count();
        assert_eq!((schedule.ordering, schedule.checking), (ordering, checking), "seed {seed}");
        assert_eq!(ordering, self.running.len(), "seed {seed}");
        assert!(ordering + checking <= limits::ORDERS_IN_FLIGHT_MAX, "seed {seed}");
        assert_eq!(schedule.wanted, schedule.entries.iter().filter(|entry| entry.is_wanted()).count(), "seed {seed}");
        assert!(schedule.wait() >= Duration::from_secs(1));
    }

    /// Whatever was not reported as unsaved is on disk as it is known.
    fn check_disk(&self, seed: u64) {
        for (domain, &at) in &self.schedule.index {
            let entry = &self.schedule.entries[at];
            if let Some(text) = self.disk.get(&RecordOf::Name(domain.clone())).filter(|_| !entry.is_unsaved)
                && let Some(read) = Entry::read(domain.clone(), text.as_bytes(), 1)
            {
                assert!(read.was_interrupted || *text == entry.write(), "seed {seed}: {text}\n{}", entry.write());
            }
        }
    }
}

/// The law: no bug, crash, restart loop, wrong clock or dead CA makes it break a limit.
#[test]
fn no_limit_is_broken_by_any_sequence_of_events() {
    let seed = testing::seed();
    let mut seeds = fastrand::Rng::with_seed(seed);
    let (mut orders, runs) = (0, 60);
    for _ in 0..runs {
        let mut chaos = Chaos::new(fastrand::Rng::with_seed(seeds.u64(..)));
        for turn in 0..2_000 {
            chaos.something();
            chaos.poll();
            chaos.check(seed);
            if turn % 20 == 0 {
                chaos.check_disk(seed);
            }
        }
        orders += chaos.ca.orders_seen;
    }
    assert!(orders > runs * 20, "only {orders} orders: the test tests nothing");
}

#[test]
fn damaged_records_are_read_without_a_panic_and_never_as_something_else() {
    let seed = testing::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let entry = Entry::new(domain("a.example")).write();
    let budget = Budget::full().write();
    for _ in 0..20_000 {
        let whole = if random.bool() { &entry } else { &budget };
        let mut bytes = whole.clone().into_bytes();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[at] = random.u8(..),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random.u8(..)),
            }
        }
        if bytes != whole.as_bytes() {
            assert!(Entry::read(domain("a.example"), &bytes, 1).is_none(), "seed {seed}");
            assert!(Budget::read(&bytes).is_none(), "seed {seed}");
        }
    }
}
