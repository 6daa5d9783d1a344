//! Section 2 of the edges: requests that wait for a backend (B21–B28).

use std::{
    io::Write,
    net::{Ipv4Addr, TcpListener},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use hotcore::limits::{HELD_PER_DOMAIN_MAX, HOLD, HOLD_UNPROVEN};

use crate::{
    front::{Answer, Backend, Client, Front, Reserved, answering, eventually, spawn},
    skip,
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

/// A front with a rule to a port that refuses, and a client whose request waits for it.
fn waiting(request: &[u8]) -> (Front, Reserved, Client) {
    let reserved = Reserved::new();
    let mut front = Front::start();
    front.map("a.test", reserved.port);
    let mut client = front.connect();
    client.send(request);
    eventually("it has arrived", || front.workers.counts().requests == 1);
    (front, reserved, client)
}

/// A front with a rule to a port that has answered once and refuses now.
fn proven() -> (Front, u16) {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head();
        peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nold");
    });
    let port = backend.port;
    let mut front = Front::start();
    front.map("a.test", port);
    assert_eq!(front.get("a.test").text(), "old");
    backend.stop();
    (front, port)
}

/// Listens on a port that was in use a moment ago.
fn bind(port: u16) -> TcpListener {
    let mut listener = None;
    eventually("the port is free again", || {
        listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok();
        listener.is_some()
    });
    listener.unwrap()
}

/// B21: the next probe finds it, long before the hold is over.
#[test]
fn a_backend_that_starts_answers_the_request_that_waits() {
    let (front, port) = proven();
    let mut client = front.connect();
    client.send(GET);
    eventually("it has arrived", || front.workers.counts().requests == 2);
    thread::sleep(Duration::from_millis(400));
    let opened = Instant::now();
    let backend = Backend::on(bind(port), answering("here I am"));
    assert_eq!(client.read_answer().text(), "here I am");
    assert!(opened.elapsed() < HOLD / 2, "the next probe is near: {:?}", opened.elapsed());
    assert_eq!(backend.accepted(), 1, "the probe's connection carries the request");
    assert_eq!(front.workers.counts().retries, 0);
}

/// B21: a hundred that wait, one probe; all are served once it starts, and the backend is not stormed while it starts.
#[test]
fn all_that_wait_are_served() {
    let (mut front, port) = proven();
    let mut clients: Vec<_> = (0..100)
        .map(|_| {
            let mut client = front.connect();
            client.send(GET);
            client
        })
        .collect();
    eventually("all have arrived", || front.workers.counts().requests == 101);
    let backend = Backend::on(bind(port), answering("x"));
    for client in &mut clients {
        assert_eq!(client.read_answer().text(), "x");
    }
    assert!(backend.accepted() <= 101, "{}", backend.accepted());
    front.unmap("a.test");
}

/// B22: the rule turns to another port.
#[test]
fn a_remap_moves_the_requests_that_wait() {
    let (mut front, _reserved, mut client) = waiting(GET);
    let other = Backend::fixed("moved");
    front.map("a.test", other.port);
    assert_eq!(client.read_answer().text(), "moved");
}

/// B22: the rule turns from one dead port to another, which then starts.
#[test]
fn a_remap_to_a_port_that_refuses_goes_on_waiting() {
    let (mut front, _first, mut client) = waiting(GET);
    let second = Reserved::new();
    front.map("a.test", second.port);
    thread::sleep(Duration::from_millis(400));
    let _backend = second.open(answering("second"));
    assert_eq!(client.read_answer().text(), "second");
}

/// B22: 404.
#[test]
fn a_removal_ends_the_requests_that_wait() {
    let (mut front, _reserved, mut client) = waiting(GET);
    front.unmap("a.test");
    let answer = client.read_answer();
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("a.test"));
}

/// B22, B139: no number of remaps makes a request wait longer than the whole hold.
#[test]
fn remaps_do_not_lengthen_the_hold_beyond_its_whole() {
    let (mut front, first, mut client) = waiting(GET);
    let second = Reserved::new();
    let start = Instant::now();
    let (stop, stopped) = mpsc::channel::<()>();
    let flipping = spawn(move || {
        while stopped.recv_timeout(Duration::from_millis(100)).is_err() {
            front.map("a.test", second.port);
            front.map("a.test", first.port);
        }
        front
    });
    assert_eq!(client.read_answer().status, 502);
    let lasted = start.elapsed();
    assert!(lasted > HOLD - Duration::from_millis(500) && lasted < HOLD + Duration::from_secs(2), "{lasted:?}");
    stop.send(()).unwrap();
    drop(flipping.join().unwrap());
}

/// B23: a port that has answered since its rule was made waits ten seconds, one that has not two. A removal and a new rule
/// begin anew.
#[test]
fn a_port_that_has_answered_is_waited_for_longer() {
    let (mut front, port) = proven();
    let mut proven = front.connect();
    proven.send(GET);
    let start = Instant::now();
    front.map("b.test", port);
    let unproven = front.get("b.test");
    let lasted = start.elapsed();
    assert_eq!(unproven.status, 502);
    assert!(
        lasted > HOLD_UNPROVEN - Duration::from_millis(100) && lasted < HOLD - Duration::from_secs(3),
        "{lasted:?}"
    );
    assert_eq!(proven.read_answer().status, 502);
    let lasted = start.elapsed();
    assert!(lasted > HOLD - Duration::from_millis(100) && lasted < HOLD + Duration::from_secs(3), "{lasted:?}");
}

