//! Any bytes as frames of HTTP/2: no panic, the same frames however they are split, and those that a plain walk finds. The first
//! byte says where.
#![no_main]

use hotcore::proxy::http2::frames::{Frame, Frames};
use libfuzzer_sys::fuzz_target;

/// Length and stream of each frame whose head is complete.
fn walk(mut bytes: &[u8]) -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    while let Some((&[a, b, c, _, _, d, e, f, g], rest)) = bytes.split_first_chunk() {
        let length = u32::from_be_bytes([0, a, b, c]);
        found.push((length, u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff));
        bytes = rest.get(usize::try_from(length).unwrap()..).unwrap_or_default();
    }
    found
}

fn follow(frames: &mut Frames, bytes: &[u8], seen: &mut Vec<Frame>) {
    let (is_between, ahead) = (frames.is_between(), frames.ahead());
    frames.follow(bytes, |frame| seen.push(frame));
    if !is_between && bytes.len() < ahead {
        assert_eq!(frames.ahead(), ahead - bytes.len());
    }
    assert!(frames.ahead() > 0);
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&at, bytes)) = bytes.split_first() else { return };
    let (mut whole, mut parts) = (Vec::new(), Vec::new());
    follow(&mut Frames::of_server(), bytes, &mut whole);
    let (first, second) = bytes.split_at(usize::from(at).min(bytes.len()));
    let mut frames = Frames::of_server();
    follow(&mut frames, first, &mut parts);
    follow(&mut frames, second, &mut parts);
    assert_eq!(whole, parts);
    let found: Vec<_> = whole.iter().map(|frame| (frame.length, frame.stream)).collect();
    assert_eq!(found, walk(bytes));
    // A client's preface is skipped, whatever it says.
    let mut after = Vec::new();
    follow(&mut Frames::of_client(), bytes, &mut after);
    assert_eq!(after.len(), walk(bytes.get(24..).unwrap_or_default()).len());
});
