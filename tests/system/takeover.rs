//! A second `hotcore serve` on the same folder takes over; nobody notices (B208).

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::rig::{Backend, Daemon, Launch, Load, PATIENCE, WebSocket, folder, note, wait_for};

const CLIENTS: usize = 8;

#[test]
fn a_second_serve_takes_over_without_a_failed_request_or_a_lost_command() {
    let (state, files) = (folder(), folder());
    let app = Backend::app("the app", files.path());
    let mut daemon = Daemon::start(state.path());
    daemon.commands().add("app.example", app.port);
    let load = Load::start(daemon.http, "app.example", CLIENTS, &["the app"]);
    let stop = AtomicBool::new(false);

    let (first, control) = (daemon.http, daemon.control);
    thread::scope(|scope| {
        // A command at a time, each sent once: a lost one shows as a missing reply.
        let commands = daemon.commands();
        let stop = &stop;
        let sender = scope.spawn(move || {
            let mut number = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                commands.add(&format!("site-{number}.example"), 3000);
                number += 1;
            }
            number
        });
        for _ in 0..3 {
            load.wait_for_more(300);
            let mut second = Launch::new(state.path()).beside(&daemon).start();
            assert_eq!((second.http, second.control), (first, control), "the same sockets");
            assert!(daemon.wait(PATIENCE).success(), "the first ends well");
            std::mem::swap(&mut daemon, &mut second);
            load.wait_for_more(300);
        }
        stop.store(true, Ordering::Relaxed);
        let added = sender.join().unwrap();
        let listed = daemon.commands().list();
        assert_eq!(listed.len(), added as usize + 1, "rules");
        note(&format!("3 take-overs: {added} rules added meanwhile"));
    });
    let (answered, slowest) = load.finish();
    note(&format!("3 take-overs: {answered} requests, none failed, the longest took {slowest:?}"));
}

/// B207: the old process keeps its tunnels, and ends when the last of them does.
#[test]
fn a_tunnel_outlives_the_take_over() {
    let state = folder();
    let chat = Backend::python_echo("chat");
    let mut first = Daemon::start(state.path());
    first.commands().add("chat.example", chat.port);
    let mut tunnel = WebSocket::connect(first.http, "chat.example").unwrap();
    assert_eq!(tunnel.ask("before").unwrap(), "chat: before");

    let second = Launch::new(state.path()).beside(&first).start();
    wait_for("the first to take no more connections", PATIENCE, || (!first.listens()).then_some(()));
    let mut other =
        wait_for("a tunnel through the second", PATIENCE, || WebSocket::connect(second.http, "chat.example").ok());
    assert_eq!(other.ask("new").unwrap(), "chat: new");
    assert_eq!(tunnel.ask("after").unwrap(), "chat: after");
    drop(tunnel);
    assert!(first.wait(PATIENCE + Duration::from_secs(30)).success(), "the first ends with its last tunnel");
    assert_eq!(other.ask("still").unwrap(), "chat: still");
}
