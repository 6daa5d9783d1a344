//! The names of the store's files. A domain has no `_` and no `~`: no name of one can be taken for another file's.

use crate::{domain::Domain, limits};

pub(super) const CURRENT: &str = ".pem";
pub(super) const PREVIOUS: &str = "_previous.pem";
pub(super) const ONCE: &str = "_once";
pub(super) const SCHEDULE: &str = "_schedule";
pub(super) const PENDING: &str = "_pending";
/// A file until it is whole.
pub(super) const UNFINISHED: &str = "~";

pub(super) const ACCOUNT: &str = "_account";
pub(super) const ACCOUNT_MADE: &str = "_account_made";
pub(super) const BUDGET: &str = "_budget";
pub(super) const ROOM: &str = "_room";

/// What the names of all files of a domain begin with: the domain, or if that is too long, its beginning and a hash.
pub(super) fn stem(domain: &Domain) -> String {
    let name = domain.as_str();
    match name.get(..limits::FILE_NAME_DOMAIN_BYTES_MAX) {
        Some(beginning) if name.len() > limits::FILE_NAME_DOMAIN_BYTES_MAX => {
            format!("{beginning}_{:032x}", hash(name))
        }
        _ => name.to_owned(),
    }
}

/// The stem of a file's name, and which of its files it is, by the ending.
pub(super) fn split(file: &str) -> Option<(&str, &'static str)> {
    let endings = [PREVIOUS, CURRENT, ONCE, SCHEDULE, PENDING];
    let file = file.strip_suffix(UNFINISHED).unwrap_or(file);
    let split = endings.into_iter().find_map(|ending| Some((file.strip_suffix(ending)?, ending)));
    split.filter(|(stem, _)| !stem.is_empty() && !stem.starts_with('_'))
}

/// FNV-1a of 128 bits. Two names of one hash would only disturb each other: each file says whose it is.
fn hash(name: &str) -> u128 {
    name.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_says_by_its_name_whose_and_which_it_is() {
        for (file, wanted) in [
            ("a.com.pem", Some(("a.com", CURRENT))),
            ("a.com_previous.pem", Some(("a.com", PREVIOUS))),
            ("a.com.pem.pem", Some(("a.com.pem", CURRENT))),
            ("a.com.pem~", Some(("a.com", CURRENT))),
            ("schedule_schedule", Some(("schedule", SCHEDULE))),
            ("account_once", Some(("account", ONCE))),
            ("_account", None),
            ("_account_made~", None),
            ("_budget", None),
            (".pem", None),
            ("lock", None),
        ] {
            assert_eq!(split(file), wanted, "{file}");
        }
    }

    #[test]
    fn b3_the_longest_name_fits_into_a_file_name_and_stays_apart_from_others() {
        let name = |last: &str| {
            Domain::parse(&format!("{0}.{0}.{0}.{1}{last}", "a".repeat(63), "b".repeat(61 - last.len()))).unwrap()
        };
        let (one, other) = (stem(&name("x")), stem(&name("y")));
        assert_eq!(name("x").as_str().len(), limits::DOMAIN_BYTES_MAX);
        assert!(one != other && one.len() + PREVIOUS.len() + UNFINISHED.len() <= 255, "{one}");
        assert_eq!(split(&format!("{one}{PREVIOUS}{UNFINISHED}")), Some((one.as_str(), PREVIOUS)));
        let limit = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(8));
        assert_eq!(stem(&Domain::parse(&limit).unwrap()), limit, "200 bytes");
        assert!(stem(&Domain::parse(&format!("{limit}b")).unwrap()).contains('_'), "201 bytes");
    }
}
