//! Trailer fields, of either direction.

use http::HeaderMap;

use super::{names, remove_where};

/// Removes from a trailer section what means something in a head only: framing, routing, authentication, cookies and their
/// like. The rest passes as trailers and is never merged into the head (RFC 9110, 6.5.1; B72, P14).
///
/// Whether the receiver takes trailers at all is the caller's question (B73): [`Sending::accepts_trailers`](super::Sending).
pub fn clean_trailers(trailers: &mut HeaderMap) {
    remove_where(trailers, names::is_head_only);
}
