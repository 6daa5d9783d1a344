//! Every answer that hotcore writes itself, and nothing else does: a backend's own error pages are never replaced (B157).
//!
//! A page says what is wrong and what helps, to a person as HTML or text, to a program as JSON (B158). It shows the domain,
//! the port, the reason and the remedy; never a version, a path, another rule or a process (B159).
//!
//! Never here: a backend's bytes, an unescaped byte from outside, a script, a link to somewhere else.

mod accept;
mod guess;
mod html;
mod wire;

use std::fmt;

use bytes::Bytes;
use http::{
    HeaderMap, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, LOCATION,
        RETRY_AFTER, SERVER, X_CONTENT_TYPE_OPTIONS,
    },
};
use serde_json::json;

pub use guess::{Guess, guess};
pub use wire::{is_head_request, sniff, to_wire};

use crate::{
    domain::Domain,
    limits::{HTTPS_PORT, PAGE_QUOTE_BYTES_MAX},
    proxy::{forward::BadResponse, refusal::Refusal},
    routes::Port,
};
use accept::Kind;

/// What went wrong, with all that its page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The request itself: 400, 414, 431, 501 or 505.
    Refused(Refusal),
    /// HTTP in clear on the port of HTTPS (B63): 400.
    ClearText {
        /// Where the client may go instead, if that is known.
        site: Option<Site>,
    },
    /// The head did not come in time (B132): 408.
    HeadTimeout,
    /// The body stalled (B136): 408.
    BodyTimeout,
    /// No rule for the name (B10): 404.
    UnknownName {
        /// The name as the client wrote it.
        name: String,
        /// The same, where a rule for it is possible (B5, B9).
        domain: Option<Domain>,
    },
    /// HTTP/1.0 without `Host` (B64): 404.
    NoName,
    /// The name is not the one that this TLS connection is for (B67): 421.
    Misdirected {
        /// The name as the client wrote it.
        name: String,
    },
    /// Connections were refused until the hold was over (B20, B28): 502.
    NothingListens(Backend),
    /// Connections were neither taken nor refused until the hold was over (B18): 502.
    NotAccepting(Backend),
    /// A fresh connection ended before a byte of the answer (B29): 502.
    ClosedAtOnce(Backend),
    /// A connection ended before the answer, and the request cannot be repeated safely (B39): 502.
    Interrupted(Backend),
    /// The answer breaks a rule of HTTP (section 9): 502.
    BadResponse(Backend, BadResponse),
    /// The answer is not HTTP (B103): 502.
    NotHttp(Backend, Guess),
    /// Too many requests wait for the backend (B24): 503.
    TooManyWaiting(Backend),
    /// No file descriptor is left for a connection to the backend (B41): 503.
    NoDescriptors,
    /// The rule points to a port of hotcore itself (B30): 508.
    OwnPort(Backend),
    /// The request has been here before (B86): 508.
    Loop {
        /// The name that it is for.
        domain: Domain,
    },
}

/// Where a site is found over HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The name, as it is compared and shown, which need not be mapped.
    pub domain: Domain,
    /// The port of HTTPS.
    pub port: u16,
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { domain, port: HTTPS_PORT } => write!(f, "https://{domain}/"),
            Self { domain, port } => write!(f, "https://{domain}:{port}/"),
        }
    }
}

