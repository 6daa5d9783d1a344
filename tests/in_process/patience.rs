//! Section 12: how long clients are waited for, with limits that a test can wait for.

use std::{
    io::{Read, Write},
    sync::mpsc,
    thread::sleep,
    time::{Duration, Instant},
};

use hotcore::proxy::Patience;

use crate::{
    front::{Answer, Backend, Client, Front, eventually},
    recorder::Recorder,
};

/// The limits of these tests: a window of 300 ms, with 20 KB/s, so 6,000 bytes in it.
const SHORT: Patience = Patience {
    head: Duration::from_millis(200),
    keep_alive: Duration::from_millis(200),
    window: Duration::from_millis(300),
    bytes_per_second: 20_000,
    sweep: Duration::from_millis(10),
    linger: Duration::from_millis(100),
    ..Patience::DEFAULT
};

fn front_with(port: u16) -> Front {
    let mut front = Front::start_with(|config| config.patience = SHORT);
    front.map("a.test", port);
    front
}

fn gone(front: &Front) {
    eventually("no connection left", || front.workers.counts().connections == 0);
}

/// A client whose kernel takes little that it has not read; said before it connects, as the window is made then.
fn narrow(front: &Front) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(128 * 1024).unwrap();
    socket.set_read_timeout(Some(crate::front::PATIENCE)).unwrap();
    socket.connect(&front.address.into()).unwrap();
    Client { stream: socket.into() }
}

/// Sends one byte at a time until the end of the connection, and gives what came back.
fn drip(client: &mut Client, bytes: &[u8], every: Duration) -> Vec<u8> {
    client.stream.set_nonblocking(true).unwrap();
    let (mut came, mut space) = (Vec::new(), [0; 4096]);
    let mut drops = bytes.iter();
    loop {
        match client.stream.read(&mut space) {
            Ok(0) => break,
            Ok(count) => came.extend_from_slice(&space[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        if let Some(drop) = drops.next() {
            let _ = client.stream.write_all(&[*drop]);
        }
        sleep(every);
    }
    came
}

/// B132: nothing at all ends without a word, a begun head with a 408.
#[test]
fn a_head_that_does_not_come_in_time_is_answered_with_408() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port);
    let start = Instant::now();
    assert_eq!(front.connect().read_to_end(), b"", "a connection without a byte");
    assert!(start.elapsed() >= SHORT.head);

    for part in ["G", "\r\n", "GET / HTTP/1.1\r\nHost: a.test\r\nX: ", "GET / HTTP/1.1\r\nHost: a.test\r\n"] {
        let start = Instant::now();
        let mut client = front.connect();
        client.send(part.as_bytes());
        let answer = Answer::parse(&client.read_to_end());
        assert_eq!((answer.status, answer.field("connection")), (408, Some("close")), "{part:?}");
        assert!(start.elapsed() >= SHORT.head, "{part:?}");
    }
    assert!(recorder.links().is_empty());
    gone(&front);
}

/// B132: a byte now and then resets nothing.
#[test]
fn a_head_that_drips_is_cut_at_its_limit() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port);
    let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\nX: {}", "x".repeat(10_000));
    let answer = drip(&mut front.connect(), head.as_bytes(), Duration::from_millis(2));
    assert_eq!(Answer::parse(&answer).status, 408);
    assert!(recorder.links().is_empty());
}

/// B132: the limit is the head's, not that of its bytes; a slow one that makes it is served.
#[test]
fn a_slow_head_that_comes_in_time_is_served() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port);
    let mut client = front.connect();
    for piece in b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".chunks(5) {
        client.send(piece);
        sleep(Duration::from_millis(5));
    }
    assert_eq!(Answer::parse(&client.read_to_end()).status, 200);
}

/// B132: of a pipelined request too, from the moment on that it is its turn.
#[test]
fn a_pipelined_head_that_does_not_end_is_answered_with_408() {
    let front = front_with(Recorder::start().port);
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: nobody.test\r\n\r\nGET /2 HTTP/1.1\r\nHo");
    assert_eq!(client.read_answer().status, 404);
    assert_eq!(Answer::parse(&client.read_to_end()).status, 408);
}

