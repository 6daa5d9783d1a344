//! HTTP behind TLS: the same as in clear, and what TLS adds to it: the scheme, the name, sessions, and an end that tells a cut
//! from a close (B31, B67, B68, B100, B112, B170).

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use hotcore::{
    limits::TICKET_KEY_LIFE,
    service::worker::{Drain, WorkerConfig},
    tls::TicketStore,
};
use rustls::version;

use crate::{
    front::{Answer, Backend, PATIENCE, dead_port, eventually},
    secure::{SecureClient, SecureFront, fresh_tickets},
};

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
const MEGABYTE: usize = 1 << 20;

fn front_of(backend: &Backend) -> SecureFront {
    front_with(backend, |_| {})
}

fn front_with(backend: &Backend, change: impl FnOnce(&mut WorkerConfig)) -> SecureFront {
    let mut front = SecureFront::start_with(change, |_| {}, fresh_tickets());
    front.serve("a.test", backend.port);
    front
}

/// Bytes in which a lost or repeated piece shows.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| ((at / 251 + at % 251) % 256).to_le_bytes()[0]).collect()
}

/// B80.
#[test]
fn the_backend_is_told_that_it_was_https() {
    let (seen, heads) = mpsc::channel();
    let backend = Backend::start(move |mut peer, _| {
        while let Some(head) = peer.read_head() {
            seen.send(head.to_lowercase()).unwrap();
            peer.answer("hello");
        }
    });
    let front = front_of(&backend);
    let mut client = front.connect("a.test");
    client.send(b"GET http://A.test:8443/x HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-Proto: http\r\n\r\n");
    assert_eq!(client.read_answer().text(), "hello");
    let head = heads.recv().unwrap();
    assert!(head.contains("\r\nx-forwarded-proto: https\r\n") && head.contains("x-forwarded-for: 127.0.0.1"), "{head}");
    assert_eq!(head.matches("x-forwarded-proto").count(), 1);
}

/// B67: mapped or not, and the connection stays good for its own name.
#[test]
fn another_name_on_the_same_connection_is_misdirected() {
    let (a, b) = (Backend::fixed("a"), Backend::fixed("b"));
    let mut front = front_of(&a);
    front.serve("b.test", b.port);
    let mut client = front.connect("a.test");
    for host in ["b.test", "unknown.test", "127.0.0.1", "www.a.test", "b.test:8443"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\n\r\n").as_bytes());
        let answer = client.read_answer();
        assert_eq!((answer.status, answer.field("server")), (421, Some("hotcore")), "{host}");
        assert!(!answer.text().contains("a.test\"") || host.contains("a.test"), "{}", answer.text());
    }
    for host in ["a.test", "A.TEST.:8443"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(client.read_answer().text(), "a", "{host}");
    }
    assert_eq!(b.accepted(), 0);
    // The name is the one of the handshake, not the one of the first request; and there is no default (B64).
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(client.read_answer().status, 404);
}

/// B31, B157: pages travel over it, and what closes in clear closes here, in order.
#[test]
fn own_pages_are_the_same() {
    let mut front = SecureFront::start();
    front.serve("a.test", dead_port());
    let mut client = front.connect("a.test");
    client.send(GET);
    assert_eq!(client.read_answer().status, 502);
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: x\r\n\r\n");
    let (bytes, end) = client.read_result();
    end.expect("close_notify");
    let answer = Answer::parse(&bytes);
    assert_eq!((answer.status, answer.field("connection")), (400, Some("close")));
    front.front.is_left_alone();
}

#[test]
fn a_megabyte_passes_both_ways_in_both_versions() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            assert!(head.to_lowercase().contains("content-length: 1048576"), "{head}");
            let body = peer.read_exact(MEGABYTE);
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {MEGABYTE}\r\n\r\n").as_bytes());
            peer.send(&body);
        }
    });
    let front = front_of(&backend);
    let body = pattern(MEGABYTE);
    for version in [&version::TLS12, &version::TLS13] {
        let mut client = front.try_connect("a.test", &Arc::new(front.client_config_with(&[version]))).unwrap();
        for _ in 0..3 {
            client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {MEGABYTE}\r\n\r\n").as_bytes());
            client.send(&body);
            assert!(client.read_answer().body == body);
        }
    }
}

