//! What follows from which word, on either side. Pure: words in, actions out; time is the caller's.

use super::message::{FromNew, FromOld, VERSION};
use crate::service::sockets::Kind;

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
    /// The new one was told to serve, and is about to.
    Told,
    /// The new one serves; this one drains.
    Draining,
    /// The hand-over has failed, and this one goes on.
    Done,
}

/// What the old one has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A line; `None`: not one of ours.
    Word(Option<FromNew>),
    /// The new one is gone.
    Gone,
    /// What was to start it has failed; how.
    Unstarted(String),
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
    /// The new one serves, or is lost (why): who wanted a reload can be told.
    Report(Result<(), String>),
    /// Too many generations drain: end, as on a stop.
    Cut,
    /// Say `no`, and go on with everything.
    GoOn {
        /// For the log and for the other one.
        why: String,
        /// The pen was passed on and must be taken back.
        take_pen_back: bool,
    },
}

impl Old {
    /// The next step; `None`: there is none.
    pub fn hear(&mut self, heard: Heard) -> Option<OldAction> {
        let (next, action) = match (*self, heard) {
            (Self::Done, _) => return None,
            (Self::Asked, Heard::Word(Some(FromNew::Ask { version: VERSION, .. }))) => {
                (Self::Waiting, OldAction::SendSockets)
            }
            (Self::Waiting, Heard::Word(Some(FromNew::Loaded))) => (Self::Passed, OldAction::PassPen),
            (Self::Passed, Heard::Word(Some(FromNew::Serving))) => (Self::Told, OldAction::Drain),
            (Self::Told, Heard::Word(Some(FromNew::Ready))) => (Self::Draining, OldAction::Report(Ok(()))),
            (Self::Told | Self::Draining, Heard::Word(Some(FromNew::End))) => (Self::Draining, OldAction::Cut),
            // There is no way back: a crash of the new one is a crash.
            (Self::Told, heard) => (Self::Draining, OldAction::Report(Err(why(Self::Told, heard)))),
            (Self::Draining, _) => return None,
            (state @ (Self::Asked | Self::Waiting | Self::Passed), heard) => {
                let go_on = OldAction::GoOn { why: why(state, heard), take_pen_back: state == Self::Passed };
                (Self::Done, go_on)
            }
        };
        *self = next;
        Some(action)
    }
}

