//! What each byte may be in a head: tables, and the search for the end of a value.

/// What a byte is in a head. One table answers the questions of token, path and value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Fine anywhere in a target.
    Plain,
    /// `?`
    Query,
    /// `#`
    Fragment,
    /// A backtick: fine in a query.
    QueryOnly,
    /// A double quote: fine in a path.
    PathOnly,
    /// `<` and `>`: fine in a fragment only, which no backend sees.
    Fenced,
    /// Bytes from 0x80.
    High,
    /// Controls, DEL and the blank: never in a target.
    Control,
}

const CLASSES: [Class; 256] = {
    let mut table = [Class::Plain; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = match byte {
            0..=0x20 | 0x7f => Class::Control,
            0x80.. => Class::High,
            0x22 => Class::PathOnly,
            0x23 => Class::Fragment,
            0x3f => Class::Query,
            0x3c | 0x3e => Class::Fenced,
            0x60 => Class::QueryOnly,
            _ => Class::Plain,
        };
        byte += 1;
    }
    table
};

pub(super) fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

const TOKENS: [bool; 256] = {
    let mut table = [false; 256];
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    let mut byte: u8 = 0;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() {
            table[byte as usize] = true;
        }
        byte += 1;
    }
    table
};

/// Whether a token can have this byte (RFC 9110, 5.6.2).
pub(in crate::proxy) fn is_token(byte: u8) -> bool {
    TOKENS[usize::from(byte)]
}

/// Where a field's value ends: the index of the first control character but HTAB. Bytes from 0x80 pass (P6).
pub(super) fn value_end(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        if has_control(u64::from_le_bytes(*word))
            && let Some(offset) = word.iter().position(|&byte| is_control(byte))
        {
            return at * 8 + offset;
        }
    }
    words.len() * 8 + tail.iter().position(|&byte| is_control(byte)).unwrap_or(tail.len())
}

/// A control character that no field value can have.
pub(in crate::proxy) fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// Whether one of eight bytes is below 0x20, or DEL.
fn has_control(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = ONES << 7;
    let below_blank = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
    let not_del = word ^ (ONES * 0x7f);
    let del = not_del.wrapping_sub(ONES) & !not_del & HIGHS;
    (below_blank | del) != 0
}
