//! Section 9 of the edges: what a backend may answer, and what the client sees of it.

use crate::front::{Answer, Backend, Front, Peer, eventually};

const KEEP: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// Answers each request with these bytes, and keeps the connection.
fn saying(bytes: impl Into<Vec<u8>>) -> Backend {
    let bytes = bytes.into();
    Backend::start(move |mut peer, _| {
        while peer.read_head().is_some() {
            peer.send(&bytes);
        }
    })
}

fn front_of(backend: &Backend) -> Front {
    let mut front = Front::start();
    front.map("a.test", backend.port);
    front
}

fn ask(front: &Front, request: &[u8]) -> Answer {
    let mut client = front.connect();
    client.send(request);
    Answer::parse(&client.read_to_end())
}

/// B91, B92, B93, B95: not relayed, and the connection is not used again.
#[test]
fn an_answer_that_breaks_a_rule_is_replaced_by_502_and_its_connection_closed() {
    let cases: &[(&str, &[u8])] = &[
        ("B91 both framings", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
        ("B91 the other order", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("B91 differing lengths", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
        ("B91 a list of them", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello"),
        ("B91 a sign", b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello"),
        ("B91 a word", b"HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello"),
        ("B91 beyond 63 bits", b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\nhello"),
        ("B91 on a 304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5, 6\r\n\r\n"),
        ("B92 gzip", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx"),
        ("B92 a list", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
        ("B92 chunked twice", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        (
            "B92 two lines",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("B92 identity", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nxx"),
        ("B92 in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("B93 HTTP/0.9", b"<html>hello</html>\r\n\r\n"),
        ("B93 another version", b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("B93 HTTP/2 in text", b"HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("B93 a folded line", b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
        ("B93 a blank before the colon", b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n"),
        ("B93 no colon", b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n"),
        ("B93 status 600", b"HTTP/1.1 600 Far\r\nContent-Length: 0\r\n\r\n"),
        ("B93 status 999", b"HTTP/1.1 999 Far\r\nContent-Length: 0\r\n\r\n"),
        ("B93 status 099", b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n"),
        ("B93 status 20", b"HTTP/1.1 20 Low\r\nContent-Length: 0\r\n\r\n"),
        ("B95 a 101 unasked", b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ];
    for (what, bytes) in cases {
        let backend = saying(*bytes);
        let front = front_of(&backend);
        let mut client = front.connect();
        client.send(KEEP);
        let answer = client.read_answer();
        assert_eq!(answer.status, 502, "{what}: {answer:?}");
        assert_eq!(answer.field("server"), Some("hotcore"), "{what}");
        eventually(what, || backend.open() == 0);
        client.send(KEEP);
        assert_eq!(client.read_answer().status, 502, "{what}: the client's connection lives on");
        assert_eq!(backend.accepted(), 2, "{what}");
    }
}

/// B91: equal lengths are one length (RFC 9112, 6.3).
#[test]
fn equal_lengths_become_one() {
    for lines in ["Content-Length: 5\r\nContent-Length: 5", "Content-Length: 5, 5", "Content-Length: 005"] {
        let backend = saying(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nhello"));
        let front = front_of(&backend);
        let mut client = front.connect();
        client.send(KEEP);
        let answer = client.read_answer();
        assert_eq!((answer.field("content-length"), answer.text().as_str()), (Some("5"), "hello"), "{lines}");
    }
}

/// B93: 256 fields and 256 KiB pass, one more does not.
#[test]
fn the_head_of_an_answer_has_its_limits() {
    let fields = |count: usize| {
        let lines: String = (0..count - 1).map(|n| format!("X-{n}: y\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{lines}\r\n")
    };
    let bytes = |size: usize| {
        let (start, end) = ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: ", "\r\n\r\n");
        format!("{start}{}{end}", "x".repeat(size - start.len() - end.len()))
    };
    for (what, answer, status) in [
        ("256 fields", fields(256), 200),
        ("257 fields", fields(257), 502),
        ("256 KiB", bytes(256 * 1024), 200),
        ("256 KiB and a byte", bytes(256 * 1024 + 1), 502),
        ("1 MiB", bytes(1024 * 1024), 502),
    ] {
        let backend = saying(answer);
        let front = front_of(&backend);
        let mut client = front.connect();
        client.send(KEEP);
        assert_eq!(client.read_answer().status, status, "{what}");
    }
}

/// B94.
#[test]
fn interim_answers_are_read_and_dropped() {
    let backend = saying(
        &b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..],
    );
    let front = front_of(&backend);
    let mut client = front.connect();
    for _ in 0..3 {
        client.send(KEEP);
        let answer = client.read_answer();
        assert_eq!((answer.status, answer.text().as_str(), answer.field("link")), (200, "hello", None));
    }
    assert_eq!(backend.accepted(), 1);
}

/// B94: it ends in 502 after as many bytes as a head may have, and the neighbours are served meanwhile.
#[test]
fn a_flood_of_interim_answers_is_cut() {
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";
    let backend = Backend::start(move |mut peer, _| {
        if peer.read_head().is_none() {
            return;
        }
        let flood = interim.repeat(1000);
        while std::io::Write::write_all(&mut peer.stream, &flood).is_ok() {}
    });
    let neighbour = Backend::fixed("well");
    let mut front = front_of(&backend);
    front.map("b.test", neighbour.port);
    let before = resident_bytes();
    for _ in 0..10 {
        let mut flooded = front.connect();
        flooded.send(KEEP);
        assert_eq!(front.get("b.test").text(), "well");
        assert_eq!(flooded.read_answer().status, 502);
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes more");
    eventually("the flood ends", || backend.open() == 0);
    front.is_left_alone();
}

/// B94: hundreds of them in one answer are well, on a connection that is used again.
#[test]
fn many_interim_answers_are_no_flood() {
    let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(2000);
    let backend = saying(format!("{interim}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"));
    let front = front_of(&backend);
    let mut client = front.connect();
    for _ in 0..10 {
        client.send(KEEP);
        assert_eq!(client.read_answer().text(), "hi");
    }
    assert_eq!(backend.accepted(), 1);
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// B99, B251: the length that they tell of, no body, no invented length.
#[test]
fn answers_without_a_body_have_none() {
    let head = "HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for (request, answer, status, length) in [
        (head, "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", 200, Some("1234")),
        (head, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, Some("0")),
        (head, "HTTP/1.1 200 OK\r\n\r\n", 200, None),
        (head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, None),
        (head, "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n", 404, Some("9")),
        (get, "HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        (get, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, None),
        (get, "HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, None),
        // The library drops it, as RFC 9110, 15.4.5 allows.
        (get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", 304, None),
        (head, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1234\r\n\r\n", 304, Some("1234")),
        (get, "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", 205, Some("0")),
    ] {
        let backend = saying(answer);
        let front = front_of(&backend);
        let mut client = front.connect();
        for round in 0..3 {
            client.send(request.as_bytes());
            let got = Answer::parse(client.read_head().as_bytes());
            assert_eq!((got.status, got.field("content-length")), (status, length), "{request}{answer}{round}");
            assert_eq!(got.field("transfer-encoding"), None, "{request}{answer}");
            assert_eq!(got.field("connection"), None, "{request}{answer}");
        }
        // The next answer would begin with what an invented body had left.
        assert_eq!(backend.accepted(), 1, "{request}{answer}");
    }
}

/// B103.
#[test]
fn what_is_no_http_is_guessed() {
    let after: [(&str, &[u8], &str); 4] = [
        ("TLS alert", b"\x15\x03\x01\x00\x02\x02\x16", "speaks TLS"),
        ("HTTP/2", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0\0\x05\0\xff\xff\xff", "HTTP/2 only"),
        ("banner", b"220 mail ESMTP\r\n", "does not speak HTTP"),
        ("redis", b"-ERR unknown command\r\n", "does not speak HTTP"),
    ];
    for (what, bytes, words) in after {
        let on_request = Backend::start(move |mut peer, _| {
            peer.read_head();
            peer.send(bytes);
        });
        let on_accept = Backend::start(move |mut peer, _| {
            peer.send(bytes);
            peer.ends();
        });
        for backend in [&on_request, &on_accept] {
            let front = front_of(backend);
            for _ in 0..20 {
                let answer = front.get("a.test");
                assert_eq!(answer.status, 502, "{what}");
                assert!(answer.text().contains(words), "{what}: {}", answer.text());
            }
        }
    }
}

/// B104, B89.
#[test]
fn unknown_statuses_and_reasons_pass() {
    for line in ["HTTP/1.1 299 Odd but fine", "HTTP/1.1 599 Enough", "HTTP/1.1 200 Gut", "HTTP/1.1 418 I'm a teapot"] {
        let backend = saying(format!("{line}\r\nContent-Length: 0\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n"));
        let front = front_of(&backend);
        let mut client = front.connect();
        client.send(KEEP);
        let head = client.read_head();
        assert!(head.starts_with(&format!("{line}\r\n")), "{head}");
        let first = head.find("set-cookie: a=1\r\n").unwrap();
        assert!(first < head.find("set-cookie: b=2\r\n").unwrap());
    }
}

/// B105.
#[test]
fn the_backends_connection_is_its_own_affair() {
    let backend = Backend::start(|mut peer: Peer, _| {
        peer.read_head().unwrap();
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close, X-Own\r\nX-Own: 1\r\nKeep-Alive: timeout=9\r\nContent-Length: 2\r\n\r\nhi");
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    for round in 1..=3 {
        client.send(KEEP);
        let answer = client.read_answer();
        for name in ["connection", "keep-alive", "x-own"] {
            assert_eq!(answer.field(name), None, "{name}");
        }
        assert_eq!(backend.accepted(), round, "B35: `close` is obeyed");
    }
}

/// B161, B158: the page for a broken answer goes to HEAD without its body.
#[test]
fn a_page_for_head_has_no_body() {
    let backend = saying(&b"HTTP/1.1 600 Far\r\n\r\n"[..]);
    let front = front_of(&backend);
    let answer = ask(&front, b"HEAD / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert_eq!(answer.status, 502);
    assert!(answer.field("content-length").unwrap().parse::<usize>().unwrap() > 0);
    assert!(answer.body.is_empty());
}
