//! Machines on which an installation of a package is not as usual: another program has a port, services may not be started,
//! systemd does not run, `hotcore install` was there before.

use std::fs;

use crate::rig::{Machine, PATIENCE, Root, deb, folder, rpm, wait_for, without_systemd};

/// Listens on a port of this machine until its process is killed; the answer is its number.
fn hold(machine: &Machine, transport: &str, port: u16) -> String {
    let kind = if transport == "TCP" { "STREAM" } else { "DGRAM" };
    machine.write(
        "/run/hold.py",
        &format!(
            "import os, socket, time\nsock = socket.socket(socket.AF_INET, socket.SOCK_{kind})\n\
             sock.bind(('127.0.0.1', {port}))\n{}\nopen('/run/hold.new', 'w').write(str(os.getpid()))\nos.rename('/run/hold.new', '/run/hold.pid')\ntime.sleep(600)\n",
            if transport == "TCP" { "sock.listen()" } else { "" }
        ),
    );
    machine.sh("rm --force /run/hold.pid; systemd-run --quiet python3 /run/hold.py");
    wait_for("a program that holds a port", PATIENCE, || {
        let pid = machine.sh("cat /run/hold.pid 2>/dev/null || true");
        (!pid.is_empty()).then_some(pid)
    })
}

/// B215. One port alone must not be opened: each visitor or message would make systemd try to start the service, without end.
#[test]
fn where_a_port_is_taken_the_package_is_installed_and_says_who_has_it() {
    let machine = Machine::boot(Root::Debian);
    let package = machine.give(&deb("0.1.0-1"));
    for (transport, port) in [("TCP", 80), ("UDP", 40_608)] {
        let pid = hold(&machine, transport, port);
        let said = machine.said(&format!("apt-get install --yes {package}"));
        let line = format!(
            "hotcore: does not run: {transport} port {port} is taken by python3 (process {pid}); end that and see that it does \
             not come back: systemctl status {pid}, then: systemctl start hotcore"
        );
        assert_eq!(said, [line]);
        let active = machine.sh("systemctl is-active 'hotcore*' || true");
        assert!(!active.lines().any(|state| state == "active"), "{port}: {active}");
        // More often than systemd allows by default; each is refused, and none is remembered.
        for _ in 0..6 {
            assert!(!machine.try_sh("systemctl start hotcore").status.success());
        }
        assert!(!machine.try_sh("hotcore check").status.success());
        machine.sh(&format!("kill {pid} && systemctl start hotcore && hotcore check"));
        assert_eq!(machine.failed_units(), "", "{port}");
        machine.sh("apt-get purge --yes hotcore 2>&1");
    }
}

#[test]
fn what_policy_rc_d_forbids_is_not_started() {
    let machine = Machine::boot(Root::Debian);
    let package = machine.give(&deb("0.1.0-1"));
    machine.sh("printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d");
    for package in [&package, &machine.give(&deb("0.2.0-1"))] {
        let said = machine.said(&format!("apt-get install --yes {package}"));
        assert_eq!(said, [""; 0]);
        assert_eq!(machine.sh("systemctl is-active 'hotcore*' || true"), "");
        assert_eq!(machine.sh("systemctl is-enabled hotcore.service hotcore-web.socket"), "enabled\nenabled");
    }
    machine.sh("rm /usr/sbin/policy-rc.d && systemctl start hotcore && hotcore check");
    assert_eq!(machine.failed_units(), "");
}

