//! What the table promises to its readers while it changes.

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Barrier,
        atomic::{AtomicBool, AtomicU64},
    },
    thread,
};

use super::*;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn rule(name: &str, number: u16) -> Arc<Rule> {
    Arc::new(Rule::new(domain(name), port(number), true))
}

fn page(writer: &TableWriter, after: Option<&str>) -> Vec<(String, u16)> {
    writer.page_after(after).map(|rule| (rule.domain.to_string(), rule.port.number())).collect()
}

#[expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a failed run must be repeatable")]
fn random(test: &str) -> fastrand::Rng {
    let seed = env::var("HOTCORE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: HOTCORE_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

#[test]
fn a_rule_is_found_until_it_is_removed() {
    let mut writer = TableWriter::new();
    let table = writer.table();
    assert!(table.is_empty() && table.find(&domain("a.example")).is_none());
    writer.insert(domain("a.example"), port(8080));
    assert_eq!(table.find(&domain("a.example")).unwrap().port, port(8080));
    assert!(table.find(&domain("b.example")).is_none());
    assert_eq!(table.len(), 1);
    writer.remove(&domain("a.example"));
    writer.remove(&domain("a.example"));
    assert!(table.find(&domain("a.example")).is_none());
    assert_eq!((table.len(), page(&writer, None).len()), (0, 0));
}

#[test]
fn a_changed_port_is_visible_before_the_old_rule_is_retired_for_those_who_remember_it() {
    let mut writer = TableWriter::new();
    writer.insert(domain("a.example"), port(1));
    let old = writer.table().find(&domain("a.example")).unwrap();
    assert!(old.is_current());
    writer.insert(domain("a.example"), port(2));
    let new = writer.table().find(&domain("a.example")).unwrap();
    assert!(!old.is_current() && new.is_current());
    writer.remove(&domain("a.example"));
    assert!(!new.is_current());
}

#[test]
fn b179_the_same_port_again_keeps_the_rule_and_what_was_learned() {
    let mut writer = TableWriter::new();
    writer.insert(domain("a.example"), port(1));
    let first = writer.table().find(&domain("a.example")).unwrap();
    first.prove();
    first.held().fetch_add(1, Ordering::Relaxed);
    writer.insert(domain("a.example"), port(1));
    let second = writer.table().find(&domain("a.example")).unwrap();
    assert!(Arc::ptr_eq(&first, &second) && first.is_current());
}

#[test]
fn b23_a_new_rule_is_unproven_and_one_from_disk_is_proven() {
    let mut writer = TableWriter::from_rules(vec![rule("disk.example", 1)]);
    writer.insert(domain("new.example"), port(2));
    writer.insert_proven(domain("late.example"), port(3));
    writer.insert(domain("moved.example"), port(4));
    writer.table().find(&domain("moved.example")).unwrap().prove();
    writer.insert(domain("moved.example"), port(5));
    let proven = |name| writer.table().find(&domain(name)).unwrap().is_proven();
    assert!(proven("disk.example") && proven("late.example"));
    assert!(!proven("new.example") && !proven("moved.example"));
}

#[test]
fn names_whose_rule_changes_are_noted_once_it_is_visible() {
    let mut writer = TableWriter::from_rules(vec![rule("a.com", 1)]);
    let touched = Touched::default();
    writer.note_changes(touched.clone());
    let names = || {
        let mut names: Vec<_> = touched.take().into_iter().map(|domain| domain.to_string()).collect();
        names.sort();
        names
    };
    assert!(names().is_empty(), "what was there before is no change");
    writer.insert(domain("b.com"), port(2));
    writer.insert(domain("a.com"), port(3));
    assert_eq!(names(), ["a.com", "b.com"]);
    writer.insert(domain("a.com"), port(3));
    writer.remove(&domain("unknown.com"));
    assert!(names().is_empty(), "nothing has changed");
    writer.remove(&domain("a.com"));
    assert_eq!(names(), ["a.com"]);
    writer.become_like(vec![rule("b.com", 2), rule("c.com", 4)]);
    assert_eq!(names(), ["c.com"]);
}

#[test]
fn b184_pages_are_sorted_by_bytes_and_begin_after_any_name() {
    let mut writer = TableWriter::new();
    for (name, number) in [("b.example", 2), ("a.example", 1), ("a-b.example", 3), ("xn--bcher-kva.example", 4)] {
        writer.insert(domain(name), port(number));
    }
    let names = |after| page(&writer, after).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!(names(None), ["a-b.example", "a.example", "b.example", "xn--bcher-kva.example"]);
    assert_eq!(names(Some("a.example")), ["b.example", "xn--bcher-kva.example"]);
    assert_eq!(names(Some("a.f")), ["b.example", "xn--bcher-kva.example"]);
    assert_eq!(names(Some("")).len(), 4);
    assert!(names(Some("y")).is_empty());
}

#[test]
fn of_two_rules_for_one_name_the_later_one_is_built() {
    let writer = TableWriter::from_rules(vec![rule("b.x", 1), rule("a.x", 2), rule("b.x", 3), rule("a.x", 4)]);
    assert_eq!(page(&writer, None), [("a.x".to_owned(), 4), ("b.x".to_owned(), 3)]);
    assert_eq!(writer.table().find(&domain("b.x")).unwrap().port, port(3));
    assert_eq!(writer.table().len(), 2);
}

#[test]
fn a_table_built_on_all_cores_holds_every_rule_once() {
    let count = 50_000;
    let rules = (0..count).map(|i| rule(&format!("host-{i:06}.example"), 80)).collect();
    let writer = TableWriter::from_rules(rules);
    let table = writer.table();
    let mut seen = 0;
    table.for_each(|rule| {
        assert!(Arc::ptr_eq(&table.find(&rule.domain).unwrap(), rule));
        seen += 1;
    });
    assert_eq!((seen, table.len(), writer.page_after(None).count()), (count, count, count));
}

#[test]
fn names_spread_over_the_shards() {
    let rules = (0..100_000).map(|i| rule(&format!("host-{i}.example"), 80)).collect();
    let table = TableWriter::from_rules(rules).table();
    let fullest = table.0.slots.iter().filter_map(OnceLock::get).map(|shard| shard.load().len()).max().unwrap();
    // 24.4 on average; with a fair hash, above 70 happens once in 10^11 tables.
    assert!(fullest < 70, "{fullest} of 100,000 rules in one of {} shards", limits::ROUTE_SHARDS);
}

#[test]
fn removals_give_the_memory_back() {
    let mut writer = TableWriter::from_rules((0..200_000).map(|i| rule(&format!("host-{i}.example"), 80)).collect());
    let capacity = |table: &Table| {
        table.0.slots.iter().filter_map(OnceLock::get).map(|shard| shard.load().capacity()).sum::<usize>()
    };
    let full = capacity(&writer.table());
    for i in 0..199_000 {
        writer.remove(&domain(&format!("host-{i}.example")));
    }
    assert_eq!(writer.table().len(), 1_000);
    let left = capacity(&writer.table());
    assert!(left < full / 4, "{left} places of {full} are left for 1,000 rules");
}

#[test]
fn the_table_agrees_with_a_plain_map_after_any_script() {
    let mut random = random("the_table_agrees_with_a_plain_map_after_any_script");
    for _ in 0..20 {
        let names: Vec<_> = (0..random.usize(1..60)).map(|i| domain(&format!("n{i}.example"))).collect();
        let mut model: BTreeMap<Domain, u16> = names.iter().map(|name| (name.clone(), random.u16(1..))).collect();
        model.retain(|_, _| random.bool());
        let rules = model.iter().map(|(name, &number)| rule(name.as_str(), number)).collect();
        let mut writer = TableWriter::from_rules(rules);
        let table = writer.table();
        for _ in 0..500 {
            let name = names[random.usize(..names.len())].clone();
            match random.u8(..4) {
                0 | 1 => {
                    let number = random.u16(1..5);
                    model.insert(name.clone(), number);
                    writer.insert(name, port(number));
                }
                2 => {
                    model.remove(&name);
                    writer.remove(&name);
                }
                _ => {
                    let after = random.bool().then(|| name.as_str());
                    let rest = model.iter().filter(|(name, _)| after.is_none_or(|after| name.as_str() > after));
                    let rest: Vec<_> = rest.map(|(name, &number)| (name.to_string(), number)).collect();
                    assert_eq!(page(&writer, after), rest);
                }
            }
            assert_eq!(table.len(), model.len());
            let name = &names[random.usize(..names.len())];
            assert_eq!(table.find(name).map(|rule| rule.port.number()), model.get(name).copied());
        }
    }
}

/// Invariant 2, the table's half: what a reader finds after a change was published is that change or a later one (P: 3.6).
#[test]
fn readers_under_100_000_flips_see_neither_a_missing_nor_a_stale_rule() {
    const FLIPS: u64 = 100_000;
    const CYCLE: u64 = 60_000;
    let name = domain("flip.example");
    let mut writer = TableWriter::from_rules((0..2_000).map(|i| rule(&format!("host-{i}.example"), 80)).collect());
    let number = |flip: u64| u16::try_from(flip % CYCLE + 1).unwrap();
    writer.insert(name.clone(), port(number(0)));
    let (published, done, start) = (AtomicU64::new(0), AtomicBool::new(false), Barrier::new(3));
    thread::scope(|scope| {
        for _ in 0..2 {
            let table = writer.table();
            let (name, published, done, start) = (&name, &published, &done, &start);
            scope.spawn(move || {
                start.wait();
                let mut memo = table.find(name).unwrap();
                let mut turns = 0_u64;
                while !done.load(Ordering::Acquire) || turns == 0 {
                    let least = published.load(Ordering::Acquire);
                    if !memo.is_current() {
                        memo = table.find(name).expect("the rule is never missing");
                    }
                    let fresh = table.find(name).expect("the rule is never missing");
                    // Between the two stamps lies what may be found; the last one may be visible and not yet stamped.
                    let most = published.load(Ordering::Acquire) + 1;
                    for found in [&memo, &fresh] {
                        let ahead = (u64::from(found.port.number() - 1) + CYCLE - least % CYCLE) % CYCLE;
                        let fits = ahead <= most - least || most - least >= CYCLE;
                        assert!(fits, "flips {least} to {most} could be found, yet it was port {}", found.port);
                    }
                    turns += 1;
                }
            });
        }
        start.wait();
        for flip in 1..=FLIPS {
            writer.insert(name.clone(), port(number(flip)));
            published.store(flip, Ordering::Release);
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(writer.table().find(&name).unwrap().port, port(number(FLIPS)));
}
