//! Section 3 of the edges: a kept connection that ends just when a request is sent on it (B37–B39).

use std::sync::mpsc;

use crate::front::{Backend, Front, Peer};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn front_of(backend: &Backend) -> Front {
    let mut front = Front::start();
    front.map("a.test", backend.port);
    front
}

/// Answers the first request on each connection and ends it when the second has come, without an answer.
fn stale_on_the_second(by_reset: bool, log: mpsc::Sender<String>) -> Backend {
    Backend::start(move |mut peer: Peer, _| {
        let Some(first) = peer.read_head() else { return };
        let _ = log.send(first.split(' ').next().unwrap().to_owned());
        if first.to_lowercase().contains("content-length: 2\r\n") {
            peer.read_exact(2);
        }
        peer.answer("x");
        if let Some(second) = peer.read_head() {
            let _ = log.send(format!("lost {}", second.split(' ').next().unwrap()));
        }
        if by_reset {
            peer.reset();
        }
    })
}

/// B37, B38: repeated once on a fresh connection, and counted.
#[test]
fn a_safe_request_on_a_stale_connection_is_repeated_once() {
    for by_reset in [false, true] {
        for method in ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
            let (log, logged) = mpsc::channel();
            let backend = stale_on_the_second(by_reset, log);
            let front = front_of(&backend);
            let mut client = front.connect();
            client.send(GET);
            client.read_answer();
            client.send(format!("{method} / HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes());
            let head = client.read_head();
            assert!(head.starts_with("HTTP/1.1 200"), "{method}: {head}");
            assert_eq!(
                logged.try_iter().collect::<Vec<_>>(),
                ["GET".into(), format!("lost {method}"), method.to_owned()]
            );
            assert_eq!((front.workers.counts().retries, backend.accepted()), (1, 2), "{method}");
        }
    }
}

/// B38, B39: whatever is not safe, or has a body, is sent once.
#[test]
fn other_requests_on_a_stale_connection_are_never_sent_twice() {
    for by_reset in [false, true] {
        for (method, body) in
            [("POST", ""), ("PATCH", ""), ("PROPFIND", ""), ("POST", "hi"), ("PUT", "hi"), ("GET", "hi")]
        {
            let (log, logged) = mpsc::channel();
            let backend = stale_on_the_second(by_reset, log);
            let front = front_of(&backend);
            let mut client = front.connect();
            client.send(GET);
            client.read_answer();
            let length = body.len();
            client.send(
                format!("{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
            );
            let answer = client.read_answer();
            assert_eq!(answer.status, 502, "{method} {body}");
            assert!(answer.text().contains("not repeated"), "{}", answer.text());
            assert_eq!(logged.try_iter().collect::<Vec<_>>(), ["GET".into(), format!("lost {method}")]);
            assert_eq!(front.workers.counts().retries, 0);
        }
    }
}

/// B38: with a byte of an answer, an interim one included, the request has been taken.
#[test]
fn a_request_that_was_answered_in_part_is_not_repeated() {
    for part in ["H", "HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Le"] {
        let backend = Backend::start(move |mut peer, _| {
            peer.read_head();
            peer.answer("x");
            if peer.read_head().is_some() {
                peer.send(part.as_bytes());
            }
        });
        let front = front_of(&backend);
        let mut client = front.connect();
        client.send(GET);
        client.read_answer();
        client.send(GET);
        assert_eq!(client.read_answer().status, 502, "{part:?}");
        assert_eq!((backend.accepted(), front.workers.counts().retries), (1, 0), "{part:?}");
    }
}

/// B38: the second attempt is the last.
#[test]
fn a_request_is_repeated_no_more_than_once() {
    let backend = Backend::start(|mut peer, number| {
        peer.read_head();
        if number == 0 {
            peer.answer("x");
            peer.read_head();
        }
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    client.send(GET);
    client.read_answer();
    client.send(GET);
    assert_eq!(client.read_answer().status, 502);
    assert_eq!((backend.accepted(), front.workers.counts().retries), (2, 1));
}
