//! Judges the head of an HTTP/2 request: what h2 lets pass and an HTTP/1.1 backend must not see (B51, B55, B58–B60, B65, B66, B70).
//!
//! h2 has refused by then what breaks RFC 9113 on the wire: connection-specific fields, a `TE` other than `trailers`, missing or
//! doubled pseudo-fields, controls in values, lengths that differ. Never here: a header rule, a route. Pure.

use http::{Method, Version, header, request::Parts, uri::PathAndQuery};

use crate::{
    domain::Authority,
    limits::{REQUEST_FIELDS_MAX, TARGET_BYTES_MAX},
    proxy::{
        head::{Framing, Head, read_length},
        refusal::Refusal,
    },
};

/// What the way of the request needs to know. `has_body`: more than the head follows.
pub(super) fn check(parts: &Parts, has_body: bool) -> Result<Head, Refusal> {
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        return Err(Refusal::UnservedMethod);
    }
    if parts.headers.len() > REQUEST_FIELDS_MAX {
        return Err(Refusal::TooManyFields);
    }
    check_target(parts)?;
    // RFC 9113, 8.2.1: a value neither begins nor ends with a blank (B70). An HTTP/1.1 parser would take it off.
    let is_padded = |value: &[u8]| matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    if parts.headers.values().any(|value| is_padded(value.as_bytes())) {
        return Err(Refusal::PaddedValue);
    }
    Ok(Head {
        version: Version::HTTP_2,
        framing: framing(parts, has_body)?,
        persistent: true,
        authority: Some(authority(parts)?),
    })
}

/// B55, B58, B59.
fn check_target(parts: &Parts) -> Result<(), Refusal> {
    let path = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    if path.len() > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    if parts.uri.scheme_str().is_some_and(|scheme| scheme != "http" && scheme != "https") {
        return Err(Refusal::TargetScheme);
    }
    match path {
        "*" if parts.method == Method::OPTIONS => Ok(()),
        "*" => Err(Refusal::Asterisk),
        _ if path.starts_with('/') => Ok(()),
        _ => Err(Refusal::Target),
    }
}

/// Whom it is addressed to: `:authority`, or `host` where there is none; both must say the same (RFC 9113, 8.3.1; B65, B66).
fn authority(parts: &Parts) -> Result<Authority, Refusal> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|host| Authority::parse(host.as_bytes())).transpose().map_err(|_| Refusal::BadHost)?;
    if hosts.next().is_some() {
        return Err(Refusal::TwoHosts);
    }
    let Some(authority) = parts.uri.authority() else { return host.ok_or(Refusal::NoHost) };
    if authority.as_str().contains('@') {
        return Err(Refusal::Userinfo);
    }
    let authority = Authority::parse(authority.as_str().as_bytes()).map_err(|_| Refusal::BadHost)?;
    if host.is_some_and(|host| !is_same(&authority, &host, parts)) {
        return Err(Refusal::HostMismatch);
    }
    Ok(authority)
}

/// Two names that are none are compared as they are written.
fn is_same(authority: &Authority, host: &Authority, parts: &Parts) -> bool {
    if authority.domain.is_some() || host.domain.is_some() {
        return authority == host;
    }
    let written = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = parts.headers.get(header::HOST).map(|host| host.as_bytes());
    matches!((written, host), (Some(a), Some(b)) if a.eq_ignore_ascii_case(b))
}

