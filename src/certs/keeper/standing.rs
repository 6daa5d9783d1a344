//! Where a name stands, in words for people; pure.

use crate::{certs::schedule, limits};

use super::{
    board::{Standing, State},
    clock::shown,
    folders::Source,
    shelf::Serving,
};

/// What is known of a name that has a rule. Times are seconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// What serves it.
    pub(super) serving: Option<&'a Serving>,
    /// What the schedule says, if it knows the name.
    pub(super) state: Option<schedule::State>,
    /// Why its last order failed.
    pub(super) reason: &'a str,
    /// Whether the name service has said what it knows of it.
    pub(super) is_answered: bool,
    /// What holds up all names.
    pub(super) problem: Option<&'a str>,
    /// Seconds until a new name may be ordered, as far as the CA's limit for all of them is concerned.
    pub(super) pause: u64,
    pub(super) now: u64,
}

/// How a sentence about a disk that takes nothing begins.
const FOLDER: &str = "the folder of certificates cannot be written";

/// Of a name whose certificates come from the CA.
pub(super) fn ordered(facts: Facts<'_>) -> Standing {
    if facts.serving.is_some_and(|serving| serving.source == Source::Own) {
        return own(facts);
    }
    let Some(state) = facts.state else {
        let reason = facts.problem.unwrap_or("behind others that wait for their first certificate");
        return standing(facts, State::Queued, None, reason.to_owned());
    };
    let with_reason = |text: String| if facts.reason.is_empty() { text } else { format!("{text}: {}", facts.reason) };
    let with_problem = |text: &str| match facts.problem {
        Some(problem) => problem.to_owned(),
        None => text.to_owned(),
    };
    let (state, next, reason) = match state {
        schedule::State::Own => return own(facts),
        schedule::State::Local => return local(facts, None),
        schedule::State::Valid { renewal, .. } => (State::Valid, Some(renewal), String::new()),
        schedule::State::Ordering => (State::Ordering, None, String::new()),
        schedule::State::WaitingForAddress => {
            let reason = match facts.is_answered {
                true => {
                    "DNS does not point anywhere yet: the name service knows no address for this name; it needs an A or AAAA \
                     record that leads here"
                }
                false => {
                    "the name service gives no answer about this name: the DNS of this machine or of the domain is in trouble"
                }
            };
            (State::Waiting, None, reason.to_owned())
        }
        schedule::State::Queued(before) if facts.pause > 0 && facts.serving.is_none() => {
            let next = facts.now.saturating_add(facts.pause);
            let allowed = format!("the CA's limit for all names allows the next new one at {}", shown(next));
            let reason = match before {
                0 => format!("it is the next: {allowed}"),
                1 => format!("1 name before it; {allowed}"),
                _ => format!("{before} names before it; {allowed}"),
            };
            (State::Queued, (before == 0).then_some(next), reason)
        }
        schedule::State::Queued(0) => (State::Queued, None, "it is the next".to_owned()),
        schedule::State::Queued(1) => (State::Queued, None, "1 name before it".to_owned()),
        schedule::State::Queued(before) => (State::Queued, None, format!("{before} names before it")),
        schedule::State::Waiting(next) => (State::Waiting, Some(next), facts.reason.to_owned()),
        schedule::State::HeldByCa(until) => {
            (State::Waiting, Some(until), with_reason(format!("rate-limited until {}", shown(until))))
        }
        schedule::State::Paused => (
            State::Stopped,
            None,
            with_reason("paused by the CA until a person lifts that there; then: hotcore retry".to_owned()),
        ),
        schedule::State::ClockUnknown => {
            (State::Waiting, None, with_problem("the CA is asked for the time before anything is ordered"))
        }
        schedule::State::ClockWrong => (State::Stopped, None, with_problem("the clock of this machine is wrong")),
        schedule::State::StoreNotWritable => {
            let problem = with_problem(FOLDER);
            let is_said = facts.reason.starts_with(FOLDER);
            (State::Waiting, None, if is_said { problem } else { with_reason(problem) })
        }
        schedule::State::CaTrouble(until) => {
            let text = format!("the CA is in trouble and asked again at {}", shown(until));
            (State::Waiting, Some(until), with_reason(text))
        }
        schedule::State::AccountStopped => (
            State::Stopped,
            None,
            with_reason("the CA wants a person to act on the account; then: hotcore retry".to_owned()),
        ),
        schedule::State::AccountUnknown => {
            (State::Waiting, None, "the CA has forgotten the account: it is registered again".to_owned())
        }
    };
    standing(facts, state, next, reason)
}

