//! The words between two generations: one line of ASCII each.

use std::fmt;

use crate::{limits, service::sockets::Kind};

/// The version of the protocol. One that is not known is refused, with the remedy.
pub const VERSION: u32 = 1;

/// What the new one says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromNew {
    /// It wants to take over, and speaks this version.
    Ask(u32),
    /// The rules are read and the workers wait for the word to accept.
    Loaded,
    /// It has the lock and all changes.
    Serving,
    /// It cannot; why.
    Failed(String),
}

/// What the old one says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromOld {
    /// What the descriptors that come with this line are for, in their order.
    Sockets(Vec<Kind>),
    /// The lock is free, the journal closed, no datagram is read.
    Yours,
    /// It drains; there is no way back.
    Told,
    /// It goes on with everything; why.
    No(String),
}

impl FromNew {
    /// Reads a line, without its line break.
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("ask", version) => version.parse().ok().map(Self::Ask),
            ("loaded", "") => Some(Self::Loaded),
            ("serving", "") => Some(Self::Serving),
            ("failed", why) => Some(Self::Failed(why.to_owned())),
            _ => None,
        }
    }
}

impl FromOld {
    /// Reads a line, without its line break.
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("sockets", kinds) => {
                let kinds: Vec<Kind> =
                    kinds.split(' ').filter(|word| !word.is_empty()).map(kind).collect::<Option<_>>()?;
                (kinds.len() <= 3 * limits::SOCKETS_PER_KIND_MAX).then_some(Self::Sockets(kinds))
            }
            ("yours", "") => Some(Self::Yours),
            ("told", "") => Some(Self::Told),
            ("no", why) => Some(Self::No(why.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for FromNew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(version) => write!(f, "ask {version}"),
            Self::Loaded => f.write_str("loaded"),
            Self::Serving => f.write_str("serving"),
            Self::Failed(why) => write!(f, "failed {}", one_line(why)),
        }
    }
}

impl fmt::Display for FromOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sockets(kinds) => {
                f.write_str("sockets")?;
                kinds.iter().try_for_each(|kind| write!(f, " {}", word(*kind)))
            }
            Self::Yours => f.write_str("yours"),
            Self::Told => f.write_str("told"),
            Self::No(why) => write!(f, "no {}", one_line(why)),
        }
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Http => "http",
        Kind::Https => "https",
        Kind::Control => "control",
    }
}

fn kind(text: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| word(*kind) == text)
}

/// Reasons come from system errors and file names: they must not end a line early, nor be longer than one may be.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_graphic() { c } else { ' ' })
        .take(limits::HANDOVER_LINE_BYTES_MAX - 16)
        .collect()
}

const _: () =
    assert!(3 * limits::SOCKETS_PER_KIND_MAX * " control".len() + "sockets\n".len() < limits::HANDOVER_LINE_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        let kinds = vec![Kind::Http, Kind::Https, Kind::Control, Kind::Control];
        for word in [
            FromOld::Sockets(kinds),
            FromOld::Sockets(vec![]),
            FromOld::Yours,
            FromOld::Told,
            FromOld::No("a b".into()),
        ] {
            assert_eq!(FromOld::parse(&word.to_string()), Some(word));
        }
        for word in [FromNew::Ask(VERSION), FromNew::Loaded, FromNew::Serving, FromNew::Failed("disk full".into())] {
            assert_eq!(FromNew::parse(&word.to_string()), Some(word));
        }
    }

    #[test]
    fn other_lines_are_no_words() {
        for line in ["", "ask", "ask x", "ask -1", "loaded 1", "Loaded", "serving ", "yours", "sockets"] {
            let is_word = FromNew::parse(line).is_some();
            assert_eq!(is_word, line == "serving ", "{line:?}");
        }
        for line in ["", "yours 1", "sockets ftp", "told x", "loaded"] {
            assert_eq!(FromOld::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn the_number_of_sockets_is_bounded() {
        let line = |count: usize| FromOld::Sockets(vec![Kind::Control; count]).to_string();
        let most = 3 * limits::SOCKETS_PER_KIND_MAX;
        assert!(FromOld::parse(&line(most)).is_some() && line(most).len() < limits::HANDOVER_LINE_BYTES_MAX);
        assert!(FromOld::parse(&line(most + 1)).is_none());
    }

    #[test]
    fn a_reason_never_breaks_the_line() {
        let line = FromNew::Failed(format!("a\nserving\n{}", "x".repeat(1_000))).to_string();
        assert!(!line.contains('\n') && line.len() < limits::HANDOVER_LINE_BYTES_MAX, "{line}");
        assert_eq!(FromNew::parse(&line), Some(FromNew::Failed(line["failed ".len()..].to_owned())));
    }
}
