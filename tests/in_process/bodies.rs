//! Section 9 of the edges: how the body of an answer travels, beside an upload, to its end, or to a cut.

use std::{
    io::Read,
    net::Shutdown,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use crate::front::{Answer, Backend, Front, eventually, spawn};

const KEEP: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const HTTP_10: &[u8] = b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n";

fn front_of(backend: &Backend) -> Front {
    let mut front = Front::start();
    front.map("a.test", backend.port);
    front
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
            let sending = spawn(move || {
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

impl Answer {
    fn parse_if_whole(bytes: &[u8]) -> Option<Self> {
        bytes.windows(4).any(|window| window == b"\r\n\r\n").then(|| Self::parse(bytes))
    }
}

/// RFC 9112, 8: a body that its client ends early is the client's fault, and the backend never sees a complete request (B47).
#[test]
fn a_body_that_the_client_ends_early_is_its_own_fault() {
    for (head, part) in [("Content-Length: 10", "12345"), ("Transfer-Encoding: chunked", "5\r\n12345\r\n")] {
        let backend = Backend::start(|mut peer, _| {
            peer.read_head();
            let mut rest = Vec::new();
            let _ = peer.stream.read_to_end(&mut rest);
            assert!(!rest.ends_with(b"0\r\n\r\n"));
        });
        let mut front = Front::start();
        front.map("a.test", backend.port);
        let mut client = front.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{head}\r\n\r\n{part}").as_bytes());
        client.finish();
        let answer = Answer::parse(&client.read_to_end());
        assert_eq!(answer.status, 400, "{head}: {}", answer.text());
        assert!(answer.text().contains("ends before"), "{}", answer.text());
        eventually("the backend's connection ends", || backend.open() == 0);
    }
}
