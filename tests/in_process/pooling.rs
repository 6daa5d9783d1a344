//! Section 3 of the edges: connections to backends that are kept, and what happens when one has gone stale.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use hotcore::limits::{SWEEP, UPSTREAM_IDLE};

use crate::front::{Answer, Backend, Front, eventually, spawn};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn front_of(backend: &Backend) -> Front {
    let mut front = Front::start();
    front.map("a.test", backend.port);
    front
}

/// B32: 1.5 s at most; a request in time uses it again, one after that does not.
#[test]
fn an_idle_connection_lives_for_a_moment() {
    let (ended, ends) = mpsc::channel();
    let backend = Backend::start(move |mut peer, _| {
        let mut last = Instant::now();
        while peer.read_head().is_some() {
            peer.answer("x");
            last = Instant::now();
        }
        let _ = ended.send(last.elapsed());
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    for _ in 0..3 {
        client.send(GET);
        client.read_answer();
        thread::sleep(UPSTREAM_IDLE / 3);
    }
    assert_eq!(backend.accepted(), 1);
    let lasted: Duration = ends.recv().unwrap();
    assert!(lasted + Duration::from_millis(50) >= UPSTREAM_IDLE, "{lasted:?}");
    assert!(lasted < UPSTREAM_IDLE + 4 * SWEEP, "B152: {lasted:?}");
    client.send(GET);
    client.read_answer();
    assert_eq!(backend.accepted(), 2);
}

/// B32: a backend that says one second is left before that.
#[test]
fn the_backends_keep_alive_time_is_kept() {
    let (ended, ends) = mpsc::channel();
    let backend = Backend::start(move |mut peer, _| {
        peer.read_head().unwrap();
        peer.send(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n");
        let start = Instant::now();
        peer.ends();
        let _ = ended.send(start.elapsed());
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    client.send(GET);
    client.read_answer();
    let lasted: Duration = ends.recv().unwrap();
    assert!(lasted < Duration::from_millis(1100), "{lasted:?}");
}

/// B33: of several idle connections the newest is used, so that the others can end.
#[test]
fn the_newest_idle_connection_is_used_first() {
    let arrived = Arc::new(AtomicUsize::new(0));
    let counter = arrived.clone();
    let backend = Backend::start(move |mut peer, number| {
        while let Some(head) = peer.read_head() {
            if head.starts_with("GET /together") {
                counter.fetch_add(1, Ordering::SeqCst);
                while !counter.load(Ordering::SeqCst).is_multiple_of(3) {
                    thread::yield_now();
                }
                // One after the other, so that it is known who came back last.
                thread::sleep(Duration::from_millis(30) * u32::try_from(number).unwrap());
            }
            peer.answer(&number.to_string());
        }
    });
    let front = front_of(&backend);
    let mut clients: Vec<_> = (0..3).map(|_| front.connect()).collect();
    for client in &mut clients {
        client.send(b"GET /together HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    for client in &mut clients {
        client.read_answer();
    }
    for _ in 0..10 {
        clients[0].send(GET);
        assert_eq!(clients[0].read_answer().text(), "2");
    }
    assert_eq!(backend.accepted(), 3);
}

/// B34: closed, reset or spoken on while idle: dropped without cost to the request, whatever its method.
#[test]
fn a_connection_that_died_while_idle_is_not_used() {
    for how in ["close", "reset", "speak"] {
        for method in ["GET", "POST"] {
            let (died, dies) = mpsc::channel();
            let backend = Backend::start(move |mut peer, number| {
                peer.read_head().unwrap();
                peer.answer("x");
                if number > 0 {
                    peer.ends();
                    return;
                }
                thread::sleep(Duration::from_millis(20));
                match how {
                    "close" => {}
                    "reset" => peer.reset(),
                    _ => {
                        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
                        let _ = died.send(());
                        peer.ends();
                    }
                }
            });
            let front = front_of(&backend);
            let mut client = front.connect();
            client.send(GET);
            client.read_answer();
            if how == "speak" {
                dies.recv().unwrap();
            }
            eventually("the proxy sees it", || backend.open() == 0);
            client.send(format!("{method} / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi").as_bytes());
            assert_eq!(client.read_answer().text(), "x", "{how} {method}");
            assert_eq!(front.workers.counts().retries, 0, "{how} {method}");
        }
    }
}

/// B35: bytes beyond the answer are never read as the next one.
#[test]
fn surplus_bytes_close_the_connection() {
    let answers: [&str; 5] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nx",
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "HTTP/1.1 304 Not Modified\r\n\r\nbody",
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n\r\n",
    ];
    for answer in answers {
        let backend = Backend::start(move |mut peer, _| {
            while peer.read_head().is_some() {
                peer.send(answer.as_bytes());
            }
        });
        let front = front_of(&backend);
        let mut client = front.connect();
        for round in 1..=5 {
            client.send(GET);
            let head = client.read_head();
            assert!(!head.contains("content-length: 4"), "{answer:?}: {head}");
            if head.contains("content-length: 5") {
                assert_eq!(client.read_until(b"o"), b"hello");
            } else if head.contains("chunked") {
                assert_eq!(client.read_until(b"0\r\n\r\n"), b"5\r\nhello\r\n0\r\n\r\n");
            }
            assert_eq!(backend.accepted(), round, "{answer:?}");
        }
        eventually("all are closed", || backend.open() == 0);
    }
}

/// B99: so is the body that a HEAD must not have.
#[test]
fn a_body_sent_to_head_closes_the_connection() {
    let backend = Backend::start(|mut peer, _| {
        while peer.read_head().is_some() {
            peer.answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        }
    });
    let front = front_of(&backend);
    let mut client = front.connect();
    for round in 1..=5 {
        client.send(b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let head = client.read_head();
        assert!(!head.contains("content-length: 4\r\n"), "{head}");
        assert_eq!(backend.accepted(), round);
    }
}

/// B36: an endless answer is given up at once, not drained.
#[test]
fn a_client_that_leaves_ends_the_backends_connection() {
    for by_reset in [false, true] {
        let backend = Backend::start(|mut peer, _| {
            peer.read_head().unwrap();
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
            while std::io::Write::write_all(&mut peer.stream, &[b'x'; 65536]).is_ok() {}
        });
        let front = front_of(&backend);
        let mut client = front.connect();
        client.send(GET);
        client.read_until(b"xxxx");
        if by_reset {
            client.reset();
        } else {
            drop(client);
        }
        eventually("the backend's connection ends", || backend.open() == 0);
        front.is_left_alone();
    }
}

/// B40, performance.md 3.6: whoever asks after a change of the rule is answered by the new port, on connections and from
/// pools that know the old one.
#[test]
fn no_request_begun_after_a_change_reaches_the_old_port() {
    const FLIPS: usize = 100_000;
    let tags = ["0", "1"];
    let backends = tags.map(Backend::fixed);
    let mut front = Front::start_with(|config| config.count = 2);
    front.map("a.test", backends[0].port);
    let begun = Arc::new(AtomicUsize::new(0));
    let done = Arc::new(AtomicUsize::new(0));
    let address = front.address;
    let asking: Vec<_> = (0..3)
        .map(|_| {
            let (begun, done) = (begun.clone(), done.clone());
            spawn(move || {
                let mut client = crate::front::Client::connect(address);
                let (mut asked, mut decided) = (0, 0);
                loop {
                    // Change number n goes to port n % 2.
                    let oldest = done.load(Ordering::SeqCst);
                    client.send(GET);
                    let got = client.read_answer();
                    let newest = begun.load(Ordering::SeqCst);
                    assert_eq!(got.status, 200);
                    let port: usize = got.text().parse().unwrap();
                    assert!((oldest..=newest).any(|n| n % 2 == port), "changes {oldest} to {newest}: port {port}");
                    asked += 1;
                    decided += usize::from(oldest == newest);
                    if oldest >= FLIPS {
                        return (asked, decided);
                    }
                }
            })
        })
        .collect();
    for flip in 1..=FLIPS {
        begun.store(flip, Ordering::SeqCst);
        front.map("a.test", backends[flip % 2].port);
        done.store(flip, Ordering::SeqCst);
        if flip % 101 == 0 {
            // Time for requests between two changes: these are the ones that can be wrong.
            thread::sleep(Duration::from_millis(2));
        }
    }
    let (asked, decided) =
        asking.into_iter().map(|thread| thread.join().unwrap()).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(decided > 100, "{decided} of {asked} requests fell between two changes");
}

/// B33, B36: after all this nothing is left at either side.
#[test]
fn nothing_is_left_behind() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            match head.split(' ').nth(1).unwrap() {
                "/cut" => return peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"),
                "/none" => return,
                _ => peer.answer("x"),
            }
        }
    });
    let front = front_of(&backend);
    let answers = Mutex::new(HashMap::<u16, usize>::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for path in ["/", "/cut", "/none", "/", "/cut", "/none", "/"] {
                    let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
                    let status = Answer::parse(&front.exchange(request.as_bytes())).status;
                    *answers.lock().unwrap().entry(status).or_default() += 1;
                }
            });
        }
    });
    assert!(answers.lock().unwrap()[&200] >= 24);
    front.is_left_alone();
    eventually("kept connections end", || backend.open() == 0);
}
