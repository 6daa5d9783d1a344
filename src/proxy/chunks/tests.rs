//! Each rule of chunked framing, each limit, each split.

use super::*;
use crate::testing::seed;

/// Reads all at once.
fn read(bytes: &[u8]) -> Result<Advance, Refusal> {
    Chunks::new().advance(bytes)
}

/// Reads in pieces that end at `splits`, and checks that the pieces agree with the whole.
fn read_in_pieces(bytes: &[u8], splits: &[usize]) -> Result<Advance, Refusal> {
    let mut chunks = Chunks::new();
    let (mut from, mut used) = (0, 0);
    for &to in splits.iter().chain([&bytes.len()]) {
        let advance = chunks.advance(&bytes[from..to])?;
        used += advance.used;
        if advance.complete {
            assert!(chunks.is_complete());
            assert_eq!(chunks.advance(b"more"), Ok(Advance { used: 0, complete: true }));
            return Ok(Advance { used, complete: true });
        }
        assert_eq!(advance.used, to - from, "an incomplete message uses all bytes");
        from = to;
    }
    Ok(Advance { used, complete: false })
}

fn repeat(text: &str, count: usize) -> String {
    text.repeat(count)
}

/// P13, P14, B48: what is valid ends where it ends, and what follows is left alone.
#[test]
fn a_valid_body_ends_at_its_last_line() {
    let bodies = [
        "0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\n",
        "5\r\n\r\n\r\n\0\r\n0\r\n\r\n",
        "a\r\n0123456789\r\nB\r\n0123456789x\r\n000\r\n\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "5;a=b\r\nhello\r\n0;\"q\u{e9}\"\r\n\r\n",
        "5 \t;a\r\nhello\r\n0\r\n\r\n",
        "0\r\nx-checksum: 1\r\ny:\t\u{e9} \r\n\r\n",
        "0\r\nx-transfer-encoding: chunked\r\nconten-length: 1\r\ncontent-lengths: 1\r\n\r\n",
    ];
    for body in bodies {
        let bytes = [body.as_bytes(), b"GET / HTTP/1.1\r\n"].concat();
        let end = Advance { used: body.len(), complete: true };
        assert_eq!(read(&bytes), Ok(end), "{body:?}");
        for split in 0..=bytes.len() {
            assert_eq!(read_in_pieces(&bytes, &[split]), Ok(end), "{body:?} split at {split}");
        }
        let every: Vec<usize> = (0..=bytes.len()).collect();
        assert_eq!(read_in_pieces(&bytes, &every), Ok(end), "{body:?} byte by byte");
        for cut in 0..body.len() {
            assert_eq!(read(&bytes[..cut]), Ok(Advance { used: cut, complete: false }), "{body:?} cut at {cut}");
        }
    }
}

