//! The life of the .deb on one machine, from the first installation to the purge. Systemd.md, 7 and 11.

use crate::rig::{Machine, Root, Standing, deb};

/// What dpkg and deb-systemd-helper keep of a package.
const RECORDS: &[&str] = &["/var/lib/systemd/deb-systemd-helper-enabled", "/etc/systemd/system/sockets.target.wants"];
const LINK: &str = "/etc/systemd/system/multi-user.target.wants/hotcore.service";
const STATE: &str = "/var/lib/hotcore";
const PROFILE: &str = "/etc/ufw/applications.d/hotcore";
const FILES: &[&str] = &[
    "/usr/bin/hotcore",
    "/usr/lib/firewalld",
    "/usr/lib/systemd/system/hotcore-control.socket",
    "/usr/lib/systemd/system/hotcore-web.socket",
    "/usr/lib/systemd/system/hotcore.service",
    "/usr/lib/sysusers.d/hotcore.conf",
    "/usr/share/bash-completion/completions/hotcore",
    "/usr/share/doc/hotcore",
    "/usr/share/fish",
    "/usr/share/lintian/overrides/hotcore",
    "/usr/share/man/man1/hotcore.1.gz",
    "/usr/share/man/man7/hotcore-protocol.7.gz",
    "/usr/share/man/man8/hotcore.8.gz",
    "/usr/share/zsh/vendor-completions/_hotcore",
];
/// With whether it is enabled, and how it stands.
const UNITS: &[&str] = &[
    "hotcore-control.socket active",
    "hotcore-control.socket enabled",
    "hotcore-web.socket active",
    "hotcore-web.socket enabled",
    "hotcore.service active",
    "hotcore.service enabled",
];
const FAILED_HAND_OVER: &str = "hotcore: the version before this one goes on serving: it could not hand over (see: journalctl -u \
                                hotcore); to change over now: systemctl restart hotcore";

/// What its scripts say.
fn apt(machine: &Machine, words: &str) -> Vec<String> {
    machine.said(&format!("apt-get {words} --yes --allow-downgrades"))
}

/// The rules of ufw that name hotcore.
fn rules(machine: &Machine) -> String {
    machine.sh("ufw show added | grep hotcore || true")
}

fn installed(before: &Standing, now: &Standing, when: &str) {
    let dpkg = |path: &&str| !path.starts_with("/var/lib/dpkg/info/hotcore.");
    let known = [FILES, RECORDS, &[LINK, STATE, PROFILE]].concat();
    let strays: Vec<_> = now.strays(before, &known).into_iter().filter(dpkg).collect();
    assert!(strays.is_empty(), "{when}: {strays:?}");
    for path in FILES.iter().chain(&[LINK, STATE, PROFILE]) {
        assert!(now.files.contains(*path), "{when}: {path} is missing");
    }
    let units: Vec<_> = now.units.iter().map(String::as_str).collect();
    assert_eq!(units, UNITS, "{when}");
    let accounts: Vec<_> = now.accounts.difference(&before.accounts).collect();
    assert_eq!(accounts, ["hotcore"], "{when}");
}

