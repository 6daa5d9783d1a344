//! A response's fields on the way back: judged first, then cleaned.

use std::fmt;

use http::{
    HeaderMap, Method, StatusCode, Version,
    header::{CONNECTION, CONTENT_LENGTH, HeaderValue, TRAILER, TRANSFER_ENCODING, UPGRADE},
};

use super::{Options, items, names, remove_where, set_length};
use crate::{limits::RESPONSE_FIELDS_MAX, proxy::head::read_length};

/// How a response's body is delimited (RFC 9112, 6.3; P25).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is none, whatever the fields say: HEAD, 1xx, 204, 304. Bytes that follow are surplus (B35, B99).
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// Until the backend closes (B101).
    UntilClose,
    /// The protocol that was asked for takes over (P22).
    Tunnel,
}

/// Which rule a response breaks: it is not relayed, the client gets a 502, and the connection is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BadResponse {
    /// Not HTTP/1.1 or HTTP/1.0 (B93).
    Version,
    /// A status outside 100–599 (B93).
    Status(u16),
    /// The head is malformed: what the parser refuses (B93).
    Malformed,
    /// More bytes than a head may have (B93).
    HeadTooLong,
    /// More fields than a head may have (B93).
    TooManyFields,
    /// `Content-Length` beside `Transfer-Encoding` (B91).
    LengthAndEncoding,
    /// A `Content-Length` that is no plain number (B91).
    BadLength,
    /// Lengths that differ (B91).
    DifferingLengths,
    /// A `Transfer-Encoding` other than one `chunked` (B92).
    BadEncoding,
    /// `Transfer-Encoding` in HTTP/1.0 (B92).
    EncodingInHttp10,
    /// A 101 that nobody asked for (B95).
    UnaskedUpgrade,
    /// A 101 to another protocol than asked for, or without naming it (B95).
    OtherUpgrade,
}

impl fmt::Display for BadResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "it is neither HTTP/1.1 nor HTTP/1.0",
            Self::Status(status) => return write!(f, "its status is {status}, outside 100 to 599"),
            Self::Malformed => "its head is malformed",
            Self::HeadTooLong => "its head is too long",
            Self::TooManyFields => "it has too many header lines",
            Self::LengthAndEncoding => "it has both Content-Length and Transfer-Encoding",
            Self::BadLength => "its Content-Length is not a plain number",
            Self::DifferingLengths => "it has Content-Length headers that differ",
            Self::BadEncoding => "its Transfer-Encoding is not chunked alone",
            Self::EncodingInHttp10 => "it is HTTP/1.0 and has a Transfer-Encoding",
            Self::UnaskedUpgrade => "it switches protocols, and nobody asked for it",
            Self::OtherUpgrade => "it switches to another protocol than asked for",
        })
    }
}

impl std::error::Error for BadResponse {}

/// Judges a response's head: `method` and `upgrade` are those of the request that went to the backend.
///
/// hyper leaves to us what it parses leniently: a length beside a coding, codings that are not chunked, a 101 (B254, B255).
pub fn check_response(
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
    method: &Method,
    upgrade: Option<&HeaderValue>,
) -> Result<ResponseFraming, BadResponse> {
    if version != Version::HTTP_11 && version != Version::HTTP_10 {
        return Err(BadResponse::Version);
    }
    if status.as_u16() > 599 {
        return Err(BadResponse::Status(status.as_u16()));
    }
    if headers.len() > RESPONSE_FIELDS_MAX {
        return Err(BadResponse::TooManyFields);
    }
    let is_chunked = check_encoding(version, headers)?;
    let length = check_lengths(headers)?;
    if is_chunked && length.is_some() {
        return Err(BadResponse::LengthAndEncoding);
    }
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return check_upgrade(version, headers, upgrade);
    }
    if *method == Method::HEAD || has_no_body(status) {
        return Ok(ResponseFraming::None);
    }
    Ok(match length {
        _ if is_chunked => ResponseFraming::Chunked,
        Some(length) => ResponseFraming::Length(length),
        None => ResponseFraming::UntilClose,
    })
}

fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

fn check_encoding(version: Version, headers: &HeaderMap) -> Result<bool, BadResponse> {
    let mut lines = headers.get_all(TRANSFER_ENCODING).iter();
    let Some(coding) = lines.next() else { return Ok(false) };
    if lines.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        // Beside a length the graver fault is named.
        let is_both = headers.contains_key(CONTENT_LENGTH);
        return Err(if is_both { BadResponse::LengthAndEncoding } else { BadResponse::BadEncoding });
    }
    if version == Version::HTTP_10 { Err(BadResponse::EncodingInHttp10) } else { Ok(true) }
}

/// The one length that all lines and list items agree on (RFC 9112, 6.3).
fn check_lengths(headers: &HeaderMap) -> Result<Option<u64>, BadResponse> {
    let mut agreed = None;
    for item in headers.get_all(CONTENT_LENGTH).iter().flat_map(items) {
        let length = read_length(item).ok_or(BadResponse::BadLength)?;
        if agreed.is_some_and(|agreed| agreed != length) {
            return Err(BadResponse::DifferingLengths);
        }
        agreed = Some(length);
    }
    Ok(agreed)
}

/// A 101 must switch to what was asked for (B95, B107).
fn check_upgrade(
    version: Version,
    headers: &HeaderMap,
    upgrade: Option<&HeaderValue>,
) -> Result<ResponseFraming, BadResponse> {
    let Some(asked) = upgrade.filter(|_| version == Version::HTTP_11) else {
        return Err(BadResponse::UnaskedUpgrade);
    };
    let mut protocols = headers.get_all(UPGRADE).iter().flat_map(items);
    let is_asked = protocols.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case(asked.as_bytes()));
    if is_asked && protocols.next().is_none() { Ok(ResponseFraming::Tunnel) } else { Err(BadResponse::OtherUpgrade) }
}

/// The client that an answer goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// The version that it speaks.
    pub version: Version,
    /// It takes trailers; see [`Sending`](super::Sending).
    pub accepts_trailers: bool,
}

/// Cleans a response's fields for the client (B89, B90, B105). `framing` is what [`check_response`] found, `upgrade` the
/// protocol that was asked for.
///
/// What the framing towards the client is, its front door decides: chunked or until close where no length is left. `Date` is
/// hyper's (P30).
pub fn clean_response(
    headers: &mut HeaderMap,
    status: StatusCode,
    framing: ResponseFraming,
    client: Client,
    upgrade: Option<&HeaderValue>,
) {
    Options::read(headers).remove_named(headers);
    remove_where(headers, names::is_hop_by_hop);
    let takes_trailers = client.version >= Version::HTTP_11 && client.accepts_trailers;
    if framing != ResponseFraming::Chunked || !takes_trailers {
        // They will not follow (B73).
        headers.remove(TRAILER);
    }
    match framing {
        ResponseFraming::Length(length) => set_length(headers, length),
        ResponseFraming::None if status == StatusCode::NO_CONTENT || status.is_informational() => {
            // RFC 9110, 8.6.
            headers.remove(CONTENT_LENGTH);
        }
        // HEAD and 304 keep the length that they tell of (B99).
        ResponseFraming::None => {
            if let Ok(Some(length)) = check_lengths(headers) {
                set_length(headers, length);
            }
        }
        ResponseFraming::Chunked | ResponseFraming::UntilClose => {
            headers.remove(CONTENT_LENGTH);
        }
        ResponseFraming::Tunnel => {
            headers.remove(CONTENT_LENGTH);
            if let Some(protocol) = upgrade {
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(UPGRADE, protocol.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
