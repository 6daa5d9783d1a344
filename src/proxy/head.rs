//! The strict reader of a request head: every byte is judged here before a lenient parser sees it.
//!
//! hyper takes much that RFC 9112 forbids and some that is dangerous between two parsers (B246, B257). So a head is held back
//! until its end is known ([`find_end`]), judged as a whole ([`check`]), and passed on or refused. While it is incomplete,
//! [`check_partial`] says early what can only be refused. What passes here, hyper and httparse take as well, with the same
//! fields and the same end; the tests compare them.
//!
//! Never here: a socket, a clock, a second and milder try (P33), a panic, or work that grows faster than the bytes given.
//! The entry points are pure and fuzzed.

mod bytes;
mod line;
#[cfg(test)]
mod tests;

use http::Version;
use memchr::memchr;

pub(super) use bytes::{is_control, is_token};

use crate::{
    domain::Authority,
    limits::{DOMAIN_BYTES_MAX, REQUEST_FIELDS_MAX, REQUEST_HEAD_BYTES_MAX, TARGET_BYTES_MAX},
    proxy::refusal::Refusal,
};
use bytes::value_end;
use line::RequestLine;

/// What the way of a request needs to know of its head before, and beside, hyper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// HTTP/1.1 or HTTP/1.0.
    pub version: Version,
    /// How the body is delimited, and with it where the message ends (RFC 9112, 6.3).
    pub framing: Framing,
    /// The client keeps the connection open after the answer: the default in HTTP/1.1 unless a `Connection` line says
    /// `close`, only with `keep-alive` in HTTP/1.0 (RFC 9112, 9.3).
    pub persistent: bool,
    /// What the request is addressed to: an absolute target's authority, else the `Host` field (P7, P8). `None` only in
    /// HTTP/1.0 without `Host` (B64).
    pub authority: Option<Authority>,
}

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is no body: neither length nor coding is given (P10).
    None,
    /// `Content-Length`, of 63 bits at most.
    Length(u64),
    /// `Transfer-Encoding: chunked`; follow it with [`Chunks`](super::chunks::Chunks).
    Chunked,
}

/// Where the head ends: the index after its empty line.
///
/// The first `searched` bytes were given before and had no end. An empty line that ends in a bare LF counts as well: such a
/// head is to be refused by [`check`], not to be waited for (P2).
pub fn find_end(bytes: &[u8], searched: usize) -> Option<usize> {
    // The LF of the last line may be one or two bytes back: "\n" or "\n\r" was all there was.
    let mut from = searched.saturating_sub(2);
    loop {
        let line = from + memchr(b'\n', bytes.get(from..)?)? + 1;
        match bytes.get(line..)? {
            [b'\n', ..] => return Some(line + 1),
            [b'\r', b'\n', ..] => return Some(line + 2),
            _ => from = line,
        }
    }
}

/// Judges a head that is not complete yet: `Err` if no byte that may follow can make it right.
///
/// The first `searched` bytes were judged before, so that a head that comes byte by byte costs no more than one that comes at
/// once. A head that is still incomplete at its limit is over it.
pub fn check_partial(bytes: &[u8], searched: usize) -> Result<(), Refusal> {
    let skipped = match bytes {
        [] | [b'\r'] => return Ok(()),
        [b'\r', b'\n', ..] => 2,
        [b'\r', ..] => return Err(Refusal::BareCr),
        _ => 0,
    };
    let rest = bytes.get(skipped..).unwrap_or_default();
    match memchr(b'\n', rest) {
        // Judged once, when it has just become whole.
        Some(end) if skipped + end >= searched => {
            RequestLine::read(bytes)?;
        }
        Some(_) => {}
        None => {
            if rest.first() == Some(&0x16) {
                return Err(Refusal::TlsOnPlainPort);
            }
            check_partial_line(rest, searched.saturating_sub(skipped))?;
        }
    }
    if bytes.len() >= REQUEST_HEAD_BYTES_MAX { Err(Refusal::HeadTooLong) } else { Ok(()) }
}

