//! Floods by a client that reads all it is sent, so that nothing of ours makes it wait (B120, B123).

use hotcore::limits::{HTTP2_IDLE_FRAMES_MAX, HTTP2_STREAMS_MAX};

use super::rig::{
    END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, RST_STREAM, Raw, SETTINGS, block, frame, front_of,
    front_with, number,
};
use crate::{front::Backend, recorder::Recorder};

/// Sends `piece` a hundred times, made from a counter, reads as many frames of `kind`, and so on, until the connection is ended: the
/// reason, if it came within twenty times as many frames as are allowed.
fn flood(raw: &mut Raw, mut piece: impl FnMut(u32) -> Vec<u8>, kind: u8) -> Option<u32> {
    for round in 0..HTTP2_IDLE_FRAMES_MAX / 5 {
        let bytes: Vec<u8> = (100 * round..100 * (round + 1)).flat_map(&mut piece).collect();
        if raw.try_send(&bytes).is_err() {
            return raw.read_to_end();
        }
        let mut left = 100;
        while left > 0 {
            match raw.read() {
                Ok(frame) if frame.kind == GOAWAY => return Some(number(&frame.payload[4..8])),
                Ok(frame) if frame.kind == kind => left -= 1,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
    panic!("it goes on and on");
}

/// B123: CVE-2019-9515: what acknowledges such a frame brings nothing either.
#[test]
fn settings_that_are_acknowledged() {
    let backend = Backend::fixed("hello");
    let front = front_of(&backend);
    let mut raw = Raw::connect(&front);
    assert_eq!(flood(&mut raw, |_| frame(SETTINGS, 0, 0, &[]), SETTINGS), Some(ENHANCE_YOUR_CALM));
    drop(raw);
    front.front.is_left_alone();
}

/// B120, B123: streams beyond their number, which are refused one by one while the others wait.
#[test]
fn streams_that_are_refused() {
    let recorder = Recorder::silent();
    let front = front_with(recorder.port, |_| {});
    let mut raw = Raw::connect(&front);
    let request = |number: u32| frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, &block("GET", "/", &[]));
    (0..HTTP2_STREAMS_MAX).for_each(|number| raw.client.send(&request(number)));
    recorder.wait("all are at the backend", |links| links.len() == usize::try_from(HTTP2_STREAMS_MAX).unwrap());
    let reason = flood(&mut raw, |number| request(HTTP2_STREAMS_MAX + number), RST_STREAM);
    assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
    drop(raw);
    front.front.is_left_alone();
}
