//! Bytes that nobody should send: in any pieces the same answer, and no panic, no hang, no connection left behind.

use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};

use hotcore::proxy::Patience;

use crate::{
    front::{Answer, Client, Front, PATIENCE, eventually},
    recorder::Recorder,
};

/// Requests of all kinds, good and bad.
const SEEDS: [&[u8]; 14] = [
    b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
    b"\r\nGET /x?y HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\nConnection: close\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi",
    b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: nobody.test\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\n\r\n",
    b"GET http://a.test/x HTTP/1.1\r\nHost: b.test\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03abcdefgh",
    b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
];

/// Pieces of which the worst requests are made.
const PIECES: [&[u8]; 22] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"0",
    b"-1",
    b"ffffffffffffffff",
    b"chunked",
    b"close",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Host: a.test\r\n",
    b"Connection: close\r\n",
    b"GET / HTTP/1.1\r\n",
    b"0\r\n\r\n",
    b"\xff\xfe",
    b"Expect: 100-continue\r\n",
];

fn front_with(recorder: &Recorder) -> Front {
    let mut front = Front::start_with(|config| {
        config.patience = Patience { linger: Duration::from_millis(50), ..Patience::default() };
    });
    front.map("a.test", recorder.port);
    front
}

/// The status and body of the answers to `pieces`, which end in `Connection: close` or a refusal.
fn answer(front: &Front, pieces: &[&[u8]]) -> (u16, Vec<u8>) {
    let mut client = front.connect();
    for piece in pieces {
        let _ = client.stream.write_all(piece);
        std::thread::yield_now();
    }
    let answer = Answer::parse(&client.read_to_end());
    (answer.status, answer.body)
}

/// Every split in two, and all bytes one by one.
#[test]
fn a_request_split_anywhere_gets_the_same_answer() {
    let recorder = Recorder::answering(|request| {
        let body = format!("{}{}", request.head, String::from_utf8_lossy(&request.body).replace("\r\n", "|"));
        Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
    });
    let front = front_with(&recorder);
    for request in [
        &b"\r\nGET /x?y HTTP/1.1\r\nHost: a.test\r\nX:  y \r\nConnection: close\r\n\r\n"[..],
        b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\nX: a\nY: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a.test\r\n X: folded\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: +5\r\n\r\nhello",
        b"GET /\r\n\r\n",
    ] {
        let whole = answer(&front, &[request]);
        for at in 1..request.len() {
            let (one, other) = request.split_at(at);
            assert_eq!(answer(&front, &[one, other]), whole, "at {at} of {:?}", String::from_utf8_lossy(request));
        }
        let bytes: Vec<_> = request.chunks(1).collect();
        assert_eq!(answer(&front, &bytes), whole, "byte by byte: {:?}", String::from_utf8_lossy(request));
    }
}

/// The same for a chunked body, whose pieces the backend may get as they come, and its trailers.
#[test]
fn a_chunked_body_split_anywhere_arrives_as_it_is() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let head = b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = b"5;a=\"b\"\r\nhello\r\n00A \t; x\r\n0123456789\r\n0\r\nX-Trailer: 1\r\n\r\n";
    let request = [&head[..], body].concat();
    for at in head.len() - 3..request.len() {
        let (one, other) = request.split_at(at);
        assert_eq!(answer(&front, &[one, other]).0, 200, "at {at}");
    }
    let bytes: Vec<_> = request.chunks(1).collect();
    assert_eq!(answer(&front, &bytes).0, 200);
    for request in recorder.requests() {
        let text = String::from_utf8(request.body).unwrap();
        let data: String = text.split("\r\n").skip(1).step_by(2).collect();
        assert_eq!(data, "hello0123456789", "{text:?}");
    }
}

/// Pipelined requests split anywhere stay as many as they are.
#[test]
fn pipelined_requests_split_anywhere_are_all_answered() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let requests = b"POST /1 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi\
                     GET /2 HTTP/1.1\r\nHost: a.test\r\n\r\n\
                     POST /3 HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
                     GET /4 HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n";
    for at in 1..requests.len() {
        let mut client = front.connect();
        let (one, other) = requests.split_at(at);
        client.send(one);
        std::thread::yield_now();
        client.send(other);
        for _ in 0..3 {
            assert_eq!(client.read_answer().text(), "ok", "at {at}");
        }
        assert_eq!(Answer::parse(&client.read_to_end()).body, b"ok", "at {at}");
    }
    assert_eq!(recorder.requests().len(), 4 * (requests.len() - 1));
}

/// The number that a failed run prints; `HOTCORE_SEED` repeats it.
#[expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test is its own edge")]
pub(crate) fn seed() -> u64 {
    let seed =
        std::env::var("HOTCORE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("HOTCORE_SEED={seed}");
    seed
}

fn mutated(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.usize(1..4) {
        bytes.extend_from_slice(random.choice(SEEDS).unwrap());
    }
    for _ in 0..random.usize(0..6) {
        let at = random.usize(0..=bytes.len());
        match random.u8(0..5) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 if at < bytes.len() => {
                bytes.remove(at);
            }
            2 => bytes.truncate(at.max(1)),
            3 => bytes.insert(at, random.u8(..)),
            _ => {
                let piece = random.choice(PIECES).unwrap();
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}

/// Invariant 3, P33, P34: whatever comes, an answer or an end; and the backend sees only what is well formed.
#[test]
fn garbage_never_panics_hangs_or_leaks() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let mut random = fastrand::Rng::with_seed(seed());
    let end = Instant::now() + Duration::from_secs(2);
    let mut count = 0;
    while Instant::now() < end {
        let clients: Vec<_> = (0..20).map(|_| (front.connect(), mutated(&mut random))).collect();
        for (mut client, bytes) in clients {
            count += 1;
            talk(&mut client, &bytes, &mut random);
        }
    }
    assert!(count > 50, "only {count} in the time given");
    // What was left in the middle is gone with its client.
    eventually("no connection left", || front.workers.counts().connections == 0);
    assert_eq!(front.workers.counts().panics, 0);
    for request in recorder.requests() {
        assert!(request.line().ends_with(" HTTP/1.1"), "{request:?}");
        assert!(request.field("host").is_some_and(|host| host.to_lowercase().starts_with("a.test")), "{request:?}");
    }
    assert_eq!(front.get("a.test").status, 200, "and all is as before");
}

/// Sends in pieces, then ends writing, resets or just leaves.
fn talk(client: &mut Client, bytes: &[u8], random: &mut fastrand::Rng) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(random.usize(1..=rest.len()));
        if client.stream.write_all(piece).is_err() {
            break;
        }
        rest = more;
    }
    match random.u8(0..3) {
        0 => {
            let _ = client.stream.shutdown(std::net::Shutdown::Write);
            client.stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut answers = Vec::new();
            let end = client.stream.read_to_end(&mut answers);
            let is_late = end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            assert!(
                !is_late,
                "no end after {:?}: {:?}",
                String::from_utf8_lossy(bytes),
                String::from_utf8_lossy(&answers)
            );
            assert!(answers.is_empty() || answers.starts_with(b"HTTP/1."), "{:?}", String::from_utf8_lossy(&answers));
        }
        1 => socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap(),
        _ => {}
    }
}
