//! Handshakes: who is served with which certificate, who waits, who is refused, and how long anybody may take (B63, B129, B130,
//! B163, B168, B169, B263, B264).

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use hotcore::service::worker::Drain;
use rustls::{AlertDescription, NamedGroup, ProtocolVersion, version};

use crate::{
    front::{Answer, Backend, Client, eventually, spawn},
    secure::{SecureClient, SecureFront, certificate, domain, fresh_tickets, key_with},
};

fn served() -> (SecureFront, Backend) {
    let backend = Backend::fixed("hello");
    let mut front = SecureFront::start();
    front.serve("a.test", backend.port);
    (front, backend)
}

/// A ClientHello for `name`, as bytes.
fn hello(front: &SecureFront, name: &str) -> Vec<u8> {
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(front.client_config()), name).unwrap();
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_site_is_served_with_its_own_certificate() {
    let (a, b) = (Backend::fixed("this is a"), Backend::fixed("this is b"));
    let mut front = SecureFront::start();
    front.serve("a.test", a.port);
    front.serve("b.test", b.port);
    assert_eq!(front.get("a.test").text(), "this is a");
    assert_eq!(front.get("b.test").text(), "this is b");
    // The client has verified the names; these two are not the same one with both.
    assert_ne!(front.connect("a.test").certificate(), front.connect("b.test").certificate());
    // A client is through with a handshake before the server is.
    eventually("all are counted", || front.front.workers.counts().handshakes == 4);
    let counts = front.front.workers.counts();
    assert_eq!((counts.handshakes, counts.refused_handshakes, counts.failed_handshakes), (4, 0, 0));
    front.front.is_left_alone();
}

#[test]
fn both_versions_of_tls_and_the_hybrid_group_are_spoken() {
    let (front, _backend) = served();
    for (version, number) in [(&version::TLS12, ProtocolVersion::TLSv1_2), (&version::TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut client = front.try_connect("a.test", &Arc::new(front.client_config_with(&[version]))).unwrap();
        assert_eq!(client.stream.conn.protocol_version(), Some(number));
        assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.read_answer().text(), "hello");
    }
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768];
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(trusting::Anybody));
    let config = builder.with_no_client_auth();
    let client = front.try_connect("a.test", &Arc::new(config)).unwrap();
    let group = client.stream.conn.negotiated_key_exchange_group().unwrap();
    assert_eq!(group.name(), NamedGroup::X25519MLKEM768);
}

/// B169, B263: never another site's certificate, and the alert that says why.
#[test]
fn an_unknown_name_is_refused() {
    let (mut front, backend) = served();
    front.front.map("mapped.test", backend.port);
    front.certify("unmapped.test");
    for name in ["unknown.test", "www.a.test", "mapped.test", "unmapped.test", "a_b.test"] {
        let mut config = front.client_config();
        assert_eq!(front.refusal(name, config.clone()), AlertDescription::UnrecognisedName, "{name}");
        config.alpn_protocols.clear();
        assert_eq!(front.refusal(name, config), AlertDescription::UnrecognisedName, "{name}");
    }
    eventually("all are counted", || front.front.workers.counts().refused_handshakes == 10);
    front.front.is_left_alone();
}

/// B5, B169.
#[test]
fn no_name_and_an_address_are_refused() {
    let (front, _backend) = served();
    let mut config = front.client_config();
    config.enable_sni = false;
    assert_eq!(front.refusal("a.test", config), AlertDescription::UnrecognisedName);
    assert_eq!(front.refusal("127.0.0.1", front.client_config()), AlertDescription::UnrecognisedName);
}

/// B68: the certificate is still there, the rule is not.
#[test]
fn after_its_rule_a_name_is_refused() {
    let (mut front, backend) = served();
    let mut open = front.connect("a.test");
    front.front.unmap("a.test");
    assert_eq!(front.refusal("a.test", front.client_config()), AlertDescription::UnrecognisedName);
    open.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(open.read_answer().status, 404);
    front.front.map("a.test", backend.port);
    assert_eq!(front.get("a.test").text(), "hello", "B172: its certificate was kept");
}

