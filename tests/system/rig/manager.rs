//! The part of a service manager: it holds the sockets, starts the service, and hears what it says about itself.
//!
//! As systemd does it with `NotifyAccess=main`: a word counts only from the main process, as the kernel names it.

use std::{
    collections::BTreeSet,
    fs,
    io::IoSliceMut,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{fs::symlink, net::UnixDatagram},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::{
        prctl,
        signal::{Signal, kill},
        socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{Control, Daemon, NO_AUTHORITY, PATIENCE, folder, wait_for};

/// The watchdog's period that the service is given.
pub(crate) const WATCHDOG: Duration = Duration::from_millis(1_500);

/// One datagram to the manager.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) process: u32,
    pub(crate) text: String,
    /// Whether it came from the main process.
    pub(crate) counts: bool,
}

#[derive(Default)]
struct Heard {
    main: u32,
    said: Vec<Said>,
    processes: BTreeSet<u32>,
}

/// A service that is run. Dropped, all its processes are killed.
pub(crate) struct Manager {
    pub(crate) http: SocketAddr,
    pub(crate) control: SocketAddr,
    pub(crate) state: PathBuf,
    /// By this path the service is started: a link to the program, to be replaced.
    pub(crate) program: PathBuf,
    heard: Arc<Mutex<Heard>>,
    stop: Arc<AtomicBool>,
    ear: Option<JoinHandle<()>>,
    _folders: [tempfile::TempDir; 2],
}

impl Manager {
    /// Binds sockets, starts the service with them, and waits until it is ready.
    #[expect(clippy::zombie_processes, reason = "it is waited for by its number, as its successors are")]
    pub(crate) fn start() -> Self {
        // Processes that lose their parent become ours, as they become systemd's.
        prctl::set_child_subreaper(true).unwrap();
        let (state, own) = (folder(), folder());
        let program = own.path().join("hotcore");
        symlink(Daemon::program().get_program(), &program).unwrap();
        let (http, https) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let control = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addresses = [http.local_addr(), https.local_addr(), control.local_addr()].map(Result::unwrap);
        let notify = own.path().join("notify");
        let socket = UnixDatagram::bind(&notify).unwrap();
        setsockopt(&socket, sockopt::PassCred, &true).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let stop = Arc::new(AtomicBool::new(false));
        // Nobody counts before the main process is known.
        let held = heard.lock().unwrap();
        let ear = {
            let (heard, stop) = (Arc::clone(&heard), Arc::clone(&stop));
            thread::Builder::new().name("ear".to_owned()).spawn(move || listen(&socket, &heard, &stop)).unwrap()
        };
        let [at_http, at_https, at_control] = addresses.map(|address| address.to_string());
        let script = "export LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=a:b:c WATCHDOG_PID=$$; \
                      exec \"$0\" \"$@\" 3<&0 4<&1 5<&2 0</dev/null 1>/dev/null 2>\"$ERRORS\"";
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(&program).args(["serve", "--workers", "2", "--http", &at_http]);
        command.args(["--https", &at_https, "--control", &at_control]);
        command.env("NOTIFY_SOCKET", &notify).env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
        command.env("STATE_DIRECTORY", state.path()).env("HOTCORE_ACME_DIRECTORY", NO_AUTHORITY);
        command.env("ERRORS", own.path().join("stderr")).env_remove("JOURNAL_STREAM").env_remove("HOTCORE_STATE");
        let stdio = [OwnedFd::from(http), OwnedFd::from(https), OwnedFd::from(control)].map(Stdio::from);
        let [first, second, third] = stdio;
        let child = command.stdin(first).stdout(second).stderr(third).spawn().unwrap();
        let mut held = held;
        (held.main, _) = (child.id(), held.processes.insert(child.id()));
        drop(held);
        let [http, _, control] = addresses;
        let state_path = state.path().to_owned();
        let manager =
            Self { http, control, state: state_path, program, heard, stop, ear: Some(ear), _folders: [state, own] };
        manager.wait_for(manager.main(), "READY=1");
        manager
    }

    /// The main process.
    pub(crate) fn main(&self) -> u32 {
        self.heard.lock().unwrap().main
    }

    /// All that was heard so far.
    pub(crate) fn said(&self) -> Vec<Said> {
        self.heard.lock().unwrap().said.clone()
    }

    /// Waits until a process has said a line.
    pub(crate) fn wait_for(&self, process: u32, line: &str) {
        wait_for(&format!("{line} of {process}"), PATIENCE, || {
            let heard = self.heard.lock().unwrap();
            let is_it = |said: &&Said| said.process == process && said.text.lines().any(|is| is == line);
            heard.said.iter().find(is_it).map(drop)
        });
    }

    /// `systemctl reload`: the exit code and what was said.
    pub(crate) fn reload(&self) -> (Option<i32>, String) {
        self.hand_over(self.main())
    }

    /// Reloads, which must succeed, and gives the new main process.
    pub(crate) fn must_reload(&self) -> u32 {
        let before = self.main();
        let (code, said) = self.reload();
        assert_eq!((code, said.as_str()), (Some(0), ""), "{}", self.log());
        // It was sent before the reload ended, and is read in a moment.
        wait_for("the new main process", PATIENCE, || Some(self.main()).filter(|main| *main != before))
    }

    /// `hotcore serve --hand-over`, with the environment of the service.
    pub(crate) fn hand_over(&self, process: u32) -> (Option<i32>, String) {
        let mut command = Daemon::program();
        command.args(["serve", "--hand-over", &process.to_string()]).env("STATE_DIRECTORY", &self.state);
        let output = command.env_remove("HOTCORE_STATE").output().unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Puts something else in the place of the program.
    pub(crate) fn replace_program(&self, put: impl FnOnce(&Path)) {
        let fresh = self.program.with_extension("new");
        let _ = fs::remove_file(&fresh);
        put(&fresh);
        match fresh.symlink_metadata() {
            Ok(_) => fs::rename(&fresh, &self.program).unwrap(),
            Err(_) => fs::remove_file(&self.program).unwrap(),
        }
    }

    /// Puts the right program back.
    pub(crate) fn repair_program(&self) {
        self.replace_program(|path| symlink(Daemon::program().get_program(), path).unwrap());
    }

    /// A client that sends each command once.
    pub(crate) fn commands(&self) -> Control {
        Control::connect(self.control)
    }

    /// The log of all generations.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.state.join("hotcore.log")).unwrap_or_default();
        let errors = self.program.with_file_name("stderr");
        format!("{log}{}", fs::read_to_string(errors).unwrap_or_default())
    }

    /// Waits until a process has ended, well.
    pub(crate) fn wait_for_end(&self, process: u32) {
        let pid = pid(process);
        let status =
            wait_for(&format!("the end of {process}"), PATIENCE, || match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) => None,
                other => Some(other),
            });
        assert_eq!(status, Ok(WaitStatus::Exited(pid, 0)), "{}", self.log());
    }

    /// Processes that were started to take over, whatever has become of them.
    pub(crate) fn successors(&self) -> Vec<u32> {
        let is_one = |process: &u32| {
            let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment);
            environment.contains("HOTCORE_HANDOVER=") && environment.contains(&*self.state.to_string_lossy())
        };
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_one).collect()
    }

    /// Whether a process lives.
    pub(crate) fn lives(&self, process: u32) -> bool {
        waitpid(pid(process), Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive)
    }

    /// `kill -9`, and its end.
    pub(crate) fn kill(&self, process: u32) {
        kill(pid(process), Signal::SIGKILL).unwrap();
        let _ = waitpid(pid(process), None);
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(ear) = self.ear.take() {
            let _ = ear.join();
        }
        let mut processes = std::mem::take(&mut self.heard.lock().unwrap().processes);
        processes.extend(self.successors());
        // A process that is no child of this one any more has been waited for.
        for process in processes {
            if self.lives(process) {
                self.kill(process);
            }
        }
        // Other tests wait for no process but those they have started.
        let _ = prctl::set_child_subreaper(false);
    }
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(i32::try_from(process).unwrap())
}

fn listen(socket: &UnixDatagram, heard: &Mutex<Heard>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let mut bytes = [0; 4096];
        let mut room = nix::cmsg_space!(nix::sys::socket::UnixCredentials);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::empty()) {
            Ok(message) => message,
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(errno) => panic!("{errno}"),
        };
        let sender = message.cmsgs().unwrap().find_map(|part| match part {
            ControlMessageOwned::ScmCredentials(credentials) => u32::try_from(credentials.pid()).ok(),
            _ => None,
        });
        let (process, length) = (sender.unwrap(), message.bytes);
        let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
        let mut heard = heard.lock().unwrap();
        let counts = process == heard.main;
        let main = text.lines().find_map(|line| line.strip_prefix("MAINPID=")?.parse().ok());
        if let Some(main) = main.filter(|_| counts) {
            heard.main = main;
            heard.processes.insert(main);
        }
        heard.said.push(Said { process, text, counts });
    }
}