fn why(state: Old, heard: Heard) -> String {
    match heard {
        Heard::Word(Some(FromNew::Failed(why))) => format!("the new process could not start: {why}"),
        Heard::Word(Some(FromNew::Ask { version, .. })) if state == Old::Asked => format!(
            "the new program speaks version {version} of the hand-over, the running one version {VERSION}: \
             `systemctl restart hotcore`, or stop the running one first"
        ),
        Heard::Word(_) => "the new process said something unexpected".to_owned(),
        Heard::Gone if state == Old::Told => "the new process ended as soon as it had taken over".to_owned(),
        Heard::Gone => "the new process ended before it served; its own words are in the log".to_owned(),
        Heard::Unstarted(how) => format!("the new program {how}"),
        Heard::Silence => "the new process was not ready in time".to_owned(),
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
    WarmUp {
        /// What the sockets are for, in their order.
        kinds: Vec<Kind>,
        /// So many channels to generations that drain come after them.
        draining: usize,
    },
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
            (Self::Asked, Some(FromOld::Sockets { kinds, draining })) => {
                (Self::WarmingUp, NewAction::WarmUp { kinds, draining })
            }
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

    const ASK: Heard = Heard::Word(Some(FromNew::Ask { version: VERSION, process: 42 }));
    const LOADED: Heard = Heard::Word(Some(FromNew::Loaded));
    const SERVING: Heard = Heard::Word(Some(FromNew::Serving));
    const READY: Heard = Heard::Word(Some(FromNew::Ready));
    const SOCKETS: FromOld = FromOld::Sockets { kinds: Vec::new(), draining: 0 };
    const END: Heard = Heard::Word(Some(FromNew::End));

    fn failures() -> [Heard; 8] {
        [
            Heard::Gone,
            Heard::Silence,
            Heard::Unstarted("ended at once".into()),
            Heard::Word(None),
            Heard::Word(Some(FromNew::Failed("disk full".into()))),
            Heard::Word(Some(FromNew::Ask { version: VERSION + 1, process: 42 })),
            Heard::Word(Some(FromNew::Reload)),
            READY,
        ]
    }

    #[test]
    fn the_old_one_passes_sockets_then_the_pen_then_drains_b206() {
        let mut old = Old::default();
        assert_eq!(old.hear(ASK), Some(OldAction::SendSockets));
        assert_eq!(old.hear(LOADED), Some(OldAction::PassPen));
        assert_eq!(old.hear(SERVING), Some(OldAction::Drain));
        assert_eq!(old.hear(READY), Some(OldAction::Report(Ok(()))));
        for heard in failures() {
            assert_eq!(old.hear(heard), None, "there is no way back");
        }
        assert_eq!(old.hear(END), Some(OldAction::Cut));
    }

    /// After `told` it drains whatever happens, and who waits for the outcome hears of a new one that is lost.
    #[test]
    fn a_new_one_that_is_lost_after_it_was_told_is_reported() {
        for heard in failures().into_iter().filter(|heard| *heard != READY) {
            let mut old = Old::default();
            for heard in [ASK, LOADED, SERVING] {
                old.hear(heard);
            }
            let action = old.hear(heard.clone());
            assert!(matches!(action, Some(OldAction::Report(Err(_)))), "{heard:?}: {action:?}");
            assert_eq!(old.hear(END), Some(OldAction::Cut));
        }
    }

    #[test]
    fn one_that_serves_is_not_cut() {
        for steps in 0..3 {
            let mut old = Old::default();
            for heard in [ASK, LOADED].into_iter().take(steps) {
                old.hear(heard);
            }
            assert!(matches!(old.hear(END), Some(OldAction::GoOn { .. })), "after {steps} steps");
        }
    }

    #[test]
    fn another_version_is_refused_with_both_numbers_and_the_remedy() {
        let other = Heard::Word(Some(FromNew::Ask { version: VERSION + 1, process: 0 }));
        let Some(OldAction::GoOn { why, take_pen_back: false }) = Old::default().hear(other) else { panic!() };
        let (theirs, ours) = (format!("version {} of the hand-over", VERSION + 1), format!("version {VERSION}:"));
        assert!(why.contains(&theirs) && why.contains(&ours) && why.contains("systemctl restart hotcore"), "{why}");
    }

    /// Whatever goes wrong at whichever step, the old one goes on, and takes the pen back exactly if it was passed on (B205).
    #[test]
    fn the_old_one_goes_on_after_any_failure_at_any_step_b205() {
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
        let (kinds, draining) = (vec![Kind::Http], 2);
        let sockets = FromOld::Sockets { kinds: kinds.clone(), draining };
        assert_eq!(new.hear(Some(sockets)), NewAction::WarmUp { kinds, draining });
        assert_eq!(new.hear(Some(FromOld::Yours)), NewAction::TakePen);
        assert_eq!(new.hear(Some(FromOld::Told)), NewAction::Serve);
        assert!(matches!(new.hear(Some(FromOld::Told)), NewAction::End(_)));
    }

    #[test]
    fn the_new_one_ends_when_it_is_told_no() {
        for steps in 0..3 {
            let mut new = NewStep::default();
            for word in [SOCKETS, FromOld::Yours].into_iter().take(steps) {
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
        new.hear(Some(SOCKETS));
        assert_eq!(new.hear(None), NewAction::TakePen);
        assert_eq!(new.hear(None), NewAction::Serve);
    }
}
