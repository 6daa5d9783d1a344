//! Why there is no certificate, in classes that the schedule acts upon.

use std::{fmt, time::Duration};

use crate::domain::Domain;

use super::{
    challenge::ChallengeKind,
    client::{ClientError, Reply},
    problem::{Problem, RetryAfter, harmless},
};

/// An attempt that failed. `Display` is one sentence for people, with the remedy where there is one; it holds no secret (B218).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// During what.
    pub step: Step,
    /// Why.
    pub cause: Cause,
}

/// The parts of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Reading the CA's directory (RFC 8555, 7.1.1).
    Directory,
    /// Asking for a nonce (7.2).
    Nonce,
    /// Finding or creating the account (7.3).
    Account,
    /// Creating the order (7.4).
    NewOrder,
    /// Reading its authorization (7.5).
    Authorization,
    /// Handing the answer to the workers.
    Publish,
    /// Looking whether they give it.
    Rehearsal,
    /// Telling the CA that the answer is in place (7.5.1).
    Challenge,
    /// Waiting for the CA's look at it.
    Validation,
    /// Looking whether the order is ready.
    Order,
    /// Writing down what is needed to resume the order.
    Keep,
    /// Sending the certificate request (7.4).
    Finalize,
    /// Waiting for the CA to sign.
    Issuance,
    /// Downloading the certificate (7.4.2).
    Certificate,
    /// Reading renewal information (RFC 9773).
    RenewalInfo,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The CA has no address, takes no connection, or broke off.
    Unreachable(String),
    /// Its own certificate is not trusted.
    Untrusted(String),
    /// No answer, or no decision, within this time.
    TimedOut(Duration),
    /// It says that it is not able to answer now (5xx).
    Overloaded {
        /// The status code.
        status: u16,
        /// When to ask again, if it says so.
        retry: Option<RetryAfter>,
        /// Its reason.
        problem: Problem,
    },
    /// We asked too often.
    RateLimited {
        /// What of.
        limit: Limit,
        /// When to ask again, if it says so.
        retry: Option<RetryAfter>,
        /// Its reason.
        problem: Problem,
    },
    /// It looked at the answer to its challenge and was not content.
    ChallengeRefused {
        /// Which kind.
        kind: ChallengeKind,
        /// Its reason.
        problem: Problem,
    },
    /// It offers other challenges for this name.
    ChallengeNotOffered(ChallengeKind),
    /// It does not sign this name.
    NameRefused(Problem),
    /// It does not accept the account.
    Account {
        /// What about it.
        fault: AccountFault,
        /// Its reason.
        problem: Problem,
    },
    /// It refused in another way.
    Refused(Problem),
    /// It refused one nonce of its own after the other.
    Nonces,
    /// Its answer does not follow the protocol, or its certificate is not the one asked for.
    BadAnswer(String),
    /// The order that was to be resumed can come to nothing any more.
    OrderLost(String),
    /// Our own side does not give the answer to the challenge, so the CA was not asked to look.
    NotServed(String),
    /// What is needed to resume the order could not be written, so it was not finished.
    NotKept(String),
}

/// What a rate limit counts, by the words of the CA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    /// Requests in general.
    Requests,
    /// Accounts made from this address.
    Accounts,
    /// Orders of this account.
    Orders,
    /// Certificates under a registered domain, all its names together.
    RegisteredDomain(Option<Domain>),
    /// Certificates for the same set of names.
    ExactSet,
    /// Failed authorizations of a name.
    Failures,
    /// The name is paused until a person lifts that at the CA; its sentence has the link.
    Paused,
    /// Something else.
    Other,
}

/// What is wrong with the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountFault {
    /// No registration yet, or the CA has forgotten it: register the same key again.
    Unknown,
    /// A person has something to do at the CA, such as agreeing to new terms.
    ActionRequired,
    /// It needs an account made elsewhere first (RFC 8555, 7.3.4), which hotcore does not do.
    BindingRequired,
    /// The contact address is not acceptable.
    Contact,
    /// The key is not acceptable.
    Key,
    /// It is deactivated or revoked, or may not do this.
    Unauthorized,
}

