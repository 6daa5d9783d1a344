//! The words between two generations: one line of ASCII each.

use std::fmt;

use crate::{limits, service::sockets::Kind};

/// The version of the protocol. One that is not known is refused, with the remedy.
pub const VERSION: u32 = 1;

/// What the new one says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromNew {
    /// It wants to take over, and speaks this version; its process id. At the door the kernel's word counts instead.
    Ask {
        /// Of the hand-over.
        version: u32,
        /// Where systemd will look for it.
        process: u32,
    },
    /// The rules are read and the workers wait for the word to accept.
    Loaded,
    /// It has the lock and all changes.
    Serving,
    /// It accepts, reads datagrams, and has a door of its own.
    Ready,
    /// It cannot; why.
    Failed(String),
    /// To a generation that drains: there are too many, it is to end now.
    End,
    /// No new one, but somebody who wants the running process to start one. This word, `done` and `no` never change: who says it
    /// may be of any version.
    Reload,
}

/// What the old one says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromOld {
    /// What the descriptors that come with this line are for, in their order.
    Sockets {
        /// The listening sockets.
        kinds: Vec<Kind>,
        /// After them, so many channels to generations that still drain, the oldest first.
        draining: usize,
    },
    /// The lock is free, the journal closed, no datagram is read.
    Yours,
    /// It drains; there is no way back.
    Told,
    /// It goes on with everything; why.
    No(String),
    /// To who said `reload`: another process serves now.
    Done,
}

impl FromNew {
    /// Reads a line, without its line break.
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ').unwrap_or((line, "")) {
            // What follows the version is that version's own.
            ("ask", words) => {
                let mut words = words.split(' ');
                let version = words.next()?.parse().ok()?;
                let process = words.next().and_then(|word| word.parse().ok());
                let process = if version == VERSION { process? } else { process.unwrap_or(0) };
                Some(Self::Ask { version, process })
            }
            ("loaded", "") => Some(Self::Loaded),
            ("serving", "") => Some(Self::Serving),
            ("ready", "") => Some(Self::Ready),
            ("end", "") => Some(Self::End),
            ("reload", "") => Some(Self::Reload),
            ("failed", why) => Some(Self::Failed(why.to_owned())),
            _ => None,
        }
    }
}

impl FromOld {
    /// Reads a line, without its line break.
    pub fn parse(line: &str) -> Option<Self> {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("sockets", words) => {
                let mut words = words.split(' ').filter(|word| !word.is_empty()).peekable();
                let mut kinds = Vec::new();
                while let Some(kind) = words.next_if(|word| *word != DRAINING) {
                    kinds.push(self::kind(kind)?);
                }
                let draining = words.map(|word| (word == DRAINING).then_some(())).collect::<Option<Vec<()>>>()?.len();
                let are_few = kinds.len() <= 3 * limits::SOCKETS_PER_KIND_MAX && draining < limits::GENERATIONS_MAX;
                are_few.then_some(Self::Sockets { kinds, draining })
            }
            ("yours", "") => Some(Self::Yours),
            ("told", "") => Some(Self::Told),
            ("no", why) => Some(Self::No(why.to_owned())),
            ("done", "") => Some(Self::Done),
            _ => None,
        }
    }
}

impl fmt::Display for FromNew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask { version, process } => write!(f, "ask {version} {process}"),
            Self::Loaded => f.write_str("loaded"),
            Self::Serving => f.write_str("serving"),
            Self::Ready => f.write_str("ready"),
            Self::End => f.write_str("end"),
            Self::Reload => f.write_str("reload"),
            Self::Failed(why) => write!(f, "failed {}", one_line(why)),
        }
    }
}

impl fmt::Display for FromOld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sockets { kinds, draining } => {
                f.write_str("sockets")?;
                kinds.iter().try_for_each(|kind| write!(f, " {}", word(*kind)))?;
                (0..*draining).try_for_each(|_| write!(f, " {DRAINING}"))
            }
            Self::Yours => f.write_str("yours"),
            Self::Told => f.write_str("told"),
            Self::No(why) => write!(f, "no {}", one_line(why)),
            Self::Done => f.write_str("done"),
        }
    }
}

const DRAINING: &str = "draining";

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

const _: () = assert!(
    3 * limits::SOCKETS_PER_KIND_MAX * " control".len()
        + limits::GENERATIONS_MAX * " draining".len()
        + "sockets\n".len()
        < limits::HANDOVER_LINE_BYTES_MAX
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        let kinds = vec![Kind::Http, Kind::Https, Kind::Control, Kind::Control];
        for word in [
            FromOld::Sockets { kinds, draining: 2 },
            FromOld::Sockets { kinds: vec![Kind::Http], draining: 0 },
            FromOld::Sockets { kinds: vec![], draining: 0 },
            FromOld::Yours,
            FromOld::Told,
            FromOld::No("a b".into()),
            FromOld::Done,
        ] {
            assert_eq!(FromOld::parse(&word.to_string()), Some(word));
        }
        for word in [
            FromNew::Ask { version: VERSION, process: 42 },
            FromNew::Loaded,
            FromNew::Serving,
            FromNew::Ready,
            FromNew::Failed("disk full".into()),
            FromNew::End,
            FromNew::Reload,
        ] {
            assert_eq!(FromNew::parse(&word.to_string()), Some(word));
        }
    }

    #[test]
    fn other_lines_are_no_words() {
        for line in
            ["", "ask", "ask x", "ask -1", "ask 1", "ask 1 x", "loaded 1", "Loaded", "reload 2", "yours", "sockets"]
        {
            assert_eq!(FromNew::parse(line), None, "{line:?}");
        }
        for line in ["", "yours 1", "sockets ftp", "sockets draining http", "told x", "loaded", "done 1"] {
            assert_eq!(FromOld::parse(line), None, "{line:?}");
        }
    }

    /// Whatever another version says after its number, it is known by it.
    #[test]
    fn the_version_of_a_stranger_is_understood() {
        for line in ["ask 2", "ask 2 42", "ask 2 with more words"] {
            assert!(matches!(FromNew::parse(line), Some(FromNew::Ask { version: 2, .. })), "{line:?}");
        }
    }

    #[test]
    fn the_number_of_sockets_is_bounded() {
        let line = |count: usize, draining: usize| {
            FromOld::Sockets { kinds: vec![Kind::Control; count], draining }.to_string()
        };
        let (most, generations) = (3 * limits::SOCKETS_PER_KIND_MAX, limits::GENERATIONS_MAX - 1);
        let at = line(most, generations);
        assert!(FromOld::parse(&at).is_some() && at.len() < limits::HANDOVER_LINE_BYTES_MAX);
        assert!(FromOld::parse(&line(most + 1, 0)).is_none());
        assert!(FromOld::parse(&line(1, generations + 1)).is_none());
    }

    #[test]
    fn a_reason_never_breaks_the_line() {
        let line = FromNew::Failed(format!("a\nserving\n{}", "x".repeat(1_000))).to_string();
        assert!(!line.contains('\n') && line.len() < limits::HANDOVER_LINE_BYTES_MAX, "{line}");
        assert_eq!(FromNew::parse(&line), Some(FromNew::Failed(line["failed ".len()..].to_owned())));
    }
}
