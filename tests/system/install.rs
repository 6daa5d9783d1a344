//! `hotcore install`, on machines with their own systemd: what it makes, what it leaves alone, and that it takes all of it away.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::Output,
};

use tempfile::TempDir;

use crate::rig::{Backend, Load, Machine, PATIENCE, Root, WebSocket, folder, run, skip, succeed, wait_for};

/// What an install writes.
const FILES: [&str; 8] = [
    "/opt/hotcore",
    "/opt/hotcore/bin",
    "/opt/hotcore/bin/hotcore",
    "/usr/local/bin/hotcore",
    "/etc/systemd/system/hotcore-web.socket",
    "/etc/systemd/system/hotcore-control.socket",
    "/etc/systemd/system/hotcore.service",
    "/etc/sysusers.d/hotcore.conf",
];

/// The program as the machine sees it, where a person may have downloaded it.
fn given(machine: &Machine) -> String {
    machine.give(Path::new(env!("CARGO_BIN_EXE_hotcore")))
}

/// The same program under the same name, with a byte that nobody reads: another version, to an install.
fn other_version(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("hotcore-other");
    fs::copy(env!("CARGO_BIN_EXE_hotcore"), &path).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"\n").unwrap();
    path
}

/// The first words of each line of an install's output: `done`, `already so`, `left`.
fn outcomes(said: &str) -> Vec<&str> {
    let steps = said.lines().filter(|line| !line.starts_with("hotcore "));
    steps.map(|line| line.get(..10).unwrap_or(line).trim()).collect()
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Everything that could show a change: inodes, times, owners, modes of the files, processes, and since when units are as they are.
fn traces(machine: &Machine) -> String {
    let units = "hotcore.service hotcore-web.socket hotcore-control.socket";
    let properties = "Id,MainPID,ActiveEnterTimestampMonotonic,InactiveExitTimestampMonotonic,NRestarts,UnitFileState,NeedDaemonReload";
    machine.sh(&format!(
        "stat --format='%n %i %y %z %U:%G %a' {}; systemctl show --property={properties} {units}; stat --format='%z' /etc/passwd",
        FILES.join(" ")
    ))
}

/// All files that are not made by the system in passing.
fn files(machine: &Machine) -> Vec<String> {
    let passing = "/etc/.pwd.lock /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/.updated /etc/sysusers.d";
    let found =
        machine.sh("find /etc /opt /usr /var/lib -xdev -not -path '/var/lib/systemd/*' -not -path '*/__pycache__*'");
    let mut files: Vec<_> =
        found.lines().filter(|line| !passing.split(' ').any(|name| name == *line)).map(str::to_owned).collect();
    files.sort();
    files
}

#[test]
fn a_fresh_machine_becomes_a_server_and_a_second_run_changes_nothing() {
    let machine = Machine::boot(Root::Debian);
    let hotcore = given(&machine);
    let before = files(&machine);
    let plan = machine.sh(&format!("setpriv --reuid=65534 --clear-groups {hotcore} install --dry-run"));
    assert_eq!(files(&machine), before, "a dry run changes nothing");

    let said = machine.sh(&format!("{hotcore} install"));
    assert!(outcomes(&said).iter().all(|outcome| *outcome == "done"), "{said}");
    assert_eq!(plan.replace("to do ", "done  "), said.rsplit_once('\n').unwrap().0, "what was planned was done");
    assert!(said.ends_with(" answers and listens on ports 80 and 443 of all addresses"), "{said}");
    // The file's capability does not keep the socket unit from running it.
    let asked = machine.property("hotcore-web.socket", "ExecStartPre");
    assert!(asked.contains("/opt/hotcore/bin/hotcore") && asked.contains("status=0"), "{asked}");

    assert_eq!(machine.sh("curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1/"), "404");
    assert_eq!(machine.sh("getcap /opt/hotcore/bin/hotcore"), "/opt/hotcore/bin/hotcore cap_net_bind_service=eip");
    assert_eq!(
        machine.sh("stat --format='%U:%G %a' /opt/hotcore /opt/hotcore/bin/hotcore /var/lib/hotcore"),
        "hotcore:hotcore 755\nroot:root 755\nhotcore:hotcore 700"
    );
    assert_eq!(machine.sh("PATH=/usr/local/bin hotcore check"), "ok");
    assert_eq!(machine.sh("setpriv --reuid=65534 --clear-groups /usr/local/bin/hotcore check"), "ok", "anybody's");
    for unit in ["hotcore.service", "hotcore-web.socket", "hotcore-control.socket"] {
        assert_eq!(machine.property(unit, "UnitFileState"), "enabled", "{unit}");
    }
    assert_eq!(machine.failed_units(), "");
    machine.sh("systemd-analyze verify --man=no hotcore.service hotcore-web.socket hotcore-control.socket");
    // The capability of the file costs a tenth (systemd.md, 1.2).
    machine.sh("systemd-analyze security --no-pager --threshold=12 hotcore.service");
    let process = machine.property("hotcore.service", "MainPID");
    for task in machine.sh(&format!("ls /proc/{process}/task")).lines() {
        let status = machine.sh(&format!("cat /proc/{process}/task/{task}/status"));
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000\n")), "{status}");
        }
        assert!(status.contains("NoNewPrivs:\t1\n") && status.contains("Seccomp:\t2\n"), "{status}");
        let user = machine.sh("id --user hotcore");
        assert!(status.contains(&format!("Uid:\t{user}\t{user}\t{user}\t{user}\n")), "{status}");
    }

    let before = traces(&machine);
    // From elsewhere, and as the installed program by way of its link.
    for program in [hotcore.as_str(), "/usr/local/bin/hotcore"] {
        let said = machine.sh(&format!("{program} install"));
        assert!(outcomes(&said).iter().all(|outcome| *outcome == "already so"), "{program}: {said}");
        assert_eq!(traces(&machine), before, "{program}");
    }
}

