//! `systemctl reload`, without systemd: the next generation takes over, and nobody notices (B204–B207).

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use hotcore::limits;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::rig::{
    Backend, Client, Daemon, Launch, Load, Manager, PATIENCE, WATCHDOG, WebSocket, folder, note, seeded, wait_for,
};

const CLIENTS: usize = 8;

fn parent(process: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok()).unwrap()
}

/// Children of a process, zombies among them.
fn children(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let of = |task: PathBuf| fs::read_to_string(task.join("children")).unwrap_or_default();
    tasks.flat_map(|task| of(task.path()).split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// B204: the words to systemd in their order, each from the process that must say it.
#[test]
fn systemd_is_told_of_the_new_main_process_and_hears_only_it_from_then_on_b204() {
    let manager = Manager::start();
    let first = manager.main();
    manager.commands().add("a.example", 3000);
    manager.wait_for(first, "WATCHDOG=1");
    let second = manager.must_reload();
    assert_eq!(parent(second), std::process::id(), "a child of the old one would be missed when it dies");
    // WATCHDOG_PID named the first; the second must feed the watchdog all the same.
    for _ in 0..3 {
        let before = manager.said().len();
        wait_for("the second feeds the watchdog", WATCHDOG, || {
            manager.said()[before..]
                .iter()
                .any(|said| said.process == second && said.text.trim_end() == "WATCHDOG=1")
                .then_some(())
        });
    }
    manager.wait_for_end(first);
    let said = manager.said();
    let main = said.iter().position(|said| said.text.contains("MAINPID=")).unwrap();
    assert_eq!((said[main].process, said[main].text.trim_end()), (first, &*format!("MAINPID={second}")));
    assert!(said.iter().all(|said| said.counts), "nobody spoke out of turn: {said:#?}");
    assert!(said[main + 1..].iter().all(|said| said.process == second), "the first is silent: {said:#?}");
    assert!(said[main + 1].text.starts_with("READY=1\nSTATUS=1 rule"), "{said:#?}");
    assert_eq!(manager.commands().ask("list"), "a.example 3000");
    assert_eq!(children(second), Vec::<String>::new());
    let environment = fs::read_to_string(format!("/proc/{second}/environ")).unwrap();
    for name in ["LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES=", "WATCHDOG_PID="] {
        assert!(!environment.contains(name), "{environment}");
    }
    assert_eq!(fs::read_link(format!("/proc/{second}/fd/0")).unwrap(), Path::new("/dev/null"));
}

fn script(text: &'static str) -> impl FnOnce(&Path) {
    file(text.as_bytes(), 0o755)
}

fn file(bytes: &'static [u8], mode: u32) -> impl FnOnce(&Path) {
    move |path| {
        fs::write(path, bytes).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}

/// B205: whatever the new program does, the old one goes on, and says why.
#[test]
fn a_broken_new_program_is_discarded_and_the_old_one_goes_on_b205() {
    let manager = Manager::start();
    let first = manager.main();
    let load = {
        let files = folder();
        let app = Backend::app("the app", files.path());
        manager.commands().add("app.example", app.port);
        (Load::start(manager.http, "app.example", 2, &["the app"]), app, files)
    };
    let fails = |what: &str, expected: &str| {
        let begun = Instant::now();
        let (code, said) = manager.reload();
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(said.starts_with(&format!("error: process {first} goes on as before: ")), "{what}: {said}");
        assert!(said.contains(expected) && said.lines().count() == 1, "{what}: {said}");
        assert_eq!(manager.main(), first);
        let status = manager.commands().ask("status");
        assert!(status.contains(&format!("\npid {first}\n")), "{status}");
        assert!(status.contains("problem the last reload failed") && status.contains(expected), "{what}: {status}");
        wait_for("STATUS= says it", PATIENCE, || {
            manager
                .said()
                .iter()
                .any(|said| said.text.contains("STATUS=") && said.text.contains(expected))
                .then_some(())
        });
        wait_for("the log says it", PATIENCE, || manager.log().contains(expected).then_some(()));
        wait_for("nothing is left of it", PATIENCE, || children(first).is_empty().then_some(()));
        manager.commands().add(&format!("{}.example", what.replace(' ', "-")), 3000);
        begun.elapsed()
    };
    manager.replace_program(|_| {});
    fails("missing", "cannot start");
    manager.replace_program(file(b"\x7fELF garbage", 0o755));
    fails("garbage", "Exec format error");
    manager.replace_program(file(b"#!/bin/sh\n", 0o644));
    fails("not executable", "Permission denied");
    manager.replace_program(file(b"#!/no/such/interpreter\n", 0o755));
    fails("no interpreter", "cannot start");
    manager.replace_program(script("#!/bin/sh\nexit 1\n"));
    fails("exits", "ended at once (exit status: 1)");
    manager.replace_program(script("#!/bin/sh\nexit 0\n"));
    fails("does nothing", "ended before it served");
    manager.replace_program(script("#!/bin/sh\nkill -SEGV $$\n"));
    fails("crashes", "ended at once (signal: 11 (SIGSEGV)");
    manager.replace_program(script("#!/bin/sh\necho failed no certificate >&0\nexit 1\n"));
    fails("says why", "could not start: no certificate");
    // The starter is well, and the new one ends.
    manager.replace_program(script(
        "#!/bin/sh\n[ $HOTCORE_HANDOVER = take ] && exit 3\nexec 3<&0\nHOTCORE_HANDOVER=take \"$0\" \"$@\" <&3 3<&- &\n",
    ));
    fails("ends later", "ended before it served");
    // From another version.
    manager.replace_program(script("#!/bin/sh\necho ask 9 $$ and more >&0\nread answer\n"));
    fails("another version", "version 9 of the hand-over");
    // It hangs, and so does what it has started; and before that, somebody else asks.
    manager.replace_program(script("#!/bin/sh\nexec 3<&0\nsleep 600 <&3 &\necho $! >> \"$0.pids\"\nwait\n"));
    thread::scope(|scope| {
        let hangs = scope.spawn(|| fails("hangs", "not ready in time"));
        wait_for("the new one hangs", PATIENCE, || manager.program.with_extension("pids").exists().then_some(()));
        let (code, said) = manager.reload();
        assert_eq!(code, Some(1));
        assert!(said.contains("another process is just taking over"), "{said}");
        let took = hangs.join().unwrap();
        assert!(took >= limits::HANDOVER_WAIT && took < limits::RELOAD_WAIT, "{took:?}");
    });
    let pids = fs::read_to_string(manager.program.with_extension("pids")).unwrap();
    for pid in pids.split_whitespace() {
        wait_for("it is killed", PATIENCE, || (!manager.lives(pid.parse().unwrap())).then_some(()));
    }
    // What is not needed for a reload is still so: nobody was disturbed, and the next reload is a good one.
    manager.repair_program();
    let second = manager.must_reload();
    manager.wait_for_end(first);
    assert!(!manager.commands().ask("status").contains("reload failed"));
    assert_eq!(manager.commands().list().len(), 12);
    assert_eq!(manager.main(), second);
    load.0.finish();
}

/// B204, B207: twenty in a row under load.
#[test]
fn a_storm_of_reloads_loses_no_request_and_leaves_no_process_b207() {
    const RELOADS: usize = 20;
    let files = folder();
    let app = Backend::app("the app", files.path());
    let manager = Manager::start();
    manager.commands().add("app.example", app.port);
    let load = Load::start(manager.http, "app.example", CLIENTS, &["the app"]);
    load.wait_for_more(100);
    let begun = Instant::now();
    let mut generations = vec![manager.main()];
    for _ in 0..RELOADS {
        generations.push(manager.must_reload());
        load.wait_for_more(20);
    }
    let took = begun.elapsed();
    load.wait_for_more(100);
    let last = generations.pop().unwrap();
    for process in generations {
        manager.wait_for_end(process);
    }
    wait_for("no generation is left", PATIENCE, || {
        (!manager.commands().ask("status").contains("draining")).then_some(())
    });
    assert!(manager.lives(last));
    assert!(manager.said().iter().all(|said| said.counts), "{:#?}", manager.said());
    let (answered, slowest) = load.finish();
    note(&format!("{RELOADS} reloads in {took:?}: {answered} requests, none failed, the longest took {slowest:?}"));
}

/// B207: each generation keeps its tunnels; beyond four processes the oldest is cut.
#[test]
fn each_generation_keeps_its_tunnels_until_there_are_too_many_b207() {
    let chat = Backend::python_echo("chat");
    let manager = Manager::start();
    manager.commands().add("chat.example", chat.port);
    let connect = || {
        let mut tunnel = WebSocket::connect(manager.http, "chat.example").unwrap();
        assert_eq!(tunnel.ask("new").unwrap(), "chat: new");
        tunnel
    };
    let draining = |count: usize| {
        wait_for(&format!("{count} that drain"), PATIENCE, || {
            let status = manager.commands().ask("status");
            let is_so = match count {
                0 => !status.contains("\ndraining"),
                _ => status.contains(&format!("\ndraining {count} older")),
            };
            is_so.then_some(())
        });
    };
    let mut generations = vec![manager.main()];
    let mut tunnels = vec![connect()];
    for count in 1..limits::GENERATIONS_MAX {
        generations.push(manager.must_reload());
        draining(count);
        tunnels.push(connect());
        for tunnel in &mut tunnels {
            assert_eq!(tunnel.ask("still").unwrap(), "chat: still");
        }
    }
    // One past the limit: the oldest ends, and the others do not.
    generations.push(manager.must_reload());
    manager.wait_for_end(generations[0]);
    assert!(tunnels[0].ask("still").is_err());
    draining(limits::GENERATIONS_MAX - 1);
    for tunnel in &mut tunnels[1..] {
        assert_eq!(tunnel.ask("still").unwrap(), "chat: still");
    }
    // A stop reaches one that drains, and nobody else.
    kill(Pid::from_raw(i32::try_from(generations[1]).unwrap()), Signal::SIGTERM).unwrap();
    manager.wait_for_end(generations[1]);
    draining(limits::GENERATIONS_MAX - 2);
    assert_eq!(tunnels[2].ask("still").unwrap(), "chat: still");
    // The last tunnel of a generation ends it.
    for tunnel in tunnels {
        drop(tunnel);
    }
    draining(0);
    let last = generations.pop().unwrap();
    for process in &generations[2..] {
        manager.wait_for_end(*process);
    }
    assert_eq!(manager.main(), last);
    assert!(manager.said().iter().all(|said| said.counts), "{:#?}", manager.said());
}

/// B206: nothing is sent twice here.
#[test]
fn no_datagram_is_lost_during_reloads_b206() {
    const ALL: usize = 20_000;
    const RELOADS: usize = 5;
    let manager = Manager::start();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let messages = (0..ALL).map(|number| format!("add d{number}.example 3000"));
            let replies = manager.commands().pipeline(messages, 200);
            is_over.store(true, Ordering::Relaxed);
            replies
        });
        let mut during = 0;
        for _ in 0..RELOADS {
            during += usize::from(!is_over.load(Ordering::Relaxed));
            manager.must_reload();
        }
        let replies = sender.join().unwrap();
        assert_eq!(replies.len(), ALL);
        assert!(replies.iter().all(|reply| reply.starts_with("ok d")));
        assert!(during > 0, "the reloads came too late to prove anything");
        note(&format!("{ALL} datagrams during {during} reloads: none lost"));
    });
    assert!(manager.commands().ask("status").contains(&format!("rules {ALL}")));
}

