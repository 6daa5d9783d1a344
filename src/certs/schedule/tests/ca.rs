//! The limits of Let's Encrypt as its page has them, counted in another way than the schedule counts.

use super::*;

/// A bucket that holds fractions and fills as time passes.
#[derive(Clone, Debug)]
struct Tokens {
    level: f64,
    at: u64,
    capacity: f64,
    every: f64,
}

impl Tokens {
    fn new(capacity: f64, every: u64) -> Self {
        Self { level: capacity, at: 0, capacity, every: every as f64 }
    }

    fn level(&mut self, now: u64) -> f64 {
        self.level = (self.level + now.saturating_sub(self.at) as f64 / self.every).min(self.capacity);
        self.at = self.at.max(now);
        self.level
    }

    fn take(&mut self, now: u64) -> bool {
        let has = self.level(now) >= 1.0;
        self.level -= 1.0;
        has
    }
}

#[derive(Clone, Debug)]
struct Name {
    failed: Tokens,
    consecutive: Tokens,
    exact_set: Tokens,
    was_issued: bool,
    in_flight: bool,
}

/// Times are its own clock's, which is right.
#[derive(Debug)]
pub(super) struct Ca {
    orders: Tokens,
    names: HashMap<Domain, Name>,
    registered: HashMap<String, Tokens>,
    pub(super) refusals: u64,
    pub(super) orders_seen: u64,
    pub(super) in_flight: usize,
    /// What would have been refused.
    pub(super) broken: Vec<String>,
}

impl Ca {
    pub(super) fn new() -> Self {
        Self {
            orders: Tokens::new(300.0, 36),
            names: HashMap::new(),
            registered: HashMap::new(),
            refusals: 0,
            orders_seen: 0,
            in_flight: 0,
            broken: Vec::new(),
        }
    }

    fn name(&mut self, domain: &Domain) -> &mut Name {
        self.names.entry(domain.clone()).or_insert_with(|| Name {
            failed: Tokens::new(5.0, 12 * MINUTE),
            consecutive: Tokens::new(1_152.0, DAY),
            exact_set: Tokens::new(5.0, 34 * HOUR),
            was_issued: false,
            in_flight: false,
        })
    }

    /// A new order begins. A refusal because of the registered domain is the only one that may happen: who is told until when.
    pub(super) fn order(&mut self, domain: &Domain, now: u64) -> Option<(Domain, u64)> {
        self.orders_seen += 1;
        let registered = domain.as_str().rsplitn(3, '.').take(2).collect::<Vec<_>>();
        let registered = registered.into_iter().rev().collect::<Vec<_>>().join(".");
        let name = self.name(domain);
        let is_new = !name.was_issued;
        let has_failures_left = name.failed.level(now) >= 1.0;
        let has_certificates_left = name.exact_set.level(now) >= 1.0;
        let was_in_flight = std::mem::replace(&mut name.in_flight, true);
        if !has_failures_left {
            self.broken.push(format!("{domain} ordered with too many failures"));
        }
        if !has_certificates_left {
            self.broken.push(format!("{domain} ordered with too many certificates"));
        }
        if was_in_flight {
            self.broken.push(format!("{domain} ordered twice at a time"));
        }
        self.in_flight += 1;
        if self.in_flight > limits::ORDERS_IN_FLIGHT_MAX {
            self.broken.push(format!("{} orders under way", self.in_flight));
        }
        if is_new && !self.orders.take(now) {
            self.broken.push(format!("{domain} is beyond the orders of the account"));
        }
        let family = self.registered.entry(registered.clone()).or_insert_with(|| Tokens::new(50.0, 202 * MINUTE));
        if is_new && family.level(now) < 1.0 {
            self.refusals += 1;
            let until = now + Duration::from_secs_f64((1.0 - family.level) * family.every).as_secs() + 1;
            return Some((Domain::parse(&registered).unwrap(), until));
        }
        None
    }

    /// It is over, in whatever way.
    pub(super) fn over(&mut self, domain: &Domain) {
        if std::mem::take(&mut self.name(domain).in_flight) {
            self.in_flight -= 1;
        }
    }

    pub(super) fn fails(&mut self, domain: &Domain, now: u64) {
        let name = self.name(domain);
        if !name.failed.take(now) {
            self.broken.push(format!("{domain} failed too often"));
        }
        if !self.name(domain).consecutive.take(now) {
            self.broken.push(format!("{domain} failed so often in a row that it is paused"));
        }
    }

    pub(super) fn signs(&mut self, domain: &Domain, now: u64) {
        let name = self.name(domain);
        let is_new = !std::mem::replace(&mut name.was_issued, true);
        name.consecutive = Tokens::new(1_152.0, DAY);
        if !name.exact_set.take(now) {
            self.broken.push(format!("{domain} has too many certificates"));
        }
        if is_new {
            let registered = domain.as_str().rsplitn(3, '.').take(2).collect::<Vec<_>>();
            let registered = registered.into_iter().rev().collect::<Vec<_>>().join(".");
            // Those under way together may pass it together.
            self.registered.entry(registered).and_modify(|family| _ = family.take(now));
        }
    }
}

#[test]
fn the_model_says_when_a_limit_is_broken() {
    let mut ca = Ca::new();
    let name = domain("a.example");
    for _ in 0..5 {
        ca.order(&name, START);
        ca.fails(&name, START);
        ca.over(&name);
    }
    assert!(ca.broken.is_empty());
    ca.order(&name, START);
    assert_eq!(ca.broken.len(), 1);
    let mut ca = Ca::new();
    for i in 0..300 {
        let name = domain(&format!("a.n{i}"));
        ca.order(&name, START);
        ca.over(&name);
    }
    assert!(ca.broken.is_empty());
    ca.order(&name, START + 35);
    assert_eq!(ca.broken.len(), 1);
    let mut ca = Ca::new();
    (0..5).for_each(|_| ca.signs(&name, START));
    assert!(ca.broken.is_empty());
    ca.signs(&name, START + 34 * HOUR - 1);
    assert_eq!(ca.broken.len(), 1);
}
