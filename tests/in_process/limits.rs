//! Sections 4 and 5: each limit of a request, at it and one past it, and `Expect: 100-continue`.

use std::{sync::mpsc, time::Duration};

use hotcore::limits::{
    CHUNK_EXTENSION_BYTES_MAX, REQUEST_FIELDS_MAX, REQUEST_HEAD_BYTES_MAX, TARGET_BYTES_MAX, TRAILER_BYTES_MAX,
};

use crate::{
    front::{Answer, Front, dead_port},
    recorder::Recorder,
};

fn front_with(recorder: &Recorder) -> Front {
    let mut front = Front::start();
    front.map("a.test", recorder.port);
    front
}

/// Sends `head` in one piece and in many, and gives the status of both, which must be one.
fn status(front: &Front, head: &[u8]) -> u16 {
    let whole = Answer::parse(&front.exchange(head));
    let mut client = front.connect();
    for piece in head.chunks(1_000) {
        // What follows a refusal may meet a closed connection.
        let _ = std::io::Write::write_all(&mut client.stream, piece);
    }
    let pieces = Answer::parse(&client.read_to_end());
    assert_eq!(pieces.status, whole.status, "in pieces");
    if whole.status != 200 {
        assert_eq!(whole.field("connection"), Some("close"));
    }
    whole.status
}

/// A head of exactly `bytes` bytes with one large cookie.
fn head_of(bytes: usize) -> Vec<u8> {
    let start = "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nCookie: ";
    let end = "\r\n\r\n";
    format!("{start}{}{end}", "c".repeat(bytes - start.len() - end.len())).into_bytes()
}

/// B55, P1.
#[test]
fn a_head_has_64_kib_and_not_a_byte_more() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    assert_eq!(status(&front, &head_of(REQUEST_HEAD_BYTES_MAX)), 200);
    let cookie = recorder.requests()[0].field("cookie").unwrap().len();
    assert!(cookie > REQUEST_HEAD_BYTES_MAX - 100, "it arrives whole: {cookie}");
    let requests = recorder.requests().len();
    assert_eq!(status(&front, &head_of(REQUEST_HEAD_BYTES_MAX + 1)), 431);
    assert_eq!(recorder.requests().len(), requests);
}

/// B55: as many small fields as fit.
#[test]
fn a_head_has_256_fields_and_not_one_more() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let head_with = |fields: usize| {
        let others: String = (2..fields).map(|n| format!("x-{n}: {}\r\n", "v".repeat(200))).collect();
        format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n{others}\r\n").into_bytes()
    };
    assert_eq!(status(&front, &head_with(REQUEST_FIELDS_MAX)), 200);
    assert!(recorder.requests()[0].field("x-255").is_some(), "they arrive all");
    let requests = recorder.requests().len();
    assert_eq!(status(&front, &head_with(REQUEST_FIELDS_MAX + 1)), 431);
    assert_eq!(recorder.requests().len(), requests);
}

/// B55.
#[test]
fn a_target_has_32_kib_and_not_a_byte_more() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let head_with = |bytes: usize| {
        format!("GET /{} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", "t".repeat(bytes - 1)).into_bytes()
    };
    assert_eq!(status(&front, &head_with(TARGET_BYTES_MAX)), 200);
    assert_eq!(recorder.requests()[0].line().len(), "GET  HTTP/1.1".len() + TARGET_BYTES_MAX);
    let requests = recorder.requests().len();
    assert_eq!(status(&front, &head_with(TARGET_BYTES_MAX + 1)), 414);
    assert_eq!(recorder.requests().len(), requests);
}

/// B55, B162: where two limits meet in one head, it still passes whole; no answer is ever the library's bare one.
#[test]
fn a_head_at_all_its_limits_passes() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let start = format!("GET /{} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n", "t".repeat(TARGET_BYTES_MAX - 1));
    let left = REQUEST_HEAD_BYTES_MAX - start.len() - 2;
    let fields = REQUEST_FIELDS_MAX - 2;
    let each = left / fields;
    let mut head = start;
    for n in 0..fields {
        let line = if n + 1 == fields { left - each * n } else { each };
        let name = format!("x-{n:03}: ");
        head += &format!("{name}{}\r\n", "v".repeat(line - name.len() - 2));
    }
    head += "\r\n";
    assert_eq!(head.len(), REQUEST_HEAD_BYTES_MAX);
    assert_eq!(status(&front, head.as_bytes()), 200);
    assert!(recorder.requests()[0].field("x-253").is_some());
}

/// B55: what can only be refused is refused before its end has come.
#[test]
fn a_head_without_end_is_refused_at_the_limit() {
    let front = Front::start();
    let endless = vec![b'x'; REQUEST_HEAD_BYTES_MAX + 1];
    for (start, status) in
        [("GET / HTTP/1.1\r\nHost: a.test\r\nCookie: ", 431), ("GET /", 414), ("", 431), ("GET / HTTP/1.1\r\nX", 431)]
    {
        let mut client = front.connect();
        client.send(start.as_bytes());
        let _ = std::io::Write::write_all(&mut client.stream, &endless);
        assert_eq!(Answer::parse(&client.read_to_end()).status, status, "{start:?}");
    }
}

/// B48: over the whole body.
#[test]
fn chunk_extensions_have_16_kib_in_a_body() {
    for (surplus, status) in [(0, 200), (1, 400)] {
        let recorder = Recorder::start();
        let front = front_with(&recorder);
        let mut client = front.connect();
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n");
        let half = usize::try_from(CHUNK_EXTENSION_BYTES_MAX).unwrap() / 2;
        client.send(format!("1;{}\r\na\r\n", "e".repeat(half - 1)).as_bytes());
        client.send(format!("1;{}\r\nb\r\n", "e".repeat(half - 1 + surplus)).as_bytes());
        let _ = std::io::Write::write_all(&mut client.stream, b"0\r\n\r\n");
        assert_eq!(Answer::parse(&client.read_to_end()).status, status, "{surplus}");
        assert_eq!(recorder.requests().len(), 1 - surplus);
    }
}

