//! Which names that have no certificate yet the schedule knows: a bounded number, however many rules there are.
//!
//! The others wait for room. Names that have no address, or have failed, make room for them after a while, so that no number of
//! bad names holds up a good one (B173).

use std::collections::HashSet;

use tokio::time::Instant;

use crate::{domain::Domain, limits, routes::Table};

/// See the page of this module.
#[derive(Debug)]
pub(super) struct Roster {
    waiting: HashSet<Domain>,
    /// There may be names in the table that wait for room.
    has_others: bool,
    /// How many rules of the table were looked at, in its order.
    cursor: usize,
    /// When the table was looked through last, and when names last had to make room.
    looked: Option<Instant>,
    turned: Instant,
}

impl Roster {
    pub(super) fn new() -> Self {
        Self { waiting: HashSet::new(), has_others: true, cursor: 0, looked: None, turned: Instant::now() }
    }

    /// This name has a rule and no certificate. `false`: there is no room for it now.
    pub(super) fn admit(&mut self, domain: &Domain) -> bool {
        let is_admitted = self.put(domain, limits::FIRST_NAMES_MAX);
        self.has_others |= !is_admitted;
        is_admitted
    }

    /// The same for one that somebody asks for.
    pub(super) fn admit_asked(&mut self, domain: &Domain) -> bool {
        self.put(domain, limits::FIRST_NAMES_MAX + limits::ASKED_NAMES_MAX)
    }

    /// The same for one that an earlier process has begun with.
    pub(super) fn admit_known(&mut self, domain: &Domain) {
        self.put(domain, usize::MAX);
    }

    /// It has a certificate, or no rule any more.
    pub(super) fn leave(&mut self, domain: &Domain) {
        self.waiting.remove(domain);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether names of the table wait for room.
    pub(super) fn has_others(&self) -> bool {
        self.has_others
    }

    /// Fills free room from the table, now and then. `is_candidate`: it may be ordered and is not known yet.
    pub(super) fn fill(&mut self, table: &Table, is_candidate: impl Fn(&Domain) -> bool) -> Vec<Domain> {
        let is_early = self.looked.is_some_and(|looked| looked.elapsed() < limits::NAMES_AGAIN);
        if !self.has_others || is_early || self.waiting.len() >= limits::FIRST_NAMES_MAX {
            return Vec::new();
        }
        self.looked = Some(Instant::now());
        let mut admitted = Vec::new();
        // Where the last look ended, and if that is not enough, from the beginning.
        for from in [self.cursor, 0] {
            let (mut seen, mut last, mut is_full) = (0, from, false);
            table.for_each(|rule| {
                seen += 1;
                let domain = &rule.domain;
                if seen <= from || is_full || self.waiting.contains(domain) || !is_candidate(domain) {
                    return;
                }
                if self.put(domain, limits::FIRST_NAMES_MAX) {
                    admitted.push(domain.clone());
                    last = seen;
                } else {
                    is_full = true;
                }
            });
            self.has_others = is_full;
            self.cursor = if is_full { last } else { 0 };
            if is_full || from == 0 {
                break;
            }
        }
        admitted
    }

    /// Names that have to make room for others now: of those that wait, those for which `is_stuck` holds.
    pub(super) fn turn(&mut self, is_stuck: impl Fn(&Domain) -> bool) -> Vec<Domain> {
        let is_needed = self.has_others && self.waiting.len() >= limits::FIRST_NAMES_MAX;
        if !is_needed || self.turned.elapsed() < limits::NAMES_TURN {
            return Vec::new();
        }
        self.turned = Instant::now();
        let stuck: Vec<Domain> = self.waiting.iter().filter(|domain| is_stuck(domain)).cloned().collect();
        for domain in &stuck {
            self.waiting.remove(domain);
        }
        stuck
    }

    fn put(&mut self, domain: &Domain, most: usize) -> bool {
        if self.waiting.contains(domain) {
            return true;
        }
        let has_room = self.waiting.len() < most;
        if has_room {
            self.waiting.insert(domain.clone());
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::{Port, TableWriter};

    fn domain(number: usize) -> Domain {
        Domain::parse(&format!("n{number}.example")).unwrap()
    }

    fn writer(count: usize) -> TableWriter {
        let mut writer = TableWriter::new();
        for number in 0..count {
            writer.insert(domain(number), Port::new(8080).unwrap());
        }
        writer
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_names_are_known_than_the_limits_and_each_has_its_turn() {
        let more = 50;
        let writer = writer(limits::FIRST_NAMES_MAX + more);
        let mut roster = Roster::new();
        let first = roster.fill(&writer.table(), |_| true);
        assert_eq!((first.len(), roster.len(), roster.has_others()), (limits::FIRST_NAMES_MAX, first.len(), true));
        let is_first = |domain: &Domain| first.contains(domain);
        let outside: Vec<_> = (0..limits::FIRST_NAMES_MAX + more).map(domain).filter(|name| !is_first(name)).collect();
        assert!(!roster.admit(&outside[0]) && roster.admit(&first[0]), "it is in already");
        assert!(roster.admit_asked(&outside[0]));
        roster.leave(&outside[0]);

        // Nobody goes before the time, then those that are stuck do.
        assert!(roster.turn(|_| true).is_empty());
        tokio::time::advance(limits::NAMES_TURN).await;
        let stuck = roster.turn(|name| *name == first[0] || *name == first[1]);
        assert_eq!(stuck.len(), 2);
        let next = roster.fill(&writer.table(), |_| true);
        assert!(next.len() == 2 && next.iter().all(|name| outside.contains(name)), "{next:?}");
        assert!(roster.fill(&writer.table(), |_| true).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_are_asked_for_have_a_bound_of_their_own() {
        let mut roster = Roster::new();
        for number in 0..limits::FIRST_NAMES_MAX {
            assert!(roster.admit(&domain(number)));
        }
        let most = limits::FIRST_NAMES_MAX + limits::ASKED_NAMES_MAX;
        for number in limits::FIRST_NAMES_MAX..most {
            assert!(!roster.admit(&domain(number)) && roster.admit_asked(&domain(number)));
        }
        assert!(!roster.admit_asked(&domain(most)));
        roster.admit_known(&domain(most));
        assert_eq!(roster.len(), most + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_table_is_followed_by_its_beginning() {
        let writer = writer(20);
        let mut roster = Roster::new();
        assert_eq!(roster.fill(&writer.table(), |_| true).len(), 20);
        assert!(!roster.has_others());
        (roster.cursor, roster.has_others) = (15, true);
        (0..20).for_each(|number| roster.leave(&domain(number)));
        assert!(roster.fill(&writer.table(), |_| true).is_empty(), "too early");
        tokio::time::advance(limits::NAMES_AGAIN).await;
        assert_eq!(roster.fill(&writer.table(), |_| true).len(), 20);
    }
}
