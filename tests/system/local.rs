//! The README's first promise, typed as it stands there, in a network of its own so that ports 80, 443 and 40608 are free.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use nix::unistd::{Gid, Uid, chown};
use tempfile::TempDir;

use crate::rig::{Backend, Daemon, PATIENCE, beside, folder, run, skip, succeed, wait_for, works};

/// A user without rights, on every machine.
const NOBODY: u32 = 65534;

#[test]
fn serve_local_and_add_make_app_localhost_work() {
    if let Some(machine) = Machine::new("serve_local_and_add_make_app_localhost_work") {
        let daemon = machine.serve();
        machine.shows_the_app(&daemon, "http://app.localhost");
    }
}

/// B222: who may not listen on 80 and 443 gets 8080 and 8443, on loopback alone, in both families, and is told so.
#[test]
fn without_rights_serve_local_takes_port_8080_and_says_so() {
    if let Some(machine) = Machine::new("without_rights_serve_local_takes_port_8080_and_says_so") {
        let daemon = machine.serve_as(NOBODY, |_| {});
        machine.shows_the_app(&daemon, "http://app.localhost:8080");
        let status = succeed(&mut machine.inside(&daemon, &[&machine.hotcore, "status"]));
        let lines: Vec<_> = status.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in ["http 127.0.0.1:8080 [::1]:8080", "https 127.0.0.1:8443 [::1]:8443"] {
            assert!(lines.iter().any(|shown| shown == line), "no {line} in {status}");
        }
        let log = daemon.log();
        assert!(log.contains("port 80 is not allowed for this user: HTTP listens on port 8080"), "{log}");
    }
}

/// The log is its owner's alone: whoever asks for it gets the command that shows it, and no `tail` that tries for ever.
#[test]
fn somebody_elses_log_is_not_waited_for() {
    if let Some(machine) = Machine::new("somebody_elses_log_is_not_waited_for") {
        let daemon = machine.serve();
        let nobody = NOBODY.to_string();
        let words = ["setpriv", "--reuid", &nobody, "--regid", &nobody, "--clear-groups", &machine.hotcore, "log"];
        let output = run(&mut machine.inside(&daemon, &words));
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{talk}");
        assert!(talk.contains("hotcore.log: Permission denied") && talk.contains("sudo hotcore log"), "{talk}");
    }
}

/// A network of its own, in which nothing listens yet, and a folder for the rules.
pub(crate) struct Machine {
    pub(crate) state: TempDir,
    files: TempDir,
    /// The program, where every user may run it.
    pub(crate) hotcore: String,
}

impl Machine {
    pub(crate) fn new(test: &str) -> Option<Self> {
        if !Uid::effective().is_root() || !works("unshare", &["--net", "ip", "link", "set", "lo", "up"]) {
            skip(test, "needs root and network namespaces");
            return None;
        }
        let (state, files) = (folder(), folder());
        let hotcore = files.path().join("hotcore");
        fs::copy(Daemon::program().get_program(), &hotcore).unwrap();
        for path in [files.path(), &hotcore] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Some(Self { state, hotcore: hotcore.to_str().unwrap().to_owned(), files })
    }

    /// The daemon, as the README starts it, by root.
    pub(crate) fn serve(&self) -> Daemon {
        self.serve_by(&[], |_| {})
    }

    /// The same by an ordinary user, whose environment `change` prepares.
    pub(crate) fn serve_as(&self, user: u32, change: impl FnOnce(&mut Command)) -> Daemon {
        chown(self.state.path(), Some(Uid::from_raw(user)), Some(Gid::from_raw(user))).unwrap();
        let user = user.to_string();
        self.serve_by(&["/usr/bin/setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"], change)
    }

    fn serve_by(&self, switch: &[&str], change: impl FnOnce(&mut Command)) -> Daemon {
        let mut command = Command::new("/usr/bin/unshare");
        command
            .args(["--net", "/bin/sh", "-c", "PATH=$PATH:/usr/sbin:/usr/bin ip link set lo up && exec \"$@\"", "sh"])
            .args(switch);
        change(&mut command);
        command.args([&self.hotcore, "serve", "--local", "--state"]).arg(self.state.path());
        let daemon = Daemon::spawn(&mut command, self.state.path());
        wait_for("hotcore check", PATIENCE, || {
            self.inside(&daemon, &[&self.hotcore, "check"]).output().unwrap().status.success().then_some(())
        });
        daemon
    }

    /// A command in the network of the daemon.
    pub(crate) fn inside(&self, daemon: &Daemon, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &daemon.pid().to_string(), "--"]).args(words);
        command
    }

    /// The app that the README speaks of.
    pub(crate) fn app(&self, daemon: &Daemon) -> Backend {
        let app: &Path = &beside("backends/app.js");
        let mut app = self.inside(daemon, &["node", app.to_str().unwrap(), "the app", "3000"]);
        Backend::start(app.arg(self.files.path()))
    }

    fn shows_the_app(&self, daemon: &Daemon, address: &str) {
        let _app = self.app(daemon);
        succeed(&mut self.inside(daemon, &[&self.hotcore, "add", "app.localhost", "3000"]));
        let shown = self.inside(daemon, &["curl", "--silent", "--show-error", "--fail", address]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&shown.stdout), "the app", "{shown:?}");
    }
}
