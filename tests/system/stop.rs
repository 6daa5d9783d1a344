//! SIGTERM: what was begun is finished, within 3 s (B203).

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::rig::{Backend, Client, Daemon, WebSocket, folder, note};

/// [`hotcore::limits::STOP_DRAIN`] and a margin for a busy machine.
const STOP_MAX: Duration = Duration::from_secs(3 + 5);

/// A daemon with one request in flight, whose backend waits for the test.
fn busy(state: &std::path::Path, app: &Backend) -> (Daemon, Client) {
    let daemon = Daemon::start(state);
    daemon.commands().add("app.example", app.port);
    let mut client = Client::connect(daemon.http).unwrap();
    client.write("GET /slow HTTP/1.1\r\nHost: app.example\r\n\r\n").unwrap();
    assert_eq!(client.head().unwrap().status, 200);
    client.read_until("begun ").unwrap();
    (daemon, client)
}

#[test]
fn a_request_in_flight_is_finished_before_the_end() {
    let (state, files) = (folder(), folder());
    let app = Backend::app("the app", files.path());
    let (mut daemon, mut client) = busy(state.path(), &app);
    let begun = Instant::now();
    daemon.signal(Signal::SIGTERM);
    // Directly, since no new request is taken any more.
    Client::connect(([127, 0, 0, 1], app.port).into()).unwrap().get("app", "/release").unwrap();
    client.read_until("finished").unwrap();
    assert_eq!(client.piece().unwrap(), None, "the proper end of the body");
    let status = daemon.wait(STOP_MAX);
    note(&format!("stopped {:?} after SIGTERM, with a request to finish", begun.elapsed()));
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_request_that_never_ends_does_not_hold_up_the_end() {
    let (state, files) = (folder(), folder());
    let app = Backend::app("the app", files.path());
    let (mut daemon, mut client) = busy(state.path(), &app);
    let begun = Instant::now();
    daemon.signal(Signal::SIGTERM);
    let status = daemon.wait(STOP_MAX);
    note(&format!("stopped {:?} after SIGTERM, with a request that never ends", begun.elapsed()));
    assert_eq!(status.code(), Some(0));
    // B100: a body that was cut is never seen as whole.
    assert!(client.piece().is_err(), "a cut body looked complete");
}

#[test]
fn an_idle_daemon_with_a_tunnel_ends_at_once_and_starts_again_with_its_rules() {
    let state = folder();
    let chat = Backend::python_echo("chat");
    let mut daemon = Daemon::start(state.path());
    daemon.commands().add("chat.example", chat.port);
    let mut tunnel = WebSocket::connect(daemon.http, "chat.example").unwrap();
    assert_eq!(tunnel.ask("hello").unwrap(), "chat: hello");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.wait(STOP_MAX).code(), Some(0));
    assert!(tunnel.ask("anybody?").is_err(), "a restart ends tunnels (B115)");
    let daemon = Daemon::start(state.path());
    assert_eq!(daemon.commands().list().get("chat.example"), Some(&chat.port));
}
