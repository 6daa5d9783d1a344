//! What the service manager is told (sd_notify(3)): ready means that everything works (B202).

use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::rig::{Backend, Client, Daemon, Launch, PATIENCE, folder};

#[test]
fn ready_is_said_when_rules_are_loaded_and_requests_are_answered() {
    let (state, files, sockets) = (folder(), folder(), folder());
    let app = Backend::app("the app", files.path());
    let daemon = Daemon::start(state.path());
    daemon.commands().add("app.example", app.port);
    daemon.kill();

    let path = sockets.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut daemon = Daemon::spawn(Launch::new(state.path()).command().env("NOTIFY_SOCKET", &path), state.path());
    assert!(told(&manager, "READY=1").contains("STATUS="), "with a line for `systemctl status`");
    daemon.find_sockets();
    assert_eq!(Client::connect(daemon.http).unwrap().get("app.example", "/").unwrap().text(), "the app");
    assert_eq!(daemon.commands().list().len(), 1);
    daemon.signal(Signal::SIGTERM);
    told(&manager, "STOPPING=1");
    assert!(daemon.wait(PATIENCE).success());
}

/// The next message that has this line.
fn told(manager: &UnixDatagram, line: &str) -> String {
    let mut message = [0; 4096];
    loop {
        let length = manager.recv(&mut message).unwrap_or_else(|error| panic!("never told {line}: {error}"));
        let text = String::from_utf8_lossy(&message[..length]).into_owned();
        if text.lines().any(|own| own == line) {
            return text;
        }
    }
}
