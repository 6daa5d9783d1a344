//! Text from outside, as it is shown in an error: escaped and cut, so that it can neither break a line, colour a terminal
//! nor fill a reply.

use std::fmt;

use crate::limits::QUOTE_BYTES_MAX;

/// The beginning of a text, escaped; `Display` puts it between quotation marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    text: Box<str>,
    cut: bool,
}

impl Quote {
    /// Keeps the first 64 bytes (B185), or a little less where they would end inside a character.
    pub fn new(text: &str) -> Self {
        let longest = QUOTE_BYTES_MAX.min(text.len());
        let end = (0..=longest).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        Self { text: text.get(..end).unwrap_or_default().escape_debug().to_string().into(), cut: end < text.len() }
    }
}

impl fmt::Display for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}{}\"", self.text, if self.cut { "..." } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_has_at_most_64_bytes_of_the_text() {
        let at = "a".repeat(64);
        assert_eq!(Quote::new(&at).to_string(), format!("\"{at}\""));
        assert_eq!(Quote::new(&format!("{at}a")).to_string(), format!("\"{at}...\""));
    }

    #[test]
    fn a_quote_never_ends_inside_a_character() {
        let text = format!("{}ü", "a".repeat(63));
        assert_eq!(Quote::new(&text).to_string(), format!("\"{}...\"", "a".repeat(63)));
    }

    #[test]
    fn controls_and_quotation_marks_are_escaped() {
        assert_eq!(Quote::new("\x1b[31m\n\"").to_string(), r#""\u{1b}[31m\n\"""#);
    }
}
