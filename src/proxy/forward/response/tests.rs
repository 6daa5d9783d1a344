//! Each rule for the fields of a response.

use super::*;
use crate::proxy::forward::{clean_trailers, map};

fn lines(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
}

fn judge(given: &[(&str, &str)]) -> Result<ResponseFraming, BadResponse> {
    check_response(StatusCode::OK, Version::HTTP_11, &map(given), &Method::GET, None)
}

/// B91, B92.
#[test]
fn framing_that_could_be_read_two_ways_is_not_relayed() {
    type Row<'a> = (&'a [(&'a str, &'a str)], Result<ResponseFraming, BadResponse>);
    let rows: &[Row<'_>] = &[
        (&[], Ok(ResponseFraming::UntilClose)),
        (&[("content-length", "0")], Ok(ResponseFraming::Length(0))),
        (&[("content-length", "42")], Ok(ResponseFraming::Length(42))),
        (&[("content-length", "42"), ("content-length", "42")], Ok(ResponseFraming::Length(42))),
        (&[("content-length", "42, 42")], Ok(ResponseFraming::Length(42))),
        (&[("content-length", "9223372036854775807")], Ok(ResponseFraming::Length(i64::MAX as u64))),
        (&[("content-length", "9223372036854775808")], Err(BadResponse::BadLength)),
        (&[("content-length", "42"), ("content-length", "43")], Err(BadResponse::DifferingLengths)),
        (&[("content-length", "42, 43")], Err(BadResponse::DifferingLengths)),
        (&[("content-length", "")], Err(BadResponse::BadLength)),
        (&[("content-length", "42,")], Err(BadResponse::BadLength)),
        (&[("content-length", "-1")], Err(BadResponse::BadLength)),
        (&[("content-length", "+1")], Err(BadResponse::BadLength)),
        (&[("content-length", "0x1")], Err(BadResponse::BadLength)),
        (&[("transfer-encoding", "chunked")], Ok(ResponseFraming::Chunked)),
        (&[("transfer-encoding", "Chunked")], Ok(ResponseFraming::Chunked)),
        (&[("transfer-encoding", "chunked"), ("content-length", "5")], Err(BadResponse::LengthAndEncoding)),
        (&[("transfer-encoding", "gzip"), ("content-length", "5")], Err(BadResponse::LengthAndEncoding)),
        (&[("transfer-encoding", "gzip")], Err(BadResponse::BadEncoding)),
        (&[("transfer-encoding", "gzip, chunked")], Err(BadResponse::BadEncoding)),
        (&[("transfer-encoding", "chunked, chunked")], Err(BadResponse::BadEncoding)),
        (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Err(BadResponse::BadEncoding)),
        (&[("transfer-encoding", "")], Err(BadResponse::BadEncoding)),
        (&[("transfer-encoding", "identity")], Err(BadResponse::BadEncoding)),
    ];
    for (given, verdict) in rows {
        assert_eq!(judge(given), *verdict, "{given:?}");
        // The same faults where there is no body: they tell of a peer that cannot be trusted.
        let bodiless = check_response(StatusCode::OK, Version::HTTP_11, &map(given), &Method::HEAD, None);
        assert_eq!(bodiless, verdict.map(|_| ResponseFraming::None), "{given:?} to HEAD");
    }
    let old = |given| check_response(StatusCode::OK, Version::HTTP_10, &map(given), &Method::GET, None);
    assert_eq!(old(&[("transfer-encoding", "chunked")]), Err(BadResponse::EncodingInHttp10));
    assert_eq!(old(&[]), Ok(ResponseFraming::UntilClose));
    assert_eq!(old(&[("content-length", "5")]), Ok(ResponseFraming::Length(5)));
}

