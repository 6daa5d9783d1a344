//! What a person is told about certificates: written by the keeper, read by whoever answers `status` and `certs`.
//!
//! Reading takes a lock that the keeper holds for a moment only, never while it waits for anything.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{domain::Domain, limits};

/// Shared by its clones.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    wall: Mutex<Wall>,
    wished: Notify,
}

#[derive(Debug, Default)]
struct Wall {
    standings: BTreeMap<Domain, Standing>,
    /// Of these.
    counts: Counts,
    /// What holds up all names, one sentence each.
    problems: Vec<String>,
    /// Names that a person wants tried now.
    wishes: VecDeque<Domain>,
}

/// Where a mapped name stands. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// In one word.
    pub state: State,
    /// The certificate that serves ends then; `None`: none serves.
    pub until: Option<u64>,
    /// When something will be done about it: a renewal, the next try.
    pub next: Option<u64>,
    /// Why it is so, for people, one line; may be empty.
    pub reason: String,
}

/// How many names stand where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// A certificate serves.
    pub served: usize,
    /// An order is under way, or will be as soon as there is room.
    pub ordering: usize,
    /// Something else has to come first: the reason says what.
    pub waiting: usize,
    /// A person has to do something.
    pub stopped: usize,
}

impl Counts {
    /// Counts a standing that is new on the board, or counts out one that is gone from it.
    fn change(&mut self, standing: &Standing, change: impl Fn(&mut usize)) {
        if standing.until.is_some() {
            change(&mut self.served);
        }
        match standing.state {
            State::Ordering | State::Queued => change(&mut self.ordering),
            State::Waiting => change(&mut self.waiting),
            State::Stopped => change(&mut self.stopped),
            State::Valid | State::Own | State::Local | State::Off => {}
        }
    }
}

/// The word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its certificate serves and is renewed in time.
    Valid,
    /// A person gave its certificate.
    Own,
    /// A local name, with a certificate of mkcert's or by plain HTTP.
    Local,
    /// An order is under way.
    Ordering,
    /// Ready to be ordered, behind others.
    Queued,
    /// It waits: for its next try, for its address, for the CA, for the clock …: the reason says for what.
    Waiting,
    /// A person has to do something: the reason says what.
    Stopped,
    /// Nobody orders certificates here.
    Off,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Valid => "valid",
            Self::Own => "own",
            Self::Local => "local",
            Self::Ordering => "ordering",
            Self::Queued => "queued",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
            Self::Off => "off",
        })
    }
}

impl Board {
    /// Shows the names behind `after` in their order, until `see` has enough and says `false`.
    pub fn page_after(&self, after: Option<&Domain>, mut see: impl FnMut(&Domain, &Standing) -> bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let wall = self.wall();
        for (domain, standing) in wall.standings.range((from, Bound::Unbounded)) {
            if !see(domain, standing) {
                break;
            }
        }
    }

    /// How many names stand where.
    pub fn counts(&self) -> Counts {
        self.wall().counts
    }

    /// What holds up all names, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        self.wall().problems.clone()
    }

    /// A person wants this name tried now, or its own certificate looked at again. `false`: too many such wishes wait.
    pub fn wish(&self, domain: &Domain) -> bool {
        let mut wall = self.wall();
        if wall.wishes.contains(domain) {
            return true;
        }
        if wall.wishes.len() >= limits::CERTIFICATE_WISHES_MAX {
            return false;
        }
        wall.wishes.push_back(domain.clone());
        drop(wall);
        self.0.wished.notify_one();
        true
    }

    /// For tests of its readers: names `n0.com`, `n1.com` … with these states and ends of certificates.
    #[cfg(test)]
    pub(crate) fn of(standings: &[(State, Option<u64>)]) -> Self {
        let board = Self::default();
        for (number, &(state, until)) in standings.iter().enumerate() {
            let domain = Domain::parse(&format!("n{number}.com")).expect("a name");
            board.put(&domain, Some(Standing { state, until, next: None, reason: String::new() }));
        }
        board
    }

    /// Resolves when there may be wishes to take.
    pub(super) async fn wished(&self) {
        self.0.wished.notified().await;
    }

    pub(super) fn take_wish(&self) -> Option<Domain> {
        self.wall().wishes.pop_front()
    }

    pub(super) fn put(&self, domain: &Domain, standing: Option<Standing>) {
        let mut wall = self.wall();
        let old = match standing {
            Some(standing) => {
                wall.counts.change(&standing, |count| *count += 1);
                wall.standings.insert(domain.clone(), standing)
            }
            None => wall.standings.remove(domain),
        };
        if let Some(old) = old {
            wall.counts.change(&old, |count| *count -= 1);
        }
    }

    pub(super) fn set_problems(&self, problems: Vec<String>) {
        self.wall().problems = problems;
    }

    fn wall(&self) -> MutexGuard<'_, Wall> {
        self.0.wall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    #[test]
    fn names_are_shown_in_order_from_one_on() {
        let board = Board::default();
        for name in ["b.com", "a.com", "c.com"] {
            let standing = Standing { state: State::Valid, until: Some(1), next: None, reason: String::new() };
            board.put(&domain(name), Some(standing));
        }
        board.put(&domain("b.com"), None);
        let mut seen = Vec::new();
        board.page_after(None, |domain, _| {
            seen.push(domain.to_string());
            true
        });
        assert_eq!(seen, ["a.com", "c.com"]);
        board.page_after(Some(&domain("a.com")), |domain, _| {
            assert_eq!(domain.as_str(), "c.com");
            false
        });
        board.set_problems(vec!["the clock is wrong".to_owned()]);
        assert_eq!(board.problems(), ["the clock is wrong"]);
    }

    #[test]
    fn names_are_counted_by_where_they_stand_now() {
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
        let board = Board::of(&states);
        let put = |name: &str, state, until| {
            let standing = Standing { state, until, next: None, reason: String::new() };
            board.put(&domain(name), Some(standing));
        };
        assert_eq!(board.counts(), Counts { served: 4, ordering: 2, waiting: 2, stopped: 1 });
        put("n3.com", State::Valid, Some(1));
        put("n4.com", State::Queued, None);
        board.put(&domain("n7.com"), None);
        board.put(&domain("n7.com"), None);
        assert_eq!(board.counts(), Counts { served: 4, ordering: 1, waiting: 2, stopped: 0 });
        (0..states.len()).for_each(|number| board.put(&domain(&format!("n{number}.com")), None));
        assert_eq!(board.counts(), Counts::default());
    }

    #[tokio::test]
    async fn wishes_are_taken_once_and_bounded() {
        let board = Board::default();
        for number in 0..limits::CERTIFICATE_WISHES_MAX {
            assert!(board.wish(&domain(&format!("a{number}.com"))));
        }
        assert!(board.wish(&domain("a0.com")), "the same again");
        assert!(!board.wish(&domain("b.com")), "one too many");
        board.wished().await;
        assert_eq!(board.take_wish(), Some(domain("a0.com")));
        assert!(board.wish(&domain("b.com")));
        let rest = std::iter::from_fn(|| board.take_wish()).count();
        assert_eq!((rest, board.take_wish()), (limits::CERTIFICATE_WISHES_MAX, None));
    }
}
