//! What the process of the installed service could do if somebody took it over: nothing but write to its state folder and talk to
//! the network.
//!
//! The attempts are made by a script that the very unit runs in the place of the program. The same script runs as the same user
//! without the unit, and as root: what is refused there as well would prove nothing about the unit.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use nix::libc::{SYS_mmap, SYS_ptrace};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use crate::rig::{Backend, Installed, Machine, PATIENCE, Root, deb, wait_for};

/// The least who can do something on this machine without the unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Can {
    User,
    Root,
}

/// What is attempted; `@` and `%` stand for the numbers of ptrace and mmap.
const ATTEMPTS: &[(&str, Can, &str)] = &[
    ("write to /srv", Can::User, ": > /srv/open/x"),
    ("write to /etc", Can::User, ": > /etc/open/x"),
    ("write to /usr", Can::User, ": > /usr/open/x"),
    ("write to /run", Can::User, ": > /run/open/x"),
    ("write to /var", Can::User, ": > /var/open/x"),
    ("write to /run/lock", Can::User, ": > /run/lock/x"),
    ("write to /dev/shm", Can::User, ": > /dev/shm/x"),
    ("see the /tmp of others", Can::User, "test -e /tmp/outside"),
    ("see a home", Can::User, "test -e /home/someone/letter"),
    ("see another process", Can::User, "test -e /proc/1/comm"),
    ("see the kernel's settings", Can::User, "cat /proc/sys/kernel/hostname"),
    ("see the message bus", Can::User, "test -S /run/dbus/system_bus_socket"),
    ("talk to the kernel by netlink", Can::User, "perl -e 'socket(my $s, 16, 3, 0) or exit 1'"),
    ("sniff packets", Can::Root, "perl -e 'socket(my $s, 17, 3, 0x300) or exit 1'"),
    (
        "have a port below 1024",
        Can::Root,
        "perl -MSocket -e 'socket(my $s, 2, 1, 0); bind($s, sockaddr_in(81, INADDR_ANY)) or exit 1'",
    ),
    (
        "trace a process",
        Can::User,
        "sleep 9 & perl -e 'exit(syscall(@, 16, shift) == -1)' $!; e=$?; kill -9 $!; exit $e",
    ),
    ("make code", Can::User, "perl -e 'exit(syscall(%, 0, 4096, 7, 0x22, -1, 0) == -1)'"),
    ("make a program that gives its rights", Can::User, "f=$(mktemp) && chmod u+s $f"),
    ("choose a processor", Can::User, "taskset -c 0 true"),
    ("choose how programs are loaded", Can::User, "setarch -R true"),
    ("make a namespace", Can::Root, "unshare --net true"),
    ("mount", Can::Root, "mount -t tmpfs none /mnt && umount /mnt"),
    ("make a device", Can::Root, "f=$(mktemp -u) && mknod $f c 1 3"),
    ("run in real time", Can::Root, "chrt -f 1 true"),
    ("rename the machine", Can::Root, "perl -e 'exit(syscall($ARGV[0], \"vm\", 2) == -1)' $sethostname"),
    ("become somebody else", Can::Root, "setpriv --reuid=1 true"),
    ("end a process of root", Can::Root, "kill -0 1"),
];

/// B220, S6. What the unit takes away, looked at from outside and tried from inside; and all that hotcore does works without it.
#[test]
fn the_process_of_the_service_can_do_nothing_but_its_work() {
    let installed = Installed::from_deb(Machine::boot(Root::Debian), &deb("0.1.0-1"));
    let machine = &installed.machine;
    everything_works(&installed);
    nothing_is_held(&installed);
    let files = machine.sh("find /var/lib/hotcore ! -user hotcore -o ! -group hotcore -o -perm /077");
    assert_eq!(files, "", "others could read these");
    for key in ["ca-*/_account", "ca-*/app.example.pem", "own/own.example.pem"] {
        assert_eq!(machine.sh(&format!("stat --format=%a /var/lib/hotcore/certificates/{key}")), "600", "{key}");
    }
    assert_eq!(machine.sh("stat --format='%a %U' /var/lib/hotcore"), "700 hotcore");
    machine.sh("systemd-analyze security --no-pager --threshold=11 hotcore.service");

    only_the_state_folder_can_be_written_to(machine);

    machine.sh("systemctl restart hotcore");
    assert!(machine.sh("hotcore list").contains("own.example"), "it is what it was");
    let journal = machine.journal("hotcore");
    for word in ["not permitted", "denied", "Read-only", "EPERM", "a bug"] {
        assert!(!journal.contains(word), "{word}: {journal}");
    }
    assert_eq!(machine.failed_units(), "");
}

/// A CA's certificate, a person's, the log with its levels.
fn everything_works(installed: &Installed) {
    let machine = &installed.machine;
    let app = machine.inside(|| Backend::app("the app", Path::new("/")));
    installed.add_site("app.example", app.port);
    installed.root();
    fs::write(machine.share().join("own.pem"), own_certificate("own.example")).unwrap();
    machine.sh(&format!("echo 127.0.0.1 own.example >> /etc/hosts && hotcore add own.example {}", app.port));
    machine.sh("hotcore cert own.example /t/own.pem");
    wait_for("the person's certificate", PATIENCE, || {
        machine.sh("hotcore msg certs").contains("own.example own ").then_some(())
    });
    machine.sh("systemctl restart hotcore");
    for (domain, root) in [("app.example", "root.pem"), ("own.example", "own.pem")] {
        let visit = format!("curl --silent --show-error --fail --cacert /t/{root} https://{domain}/");
        assert_eq!(machine.sh(&visit), "the app");
    }
    let mut log = machine.command("hotcore").arg("log").stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(log.stdout.take().unwrap()).lines();
    let found = lines.map_while(Result::ok).find(|line| line.contains("serves"));
    let _ = log.kill();
    let _ = log.wait();
    assert!(found.is_some(), "`hotcore log` is the journal");
    // That nothing can sign a local name here is worth a warning; that hotcore serves is not.
    let level =
        |name: &str| machine.sh(&format!("journalctl --unit=hotcore --priority={name} --output=cat --no-pager"));
    assert!(level("info..info").contains("HTTPS on [::]:443"));
    machine.sh("hotcore add app.test 9");
    wait_for("a warning about local names", PATIENCE, || level("err..warning").contains("local names").then_some(()));
    assert!(!level("warning").contains("serves"), "{}", level("warning"));
}

