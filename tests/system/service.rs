//! The service as a process: sockets that are passed in, readiness, stop, privileges, and one process after another.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hotcore::{
    routes::Lock,
    service::{
        Settings,
        handover::{
            Doorway, Generations,
            machine::Heard,
            message::{FromNew, FromOld, VERSION},
        },
        sockets::{Kind, Sockets, Wanted},
    },
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Nothing here takes this long; what does hangs.
const PATIENCE: Duration = Duration::from_secs(30);
const ANY: &str = "127.0.0.1:0";

/// A running `hotcore serve`, killed when the test ends.
struct Daemon {
    child: Child,
    state: PathBuf,
}

impl Daemon {
    /// On ports of its own choice.
    fn start(state: &Path) -> Self {
        Self::spawn(state, command(state, [ANY; 3]))
    }

    fn spawn(state: &Path, mut command: Command) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, state: state.to_owned() }
    }

    fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it serves: the log says so, and where.
    fn wait_until_it_serves(&self) -> Addresses {
        let marker = format!("process={}\n", self.process());
        until("it serves", || {
            let log = fs::read_to_string(self.state.join("hotcore.log")).unwrap_or_default();
            let own =
                log.lines().skip_while(|line| !line.contains(" serves ") || !format!("{line}\n").ends_with(&marker));
            let find = |kind: Kind| {
                let words = format!(" INFO {kind} on ");
                own.clone().find_map(|line| line.split_once(&words)?.1.split(' ').next()?.parse().ok())
            };
            Some(Addresses { http: find(Kind::Http)?, control: find(Kind::Control)? })
        })
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process()).unwrap()), signal).unwrap();
    }

    /// Its exit status and what it said on stderr.
    fn wait(&mut self) -> (ExitStatus, String) {
        let status = until("it ends", || self.child.try_wait().unwrap());
        let mut said = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut said).unwrap();
        }
        (status, said)
    }

    fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Addresses {
    http: SocketAddr,
    control: SocketAddr,
}

impl Addresses {
    fn ask(&self, message: &str) -> String {
        let socket = UdpSocket::bind(ANY).unwrap();
        socket.connect(self.control).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(message.as_bytes()).unwrap();
        let mut reply = [0; 1024];
        let length = socket.recv(&mut reply).unwrap();
        String::from_utf8(reply[..length].to_vec()).unwrap()
    }

    /// The status line of an answer to a request for an unknown name.
    fn get(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: unknown.example\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    }
}

fn command(state: &Path, [http, https, control]: [&str; 3]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotcore"));
    command.args(["serve", "--workers", "2", "--http", http, "--https", https, "--control", control, "--state"]);
    command.arg(state).env("HOTCORE_ACME_DIRECTORY", crate::rig::NO_AUTHORITY);
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "JOURNAL_STREAM"] {
        command.env_remove(name);
    }
    command
}

fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Where systemd would listen.
struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Manager {
    fn new(folder: &Path) -> Self {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, path }
    }

    /// Reads until a message has this line.
    fn wait_for(&self, line: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut bytes = [0; 4096];
            let length = self.socket.recv(&mut bytes).unwrap();
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if text.lines().any(|is| is == line) {
                return text;
            }
            assert!(Instant::now() < deadline, "no {line}");
        }
    }
}

/// B202, B203: READY=1 when it serves, STOPPING=1 and exit 0 on SIGTERM.
#[test]
fn readiness_is_told_and_sigterm_ends_it_with_0() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manager = Manager::new(folder.path());
    let mut command = command(state.path(), [ANY; 3]);
    command.env("NOTIFY_SOCKET", &manager.path);
    let mut daemon = Daemon::spawn(state.path(), command);
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("STATUS=0 rules"), "{ready}");
    let addresses = daemon.wait_until_it_serves();
    assert_eq!(addresses.ask("check"), "kcehc");
    assert!(addresses.get().unwrap().contains(" 404 "));
    daemon.signal(Signal::SIGTERM);
    let asked = Instant::now();
    manager.wait_for("STOPPING=1");
    let (status, said) = daemon.wait();
    assert!(status.success(), "{status}: {said}");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(said, "", "it is silent when all is well");
    assert!(!state.path().join("handover.sock").exists());
}

