//! Why a request is refused before anything of it reaches a backend.
//!
//! One list for every front door and every parser: [`head`](super::head) and [`chunks`](super::chunks) give a reason,
//! [`pages`](super::pages) turns it into an answer. A refusal is final: there is no second, milder parser (P33), the answer
//! closes the connection, and no byte after the refused one is ever read as a request.

use std::fmt;

use http::StatusCode;

/// What is wrong with a request, and with that the status of the answer (B157).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The first byte is that of a TLS record: a ClientHello on the port of plain HTTP (B63). 400.
    TlsOnPlainPort,
    /// More than one empty line before the request line (P3). 400.
    EmptyLines,
    /// A line feed without a carriage return before it (P2, B45). 400.
    BareLf,
    /// A carriage return without a line feed after it (P2, B45). 400.
    BareCr,
    /// A NUL or another control character (P6, B45). 400.
    Control,
    /// The request line is not `method SP target SP version` (P4). 400.
    RequestLine,
    /// The method is no token (P4). 400.
    Method,
    /// The target is in none of the forms of RFC 9112, 3.2, or has a character that must be percent-encoded (P8, B258). 400.
    Target,
    /// An absolute target whose scheme is neither http nor https (B58). 400.
    TargetScheme,
    /// `user@` in the target (B65). 400.
    Userinfo,
    /// `*` with another method than OPTIONS (B59). 400.
    Asterisk,
    /// A line that begins with a blank: the folding that RFC 9112, 5.2 forbids (P5, B46). 400.
    FoldedLine,
    /// A blank between a field's name and its colon (P5, B46). 400.
    BlankBeforeColon,
    /// A field name that is empty or no token, or a line without a colon (P5, B46). 400.
    FieldName,
    /// A value that begins or ends with a blank, on HTTP/2, where that is malformed (RFC 9113, 8.2.1; B70). 400.
    PaddedValue,
    /// HTTP/1.1 without `Host` (P7, B64). 400.
    NoHost,
    /// More than one `Host` line, even if equal (P7, B64). 400.
    TwoHosts,
    /// A `Host` that is empty or no `host [ ":" port ]` (P7, B9, B64, B65). 400.
    BadHost,
    /// `:authority` and `host` name two hosts (B66). 400.
    HostMismatch,
    /// `Content-Length` beside `Transfer-Encoding` (P9, B42). 400.
    LengthAndEncoding,
    /// A `Content-Length` that is not one number of 63 bits in plain digits (P12, B44). 400.
    BadLength,
    /// More than one `Content-Length` line, even if equal (P12, B44). 400.
    TwoLengths,
    /// A `Transfer-Encoding` that is no single coding: a list, a repeat, a parameter, nothing (P11, B43). 400.
    BadEncoding,
    /// `Transfer-Encoding` in HTTP/1.0 (P11, B43). 400.
    EncodingInHttp10,
    /// A chunk size that is not 1 to 16 hexadecimal digits within 63 bits (P13, B47). 400.
    ChunkSize,
    /// No CRLF where a chunk or its size line must end (P13). 400.
    ChunkEnd,
    /// More bytes of chunk extensions than one body may have, or a control character in them (P13, B48). 400.
    ChunkExtensions,
    /// The client has ended its side before the body's end (RFC 9112, 8). 400.
    BodyCut,
    /// A trailer section that is too long or has too many fields (P14, B48). 400.
    TrailersTooLong,
    /// A trailer field about framing, routing or the connection (P14). 400.
    TrailerField,
    /// A target beyond its limit (B55). 414.
    TargetTooLong,
    /// A head beyond its limit of bytes (B55). 431.
    HeadTooLong,
    /// A head beyond its limit of fields (B55). 431.
    TooManyFields,
    /// CONNECT or TRACE (B60). 501.
    UnservedMethod,
    /// A transfer coding other than `chunked` (P11, B43). 501.
    UnservedEncoding,
    /// Neither HTTP/1.1 nor HTTP/1.0; HTTP/0.9 and the preface of HTTP/2 in clear text included (P4, B52, B62). 505.
    Version,
}

impl Refusal {
    /// The status of the answer.
    pub fn status(self) -> StatusCode {
        match self {
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLong | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnservedMethod | Self::UnservedEncoding => StatusCode::NOT_IMPLEMENTED,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What is wrong, in one sentence without its full stop.
    pub fn reason(self) -> &'static str {
        match self {
            Self::TlsOnPlainPort => "this is the port of plain HTTP, and the bytes are a TLS handshake",
            Self::EmptyLines => "there are empty lines where the request line should be",
            Self::BareLf => "a line ends in LF alone; lines end in CR LF",
            Self::BareCr => "there is a CR without LF",
            Self::Control => "there is a control character in the head",
            Self::RequestLine => "the first line is not a method, a target and a version with one blank between them",
            Self::Method => "the method has a character that no method can have",
            Self::Target => "the target is malformed or has a character that must be percent-encoded",
            Self::TargetScheme => "the target's scheme is neither http nor https",
            Self::Userinfo => "the target names a user before the host",
            Self::Asterisk => "the target * goes with OPTIONS only",
            Self::FoldedLine => "a header line begins with a blank",
            Self::BlankBeforeColon => "there is a blank between a header's name and its colon",
            Self::FieldName => "a header line has no valid name with a colon after it",
            Self::PaddedValue => "a header's value begins or ends with a blank",
            Self::NoHost => "the Host header is missing",
            Self::TwoHosts => "there is more than one Host header",
            Self::BadHost => "the Host header is not a host name with at most a port",
            Self::HostMismatch => "the request names two different hosts",
            Self::LengthAndEncoding => "there are both Content-Length and Transfer-Encoding",
            Self::BadLength => "Content-Length is not one plain number",
            Self::TwoLengths => "there is more than one Content-Length header",
            Self::BadEncoding => "Transfer-Encoding is not chunked alone",
            Self::EncodingInHttp10 => "HTTP/1.0 has no Transfer-Encoding",
            Self::ChunkSize => "a chunk has no valid size",
            Self::ChunkEnd => "a chunk does not end where its size says",
            Self::ChunkExtensions => "the chunk extensions are too long or malformed",
            Self::BodyCut => "the connection ends before the body does",
            Self::TrailersTooLong => "the trailer section is too long",
            Self::TrailerField => "a trailer field is one that only a head can have",
            Self::TargetTooLong => "the target is too long",
            Self::HeadTooLong => "the head is too long",
            Self::TooManyFields => "there are too many header lines",
            Self::UnservedMethod => "CONNECT and TRACE are not served here",
            Self::UnservedEncoding => "this transfer coding is not served here",
            Self::Version => "this HTTP version is not served here",
        }
    }

    /// What the sender can do about it, as a sentence; empty where the reason says it all.
    pub fn remedy(self) -> String {
        use crate::limits::{REQUEST_FIELDS_MAX, REQUEST_HEAD_BYTES_MAX, TARGET_BYTES_MAX};
        match self {
            Self::TlsOnPlainPort => "Use https:// with the HTTPS port, or http:// with this one.".into(),
            Self::TargetTooLong => format!("A target has at most {TARGET_BYTES_MAX} bytes."),
            Self::HeadTooLong => format!(
                "A head has at most {REQUEST_HEAD_BYTES_MAX} bytes. In a browser, delete the cookies of this site and try again."
            ),
            Self::TooManyFields => format!("A head has at most {REQUEST_FIELDS_MAX} header lines."),
            Self::UnservedEncoding => "Send the body chunked or with a Content-Length.".into(),
            Self::Version => "Use HTTP/1.1; HTTP/2 is spoken over TLS only.".into(),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Refusal {}
