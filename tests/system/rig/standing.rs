//! What a package can leave on a machine: its files, users, units.

use std::collections::BTreeSet;

use super::Machine;

/// Where programs keep what they could make again, logs, and the databases of packages themselves.
const PASSING: &[&str] =
    &["/var/cache", "/var/log", "/var/lib/apt", "/var/lib/dnf", "/var/tmp", "/tmp", "/root", "/proc", "/sys"];

/// See the page of this module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// All paths of the disk, but for [`PASSING`] ones.
    pub(crate) files: BTreeSet<String>,
    /// Users and groups.
    pub(crate) accounts: BTreeSet<String>,
    /// Units that are enabled, active or failed, each with which.
    pub(crate) units: BTreeSet<String>,
}

impl Standing {
    pub(crate) fn of(machine: &Machine) -> Self {
        let prune: Vec<_> = PASSING.iter().map(|path| format!("-path {path}")).collect();
        let set = |line: &str| machine.sh(line).lines().map(str::to_owned).collect();
        Self {
            files: set(&format!("find / -xdev \\( {} \\) -prune -o -print", prune.join(" -o "))),
            accounts: set("cut --delimiter=: --fields=1 /etc/passwd /etc/group"),
            units: set(
                "systemctl list-unit-files --no-legend --state=enabled,masked 'hotcore*' | awk '{ print $1, $2 }'
                 systemctl list-units --plain --no-legend --state=active,failed 'hotcore*' | awk '{ print $1, $3 }'
                 systemctl list-units --plain --no-legend --state=failed | awk '{ print $1, $3 }'",
            ),
        }
    }

    /// Paths that are here and were not there before, but for `expected` ones and what is in them.
    pub(crate) fn strays<'a>(&'a self, before: &'a Self, expected: &[&str]) -> Vec<&'a str> {
        let is_expected = |path: &str| {
            expected
                .iter()
                .any(|known| path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        };
        self.files.difference(&before.files).map(String::as_str).filter(|path| !is_expected(path)).collect()
    }
}
