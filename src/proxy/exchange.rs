//! One request and its answer, in five steps: name → route → header rules → backend → header rules back.
//!
//! Every front door ends here. What goes wrong on the way becomes a page in one place, [`Exchange::answer`]; what the client
//! causes by leaving becomes silence.

mod delivery;

use std::{
    cell::{Cell, RefCell},
    fmt,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, request};
use hyper::body::{Body as _, Incoming};

use super::{
    Proxy,
    access::Access,
    body::{Answer, Upload, UploadState},
    connection::Conn,
    forward::{self, BadResponse, Body, Outcome, Peer, RequestFacts, ResponseFraming, Scheme, Sending},
    head::{Framing, Head},
    pages::{self, Backend, Problem},
    plain_door,
    turn::Turn,
    upstream::{Lease, Tunnel},
};
use crate::{
    domain::Domain,
    limits::{SWEEP, UPSTREAM_IDLE},
    routes::Rule,
};

/// What the requests of one connection share.
pub(super) struct Exchange {
    proxy: Rc<Proxy>,
    conn: Rc<Conn>,
    /// The client's address as backends are told it.
    peer: Peer,
    /// The last rule, good for as long as it is current: most requests of a connection ask for the same name.
    memo: RefCell<Option<Arc<Rule>>>,
    /// Set when a 101 is on its way: what follows on this connection.
    tunnel: Cell<Option<Tunnel>>,
}

/// The client has left: nobody is there to be answered.
#[derive(Debug)]
pub(super) struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client has left")
    }
}

impl std::error::Error for Gone {}

/// Why there is no answer from the backend.
enum Failure {
    Page(Problem),
    /// OPTIONS that was to come no further than here (B61).
    Options,
    /// What plain HTTP is answered with where there are certificates (B164, B167).
    PlainDoor(Box<Response<Bytes>>),
    Gone,
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Page(problem)
    }
}

impl Exchange {
    pub(super) fn new(proxy: Rc<Proxy>, conn: Rc<Conn>) -> Self {
        let peer = Peer::new(conn.peer());
        Self { proxy, conn, peer, memo: RefCell::new(None), tunnel: Cell::new(None) }
    }

    pub(super) fn conn(&self) -> &Rc<Conn> {
        &self.conn
    }