/// As where an image is made: files, user and what is started at boot, and nothing that fails.
#[test]
fn both_packages_can_be_installed_and_removed_where_systemd_does_not_run() {
    let share = folder();
    let look = "test ! -e /run/systemd/system
        ls -l /etc/systemd/system/*/hotcore* >&2
        test -e /etc/systemd/system/multi-user.target.wants/hotcore.service -o -L /etc/systemd/system/multi-user.target.wants/hotcore.service
        test -L /etc/systemd/system/sockets.target.wants/hotcore-web.socket
        getent passwd hotcore
        hotcore version";
    for (root, package, install, remove) in [
        (Root::Debian, deb("0.1.0-1"), "apt-get install --yes", "apt-get purge --yes hotcore"),
        (Root::Fedora, rpm("0.1.0"), "rpm --upgrade --nodeps", "rpm --erase hotcore"),
    ] {
        let name = package.file_name().unwrap().to_str().unwrap();
        fs::copy(&package, share.path().join(name)).unwrap();
        let line = format!(
            "{install} /t/{name} 2>&1\n{look}\n{remove} 2>&1\ntest ! -e /usr/bin/hotcore
            test ! -L /etc/systemd/system/multi-user.target.wants/hotcore.service\ntest ! -e /var/lib/hotcore"
        );
        let output = without_systemd(root, share.path(), &line);
        let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{root:?}: {said}\n{errors}");
        assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
        let trouble = ["hotcore: ", "Failed", "warning: %", "scriptlet failed"];
        assert!(!trouble.iter().any(|word| said.contains(word)), "{root:?}: {said}");
    }
}

/// Systemd.md, 10: units in /etc hide those of a package, and the program in /usr/local is found first.
#[test]
fn what_hotcore_install_has_made_gives_way_to_the_package() {
    let machine = Machine::boot(Root::Debian);
    let package = machine.give(&deb("0.1.0-1"));
    // The package's own program and units, brought to where an install has them.
    machine.sh(&format!("dpkg-deb --extract {package} /run/content"));
    let install = |local: &str, sockets: &str| {
        machine.sh(&format!(
            "systemd-sysusers /run/content/usr/lib/sysusers.d/hotcore.conf
            mkdir --parents /opt/hotcore/bin /etc/sysusers.d && cp /run/content/usr/bin/hotcore /opt/hotcore/bin/
            ln --symbolic /opt/hotcore/bin/hotcore /usr/local/bin/hotcore
            cp /run/content/usr/lib/sysusers.d/hotcore.conf /etc/sysusers.d/
            sed 's/^description=.*/description=an older one/' /run/content/etc/ufw/applications.d/hotcore \
                > /etc/ufw/applications.d/hotcore
            for unit in hotcore-web.socket hotcore-control.socket hotcore.service; do
                {{ echo '# Made by `hotcore install`, which renews it.'
                  sed -e 's:/usr/bin/hotcore serve:/opt/hotcore/bin/hotcore serve{local}:' \
                      -e 's/^ListenStream=\\([0-9]*\\)/ListenStream={sockets}\\1/' \
                      /run/content/usr/lib/systemd/system/$unit; }} > /etc/systemd/system/$unit
            done
            systemctl daemon-reload && systemctl --quiet enable hotcore.service && systemctl start hotcore"
        ));
    };
    let listens = "ss --listening --tcp --numeric --no-header | awk '{ print $4 }' | sort";

    install("", "");
    machine.sh("ufw --force enable && ufw allow hotcore");
    machine.sh("hotcore add a-app.example 3000");
    let opened = machine.property("hotcore-web.socket", "ActiveEnterTimestampMonotonic");
    let said = machine.said(&format!("apt-get install --yes {package}"));
    assert_eq!(said, ["hotcore: took over from \"hotcore install\", with its rules and certificates"]);
    gave_way(&machine);
    assert_eq!(
        machine.property("hotcore-web.socket", "ActiveEnterTimestampMonotonic"),
        opened,
        "the ports were closed"
    );
    assert_eq!(machine.sh("hotcore list"), "a-app.example 3000");
    // The rule became the package's, and goes with it.
    assert_eq!(machine.said("apt-get remove --yes hotcore"), ["hotcore: closed ports 80 and 443 in ufw"]);
    machine.sh("ufw disable");

    // Made for the machine alone, and now a service for everybody.
    install(" --local", "127.0.0.1:");
    assert_eq!(machine.sh(listens), "127.0.0.1:443\n127.0.0.1:80");
    machine.sh(&format!("apt-get install --yes {package} 2>&1"));
    gave_way(&machine);
    assert_eq!(machine.sh(listens), "*:443\n*:80");
    assert_eq!(machine.sh("hotcore list"), "a-app.example 3000");

    // The other way round: what is in use is not purged.
    machine.sh("apt-get remove --yes hotcore 2>&1");
    install("", "");
    let said = machine.said("apt-get purge --yes hotcore");
    assert_eq!(said, ["hotcore: kept /var/lib/hotcore and the user: \"hotcore install\" uses them"]);
    assert_eq!(machine.sh("hotcore list"), "a-app.example 3000");
}

fn gave_way(machine: &Machine) {
    let left =
        "ls -d /opt/hotcore /usr/local/bin/hotcore /etc/sysusers.d/hotcore.conf /etc/systemd/system/hotcore* || true";
    assert_eq!(machine.sh(&format!("{{ {left}; }} 2>/dev/null")), "");
    let service = machine.outer_pid(&machine.property("hotcore.service", "MainPID"));
    assert_eq!(fs::read_link(format!("/proc/{service}/exe")).unwrap().to_str(), Some("/usr/bin/hotcore"));
    assert_eq!(machine.property("hotcore.service", "FragmentPath"), "/lib/systemd/system/hotcore.service");
    let link = "readlink --canonicalize /etc/systemd/system/multi-user.target.wants/hotcore.service";
    assert_eq!(machine.sh(link), "/usr/lib/systemd/system/hotcore.service");
    assert_eq!(machine.failed_units(), "");
}