/// The same for a request line without its end.
fn check_partial_line(line: &[u8], searched: usize) -> Result<(), Refusal> {
    // A CR is fine as long as nothing follows it: so the last byte judged before is judged again.
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let searched = searched.saturating_sub(1).min(line.len());
    match line.iter().skip(searched).find(|&&byte| byte < b' ' || byte == 0x7f) {
        Some(b'\r') => return Err(Refusal::BareCr),
        Some(_) => return Err(Refusal::Control),
        None => {}
    }
    let blank = memchr(b' ', line);
    if blank == Some(0) {
        return Err(Refusal::RequestLine);
    }
    let method = line.get(..blank.unwrap_or(line.len())).unwrap_or_default();
    if !method.iter().skip(searched).all(|&byte| is_token(byte)) {
        return Err(Refusal::Method);
    }
    let target = blank.and_then(|blank| line.get(blank + 1..)).unwrap_or_default();
    let length = memchr(b' ', target).unwrap_or(target.len());
    if length > TARGET_BYTES_MAX { Err(Refusal::TargetTooLong) } else { Ok(()) }
}

/// Judges a complete head: from its first byte, one empty line before the request line included (P3), to the end that
/// [`find_end`] gave.
///
/// One pass, and no memory but for the name that the request is addressed to.
pub fn check(head: &[u8]) -> Result<Head, Refusal> {
    check_knowing(head, &mut LastHost::default())
}

/// The same on a connection that has had requests before, which saves reading the same name again.
pub fn check_knowing(head: &[u8], last: &mut LastHost) -> Result<Head, Refusal> {
    let line = RequestLine::read(head)?;
    if head.len() > REQUEST_HEAD_BYTES_MAX {
        return Err(Refusal::HeadTooLong);
    }
    let mut fields = Fields::default();
    let mut rest = line.rest;
    let mut count = 0;
    loop {
        match rest {
            [b'\r', b'\n'] => break,
            [b'\r', b'\n', ..] => return Err(Refusal::EmptyLines),
            [b'\r', ..] => return Err(Refusal::BareCr),
            [b'\n', ..] => return Err(Refusal::BareLf),
            [b' ' | b'\t', ..] => return Err(Refusal::FoldedLine),
            [] => return Err(Refusal::FieldName),
            _ => {}
        }
        count += 1;
        if count > REQUEST_FIELDS_MAX {
            return Err(Refusal::TooManyFields);
        }
        let line = FieldLine::read(rest)?;
        fields.note(line.name, line.value)?;
        rest = line.rest;
    }
    fields.conclude(&line, last)
}

/// The `Host` of a connection's last request: nearly always the next one's as well.
#[derive(Debug, Clone, Default)]
pub struct LastHost {
    text: Vec<u8>,
    authority: Option<Authority>,
}

impl LastHost {
    fn read(&mut self, host: &[u8]) -> Result<Authority, Refusal> {
        if self.text == host
            && let Some(authority) = &self.authority
        {
            return Ok(authority.clone());
        }
        let authority = Authority::parse(host).map_err(|_| Refusal::BadHost)?;
        // Longer ones are no names, and a connection keeps little (B153).
        if host.len() <= DOMAIN_BYTES_MAX {
            self.text.clear();
            self.text.extend_from_slice(host);
            self.authority = Some(authority.clone());
        }
        Ok(authority)
    }
}

/// A field line, with what follows it.
struct FieldLine<'a> {
    name: &'a [u8],
    /// Without outer blanks.
    value: &'a [u8],
    rest: &'a [u8],
}

