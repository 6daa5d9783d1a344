//! Plans for many machines, without one of them.

use std::path::PathBuf;

use super::*;
use crate::{
    install::{Firewall, Held, Packager, Person, Running, Seal},
    limits::SYSTEMD_MIN,
};

/// A Debian on which hotcore has never been.
pub(in crate::install) fn fresh() -> Host {
    Host {
        is_root: true,
        systemd: Some(252),
        package: None,
        user: None,
        has_sysusers_line: false,
        has_sysusers: true,
        has_useradd: true,
        has_setcap: true,
        home: Folder::Absent,
        bin: Folder::Absent,
        program: Program::Absent,
        link: Link::Absent,
        units: [].into(),
        needs_reading: false,
        is_enabled: false,
        has_sockets: false,
        running: None,
        held: Vec::new(),
        firewall: None,
        profiles: Vec::new(),
        seal: None,
        is_link_folder_sealed: false,
        has_state: false,
    }
}

/// The same after an install.
pub(in crate::install) fn installed() -> Host {
    Host {
        user: Some(999),
        has_sysusers_line: true,
        home: Folder::Of(999),
        bin: Folder::Of(0),
        program: Program::Same { is_capable: true },
        link: Link::Ours,
        units: Unit::ALL.map(|unit| (unit, unit.text(Runner::Service))).into(),
        is_enabled: true,
        has_sockets: true,
        running: Some(Running { is_installed_file: true }),
        has_state: true,
        ..fresh()
    }
}

/// The same with a change.
fn but(host: Host, change: impl FnOnce(&mut Host)) -> Host {
    let mut host = host;
    change(&mut host);
    host
}

fn ann() -> Person {
    Person { user: "ann".to_owned(), group: "ann".to_owned(), ca_root: None, mkcert_folder: None }
}

fn steps(host: &Host, wanted: &Wanted) -> Vec<(Need, String)> {
    let steps = plan(host, wanted).unwrap();
    steps.into_iter().map(|step| (step.need, step.action.to_string())).collect()
}

fn due(host: &Host, wanted: &Wanted) -> Vec<String> {
    let steps = steps(host, wanted).into_iter();
    steps.filter(|step| step.0 == Need::Due).map(|step| step.1).collect()
}

const ALL: [&str; 12] = [
    "user hotcore",
    "folder /opt/hotcore, owned by hotcore",
    "folder /opt/hotcore/bin",
    "program /opt/hotcore/bin/hotcore",
    "capability cap_net_bind_service=+eip of the program",
    "link /usr/local/bin/hotcore",
    "unit /etc/systemd/system/hotcore-web.socket",
    "unit /etc/systemd/system/hotcore-control.socket",
    "unit /etc/systemd/system/hotcore.service",
    "units read by systemd",
    "service started",
    "service started at boot",
];

#[test]
fn on_a_fresh_machine_every_step_is_due() {
    assert_eq!(due(&fresh(), &Wanted::Server), ALL);
}

#[test]
fn where_all_is_there_no_step_changes_anything() {
    let host = but(installed(), |host| host.firewall = Some(Firewall::Ufw));
    let steps = steps(&host, &Wanted::Server);
    assert_eq!(steps.iter().map(|step| step.1.as_str()).collect::<Vec<_>>(), ALL);
    assert!(steps.iter().all(|step| step.0 == Need::AlreadySo), "{steps:?}");
}

/// Systemd.md, 9.
#[test]
fn a_firewall_in_force_is_opened_by_the_first_install_alone() {
    let fedora = but(fresh(), |host| (host.systemd, host.firewall) = (Some(256), Some(Firewall::Firewalld)));
    let step = "ports 80 and 443 opened in firewalld".to_owned();
    assert!(due(&fedora, &Wanted::Server).contains(&step));
    assert!(!due(&fedora, &Wanted::Local(ann())).contains(&step), "nobody comes in from elsewhere");
    let upgrade = but(installed(), |host| (host.program, host.firewall) = (Program::Other, fedora.firewall));
    assert!(steps(&upgrade, &Wanted::Server).iter().all(|(_, words)| *words != step));
}