/// B213: fed while everything turns; a period meant for another process does not count.
#[test]
fn the_watchdog_is_fed_by_the_process_it_is_meant_for() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manager = Manager::new(folder.path());
    let mut fed = command(state.path(), [ANY; 3]);
    fed.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "1500000");
    let daemon = Daemon::spawn(state.path(), fed);
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    drop(daemon);
    let mut starved = command(state.path(), [ANY; 3]);
    starved.env("NOTIFY_SOCKET", &manager.path).env("WATCHDOG_USEC", "300000").env("WATCHDOG_PID", "1");
    let _daemon = Daemon::spawn(state.path(), starved);
    manager.wait_for("READY=1");
    manager.socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut bytes = [0; 4096];
    assert!(manager.socket.recv(&mut bytes).is_err(), "{}", String::from_utf8_lossy(&bytes));
}

/// Passes `sockets` on as descriptors 3, 4, 5, with a file as 6 if `extra`.
fn with_descriptors(state: &Path, settings: [&str; 3], sockets: [OwnedFd; 3], count: usize, said: &Path) -> Child {
    let binary = command(state, settings);
    let words: Vec<String> = std::iter::once(binary.get_program())
        .chain(binary.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    let script =
        format!("exec {} 3<&0 4<&1 5<&2 6</dev/null 0</dev/null 1>/dev/null 2>'{}'", words.join(" "), said.display());
    let [first, second, third] = sockets;
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(script)
        .env("LISTEN_FDS", count.to_string())
        .env_remove("LISTEN_PID")
        .env_remove("NOTIFY_SOCKET");
    shell.stdin(Stdio::from(first)).stdout(Stdio::from(second)).stderr(Stdio::from(third)).spawn().unwrap()
}

struct Inherited {
    sockets: [OwnedFd; 3],
    addresses: [String; 3],
}

fn sockets_to_inherit() -> Inherited {
    let (http, https) = (TcpListener::bind(ANY).unwrap(), TcpListener::bind(ANY).unwrap());
    let control = UdpSocket::bind(ANY).unwrap();
    let addresses = [http.local_addr(), https.local_addr(), control.local_addr()].map(|at| at.unwrap().to_string());
    Inherited { sockets: [http.into(), https.into(), control.into()], addresses }
}

/// B200, B201: whatever their order, and with something that is no socket among them.
#[test]
fn inherited_sockets_are_told_apart_in_any_order_and_an_extra_is_named() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (state, Inherited { sockets, addresses }) = (tempfile::tempdir().unwrap(), sockets_to_inherit());
        let mut sockets = sockets.map(Some);
        let sockets = order.map(|index: usize| sockets[index].take().unwrap());
        let said = state.path().join("stderr");
        let settings = [&addresses[0], &addresses[1], &addresses[2]].map(String::as_str);
        let child = with_descriptors(state.path(), settings, sockets, 4, &said);
        let daemon = Daemon { child, state: state.path().to_owned() };
        let found = daemon.wait_until_it_serves();
        assert_eq!([found.http.to_string(), found.control.to_string()], [addresses[0].clone(), addresses[2].clone()]);
        assert_eq!(found.ask("check"), "kcehc");
        assert!(found.get().unwrap().contains(" 404 "));
        let log = fs::read_to_string(state.path().join("hotcore.log")).unwrap();
        assert!(log.contains("descriptor 6, /dev/null was passed in and is not needed: closed"), "{log}");
    }
}