/// Of any name while the folders are read: what serves is known, what is to be done about it not yet.
pub(super) fn opening(facts: Facts<'_>) -> Standing {
    match facts.serving.map(|serving| serving.source) {
        Some(Source::Own) => own(facts),
        Some(_) => standing(facts, State::Valid, None, String::new()),
        None => standing(facts, State::Queued, None, "the folders of certificates are being read".to_owned()),
    }
}

/// Of any name where nothing can be ordered now, for the problem that holds up all.
pub(super) fn stopped(facts: Facts<'_>, is_for_a_person: bool) -> Standing {
    if facts.serving.is_some_and(|serving| serving.source == Source::Own) {
        return own(facts);
    }
    let state = if is_for_a_person { State::Stopped } else { State::Waiting };
    standing(facts, state, None, facts.problem.unwrap_or_default().to_owned())
}

/// Of any name where no CA is asked.
pub(super) fn off(facts: Facts<'_>) -> Standing {
    match facts.serving.map(|serving| serving.source) {
        Some(Source::Own) => own(facts),
        _ => standing(facts, State::Off, None, "no certificates are ordered here".to_owned()),
    }
}

/// Of a local name. `known`: what is said of it where such names get certificates, if it is one of those that do.
pub(super) fn local(facts: Facts<'_>, known: Option<Standing>) -> Standing {
    match (facts.serving.map(|serving| serving.source), known) {
        (Some(Source::Own), _) => own(facts),
        (_, Some(Standing { next, reason, .. })) => standing(facts, State::Local, next, reason),
        (Some(_), None) => standing(facts, State::Local, None, String::new()),
        (None, None) => {
            standing(facts, State::Local, None, "no CA signs a local name: served by plain HTTP".to_owned())
        }
    }
}

fn own(facts: Facts<'_>) -> Standing {
    let ends_soon = facts.serving.and_then(|serving| own_warning(serving.not_after, facts.now));
    standing(facts, State::Own, None, ends_soon.unwrap_or_default())
}

/// What is said of a certificate that a person gave and that ends soon.
pub(super) fn own_warning(not_after: u64, now: u64) -> Option<String> {
    let left = not_after.saturating_sub(now);
    if left > limits::OWN_CERTIFICATE_ENDS_SOON.as_secs() {
        return None;
    }
    Some(match left {
        0 => format!("its own certificate ended at {}: install a new one, or remove it", shown(not_after)),
        _ => format!("its own certificate ends at {}: install a new one", shown(not_after)),
    })
}

