//! How much of everything: streams, heads, connections (B55, B119, B122, B154).

use h2::client;
use hotcore::limits::{HTTP2_STREAMS_MAX, REQUEST_FIELDS_MAX};
use http::HeaderValue;

use super::rig::{
    CONTINUATION, Client, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Raw, block, field, front_with, get, run,
};
use crate::{
    front::{Backend, eventually},
    recorder::Recorder,
};

/// B119: a hundred at a time; one more is refused, and nobody else notices.
#[test]
fn the_number_of_streams_has_its_limit() {
    const REFUSED_STREAM: u32 = 7;
    let recorder = Recorder::silent();
    let front = front_with(recorder.port, |_| {});
    let mut raw = Raw::connect(&front);
    for number in 0..HTTP2_STREAMS_MAX {
        raw.ask(2 * number + 1, &[]);
    }
    recorder.wait("a hundred requests", |links| links.len() == 100);
    raw.ask(2 * HTTP2_STREAMS_MAX + 1, &[]);
    assert_eq!(raw.outcome(2 * HTTP2_STREAMS_MAX + 1), Err(REFUSED_STREAM));
    // One that ends makes room for another.
    raw.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
    raw.ask(2 * HTTP2_STREAMS_MAX + 3, &[]);
    recorder.wait("one more", |links| links.iter().filter(|link| !link.bytes.is_empty()).count() == 101);
}

/// B55: the same at both doors; one large cookie passes.
#[test]
fn a_large_head_passes() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port, |_| {});
    run(async {
        let mut client = Client::connect(&front).await;
        let mut asked = get("/");
        let cookie = "c".repeat(60 * 1024);
        asked.headers_mut().insert("cookie", HeaderValue::from_str(&cookie).unwrap());
        assert_eq!(client.ask(asked).await.unwrap().status(), 200);
        let mut asked = get("/");
        for number in 0..REQUEST_FIELDS_MAX {
            asked.headers_mut().insert(
                http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap(),
                HeaderValue::from_static("1"),
            );
        }
        assert_eq!(client.ask(asked).await.unwrap().status(), 200);
        let mut asked = get("/");
        for number in 0..=REQUEST_FIELDS_MAX {
            asked.headers_mut().insert(
                http::HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap(),
                HeaderValue::from_static("1"),
            );
        }
        assert_eq!(client.ask(asked).await.unwrap().status(), 431);
        assert_eq!(client.get("/").await.status, 200, "the stream alone has ended");
    });
    assert_eq!(recorder.requests()[0].field("cookie").unwrap().len(), 60 * 1024);
}

/// B122: beyond the list's size a bare 431, beyond four times that the end.
#[test]
fn a_head_beyond_all_measure() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port, |_| {});
    let head = |kib: usize| {
        let value = "v".repeat(1024 - 36);
        let names: Vec<String> = (0..kib).map(|number| format!("x{number:03}")).collect();
        let fields: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
        block("GET", "/", &fields)
    };
    let send = |raw: &mut Raw, stream: u32, block: &[u8]| {
        let pieces: Vec<_> = block.chunks(16 * 1024).collect();
        for (number, piece) in pieces.iter().enumerate() {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            let flags =
                if number + 1 == pieces.len() { END_HEADERS } else { 0 } | if number == 0 { END_STREAM } else { 0 };
            if raw.try_send(&super::rig::frame(kind, flags, stream, piece)).is_err() {
                return;
            }
        }
    };
    let mut raw = Raw::connect(&front);
    send(&mut raw, 1, &head(60));
    assert_eq!(raw.outcome(1).unwrap(), "ok");
    send(&mut raw, 3, &head(70));
    assert_eq!(raw.outcome(3), Ok(String::new()), "a bare 431");
    raw.ask(5, &[]);
    assert_eq!(raw.outcome(5).unwrap(), "ok");
    send(&mut raw, 7, &head(300));
    assert!(raw.read_to_end().is_some());
    assert_eq!(recorder.requests().len(), 2);
    front.front.is_left_alone();
}

/// B122: a field that stands in the table, named again and again.
#[test]
fn a_small_block_that_becomes_large_is_refused() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port, |_| {});
    let mut raw = Raw::connect(&front);
    let mut bomb = block("GET", "/", &[]);
    // Into the dynamic table (RFC 7541, 6.2.1), of which it is the first (index 62) then.
    bomb.push(0x40);
    bomb.extend_from_slice(&field("bomb", &"b".repeat(3_000))[1..]);
    bomb.extend_from_slice(&[0x80 | 62; 12_000]);
    raw.send(HEADERS, END_STREAM | END_HEADERS, 1, &bomb);
    let reason = raw.read_to_end();
    assert!(reason.is_some_and(|reason| reason != 0), "{reason:?}");
    assert_eq!(recorder.requests().len(), 0);
    front.front.is_left_alone();
}

/// B41, B154: many requests on few connections have no more descriptors than those of HTTP/1.1, and what is left is given again.
#[test]
fn requests_have_as_many_descriptors_as_connections_have() {
    let recorder = Recorder::silent();
    let front = front_with(recorder.port, |config| config.connections_max = Some(16));
    let waiting = |count: usize| {
        recorder.wait("they are at the backend", |links| {
            links.iter().filter(|link| !link.bytes.is_empty() && !link.ended).count() == count
        });
    };
    for _ in 0..2 {
        let mut raw = Raw::connect(&front);
        // One of the 32 is the client's.
        (0..31).for_each(|number| raw.ask(2 * number + 1, &[]));
        waiting(31);
        raw.ask(63, &[]);
        assert_eq!(raw.outcome(63).unwrap(), "503 there are too many open connections. Try again in a moment.\n");
        raw.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
        waiting(30);
        raw.ask(65, &[]);
        waiting(31);
        drop(raw);
        front.front.is_left_alone();
        waiting(0);
    }
}

/// B154: the longest idle one makes room, in order, whatever it speaks.
#[test]
fn an_idle_connection_makes_room() {
    let backend = Backend::fixed("hello");
    let front = front_with(backend.port, |config| config.connections_max = Some(2));
    run(async {
        let mut first = Client::connect_with(&front, "a.test", &client::Builder::new()).await;
        assert_eq!(first.get("/").await.text(), "hello");
        let mut second = Client::connect(&front).await;
        assert_eq!(second.get("/").await.text(), "hello");
        let mut third = Client::connect(&front).await;
        assert_eq!(third.get("/").await.text(), "hello");
        first.end.await.unwrap().expect("GOAWAY without an error");
        assert_eq!(second.get("/").await.text(), "hello");
    });
    eventually("all have ended", || front.front.workers.counts().connections == 0);
}
