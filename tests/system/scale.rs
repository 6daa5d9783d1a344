//! A million rules: they are there at once after a start, in a bounded memory.

use std::time::{Duration, Instant};

use crate::rig::{Backend, Client, Daemon, folder, note, skip};

const RULES: u32 = 1_000_000;
const RESIDENT_KIB_MAX: u64 = 200 * 1024;
/// The goal is 2 s on a quiet machine; a test run may share it.
const READY_MAX: Duration = Duration::from_secs(10);
/// Unanswered commands at any time.
const WINDOW: usize = 4_096;

#[test]
fn a_million_rules_are_ready_at_once_in_bounded_memory() {
    if cfg!(debug_assertions) {
        return skip("a_million_rules_are_ready_at_once_in_bounded_memory", "figures of a debug build mean nothing");
    }
    let (state, files) = (folder(), folder());
    let app = Backend::app("the app", files.path());
    let daemon = Daemon::start(state.path());
    let control = daemon.commands();
    let begun = Instant::now();
    let rules = (0..RULES).map(|number| format!("add site-{number:07}.example {}", app.port));
    let replies = control.pipeline(rules, WINDOW);
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(replies.len(), RULES as usize, "replies");
    assert!(replies.iter().all(|reply| reply.starts_with("ok site-")));
    note(&format!(
        "{RULES} rules added in {seconds:.1} s ({:.0} a second), {} KiB resident",
        f64::from(RULES) / seconds,
        daemon.memory_kib("VmRSS")
    ));
    // While a million rules are there, one more is as quick as ever.
    let mut waits: Vec<_> = (0..200)
        .map(|number| {
            let begun = Instant::now();
            control.add(&format!("late-{number}.example"), app.port);
            begun.elapsed()
        })
        .collect();
    waits.sort();
    note(&format!("one add among a million: median {:?}, slowest {:?}", waits[100], waits[199]));
    daemon.kill();

    let begun = Instant::now();
    let daemon = Daemon::start(state.path());
    let ready = begun.elapsed();
    let resident = daemon.memory_kib("VmRSS");
    note(&format!("ready after {ready:?} with {RULES} rules, {resident} KiB resident"));
    let mut client = Client::connect(daemon.http).unwrap();
    for number in [0, 1, 500_000, RULES - 1] {
        assert_eq!(client.get(&format!("site-{number:07}.example"), "/").unwrap().text(), "the app");
    }
    assert_eq!(client.get("late-199.example", "/").unwrap().status, 200);
    assert_eq!(client.get(&format!("site-{RULES:07}.example"), "/").unwrap().status, 404);
    assert!(daemon.commands().ask("list after site-0999999.example").is_empty());
    assert!(resident <= RESIDENT_KIB_MAX, "{resident} KiB resident");
    assert!(ready <= READY_MAX, "ready after {ready:?}");
}
