//! What goes wrong with the process of the installed service: it dies, hangs, cannot start, is away. The ports stay open, who
//! comes meanwhile is served late, and what was sent is done.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use crate::rig::{Backend, Client, Control, Installed, Machine, PATIENCE, Root, deb, note, skip, wait_for, works};

const NAME: &str = "a-app.example";
const HTTP: ([u8; 4], u16) = ([127, 0, 0, 1], 80);
const HTTPS: ([u8; 4], u16) = ([127, 0, 0, 1], 443);
const CONTROL: ([u8; 4], u16) = ([127, 0, 0, 1], 40608);
/// What the buffer of the control socket holds.
const BURST: usize = 20_000;

/// Each ends a process that does not handle it: what a bad instruction, an abort, a sandbox or an operator may send.
const POISONS: [Signal; 12] = [
    Signal::SIGSEGV,
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGKILL,
    Signal::SIGTRAP,
    Signal::SIGSYS,
    Signal::SIGQUIT,
    Signal::SIGALRM,
    Signal::SIGXCPU,
    Signal::SIGPROF,
];

/// B211, S3, S4. Twelve deaths, then some while it starts, then a program that cannot start at all.
#[test]
fn whatever_the_process_dies_of_the_ports_stay_open() {
    let site = Site::installed(Machine::boot(Root::Debian));
    let machine = &site.installed.machine;
    let before = site.certificate();
    let visitors = [site.visitor(false), site.visitor(true)];
    for poison in POISONS {
        let main = site.installed.main_pid();
        let process = site.installed.main_process();
        wait_for("its death", PATIENCE, || kill(process, poison).is_err().then_some(()));
        // The runtime of Rust looks at some of them once before it lets them through.
        site.installed.wait_for_the_next(&main);
        visitors.iter().for_each(Visitor::wait_for_more);
    }
    for _ in 0..8 {
        let main = site.installed.main_pid();
        machine.sh("systemctl kill --kill-whom=main --signal=KILL hotcore.service || true");
        wait_for("the next one", PATIENCE, || Some(site.installed.main_pid()).filter(|pid| *pid != main && pid != "0"));
    }
    visitors.iter().for_each(Visitor::wait_for_more);
    let mut lost = 0;
    for visitor in visitors {
        lost += visitor.finish();
    }
    note(&format!("20 deaths in a row: nothing refused, {lost} connections lost while they were served"));
    assert_eq!(machine.failed_units(), "");
    assert_eq!(machine.sh("hotcore list"), format!("{NAME} {}", site.app.port));
    assert_eq!(site.certificate(), before);

    machine.drop_in("hotcore.service", "broken", "[Service]\nExecStart=\nExecStart=/bin/false\n");
    machine.sh("systemctl restart --no-block hotcore");
    wait_for("many starts in vain", PATIENCE, || {
        let count: u32 = machine.property("hotcore.service", "NRestarts").parse().unwrap();
        (count >= 8).then_some(())
    });
    let mut waiting = machine.inside(|| Client::connect(SocketAddr::from(HTTP))).unwrap();
    machine.drop_in("hotcore.service", "broken", "");
    assert_eq!(waiting.get(NAME, "/").unwrap().status, 308, "who waited is served");
    assert_eq!(machine.failed_units(), "");
}

/// B213, S5. A process that stands still as a whole, and one of whose workers does: as if it waited for a lock for ever.
#[test]
fn a_process_that_hangs_is_replaced() {
    let site = Site::installed(Machine::boot(Root::Debian));
    let machine = &site.installed.machine;
    machine.drop_in("hotcore.service", "short", "[Service]\nWatchdogSec=3\n");
    machine.sh("systemctl restart hotcore");

    let main = site.installed.main_pid();
    let begun = Instant::now();
    kill(site.installed.main_process(), Signal::SIGSTOP).unwrap();
    let mut waiting = machine.inside(|| Client::connect(SocketAddr::from(HTTP))).unwrap();
    site.installed.wait_for_the_next(&main);
    assert_eq!(waiting.get(NAME, "/").unwrap().status, 308, "who waited is served");
    let stopped = begun.elapsed();
    assert!(machine.journal("hotcore").contains("Watchdog timeout"));

    let test = "a_process_that_hangs_is_replaced";
    if !works("strace", &["-e", "inject=getpid:delay_enter=1", "true"]) {
        return skip(test, "strace cannot delay calls here, so no thread can be made to hang");
    }
    let main = site.installed.main_pid();
    let begun = Instant::now();
    let hung = HungThread::of(site.installed.main_process(), "worker-0");
    wait_for("the watchdog", PATIENCE, || {
        (machine.journal("hotcore").matches("Watchdog timeout").count() == 2).then_some(())
    });
    // A thread that is traced cannot even be killed.
    drop(hung);
    site.installed.wait_for_the_next(&main);
    let dead_locked = begun.elapsed();
    let mut client = machine.inside(|| Client::connect(SocketAddr::from(HTTP))).unwrap();
    assert_eq!(client.get(NAME, "/").unwrap().status, 308);
    let journal = machine.journal("hotcore");
    assert!(journal.contains("worker 0 stands still: the watchdog is not fed"), "{journal}");
    note(&format!(
        "WatchdogSec=3: a stopped process served again after {stopped:?}, a hanging worker after {dead_locked:?}"
    ));
    assert_eq!(machine.failed_units(), "");
}

