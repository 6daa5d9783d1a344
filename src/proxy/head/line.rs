//! The request line: method, target, version (P4, P8).

use std::str;

use http::{Uri, Version};
use memchr::memchr;

use super::bytes::{Class, class, is_token};
use crate::{domain::Authority, limits::TARGET_BYTES_MAX, proxy::refusal::Refusal};

/// A request line, with what follows it.
pub(super) struct RequestLine<'a> {
    /// The authority of an absolute target.
    pub(super) authority: Option<Authority>,
    pub(super) version: Version,
    /// What follows the line.
    pub(super) rest: &'a [u8],
}

impl<'a> RequestLine<'a> {
    /// Reads the line at the start of `head`, at most one empty line before it (P3, P4).
    pub(super) fn read(head: &'a [u8]) -> Result<Self, Refusal> {
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
        Ok(Self { authority, version, rest })
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
    // The `http` crate has its own idea of an authority; this form is rare, so it is simply asked.
    Uri::try_from(target).map_err(|_| Refusal::Target)?;
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
