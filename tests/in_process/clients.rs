//! Clients that leave (B26, B36, B74, B75): nobody works for somebody who is gone, and who only ends its sending side is answered.

use std::{
    io::{ErrorKind, Write},
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use socket2::SockRef;

use crate::{
    front::{Answer, Backend, Client, Front, dead_port, eventually},
    recorder::Recorder,
};

/// "At once" for a test: far below every time limit of a client or a backend.
const AT_ONCE: Duration = Duration::from_secs(2);

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Leave {
    Fin,
    Reset,
}

const WAYS: [Leave; 2] = [Leave::Fin, Leave::Reset];

fn leave(mut client: Client, how: Leave) -> Option<Client> {
    match how {
        // The socket stays open: only the end of the sending side is to be seen.
        Leave::Fin => {
            client.finish();
            Some(client)
        }
        Leave::Reset => {
            SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
            None
        }
    }
}

fn front_with(port: u16) -> Front {
    let mut front = Front::start();
    front.map("a.test", port);
    front
}

fn is_empty_soon(front: &Front, since: Instant, what: &str) {
    eventually(what, || front.workers.counts().connections == 0);
    assert!(since.elapsed() < AT_ONCE, "{what}: too late");
}

#[test]
fn a_client_that_leaves_a_pending_request_is_gone_for_the_backend_at_once() {
    for how in WAYS {
        let recorder = Recorder::silent();
        let front = front_with(recorder.port);
        let mut client = front.connect();
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        recorder.wait_for_request();
        let start = Instant::now();
        let _open = leave(client, how);
        recorder.wait_for_end();
        is_empty_soon(&front, start, "B74, B75");
    }
}

/// B75, B102: a stream that has begun and is silent.
#[test]
fn a_client_that_leaves_a_silent_stream_is_gone_for_the_backend_at_once() {
    for how in WAYS {
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n";
        let recorder = Recorder::answering(|_| Some(head.to_vec()));
        let front = front_with(recorder.port);
        let mut client = front.connect();
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        client.read_until(b"data: 1\n\n");
        let start = Instant::now();
        let _open = leave(client, how);
        recorder.wait_for_end();
        is_empty_soon(&front, start, "B75");
    }
}

/// B26: the hold ends with its client, although bytes of the body lie unread before its FIN (B247).
#[test]
fn a_client_that_leaves_a_held_upload_frees_its_place_at_once() {
    for how in WAYS {
        let front = front_with(dead_port());
        let mut client = front.connect();
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n");
        // As much as the kernel takes at once, so that the FIN is not stuck behind it on the client's side.
        client.send(&vec![b'x'; 40_000]);
        // In the hold for certain: the first attempt to connect takes no time.
        eventually("the request is counted", || front.workers.counts().requests == 1);
        let start = Instant::now();
        let _open = leave(client, how);
        is_empty_soon(&front, start, "B26");
    }
}

/// B26, B75: the same with the whole body sent, and without a body.
#[test]
fn a_client_that_leaves_any_held_request_frees_its_place_at_once() {
    for how in WAYS {
        for request in [
            "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
            "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        ] {
            let front = front_with(dead_port());
            let mut client = front.connect();
            client.send(request.as_bytes());
            eventually("the request is counted", || front.workers.counts().requests == 1);
            let start = Instant::now();
            let _open = leave(client, how);
            is_empty_soon(&front, start, request);
        }
    }
}

/// B74, B75: an upload in the middle of which the client leaves is never complete for the backend.
#[test]
fn a_client_that_leaves_in_mid_upload_leaves_an_unfinished_message() {
    for how in WAYS {
        for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
            let recorder = Recorder::start();
            let front = front_with(recorder.port);
            let mut client = front.connect();
            client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\n{framing}\r\n\r\n5\r\nhello\r\n").as_bytes());
            recorder.wait("the start of the body", |links| links.iter().any(|link| link.bytes.ends_with(b"hello\r\n")));
            let start = Instant::now();
            let _open = leave(client, how);
            recorder.wait_for_end();
            assert!(recorder.requests().is_empty(), "{how:?} {framing}");
            is_empty_soon(&front, start, "B74");
        }
    }
}

