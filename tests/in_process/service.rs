//! The supervisor with everything passed in: several services in one process, one after another on the same state folder.

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hotcore::{
    certs::mkcert::Environment,
    routes::Disk,
    service::{
        ServiceError, Settings, Start, Supervisor,
        claim::Claim,
        handover::{AskError, New},
        notify::{Notifier, Watchdog},
        sockets::{Kind, Sockets, Wanted},
    },
};
use tokio::{runtime::Builder, sync::oneshot};

/// Nothing here takes this long; what does hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const ANY: &str = "127.0.0.1:0";

/// A service on a thread of its own.
pub(crate) struct Service {
    http: SocketAddr,
    control: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServiceError>>>,
}

impl Service {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, |_| {})
    }

    pub(crate) fn start_with(folder: &Path, change: impl FnOnce(&mut Start) + Send + 'static) -> Self {
        let any = || vec![ANY.parse().unwrap()];
        let settings = Settings {
            http: any(),
            https: any(),
            control: any(),
            state: folder.to_owned(),
            workers: Some(1),
            ..Settings::default()
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = mpsc::channel();
        let serve = move || {
            let wanted = Wanted::from_settings(&settings)?;
            let (claim, offered) = Claim::make(&settings.state)?;
            let (sockets, _) = Sockets::open(&wanted, offered)?;
            let mut start = Start {
                disk: Disk::open(&settings.state).unwrap(),
                settings,
                claim,
                sockets,
                notifier: Notifier::silent(),
                watchdog: Watchdog::new(None),
                mkcert: Environment::default(),
                log: "nowhere".to_owned(),
                is_managed: false,
                successor: None,
                hang_up: Arc::default(),
                handover_wait: PATIENCE,
            };
            change(&mut start);
            Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let supervisor = Supervisor::start(start)?;
                let address = |kind| supervisor.sockets().addresses(kind)[0];
                ready.send((address(Kind::Http), address(Kind::Control))).unwrap();
                supervisor
                    .run(async {
                        let _ = stopped.await;
                    })
                    .await
            })
        };
        let thread = thread::Builder::new().spawn(serve).unwrap();
        let (http, control) = is_ready.recv_timeout(PATIENCE).unwrap();
        Self { http, control, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn ask(&self, message: &str) -> String {
        let socket = self.send(message);
        receive(&socket)
    }

    pub(crate) fn send(&self, message: &str) -> UdpSocket {
        let socket = UdpSocket::bind(ANY).unwrap();
        socket.connect(self.control).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(message.as_bytes()).unwrap();
        socket
    }

    /// Its end, which is not far.
    fn ended(&mut self) -> Result<(), ServiceError> {
        let thread = self.thread.take().unwrap();
        until("it ends", || thread.is_finished());
        thread.join().unwrap()
    }

    pub(crate) fn stop(&mut self) -> Result<(), ServiceError> {
        let _ = self.stop.take().unwrap().send(());
        self.ended()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn receive(socket: &UdpSocket) -> String {
    let mut reply = [0; 1024];
    let length = socket.recv(&mut reply).unwrap();
    String::from_utf8(reply[..length].to_vec()).unwrap()
}

pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_stop_ends_well_and_rules_are_there_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(folder.path());
    assert_eq!(service.ask("add a.example 8080"), "ok a.example 8080");
    assert!(folder.path().join("handover.sock").exists());
    service.stop().unwrap();
    assert!(!folder.path().join("handover.sock").exists());
    assert_eq!(Service::start(folder.path()).ask("list"), "a.example 8080");
}

/// Knocks until it is let in: the failure before may still be on its way.
fn ask(folder: &Path) -> New {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut new = New::connect(folder).unwrap();
        match new.ask() {
            Ok(offered) => {
                assert_eq!(offered.len(), 3);
                return new;
            }
            Err(AskError::Refused(why)) if why.contains("just taking over") && Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(2));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// B205: the new one fails at each step; a command that was sent while nobody had the pen is answered by the old one.
#[test]
fn the_old_one_goes_on_when_the_new_one_fails_at_any_step_b205() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let add = |round: &str| assert_eq!(service.ask(&format!("add {round} 8080")), format!("ok {round} 8080"));
    drop(New::connect(folder.path()).unwrap());
    add("a.example");
    drop(ask(folder.path()));
    add("b.example");
    ask(folder.path()).fail("made to fail");
    add("c.example");
    for name in ["d.example", "e.example"] {
        let mut new = ask(folder.path());
        new.wait_for_pen().unwrap();
        let waiting = service.send(&format!("add {name} 8080"));
        if name == "d.example" {
            drop(new)
        } else {
            new.fail("made to fail")
        }
        assert_eq!(receive(&waiting), format!("ok {name} 8080"));
    }
    assert_eq!(service.ask("list").lines().count(), 5);
}

/// B205: silence is a failure as well, and the new one is told so, whenever it speaks again.
#[test]
fn the_old_one_goes_on_when_the_new_one_is_silent_b205() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start_with(folder.path(), |start| start.handover_wait = Duration::from_millis(100));
    let mut new = ask(folder.path());
    new.wait_for_pen().unwrap();
    let waiting = service.send("add a.example 8080");
    assert_eq!(receive(&waiting), "ok a.example 8080");
    match new.wait_for_word() {
        Err(AskError::Refused(why)) => assert!(why.contains("not ready in time"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_third_one_is_refused_while_the_second_takes_over() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let mut second = ask(folder.path());
    second.wait_for_pen().unwrap();
    let error = Claim::make(folder.path()).unwrap_err().to_string();
    assert!(error.contains("another process is just taking over"), "{error}");
    drop(second);
    assert_eq!(service.ask("check"), "kcehc");
}

/// B207: what is in flight in the old one is finished there, whatever happens to the new one meanwhile.
#[test]
fn a_request_in_flight_is_answered_by_the_old_one_while_it_drains_b207() {
    let folder = tempfile::tempdir().unwrap();
    let backend = TcpListener::bind(ANY).unwrap();
    let port = backend.local_addr().unwrap().port();
    let mut old = Service::start(folder.path());
    assert_eq!(old.ask(&format!("add a.example {port}")), format!("ok a.example {port}"));
    let mut client = TcpStream::connect(old.http).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").unwrap();
    let (mut app, _) = backend.accept().unwrap();
    let new = Service::start(folder.path());
    assert_eq!((new.http, new.control), (old.http, old.control));
    assert_eq!(new.ask("check"), "kcehc");
    until("the new one knows of the old one", || new.ask("status").contains("draining 1"));
    app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("late"), "{answer}");
    old.ended().unwrap();
    until("the new one knows that the old one is gone", || !new.ask("status").contains("draining"));
}

/// A stop cuts the drain of a generation short, and does not touch the one that serves.
#[test]
fn a_stop_reaches_a_generation_that_drains() {
    let folder = tempfile::tempdir().unwrap();
    let mut old = Service::start(folder.path());
    let backend = TcpListener::bind(ANY).unwrap();
    let port = backend.local_addr().unwrap().port();
    assert_eq!(old.ask(&format!("add a.example {port}")), format!("ok a.example {port}"));
    let mut client = TcpStream::connect(old.http).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").unwrap();
    let _app = backend.accept().unwrap();
    let new = Service::start(folder.path());
    old.stop().unwrap();
    assert_eq!(new.ask("check"), "kcehc");
    assert!(folder.path().join("handover.sock").exists());
}

/// unix(7): an address holds 108 bytes; the path of a state folder may be longer.
#[test]
fn a_state_folder_with_a_long_name_is_handed_over_as_well() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("x".repeat(200));
    std::fs::create_dir(&folder).unwrap();
    let mut old = Service::start(&folder);
    assert_eq!(old.ask("add a.example 8080"), "ok a.example 8080");
    let new = Service::start(&folder);
    old.ended().unwrap();
    assert_eq!(new.ask("list"), "a.example 8080");
}

/// B30: such a rule stays, and `status` names it.
#[test]
fn a_rule_to_a_port_of_our_own_is_named_by_status_b30() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(folder.path());
    let free = TcpListener::bind(ANY).unwrap();
    let address = free.local_addr().unwrap();
    assert_eq!(service.ask(&format!("add a.example {}", address.port())), format!("ok a.example {}", address.port()));
    service.stop().unwrap();
    let change = move |start: &mut Start| {
        free.set_nonblocking(true).unwrap();
        start.sockets.http = vec![free];
    };
    let service = Service::start_with(folder.path(), change);
    assert_eq!(service.http, address);
    let status = service.ask("status");
    assert!(status.contains("\nproblem rules to hotcore's own ports: a.example\n"), "{status}");
    assert_eq!(service.ask("remove a.example"), "ok a.example removed");
    assert!(!service.ask("status").contains("a.example"));
}

