//! Sections 1, 5 and 6: whom a request is for, as seen over HTTP.

use crate::{
    front::{Answer, Backend, Front},
    recorder::Recorder,
};

fn front_with(recorder: &Recorder) -> Front {
    let mut front = Front::start();
    front.map("a.test", recorder.port);
    front
}

fn status(front: &Front, request: &str) -> u16 {
    let answer = Answer::parse(&front.exchange(request.as_bytes()));
    if answer.status == 400 {
        assert_eq!(answer.field("connection"), Some("close"), "{request:?}");
    }
    answer.status
}

/// B5, B9, B64, B65.
#[test]
fn a_host_that_cannot_be_mapped_is_unknown_and_one_that_is_no_host_is_refused() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    for (host, expected) in [
        ("203.0.113.5", 404),
        ("[2001:db8::1]", 404),
        ("[2001:db8::1]:80", 404),
        ("under_score.test", 404),
        (&format!("{}.test", "a".repeat(64)), 404),
        ("a.test.test", 404),
        ("x.a.test", 404),
        ("www.a.test", 404),
        ("test", 404),
        ("a@a.test", 400),
        ("a.test/x", 400),
        ("a .test", 400),
        ("a.test,b.test", 404),
        ("b\u{fc}cher.test", 400),
        ("a.test:80x", 400),
        ("a.test:-1", 400),
        ("a.test:99999", 400),
        ("", 400),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&front, &request), expected, "{host:?}");
    }
    assert!(recorder.links().is_empty(), "B12: no sibling, no sub-domain");
}

/// Invariant 4, B2, B11: any way to write the name finds the rule, and the backend gets it as it was written.
#[test]
fn the_backend_receives_the_name_as_the_client_wrote_it() {
    for host in ["a.test", "A.TEST", "a.test.", "A.Test:8443", "a.test.:1"] {
        let recorder = Recorder::start();
        let front = front_with(&recorder);
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&front, &request), 200, "{host}");
        assert_eq!(recorder.only().field("host"), Some(host));
        assert_eq!(recorder.only().field("x-forwarded-host"), Some(host));
    }
}

/// B10: what is shown is the name that was asked for, and no other.
#[test]
fn an_unknown_name_is_shown_escaped_and_no_other_name_is() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let request = "GET / HTTP/1.1\r\nHost: x&y'.test\r\nAccept: text/html\r\nConnection: close\r\n\r\n";
    let answer = Answer::parse(&front.exchange(request.as_bytes()));
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("x&amp;y"), "B159: {}", answer.text());
    assert!(!answer.text().contains("a.test"));
}

/// B64.
#[test]
fn exactly_one_host_is_needed() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    assert_eq!(status(&front, "GET / HTTP/1.1\r\n\r\n"), 400);
    assert_eq!(status(&front, "GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n"), 400);
    assert_eq!(status(&front, "GET / HTTP/1.1\r\nHost: a.test\r\nhost: b.test\r\n\r\n"), 400);
    assert_eq!(status(&front, "GET / HTTP/1.0\r\n\r\n"), 404, "there is no default site");
    assert!(recorder.links().is_empty());
    assert_eq!(status(&front, "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n"), 200);
}