/// A rule's two sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The name.
    pub domain: Domain,
    /// The port that it goes to.
    pub port: Port,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Problem {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::ClearText { .. } => StatusCode::BAD_REQUEST,
            Self::HeadTimeout | Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UnknownName { .. } | Self::NoName => StatusCode::NOT_FOUND,
            Self::Misdirected { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::NothingListens(_)
            | Self::NotAccepting(_)
            | Self::ClosedAtOnce(_)
            | Self::Interrupted(_)
            | Self::BadResponse(..)
            | Self::NotHttp(..) => StatusCode::BAD_GATEWAY,
            Self::TooManyWaiting(_) | Self::NoDescriptors => StatusCode::SERVICE_UNAVAILABLE,
            Self::OwnPort(_) | Self::Loop { .. } => StatusCode::LOOP_DETECTED,
        }
    }

    /// The client's HTTP/1.1 connection must end after the answer, because where the message ends is in doubt or its rest
    /// is not coming (B161).
    pub fn closes(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::ClearText { .. } | Self::HeadTimeout | Self::BodyTimeout)
    }

    fn backend(&self) -> Option<&Backend> {
        match self {
            Self::NothingListens(backend)
            | Self::NotAccepting(backend)
            | Self::ClosedAtOnce(backend)
            | Self::Interrupted(backend)
            | Self::BadResponse(backend, _)
            | Self::NotHttp(backend, _)
            | Self::TooManyWaiting(backend)
            | Self::OwnPort(backend) => Some(backend),
            _ => None,
        }
    }

    /// The name that is shown, quoted.
    fn name(&self) -> Option<String> {
        match self {
            Self::UnknownName { name, .. } | Self::Misdirected { name } => Some(quote(name)),
            Self::Loop { domain } | Self::ClearText { site: Some(Site { domain, .. }) } => Some(quote(domain.as_str())),
            _ => self.backend().map(|backend| quote(backend.domain.as_str())),
        }
    }

    /// What is wrong: one sentence without its full stop.
    fn reason(&self) -> String {
        let name = self.name().unwrap_or_default();
        match self {
            Self::Refused(refusal) => refusal.reason().into(),
            Self::ClearText { .. } => "this port speaks HTTPS, and the request came in clear".into(),
            Self::HeadTimeout => "the request did not arrive in time".into(),
            Self::BodyTimeout => "the rest of the request did not arrive in time".into(),
            Self::UnknownName { .. } => format!("no app is mapped to {name} here"),
            Self::NoName => "the request does not say which site it is for".into(),
            Self::Misdirected { .. } => format!("this connection is not for {name}"),
            Self::NothingListens(backend) => format!("nothing listens on port {}", backend.port),
            Self::NotAccepting(backend) => format!("the program on port {} takes no new connections", backend.port),
            Self::ClosedAtOnce(backend) => {
                format!("the program on port {} closed the connection without an answer", backend.port)
            }
            Self::Interrupted(backend) => {
                format!("the program on port {} closed the connection before it answered", backend.port)
            }
            Self::BadResponse(backend, rule) => {
                format!("the answer from port {} is not valid HTTP: {rule}", backend.port)
            }
            Self::NotHttp(backend, guess) => format!("the program on port {} {}", backend.port, guess.finding()),
            Self::TooManyWaiting(_) => format!("too many requests wait for {name}"),
            Self::NoDescriptors => "there are too many open connections".into(),
            Self::OwnPort(backend) => {
                format!("{name} is mapped to port {}, where hotcore itself listens", backend.port)
            }
            Self::Loop { .. } => format!("requests for {name} come back to where they started"),
        }
    }

    /// What helps.
    fn remedy(&self) -> Remedy {
        match self {
            Self::Refused(refusal) => Remedy::say(refusal.remedy()),
            Self::ClearText { site: Some(site) } => Remedy::say(format!("Use {site} instead.")),
            Self::ClearText { site: None } => {
                Remedy::say("Use https:// with the name of the site, or the port of plain HTTP.")
            }
            Self::HeadTimeout | Self::BodyTimeout | Self::Misdirected { .. } => Remedy::say("Try again."),
            Self::UnknownName { domain: Some(domain), .. } => Remedy::run(
                "If this is your server, map the name to your app's port",
                format!("hotcore add {domain} PORT"),
            ),
            Self::UnknownName { domain: None, .. } => {
                Remedy::say("Sites are found by their domain name; this is not one that can be mapped.")
            }
            Self::NoName => Remedy::say("Send a Host header with the site's domain name."),
            Self::NothingListens(Backend { domain, port }) => Remedy::run(
                format!(
                    "Start the app for {domain} on port {port}. If it runs, it must listen on 127.0.0.1, ::1 or all \
                     addresses, not only on the address of a network or container. If it has another port, point the \
                     name there"
                ),
                format!("hotcore add {domain} PORT"),
            ),
            Self::NotAccepting(Backend { domain, .. }) => {
                Remedy::say(format!("The app for {domain} is overloaded or hangs: look at its log, or restart it."))
            }
            Self::ClosedAtOnce(Backend { domain, port }) => Remedy::say(format!(
                "Look at the log of the app for {domain}: it may have crashed. A container whose port {port} is published does \
                 this until the app inside listens on it, on all of the container's addresses."
            )),
            Self::Interrupted(Backend { domain, .. }) => Remedy::say(format!(
                "Whether it was carried out is not known, so it was not repeated. Look at the log of the app for {domain}."
            )),
            Self::BadResponse(Backend { domain, .. }, _) => {
                Remedy::say(format!("The app for {domain}, or what answers for it, must be mended."))
            }
            Self::NotHttp(Backend { domain, .. }, guess) => {
                Remedy::run(guess.remedy(), format!("hotcore add {domain} PORT"))
            }
            Self::TooManyWaiting(_) | Self::NoDescriptors => Remedy::say("Try again in a moment."),
            Self::OwnPort(Backend { domain, .. }) => {
                Remedy::run("Point the name to the port that the app listens on", format!("hotcore add {domain} PORT"))
            }
            Self::Loop { domain } => Remedy::run(
                "The program that this name is mapped to sends its requests here again. Point the name to the app itself",
                format!("hotcore add {domain} PORT"),
            ),
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::UnknownName { .. } | Self::NoName => "No such site here",
            Self::Misdirected { .. } => "Wrong connection",
            Self::ClearText { .. } => "This port speaks HTTPS",
            Self::HeadTimeout | Self::BodyTimeout => "Too slow",
            Self::TooManyWaiting(_) | Self::NoDescriptors => "Too busy",
            Self::OwnPort(_) | Self::Loop { .. } => "A loop",
            Self::Refused(_) => "This request cannot be served",
            _ => "The app does not answer",
        }
    }
}