#[test]
fn chunks_and_pipelined_requests_pass() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            peer.send(
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{path}\r\n0\r\n\r\n", path.len())
                    .as_bytes(),
            );
        }
    });
    let front = front_of(&backend);
    let mut client = front.connect("a.test");
    let requests: String = (10..40).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n")).collect();
    client.send(requests.as_bytes());
    for n in 10..40 {
        let answer = client.read_until(b"0\r\n\r\n");
        assert!(String::from_utf8(answer).unwrap().contains(&format!("\r\n3\r\n/{n}\r\n")), "B53");
    }
}

/// B54, P31: a backend that does not read stops the client, with a bounded heap of bytes in between.
#[test]
fn an_upload_feels_back_pressure() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    const BODY: usize = 24 << 20;
    let backend = Backend::start(move |mut peer, _| {
        peer.read_head();
        wait.lock().unwrap().recv().unwrap();
        let mut left = BODY;
        let mut space = vec![0; 1 << 16];
        while left > 0 {
            left -= peer.stream.read(&mut space).unwrap();
        }
        peer.answer("all of it");
    });
    let front = front_of(&backend);
    let mut client = front.connect("a.test");
    client.send(format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {BODY}\r\n\r\n").as_bytes());
    // The client of this test reads where it cannot write.
    client.stream.sock.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    client.stream.sock.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    client.stream.conn.set_buffer_limit(Some(1 << 16));
    let piece = [7; 1 << 16];
    let mut sent = 0;
    let stopped = loop {
        match client.stream.write(&piece) {
            Ok(bytes) => sent += bytes,
            Err(error) => break error,
        }
        assert!(sent < BODY, "nobody stopped it");
    };
    assert_eq!(stopped.kind(), io::ErrorKind::WouldBlock);
    go.send(()).unwrap();
    client.stream.sock.set_write_timeout(Some(PATIENCE)).unwrap();
    client.stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
    while sent < BODY {
        sent += client.stream.write(&piece[..piece.len().min(BODY - sent)]).unwrap();
    }
    client.stream.flush().unwrap();
    assert_eq!(client.read_answer().text(), "all of it");
}

/// RFC 8446, 6.1: the ends that are in order say so.
#[test]
fn an_orderly_end_says_that_nothing_was_cut() {
    let backend = Backend::start(|mut peer, _| {
        let head = peer.read_head().unwrap();
        let rest = if head.starts_with("GET /until-close") { "" } else { "Content-Length: 5\r\n" };
        peer.send(format!("HTTP/1.1 200 OK\r\n{rest}\r\nhello").as_bytes());
    });
    let front = front_of(&backend);
    for request in [
        "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
        "GET /until-close HTTP/1.0\r\nHost: a.test\r\n\r\n",
    ] {
        let mut client = front.connect("a.test");
        client.send(request.as_bytes());
        let (bytes, end) = client.read_result();
        end.unwrap_or_else(|error| panic!("{request}: {error}"));
        assert_eq!(Answer::parse(&bytes).text(), "hello");
    }
    front.front.is_left_alone();
}

/// B100: a cut never ends like a close.
#[test]
fn a_body_cut_short_ends_without_close_notify() {
    let backend = Backend::start(|mut peer, _| {
        let head = peer.read_head().unwrap();
        match head.split(' ').nth(1).unwrap() {
            "/length" => peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello"),
            "/chunked" => peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            _ => {
                peer.send(b"HTTP/1.1 200 OK\r\n\r\nhello");
                // Once that is on its way.
                thread::sleep(Duration::from_millis(100));
                peer.reset();
            }
        }
    });
    let front = front_of(&backend);
    for (path, version) in [
        ("/length", "1.1"),
        ("/chunked", "1.1"),
        ("/reset", "1.1"),
        ("/length", "1.0"),
        ("/chunked", "1.0"),
        ("/reset", "1.0"),
    ] {
        let mut client = front.connect("a.test");
        client.send(format!("GET {path} HTTP/{version}\r\nHost: a.test\r\n\r\n").as_bytes());
        let (bytes, end) = client.read_result();
        let error = end.expect_err("a clean end");
        assert!(
            matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset),
            "{path} {version}: {error} after {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
    front.front.is_left_alone();
}

/// B74, B75: noticed while the answer is pending, with and without a body that nobody reads, however the client leaves.
#[test]
fn a_client_that_leaves_is_noticed() {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head();
        // Until it is given up; the upload, if there is one, stays unread.
        let mut space = [0; 1];
        while let Ok(1) = peer.stream.peek(&mut space) {
            thread::sleep(Duration::from_millis(5));
            if peer.stream.read(&mut [0; 4096]).is_err() {
                break;
            }
        }
    });
    let front = front_of(&backend);
    let requests = [
        GET.to_vec(),
        [b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5000000\r\n\r\n", &pattern(200_000)[..]].concat(),
    ];
    for request in &requests {
        for leaving in 0..3 {
            let mut client = front.connect("a.test");
            client.send(request);
            eventually("it is at the backend", || backend.open() == 1);
            match leaving {
                0 => drop(client),
                1 => {
                    client.finish();
                    client.stream.sock.shutdown(Shutdown::Write).unwrap();
                    eventually("it is given up", || backend.open() == 0);
                }
                _ => {
                    socket2::SockRef::from(&client.stream.sock).set_linger(Some(Duration::ZERO)).unwrap();
                    drop(client);
                }
            }
            eventually("it is given up", || backend.open() == 0);
            front.front.is_left_alone();
        }
    }
}

