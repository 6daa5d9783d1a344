//! Bodies: large ones both ways, windows, back-pressure, slow clients (B54, B102, B119, B124, B136, B137).

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Reason, client};
use http::HeaderValue;

use super::rig::{
    Answer, Client, DATA, HEADERS, Raw, WINDOW_UPDATE, front_of, front_with, get, hurried, request, run, send_all,
};
use crate::front::{Backend, eventually};

const MEGABYTE: usize = 1 << 20;

/// Bytes in which a lost or repeated piece shows.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at / 251 + at % 251) % 256).to_le_bytes()[0]).collect()
}

/// Sends back what it gets, of a known length or until its end.
fn mirror() -> Backend {
    Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let length: usize = length.parse().unwrap();
            let body = peer.read_exact(length);
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
            peer.send(&body);
        }
    })
}

/// Sends without an end, whatever it is asked; a path that says so gets a short answer.
fn endless() -> Backend {
    Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            if head.starts_with("GET /short") {
                peer.answer("short");
                continue;
            }
            peer.send(b"HTTP/1.1 200 OK\r\n\r\n");
            while peer.stream.write_all(&[7; 64 * 1024]).is_ok() {}
            return;
        }
    })
}

#[test]
fn megabytes_pass_both_ways() {
    let backend = mirror();
    let front = front_of(&backend);
    let body = pattern(8 * MEGABYTE + 1);
    run(async {
        let mut client = Client::connect(&front).await;
        for _ in 0..2 {
            let mut asked = request("POST", "/");
            asked.headers_mut().insert("content-length", HeaderValue::from(body.len()));
            let (answer, mut upload) = client.begin(asked).await;
            send_all(&mut upload, &body).await.unwrap();
            let answer = Answer::read(answer.await.unwrap()).await.unwrap();
            assert!(answer.body == body);
        }
    });
}

/// B102: each piece as it comes.
#[test]
fn events_are_not_held_back() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let backend = Backend::start(move |mut peer, _| {
        peer.read_head();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        while wait.lock().unwrap().recv().is_ok() {
            peer.send(b"7\r\ndata: x\r\n");
        }
        peer.send(b"0\r\n\r\n");
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        let mut body = client.ask(get("/")).await.unwrap().into_body();
        for _ in 0..5 {
            go.send(()).unwrap();
            assert_eq!(body.data().await.unwrap().unwrap(), "data: x");
        }
        drop(go);
        // The end may be a frame of its own, without bytes.
        while let Some(data) = body.data().await {
            assert_eq!(data.unwrap(), "");
        }
    });
}

/// B54, B119: a backend that does not read stops that stream at its window; its siblings go on.
#[test]
fn an_upload_feels_back_pressure() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    const BODY: usize = 24 * MEGABYTE;
    let backend = Backend::start(move |mut peer, _| {
        let head = peer.read_head().unwrap();
        if head.starts_with("GET") {
            return peer.answer("quick");
        }
        wait.lock().unwrap().recv().unwrap();
        let mut left = BODY;
        let mut space = vec![0; 1 << 16];
        while left > 0 {
            left -= peer.stream.read(&mut space).unwrap();
        }
        peer.answer("all of it");
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        let mut asked = request("POST", "/");
        asked.headers_mut().insert("content-length", HeaderValue::from(BODY));
        let (answer, mut upload) = client.begin(asked).await;
        let mut rest = Bytes::from(vec![7; BODY]);
        let mut sent = 0;
        loop {
            upload.reserve_capacity(rest.len().min(1 << 16));
            let room = std::future::poll_fn(|cx| upload.poll_capacity(cx));
            let Ok(room) = tokio::time::timeout(Duration::from_millis(500), room).await else { break };
            let room = room.unwrap().unwrap().min(rest.len());
            upload.send_data(rest.split_to(room), false).unwrap();
            sent += room;
            assert!(sent < BODY, "nobody stopped it");
        }
        let start = Instant::now();
        for _ in 0..3 {
            assert_eq!(client.get("/").await.text(), "quick");
        }
        assert!(start.elapsed() < Duration::from_secs(2));
        go.send(()).unwrap();
        while !rest.is_empty() {
            upload.reserve_capacity(rest.len());
            let room = std::future::poll_fn(|cx| upload.poll_capacity(cx)).await.unwrap().unwrap();
            upload.send_data(rest.split_to(room.min(rest.len())), false).unwrap();
        }
        upload.send_data(Bytes::new(), true).unwrap();
        assert_eq!(Answer::read(answer.await.unwrap()).await.unwrap().text(), "all of it");
    });
}

/// B54: a client that does not read stops the backend, and little is held in between.
#[test]
fn a_download_feels_back_pressure() {
    let (taken, count) = mpsc::channel::<usize>();
    let backend = Backend::start(move |mut peer, _| {
        peer.read_head();
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n");
        peer.stream.set_write_timeout(Some(Duration::from_millis(800))).unwrap();
        let mut sent = 0;
        while let Ok(bytes) = peer.stream.write(&[7; 64 * 1024]) {
            sent += bytes;
        }
        taken.send(sent).unwrap();
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        // Nothing is taken from it, so its window of 64 KiB stays shut.
        let response = client.ask(get("/")).await.unwrap();
        let sent = tokio::task::spawn_blocking(move || count.recv().unwrap()).await.unwrap();
        // What the sockets between backend and proxy hold is the kernel's affair.
        assert!(sent < 12 * MEGABYTE, "{sent}");
        drop(response);
    });
}

