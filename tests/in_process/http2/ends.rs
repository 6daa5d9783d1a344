//! How streams and connections end: cancelled, cut, drained, idle, silent (B26, B74, B100, B124, B125, B127, B131, B134, B135, B203, B207).

use std::{
    net::Shutdown,
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::Reason;
use hotcore::{
    limits::{HELD_PER_DOMAIN_MAX, HTTP2_FAULTS_MAX},
    service::worker::Drain,
};

use super::rig::{
    Answer, Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, Raw, SETTINGS, block, front_of,
    front_with, get, number, request, run, send_all,
};
use crate::{
    front::{Backend, Reserved, dead_port, eventually},
    recorder::Recorder,
    secure::SecureFront,
};

const STOP: Drain = Drain { requests: Duration::from_secs(3), tunnels: Duration::ZERO };

/// Answers `/begin` with the start of a body, nothing else at all, and says when it is given up.
fn dawdling() -> Backend {
    Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            if head.contains("/begin") {
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nstart");
            } else if head.contains("/quick") {
                peer.answer("quick");
                continue;
            }
            while !peer.ends() {}
            return;
        }
    })
}

/// B74, B125: before the answer, in its middle, and in the middle of an upload; the siblings live.
#[test]
fn a_cancelled_stream_cancels_its_request() {
    let backend = dawdling();
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        for path in ["/begin", "/never"] {
            for has_body in [false, true] {
                client.ready().await.unwrap();
                let (answer, mut body) = client.send.send_request(request("POST", path), !has_body).unwrap();
                if has_body {
                    body.send_data(Bytes::from_static(b"some"), false).unwrap();
                }
                let answer = if path == "/begin" { Some(answer.await.unwrap()) } else { None };
                while backend.open() != 1 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                body.send_reset(Reason::CANCEL);
                drop(answer);
                let start = Instant::now();
                while backend.open() != 0 {
                    assert!(start.elapsed() < Duration::from_secs(5), "{path} {has_body}");
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                assert_eq!(client.get("/quick").await.text(), "quick");
                // It is kept, and gone before the next is counted.
                while backend.open() != 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    });
    front.front.is_left_alone();
}

/// B24, B26: a place among those that wait for a backend is free at once.
#[test]
fn a_cancelled_stream_waits_no_longer() {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head();
        peer.answer("once");
    });
    let front = front_of(&backend);
    run(async {
        let mut late = Client::connect(&front).await;
        assert_eq!(late.get("/").await.text(), "once");
        backend.stop();
        let mut clients = Vec::new();
        let mut held = Vec::new();
        for _ in 0..10 {
            let mut client = Client::connect(&front).await;
            for _ in 0..100 {
                client.ready().await.unwrap();
                held.push(client.send.send_request(get("/"), true).unwrap());
            }
            clients.push(client);
        }
        while front.front.workers.counts().requests < 1 + u64::from(HELD_PER_DOMAIN_MAX) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(late.get("/").await.status, 503);
        // Less than half of its streams, which would be a flood (B120).
        drop(held.split_off(960));
        let start = Instant::now();
        loop {
            let (answer, _) = late.send.send_request(get("/"), true).unwrap();
            match tokio::time::timeout(Duration::from_millis(300), answer).await {
                Ok(answer) => assert_eq!(answer.unwrap().status(), 503),
                Err(_) => break,
            }
            assert!(start.elapsed() < Duration::from_secs(5), "no place is free");
        }
    });
}

/// B74: the client vanishes, with everything open.
#[test]
fn a_client_that_vanishes_takes_all_its_streams_along() {
    let backend = dawdling();
    let front = front_of(&backend);
    for by_reset in [true, false] {
        let mut raw = Raw::connect(&front);
        for number in 0..10 {
            let path = if number % 2 == 0 { "/begin" } else { "/never" };
            let block = block("GET", path, &[]);
            raw.send(HEADERS, 5, 2 * number + 1, &block);
        }
        eventually("all are at the backend", || backend.open() == 10);
        if by_reset {
            socket2::SockRef::from(&raw.client.stream.sock).set_linger(Some(Duration::ZERO)).unwrap();
            drop(raw);
        } else {
            raw.client.stream.sock.shutdown(Shutdown::Write).unwrap();
        }
        eventually("all are given up", || backend.open() == 0);
        front.front.is_left_alone();
    }
}

