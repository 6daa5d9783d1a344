//! Section 10 of the edges: upgrades and tunnels.

use std::{
    io::{Read, Write},
    net::Shutdown,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use hotcore::service::worker::Drain;

use crate::front::{Answer, Backend, Client, Front, Peer, eventually, spawn};

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade, X-Own\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: abc=\r\nX-Own: 1\r\nX-Other: 1\r\n\r\n";

fn upgrade(protocols: &str) -> Vec<u8> {
    format!(
        "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: {protocols}\r\n\
         Sec-WebSocket-Key: xyz==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// Switches and returns every byte, until the client has ended; then ends, too.
fn echo() -> Backend {
    Backend::start(|mut peer, _| {
        peer.read_head().unwrap();
        peer.send(SWITCH);
        echo_all(&mut peer);
    })
}

fn echo_all(peer: &mut Peer) {
    peer.stream.set_read_timeout(None).unwrap();
    let mut space = [0; 65536];
    while let Ok(bytes @ 1..) = peer.stream.read(&mut space) {
        if peer.stream.write_all(&space[..bytes]).is_err() {
            return;
        }
    }
    let _ = peer.stream.shutdown(Shutdown::Write);
}

fn front_of(backend: &Backend) -> Front {
    let mut front = Front::start();
    front.map("a.test", backend.port);
    front
}

/// A client in a tunnel.
fn tunnel(front: &Front) -> Client {
    let mut client = front.connect();
    client.send(&upgrade("websocket"));
    let head = client.read_head();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    client
}

/// After each scenario: no tunnel, no connection, nothing at the backend.
fn all_ends(front: &Front, backend: &Backend) {
    front.is_left_alone();
    assert_eq!(front.workers.counts().tunnels, 0);
    eventually("the backend's connections end", || backend.open() == 0);
}

/// B106, B107: what the backend is asked, and what the client gets back.
#[test]
fn an_upgrade_is_asked_for_and_answered_in_clean_words() {
    let (seen, heads) = mpsc::channel();
    let backend = Backend::start(move |mut peer, _| {
        seen.send(peer.read_head().unwrap().to_lowercase()).unwrap();
        peer.send(SWITCH);
        echo_all(&mut peer);
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    client.send(&upgrade("WebSocket"));
    let answer = Answer::parse(client.read_head().as_bytes());
    assert_eq!(answer.status, 101);
    assert_eq!((answer.field("connection"), answer.field("upgrade")), (Some("Upgrade"), Some("WebSocket")));
    assert_eq!((answer.field("sec-websocket-accept"), answer.field("x-other")), (Some("abc="), Some("1")));
    assert_eq!((answer.field("x-own"), answer.field("content-length")), (None, None), "{answer:?}");
    assert_eq!(answer.field("transfer-encoding"), None);
    let head = heads.recv().unwrap();
    for line in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-key: xyz==\r\n"] {
        assert!(head.contains(line), "{line:?} in {head}");
    }
    eventually("it counts as a tunnel", || front.workers.counts().tunnels == 1);
    drop(client);
    all_ends(&front, &backend);
}

/// B106: one protocol goes to the backend, and never one that carries requests past the rules.
#[test]
fn which_protocol_is_asked_for() {
    let (seen, heads) = mpsc::channel();
    let backend = Backend::start(move |mut peer, _| {
        while let Some(head) = peer.read_head() {
            seen.send(head.to_lowercase()).unwrap();
            peer.answer("no");
        }
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    for (protocols, asked) in [
        ("websocket", Some("websocket")),
        ("foo, websocket, bar", Some("websocket")),
        ("h2c, websocket", Some("websocket")),
        ("h2c, foo/1", Some("foo/1")),
        ("foo", Some("foo")),
        ("foo, bar", None),
        ("h2c", None),
        ("H2C", None),
        ("h2", None),
        ("HTTP/2.0", None),
        ("TLS/1.2", None),
    ] {
        client.send(&upgrade(protocols));
        assert_eq!(client.read_answer().text(), "no", "any other answer is an ordinary one");
        let head = heads.recv().unwrap();
        match asked {
            Some(asked) => assert!(head.contains(&format!("\r\nupgrade: {asked}\r\n")), "{protocols}: {head}"),
            None => assert!(!head.contains("upgrade"), "{protocols}: {head}"),
        }
        assert!(!head.contains("h2"), "{head}");
    }
    // P23: HTTP/1.0 knows no upgrade; neither does a request whose `Connection` does not say so.
    for request in [
        "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: Upgrade, keep-alive\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let mut client = front.connect();
        client.send(request.as_bytes());
        assert_eq!(client.read_answer().text(), "no");
        assert!(!heads.recv().unwrap().contains("upgrade"));
    }
    assert_eq!(front.workers.counts().tunnels, 0);
}

/// B95, B107: a 101 to another protocol, without naming one, or naming two.
#[test]
fn a_101_to_something_else_is_502() {
    for answer in ["Upgrade: foo\r\n", "", "Upgrade: websocket, foo\r\n", "Upgrade: foo\r\nUpgrade: websocket\r\n"] {
        let backend = Backend::start(move |mut peer, _| {
            peer.read_head().unwrap();
            peer.send(format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n{answer}\r\n").as_bytes());
            peer.ends();
        });
        let front = front_of(&backend);
        let mut client = front.connect();
        client.send(&upgrade("websocket"));
        assert_eq!(client.read_answer().status, 502, "{answer}");
        client.send(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
        assert_eq!(client.read_answer().status, 404, "the client's connection is an ordinary one");
        drop(client);
        all_ends(&front, &backend);
    }
}

/// B107: bytes after the head are a next request until there is a 101 (P22).
#[test]
fn what_follows_an_upgrade_that_was_declined_is_a_request() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            peer.answer(head.split(' ').nth(1).unwrap());
        }
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    client.send(&[upgrade("websocket"), b"GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n".to_vec()].concat());
    assert_eq!(client.read_answer().text(), "/chat");
    assert_eq!(client.read_answer().text(), "/next");
    assert_eq!(backend.accepted(), 1);
}

/// B108, B109: in one packet with the heads, and right after them, in both directions.
#[test]
fn bytes_that_came_with_the_heads_are_delivered_first() {
    for pause in [0, 20] {
        let backend = Backend::start(move |mut peer, _| {
            peer.read_head().unwrap();
            thread::sleep(Duration::from_millis(pause));
            peer.send(&[SWITCH, b"server speaks first;"].concat());
            echo_all(&mut peer);
        });
        let front = front_of(&backend);
        let mut client = front.connect();
        client.send(&[upgrade("websocket"), b"client speaks first;".to_vec()].concat());
        client.send(b"and more.");
        client.read_head();
        assert_eq!(client.read_until(b"."), b"server speaks first;client speaks first;and more.");
        drop(client);
        all_ends(&front, &backend);
    }
}

#[test]
fn much_passes_both_ways_at_once() {
    let backend = echo();
    let front = front_of(&backend);
    let mut client = tunnel(&front);
    let sent: Vec<u8> = (0..8_000_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let mut sending = client.stream.try_clone().unwrap();
    let copy = sent.clone();
    let thread = spawn(move || {
        sending.write_all(&copy).unwrap();
        sending.shutdown(Shutdown::Write).unwrap();
    });
    let (got, end) = client.read_result();
    thread.join().unwrap();
    end.unwrap();
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    all_ends(&front, &backend);
}

/// B112: the client ends its side, and the backend goes on; and the other way round.
#[test]
fn one_side_may_end_before_the_other() {
    let backend = Backend::start(|mut peer, number| {
        peer.read_head().unwrap();
        peer.send(SWITCH);
        if number == 0 {
            let mut got = String::new();
            peer.stream.read_to_string(&mut got).unwrap();
            peer.send(format!("after {got}").as_bytes());
        } else {
            peer.send(b"bye");
            peer.stream.shutdown(Shutdown::Write).unwrap();
            let mut got = String::new();
            peer.stream.read_to_string(&mut got).unwrap();
            assert_eq!(got, "after bye");
        }
    });
    let front = front_of(&backend);
    let mut client = tunnel(&front);
    client.send(b"bye");
    client.finish();
    assert_eq!(client.read_to_end(), b"after bye");
    let mut client = tunnel(&front);
    assert_eq!(client.read_to_end(), b"bye");
    client.send(b"after bye");
    client.finish();
    all_ends(&front, &backend);
}

/// B113: an error on either side ends both at once.
#[test]
fn a_reset_on_either_side_ends_both() {
    let backend = Backend::start(|mut peer, number| {
        peer.read_head().unwrap();
        peer.send(SWITCH);
        if number == 1 {
            peer.read_exact(1);
            return peer.reset();
        }
        peer.ends();
    });
    let front = front_of(&backend);
    tunnel(&front).reset();
    all_ends(&front, &backend);
    let mut client = tunnel(&front);
    client.send(b"x");
    assert!(client.read_to_end().is_empty());
    drop(client);
    all_ends(&front, &backend);
}

/// B115.
#[test]
fn a_change_of_the_rule_never_touches_a_tunnel() {
    let (old, new) = (echo(), Backend::fixed("new"));
    let mut front = front_of(&old);
    let mut client = tunnel(&front);
    front.map("a.test", new.port);
    client.send(b"one.");
    assert_eq!(client.read_until(b"."), b"one.");
    front.unmap("a.test");
    client.send(b"two.");
    assert_eq!(client.read_until(b"."), b"two.");
    old.stop();
    client.send(b"three.");
    assert_eq!(client.read_until(b"."), b"three.");
    assert_eq!(new.accepted(), 0);
}

/// B114, B145: it outlives every limit of requests and of kept connections that a test can wait for.
#[test]
fn a_silent_tunnel_stays() {
    let backend = echo();
    let front = front_of(&backend);
    let mut client = tunnel(&front);
    thread::sleep(Duration::from_secs(3));
    client.send(b"still here.");
    assert_eq!(client.read_until(b"."), b"still here.");
}

/// B203, B116: a stop cuts tunnels at once and waits for none.
#[test]
fn a_stop_cuts_tunnels() {
    let backend = echo();
    let mut front = front_of(&backend);
    let mut clients: Vec<_> = (0..10).map(|_| tunnel(&front)).collect();
    eventually("all are tunnels", || front.workers.counts().tunnels == 10);
    let start = Instant::now();
    front.workers.drain(Drain { requests: Duration::from_secs(10), tunnels: Duration::ZERO });
    for client in &mut clients {
        client.read_to_end();
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    front.has_ended();
    eventually("the backend's connections end", || backend.open() == 0);
}

/// B207, B148: a hand-over keeps them until their own limit.
#[test]
fn a_hand_over_keeps_tunnels_for_their_time() {
    let backend = echo();
    let mut front = front_of(&backend);
    let mut client = tunnel(&front);
    let limits = Drain { requests: Duration::from_millis(300), tunnels: Duration::from_secs(2) };
    let start = Instant::now();
    front.workers.drain(limits);
    thread::sleep(Duration::from_millis(1200));
    client.send(b"still here.");
    assert_eq!(client.read_until(b"."), b"still here.");
    assert!(client.read_to_end().is_empty());
    let lasted = start.elapsed();
    assert!(lasted >= limits.tunnels && lasted < limits.tunnels + Duration::from_secs(3), "{lasted:?}");
    front.has_ended();
}

/// B111: a drain that starts while an upgrade waits for its 101.
#[test]
fn an_upgrade_that_meets_a_drain_is_well_formed() {
    for tunnels in [Duration::ZERO, Duration::from_secs(5)] {
        let (go, wait) = mpsc::channel::<()>();
        let wait = std::sync::Mutex::new(wait);
        let backend = Backend::start(move |mut peer, _| {
            peer.read_head().unwrap();
            wait.lock().unwrap().recv().unwrap();
            peer.send(SWITCH);
            echo_all(&mut peer);
        });
        let front = front_of(&backend);
        let mut client = front.connect();
        client.send(&upgrade("websocket"));
        eventually("it waits at the backend", || backend.open() == 1);
        front.workers.drain(Drain { requests: Duration::from_secs(5), tunnels });
        thread::sleep(Duration::from_millis(50));
        go.send(()).unwrap();
        let answer = Answer::parse(client.read_head().as_bytes());
        assert_eq!((answer.status, answer.field("connection")), (101, Some("Upgrade")));
        if !tunnels.is_zero() {
            client.send(b"well.");
            assert_eq!(client.read_until(b"."), b"well.");
        }
    }
}

/// B203: a tunnel that begins after the others were cut would else hold up the stop for as long as both sides like it.
#[test]
fn a_tunnel_that_begins_after_the_cut_ends_as_well() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |mut peer, count| {
        peer.read_head().unwrap();
        if count > 0 {
            wait.lock().unwrap().recv().unwrap();
        }
        peer.send(SWITCH);
        echo_all(&mut peer);
    });
    let mut front = front_of(&backend);
    let mut early = tunnel(&front);
    let mut late = front.connect();
    late.send(&upgrade("websocket"));
    eventually("it waits at the backend", || backend.open() == 2);
    front.workers.drain(Drain { requests: Duration::from_secs(10), tunnels: Duration::ZERO });
    assert!(early.read_to_end().is_empty(), "the cut");
    let start = Instant::now();
    go.send(()).unwrap();
    let head = late.read_head();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(late.read_to_end().is_empty());
    front.has_ended();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// B110, B113: hundreds of tunnels that end in every way leave nothing behind.
#[test]
fn tunnels_leave_nothing_behind() {
    let backend = echo();
    let front = front_of(&backend);
    thread::scope(|scope| {
        for kind in 0..4 {
            let front = &front;
            scope.spawn(move || {
                for round in 0..40 {
                    let mut client = tunnel(front);
                    client.send(b"hi.");
                    match (kind + round) % 4 {
                        0 => drop(client),
                        1 => client.reset(),
                        2 => {
                            client.finish();
                            client.read_to_end();
                        }
                        _ => {
                            client.read_until(b".");
                        }
                    }
                }
            });
        }
    });
    all_ends(&front, &backend);
}
