//! Disks that are full, read-only or failing: new rules are refused with the reason, nothing else is affected (B195, B196).

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::{Pid, Uid},
};

use crate::rig::{Backend, Client, Control, Daemon, PATIENCE, folder, note, skip, succeed, wait_for, works};

/// B196: so soon after the disk is well again rules are taken again.
const RECOVERY: Duration = Duration::from_secs(1);

/// A file system in memory, unmounted when dropped.
pub(crate) struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    pub(crate) fn mount(options: &str) -> Self {
        let folder = folder();
        succeed(Command::new("mount").args(["-t", "tmpfs", "-o", options, "hotcore-test"]).arg(folder.path()));
        Self(folder)
    }

    fn remount(&self, options: &str) -> bool {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{options}")]).arg(self.0.path()).stderr(Stdio::null());
        command.status().unwrap().success()
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing more fits; removing the file gives the space back.
    pub(crate) fn fill(&self) -> std::path::PathBuf {
        let path = self.path().join("ballast");
        let mut file = File::create(&path).unwrap();
        for size in [65_536, 4_096, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

pub(crate) fn is_root(test: &str) -> bool {
    let root = Uid::effective().is_root();
    if !root {
        skip(test, "needs root");
    }
    root
}

/// Adds rules until one is refused; every `ok` is noted in `acknowledged`.
fn add_until_refused(control: &Control, acknowledged: &mut Vec<String>) -> String {
    for number in 0..1_000_000 {
        let domain = format!("site-{}-{number}.example", acknowledged.len());
        let reply = control.ask(&format!("add {domain} 3000"));
        if reply != format!("ok {domain} 3000") {
            return reply;
        }
        acknowledged.push(domain);
    }
    panic!("never refused");
}

/// Asks until a rule is taken, and says how long that took.
fn add_until_taken(control: &Control, domain: &str) -> Duration {
    let begun = Instant::now();
    wait_for("a rule to be taken again", PATIENCE, || {
        (control.ask(&format!("add {domain} 3000")) == format!("ok {domain} 3000")).then_some(())
    });
    begun.elapsed()
}

fn routes(daemon: &Daemon) {
    let answer = Client::connect(daemon.http).unwrap().get("app.example", "/").unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "the app"));
}

fn survived(state: &Path, acknowledged: &[String]) {
    let listed = Daemon::start(state).commands().list();
    let lost: Vec<_> = acknowledged.iter().filter(|domain| !listed.contains_key(*domain)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged rules lost: {:?}",
        lost.len(),
        acknowledged.len(),
        &lost[..lost.len().min(5)]
    );
}

#[test]
fn a_full_disk_refuses_rules_and_routes_on() {
    if !is_root("a_full_disk_refuses_rules_and_routes_on") {
        return;
    }
    let (disk, files) = (Tmpfs::mount("size=1m"), folder());
    let daemon = Daemon::start(disk.path());
    let app = Backend::app("the app", files.path());
    let control = daemon.commands();
    control.add("app.example", app.port);
    let mut acknowledged = vec!["app.example".to_owned()];

    for _ in 0..3 {
        let ballast = disk.fill();
        let refusal = add_until_refused(&control, &mut acknowledged);
        assert!(refusal.starts_with("error ") && refusal.to_lowercase().contains("space"), "{refusal}");
        for _ in 0..20 {
            assert!(control.ask("add another.example 3000").starts_with("error "), "a full disk took a rule");
            routes(&daemon);
        }
        assert!(!control.list().contains_key("another.example"), "a refused rule routes");
        fs::remove_file(ballast).unwrap();
        let waited = add_until_taken(&control, "back.example");
        note(&format!("rules taken again {waited:?} after space came back"));
        assert!(waited <= RECOVERY, "{waited:?}");
        acknowledged.push("back.example".to_owned());
        assert_eq!(control.ask("remove back.example"), "ok back.example removed");
        acknowledged.pop();
    }
    daemon.kill();
    survived(disk.path(), &acknowledged);
}

/// B196: a start never fails for it.
#[test]
fn a_read_only_disk_is_served_from_and_refuses_rules() {
    if !is_root("a_read_only_disk_is_served_from_and_refuses_rules") {
        return;
    }
    let (disk, files) = (Tmpfs::mount("size=8m"), folder());
    let app = Backend::app("the app", files.path());
    let daemon = Daemon::start(disk.path());
    daemon.commands().add("app.example", app.port);
    daemon.kill();

    assert!(disk.remount("ro"), "nobody writes, so it can be remounted");
    let daemon = Daemon::start(disk.path());
    let control = daemon.commands();
    routes(&daemon);
    let refusal = control.ask("add other.example 3000");
    assert!(refusal.starts_with("error ") && refusal.to_lowercase().contains("read-only"), "{refusal}");
    assert_eq!(control.ask("check"), "kcehc");
    routes(&daemon);

    assert!(disk.remount("rw"));
    let waited = add_until_taken(&control, "back.example");
    note(&format!("rules taken again {waited:?} after the disk became writable"));
    assert!(waited <= RECOVERY, "{waited:?}");
    daemon.kill();
    survived(disk.path(), &["app.example".to_owned(), "back.example".to_owned()]);
}

/// strace, attached to a running daemon, that makes every sync fail; dropped, it lets go.
struct FailingSyncs(Child);

impl FailingSyncs {
    fn of(daemon: &Daemon) -> Self {
        let mut child = Command::new("strace")
            .args(["-f", "-p", &daemon.pid().to_string(), "-e", "trace=fdatasync,fsync"])
            .args(["-e", "inject=fdatasync,fsync:error=EIO"])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let attached = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("attached")));
        assert!(attached.is_some(), "strace did not attach");
        // It blocks when nobody reads what it prints.
        std::thread::Builder::new().spawn(move || lines.for_each(drop)).unwrap();
        Self(child)
    }
}

impl Drop for FailingSyncs {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

/// B195: after a failed sync nothing is acknowledged that is not on disk for sure.
#[test]
fn failing_syncs_never_give_a_false_ok() {
    let test = "failing_syncs_never_give_a_false_ok";
    if !is_root(test) {
        return;
    }
    if !works("strace", &["-e", "inject=fdatasync:error=EIO", "true"]) {
        return skip(test, "strace cannot inject errors here");
    }
    let (state, files) = (folder(), folder());
    let daemon = Daemon::start(state.path());
    let app = Backend::app("the app", files.path());
    let control = daemon.commands();
    control.add("app.example", app.port);
    let mut acknowledged = vec!["app.example".to_owned()];

    for round in 0..3 {
        let failing = FailingSyncs::of(&daemon);
        for number in 0..10 {
            let reply = control.ask(&format!("add refused-{round}-{number}.example 3000"));
            assert!(reply.starts_with("error "), "while every sync fails: {reply}");
            routes(&daemon);
        }
        assert!(!control.list().keys().any(|domain| domain.starts_with("refused-")), "a refused rule routes");
        drop(failing);
        let domain = format!("back-{round}.example");
        let waited = add_until_taken(&control, &domain);
        note(&format!("rules taken again {waited:?} after syncs stopped failing"));
        assert!(waited <= RECOVERY, "{waited:?}");
        acknowledged.push(domain);
    }
    daemon.kill();
    survived(state.path(), &acknowledged);
}