/// B100: a cut never ends like a close.
#[test]
fn a_body_cut_short_resets_its_stream() {
    let backend = Backend::start(|mut peer, _| {
        let head = peer.read_head().unwrap();
        match head.split(' ').nth(1).unwrap() {
            "/length" => peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"),
            "/chunked" => peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            "/reset" => {
                peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello");
                thread::sleep(Duration::from_millis(100));
                peer.reset();
            }
            _ => peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello"),
        }
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        for path in ["/length", "/chunked", "/reset"] {
            let error = Answer::read(client.ask(get(path)).await.unwrap()).await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR), "{path}");
        }
        assert_eq!(client.get("/until-close").await.text(), "hello", "B101");
    });
}

/// B47: a reset without an error is no end of the body.
#[test]
fn an_upload_that_is_reset_without_an_error_is_not_complete() {
    let recorder = Recorder::silent();
    let front = front_with(recorder.port, |_| {});
    let mut raw = Raw::connect(&front);
    for number in 0..50_u32 {
        let stream = 4 * number + 1;
        raw.send(HEADERS, END_HEADERS, stream, &block("POST", "/", &[]));
        raw.send(DATA, 0, stream, b"delete everything older than a year");
        let count = usize::try_from(number).unwrap() + 1;
        recorder.wait("it is there", |links| {
            links.iter().filter(|link| link.bytes.ends_with(b"year\r\n")).count() == count
        });
        raw.send(RST_STREAM, 0, stream, &0_u32.to_be_bytes());
        // A second stream, so that this is no flood (B120).
        raw.send(HEADERS, END_HEADERS | END_STREAM, stream + 2, &block("GET", "/", &[("host", "b.test")]));
        raw.outcome(stream + 2).unwrap();
    }
    recorder.wait_for_end();
    assert!(recorder.requests().is_empty(), "{:?}", recorder.requests());
}

/// B96, B100: resets that an honest client's requests lead to are no fault of its own (B121).
#[test]
fn many_early_and_broken_answers_are_no_flood() {
    let backend = Backend::start(|mut peer, _| {
        let head = peer.read_head().unwrap();
        if head.starts_with("GET") {
            return peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
        }
        peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
        while !peer.ends() {}
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        for _ in 0..2 * HTTP2_FAULTS_MAX {
            let (answer, mut body) = client.begin(request("POST", "/")).await;
            body.send_data(Bytes::from_static(b"some of it"), false).unwrap();
            assert_eq!(Answer::read(answer.await.unwrap()).await.unwrap().status, 413);
            assert!(Answer::read(client.ask(get("/")).await.unwrap()).await.is_err());
        }
    });
}

/// A backend that answers each request when the test says so.
fn waiting() -> (Backend, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::start(move |mut peer, _| {
        while let Some(head) = peer.read_head() {
            if head.contains("/moving") {
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nstart");
            }
            if wait.lock().unwrap().recv().is_err() {
                return;
            }
            if head.contains("/moving") { peer.send(b"-end!") } else { peer.answer("at last") }
        }
    });
    (backend, go)
}

/// B127, B203: the client is told, its open streams finish, then the connection ends in order.
#[test]
fn a_stop_finishes_open_streams() {
    let (backend, go) = waiting();
    let mut front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        let mut idle = Client::connect(&front).await;
        idle.ready().await.unwrap();
        let (answer, _) = client.send.send_request(get("/"), true).unwrap();
        while front.front.workers.counts().requests < 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        front.front.workers.drain(STOP);
        idle.end.await.unwrap().expect("an idle one ends at once, in order");
        go.send(()).unwrap();
        let answer = Answer::read(answer.await.unwrap()).await.unwrap();
        assert_eq!((answer.text(), answer.field("connection")), ("at last", None));
        client.end.await.unwrap().expect("GOAWAY without an error");
    });
    front.front.has_ended();
}

/// B127: what crosses the GOAWAY on its way is served; nothing after the second one is.
#[test]
fn a_request_that_crosses_the_goaway_is_served() {
    let backend = Backend::fixed("hello");
    let mut front = front_of(&backend);
    let mut raw = Raw::connect(&front);
    raw.ask(1, &[]);
    assert_eq!(raw.outcome(1).unwrap(), "hello");
    front.front.workers.drain(STOP);
    let goaway = raw.read_until(GOAWAY);
    assert_eq!((number(&goaway.payload[..4]), number(&goaway.payload[4..8])), (0x7fff_ffff, 0));
    let ping = raw.read_until(PING);
    raw.ask(3, &[]);
    assert_eq!(raw.outcome(3).unwrap(), "hello");
    raw.send(PING, 1, 0, &ping.payload);
    let goaway = raw.read_until(GOAWAY);
    assert_eq!((number(&goaway.payload[..4]), number(&goaway.payload[4..8])), (3, 0));
    assert_eq!(raw.read_to_end(), None);
    drop(raw);
    front.front.has_ended();
}

