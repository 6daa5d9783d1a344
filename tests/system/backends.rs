//! Real backends, each behind a domain of its own, driven by curl and a WebSocket client.

use std::{
    collections::HashSet,
    fs,
    process::Command,
    time::{Duration, Instant},
};

use crate::rig::{Answer, Backend, Client, Daemon, PATIENCE, WebSocket, folder, skip, succeed, wait_for};

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

/// B41, B155: a process without descriptors says so, waits, and is well again as soon as there are some.
#[test]
fn without_descriptors_requests_are_told_to_come_again_and_nothing_is_lost() {
    let (state, files) = (folder(), folder());
    fs::write(files.path().join("hello.txt"), "from a file\n").unwrap();
    let daemon = Daemon::start(state.path());
    let app = Backend::files(files.path());
    daemon.commands().add("app.example", app.port);
    let mut known = Client::connect(daemon.http).unwrap();
    let ask = |client: &mut Client| client.get("app.example", "/hello.txt").unwrap();
    assert_eq!(ask(&mut known).status, 200);

    let refused = wait_for("the descriptors' end", PATIENCE, || {
        // Those of the request before may still be open.
        let open: HashSet<u32> = fs::read_dir(format!("/proc/{}/fd", daemon.pid()))
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
            .collect();
        let first_free = (0..).find(|number| !open.contains(number)).unwrap();
        limit_descriptors(&daemon, first_free);
        Some(ask(&mut known)).filter(|answer| answer.status != 200)
    });
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("1")), "{}", refused.text());
    assert!(refused.text().contains("too many open connections"), "{}", refused.text());
    let mut stranger = Client::connect(daemon.http).unwrap();
    stranger.write("GET /hello.txt HTTP/1.1\r\nHost: app.example\r\n\r\n").unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        assert_eq!(ask(&mut known).status, 503);
    }
    assert_eq!(daemon.commands().ask("check"), "kcehc");

    limit_descriptors(&daemon, 1024);
    assert_eq!(stranger.head().unwrap().status, 200, "it has waited in the queue");
    assert_eq!(ask(&mut known).status, 200);
    let log = wait_for("the log", PATIENCE, || Some(daemon.log()).filter(|log| log.contains("cannot accept")));
    for words in
        ["no connection to a backend for want of descriptors", "cannot accept connections for want of descriptors"]
    {
        assert_eq!(log.lines().filter(|line| line.contains(words)).count(), 1, "{words}: one line a minute\n{log}");
    }
}

/// Descriptors from `number` on can no longer be had (prlimit(1)).
fn limit_descriptors(daemon: &Daemon, number: u32) {
    succeed(Command::new("prlimit").args([format!("--pid={}", daemon.pid()), format!("--nofile={number}:")]));
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
