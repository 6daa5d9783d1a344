//! What a failed order means to the schedule: the issuer's failure in the schedule's terms, and in a sentence for people.

use std::time::SystemTime;

use crate::certs::{
    issuer::{AccountFault, Blame, Cause, ChallengeKind, Failure, Limit, Problem, RetryAfter, Step},
    schedule::{self, Reached},
};

use super::clock::seconds;

/// `reached`: how far it came as far as we know. `now`: by the CA's clock.
pub(super) fn failed(failure: &Failure, reached: Reached, now: SystemTime) -> schedule::Outcome {
    schedule::Outcome::Failed {
        failure: class(failure, now),
        reached: if reached == Reached::Signature && is_unsigned(failure) { Reached::Site } else { reached },
        reason: reason(failure),
    }
}

/// Whether the failure itself says that nothing was signed.
fn is_unsigned(failure: &Failure) -> bool {
    match &failure.cause {
        Cause::Refused(_) | Cause::NameRefused(_) => matches!(failure.step, Step::Finalize | Step::Issuance),
        Cause::RateLimited { .. } | Cause::Account { .. } | Cause::Nonces => failure.step == Step::Finalize,
        Cause::OrderLost(_) => true,
        _ => false,
    }
}

fn class(failure: &Failure, now: SystemTime) -> schedule::Failure {
    let until = failure.retry_after().map(|retry| until(retry, now));
    match failure.blame() {
        Blame::Ca => schedule::Failure::Ca { until },
        Blame::Rate => rate(failure, until),
        Blame::Site => schedule::Failure::Site { until },
        Blame::Name => schedule::Failure::Name,
        Blame::Account => match failure.cause {
            Cause::Account { fault: AccountFault::Unknown, .. } => schedule::Failure::AccountUnknown,
            _ => schedule::Failure::AccountStopped,
        },
        Blame::Here => match failure.cause {
            // Our own doors do not show the answer: the other kind of challenge may go better.
            Cause::NotServed(_) => schedule::Failure::Site { until },
            Cause::OrderLost(_) => schedule::Failure::GivenUp,
            Cause::NotKept(_) => schedule::Failure::NotKept,
            // An order exists at the CA, so its token must not come back, as it would if nothing had been asked: all wait, as for
            // a CA in trouble.
            _ => schedule::Failure::Ca { until },
        },
    }
}

fn rate(failure: &Failure, until: Option<u64>) -> schedule::Failure {
    let scope = match &failure.cause {
        Cause::RateLimited { limit, .. } => match limit {
            // The rate of requests: it has nothing to do with names.
            Limit::Requests => return schedule::Failure::Ca { until },
            Limit::Accounts | Limit::Orders => schedule::Scope::Account,
            Limit::RegisteredDomain(Some(domain)) => schedule::Scope::Registered(domain.clone()),
            Limit::ExactSet | Limit::Failures => schedule::Scope::Name,
            Limit::Paused => schedule::Scope::Paused,
            Limit::RegisteredDomain(None) | Limit::Other => schedule::Scope::Unknown,
        },
        // A check that met a limit is about this name.
        _ => schedule::Scope::Name,
    };
    schedule::Failure::RateLimited { scope, until }
}

/// In seconds since 1970.
pub(super) fn until(retry: RetryAfter, now: SystemTime) -> u64 {
    match retry {
        RetryAfter::At(time) => seconds(time),
        RetryAfter::In(time) => seconds(now).saturating_add(time.as_secs()),
    }
}

