//! The strict reader of a request head: every byte is judged here before a lenient parser sees it.
//!
//! hyper takes much that RFC 9112 forbids and some that is dangerous between two parsers (B246, B257). So a head is held back
//! until its end is known ([`find_end`]), judged as a whole ([`check`]), and passed on or refused. While it is incomplete,
//! [`check_partial`] says early what can only be refused. What passes here, hyper and httparse take as well, with the same
//! fields and the same end; the tests compare them.
//!
//! Never here: a socket, a clock, a second and milder try (P33), a panic, or work that grows faster than the bytes given.
//! The entry points are pure and fuzzed.

use std::str;

use http::Version;
use memchr::{memchr, memchr2};

use crate::{
    domain::Authority,
    limits::{REQUEST_FIELDS_MAX, REQUEST_HEAD_BYTES_MAX, TARGET_BYTES_MAX},
    proxy::refusal::Refusal,
};

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
    /// The client waits for `100 Continue` before it sends its body (RFC 9110, 10.1.1). Never set without a body, and never in
    /// HTTP/1.0, where the expectation means nothing.
    pub expects_continue: bool,
    /// The request asks for another protocol, by `Connection: upgrade` and `Upgrade`; never in HTTP/1.0 (P23).
    pub wants_upgrade: bool,
    /// The method is HEAD: the answer has no body.
    pub is_head: bool,
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
    let blank = memchr(b' ', line);
    let method = line.get(..blank.unwrap_or(line.len())).unwrap_or_default();
    let news = line.get(searched..).unwrap_or_default();
    if let Some(end) = method.get(searched..).and_then(|news| news.iter().position(|&byte| !is_token(byte)))
        // A CR at the very end may be half of a CRLF, of a line that is none.
        && (searched + end + 1 != line.len() || line.last() != Some(&b'\r'))
    {
        return Err(Refusal::Method);
    }
    match news.iter().position(|&byte| byte < b' ' || byte == 0x7f) {
        Some(at) if news.get(at) == Some(&b'\r') && at + 1 == news.len() => {}
        Some(at) if news.get(at) == Some(&b'\r') => return Err(Refusal::BareCr),
        Some(_) => return Err(Refusal::Control),
        None => {}
    }
    if searched > 0 && searched < line.len() && line.get(searched - 1) == Some(&b'\r') {
        return Err(Refusal::BareCr);
    }
    let target = blank.and_then(|blank| line.get(blank + 1..)).unwrap_or_default();
    let length = memchr2(b' ', b'\r', target).unwrap_or(target.len());
    if length > TARGET_BYTES_MAX { Err(Refusal::TargetTooLong) } else { Ok(()) }
}

/// Judges a complete head: from its first byte, one empty line before the request line included (P3), to the end that
/// [`find_end`] gave.
///
/// One pass, and no memory but for the name that the request is addressed to.
pub fn check(head: &[u8]) -> Result<Head, Refusal> {
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
    fields.conclude(&line)
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

/// A request line, with what follows it.
struct RequestLine<'a> {
    method: &'a [u8],
    /// The authority of an absolute target.
    authority: Option<Authority>,
    version: Version,
    rest: &'a [u8],
}

impl<'a> RequestLine<'a> {
    /// Reads the line at the start of `head`, at most one empty line before it (P3, P4).
    fn read(head: &'a [u8]) -> Result<Self, Refusal> {
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        match head {
            [0x16, ..] => return Err(Refusal::TlsOnPlainPort),
            [b'\r', b'\n', ..] => return Err(Refusal::EmptyLines),
            [b'\n', ..] => return Err(Refusal::BareLf),
            _ => {}
        }
        let end = memchr(b'\n', head).ok_or(Refusal::RequestLine)?;
        let (line, rest) = head.split_at_checked(end).ok_or(Refusal::RequestLine)?;
        let rest = rest.get(1..).unwrap_or_default();
        let line = line.strip_suffix(b"\r").ok_or(Refusal::BareLf)?;

        let (method, after) = split_at_blank(line).ok_or_else(|| fault(line, Refusal::RequestLine))?;
        if method.is_empty() {
            return Err(Refusal::RequestLine);
        }
        if !method.iter().all(|&byte| is_token(byte)) {
            return Err(fault(method, Refusal::Method));
        }
        let Some((target, version)) = split_at_blank(after) else {
            // `GET /path` alone is HTTP/0.9 (B52).
            let is_oldest = method == b"GET" && after.starts_with(b"/");
            return Err(fault(after, if is_oldest { Refusal::Version } else { Refusal::RequestLine }));
        };
        if target.len() > TARGET_BYTES_MAX {
            return Err(Refusal::TargetTooLong);
        }
        let version = match version {
            b"HTTP/1.1" => Version::HTTP_11,
            b"HTTP/1.0" => Version::HTTP_10,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', ..] if version.iter().all(u8::is_ascii_graphic) => {
                return Err(Refusal::Version);
            }
            _ => return Err(fault(version, Refusal::RequestLine)),
        };
        if method == b"CONNECT" || method == b"TRACE" {
            return Err(fault(target, Refusal::UnservedMethod));
        }
        let authority = read_target(method, target)?;
        Ok(Self { method, authority, version, rest })
    }
}

/// The bytes before and after the first blank.
fn split_at_blank(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, after) = bytes.split_at_checked(memchr(b' ', bytes)?)?;
    Some((before, after.get(1..)?))
}

/// The more telling of two faults: a control character in `bytes`, else `otherwise`.
fn fault(bytes: &[u8], otherwise: Refusal) -> Refusal {
    match bytes.iter().find(|&&byte| byte < b' ' || byte == 0x7f) {
        Some(b'\r') => Refusal::BareCr,
        Some(b'\t') | None => otherwise,
        Some(_) => Refusal::Control,
    }
}

