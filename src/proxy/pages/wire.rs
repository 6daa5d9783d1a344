//! A page as bytes of HTTP/1.1, for requests that never became one: a refused head is answered before any server knows of it.

use bytes::Bytes;
use http::{HeaderMap, Response, header::HeaderValue};
use memchr::memchr;

use crate::limits::{REQUEST_FIELDS_MAX, REQUEST_HEAD_BYTES_MAX};

/// The answer's bytes, the body left out for HEAD (B161). `Date` is there if the caller has set it.
pub fn to_wire(response: &Response<Bytes>, is_head: bool) -> Bytes {
    let mut bytes = Vec::with_capacity(512 + response.body().len());
    bytes.extend_from_slice(b"HTTP/1.1 ");
    bytes.extend_from_slice(response.status().as_str().as_bytes());
    bytes.push(b' ');
    bytes.extend_from_slice(response.status().canonical_reason().unwrap_or("Error").as_bytes());
    bytes.extend_from_slice(b"\r\n");
    write_fields(response.headers(), &mut bytes);
    bytes.extend_from_slice(b"\r\n");
    if !is_head {
        bytes.extend_from_slice(response.body());
    }
    Bytes::from(bytes)
}

fn write_fields(headers: &HeaderMap, bytes: &mut Vec<u8>) {
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
}

/// Whether a refused head, complete or not, asks by HEAD.
pub fn is_head_request(head: &[u8]) -> bool {
    head.strip_prefix(b"\r\n").unwrap_or(head).starts_with(b"HEAD ")
}

/// A field of a head that is refused, as far as it can be found: it decides about what a page says and about nothing else. `name` is
/// without its colon, in any case.
pub fn sniff(head: &[u8], name: &[u8]) -> Option<HeaderValue> {
    let mut rest = head.get(..head.len().min(REQUEST_HEAD_BYTES_MAX))?;
    for _ in 0..=REQUEST_FIELDS_MAX {
        rest = rest.get(memchr(b'\n', rest)? + 1..)?;
        let (found, value) = rest.split_at_checked(name.len())?;
        if let Some(value) = value.strip_prefix(b":")
            && found.eq_ignore_ascii_case(name)
        {
            let value = value.get(..memchr(b'\n', value)?)?;
            return HeaderValue::from_bytes(value.trim_ascii()).ok();
        }
    }
    None
}
