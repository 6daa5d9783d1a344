//! Each rule for the fields of a request.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::{proxy::forward::map, testing::seed};

fn lines(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// A request, and what can be changed about it.
struct Case {
    method: Method,
    version: Version,
    scheme: Scheme,
    body: Body,
    peer: IpAddr,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            method: Method::GET,
            version: Version::HTTP_11,
            scheme: Scheme::Http,
            body: Body::None,
            peer: Ipv4Addr::new(192, 0, 2, 1).into(),
        }
    }
}

const VIA_NUMBER: u32 = 0x0123_abcd;

impl Case {
    fn outcome(&self, headers: &mut HeaderMap) -> Outcome {
        let facts = RequestFacts {
            method: &self.method,
            version: self.version,
            peer: &Peer::new(self.peer),
            scheme: self.scheme,
            host: HeaderValue::from_static("A.com:8080"),
            body: self.body,
            via: &Via::new(VIA_NUMBER),
        };
        prepare_request(headers, &facts)
    }

    fn send(&self, given: &[(&str, &str)]) -> (HeaderMap, Sending) {
        let mut headers = map(given);
        match self.outcome(&mut headers) {
            Outcome::Send(sending) => (headers, sending),
            other => panic!("{other:?}"),
        }
    }
}

fn send(given: &[(&str, &str)]) -> HeaderMap {
    Case::default().send(given).0
}

/// B11, B80, B84.
#[test]
fn the_backend_is_told_who_asks_for_what_and_how() {
    let headers = send(&[("host", "ignored.com"), ("accept", "*/*")]);
    for (name, value) in [
        ("host", "A.com:8080"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-real-ip", "192.0.2.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "A.com:8080"),
        ("via", "1.1 hotcore-0123abcd"),
        ("accept", "*/*"),
    ] {
        assert_eq!(lines(&headers, name), [value], "{name}");
    }
    assert_eq!(headers.len(), 7, "and of nothing else");
    let over_tls = Case { scheme: Scheme::Https, version: Version::HTTP_2, ..Case::default() }.send(&[]).0;
    assert_eq!(lines(&over_tls, "x-forwarded-proto"), ["https"]);
    assert_eq!(lines(&over_tls, "via"), ["2 hotcore-0123abcd"]);
    let old = Case { version: Version::HTTP_10, ..Case::default() }.send(&[("via", "1.0 cdn, 1.1 x")]).0;
    assert_eq!(lines(&old, "via"), ["1.0 cdn, 1.1 x", "1.0 hotcore-0123abcd"], "appended");
}

/// B82.
#[test]
fn addresses_are_written_plainly() {
    let rows: [(IpAddr, &str); 4] = [
        (Ipv4Addr::new(192, 0, 2, 1).into(), "192.0.2.1"),
        (Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into(), "192.0.2.1"),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), "2001:db8::1"),
        (Ipv6Addr::LOCALHOST.into(), "::1"),
    ];
    for (address, text) in rows {
        assert_eq!(Peer::new(address).value(), text);
    }
}

