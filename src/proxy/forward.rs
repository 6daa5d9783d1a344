//! The header rules, once for every front door.
//!
//! A request goes through [`prepare_request`] on its way to the backend; the answer's head is judged by [`check_response`] and
//! goes through [`clean_response`]; trailers of either pass [`clean_trailers`]. The order within a request is fixed (B76):
//! collect what `Connection` names, remove it and the hop-by-hop fields, remove the client's forwarding fields and their
//! look-alikes, set ours, set the framing.
//!
//! Never here: a socket, a clock, a route, or a second place that decides on a field (P16).

mod names;
mod request;
mod response;
mod trailers;

use http::{
    HeaderMap,
    header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue},
};

pub use request::{Body, Outcome, Peer, RequestFacts, Scheme, Sending, Via, host, origin_form, prepare_request};
pub use response::{BadResponse, Client, ResponseFraming, check_response, clean_response};
pub use trailers::clean_trailers;

use crate::proxy::head::read_length;

/// Fields that `Connection` may name without effect: a client could else strip a request of what the app's safety rests on
/// (B78). Ours are set after the removal.
const KEPT: [&str; 6] = ["host", "content-length", "content-type", "authorization", "cookie", "origin"];

/// What the `Connection` lines of a message say; every line counts, in any case (B77).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Options {
    upgrade: bool,
    /// Fields are named that the fixed set does not remove anyway.
    names: bool,
}

impl Options {
    fn read(headers: &HeaderMap) -> Self {
        let mut options = Self::default();
        for option in headers.get_all(CONNECTION).iter().flat_map(items) {
            if option.eq_ignore_ascii_case(b"upgrade") {
                options.upgrade = true;
            } else if !option.eq_ignore_ascii_case(b"keep-alive") && !option.eq_ignore_ascii_case(b"close") {
                options.names |= !option.is_empty();
            }
        }
        options
    }

    /// Removes what the `Connection` lines name.
    fn remove_named(self, headers: &mut HeaderMap) {
        if !self.names {
            return;
        }
        let lines: Vec<HeaderValue> = headers.get_all(CONNECTION).iter().cloned().collect();
        for option in lines.iter().flat_map(items) {
            if let Ok(name) = std::str::from_utf8(option)
                && !KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
            {
                headers.remove(name);
            }
        }
    }
}

/// The items of a comma-separated list, without blanks around them (RFC 9110, 5.6.1).
fn items(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

/// Removes every field whose name `is_doomed`, without memory of its own in the usual case of a few.
fn remove_where(headers: &mut HeaderMap, is_doomed: impl Fn(&str) -> bool) {
    loop {
        let mut doomed: [Option<HeaderName>; 8] = Default::default();
        let found = headers.keys().filter(|name| is_doomed(name.as_str())).cloned();
        let count = doomed.iter_mut().zip(found).map(|(place, name)| *place = Some(name)).count();
        for name in doomed.iter().flatten() {
            headers.remove(name);
        }
        if count < doomed.len() {
            return;
        }
    }
}

/// Sets the length, in one line of plain digits (P15); a line that is so already stays.
fn set_length(headers: &mut HeaderMap, length: u64) {
    let mut lines = headers.get_all(CONTENT_LENGTH).iter();
    let is_set = lines.next().is_some_and(|line| {
        let digits = line.as_bytes();
        read_length(digits) == Some(length) && (digits.len() == 1 || !digits.starts_with(b"0"))
    });
    if !is_set || lines.next().is_some() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Fields as a test writes them.
#[cfg(test)]
fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}
