//! More connections than there is room for (B154).

use std::{
    fs,
    io::Read,
    sync::mpsc,
    time::{Duration, Instant},
};

use hotcore::service::worker::Drain;

use crate::{
    front::{Answer, Backend, Client, Front, eventually},
    recorder::Recorder,
};

const ROOM: usize = 4;

fn front_with(port: u16) -> Front {
    let mut front = Front::start_with(|config| config.connections_max = Some(ROOM));
    front.map("a.test", port);
    front
}

fn ask(client: &mut Client) -> u16 {
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_answer().status
}

fn is_open(client: &mut Client) -> bool {
    client.stream.set_nonblocking(true).unwrap();
    let read = client.stream.read(&mut [0]);
    client.stream.set_nonblocking(false).unwrap();
    read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// At the cap nobody goes; one past it, who was idle for longest.
#[test]
fn the_longest_idle_connection_makes_room() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port);
    let mut clients: Vec<_> = (0..ROOM).map(|_| front.connect()).collect();
    for client in &mut clients {
        assert_eq!(ask(client), 200);
    }
    // The first is used again, so the second is idle for longest now.
    assert_eq!(ask(&mut clients[0]), 200);
    assert!(clients.iter_mut().all(is_open), "as many as there is room for");
    let start = Instant::now();
    let mut late = front.connect();
    assert_eq!(ask(&mut late), 200);
    assert!(start.elapsed() < Duration::from_secs(1), "room is made at once: {:?}", start.elapsed());
    assert_eq!(clients[1].read_to_end(), b"");
    let open: Vec<_> = clients.iter_mut().map(is_open).collect();
    assert_eq!(open, [true, false, true, true]);
    assert_eq!(front.workers.counts().connections, ROOM);
}

/// A connection that is busy, or has sent part of a head, or nothing yet, is not idle: new ones wait until one ends.
#[test]
fn new_connections_wait_while_all_are_busy() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let backend = Backend::start(move |mut peer, _| {
        while peer.read_head().is_some() {
            let _ = gone.lock().unwrap().recv();
            peer.answer("ok");
        }
    });
    let front = front_with(backend.port);
    let mut busy: Vec<_> = (0..ROOM).map(|_| front.connect()).collect();
    for client in &mut busy[..2] {
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    busy[2].send(b"GET / HT");
    eventually("all are accepted", || front.workers.counts().connections == ROOM);
    eventually("two are busy", || front.workers.counts().requests == 2);
    let mut late = front.connect();
    late.send(b"GET / HTTP/1.1\r\nHost: nobody.test\r\nConnection: close\r\n\r\n");
    late.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(late.stream.read(&mut [0]).is_err(), "it waits");
    assert!(busy.iter_mut().all(is_open), "nobody is cut for it");
    go.send(()).unwrap();
    late.stream.set_read_timeout(Some(crate::front::PATIENCE)).unwrap();
    assert!(late.read_to_end().starts_with(b"HTTP/1.1 404 "), "an answered connection is idle and makes room");
    go.send(()).unwrap();
}

/// Connections in the queue of the listener on `port`, which nobody has accepted yet (proc(5), /proc/net/tcp).
fn queued(port: u16) -> u32 {
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let ending = format!(":{port:04X}");
    let mut lines = table.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let line = lines.find(|fields| fields[1].ends_with(&ending) && fields[3] == "0A").unwrap();
    u32::from_str_radix(line[4].split_once(':').unwrap().1, 16).unwrap()
}

/// B203: one that was accepted and waits for room when a stop comes has left the queue, where the next process would find it.
#[test]
fn a_connection_that_waits_for_room_is_answered_in_a_drain() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let backend = Backend::start(move |mut peer, _| {
        peer.read_head();
        let _ = gone.lock().unwrap().recv();
        peer.answer("ok");
    });
    let mut front = front_with(backend.port);
    let mut busy: Vec<_> = (0..ROOM).map(|_| front.connect()).collect();
    for client in &mut busy {
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    eventually("all are busy", || front.workers.counts().requests == ROOM as u64);
    let mut late = front.connect();
    late.send(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\n");
    eventually("it is accepted", || queued(front.address.port()) == 0);
    front.workers.drain(Drain { requests: Duration::from_secs(10), tunnels: Duration::ZERO });
    let answer = Answer::parse(&late.read_to_end());
    assert_eq!((answer.status, answer.field("connection")), (404, Some("close")));
    for _ in &busy {
        go.send(()).unwrap();
    }
    for client in &mut busy {
        assert_eq!(Answer::parse(&client.read_to_end()).status, 200);
    }
    front.has_ended();
}

/// One whose answer went out before its upload was done lingers; it is no idle one, and does not stand in the way of those.
#[test]
fn a_connection_that_lingers_does_not_keep_idle_ones_from_making_room() {
    let recorder = Recorder::start();
    let mut front = Front::start_with(|config| {
        config.connections_max = Some(2);
        config.patience.linger = Duration::from_secs(10);
    });
    front.map("a.test", recorder.port);
    let mut lingers = front.connect();
    lingers.send(b"POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 5\r\n\r\n");
    assert!(lingers.read_to_end().starts_with(b"HTTP/1.1 404 "));
    let mut idle = front.connect();
    assert_eq!(ask(&mut idle), 200);
    let start = Instant::now();
    let mut late = front.connect();
    assert_eq!(ask(&mut late), 200);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(idle.read_to_end(), b"");
}

/// Twenty times as many as there is room for, all with a request: everybody is served.
#[test]
fn a_crowd_is_served_in_turn() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port);
    let mut clients: Vec<_> = (0..20 * ROOM).map(|_| front.connect()).collect();
    for client in &mut clients {
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    }
    for client in &mut clients {
        assert_eq!(client.read_answer().text(), "ok");
        assert!(front.workers.counts().connections <= ROOM);
    }
}