/// B190, B211, U2. In the worst case: all of the buffer, sent while nobody reads, and the process killed. Then while it restarts,
/// while it is away, and before it was ever started.
#[test]
fn datagrams_wait_for_the_service_and_are_done() {
    let site = Site::installed(Machine::lasting(Root::Debian));
    let machine = &site.installed.machine;
    let control = || machine.inside(|| Control::connect(SocketAddr::from(CONTROL)));
    let add = |kind: &str, number: usize| format!("add {kind}{number}.example 3000");

    let commands = control();
    let process = site.installed.main_process();
    kill(process, Signal::SIGSTOP).unwrap();
    // What it has read and not acknowledged yet is lost with it, by the contract.
    wait_for("a process that stands still", PATIENCE, || is_stopped(process).then_some(()));
    (0..BURST).for_each(|number| commands.send(&add("k", number)));
    kill(process, Signal::SIGKILL).unwrap();
    let begun = Instant::now();
    assert_eq!(replies(&commands, BURST), BURST, "after a kill");
    let after_kill = begun.elapsed();

    let commands = control();
    let restart = thread::scope(|scope| {
        let restart =
            thread::Builder::new().spawn_scoped(scope, || machine.try_sh("systemctl restart hotcore")).unwrap();
        (0..BURST).for_each(|number| commands.send(&add("r", number)));
        restart.join().unwrap()
    });
    assert!(restart.status.success());
    assert_eq!(replies(&commands, BURST), BURST, "over a restart");

    machine.sh("systemctl stop hotcore.service");
    let commands = control();
    (0..1_000).for_each(|number| commands.send(&add("s", number)));
    assert_eq!(replies(&commands, 1_000), 1_000, "a message starts it");
    assert_eq!(rules(&control()), 2 * BURST + 1_000 + 1);
    note(&format!("{BURST} messages that waited were acknowledged {after_kill:?} after the kill"));

    // A program that is earlier than the service at boot, and waits for nothing but its socket.
    let early = "[Unit]\nDefaultDependencies=no\nRequires=hotcore-control.socket\nAfter=hotcore-control.socket\nBefore=hotcore.service\n\
                 [Service]\nType=oneshot\nExecStart=/bin/bash /usr/local/bin/early\n[Install]\nWantedBy=multi-user.target\n";
    machine.write("/etc/systemd/system/early.service", early);
    machine.write(
        "/usr/local/bin/early",
        "for n in $(seq 1000); do echo \"add b$n.example 3000\" > /dev/udp/127.0.0.1/40608; done\n\
         systemctl show --value --property=MainPID hotcore.service > /var/early\n",
    );
    machine.sh("systemctl enable early");
    let machine = site.installed.machine.reboot();
    assert_eq!(machine.sh("cat /var/early"), "0", "the service was not there when they were sent");
    let commands = machine.inside(|| Control::connect(SocketAddr::from(CONTROL)));
    // And all that was acknowledged before.
    wait_for("the messages of the boot", PATIENCE, || (rules(&commands) == 2 * BURST + 2_000 + 1).then_some(()));
    assert_eq!(machine.sh("hotcore list | grep --count '^b[0-9]*.example 3000'"), "1000");
}

/// Whether each thread has stopped (proc(5): T).
fn is_stopped(process: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")).unwrap()).all(|status| {
        let state = status.lines().find_map(|line| line.strip_prefix("State:"));
        state.is_some_and(|state| state.trim_start().starts_with('T'))
    })
}

fn rules(commands: &Control) -> usize {
    let status = commands.ask("status");
    status.lines().find_map(|line| line.strip_prefix("rules ")).unwrap().parse().unwrap()
}

