//! Any bytes as a chunked body: no panic, and the same verdict however they are split. The first byte says where.
#![no_main]

use hotcore::proxy::chunks::Chunks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&at, bytes)) = bytes.split_first() else { return };
    let whole = Chunks::new().advance(bytes);
    let (first, second) = bytes.split_at(usize::from(at).min(bytes.len()));
    let mut chunks = Chunks::new();
    let parts = chunks.advance(first).and_then(|before| {
        let mut after = chunks.advance(second)?;
        after.used += before.used;
        Ok(after)
    });
    assert_eq!(whole, parts);
});
