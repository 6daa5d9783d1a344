//! Local names: those that no public CA will ever sign, and that are therefore never ordered (B223).
//!
//! They get a certificate of mkcert's, or stay with plain HTTP.

mod names;

use crate::domain::Domain;

pub use names::{Authority, Decision, LocalNames};

/// Last labels that are nobody's in the public name system: RFC 6761 (`localhost`, `test`), RFC 6762 (`local`), RFC 8375
/// (`home.arpa`), and `internal`, set aside by ICANN in 2024.
const SUFFIXES: [&str; 5] = ["localhost", "local", "test", "internal", "home.arpa"];

/// Whether `domain` is a name of this machine or this house only: one of the suffixes above, or a single label.
pub fn is_local(domain: &Domain) -> bool {
    let name = domain.as_str();
    let ends_in = |suffix: &&str| name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || SUFFIXES.iter().any(ends_in)
}

/// The line of /etc/hosts that makes a local name known to this machine (hosts(5)): to be shown, never to be written. `None` for
/// `localhost` and the names below it, which browsers and systemd-resolved know by themselves (RFC 6761, 6.3; B226).
pub fn hosts_line(domain: &Domain) -> Option<String> {
    let name = domain.as_str();
    let is_known = name == "localhost" || name.ends_with(".localhost");
    (is_local(domain) && !is_known).then(|| format!("127.0.0.1 {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b226_only_a_local_name_that_nobody_knows_needs_a_line_for_the_hosts_file() {
        for (name, line) in [
            ("a.test", Some("127.0.0.1 a.test")),
            ("printer", Some("127.0.0.1 printer")),
            ("notlocalhost", Some("127.0.0.1 notlocalhost")),
            ("localhost", None),
            ("a.b.localhost", None),
            ("a.com", None),
        ] {
            assert_eq!(hosts_line(&Domain::parse(name).unwrap()).as_deref(), line, "{name}");
        }
    }

    #[test]
    fn b223_names_that_no_ca_signs_are_local() {
        for name in
            ["localhost", "printer", "a.localhost", "a.b.local", "a.test", "db.internal", "home.arpa", "tv.home.arpa"]
        {
            assert!(is_local(&Domain::parse(name).unwrap()), "{name}");
        }
    }

    #[test]
    fn b223_names_that_only_look_alike_are_not() {
        for name in
            ["a.com", "mylocal.com", "local.com", "a.notlocal", "test.de", "myhome.arpa", "1.in-addr.arpa", "arpa.x"]
        {
            assert!(!is_local(&Domain::parse(name).unwrap()), "{name}");
        }
    }
}
