//! Trailer fields, of either direction.

use http::HeaderMap;

use super::{names, remove_where};
use crate::limits::TRAILER_BYTES_MAX;

/// Removes from a trailer section what means something in a head only: framing, routing, authentication, cookies and their
/// like. The rest passes as trailers and is never merged into the head (RFC 9110, 6.5.1; B72, P14).
///
/// Whether the receiver takes trailers at all is the caller's question (B73): [`Sending::accepts_trailers`](super::Sending).
///
/// A section beyond its limit ends here as a whole: nobody has announced that much, and no answer depends on it (B48).
pub fn clean_trailers(trailers: &mut HeaderMap) {
    // As on the wire: colon, blank, CR and LF.
    let bytes: usize = trailers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if bytes > TRAILER_BYTES_MAX {
        trailers.clear();
    }
    remove_where(trailers, names::is_head_only);
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    /// B48: at the limit and one past it.
    #[test]
    fn a_trailer_section_has_its_limit() {
        let mut trailers = HeaderMap::new();
        let value = |bytes: usize| HeaderValue::from_str(&"x".repeat(bytes)).unwrap();
        trailers.insert(HeaderName::from_static("x"), value(TRAILER_BYTES_MAX - 5));
        clean_trailers(&mut trailers);
        assert_eq!(trailers.len(), 1);
        trailers.insert(HeaderName::from_static("x"), value(TRAILER_BYTES_MAX - 4));
        clean_trailers(&mut trailers);
        assert!(trailers.is_empty());
    }
}