/// B203: who does not answer the ping in between holds up nothing for longer than a stop may take, nor who never said a word.
#[test]
fn a_stop_has_its_time() {
    let backend = dawdling();
    let mut front = front_of(&backend);
    let mut deaf = Raw::connect(&front);
    deaf.ask(1, &[]);
    let _silent = Raw::silent(&front);
    eventually("both are there", || front.front.workers.counts().requests == 1);
    let start = Instant::now();
    front.front.workers.drain(Drain { requests: Duration::from_millis(600), tunnels: Duration::ZERO });
    front.front.has_ended();
    let lasted = start.elapsed();
    assert!(lasted >= Duration::from_millis(600) && lasted < Duration::from_secs(3), "{lasted:?}");
}

/// B207: a hand-over lets bodies move on; requests that wait have their own, shorter time; and idle connections go.
#[test]
fn a_hand_over_lets_bodies_move_on() {
    let (backend, go) = waiting();
    let front = front_with(backend.port, |config| config.patience.http2_goaway = Duration::from_millis(200));
    run(async {
        let mut client = Client::connect(&front).await;
        let moving = client.ask(get("/moving")).await.unwrap();
        let (pending, _) = client.send.send_request(get("/"), true).unwrap();
        while front.front.workers.counts().requests < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let start = Instant::now();
        front.front.workers.drain(Drain { requests: Duration::from_millis(400), tunnels: Duration::from_secs(30) });
        assert_eq!(pending.await.unwrap_err().reason(), Some(Reason::CANCEL));
        assert!(start.elapsed() >= Duration::from_millis(400));
        // The one that moves is not the first to be told to go on: whoever waits for the word gets it.
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert_eq!(Answer::read(moving).await.unwrap().text(), "start-end!");
        client.end.await.unwrap().expect("in order");
    });
    let mut front = {
        drop(front);
        front_with(dead_port(), |config| config.patience.http2_goaway = Duration::from_millis(200))
    };
    let mut deaf = Raw::connect(&front);
    let start = Instant::now();
    front.front.workers.drain(Drain { requests: Duration::from_secs(10), tunnels: Duration::from_secs(30) });
    assert_eq!(deaf.read_to_end(), Some(0), "it was told, and did not answer");
    front.front.has_ended();
    assert!(start.elapsed() < Duration::from_secs(5));
}

/// B203: a connection whose handshake is under way when the stop begins is served.
#[test]
fn a_stop_serves_what_has_just_arrived() {
    let backend = Backend::fixed("hello");
    let mut front = front_of(&backend);
    let mut raw = Raw::silent(&front);
    front.front.workers.drain(STOP);
    raw.client.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), super::rig::frame(SETTINGS, 0, 0, &[])].concat());
    raw.ask(1, &[]);
    assert_eq!(first_answer(&mut raw), "hello");
    drop(raw);
    front.front.has_ended();
}

/// The bytes of the first answer, whatever the connection says of its end.
fn first_answer(raw: &mut Raw) -> String {
    String::from_utf8(raw.read_until(DATA).payload).unwrap()
}

fn hurried(change: impl FnOnce(&mut hotcore::proxy::Patience)) -> (SecureFront, Backend) {
    let backend = Backend::fixed("hello");
    let front = front_with(backend.port, |config| {
        config.patience.sweep = Duration::from_millis(20);
        config.patience.http2_goaway = Duration::from_millis(200);
        change(&mut config.patience);
    });
    (front, backend)
}

/// B131: neither a silent one, nor one that has said half of it.
#[test]
fn preface_and_settings_have_their_time() {
    let limit = Duration::from_millis(400);
    let (front, _backend) = hurried(|patience| patience.http2_preface = limit);
    let start = Instant::now();
    let mut others = [Raw::silent(&front), Raw::silent(&front), Raw::silent(&front)];
    others[1].client.send(b"PRI * HTTP/2.0\r\n");
    others[2].client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    for raw in &mut others {
        raw.read_to_end();
        let lasted = start.elapsed();
        assert!(lasted < limit + Duration::from_secs(3), "{lasted:?}");
    }
    assert!(start.elapsed() >= limit);
    front.front.is_left_alone();
}

/// A preface that is none ends at once: HTTP/1.1 where HTTP/2 was agreed on.
#[test]
fn another_protocol_than_agreed_on_is_refused() {
    let (front, backend) = hurried(|_| {});
    let mut raw = Raw::silent(&front);
    raw.client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    raw.read_to_end();
    assert_eq!(backend.accepted(), 0);
    drop(raw);
    front.front.is_left_alone();
}