    /// What follows the 101 that was just sent, if it was one.
    pub(super) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.take()
    }

    /// Answers one request. `Err` when nobody waits for the answer any more: the connection, or the stream, ends.
    pub(super) async fn answer(&self, turn: Turn, request: Request<Incoming>) -> Result<Response<Answer>, Gone> {
        self.proxy.totals.requests.fetch_add(1, Ordering::Relaxed);
        let (parts, body) = request.into_parts();
        let accept = parts.headers.get(header::ACCEPT).cloned();
        let mut access = self.proxy.access_log.then(|| Box::new(self.access(&turn, &parts)));
        // The server of HTTP/1.1 leaves a page out by itself; that of HTTP/2 sends what it gets (B161).
        let leaves_page_out = parts.method == Method::HEAD && turn.stream().is_some();
        let trimmed = |page: Response<Bytes>| if leaves_page_out { page.map(|_| Bytes::new()) } else { page };
        let upload = Upload::new((!body.is_end_stream()).then_some(body), turn.stream());
        let state = upload.state();
        match self.try_answer(&turn, parts, upload, &mut access).await {
            Ok(response) => Ok(response),
            Err(Failure::Options) => Ok(own(turn, pages::options_answer(), &state, access)),
            Err(Failure::PlainDoor(page)) => Ok(own(turn, trimmed(*page), &state, access)),
            Err(Failure::Gone) => Err(Gone),
            Err(Failure::Page(problem)) => {
                // A refusal that the guard or the sweep noted meanwhile is the cause of what went wrong here.
                let problem = match turn.take_refusal() {
                    Some(refusal) => refusal,
                    // The client has left in the middle of its upload: nothing else went wrong.
                    None if state.broken.get() => return Err(Gone),
                    None => problem,
                };
                Ok(own(turn, trimmed(pages::answer(&problem, accept.as_ref())), &state, access))
            }
        }
    }

    async fn try_answer(
        &self,
        turn: &Turn,
        mut parts: request::Parts,
        upload: Upload,
        access: &mut Option<Box<Access>>,
    ) -> Result<Response<Answer>, Failure> {
        if let Some(problem) = turn.take_refusal() {
            return Err(problem.into());
        }
        let Some(head) = turn.take_head() else { return Err(Failure::Gone) };
        self.answer_challenge(&head, &parts)?;
        let rule = self.route(&head, &parts)?;
        self.send_to_https(&head, &parts)?;
        let sending = self.prepare(&mut parts, &head, &rule)?;

        let (method, version) = (parts.method.clone(), head.version);
        let state = upload.state();
        let request = Request::from_parts(parts, upload);
        let (response, lease, rule) = self.send(rule, request, &state).await?;
        let asked = Asked { rule, method, version, sending, upload: state };
        self.relay(turn, response, lease, asked, access.take())
    }

    // ---- before and between: what certificates make of plain HTTP ----

    /// First of all, mapped or not (B167).
    fn answer_challenge(&self, head: &Head, parts: &request::Parts) -> Result<(), Failure> {
        let Some(token) = plain_door::token(parts) else { return Ok(()) };
        let domain = head.authority.as_ref().and_then(|authority| authority.domain.as_ref());
        let own = domain.filter(|domain| self.conn.secured_for().is_none_or(|own| own == *domain));
        let answer = own.and_then(|domain| self.proxy.plain_door.challenge(domain, token));
        answer.map_or(Ok(()), |answer| Err(Failure::PlainDoor(Box::new(answer))))
    }

    /// A mapped name that has had a certificate (B164).
    fn send_to_https(&self, head: &Head, parts: &request::Parts) -> Result<(), Failure> {
        let authority = head.authority.as_ref().filter(|_| self.conn.secured_for().is_none());
        let answer = authority.and_then(|authority| self.proxy.plain_door.redirect(authority, parts));
        answer.map_or(Ok(()), |answer| Err(Failure::PlainDoor(Box::new(answer))))
    }

    // ---- step 1 and 2: name and route ----

    fn route(&self, head: &Head, parts: &request::Parts) -> Result<Arc<Rule>, Problem> {
        let Some(authority) = &head.authority else { return Err(Problem::NoName) };
        // Before anything is looked up: whether another name has a rule is not this connection's business (B67).
        if self.conn.secured_for().is_some_and(|own| authority.domain.as_ref() != Some(own)) {
            return Err(Problem::Misdirected { name: name_as_written(parts) });
        }
        let Some(domain) = &authority.domain else {
            return Err(Problem::UnknownName { name: name_as_written(parts), domain: None });
        };
        let mut memo = self.memo.borrow_mut();
        if let Some(rule) = memo.as_ref()
            && rule.is_current()
            && rule.domain == *domain
        {
            return self.check_port(rule.clone());
        }
        let rule = self.find(domain)?;
        *memo = Some(rule.clone());
        self.check_port(rule)
    }

    fn find(&self, domain: &Domain) -> Result<Arc<Rule>, Problem> {
        self.proxy
            .table
            .find(domain)
            .ok_or_else(|| Problem::UnknownName { name: domain.to_string(), domain: Some(domain.clone()) })
    }

    /// The rule as it is now (B22, B40).
    fn current(&self, rule: Arc<Rule>) -> Result<Arc<Rule>, Problem> {
        if rule.is_current() { Ok(rule) } else { self.check_port(self.find(&rule.domain)?) }
    }

    fn check_port(&self, rule: Arc<Rule>) -> Result<Arc<Rule>, Problem> {
        if self.proxy.own_ports.contains(&rule.port.number()) {
            return Err(Problem::OwnPort(backend(&rule)));
        }
        Ok(rule)
    }

    // ---- step 3: header rules ----

    fn prepare(&self, parts: &mut request::Parts, head: &Head, rule: &Rule) -> Result<Sending, Failure> {
        let facts = RequestFacts {
            method: &parts.method,
            version: parts.version,
            peer: &self.peer,
            scheme: if self.conn.secured_for().is_some() { Scheme::Https } else { Scheme::Http },
            host: forward::host(&parts.uri, &parts.headers).unwrap_or(HeaderValue::from_static("")),
            body: match head.framing {
                Framing::None => Body::None,
                Framing::Length(length) => Body::Length(length),
                Framing::Chunked => Body::Unknown,
            },
            via: &self.proxy.via,
        };
        let sending = match forward::prepare_request(&mut parts.headers, &facts) {
            Outcome::Send(sending) => sending,
            Outcome::Loop => return Err(Problem::Loop { domain: rule.domain.clone() }.into()),
            Outcome::AnswerOptions => return Err(Failure::Options),
        };
        // The client's connection and the backend's live their own lives: HTTP/1.1 and origin form, whatever came in
        // (B52, B58).
        parts.uri = forward::origin_form(std::mem::take(&mut parts.uri));
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        Ok(sending)
    }

    // ---- step 5: header rules back ----

    fn relay(
        &self,
        turn: &Turn,
        response: Response<Incoming>,
        mut lease: Lease,
        asked: Asked,
        access: Option<Box<Access>>,
    ) -> Result<Response<Answer>, Failure> {
        let (mut parts, body) = response.into_parts();
        let upgrade = asked.sending.upgrade.as_ref();
        let framing = forward::check_response(parts.status, parts.version, &parts.headers, &asked.method, upgrade)
            .map_err(|broken| bad_response(&asked.rule, broken))?;
        lease.limit_idle_life(idle_life(parts.version, &parts.headers));
        let client = forward::Client { version: asked.version, accepts_trailers: asked.sending.accepts_trailers };
        forward::clean_response(&mut parts.headers, parts.status, framing, client, upgrade);
        parts.version = Version::HTTP_11;
        turn.answer_begins();
        if framing == ResponseFraming::Tunnel {
            self.tunnel.set(Some(lease.into_tunnel()));
            let answer = Answer::page(Bytes::new(), turn.clone(), with_status(access, parts.status));
            return Ok(Response::from_parts(parts, answer));
        }
        // An answer may end before the upload does (B96).
        if turn.must_say_close(asked.upload.complete.get()) {
            parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // An end by FIN is the only sign of the end here, so a cut must not look like one (B100).
        let reset_if_cut = asked.version == Version::HTTP_10;
        let access = with_status(access, parts.status);
        let answer = Answer::relay(body, lease, asked.upload, reset_if_cut, turn.clone(), access);
        Ok(Response::from_parts(parts, answer))
    }

    fn access(&self, turn: &Turn, parts: &request::Parts) -> Access {
        if !turn.has_head() {
            return Access::refused(self.conn.peer());
        }
        Access::new(self.conn.peer(), parts.version, parts.method.clone(), &name_as_written(parts), &parts.uri)
    }
}