/// Whoever of the two dies, and whenever, one serves, with every rule that was acknowledged; or systemd starts another one, which
/// does.
#[test]
fn kill_9_of_either_side_at_any_moment_loses_no_rule() {
    const ROUNDS: usize = 24;
    let mut random = seeded("kill_9_of_either_side_at_any_moment_loses_no_rule");
    let mut outcomes = [0; 3];
    for round in 0..ROUNDS {
        let manager = Manager::start();
        let first = manager.main();
        for number in 0..5 {
            manager.commands().add(&format!("r{number}.example"), 3000);
        }
        let kills_new = round % 2 == 0;
        let pause = Duration::from_micros(random.u64(0..150_000));
        thread::scope(|scope| {
            let asker = scope.spawn(|| manager.hand_over(first));
            // A moment that no event marks is what this test is about.
            thread::sleep(pause);
            if kills_new {
                manager.successors().into_iter().for_each(kill_9);
            } else {
                manager.kill(first);
            }
            let (code, said) = asker.join().unwrap();
            assert!(code == Some(0) || !said.is_empty(), "{code:?}");
        });
        // Whoever is left takes commands, with all rules; if nobody is, the next one does.
        let serves = (0..200).any(|_| {
            let commands = manager.commands();
            commands.send("check");
            commands.receive(Duration::from_millis(20)).is_some()
        });
        if serves {
            let list = manager.commands().list();
            assert_eq!(list.len(), 5, "round {round}, {pause:?}: {list:?}\n{}", manager.log());
            manager.commands().add("after.example", 3000);
            let serving = fs::read_to_string(manager.state.join("lock")).unwrap();
            outcomes[usize::from(serving.trim() != first.to_string())] += 1;
        } else {
            outcomes[2] += 1;
            drop_all(&manager);
            let next = Daemon::start(&manager.state);
            assert_eq!(next.commands().list().len(), 5, "round {round}, {pause:?}");
        }
    }
    note(&format!(
        "kill -9: the old one went on {}, the new one {}, another was started {}",
        outcomes[0], outcomes[1], outcomes[2]
    ));
}

