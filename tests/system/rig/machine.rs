//! A Debian machine booted with its own systemd: systemd-nspawn(1) on a root folder that mmdebstrap(1) made.
//!
//! It has a network of its own, in which only `lo` is up, and what it writes to its disk is gone with it, unless it is a
//! [`Machine::lasting`] one. Both programs need root.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{OnceLock, mpsc},
    thread,
};

use nix::{
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use super::{PATIENCE, folder, run, succeed, wait_for};

/// What every machine has. A changed list makes a new root folder.
const PACKAGES: &[&str] =
    &["systemd", "systemd-sysv", "dbus", "ca-certificates", "curl", "iproute2", "libcap2-bin", "nftables", "procps"];
/// What a machine of Debian's family has beside that.
const DEBIAN: &[&str] = &["apt", "man-db", "ufw"];
/// And one of Fedora's family, as far as Debian can play it. firewalld does not start without netbase's /etc/protocols.
const FEDORA: &[&str] = &["dnf", "firewalld", "netbase", "rpm"];
/// And one for measurements beside other proxies, as Debian installs them.
const PEERS: &[&str] = &["apt", "haproxy", "nginx-light"];
/// The release with the oldest systemd that is promised.
const SUITE: &str = "bookworm";
/// Where a machine sees [`Machine::share`].
const SHARED: &str = "/t";

/// A root folder that machines boot from, and never change.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Root {
    /// With apt and ufw.
    Debian,
    /// With dnf, rpm and firewalld.
    Fedora,
    /// With other proxies, which wait to be started.
    #[allow(dead_code, reason = "for measurements")]
    Peers,
}

impl Root {
    /// Where it is; made by the first who asks, and kept for later runs.
    fn path(self) -> PathBuf {
        static MADE: [OnceLock<PathBuf>; 3] = [const { OnceLock::new() }; 3];
        let (name, own) = match self {
            Self::Debian => ("debian", DEBIAN),
            Self::Fedora => ("fedora", FEDORA),
            Self::Peers => ("peers", PEERS),
        };
        MADE[self as usize].get_or_init(|| make(name, &[PACKAGES, own].concat())).clone()
    }
}

fn make(name: &str, packages: &[&str]) -> PathBuf {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (path, list) = (base.join(format!("root-{name}")), format!("{SUITE} {}\n", packages.join(" ")));
    // Written last: half a root folder has none.
    let mark = base.join(format!("root-{name}.packages"));
    if fs::read_to_string(&mark).is_ok_and(|made| made == list) {
        return path;
    }
    let _ = fs::remove_file(&mark);
    // By the program: it stays on this file system.
    succeed(Command::new("rm").args(["--recursive", "--force", "--one-file-system"]).arg(&path));
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", SUITE]).arg(&path).arg(format!("--include={}", packages.join(",")));
    // Manual pages are left out by some images, and are a part of what is tested.
    command.arg("--dpkgopt=path-include=/usr/share/man/*");
    // They would take the ports.
    command.arg("--customize-hook=chroot \"$1\" systemctl disable --quiet nginx haproxy 2> /dev/null || true");
    succeed(&mut command);
    fs::write(&mark, list).unwrap();
    path
}

/// Runs a line of the shell in a root folder without its systemd, as where an image is made; what it writes is forgotten. It sees
/// `share` as `/t`.
pub(crate) fn without_systemd(root: Root, share: &Path, line: &str) -> Output {
    let mut command = Command::new("systemd-nspawn");
    command.args(["--quiet", "--volatile=overlay", "--private-network", "--register=no", "--keep-unit"]);
    command.args(["--console=pipe", "--setenv=LC_ALL=C.UTF-8", "--setenv=DEBIAN_FRONTEND=noninteractive"]);
    command.arg(format!("--bind={}:{SHARED}", share.display())).arg("--directory").arg(root.path());
    // Two tests at a time, each with a name of its own.
    let name = share.file_name().unwrap().to_string_lossy().replace(['.', '_'], "");
    run(command.arg(format!("--machine={name}")).args(["sh", "-euc", line]).stdin(Stdio::null()))
}

/// A running machine; dropped, it is switched off hard.
pub(crate) struct Machine {
    container: Child,
    /// Its first process, as this machine numbers it.
    leader: Pid,
    shared: TempDir,
    disk: Disk,
    _groups: ControlGroups,
}

/// Where the kernel counts a machine's processes (cgroups(7)): of its own, as two systemds in one tree get into each other's way.
struct ControlGroups(Vec<PathBuf>);