/// An answer of our own; the server leaves its body out for HEAD.
fn own(turn: Turn, response: Response<Bytes>, upload: &UploadState, access: Option<Box<Access>>) -> Response<Answer> {
    turn.answer_begins();
    let (mut parts, page) = response.into_parts();
    if turn.stream().is_some() {
        // There is no such thing on HTTP/2 (RFC 9113, 8.2.2).
        parts.headers.remove(header::CONNECTION);
    } else if turn.must_say_close(upload.complete.get()) {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let answer = Answer::page(page, turn, with_status(access, parts.status));
    Response::from_parts(parts, answer)
}

/// What is to be remembered of a request until its answer comes.
struct Asked {
    rule: Arc<Rule>,
    method: Method,
    version: Version,
    sending: Sending,
    upload: Rc<UploadState>,
}

fn bad_response(rule: &Rule, broken: BadResponse) -> Problem {
    tracing::warn!(domain = %rule.domain, port = %rule.port, "the backend's answer cannot be relayed: {broken}");
    Problem::BadResponse(backend(rule), broken)
}

fn backend(rule: &Rule) -> Backend {
    Backend { domain: rule.domain.clone(), port: rule.port }
}

/// For how long the backend keeps an idle connection, as far as it says so (B32); zero: it does not (B35).
fn idle_life(version: Version, headers: &HeaderMap) -> Duration {
    if version != Version::HTTP_11 {
        return Duration::ZERO;
    }
    let Some(value) = headers.get("keep-alive").and_then(|value| value.to_str().ok()) else { return UPSTREAM_IDLE };
    let timeout = value.split(',').find_map(|parameter| parameter.trim().strip_prefix("timeout="));
    // It closes at that very second: be gone before.
    let seconds = timeout.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    seconds.map_or(UPSTREAM_IDLE, |life: Duration| life.min(UPSTREAM_IDLE).saturating_sub(SWEEP))
}

fn with_status(access: Option<Box<Access>>, status: StatusCode) -> Option<Box<Access>> {
    access.map(|mut access| {
        access.status = status.as_u16();
        access
    })
}

fn name_as_written(parts: &request::Parts) -> String {
    let name = forward::host(&parts.uri, &parts.headers);
    name.map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(keep_alive: &'static str) -> Duration {
        let mut headers = HeaderMap::new();
        headers.insert("keep-alive", HeaderValue::from_static(keep_alive));
        idle_life(Version::HTTP_11, &headers)
    }

    /// B32.
    #[test]
    fn the_backends_keep_alive_shortens_the_idle_life_and_never_lengthens_it() {
        assert_eq!(idle_life(Version::HTTP_11, &HeaderMap::new()), UPSTREAM_IDLE);
        assert!(life("timeout=5, max=100") < UPSTREAM_IDLE, "gone before the backend closes");
        assert!(life("max=3, timeout=1") < Duration::from_secs(1));
        assert_eq!(life("timeout=0"), Duration::ZERO);
        assert_eq!(life("timeout=soon"), UPSTREAM_IDLE);
        assert!(life("timeout=99999999999999999999") <= UPSTREAM_IDLE);
    }

    /// B35.
    #[test]
    fn a_connection_to_an_http_10_backend_is_not_kept() {
        assert_eq!(idle_life(Version::HTTP_10, &HeaderMap::new()), Duration::ZERO);
    }
}
