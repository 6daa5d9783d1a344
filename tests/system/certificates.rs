//! HTTPS by itself: the real program, a real certificate authority (Pebble), real names.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use nix::sys::signal::Signal;

use crate::{
    disk::{Tmpfs, is_root},
    rig::{
        ACCOUNT_MADE, Answer, Backend, Client, Daemon, Fault, Front, Hostility, Internet, ORDER_MADE, PATIENCE, SIGNED,
        Trust, Visit, folder, note, run, seeded, skip, succeed, wait_for, works,
    },
};

/// How long a certificate may take on a busy machine.
const SOON: Duration = Duration::from_secs(60);

fn wait_until_secure(trust: &Trust, name: &str, patience: Duration) -> Visit {
    let deadline = Instant::now() + patience;
    loop {
        let failed = match trust.visit(name) {
            Ok(visit) => return visit,
            Err(cause) => cause,
        };
        assert!(Instant::now() < deadline, "no https://{name} after {patience:?}: {failed}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn plain(http: SocketAddr, name: &str) -> Answer {
    Client::connect(http).and_then(|mut client| client.get(name, "/")).unwrap()
}

/// The way of the README: one command, and https works. B163, B164, B167, B168.
#[test]
fn one_command_makes_https_work() {
    let (internet, state) = (Internet::new(Hostility::NONE), folder());
    internet.give_addresses(&["a-app.example"]);
    let app = Backend::app("the app", state.path());
    let daemon = internet.launch(state.path()).start();
    let begin = Instant::now();
    succeed(daemon.cli().args(["add", "a-app.example", &app.port.to_string()]));
    assert_eq!(plain(daemon.http, "a-app.example").status, 200, "before its certificate it is served in clear");
    let trust = internet.trust();
    let visit = wait_until_secure(&trust, "a-app.example", SOON);
    note(&format!("from `hotcore add` to https: {:?}", begin.elapsed()));
    assert!(visit.answer.starts_with("HTTP/1.1 200") && visit.answer.ends_with("the app"), "{visit:?}");
    let moved = wait_for("the way to https", PATIENCE, || {
        Some(plain(daemon.http, "a-app.example")).filter(|answer| answer.status == 308)
    });
    assert_eq!(moved.field("location"), Some("https://a-app.example/"));
    assert_eq!(internet.pebble.count(ACCOUNT_MADE), 1);
    assert_eq!(internet.pebble.count(ORDER_MADE), 1);
    wait_for("its state in the list", PATIENCE, || {
        succeed(daemon.cli().args(["list", "--json"])).contains("\"valid\"").then_some(())
    });
}

/// A1 of the goals.
#[test]
fn a_hundred_names_in_one_burst_have_certificates_within_a_minute() {
    burst(Hostility::NONE, 100, SOON, 100);
}

/// A2 of the goals.
#[test]
fn a_hostile_authority_costs_patience_and_no_certificate() {
    burst(Hostility { nonces_refused: 20, ..Hostility::NONE }, 50, SOON, 60);
    burst(Hostility::DEFAULT, 100, 3 * SOON, 120);
}

fn burst(hostility: Hostility, count: usize, patience: Duration, orders_max: usize) {
    let (internet, state) = (Internet::new(hostility), folder());
    let front = Front::start(&internet.pebble);
    let names: Vec<String> = (0..count).map(|number| format!("site-{number}.example")).collect();
    internet.give_addresses(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let app = Backend::app("the app", state.path());
    let daemon = internet.launch_through(&front, state.path()).start();
    let begin = Instant::now();
    let commands = daemon.commands();
    names.iter().for_each(|name| commands.add(name, app.port));
    let trust = internet.trust();
    for name in &names {
        let left = patience.saturating_sub(begin.elapsed());
        let visit = wait_until_secure(&trust, name, left);
        assert!(visit.answer.ends_with("the app"), "{visit:?}");
    }
    let took = begin.elapsed();
    let orders = internet.pebble.count(ORDER_MADE);
    note(&format!("{count} names in one burst: {took:?}, {orders} orders"));
    assert!((count..=orders_max).contains(&orders), "{orders} orders for {count} names");
    assert_eq!(internet.pebble.count(ACCOUNT_MADE), 1);
    assert!(front.orders_in_flight_max() <= 8, "{} orders in flight", front.orders_in_flight_max());
}

/// A3 of the goals, in short; HOTCORE_RENEWALS=600 is the long run, in seconds.
#[test]
fn certificates_of_a_minute_are_renewed_for_ever() {
    let (internet, state) = (Internet::new(Hostility { validity: 60, ..Hostility::NONE }), folder());
    let names: Vec<String> = (0..10).map(|number| format!("site-{number}.example")).collect();
    internet.give_addresses(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let app = Backend::app("the app", state.path());
    let daemon = internet.launch(state.path()).start();
    let commands = daemon.commands();
    names.iter().for_each(|name| commands.add(name, app.port));
    let trust = internet.trust();
    names.iter().for_each(|name| _ = wait_until_secure(&trust, name, SOON));
    let long = Duration::from_secs(renewals_seconds());
    let (begin, mut visits) = (Instant::now(), 0);
    let mut serials: HashMap<&str, Vec<String>> = HashMap::new();
    while begin.elapsed() < long {
        for name in &names {
            let visit = trust.visit(name).unwrap_or_else(|cause| panic!("{name} after {:?}: {cause}", begin.elapsed()));
            assert!(visit.until > now(), "{name} has expired");
            let known = serials.entry(name).or_default();
            if known.last() != Some(&visit.serial) {
                known.push(visit.serial);
            }
            visits += 1;
        }
        thread::sleep(Duration::from_millis(500));
    }
    let renewed: Vec<usize> = serials.values().map(|known| known.len() - 1).collect();
    note(&format!("{visits} handshakes in {long:?}, none failed; renewals: {renewed:?}"));
    assert!(renewed.iter().all(|count| *count >= 1), "{renewed:?}");
    assert_eq!(internet.pebble.count(ACCOUNT_MADE), 1);
}

#[expect(clippy::disallowed_methods, reason = "the length of the long run is given by the environment")]
fn renewals_seconds() -> u64 {
    std::env::var("HOTCORE_RENEWALS").ok().and_then(|text| text.parse().ok()).unwrap_or(75)
}

#[expect(clippy::disallowed_methods, reason = "certificates are compared with the clock of the wall")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// B173, and A6 of the goals: what is held is never ordered again.
#[test]
fn restarts_and_removals_cost_no_order() {
    let (internet, state) = (Internet::new(Hostility::NONE), folder());
    internet.give_addresses(&["a.example"]);
    let app = Backend::app("the app", state.path());
    let mut daemon = internet.launch(state.path()).start();
    let trust = internet.trust();
    daemon.commands().add("a.example", app.port);
    let first = wait_until_secure(&trust, "a.example", SOON);
    for round in 0..10 {
        if round % 2 == 0 {
            daemon.kill();
        } else {
            daemon.signal(Signal::SIGTERM);
            assert!(daemon.wait(PATIENCE).success());
        }
        daemon = internet.launch(state.path()).start();
        let again = trust.visit("a.example").expect("it serves as soon as it answers");
        assert_eq!(again.serial, first.serial);
        assert_eq!(plain(daemon.http, "a.example").status, 308, "B164");
        daemon.commands().remove("a.example");
        trust.visit("a.example").unwrap_err();
        daemon.commands().add("a.example", app.port);
        assert_eq!(trust.visit("a.example").unwrap().serial, first.serial);
    }
    assert_eq!((internet.pebble.count(ACCOUNT_MADE), internet.pebble.count(ORDER_MADE)), (1, 1));
}

/// A4 and A6 of the goals: killed at random moments of an order, it ends with one account and few orders.
#[test]
fn kill_9_while_ordering_makes_no_second_account_and_loses_no_key() {
    let mut random = seeded("kill_9_while_ordering");
    let (internet, state) = (Internet::new(Hostility { sleep: 5, ..Hostility::NONE }), folder());
    let names: Vec<String> = (0..4).map(|number| format!("site-{number}.example")).collect();
    internet.give_addresses(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let app = Backend::app("the app", state.path());
    let trust = internet.trust();
    let mut daemon = internet.launch(state.path()).start();
    let commands = daemon.commands();
    names.iter().for_each(|name| commands.add(name, app.port));
    for _ in 0..6 {
        thread::sleep(Duration::from_millis(random.u64(0..1_500)));
        daemon.kill();
        daemon = internet.launch(state.path()).start();
    }
    // A try that was cut short counts, so the next one may be a minute or more away; a person need not wait for it.
    for name in &names {
        succeed(daemon.cli().args(["retry", name]));
        wait_until_secure(&trust, name, 2 * SOON);
    }
    let orders = internet.pebble.count(ORDER_MADE);
    note(&format!("4 names, 6 kills: {orders} orders"));
    assert_eq!(internet.pebble.count(ACCOUNT_MADE), 1);
    assert!(orders <= 4 * 3, "{orders} orders");
}

/// A4 of the goals: whatever the authority does, sites are served, and it is tried again.
#[test]
fn an_authority_in_trouble_disturbs_no_site() {
    let (internet, state) = (Internet::new(Hostility::NONE), folder());
    let front = Front::start(&internet.pebble);
    internet.give_addresses(&["good.example", "late.example"]);
    let app = Backend::app("the app", state.path());
    let daemon = internet.launch_through(&front, state.path()).start();
    let trust = internet.trust();
    daemon.commands().add("good.example", app.port);
    wait_until_secure(&trust, "good.example", SOON);
    let before = daemon.memory_kib("VmRSS");
    for (position, fault) in [(1, Fault::Hang), (1, Fault::EndlessHead), (2, Fault::Endless), (1, Fault::Internal)] {
        front.fail_from(position, fault);
        daemon.commands().add("late.example", app.port);
        // It would be tried by itself within minutes.
        succeed(daemon.cli().args(["retry", "late.example"]));
        wait_for("a request to the authority", SOON, || (front.requests().len() >= position).then_some(()));
        for _ in 0..20 {
            let begin = Instant::now();
            trust.visit("good.example").unwrap();
            assert!(begin.elapsed() < Duration::from_secs(2), "{fault:?} slows down others");
            assert_eq!(plain(daemon.http, "late.example").status, 200, "served in clear, whatever happens");
        }
        daemon.commands().remove("late.example");
    }
    front.heal();
    daemon.commands().add("late.example", app.port);
    // The last order may be on its way to its failure still: then it is what the wish is answered with.
    wait_for("a certificate once all is well", SOON, || {
        succeed(daemon.cli().args(["retry", "late.example"]));
        thread::sleep(Duration::from_millis(500));
        trust.visit("late.example").ok()
    });
    let after = daemon.memory_kib("VmRSS");
    note(&format!("resident memory: {before} KiB before, {after} KiB after"));
    assert!(after < before + 20 * 1024, "{before} KiB before, {after} KiB after");
}

/// B199: an account that cannot be read is never replaced; what is held serves on.
#[test]
fn a_damaged_account_orders_nothing_and_serves_on() {
    let (internet, state) = (Internet::new(Hostility::NONE), folder());
    internet.give_addresses(&["a.example", "b.example"]);
    let app = Backend::app("the app", state.path());
    let daemon = internet.launch(state.path()).start();
    let trust = internet.trust();
    daemon.commands().add("a.example", app.port);
    wait_until_secure(&trust, "a.example", SOON);
    daemon.kill();
    let account = find(state.path(), "_account");
    let mut bytes = fs::read(&account).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&account, &bytes).unwrap();
    let daemon = internet.launch(state.path()).start();
    trust.visit("a.example").unwrap();
    daemon.commands().add("b.example", app.port);
    let status = wait_for("the problem in status", PATIENCE, || {
        let status = succeed(&mut daemon.cli());
        status.contains("account").then_some(status)
    });
    note(&format!("what status says of it: {}", status.lines().find(|line| line.contains("account")).unwrap()));
    assert_eq!(fs::read(&account).unwrap(), bytes, "it is as it was");
    assert_eq!((internet.pebble.count(ACCOUNT_MADE), internet.pebble.count(ORDER_MADE)), (1, 1));
    trust.visit("b.example").unwrap_err();
}

fn find(folder: &std::path::Path, name: &str) -> std::path::PathBuf {
    let output = succeed(Command::new("find").arg(folder).args(["-name", name]));
    output.lines().next().unwrap_or_else(|| panic!("no {name} in {}", folder.display())).into()
}

/// acme.md 4.5: a name without an address costs no order, and is tried when it has one.
#[test]
fn a_name_is_ordered_once_it_has_an_address() {
    let (internet, state) = (Internet::new(Hostility::NONE), folder());
    let app = Backend::app("the app", state.path());
    let daemon = internet.launch(state.path()).start();
    let trust = internet.trust();
    daemon.commands().add("late.example", app.port);
    wait_for("its state", PATIENCE, || {
        let list = succeed(daemon.cli().args(["list", "--json"]));
        (list.contains("waiting") && list.contains("address")).then_some(())
    });
    assert_eq!(internet.pebble.count(ORDER_MADE), 0);
    internet.give_addresses(&["late.example"]);
    // It would look by itself within a minute.
    succeed(daemon.cli().args(["retry", "late.example"]));
    wait_until_secure(&trust, "late.example", SOON);
}

/// B163: who comes while the certificate is on its way waits for it.
#[test]
fn a_handshake_waits_for_the_first_certificate() {
    let (internet, state) = (Internet::new(Hostility { sleep: 2, ..Hostility::NONE }), folder());
    internet.give_addresses(&["a.example"]);
    let app = Backend::app("the app", state.path());
    let daemon = internet.launch(state.path()).start();
    let trust = internet.trust();
    daemon.commands().add("a.example", app.port);
    wait_for("the order", SOON, || (internet.pebble.count(ORDER_MADE) == 1).then_some(()));
    let begin = Instant::now();
    let visit = trust.visit("a.example");
    note(&format!("a handshake during the order took {:?}: {}", begin.elapsed(), visit.is_ok()));
    visit.unwrap();
}

/// Invariant 5, B218: nothing secret is readable by others, or in the log.
#[test]
fn secrets_are_in_closed_files_and_in_no_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let (internet, state) = (Internet::new(Hostility::NONE), folder());
    internet.give_addresses(&["a.example"]);
    let app = Backend::app("the app", state.path());
    let daemon: Daemon = internet.launch(state.path()).start();
    daemon.commands().add("a.example", app.port);
    wait_until_secure(&internet.trust(), "a.example", SOON);
    let output = succeed(Command::new("find").arg(state.path().join("certificates")));
    for path in output.lines() {
        let metadata = fs::metadata(path).unwrap();
        let wanted = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, wanted, "{path}");
    }
    let log = daemon.log();
    assert!(log.contains("a.example"), "{log}");
    for secret in ["PRIVATE KEY", "eyJ", "key authorization"] {
        assert!(!log.contains(secret), "{log}");
    }
    let check = run(daemon.cli().args(["check", "--certs"]));
    assert!(check.status.success(), "{check:?}");
}

/// B206, B208: the next process finishes what this one began, and nobody is told to wait for it.
#[test]
fn a_take_over_with_orders_in_flight_loses_none_and_makes_none_twice() {
    let (internet, state) = (Internet::new(Hostility { sleep: 5, ..Hostility::NONE }), folder());
    let names: Vec<String> = (0..8).map(|number| format!("site-{number}.example")).collect();
    let known: Vec<&str> = names.iter().map(String::as_str).chain(["first.example"]).collect();
    internet.give_addresses(&known);
    let app = Backend::app("the app", state.path());
    let mut daemon = internet.launch(state.path()).start();
    let trust = internet.trust();
    daemon.commands().add("first.example", app.port);
    wait_until_secure(&trust, "first.example", SOON);
    let stop = AtomicBool::new(false);
    let visits = thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            let mut visits = 0;
            while !stop.load(Ordering::Relaxed) {
                trust.visit("first.example").unwrap_or_else(|cause| panic!("after {visits} visits: {cause}"));
                visits += 1;
            }
            visits
        });
        for names in names.chunks(4) {
            let before = internet.pebble.count(ORDER_MADE);
            names.iter().for_each(|name| daemon.commands().add(name, app.port));
            wait_for("orders", SOON, || (internet.pebble.count(ORDER_MADE) >= before + 2).then_some(()));
            let next = internet.launch(state.path()).beside(&daemon).start();
            let mut last = std::mem::replace(&mut daemon, next);
            assert!(last.wait(2 * PATIENCE).success(), "it ends well");
        }
        for name in &names {
            wait_until_secure(&trust, name, 2 * SOON);
        }
        stop.store(true, Ordering::Relaxed);
        visitor.join().unwrap()
    });
    let [accounts, orders, signed] = [ACCOUNT_MADE, ORDER_MADE, SIGNED].map(|words| internet.pebble.count(words));
    note(&format!("2 take-overs, 9 names: {orders} orders, {signed} certificates; {visits} visits meanwhile"));
    assert_eq!((accounts, signed), (1, known.len()));
    // What had not come as far as its signature is ordered once more, by each take-over.
    assert!(orders <= 1 + 4 * 3 + 4 * 2, "{orders} orders");
}

