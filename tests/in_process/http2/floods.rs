//! Floods, each beside an honest client, who must not notice (B120–B123, B128).
//!
//! What is measured is the honest client: every request is answered, and the offender is gone soon. That memory stays bounded is the
//! limits' doing; the resident set is looked at over all of an attack.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use hotcore::limits::{HTTP2_CANCELLED_MAX, HTTP2_FAULTS_MAX, HTTP2_PENDING_RESETS_MAX};

use super::rig::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, PRIORITY, RST_STREAM, Raw, SETTINGS,
    WINDOW_UPDATE, block, frame, front_of, front_with,
};
use crate::{
    front::{Backend, eventually, spawn},
    recorder::Recorder,
    secure::SecureFront,
};

/// An attack may last so long until its connection is ended.
const SOON: Duration = Duration::from_secs(2);

/// Sends `piece` again and again, made from a counter, until the other side hangs up; the reason that it gives. An honest client
/// works beside it, on a connection of its own.
fn attack(front: &SecureFront, mut piece: impl FnMut(u32) -> Vec<u8>, first: &[u8]) -> Option<u32> {
    let mut honest = Raw::connect(front);
    let mut answered = 0;
    let mut ask = |answered: &mut u32| {
        honest.ask(2 * *answered + 1, &[]);
        assert_eq!(honest.outcome(2 * *answered + 1).unwrap(), "hello", "the honest client is served");
        *answered += 1;
    };
    ask(&mut answered);
    let before = resident_kib();
    let mut raw = Raw::connect(front);
    raw.client.send(first);
    raw.client.stream.sock.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let start = Instant::now();
    let mut number = 0;
    loop {
        let mut bytes = Vec::new();
        for _ in 0..64 {
            bytes.extend(piece(number));
            number += 1;
        }
        // Who does not read in between may be stopped by its own window: then it waits to be ended.
        if let Err(error) = raw.try_send(&bytes)
            && !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        {
            break;
        }
        if number % 1024 == 0 {
            ask(&mut answered);
        }
        assert!(start.elapsed() < Duration::from_secs(10), "it goes on and on: {number} frames");
    }
    let lasted = start.elapsed();
    ask(&mut answered);
    assert!(lasted < SOON, "{lasted:?}");
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    raw.client.stream.sock.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    raw.read_to_end()
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block("GET", "/", &[]))
}

fn upload(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block("POST", "/", &[]))
}

/// B123: CVE-2019-9512, -9515, -9513, and their kin: frames that bring nothing.
#[test]
fn frames_that_bring_nothing() {
    let backend = Backend::fixed("hello");
    let front = front_of(&backend);
    for (name, kind, flags, stream, payload) in [
        ("PING", PING, 0, 0, &[0; 8][..]),
        ("PING ACK", PING, 1, 0, &[0; 8]),
        ("SETTINGS", SETTINGS, 0, 0, &[]),
        ("SETTINGS with one", SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]),
        ("PRIORITY", PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
        ("WINDOW_UPDATE", WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        ("an unknown one", 0x77, 0, 0, &[]),
    ] {
        let reason = attack(&front, |_| frame(kind, flags, stream, payload), &[]);
        // The end may overtake the reason, where frames were still on their way.
        assert!(reason.is_none_or(|reason| reason == ENHANCE_YOUR_CALM), "{name}: {reason:?}");
    }
    front.front.is_left_alone();
}

/// B123: CVE-2019-9518, and DATA of one byte (B236).
#[test]
fn bodies_of_nothing() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            if head.starts_with("POST") {
                while !peer.ends() {}
                return;
            }
            peer.answer("hello");
        }
    });
    let front = front_of(&backend);
    attack(&front, |_| frame(DATA, 0, 1, &[]), &upload(1));
    attack(&front, |_| frame(DATA, 8, 1, &[3, 0, 0, 0]), &upload(1));
    front.front.is_left_alone();
    eventually("the uploads are given up", || backend.open() <= 1);
}

/// B122, B123: CVE-2024-27316: a head that never ends.
#[test]
fn heads_without_an_end() {
    let backend = Backend::fixed("hello");
    let front = front_of(&backend);
    let start = frame(HEADERS, END_STREAM, 1, &block("GET", "/", &[]));
    attack(&front, |_| frame(CONTINUATION, 0, 1, &[]), &start);
    let field = super::rig::field("x", &"y".repeat(1_000));
    attack(&front, |_| frame(CONTINUATION, 0, 1, &field), &start);
    front.front.is_left_alone();
}

/// B120: CVE-2023-44487, in bursts and one by one.
#[test]
fn streams_that_are_cancelled_at_once() {
    let recorder = Recorder::answering(|_| Some(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec()));
    let front = front_with(recorder.port, |_| {});
    let cancel = |stream: u32| frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
    let reason = attack(&front, |n| [request(2 * n + 1), cancel(2 * n + 1)].concat(), &[]);
    assert!(reason.is_none_or(|reason| reason == ENHANCE_YOUR_CALM), "{reason:?}");
    front.front.is_left_alone();
    let links = recorder.links().len();
    assert!(links <= 2 * 100, "B125: {links} connections");
}

/// B120: at the limit and one past it, where each is looked at before it is cancelled.
#[test]
fn cancelled_streams_are_counted() {
    let recorder = Recorder::silent();
    let front = front_with(recorder.port, |_| {});
    let mut raw = Raw::connect(&front);
    let limit = u32::try_from(HTTP2_CANCELLED_MAX).unwrap();
    for number in 0..=limit {
        raw.ask(2 * number + 1, &[]);
        let count = usize::try_from(number).unwrap() + 1;
        recorder
            .wait("it is at the backend", |links| links.iter().filter(|link| !link.bytes.is_empty()).count() == count);
        if number == limit {
            raw.send(PING, 0, 0, b"are you?");
            assert_eq!(raw.read_until(PING).payload, b"are you?", "a hundred are allowed");
        }
        raw.send(RST_STREAM, 0, 2 * number + 1, &8_u32.to_be_bytes());
    }
    assert_eq!(raw.read_to_end(), Some(ENHANCE_YOUR_CALM));
    recorder.wait_for_end();
    drop(raw);
    front.front.is_left_alone();
}

