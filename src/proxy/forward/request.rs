//! A request's fields on the way to the backend.

use std::{fmt, net::IpAddr};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Uri, Version,
    header::{
        CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, HeaderName, HeaderValue, MAX_FORWARDS, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE, VIA,
    },
    uri::PathAndQuery,
};

use super::{Options, items, names, remove_where, set_length};
use crate::proxy::head::is_token;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// What the rules need to know beside the fields.
#[derive(Debug, Clone)]
pub struct RequestFacts<'a> {
    /// The method.
    pub method: &'a Method,
    /// The version that the client spoke.
    pub version: Version,
    /// Who sent it.
    pub peer: &'a Peer,
    /// How it came in.
    pub scheme: Scheme,
    /// Whom it is addressed to, as the client wrote it; see [`host`] (B11).
    pub host: HeaderValue,
    /// How its body will be framed.
    pub body: Body,
    /// How hotcore signs it.
    pub via: &'a Via,
}

/// What follows from the fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The fields are ready: send the request.
    Send(Sending),
    /// The request has been here before: 508 (B86). The fields are as they were.
    Loop,
    /// `OPTIONS` with `Max-Forwards: 0` ends here: 204 (B61). The fields are as they were.
    AnswerOptions,
}

/// What is to be remembered of a request's fields until its answer comes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sending {
    /// The protocol that the client wants to upgrade to and the backend is asked for (B106).
    pub upgrade: Option<HeaderValue>,
    /// The client takes trailers (B73).
    pub accepts_trailers: bool,
}

/// What the request's body is, as the front door knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// It has so many bytes.
    Length(u64),
    /// It ends when it ends.
    Unknown,
}

/// The scheme of the client's connection; never what the client says (B58, B80).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A client's address as it is written into fields: made once per connection, cheap to copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer(HeaderValue);

impl Peer {
    /// An IPv4 address that a dual-stack socket shows as IPv6 is written as what it is; IPv6 has no brackets, no zone, no
    /// port (B82).
    pub fn new(address: IpAddr) -> Self {
        Self(shared_value(address.to_canonical().to_string()))
    }

    /// The address as a field value.
    pub fn value(&self) -> &HeaderValue {
        &self.0
    }
}

/// How this process signs what it passes on: `1.1 hotcore-0123abcd` (RFC 9110, 7.6.3; B84).
#[derive(Debug, Clone)]
pub struct Via {
    token: String,
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
    http_3: HeaderValue,
}

impl Via {
    /// `number` is drawn at process start, so that two hotcores can be told apart.
    pub fn new(number: u32) -> Self {
        let token = format!("hotcore-{number:08x}");
        let value = |version: &str| shared_value(format!("{version} {token}"));
        Self { http_10: value("1.0"), http_11: value("1.1"), http_2: value("2"), http_3: value("3"), token }
    }

    /// The line for a request that came in as `version`.
    pub fn value(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_2 => &self.http_2,
            Version::HTTP_3 => &self.http_3,
            Version::HTTP_10 => &self.http_10,
            _ => &self.http_11,
        }
    }

    /// Whether the request has passed this process before (B86).
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        headers.get_all(VIA).iter().flat_map(items).any(|entry| {
            let mut words = entry.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty());
            words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(self.token.as_bytes()))
        })
    }
}

/// A value that is copied by counting.
fn shared_value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Whom a request is addressed to, as the client wrote it: an absolute target's authority, else the `Host` field (B11, B58).
/// `None` only in HTTP/1.0 without `Host`.
pub fn host(target: &Uri, headers: &HeaderMap) -> Option<HeaderValue> {
    match target.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => headers.get(HOST).cloned(),
    }
}

/// The target as the backend gets it: path and query byte for byte, `/` for an empty path, `*` as it is (B57, B58, B253).
pub fn origin_form(target: Uri) -> Uri {
    if target.authority().is_none() && target.scheme().is_none() {
        return target;
    }
    // Made anew: the path may be empty within (`http://a.com#b`), and would be written so.
    let path = target.path_and_query().map_or("/", PathAndQuery::as_str);
    let slash = if path.starts_with('/') || path == "*" { "" } else { "/" };
    PathAndQuery::try_from(format!("{slash}{path}")).map(Uri::from).unwrap_or_default()
}