impl<'a> FieldLine<'a> {
    /// Reads the line at the start of `rest` (P5, P6).
    fn read(rest: &'a [u8]) -> Result<Self, Refusal> {
        let colon = rest.iter().position(|&byte| !is_token(byte)).unwrap_or(rest.len());
        let (name, after) = rest.split_at_checked(colon).ok_or(Refusal::FieldName)?;
        let after = match after {
            [b':', after @ ..] if !name.is_empty() => after,
            [b' ' | b'\t', ..] if !name.is_empty() => return Err(blank_in_name(after)),
            [b'\r', b'\n', ..] => return Err(Refusal::FieldName),
            [b'\r', ..] => return Err(Refusal::BareCr),
            [b'\n', ..] => return Err(Refusal::BareLf),
            [byte, ..] if *byte < b' ' || *byte == 0x7f => return Err(Refusal::Control),
            _ => return Err(Refusal::FieldName),
        };
        let (value, after) = after.split_at_checked(value_end(after)).ok_or(Refusal::Control)?;
        match after {
            [b'\r', b'\n', rest @ ..] => Ok(Self { name, value: value.trim_ascii(), rest }),
            [b'\r', ..] => Err(Refusal::BareCr),
            [b'\n', ..] => Err(Refusal::BareLf),
            _ => Err(Refusal::Control),
        }
    }
}

/// Blanks after a name: before a colon they are the known trap, elsewhere the line is just none.
fn blank_in_name(after: &[u8]) -> Refusal {
    match after.trim_ascii_start() {
        [b':', ..] => Refusal::BlankBeforeColon,
        _ => Refusal::FieldName,
    }
}

/// The fields that decide about framing and the connection.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    encoding: Option<&'a [u8]>,
    has_two_encodings: bool,
    says_close: bool,
    says_keep_alive: bool,
}

impl<'a> Fields<'a> {
    fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => set_once(&mut self.host, value, Refusal::TwoHosts)?,
            10 if name.eq_ignore_ascii_case(b"connection") => self.note_connection(value),
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = read_length(value).ok_or(Refusal::BadLength)?;
                set_once(&mut self.length, length, Refusal::TwoLengths)?;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.has_two_encodings |= self.encoding.replace(value).is_some();
            }
            _ => {}
        }
        Ok(())
    }

    /// Every `Connection` line counts, in any case (B77).
    fn note_connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            match option.len() {
                5 if option.eq_ignore_ascii_case(b"close") => self.says_close = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.says_keep_alive = true,
                _ => {}
            }
        }
    }

    fn conclude(self, line: &RequestLine<'_>, last: &mut LastHost) -> Result<Head, Refusal> {
        let is_11 = line.version == Version::HTTP_11;
        let framing = self.framing(is_11)?;
        let host = match self.host {
            Some(host) => Some(last.read(host)?),
            None if is_11 => return Err(Refusal::NoHost),
            None => None,
        };
        Ok(Head {
            version: line.version,
            framing,
            persistent: !self.says_close && (is_11 || self.says_keep_alive),
            authority: line.authority.clone().or(host),
        })
    }

    fn framing(&self, is_11: bool) -> Result<Framing, Refusal> {
        match (self.length, self.encoding) {
            (None, None) => Ok(Framing::None),
            (Some(length), None) => Ok(Framing::Length(length)),
            (Some(_), Some(_)) => Err(Refusal::LengthAndEncoding),
            (None, Some(_)) if !is_11 => Err(Refusal::EncodingInHttp10),
            (None, Some(_)) if self.has_two_encodings => Err(Refusal::BadEncoding),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Framing::Chunked),
            (None, Some(coding)) if !coding.is_empty() && coding.iter().all(|&byte| is_token(byte)) => {
                Err(Refusal::UnservedEncoding)
            }
            (None, Some(_)) => Err(Refusal::BadEncoding),
        }
    }
}

fn set_once<T>(place: &mut Option<T>, value: T, otherwise: Refusal) -> Result<(), Refusal> {
    if place.replace(value).is_some() { Err(otherwise) } else { Ok(()) }
}

/// A `Content-Length`: digits only, of 63 bits at most (P12, B44).
pub(super) fn read_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let mut length: u64 = 0;
    for &byte in value {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return None;
        }
        length = length.checked_mul(10)?.checked_add(digit)?;
    }
    (length <= i64::MAX.unsigned_abs()).then_some(length)
}