/// Why, for people.
pub(super) fn reason(failure: &Failure) -> String {
    let Cause::ChallengeRefused { kind, problem } = &failure.cause else { return failure.to_string() };
    let port = match kind {
        ChallengeKind::TlsAlpn01 => 443,
        ChallengeKind::Http01 => 80,
    };
    let words = |problem: &Problem| match problem.detail() {
        "" => problem.to_string(),
        detail => detail.to_owned(),
    };
    match problem.kind() {
        "connection" => format!("port {port} is not reachable from the CA: {}", words(problem)),
        "dns" => format!("DNS does not lead here, as the CA sees it: {}", words(problem)),
        "caa" => format!("a CAA record of the domain forbids this CA: {}", words(problem)),
        "unauthorized" | "incorrectResponse" | "tls" => {
            format!("the CA reaches another machine, or one in between, on port {port}: {}", words(problem))
        }
        _ => failure.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::{certs::schedule::Scope, domain::Domain};

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    fn class_of(step: Step, cause: Cause) -> schedule::Failure {
        class(&Failure { step, cause }, now())
    }

    fn problem(kind: &str) -> Problem {
        Problem::new(kind, "its words")
    }

    #[test]
    fn each_cause_has_the_one_who_can_change_it() {
        use schedule::Failure as To;
        let (ca, site) = (To::Ca { until: None }, To::Site { until: None });
        let account = |fault| Cause::Account { fault, problem: Problem::default() };
        let challenge = |kind| Cause::ChallengeRefused { kind: ChallengeKind::Http01, problem: problem(kind) };
        for (step, cause, wanted) in [
            (Step::NewOrder, Cause::Unreachable(String::new()), ca.clone()),
            (Step::Nonce, Cause::Nonces, ca.clone()),
            (Step::Directory, Cause::Refused(problem("malformed")), ca.clone()),
            (Step::Keep, Cause::NotKept("disk full".into()), To::NotKept),
            (Step::Validation, challenge("serverInternal"), ca),
            (Step::Validation, challenge("connection"), site.clone()),
            (Step::Validation, challenge("rejectedIdentifier"), To::Name),
            (Step::Validation, challenge("rateLimited"), To::RateLimited { scope: Scope::Name, until: None }),
            (Step::Authorization, Cause::ChallengeNotOffered(ChallengeKind::Http01), site.clone()),
            (Step::Rehearsal, Cause::NotServed(String::new()), site.clone()),
            (Step::NewOrder, Cause::NameRefused(problem("caa")), site),
            (Step::NewOrder, Cause::NameRefused(problem("rejectedIdentifier")), To::Name),
            (Step::Finalize, Cause::Refused(problem("badCSR")), To::Name),
            (Step::NewOrder, account(AccountFault::Unknown), To::AccountUnknown),
            (Step::NewOrder, account(AccountFault::ActionRequired), To::AccountStopped),
            (Step::Account, account(AccountFault::BindingRequired), To::AccountStopped),
            (Step::Order, Cause::OrderLost(String::new()), To::GivenUp),
        ] {
            assert_eq!(class_of(step, cause.clone()), wanted, "{step:?} {cause:?}");
        }
    }

    #[test]
    fn each_limit_holds_what_it_counts_until_the_time_it_names() {
        let retry = Some(RetryAfter::In(Duration::from_secs(60)));
        let limited = |limit| Cause::RateLimited { limit, retry, problem: Problem::default() };
        let domain = Domain::parse("example.org").unwrap();
        for (limit, scope) in [
            (Limit::Orders, Scope::Account),
            (Limit::Accounts, Scope::Account),
            (Limit::RegisteredDomain(Some(domain.clone())), Scope::Registered(domain)),
            (Limit::RegisteredDomain(None), Scope::Unknown),
            (Limit::ExactSet, Scope::Name),
            (Limit::Failures, Scope::Name),
            (Limit::Paused, Scope::Paused),
            (Limit::Other, Scope::Unknown),
        ] {
            let wanted = schedule::Failure::RateLimited { scope, until: Some(1_000_060) };
            assert_eq!(class_of(Step::NewOrder, limited(limit)), wanted);
        }
        let wanted = schedule::Failure::Ca { until: Some(1_000_060) };
        assert_eq!(class_of(Step::NewOrder, limited(Limit::Requests)), wanted);
        assert_eq!(until(RetryAfter::At(now() + Duration::from_secs(5)), now()), 1_000_005);
    }

    #[test]
    fn what_was_asked_to_be_signed_counts_as_signed_unless_the_ca_says_no() {
        let is_perhaps = |step, cause, asked| {
            let reached = if asked { Reached::Signature } else { Reached::Site };
            match failed(&Failure { step, cause }, reached, now()) {
                schedule::Outcome::Failed { reached, .. } => reached == Reached::Signature,
                schedule::Outcome::Issued { .. } => unreachable!(),
            }
        };
        let silence = || Cause::TimedOut(Duration::from_secs(1));
        assert!(!is_perhaps(Step::NewOrder, silence(), false), "it was not asked");
        for step in [Step::Finalize, Step::Issuance, Step::Certificate, Step::Nonce, Step::Order] {
            assert!(is_perhaps(step, silence(), true), "{step:?}");
        }
        assert!(is_perhaps(Step::Issuance, Cause::Nonces, true));
        assert!(!is_perhaps(Step::Finalize, Cause::Nonces, true));
        assert!(!is_perhaps(Step::Finalize, Cause::Refused(problem("badCSR")), true));
        assert!(!is_perhaps(Step::Issuance, Cause::NameRefused(problem("caa")), true));
        assert!(is_perhaps(Step::Certificate, Cause::Refused(problem("malformed")), true), "it exists");
    }

    #[test]
    fn the_sentence_names_the_port_and_keeps_the_words_of_the_ca() {
        let said = |kind, problem| {
            reason(&Failure { step: Step::Validation, cause: Cause::ChallengeRefused { kind, problem } })
        };
        let (tls, http) = (ChallengeKind::TlsAlpn01, ChallengeKind::Http01);
        assert_eq!(said(http, problem("connection")), "port 80 is not reachable from the CA: its words");
        assert_eq!(said(tls, problem("connection")), "port 443 is not reachable from the CA: its words");
        assert!(said(http, problem("dns")).starts_with("DNS does not lead here"));
        assert!(said(tls, problem("unauthorized")).contains("port 443: its words"));
        assert!(said(http, problem("other")).contains("HTTP-01 check failed: its words"));
    }
}
