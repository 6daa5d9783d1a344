//! Figures of the table and the journal at 1 and at 1,000,000 rules: `cargo bench --bench routes`.
//!
//! Prints, never fails on a figure. The targets stand in brackets. Where files go: the folder given as argument, else a
//! temporary one; what a sync costs there is part of some figures.

#![expect(clippy::disallowed_macros, reason = "a bench prints its figures")]
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use std::{
    env, fs,
    hint::black_box,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use hotcore::{
    domain::Domain,
    routes::{Change, Commit, Disk, Journal, Loaded, Port, Rule, Table, TableWriter},
};

const MANY: u32 = 1_000_000;
const LOOK_UPS: u32 = 1_000_000;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    match &arguments[..] {
        [word, folder] if word == "load" => load(Path::new(folder)),
        [word, folder] if word == "peek" => peek(Path::new(folder)),
        _ => {
            let outer = arguments.first().map_or_else(tempfile::tempdir, tempfile::tempdir_in).unwrap();
            table();
            journal(outer.path());
        }
    }
}

fn name(number: u32) -> Domain {
    Domain::parse(&format!("host-{number:07}.example.com")).unwrap()
}

fn port(number: u32) -> Port {
    Port::new(u16::try_from(number % 60_000).unwrap() + 1).unwrap()
}

fn writer(rules: u32) -> TableWriter {
    TableWriter::from_rules((0..rules).map(|number| Arc::new(Rule::new(name(number), port(number), true))).collect())
}

fn table() {
    for rules in [1, MANY] {
        let mut writer = writer(rules);
        let names: Vec<Domain> = (0..LOOK_UPS).map(|_| name(fastrand::u32(..rules))).collect();
        println!("{rules} rules");
        println!(
            "  look-up, uniform       {:8.0} ns   [200]",
            each(&names, |name| drop(black_box(writer.table().find(name))))
        );
        let table = writer.table();
        println!("  look-up, same reader   {:8.0} ns   [200]", each(&names, |name| drop(black_box(table.find(name)))));
        let unknown: Vec<Domain> = (0..LOOK_UPS).map(|number| name(MANY + number)).collect();
        println!("  look-up, unknown name  {:8.0} ns", each(&unknown, |name| drop(black_box(table.find(name)))));
        let some = names.get(..100_000).unwrap_or_default();
        let mut turn = 0;
        let change = each(some, |name| {
            turn += 1;
            writer.insert(name.clone(), port(turn));
        });
        println!("  change of a port       {:8.2} us", change / 1e3);
        let new = unknown.get(..100_000).unwrap_or_default();
        println!("  new rule               {:8.2} us", each(new, |name| writer.insert(name.clone(), port(1))) / 1e3);
        println!("  removal                {:8.2} us", each(new, |name| writer.remove(name)) / 1e3);
    }
}

/// Nanoseconds for one.
fn each(names: &[Domain], mut work: impl FnMut(&Domain)) -> f64 {
    let start = Instant::now();
    names.iter().for_each(&mut work);
    start.elapsed().as_secs_f64() * 1e9 / names.len() as f64
}

fn journal(folder: &Path) {
    println!("journal, {MANY} rules");
    let (mut journal, mut writer, _) = Journal::open(Disk::open(folder).unwrap()).unwrap();
    let start = Instant::now();
    for first in (0..MANY).step_by(20_000) {
        let batch: Vec<_> = (first..first + 20_000).map(|number| Change::Map(name(number), port(number))).collect();
        save(&mut journal, &mut writer, &batch);
    }
    println!("  batches of 20,000      {:8.0} adds/s [50000]", f64::from(MANY) / start.elapsed().as_secs_f64());
    let in_the_making =
        || fs::read_dir(folder).unwrap().any(|file| file.unwrap().path().extension() == Some("tmp".as_ref()));
    let (mut meanwhile, mut after) = (Vec::new(), Vec::new());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) {
        let during = in_the_making();
        let start = Instant::now();
        save(&mut journal, &mut writer, &[Change::Map(name(fastrand::u32(..MANY)), port(fastrand::u32(..)))]);
        if during { &mut meanwhile } else { &mut after }.push(start.elapsed());
    }
    single("during a snapshot", meanwhile);
    single("otherwise", after);
    drop((journal, writer));
    for what in ["load", "load", "peek"] {
        Command::new(env::current_exe().unwrap()).arg(what).arg(folder).status().unwrap();
    }
}

fn single(when: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let worst = times.last().copied().unwrap_or_default();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default();
    println!("  one add, {when:18} p50 {:?}, p99 {:?}, worst {worst:?} [1, 20, 50 ms]", at(50), at(99));
}

fn save(journal: &mut Journal<Disk>, writer: &mut TableWriter, changes: &[Change]) {
    journal.commit(changes, &writer.table()).unwrap();
    for change in changes {
        match change {
            Change::Map(domain, port) => writer.insert(domain.clone(), *port),
            Change::Unmap(domain) => writer.remove(domain),
        }
    }
}

/// In a process of its own, so that its memory is the table's.
fn load(folder: &Path) {
    let bytes: u64 = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    let start = Instant::now();
    let (_journal, writer, recovery) = Journal::open(Disk::open(folder).unwrap()).unwrap();
    let took = start.elapsed();
    println!("  start, {} rules, {} MB {took:8.2?} [2 s]", recovery.rules, bytes / 1_000_000);
    memory(&writer.table());
}

fn peek(folder: &Path) {
    let disk = Disk::open(folder).unwrap();
    let loaded = Loaded::read(&disk).unwrap();
    let start = Instant::now();
    let (_journal, writer, _) = Journal::open_after(loaded, disk).unwrap();
    println!("  start after a reading  {:8.2?} [20 ms]", start.elapsed());
    memory(&writer.table());
}

fn memory(table: &Table) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    for line in status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM")) {
        println!("    {line} with {} rules [200,000 kB]", table.len());
    }
}
