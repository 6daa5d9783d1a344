//! What systemd says of the units: systemctl(1), `show`.

use std::collections::BTreeMap;

use super::{tool, units::Unit};

/// What is asked of each unit.
const PROPERTIES: &str = "--property=Id,ActiveState,UnitFileState,NeedDaemonReload,MainPID";
const FIREWALLD: &str = "firewalld.service";

/// The state of the units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Service {
    units: BTreeMap<String, BTreeMap<String, String>>,
}

impl Service {
    /// Asks systemd; without an answer nothing is running.
    pub(super) fn look() -> Self {
        let mut arguments = vec!["show", PROPERTIES, FIREWALLD];
        arguments.extend(Unit::ALL.map(Unit::name));
        tool::run("systemctl", &arguments).map(|answer| Self::read(&answer)).unwrap_or_default()
    }

    /// Blocks of `Key=value`, parted by empty lines.
    fn read(answer: &str) -> Self {
        let blocks = answer.split("\n\n").map(|block| {
            let pairs = block.lines().filter_map(|line| line.split_once('='));
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
        });
        Self { units: blocks.filter_map(|block| Some((block.get("Id")?.clone(), block))).collect() }
    }

    fn is(&self, unit: &str, key: &str, value: &str) -> bool {
        self.units.get(unit).and_then(|unit| unit.get(key)).is_some_and(|is| is == value)
    }

    pub(super) fn is_active(&self, unit: Unit) -> bool {
        self.is(unit.name(), "ActiveState", "active")
    }

    pub(super) fn is_enabled(&self) -> bool {
        Unit::ALL.iter().all(|unit| self.is(unit.name(), "UnitFileState", "enabled"))
    }

    pub(super) fn needs_reading(&self) -> bool {
        Unit::ALL.iter().any(|unit| self.is(unit.name(), "NeedDaemonReload", "yes"))
    }

    pub(super) fn has_firewalld(&self) -> bool {
        self.is(FIREWALLD, "ActiveState", "active")
    }

    /// The main process of the running service.
    pub(super) fn process(&self) -> Option<u32> {
        let process = self.units.get(Unit::Service.name())?.get("MainPID")?.parse().ok()?;
        (process != 0 && self.is_active(Unit::Service)).then_some(process)
    }
}

/// The version in the first line of `systemctl --version`: `systemd 252 (252.39-1~deb12u1)`.
pub(super) fn version(answer: &str) -> Option<u32> {
    let version = answer.strip_prefix("systemd ")?;
    let digits = version.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(version.len());
    version.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "MainPID=4711\nId=hotcore.service\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n\n\
                          Id=hotcore-web.socket\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n\n\
                          Id=hotcore-control.socket\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n\n\
                          MainPID=0\nId=firewalld.service\nActiveState=inactive\nUnitFileState=\nNeedDaemonReload=no\n";

    #[test]
    fn the_answer_of_systemctl_is_read() {
        let service = Service::read(ANSWER);
        assert!(service.is_active(Unit::Web) && service.is_enabled() && !service.needs_reading());
        assert!(!service.has_firewalld());
        assert_eq!(service.process(), Some(4711));
        let service = Service::read(
            &ANSWER.replace("Id=hotcore-web.socket\nActiveState=active", "Id=hotcore-web.socket\nActiveState=failed"),
        );
        assert!(!service.is_active(Unit::Web));
        let service = Service::read(&ANSWER.replacen("enabled", "disabled", 1).replacen("Reload=no", "Reload=yes", 1));
        assert!(!service.is_enabled() && service.needs_reading());
        assert_eq!(Service::read(&ANSWER.replace("4711", "0")).process(), None);
        let nothing = Service::read("");
        assert!(!nothing.is_enabled() && nothing.process().is_none());
    }

    #[test]
    fn the_version_of_systemd_is_read() {
        for (answer, expected) in [
            ("systemd 252 (252.39-1~deb12u1)\n+PAM +AUDIT", Some(252)),
            ("systemd 256~rc1", Some(256)),
            ("systemd 219\n", Some(219)),
            ("", None),
            ("systemd x", None),
        ] {
            assert_eq!(version(answer), expected, "{answer}");
        }
    }
}
