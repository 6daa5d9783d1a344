//! The order of a change: durable, then visible, then acknowledged; and what a disk that stalls or fails does to it.

use hotcore::{
    control::ServerError,
    limits::{COMMIT_REQUESTS_MAX, CONTROL_QUEUE_MAX},
    routes::{Change, Commit, Port, SaveError, Table},
};

use super::rig::{Client, Disk, Rig, Stalled, bind, domain, new_server, port_of, wait_for};

const SAVE_ERROR: &str = "error cannot save the rule, nothing was changed: no space left on device";

/// Invariant 2: durable, then visible, then acknowledged (B181, B183).
#[test]
fn a_rule_is_invisible_and_unacknowledged_while_its_commit_is_pending() {
    let (disk, commit) = Stalled::new();
    let rig = Rig::start(commit);
    let (writer, reader) = (rig.client(), rig.client());
    writer.send("add a.com 8080");
    assert_eq!(disk.began(), [Change::Map(domain("a.com"), Port::new(8080).unwrap())]);
    // The loop goes on: another client is answered, and sees nothing of it.
    assert_eq!(reader.ask("list"), "");
    assert_eq!(reader.ask("remove other.com"), "ok other.com was not mapped");
    assert_eq!(port_of(&rig.table, "a.com"), None);
    assert!(writer.has_nothing());
    disk.end();
    assert_eq!(writer.receive(), "ok a.com 8080");
    // Acknowledged, so visible, whoever looks.
    assert_eq!(port_of(&rig.table, "a.com"), Some(8080));
    assert_eq!(reader.ask("list"), "a.com 8080");
}

/// Invariant 2, for a removal: requests follow the rule until it is gone from the disk.
#[test]
fn a_rule_stays_visible_while_its_removal_is_pending() {
    let (disk, commit) = Stalled::new();
    let rig = Rig::start(commit);
    let client = rig.client();
    client.send("add a.com 8080");
    disk.began();
    disk.end();
    assert_eq!(client.receive(), "ok a.com 8080");
    client.send("remove a.com");
    assert_eq!(disk.began(), [Change::Unmap(domain("a.com"))]);
    assert_eq!(rig.ask("list"), "a.com 8080");
    assert_eq!(port_of(&rig.table, "a.com"), Some(8080));
    disk.end();
    assert_eq!(client.receive(), "ok a.com removed");
    assert_eq!(port_of(&rig.table, "a.com"), None);
}

#[test]
fn all_that_comes_in_during_a_commit_shares_the_next_one() {
    // B182, and B180: of the same domain the later one stays, each gets its own reply.
    let (disk, commit) = Stalled::new();
    let rig = Rig::start(commit);
    let clients: Vec<Client> = (0..50).map(|_| rig.client()).collect();
    clients[0].send("add first.com 1");
    assert_eq!(disk.began().len(), 1);
    for (index, client) in clients.iter().enumerate().skip(1) {
        client.send(format!("add shared.com {index}"));
    }
    wait_for("the wait of all changes", || rig.counters.waiting() == 50);
    disk.end();
    assert_eq!(disk.began(), [Change::Map(domain("shared.com"), Port::new(49).unwrap())]);
    assert_eq!(clients[0].receive(), "ok first.com 1");
    assert!(clients[1..].iter().all(Client::has_nothing));
    disk.end();
    for (index, client) in clients.iter().enumerate().skip(1) {
        assert_eq!(client.receive(), format!("ok shared.com {index}"));
    }
    assert_eq!(port_of(&rig.table, "shared.com"), Some(49));
    assert_eq!(rig.counters.commits(), 2);
}

