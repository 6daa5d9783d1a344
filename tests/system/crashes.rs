//! What was acknowledged is on disk, whatever happens to the process (invariant 2: durable, then visible, then acknowledged).

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::rig::{Daemon, folder, note, seeded};

/// `kill -9` while rules are added at this rate, so often.
const ADDS_PER_SECOND: u32 = 500;
/// ... so many together: the kill finds some of them on their way.
const ADDS_AT_ONCE: u32 = 10;
const KILLS: usize = 20;
/// Names that take turns: later rules replace earlier ones.
const NAMES: usize = 300;
/// B190: what the receive buffer has room for.
const BURST: usize = 20_000;

/// What a test knows of one name.
#[derive(Default)]
struct Name {
    acknowledged: Option<u16>,
    /// Sent after the last acknowledged one: each of them may be on disk or not.
    pending: Vec<u16>,
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_nine() {
    let state = folder();
    let mut random = seeded("kill -9");
    let mut names: BTreeMap<String, Name> = BTreeMap::new();
    let (mut sent, mut acknowledged) = (0_u32, 0_u32);
    for round in 0..KILLS {
        let daemon = Daemon::start(state.path());
        verify(round, &mut names, &daemon.commands().list());

        let control = daemon.commands();
        let begun = Instant::now();
        let lifetime = Duration::from_millis(random.u64(200..800));
        let mut count = 0;
        while begun.elapsed() < lifetime {
            // The pace of the sender, not a wait for an event.
            let due = begun + Duration::from_secs(1) / ADDS_PER_SECOND * count;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            while let Some(reply) = control.receive(Duration::ZERO) {
                acknowledged += acknowledge(&mut names, &reply);
            }
            for _ in 0..ADDS_AT_ONCE {
                let (name, port) = (format!("site-{}.example", random.usize(..NAMES)), random.u16(1024..32_000));
                control.send(&format!("add {name} {port}"));
                names.entry(name).or_default().pending.push(port);
                count += 1;
            }
        }
        // Somewhere in the middle of the last few.
        thread::sleep(Duration::from_micros(random.u64(..1_500)));
        daemon.kill();
        // Replies that were sent before it died are promises too.
        while let Some(reply) = control.receive(Duration::ZERO) {
            acknowledged += acknowledge(&mut names, &reply);
        }
        sent += count;
    }
    let daemon = Daemon::start(state.path());
    verify(KILLS, &mut names, &daemon.commands().list());
    note(&format!("{KILLS} x kill -9: {sent} rules sent, {acknowledged} acknowledged, none of these lost"));
    assert!(acknowledged > sent / 2, "the test needs acknowledgements: {acknowledged} of {sent}");
}

/// Notes an `ok`: replies come in the order of the messages (one socket, loopback), so it is for the earliest such message.
fn acknowledge(names: &mut BTreeMap<String, Name>, reply: &str) -> u32 {
    let words: Vec<_> = reply.split(' ').collect();
    let ["ok", domain, port] = words[..] else { panic!("not an acknowledgement: {reply}") };
    let port = port.parse().unwrap();
    let name = names.get_mut(domain).unwrap();
    let place = name.pending.iter().position(|pending| *pending == port).expect("an ok for what was not sent");
    name.pending.drain(..=place);
    name.acknowledged = Some(port);
    1
}

/// Compares with what a restarted daemon lists; from then on that is what counts.
fn verify(round: usize, names: &mut BTreeMap<String, Name>, listed: &BTreeMap<String, u16>) {
    for (domain, name) in names.iter_mut() {
        let port = listed.get(domain).copied();
        let expected = port == name.acknowledged || port.is_some_and(|port| name.pending.contains(&port));
        assert!(
            expected,
            "round {round}: {domain} goes to {port:?}, acknowledged {:?}, sent later {:?}",
            name.acknowledged, name.pending
        );
        *name = Name { acknowledged: port, pending: Vec::new() };
    }
    for domain in listed.keys() {
        assert!(names.contains_key(domain), "round {round}: nobody added {domain}");
    }
}

/// B190: the receive loop never waits for the disk, and the buffer holds what comes meanwhile.
#[test]
fn a_burst_of_twenty_thousand_is_acknowledged_whole_and_survives() {
    let state = folder();
    let daemon = Daemon::start(state.path());
    let control = daemon.commands();
    let begun = Instant::now();
    for number in 0..BURST {
        control.send(&format!("add site-{number}.example 3000"));
    }
    let sent = begun.elapsed();
    let mut acknowledged = 0;
    while acknowledged < BURST {
        let Some(reply) = control.receive(Duration::from_secs(10)) else { break };
        assert!(reply.starts_with("ok site-"), "{reply}");
        acknowledged += 1;
    }
    note(&format!("burst of {BURST}: sent in {sent:?}, {acknowledged} acknowledged after {:?}", begun.elapsed()));
    assert_eq!(acknowledged, BURST, "lost");
    daemon.kill();
    assert_eq!(Daemon::start(state.path()).commands().list().len(), BURST, "after a restart");
}