fn standing(facts: Facts<'_>, state: State, next: Option<u64>, reason: String) -> Standing {
    let until = facts.serving.map(|serving| serving.not_after);
    let has_ended = state != State::Own && until.is_some_and(|until| until <= facts.now);
    let reason = match (has_ended, reason.is_empty()) {
        (false, _) => reason,
        (true, true) => "its certificate has ended".to_owned(),
        (true, false) => format!("its certificate has ended; {reason}"),
    };
    Standing { state, until, next, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const NOTHING: Facts<'_> =
        Facts { serving: None, state: None, reason: "", is_answered: true, problem: None, pause: 0, now: NOW };

    fn serving(source: Source, not_after: u64) -> Serving {
        Serving { source, not_before: 0, not_after }
    }

    fn told(state: schedule::State, reason: &str) -> Standing {
        ordered(Facts { state: Some(state), reason, ..NOTHING })
    }

    #[test]
    fn each_state_has_a_word_and_a_reason_that_a_person_understands() {
        let said = told(schedule::State::WaitingForAddress, "");
        assert_eq!(said.state, State::Waiting);
        assert!(said.reason.starts_with("DNS does not point anywhere yet"));
        let state = Some(schedule::State::WaitingForAddress);
        let said = ordered(Facts { state, is_answered: false, ..NOTHING });
        assert!(said.reason.contains("gives no answer"));
        let said = told(schedule::State::HeldByCa(NOW + 60), "too many orders");
        assert_eq!((said.state, said.next), (State::Waiting, Some(NOW + 60)));
        assert_eq!(said.reason, "rate-limited until 2027-01-15T08:01:00Z: too many orders");
        assert_eq!(told(schedule::State::Paused, "see https://ca").state, State::Stopped);
        assert_eq!(told(schedule::State::Queued(7), "").reason, "7 names before it");
        assert_eq!(told(schedule::State::Queued(1), "").reason, "1 name before it");
        let said = ordered(Facts { state: Some(schedule::State::Queued(2)), pause: 37, ..NOTHING });
        assert!(said.reason.ends_with("the next new one at 2027-01-15T08:00:37Z") && said.next.is_none());
        let said = told(schedule::State::Waiting(NOW + 9), "port 80 is not reachable");
        assert_eq!((said.next, said.reason.as_str()), (Some(NOW + 9), "port 80 is not reachable"));
        assert_eq!(ordered(NOTHING).state, State::Queued, "it waits for room");
        assert_eq!(told(schedule::State::Ordering, "").state, State::Ordering);
        let reason = format!("{FOLDER}: disk full");
        let facts = Facts { state: Some(schedule::State::StoreNotWritable), reason: &reason, ..NOTHING };
        assert_eq!(ordered(Facts { problem: Some("disk full"), ..facts }).reason, "disk full", "said once");
        assert_eq!(told(schedule::State::ClockWrong, "").state, State::Stopped);
        assert_eq!(told(schedule::State::AccountStopped, "").state, State::Stopped);
        assert_eq!(off(NOTHING).state, State::Off);
        let said = stopped(Facts { problem: Some("the account is damaged"), ..NOTHING }, true);
        assert_eq!((said.state, said.reason.as_str()), (State::Stopped, "the account is damaged"));
        assert_eq!(stopped(NOTHING, false).state, State::Waiting);
    }

    #[test]
    fn a_certificate_that_has_ended_is_said_first() {
        let ended = serving(Source::Ca, NOW);
        let facts = Facts { serving: Some(&ended), state: Some(schedule::State::Waiting(NOW + 5)), ..NOTHING };
        let said = ordered(Facts { reason: "why", ..facts });
        assert_eq!((said.until, said.reason.as_str()), (Some(NOW), "its certificate has ended; why"));
    }

    #[test]
    fn a_certificate_of_a_person_is_followed_to_its_end() {
        let days = |days: u64| NOW + days * 86_400;
        for (until, words) in [(days(15), ""), (days(14), "ends at"), (NOW, "ended at")] {
            let own = serving(Source::Own, until);
            let facts = Facts { serving: Some(&own), ..NOTHING };
            for said in [ordered(facts), off(facts), local(facts, None), stopped(facts, true)] {
                assert_eq!((said.state, said.until), (State::Own, Some(until)));
                assert!(said.reason.contains(words) && said.reason.is_empty() == words.is_empty(), "{}", said.reason);
            }
        }
    }

    #[test]
    fn a_local_name_says_why_it_has_no_certificate() {
        assert!(local(NOTHING, None).reason.contains("plain HTTP"));
        let known = |reason: &str| {
            Some(Standing { state: State::Local, until: None, next: Some(NOW + 60), reason: reason.to_owned() })
        };
        let said = local(NOTHING, known("run mkcert -install"));
        assert_eq!((said.next, said.reason.as_str()), (Some(NOW + 60), "run mkcert -install"));
        let made = serving(Source::Local, NOW + 5);
        let said = local(Facts { serving: Some(&made), ..NOTHING }, known(""));
        assert_eq!((said.until, said.reason.as_str()), (Some(NOW + 5), ""));
        let ended = serving(Source::Local, NOW);
        let said = local(Facts { serving: Some(&ended), ..NOTHING }, known("no mkcert"));
        assert_eq!(said.reason, "its certificate has ended; no mkcert");
    }
}
