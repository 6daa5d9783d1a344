//! What all names share: the account's bucket, the gates, and the registered domains whose limit was met.

use std::collections::BTreeMap;

use super::{
    bucket::{Bucket, Shape},
    gate::Gate,
};
use crate::{
    certs::record::{Reader, Writer},
    domain::Domain,
    limits,
};

const TITLE: &str = "hotcore-budget 1";

pub(super) const ORDERS: Shape = Shape::new(limits::ORDERS_BURST, limits::ORDERS_EVERY);

/// Times are seconds of the budget's clock.
#[derive(Debug)]
pub(super) struct Budget {
    /// New orders; renewals are free (the CA's rule).
    pub(super) orders: Bucket,
    /// Closed on trouble of the CA: for everything.
    pub(super) breaker: Gate,
    /// Closed by a limit of the account: for new names.
    pub(super) hold: Gate,
    /// Closed until a person has acted at the CA.
    pub(super) stopped: Gate,
    /// When the account's key was registered again.
    pub(super) registered: u64,
    limited: BTreeMap<String, Limited>,
}

/// A registered domain that had too many certificates.
#[derive(Debug)]
struct Limited {
    until: u64,
    /// An order under it is under way: one at a time from then on.
    is_busy: bool,
}

/// Whether a name's registered domain allows an order.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Family {
    Free,
    /// To be asked again at this time.
    Held(u64),
    /// One at a time; to be occupied, and released at the end.
    Narrow(String),
}

impl Budget {
    pub(super) fn full() -> Self {
        Self {
            orders: Bucket::FULL,
            breaker: Gate::default(),
            hold: Gate::default(),
            stopped: Gate::default(),
            registered: 0,
            limited: BTreeMap::new(),
        }
    }

    /// Nothing is known: what might have been spent counts as spent.
    pub(super) fn lost() -> Self {
        Self { orders: Bucket::LOST, registered: u64::MAX, ..Self::full() }
    }

    pub(super) fn clamp(&mut self, now: u64) {
        self.orders.clamp(ORDERS, now);
        for gate in [&mut self.breaker, &mut self.hold, &mut self.stopped] {
            gate.clamp(now);
        }
        self.registered = self.registered.min(now);
        let latest = now.saturating_add(limits::RETRY_AFTER_MAX.as_secs());
        self.limited.values_mut().for_each(|limited| limited.until = limited.until.min(latest));
    }

    /// The CA refused a name under `domain` until `until`.
    pub(super) fn limit(&mut self, domain: &Domain, until: u64, now: u64) {
        // Kept for the CA's window, so that names under it go on one at a time.
        self.limited.retain(|_, limited| limited.until.saturating_add(limits::RETRY_AFTER_MAX.as_secs()) > now);
        if let Some(limited) = self.limited.get_mut(domain.as_str()) {
            limited.until = limited.until.max(until);
            return;
        }
        if self.limited.len() >= limits::LIMITED_DOMAINS_MAX {
            let first = self.limited.iter().min_by_key(|(_, limited)| limited.until).map(|(name, _)| name.clone());
            first.map(|name| self.limited.remove(&name));
        }
        self.limited.insert(domain.as_str().to_owned(), Limited { until, is_busy: false });
    }

    pub(super) fn family(&self, domain: &Domain, now: u64) -> Family {
        if self.limited.is_empty() {
            return Family::Free;
        }
        let mut family = Family::Free;
        let name = domain.as_str();
        let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
        for ending in starts.filter_map(|start| name.get(start..)) {
            match self.limited.get(ending) {
                Some(limited) if limited.until > now => return Family::Held(limited.until),
                Some(limited) if limited.is_busy => return Family::Held(now.saturating_add(60)),
                Some(_) => family = Family::Narrow(ending.to_owned()),
                None => {}
            }
        }
        family
    }

    pub(super) fn occupy(&mut self, family: &str, is_busy: bool) {
        if let Some(limited) = self.limited.get_mut(family) {
            limited.is_busy = is_busy;
        }
    }

