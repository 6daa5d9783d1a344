//! Workers: how they share connections, how they drain, and what ends them (B203, B207, B212).

use std::{
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use hotcore::service::worker::{Drain, Workers};

use crate::front::{Answer, Backend, Client, Front, eventually, spawn};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const STOP: Drain = Drain { requests: Duration::from_secs(3), tunnels: Duration::ZERO };
const HAND_OVER: Drain = Drain { requests: Duration::from_secs(5), tunnels: Duration::from_secs(10) };

fn front_of(backend: &Backend, workers: usize) -> Front {
    let mut front = Front::start_with(|config| config.count = workers);
    front.map("a.test", backend.port);
    front
}

/// A backend that answers when it is told to, each request once.
fn slow() -> (Backend, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let backend = Backend::start(move |mut peer, _| {
        while peer.read_head().is_some() {
            let _ = wait.lock().unwrap().recv();
            peer.answer("done");
        }
    });
    (backend, go)
}

/// Throughput sanity: nothing is lost, mixed up or left behind, and both workers work.
#[test]
fn thousands_of_requests_on_two_workers_are_answered_right() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            peer.answer(head.split(' ').nth(1).unwrap());
        }
    });
    let front = front_of(&backend, 2);
    thread::scope(|scope| {
        for client in 0..8 {
            let front = &front;
            scope.spawn(move || {
                let mut connection = front.connect();
                for request in 0..2_000 {
                    let path = format!("/{client}/{request}");
                    connection.send(format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes());
                    assert_eq!(connection.read_answer().text(), path);
                }
            });
        }
    });
    let counts = front.workers.counts();
    assert_eq!((counts.requests, counts.panics), (16_000, 0));
    assert!(backend.accepted() < 100, "{} connections for 16,000 requests", backend.accepted());
    front.is_left_alone();
    eventually("kept connections end", || backend.open() == 0);
}

/// A burst must not land on one worker.
#[test]
fn a_burst_spreads_over_the_workers() {
    let backend = Backend::fixed("x");
    let front = front_of(&backend, 2);
    for _ in 0..3 {
        // Each knows of the others' departures within a sweep.
        eventually("all have left", || front.workers.connections().iter().sum::<usize>() == 0);
        let clients: Vec<_> = (0..200).map(|_| front.connect()).collect();
        eventually("all are accepted", || front.workers.counts().connections == 200);
        let shares = front.workers.connections();
        assert_eq!(shares.iter().sum::<usize>(), 200);
        assert!(shares.iter().all(|share| *share >= 60), "{shares:?}");
        drop(clients);
        front.is_left_alone();
    }
}

/// The heart beats on every worker, also under load.
#[test]
fn heartbeats_go_on() {
    let backend = Backend::fixed("x");
    let front = front_of(&backend, 2);
    let before = front.workers.heartbeats();
    assert_eq!(before.len(), 2);
    let mut client = front.connect();
    eventually("both hearts beat", || {
        client.send(GET);
        client.read_answer();
        front.workers.heartbeats().iter().zip(&before).all(|(now, before)| now > &(before + 1))
    });
}

