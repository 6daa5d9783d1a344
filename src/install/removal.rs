//! The plan of a removal: what an install has made goes, and nothing else. Pure.
//!
//! Rules, certificates and keys stay, and with them the user that they belong to.

use super::{
    host::{Folder, Host, Link, Program},
    layout,
    refusal::Refusal,
    step::{Action, Step},
    units::{self, Unit},
};

/// The plan of a removal. Where nothing was installed no step is due.
pub(super) fn plan(host: &Host) -> Result<Vec<Step>, Refusal> {
    if !host.is_root {
        return Err(Refusal::NotRoot);
    }
    let ours: Vec<Unit> = host.units.iter().filter(|(_, text)| units::is_ours(text)).map(|(unit, _)| *unit).collect();
    let mut steps = Vec::new();
    // The profile in /etc may be the package's, and so may the rule.
    if host.package.is_none() {
        steps.extend(host.profiles.iter().map(|firewall| Step::unless(false, Action::CloseFirewall(*firewall))));
    }
    steps.push(Step::unless(ours.is_empty() || host.systemd.is_none(), Action::Stop));
    for unit in Unit::ALL {
        steps.push(match host.units.contains_key(&unit) {
            true if !ours.contains(&unit) => {
                Step::left(Action::RemoveFile(unit.path()), "it was not made by hotcore install")
            }
            is_there => Step::unless(!is_there, Action::RemoveFile(unit.path())),
        });
    }
    steps.push(Step::unless(ours.is_empty() || host.systemd.is_none(), Action::ReadUnits));
    steps.push(match &host.link {
        Link::Foreign(what) => {
            Step::left(Action::RemoveFile(layout::LINK.to_owned()), format!("{what} is somebody else's"))
        }
        link => Step::unless(*link == Link::Absent, Action::RemoveFile(layout::LINK.to_owned())),
    });
    let has_program = host.program != Program::Absent;
    steps.push(Step::unless(!has_program, Action::RemoveFile(layout::PROGRAM.to_owned())));
    for (path, folder) in [(layout::BIN, host.bin), (layout::HOME, host.home)] {
        steps.push(match folder {
            Folder::Strange => Step::left(Action::RemoveFolder(path), "it is not a folder, or it is a link"),
            folder => Step::unless(folder == Folder::Absent, Action::RemoveFolder(path)),
        });
    }
    steps.push(Step::unless(!host.has_sysusers_line, Action::RemoveFile(layout::SYSUSERS.to_owned())));
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::install::{
        Need, Packager,
        host::Firewall,
        plan::tests::{fresh, installed},
    };

    fn due(host: &Host) -> Vec<String> {
        let steps = plan(host).unwrap();
        steps.iter().filter(|step| step.need == Need::Due).map(|step| step.action.to_string()).collect()
    }

    #[test]
    fn all_that_an_install_has_made_goes() {
        let host = Host { profiles: vec![Firewall::Ufw], ..installed() };
        assert_eq!(
            due(&host),
            [
                "rule for ports 80 and 443 removed from ufw",
                "service and sockets stopped, and no longer started at boot",
                "file /etc/systemd/system/hotcore-web.socket removed",
                "file /etc/systemd/system/hotcore-control.socket removed",
                "file /etc/systemd/system/hotcore.service removed",
                "units read by systemd",
                "file /usr/local/bin/hotcore removed",
                "file /opt/hotcore/bin/hotcore removed",
                "folder /opt/hotcore/bin removed",
                "folder /opt/hotcore removed",
                "file /etc/sysusers.d/hotcore.conf removed",
            ]
        );
    }

    #[test]
    fn where_nothing_was_installed_nothing_is_removed() {
        assert_eq!(due(&fresh()), [""; 0]);
    }

    #[test]
    fn what_belongs_to_others_stays() {
        let mut host = Host {
            package: Some(Packager::Apt),
            profiles: vec![Firewall::Ufw],
            link: Link::Foreign("a link to /home/ann/hotcore".to_owned()),
            home: Folder::Strange,
            bin: Folder::Absent,
            program: Program::Absent,
            has_sysusers_line: false,
            ..installed()
        };
        for text in host.units.values_mut() {
            *text = "[Service]\nExecStart=/home/ann/hotcore serve\n".to_owned();
        }
        assert_eq!(due(&host), [""; 0]);
        let left = plan(&host).unwrap().into_iter().filter(|step| matches!(step.need, Need::Left(_))).count();
        assert_eq!(left, 5, "three units, the link, the folder");
    }

    #[test]
    fn a_removal_needs_root_and_no_systemd() {
        assert_eq!(plan(&Host { is_root: false, ..installed() }), Err(Refusal::NotRoot));
        let host = Host { systemd: None, ..installed() };
        assert!(due(&host).iter().all(|step| step.starts_with("file ") || step.starts_with("folder ")));
    }
}