/// B134: told so, and then in order; a stream that is open is no idleness.
#[test]
fn a_connection_without_a_stream_ends_in_time() {
    let limit = Duration::from_millis(500);
    let (front, _backend) = hurried(|patience| patience.http2_keep_alive = limit);
    run(async {
        let mut client = Client::connect(&front).await;
        client.get("/").await;
        let start = Instant::now();
        client.end.await.unwrap().expect("GOAWAY without an error");
        let lasted = start.elapsed();
        assert!(lasted >= limit && lasted < limit + Duration::from_secs(3), "{lasted:?}");
    });
    let (backend, go) = waiting();
    let front = front_with(backend.port, |config| {
        config.patience.sweep = Duration::from_millis(20);
        config.patience.http2_keep_alive = limit;
    });
    run(async {
        let mut client = Client::connect(&front).await;
        let (answer, _) = client.send.send_request(get("/"), true).unwrap();
        tokio::time::sleep(3 * limit).await;
        go.send(()).unwrap();
        assert_eq!(Answer::read(answer.await.unwrap()).await.unwrap().text(), "at last");
    });
}

/// B135: who is there answers a ping, who is not has gone; a stream that waits makes no difference.
#[test]
fn a_vanished_peer_is_found_by_a_ping() {
    let (backend, _go) = waiting();
    let front = front_with(backend.port, |config| {
        config.patience.sweep = Duration::from_millis(20);
        config.patience.http2_ping_after = Duration::from_millis(200);
        config.patience.http2_ping_wait = Duration::from_millis(300);
    });
    run(async {
        let mut client = Client::connect(&front).await;
        let (answer, _) = client.send.send_request(get("/"), true).unwrap();
        let mut deaf = Raw::connect(&front);
        deaf.ask(1, &[]);
        let pinged = tokio::task::spawn_blocking(move || {
            let ping = deaf.read_until(PING);
            assert_eq!((ping.flags, ping.stream, ping.payload.len()), (0, 0, 8));
            deaf.read_to_end()
        });
        pinged.await.unwrap();
        tokio::time::sleep(Duration::from_millis(800)).await;
        assert!(!client.end.is_finished(), "it has answered every ping");
        drop(answer);
    });
    front.front.is_left_alone();
}

/// B127, B135: also while the connection is to end after its last stream.
#[test]
fn a_peer_that_vanishes_after_the_goaway_is_found_as_well() {
    let (backend, _go) = waiting();
    let mut front = front_with(backend.port, |config| {
        config.patience.sweep = Duration::from_millis(20);
        config.patience.http2_ping_after = Duration::from_millis(200);
        config.patience.http2_ping_wait = Duration::from_millis(300);
    });
    let mut deaf = Raw::connect(&front);
    deaf.ask(1, &[]);
    eventually("it is at the backend", || backend.open() == 1);
    front.front.workers.drain(Drain { requests: Duration::from_secs(3600), tunnels: Duration::from_secs(3600) });
    deaf.read_until(GOAWAY);
    let is_pinged = |deaf: &mut Raw| deaf.read_until(PING).payload == *b"hotcore?";
    assert!(is_pinged(&mut deaf) || is_pinged(&mut deaf), "by us, beside the library's own");
    deaf.read_to_end();
    front.front.has_ended();
}

/// B21, B22: a request waits for its backend, and follows its route.
#[test]
fn a_request_is_held_while_its_backend_restarts() {
    let reserved = Reserved::new();
    let mut front = front_with(reserved.port, |_| {});
    let other = Backend::fixed("moved");
    run(async {
        let mut client = Client::connect(&front).await;
        let (first, _) = client.send.send_request(get("/"), true).unwrap();
        let (second, mut body) = client.begin(request("POST", "/")).await;
        while front.front.workers.counts().requests < 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let backend = reserved.open(|mut peer, _| {
            while let Some(head) = peer.read_head() {
                if head.starts_with("POST") {
                    assert_eq!(peer.read_exact(15), b"5\r\nhello\r\n0\r\n\r\n");
                }
                peer.answer("up again");
            }
        });
        send_all(&mut body, b"hello").await.unwrap();
        assert_eq!(Answer::read(first.await.unwrap()).await.unwrap().text(), "up again");
        assert_eq!(Answer::read(second.await.unwrap()).await.unwrap().text(), "up again");
        backend.stop();
        // Connections that were kept are still there; those that ask for a new one are moved.
        front.front.map("a.test", dead_port());
        let (held, _) = client.send.send_request(get("/"), true).unwrap();
        while front.front.workers.counts().requests < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        front.front.map("a.test", other.port);
        assert_eq!(Answer::read(held.await.unwrap()).await.unwrap().text(), "moved");
    });
}