#[test]
fn the_same_rule_again_is_not_written_again_but_waits_for_changes_of_its_domain() {
    // B179.
    let (disk, commit) = Stalled::new();
    let rig = Rig::start(commit);
    let client = rig.client();
    client.send("add a.com 1");
    disk.began();
    disk.end();
    assert_eq!(client.receive(), "ok a.com 1");
    assert_eq!(client.ask("add a.com 1"), "ok a.com 1");
    assert_eq!(rig.counters.commits(), 1);

    // It is so now, but will not be when the commit in flight is done.
    client.send("add a.com 2");
    disk.began();
    let other = rig.client();
    other.send("add a.com 1");
    wait_for("the wait of both", || rig.counters.waiting() == 2);
    assert!(other.has_nothing());
    disk.end();
    assert_eq!(client.receive(), "ok a.com 2");
    assert_eq!(disk.began(), [Change::Map(domain("a.com"), Port::new(1).unwrap())]);
    disk.end();
    assert_eq!(other.receive(), "ok a.com 1");
    assert_eq!(port_of(&rig.table, "a.com"), Some(1));
}

#[test]
fn a_message_sent_again_while_its_commit_is_pending_is_answered_twice_and_written_once() {
    // B149, B179.
    let (disk, commit) = Stalled::new();
    let rig = Rig::start(commit);
    let client = rig.client();
    for _ in 0..3 {
        client.send("add a.com 1");
    }
    disk.began();
    wait_for("the wait of all three", || rig.counters.waiting() == 3);
    disk.end();
    for _ in 0..3 {
        assert_eq!(client.receive(), "ok a.com 1");
    }
    assert_eq!(rig.counters.commits(), 1);
}

#[test]
fn a_failed_save_is_an_error_and_changes_nothing() {
    // B196.
    let disk = Disk::default();
    let rig = Rig::start(disk.clone());
    let client = rig.client();
    assert_eq!(client.ask("add a.com 1"), "ok a.com 1");
    disk.fill(true);
    for _ in 0..2 {
        assert_eq!(client.ask("add a.com 2"), SAVE_ERROR);
        assert_eq!(client.ask("remove a.com"), SAVE_ERROR);
        assert_eq!(client.ask("add b.com 2"), SAVE_ERROR);
        // What is so in any case needs no disk.
        assert_eq!(client.ask("add a.com 1"), "ok a.com 1");
        assert_eq!(client.ask("remove b.com"), "ok b.com was not mapped");
    }
    assert_eq!(client.ask("list"), "a.com 1");
    assert_eq!(port_of(&rig.table, "a.com"), Some(1));
    assert!(client.ask("status").contains("\nproblem cannot save rules: no space left on device\n"));
    assert_eq!(rig.counters.save_failures(), 6);
    disk.fill(false);
    assert_eq!(client.ask("add a.com 2"), "ok a.com 2");
    assert_eq!(client.ask("list"), "a.com 2");
    assert!(!client.ask("status").contains("problem"));
}

#[test]
fn everyone_in_a_failed_commit_is_told() {
    let (disk, commit) = Stalled::new();
    let rig = Rig::start(commit);
    let clients: Vec<Client> = (0..5).map(|_| rig.client()).collect();
    clients[0].send("add a.com 1");
    disk.began();
    for (index, client) in clients.iter().enumerate().skip(1) {
        client.send(format!("add a.com {}", index + 1));
    }
    wait_for("the wait of all", || rig.counters.waiting() == 5);
    disk.end();
    assert_eq!(clients[0].receive(), "ok a.com 1");
    assert_eq!(disk.began().len(), 1);
    disk.fail("no space left on device");
    assert!(clients[1..].iter().all(|client| client.receive() == SAVE_ERROR));
    assert_eq!(rig.ask("list"), "a.com 1");
}

