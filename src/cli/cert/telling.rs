//! Tells the daemon to look at the folder again, and waits a moment until the certificate serves.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    control::client::{AskError, Client},
    domain::Domain,
    limits::CERTIFICATE_TAKEN_WAIT,
};

/// How often the daemon is asked whether it serves.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Pages of `certs` that are read for one name: it is on the first one, or nearly.
const PAGES_MAX: usize = 8;

/// What the daemon made of it.
pub(super) enum Reaction {
    /// The certificate serves.
    Serves,
    /// It knows.
    Noted,
    /// It knows, and yet the certificate does not serve.
    Slow,
    /// There is no rule for the name.
    NotMapped,
    /// It does not know the message.
    Older,
    /// It refuses, for this reason.
    Refused(String),
    /// It does not answer any more.
    Failed(AskError),
    /// It was not asked.
    NotTold,
}

/// There is a new certificate, valid until then (RFC 3339).
pub(super) fn installed(client: Client, domain: &Domain, until: &str) -> Reaction {
    let reaction = removed(client, domain);
    let Reaction::Noted = reaction else { return reaction };
    let begin = Instant::now();
    loop {
        match line(client, domain) {
            Some(line) if is_own(&line, until) => return Reaction::Serves,
            Some(_) if begin.elapsed() < CERTIFICATE_TAKEN_WAIT => thread::sleep(LOOK_EVERY),
            Some(_) => return Reaction::Slow,
            // A daemon that does not show certificates.
            None => return Reaction::Noted,
        }
    }
}

/// There is none any more.
pub(super) fn removed(client: Client, domain: &Domain) -> Reaction {
    match client.ask(&format!("retry {domain}")) {
        Ok(reply) if reply.split(' ').next() == Some("ok") => Reaction::Noted,
        Ok(reply) => Reaction::Failed(client.unexpected(&reply)),
        Err(AskError::Refused(reason)) if reason.contains(" is not mapped") => Reaction::NotMapped,
        Err(AskError::Refused(reason)) if reason.starts_with("there is no message") => Reaction::Older,
        Err(AskError::Refused(reason)) => Reaction::Refused(reason),
        Err(cause) => Reaction::Failed(cause),
    }
}

/// `<domain> own <until> <next> …`
fn is_own(line: &str, until: &str) -> bool {
    let mut words = line.split(' ').skip(1);
    (words.next(), words.next()) == (Some("own"), Some(until))
}

/// What `certs` says of the name; empty if nothing yet, `None` if it cannot be asked.
fn line(client: Client, domain: &Domain) -> Option<String> {
    let mut message = before(domain).map_or_else(|| "certs".to_owned(), |before| format!("certs after {before}"));
    for _ in 0..PAGES_MAX {
        let reply = client.ask(&message).ok()?;
        let found = reply.lines().find(|line| line.split(' ').next() == Some(domain.as_str()));
        if let Some(found) = found {
            return Some(found.to_owned());
        }
        match reply.lines().last().and_then(|line| line.strip_prefix("more ")) {
            Some(last) => message = format!("certs after {last}"),
            None => break,
        }
    }
    Some(String::new())
}

/// A name that is a little before this one in the order of bytes.
fn before(domain: &Domain) -> Option<Domain> {
    let (rest, last) = domain.as_str().split_at_checked(domain.as_str().len() - 1)?;
    let last = match last.as_bytes().first()? {
        b'0' => "".to_owned(),
        b'a' => "9".to_owned(),
        byte => char::from(byte - 1).to_string(),
    };
    Domain::parse(&format!("{rest}{last}")).ok().filter(|before| before.as_str() < domain.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_before_a_name_begins_a_little_before_it() {
        let before = |name: &str| before(&Domain::parse(name).unwrap()).map(|before| before.to_string());
        for (name, wanted) in [
            ("a.com", Some("a.col")),
            ("a.ca", Some("a.c9")),
            ("b", Some("a")),
            ("x1a", Some("x19")),
            ("a.x0", Some("a.x")),
            ("a.a", None),
            ("a", None),
            ("a.x-1", Some("a.x-0")),
            ("a.x-0", None),
        ] {
            assert_eq!(before(name).as_deref(), wanted, "{name}");
        }
    }

    #[test]
    fn only_the_certificate_that_was_given_counts() {
        let until = "2027-01-01T00:00:00Z";
        assert!(is_own("a.com own 2027-01-01T00:00:00Z - given by a person", until));
        assert!(is_own("a.com own 2027-01-01T00:00:00Z -", until));
        for line in ["", "a.com own 2026-01-01T00:00:00Z -", "a.com valid 2027-01-01T00:00:00Z -", "a.com own"] {
            assert!(!is_own(line, until), "{line}");
        }
    }
}
