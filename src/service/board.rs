//! The keeper's board, as the control server and `status` read it: `control` and `certs` do not know each other.

use std::time::Instant;

use crate::{
    certs::{self, Board, keeper::State},
    control::{Certificates, Standing},
    domain::Domain,
    limits,
};

/// The board, for messages.
#[derive(Debug)]
pub(super) struct Shown(pub(super) Board);

impl Certificates for Shown {
    fn page_after(&self, after: Option<&Domain>, see: &mut dyn FnMut(&Domain, Standing<'_>) -> bool) {
        self.0.page_after(after, |domain, standing| {
            let certs::Standing { state, until, next, reason } = standing;
            see(domain, Standing { state: &state.to_string(), until: *until, next: *next, reason })
        });
    }

    fn retry(&self, domain: &Domain) -> bool {
        self.0.wish(domain)
    }
}

/// How many names stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// A certificate serves.
    pub(super) served: usize,
    /// An order is under way, or will be as soon as there is room.
    pub(super) ordering: usize,
    /// Something else has to come first: the reason says what.
    pub(super) waiting: usize,
    /// A person has to do something.
    pub(super) stopped: usize,
}

impl Counts {
    fn count(&mut self, standing: &certs::Standing) {
        self.served += usize::from(standing.until.is_some());
        match standing.state {
            State::Ordering | State::Queued => self.ordering += 1,
            State::Waiting => self.waiting += 1,
            State::Stopped => self.stopped += 1,
            State::Valid | State::Own | State::Local | State::Off => {}
        }
    }
}

/// Counts the names on a board now and then: seldom enough that it costs a hundredth of a processor, however many there are.
#[derive(Debug)]
pub(super) struct Census<N: Names = Board> {
    names: N,
    next: Option<Instant>,
}

impl<N: Names> Census<N> {
    pub(super) fn new(names: N) -> Self {
        Self { names, next: None }
    }

    /// New counts, if it is time.
    pub(super) fn take(&mut self, now: impl Fn() -> Instant) -> Option<Counts> {
        let start = now();
        if self.next.is_some_and(|next| start < next) {
            return None;
        }
        let counts = self.count();
        let end = now();
        self.next = Some(end + 100 * end.saturating_duration_since(start));
        Some(counts)
    }

    fn count(&self) -> Counts {
        let (mut counts, mut last) = (Counts::default(), None);
        loop {
            // In parts: the keeper writes on the board meanwhile.
            let (mut left, mut end) = (limits::CERTIFICATES_COUNTED_AT_ONCE, None);
            self.names.page_after(last.as_ref(), |domain, standing| {
                counts.count(standing);
                left -= 1;
                if left == 0 {
                    end = Some(domain.clone());
                }
                left > 0
            });
            if end.is_none() {
                return counts;
            }
            last = end;
        }
    }
}

/// Names with their standings; a test has some of its own.
pub(super) trait Names {
    fn page_after(&self, after: Option<&Domain>, see: impl FnMut(&Domain, &certs::Standing) -> bool);
}

impl Names for Board {
    fn page_after(&self, after: Option<&Domain>, see: impl FnMut(&Domain, &certs::Standing) -> bool) {
        self.page_after(after, see);
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeMap, ops::Bound, time::Duration};

    use super::*;

    struct Given(BTreeMap<Domain, certs::Standing>);

    impl Names for Given {
        fn page_after(&self, after: Option<&Domain>, mut see: impl FnMut(&Domain, &certs::Standing) -> bool) {
            let from = after.map_or(Bound::Unbounded, Bound::Excluded);
            let _ = self.0.range((from, Bound::Unbounded)).all(|(domain, standing)| see(domain, standing));
        }
    }

    fn given(standings: impl IntoIterator<Item = (State, Option<u64>)>) -> Given {
        let name = |index: usize| Domain::parse(&format!("n{index}.com")).unwrap();
        let standings = standings.into_iter().enumerate().map(|(index, (state, until))| {
            (name(index), certs::Standing { state, until, next: None, reason: String::new() })
        });
        Given(standings.collect())
    }

    #[test]
    fn names_are_counted_by_where_they_stand() {
        let states = [
            (State::Valid, Some(1)),
            (State::Own, Some(1)),
            (State::Local, None),
            (State::Ordering, None),
            (State::Queued, None),
            (State::Waiting, None),
            (State::Waiting, Some(1)),
            (State::Stopped, Some(1)),
            (State::Off, None),
        ];
        let counts = Census::new(given(states)).take(Instant::now).unwrap();
        assert_eq!(counts, Counts { served: 4, ordering: 2, waiting: 2, stopped: 1 });
    }

    #[test]
    fn every_name_is_counted_once_however_many_there_are() {
        let at_once = limits::CERTIFICATES_COUNTED_AT_ONCE;
        for many in [0, 1, at_once - 1, at_once, at_once + 1, 3 * at_once] {
            let mut census = Census::new(given((0..many).map(|_| (State::Waiting, None))));
            assert_eq!(census.take(Instant::now).unwrap().waiting, many);
        }
    }

    #[test]
    fn a_count_that_takes_long_is_seldom() {
        let clock = Cell::new(Instant::now());
        let mut census = Census::new(given([]));
        // Each look at the clock takes a second: so does the count.
        let slow = || {
            clock.set(clock.get() + Duration::from_secs(1));
            clock.get()
        };
        assert!(census.take(slow).is_some());
        let end = clock.get();
        assert!(census.take(|| end + Duration::from_millis(99_999)).is_none());
        assert!(census.take(|| end + Duration::from_secs(100)).is_some());
    }
}