/// B169.
#[test]
fn the_protocol_is_agreed_on() {
    let (front, _backend) = served();
    let with = |protocols: &[&str]| {
        let mut config = front.client_config();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    };
    for protocols in [&["ftp"][..], &["h3", "imap"], &["acme-tls/1", "ftp"]] {
        assert_eq!(front.refusal("a.test", with(protocols)), AlertDescription::NoApplicationProtocol, "{protocols:?}");
    }
    for (protocols, agreed) in [
        (&[][..], None),
        (&["http/1.1"], Some(&b"http/1.1"[..])),
        (&["h2", "http/1.1"], Some(b"h2")),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&["acme-tls/1", "http/1.1"], Some(b"http/1.1")),
    ] {
        let mut client = front.try_connect("a.test", &Arc::new(with(protocols))).unwrap();
        assert_eq!(client.stream.conn.alpn_protocol(), agreed);
        if agreed == Some(b"h2") {
            continue;
        }
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(client.read_answer().text(), "hello");
    }
}

/// B168: its own certificate, whether there is a rule or not, and not a byte of HTTP.
#[test]
fn a_certificate_authority_gets_the_challenge_certificate_and_nothing_else() {
    let (mut front, backend) = served();
    let mut config = front.client_config();
    config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    assert_eq!(front.refusal("a.test", config.clone()), AlertDescription::UnrecognisedName, "none is under way");
    for name in ["a.test", "new.test"] {
        let challenge = certificate(name);
        front.trust(&challenge);
        front.keyring.begin_challenge(&domain(name), challenge.clone());
        let mut config = front.client_config();
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let mut client = front.try_connect(name, &Arc::new(config.clone())).unwrap();
        assert_eq!(client.certificate(), *challenge.end_entity_cert().unwrap());
        assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"acme-tls/1"[..]));
        // The request may meet a closed connection: what counts is that no answer comes.
        let _ = client.stream.write_all(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes());
        let mut bytes = Vec::new();
        let _ = client.stream.read_to_end(&mut bytes);
        assert!(bytes.is_empty(), "{bytes:?}");
        front.keyring.end_challenge(&domain(name));
        assert_eq!(front.refusal(name, config), AlertDescription::UnrecognisedName, "it is over");
    }
    assert_eq!(front.get("a.test").text(), "hello");
    assert_eq!(backend.accepted(), 1, "only the last one");
    assert_eq!(front.refusal("new.test", front.client_config()), AlertDescription::UnrecognisedName);
}

/// B130, B163: the first visit of a new site.
#[test]
fn a_handshake_waits_for_an_order_in_flight() {
    let backend = Backend::fixed("hello");
    let hurry = |patience: &mut hotcore::tls::Patience| patience.handshake = Duration::from_millis(400);
    let mut front = SecureFront::start_with(|config| config.count = 2, hurry, fresh_tickets());
    front.front.map("a.test", backend.port);
    front.keyring.begin_order(&domain("a.test"));
    let made = certificate("a.test");
    front.trust(&made);
    let (address, config) = (front.front.address, Arc::new(front.client_config()));
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let config = config.clone();
            spawn(move || SecureClient::connect(address, "a.test", &config).map(|_| ()))
        })
        .collect();
    eventually("all are there", || front.front.workers.counts().connections == 20);
    // Longer than a handshake may take: its clock stands still.
    thread::sleep(Duration::from_millis(600));
    assert!(waiting.iter().all(|thread| !thread.is_finished()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(front.keyring.asked()), domain("a.test"));
    front.keyring.insert(domain("a.test"), made).unwrap();
    for thread in waiting {
        thread.join().unwrap().unwrap();
    }
    assert_eq!(front.get("a.test").text(), "hello");
}