/// How many different messages were acknowledged, at most `count`.
fn replies(commands: &Control, count: usize) -> usize {
    let mut seen = BTreeMap::new();
    while seen.len() < count
        && let Some(reply) = commands.receive(PATIENCE)
    {
        assert!(reply.starts_with("ok "), "{reply}");
        *seen.entry(reply).or_insert(0) += 1;
    }
    assert!(seen.values().all(|times| *times == 1), "one answer each");
    seen.len()
}

/// An installed service with one site that has its certificate.
struct Site {
    installed: Installed,
    app: Backend,
    tls: Arc<ClientConfig>,
}

impl Site {
    fn installed(machine: Machine) -> Self {
        let installed = Installed::from_deb(machine, &deb("0.1.0-1"));
        let app = installed.machine.inside(|| Backend::app("the app", Path::new("/")));
        installed.add_site(NAME, app.port);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(installed.root()).unwrap()).unwrap();
        let tls = Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth());
        Self { installed, app, tls }
    }

    /// The one that is served.
    fn certificate(&self) -> Vec<u8> {
        let stream = self.installed.machine.inside(|| TcpStream::connect(SocketAddr::from(HTTPS))).unwrap();
        secure_get(stream, &self.tls).unwrap()
    }

    /// A client that comes again and again, each time anew.
    fn visitor(&self, by_https: bool) -> Visitor {
        let shared = Arc::new(Counts::default());
        let (counts, tls) = (Arc::clone(&shared), Arc::clone(&self.tls));
        let thread = self.installed.machine.inside(|| {
            thread::Builder::new()
                .name("visitor".to_owned())
                .spawn(move || counts.keep_coming(by_https.then_some(&tls)))
                .unwrap()
        });
        Visitor { shared, thread: Some(thread) }
    }
}

/// One request; the answer is the certificate that was shown.
fn secure_get(stream: TcpStream, tls: &Arc<ClientConfig>) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let session = ClientConnection::new(Arc::clone(tls), ServerName::try_from(NAME).unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, stream);
    write!(stream, "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("the app"), "{answer}");
    Ok(stream.conn.peer_certificates().unwrap()[0].to_vec())
}

struct Visitor {
    shared: Arc<Counts>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    answered: AtomicU64,
    /// Cut while a request was in flight: the process died.
    lost: AtomicU64,
    /// Not taken at all, or for too long.
    refused: Mutex<Vec<String>>,
}

impl Visitor {
    /// Two, as the first may have been under way before.
    fn wait_for_more(&self) {
        let goal = self.shared.answered.load(Relaxed) + 2;
        wait_for("an answer to a visitor", PATIENCE, || (self.shared.answered.load(Relaxed) >= goal).then_some(()));
    }

    /// How many requests died with the process that had them. Fails the test if anything was refused.
    fn finish(mut self) -> u64 {
        self.shared.stop.store(true, Relaxed);
        self.thread.take().unwrap().join().unwrap();
        assert_eq!(*self.shared.refused.lock().unwrap(), [""; 0]);
        self.shared.lost.load(Relaxed)
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
    }
}

impl Counts {
    fn keep_coming(&self, tls: Option<&Arc<ClientConfig>>) {
        while !self.stop.load(Relaxed) {
            let outcome =
                match TcpStream::connect_timeout(&SocketAddr::from(if tls.is_some() { HTTPS } else { HTTP }), PATIENCE)
                {
                    Ok(stream) => match tls {
                        Some(tls) => secure_get(stream, tls).map(drop),
                        None => plain_get(stream),
                    },
                    Err(error) => {
                        self.refused.lock().unwrap().push(format!("cannot connect: {error}"));
                        return;
                    }
                };
            match outcome {
                Ok(()) => self.answered.fetch_add(1, Relaxed),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    self.refused.lock().unwrap().push(format!("no answer: {error}"));
                    return;
                }
                Err(_) => self.lost.fetch_add(1, Relaxed),
            };
        }
    }
}

fn plain_get(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    Ok(())
}

/// A thread of another process that comes back from none of its waits.
struct HungThread(Child);

impl HungThread {
    fn of(process: Pid, name: &str) -> Self {
        let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|thread| thread.unwrap());
        let has_name = |thread: &fs::DirEntry| {
            fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let thread = threads.into_iter().find(has_name).unwrap_or_else(|| panic!("no thread {name}"));
        let mut command = Command::new("strace");
        command.args(["-qq", "-o", "/dev/null", "-e", "trace=epoll_wait,epoll_pwait,epoll_pwait2"]);
        command.args(["-e", "inject=epoll_wait,epoll_pwait,epoll_pwait2:delay_exit=100000000"]);
        command.arg("-p").arg(thread.file_name());
        Self(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for HungThread {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