/// Who has to change something before another attempt makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The CA, or the way to it: all orders wait.
    Ca,
    /// We asked too often: what the limit names waits.
    Rate,
    /// The name's site, its DNS, or the way to it: this name waits.
    Site,
    /// The name itself.
    Name,
    /// The account: nothing is ordered until a person has looked.
    Account,
    /// This machine.
    Here,
}

impl Failure {
    pub(super) fn new(step: Step, cause: Cause) -> Self {
        Self { step, cause }
    }

    pub(super) fn answer(step: Step, what: impl fmt::Display) -> Self {
        Self::new(step, Cause::BadAnswer(harmless(&what.to_string(), crate::limits::CA_DETAIL_BYTES_MAX)))
    }

    pub(super) fn from_client(step: Step, error: ClientError) -> Self {
        let text = harmless(&error.to_string(), crate::limits::CA_DETAIL_BYTES_MAX);
        Self::new(
            step,
            match error {
                ClientError::Untrusted(_) => Cause::Untrusted(text),
                ClientError::TooLarge | ClientError::Url(_) => Cause::BadAnswer(text),
                _ => Cause::Unreachable(text),
            },
        )
    }

    /// An answer with any status but 2xx.
    pub fn from_reply(step: Step, reply: &Reply) -> Self {
        let status = reply.status.as_u16();
        let problem = Problem::parse(&reply.body);
        let named = RetryAfter::of(&reply.headers);
        let Some(problem) = problem else {
            let problem = Problem::default();
            return Self::new(
                step,
                match status {
                    429 => Cause::RateLimited { limit: Limit::Requests, retry: named, problem },
                    500.. => Cause::Overloaded { status, retry: named, problem },
                    400.. => Cause::Refused(Problem::new("", &format!("status {status} without a reason"))),
                    _ => Cause::BadAnswer(format!("status {status}")),
                },
            );
        };
        let account = |fault, problem| Cause::Account { fault, problem };
        let cause = match (problem.kind(), status) {
            ("rateLimited", _) | (_, 429) => {
                let said = RetryAfter::within(problem.detail());
                Cause::RateLimited { limit: Limit::of(problem.detail()), retry: said.or(named), problem }
            }
            ("accountDoesNotExist", _) => account(AccountFault::Unknown, problem),
            ("userActionRequired", _) => account(AccountFault::ActionRequired, problem),
            ("externalAccountRequired", _) => account(AccountFault::BindingRequired, problem),
            ("invalidContact" | "unsupportedContact", _) => account(AccountFault::Contact, problem),
            ("badPublicKey" | "badSignatureAlgorithm", _) => account(AccountFault::Key, problem),
            ("unauthorized", _) => account(AccountFault::Unauthorized, problem),
            ("serverInternal", _) | (_, 500..) => Cause::Overloaded { status, retry: named, problem },
            ("rejectedIdentifier" | "unsupportedIdentifier" | "caa", _) => Cause::NameRefused(problem),
            ("malformed" | "dns", _) if step == Step::NewOrder => Cause::NameRefused(problem),
            _ => Cause::Refused(problem),
        };
        Self::new(step, cause)
    }

    /// Who has to change something (acme.md 3).
    pub fn blame(&self) -> Blame {
        match &self.cause {
            Cause::RateLimited { .. } => Blame::Rate,
            Cause::ChallengeRefused { problem, .. } => match problem.kind() {
                "serverInternal" => Blame::Ca,
                "rateLimited" => Blame::Rate,
                "rejectedIdentifier" | "unsupportedIdentifier" => Blame::Name,
                _ => Blame::Site,
            },
            Cause::ChallengeNotOffered(_) => Blame::Site,
            Cause::NameRefused(problem) if problem.kind() == "caa" || problem.kind() == "dns" => Blame::Site,
            Cause::NameRefused(_) => Blame::Name,
            // Something about this order alone: it must not stop the others.
            Cause::Refused(_) if !self.step.is_general() => Blame::Name,
            Cause::Account { .. } => Blame::Account,
            Cause::NotServed(_) | Cause::NotKept(_) | Cause::OrderLost(_) => Blame::Here,
            _ => Blame::Ca,
        }
    }