/// B23: an app that restarts is back within the ten seconds.
#[test]
fn a_restart_of_the_backend_is_not_seen() {
    let (front, port) = proven();
    let mut client = front.connect();
    client.send(GET);
    thread::sleep(HOLD_UNPROVEN + Duration::from_millis(500));
    let _new = Backend::on(bind(port), answering("new"));
    assert_eq!(client.read_answer().text(), "new");
}

/// B24: a thousand wait, and not one more; a place that becomes free can be taken.
#[test]
fn places_for_waiting_requests_are_limited() {
    let soft = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap().0;
    if soft < 8_000 {
        let reason = format!("needs 8,000 file descriptors, there are {soft}");
        return skip("places_for_waiting_requests_are_limited", &reason);
    }
    let places = usize::try_from(HELD_PER_DOMAIN_MAX).unwrap();
    let (front, port) = proven();
    let mut clients: Vec<_> = (0..places)
        .map(|_| {
            let mut client = front.connect();
            client.send(GET);
            client
        })
        .collect();
    eventually("all have arrived", || front.workers.counts().requests == 1 + u64::from(HELD_PER_DOMAIN_MAX));
    let mut late = front.connect();
    late.send(GET);
    let answer = late.read_answer();
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    assert!(answer.text().contains("a.test"));
    drop(clients.pop());
    eventually("its place is free", || front.workers.counts().connections == places);
    clients.push(late);
    clients[places - 1].send(GET);
    let backend = Backend::on(bind(port), answering("x"));
    for client in &mut clients {
        assert_eq!(client.read_answer().status, 200);
    }
    drop(clients);
    front.is_left_alone();
    eventually("kept connections end", || backend.open() == 0);
}

/// B25: no byte of the body is taken and no 100 sent before a backend has taken the connection.
#[test]
fn while_a_request_waits_its_body_is_not_read() {
    let (front, reserved, mut client) =
        waiting(b"POST / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    client.stream.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
    let early = std::io::Read::read(&mut client.stream, &mut [0]);
    assert!(early.is_err(), "{early:?}");
    client.stream.set_read_timeout(Some(crate::front::PATIENCE)).unwrap();
    let _backend = reserved.open(|mut peer, _| {
        let head = peer.read_head().unwrap().to_lowercase();
        assert!(!head.contains("expect"), "B56");
        let body = peer.read_exact(5);
        peer.answer(std::str::from_utf8(&body).unwrap());
    });
    assert_eq!(client.read_head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send(b"hello");
    assert_eq!(client.read_answer().text(), "hello");
    drop(client);
    front.is_left_alone();
}

/// B25, B54: what a client sends without waiting stays in the kernel.
#[test]
fn an_upload_that_is_held_is_not_collected() {
    let (front, reserved, mut client) =
        waiting(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\n");
    client.stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut sent = 0;
    while let Ok(bytes) = client.stream.write(&[b'x'; 65536]) {
        sent += bytes;
    }
    assert!(sent < 50_000_000, "{sent} bytes were taken");
    drop(reserved);
    assert_eq!(client.read_answer().status, 502);
    assert!(client.read_to_end().is_empty(), "B161: the rest of the upload is no request");
    drop(client);
    front.is_left_alone();
}

/// B26: the client leaves: by RST, by FIN, with and without a body that nobody has read.
#[test]
fn a_client_that_leaves_frees_its_place() {
    for request in [GET, b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\npart"] {
        for by_reset in [false, true] {
            let (front, reserved, client) = waiting(request);
            let start = Instant::now();
            if by_reset {
                client.reset();
            } else {
                drop(client);
            }
            front.is_left_alone();
            assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
            let backend = reserved.open(answering("x"));
            assert_eq!(front.get("a.test").text(), "x");
            assert!(backend.accepted() <= 2, "nothing is sent for a client that has left");
        }
    }
}

/// B75, P21: `Connection: close` and a FIN: a script, which is answered.
#[test]
fn a_script_that_has_ended_its_side_is_answered_after_the_hold() {
    let (_front, reserved, mut client) = waiting(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    client.finish();
    thread::sleep(Duration::from_millis(200));
    let _backend = reserved.open(answering("still"));
    assert_eq!(Answer::parse(&client.read_to_end()).text(), "still");
}

/// B27.
#[test]
fn an_upgrade_waits_like_any_request() {
    let (_front, reserved, mut client) =
        waiting(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    let _backend = reserved.open(|mut peer, _| {
        peer.read_head().unwrap();
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello");
        peer.ends();
    });
    assert!(client.read_head().starts_with("HTTP/1.1 101"));
    client.read_until(b"hello");
}

/// B21, B40: a kept connection goes stale because the backend restarts: the repeated request waits for it.
#[test]
fn a_repeated_request_may_wait() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let old = Backend::start(move |mut peer, _| {
        peer.read_head();
        peer.answer("old");
        peer.read_head();
        wait.lock().unwrap().recv().unwrap();
    });
    let port = old.port;
    let mut front = Front::start();
    front.map("a.test", port);
    let mut client = front.connect();
    client.send(GET);
    assert_eq!(client.read_answer().text(), "old");
    client.send(GET);
    eventually("it has arrived", || front.workers.counts().requests == 2);
    old.stop();
    go.send(()).unwrap();
    eventually("it is repeated", || front.workers.counts().retries == 1);
    let _new = Backend::on(bind(port), answering("new"));
    assert_eq!(client.read_answer().text(), "new");
}
