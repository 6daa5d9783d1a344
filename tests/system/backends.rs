//! Real backends, each behind a domain of its own, driven by curl and a WebSocket client.

use std::fs;

use crate::rig::{Answer, Backend, Client, Daemon, WebSocket, folder, skip};

#[test]
fn node_and_python_are_served_each_by_its_own_name() {
    let (state, files) = (folder(), folder());
    fs::write(files.path().join("hello.txt"), "from a file\n").unwrap();
    let daemon = Daemon::start(state.path());
    let (app, python) = (Backend::app("the app", files.path()), Backend::files(files.path()));
    let commands = daemon.commands();
    commands.add("app.example", app.port);
    commands.add("files.example", python.port);

    assert_eq!(Answer::by_curl(daemon.http, "http://app.example/"), "the app");
    assert_eq!(Answer::by_curl(daemon.http, "http://files.example/hello.txt"), "from a file\n");
    assert_eq!(Answer::by_curl(daemon.http, "http://app.example/file/hello.txt"), "from a file\n");
    // The backend learns for whom and from where (B80), and the client's own claim does not count.
    let seen = Answer::by_curl(daemon.http, "http://app.example/headers");
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!(seen["host"], "app.example");
    assert_eq!(seen["x-forwarded-for"], "127.0.0.1");
    assert_eq!(seen["x-forwarded-proto"], "http");
    assert_eq!(seen["x-forwarded-host"], "app.example");
}

/// B10: an unknown name gets a page that shows that name and no other.
#[test]
fn an_unknown_name_is_told_so_without_naming_another() {
    let (state, files) = (folder(), folder());
    let daemon = Daemon::start(state.path());
    let app = Backend::app("the app", files.path());
    daemon.commands().add("app.example", app.port);

    let answer = Client::connect(daemon.http).unwrap().get("other.example", "/").unwrap();
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("other.example"), "{}", answer.text());
    assert!(!answer.text().contains("app.example"), "{}", answer.text());
}

#[test]
fn websockets_of_python_pass() {
    let state = folder();
    let daemon = Daemon::start(state.path());
    echoes(&daemon, "python.example", &Backend::python_echo("python"), "python");
}

#[test]
fn websockets_of_node_pass() {
    if !Backend::node_has_ws() {
        return skip("websockets_of_node_pass", "Node.js does not find the package ws (Debian: node-ws)");
    }
    let state = folder();
    let daemon = Daemon::start(state.path());
    echoes(&daemon, "node.example", &Backend::node_echo("node"), "node");
}

fn echoes(daemon: &Daemon, domain: &str, backend: &Backend, name: &str) {
    daemon.commands().add(domain, backend.port);
    let mut socket = WebSocket::connect(daemon.http, domain).unwrap();
    for word in ["one", "two", "three"] {
        assert_eq!(socket.ask(word).unwrap(), format!("{name}: {word}"));
    }
}