impl ControlGroups {
    /// In the tree of cgroup v2, or in those that systemd keeps beside v1.
    fn new(name: &str) -> Self {
        let trees = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"].map(Path::new);
        let trees = trees.iter().filter(|tree| tree.join("cgroup.procs").exists());
        let groups: Vec<_> = trees.map(|tree| tree.join(name)).collect();
        for group in &groups {
            fs::create_dir_all(group).unwrap();
        }
        Self(groups)
    }

    /// A program that starts in them.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        let enter = "while [ \"$1\" != -- ]; do echo $$ > \"$1/cgroup.procs\" || exit; shift; done; shift; exec \"$@\"";
        command.args(["-uc", enter, "sh"]).args(&self.0).args(["--", program]);
        command
    }
}

impl Drop for ControlGroups {
    fn drop(&mut self) {
        // The kernel lets go of them a little after the last process has ended.
        for group in &self.0 {
            let _ = run(Command::new("find").arg(group).args(["-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]));
        }
    }
}

/// Where it writes.
enum Disk {
    /// To memory, above a root folder.
    Passing(Root),
    /// To a copy of a root folder.
    Lasting(TempDir),
}

impl Machine {
    /// Boots one whose disk is gone with it.
    pub(crate) fn boot(root: Root) -> Self {
        Self::start(Disk::Passing(root), folder())
    }

    /// Boots one that can boot again with what it wrote.
    pub(crate) fn lasting(root: Root) -> Self {
        let copy = folder();
        succeed(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(root.path().join(".")).arg(copy.path()));
        Self::start(Disk::Lasting(copy), folder())
    }

    fn start(disk: Disk, shared: TempDir) -> Self {
        let log = shared.path().join("console");
        let output = File::create(&log).unwrap();
        // The folder's name is one that nobody else has.
        let name = shared.path().file_name().unwrap().to_string_lossy().replace(['.', '_'], "");
        let groups = ControlGroups::new(&name);
        let mut command = groups.command("systemd-nspawn");
        match &disk {
            Disk::Passing(root) => command.arg("--volatile=overlay").arg("--directory").arg(root.path()),
            Disk::Lasting(copy) => command.arg("--directory").arg(copy.path()),
        };
        command.args(["--quiet", "--boot", "--private-network", "--register=no", "--keep-unit", "--console=pipe"]);
        command.arg(format!("--machine={name}")).arg(format!("--bind={}:{SHARED}", shared.path().display()));
        command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
        let mut container = command.spawn().unwrap();
        let console = || fs::read_to_string(&log).unwrap_or_default();
        let leader = wait_for("the first process of a machine", PATIENCE, || {
            assert!(container.try_wait().unwrap().is_none(), "a machine did not start: {}", console());
            let id = container.id();
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            children.split_whitespace().map(|child| child.parse().unwrap()).find(|child: &i32| {
                fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "systemd")
            })
        });
        let machine = Self { container, leader: Pid::from_raw(leader), shared, disk, _groups: groups };
        wait_for("a machine that has booted", 2 * PATIENCE, || {
            let state = run(machine.command("systemctl").arg("is-system-running"));
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            assert_ne!(state, "degraded", "failed: {}", machine.sh("systemctl --failed --no-pager"));
            (state == "running").then_some(())
        });
        machine
    }

    /// A program inside, ready to be run.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.leader));
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--wdns=/", "--"]);
        command.args([
            "env",
            "--ignore-environment",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "LC_ALL=C.UTF-8",
        ]);
        command.args(["DEBIAN_FRONTEND=noninteractive", "TERM=dumb"]).arg(program).stdin(Stdio::null());
        command
    }

    /// Runs a line of the shell inside, which must succeed, and gives its standard output without the final line break.
    pub(crate) fn sh(&self, line: &str) -> String {
        succeed(self.command("sh").args(["-euc", line])).trim_end().to_owned()
    }

    /// The lines that a package's scripts say when a line of the shell runs inside, which must succeed.
    pub(crate) fn said(&self, line: &str) -> Vec<String> {
        let output = self.sh(&format!("{{ {line}; }} 2>&1"));
        assert!(!output.contains("scriptlet failed") && !output.contains("returned error"), "{output}");
        output.lines().filter(|line| line.starts_with("hotcore: ")).map(str::to_owned).collect()
    }

    /// Runs a line of the shell inside.
    pub(crate) fn try_sh(&self, line: &str) -> Output {
        run(self.command("sh").args(["-uc", line]))
    }

    /// A folder that the machine sees as `/t`.
    pub(crate) fn share(&self) -> &Path {
        self.shared.path()
    }

    /// Copies a file into the shared folder; the answer is where the machine sees it.
    pub(crate) fn give(&self, file: &Path) -> String {
        let name = file.file_name().unwrap();
        fs::copy(file, self.share().join(name)).unwrap();
        format!("{SHARED}/{}", name.to_str().unwrap())
    }

    /// Writes a file inside.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let mut child = self.command("tee").arg(path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "cannot write {path}");
    }

