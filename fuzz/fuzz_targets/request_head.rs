//! Any bytes as a request head: no panic, an accepted head has one end, and none of its beginnings is refused.
#![no_main]

use hotcore::proxy::head::{check, check_partial, find_end};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = find_end(bytes, 0) else {
        let _ = check_partial(bytes, 0);
        return;
    };
    let head = &bytes[..end];
    let verdict = check(head);
    for split in 0..end {
        assert_eq!(find_end(&bytes[..split], 0), None);
        if check_partial(&head[..split], split.saturating_sub(1)).is_err() {
            assert!(verdict.is_err());
        }
    }
    if verdict.is_ok() {
        let mut fields = [httparse::EMPTY_HEADER; 256];
        assert_eq!(httparse::Request::new(&mut fields).parse(head), Ok(httparse::Status::Complete(end)));
    }
});
