//! Why a text is no domain name that can be mapped, in words that are shown to people and sent in replies.

use std::{fmt, net::IpAddr};

use super::{Domain, Quote};

/// Why a text is no domain name that can be mapped. `Display` names the text and the remedy (B231).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainError {
    /// There is nothing.
    Empty,
    /// There is more than a name: a URL, a port, a user.
    NotAlone {
        /// What was given.
        text: Quote,
        /// The name in it, if there is one.
        name: Option<Domain>,
    },
    /// The name breaks a rule.
    Name {
        /// What was given.
        text: Quote,
        /// The rule.
        fault: Fault,
    },
}

/// The rule that a name breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no label at all.
    Empty,
    /// Two dots in a row, or one at the beginning (B3).
    EmptyLabel,
    /// A label of more than 63 bytes.
    LabelTooLong,
    /// More than 253 bytes.
    TooLong,
    /// A label that begins or ends with a hyphen.
    Hyphen,
    /// A character that no name has.
    Character(char),
    /// An underscore (B6).
    Underscore,
    /// An asterisk (B6).
    Wildcard,
    /// A last label that browsers take for a number (B4).
    Number,
    /// An IP address (B5).
    Address,
    /// A name that IDNA does not know, or an `xn--` label that is not the one form of it (B7).
    Encoding,
    /// A word of hotcore's own replies (B13).
    Reserved,
}

impl DomainError {
    /// What to say of `text`, which broke the rule `fault`.
    pub(super) fn new(text: &str, fault: Fault) -> Self {
        if fault == Fault::Empty {
            return Self::Empty;
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if bare.parse::<IpAddr>().is_ok() {
            return Self::Name { text: Quote::new(text), fault: Fault::Address };
        }
        match text.contains(['/', ':', '@', '?', '#']) {
            true => Self::NotAlone { text: Quote::new(text), name: name_within(text) },
            false => Self::Name { text: Quote::new(text), fault },
        }
    }
}

/// The name in a URL, or in what looks like one.
fn name_within(text: &str) -> Option<Domain> {
    let after_scheme = text.split_once("//").map_or(text, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    Domain::normalise(name).ok()
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no domain name given"),
            Self::NotAlone { text, name: Some(name) } => {
                write!(f, "{text} is no domain name: give the name alone: {name}")
            }
            Self::NotAlone { text, name: None } => {
                write!(f, "{text} is no domain name: give the name alone, like a.com")
            }
            Self::Name { text, fault } => write!(f, "{text} {fault}"),
        }
    }
}

impl std::error::Error for DomainError {}

/// Reads on after the name.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "is empty: give a domain name",
            Self::EmptyLabel => "has an empty label: put one dot between two labels",
            Self::LabelTooLong => "has a label of more than 63 bytes: shorten it",
            Self::TooLong => "has more than 253 bytes: shorten it",
            Self::Hyphen => "has a label with a hyphen at its beginning or end: take it off",
            Self::Character(character) => {
                return write!(f, "holds {character:?}: a domain name has letters, digits, hyphens and dots only");
            }
            Self::Underscore => "holds an underscore, and no certificate authority signs one: use a hyphen",
            Self::Wildcard => "is a wildcard: add each name by itself",
            Self::Number => "ends in a number, and browsers take that for an IP address: give a domain name",
            Self::Address => "is an IP address: give a domain name",
            Self::Encoding => "is no valid internationalised name: write it as the registry does",
            Self::Reserved => "is a word of hotcore's own replies: take another name",
        })
    }
}