/// B200: a socket that is missing or of the wrong type is named, with what was passed in instead.
#[test]
fn a_missing_or_wrong_inherited_socket_is_an_error_that_names_it() {
    let (state, Inherited { sockets, .. }) = (tempfile::tempdir().unwrap(), sockets_to_inherit());
    let said = state.path().join("stderr");
    let mut serve = Command::new(env!("CARGO_BIN_EXE_hotcore"));
    serve.args(["serve", "--state"]).arg(state.path());
    let words: Vec<_> = std::iter::once(serve.get_program()).chain(serve.get_args()).collect();
    let words: Vec<_> = words.iter().map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let script = format!("exec {} 3<&0 4<&1 5</dev/null 2>'{}'", words.join(" "), said.display());
    let [http, https, _] = sockets;
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).env("LISTEN_FDS", "3").env_remove("LISTEN_PID");
    let status = shell.stdin(Stdio::from(http)).stdout(Stdio::from(https)).status().unwrap();
    let said = fs::read_to_string(said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("no socket for HTTP (TCP port 80)"), "{said}");
    assert!(said.contains("descriptor 3, TCP 127.0.0.1:") && said.contains("descriptor 5, /dev/null"), "{said}");
}

/// B215.
#[test]
fn a_port_that_is_taken_is_named_with_its_holder_and_the_remedy() {
    let (state, taken) = (tempfile::tempdir().unwrap(), TcpListener::bind(ANY).unwrap());
    let address = taken.local_addr().unwrap().to_string();
    let mut daemon = Daemon::spawn(state.path(), command(state.path(), [&address, ANY, ANY]));
    let (status, said) = daemon.wait();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(&address) && said.contains(&format!("(process {})", std::process::id())), "{said}");
    assert!(said.contains("--http"), "{said}");
    let log = fs::read_to_string(state.path().join("hotcore.log")).unwrap();
    assert!(log.contains(" ERROR ") && log.contains(&address), "{log}");
}

/// No capability in any thread, whoever starts it.
#[test]
fn no_thread_has_a_capability() {
    let state = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(state.path());
    daemon.wait_until_it_serves();
    let threads: Vec<_> = fs::read_dir(format!("/proc/{}/task", daemon.process())).unwrap().flatten().collect();
    assert!(threads.len() >= 5, "supervisor, log, control, two workers");
    for thread in threads {
        let status = fs::read_to_string(thread.path().join("status")).unwrap();
        for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.ends_with("\t0000000000000000"), "{line}");
        }
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.process())).unwrap();
    let files: Vec<_> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "as many files as allowed (B154)");
    let core: Vec<_> = limits.lines().find(|line| line.starts_with("Max core")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "no core file (B220)");
}

