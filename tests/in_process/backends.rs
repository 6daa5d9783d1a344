//! Section 2 of the edges: where a backend is looked for, and what its silence looks like.

use std::{
    net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hotcore::limits::{CONNECT_WAIT, HOLD_UNPROVEN};

use crate::front::{Answer, Backend, Front, Reserved, answering};

/// B14: 127.0.0.1 and ::1, each alone.
#[test]
fn a_backend_may_listen_on_either_family() {
    let v4 = Backend::fixed("four");
    let v6 = Backend::on_v6(answering("six"));
    let mut front = Front::start();
    front.map("four.test", v4.port);
    front.map("six.test", v6.port);
    for _ in 0..3 {
        assert_eq!(front.get("four.test").text(), "four");
        assert_eq!(front.get("six.test").text(), "six");
    }
}

/// Answers one request on each connection.
fn closing(body: &'static str) -> impl Fn(crate::front::Peer, usize) + Send + Sync + 'static {
    move |mut peer, _| {
        if peer.read_head().is_some() {
            let length = body.len();
            peer.send(
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}").as_bytes(),
            );
        }
    }
}

/// Listeners on both families with one port number.
fn both_families() -> (TcpListener, TcpListener) {
    loop {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        if let Ok(v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, v4.local_addr().unwrap().port())) {
            return (v4, v6);
        }
    }
}

/// B15: two programs on one port number: the family that answered stays, until it refuses.
#[test]
fn the_family_that_answered_is_asked_first() {
    let (v4, v6) = both_families();
    let port = v4.local_addr().unwrap().port();
    drop(v4);
    let six = Backend::on(v6, closing("six"));
    let mut front = Front::start();
    front.map("a.test", port);
    assert_eq!(front.get("a.test").text(), "six");
    let four = Backend::on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap(), closing("four"));
    for _ in 0..20 {
        assert_eq!(front.get("a.test").text(), "six");
    }
    assert_eq!(four.accepted(), 0);
    six.stop();
    for _ in 0..20 {
        assert_eq!(front.get("a.test").text(), "four");
    }
}

/// B16: whoever refuses on one family is looked for on the other, in both directions, in one request.
#[test]
fn where_one_family_refuses_the_other_is_tried_at_once() {
    let (v4, v6) = both_families();
    let port = v4.local_addr().unwrap().port();
    let four = Backend::on(v4, closing("four"));
    let mut front = Front::start();
    front.map("a.test", port);
    assert_eq!(front.get("a.test").text(), "four");
    let _six = Backend::on(v6, closing("six"));
    four.stop();
    let asked = Instant::now();
    assert_eq!(front.get("a.test").text(), "six");
    assert!(asked.elapsed() < Duration::from_secs(1), "nothing was held");
}

/// A listener whose accept queue is full: connections are neither taken nor refused.
fn silent() -> (TcpListener, Vec<TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener: TcpListener = socket.into();
    let address = listener.local_addr().unwrap();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        queue.push(stream);
        assert!(queue.len() < 100, "the queue is never full");
    }
    (listener, queue)
}

/// B18: held like a refusal, with words of its own; the other family is not asked. Those who come later see the same.
#[test]
fn a_full_accept_queue_has_a_page_of_its_own() {
    let (listener, _queue) = silent();
    let port = listener.local_addr().unwrap().port();
    let mut front = Front::start();
    front.map("a.test", port);
    let request = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    let mut clients = Vec::new();
    let start = Instant::now();
    for _ in 0..3 {
        let mut client = front.connect();
        client.send(request);
        clients.push(client);
    }
    // This one finds the port under probe already.
    while start.elapsed() < CONNECT_WAIT + Duration::from_millis(100) {
        std::thread::sleep(Duration::from_millis(10));
    }
    clients.push(front.connect());
    clients[3].send(request);
    for client in &mut clients {
        let answer = crate::front::Answer::parse(&client.read_to_end());
        assert_eq!(answer.status, 502);
        assert!(answer.text().contains("takes no new connections"), "{}", answer.text());
    }
    assert!(start.elapsed() < CONNECT_WAIT + HOLD_UNPROVEN + Duration::from_secs(3), "{:?}", start.elapsed());
}

/// B18, B21: an overloaded app that takes connections again serves those that waited.
#[test]
fn a_full_accept_queue_that_empties_serves_the_waiting() {
    let (listener, queue) = silent();
    let mut front = Front::start();
    front.map("a.test", listener.local_addr().unwrap().port());
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    drop(queue);
    let _backend = Backend::on(listener, answering("late"));
    assert_eq!(client.read_answer().text(), "late");
}

