//! Recovery takes whatever a disk may hold: it never panics, names come out once each, and what it says is bounded.
//!
//! The first byte of the input says where the snapshot ends and how many logs the rest is cut into.

#![no_main]

use std::collections::BTreeSet;

use hotcore::routes::journal::recover;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&shape, bytes)) = input.split_first() else { return };
    let (snapshot, rest) = bytes.split_at(bytes.len() * usize::from(shape & 0x0f) / 15);
    let logs: Vec<&[u8]> = rest.chunks((rest.len() / (usize::from(shape >> 4) % 4 + 1)).max(1)).collect();
    let snapshot = (shape & 0x0f != 0).then_some(snapshot);
    let Ok(recovered) = recover(snapshot, &logs) else { return };
    let names: BTreeSet<&str> = recovered.rules.iter().map(|rule| rule.domain.as_str()).collect();
    assert_eq!(names.len(), recovered.rules.len());
    assert!(recovered.problems.len() <= 64);
});