/// B133.
#[test]
fn a_connection_between_requests_is_closed_after_its_time() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port);
    let mut client = front.connect();
    for _ in 0..3 {
        sleep(SHORT.keep_alive / 3);
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.read_answer().status, 200, "each request begins it anew");
    }
    let start = Instant::now();
    assert_eq!(client.read_to_end(), b"");
    assert!(start.elapsed() >= SHORT.keep_alive - SHORT.sweep * 2, "{:?}", start.elapsed());
    gone(&front);
}

/// B133: counted from the last byte of the answer, which may take a slow client longer than that.
#[test]
fn a_slow_reader_of_the_last_bytes_is_not_idle() {
    const BYTES: usize = 8_000_000;
    let backend = Backend::start(|mut peer, _| {
        peer.read_head();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes());
        peer.send(&vec![b'x'; BYTES]);
        peer.read_head();
    });
    let mut front = Front::start_with(|config| config.patience = Patience { keep_alive: SHORT.sweep, ..SHORT });
    front.map("a.test", backend.port);
    let mut client = narrow(&front);
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_until(b"\r\n\r\n");
    read_slowly(&mut client, BYTES, Duration::from_millis(5), Duration::MAX);
}

/// Reads 50 KB at most and pauses, for some time, then all that comes.
fn read_slowly(client: &mut Client, bytes: usize, pause: Duration, time: Duration) {
    let start = Instant::now();
    let mut space = vec![0; 50_000];
    let mut read = 0;
    while read < bytes {
        if start.elapsed() < time {
            sleep(pause);
        }
        match client.stream.read(&mut space) {
            Ok(count @ 1..) => read += count,
            end => panic!("{end:?} after {read} bytes and {:?}", start.elapsed()),
        }
    }
}

/// B136.
#[test]
fn an_upload_that_stalls_is_answered_with_408_and_its_backend_freed() {
    for (framing, start) in [
        ("Content-Length: 1000000", &b"start"[..]),
        ("Content-Length: 1000000", b""),
        ("Transfer-Encoding: chunked", b"5\r\nstart\r\n"),
        ("Transfer-Encoding: chunked", b"5\r\nsta"),
        ("Expect: 100-continue\r\nContent-Length: 5", b""),
    ] {
        let recorder = Recorder::start();
        let front = front_with(recorder.port);
        let begin = Instant::now();
        let mut client = front.connect();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n").as_bytes());
        client.send(start);
        let bytes = client.read_to_end();
        let bytes = bytes.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&bytes);
        let answer = Answer::parse(bytes);
        assert_eq!((answer.status, answer.field("connection")), (408, Some("close")), "{framing}");
        assert!(begin.elapsed() >= SHORT.window - SHORT.sweep * 2, "{framing}: {:?}", begin.elapsed());
        recorder.wait_for_end();
        assert!(recorder.requests().is_empty(), "{framing}: nothing complete");
        gone(&front);
    }
}

/// B136, B151: a fast start pays for nothing, nor does a drop now and then.
#[test]
fn an_upload_that_drips_is_cut_however_it_began() {
    for start in [0, 5_000_000] {
        let recorder = Recorder::start();
        let front = front_with(recorder.port);
        let mut client = front.connect();
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10000000\r\n\r\n");
        client.send(&vec![b'x'; start]);
        recorder.wait("the start", |links| links.iter().any(|link| link.bytes.len() >= start));
        let begin = Instant::now();
        let answer = drip(&mut client, &[b'x'; 100_000], Duration::from_millis(2));
        assert_eq!(Answer::parse(&answer).status, 408);
        assert!(begin.elapsed() < SHORT.window * 5, "{start}: {:?}", begin.elapsed());
        recorder.wait_for_end();
    }
}