/// B74: neither side moves, since the backend does not read; the reset is seen all the same, before and after the answer's head.
#[test]
fn a_reset_behind_a_blocked_upload_is_seen() {
    for has_answered in [false, true] {
        let (go, gone) = mpsc::channel::<()>();
        let (end, ended) = mpsc::channel::<()>();
        let (gone, end) = (Mutex::new(gone), Mutex::new(end));
        let backend = Backend::start(move |mut peer, _| {
            peer.read_head().unwrap();
            if has_answered {
                peer.send(b"HTTP/1.1 200 OK\r\n\r\nstart");
            }
            gone.lock().unwrap().recv().unwrap();
            // Only now it reads what lies before the end.
            let _ = std::io::copy(&mut peer.stream, &mut std::io::sink());
            end.lock().unwrap().send(()).unwrap();
        });
        let front = front_with(backend.port);
        let mut client = front.connect();
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000000\r\n\r\n");
        if has_answered {
            client.read_until(b"start");
        }
        fill(&mut client);
        let start = Instant::now();
        leave(client, Leave::Reset);
        is_empty_soon(&front, start, "B74");
        go.send(()).unwrap();
        ended.recv_timeout(AT_ONCE).expect("the backend's connection is closed");
    }
}

/// B74: who has ended its sending side can still reset.
#[test]
fn a_reset_after_the_end_of_sending_is_seen() {
    for request in [
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
    ] {
        let recorder = Recorder::silent();
        let front = front_with(recorder.port);
        let mut client = front.connect();
        client.send(request.as_bytes());
        recorder.wait_for_request();
        client.finish();
        let start = Instant::now();
        leave(client, Leave::Reset);
        recorder.wait_for_end();
        is_empty_soon(&front, start, request);
    }
}

/// B75, P17: the next requests wait in a bounded space; a full one must not hide that the client has left.
#[test]
fn a_client_that_leaves_behind_many_pipelined_requests_is_gone_at_once() {
    for how in WAYS {
        let recorder = Recorder::silent();
        let front = front_with(recorder.port);
        let mut client = front.connect();
        let requests = "GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n".repeat(4_000);
        client.send(requests.as_bytes());
        recorder.wait_for_request();
        let start = Instant::now();
        let _open = leave(client, how);
        recorder.wait_for_end();
        is_empty_soon(&front, start, "B75");
        assert_eq!(recorder.requests().len(), 1, "B53");
    }
}

/// B75, P21: nc, and scripts.
#[test]
fn a_request_that_is_the_last_is_answered_after_a_fin() {
    for request in [
        "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    ] {
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let backend = Backend::start(move |mut peer, _| {
            let head = peer.read_head().unwrap().to_lowercase();
            let body = if head.contains("content-length: 5") { 5 } else { 0 };
            peer.read_exact(body);
            gone.lock().unwrap().recv().unwrap();
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nla");
            gone.lock().unwrap().recv().unwrap();
            peer.send(b"te");
        });
        let front = front_with(backend.port);
        let mut client = front.connect();
        client.send(request.as_bytes());
        client.finish();
        eventually("the backend has the request", || backend.accepted() == 1);
        // A sweep or two pass while everything waits.
        std::thread::sleep(Duration::from_millis(300));
        go.send(()).unwrap();
        client.read_until(b"la");
        go.send(()).unwrap();
        assert_eq!(client.read_to_end(), b"te", "{request:?}");
    }
}

/// B75, B22: even while it is held.
#[test]
fn a_held_request_that_is_the_last_is_answered_after_a_fin() {
    for request in [
        "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let recorder = Recorder::start();
        let mut front = front_with(dead_port());
        let mut client = front.connect();
        client.send(request.as_bytes());
        client.finish();
        eventually("the request is counted", || front.workers.counts().requests == 1);
        front.map("a.test", recorder.port);
        let answer = Answer::parse(&client.read_to_end());
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }
}