/// B20, B28: domain, port, what was seen, and what helps.
#[test]
fn the_page_for_a_dead_port_says_what_to_do() {
    let reserved = Reserved::new();
    let mut front = Front::start();
    front.map("a.test", reserved.port);
    let start = Instant::now();
    let answer = front.get("a.test");
    let lasted = start.elapsed();
    assert_eq!(answer.status, 502, "never 504");
    let text = answer.text();
    for words in [
        format!("nothing listens on port {}", reserved.port),
        "a.test".into(),
        "127.0.0.1, ::1 or all addresses".into(),
        "hotcore add a.test PORT".into(),
    ] {
        assert!(text.contains(&words), "{words:?} in {text}");
    }
    assert!(lasted >= HOLD_UNPROVEN, "B23: {lasted:?}");
    assert!(lasted < HOLD_UNPROVEN + Duration::from_secs(2), "B23: {lasted:?}");
}

/// B29: an end by FIN says that the app has seen the request: 502 at once, in one attempt. A reset says that nobody has read it, as
/// when an app ends whose connections nobody has taken yet: what may be repeated is, once, and nothing is held.
#[test]
fn a_fresh_connection_that_is_closed_at_once_is_repeated_once_if_nobody_read_the_request() {
    for (reads, by_reset) in [(false, true), (true, false), (true, true)] {
        for method in ["GET", "POST"] {
            let backend = Backend::start(move |mut peer, _| {
                if reads {
                    peer.read_head();
                }
                if by_reset {
                    peer.reset();
                }
            });
            let mut front = Front::start();
            front.map("a.test", backend.port);
            let start = Instant::now();
            let request = format!("{method} / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
            let answer = Answer::parse(&front.exchange(request.as_bytes()));
            let case = format!("{method} {reads} {by_reset}");
            assert_eq!(answer.status, 502, "{case}");
            assert!(answer.text().contains("closed the connection without an answer"), "{case}: {}", answer.text());
            assert!(answer.text().contains("container"), "{case}: {}", answer.text());
            assert!(start.elapsed() < Duration::from_secs(1), "{case}: nothing is held");
            // Where the reset comes before the first byte is sent, any request may be sent again.
            let sent = if !by_reset {
                1..=1
            } else if method == "GET" {
                2..=2
            } else if reads {
                1..=1
            } else {
                1..=2
            };
            assert!(sent.contains(&backend.accepted()), "{case}: {} connections", backend.accepted());
        }
    }
}

/// B29: also when the connection was made by the probe for a request that waited.
#[test]
fn a_held_request_that_meets_a_closing_backend_is_sent_once() {
    let reserved = Reserved::new();
    let mut front = Front::start();
    front.map("a.test", reserved.port);
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = asked.clone();
    let _backend = reserved.open(move |mut peer, _| {
        if peer.read_head().is_some() {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    });
    assert_eq!(client.read_answer().status, 502);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(front.workers.counts().retries, 0);
}

/// B30: answered without dialling.
#[test]
fn a_rule_to_our_own_port_is_a_loop() {
    let mut front = Front::start();
    front.map("a.test", front.address.port());
    let answer = front.get("a.test");
    assert_eq!(answer.status, 508);
    assert!(answer.text().contains("where hotcore itself listens"), "{}", answer.text());
    assert_eq!(front.workers.counts().requests, 1, "it did not come back to us");
}

/// B31, B40: a rule that turns to our own port while requests wait.
#[test]
fn a_waiting_request_learns_that_its_rule_points_to_ourselves() {
    let reserved = Reserved::new();
    let mut front = Front::start();
    front.map("a.test", reserved.port);
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    crate::front::eventually("it has arrived", || front.workers.counts().requests == 1);
    front.map("a.test", front.address.port());
    assert_eq!(client.read_answer().status, 508);
}

/// B19: a small piece on its way in either direction does not wait for a delayed acknowledgement (40 ms each).
#[test]
fn small_pieces_are_not_delayed() {
    let done = Arc::new(AtomicBool::new(false));
    let finished = done.clone();
    let backend = Backend::start(move |mut peer, _| {
        peer.read_head().unwrap();
        peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for _ in 0..100 {
            let byte = peer.read_exact(1);
            peer.send(b"1\r\n");
            peer.send(&byte);
            peer.send(b"\r\n");
        }
        finished.store(true, Ordering::SeqCst);
        peer.ends();
    });
    let mut front = Front::start();
    front.map("a.test", backend.port);
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 101\r\n\r\n");
    client.read_head();
    let start = Instant::now();
    for _ in 0..100 {
        client.send(b"x");
        client.read_until(b"1\r\nx\r\n");
    }
    assert!(done.load(Ordering::SeqCst) || start.elapsed() < Duration::from_secs(2));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