    pub(super) fn write(&self) -> String {
        let mut writer =
            Writer::new(format_args!("{TITLE}")).line("orders", self.orders.0).line("registered", self.registered);
        for (key, gate) in [("breaker", &self.breaker), ("hold", &self.hold), ("stopped", &self.stopped)] {
            writer = writer.line(key, format_args!("{} {}", gate.step, gate.until));
        }
        writer = writer.line("limited", self.limited.len());
        for (name, limited) in &self.limited {
            writer = writer.line(name, limited.until);
        }
        writer.finish()
    }

    /// `None`: damaged, or of a version that this one does not know.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let mut reader = Reader::open(text, format_args!("{TITLE}"))?;
        let mut budget = Self::full();
        budget.orders = Bucket(reader.number("orders")?);
        budget.registered = reader.number("registered")?;
        for (key, gate) in
            [("breaker", &mut budget.breaker), ("hold", &mut budget.hold), ("stopped", &mut budget.stopped)]
        {
            let [step, until] = reader.numbers(key)?;
            *gate = Gate::restored(u32::try_from(step).ok()?, until);
        }
        let count = reader.number("limited").filter(|&count| count <= limits::LIMITED_DOMAINS_MAX as u64)?;
        for _ in 0..count {
            let (name, until) = reader.pair()?;
            let domain = Domain::parse(name).ok().filter(|domain| domain.as_str() == name)?;
            budget.limited.insert(domain.as_str().to_owned(), Limited { until, is_busy: false });
        }
        reader.is_at_end().then_some(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn sample() -> Budget {
        let mut budget = Budget::full();
        budget.orders.spend(ORDERS, 1_000);
        budget.breaker.trouble(900, 1_000, None);
        budget.hold.close_until(5_000, 1_000);
        budget.limit(&domain("a.example"), 9_000, 1_000);
        budget.limit(&domain("co.example"), 4_000, 1_000);
        budget
    }

    #[test]
    fn a_budget_comes_back_as_it_was() {
        let budget = sample();
        let text = budget.write();
        assert_eq!(Budget::read(text.as_bytes()).unwrap().write(), text);
        assert_eq!(Budget::read(Budget::full().write().as_bytes()).unwrap().write(), Budget::full().write());
        assert!(Budget::read(b"").is_none());
    }

    #[test]
    fn a_limited_domain_holds_the_names_under_it_and_no_others() {
        let mut budget = sample();
        assert_eq!(budget.family(&domain("a.example"), 2_000), Family::Held(9_000));
        assert_eq!(budget.family(&domain("x.y.a.example"), 2_000), Family::Held(9_000));
        for free in ["aa.example", "example", "b.example", "a.example.org"] {
            assert_eq!(budget.family(&domain(free), 2_000), Family::Free, "{free}");
        }
        // Afterwards one at a time.
        assert_eq!(budget.family(&domain("x.a.example"), 9_000), Family::Narrow("a.example".to_owned()));
        budget.occupy("a.example", true);
        assert_eq!(budget.family(&domain("z.a.example"), 9_000), Family::Held(9_060));
        budget.occupy("a.example", false);
        assert_eq!(budget.family(&domain("z.a.example"), 9_000), Family::Narrow("a.example".to_owned()));
    }

    #[test]
    fn no_more_limited_domains_are_kept_than_the_limit() {
        let mut budget = Budget::full();
        for i in 0..=limits::LIMITED_DOMAINS_MAX as u64 {
            budget.limit(&domain(&format!("d{i}.example")), 10_000 + i, 1_000);
        }
        assert_eq!(budget.limited.len(), limits::LIMITED_DOMAINS_MAX);
        assert_eq!(budget.family(&domain("d0.example"), 1_000), Family::Free, "the one that ends first went");
        assert!(Budget::read(budget.write().as_bytes()).is_some());
    }

    #[test]
    fn a_lost_budget_is_spent() {
        let mut budget = Budget::lost();
        budget.clamp(1_000_000);
        assert_eq!(budget.orders.next(ORDERS), 1_000_000 + limits::ORDERS_EVERY.as_secs());
        assert_eq!(budget.registered, 1_000_000);
    }
}