/// S7, B266, B267. Firewall: systemd.md, 9.
#[test]
fn a_deb_lives_its_whole_life_and_leaves_nothing_behind() {
    let machine = Machine::boot(Root::Debian);
    machine.sh("ufw --force enable && ufw allow 22/tcp");
    let [first, second] = ["0.1.0-1", "0.2.0-1"].map(|version| machine.give(&deb(version)));
    let before = Standing::of(&machine);

    let said = apt(&machine, &format!("install {first}"));
    assert_eq!(said, ["hotcore: opened ports 80 and 443 in ufw"]);
    installed(&before, &Standing::of(&machine), "installed");
    let opened = "ufw allow hotcore comment 'made by the package hotcore'";
    assert_eq!(rules(&machine), opened);
    assert_eq!(machine.sh("hotcore add a-app.example 3000"), "ok a-app.example 3000");
    let owner = machine
        .sh("stat --format='%U:%G %a' /var/lib/hotcore && getent passwd hotcore | cut --delimiter=: --fields=6,7");
    assert_eq!(owner, "hotcore:hotcore 700\n/var/lib/hotcore:/usr/sbin/nologin");
    units_are_sound(&machine);

    // What the administrator has closed stays closed.
    machine.sh("ufw delete allow hotcore");
    let sockets = opened_at(&machine);
    for (package, when) in [(&second, "upgraded"), (&first, "downgraded")] {
        let pid = machine.property("hotcore.service", "MainPID");
        let said = apt(&machine, &format!("install {package}"));
        assert_eq!(said, [""; 0], "{when}");
        installed(&before, &Standing::of(&machine), when);
        assert_ne!(machine.property("hotcore.service", "MainPID"), pid, "{when}: the old program goes on");
        assert_eq!(machine.property("hotcore.service", "NRestarts"), "0", "{when}");
        assert_eq!(opened_at(&machine), sockets, "{when}: the sockets were restarted");
        assert_eq!(rules(&machine), "", "{when}");
        assert_eq!(machine.sh("hotcore list"), "a-app.example 3000", "{when}");
    }

    // A process that cannot hand over, such as one of a version that does it in another way.
    machine.sh("mkdir /run/systemd/system/hotcore.service.d");
    machine.write("/run/systemd/system/hotcore.service.d/test.conf", "[Service]\nExecReload=\nExecReload=/bin/false\n");
    let pid = machine.property("hotcore.service", "MainPID");
    let said = apt(&machine, &format!("install {second}"));
    assert_eq!(said, [FAILED_HAND_OVER]);
    assert_eq!(machine.property("hotcore.service", "MainPID"), pid);
    installed(&before, &Standing::of(&machine), "upgraded without hand-over");
    machine.sh("rm -r /run/systemd/system/hotcore.service.d && systemctl daemon-reload");
    machine.sh("systemctl restart hotcore && hotcore check");
    machine.sh("ufw allow hotcore comment 'made by the package hotcore'");

    let said = apt(&machine, "remove hotcore");
    assert_eq!(said, ["hotcore: closed ports 80 and 443 in ufw"]);
    let removed = Standing::of(&machine);
    let records = ["/var/lib/dpkg/info/hotcore.list", "/var/lib/dpkg/info/hotcore.postrm"];
    let strays = removed.strays(&before, &[RECORDS, &records, &[LINK, STATE, PROFILE]].concat());
    assert!(strays.is_empty(), "{strays:?}");
    assert!(removed.units.is_empty(), "{:?}", removed.units);
    assert_eq!(rules(&machine), "");

    // To dpkg this looks like an upgrade; the administrator closed nothing since.
    let said = apt(&machine, &format!("install {first}"));
    assert_eq!(said, ["hotcore: opened ports 80 and 443 in ufw"]);
    installed(&before, &Standing::of(&machine), "installed again");
    assert_eq!(rules(&machine), opened);
    assert_eq!(machine.sh("hotcore list"), "a-app.example 3000");

    // Now it is the administrator's own.
    machine.sh("ufw delete allow hotcore && ufw allow hotcore");
    let said = apt(&machine, "purge hotcore");
    assert_eq!(said, [""; 0]);
    assert_eq!(rules(&machine), "ufw allow hotcore");
    let purged = Standing::of(&machine);
    assert_eq!(purged, before);
    assert_eq!(machine.failed_units(), "");
}

/// When the sockets were opened: another moment if they were restarted.
fn opened_at(machine: &Machine) -> [String; 2] {
    ["hotcore-web.socket", "hotcore-control.socket"].map(|unit| machine.property(unit, "ActiveEnterTimestampMonotonic"))
}

/// S1, on the floor's systemd: an unknown key is only printed; the threshold is ten times the score.
fn units_are_sound(machine: &Machine) {
    let verify = "systemd-analyze verify --man=no hotcore.service hotcore-web.socket hotcore-control.socket 2>&1";
    assert_eq!(machine.sh(verify), "");
    machine.sh("systemd-analyze security --offline=true --threshold=11 /usr/lib/systemd/system/hotcore.service");
}