/// B124: such a stream is reset, its backend freed, its siblings live; and who takes little, but enough, is left alone.
#[test]
fn a_window_that_stays_shut_is_reset() {
    let backend = endless();
    let front = front_with(backend.port, hurried);
    run(async {
        // The window of the connection is no obstacle here.
        let builder = client::Builder::new().initial_connection_window_size(8 << 20).clone();
        let mut client = Client::connect_with(&front, "a.test", &builder).await;
        let shut = client.ask(get("/")).await.unwrap();
        let start = Instant::now();
        let mut slow = client.ask(get("/slowly")).await.unwrap().into_body();
        let end = async {
            let mut body = shut.into_body();
            loop {
                match body.data().await {
                    // Kept: the window is never opened again.
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("a clean end"),
                }
            }
        };
        let reading = async {
            while start.elapsed() < Duration::from_millis(1_500) {
                let data = slow.data().await.unwrap().expect("it is left alone");
                slow.flow_control().release_capacity(data.len()).unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let (error, ()) = tokio::join!(end, reading);
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        assert_eq!(client.get("/short").await.text(), "short");
        drop(slow);
    });
    eventually("the backend's connections are free", || backend.open() == 0);
}

/// B137: nothing at all is taken off the wire.
#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let backend = endless();
    let front = front_with(backend.port, |config| {
        hurried(config);
        config.patience.window = Duration::from_millis(800);
    });
    let mut raw = Raw::connect_with(&front, &[(4, 0x7fff_ffff)]);
    raw.send(WINDOW_UPDATE, 0, 0, &(0x7fff_ffff_u32 - 65_535).to_be_bytes());
    raw.ask(1, &[]);
    eventually("it is at the backend", || backend.open() == 1);
    front.front.is_left_alone();
    eventually("the backend is free", || backend.open() == 0);
}

/// B136: told so, on its stream; siblings live. Off once the answer has begun.
#[test]
fn an_upload_that_stalls_is_a_408() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            if head.starts_with("GET") {
                peer.answer("quick");
                continue;
            }
            if head.starts_with("POST /duplex") {
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
                peer.read_exact(5 + 3 + 2);
                peer.send(b"fine!");
            }
            while !peer.ends() {}
            return;
        }
    });
    let front = front_with(backend.port, hurried);
    run(async {
        let mut client = Client::connect(&front).await;
        let (answer, mut stalled) = client.begin(request("POST", "/")).await;
        stalled.send_data(Bytes::from_static(b"some"), false).unwrap();
        let (duplex, mut upload) = client.begin(request("POST", "/duplex")).await;
        let duplex = duplex.await.unwrap();
        let answer = Answer::read(answer.await.unwrap()).await.unwrap();
        assert_eq!((answer.status, answer.field("connection")), (408, None));
        let reason = std::future::poll_fn(|cx| stalled.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, Reason::NO_ERROR);
        assert_eq!(client.get("/").await.text(), "quick");
        upload.send_data(Bytes::from_static(b"hello"), false).unwrap();
        assert_eq!(Answer::read(duplex).await.unwrap().text(), "fine!");
    });
}

/// B124: pieces are no larger than a frame, so that progress shows.
#[test]
fn windows_are_kept_to_the_byte() {
    let backend = endless();
    let front = front_of(&backend);
    let mut raw = Raw::connect_with(&front, &[(4, 10)]);
    raw.ask(1, &[]);
    assert_eq!(raw.read_until(HEADERS).stream, 1);
    assert_eq!(raw.read_until(DATA).payload.len(), 10);
    for room in [1_u32, 100, 16 * 1024, 40_000] {
        raw.send(WINDOW_UPDATE, 0, 1, &room.to_be_bytes());
        let mut left = usize::try_from(room).unwrap();
        while left > 0 {
            let data = raw.read_until(DATA).payload.len();
            assert!(data <= 16 * 1024 && data <= left);
            left -= data;
        }
    }
    raw.client.stream.sock.shutdown(std::net::Shutdown::Both).unwrap();
    front.front.is_left_alone();
}

/// A connection whose kernel buffers are small, for a client that reads slowly.
#[test]
fn a_narrow_client_gets_all_of_it() {
    let backend = mirror();
    let front = front_of(&backend);
    let body = pattern(MEGABYTE);
    run(async {
        let narrow = crate::front::Client::connect_narrow(front.front.address, 4096).stream;
        narrow.set_nonblocking(true).unwrap();
        let socket = tokio::net::TcpStream::from_std(TcpStream::from(narrow)).unwrap();
        let mut client = Client::on(socket, &front, "a.test", &client::Builder::new()).await;
        let mut asked = request("POST", "/");
        asked.headers_mut().insert("content-length", HeaderValue::from(body.len()));
        let (answer, mut upload) = client.begin(asked).await;
        send_all(&mut upload, &body).await.unwrap();
        assert!(Answer::read(answer.await.unwrap()).await.unwrap().body == body);
    });
}
