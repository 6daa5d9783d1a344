//! Trailers, both ways (B72, B73).

use std::sync::mpsc;

use crate::front::{Backend, Front, Peer};

/// Reads a head and a chunked body with its trailers, as they are.
fn read_chunked(peer: &mut Peer) -> (String, String) {
    let head = peer.read_head().unwrap();
    let mut body = String::new();
    while !body.contains("0\r\n") || !body.ends_with("\r\n\r\n") {
        body.push(char::from(peer.read_exact(1)[0]));
    }
    (head, body)
}

#[test]
fn an_uploads_announced_trailers_reach_the_backend_and_no_others() {
    let (seen, arrived) = mpsc::channel();
    let backend = Backend::start(move |mut peer, _| {
        let request = read_chunked(&mut peer);
        peer.answer("thanks");
        seen.send(request).unwrap();
        peer.ends();
    });
    let mut front = Front::start();
    front.map("a.test", backend.port);
    let mut client = front.connect();
    client.send(
        b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Authorization, Cookie\r\n\r\n\
          5\r\nhello\r\n0\r\nX-Sum: 42\r\nCookie: a=1\r\nX-Unannounced: 1\r\n\r\n",
    );
    assert_eq!(client.read_answer().text(), "thanks");
    let (head, body) = arrived.recv().unwrap();
    let head = head.to_lowercase();
    assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
    assert!(!head.contains("x-sum: 42"), "never merged into the head: {head}");
    assert!(body.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{body:?}");
    // The client's connection and the backend's are both still good.
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Set-Cookie\r\n\r\n\
                        5\r\nhello\r\n0\r\nX-Sum: 42\r\nSet-Cookie: a=1\r\nX-Unannounced: 1\r\n\r\n";

fn with_trailers() -> Backend {
    Backend::start(|mut peer, _| {
        while peer.read_head().is_some() {
            peer.send(ANSWER);
        }
    })
}

#[test]
fn an_answers_trailers_reach_a_client_that_takes_them() {
    let backend = with_trailers();
    let mut front = Front::start();
    front.map("a.test", backend.port);
    let mut client = front.connect();
    for te in ["trailers", "deflate, Trailers;q=0.5", "trailers, deflate;q=0.5"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: a.test\r\nTE: {te}\r\nConnection: TE\r\n\r\n").as_bytes());
        let head = client.read_head();
        assert!(head.contains("trailer: X-Sum"), "{head}");
        let body = String::from_utf8(client.read_until(b"\r\n\r\n")).unwrap();
        let body = if body.contains("0\r\n") { body } else { panic!("{body:?}") };
        assert!(body.starts_with("5\r\nhello\r\n0\r\n"), "{te}: {body:?}");
        if !te.contains(";q=0.5") || te.starts_with("trailers") {
            assert!(body.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{te}: {body:?}");
        }
        assert!(!body.contains("cookie") && !body.contains("unannounced"), "{te}: {body:?}");
    }
    assert_eq!(backend.accepted(), 1, "B35: the connection is used again");
}

#[test]
fn a_client_that_does_not_take_trailers_gets_none() {
    let backend = with_trailers();
    let mut front = Front::start();
    front.map("a.test", backend.port);
    let mut client = front.connect();
    for _ in 0..3 {
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let head = client.read_head();
        assert!(!head.contains("trailer:"), "{head}");
        assert_eq!(client.read_until(b"\r\n\r\n"), b"5\r\nhello\r\n0\r\n\r\n");
    }
    assert_eq!(backend.accepted(), 1);
    let old = front.exchange(b"GET / HTTP/1.0\r\nHost: a.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    let old = String::from_utf8(old).unwrap();
    assert!(old.ends_with("\r\n\r\nhello"), "B52, B73: {old}");
    assert!(!old.contains("trailer:"), "{old}");
}
