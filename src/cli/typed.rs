//! Names and ports as people type them: what they mean, or what to type instead (B8, B231).
//!
//! Never here: a guess that is carried out. A wrong word is refused, and the right one shown.

use std::fmt;

use super::{arguments::Name, failure::Failure, output::Escaped};
use crate::domain::{Domain, DomainError};

/// Characters of a wrong word that are shown.
const SHOWN_CHARACTERS_MAX: usize = 80;

/// A word that cannot be used as it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The thing and the reason.
    pub(super) reason: String,
    /// What was probably meant.
    pub(super) instead: Option<String>,
}

/// The name of a rule, normalised: on the wire only ASCII counts (B8).
pub(super) fn name(word: &str) -> Result<Domain, Wrong> {
    Domain::parse(word).map_err(|cause| {
        let instead = match &cause {
            DomainError::NotAlone { name, .. } => name.as_ref().map(ToString::to_string),
            DomainError::Empty | DomainError::Name { .. } => None,
        };
        Wrong { reason: cause.to_string(), instead }
    })
}

/// The name of a command that takes one and nothing else.
pub(super) fn one_name(verb: &str, typed: &Name) -> Result<Domain, Failure> {
    let Some(word) = typed.domain.as_deref() else {
        return Err(Failure::usage(format_args!("{verb} needs the name to {verb}")).hint("all names: hotcore list"));
    };
    let name = name(word);
    let meant = match &name {
        Ok(name) => Some(name.to_string()),
        Err(wrong) => wrong.instead.clone(),
    };
    let hint = format!("type: hotcore {verb} {}", meant.unwrap_or_else(|| "<domain>".to_owned()));
    if !typed.surplus.is_empty() {
        let surplus = typed.surplus.join(" ");
        let wrong = format!("{verb} takes one name and nothing else: {} is too much", Quoted(&surplus));
        return Err(Failure::usage(wrong).hint(hint));
    }
    name.map_err(|wrong| Failure::refused(wrong.reason).hint(hint))
}

/// The port of a backend, in plain digits (B178).
pub(super) fn port(word: &str) -> Result<u16, Wrong> {
    if let Some(port) = plain_port(word) {
        return Ok(port);
    }
    Err(match port_within(word) {
        Some(port) => Wrong {
            reason: format!("{} is more than a port: give the port alone: {port}", Quoted(word)),
            instead: Some(port.to_string()),
        },
        None => {
            Wrong { reason: format!("{} is not a port: give a number from 1 to 65535", Quoted(word)), instead: None }
        }
    })
}

/// The port inside a word like `a.com:8080` or `http://localhost:3000/` (RFC 3986, 3.2); `None` where there is none.
pub(super) fn port_within(word: &str) -> Option<u16> {
    let rest = word.trim();
    let rest = rest.split_once("//").map_or(rest, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next()?;
    // Two colons in a row are an IPv6 address without a port.
    let (_, port) = authority.rsplit_once(':').filter(|(host, _)| !host.ends_with(':'))?;
    plain_port(port)
}

/// A word from the command line as it appears in a message.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(SHOWN_CHARACTERS_MAX) {
            Some((end, _)) => write!(f, "\"{}…\"", Escaped(self.0.get(..end).unwrap_or_default())),
            None => write!(f, "\"{}\"", Escaped(self.0)),
        }
    }
}

fn plain_port(word: &str) -> Option<u16> {
    let is_plain = !word.starts_with('0') && word.bytes().all(|byte| byte.is_ascii_digit());
    if is_plain { word.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B231.
    #[test]
    fn of_an_address_the_name_is_shown() {
        for word in ["https://a.com/x", "a.com/", "A.com:8080", "https://me:pw@a.com:8443/x?y#z", "//a.com", "a.com?x"]
        {
            let wrong = name(word).unwrap_err();
            assert_eq!(wrong.instead.as_deref(), Some("a.com"), "{word}");
            assert!(wrong.reason.contains(word) && wrong.reason.ends_with("give the name alone: a.com"), "{wrong:?}");
        }
    }

    #[test]
    fn a_plain_name_is_normalised() {
        assert_eq!(name("A.Com").unwrap().as_str(), "a.com");
    }

    /// B178, B231: at both limits and one past them.
    #[test]
    fn a_port_is_plain_digits_in_range() {
        assert_eq!(port("1"), Ok(1));
        assert_eq!(port("65535"), Ok(65535));
        for word in ["0", "65536", "80800", "080", "+80", "-1", "8080x", "", " ", "99999999999999999999", "８０"] {
            let wrong = port(word).unwrap_err();
            assert_eq!(wrong.instead, None, "{word}");
            assert!(wrong.reason.contains("from 1 to 65535"), "{wrong:?}");
        }
    }

    #[test]
    fn of_an_address_the_port_is_shown() {
        for word in ["localhost:3000", ":3000", "http://127.0.0.1:3000/x", "[::1]:3000", "//me@a.com:3000?x:1"] {
            assert_eq!(port(word).unwrap_err().instead.as_deref(), Some("3000"), "{word}");
        }
        assert_eq!(port("http://localhost").unwrap_err().instead, None);
        assert_eq!(port("http://localhost/x:3000").unwrap_err().instead, None);
        assert_eq!(port("localhost:80800").unwrap_err().instead, None);
        assert_eq!(port("::1").unwrap_err().instead, None);
    }

    #[test]
    fn a_long_or_wild_word_is_cut_and_escaped() {
        let at = "a".repeat(SHOWN_CHARACTERS_MAX);
        assert_eq!(Quoted(&at).to_string(), format!("\"{at}\""));
        let past = format!("{at}ü");
        assert_eq!(Quoted(&past).to_string(), format!("\"{at}…\""));
        assert_eq!(Quoted("\u{1b}[2J").to_string(), "\"\\u{1b}[2J\"");
    }
}
