//! Step 4 of an exchange: the request gets to its backend, or it is known why not.
//!
//! A connection is reused or made; a port that refuses is waited for; what went wrong is repeated only where nothing can have
//! happened twice. Never here: a header rule, a byte of a body.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::{Exchange, Failure, backend, bad_response};
use crate::{
    limits::{HOLD, HOLD_UNPROVEN},
    proxy::{
        Proxy,
        body::{Upload, UploadState},
        forward::BadResponse,
        pages::{self, Problem},
        upstream::{DialError, Held, Lease, SendError},
    },
    routes::Rule,
};

/// What has been repeated already: each cause counts once.
#[derive(Debug, Default)]
struct Repeats {
    /// A kept connection had gone stale (B38).
    stale: bool,
    /// A fresh connection was reset: by an app that ends, whose connections nobody has taken yet (B29).
    reset: bool,
}

impl Repeats {
    /// Whether a request that failed on `lease` may be sent once more; asked only where it is safe.
    fn allow(&mut self, lease: &Lease, error: &SendError) -> bool {
        let done = match (lease.reused, error.reset) {
            (true, _) => &mut self.stale,
            (false, true) => &mut self.reset,
            (false, false) => return false,
        };
        !std::mem::replace(done, true)
    }
}

impl Exchange {
    /// Sends the request to the backend of `rule`, or of what the rule has become meanwhile, and waits for the head of the
    /// answer.
    pub(super) async fn send(
        &self,
        mut rule: Arc<Rule>,
        mut request: Request<Upload>,
        upload: &UploadState,
    ) -> Result<(Response<Incoming>, Lease, Arc<Rule>), Failure> {
        let repeatable = upload.complete.get() && is_idempotent(request.method());
        let mut repeats = Repeats::default();
        loop {
            rule = self.current(rule)?;
            let kept = if repeats.stale { None } else { self.proxy.upstreams.reuse(rule.port) };
            let mut lease = match kept {
                Some(lease) if repeatable || lease.is_alive().await => lease,
                Some(_) => continue,
                None => {
                    let (lease, now) = self.reach(rule, &mut repeats).await?;
                    rule = now;
                    lease
                }
            };
            // Getting the connection took a while. Once a change is acknowledged, nothing goes to the old port (B40).
            if !rule.is_current() {
                lease.give_back();
                continue;
            }
            let spare = repeatable.then(|| copy(&request));
            let mut error = match lease.send(request).await {
                Ok(response) => {
                    rule.prove();
                    return Ok((response, lease, rule));
                }
                Err(error) => error,
            };
            // What was never written may be sent again, whatever it is and whatever has arrived (B34, B38).
            let again = match error.unsent.take() {
                unsent @ Some(_) => unsent,
                None if error.responded => None,
                None => spare,
            };
            match again {
                Some(again) if repeats.allow(&lease, &error) => {
                    self.proxy.totals.retries.fetch_add(1, Ordering::Relaxed);
                    request = again;
                }
                _ => return Err(no_answer(&rule, lease.reused, &error).into()),
            }
        }
    }

    /// A new connection to the rule's backend: at once, or after holding (B21–B28). The rule may have changed meanwhile.
    async fn reach(&self, mut rule: Arc<Rule>, repeats: &mut Repeats) -> Result<(Lease, Arc<Rule>), Failure> {
        let Proxy { upstreams, holds, .. } = &*self.proxy;
        let arrived = Instant::now();
        let mut hold: Option<Hold> = None;
        loop {
            // A port under probe is tried by the probe alone.
            let silent = if hold.is_none() && holds.is_probing(rule.port) {
                holds.is_silent(rule.port)
            } else {
                if hold.is_some()
                    && let Some(lease) = upstreams.reuse(rule.port)
                {
                    rule.prove();
                    return Ok((lease, rule));
                }
                match upstreams.connect(rule.port).await {
                    Ok(lease) => {
                        rule.prove();
                        return Ok((lease, rule));
                    }
                    Err(DialError::Refused) => false,
                    Err(DialError::Silent) => true,
                    // Nothing was sent, so anything may be repeated.
                    Err(DialError::Reset) if !std::mem::replace(&mut repeats.reset, true) => continue,
                    Err(DialError::Reset) => return Err(Problem::ClosedAtOnce(backend(&rule)).into()),
                    Err(DialError::Exhausted(error)) => {
                        tracing::warn!(%error, "no connection to a backend for want of descriptors or ports");
                        return Err(Problem::NoDescriptors.into());
                    }
                    Err(DialError::Failed(error)) => {
                        tracing::warn!(domain = %rule.domain, port = %rule.port, %error, "cannot connect to the backend");
                        return Err(Problem::NothingListens(backend(&rule)).into());
                    }
                }
            };
            let entered = match &mut hold {
                Some(hold) => hold,
                None => hold.insert(Hold::enter(self, &rule, arrived)?),
            };
            rule = self.wait(rule, entered, silent).await?;
        }
    }