/// B48, P14.
#[test]
fn trailers_have_16_kib_and_256_fields() {
    let ask = |trailers: &str| {
        let recorder = Recorder::start();
        let front = front_with(&recorder);
        let mut client = front.connect();
        client.send(
            b"POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        client.send(b"1\r\na\r\n0\r\n");
        let _ = std::io::Write::write_all(&mut client.stream, format!("{trailers}\r\n").as_bytes());
        let status = Answer::parse(&client.read_to_end()).status;
        assert_eq!(recorder.requests().len(), usize::from(status == 200));
        status
    };
    assert_eq!(ask(""), 200);
    assert_eq!(ask(&format!("x: {}\r\n", "v".repeat(TRAILER_BYTES_MAX - 7))), 200);
    assert_eq!(ask(&format!("x: {}\r\n", "v".repeat(TRAILER_BYTES_MAX - 6))), 400);
    assert_eq!(ask(&"x: v\r\n".repeat(REQUEST_FIELDS_MAX)), 200);
    assert_eq!(ask(&"x: v\r\n".repeat(REQUEST_FIELDS_MAX + 1)), 400);
    assert_eq!(ask("Content-Length: 5\r\n"), 400, "P14");
}

/// B56, B25: nobody is asked for a body before there is somebody to take it.
#[test]
fn a_100_comes_only_after_a_backend_connection_stands() {
    let recorder = Recorder::start();
    let mut front = Front::start();
    front.map("a.test", dead_port());
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n");
    client.stream.set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    assert!(std::io::Read::read(&mut client.stream, &mut [0]).is_err(), "nothing comes while it is held");
    client.stream.set_read_timeout(Some(crate::front::PATIENCE)).unwrap();
    front.map("a.test", recorder.port);
    assert_eq!(client.read_until(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
    recorder.wait("the head, before a byte of the body", |links| {
        links.iter().any(|link| link.bytes.ends_with(b"\r\n\r\n"))
    });
    client.send(b"hello");
    assert_eq!(client.read_answer().text(), "ok");
    let request = recorder.only();
    assert_eq!((request.field("expect"), &request.body[..]), (None, &b"hello"[..]));
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.read_answer().status, 200, "the connection goes on");
}

/// B56, B161.
#[test]
fn a_final_answer_without_a_100_closes() {
    let front = Front::start();
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    let answer = client.read_to_end();
    assert!(answer.starts_with(b"HTTP/1.1 404 "), "no 100 before it");
    assert_eq!(Answer::parse(&answer).field("connection"), Some("close"));
}

/// B56: without a body, and in HTTP/1.0, the expectation means nothing.
#[test]
fn an_expectation_without_meaning_is_passed_over() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    for request in [
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 2\r\nExpect: other\r\n\r\nhi",
    ] {
        let answer = front.exchange(request.as_bytes());
        assert!(answer.starts_with(b"HTTP/1.") && !answer.windows(5).any(|w| w == b" 100 "), "{request:?}");
        assert_eq!(Answer::parse(&answer).status, 200, "{request:?}");
    }
}

/// B56: a client that does not wait for its 100 is as welcome.
#[test]
fn a_body_that_does_not_wait_for_its_100_arrives() {
    let recorder = Recorder::start();
    let front = front_with(&recorder);
    let mut client = front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
    let head = client.read_until(b"\r\n\r\n");
    if head.starts_with(b"HTTP/1.1 100 ") {
        assert_eq!(client.read_answer().status, 200);
    } else {
        assert_eq!(Answer::parse(&head).status, 200);
    }
    assert_eq!(recorder.only().body, b"hello");
}

/// B54: both directions at once, each waiting for the other side only.
#[test]
fn a_stalled_reader_stops_the_writer_and_nothing_is_lost() {
    const BYTES: usize = 30_000_000;
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let backend = crate::front::Backend::start(move |mut peer, _| {
        peer.read_head().unwrap();
        gone.lock().unwrap().recv().unwrap();
        let mut space = vec![0; 1 << 16];
        let (mut sum, mut count) = (0u64, 0);
        while count < BYTES {
            let read = std::io::Read::read(&mut peer.stream, &mut space).unwrap();
            assert!(read > 0);
            sum += space[..read].iter().map(|byte| u64::from(*byte)).sum::<u64>();
            count += read;
        }
        peer.answer(&sum.to_string());
    });
    let mut front = Front::start();
    front.map("a.test", backend.port);
    let mut client = front.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes());
    let mut sender = client.stream.try_clone().unwrap();
    let sent = std::sync::atomic::AtomicUsize::new(0);
    let block: Vec<u8> = (0..50_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let sum = block.iter().map(|byte| u64::from(*byte)).sum::<u64>() * (BYTES / block.len()) as u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..BYTES / block.len() {
                std::io::Write::write_all(&mut sender, &block).unwrap();
                sent.fetch_add(block.len(), std::sync::atomic::Ordering::Relaxed);
            }
        });
        // It comes to rest before the end: what lies between are the kernel's buffers and one read.
        let mut last = usize::MAX;
        crate::front::eventually("the upload stands still", || {
            std::thread::sleep(Duration::from_millis(50));
            let now = sent.load(std::sync::atomic::Ordering::Relaxed);
            std::mem::replace(&mut last, now) == now && now > 0
        });
        assert!(last < BYTES, "the upload was taken without its backend");
        go.send(()).unwrap();
        assert_eq!(client.read_answer().text(), sum.to_string());
    });
}
