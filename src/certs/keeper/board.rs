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

    /// Resolves when there may be wishes to take.
    pub(super) async fn wished(&self) {
        self.0.wished.notified().await;
    }

    pub(super) fn take_wish(&self) -> Option<Domain> {
        self.wall().wishes.pop_front()
    }

    pub(super) fn put(&self, domain: &Domain, standing: Option<Standing>) {
        match standing {
            Some(standing) => _ = self.wall().standings.insert(domain.clone(), standing),
            None => _ = self.wall().standings.remove(domain),
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