/// B81, B83, B88.
#[test]
fn what_the_client_says_about_itself_is_not_passed_on() {
    let headers = send(&[
        ("forwarded", "for=1.2.3.4"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-forwarded-for", "5.6.7.8"),
        ("x-real-ip", "1.2.3.4"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-forwarded-prefix", "/x"),
        ("x-forwarded-user", "root"),
        ("x-forwarded", "for=1.2.3.4"),
        ("x_forwarded_for", "1.2.3.4"),
        ("x.real.ip", "1.2.3.4"),
        ("x-forwarded_user", "root"),
        ("x!forwarded~anything", "1"),
        ("content_length", "5"),
        ("transfer.encoding", "chunked"),
        ("keep_alive", "1"),
        ("proxy_connection", "1"),
        ("api_key", "k"),
        ("x_forwarding", "k"),
        ("cf-connecting-ip", "1.2.3.4"),
    ]);
    assert_eq!(lines(&headers, "x-forwarded-for"), ["192.0.2.1"]);
    assert_eq!(lines(&headers, "x-real-ip"), ["192.0.2.1"]);
    assert_eq!(lines(&headers, "x-forwarded-proto"), ["http"]);
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "api_key",
        "cf-connecting-ip",
        "host",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
        "x_forwarding",
    ];
    assert_eq!(names, expected);
}

/// B76, B77, B78, B79, B56.
#[test]
fn what_concerns_one_connection_stays_on_it() {
    let fixed = [
        ("connection", "keep-alive"),
        ("proxy-connection", "keep-alive"),
        ("keep-alive", "timeout=5"),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("http2-settings", "x"),
        ("proxy-authenticate", "Basic"),
        ("proxy-authorization", "Basic x"),
        ("proxy", "http://evil"),
        ("expect", "100-continue"),
        ("trailer", "x"),
    ];
    let headers = send(&fixed);
    for (name, _) in fixed {
        assert!(!headers.contains_key(name), "{name}");
    }
    // Every line counts, in any case, and so does every value of what is named.
    let headers = send(&[
        ("connection", "X-One , ,x-TWO"),
        ("connection", "close,x-three, Not A Name, \u{fc}"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-two", "2"),
        ("x-three", "3"),
        ("x-four", "4"),
    ]);
    for name in ["x-one", "x-two", "x-three", "connection"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    assert_eq!(lines(&headers, "x-four"), ["4"]);
    // Ours and what an app's safety rests on cannot be named away.
    let kept = ["host", "content-length", "content-type", "authorization", "cookie", "origin"];
    let ours = ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host", "via"];
    let case = Case { method: Method::POST, body: Body::Length(5), ..Case::default() };
    for name in kept.into_iter().chain(ours) {
        let given = [("connection", name), ("connection", &name.to_uppercase()), (name, "5")];
        let headers = case.send(&given).0;
        assert_eq!(lines(&headers, name).len(), 1, "{name}");
    }
}

/// B71, B73.
#[test]
fn te_passes_as_trailers_and_nothing_else() {
    let rows: &[(&[(&str, &str)], bool)] = &[
        (&[("te", "trailers")], true),
        (&[("te", "gzip, TRAILERS"), ("connection", "TE")], true),
        (&[("te", "gzip;q=0.5"), ("te", "deflate,\ttrailers ;q=0.5")], true),
        (&[("te", "trailers;q=0")], false),
        (&[("te", "trailers;q=0.000")], false),
        (&[("te", "trailersx")], false),
        (&[("te", "gzip")], false),
        (&[("te", "")], false),
        (&[], false),
    ];
    for (given, takes) in rows {
        let (headers, sending) = Case::default().send(given);
        assert_eq!(sending.accepts_trailers, *takes, "{given:?}");
        let expected: &[&str] = if *takes { &["trailers"] } else { &[] };
        assert_eq!(lines(&headers, "te"), expected, "{given:?}");
        assert_eq!(lines(&headers, "connection"), if *takes { vec!["TE"] } else { vec![] }, "{given:?}");
    }
    let old = Case { version: Version::HTTP_10, ..Case::default() }.send(&[("te", "trailers")]);
    assert!(!old.1.accepts_trailers && !old.0.contains_key("te"));
    let h2 = Case { version: Version::HTTP_2, ..Case::default() };
    assert!(h2.send(&[]).1.accepts_trailers, "an HTTP/2 client always takes them");
    assert!(!h2.send(&[]).0.contains_key("te"));
    assert_eq!(lines(&h2.send(&[("te", "trailers")]).0, "te"), ["trailers"]);
}

/// B106, P23.
#[test]
fn one_protocol_is_asked_for_and_never_a_second_http() {
    let rows: &[(&[&str], Option<&str>)] = &[
        (&["websocket"], Some("websocket")),
        (&["WebSocket"], Some("WebSocket")),
        (&["foo, WebSocket"], Some("websocket")),
        (&["h2c", "foo/1, websocket"], Some("websocket")),
        (&["foo/1.2"], Some("foo/1.2")),
        (&["h2c, foo"], Some("foo")),
        (&["foo, bar"], None),
        (&["h2c"], None),
        (&["H2C"], None),
        (&["h2"], None),
        (&["h2c-14"], None),
        (&["h3"], None),
        (&["HTTP/2.0"], None),
        (&["http/1.1"], None),
        (&["TLS/1.2"], None),
        (&["tls"], None),
        (&["a b"], None),
        (&["foo/"], None),
        (&["/1"], None),
        (&[""], None),
        (&[], None),
    ];
    for (tokens, asked) in rows {
        let mut given: Vec<(&str, &str)> = tokens.iter().map(|token| ("upgrade", *token)).collect();
        given.push(("connection", "keep-alive, UPGRADE"));
        let (headers, sending) = Case::default().send(&given);
        assert_eq!(sending.upgrade.as_ref().map(|value| value.to_str().unwrap()), *asked, "{tokens:?}");
        assert_eq!(lines(&headers, "upgrade"), asked.iter().copied().collect::<Vec<_>>(), "{tokens:?}");
        let connection: &[&str] = if asked.is_some() { &["Upgrade"] } else { &[] };
        assert_eq!(lines(&headers, "connection"), connection, "{tokens:?}");
    }
    assert_eq!(Case::default().send(&[("upgrade", "websocket")]).1.upgrade, None, "without Connection");
    for version in [Version::HTTP_10, Version::HTTP_2] {
        let case = Case { version, ..Case::default() };
        let (headers, sending) = case.send(&[("connection", "upgrade"), ("upgrade", "websocket")]);
        assert_eq!(sending.upgrade, None, "{version:?}");
        assert!(!headers.contains_key("upgrade"));
    }
    let headers = send(&[("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "k")]);
    assert_eq!(lines(&headers, "sec-websocket-key"), ["k"], "B107");
}

/// B49, B50, B79, B252.
#[test]
fn the_framing_is_ours() {
    let framing = |method: Method, body: Body, given: &[(&str, &str)]| {
        let headers = Case { method, body, ..Case::default() }.send(given).0;
        (lines(&headers, "content-length"), lines(&headers, "transfer-encoding"), headers.contains_key("trailer"))
    };
    let none = Vec::<String>::new;
    let one = |value: &str| vec![value.to_owned()];
    let given = [("content-length", "7"), ("transfer-encoding", "chunked"), ("trailer", "x")];
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        assert_eq!(framing(method.clone(), Body::None, &[]), (one("0"), none(), false), "{method}");
    }
    for method in [Method::GET, Method::DELETE, Method::OPTIONS] {
        assert_eq!(framing(method.clone(), Body::None, &given), (none(), none(), false), "{method}");
        assert_eq!(framing(method.clone(), Body::Length(7), &given), (one("7"), none(), false), "{method}");
        assert_eq!(framing(method.clone(), Body::Length(8), &given), (one("8"), none(), false), "{method}");
        assert_eq!(framing(method.clone(), Body::Unknown, &given), (none(), one("chunked"), true), "{method}");
    }
    let twice = [("content-length", "7"), ("content-length", "7")];
    assert_eq!(framing(Method::POST, Body::Length(7), &twice).0, one("7"));
    assert_eq!(framing(Method::POST, Body::Length(7), &[("content-length", "007")]).0, one("7"), "P15");
}

/// B86; and `Connection: Via` cannot hide it.
#[test]
fn a_request_that_comes_back_is_known() {
    let case = Case::default();
    for via in [
        "1.1 hotcore-0123abcd",
        "1.0 fred, 1.1 HOTCORE-0123ABCD",
        "1.1 a,\t2   hotcore-0123abcd (comment)",
        "HTTP/1.1 hotcore-0123abcd",
    ] {
        let given = [("via", "1.1 other"), ("via", via), ("connection", "via"), ("x-forwarded-for", "1.2.3.4")];
        let mut headers = map(&given);
        assert_eq!(case.outcome(&mut headers), Outcome::Loop, "{via}");
        assert_eq!(headers, map(&given), "nothing was touched");
    }
    for via in ["1.1 hotcore-0123abce", "1.1 hotcore-0123abcdx", "hotcore-0123abcd", "1.1", ""] {
        assert!(matches!(case.outcome(&mut map(&[("via", via)])), Outcome::Send(_)), "{via}");
    }
}

/// B61.
#[test]
fn max_forwards_counts_down_on_options() {
    let case = Case { method: Method::OPTIONS, ..Case::default() };
    assert_eq!(case.outcome(&mut map(&[("max-forwards", "0")])), Outcome::AnswerOptions);
    assert_eq!(case.outcome(&mut map(&[("max-forwards", "000")])), Outcome::AnswerOptions);
    for (given, passed) in [
        ("1", "0"),
        ("70", "69"),
        ("", ""),
        ("-1", "-1"),
        ("+1", "+1"),
        ("99999999999999999999", "99999999999999999999"),
    ] {
        assert_eq!(lines(&case.send(&[("max-forwards", given)]).0, "max-forwards"), [passed], "{given:?}");
    }
    assert_eq!(lines(&send(&[("max-forwards", "0")]), "max-forwards"), ["0"], "on GET it means nothing");
}

/// B69.
#[test]
fn cookie_crumbs_become_one_line() {
    let crumbs = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")];
    let h2 = Case { version: Version::HTTP_2, ..Case::default() };
    assert_eq!(lines(&h2.send(&crumbs).0, "cookie"), ["a=1; b=2; c=3"]);
    assert_eq!(lines(&h2.send(&crumbs[..1]).0, "cookie"), ["a=1"]);
    assert_eq!(lines(&send(&crumbs), "cookie").len(), 3, "HTTP/1.1 passes as it is");
}

/// B11, B57, B58, B59, B253.
#[test]
fn the_target_becomes_origin_form_and_its_authority_the_host() {
    let rows = [
        ("/", None, "/"),
        ("/a/../b//c;d?e=%20&f", None, "/a/../b//c;d?e=%20&f"),
        ("//evil.com/", None, "//evil.com/"),
        ("/a#b", None, "/a"),
        ("*", None, "*"),
        ("http://B.com", Some("B.com"), "/"),
        ("http://B.com/", Some("B.com"), "/"),
        ("https://B.com:80/x?y", Some("B.com:80"), "/x?y"),
        ("http://b.com?y", Some("b.com"), "/?y"),
        ("http://b.com#y", Some("b.com"), "/"),
        ("http://b.com//x", Some("b.com"), "//x"),
    ];
    for (target, authority, sent) in rows {
        let uri: Uri = target.parse().unwrap();
        let headers = map(&[("host", "A.com")]);
        assert_eq!(host(&uri, &headers).unwrap(), authority.unwrap_or("A.com"), "{target}");
        let form = origin_form(uri);
        assert_eq!(form.to_string(), sent, "{target}");
        assert!(form.authority().is_none() && form.scheme().is_none(), "{target}");
    }
    assert_eq!(host(&Uri::from_static("/"), &HeaderMap::new()), None);
}

/// Whatever a client sends: nothing about its connection survives, and ours is there exactly once (B76 to B83).
#[test]
fn no_mixture_of_fields_gets_past_the_rules() {
    let mut random = fastrand::Rng::with_seed(seed());
    let names = [
        "connection",
        "Connection",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "proxy",
        "proxy-connection",
        "proxy-authorization",
        "proxy-authenticate",
        "expect",
        "trailer",
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-port",
        "x_forwarded_for",
        "x-real-ip",
        "x.real.ip",
        "content-length",
        "content_length",
        "host",
        "via",
        "cookie",
        "accept",
        "api_key",
        "x-a",
        "x-b",
        "x-c",
        "x-forwarded-",
        "a!b",
    ];
    let options = [
        "close",
        "keep-alive",
        "Upgrade",
        "TE",
        "X-A",
        "x-b",
        "x-c",
        "Host",
        "cookie",
        "Content-Length",
        "via",
        "X-Forwarded-For",
        "x-real-ip",
        "",
        " ",
        "\t",
        "connection",
        "not a name",
        "transfer-encoding",
        "x_forwarded_for",
    ];
    let ours = ["host", "x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host"];
    for _ in 0..50_000 {
        let mut headers = HeaderMap::new();
        let mut named = Vec::new();
        for _ in 0..random.usize(0..25) {
            let name = names[random.usize(0..names.len())];
            let value = if name.eq_ignore_ascii_case("connection") {
                let list: Vec<&str> =
                    (0..random.usize(0..4)).map(|_| options[random.usize(0..options.len())]).collect();
                named.extend(list.iter().map(|option| option.trim().to_ascii_lowercase()));
                list.join([",", ", ", " ,\t"][random.usize(0..3)])
            } else {
                ["1", "websocket", "trailers", "h2c, websocket", "chunked"][random.usize(0..5)].to_owned()
            };
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(&value).unwrap());
        }
        let given = headers.clone();
        let version = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][random.usize(0..3)];
        let body = [Body::None, Body::Length(3), Body::Unknown][random.usize(0..3)];
        let case = Case { version, body, method: Method::POST, ..Case::default() };
        let Outcome::Send(sending) = case.outcome(&mut headers) else { panic!("{given:?}") };
        let context = || format!("{version:?} {body:?} {given:?} became {headers:?}");
        for name in ours {
            assert_eq!(lines(&headers, name).len(), 1, "{name}: {}", context());
        }
        assert_eq!(lines(&headers, "x-forwarded-for"), ["192.0.2.1"], "{}", context());
        assert_eq!(lines(&headers, "via").last().unwrap().split(' ').nth(1), Some("hotcore-0123abcd"));
        for name in headers.keys().map(HeaderName::as_str) {
            let is_set_here = match name {
                "connection" => sending.upgrade.is_some() || headers.contains_key("te"),
                "upgrade" => sending.upgrade.is_some(),
                "te" => sending.accepts_trailers && sending.upgrade.is_none(),
                "transfer-encoding" => body == Body::Unknown,
                _ => false,
            };
            assert!(is_set_here || !names::is_hop_by_hop(name), "{name}: {}", context());
            assert!(ours.contains(&name) || !names::is_forwarding(name), "{name}: {}", context());
            assert!(!names::is_look_alike(name) && name != "expect", "{name}: {}", context());
            let may_stay = super::super::KEPT.contains(&name) || ours.contains(&name) || name == "via";
            assert!(may_stay || is_set_here || !named.iter().any(|option| option == name), "{name}: {}", context());
        }
        let lengths = lines(&headers, "content-length");
        let encodings = lines(&headers, "transfer-encoding");
        match body {
            Body::None => assert_eq!((lengths, encodings), (vec!["0".to_owned()], vec![]), "{}", context()),
            Body::Length(_) => assert_eq!((lengths, encodings), (vec!["3".to_owned()], vec![]), "{}", context()),
            Body::Unknown => assert_eq!((lengths, encodings), (vec![], vec!["chunked".to_owned()]), "{}", context()),
        }
    }
}
