//! What an app's deploy does to its visitors: nothing.

use crate::rig::{Backend, Client, Daemon, Load, ReservedPort, WebSocket, folder, note};

const CLIENTS: usize = 8;

/// B21: while nobody listens, requests wait.
#[test]
fn a_backend_restarts_under_load_without_a_failed_request() {
    let (state, files) = (folder(), folder());
    let daemon = Daemon::start(state.path());
    let port = ReservedPort::new();
    let mut app = Backend::app_on("the app", port.number, files.path());
    daemon.commands().add("app.example", port.number);

    let load = Load::start(daemon.http, "app.example", CLIENTS, &["the app"]);
    for _ in 0..3 {
        load.wait_for_more(500);
        app.terminate();
        app = Backend::app_on("the app", port.number, files.path());
    }
    load.wait_for_more(500);
    let (answered, slowest) = load.finish();
    note(&format!("3 restarts of a backend: {answered} requests, none failed, the longest took {slowest:?}"));
}

/// B22: the route is read again at every probe.
#[test]
fn a_request_that_waits_for_a_dead_backend_is_moved_by_a_new_rule() {
    let (state, files) = (folder(), folder());
    let daemon = Daemon::start(state.path());
    let dead = ReservedPort::new();
    let commands = daemon.commands();
    commands.add("app.example", dead.number);
    let mut client = Client::connect(daemon.http).unwrap();
    client.write("GET / HTTP/1.1\r\nHost: app.example\r\n\r\n").unwrap();
    let app = Backend::app("the app", files.path());
    commands.add("app.example", app.port);
    let answer = client.head().unwrap();
    assert_eq!((answer.status, client.read_until("app").unwrap().as_str()), (200, "the app"));
}

/// B40, B115, B181: after the `ok` new requests go to the new port, requests before it finish, tunnels stay.
#[test]
fn blue_and_green_swap_under_load_without_a_failed_request_or_a_cut_tunnel() {
    let (state, files) = (folder(), folder());
    let daemon = Daemon::start(state.path());
    let apps = [Backend::app("blue", files.path()), Backend::app("green", files.path())];
    let chats = [Backend::python_echo("blue"), Backend::python_echo("green")];
    let commands = daemon.commands();
    commands.add("app.example", apps[0].port);
    commands.add("chat.example", chats[0].port);
    let mut tunnel = WebSocket::connect(daemon.http, "chat.example").unwrap();
    let mut client = Client::connect(daemon.http).unwrap();

    let load = Load::start(daemon.http, "app.example", CLIENTS, &["blue", "green"]);
    for turn in 1..=20 {
        load.wait_for_more(100);
        let now = turn % 2;
        commands.add("app.example", apps[now].port);
        commands.add("chat.example", chats[now].port);
        let name = ["blue", "green"][now];
        assert_eq!(client.get("app.example", "/").unwrap().text(), name, "the next request on an open connection");
        let mut new = Client::connect(daemon.http).unwrap();
        assert_eq!(new.get("app.example", "/").unwrap().text(), name, "the first request on a new connection");
        let mut new = WebSocket::connect(daemon.http, "chat.example").unwrap();
        assert_eq!(new.ask("hello").unwrap(), format!("{name}: hello"));
        assert_eq!(tunnel.ask("still there?").unwrap(), "blue: still there?", "the tunnel from before");
    }
    assert_eq!(commands.ask("remove chat.example"), "ok chat.example removed");
    assert_eq!(tunnel.ask("even now?").unwrap(), "blue: even now?", "the tunnel of a removed rule");
    let (answered, slowest) = load.finish();
    note(&format!("20 swaps: {answered} requests, none failed, the longest took {slowest:?}"));
}