/// B203: idle connections end at once, requests under way are answered and say `close`, and then all is over.
#[test]
fn a_stop_finishes_what_is_under_way_and_nothing_else() {
    let (backend, go) = slow();
    let mut front = front_of(&backend, 2);
    let mut idle: Vec<_> = (0..8).map(|_| front.connect()).collect();
    for client in &mut idle {
        client.send(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
        assert_eq!(client.read_answer().status, 404);
    }
    let mut busy: Vec<_> = (0..4).map(|_| front.connect()).collect();
    for client in &mut busy {
        client.send(GET);
    }
    eventually("they wait at the backend", || backend.open() == 4);
    let start = Instant::now();
    front.workers.drain(STOP);
    for client in &mut idle {
        assert!(client.read_to_end().is_empty());
    }
    assert!(start.elapsed() < Duration::from_secs(1), "idle ones end at once: {:?}", start.elapsed());
    for _ in 0..4 {
        go.send(()).unwrap();
    }
    for client in &mut busy {
        let answer = Answer::parse(&client.read_to_end());
        assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
        assert_eq!(answer.field("connection"), Some("close"));
    }
    front.has_ended();
    assert!(start.elapsed() < STOP.requests, "the end does not wait for its limit: {:?}", start.elapsed());
    assert_eq!(front.workers.counts().connections, 0);
    eventually("the backend's connections end", || backend.open() == 0);
}

/// B203: nothing lasts longer than the limit.
#[test]
fn a_stop_cuts_what_is_not_done_in_time() {
    let (backend, _go) = slow();
    let mut front = front_of(&backend, 1);
    let mut client = front.connect();
    client.send(GET);
    eventually("it waits at the backend", || backend.open() == 1);
    let limit = Duration::from_millis(500);
    let start = Instant::now();
    front.workers.drain(Drain { requests: limit, tunnels: Duration::ZERO });
    assert!(client.read_to_end().is_empty());
    let lasted = start.elapsed();
    assert!(lasted >= limit && lasted < limit + Duration::from_secs(2), "{lasted:?}");
    front.has_ended();
}

/// B203: nothing is accepted after a stop; where somebody else holds the socket, new connections wait in its queue.
#[test]
fn after_a_stop_new_connections_wait_in_the_queue() {
    let backend = Backend::fixed("x");
    let (mut front, listener) = Front::start_with_listener(|config| config.count = 2);
    front.map("a.test", backend.port);
    assert_eq!(front.get("a.test").text(), "x");
    front.workers.drain(STOP);
    front.has_ended();
    let mut client = front.connect();
    client.send(GET);
    listener.set_nonblocking(false).unwrap();
    let (next, _) = listener.accept().unwrap();
    drop(next);
    assert_eq!(front.workers.counts().requests, 1);
}

/// B203: a connection whose request is on its way, and one whose request lies in the socket already, are no idle ones.
#[test]
fn a_stop_loses_no_request_of_a_connection_just_accepted() {
    let backend = Backend::fixed("x");
    for round in 0..30 {
        let mut front = front_of(&backend, 2);
        let mut clients: Vec<_> = (0..6).map(|_| front.connect()).collect();
        eventually("all are accepted", || front.workers.counts().connections == 6);
        front.workers.drain(STOP);
        if round % 2 == 0 {
            thread::sleep(Duration::from_millis(20));
        }
        for client in &mut clients {
            client.send(GET);
        }
        for client in &mut clients {
            let answer = Answer::parse(&client.read_to_end());
            assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
        }
        front.has_ended();
    }
}

/// B203: one that never sends anything does not hold up the stop.
#[test]
fn a_connection_that_says_nothing_does_not_hold_up_a_stop() {
    let backend = Backend::fixed("x");
    let mut front = front_of(&backend, 1);
    let mut silent = front.connect();
    eventually("it is accepted", || front.workers.counts().connections == 1);
    let start = Instant::now();
    front.workers.drain(STOP);
    assert!(silent.read_to_end().is_empty());
    front.has_ended();
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

/// B207: idle connections get one more answer, which is the last.
#[test]
fn a_hand_over_answers_idle_connections_once_more() {
    let backend = Backend::fixed("x");
    let mut front = front_of(&backend, 2);
    let mut clients: Vec<_> = (0..8).map(|_| front.connect()).collect();
    for client in &mut clients {
        client.send(GET);
        client.read_answer();
    }
    let start = Instant::now();
    front.workers.drain(HAND_OVER);
    thread::sleep(Duration::from_millis(700));
    for client in &mut clients {
        client.send(GET);
        let answer = Answer::parse(&client.read_to_end());
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    }
    front.has_ended();
    assert!(start.elapsed() < HAND_OVER.requests, "{:?}", start.elapsed());
}

/// B207, B148: a body that moves has as long as a tunnel, a request without an answer has not.
#[test]
fn a_hand_over_lets_bodies_move_on() {
    let backend = Backend::start(|mut peer, _| {
        let Some(head) = peer.read_head() else { return };
        if head.starts_with("GET /never") {
            peer.ends();
            return;
        }
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
        for _ in 0..20 {
            peer.send(b"x");
            thread::sleep(Duration::from_millis(100));
        }
    });
    let mut front = front_of(&backend, 1);
    let mut moving = front.connect();
    moving.send(GET);
    moving.read_head();
    let mut waiting = front.connect();
    waiting.send(b"GET /never HTTP/1.1\r\nHost: a.test\r\n\r\n");
    eventually("both are at the backend", || backend.open() == 2);
    let limits = Drain { requests: Duration::from_millis(500), tunnels: Duration::from_secs(20) };
    let start = Instant::now();
    front.workers.drain(limits);
    assert!(waiting.read_to_end().is_empty());
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    moving.read_until(&[b'x'; 20]);
    // Its head did not say `close`: like any idle connection it has one more answer.
    moving.send(GET);
    let last = Answer::parse(&moving.read_to_end());
    assert_eq!((last.body.len(), last.field("connection")), (20, Some("close")));
    front.has_ended();
    assert!(start.elapsed() < limits.tunnels, "{:?}", start.elapsed());
}

/// B203, B207: whoever stops a generation that drains need not wait for what it drains.
#[test]
fn a_stop_shortens_the_drain_of_a_hand_over() {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n");
        peer.ends();
    });
    let mut front = front_of(&backend, 2);
    let mut stuck = front.connect();
    stuck.send(GET);
    stuck.read_head();
    let long = Drain { requests: Duration::from_secs(30), tunnels: Duration::from_secs(3600) };
    front.workers.drain(long);
    let start = Instant::now();
    front.workers.drain(Drain { requests: Duration::from_millis(100), tunnels: Duration::ZERO });
    assert!(stuck.read_to_end().is_empty());
    front.has_ended();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// A listener that breaks ends its worker, and that is reported with the reason (B155, B212).
#[test]
fn a_worker_that_ends_is_reported() {
    let backend = Backend::fixed("x");
    let (mut front, listener) = Front::start_with_listener(|config| config.count = 2);
    front.map("a.test", backend.port);
    assert_eq!(front.get("a.test").text(), "x");
    front.bugs_expected = true;
    socket2::SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
    let reason = wait_for_end(&mut front.workers).unwrap_err();
    assert!(reason.contains("worker") && reason.contains("cannot go on"), "{reason}");
}

fn wait_for_end(workers: &mut Workers) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime
        .block_on(async { tokio::time::timeout(crate::front::PATIENCE, workers.ended()).await })
        .expect("it is reported in time")
}