/// `/proc/PID/status` of every thread.
fn nothing_is_held(installed: &Installed) {
    let process = installed.main_process();
    let user = installed.machine.sh("id --user hotcore");
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        let fact = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(&format!("{name}:")));
            line.unwrap_or_else(|| panic!("no {name}: {status}"))
                .split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        };
        for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(fact(name), "0000000000000000", "{name}");
        }
        assert_eq!((fact("NoNewPrivs").as_str(), fact("Seccomp").as_str()), ("1", "2"));
        assert_eq!(fact("Uid"), [user.as_str(); 4].join(" "));
        assert_eq!(fact("Groups"), installed.machine.sh("id --group hotcore"));
        threads += 1;
    }
    assert!(threads > 3, "workers, control, commit, certificates, log: {threads}");
}

fn only_the_state_folder_can_be_written_to(machine: &Machine) {
    machine.sh("for d in /srv /etc /usr /run /var; do mkdir -m 777 $d/open; done; touch /tmp/outside");
    machine.sh("mkdir -m 755 /home/someone && touch /home/someone/letter");
    machine.write("/t/attempts", &script());
    let read = |text: &str| -> BTreeMap<String, bool> {
        let lines = text.lines().filter_map(|line| line.rsplit_once(": "));
        lines.map(|(what, outcome)| (what.to_owned(), outcome == "done")).collect()
    };
    let run = "systemd-run --quiet --wait --pipe";
    let as_root = read(&machine.sh(&format!("{run} sh /t/attempts 2>/dev/null")));
    machine.sh("find /srv/open /etc/open /usr/open /run/open /var/open /run/lock/x /dev/shm/x -type f -delete");
    let as_user = read(&machine.sh(&format!("{run} --uid=hotcore sh /t/attempts 2>/dev/null")));
    machine.sh("find /srv/open /etc/open /usr/open /run/open /var/open /run/lock/x /dev/shm/x -type f -delete");

    let said = "/var/lib/hotcore/said";
    let find = "find / -path /proc -prune -o \\( -type d -o -type f \\) -writable -print";
    let command = format!(
        "sh /t/attempts > {said} 2>/dev/null; {find} > {said}.files 2>/dev/null; ls /proc > {said}.proc; find /dev -type b -o -type c > {said}.dev 2> /dev/null; true"
    );
    machine.write("/t/probe", &command);
    let settings = "[Service]\nExecStart=\nExecStart=/bin/sh /t/probe\nType=oneshot\nRestart=no\nWatchdogSec=0\n";
    machine.drop_in("hotcore.service", "probe", settings);
    machine.sh("systemctl restart hotcore");
    let in_the_unit = read(&machine.sh(&format!("cat {said}")));
    for (what, who, _) in ATTEMPTS {
        let outcomes = [&in_the_unit, &as_user, &as_root].map(|all| all.get(*what).copied());
        let expected = match who {
            Can::User => [Some(false), Some(true), Some(true)],
            Can::Root => [Some(false), Some(false), Some(true)],
        };
        // Root owns no part of this machine that the user does not; what is the user's own is not asked of root.
        assert_eq!(outcomes, expected, "to {what}: in the unit, as user hotcore, as root");
    }

    let files = machine.sh(&format!("cat {said}.files"));
    let is_own = |path: &&str| ["/var/lib/hotcore", "/tmp", "/var/tmp"].iter().any(|own| path.starts_with(own));
    assert_eq!(files.lines().filter(|path| !is_own(path)).collect::<Vec<_>>(), [""; 0], "these can be written to");
    assert!(files.contains("/var/lib/hotcore"), "the search finds what there is: {files}");
    let devices = machine.sh(&format!("cat {said}.dev"));
    let harmless = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts/ptmx"];
    for device in devices.lines() {
        assert!(harmless.iter().any(|name| device == format!("/dev/{name}")), "{device}");
    }
    let processes = machine.sh(&format!("grep -c '^[0-9]' {said}.proc"));
    assert!(processes.parse::<u32>().unwrap() <= 3, "only its own: {processes}");
    machine.sh(&format!("rm -f {said} {said}.*; rm -rf /srv/open /etc/open /usr/open /run/open /var/open"));
    machine.drop_in("hotcore.service", "probe", "");
}

/// Tells of each attempt whether it was done.
fn script() -> String {
    let mut script = format!("sethostname={}\n", nix::libc::SYS_sethostname);
    for (what, _, attempt) in ATTEMPTS {
        let attempt = attempt.replace('@', &SYS_ptrace.to_string()).replace('%', &SYS_mmap.to_string());
        writeln!(script, "if ({attempt}) > /dev/null 2>&1; then echo '{what}: done'; else echo '{what}: refused'; fi")
            .unwrap();
    }
    script
}

/// Signed by itself, with its key.
fn own_certificate(domain: &str) -> String {
    let key = KeyPair::generate().unwrap();
    let mut certificate = CertificateParams::new(vec![domain.to_owned()]).unwrap();
    (certificate.not_before, certificate.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
    certificate.self_signed(&key).unwrap().pem() + &key.serialize_pem()
}