/// B120: those that were cancelled before they were looked at: h2's own count.
#[test]
fn streams_that_are_cancelled_before_they_are_looked_at() {
    let recorder = Recorder::silent();
    let front = front_with(recorder.port, |_| {});
    let mut raw = Raw::connect(&front);
    let count = u32::try_from(HTTP2_PENDING_RESETS_MAX).unwrap() + 2;
    let burst: Vec<u8> = (0..count)
        .flat_map(|n| [request(2 * n + 1), frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat())
        .collect();
    raw.client.send(&burst);
    assert_eq!(raw.read_to_end(), Some(ENHANCE_YOUR_CALM));
    front.front.is_left_alone();
}

/// B121: CVE-2025-8671: resets that we are made to send.
#[test]
fn streams_that_we_have_to_reset() {
    let recorder = Recorder::silent();
    let front = front_with(recorder.port, |_| {});
    let tricks: [(&str, fn(u32) -> Vec<u8>); 4] = [
        ("a window of nothing", |stream| frame(WINDOW_UPDATE, 0, stream, &[0; 4])),
        ("a window beyond all", |stream| frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes())),
        ("a malformed head", |_| Vec::new()),
        ("a body after its end", |stream| frame(DATA, END_STREAM, stream, b"x")),
    ];
    for (name, trick) in tricks {
        let mut raw = Raw::connect(&front);
        let faults = u32::try_from(HTTP2_FAULTS_MAX).unwrap();
        let mut sent = 0;
        // One after the other, each seen by the server before the next.
        let reason = loop {
            assert!(sent <= 2 * faults, "{name}: nobody minds");
            let stream = 2 * sent + 1;
            sent += 1;
            let head = if name == "a malformed head" {
                frame(HEADERS, END_STREAM | END_HEADERS, stream, &block("GET", "", &[]))
            } else {
                request(stream)
            };
            let ping = frame(PING, 0, 0, b"are you?");
            if raw.try_send(&[head, trick(stream), ping].concat()).is_err() {
                break raw.read_to_end();
            }
            let end = loop {
                match raw.read() {
                    Ok(frame) if frame.kind == PING => break None,
                    Ok(frame) if frame.kind == super::rig::GOAWAY => {
                        break Some(super::rig::number(&frame.payload[4..8]));
                    }
                    Ok(_) => {}
                    Err(_) => break Some(0),
                }
            };
            if end.is_some() {
                break end;
            }
        };
        assert!(reason.is_some_and(|reason| reason != 0), "{name}: {reason:?} after {sent}");
    }
    front.front.is_left_alone();
    recorder.wait_for_end();
}

/// B123: a peer that asks and never reads: it is stopped by its own window, and cut off in the end (B137).
#[test]
fn a_peer_that_never_reads() {
    let backend = Backend::fixed("hello");
    let front = front_with(backend.port, |config| {
        super::rig::hurried(config);
        config.patience.window = Duration::from_secs(1);
    });
    let mut honest = Raw::connect(&front);
    let mut raw = Raw::connect_with(&front, &[(4, 0x7fff_ffff)]);
    raw.client.stream.sock.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let before = resident_kib();
    let start = Instant::now();
    let mut number = 0;
    while front.front.workers.counts().connections > 1 {
        // A page of our own each, which costs us more than them.
        let bytes: Vec<u8> = (0..50)
            .flat_map(|n| frame(HEADERS, 5, 2 * (number + n) + 1, &block("GET", "/", &[("host", "b.test")])))
            .collect();
        number += 50;
        if raw.try_send(&bytes).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        assert!(start.elapsed() < Duration::from_secs(15), "it goes on and on");
    }
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more");
    honest.ask(1, &[]);
    assert_eq!(honest.outcome(1).unwrap(), "hello");
}

/// B128: the time that an honest client's requests take beside a flood that never ends, from connections that come again.
#[test]
fn an_honest_client_beside_a_crowd_of_offenders() {
    let backend = Backend::fixed("hello");
    let front = front_of(&backend);
    let mut honest = Raw::connect(&front);
    let mut stream = 1;
    let mut longest = |count: u32| {
        let mut times: Vec<Duration> = (0..count)
            .map(|_| {
                let start = Instant::now();
                honest.ask(stream, &[]);
                assert_eq!(honest.outcome(stream).unwrap(), "hello");
                stream += 2;
                start.elapsed()
            })
            .collect();
        times.sort();
        times[times.len() * 9 / 10]
    };
    let quiet = longest(300);
    let (address, config) = (front.front.address, std::sync::Arc::new(super::rig::config(&front)));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let offender = spawn(move || {
        let mut attacks = 0;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let Ok(client) = crate::secure::SecureClient::connect(address, "a.test", &config) else { continue };
            let mut raw = Raw { client };
            let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
            let pings = frame(PING, 0, 0, &[0; 8]).repeat(200);
            let _ = raw.try_send(&preface);
            while raw.try_send(&pings).is_ok() {}
            attacks += 1;
        }
        attacks
    });
    let beside = longest(300);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(offender.join().unwrap() > 0);
    // The offender's own work is on the same two cores here: a bound that tells a worker that is lost, not a measurement.
    assert!(beside < quiet * 20 + Duration::from_millis(100), "{beside:?} beside, {quiet:?} alone");
}