/// B203: under load, with a new connection for each request: whoever was accepted is answered, the others stay in the queue.
#[test]
fn a_stop_under_load_loses_no_request() {
    let backend = Backend::fixed("x");
    for _ in 0..5 {
        let (mut front, queue) = Front::start_with_listener(|config| config.count = 2);
        front.map("a.test", backend.port);
        let address = front.address;
        let over = Arc::new(AtomicBool::new(false));
        let asking: Vec<_> = (0..4)
            .map(|_| {
                let over = over.clone();
                spawn(move || {
                    for answered in 0.. {
                        let mut client = Client::connect(address);
                        client.send(GET);
                        match client.read_answer_or_end().unwrap() {
                            Some(answer) => assert_eq!(answer.status, 200),
                            // It was in the queue to the last.
                            None if over.load(Ordering::SeqCst) => return answered,
                            None => panic!("accepted and not answered, after {answered}"),
                        }
                    }
                    unreachable!()
                })
            })
            .collect();
        eventually("all is in full swing", || front.workers.counts().requests > 200);
        front.workers.drain(STOP);
        front.has_ended();
        thread::sleep(Duration::from_millis(100));
        over.store(true, Ordering::SeqCst);
        drop(queue);
        let answered: u64 = asking.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(answered, front.workers.counts().requests);
    }
}

/// B203: an answer that the backend has given whole and the client has not taken yet is under way, although nothing waits for it.
#[test]
fn a_stop_loses_no_end_of_an_answer() {
    const STEP: usize = 16 * 1024;
    let backend = Backend::start(|mut peer, _| {
        let head = peer.read_head().unwrap();
        let length: usize = head.split(' ').nth(1).unwrap()[1..].parse().unwrap();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
        peer.send(&vec![b'x'; length]);
        peer.ends();
    });
    let (mut front, listener) = Front::start_with_listener(|config| config.count = 1);
    front.map("a.test", backend.port);
    // Little room in the kernel, so that the ends of many wait in the process. Accepted sockets inherit it.
    socket2::SockRef::from(&listener).set_send_buffer_size(STEP).unwrap();
    let mut clients: Vec<_> = (1..=40)
        .map(|steps| {
            let mut client = Client::connect_narrow(front.address, STEP);
            let length = steps * STEP;
            client.send(format!("GET /{length} HTTP/1.1\r\nHost: a.test\r\n\r\n").as_bytes());
            (client, length)
        })
        .collect();
    eventually("all have been asked", || backend.accepted() == clients.len());
    // As much of each as there is room for is on its way: that of the last one is as much as of any other.
    let last = clients.last().unwrap().0.stream.try_clone().unwrap();
    eventually("the last one has begun", || last.peek(&mut [0; 4096]).is_ok_and(|bytes| bytes == 4096));
    front.workers.drain(Drain { requests: crate::front::PATIENCE, tunnels: Duration::ZERO });
    thread::scope(|scope| {
        for (client, length) in &mut clients {
            scope.spawn(|| {
                let answer = client.read_to_end();
                let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
                assert_eq!(answer.len() - head, *length);
            });
        }
    });
    front.has_ended();
}
