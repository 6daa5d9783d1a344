//! One log record: made where the event happens, already safe to show.

use std::{
    fmt::{self, Write as _},
    io,
    time::SystemTime,
};

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use tracing::Level;

use crate::limits;

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// An event with its time. Its texts hold no control character and are bounded.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) at: SystemTime,
    pub(super) level: Level,
    /// A record of one request: never counted as a repetition (B217).
    pub(super) access: bool,
    pub(super) message: String,
    pub(super) fields: Vec<(&'static str, String)>,
}

impl Record {
    /// A line of our own about the log itself.
    pub(super) fn note(at: SystemTime, level: Level, message: String) -> Self {
        Self { at, level, access: false, message, fields: Vec::new() }
    }

    /// `message name=value …`: what is shown, and what makes two records the same.
    pub(super) fn text(&self) -> String {
        let mut text = self.message.clone();
        for (name, value) in &self.fields {
            text.push(' ');
            text.push_str(name);
            text.push('=');
            if value.is_empty() || value.contains([' ', '"', '=']) {
                text.push('"');
                text.push_str(&value.replace('"', "\\\""));
                text.push('"');
            } else {
                text.push_str(value);
            }
        }
        text
    }

    /// Adds `2026-11-22T09:00:00.123Z 4711 WARN text` and a line break to `out`. `process` is this process: during a hand-over
    /// two generations write to one file.
    pub(super) fn line(&self, process: u32, text: &str, out: &mut Vec<u8>) {
        let time = OffsetDateTime::from(self.at).format(TIME).unwrap_or_default();
        // Writing to a Vec cannot fail.
        let _ = io::Write::write_fmt(out, format_args!("{time} {process} {} {text}\n", self.level));
    }
}

/// Takes text from anywhere and keeps what may be shown: controls, line breaks and marks that turn the direction of writing
/// are escaped, and it ends at a limit (B216). What is formatted into it never takes more memory than the limit.
#[derive(Debug)]
pub(super) struct Shown {
    text: String,
    bytes_max: usize,
    is_cut: bool,
}

impl Shown {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { text: String::new(), bytes_max, is_cut: false }
    }

    /// The value of a field.
    pub(super) fn value(value: impl fmt::Display) -> String {
        let mut shown = Self::new(limits::LOG_QUOTE_BYTES_MAX);
        // Only the cut ends a write early.
        let _ = write!(shown, "{value}");
        shown.finish()
    }

    pub(super) fn finish(mut self) -> String {
        if self.is_cut {
            self.text.push('…');
        }
        self.text
    }
}

impl fmt::Write for Shown {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let before = self.text.len();
            if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            {
                self.text.extend(c.escape_default());
            } else {
                self.text.push(c);
            }
            if self.text.len() > self.bytes_max {
                self.text.truncate(before);
                self.is_cut = true;
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Controls, ANSI sequences and line breaks cannot forge a line or paint a terminal (B216).
    #[test]
    fn what_a_terminal_would_obey_is_escaped_b216() {
        assert_eq!(Shown::value("a\r\nb\tc\0"), "a\\r\\nb\\tc\\u{0}");
        assert_eq!(Shown::value("\x1b[31mred\u{9b}1m"), "\\u{1b}[31mred\\u{9b}1m");
        assert_eq!(Shown::value("\u{202e}moc.a\u{2028}"), "\\u{202e}moc.a\\u{2028}");
        assert_eq!(Shown::value("bücher 👍"), "bücher 👍");
    }

    #[test]
    fn text_from_outside_is_cut_at_the_limit_b216() {
        let max = limits::LOG_QUOTE_BYTES_MAX;
        assert_eq!(Shown::value("x".repeat(max)), "x".repeat(max));
        assert_eq!(Shown::value("x".repeat(max + 1)), format!("{}…", "x".repeat(max)));
        assert_eq!(Shown::value("ü".repeat(max)), format!("{}…", "ü".repeat(max / 2)));
        assert_eq!(Shown::value(format!("{}\n", "x".repeat(max - 1))), format!("{}…", "x".repeat(max - 1)));
    }

    #[test]
    fn values_that_could_be_misread_are_quoted() {
        let record = Record {
            at: SystemTime::UNIX_EPOCH,
            level: Level::WARN,
            access: false,
            message: "m".into(),
            fields: vec![("a", "b c".into()), ("d", "e\"=".into()), ("f", String::new()), ("g", "1".into())],
        };
        assert_eq!(record.text(), r#"m a="b c" d="e\"=" f="" g=1"#);
        let mut out = Vec::new();
        record.line(4711, "m", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "1970-01-01T00:00:00.000Z 4711 WARN m\n");
    }
}