    /// When the CA wants to be asked again, if it says so.
    pub fn retry_after(&self) -> Option<RetryAfter> {
        match &self.cause {
            Cause::Overloaded { retry, .. } | Cause::RateLimited { retry, .. } => *retry,
            _ => None,
        }
    }

    /// Whether the same request may go better in a moment: for looks at the CA's objects, which change nothing there.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.cause, Cause::Unreachable(_) | Cause::TimedOut(_) | Cause::Overloaded { .. })
            || matches!(self.cause, Cause::RateLimited { limit: Limit::Requests, .. })
    }
}

impl Step {
    /// Whether it has nothing to do with a name.
    fn is_general(self) -> bool {
        matches!(self, Self::Directory | Self::Nonce | Self::Account | Self::RenewalInfo)
    }
}

impl Limit {
    /// By the sentences of Let's Encrypt.
    fn of(sentence: &str) -> Self {
        let has = |words: &str| sentence.contains(words);
        if has("exact set") {
            Self::ExactSet
        } else if has("failed authorizations") {
            Self::Failures
        } else if has("paused") || has("temporarily prevented") {
            Self::Paused
        } else if has("new orders") {
            Self::Orders
        } else if has("registrations") || has("new accounts") {
            Self::Accounts
        } else if has("certificates") && has("already issued") {
            Self::RegisteredDomain(sentence.split('"').nth(1).and_then(|name| Domain::parse(name).ok()))
        } else if has("requests") || has("busy") || sentence.is_empty() {
            Self::Requests
        } else {
            Self::Other
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "reading the CA's directory",
            Self::Nonce => "asking the CA for a nonce",
            Self::Account => "registering the account",
            Self::NewOrder => "creating the order",
            Self::Authorization => "reading the authorization",
            Self::Publish => "putting the answer to the challenge in place",
            Self::Rehearsal => "looking at the answer to the challenge",
            Self::Challenge => "telling the CA that the answer is in place",
            Self::Validation => "waiting for the CA to look at the answer",
            Self::Order => "reading the order",
            Self::Keep => "writing down the order",
            Self::Finalize => "sending the certificate request",
            Self::Issuance => "waiting for the CA to sign",
            Self::Certificate => "downloading the certificate",
            Self::RenewalInfo => "reading the renewal information",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.step)?;
        match &self.cause {
            Cause::Unreachable(text) => f.write_str(text),
            Cause::Untrusted(text) => {
                write!(f, "{text}; if this CA has a root of its own, give it with --acme-root")
            }
            Cause::TimedOut(time) => write!(f, "no result within {time:?}"),
            Cause::Overloaded { status, problem, .. } => write!(f, "the CA has trouble (status {status}): {problem}"),
            Cause::RateLimited { problem, .. } => write!(f, "held by the CA: {problem}"),
            Cause::ChallengeRefused { kind, problem } => write!(f, "the CA's {kind} check failed: {problem}"),
            Cause::ChallengeNotOffered(kind) => write!(f, "the CA does not offer {kind} for this name"),
            Cause::NameRefused(problem) => write!(f, "the CA does not sign this name: {problem}"),
            Cause::Account { fault: AccountFault::BindingRequired, problem } => {
                write!(f, "this CA wants an account that was made elsewhere; choose another one: {problem}")
            }
            Cause::Account { problem, .. } => write!(f, "the CA does not accept the account: {problem}"),
            Cause::Refused(problem) => write!(f, "the CA refused: {problem}"),
            Cause::Nonces => f.write_str("the CA refused each of its own nonces"),
            Cause::BadAnswer(text) => write!(f, "the CA's answer is of no use: {text}"),
            Cause::OrderLost(text) => write!(f, "the order is lost: {text}"),
            Cause::NotServed(text) => write!(f, "the answer is not in place: {text}"),
            Cause::NotKept(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode, header};

    use super::*;

    fn failure(step: Step, status: u16, kind: &str, detail: &str) -> Failure {
        let body = serde_json::json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": detail });
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, "60".parse().unwrap());
        let body = Bytes::from(body.to_string());
        Failure::from_reply(step, &Reply { status: StatusCode::from_u16(status).unwrap(), headers, body })
    }

    #[test]
    fn each_problem_has_its_class() {
        for (step, status, kind, blame) in [
            (Step::NewOrder, 429, "rateLimited", Blame::Rate),
            (Step::NewOrder, 403, "rateLimited", Blame::Rate),
            (Step::Finalize, 429, "somethingNew", Blame::Rate),
            (Step::NewOrder, 400, "rejectedIdentifier", Blame::Name),
            (Step::NewOrder, 400, "unsupportedIdentifier", Blame::Name),
            (Step::NewOrder, 400, "malformed", Blame::Name),
            (Step::Finalize, 400, "malformed", Blame::Name),
            (Step::Finalize, 403, "caa", Blame::Site),
            (Step::NewOrder, 400, "accountDoesNotExist", Blame::Account),
            (Step::NewOrder, 403, "userActionRequired", Blame::Account),
            (Step::NewOrder, 401, "unauthorized", Blame::Account),
            (Step::Account, 403, "externalAccountRequired", Blame::Account),
            (Step::Account, 400, "invalidContact", Blame::Account),
            (Step::NewOrder, 500, "serverInternal", Blame::Ca),
            (Step::Validation, 503, "somethingNew", Blame::Ca),
            (Step::Finalize, 403, "orderNotReady", Blame::Name),
            (Step::Nonce, 400, "malformed", Blame::Ca),
        ] {
            let failure = failure(step, status, kind, "why");
            assert_eq!(failure.blame(), blame, "{failure:?}");
            assert!(failure.to_string().contains("why"), "{failure}");
        }
    }

    #[test]
    fn an_answer_without_a_reason_has_a_class_by_its_status() {
        for (status, blame) in
            [(429, Blame::Rate), (500, Blame::Ca), (503, Blame::Ca), (302, Blame::Ca), (404, Blame::Ca)]
        {
            let (headers, body) = (HeaderMap::new(), Bytes::from_static(b"<html>"));
            let reply = Reply { status: StatusCode::from_u16(status).unwrap(), headers, body };
            assert_eq!(Failure::from_reply(Step::Directory, &reply).blame(), blame, "{status}");
        }
    }

    #[test]
    fn a_rate_limit_says_what_and_until_when() {
        let until = Some(RetryAfter::At(UNIX_EPOCH + Duration::from_secs(1_767_323_045)));
        let minute = Some(RetryAfter::In(Duration::from_secs(60)));
        let name = || Domain::parse("example.com").ok();
        for (sentence, limit, retry) in [
            (
                "too many new registrations (10) from this IP address in the last 3h0m0s, retry after 2026-01-02 03:04:05 UTC: see",
                Limit::Accounts,
                until,
            ),
            (
                "too many new orders (300) from this account in the last 3h0m0s, retry after 2026-01-02 03:04:05 UTC",
                Limit::Orders,
                until,
            ),
            (
                "too many certificates (50) already issued for \"example.com\" in the last 168h0m0s, retry after 2026-01-02 03:04:05 UTC",
                Limit::RegisteredDomain(name()),
                until,
            ),
            (
                "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, retry after 2026-01-02 03:04:05 UTC",
                Limit::ExactSet,
                until,
            ),
            (
                "too many failed authorizations (5) for \"example.com\" in the last 1h0m0s, retry after 2026-01-02 03:04:05 UTC",
                Limit::Failures,
                until,
            ),
            (
                "Your account is temporarily prevented from requesting certificates for example.com. Please visit https://ca/unpause",
                Limit::Paused,
                minute,
            ),
            ("Service busy; too many requests, retry later", Limit::Requests, minute),
            ("the moon is full", Limit::Other, minute),
        ] {
            let Failure { cause: Cause::RateLimited { limit: found, retry: when, .. }, .. } =
                failure(Step::NewOrder, 429, "rateLimited", sentence)
            else {
                panic!("{sentence}")
            };
            assert_eq!((found, when), (limit, retry), "{sentence}");
        }
    }
}
