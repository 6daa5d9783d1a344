//! `hotcore serve` as a child process.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Control, PATIENCE, wait_for};

/// The program under test: HOTCORE_PROGRAM, like that of an installed package, else the one just built.
#[expect(clippy::disallowed_methods, reason = "which program is tested is said by the environment")]
fn program() -> OsString {
    std::env::var_os("HOTCORE_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_hotcore").into())
}

/// Where the daemon is told to serve HTTPS: another loopback address, so that the two listeners can be told apart.
const HTTPS_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A certificate authority that does not answer: port 1 of this machine.
pub(crate) const NO_AUTHORITY: &str = "https://127.0.0.1:1/directory";

/// How to start a daemon.
pub(crate) struct Launch {
    state: PathBuf,
    http: String,
    https: String,
    control: String,
    options: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    hosts: Option<PathBuf>,
}

impl Launch {
    /// All ports chosen by the kernel, rules in `state`.
    pub(crate) fn new(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            http: "127.0.0.1:0".to_owned(),
            https: format!("{HTTPS_ADDRESS}:0"),
            control: "127.0.0.1:0".to_owned(),
            options: Vec::new(),
            environment: Vec::new(),
            hosts: None,
        }
    }

    /// At these ports of 127.0.0.1.
    pub(crate) fn at(mut self, http: u16, https: u16) -> Self {
        (self.http, self.https) = (format!("127.0.0.1:{http}"), format!("127.0.0.1:{https}"));
        self
    }

    /// With one more option of `serve`, and its value.
    pub(crate) fn with(mut self, option: &str, value: impl Into<OsString>) -> Self {
        self.options.extend([option.into(), value.into()]);
        self
    }

    /// With one more variable in its environment.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// With this file in the place of `/etc/hosts`, for this process alone (hosts(5)).
    pub(crate) fn knowing(mut self, hosts: &Path) -> Self {
        self.hosts = Some(hosts.to_owned());
        self
    }

    /// The same addresses as a running one: the two cannot both have bound them.
    pub(crate) fn beside(mut self, daemon: &Daemon) -> Self {
        self.http = daemon.http.to_string();
        self.https = daemon.https.map_or(self.https, |address| address.to_string());
        self.control = daemon.control.to_string();
        self
    }

    /// Starts it and waits until it answers.
    pub(crate) fn start(self) -> Daemon {
        let mut daemon = Daemon::spawn(&mut self.command(), &self.state);
        daemon.find_sockets(&self.https);
        // While it takes over from another one, that one may answer still.
        let (control, own) = (daemon.commands(), format!("\npid {}\n", daemon.pid()));
        wait_for("the daemon's first answer", 2 * PATIENCE, || {
            daemon.must_run();
            control.send("status");
            control.receive(Duration::from_millis(100)).filter(|status| status.contains(&own))
        });
        daemon
    }

    fn command(&self) -> Command {
        let mut command = match &self.hosts {
            None => Command::new(program()),
            Some(hosts) => {
                // Each is replaced by the next, so the process keeps its number.
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
                command.arg(hosts).arg(program());
                command
            }
        };
        command.args(["serve", "--http", &self.http, "--https", &self.https, "--control", &self.control, "--state"]);
        // Names of tests are not ordered from a real certificate authority: nobody listens there. An option overrides it.
        command.arg(&self.state).args(&self.options).env("HOTCORE_ACME_DIRECTORY", NO_AUTHORITY);
        // A test run by a service manager does not hand its own things on.
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM", "STATE_DIRECTORY"]
        {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running daemon; dropped, it is killed and waited for.
pub(crate) struct Daemon {
    child: Child,
    ended: Option<ExitStatus>,
    /// Where plain HTTP is served.
    pub(crate) http: SocketAddr,
    /// Where HTTPS is served, if it is.
    pub(crate) https: Option<SocketAddr>,
    /// Where commands arrive.
    pub(crate) control: SocketAddr,
    state: PathBuf,
    log: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Daemon {
    /// Starts one with default options on the rules in `state`.
    pub(crate) fn start(state: &Path) -> Self {
        Launch::new(state).start()
    }

    /// Starts a command that is, or becomes, a daemon on the rules in `state`, without waiting for it.
    pub(crate) fn spawn(command: &mut Command, state: &Path) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let reader = thread::Builder::new()
            .name("daemon's log".to_owned())
            .spawn(move || {
                let mut piece = [0; 4096];
                while let Ok(length @ 1..) = stderr.read(&mut piece) {
                    kept.lock().unwrap().extend_from_slice(&piece[..length]);
                }
            })
            .unwrap();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            child,
            ended: None,
            http: nowhere,
            https: None,
            control: nowhere,
            state: state.to_owned(),
            log,
            reader: Some(reader),
        }
    }

    /// Waits until it has its sockets.
    fn find_sockets(&mut self, https: &str) {
        let pid = self.pid();
        let https: SocketAddr = https.parse().unwrap();
        let is_https = |address: &&SocketAddr| **address == https || address.ip() == HTTPS_ADDRESS;
        (self.http, self.https, self.control) = wait_for("the daemon's sockets", PATIENCE, || {
            self.must_run();
            let tcp = sockets(pid, "tcp");
            let http = tcp.iter().find(|address| !is_https(address)).copied()?;
            let https = tcp.iter().find(is_https).copied();
            Some((http, https, sockets(pid, "udp").first().copied()?))
        });
    }

    fn must_run(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            self.ended = Some(status);
            panic!("the daemon ended with {status}");
        }
    }

    /// Whether it listens for connections.
    pub(crate) fn listens(&self) -> bool {
        !sockets(self.pid(), "tcp").is_empty()
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connected control client.
    pub(crate) fn commands(&self) -> Control {
        Control::connect(self.control)
    }

    /// The program, ready for a client's sub-command to this daemon.
    pub(crate) fn cli(&self) -> Command {
        let mut command = Self::program();
        command.env("HOTCORE_CONTROL", self.control.to_string());
        command
    }

    /// The program.
    pub(crate) fn program() -> Command {
        Command::new(program())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).unwrap()), signal).unwrap();
    }

    /// `kill -9`, and waits for its end.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.wait(PATIENCE).signal(), Some(9), "it ended by itself");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, patience: Duration) -> ExitStatus {
        let child = &mut self.child;
        let status = wait_for("the daemon's end", patience, || child.try_wait().unwrap());
        self.ended = Some(status);
        status
    }

    /// A figure of `/proc/PID/status` in KiB, like `VmHWM`.
    pub(crate) fn memory_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// What it has said so far: on stderr, and in its log file.
    pub(crate) fn log(&self) -> String {
        let file = fs::read_to_string(self.state.join("hotcore.log")).unwrap_or_default();
        format!("{}{file}", String::from_utf8_lossy(&self.log.lock().unwrap()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if thread::panicking() {
            let _ = writeln!(io::stderr(), "---- log of daemon {} ----\n{}----", self.pid(), self.log());
        }
    }
}

/// The IPv4 addresses of a process's sockets, `kind` is `tcp` (listening ones) or `udp` (proc(5), /proc/pid/net).
fn sockets(pid: u32, kind: &str) -> Vec<SocketAddr> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let inodes: HashSet<String> = entries
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            Some(target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/{kind}")).unwrap_or_default();
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.nth(1)?;
            let state = words.nth(1)?;
            let inode = words.nth(5)?;
            // 0A is LISTEN, 07 a datagram socket that is not connected.
            if !inodes.contains(inode) || state != if kind == "tcp" { "0A" } else { "07" } {
                return None;
            }
            let (ip, port) = address.split_once(':')?;
            let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).ok()?.to_ne_bytes());
            Some((ip, u16::from_str_radix(port, 16).ok()?).into())
        })
        .collect()
}