/// B75: a script that ends its sending side, properly or not, and wants its answer.
#[test]
fn a_request_that_asks_for_close_is_answered_after_its_end() {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head();
        thread::sleep(Duration::from_millis(200));
        peer.answer("hello");
    });
    let front = front_of(&backend);
    for is_proper in [true, false] {
        let mut client = front.connect("a.test");
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        if is_proper {
            client.finish();
        }
        client.stream.sock.shutdown(Shutdown::Write).unwrap();
        let (bytes, end) = client.read_result();
        end.expect("close_notify");
        assert_eq!(Answer::parse(&bytes).text(), "hello", "{is_proper}");
    }
}

/// B132, B133, B136, B137: measured on the wire, so they hold behind TLS.
#[test]
fn slow_clients_are_cut_off() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            if head.starts_with("GET /big") {
                peer.send(b"HTTP/1.1 200 OK\r\n\r\n");
                while peer.stream.write_all(&[0; 64 * 1024]).is_ok() {}
            } else if head.starts_with("GET") {
                peer.answer("hello");
            } else {
                while !peer.ends() {}
            }
        }
    });
    let front = front_with(&backend, |config| {
        config.patience.head = Duration::from_millis(400);
        config.patience.keep_alive = Duration::from_millis(400);
        config.patience.window = Duration::from_millis(400);
        config.patience.sweep = Duration::from_millis(50);
    });
    let mut head = front.connect("a.test");
    head.send(b"GET / HT");
    let (bytes, end) = head.read_result();
    end.expect("close_notify");
    assert_eq!(Answer::parse(&bytes).status, 408, "B132");

    let mut body = front.connect("a.test");
    body.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nx");
    let (bytes, end) = body.read_result();
    end.expect("close_notify");
    assert_eq!(Answer::parse(&bytes).status, 408, "B136");

    let mut idle = front.connect("a.test");
    idle.send(GET);
    idle.read_answer();
    let (bytes, end) = idle.read_result();
    assert!(bytes.is_empty());
    end.expect("B133: an idle connection ends in order");

    let mut lazy = front.connect("a.test");
    lazy.send(b"GET /big HTTP/1.1\r\nHost: a.test\r\n\r\n");
    eventually("B137: who does not read is cut off", || front.front.workers.counts().connections == 0);
    eventually("and the backend with it", || backend.open() == 0);
}

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Key: xyz==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Switches, says something, and echoes until the client has ended; then says good-bye.
fn echo() -> Backend {
    Backend::start(|mut peer, _| {
        peer.read_head().unwrap();
        peer.send(&[SWITCH, b"welcome"].concat());
        let mut space = [0; 65536];
        loop {
            match peer.stream.read(&mut space) {
                Ok(0) => break peer.send(b"bye"),
                Ok(bytes) => peer.send(&space[..bytes]),
                Err(_) => break,
            }
        }
    })
}

fn tunnel(front: &SecureFront) -> SecureClient {
    let mut client = front.connect("a.test");
    client.send(UPGRADE);
    let head = client.read_until(b"\r\n\r\n");
    assert!(head.starts_with(b"HTTP/1.1 101"));
    client.read_until(b"welcome");
    client
}