/// RFC 9113, 8.1.1: the end of the stream is the end of the body; a length that does not fit is h2's to find (B51).
fn framing(parts: &Parts, has_body: bool) -> Result<Framing, Refusal> {
    let mut lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next().map(|length| read_length(length.as_bytes()).ok_or(Refusal::BadLength)).transpose()?;
    if lengths.next().is_some() {
        return Err(Refusal::TwoLengths);
    }
    Ok(match length {
        Some(length) if has_body => Framing::Length(length),
        None if has_body => Framing::Chunked,
        _ => Framing::None,
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(method: &str, uri: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn refusal(method: &str, uri: &str, fields: &[(&str, &str)]) -> Option<Refusal> {
        check(&parts(method, uri, fields), true).err()
    }

    /// B59, B60, B58.
    #[test]
    fn targets_and_methods() {
        let long = format!("https://a.test/{}", "x".repeat(TARGET_BYTES_MAX - 1));
        let longer = format!("{long}x");
        for (method, uri, wanted) in [
            ("GET", "https://a.test/x?y", None),
            ("GET", "http://a.test/", None),
            ("PROPFIND", "https://a.test/", None),
            ("CONNECT", "a.test:443", Some(Refusal::UnservedMethod)),
            ("TRACE", "https://a.test/", Some(Refusal::UnservedMethod)),
            ("GET", "ftp://a.test/", Some(Refusal::TargetScheme)),
            ("GET", long.as_str(), None),
            ("GET", longer.as_str(), Some(Refusal::TargetTooLong)),
            ("GET", "https://user@a.test/", Some(Refusal::Userinfo)),
            ("GET", "https://a.test:x/", Some(Refusal::BadHost)),
        ] {
            assert_eq!(refusal(method, uri, &[]), wanted, "{method} {uri:.60}");
        }
        let mut star = parts("OPTIONS", "*", &[("host", "a.test")]);
        assert!(check(&star, false).is_ok());
        star.method = Method::GET;
        assert_eq!(check(&star, false), Err(Refusal::Asterisk));
        let query = parts("GET", "https://a.test?x", &[]);
        assert_eq!(check(&query, false), Err(Refusal::Target));
    }

    /// B66: normalised, and with the port.
    #[test]
    fn authority_and_host_say_the_same() {
        for (host, wanted) in [
            ("a.test", None),
            ("A.Test.", None),
            ("a.test:", None),
            ("b.test", Some(Refusal::HostMismatch)),
            ("a.test:8443", Some(Refusal::HostMismatch)),
            ("x@a.test", Some(Refusal::BadHost)),
            ("", Some(Refusal::BadHost)),
        ] {
            assert_eq!(refusal("GET", "https://a.test/", &[("host", host)]), wanted, "{host:?}");
        }
        assert_eq!(refusal("GET", "/", &[("host", "a.test")]), None);
        assert_eq!(refusal("GET", "/", &[]), Some(Refusal::NoHost));
        assert_eq!(refusal("GET", "/", &[("host", "a.test"), ("host", "a.test")]), Some(Refusal::TwoHosts));
        assert_eq!(refusal("GET", "https://192.0.2.1/", &[("host", "192.0.2.1")]), None);
        assert_eq!(refusal("GET", "https://192.0.2.1/", &[("host", "192.0.2.2")]), Some(Refusal::HostMismatch));
        let head = check(&parts("GET", "https://A.test:8443/", &[]), false).unwrap();
        assert_eq!(head.authority, Authority::parse(b"a.test:8443").ok());
    }

    /// B70, B55.
    #[test]
    fn values_and_their_number() {
        for value in [" x", "x ", "\tx", "x\t", " "] {
            assert_eq!(refusal("GET", "https://a.test/", &[("x", value)]), Some(Refusal::PaddedValue), "{value:?}");
        }
        assert_eq!(refusal("GET", "https://a.test/", &[("x", ""), ("y", "a b")]), None);
        let names: Vec<String> = (0..=REQUEST_FIELDS_MAX).map(|n| format!("x-{n}")).collect();
        let fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        assert_eq!(refusal("GET", "https://a.test/", &fields[1..]), None);
        assert_eq!(refusal("GET", "https://a.test/", &fields), Some(Refusal::TooManyFields));
    }

    /// B44, B50.
    #[test]
    fn framing_follows_the_length_and_the_end() {
        let with = |length: &'static str, has_body| {
            let fields: &[(&str, &str)] = if length.is_empty() { &[] } else { &[("content-length", length)] };
            check(&parts("POST", "https://a.test/", fields), has_body).map(|head| head.framing)
        };
        assert_eq!(with("5", true), Ok(Framing::Length(5)));
        assert_eq!(with("", true), Ok(Framing::Chunked));
        assert_eq!(with("", false), Ok(Framing::None));
        assert_eq!(with("0", false), Ok(Framing::None));
        assert_eq!(with("+5", true), Err(Refusal::BadLength));
        let twice = [("content-length", "5"), ("content-length", "5")];
        assert_eq!(refusal("POST", "https://a.test/", &twice), Some(Refusal::TwoLengths));
    }
}