/// P2, P13, P14, B45, B47, B48.
#[test]
fn framing_that_two_parsers_could_read_differently_is_refused() {
    let rows: &[(&str, Refusal)] = &[
        ("\r\n", Refusal::ChunkSize),
        ("-1\r\n", Refusal::ChunkSize),
        ("+1\r\n", Refusal::ChunkSize),
        (" 1\r\n", Refusal::ChunkSize),
        ("0x5\r\n", Refusal::ChunkSize),
        ("5_\r\n", Refusal::ChunkSize),
        ("g\r\n", Refusal::ChunkSize),
        (";a\r\n", Refusal::ChunkSize),
        ("5 \r\nhello\r\n", Refusal::ChunkSize),
        ("5 5\r\n", Refusal::ChunkSize),
        ("00000000000000005\r\n", Refusal::ChunkSize),
        ("8000000000000000\r\n", Refusal::ChunkSize),
        ("ffffffffffffffff\r\n", Refusal::ChunkSize),
        ("5\nhello\r\n", Refusal::BareLf),
        ("5\rhello\r\n", Refusal::BareCr),
        ("5\r\rhello\r\n", Refusal::BareCr),
        ("5;a\nhello\r\n", Refusal::BareLf),
        ("5;a\rb\r\nhello\r\n", Refusal::BareCr),
        ("5;a\0\r\nhello\r\n", Refusal::ChunkExtensions),
        ("5;\u{7f}\r\nhello\r\n", Refusal::ChunkExtensions),
        ("5\r\nhello!\r\n", Refusal::ChunkEnd),
        ("5\r\nhello\n0\r\n\r\n", Refusal::ChunkEnd),
        ("5\r\nhello\r0\r\n\r\n", Refusal::ChunkEnd),
        ("5\r\nhello0\r\n\r\n", Refusal::ChunkEnd),
        ("5\r\nhell\r\n0\r\n\r\n", Refusal::ChunkEnd),
        ("0\r\n\n", Refusal::BareLf),
        ("0\n\r\n", Refusal::BareLf),
        ("0\r\n\rx", Refusal::BareCr),
        ("0\r\nx: y\n\r\n", Refusal::BareLf),
        ("0\r\nx: y\rz\r\n\r\n", Refusal::BareCr),
        ("0\r\nx: y\0\r\n\r\n", Refusal::Control),
        ("0\r\nx\r\n\r\n", Refusal::FieldName),
        ("0\r\nx\n\r\n", Refusal::BareLf),
        ("0\r\n: y\r\n\r\n", Refusal::FieldName),
        ("0\r\nx : y\r\n\r\n", Refusal::BlankBeforeColon),
        ("0\r\n x: y\r\n\r\n", Refusal::FoldedLine),
        ("0\r\nx: y\r\n z\r\n\r\n", Refusal::FoldedLine),
        ("0\r\n\u{e9}: y\r\n\r\n", Refusal::FieldName),
        ("0\r\nContent-Length: 5\r\n\r\n", Refusal::TrailerField),
        ("0\r\nx: y\r\nTRANSFER-encoding: chunked\r\n\r\n", Refusal::TrailerField),
        ("0\r\nhost: b.com\r\n\r\n", Refusal::TrailerField),
        ("0\r\nconnection: close\r\n\r\n", Refusal::TrailerField),
        ("0\r\nte: trailers\r\n\r\n", Refusal::TrailerField),
    ];
    for (body, refusal) in rows {
        let bytes = body.as_bytes();
        assert_eq!(read(bytes), Err(*refusal), "{body:?}");
        let every: Vec<usize> = (0..=bytes.len()).collect();
        assert_eq!(read_in_pieces(bytes, &every), Err(*refusal), "{body:?} byte by byte");
    }
    for name in FORBIDDEN {
        let body = [b"0\r\n", name, b": 1\r\n"].concat();
        assert_eq!(read(&body), Err(Refusal::TrailerField), "{}", name.escape_ascii());
    }
}

/// P13, P20, B48: each limit, at it and one past it.
#[test]
fn limits_hold_to_the_byte() {
    // A size of 63 bits; and the same for the sum of all sizes.
    let mut chunks = Chunks::new();
    assert_eq!(chunks.advance(b"7fffffffffffffff\r\nx"), Ok(Advance { used: 19, complete: false }));
    chunks.size = 0;
    assert_eq!(chunks.advance(b"\r\n1\r\n"), Err(Refusal::ChunkSize), "the sum");

    // Extensions are counted over the whole body, with their semicolons and blanks.
    let maximum = usize::try_from(CHUNK_EXTENSION_BYTES_MAX).unwrap();
    let extended = |first: usize, second: usize| {
        format!("1;{}\r\nx\r\n0 ;{}\r\n\r\n", repeat("e", first - 1), repeat("e", second - 2))
    };
    assert!(read(extended(maximum - 100, 100).as_bytes()).unwrap().complete);
    assert_eq!(read(extended(maximum - 100, 101).as_bytes()), Err(Refusal::ChunkExtensions));
    let blanks = format!("1{};x\r\n", repeat(" ", maximum));
    assert_eq!(read(blanks.as_bytes()), Err(Refusal::ChunkExtensions));

    // The trailer section is counted with its last line.
    let trailers = |bytes: usize| format!("0\r\nx:{}\r\n\r\n", repeat("y", bytes - "x:\r\n\r\n".len()));
    assert!(read(trailers(TRAILER_BYTES_MAX).as_bytes()).unwrap().complete);
    assert_eq!(read(trailers(TRAILER_BYTES_MAX + 1).as_bytes()), Err(Refusal::TrailersTooLong));
    let fields = |count: usize| format!("0\r\n{}\r\n", repeat("x:y\r\n", count));
    assert!(read(fields(REQUEST_FIELDS_MAX).as_bytes()).unwrap().complete);
    assert_eq!(read(fields(REQUEST_FIELDS_MAX + 1).as_bytes()), Err(Refusal::TrailersTooLong));
}