#[test]
fn a_name_is_tried_again_only_while_it_is_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    assert_eq!(service.ask("retry a.example"), "error a.example is not mapped: first add a.example <port>");
    assert_eq!(service.ask("add a.example 8080"), "ok a.example 8080");
    assert_eq!(service.ask("retry a.example"), "ok a.example is tried now");
    assert_eq!(service.ask("certs after a.example"), "");
    let status = service.ask("status");
    assert!(status.contains("\ncertificates 0\n") && status.contains("\nstopped 0\n"), "{status}");
}

/// B206: the keeper of certificates goes with the pen, and comes back with it.
#[test]
fn a_hand_over_that_failed_late_leaves_the_keeper_at_work() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::start(folder.path());
    for _ in 0..3 {
        let mut new = ask(folder.path());
        new.wait_for_pen().unwrap();
        new.fail("made to fail");
        assert_eq!(service.ask("add a.example 8080"), "ok a.example 8080");
        assert_eq!(service.ask("retry a.example"), "ok a.example is tried now");
    }
    let start = Instant::now();
    service.stop().unwrap();
    assert!(start.elapsed() < hotcore::limits::KEEPER_WAIT, "it rests when it is told");
}

/// B212: something that must run and does not is the end of the process, with a clear line.
#[test]
fn the_end_of_the_control_loop_is_the_end_of_the_service_b212() {
    let folder = tempfile::tempdir().unwrap();
    let no_socket: OwnedFd = File::open("/dev/null").unwrap().into();
    let mut service = Service::start_with(folder.path(), |start| start.sockets.control.push(no_socket.into()));
    let error = service.ended().unwrap_err().to_string();
    assert!(error.starts_with("the control loop ended unexpectedly, so the service ends: "), "{error}");
}