#[test]
fn an_upgrade_copies_the_program_and_hands_over() {
    let host = but(installed(), |host| host.program = Program::Other);
    assert_eq!(
        due(&host, &Wanted::Server),
        [
            "program /opt/hotcore/bin/hotcore",
            "capability cap_net_bind_service=+eip of the program",
            "service handed over to the new program"
        ]
    );
}

/// The run before has ended half way.
#[test]
fn what_was_interrupted_is_continued() {
    for (host, expected) in [
        (but(installed(), |host| host.running = Some(Running { is_installed_file: false })), "service handed over"),
        (but(installed(), |host| host.running = None), "service started"),
        (but(installed(), |host| host.has_sockets = false), "sockets and service restarted"),
        (but(installed(), |host| (host.running, host.has_sockets) = (None, false)), "service started"),
        (but(installed(), |host| host.is_enabled = false), "service started at boot"),
        (but(installed(), |host| host.program = Program::Same { is_capable: false }), "capability"),
        (but(installed(), |host| host.user = None), "user hotcore"),
        (but(installed(), |host| host.home = Folder::Of(0)), "folder /opt/hotcore, owned by hotcore"),
        (but(installed(), |host| host.link = Link::Absent), "link"),
    ] {
        let due = due(&host, &Wanted::Server);
        assert!(due.iter().any(|step| step.starts_with(expected)), "{expected}: {due:?}");
        assert!(due.len() <= 2, "{expected}: {due:?}");
    }
    let unread = but(installed(), |host| host.needs_reading = true);
    assert_eq!(due(&unread, &Wanted::Server), ["units read by systemd", "service restarted with the new unit"]);
}

/// B210: sockets are restarted only where they must be, since clients meet a closed port meanwhile.
#[test]
fn a_changed_unit_costs_as_little_as_it_can() {
    let launch = |unit: Unit, text: &str| {
        let host = but(installed(), |host| _ = host.units.insert(unit, text.to_owned()));
        let due = due(&host, &Wanted::Server);
        assert_eq!(due[..2], [format!("unit {}", unit.path()), "units read by systemd".to_owned()]);
        due.get(2).cloned()
    };
    let text = |unit: Unit| unit.text(Runner::Service);
    let remark = |unit: Unit| launch(unit, &text(unit).replace("\n# ", "\n# formerly: "));
    let line = |unit: Unit| launch(unit, &format!("{}\n[Unit]\nBefore=x.service\n", text(unit)));
    assert_eq!(Unit::ALL.map(remark), [None, None, None]);
    let reopened = || Some("sockets and service restarted".to_owned());
    let restarted = Some("service restarted with the new unit".to_owned());
    assert_eq!(Unit::ALL.map(line), [reopened(), reopened(), restarted]);
}

#[test]
fn a_foreign_link_is_not_replaced_and_a_missing_setcap_is_no_obstacle() {
    let host = but(fresh(), |host| {
        host.link = Link::Foreign("a link to /home/ann/hotcore".to_owned());
        host.has_setcap = false;
    });
    let steps = steps(&host, &Wanted::Server);
    let left: Vec<_> = steps.iter().filter(|step| matches!(step.0, Need::Left(_))).collect();
    assert_eq!(left.iter().map(|step| step.1.as_str()).collect::<Vec<_>>(), [ALL[4], ALL[5]]);
    assert!(matches!(&left[0].0, Need::Left(why) if why.contains("libcap2-bin")), "{left:?}");
    assert!(matches!(&left[1].0, Need::Left(why) if why.contains("/home/ann/hotcore")), "{left:?}");
    assert_eq!(due(&host, &Wanted::Server).len(), ALL.len() - 2);
    let sealed = but(fresh(), |host| host.is_link_folder_sealed = true);
    assert_eq!(due(&sealed, &Wanted::Server).len(), ALL.len() - 1);
}