/// Started by root on the folder of another user, it is that user's process from then on.
#[test]
fn root_becomes_the_owner_of_the_state_folder() {
    if !nix::unistd::geteuid().is_root() {
        return crate::rig::skip("root_becomes_the_owner_of_the_state_folder", "needs root");
    }
    const NOBODY: u32 = 65_534;
    let state = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(state.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    let daemon = Daemon::start(state.path());
    let addresses = daemon.wait_until_it_serves();
    for thread in fs::read_dir(format!("/proc/{}/task", daemon.process())).unwrap().flatten() {
        let status = fs::read_to_string(thread.path().join("status")).unwrap();
        for name in ["Uid:", "Gid:", "Groups:"] {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            assert!(line.split_whitespace().all(|id| id == NOBODY.to_string()), "{name}{line}");
        }
    }
    assert_eq!(addresses.ask("add a.example 8080"), "ok a.example 8080");
    // Root may take over from it, and becomes the same user.
    let next = Daemon::start(state.path());
    assert_eq!(next.wait_until_it_serves(), addresses);
    assert_eq!(addresses.ask("add b.example 8080"), "ok b.example 8080");
}

/// B211: what a crash leaves behind keeps nobody from starting.
#[test]
fn after_kill_9_the_next_one_serves_the_same_rules() {
    let state = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(state.path());
    assert_eq!(daemon.wait_until_it_serves().ask("add a.example 8080"), "ok a.example 8080");
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    assert!(state.path().join("handover.sock").exists());
    let next = Daemon::start(state.path());
    assert_eq!(next.wait_until_it_serves().ask("list"), "a.example 8080");
}

/// B208: the second one takes sockets and rules over, the first one ends; no request fails meanwhile.
#[test]
fn a_second_serve_takes_over_and_no_request_fails() {
    let state = tempfile::tempdir().unwrap();
    let mut running = Daemon::start(state.path());
    let addresses = running.wait_until_it_serves();
    let (failed, answered) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let is_over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|number| {
            let (failed, answered, is_over) = (failed.clone(), answered.clone(), is_over.clone());
            thread::Builder::new()
                .name(format!("client {number}"))
                .spawn(move || {
                    while !is_over.load(Ordering::Relaxed) {
                        match addresses.get() {
                            Ok(line) if line.contains(" 404 ") => answered.fetch_add(1, Ordering::Relaxed),
                            _ => failed.fetch_add(1, Ordering::Relaxed),
                        };
                    }
                })
                .unwrap()
        })
        .collect();
    for round in 0..5 {
        assert_eq!(addresses.ask(&format!("add r{round}.example 8080")), format!("ok r{round}.example 8080"));
        let next = Daemon::start(state.path());
        assert_eq!(next.wait_until_it_serves(), addresses, "the same sockets");
        let (status, said) = running.wait();
        assert!(status.success() && said.is_empty(), "{status}: {said}");
        let before = answered.load(Ordering::Relaxed);
        until("the new one answers", || (answered.load(Ordering::Relaxed) > before + 20).then_some(()));
        running = next;
    }
    is_over.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {}", answered.load(Ordering::Relaxed));
    assert_eq!(addresses.ask("list").lines().count(), 5, "rules are carried forward");
    running.signal(Signal::SIGTERM);
    assert!(running.wait().0.success());
}

/// B206: at any moment one process reads; what is sent meanwhile waits in the socket. Nothing is sent twice here.
#[test]
fn no_datagram_is_lost_while_one_process_takes_over_from_another() {
    const ALL: usize = 20_000;
    const IN_FLIGHT: usize = 200;
    let state = tempfile::tempdir().unwrap();
    let first = Daemon::start(state.path());
    let addresses = first.wait_until_it_serves();
    let socket = UdpSocket::bind(ANY).unwrap();
    // One commit acknowledges all in flight at once, which can be more than this client's default receive buffer holds.
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 * 1024 * 1024).unwrap();
    socket.connect(addresses.control).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut sent, mut acknowledged) = (0, 0);
    let mut daemons = vec![first];
    let mut reply = [0; 1024];
    while acknowledged < ALL {
        while sent < ALL && sent < acknowledged + IN_FLIGHT {
            socket.send(format!("add d{sent}.example 8080").as_bytes()).unwrap();
            sent += 1;
        }
        let length = socket.recv(&mut reply).unwrap_or_else(|error| {
            panic!("{error}: {acknowledged} of {sent} acknowledged");
        });
        assert!(reply[..length].starts_with(b"ok d"), "{}", String::from_utf8_lossy(&reply[..length]));
        acknowledged += 1;
        if acknowledged % 4_000 == 2_000 {
            // Only one at a time may take over.
            daemons.last().unwrap().wait_until_it_serves();
            daemons.push(Daemon::start(state.path()));
        }
    }
    let last = daemons.pop().unwrap();
    last.wait_until_it_serves();
    for mut daemon in daemons {
        assert!(daemon.wait().0.success());
    }
    assert!(addresses.ask("status").contains(&format!("rules {ALL}")), "{}", addresses.ask("status"));
}