/// B204, B115.
#[test]
fn an_upgrade_while_requests_run_loses_none() {
    let machine = Machine::boot(Root::Debian);
    let (hotcore, apps) = (given(&machine), folder());
    machine.sh(&format!("{hotcore} install"));
    let app = machine.inside(|| Backend::app("first", apps.path()));
    let chat = machine.inside(|| Backend::python_echo("chat"));
    machine.sh(&format!(
        "hotcore=/usr/local/bin/hotcore; $hotcore add app.localhost {}; $hotcore add chat.localhost {}",
        app.port, chat.port
    ));
    let http = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let load = machine.inside(|| Load::start(http, "app.localhost", 4, &["first"]));
    let mut tunnel = machine.inside(|| WebSocket::connect(http, "chat.localhost").unwrap());
    load.wait_for_more(100);

    let process = machine.property("hotcore.service", "MainPID");
    let other = machine.give(&other_version(&apps));
    let output = machine.try_sh(&format!("{other} install"));
    assert!(output.status.success(), "{}", words(&output));
    let said = words(&output);
    for step in ["program /opt/hotcore/bin/hotcore", "capability", "service handed over to the new program"] {
        assert!(said.contains(&format!("done        {step}")), "{step}: {said}");
    }
    assert_eq!(said.matches("done  ").count(), 3, "{said}");
    assert_ne!(machine.property("hotcore.service", "MainPID"), process);
    assert_eq!(
        machine.sh("cmp /opt/hotcore/bin/hotcore /t/hotcore-other && getcap /opt/hotcore/bin/hotcore | wc --lines"),
        "1"
    );
    load.wait_for_more(100);
    assert!(!said.contains("by a restart"), "{said}");
    load.finish();
    assert_eq!(tunnel.ask("still there?").unwrap(), "chat: still there?");
    assert_eq!(
        outcomes(&machine.sh(&format!("{other} install"))).iter().filter(|outcome| **outcome == "done").count(),
        0
    );

    // The run before ended behind the copy: the process is of the old program still.
    machine.sh("cp /opt/hotcore/bin/hotcore /opt/hotcore/bin/x && mv /opt/hotcore/bin/x /opt/hotcore/bin/hotcore");
    let said = machine.sh("/opt/hotcore/bin/hotcore install");
    assert!(said.contains("done        service handed over"), "{said}");
}

