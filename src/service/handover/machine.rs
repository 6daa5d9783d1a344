//! What follows from which word, on either side. Pure: words in, actions out; time is the caller's.

use super::message::{FromNew, FromOld, VERSION};

/// The old one, from the ask to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Old {
    /// Somebody has connected.
    #[default]
    Asked,
    /// The sockets are sent; the new one warms up.
    Waiting,
    /// The pen is passed on: nothing is read or written any more.
    Passed,
    /// Over, in either way.
    Done,
}

/// What the old one has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A line; `None`: not one of ours.
    Word(Option<FromNew>),
    /// The new one is gone.
    Gone,
    /// It has not said what it should in time.
    Silence,
}

/// What the old one does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OldAction {
    /// Send the listening sockets.
    SendSockets,
    /// Stop reading, finish the last commit, close the journal, drop the lock, say `yours`.
    PassPen,
    /// Say `told` and drain.
    Drain,
    /// Say `no`, and go on with everything.
    GoOn {
        /// For the log and for the other one.
        why: String,
        /// The pen was passed on and must be taken back.
        take_pen_back: bool,
    },
}

impl Old {
    /// The next step; `None` once it is over.
    pub fn hear(&mut self, heard: Heard) -> Option<OldAction> {
        let (next, action) = match (*self, heard) {
            (Self::Done, _) => return None,
            (Self::Asked, Heard::Word(Some(FromNew::Ask(VERSION)))) => (Self::Waiting, OldAction::SendSockets),
            (Self::Waiting, Heard::Word(Some(FromNew::Loaded))) => (Self::Passed, OldAction::PassPen),
            (Self::Passed, Heard::Word(Some(FromNew::Serving))) => (Self::Done, OldAction::Drain),
            (state, heard) => {
                let why = match heard {
                    Heard::Word(Some(FromNew::Failed(why))) => format!("it could not start: {why}"),
                    Heard::Word(Some(FromNew::Ask(version))) if state == Self::Asked => {
                        format!(
                            "it speaks version {version} of the hand-over and not {VERSION}: stop the running process first"
                        )
                    }
                    Heard::Word(_) => "it said something unexpected".to_owned(),
                    Heard::Gone => "it ended before it served".to_owned(),
                    Heard::Silence => "it was not ready in time".to_owned(),
                };
                (Self::Done, OldAction::GoOn { why, take_pen_back: state == Self::Passed })
            }
        };
        *self = next;
        Some(action)
    }
}

/// The new one, from its ask on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NewStep {
    /// It has asked.
    #[default]
    Asked,
    /// It has the sockets, reads the rules, and says `loaded`.
    WarmingUp,
    /// It takes the lock, catches up, and says `serving`.
    TakingPen,
    /// It serves.
    Serving,
    /// It gives up: it ends, and with it its lock.
    Ended,
}

/// What the new one does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewAction {
    /// Take the sockets that came with the word, read the rules without changing them, start workers that do not accept yet; then
    /// say `loaded`.
    WarmUp(Vec<crate::service::sockets::Kind>),
    /// Take the lock, read what has changed, say `serving`.
    TakePen,
    /// Accept connections, read datagrams.
    Serve,
    /// Let go of everything.
    End(String),
}

impl NewStep {
    /// The next step. `None` in place of a word: the old one is gone, and where it got so far the lock says who serves.
    pub fn hear(&mut self, word: Option<FromOld>) -> NewAction {
        let (next, action) = match (*self, word) {
            (Self::Asked, Some(FromOld::Sockets(kinds))) => (Self::WarmingUp, NewAction::WarmUp(kinds)),
            (Self::WarmingUp, Some(FromOld::Yours) | None) => (Self::TakingPen, NewAction::TakePen),
            (Self::TakingPen, Some(FromOld::Told) | None) => (Self::Serving, NewAction::Serve),
            (_, Some(FromOld::No(why))) => (Self::Ended, NewAction::End(why)),
            (Self::Asked, None) => (Self::Ended, NewAction::End("it ended".to_owned())),
            (_, Some(word)) => (Self::Ended, NewAction::End(format!("it said `{word}`, which was not expected"))),
            (Self::Serving | Self::Ended, None) => (Self::Ended, NewAction::End("it ended".to_owned())),
        };
        *self = next;
        action
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::sockets::Kind;

    const ASK: Heard = Heard::Word(Some(FromNew::Ask(VERSION)));
    const LOADED: Heard = Heard::Word(Some(FromNew::Loaded));
    const SERVING: Heard = Heard::Word(Some(FromNew::Serving));

    #[test]
    fn the_old_one_passes_sockets_then_the_pen_then_drains_b206() {
        let mut old = Old::default();
        assert_eq!(old.hear(ASK), Some(OldAction::SendSockets));
        assert_eq!(old.hear(LOADED), Some(OldAction::PassPen));
        assert_eq!(old.hear(SERVING), Some(OldAction::Drain));
        assert_eq!(old.hear(Heard::Gone), None, "there is no way back");
    }

    /// Whatever goes wrong at whichever step, the old one goes on, and takes the pen back exactly if it was passed on (B205).
    #[test]
    fn the_old_one_goes_on_after_any_failure_at_any_step_b205() {
        let failures = || {
            [
                Heard::Gone,
                Heard::Silence,
                Heard::Word(None),
                Heard::Word(Some(FromNew::Failed("disk full".into()))),
                Heard::Word(Some(FromNew::Ask(VERSION + 1))),
            ]
        };
        for steps in 0..3 {
            for failure in failures() {
                let mut old = Old::default();
                for heard in [ASK, LOADED].into_iter().take(steps) {
                    old.hear(heard);
                }
                let Some(OldAction::GoOn { why, take_pen_back }) = old.hear(failure.clone()) else {
                    panic!("{failure:?} after {steps} steps");
                };
                assert_eq!(take_pen_back, steps == 2, "{failure:?} after {steps} steps: {why}");
                assert_eq!(old.hear(SERVING), None, "it is over");
            }
        }
        let mut old = Old::default();
        assert!(matches!(old.hear(LOADED), Some(OldAction::GoOn { .. })), "nobody loads without the sockets");
    }

    #[test]
    fn the_new_one_serves_only_after_it_was_told() {
        let mut new = NewStep::default();
        let kinds = vec![Kind::Http];
        assert_eq!(new.hear(Some(FromOld::Sockets(kinds.clone()))), NewAction::WarmUp(kinds));
        assert_eq!(new.hear(Some(FromOld::Yours)), NewAction::TakePen);
        assert_eq!(new.hear(Some(FromOld::Told)), NewAction::Serve);
        assert!(matches!(new.hear(Some(FromOld::Told)), NewAction::End(_)));
    }

    #[test]
    fn the_new_one_ends_when_it_is_told_no() {
        for steps in 0..3 {
            let mut new = NewStep::default();
            for word in [FromOld::Sockets(vec![]), FromOld::Yours].into_iter().take(steps) {
                new.hear(Some(word));
            }
            assert_eq!(new.hear(Some(FromOld::No("why".into()))), NewAction::End("why".into()), "after {steps} steps");
        }
    }

    #[test]
    fn when_the_old_one_dies_the_new_one_goes_on_with_the_lock() {
        let mut new = NewStep::default();
        assert!(matches!(new.hear(None), NewAction::End(_)), "without sockets it starts like any other");
        let mut new = NewStep::default();
        new.hear(Some(FromOld::Sockets(vec![])));
        assert_eq!(new.hear(None), NewAction::TakePen);
        assert_eq!(new.hear(None), NewAction::Serve);
    }
}
