//! docs/OPERATING.md: what it says of a machine is so, and its commands do what it says. They are read from the page.

use std::{
    fs,
    net::UdpSocket,
    os::unix::fs::PermissionsExt,
    process::Command,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use crate::rig::{Backend, Installed, Machine, PATIENCE, Root, beside, deb, succeed, wait_for};

const VERSION: &str = "0.1.0-1";
const NAME: &str = "a-app.example";

/// The blocks of code under a heading of the page.
fn blocks(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(beside("../../docs/OPERATING.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading}"));
    let section = section.split("\n#").next().unwrap();
    let blocks = section.split("\n```").skip(1).step_by(2);
    blocks.map(|block| block.split_once('\n').unwrap().1.to_owned()).collect()
}

/// The one block of commands under a heading.
fn commands(heading: &str) -> String {
    let [block] = &blocks(heading)[..] else { panic!("{heading}: one block is expected") };
    block.clone()
}

/// Who types the commands is root already.
fn give_sudo(machine: &Machine) {
    machine.write("/usr/bin/sudo", "#!/bin/sh\nexec \"$@\"\n");
    machine.sh("chmod 755 /usr/bin/sudo");
}

fn wait_until_it_answers(machine: &Machine) {
    wait_for("hotcore to answer", PATIENCE, || machine.try_sh("hotcore check").status.success().then_some(()));
}

/// Adds rules without a pause until it is told to stop; counts what was acknowledged.
fn add_rules(until: &AtomicBool, acknowledged: &AtomicUsize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect("127.0.0.1:40608").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    while !until.load(Ordering::SeqCst) {
        let number = acknowledged.load(Ordering::SeqCst);
        socket.send(format!("add n{number}.example 9000").as_bytes()).unwrap();
        let mut reply = [0; 1_024];
        if let Ok(length) = socket.recv(&mut reply)
            && reply[..length] == *format!("ok n{number}.example 9000").as_bytes()
        {
            acknowledged.store(number + 1, Ordering::SeqCst);
        }
    }
}

/// A backup taken while rules come in, brought to a machine where the user has another number, and no authority is there.
#[test]
fn a_backup_made_and_restored_as_the_page_says_has_every_acknowledged_rule_and_certificate() {
    let first = Installed::from_deb(Machine::boot(Root::Debian), &deb(VERSION));
    let machine = &first.machine;
    give_sudo(machine);
    let folder = machine.share().join("app");
    fs::create_dir(&folder).unwrap();
    let app = machine.inside(|| Backend::app("first", &folder));
    first.add_site(NAME, app.port);
    let root = fs::read(first.root()).unwrap();

    let (until, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let before = machine.inside(|| {
        std::thread::scope(|scope| {
            let writer = std::thread::Builder::new().spawn_scoped(scope, || add_rules(&until, &acknowledged)).unwrap();
            wait_for("rules", PATIENCE, || (acknowledged.load(Ordering::SeqCst) > 500).then_some(()));
            let mut before = 0;
            let outcome = (0..5).try_for_each(|_| {
                before = acknowledged.load(Ordering::SeqCst);
                let output = machine.try_sh(&commands("### Back up"));
                output.status.success().then_some(()).ok_or(output)
            });
            until.store(true, Ordering::SeqCst);
            writer.join().unwrap();
            assert!(acknowledged.load(Ordering::SeqCst) > before, "rules came in meanwhile");
            outcome.unwrap();
            before
        })
    });
    assert_eq!(machine.sh("ls /var/backups | grep hotcore"), "hotcore");
    assert_eq!(machine.sh("stat --format=%a /var/backups/hotcore"), "700");
    machine.sh("tar -C /var/backups -cf /t/backup.tar hotcore");
    let settings = machine.sh("cat /etc/systemd/system/hotcore.service.d/test.conf");
    let owner = machine.sh("id -u hotcore");

    let second = Machine::boot(Root::Debian);
    give_sudo(&second);
    second.sh("useradd --system first && useradd --system second");
    second.sh("mkdir -p /etc/systemd/system/hotcore.service.d");
    second.write("/etc/systemd/system/hotcore.service.d/test.conf", &format!("{settings}\n"));
    second.write("/etc/hotcore-test-ca.pem", &first.pebble.identity().root);
    let package = second.give(&deb(VERSION));
    second.sh(&format!("apt-get install --yes {package}"));
    assert_ne!(second.sh("id -u hotcore"), owner, "another number");
    fs::copy(machine.share().join("backup.tar"), second.share().join("backup.tar")).unwrap();
    fs::write(second.share().join("root.pem"), root).unwrap();
    let port = app.port;
    drop((app, first));
    second.sh("mkdir -p /var/backups && tar -C /var/backups --same-owner -xpf /t/backup.tar");

    second.try_sh(&commands("### Restore"));
    wait_until_it_answers(&second);
    assert_eq!(second.sh("find /var/lib/hotcore ! -user hotcore -o ! -group hotcore -o -perm /077"), "");
    let rules = second.sh("hotcore list");
    let rules: std::collections::BTreeSet<_> = rules.lines().collect();
    assert!(rules.contains(format!("{NAME} {port}").as_str()));
    let missing: Vec<_> = (0..before).filter(|n| !rules.contains(format!("n{n}.example 9000").as_str())).collect();
    assert!(missing.is_empty(), "{} of {before} rules are missing: {missing:?}", missing.len());
    let journal = second.journal("hotcore");
    assert!(!journal.contains("damaged") && !journal.contains("cannot read"), "{journal}");
    let folder = second.share().join("app");
    fs::create_dir(&folder).unwrap();
    let _app = second.inside(|| Backend::app_on("moved", port, &folder));
    second.sh(&format!("echo 127.0.0.1 {NAME} >> /etc/hosts"));
    assert_eq!(second.sh(&format!("curl --silent --show-error --fail --cacert /t/root.pem https://{NAME}/")), "moved");
    assert_eq!(second.failed_units(), "");
}

/// The tables of what runs, what listens, and which files there are; the drop-ins for other addresses and ports.
#[test]
fn what_the_page_says_of_a_machine_is_so() {
    let machine = Machine::boot(Root::Debian);
    give_sudo(&machine);
    let package = machine.give(&deb(VERSION));
    machine.sh(&format!("apt-get install --yes {package}"));
    wait_until_it_answers(&machine);
    assert_eq!(listening(&machine), ["tcp *:443", "tcp *:80", "udp 127.0.0.1%lo:40608", "udp [::1]%lo:40608"]);
    assert!(machine.sh("systemd-analyze security --no-pager hotcore.service").contains("hotcore.service: 1.1 OK"));
    assert_eq!(machine.sh("stat --format='%U %a' /var/lib/hotcore"), "hotcore 700");
    assert!(machine.sh("getent passwd hotcore").ends_with(":/usr/sbin/nologin"));
    assert_eq!(machine.property("hotcore.service", "NRestarts"), "0");
    machine.sh("hotcore add kept.example 8080");
    let files = machine.sh("cd /var/lib/hotcore && ls");
    let known = ["certificates", "handover.sock", "lock", "ticket-keys"];
    assert!(files.lines().all(|file| known.contains(&file) || file.starts_with("routes.log.")), "{files}");

    let page = blocks("### Other ports or addresses");
    let [_, sockets, environment, again] = &page[..] else { panic!("{page:?}") };
    machine.sh("mkdir -p /etc/systemd/system/hotcore-web.socket.d /etc/systemd/system/hotcore.service.d");
    let put = |sockets: &str, environment: &str| {
        machine.write("/etc/systemd/system/hotcore-web.socket.d/override.conf", sockets);
        machine.write("/etc/systemd/system/hotcore.service.d/override.conf", environment);
        machine.sh("systemctl daemon-reload");
        machine.try_sh(again);
        wait_until_it_answers(&machine);
        listening(&machine).into_iter().filter(|line| line.starts_with("tcp")).collect::<Vec<_>>()
    };
    assert_eq!(
        put(sockets, ""),
        ["tcp 192.0.2.7:443", "tcp 192.0.2.7:80", "tcp [2001:db8::7]:443", "tcp [2001:db8::7]:80"]
    );
    let others = "[Socket]\nListenStream=\nListenStream=8080\nListenStream=8443\n";
    assert_eq!(put(others, environment), ["tcp *:8080", "tcp *:8443"]);
    let status = machine.sh("hotcore");
    assert!(status.contains("[::]:8080") && status.contains("[::]:8443"), "{status}");
    assert_eq!(put("", ""), ["tcp *:443", "tcp *:80"]);
    machine.sh("sysctl --write net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.lo.disable_ipv6=1");
    assert_eq!(put("", ""), ["tcp *:443", "tcp *:80"]);
    assert_eq!(machine.sh("curl --silent --output /dev/null --write-out '%{http_code}' http://127.0.0.1/"), "404");

    // A stop that lasts, and the way back.
    let [stop] = &blocks("## Start, stop, and what it costs")[..] else { panic!("one block is expected") };
    machine.sh(stop);
    assert_eq!(listening(&machine), [""; 0]);
    assert_eq!(machine.try_sh("curl --silent http://127.0.0.1/").status.code(), Some(7), "refused");
    machine.try_sh("systemctl start hotcore");
    machine.sh("systemctl enable hotcore");
    wait_until_it_answers(&machine);
    assert_eq!(
        machine.sh("systemctl is-enabled hotcore.service hotcore-web.socket hotcore-control.socket"),
        "enabled\nenabled\nenabled"
    );
    assert_eq!(machine.sh("hotcore list"), "kept.example 8080");
}

/// Every socket that waits for somebody.
fn listening(machine: &Machine) -> Vec<String> {
    let lines = machine.sh("ss -Hlntu");
    let mut lines: Vec<_> = lines
        .lines()
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            format!("{} {}", words[0], words[4])
        })
        .collect();
    lines.sort();
    lines
}

/// The folder of packages looks as the page says: `install.sh` finds them by these names.
#[test]
fn the_page_names_packages_as_they_are_made() {
    let page = blocks("### A folder of packages").concat();
    let manifest = fs::read_to_string(beside("../../Cargo.toml")).unwrap();
    let version = manifest.lines().find_map(|line| line.strip_prefix("version = \"")).unwrap().trim_end_matches('"');
    for name in ["_{}-1_amd64.deb", "_{}-1_arm64.deb", "-{}-1.x86_64.rpm", "-{}-1.aarch64.rpm"] {
        let name = format!("hotcore{}", name.replace("{}", version));
        assert!(page.contains(&name), "{name}");
    }
    let script = beside("../../install.sh");
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o111, 0o111, "it can be run");
    succeed(Command::new("sh").arg("-n").arg(script));
}