/// B75, B53: the same for the end of an answer that the client is slow to take; and requests behind it follow it.
#[test]
fn the_end_of_a_long_answer_is_not_lost_to_a_client_that_has_said_all() {
    const STEP: usize = 16 * 1024;
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            let length: usize = head.split(' ').nth(1).unwrap()[1..].parse().unwrap();
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
            peer.send(&vec![b'x'; length]);
        }
    });
    let (mut front, listener) = Front::start_with_listener(|_| {});
    front.map("a.test", backend.port);
    SockRef::from(&listener).set_send_buffer_size(STEP).unwrap();
    let clients: Vec<_> = (1..=30)
        .map(|number| {
            let mut client = Client::connect_narrow(front.address, STEP);
            let lengths = [number * STEP, number * STEP / 2];
            let request = |version: &str, fields: &str, length: usize| {
                format!("GET /{length} HTTP/{version}\r\nHost: a.test\r\n{fields}\r\n")
            };
            let expected = match number % 3 {
                0 => {
                    client.send(request("1.0", "", lengths[0]).as_bytes());
                    client.finish();
                    &lengths[..1]
                }
                1 => {
                    client.send(request("1.1", "Connection: close\r\n", lengths[0]).as_bytes());
                    client.finish();
                    &lengths[..1]
                }
                _ => {
                    let both = request("1.1", "", lengths[0]) + &request("1.1", "Connection: close\r\n", lengths[1]);
                    client.send(both.as_bytes());
                    &lengths[..]
                }
            };
            (client, expected.to_vec())
        })
        .collect();
    let last = clients.last().unwrap().0.stream.try_clone().unwrap();
    eventually("the last one has begun", || last.peek(&mut [0; 4096]).is_ok_and(|bytes| bytes == 4096));
    std::thread::scope(|scope| {
        for (mut client, lengths) in clients {
            scope.spawn(move || {
                let all = client.read_to_end();
                let body = all.iter().filter(|&&byte| byte == b'x').count();
                assert_eq!(body, lengths.iter().sum::<usize>(), "{lengths:?}");
            });
        }
    });
}

/// A pipelined request and a FIN: the end of the sending side belongs to the last request.
#[test]
fn a_fin_between_requests_ends_the_connection() {
    let front = front_with(Backend::fixed("ok").port);
    let mut client = front.connect();
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.read_answer().status, 200);
    client.finish();
    assert_eq!(client.read_to_end(), b"");
    eventually("no connection left", || front.workers.counts().connections == 0);
}

/// B36: what a client gave up on is of no use to the next one.
#[test]
fn an_answer_given_up_by_its_client_closes_the_backends_connection() {
    let recorder = Recorder::answering(|request| {
        let is_big = request.line().contains("/big");
        Some(if is_big {
            let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n".to_vec();
            answer.resize(10_000_000, b'x');
            answer
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
        })
    });
    let front = front_with(recorder.port);
    let mut client = front.connect();
    client.send(b"GET /big HTTP/1.1\r\nHost: a.test\r\n\r\n");
    client.read_until(b"\r\n\r\n");
    leave(client, Leave::Reset);
    recorder.wait_for_end();
    assert_eq!(front.get("a.test").text(), "ok");
    assert_eq!(recorder.links().len(), 2);
}

/// Writes until neither side takes any more.
fn fill(client: &mut Client) {
    client.stream.set_nonblocking(true).unwrap();
    let block = vec![b'x'; 64 * 1024];
    let mut quiet_since = Instant::now();
    while quiet_since.elapsed() < Duration::from_millis(200) {
        match client.stream.write(&block) {
            Ok(_) => quiet_since = Instant::now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => panic!("{error}"),
        }
    }
    client.stream.set_nonblocking(false).unwrap();
}