/// B205: whenever the new one is killed, either the old one goes on or the new one had already taken over; rules stay.
#[test]
fn killing_the_new_one_at_any_moment_leaves_one_that_serves() {
    let mut random = fastrand::Rng::with_seed(seed());
    let state = tempfile::tempdir().unwrap();
    let mut running = Daemon::start(state.path());
    let addresses = running.wait_until_it_serves();
    for round in 0..30 {
        assert_eq!(addresses.ask(&format!("add r{round}.example 8080")), format!("ok r{round}.example 8080"));
        let mut next = Daemon::start(state.path());
        thread::sleep(Duration::from_micros(random.u64(0..25_000)));
        let _ = next.child.kill();
        next.child.wait().unwrap();
        until("somebody serves or the first has gone", || {
            let is_gone = !running.is_running();
            (is_gone || is_answering(addresses)).then_some(())
        });
        // If the new one was told to serve before it was killed, the old one drains and ends.
        let log = fs::read_to_string(state.path().join("hotcore.log")).unwrap();
        if log.contains(&format!("this one drains process={}", next.process())) {
            assert!(running.wait().0.success());
            running = Daemon::spawn(
                state.path(),
                command(state.path(), [&addresses.http.to_string(), ANY, &addresses.control.to_string()]),
            );
            running.wait_until_it_serves();
        }
        assert!(addresses.get().unwrap().contains(" 404 "), "round {round}");
        let list = addresses.ask("list");
        assert_eq!(list.lines().count(), round + 1, "round {round}: {list}");
    }
}

/// The old one dies at each step before it said `told`: the new one finds the lock free and goes on (B206).
#[test]
fn when_the_old_one_dies_on_the_way_the_new_one_serves() {
    for steps in 1..=2 {
        let state = tempfile::tempdir().unwrap();
        let any = || vec![ANY.parse().unwrap()];
        let settings = Settings { http: any(), https: any(), control: any(), ..Settings::default() };
        let (sockets, _) = Sockets::open(&Wanted::from_settings(&settings).unwrap(), Vec::new()).unwrap();
        let http = sockets.addresses(Kind::Http)[0];
        let lock = Lock::try_take(state.path()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let daemon = runtime.block_on(async {
            let mut doorway = Doorway::open(state.path()).unwrap();
            let daemon = Daemon::start(state.path());
            let (mut peer, word) = doorway.next().await.unwrap();
            assert_eq!(peer.process(), daemon.process());
            assert_eq!(word, FromNew::Ask { version: VERSION, process: daemon.process() });
            peer.send(&sockets, &Generations::default()).unwrap();
            assert_eq!(peer.hear().await, Heard::Word(Some(FromNew::Loaded)));
            if steps == 2 {
                peer.say(&FromOld::Yours);
            }
            daemon
        });
        drop((lock, sockets));
        let addresses = daemon.wait_until_it_serves();
        assert_eq!(addresses.http, http);
        assert_eq!(addresses.ask("check"), "kcehc");
    }
}

/// systemd.md, 4: systemd would start it again and take the sockets back.
#[test]
fn what_systemd_runs_is_not_handed_to_a_stranger() {
    let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manager = Manager::new(folder.path());
    let mut managed = command(state.path(), [ANY; 3]);
    managed.env("NOTIFY_SOCKET", &manager.path);
    let mut managed = Daemon::spawn(state.path(), managed);
    manager.wait_for("READY=1");
    let (status, said) = Daemon::start(state.path()).wait();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains("run by systemd: use `systemctl reload hotcore`"), "{said}");
    assert!(managed.is_running());
}

/// A folder that cannot be made is one line with its name.
#[test]
fn a_state_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    File::create(&file).unwrap();
    let (status, said) = Daemon::start(&file).wait();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(&format!("cannot use the state folder {}", file.display())), "{said}");
}

fn is_answering(addresses: Addresses) -> bool {
    let socket = UdpSocket::bind(ANY).unwrap();
    socket.connect(addresses.control).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    socket.send(b"check").is_ok() && socket.recv(&mut [0; 16]).is_ok()
}

#[expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "a random test prints its seed, and can be given one"
)]
fn seed() -> u64 {
    let seed =
        std::env::var("HOTCORE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("HOTCORE_SEED={seed}");
    seed
}