/// B93, B99, B104, P24, P25.
#[test]
fn status_version_and_number_of_fields_are_judged() {
    let status = |code: u16| {
        let status = StatusCode::from_u16(code).unwrap();
        check_response(status, Version::HTTP_11, &HeaderMap::new(), &Method::GET, None)
    };
    for code in [100, 103, 199, 204, 304] {
        assert_eq!(status(code), Ok(ResponseFraming::None), "{code}");
    }
    for code in [200, 205, 206, 299, 399, 418, 451, 499, 599] {
        assert_eq!(status(code), Ok(ResponseFraming::UntilClose), "{code}");
    }
    for code in [600, 999] {
        assert_eq!(status(code), Err(BadResponse::Status(code)));
    }
    for version in [Version::HTTP_09, Version::HTTP_2] {
        let verdict = check_response(StatusCode::OK, version, &HeaderMap::new(), &Method::GET, None);
        assert_eq!(verdict, Err(BadResponse::Version));
    }
    let fields = |count: usize| map(&vec![("x", "y"); count]);
    let verdict = |count| check_response(StatusCode::OK, Version::HTTP_11, &fields(count), &Method::GET, None);
    assert_eq!(verdict(RESPONSE_FIELDS_MAX), Ok(ResponseFraming::UntilClose));
    assert_eq!(verdict(RESPONSE_FIELDS_MAX + 1), Err(BadResponse::TooManyFields));
}

/// B95, B107, P22.
#[test]
fn protocols_are_switched_only_to_the_one_asked_for() {
    let websocket = HeaderValue::from_static("websocket");
    let switch = |version, given: &[(&str, &str)], asked: Option<&HeaderValue>| {
        check_response(StatusCode::SWITCHING_PROTOCOLS, version, &map(given), &Method::GET, asked)
    };
    let now = Version::HTTP_11;
    assert_eq!(switch(now, &[("upgrade", "websocket")], Some(&websocket)), Ok(ResponseFraming::Tunnel));
    assert_eq!(switch(now, &[("upgrade", "WebSocket")], Some(&websocket)), Ok(ResponseFraming::Tunnel));
    assert_eq!(switch(now, &[("upgrade", "websocket")], None), Err(BadResponse::UnaskedUpgrade));
    assert_eq!(
        switch(Version::HTTP_10, &[("upgrade", "websocket")], Some(&websocket)),
        Err(BadResponse::UnaskedUpgrade)
    );
    for given in [&[][..], &[("upgrade", "h2c")], &[("upgrade", "websocket, h2c")], &[("upgrade", "")]] {
        assert_eq!(switch(now, given, Some(&websocket)), Err(BadResponse::OtherUpgrade), "{given:?}");
    }
}

const CLIENT: Client = Client { version: Version::HTTP_11, accepts_trailers: true };

fn clean(given: &[(&str, &str)], status: u16, framing: ResponseFraming, client: Client) -> HeaderMap {
    let mut headers = map(given);
    clean_response(&mut headers, StatusCode::from_u16(status).unwrap(), framing, client, None);
    headers
}

/// B89, B90, B105, B77.
#[test]
fn the_backends_connection_is_its_own_and_the_rest_is_untouched() {
    let untouched = [
        ("server", "nginx"),
        ("content-encoding", "gzip"),
        ("etag", "\"x\""),
        ("vary", "a"),
        ("vary", "b"),
        ("set-cookie", "a=1, b"),
        ("set-cookie", "c=2"),
        ("cache-control", "no-cache"),
        ("x-unknown", "1"),
        ("x_under", "1"),
        ("via", "1.1 app"),
        ("x-forwarded-for", "an odd thing for a response, but not ours"),
    ];
    let mut given = untouched.to_vec();
    given.extend([
        ("connection", "close, X-Named"),
        ("connection", "x-too,content-type"),
        ("x-named", "1"),
        ("x-too", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "close"),
        ("proxy-authenticate", "Basic"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "x"),
        ("content-type", "text/plain"),
    ]);
    let headers = clean(&given, 200, ResponseFraming::Chunked, CLIENT);
    let mut expected = map(&untouched);
    expected.insert("content-type", HeaderValue::from_static("text/plain"));
    assert_eq!(headers, expected, "nothing is added (B90), nothing else removed");
    assert_eq!(lines(&headers, "set-cookie"), ["a=1, b", "c=2"]);
}