/// B130, B163: an order that fails, and one that takes too long.
#[test]
fn a_handshake_does_not_wait_for_ever() {
    let hurry = |patience: &mut hotcore::tls::Patience| patience.certificate = Duration::from_millis(300);
    let mut front = SecureFront::start_with(|_| {}, hurry, fresh_tickets());
    front.front.map("a.test", 1);
    front.keyring.begin_order(&domain("a.test"));
    let start = Instant::now();
    assert_eq!(front.refusal("a.test", front.client_config()), AlertDescription::UnrecognisedName);
    assert!(start.elapsed() >= Duration::from_millis(300));

    let mut front = SecureFront::start();
    front.front.map("a.test", 1);
    front.keyring.begin_order(&domain("a.test"));
    let (address, config) = (front.front.address, Arc::new(front.client_config()));
    let waiting = spawn(move || SecureClient::connect(address, "a.test", &config).map(|_| ()));
    eventually("it waits", || front.front.workers.counts().connections == 1);
    front.keyring.end_order(&domain("a.test"));
    assert!(waiting.join().unwrap().is_err());
}

/// B68, B130: the certificate comes, but the rule has gone.
#[test]
fn a_rule_that_goes_while_a_handshake_waits_takes_it_along() {
    let mut front = SecureFront::start();
    front.front.map("a.test", 1);
    front.keyring.begin_order(&domain("a.test"));
    let (address, config) = (front.front.address, Arc::new(front.client_config()));
    let waiting = spawn(move || SecureClient::connect(address, "a.test", &config).map(|_| ()));
    eventually("it waits", || front.front.workers.counts().connections == 1);
    front.front.unmap("a.test");
    front.certify("a.test");
    let error = waiting.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
}

/// B171: an error that names the cause is better than a refusal.
#[test]
fn an_expired_certificate_is_served_on() {
    let backend = Backend::fixed("hello");
    let mut front = SecureFront::start();
    front.front.map("a.test", backend.port);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut wanted = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
    (wanted.not_before, wanted.not_after) = (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2001, 2, 1));
    let old = key_with(&wanted.self_signed(&key).unwrap(), &key);
    front.trust(&old);
    front.keyring.insert(domain("a.test"), old).unwrap();
    let error = front.try_connect("a.test", &Arc::new(front.client_config())).err().expect("a client that looks");
    assert!(error.to_string().contains("expired"), "{error}");
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let config = builder.with_custom_certificate_verifier(Arc::new(trusting::Anybody)).with_no_client_auth();
    let mut client = front.try_connect("a.test", &Arc::new(config)).unwrap();
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(client.read_answer().text(), "hello");
}

/// B26, B130: who leaves does not wait.
#[test]
fn a_client_that_leaves_does_not_wait_for_a_certificate() {
    let mut front = SecureFront::start();
    front.front.map("a.test", 1);
    front.keyring.begin_order(&domain("a.test"));
    let mut client = front.front.connect();
    client.send(&hello(&front, "a.test"));
    eventually("it is there", || front.front.workers.counts().connections == 1);
    drop(client);
    front.front.is_left_alone();
}

/// B129: one limit over both parts, from the accept on; and whoever is done in time has no limit any more.
#[test]
fn a_handshake_has_a_limit() {
    let limit = Duration::from_millis(500);
    let backend = Backend::fixed("hello");
    let mut front = SecureFront::start_with(|_| {}, |patience| patience.handshake = limit, fresh_tickets());
    front.serve("a.test", backend.port);
    let mut quick = front.connect("a.test");
    let start = Instant::now();
    let mut silent = front.front.connect();
    let mut begun = front.front.connect();
    let bytes = hello(&front, "a.test");
    begun.send(&bytes[..bytes.len() / 2]);
    let mut half = front.front.connect();
    half.send(&bytes);
    for client in [&mut silent, &mut begun, &mut half] {
        client.read_to_end();
        let lasted = start.elapsed();
        assert!(lasted >= limit && lasted < limit + Duration::from_secs(3), "{lasted:?}");
    }
    eventually("all three count", || front.front.workers.counts().failed_handshakes == 3);
    quick.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    assert_eq!(quick.read_answer().text(), "hello");
}