/// What helps: a sentence, and perhaps a command to type.
struct Remedy {
    sentence: String,
    command: Option<String>,
}

impl Remedy {
    fn say(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), command: None }
    }

    fn run(sentence: impl Into<String>, command: String) -> Self {
        Self { sentence: sentence.into(), command: Some(command) }
    }

    fn text(&self) -> String {
        match &self.command {
            Some(command) => format!("{}: {command}", self.sentence),
            None => self.sentence.clone(),
        }
    }
}

/// The answer for `problem`, in the form that `accept`, the client's `Accept` field, prefers (B158).
///
/// `Connection: close` is set where [`Problem::closes`] says so; an HTTP/2 door takes it off, HEAD's door sends no body (B161).
pub fn answer(problem: &Problem, accept: Option<&HeaderValue>) -> Response<Bytes> {
    let status = problem.status();
    let kind = Kind::preferred(accept);
    let body = match kind {
        Kind::Html => html::page(problem.title(), status, &problem.reason(), &problem.remedy()),
        Kind::Json => {
            let name = problem.name();
            let port = problem.backend().map(|backend| backend.port.number());
            let text = json!({
                "status": status.as_u16(),
                "error": problem.reason(),
                "domain": name,
                "port": port,
                "remedy": problem.remedy().text(),
            });
            format!("{text}\n")
        }
        Kind::Text => {
            let remedy = problem.remedy().text();
            let gap = if remedy.is_empty() { "" } else { ". " };
            format!("{} {}{gap}{remedy}\n", status.as_str(), problem.reason())
        }
    };
    let mut response = own(status, kind, body);
    let headers = response.headers_mut();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if problem.closes() {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to OPTIONS with `Max-Forwards: 0` (B61): 204.
pub fn options_answer() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    sign(response.headers_mut());
    response
}

/// The answer that sends a client of plain HTTP to HTTPS: 308, which keeps method and body (B164, B166).
///
/// `Location` is built from the mapped name alone, never from what the client wrote as host; `path_and_query` passes byte for
/// byte, and one that begins with `//` stays a path (B165). `port` is given where it is not the usual one.
pub fn redirect(
    domain: &Domain,
    port: Option<u16>,
    path_and_query: &str,
    accept: Option<&HeaderValue>,
) -> Response<Bytes> {
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let path = if path_and_query.starts_with('/') { path_and_query } else { "/" };
    let location = HeaderValue::from_str(&format!("https://{domain}{port}{path}"))
        .or_else(|_| HeaderValue::from_str(&format!("https://{domain}{port}/")));
    let status = StatusCode::PERMANENT_REDIRECT;
    let kind = Kind::preferred(accept);
    let reason = format!("{domain} is served over HTTPS");
    let body = match kind {
        Kind::Html => html::page("This site uses HTTPS", status, &reason, &Remedy::say("Follow the redirect.")),
        Kind::Json => format!(
            "{}\n",
            json!({ "status": 308, "error": reason, "domain": domain.as_str(), "port": null, "remedy": "Follow the redirect." })
        ),
        Kind::Text => format!("308 {reason}\n"),
    };
    let mut response = own(status, kind, body);
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The answer to a certificate authority that shows a token of ours (B167; RFC 8555, 8.3).
pub fn challenge(key_authorization: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::copy_from_slice(key_authorization.as_bytes()));
    let length = response.body().len();
    let headers = response.headers_mut();
    sign(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A response of our own with a body.
fn own(status: StatusCode, kind: Kind, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    let length = response.body().len();
    let headers = response.headers_mut();
    sign(headers);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind.media_type()));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    if kind == Kind::Html {
        headers.insert(
            CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"),
        );
    }
    response
}

/// What all own answers carry, and only they carry `Server: hotcore` (B158, B160).
fn sign(headers: &mut HeaderMap) {
    headers.insert(SERVER, HeaderValue::from_static("hotcore"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// Text from outside: what is not printable ASCII is escaped, and the whole is cut at its limit (B159).
fn quote(text: &str) -> String {
    let mut quoted = String::new();
    for character in text.chars() {
        let start = quoted.len();
        if character.is_ascii_graphic() || character == ' ' {
            quoted.push(character);
        } else {
            quoted.extend(character.escape_default());
        }
        if quoted.len() > PAGE_QUOTE_BYTES_MAX {
            quoted.truncate(start);
            quoted.push('…');
            break;
        }
    }
    quoted
}

#[cfg(test)]
mod tests;