/// B58.
#[test]
fn an_absolute_target_decides_and_the_backend_gets_origin_form() {
    for (target, origin, host) in [
        ("http://a.test/x?y=1", "/x?y=1", "a.test"),
        ("HTTP://A.TEST:81", "/", "A.TEST:81"),
        ("https://a.test", "/", "a.test"),
        ("http://a.test?q", "/?q", "a.test"),
        ("http://a.test/x#fragment", "/x", "a.test"),
    ] {
        let recorder = Recorder::start();
        let front = front_with(&recorder);
        let request = format!("GET {target} HTTP/1.1\r\nHost: b.test\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&front, &request), 200, "{target}");
        let request = recorder.only();
        assert_eq!(request.line(), format!("GET {origin} HTTP/1.1"), "{target}");
        assert_eq!(request.field("host"), Some(host), "{target}");
        assert_eq!(request.field("x-forwarded-proto"), Some("http"), "the scheme is never believed");
    }
}

/// B57, B58, B59, B65, P8.
#[test]
fn targets_pass_byte_for_byte_or_not_at_all() {
    let rows = [
        ("GET", "/a/../b//c/./%2e%2E/;p=1?q=a;b&c[]=%00", Some("/a/../b//c/./%2e%2E/;p=1?q=a;b&c[]=%00")),
        ("GET", "/x#fragment", Some("/x")),
        ("GET", "//evil.test/x", Some("//evil.test/x")),
        ("OPTIONS", "*", Some("*")),
        ("GET", "*", None),
        ("GET", "x", None),
        ("GET", "?x", None),
        ("GET", "a.test:80", None),
        ("GET", "ftp://a.test/", None),
        ("GET", "http://", None),
        ("GET", "http://u@a.test/", None),
        ("GET", "http://u:p@a.test/", None),
        ("GET", "http:/a.test/", None),
        ("GET", "/a b", None),
        ("GET", "/\x01", None),
    ];
    for (method, target, origin) in rows {
        let recorder = Recorder::start();
        let front = front_with(&recorder);
        let request = format!("{method} {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        match origin {
            Some(origin) => {
                assert_eq!(status(&front, &request), 200, "{target}");
                assert_eq!(recorder.only().line(), format!("{method} {origin} HTTP/1.1"));
            }
            None => {
                assert_eq!(status(&front, &request), 400, "{target}");
                assert!(recorder.links().is_empty(), "{target}");
            }
        }
    }
}

/// B60.
#[test]
fn connect_and_trace_are_not_served_and_every_other_token_passes_as_it_is() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    assert_eq!(status(&front, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n"), 501);
    assert_eq!(status(&front, "TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n"), 501);
    assert!(recorder.links().is_empty());
    for method in ["get", "connect", "PROPFIND", "M-SEARCH", "!#$%&'*+-.^_`|~"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        assert_eq!(status(&front, &request), 200, "{method}");
        let requests = recorder.requests();
        assert_eq!(requests.last().unwrap().line(), format!("{method} / HTTP/1.1"));
    }
}

/// B61.
#[test]
fn max_forwards_counts_down_on_options_and_ends_here() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let ask = |method: &str, count: &str| {
        let request =
            format!("{method} / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: {count}\r\nConnection: close\r\n\r\n");
        Answer::parse(&front.exchange(request.as_bytes()))
    };
    let answer = ask("OPTIONS", "0");
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.field("server"), Some("hotcore"), "B160");
    assert!(recorder.links().is_empty());
    assert_eq!(ask("OPTIONS", "7").status, 200);
    assert_eq!(ask("GET", "0").status, 200);
    let counts: Vec<_> = recorder.requests().iter().map(|r| r.field("max-forwards").unwrap().to_owned()).collect();
    assert_eq!(counts, ["6", "0"]);
}

/// B63.
#[test]
fn a_client_hello_on_the_plain_port_is_told_so() {
    let front = Front::start();
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend([0x5a; 506]);
    let answer = Answer::parse(&front.exchange(&hello));
    assert_eq!((answer.status, answer.field("connection")), (400, Some("close")));
    assert!(answer.text().contains("TLS"), "{}", answer.text());
}

/// B68: on a connection that is open already.
#[test]
fn a_removed_rule_is_gone_with_the_next_request() {
    let (a, b) = (Backend::fixed("a"), Backend::fixed("b"));
    let mut front = Front::start();
    front.map("a.test", a.port);
    let mut client = front.connect();
    let mut ask = |front: &mut Front, change: &dyn Fn(&mut Front)| {
        change(front);
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let answer = client.read_answer();
        (answer.status, answer.text())
    };
    assert_eq!(ask(&mut front, &|_| {}), (200, "a".into()));
    assert_eq!(ask(&mut front, &|front| front.map("a.test", b.port)), (200, "b".into()), "B40");
    assert_eq!(ask(&mut front, &|front| front.unmap("a.test")).0, 404);
    assert_eq!(ask(&mut front, &|front| front.map("a.test", a.port)), (200, "a".into()));
}

/// Section 8, end to end; the table of cases is tested beside the rules.
#[test]
fn the_header_rules_hold_on_the_wire() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let answer = front.exchange(
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
          X-Forwarded-Prefix: /evil\r\nX_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nProxy: evil\r\n\
          Connection: X-Forwarded-For, Cookie, Host\r\nConnection: close, X-Private\r\nX-Private: 1\r\n\
          Cookie: a=b\r\nCookie: c=d\r\nTE: gzip, trailers;q=0.5\r\napi_key: 1\r\nVia: 1.0 front\r\n\
          Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nKeep-Alive: timeout=5\r\n\r\n",
    );
    assert_eq!(Answer::parse(&answer).status, 200);
    let expected = [
        "api_key: 1",
        "connection: TE",
        "cookie: a=b",
        "cookie: c=d",
        "host: a.test",
        "te: trailers",
        "via: 1.0 front",
        "via: 1.1 hotcore-",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: a.test",
        "x-forwarded-proto: http",
        "x-real-ip: 127.0.0.1",
    ];
    assert_eq!(recorder.only().sorted(), expected, "B62, B71, B76-B84");
}

/// B86: what hotcore has signed does not come back a second time.
#[test]
fn a_request_that_comes_back_is_answered_with_508() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    assert_eq!(front.get("a.test").status, 200);
    let via = recorder.only().field("via").unwrap().to_owned();
    let request = format!("GET / HTTP/1.1\r\nHost: a.test\r\nVia: 1.1 x, {via}\r\nConnection: close, Via\r\n\r\n");
    assert_eq!(status(&front, &request), 508);
    assert_eq!(recorder.requests().len(), 1);
}
