//! Local names: those that no public CA will ever sign, and that are therefore never ordered (B223).

use crate::domain::Domain;

/// Last labels that are nobody's in the public name system: RFC 6761 (`localhost`, `test`), RFC 6762 (`local`), RFC 8375
/// (`home.arpa`), and `internal`, set aside by ICANN in 2024.
const SUFFIXES: [&str; 5] = ["localhost", "local", "test", "internal", "home.arpa"];

/// Whether `domain` is a name of this machine or this house only: one of the suffixes above, or a single label.
pub fn is_local(domain: &Domain) -> bool {
    let name = domain.as_str();
    let ends_in = |suffix: &&str| name.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || SUFFIXES.iter().any(ends_in)
}

#[cfg(test)]
mod tests {
    use super::*;

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