    /// Waits until the port has answered the probe, or the route has changed; then the caller tries.
    async fn wait(&self, rule: Arc<Rule>, hold: &mut Hold, silent: bool) -> Result<Arc<Rule>, Failure> {
        let Proxy { upstreams, holds, .. } = &*self.proxy;
        loop {
            let in_time = timeout_at(hold.deadline, holds.next_attempt(upstreams, rule.port, silent)).await.is_ok();
            if !rule.is_current() {
                let now = self.current(rule)?;
                hold.follow(self, &now)?;
                return Ok(now);
            }
            if !in_time {
                let silent = holds.is_silent(rule.port);
                let problem = if silent { Problem::NotAccepting } else { Problem::NothingListens };
                return Err(problem(backend(&rule)).into());
            }
            if !holds.is_probing(rule.port) {
                return Ok(rule);
            }
        }
    }
}

/// A request that waits for its backend.
struct Hold {
    arrived: Instant,
    deadline: Instant,
    place: Option<Held>,
}

impl Hold {
    fn enter(exchange: &Exchange, rule: &Arc<Rule>, arrived: Instant) -> Result<Self, Problem> {
        Ok(Self { arrived, deadline: arrived + hold_time(rule), place: Some(place(exchange, rule)?) })
    }

    /// The domain goes to another port now, and this request with it (B22). A new port gets the time of a new port, within
    /// the time of the whole hold.
    fn follow(&mut self, exchange: &Exchange, rule: &Arc<Rule>) -> Result<(), Problem> {
        // Given up first: where all places are taken, this one is the next.
        self.place = None;
        self.place = Some(place(exchange, rule)?);
        self.deadline = (Instant::now() + hold_time(rule)).min(self.arrived + HOLD);
        Ok(())
    }
}

fn place(exchange: &Exchange, rule: &Arc<Rule>) -> Result<Held, Problem> {
    exchange.proxy.holds.enter(rule).map_err(|_| Problem::TooManyWaiting(backend(rule)))
}

fn hold_time(rule: &Rule) -> Duration {
    if rule.is_proven() { HOLD } else { HOLD_UNPROVEN }
}

/// Methods that may be sent twice (RFC 9110, 9.2.2), without TRACE, which is never forwarded (B38).
fn is_idempotent(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE)
}

/// The same request once more; it has no body.
fn copy(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::new(None, None));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Why a backend that took the connection gave no answer that can be relayed.
fn no_answer(rule: &Rule, reused: bool, error: &SendError) -> Problem {
    tracing::debug!(domain = %rule.domain, port = %rule.port, cause = %error.cause, "no usable answer from the backend");
    let backend = backend(rule);
    if !error.responded {
        return if reused { Problem::Interrupted(backend) } else { Problem::ClosedAtOnce(backend) };
    }
    let first = &error.first_bytes;
    if !first.starts_with(b"HTTP/1.") && !b"HTTP/1.".starts_with(first) {
        return Problem::NotHttp(backend, pages::guess(first));
    }
    if error.is_flooded || error.cause.is_parse_too_large() {
        return bad_response(rule, BadResponse::HeadTooLong);
    }
    if !error.cause.is_parse() {
        return Problem::Interrupted(backend);
    }
    bad_response(rule, BadResponse::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B38.
    #[test]
    fn methods_that_may_be_repeated() {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
            assert!(is_idempotent(&method), "{method}");
        }
        for method in [Method::POST, Method::PATCH, Method::from_bytes(b"PROPFIND").unwrap()] {
            assert!(!is_idempotent(&method), "{method}");
        }
    }
}