/// B205: where a hand-over was tried and failed, the present process serves on; where the program knows none, a restart does.
#[test]
fn an_upgrade_that_cannot_be_handed_over_says_what_became_of_it() {
    let (machine, apps) = (Machine::boot(Root::Debian), folder());
    let hotcore = given(&machine);
    machine.sh(&format!("{hotcore} install && mkdir /etc/systemd/system/hotcore.service.d"));
    let other = machine.give(&other_version(&apps));
    let process = || machine.property("hotcore.service", "MainPID");
    let ends_with = |code: u32| {
        let text = format!("[Service]\nExecReload=\nExecReload=/bin/sh -c 'exit {code}'\n");
        machine.write("/etc/systemd/system/hotcore.service.d/test.conf", &text);
        machine.sh("systemctl daemon-reload");
    };
    let before = process();
    ends_with(1);
    let output = machine.try_sh(&format!("{other} install"));
    let said = words(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the present process serves on") && said.contains("run this again"), "{said}");
    assert_eq!((process(), machine.sh("/usr/local/bin/hotcore check").as_str()), (before.clone(), "ok"));
    // Again, with the program in its place already.
    ends_with(2);
    let output = machine.try_sh(&format!("{other} install"));
    let said = words(&output);
    assert!(output.status.success() && said.contains("by a restart") && said.matches("done  ").count() == 1, "{said}");
    assert_ne!(process(), before);
    assert_eq!(machine.failed_units(), "");
}

/// Whatever has been there before comes out of it again as it was: files, units, rules of the firewall. State and user stay.
#[test]
fn a_removal_leaves_rules_and_certificates_and_nothing_else() {
    for (root, firewall) in [(Root::Debian, "ufw"), (Root::Fedora, "firewalld")] {
        let machine = Machine::boot(root);
        let hotcore = given(&machine);
        let rules = match firewall {
            "ufw" => {
                machine.sh("ufw --force enable");
                "ufw status"
            }
            _ => {
                wait_for("firewalld", PATIENCE, || {
                    machine.try_sh("firewall-cmd --state").status.success().then_some(())
                });
                "firewall-cmd --list-services; firewall-cmd --permanent --list-services"
            }
        };
        let (before, closed) = (files(&machine), machine.sh(rules));
        let said = machine.sh(&format!("{hotcore} install"));
        assert!(said.contains(&format!("done        ports 80 and 443 opened in {firewall}")), "{said}");
        assert!(machine.sh(rules).contains("hotcore"), "{}", machine.sh(rules));
        assert!(!machine.sh("nft list ruleset").contains("40608"), "systemd.md, 9");

        // What was closed since stays closed.
        if firewall == "ufw" {
            machine.sh("ufw delete allow hotcore");
            machine.sh(&format!("{hotcore} install"));
            assert_eq!(machine.sh(rules), closed);
            machine.sh("ufw allow hotcore");
        }

        machine.sh("/usr/local/bin/hotcore add app.localhost 3000");
        // A service that has failed leaves no trace either.
        machine.sh("systemctl stop hotcore && systemctl start hotcore");
        let output = machine.try_sh("/usr/local/bin/hotcore install --remove");
        let said = words(&output);
        assert!(output.status.success() && said.contains("sudo rm -r /var/lib/hotcore"), "{said}");
        let mut expected = before;
        let after = files(&machine);
        expected.extend(after.iter().filter(|file| file.starts_with("/var/lib/hotcore")).cloned());
        expected.sort();
        let (new, gone): (Vec<_>, Vec<_>) = (
            after.iter().filter(|file| !expected.contains(file)).collect(),
            expected.iter().filter(|file| !after.contains(file)).collect(),
        );
        let backups = |file: &&&String| !file.starts_with("/etc/firewalld/zones") && !file.starts_with("/etc/ufw/");
        assert!(new.iter().filter(backups).count() == 0 && gone.is_empty(), "new {new:?}, gone {gone:?}");
        assert_eq!(machine.sh(rules), closed);
        assert_eq!(machine.failed_units(), "");
        assert_eq!(machine.sh("systemctl list-units --all --state=loaded --plain --no-legend 'hotcore*'; ss --no-header -ltun 'sport = :80 or sport = :443 or sport = :40608'"), "");

        let said = machine.sh(&format!("{hotcore} install --remove"));
        assert!(outcomes(&said).iter().all(|outcome| *outcome == "already so"), "{said}");
        machine.sh(&format!("{hotcore} install"));
        assert_eq!(machine.sh("/usr/local/bin/hotcore list"), "app.localhost 3000", "rules were kept");
    }
}

/// B222, B224: the person's service, on loopback alone, with the CA of the person's mkcert, which is found in the person's home.
#[test]
fn a_local_install_is_its_persons_and_uses_the_persons_mkcert() {
    const TEST: &str = "a_local_install_is_its_persons_and_uses_the_persons_mkcert";
    let mkcert = Path::new("/usr/bin/mkcert");
    if !mkcert.exists() {
        return skip(TEST, "no mkcert");
    }
    let machine = Machine::boot(Root::Debian);
    let (hotcore, mkcert, apps) = (given(&machine), machine.give(mkcert), folder());
    machine.sh(&format!("useradd --create-home ann && install -D --owner=ann {mkcert} /home/ann/go/bin/mkcert"));

    let output = machine.try_sh(&format!("{hotcore} install --local"));
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(words(&output).contains("sudo hotcore install --local"), "{}", words(&output));

    let install = format!("SUDO_USER=ann {hotcore} install --local 2>&1");
    let said = machine.sh(&install);
    assert!(said.contains("plain HTTP only") && said.contains("mkcert -install"), "{said}");
    assert!(said.contains("127.0.0.1 and [::1]"), "{said}");
    assert!(!said.contains("user hotcore") && !machine.try_sh("id hotcore").status.success(), "{said}");
    let process = machine.property("hotcore.service", "MainPID");
    assert_eq!(machine.sh(&format!("stat --format=%U /proc/{process} /var/lib/hotcore")), "ann\nann");
    let listening = machine.sh("ss --no-header -ltn 'sport = :80 or sport = :443' | awk '{print $4}' | sort");
    let expected = ["127.0.0.1%lo:443", "127.0.0.1%lo:80", "[::1]%lo:443", "[::1]%lo:80"];
    assert_eq!(listening.lines().collect::<Vec<_>>(), expected);

    // A CA in a place that only this person's environment would name.
    machine.sh("cd / && setpriv --reuid=ann --regid=ann --clear-groups env HOME=/home/ann CAROOT='/home/ann/my CA' TRUST_STORES=none /home/ann/go/bin/mkcert -cert-file /tmp/x -key-file /tmp/y x.test");
    let said = machine.sh(&format!("CAROOT='/home/ann/my CA' {install}"));
    assert!(said.contains("HTTPS by the CA of mkcert in /home/ann/my CA"), "{said}");
    assert!(said.contains("done        service restarted with the new unit"), "{said}");
    let app = machine.inside(|| Backend::app("mine", apps.path()));
    machine.sh(&format!("/usr/local/bin/hotcore add app.localhost {}", app.port));
    let visit = "curl --silent --show-error --fail --cacert '/home/ann/my CA/rootCA.pem' https://app.localhost/";
    let answer = wait_for("a certificate by mkcert", PATIENCE, || {
        let output = machine.try_sh(visit);
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    });
    assert_eq!(answer, "mine");
    assert_eq!(machine.property("hotcore.service", "NRestarts"), "0", "restarted once, by the install");

    let again = machine.sh(&format!("CAROOT='/home/ann/my CA' {install}"));
    assert!(again.contains("already so") && !again.contains("done "), "{again}");
    let output = machine.try_sh(&format!("{hotcore} install"));
    assert!(!output.status.success() && words(&output).contains("install --local"), "{}", words(&output));
    machine.sh(&format!("{hotcore} install --remove"));
    assert_eq!(machine.failed_units(), "");
    assert!(!machine.try_sh("ls /opt/hotcore").status.success());
}

/// Each refusal comes before anything was changed.
#[test]
fn what_stands_in_the_way_is_named_and_nothing_is_changed() {
    let machine = Machine::boot(Root::Debian);
    let hotcore = given(&machine);
    let before = files(&machine);
    let refused = |expected: &[&str]| {
        let output = machine.try_sh(&format!("{hotcore} install"));
        let said = words(&output);
        assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(1), true), "{said}");
        for text in expected.iter().chain(&["nothing was changed"]) {
            assert!(said.contains(text), "{text}: {said}");
        }
    };
    // A program inside, one outside that cannot be seen, and both kinds of sockets.
    machine.sh("systemd-run --quiet --unit=web python3 -m http.server 80");
    wait_for("the other server", PATIENCE, || {
        machine.try_sh("curl --silent --fail http://127.0.0.1/").status.success().then_some(())
    });
    let holder = machine.property("web.service", "MainPID");
    refused(&[&format!("TCP port 80 is taken by python3 (process {holder})"), &format!("systemctl status {holder}")]);
    machine.sh("systemctl stop web");
    let held = machine.inside(|| {
        let all = TcpListener::bind("0.0.0.0:443").unwrap();
        (all, UdpSocket::bind("127.0.0.1:40608").unwrap())
    });
    refused(&["TCP port 443 is taken by another program; UDP port 40608 is taken by another program", "ss -ltnp"]);
    drop(held);

    machine.write("/etc/systemd/system/hotcore.service", "[Service]\nExecStart=/bin/true\n");
    refused(&["/etc/systemd/system/hotcore.service was not made by hotcore install"]);
    machine.sh("rm /etc/systemd/system/hotcore.service");
    machine.write("/usr/lib/systemd/system/hotcore.service", "[Service]\nExecStart=/bin/true\n");
    refused(&["installed by a package: /usr/lib/systemd/system/hotcore.service"]);
    machine.sh("rm /usr/lib/systemd/system/hotcore.service");
    machine.sh("cp /var/lib/dpkg/status /root/status");
    let package = "\nPackage: hotcore\nStatus: install ok installed\nMaintainer: x <x@y.z>\nArchitecture: amd64\nVersion: 1\nDescription: x\n";
    machine.sh(&format!("printf '{}' >> /var/lib/dpkg/status", package.replace('\n', "\\n")));
    refused(&["installed by apt: use that", "apt remove hotcore"]);
    machine.sh("cp /root/status /var/lib/dpkg/status");
    machine.sh("mount --bind /opt /opt && mount --options remount,bind,ro /opt");
    refused(&["/opt is read-only"]);
    machine.sh("mount --options remount,bind,rw,noexec /opt");
    refused(&["/opt is mounted noexec"]);
    machine.sh("umount /opt");
    let after = files(&machine);
    let new: Vec<_> = after.iter().filter(|file| !before.contains(file)).collect();
    assert!(new.is_empty(), "{new:?}");

    // What can be done without is left, and said.
    machine.sh("mkdir -p /home/ann && ln -s /home/ann/hotcore /usr/local/bin/hotcore && chmod -x /usr/sbin/setcap");
    let said = machine.sh(&format!("{hotcore} install"));
    assert!(said.contains("left        link /usr/local/bin/hotcore: a link to /home/ann/hotcore is there"), "{said}");
    assert!(said.contains("libcap2-bin"), "{said}");
    assert_eq!(machine.sh("readlink /usr/local/bin/hotcore"), "/home/ann/hotcore");
    machine.sh(
        "curl --silent http://127.0.0.1/ > /dev/null && systemctl restart hotcore && curl --silent http://127.0.0.1/",
    );
    // A service that fails for ever is removed like any other.
    machine.sh("chmod -x /opt/hotcore/bin/hotcore && kill -KILL $(systemctl show --value --property=MainPID hotcore)");
    let output = run(machine.command(&hotcore).args(["install", "--remove"]));
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(machine.failed_units(), "");
    succeed(machine.command("test").args(["-L", "/usr/local/bin/hotcore"]));
}