/// A second reader, of whole messages and as plain as can be: where the message ends, `None` if it does not, `Err` if a
/// complete line is wrong.
fn reference(mut bytes: &[u8]) -> Result<Option<usize>, ()> {
    let all = bytes.len();
    let line = |bytes: &mut &[u8]| {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let line = bytes[..end].to_vec();
        *bytes = &bytes[end + 2..];
        Some(line)
    };
    loop {
        let Some(size_line) = line(&mut bytes) else { return Ok(None) };
        let text = String::from_utf8_lossy(&size_line).into_owned();
        let (digits, extension) = text.split_once(';').map_or((text.as_str(), None), |(d, e)| (d, Some(e)));
        let digits = if extension.is_some() { digits.trim_end_matches([' ', '\t']) } else { digits };
        let is_hex = !digits.is_empty() && digits.len() <= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_clean =
            extension.is_none_or(|text| text.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 127)));
        if !is_hex || !is_clean {
            return Err(());
        }
        let size = u64::from_str_radix(digits, 16).map_err(|_| ())?;
        if size > i64::MAX as u64 {
            return Err(());
        }
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).unwrap();
        if bytes.len() < size.saturating_add(2) {
            return Ok(None);
        }
        if bytes[size..size + 2] != *b"\r\n" {
            return Err(());
        }
        bytes = &bytes[size + 2..];
    }
    loop {
        let Some(field) = line(&mut bytes) else { return Ok(None) };
        if field.is_empty() {
            return Ok(Some(all - bytes.len()));
        }
        let colon = field.iter().position(|&byte| byte == b':').ok_or(())?;
        let (name, value) = field.split_at(colon);
        let is_name = !name.is_empty() && name.iter().all(|&byte| is_token(byte));
        let is_forbidden = FORBIDDEN.contains(&name.to_ascii_lowercase().as_slice());
        if !is_name || is_forbidden || value.iter().any(|&byte| is_control(byte)) {
            return Err(());
        }
    }
}

#[test]
fn the_end_is_where_a_second_reader_finds_it_however_the_bytes_are_split() {
    let mut random = fastrand::Rng::with_seed(seed());
    let pieces: &[&[u8]] = &[
        b"0\r\n",
        b"1\r\nx\r\n",
        b"5\r\nhello\r\n",
        b"A;e=1\r\n0123456789\r\n",
        b"3\r\n\r\n0\r\n",
        b"\r\n",
        b"x: y\r\n",
        b"2 ;a\r\n\r\n\r\n",
        b"host: a\r\n",
        b"0",
        b"5",
        b"\r",
        b"\n",
        b";",
        b" ",
        b"\xff",
        b"hello",
        b"00000000000000000",
    ];
    let (mut complete, mut refused, mut incomplete) = (0, 0, 0);
    for _ in 0..200_000 {
        let likely = if random.u8(..) < 200 { 8 } else { pieces.len() };
        let mut bytes: Vec<u8> =
            (0..random.usize(0..6)).flat_map(|_| pieces[random.usize(0..likely)]).copied().collect();
        bytes.extend_from_slice([&b"0\r\n\r\n"[..], b"\r\n", b""][random.usize(0..3)]);
        bytes.extend_from_slice([&b""[..], b"GET / HTTP/1.1\r\n"][random.usize(0..2)]);
        if random.u8(..) < 32 && !bytes.is_empty() {
            let at = random.usize(0..bytes.len());
            bytes[at] = random.u8(..);
        }
        let mut splits: Vec<usize> = (0..random.usize(0..4)).map(|_| random.usize(0..=bytes.len())).collect();
        splits.sort_unstable();
        let whole = read(&bytes);
        assert_eq!(read_in_pieces(&bytes, &splits), whole, "{} at {splits:?}", bytes.escape_ascii());
        match (whole, reference(&bytes)) {
            (Ok(Advance { used, complete: true }), Ok(Some(end))) if used == end => complete += 1,
            (Ok(Advance { complete: false, .. }), Ok(None)) => incomplete += 1,
            // Ours sees a fault before its line is complete.
            (Err(_), Err(()) | Ok(None)) => refused += 1,
            (ours, theirs) => panic!("{}: {ours:?}, but {theirs:?}", bytes.escape_ascii()),
        }
    }
    assert!(complete > 1_000 && refused > 1_000 && incomplete > 1_000, "one-sided: {complete} {refused} {incomplete}");
}