/// B129: a byte now and then is no progress.
#[test]
fn a_hello_that_trickles_in_is_cut_off() {
    let limit = Duration::from_millis(700);
    let front = SecureFront::start_with(|_| {}, |patience| patience.handshake = limit, fresh_tickets());
    let start = Instant::now();
    let mut client = front.front.connect();
    for byte in hello(&front, "a.test") {
        if client.stream.write_all(&[byte]).is_err() || start.elapsed() > limit + Duration::from_secs(3) {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let lasted = start.elapsed();
    assert!(lasted < limit + Duration::from_secs(3), "{lasted:?}");
    front.front.is_left_alone();
}

/// A hello in pieces, each of its own segment, is a hello (RUSTSEC-2024-0399).
#[test]
fn a_hello_in_pieces_is_understood() {
    let (front, _backend) = served();
    for size in [1, 5, 100] {
        let mut client = front.front.connect();
        for piece in hello(&front, "a.test").chunks(size) {
            client.send(piece);
            thread::yield_now();
        }
        let mut record = [0; 6];
        client.stream.read_exact(&mut record).unwrap();
        assert_eq!((record[0], record[5]), (0x16, 2), "a ServerHello");
    }
}

/// B63: in the form that is asked for, with the address to use, and readable although nothing was read to its end.
#[test]
fn clear_text_on_the_port_of_https_is_told_so() {
    let (front, backend) = served();
    let answer = Answer::parse(&front.front.exchange(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    assert_eq!((answer.status, answer.field("connection")), (400, Some("close")));
    assert!(answer.text().contains(&format!("https://a.test:{}/", front.front.address.port())), "{}", answer.text());
    assert_eq!(answer.field("server"), Some("hotcore"));
    let answer = Answer::parse(&front.front.exchange(b"GET / HTTP/1.1\r\nHost: a.test:443\r\n\r\n"));
    assert!(
        answer.text().contains("https://a.test/"),
        "the port that the client thinks it speaks to: {}",
        answer.text()
    );
    // In pieces, with a head longer than what is looked at, and with a beginning alone.
    let mut client = front.front.connect();
    for piece in [&b"G"[..], b"ET / HT", b"TP/1.1\r\nHo", b"st: a.test\r", b"\n\r\n"] {
        client.send(piece);
        thread::yield_now();
    }
    assert!(Answer::parse(&client.read_to_end()).text().contains("https://a.test:"));
    let long = format!("GET / HTTP/1.1\r\nHost: a.test\r\nx: {}\r\n", "y".repeat(60_000));
    assert_eq!(Answer::parse(&front.front.exchange(long.as_bytes())).status, 400);
    let mut client = front.front.connect();
    client.send(b"GET / HTTP/1.0\r\n");
    client.finish();
    assert_eq!(Answer::parse(&client.read_to_end()).status, 400);
    let answer = Answer::parse(&front.front.exchange(b"GET / HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\n\r\n"));
    assert_eq!(answer.field("content-type").map(|kind| kind.starts_with("text/html")), Some(true));
    let answer = Answer::parse(&front.front.exchange(b"HEAD / HTTP/1.1\r\nHost: a.test\r\n\r\n"));
    assert_eq!((answer.status, answer.body.len()), (400, 0));
    // An upload that nobody reads must not destroy the answer (B98).
    let mut client = front.front.connect();
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 500000\r\n\r\n");
    client.send(&[b'x'; 500_000]);
    client.finish();
    let (bytes, end) = client.read_result();
    end.unwrap();
    assert_eq!(Answer::parse(&bytes).status, 400);
    assert_eq!(backend.accepted(), 0);
    front.front.is_left_alone();
}

/// B63: what is neither TLS nor HTTP is closed at once, without a word, and counted.
#[test]
fn what_is_no_protocol_of_ours_is_closed_at_once() {
    let front = SecureFront::start();
    let all: [&[u8]; 9] = [
        b"\0",
        b"\x15\x03\x01\0\x02\x01\0",
        b"\x17",
        b"\x80\x2e\x01\x03\x01",
        b"\xff",
        b"\r",
        b"SSH-2.0-client 1\r\n",
        b"EHLO a.test\r\n",
        b"GET /\r\n",
    ];
    for (number, bytes) in all.iter().enumerate() {
        let mut client = front.front.connect();
        client.send(bytes);
        assert_eq!(client.read_to_end(), b"", "{}", bytes.escape_ascii());
        eventually("it is counted", || front.front.workers.counts().failed_handshakes == number as u64 + 1);
    }
}

/// B63, B129: half a request in clear is waited for like half a hello, and no longer.
#[test]
fn half_a_request_in_clear_is_cut_off() {
    let limit = Duration::from_millis(300);
    let front = SecureFront::start_with(|_| {}, |patience| patience.handshake = limit, fresh_tickets());
    let start = Instant::now();
    let mut client = front.front.connect();
    client.send(b"GET / HTTP/1.1\r\n");
    client.read_to_end();
    let lasted = start.elapsed();
    assert!(lasted >= limit && lasted < limit + Duration::from_secs(3), "{lasted:?}");
}

/// Invariant 3: whatever a stranger sends instead of a hello ends that connection and nothing else.
#[test]
fn broken_hellos_end_their_own_connection_alone() {
    let (front, _backend) = served();
    let seed = crate::garbage::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let good = hello(&front, "a.test");
    for round in 0..400 {
        let mut bytes = good.clone();
        match round % 4 {
            0 => (0..random.usize(1..8)).for_each(|_| {
                let at = random.usize(1..bytes.len());
                bytes[at] = random.u8(..);
            }),
            1 => bytes.truncate(random.usize(1..good.len())),
            2 => bytes = std::iter::once(0x16).chain((0..random.usize(0..3000)).map(|_| random.u8(..))).collect(),
            _ => {
                let at = random.usize(5..bytes.len());
                bytes.splice(at..at, (0..random.usize(1..200)).map(|_| 0));
            }
        }
        let mut client = Client::connect(front.front.address);
        // It may have been cut off while this is written.
        let _ = client.stream.write_all(&bytes);
        let _ = client.stream.shutdown(Shutdown::Write);
        let (_, _) = client.read_result();
    }
    assert_eq!(front.front.workers.counts().panics, 0, "seed {seed}");
    assert_eq!(front.get("a.test").text(), "hello", "seed {seed}");
    front.front.is_left_alone();
}

/// A hello without an end is no way to fill the memory.
#[test]
fn a_hello_beyond_all_measure_is_refused() {
    let front = SecureFront::start();
    let mut client = front.front.connect();
    // Records of 16 KiB that continue a handshake message of 16 MB.
    let mut first = vec![0x16, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    first.resize(5 + 0x4000, 0);
    let mut record = vec![0x16, 3, 1, 0x40, 0];
    record.resize(5 + 0x4000, 0);
    let mut sent = 0;
    let mut next = &first;
    while client.stream.write_all(next).is_ok() {
        next = &record;
        sent += 0x4000;
        assert!(sent < 64 << 20, "all of it is taken");
    }
    front.front.is_left_alone();
}

/// Beside a storm an established connection is answered, and every one of the storm gets its turn.
#[test]
fn a_storm_of_handshakes_starves_nobody() {
    let backend = Backend::fixed("hello");
    let mut front = SecureFront::start();
    front.serve("a.test", backend.port);
    let mut established = front.connect("a.test");
    let (address, config) = (front.front.address, Arc::new(front.client_config()));
    let storm: Vec<_> = (0..8)
        .map(|_| {
            let mut config = (*config).clone();
            config.resumption = rustls::client::Resumption::disabled();
            let config = Arc::new(config);
            spawn(move || (0..25).for_each(|_| drop(SecureClient::connect(address, "a.test", &config).unwrap())))
        })
        .collect();
    let mut answers = 0;
    while storm.iter().any(|thread| !thread.is_finished()) {
        established.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(established.read_answer().text(), "hello");
        answers += 1;
    }
    storm.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(answers > 0);
    eventually("all are counted", || front.front.workers.counts().handshakes == 201);
    drop(established);
    front.front.is_left_alone();
}

/// Hundreds of hellos that lie there at once, and a worker that takes a few of them at a time.
#[test]
fn established_connections_are_answered_while_a_crowd_of_hellos_waits() {
    const CROWD: usize = 400;
    let (front, _backend) = served();
    let mut established = front.connect("a.test");
    let bytes = hello(&front, "a.test");
    let mut crowd: Vec<_> = (0..CROWD).map(|_| front.front.connect()).collect();
    eventually("all are accepted", || front.front.workers.counts().connections == CROWD + 1);
    crowd.iter_mut().for_each(|client| client.send(&bytes));
    let is_served = |client: &Client| {
        client.stream.set_nonblocking(true).unwrap();
        client.stream.peek(&mut [0]).is_ok()
    };
    let (mut answers, mut served) = (0, 0);
    while served < CROWD {
        established.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(established.read_answer().text(), "hello");
        served = crowd.iter().filter(|client| is_served(client)).count();
        answers += usize::from(served < CROWD);
    }
    assert!(answers >= 3, "{answers} answers beside {CROWD} handshakes");
}

/// B203: a handshake under way is finished and its request answered; who says nothing holds up nothing.
#[test]
fn a_stop_finishes_handshakes() {
    let backend = Backend::fixed("hello");
    for _ in 0..5 {
        let mut front = SecureFront::start();
        front.serve("a.test", backend.port);
        let mut silent = front.front.connect();
        let mut socket = TcpStream::connect(front.front.address).unwrap();
        let name = rustls::pki_types::ServerName::try_from("a.test").unwrap();
        let mut session = rustls::ClientConnection::new(Arc::new(front.client_config()), name).unwrap();
        session.write_tls(&mut socket).unwrap();
        session.read_tls(&mut socket).unwrap();
        front.front.workers.drain(Drain { requests: Duration::from_secs(3), tunnels: Duration::ZERO });
        session.process_new_packets().unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        let mut client = SecureClient { stream: rustls::StreamOwned::new(session, socket) };
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let (bytes, end) = client.read_result();
        end.unwrap();
        let answer = Answer::parse(&bytes);
        assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
        assert!(silent.read_to_end().is_empty());
        front.front.has_ended();
    }
}

/// B154: at the cap handshakes wait in the kernel's queue like everything else.
#[test]
fn connections_to_https_count() {
    let backend = Backend::fixed("hello");
    let capped = |config: &mut hotcore::service::worker::WorkerConfig| config.connections_max = Some(2);
    let mut front = SecureFront::start_with(capped, |_| {}, fresh_tickets());
    front.serve("a.test", backend.port);
    let mut first = front.connect("a.test");
    first.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
    first.read_answer();
    let _second = front.connect("a.test");
    // The longest idle one makes room, in order.
    assert_eq!(front.get("a.test").text(), "hello");
    let (bytes, end) = first.read_result();
    assert!(bytes.is_empty());
    end.expect("close_notify");
}

mod trusting {
    use rustls::{
        DigitallySignedStruct, Error, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        pki_types::{CertificateDer, ServerName, UnixTime},
    };

    /// Looks at nothing: for tests of something else.
    #[derive(Debug)]
    pub(super) struct Anybody;

    impl ServerCertVerifier for Anybody {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
}