/// A7 of the goals: no write, no order.
#[test]
fn a_full_disk_orders_nothing_and_the_certificate_comes_when_there_is_space() {
    if !is_root("a_full_disk_orders_nothing_and_the_certificate_comes_when_there_is_space") {
        return;
    }
    let (internet, disk, files) = (Internet::new(Hostility::NONE), Tmpfs::mount("size=1m"), folder());
    internet.give_addresses(&["good.example"]);
    let app = Backend::app("the app", files.path());
    let daemon = internet.launch(disk.path()).start();
    let trust = internet.trust();
    daemon.commands().add("good.example", app.port);
    wait_until_secure(&trust, "good.example", SOON);
    // A full disk takes no rule either, so this one waits for its address.
    daemon.commands().add("late.example", app.port);
    let list = || succeed(daemon.cli().args(["list", "--json"]));
    wait_for("its state", PATIENCE, || list().contains("A or AAAA").then_some(()));
    let ballast = disk.fill();
    internet.give_addresses(&["good.example", "late.example"]);
    succeed(daemon.cli().args(["retry", "late.example"]));
    let status = wait_for("the problem in status", PATIENCE, || {
        let status = succeed(&mut daemon.cli());
        status.contains("cannot be written").then_some(status)
    });
    note(&format!("what status says: {}", status.lines().find(|line| line.contains("cannot be written")).unwrap()));
    assert_eq!(internet.pebble.count(ORDER_MADE), 1);
    assert_eq!(plain(daemon.http, "late.example").status, 200, "served in clear");
    trust.visit("good.example").unwrap();
    fs::remove_file(ballast).unwrap();
    // By itself, within a minute or two.
    wait_until_secure(&trust, "late.example", 3 * SOON);
    assert_eq!((internet.pebble.count(ACCOUNT_MADE), internet.pebble.count(ORDER_MADE)), (1, 2));
    wait_for("no problem in status", PATIENCE, || (!succeed(&mut daemon.cli()).contains("be written")).then_some(()));
}