/// B222.
#[test]
fn a_local_install_needs_no_user() {
    let due = due(&fresh(), &Wanted::Local(ann()));
    assert_eq!(due[0], "folder /opt/hotcore");
    assert!(!due.contains(&"user hotcore".to_owned()));
    let installed = but(installed(), |host| {
        host.home = Folder::Of(0);
        host.units = Unit::ALL.map(|unit| (unit, unit.text(Runner::Person(&ann())))).into();
    });
    let steps = steps(&installed, &Wanted::Local(ann()));
    assert!(steps.iter().all(|step| step.0 == Need::AlreadySo), "{steps:?}");
}

#[test]
fn each_obstacle_is_one_sentence_with_a_remedy_and_nothing_is_planned() {
    let held = |holder: Option<&str>| {
        but(fresh(), |host| {
            host.held = vec![Held { transport: "TCP", port: 80, holder: holder.map(str::to_owned) }];
        })
    };
    let local = Unit::ALL.map(|unit| (unit, unit.text(Runner::Person(&ann())))).into();
    let packaged = |by: Packager| but(fresh(), |host| host.package = Some(by));
    let sealed = |seal: Seal| but(fresh(), |host| host.seal = Some(seal));
    let everybody = [
        (but(fresh(), |host| host.is_root = false), "not root", "sudo"),
        (but(fresh(), |host| host.systemd = None), "systemd does not run", "hotcore serve"),
        (but(fresh(), |host| host.systemd = Some(SYSTEMD_MIN - 1)), "version 251, and 252 is needed", "upgrade"),
        (packaged(Packager::Apt), "installed by apt: use that", "apt install"),
        (packaged(Packager::Dnf), "installed by dnf: use that", "dnf install"),
        (packaged(Packager::Unknown(PathBuf::from("/lib/u"))), "/lib/u is there", "upgrade"),
        (held(Some("nginx (process 12)")), "TCP port 80 is taken by nginx (process 12)", "systemctl status 12"),
        (held(None), "TCP port 80 is taken by another program", "ss -ltnp 'sport = :80'"),
        (sealed(Seal::ReadOnly("/opt".into())), "/opt is read-only", "mount"),
        (sealed(Seal::NoExec("/opt".into())), "/opt is mounted noexec", "mount"),
        (but(fresh(), |host| host.home = Folder::Strange), "/opt/hotcore is not a folder", "mv /opt/hotcore "),
        (
            but(fresh(), |host| _ = host.units.insert(Unit::Service, "[Service]\n".to_owned())),
            "/etc/systemd/system/hotcore.service was not made by hotcore install",
            "mv /etc/systemd/system/hotcore.service",
        ),
        (but(fresh(), |host| (host.has_sysusers, host.has_useradd) = (false, false)), "no user hotcore", "useradd"),
        (but(installed(), |host| host.units = local), "this machine alone", "install --local"),
    ];
    let wanted = std::iter::repeat(Wanted::Server);
    let with_local = [(installed(), "for everybody", "install --remove")].into_iter().zip([Wanted::Local(ann())]);
    for ((host, wrong, remedy), wanted) in everybody.into_iter().zip(wanted).chain(with_local) {
        let refusal = plan(&host, &wanted).unwrap_err();
        let (sentence, remedies) = (refusal.to_string(), refusal.remedies().join("\n"));
        assert!(sentence.contains(wrong), "{wrong}: {sentence}");
        assert!(!sentence.contains('\n') && remedies.contains(remedy), "{sentence}: {remedies}");
    }
    assert!(plan(&but(fresh(), |host| host.systemd = Some(SYSTEMD_MIN)), &Wanted::Server).is_ok());
}

#[test]
fn all_taken_ports_are_named_at_once() {
    let held = |transport, port| Held { transport, port, holder: Some(format!("p{port} (process {port})")) };
    let host = but(fresh(), |host| host.held = vec![held("TCP", 443), held("UDP", 40608)]);
    let refusal = plan(&host, &Wanted::Server).unwrap_err();
    let expected = "TCP port 443 is taken by p443 (process 443); UDP port 40608 is taken by p40608 (process 40608)";
    assert_eq!((refusal.to_string().as_str(), refusal.remedies().len()), (expected, 2));
}
