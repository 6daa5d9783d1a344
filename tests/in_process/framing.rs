//! Section 4: where a message ends. What is in doubt is refused, and no backend sees a byte of it.

use crate::{
    front::{Answer, Backend, Front, eventually},
    recorder::Recorder,
};

fn front_with(recorder: &Recorder) -> Front {
    let mut front = Front::start();
    front.map("a.test", recorder.port);
    front
}

/// Refused requests: the status, and what follows `POST /x HTTP/1.1\r\nHost: a.test\r\n`.
const REFUSED: [(&str, u16, &str); 30] = [
    ("B42", 400, "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("B42", 400, "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("B43", 400, "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    ("B43", 400, "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("B43", 400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("B43", 400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    ("B43", 400, "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
    ("B43", 400, "Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    ("B43", 501, "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    ("B43", 501, "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("B44", 400, "Content-Length: +5\r\n\r\nhello"),
    ("B44", 400, "Content-Length: -5\r\n\r\nhello"),
    ("B44", 400, "Content-Length: 0x5\r\n\r\nhello"),
    ("B44", 400, "Content-Length: 5_0\r\n\r\nhello"),
    ("B44", 400, "Content-Length:\r\n\r\nhello"),
    ("B44", 400, "Content-Length: 9223372036854775808\r\n\r\nhello"),
    ("B44", 400, "Content-Length: 5, 5\r\n\r\nhello"),
    ("B44", 400, "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("B44", 400, "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    ("B45", 400, "X: a\nY: b\r\n\r\n"),
    ("B45", 400, "X: a\rY: b\r\n\r\n"),
    ("B45", 400, "X: a\0b\r\n\r\n"),
    ("B45", 400, "Content-Length: 0\n\r\n"),
    ("B45", 400, "Content-Length: 0\r\n\n"),
    ("B46", 400, "X: a\r\n folded\r\n\r\n"),
    ("B46", 400, "X : a\r\n\r\n"),
    ("B46", 400, ": a\r\n\r\n"),
    ("B46", 400, "X(: a\r\n\r\n"),
    ("B46", 400, "no colon\r\n\r\n"),
    ("B46", 400, "X\x7f: a\r\n\r\n"),
];

/// Invariant 7: what the strict parser refuses is refused, and no milder one sees it.
#[test]
fn what_is_in_doubt_is_refused_and_no_backend_hears_of_it() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    for (rule, status, rest) in REFUSED {
        // What follows must not be taken for a second request.
        let request =
            format!("POST /x HTTP/1.1\r\nHost: a.test\r\n{rest}GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let answers = front.exchange(request.as_bytes());
        let answer = Answer::parse(&answers);
        assert_eq!(answer.status, status, "{rule} {rest:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{rule} {rest:?}");
        let length: usize = answer.field("content-length").unwrap().parse().unwrap();
        assert_eq!(answer.body.len(), length, "{rule} {rest:?}: one answer and nothing after it");
    }
    assert!(recorder.links().is_empty(), "{:?}", recorder.links());
}

/// B43, B52: framing fields of HTTP/1.1 in an HTTP/1.0 request.
#[test]
fn a_transfer_coding_in_http_10_is_refused() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let answer = front.exchange(b"POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(Answer::parse(&answer).status, 400);
    assert!(recorder.links().is_empty());
}

/// B44: the limit is 63 bits; one past it stands in the table above.
#[test]
fn a_length_of_63_bits_is_believed() {
    let recorder = Recorder::silent();
    let front = front_with(&recorder);
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9223372036854775807\r\n\r\nstart");
    recorder.wait("the start of the body", |links| links.iter().any(|link| link.bytes.ends_with(b"start")));
    let head = String::from_utf8(recorder.links()[0].bytes.clone()).unwrap();
    assert!(head.contains("content-length: 9223372036854775807\r\n"), "{head}");
}

/// The whole of it, byte for byte: what a backend receives is written anew (P15).
#[test]
fn the_backend_receives_the_request_in_canonical_form() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let answer = front.exchange(
        b"\r\nPOST /a//b/../c;d?x=%2F&y=%zz HTTP/1.1\r\nHOST:   A.Test:8080 \t\r\nX-Case:\tMiXed \r\nX-Case: again\r\n\
          X-High: caf\xc3\xa9\r\nConnection: close, X-Hop\r\nX-Hop: gone\r\ncontent-length: 0005\r\n\r\nhello",
    );
    assert_eq!(Answer::parse(&answer).status, 200);
    let request = recorder.only();
    assert_eq!(request.line(), "POST /a//b/../c;d?x=%2F&y=%zz HTTP/1.1", "B57");
    let expected = [
        "content-length: 5",
        "host: A.Test:8080",
        "via: 1.1 hotcore-",
        "x-case: MiXed",
        "x-case: again",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: A.Test:8080",
        "x-forwarded-proto: http",
        "x-high: caf\u{e9}",
        "x-real-ip: 127.0.0.1",
    ];
    assert_eq!(request.sorted(), expected, "B11, B76-B84");
    assert_eq!(request.body, b"hello");
}

/// B49: no body is no framing, but for methods that a server expects a length with.
#[test]
fn a_request_without_body_has_no_framing_unless_its_method_implies_one() {
    for (method, length) in [
        ("GET", None),
        ("HEAD", None),
        ("DELETE", None),
        ("OPTIONS", None),
        ("PROPFIND", None),
        ("POST", Some("0")),
        ("PUT", Some("0")),
        ("PATCH", Some("0")),
    ] {
        let recorder = Recorder::answering(|_| Some(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()));
        let front = front_with(&recorder);
        let request = format!("{method} / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        assert_eq!(Answer::parse(&front.exchange(request.as_bytes())).status, 204);
        let request = recorder.only();
        assert_eq!(request.field("content-length"), length, "{method}");
        assert_eq!(request.field("transfer-encoding"), None, "{method}");
    }
}

/// B50, B252: for every method, those included that hyper would send without their body.
#[test]
fn a_body_keeps_its_kind_of_framing_whatever_the_method() {
    for method in ["GET", "DELETE", "POST", "PUT", "PROPFIND", "OPTIONS"] {
        let recorder = Recorder::start();
        let front = front_with(&recorder);
        let mut client = front.connect();
        client.send(format!("{method} /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello").as_bytes());
        assert_eq!(client.read_answer().status, 200, "{method}");
        client.send(format!("{method} /2 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: CHUNKED\r\n\r\n").as_bytes());
        client.send(b"3;ext=\"a;b\"\r\nhel\r\n002\r\nlo\r\n0;x\r\n\r\n");
        assert_eq!(client.read_answer().status, 200, "{method}: the connection goes on after a body");
        let requests = recorder.requests();
        assert_eq!(requests[0].field("content-length"), Some("5"), "{method}");
        assert_eq!(requests[0].field("transfer-encoding"), None, "{method}");
        assert_eq!(requests[0].body, b"hello");
        assert_eq!(requests[1].field("content-length"), None, "{method}");
        assert_eq!(requests[1].field("transfer-encoding"), Some("chunked"), "{method}");
        assert_eq!(dechunked(&requests[1].body), b"hello", "B48: extensions end here");
        assert!(!requests[1].body.contains(&b';'), "B48");
    }
}

/// B47.
#[test]
fn a_bad_chunk_leaves_the_backends_message_unfinished_and_is_answered_with_400() {
    for bad in [
        "-1\r\n",
        "0x5\r\n",
        "\r\n",
        "5 \r\n",
        "fffffffffffffffff\r\n",
        "8000000000000000\r\n",
        "5\nhello\r\n",
        "g\r\n",
    ] {
        let recorder = Recorder::start();
        let front = front_with(&recorder);
        let mut client = front.connect();
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
        recorder.wait("the first chunk", |links| links.iter().any(|link| link.bytes.ends_with(b"hello\r\n")));
        client.send(bad.as_bytes());
        client.send(b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let answer = Answer::parse(&client.read_to_end());
        assert_eq!((answer.status, answer.field("connection")), (400, Some("close")), "{bad:?}");
        recorder.wait_for_end();
        assert!(recorder.requests().is_empty(), "{bad:?}: the backend must not see a complete request");
        assert_eq!(recorder.links().len(), 1, "{bad:?}");
    }
}

/// B47: what comes in one piece with the head is judged before anything is sent.
#[test]
fn a_bad_chunk_beside_its_head_reaches_no_backend() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let bytes = front.exchange(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n");
    assert_eq!(Answer::parse(&bytes).status, 400);
    assert!(recorder.links().is_empty());
}

/// B47: once the answer's head is out there is no other answer; both sides see a cut.
#[test]
fn a_bad_chunk_after_the_answer_began_cuts_both_sides() {
    let recorder = Recorder::scripted(
        |peer| peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
        |_| panic!("the request is never complete"),
    );
    let front = front_with(&recorder);
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    client.read_until(b"half");
    client.send(b"zz\r\n");
    assert_eq!(client.read_to_end(), b"", "nothing more");
    recorder.wait_for_end();
    assert!(recorder.requests().is_empty());
}

/// B52.
#[test]
fn http_10_is_served_with_plain_bytes_and_kept_open_only_if_asked() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let recorder = Recorder::answering(|request| {
        let is_fixed = request.line().contains("/fixed");
        Some(if is_fixed { b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec() } else { chunked.to_vec() })
    });
    let front = front_with(&recorder);
    let answer = front.exchange(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n");
    let answer = Answer::parse(&answer);
    assert_eq!((answer.status, &answer.body[..]), (200, &b"abcde"[..]));
    assert_eq!((answer.field("transfer-encoding"), answer.field("content-length")), (None, None));
    assert_eq!(recorder.requests()[0].line(), "GET / HTTP/1.1", "upstream is always HTTP/1.1");

    let mut client = front.connect();
    for _ in 0..2 {
        client.send(b"GET /fixed HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
        let answer = client.read_answer();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
    }
    client.send(b"GET /fixed HTTP/1.0\r\nHost: a.test\r\n\r\n");
    assert_eq!(Answer::parse(&client.read_to_end()).body, b"ok");
}

/// B52, B62.
#[test]
fn other_versions_get_a_505() {
    let front = Front::start();
    for request in [
        "GET /\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET / HTTP/1.2\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/0.9\r\n\r\n",
    ] {
        let answer = Answer::parse(&front.exchange(request.as_bytes()));
        assert_eq!((answer.status, answer.field("connection")), (505, Some("close")), "{request:?}");
    }
}

/// B53: the backend sees the second request only when the first is answered.
#[test]
fn a_pipelined_request_waits_for_the_answer_before_it() {
    let backend = Backend::start(|mut peer, number| {
        assert_eq!(number, 0, "the second request must not take another connection");
        peer.read_head().unwrap();
        let soon = std::time::Duration::from_millis(100);
        peer.stream.set_read_timeout(Some(soon)).unwrap();
        assert!(peer.read_head().is_none(), "the second request came before the first answer");
        peer.stream.set_read_timeout(Some(crate::front::PATIENCE)).unwrap();
        peer.answer("first");
        assert!(peer.read_head().unwrap().starts_with("GET /2 "));
        peer.answer("second");
        peer.read_head();
    });
    let mut front = Front::start();
    front.map("a.test", backend.port);
    let mut client = front.connect();
    client.send(b"GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\nGET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.read_answer().text(), "first");
    assert_eq!(client.read_answer().text(), "second");
}

/// B53, B54: more than anybody's buffer, in one go.
#[test]
fn thousands_of_pipelined_requests_are_answered_one_by_one() {
    const REQUESTS: usize = 5_000;
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            peer.answer(head.split(' ').nth(1).unwrap());
        }
    });
    let mut front = Front::start();
    front.map("a.test", backend.port);
    let mut client = front.connect();
    let mut sender = client.stream.try_clone().unwrap();
    let requests: String = (0..REQUESTS)
        .map(|n| match n % 3 {
            0 => format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n"),
            1 => format!("POST /{n} HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 0\r\n\r\n"),
            _ => format!("HEAD /{n} HTTP/1.1\r\nHost: nobody.test\r\n\r\n"),
        })
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| std::io::Write::write_all(&mut sender, requests.as_bytes()).unwrap());
        for n in 0..REQUESTS {
            match n % 3 {
                0 => assert_eq!(client.read_answer().text(), format!("/{n}")),
                1 => assert_eq!(client.read_answer().status, 404),
                _ => assert_eq!(Answer::parse(&client.read_until(b"\r\n\r\n")).status, 404),
            }
        }
    });
    drop((client, sender));
    eventually("no connection left", || front.workers.counts().connections == 0);
}

fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let line = bytes.windows(2).position(|window| window == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        bytes = &bytes[line + 4 + size..];
    }
}