/// B214: before 1971 nothing is ordered, and what is held is served.
#[test]
fn a_wrong_clock_orders_nothing_and_serves_on() {
    let test = "a_wrong_clock_orders_nothing_and_serves_on";
    if !works("faketime", &["--version"]) {
        return skip(test, "no faketime here");
    }
    let (internet, state) = (Internet::new(Hostility::NONE), folder());
    internet.give_addresses(&["a.example", "b.example"]);
    let app = Backend::app("the app", state.path());
    let daemon = internet.launch(state.path()).start();
    let trust = internet.trust();
    daemon.commands().add("a.example", app.port);
    let first = wait_until_secure(&trust, "a.example", SOON);
    daemon.kill();

    let library = succeed(Command::new("faketime").args(["-f", "+0", "sh", "-c", "printf %s \"$LD_PRELOAD\""]));
    let launch = internet.launch(state.path()).env("LD_PRELOAD", library.trim());
    let launch = launch.env("FAKETIME", "@1970-02-01 00:00:00").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let daemon = launch.start();
    assert_eq!(trust.visit("a.example").unwrap().serial, first.serial);
    daemon.commands().add("b.example", app.port);
    let status = wait_for("the problem in status", PATIENCE, || {
        let status = succeed(&mut daemon.cli());
        status.contains("clock").then_some(status)
    });
    note(&format!("what status says: {}", status.lines().find(|line| line.contains("clock")).unwrap()));
    succeed(daemon.cli().args(["retry", "b.example"]));
    wait_for("its state", PATIENCE, || {
        let list = succeed(daemon.cli().args(["list", "--json"]));
        (list.contains("stopped") && list.contains("clock")).then_some(())
    });
    assert_eq!(plain(daemon.http, "b.example").status, 200, "served in clear");
    assert_eq!(trust.visit("a.example").unwrap().serial, first.serial);
    assert_eq!(internet.pebble.count(ORDER_MADE), 1);
    daemon.kill();

    let daemon = internet.launch(state.path()).start();
    wait_until_secure(&trust, "b.example", SOON);
    assert_eq!((internet.pebble.count(ACCOUNT_MADE), internet.pebble.count(ORDER_MADE)), (1, 2));
    drop(daemon);
}