/// One that has ended meanwhile is as good.
fn kill_9(process: u32) {
    let _ = kill(Pid::from_raw(i32::try_from(process).unwrap()), Signal::SIGKILL);
}

fn drop_all(manager: &Manager) {
    manager.successors().into_iter().for_each(kill_9);
    if manager.lives(manager.main()) {
        manager.kill(manager.main());
    }
}

/// systemd.md, 4: it would start it again and take the sockets back. A reload goes on working beside.
#[test]
fn a_second_serve_is_sent_to_systemctl_and_one_that_says_nothing_holds_nobody_up() {
    let manager = Manager::start();
    let mute: Vec<_> = (0..limits::KNOCKS_MAX + 2)
        .map(|_| std::os::unix::net::UnixStream::connect(manager.state.join("handover.sock")).unwrap())
        .collect();
    let mut second = Daemon::program();
    second.args(["serve", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--control", "127.0.0.1:0", "--state"]);
    let output = second.arg(&manager.state).env_remove("NOTIFY_SOCKET").stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("run by systemd: use `systemctl reload hotcore`"), "{said}");
    manager.must_reload();
    drop(mute);
}

/// SIGHUP is the same, with the outcome in the log; no service manager is needed.
#[test]
fn a_hang_up_reloads_without_a_service_manager_too() {
    let state = folder();
    let mut first = Launch::new(state.path()).start();
    first.commands().add("a.example", 3000);
    let hand_over = |process: u32| {
        let mut command = Daemon::program();
        command.args(["serve", "--hand-over", &process.to_string(), "--state"]).arg(state.path());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let serving = || -> Option<u32> {
        let commands = first.commands();
        commands.send("status");
        let status = commands.receive(Duration::from_millis(100))?;
        status.lines().find_map(|line| line.strip_prefix("pid ")?.parse().ok())
    };
    first.signal(Signal::SIGHUP);
    let second = wait_for("the second serves", PATIENCE, || serving().filter(|process| *process != first.pid()));
    let (code, said) = hand_over(first.pid());
    assert!(code == Some(1) && !said.is_empty(), "{said}");
    assert_eq!(hand_over(second), (Some(0), String::new()));
    let third = serving().unwrap();
    assert_ne!(third, second);
    assert_eq!(first.commands().ask("list"), "a.example 3000");
    let mut client = Client::connect(first.http).unwrap();
    assert_eq!(client.get("unknown.example", "/").unwrap().status, 404);
    kill(Pid::from_raw(i32::try_from(third).unwrap()), Signal::SIGTERM).unwrap();
    let http = first.http;
    wait_for("the third stops", PATIENCE, || Client::connect(http).is_err().then_some(()));
    assert!(first.wait(PATIENCE).success());
}

/// Each refusal is one sentence, and nothing is written.
#[test]
fn a_hand_over_that_cannot_be_asked_for_says_why_and_touches_nothing() {
    let state = folder();
    let hand_over = |process: &str| {
        let mut command = Daemon::program();
        command.args(["serve", "--hand-over", process, "--state"]).arg(state.path());
        let output = command.output().unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(hand_over("4194305"), (Some(1), "error: there is no process 4194305\n".to_owned()));
    let (code, said) = hand_over("1");
    assert_eq!(code, Some(1));
    assert!(said.contains(&format!("process 1 cannot be asked on {}: ", state.path().display())), "{said}");
    for wrong in ["0", "-1", "x", ""] {
        assert_eq!(hand_over(wrong).0, Some(2), "{wrong:?}");
    }
    assert_eq!(fs::read_dir(state.path()).unwrap().count(), 0, "nothing was written");
    let daemon = Daemon::start(state.path());
    let (code, said) = hand_over("1");
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&format!(
            "process 1 does not serve on {}, process {} does",
            state.path().display(),
            daemon.pid()
        )),
        "{said}"
    );
    // The variables of a hand-over mean something to nobody else.
    for (value, expected) in [("take", "standard input is no channel"), ("fly", "HOTCORE_HANDOVER=fly means nothing")] {
        let mut command = Daemon::program();
        command.args(["serve", "--state"]).arg(state.path()).env("HOTCORE_HANDOVER", value).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(expected), "{said}");
    }
}