/// B107, B108, B112: frames both ways; a close_notify ends one way, and the other goes on to its own.
#[test]
fn a_web_socket_passes_and_each_way_ends_on_its_own() {
    let backend = echo();
    let front = front_of(&backend);
    let mut client = tunnel(&front);
    let body = pattern(MEGABYTE);
    for piece in body.chunks(40_000) {
        client.send(piece);
        let mut back = vec![0; piece.len()];
        client.stream.read_exact(&mut back).unwrap();
        assert!(back == piece);
    }
    client.finish();
    let (bytes, end) = client.read_result();
    assert_eq!(bytes, b"bye");
    end.expect("close_notify");
    drop(client);
    front.front.is_left_alone();
    eventually("the backend's side ends", || backend.open() == 0);
}

/// An end without close_notify may be somebody else's doing: both ways end at once.
#[test]
fn a_tunnel_that_is_cut_is_cut_on_both_sides() {
    let backend = echo();
    let front = front_of(&backend);
    let client = tunnel(&front);
    client.stream.sock.shutdown(Shutdown::Write).unwrap();
    front.front.is_left_alone();
    eventually("the backend's side ends", || backend.open() == 0);
}

/// B203: a stop cuts tunnels and ends idle connections in order.
#[test]
fn a_stop_ends_idle_connections_in_order() {
    let backend = Backend::fixed("hello");
    let mut front = front_of(&backend);
    let mut idle = front.connect("a.test");
    idle.send(GET);
    idle.read_answer();
    let start = Instant::now();
    front.front.workers.drain(Drain { requests: Duration::from_secs(3), tunnels: Duration::ZERO });
    let (bytes, end) = idle.read_result();
    assert!(bytes.is_empty());
    end.expect("close_notify");
    front.front.has_ended();
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// B207.
#[test]
fn a_hand_over_answers_once_more() {
    let backend = Backend::fixed("hello");
    let mut front = front_of(&backend);
    let mut client = front.connect("a.test");
    client.send(GET);
    client.read_answer();
    front.front.workers.drain(Drain { requests: Duration::from_secs(5), tunnels: Duration::from_secs(10) });
    thread::sleep(Duration::from_millis(300));
    client.send(GET);
    let (bytes, end) = client.read_result();
    end.expect("close_notify");
    let answer = Answer::parse(&bytes);
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    front.front.has_ended();
}

/// B170: on every worker, and after a restart with the same keys.
#[test]
fn sessions_resume_on_every_worker_and_after_a_restart() {
    let backend = Backend::fixed("hello");
    for version in [&version::TLS12, &version::TLS13] {
        let tickets = fresh_tickets();
        let mut front = SecureFront::start_with(|config| config.count = 2, |_| {}, tickets.clone());
        front.serve("a.test", backend.port);
        let config = Arc::new(front.client_config_with(&[version]));
        let visit = |front: &SecureFront| {
            let mut client = front.try_connect("a.test", &config).unwrap();
            client.send(GET);
            assert_eq!(client.read_answer().text(), "hello");
            client.is_resumed()
        };
        assert!(!visit(&front));
        let held: Vec<_> = (0..8).map(|_| front.front.connect()).collect();
        for _ in 0..8 {
            assert!(visit(&front), "{version:?}");
        }
        drop(held);
        assert_eq!(front.front.workers.counts().resumed, 8);
        drop(front);
        // Another certificate, as after a renewal: a session lives on, as it does with every server.
        let mut front = SecureFront::start_with(|_| {}, |_| {}, tickets);
        front.serve("a.test", backend.port);
        assert!(visit(&front), "{version:?}");
        let mut other = SecureFront::start();
        other.serve("a.test", backend.port);
        assert!(
            other.try_connect("a.test", &config).is_err(),
            "other keys: a full handshake, and the client does not know this certificate"
        );
    }
}

/// B170, B264: a ticket outlives the key that it was sealed with by one turn, on every worker, and not by two.
#[test]
fn sessions_resume_across_a_turn_of_the_keys() {
    let backend = Backend::fixed("hello");
    for version in [&version::TLS12, &version::TLS13] {
        let tickets = fresh_tickets();
        let mut front = SecureFront::start_with(|config| config.count = 2, |_| {}, tickets.clone());
        front.serve("a.test", backend.port);
        let mut config = front.client_config_with(&[version]);
        // What it offers is what it was given first.
        config.resumption = rustls::client::Resumption::store(Arc::new(borrowing::Keeping::default()));
        let config = Arc::new(config);
        let visit = || {
            let mut client = front.try_connect("a.test", &config).unwrap();
            client.send(GET);
            assert_eq!(client.read_answer().text(), "hello");
            client.is_resumed()
        };
        assert!(!visit());
        (0..8).for_each(|_| assert!(visit()));
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (turn, is_resumed) in [(1, true), (2, false)] {
            tickets.turn(&Nowhere, start + TICKET_KEY_LIFE * turn).unwrap();
            for _ in 0..4 {
                assert_eq!(visit(), is_resumed, "{version:?} after turn {turn}");
            }
        }
    }
}

/// For keys that live no longer than the test.
struct Nowhere;

impl TicketStore for Nowhere {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn save(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// B68, B170: a ticket of one name is none for another, nor for one without a rule.
#[test]
fn a_ticket_never_helps_under_another_name() {
    let backend = Backend::fixed("hello");
    for version in [&version::TLS12, &version::TLS13] {
        let mut front = front_of(&backend);
        front.serve("b.test", backend.port);
        let mut config = front.client_config_with(&[version]);
        config.resumption = rustls::client::Resumption::store(Arc::new(borrowing::Borrowing::default()));
        let config = Arc::new(config);
        let visit = |name: &str| {
            let mut client = front.try_connect(name, &config)?;
            client.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes());
            client.read_answer();
            io::Result::Ok(client.is_resumed())
        };
        assert!(!visit("a.test").unwrap());
        assert!(visit("a.test").unwrap(), "the ticket is good");
        assert!(!visit("b.test").unwrap(), "not for this one");
        assert!(visit("b.test").unwrap());
        assert!(!visit("a.test").unwrap(), "nor the other way round");
        front.front.unmap("a.test");
        let error = front.try_connect("a.test", &config).err().expect("no rule, no handshake");
        assert!(error.to_string().contains("UnrecognisedName"), "{error}");
    }
}

/// B170: early data could be replayed.
#[test]
fn early_data_is_not_taken() {
    let backend = Backend::fixed("hello");
    let front = front_of(&backend);
    let mut config = front.client_config();
    config.enable_early_data = true;
    let config = Arc::new(config);
    let mut client = front.try_connect("a.test", &config).unwrap();
    client.send(GET);
    client.read_answer();
    let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
    let mut session = rustls::ClientConnection::new(config, name).unwrap();
    assert!(session.early_data().is_none(), "no ticket allows it");
}

mod borrowing {
    use std::{collections::VecDeque, sync::Mutex};

    use rustls::{
        NamedGroup,
        client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue},
        pki_types::ServerName,
    };

    /// Offers the last session to every server, whatever its name.
    #[derive(Debug, Default)]
    pub(super) struct Borrowing {
        old: Mutex<Option<Tls12ClientSessionValue>>,
        new: Mutex<Option<Tls13ClientSessionValue>>,
    }

    impl ClientSessionStore for Borrowing {
        fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

        fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
            None
        }

        fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
            *self.old.lock().unwrap() = Some(value);
        }

        fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
            self.old.lock().unwrap().clone()
        }

        fn remove_tls12_session(&self, _: &ServerName<'static>) {
            *self.old.lock().unwrap() = None;
        }

        fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
            *self.new.lock().unwrap() = Some(value);
        }

        fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
            self.new.lock().unwrap().take()
        }
    }

    /// Offers the oldest session; each visit leaves more of them than it takes.
    #[derive(Debug, Default)]
    pub(super) struct Keeping {
        old: Mutex<Option<Tls12ClientSessionValue>>,
        new: Mutex<VecDeque<Tls13ClientSessionValue>>,
    }

    impl ClientSessionStore for Keeping {
        fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

        fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
            None
        }

        fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
            self.old.lock().unwrap().get_or_insert(value);
        }

        fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
            self.old.lock().unwrap().clone()
        }

        fn remove_tls12_session(&self, _: &ServerName<'static>) {}

        fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
            self.new.lock().unwrap().push_back(value);
        }

        fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
            self.new.lock().unwrap().pop_front()
        }
    }
}