/// B136, B151: what keeps the rate may take as long as it takes.
#[test]
fn a_slow_but_fair_upload_arrives() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port);
    let mut client = front.connect();
    let start = Instant::now();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 200000\r\n\r\n");
    for _ in 0..100 {
        client.send(&[b'x'; 2_000]);
        sleep(Duration::from_millis(10));
    }
    assert_eq!(client.read_answer().status, 200);
    assert!(start.elapsed() > SHORT.window * 3, "longer than the limit: {:?}", start.elapsed());
    assert_eq!(recorder.only().body.len(), 200_000);
}

/// B142, B141: while the backend does not read, or thinks, the client's clock stands still.
#[test]
fn a_backend_that_takes_its_time_is_not_the_clients_fault() {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head().unwrap();
        sleep(SHORT.window * 3);
        let body = peer.read_exact(20_000_000);
        sleep(SHORT.window * 3);
        peer.answer(&body.len().to_string());
    });
    let front = front_with(backend.port);
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20000000\r\n\r\n");
    client.send(&vec![b'x'; 20_000_000]);
    assert_eq!(client.read_answer().text(), "20000000");
}

/// B136: off once the response head came: duplex streams stay.
#[test]
fn an_upload_may_pause_once_its_answer_has_begun() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let recorder = Recorder::scripted(
        move |peer| {
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nstart\r\n");
            gone.lock().unwrap().recv().unwrap();
        },
        |_| Some(b"3\r\nend\r\n0\r\n\r\n".to_vec()),
    );
    let front = front_with(recorder.port);
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello");
    client.read_until(b"start\r\n");
    sleep(SHORT.window * 3);
    client.send(b"again");
    go.send(()).unwrap();
    client.read_until(b"end\r\n0\r\n\r\n");
}

/// B137: also one whose first megabytes the kernel took.
#[test]
fn a_client_that_does_not_read_is_ended_and_its_backend_freed() {
    let (end, ended) = mpsc::channel();
    let end = std::sync::Mutex::new(end);
    let backend = Backend::start(move |mut peer, _| {
        peer.read_head().unwrap();
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n");
        while peer.stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
        let _ = end.lock().unwrap().send(Instant::now());
    });
    let front = front_with(backend.port);
    let mut client = front.connect();
    let start = Instant::now();
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_until(b"\r\n\r\n");
    let ended = ended.recv_timeout(crate::front::PATIENCE).expect("the backend is freed");
    assert!(ended - start >= SHORT.window, "{:?}", ended - start);
    assert!(ended - start < SHORT.window * 6, "{:?}", ended - start);
    gone(&front);
    assert!(client.read_result().1.is_err(), "B100: a cut, not an end");
}

/// B137, B151: it reads a little at a time, in the same rhythm in which it would be cut if it did not.
#[test]
fn a_slow_but_fair_reader_gets_everything() {
    const BYTES: usize = 12_000_000;
    let backend = Backend::start(|mut peer, _| {
        peer.read_head().unwrap();
        peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes());
        peer.send(&vec![b'x'; BYTES]);
        peer.read_head();
    });
    let front = front_with(backend.port);
    let mut client = narrow(&front);
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_until(b"\r\n\r\n");
    let start = Instant::now();
    // The kernel asks for bytes when a third of its 4 MB is free, which takes longer than the window.
    read_slowly(&mut client, BYTES, Duration::from_millis(25), SHORT.window * 4);
    assert!(start.elapsed() > SHORT.window * 3, "{:?}", start.elapsed());
}

/// B102, B141: nobody waits for the client while nothing is to be sent.
#[test]
fn a_silent_answer_is_never_cut() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let backend = Backend::start(move |mut peer, _| {
        peer.read_head().unwrap();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n");
        gone.lock().unwrap().recv().unwrap();
        peer.send(b"data: 2\n\n");
        gone.lock().unwrap().recv().unwrap();
    });
    let front = front_with(backend.port);
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_until(b"data: 1\n\n");
    sleep(SHORT.window * 3);
    go.send(()).unwrap();
    client.read_until(b"data: 2\n\n");
    go.send(()).unwrap();
}
