//! The life of the .rpm, with Debian's dnf, rpm and firewalld. What Fedora alone can show is not proved here: SELinux, presets,
//! its repositories. Systemd.md, 8 and 11.

use crate::rig::{Machine, Root, Standing, rpm, system_rpm};

const STATE: &str = "/var/lib/hotcore";
/// What the programs named by it own where they are installed.
const FOLDERS: &[&str] = &["/usr/share/fish", "/usr/share/zsh/site-functions", "/usr/share/licenses"];
/// firewalld writes each zone that it changes, with its previous text.
const ZONES: &str = "/etc/firewalld/zones";
const UNITS: &[&str] = &[
    "hotcore-control.socket active",
    "hotcore-control.socket enabled",
    "hotcore-web.socket active",
    "hotcore-web.socket enabled",
    "hotcore.service active",
    "hotcore.service enabled",
];

/// What the scripts say.
fn dnf(machine: &Machine, words: &str) -> Vec<String> {
    machine.said(&format!("dnf --assumeyes --releasever=1 {words}"))
}

/// The zones of firewalld that let hotcore in, as they are and as they are kept.
fn zones(machine: &Machine) -> String {
    let line = |kept: &str| {
        format!(
            "firewall-cmd {kept} --list-all-zones | awk '/^[a-z]/ {{ z = $1 }} / services:.* hotcore/ {{ print z }}'"
        )
    };
    machine.sh(&format!("{}; {}", line(""), line("--permanent")))
}

fn installed(machine: &Machine, before: &Standing, when: &str) {
    let now = Standing::of(machine);
    let files = machine.sh("rpm --query --list hotcore 2>/dev/null");
    let known: Vec<_> = files.lines().chain(FOLDERS.iter().copied()).chain([STATE, ZONES]).collect();
    let own = ["/usr/share/doc/hotcore", "/etc/systemd/system/sockets.target.wants"];
    let link = "/etc/systemd/system/multi-user.target.wants/hotcore.service";
    let strays = now.strays(before, &[known.as_slice(), &own, &[link]].concat());
    assert!(strays.is_empty(), "{when}: {strays:?}");
    let units: Vec<_> = now.units.iter().map(String::as_str).collect();
    assert_eq!(units, UNITS, "{when}");
    let accounts: Vec<_> = now.accounts.difference(&before.accounts).collect();
    assert_eq!(accounts, ["hotcore"], "{when}");
}

/// S7, B268.
#[test]
fn an_rpm_lives_its_whole_life_and_leaves_rules_and_their_user() {
    let machine = Machine::boot(Root::Fedora);
    let (first, second) = (machine.give(&rpm("0.1.0")), machine.give(&rpm("0.2.0")));
    let [old, system] = [251, 252].map(|systemd| machine.give(&system_rpm(&rpm("0.1.0"), systemd)));
    let refused = machine.try_sh(&format!("dnf --assumeyes --releasever=1 install {old} {first} 2>&1"));
    let said = String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && said.contains("nothing provides systemd >= 252 needed by hotcore"), "{said}");
    dnf(&machine, &format!("install {system}"));
    let before = Standing::of(&machine);

    let said = dnf(&machine, &format!("install {first}"));
    assert_eq!(said, ["hotcore: opened ports 80 and 443 in firewalld"]);
    installed(&machine, &before, "installed");
    assert_eq!(zones(&machine), "public\npublic");
    assert_eq!(machine.sh("hotcore add a-app.example 3000"), "ok a-app.example 3000");
    let sockets = opened_at(&machine);

    // What the administrator has closed stays closed; in another zone they have opened it.
    machine.sh("for kept in '' --permanent; do firewall-cmd $kept --remove-service=hotcore; done");
    machine.sh("firewall-cmd --permanent --zone=dmz --add-service=hotcore");
    for (command, when) in [
        (format!("dnf --assumeyes --releasever=1 upgrade {second}"), "upgraded"),
        (format!("rpm --upgrade --oldpackage {first}"), "downgraded"),
    ] {
        let pid = machine.property("hotcore.service", "MainPID");
        assert_eq!(machine.said(&command), [""; 0], "{when}");
        installed(&machine, &before, when);
        assert_ne!(machine.property("hotcore.service", "MainPID"), pid, "{when}: the old program goes on");
        assert_eq!(opened_at(&machine), sockets, "{when}: the sockets were restarted");
        assert_eq!(zones(&machine), "dmz", "{when}");
        assert_eq!(machine.sh("hotcore list"), "a-app.example 3000", "{when}");
    }

    // A zone that names a service which is gone would keep all of firewalld from working.
    let said = dnf(&machine, "remove hotcore");
    assert_eq!(said, ["hotcore: closed ports 80 and 443 in firewalld"]);
    removed(&machine, &before);

    machine.sh(&format!("rpm --upgrade {first} 2>&1"));
    installed(&machine, &before, "installed again");
    assert_eq!(zones(&machine), "public\npublic");
    assert_eq!(machine.sh("hotcore list"), "a-app.example 3000");
    machine.sh("systemctl stop firewalld");
    let said = machine.said("rpm --erase hotcore");
    assert_eq!(said, ["hotcore: closed ports 80 and 443 in firewalld"]);
    machine.sh("systemctl start firewalld");
    removed(&machine, &before);
}

fn removed(machine: &Machine, before: &Standing) {
    let now = Standing::of(machine);
    let strays = now.strays(before, &[FOLDERS, &[STATE, ZONES]].concat());
    assert!(strays.is_empty(), "{strays:?}");
    // Folders of others, and nothing in them.
    assert_eq!(machine.sh(&format!("find {} -not -type d -path '*hotcore*'", FOLDERS.join(" "))), "");
    assert!(now.units.is_empty(), "{:?}", now.units);
    // rpm knows no purge: whose rules are left must not become another user's number.
    assert_eq!(now.accounts.difference(&before.accounts).collect::<Vec<_>>(), ["hotcore"]);
    assert_eq!(machine.sh("firewall-cmd --reload && firewall-cmd --state"), "success\nrunning");
    assert_eq!(zones(machine), "");
    assert_eq!(machine.failed_units(), "");
}

fn opened_at(machine: &Machine) -> [String; 2] {
    ["hotcore-web.socket", "hotcore-control.socket"].map(|unit| machine.property(unit, "ActiveEnterTimestampMonotonic"))
}
