//! Section 13 over the wire: every answer of our own, in the form that the client prefers, whole and in time; and the lingering
//! close that lets an early answer survive (B98).

use std::{io::Write, time::Instant};

use hotcore::{limits::LINGER, proxy::Patience};

use crate::{
    front::{Answer, Backend, Front, eventually},
    recorder::Recorder,
};

/// Requests that hotcore answers itself, with the status.
const OWN: [(u16, &str); 10] = [
    (204, "OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: a@a.test\r\n"),
    (404, "GET / HTTP/1.1\r\nHost: nobody.test\r\n"),
    (404, "GET / HTTP/1.0\r\n"),
    (501, "TRACE / HTTP/1.1\r\nHost: a.test\r\n"),
    (501, "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\n"),
    (502, "GET / HTTP/1.1\r\nHost: broken.test\r\n"),
    (505, "GET / HTTP/2.0\r\nHost: a.test\r\n"),
    (508, "GET / HTTP/1.1\r\nHost: self.test\r\n"),
    (400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n"),
];

fn front() -> (Front, Backend) {
    let broken = Backend::start(|mut peer, _| {
        peer.read_head();
        peer.send(b"220 smtp.example ESMTP\r\n");
        peer.read_head();
    });
    let mut front = Front::start();
    let own = front.address.port();
    front.map("a.test", broken.port);
    front.map("broken.test", broken.port);
    front.map("self.test", own);
    (front, broken)
}

/// B157–B161.
#[test]
fn own_answers_look_as_their_client_prefers() {
    let (front, _broken) = front();
    for (status, request) in OWN {
        for (accept, media_type) in [
            ("", "text/plain; charset=utf-8"),
            ("Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n", "text/html; charset=utf-8"),
            ("accept:application/json\r\n", "application/json"),
        ] {
            let answer = front.exchange(format!("{request}{accept}Connection: close\r\n\r\n").as_bytes());
            let answer = Answer::parse(&answer);
            assert_eq!(answer.status, status, "{request:?}");
            assert_eq!(answer.field("server"), Some("hotcore"), "B160 {request:?}");
            assert_eq!(answer.field("cache-control"), Some("no-store"), "B158 {request:?}");
            // In HTTP/1.0 it goes without saying.
            let close = if request.contains("HTTP/1.0") { None } else { Some("close") };
            assert_eq!(answer.field("connection"), close, "{request:?}");
            assert!(answer.field("date").is_some(), "P30 {request:?}");
            if status == 204 {
                assert_eq!((answer.field("content-length"), answer.body.len()), (None, 0));
                continue;
            }
            assert_eq!(answer.field("content-type"), Some(media_type), "{request:?}");
            assert_eq!(answer.field("x-content-type-options"), Some("nosniff"), "B158 {request:?}");
            assert_eq!(answer.field("content-length"), Some(answer.body.len().to_string().as_str()));
            let text = answer.text();
            match media_type {
                "application/json" => {
                    let page: serde_json::Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(page["status"], status);
                    assert!(page["error"].as_str().is_some_and(|error| !error.is_empty()), "{text}");
                }
                "text/plain; charset=utf-8" => assert!(text.starts_with(&format!("{status} ")), "{text}"),
                _ => assert!(text.contains("<title>") && !text.contains("<script"), "{text}"),
            }
            assert!(!text.contains(env!("CARGO_PKG_VERSION")), "B159: {text}");
        }
    }
}

/// B161: the same headers, and no body.
#[test]
fn head_gets_the_headers_of_a_page_without_the_page() {
    let (front, _broken) = front();
    for (status, request) in [
        (404, "/ HTTP/1.1\r\nHost: nobody.test\r\nConnection: close\r\n\r\n"),
        (404, "/ HTTP/1.0\r\n\r\n"),
        (400, "/ HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n"),
        (502, "/ HTTP/1.1\r\nHost: broken.test\r\nConnection: close\r\n\r\n"),
        (508, "/ HTTP/1.1\r\nHost: self.test\r\nConnection: close\r\n\r\n"),
    ] {
        let get = Answer::parse(&front.exchange(format!("GET {request}").as_bytes()));
        let head = Answer::parse(&front.exchange(format!("HEAD {request}").as_bytes()));
        assert_eq!((get.status, head.status), (status, status), "{request:?}");
        assert_eq!(head.body, b"", "{request:?}");
        let without_date =
            |answer: &Answer| -> Vec<_> { answer.fields.iter().filter(|(name, _)| name != "date").cloned().collect() };
        assert_eq!(without_date(&head), without_date(&get), "{request:?}");
    }
}

/// A page about one request does not end the connection where nothing is in doubt.
#[test]
fn a_connection_goes_on_after_a_page() {
    let (mut front, _broken) = front();
    let backend = Backend::fixed("here");
    let mut client = front.connect();
    for request in ["GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: self.test\r\n\r\n"] {
        client.send(request.as_bytes());
        assert_eq!(client.read_answer().field("connection"), None, "{request:?}");
    }
    client.send(b"HEAD / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
    client.read_until(b"\r\n\r\n");
    front.map("nobody.test", backend.port);
    client.send(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
    assert_eq!(client.read_answer().text(), "here");
}

/// B98, B96, B161: the client sends on and on, and reads only then; as a library does that writes its body first.
#[test]
fn an_early_answer_to_a_large_upload_is_received_completely() {
    let recorder = Recorder::scripted(
        |peer| peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\n\r\ntoo large"),
        |_| None,
    );
    let mut front = Front::start();
    front.map("a.test", recorder.port);
    for (host, status, framing) in [
        ("nobody.test", 404, "Content-Length: 900000"),
        ("nobody.test", 404, "Content-Length: 9000000000"),
        ("nobody.test", 404, "Transfer-Encoding: chunked"),
        ("a.test", 413, "Content-Length: 9000000000"),
        ("a.test", 413, "Transfer-Encoding: chunked"),
        ("@", 400, "Content-Length: 900000"),
    ] {
        let mut client = front.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: {host}\r\n{framing}\r\n\r\n").as_bytes());
        let chunk = [b"400\r\n", &[b'x'; 0x400][..], b"\r\n"].concat();
        for _ in 0..700 {
            if client.stream.write_all(&chunk).is_err() {
                break;
            }
        }
        let (bytes, end) = client.read_result();
        let answer = Answer::parse(&bytes);
        assert_eq!((answer.status, answer.field("connection")), (status, Some("close")), "{host} {framing}");
        assert_eq!(answer.field("content-length"), Some(answer.body.len().to_string().as_str()), "whole");
        assert!(end.is_ok(), "{host} {framing}: no reset: {end:?}");
    }
    eventually("no connection left", || front.workers.counts().connections == 0);
}

/// B98, B146: who sends on beyond the limit is cut, and who neither sends nor closes is not waited for longer.
#[test]
fn a_lingering_close_has_an_end() {
    let patience = Patience { linger: LINGER / 10, ..Patience::default() };
    let front = Front::start_with(|config| config.patience = patience);
    let start = Instant::now();
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 9000000000\r\n\r\n");
    client.read_answer();
    eventually("the silent client is let go", || front.workers.counts().connections == 0);
    assert!(start.elapsed() >= LINGER / 10, "not before its time");

    let front = Front::start();
    let start = Instant::now();
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 9000000000\r\n\r\n");
    client.read_answer();
    let block = [b'x'; 64 * 1024];
    let mut sent = 0;
    while client.stream.write_all(&block).is_ok() {
        sent += block.len();
        assert!(sent < 100_000_000, "taken without end");
    }
    assert!(start.elapsed() < LINGER, "cut by the bytes, not by the time");
    eventually("the sender is let go", || front.workers.counts().connections == 0);
}

/// B98, B203: a stop does not wait for it.
#[test]
fn a_lingering_close_does_not_hold_up_a_stop() {
    let front = Front::start();
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 9000000000\r\n\r\n");
    client.read_answer();
    let start = Instant::now();
    drop(front);
    assert!(start.elapsed() < LINGER / 2, "{:?}", start.elapsed());
}
