//! Section 9 of the edges: what a backend may answer, and what the client sees of it.

use std::{
    io::Read,
    net::Shutdown,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::front::{Answer, Backend, Client, Front, Peer, eventually};

const KEEP: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const HTTP_10: &[u8] = b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n";

/// Answers each request with these bytes, and keeps the connection.
fn saying(bytes: impl Into<Vec<u8>>) -> Backend {
    let bytes = bytes.into();
    Backend::start(move |mut peer, _| {
        while peer.read_head().is_some() {
            peer.send(&bytes);
        }
    })
}

/// Answers one request with these bytes and ends the connection, in order or with RST.
fn ending(bytes: &'static [u8], by_reset: bool) -> Backend {
    Backend::start(move |mut peer, _| {
        if peer.read_head().is_some() {
            peer.send(bytes);
            if by_reset {
                peer.reset();
            }
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
    Answer::parse(&client.read_until_quiet())
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

/// B96: the head comes at once, and both bodies go on side by side.
#[test]
fn an_early_answer_and_the_upload_go_on_together() {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head().unwrap();
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..5 {
            let piece = peer.read_exact(5);
            peer.send(b"5\r\n");
            peer.send(&piece);
            peer.send(b"\r\n");
        }
        peer.send(b"0\r\n\r\n");
        peer.ends();
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 25\r\n\r\n");
    let head = client.read_head().to_lowercase();
    assert!(head.contains("connection: close\r\n"), "where the upload ends is not certain yet: {head}");
    for piece in ["one, ", "two, ", "three", "four,", "five."] {
        client.send(piece.as_bytes());
        let got = client.read_until(b"\r\n").len() + client.read_until(b"\r\n").len();
        assert_eq!(got, 3 + 7, "each piece comes back before the next is sent");
    }
    assert_eq!(client.read_to_end(), b"0\r\n\r\n");
}

/// B96, B98, B35: an answer that ends before the upload closes both connections, and is not destroyed by that.
#[test]
fn an_answer_that_ends_before_the_upload_is_whole_and_the_last() {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head().unwrap();
        peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\n\r\ntoo much");
        peer.ends();
        // What is left of the upload may come, then the end.
        let _ = peer.stream.read_to_end(&mut Vec::new());
    });
    let front = front_of(&backend);
    for size in [10_usize, 300_000] {
        let mut client = front.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n", 10_000_000).as_bytes());
        client.send(&vec![b'x'; size]);
        let (bytes, end) = client.read_result();
        let answer = Answer::parse(&bytes);
        assert_eq!((answer.status, answer.text().as_str()), (413, "too much"));
        assert_eq!(answer.field("connection"), Some("close"));
        end.expect("no RST");
    }
    eventually("the backend's connections end", || backend.open() == 0);
}

/// B97: it answered and closed while the upload was under way: its answer counts.
#[test]
fn an_answer_given_in_mid_upload_survives_the_close_of_the_backend() {
    for by_reset in [false, true] {
        let backend = Backend::start(move |mut peer, _| {
            peer.read_head().unwrap();
            peer.read_exact(1000);
            peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
            // The kernel sends RST by itself where bytes are unread; asked for, it comes for certain.
            if by_reset {
                peer.reset();
            }
        });
        let front = front_of(&backend);
        for _ in 0..20 {
            let mut client = front.connect();
            let mut upload = client.stream.try_clone().unwrap();
            client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3000000\r\n\r\n");
            let sending = thread::spawn(move || {
                let _ = std::io::Write::write_all(&mut upload, &vec![b'x'; 3_000_000]);
            });
            let answer = Answer::parse(&client.read_until(b"\r\n\r\nno"));
            assert_eq!(answer.status, 401, "reset: {by_reset}");
            sending.join().unwrap();
        }
    }
}

/// B97: the backend takes nothing more of the upload and says nothing; then it answers.
#[test]
fn a_backend_that_stops_reading_may_answer_later() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |mut peer, _| {
        peer.read_head().unwrap();
        wait.lock().unwrap().recv().unwrap();
        peer.answer("enough");
        peer.stream.shutdown(Shutdown::Write).unwrap();
        let _ = peer.stream.read_to_end(&mut Vec::new());
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n");
    client.stream.set_nonblocking(true).unwrap();
    let (mut sent, mut stuck_since) = (0, Instant::now());
    while stuck_since.elapsed() < Duration::from_millis(300) {
        match std::io::Write::write(&mut client.stream, &[b'x'; 65536]) {
            Ok(bytes) => (sent, stuck_since) = (sent + bytes, Instant::now()),
            Err(_) => thread::sleep(Duration::from_millis(5)),
        }
    }
    assert!(sent < 50_000_000, "B54: back-pressure, but {sent} bytes were taken");
    client.stream.set_nonblocking(false).unwrap();
    go.send(()).unwrap();
    assert_eq!(client.read_answer().text(), "enough");
}

/// B74, B247: the client resets while its upload is stuck, and the backend, which has begun to answer, is silent.
#[test]
fn a_client_that_leaves_a_stuck_upload_frees_the_backend() {
    let (left, has_left) = mpsc::channel::<()>();
    let has_left = std::sync::Mutex::new(has_left);
    let backend = Backend::start(move |mut peer, _| {
        peer.read_head().unwrap();
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        has_left.lock().unwrap().recv().unwrap();
        let _ = peer.stream.read_to_end(&mut Vec::new());
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n");
    client.read_head();
    client.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    while std::io::Write::write_all(&mut client.stream, &[b'x'; 65536]).is_ok() {}
    client.reset();
    front.is_left_alone();
    left.send(()).unwrap();
    eventually("the backend's connection ends", || backend.open() == 0);
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

/// B100: on each kind of client connection a cut is visible.
#[test]
fn a_body_cut_short_is_seen_as_cut() {
    let pieces: [(&str, &'static [u8], bool); 5] = [
        ("length, FIN", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", false),
        ("length, RST", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello", true),
        ("chunked, FIN", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", false),
        ("chunked, in a chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello", false),
        ("until close, RST", b"HTTP/1.1 200 OK\r\n\r\nhello", true),
    ];
    for (what, bytes, by_reset) in pieces {
        let backend = ending(bytes, by_reset);
        let front = front_of(&backend);
        for _ in 0..5 {
            let mut client = front.connect();
            client.send(KEEP);
            let got = String::from_utf8(client.read_to_end()).unwrap();
            if got.starts_with("HTTP/1.1 502") {
                // The reset overtook the head: nothing was relayed.
                assert!(by_reset, "{what}: {got}");
                continue;
            }
            assert!(got.starts_with("HTTP/1.1 200 OK"), "{what}: {got}");
            assert!(!got.ends_with("0\r\n\r\n"), "{what}: {got}");
            let answer = Answer::parse(got.as_bytes());
            if answer.field("transfer-encoding").is_none() {
                assert_eq!(answer.field("content-length"), Some("100"), "{what}");
                assert!(answer.body.len() < 100);
            }
            // Without a length the only sign that an HTTP/1.0 client can see is RST.
            let mut old = front.connect();
            old.send(HTTP_10);
            let (got, end) = old.read_result();
            if !got.starts_with(b"HTTP/1.0 502")
                && Answer::parse_if_whole(&got).is_none_or(|a| a.field("content-length").is_none())
            {
                end.expect_err(what);
            }
        }
    }
}

/// B100, B203: an answer that we ourselves cut is seen as cut, too.
#[test]
fn an_answer_cut_by_a_stop_is_seen_as_cut() {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head().unwrap();
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello");
        peer.ends();
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    client.send(HTTP_10);
    client.read_until(b"hello");
    drop(front);
    client.read_result().1.expect_err("RST, not a clean end");
}

/// B101: complete by definition; the client gets it chunked and stays, and one of HTTP/1.0 gets a clean end.
#[test]
fn an_answer_that_ends_with_its_connection_is_complete() {
    let backend = ending(b"HTTP/1.1 200 OK\r\n\r\nhello", false);
    let front = front_of(&backend);
    let mut client = front.connect();
    for _ in 0..3 {
        client.send(KEEP);
        let head = client.read_head();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert!(!head.contains("connection"), "{head}");
        assert!(client.read_until(b"0\r\n\r\n").windows(5).any(|window| window == b"hello"));
    }
    let mut old = front.connect();
    old.send(HTTP_10);
    let (got, end) = old.read_result();
    end.unwrap();
    let answer = Answer::parse(&got);
    assert_eq!((answer.text().as_str(), answer.field("transfer-encoding")), ("hello", None), "B52");
}

/// B102: each piece arrives before the next is sent, whatever the framing.
#[test]
fn each_piece_is_passed_on_as_it_comes() {
    for (head, open, close) in [
        ("Content-Type: text/event-stream\r\n\r\n", "", ""),
        ("Transfer-Encoding: chunked\r\n\r\n", "5\r\n", "\r\n"),
        ("Content-Length: 50\r\n\r\n", "", ""),
    ] {
        let (seen, go) = mpsc::channel::<()>();
        let go = std::sync::Mutex::new(go);
        let backend = Backend::start(move |mut peer, _| {
            peer.read_head().unwrap();
            peer.send(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes());
            for _ in 0..10 {
                peer.send(format!("{open}piece{close}").as_bytes());
                go.lock().unwrap().recv().unwrap();
            }
        });
        let front = front_of(&backend);
        let mut client = front.connect();
        client.send(KEEP);
        for _ in 0..10 {
            client.read_until(b"piece");
            seen.send(()).unwrap();
        }
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
        let on_request = ending(bytes, false);
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

impl Client {
    /// All that comes until the end of the connection, which the request has asked for.
    fn read_until_quiet(&mut self) -> Vec<u8> {
        self.read_to_end()
    }
}

impl Answer {
    fn parse_if_whole(bytes: &[u8]) -> Option<Self> {
        bytes.windows(4).any(|window| window == b"\r\n\r\n").then(|| Self::parse(bytes))
    }
}
