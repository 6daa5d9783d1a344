//! The text form of what must survive a restart: a title with its version, one line a figure in a fixed order, a checksum.
//!
//! Anything else is damaged as a whole: a figure that might be another one is worse than none.

use std::fmt;

use crate::limits;

/// The last line's key.
const SUM: &str = "sum ";

pub(in crate::certs) struct Writer(String);

impl Writer {
    pub(in crate::certs) fn new(title: fmt::Arguments<'_>) -> Self {
        Self(format!("{title}\n"))
    }

    pub(in crate::certs) fn line(mut self, key: &str, value: impl fmt::Display) -> Self {
        use fmt::Write;
        // Writing to a string cannot fail.
        _ = writeln!(self.0, "{key} {value}");
        self
    }

    pub(in crate::certs) fn flag(self, key: &str, value: bool) -> Self {
        self.line(key, if value { "yes" } else { "no" })
    }

    pub(in crate::certs) fn finish(self) -> String {
        let sum = crc32fast::hash(self.0.as_bytes());
        self.line("sum", format_args!("{sum:08x}")).0
    }
}

/// Each method gives `None` where the text is not what [`Writer`] writes.
pub(in crate::certs) struct Reader<'a>(&'a str);

impl<'a> Reader<'a> {
    pub(in crate::certs) fn open(text: &'a [u8], title: fmt::Arguments<'_>) -> Option<Self> {
        if text.len() > limits::SCHEDULE_RECORD_BYTES_MAX {
            return None;
        }
        let text = str::from_utf8(text).ok()?.strip_suffix('\n')?;
        let (body, sum) = text.split_at_checked(text.rfind('\n')? + 1)?;
        let wanted = format!("{SUM}{:08x}", crc32fast::hash(body.as_bytes()));
        let title = format!("{title}\n");
        (sum == wanted).then_some(())?;
        Some(Self(body.strip_prefix(title.as_str())?))
    }

    pub(in crate::certs) fn text(&mut self, key: &str) -> Option<&'a str> {
        let (line, rest) = self.0.split_once('\n')?;
        let value = line.strip_prefix(key)?.strip_prefix(' ')?;
        self.0 = rest;
        Some(value)
    }

    pub(in crate::certs) fn number(&mut self, key: &str) -> Option<u64> {
        plain(self.text(key)?)
    }

    pub(in crate::certs) fn numbers<const N: usize>(&mut self, key: &str) -> Option<[u64; N]> {
        let mut words = self.text(key)?.split(' ');
        let mut found = [0; N];
        for number in &mut found {
            *number = plain(words.next()?)?;
        }
        words.next().is_none().then_some(found)
    }

    pub(in crate::certs) fn flag(&mut self, key: &str) -> Option<bool> {
        match self.text(key)? {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    /// A line whose key is not known before.
    pub(in crate::certs) fn pair(&mut self) -> Option<(&'a str, u64)> {
        let (line, rest) = self.0.split_once('\n')?;
        let (key, value) = line.split_once(' ')?;
        self.0 = rest;
        Some((key, plain(value)?))
    }

    pub(in crate::certs) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

/// A number as [`Writer`] writes it, and no other way.
fn plain(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A text of others on one line of ours (B216).
pub(in crate::certs) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.trim().chars() {
        let character = if character.is_control() { ' ' } else { character };
        if line.len() + character.len_utf8() > limits::REASON_BYTES_MAX {
            break;
        }
        line.push(character);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> String {
        Writer::new(format_args!("title 1")).line("a", 7).flag("b", true).line("c", "1 2").line("d", "").finish()
    }

    #[test]
    fn what_was_written_is_read() {
        let text = sample();
        let mut reader = Reader::open(text.as_bytes(), format_args!("title 1")).unwrap();
        assert_eq!((reader.number("a"), reader.flag("b"), reader.numbers("c")), (Some(7), Some(true), Some([1, 2])));
        assert!(!reader.is_at_end());
        assert_eq!((reader.text("d"), reader.is_at_end()), (Some(""), true));
    }

    #[test]
    fn a_byte_more_less_or_other_is_damage() {
        let text = sample().into_bytes();
        let opens = |text: &[u8]| Reader::open(text, format_args!("title 1")).is_some();
        assert!(opens(&text));
        for at in 0..text.len() {
            let mut other = text.clone();
            other[at] ^= 0x11;
            assert!(!opens(&other), "byte {at} changed");
            other.copy_from_slice(&text);
            other.remove(at);
            assert!(!opens(&other), "byte {at} missing");
            assert!(!opens(&text[..at]), "cut at {at}");
        }
        assert!(!opens(&[&text[..], b"\n"].concat()));
        assert!(!opens(b"") && !opens(b"\n") && !opens(b"\xff\n"));
        assert!(Reader::open(&text, format_args!("title 2")).is_none(), "another version");
    }

    #[test]
    fn figures_have_one_form() {
        for text in ["", "07", "+7", "-7", "7 ", "18446744073709551616", "7 8"] {
            assert_eq!(plain(text), None, "{text:?}");
        }
        assert_eq!(plain("18446744073709551615"), Some(u64::MAX));
    }

    #[test]
    fn b216_a_reason_is_one_short_line() {
        assert_eq!(one_line(" a\nb\u{1b}[31m\r\n"), "a b [31m");
        assert_eq!(one_line(&"ü".repeat(limits::REASON_BYTES_MAX)).len(), limits::REASON_BYTES_MAX);
        assert_eq!(one_line(&"a".repeat(limits::REASON_BYTES_MAX + 1)).len(), limits::REASON_BYTES_MAX);
    }
}