/// Invariant 3: a stalled disk neither blocks the loop nor lets its memory grow past a constant.
#[test]
fn at_the_limit_of_waiting_changes_nothing_more_is_read_and_nothing_is_lost() {
    let (disk, commit) = Stalled::new();
    let rig = Rig::start(commit);
    let client = rig.client();
    for number in 0..CONTROL_QUEUE_MAX {
        client.send(format!("add n{number}.com 8080"));
        // Never more in the socket than any socket holds.
        if number % 64 == 63 {
            wait_for("the reading", || rig.counters.received() == number as u64 + 1);
        }
    }
    wait_for("the full queue", || rig.counters.waiting() == CONTROL_QUEUE_MAX as u64);
    let other = rig.client();
    other.send("check");
    let (turns, received) = (rig.heartbeat.load(std::sync::atomic::Ordering::Relaxed), rig.counters.received());
    wait_for("two turns of the loop", || rig.heartbeat.load(std::sync::atomic::Ordering::Relaxed) > turns + 2);
    assert!(other.has_nothing());
    assert_eq!(rig.counters.received(), received);
    // The first commit held one change, or what one turn of the loop read; the others as many as a commit takes.
    let mut changes = 0;
    while changes < CONTROL_QUEUE_MAX {
        let commit = disk.began().len();
        assert!(commit <= COMMIT_REQUESTS_MAX);
        changes += commit;
        disk.end();
    }
    assert_eq!(other.receive(), "kcehc");
    wait_for("the publication", || rig.table.len() == CONTROL_QUEUE_MAX);
}

#[test]
fn a_stop_finishes_what_waits_and_reads_no_more() {
    // B206.
    let (disk, commit) = Stalled::new();
    let socket = bind("127.0.0.1:0");
    let mut rig = Rig::serve(new_server(commit), std::slice::from_ref(&socket));
    let (first, second, late) = (rig.client(), rig.client(), rig.client());
    first.send("add a.com 1");
    disk.began();
    second.send("add b.com 2");
    wait_for("the wait of both", || rig.counters.waiting() == 2);
    rig.tell_to_stop();
    let turns = rig.heartbeat.load(std::sync::atomic::Ordering::Relaxed);
    wait_for("the stop", || rig.heartbeat.load(std::sync::atomic::Ordering::Relaxed) > turns + 1);
    late.send("add c.com 3");
    disk.end();
    assert_eq!(disk.began().len(), 1);
    disk.end();
    let mut server = rig.join();
    assert_eq!(first.receive(), "ok a.com 1");
    assert_eq!(second.receive(), "ok b.com 2");
    assert!(late.has_nothing());

    // The journal goes to somebody else, who changes rules and gives up; then what waited in the kernel is answered.
    assert!(server.release().is_some());
    assert!(server.release().is_none());
    let disk = Disk::default();
    {
        let mut commit = disk.clone();
        let port = |number| Port::new(number).unwrap();
        let changes = [Change::Map(domain("b.com"), port(22)), Change::Map(domain("d.com"), port(4))];
        commit.commit(&changes, &server.table()).unwrap();
    }
    server.restore(Box::new(disk.clone()), &disk.read());
    let rig = Rig::serve(server, &[socket]);
    assert_eq!(late.receive(), "ok c.com 3");
    assert_eq!(rig.ask("list"), "b.com 22\nc.com 3\nd.com 4");
    assert_eq!(disk.rules().len(), 3);
    let (writer, commit) = rig.join().into_parts();
    assert!(commit.is_some());
    assert_eq!(writer.table().len(), 3);
}

/// A server without a journal must not pretend to serve.
#[test]
fn a_server_without_a_journal_does_not_run() {
    let mut server = new_server(Disk::default());
    drop(server.release());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(server.run(&[bind("127.0.0.1:0")], std::future::pending())).unwrap_err();
    assert!(matches!(error, ServerError::NoJournal), "{error}");
}

/// A bug in the journal ends the run, so that the process is started again, instead of leaving a server that never answers.
#[test]
fn a_journal_that_panics_ends_the_run() {
    struct Broken;
    impl Commit for Broken {
        fn commit(&mut self, _: &[Change], _: &Table) -> Result<(), SaveError> {
            panic!("a bug, as the test wants it");
        }
    }
    let socket = bind("127.0.0.1:0");
    let client = Client::of(socket.local_addr().unwrap());
    client.send("add a.com 8080");
    let mut server = new_server(Broken);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(server.run(&[socket], std::future::pending())).unwrap_err();
    assert!(matches!(error, ServerError::SaverEnded), "{error}");
    assert!(client.has_nothing());
    assert_eq!(server.table().len(), 0);
}
