//! Why a question got no good answer, and what to do about it: exit codes 1 and 3, each with its remedy (B228, B233).

use std::{cmp::Ordering, path::Path};

use super::{
    failure::{Exit, Failure},
    output::Escaped,
};
use crate::{
    control::client::{AskError, Client, DEFAULT_ADDRESS},
    limits::CONTROL_PORT,
};

/// The version of this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where packages and administrators put units (systemd.unit(5)).
const UNIT_FILES: [&str; 4] = [
    "/etc/systemd/system/hotcore.service",
    "/run/systemd/system/hotcore.service",
    "/usr/lib/systemd/system/hotcore.service",
    "/lib/systemd/system/hotcore.service",
];

/// The failure of a question that changes nothing.
pub(super) fn explain(error: AskError, client: Client) -> Failure {
    match error {
        AskError::Refused(reason) => with_versions(Failure::refused(Escaped(&reason)), client),
        AskError::Closed(_) => Failure::new(Exit::NotReachable, error).hint(how_to_start(client)),
        AskError::Silent(_) => {
            let failure = Failure::new(Exit::NotReachable, error);
            if is_the_service(client) {
                failure
                    .hint("see what it does: systemctl status hotcore")
                    .hint("restart it: sudo systemctl restart hotcore")
            } else {
                failure.hint("it may be waiting for its disk: try again").hint(how_to_start(client))
            }
        }
        AskError::Unexpected { .. } => Failure::new(Exit::NotReachable, error)
            .hint("another program may have taken the port; see which one: sudo ss -lunp"),
        AskError::Failed { .. } => Failure::new(Exit::NotReachable, error),
    }
}

/// The same for a change: without an answer nobody knows whether it was made (B183).
pub(super) fn explain_change(error: AskError, client: Client) -> Failure {
    let is_unknown = matches!(error, AskError::Silent(_));
    let failure = explain(error, client);
    if is_unknown { failure.hint("the change may have been made or not; see: hotcore list") } else { failure }
}

/// Adds which side is older, where the daemon runs another version: it may not know the message (B233).
pub(super) fn with_versions(failure: Failure, client: Client) -> Failure {
    match difference_to(client) {
        Some(difference) => failure.hint(difference),
        None => failure,
    }
}

/// What to do about the daemon's version, after asking for it; `None` where there is nothing to do, or no answer.
pub(super) fn difference_to(client: Client) -> Option<String> {
    difference(&client.ask("version").ok()?)
}

/// What to do about a daemon of version `daemon`; `None` if it is this program's own, or no version at all.
pub(super) fn difference(daemon: &str) -> Option<String> {
    let daemon = daemon.trim();
    if daemon == VERSION || !is_version(daemon) {
        return None;
    }
    Some(match numbers(daemon).cmp(&numbers(VERSION)) {
        Ordering::Less => format!(
            "the daemon is older ({daemon}) than this program ({VERSION}): restart it: {}",
            if is_installed() { "sudo systemctl reload hotcore" } else { "hotcore serve" }
        ),
        Ordering::Greater => {
            format!("this program is older ({VERSION}) than the daemon ({daemon}): use the one that belongs to it")
        }
        Ordering::Equal => format!("the daemon has another version ({daemon}) than this program ({VERSION})"),
    })
}

/// Whether `text` can be a version number, and so may be shown as it is.
pub(super) fn is_version(text: &str) -> bool {
    text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The command that starts the daemon, in a line.
fn how_to_start(client: Client) -> String {
    if is_the_service(client) {
        "start it: sudo systemctl start hotcore".to_owned()
    } else if client.address() != DEFAULT_ADDRESS {
        format!("start it there: hotcore serve --control {}; or is the address right?", client.address())
    } else if nix::unistd::geteuid().is_root() {
        "start it: hotcore serve".to_owned()
    } else {
        "start it for this machine alone: hotcore serve --local".to_owned()
    }
}

/// Whether the daemon that is asked is this machine's service: another one, at another port, is nothing to systemd.
pub(super) fn is_the_service(client: Client) -> bool {
    has_the_port_of_the_service(client) && is_installed()
}

fn has_the_port_of_the_service(client: Client) -> bool {
    client.address().port() == CONTROL_PORT
}

/// Whether hotcore is a service of this machine's systemd.
fn is_installed() -> bool {
    // sd_booted(3): this folder exists where systemd is the init system.
    Path::new("/run/systemd/system").is_dir() && UNIT_FILES.iter().any(|file| Path::new(file).exists())
}

/// The numbers of `1.2.3`; what follows a `-` or `+` counts for nothing.
fn numbers(version: &str) -> Vec<u64> {
    let core = version.split(['-', '+']).next().unwrap_or_default();
    core.split('.').map(|number| number.parse().unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B233.
    #[test]
    fn the_older_side_is_named() {
        assert_eq!(difference(VERSION), None);
        assert!(difference("0.0.1").unwrap().starts_with("the daemon is older (0.0.1)"));
        assert!(difference("999.0.0").unwrap().starts_with("this program is older"));
        assert!(difference(&format!("{VERSION}-other")).unwrap().contains("another version"));
    }

    /// To restart the service because another daemon is silent would disturb the wrong one.
    #[test]
    fn a_daemon_at_another_port_is_not_the_service() {
        let has_it = |address: &str| has_the_port_of_the_service(Client::new(address.parse().unwrap()));
        assert!(has_it("127.0.0.1:40608") && has_it("[::1]:40608"));
        assert!(!has_it("127.0.0.1:40609"));
        let hint = how_to_start(Client::new("127.0.0.1:40609".parse().unwrap()));
        assert!(hint.contains("hotcore serve --control 127.0.0.1:40609"), "{hint}");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("0.10.0") > numbers("0.9.9"));
        assert!(numbers("1.0.0") > numbers("0.99.99"));
        assert_eq!(numbers("1.2.3-rc.1"), numbers("1.2.3+5"));
    }

    #[test]
    fn what_is_no_version_is_not_shown_as_one() {
        for text in ["", "kcehc", "1.0\u{1b}[31m", "error unknown", "1 2", &"1".repeat(65)] {
            assert_eq!(difference(text), None, "{text:?}");
        }
        assert!(is_version(&"1".repeat(64)));
    }
}