/// B99, B101, P15, RFC 9110, 8.6.
#[test]
fn the_length_that_leaves_is_the_one_that_counts() {
    let length =
        |given: &[(&str, &str)], status: u16, framing| lines(&clean(given, status, framing, CLIENT), "content-length");
    let once = [("content-length", "42")];
    let twice = [("content-length", "42"), ("content-length", "42")];
    assert_eq!(length(&once, 200, ResponseFraming::Length(42)), ["42"]);
    assert_eq!(length(&twice, 200, ResponseFraming::Length(42)), ["42"]);
    assert_eq!(length(&[("content-length", "42, 42")], 200, ResponseFraming::Length(42)), ["42"]);
    assert_eq!(length(&[("content-length", "042")], 200, ResponseFraming::Length(42)), ["42"]);
    assert_eq!(length(&twice, 200, ResponseFraming::None), ["42"], "HEAD");
    assert_eq!(length(&once, 304, ResponseFraming::None), ["42"]);
    assert!(length(&[], 200, ResponseFraming::None).is_empty(), "none is invented");
    assert!(length(&once, 204, ResponseFraming::None).is_empty());
    assert!(length(&[], 200, ResponseFraming::UntilClose).is_empty());
}

/// B73.
#[test]
fn trailers_are_announced_only_where_they_follow() {
    let given = [("trailer", "x-sum"), ("transfer-encoding", "chunked")];
    let announced = |framing, client| clean(&given, 200, framing, client).contains_key("trailer");
    assert!(announced(ResponseFraming::Chunked, CLIENT));
    assert!(!announced(ResponseFraming::Length(5), CLIENT));
    assert!(!announced(ResponseFraming::Chunked, Client { accepts_trailers: false, ..CLIENT }));
    assert!(!announced(ResponseFraming::Chunked, Client { version: Version::HTTP_10, ..CLIENT }));
    assert!(announced(ResponseFraming::Chunked, Client { version: Version::HTTP_2, ..CLIENT }));
}

/// B107.
#[test]
fn a_101_says_exactly_what_is_switched_to() {
    let mut headers = map(&[
        ("connection", "Upgrade, keep-alive, x-named"),
        ("upgrade", "WebSocket"),
        ("x-named", "1"),
        ("keep-alive", "1"),
        ("content-length", "0"),
        ("transfer-encoding", "chunked"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "chat"),
    ]);
    let asked = HeaderValue::from_static("websocket");
    let status = StatusCode::SWITCHING_PROTOCOLS;
    clean_response(&mut headers, status, ResponseFraming::Tunnel, CLIENT, Some(&asked));
    let expected = map(&[
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("sec-websocket-protocol", "chat"),
    ]);
    assert_eq!(headers, expected);
}

/// B72, P14.
#[test]
fn trailers_carry_nothing_that_belongs_into_a_head() {
    let mut trailers = map(&[
        ("grpc-status", "0"),
        ("grpc-message", "ok"),
        ("x-checksum", "1"),
        ("x-checksum", "2"),
        ("server-timing", "a"),
        ("content-length", "5"),
        ("transfer-encoding", "chunked"),
        ("host", "b.com"),
        ("connection", "close"),
        ("authorization", "Basic x"),
        ("proxy-authorization", "Basic x"),
        ("www-authenticate", "Basic"),
        ("cookie", "a=1"),
        ("set-cookie", "a=1"),
        ("content-type", "text/html"),
        ("content-encoding", "gzip"),
        ("cache-control", "public"),
        ("trailer", "x"),
        ("te", "trailers"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x_forwarded_for", "1.2.3.4"),
        ("forwarded", "for=1.2.3.4"),
        ("location", "/"),
        ("via", "1.1 x"),
    ]);
    clean_trailers(&mut trailers);
    let expected = map(&[
        ("grpc-status", "0"),
        ("grpc-message", "ok"),
        ("x-checksum", "1"),
        ("x-checksum", "2"),
        ("server-timing", "a"),
    ]);
    assert_eq!(trailers, expected);
}
