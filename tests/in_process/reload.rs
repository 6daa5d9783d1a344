//! A reload with a script in the place of the new program: what the running one does when the new one goes wrong at some step; and
//! the watchdog's proof that connections are accepted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hotcore::{
    limits,
    service::{
        Start,
        handover::{self, ReloadError, Successor},
        notify::{Notifier, Watchdog},
    },
};

use crate::service::{PATIENCE, Service, receive, until};

const SHORT: Duration = Duration::from_millis(500);

fn with_script(script: &str) -> impl FnOnce(&mut Start) + Send + 'static {
    let arguments = vec!["-c".into(), script.into()];
    move |start| {
        start.successor = Some(Successor { program: "/bin/sh".into(), arguments, variables: Vec::new() });
        start.handover_wait = SHORT;
    }
}

fn why(result: Result<(), ReloadError>) -> String {
    match result {
        Err(ReloadError::Refused { process, why }) if process == std::process::id() => why,
        other => panic!("{other:?}"),
    }
}

/// B205, B206: whatever step it got to; a command that was sent while nobody had the pen is answered by the old one.
#[test]
fn the_running_one_goes_on_when_the_new_one_fails_at_any_step_b205() {
    for (script, expected) in [
        ("exit 7", "ended at once (exit status: 7)"),
        ("exec sleep 600", "not ready in time"),
        ("echo nonsense >&0; exec sleep 600", "unexpected"),
        ("echo ask 1 0 >&0; exec sleep 600", "unexpected"),
        ("echo ask 2 $$ >&0; read word", "version 2 of the hand-over"),
        ("echo ask 1 $$ >&0; read sockets", "ended before it served"),
        ("echo ask 1 $$ >&0; read sockets; echo failed no memory >&0", "could not start: no memory"),
        ("echo ask 1 $$ >&0; read sockets; exec sleep 600", "not ready in time"),
        ("echo ask 1 $$ >&0; read sockets; echo loaded >&0; read yours; exit 1", "ended before it served"),
        ("echo ask 1 $$ >&0; read sockets; echo loaded >&0; read yours; exec sleep 600", "not ready in time"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let service = Service::start_with(folder.path(), with_script(script));
        thread::scope(|scope| {
            let asker = scope.spawn(|| handover::reload(folder.path(), std::process::id(), PATIENCE));
            let mut number = 0;
            while !asker.is_finished() {
                let waiting = service.send(&format!("add n{number}.example 8080"));
                assert_eq!(receive(&waiting), format!("ok n{number}.example 8080"), "{script}");
                number += 1;
            }
            let why = why(asker.join().unwrap());
            assert!(why.contains(expected), "{script}: {why}");
        });
        let status = service.ask("status");
        assert!(status.contains("problem the last reload failed") && status.contains(expected), "{script}: {status}");
        // The one that failed is gone before the next may try.
        let begun = Instant::now();
        until("the next reload is not refused", || {
            let why = why(handover::reload(folder.path(), std::process::id(), PATIENCE));
            assert!(why.contains(expected) || why.contains("still being ended"), "{script}: {why}");
            why.contains(expected)
        });
        assert!(begun.elapsed() < limits::LOCK_RETURN_WAIT + PATIENCE / 4, "{script}: {:?}", begun.elapsed());
    }
}

/// A stop means the one that is about to take over, too.
#[test]
fn a_stop_during_a_reload_ends_both() {
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("started");
    let script = format!("echo $$ > '{}'; exec sleep 600", marker.display());
    let mut service = Service::start_with(folder.path(), move |start| {
        with_script(&script)(start);
        start.handover_wait = PATIENCE;
    });
    thread::scope(|scope| {
        let asker = scope.spawn(|| handover::reload(folder.path(), std::process::id(), PATIENCE));
        let number = || std::fs::read_to_string(&marker).unwrap_or_default();
        until("the new one is started", || number().ends_with('\n'));
        service.stop().unwrap();
        assert_eq!(why(asker.join().unwrap()), "the service is being stopped");
        let status = format!("/proc/{}/status", number().trim());
        until("the new one is ended", || {
            std::fs::read_to_string(&status).map_or(true, |status| status.contains("State:\tZ"))
        });
    });
}

#[test]
fn one_that_does_not_know_how_it_was_started_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    let why = why(handover::reload(folder.path(), std::process::id(), PATIENCE));
    assert!(why.contains("how it was started"), "{why}");
    assert_eq!(service.ask("check"), "kcehc");
}

/// B213: with no visitors at all, signs of life come, each after a connection of our own, which nobody sees.
#[test]
fn the_watchdog_is_fed_in_a_quiet_time_and_no_figure_shows_it_b213() {
    let folder = tempfile::tempdir().unwrap();
    let signs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&signs);
    let service = Service::start_with(folder.path(), move |start| {
        start.watchdog = Watchdog::new(Some(Duration::from_millis(300)));
        start.notifier = Notifier::to(move |states| {
            let is_sign = |state: &_| matches!(state, sd_notify::NotifyState::Watchdog);
            count.fetch_add(states.iter().filter(|state| is_sign(*state)).count(), Ordering::Relaxed);
            Ok(())
        });
    });
    until("five signs of life", || signs.load(Ordering::Relaxed) >= 5);
    let status = service.ask("status");
    assert!(status.contains("\nrequests 0\n"), "{status}");
}