    /// Runs `work` on a thread in the network of this machine: what it connects to, listens on and starts is there. Threads and
    /// programs that it starts stay there, and may outlive it.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_network(&format!("/proc/{}/ns/net", self.leader), work)
    }

    /// The same in a network that `ip netns add` made inside.
    pub(crate) fn in_netns<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        in_network(&format!("/proc/{}/root/run/netns/{name}", self.leader), work)
    }

    /// Settings of its own for a unit, under this name; nothing: they are taken away. They count from the unit's next start.
    pub(crate) fn drop_in(&self, unit: &str, name: &str, settings: &str) {
        let folder = format!("/etc/systemd/system/{unit}.d");
        if settings.is_empty() {
            self.sh(&format!("rm -f {folder}/{name}.conf"));
        } else {
            self.sh(&format!("mkdir -p {folder}"));
            self.write(&format!("{folder}/{name}.conf"), settings);
        }
        self.sh("systemctl daemon-reload");
    }

    /// A fact about a unit: systemctl show --property.
    pub(crate) fn property(&self, unit: &str, name: &str) -> String {
        self.sh(&format!("systemctl show --value --property={name} {unit}"))
    }

    /// The process id, as this machine numbers it, of a process inside.
    pub(crate) fn outer_pid(&self, inner: &str) -> Pid {
        let found = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let number: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
            (namespace(number)? == namespace(self.leader.as_raw())?).then_some(number)
        });
        let is_it = |number: &i32| {
            let status = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
            line.split_whitespace().next_back() == Some(inner)
        };
        Pid::from_raw(found.into_iter().find(is_it).unwrap_or_else(|| panic!("no process {inner} inside")))
    }

    /// What a unit wrote to the journal.
    pub(crate) fn journal(&self, unit: &str) -> String {
        self.sh(&format!("journalctl --unit={unit} --output=cat --no-pager"))
    }

    /// Whether `hotcore log`, which never ends by itself, shows a line with these words.
    pub(crate) fn log_shows(&self, words: &str) -> bool {
        // What is killed is nsenter: the program goes with it.
        let mut log = self.command("setpriv");
        let mut log = log.args(["--pdeathsig=KILL", "hotcore", "log"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(log.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ((say, hear), words) = (mpsc::channel(), words.to_owned());
        thread::Builder::new()
            .spawn(move || {
                for _ in lines.filter(|line| line.contains(&words)) {
                    let _ = say.send(());
                }
            })
            .unwrap();
        let is_shown = hear.recv_timeout(PATIENCE).is_ok();
        let _ = log.kill();
        let _ = log.wait();
        is_shown
    }

    /// Units that have failed, one a line.
    pub(crate) fn failed_units(&self) -> String {
        self.sh("systemctl list-units --failed --plain --no-legend --no-pager")
    }

    /// Shuts it down in order and boots it again, with what it wrote. For a [`Machine::lasting`] one.
    pub(crate) fn reboot(mut self) -> Self {
        let _ = self.try_sh("systemctl poweroff");
        wait_for("a machine that shuts down", 2 * PATIENCE, || self.container.try_wait().unwrap());
        let disk = std::mem::replace(&mut self.disk, Disk::Passing(Root::Debian));
        assert!(matches!(disk, Disk::Lasting(_)), "this machine forgets");
        let shared = std::mem::replace(&mut self.shared, folder());
        drop(self);
        Self::start(disk, shared)
    }
}

fn in_network<T: Send>(path: &str, work: impl FnOnce() -> T + Send) -> T {
    let network = File::open(path).unwrap();
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("inside".to_owned());
        let thread = thread.spawn_scoped(scope, || {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.unwrap().join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Drop for Machine {
    fn drop(&mut self) {
        if matches!(self.container.try_wait(), Ok(None)) {
            let _ = kill(self.leader, Signal::SIGKILL);
        }
        let _ = self.container.wait();
        if thread::panicking() {
            let console = fs::read_to_string(self.shared.path().join("console")).unwrap_or_default();
            let end = console.len().saturating_sub(4_000);
            super::note(&format!("the console of the machine:\n{}", console.get(end..).unwrap_or(&console)));
        }
    }
}