/// Judges the target's form (RFC 9112, 3.2; P8, B58, B59, B65) and gives the authority of an absolute one.
fn read_target(method: &[u8], target: &[u8]) -> Result<Option<Authority>, Refusal> {
    match target {
        [b'/', ..] => {
            check_path(target)?;
            return Ok(None);
        }
        b"*" if method == b"OPTIONS" => return Ok(None),
        b"*" => return Err(Refusal::Asterisk),
        _ => {}
    }
    // Absolute form: a scheme is letters, digits, "+", "-" and "." up to "://".
    let colon = memchr(b':', target).ok_or_else(|| fault(target, Refusal::Target))?;
    let (scheme, after) = target.split_at_checked(colon).ok_or(Refusal::Target)?;
    let Some(after) = after.strip_prefix(b"://") else { return Err(fault(target, Refusal::Target)) };
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        let is_scheme = scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
        return Err(if is_scheme && !scheme.is_empty() { Refusal::TargetScheme } else { Refusal::Target });
    }
    let end = after.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(after.len());
    let (authority, path) = after.split_at_checked(end).ok_or(Refusal::Target)?;
    if memchr(b'@', authority).is_some() {
        return Err(Refusal::Userinfo);
    }
    check_path(path)?;
    let authority = Authority::parse(authority).map_err(|_| fault(authority, Refusal::Target))?;
    Ok(Some(authority))
}

/// Judges path and query: the bytes that the `http` crate takes too, so that the readable page wins over hyper's bare 400
/// (B162, B258). They pass byte for byte (B57).
fn check_path(path: &[u8]) -> Result<(), Refusal> {
    let (mut in_path, mut in_fragment, mut has_high) = (true, false, false);
    for &byte in path {
        match class(byte) {
            Class::Plain => {}
            Class::Query => in_path = false,
            Class::Fragment => in_fragment = true,
            Class::High => has_high = true,
            Class::Control => return Err(fault(path, Refusal::Target)),
            _ if in_fragment => {}
            Class::QueryOnly if !in_path => {}
            Class::PathOnly if in_path => {}
            Class::QueryOnly | Class::PathOnly | Class::Fenced => return Err(Refusal::Target),
        }
    }
    if has_high && str::from_utf8(path).is_err() { Err(Refusal::Target) } else { Ok(()) }
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
    says_upgrade: bool,
    has_upgrade: bool,
    expects_continue: bool,
}

impl<'a> Fields<'a> {
    fn note(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => set_once(&mut self.host, value, Refusal::TwoHosts)?,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.has_upgrade = true,
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
                7 if option.eq_ignore_ascii_case(b"upgrade") => self.says_upgrade = true,
                10 if option.eq_ignore_ascii_case(b"keep-alive") => self.says_keep_alive = true,
                _ => {}
            }
        }
    }

    fn conclude(self, line: &RequestLine<'_>) -> Result<Head, Refusal> {
        let is_11 = line.version == Version::HTTP_11;
        let framing = self.framing(is_11)?;
        let host = match self.host {
            Some(host) => Some(Authority::parse(host).map_err(|_| Refusal::BadHost)?),
            None if is_11 => return Err(Refusal::NoHost),
            None => None,
        };
        Ok(Head {
            version: line.version,
            framing,
            persistent: !self.says_close && (is_11 || self.says_keep_alive),
            expects_continue: self.expects_continue && is_11 && !matches!(framing, Framing::None | Framing::Length(0)),
            wants_upgrade: is_11 && self.says_upgrade && self.has_upgrade,
            is_head: line.method == b"HEAD",
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

/// What a byte is in a head. One table answers the questions of token, path and value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Fine anywhere in a target.
    Plain,
    /// `?`
    Query,
    /// `#`
    Fragment,
    /// A backtick: fine in a query.
    QueryOnly,
    /// A double quote: fine in a path.
    PathOnly,
    /// `<` and `>`: fine in a fragment only, which no backend sees.
    Fenced,
    /// Bytes from 0x80.
    High,
    /// Controls, DEL and the blank: never in a target.
    Control,
}

const CLASSES: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = match byte {
            0..=0x20 | 0x7f => Class::Control,
            0x80.. => Class::High,
            0x22 => Class::PathOnly,
            0x23 => Class::Fragment,
            0x3f => Class::Query,
            0x3c | 0x3e => Class::Fenced,
            0x60 => Class::QueryOnly,
            _ => Class::Plain,
        };
        byte += 1;
    }
    table
};

fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

const TOKENS: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    let mut byte: u8 = 0;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() {
            table[byte as usize] = true;
        }
        byte += 1;
    }
    table
};

/// Whether a token can have this byte (RFC 9110, 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    TOKENS[usize::from(byte)]
}

/// Where a field's value ends: the index of the first control character but HTAB. Bytes from 0x80 pass (P6).
fn value_end(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        if has_control(u64::from_le_bytes(*word))
            && let Some(offset) = word.iter().position(|&byte| is_control(byte))
        {
            return at * 8 + offset;
        }
    }
    words.len() * 8 + tail.iter().position(|&byte| is_control(byte)).unwrap_or(tail.len())
}

/// A control character that no field value can have.
pub(super) fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// Whether one of eight bytes is below 0x20, or DEL.
fn has_control(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let below_blank = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    let not_del = word ^ (ONES * 0x7f);
    let del = not_del.wrapping_sub(ONES) & !not_del & HIGHS;
    (below_blank | del) != 0
}