/// Applies the rules of the way to the backend, in their order (B76). What the caller then sends is HTTP/1.1 with
/// [`origin_form`] of the target.
pub fn prepare_request(headers: &mut HeaderMap, facts: &RequestFacts<'_>) -> Outcome {
    // Looked at before anything is removed: `Connection: Via` must not hide a ring.
    if facts.via.is_in(headers) {
        return Outcome::Loop;
    }
    if *facts.method == Method::OPTIONS && !count_forwards(headers) {
        return Outcome::AnswerOptions;
    }
    // 1. What `Connection` names, and what must be known before it goes.
    let options = Options::read(headers);
    let speaks_11 = facts.version >= Version::HTTP_11;
    let is_h1 = facts.version == Version::HTTP_11;
    let asks_for_trailers = speaks_11 && lists_trailers(headers);
    let sending = Sending {
        upgrade: if is_h1 && options.upgrade { wanted_upgrade(headers) } else { None },
        accepts_trailers: asks_for_trailers || facts.version >= Version::HTTP_2,
    };
    // 2. and 3.
    options.remove_named(headers);
    remove_where(headers, |name| {
        names::is_hop_by_hop(name) || name == EXPECT || names::is_forwarding(name) || names::is_look_alike(name)
    });
    if facts.version >= Version::HTTP_2 {
        join_cookies(headers);
    }
    // 4.
    headers.insert(X_FORWARDED_FOR, facts.peer.value().clone());
    headers.insert(X_REAL_IP, facts.peer.value().clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(facts.scheme.as_str()));
    headers.insert(X_FORWARDED_HOST, facts.host.clone());
    headers.insert(HOST, facts.host.clone());
    headers.append(VIA, facts.via.value(facts.version).clone());
    if let Some(protocol) = &sending.upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, protocol.clone());
    } else if asks_for_trailers {
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    // 5.
    set_framing(headers, facts.method, facts.body);
    Outcome::Send(sending)
}

/// `Max-Forwards` on OPTIONS (RFC 9110, 7.6.2; B61): `false` where it has come to its end. A value that is no number says
/// nothing.
fn count_forwards(headers: &mut HeaderMap) -> bool {
    let count = headers
        .get(MAX_FORWARDS)
        .and_then(|value| value.to_str().ok())
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|text| text.parse::<u64>().ok());
    match count {
        Some(0) => return false,
        Some(count) => {
            headers.insert(MAX_FORWARDS, HeaderValue::from(count - 1));
        }
        None => {}
    }
    true
}

/// The one protocol that the backend is asked for: `websocket` if it is listed, else a single other one; never one that would
/// carry requests past the header rules (B106).
fn wanted_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut others = headers.get_all(UPGRADE).iter().flat_map(items).filter(|protocol| is_passable(protocol));
    let first = others.next()?;
    let mut is_single = true;
    let mut is_websocket = first.eq_ignore_ascii_case(b"websocket");
    for other in others {
        is_single = false;
        is_websocket |= other.eq_ignore_ascii_case(b"websocket");
    }
    match (is_websocket, is_single) {
        // As the client wrote it where it wrote nothing else: some backends compare the case.
        (true, false) => Some(HeaderValue::from_static("websocket")),
        (_, true) => HeaderValue::from_bytes(first).ok(),
        (false, false) => None,
    }
}

/// A `protocol-name [ "/" protocol-version ]` that is neither HTTP nor TLS (RFC 9110, 7.8).
fn is_passable(protocol: &[u8]) -> bool {
    let mut parts = protocol.splitn(2, |&byte| byte == b'/');
    let name = parts.next().unwrap_or_default();
    let is_well_formed = !name.is_empty()
        && name.iter().all(|&byte| is_token(byte))
        && parts.next().is_none_or(|version| !version.is_empty() && version.iter().all(|&byte| is_token(byte)));
    let starts_with = |word: &[u8]| name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    // Drafts of HTTP/2 and HTTP/3 had names like h2c-14.
    is_well_formed
        && !starts_with(b"h2")
        && !starts_with(b"h3")
        && !name.eq_ignore_ascii_case(b"http")
        && !name.eq_ignore_ascii_case(b"tls")
}

/// Whether `TE` lists `trailers`, in any line, case and weight but zero (RFC 9110, 10.1.4; B71).
fn lists_trailers(headers: &HeaderMap) -> bool {
    headers.get_all(TE).iter().flat_map(items).any(|item| {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        parts.next().is_some_and(|name| name.eq_ignore_ascii_case(b"trailers"))
            && !parts.any(|weight| {
                weight.len() > 2
                    && weight.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(b"q="))
                    && weight.iter().skip(2).all(|byte| b"0.".contains(byte))
            })
    })
}

/// HTTP/2 may send `cookie` in crumbs; backends read one line (RFC 9113, 8.2.3; B69).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(mut value) = HeaderValue::from_maybe_shared(Bytes::from(joined)) {
        value.set_sensitive(true);
        headers.insert(COOKIE, value);
    }
}

/// The framing towards the backend: a length that is known, else chunked, and for no body nothing, but where a server would
/// wait for a length (B49, B50, B252).
fn set_framing(headers: &mut HeaderMap, method: &Method, body: Body) {
    match body {
        Body::None => {
            if matches!(*method, Method::POST | Method::PUT | Method::PATCH) {
                headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
            } else {
                headers.remove(CONTENT_LENGTH);
            }
        }
        Body::Length(length) => {
            set_length(headers, length);
        }
        Body::Unknown => {
            headers.remove(CONTENT_LENGTH);
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    if body != Body::Unknown {
        // It announces trailers that cannot follow (B79).
        headers.remove(TRAILER);
    }
}

#[cfg(test)]
mod tests;
