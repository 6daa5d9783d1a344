//! What survives a restart, and what a damaged record costs.

use super::*;

#[test]
fn a_restart_forgets_no_wait() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.end("a.example", site());
    for _ in 0..50 {
        rig.restart();
        assert_eq!(rig.started.len(), 1);
        rig.pass(1);
    }
    rig.pass(20);
    assert_eq!((rig.started.len(), rig.started[1].3), (2, Challenge::Http01), "and goes on with the other challenge");
}

#[test]
fn an_order_cut_by_a_crash_counts_as_a_failure_and_gives_nothing_back() {
    let mut rig = Rig::mapped(&["a.example"]);
    let (failures, exact) = (rig.schedule.entries[0].failures, rig.schedule.entries[0].exact_set);
    rig.restart();
    assert_eq!(rig.started.len(), 1);
    assert_eq!((rig.schedule.entries[0].failures, rig.schedule.entries[0].exact_set), (failures, exact));
    rig.pass(2 * MINUTE);
    assert_eq!(rig.started.len(), 2);
}

#[test]
fn a_restart_loop_with_failing_names_orders_no_more_than_without_it() {
    // A6: 1,000 restarts, 200 names.
    let names: Vec<_> = (0..200).map(|i| format!("n{i}.example")).collect();
    let mut rig = Rig::mapped(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for turn in 0..1_000 {
        if turn % 2 == 0 {
            let running = rig.schedule.entries.iter().filter(|entry| matches!(entry.phase, Phase::Ordering { .. }));
            for name in running.map(|entry| entry.domain.to_string()).collect::<Vec<_>>() {
                rig.end(&name, site());
            }
        }
        rig.restart();
        rig.pass(10);
    }
    let hours = rig.time.div_ceil(HOUR);
    let mut tries: HashMap<&str, u64> = HashMap::new();
    rig.names().into_iter().for_each(|name| *tries.entry(name).or_default() += 1);
    assert!(tries.values().all(|&count| count <= 4), "1, 10, 100 min, in {hours} h: {tries:?}");
}

#[test]
fn an_interrupted_order_can_be_gone_on_with_and_takes_a_place() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.restart();
    let order = rig.schedule.resume(rig.now(), &domain("a.example")).unwrap();
    assert!(rig.schedule.resume(rig.now(), &domain("a.example")).is_none(), "once");
    assert!(rig.schedule.resume(rig.now(), &domain("b.example")).is_none());
    rig.pass(HOUR);
    assert_eq!((rig.started.len(), rig.state("a.example")), (1, State::Ordering));
    let outcome = Outcome::Issued { not_before: START, not_after: START + 90 * DAY, proved_by: None };
    rig.tell(Event::Ended { domain: domain("a.example"), order, outcome });
    rig.pass(DAY);
    assert_eq!(rig.started.len(), 1);
    assert!(matches!(rig.state("a.example"), State::Valid { .. }));
    assert_eq!(rig.schedule.entries[0].failures.next(entry::FAILURES).max(START), START);
}

#[test]
fn a_damaged_record_is_an_empty_bucket_and_the_last_step() {
    let mut rig = Rig::mapped(&["a.example", "b.example"]);
    rig.end("a.example", site());
    rig.restart_without(&["a.example"]);
    rig.pass(36 * HOUR - 1);
    assert!(!rig.names()[2..].contains(&"a.example"));
    rig.pass(1);
    assert!(rig.names()[2..].contains(&"a.example"));
    rig.end("a.example", site());
    let before = rig.time;
    rig.pass(DAY / 2);
    assert_eq!(rig.started.iter().filter(|start| start.0 > before && start.1.as_str() == "a.example").count(), 0);
}

#[test]
fn a_lost_budget_is_an_empty_one() {
    for lost in [Saved::Lost, Saved::Text(b"hotcore-budget 1\n")] {
        let mut rig = Rig::with(lost);
        rig.tell(Event::Mapped(domain("a.example")));
        rig.turn();
        rig.pass(36);
        assert!(rig.names().is_empty());
        rig.pass(1);
        assert_eq!(rig.names(), ["a.example"]);
        let saved = rig.schedule.unsaved();
        assert!(saved.iter().any(|(of, text)| *of == RecordOf::Budget && text.is_some()));
    }
}

#[test]
fn times_on_disk_from_a_clock_that_was_wrong_silence_nothing_for_years() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.end("a.example", site());
    rig.schedule.entries[0].next_try = START + 1_000 * DAY;
    rig.schedule.entries[0].last_try = START + 1_000 * DAY;
    rig.schedule.entries[0].failures = Bucket(START + 1_000 * DAY);
    rig.restart();
    rig.pass(7 * DAY + 1);
    assert_eq!(rig.started.len(), 2);
}

#[test]
fn a_record_comes_back_as_it_was() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.end(
        "a.example",
        Outcome::Failed {
            failure: Failure::Site { until: None },
            reached: Reached::Signature,
            reason: "no such\nhost \u{1b}[1m".to_owned(),
        },
    );
    rig.schedule.entries[0].window = Some([7, 1, 9, 4]);
    rig.schedule.entries[0].proved_by = Some(Challenge::Http01);
    let text = rig.schedule.entries[0].write();
    assert!(text.contains("reason no such host  [1m\n"), "{text}");
    let read = Entry::read(domain("a.example"), text.as_bytes(), 1).unwrap();
    assert_eq!(read.write(), text);
    assert!(Entry::read(domain("b.example"), text.as_bytes(), 1).is_none(), "another name's");
}

#[test]
fn a_name_that_came_and_went_leaves_no_record() {
    let mut rig = Rig::mapped(&["x.example"]);
    rig.schedule.unsaved();
    rig.tell(Event::Mapped(domain("y.localhost")));
    rig.tell(Event::Unmapped(domain("y.localhost")));
    assert!(rig.schedule.unsaved().is_empty());
    rig.end("x.example", site());
    rig.tell(Event::Unmapped(domain("x.example")));
    assert!(rig.schedule.unsaved().iter().all(|(_, text)| text.is_some()), "it may come back tomorrow");
    rig.tell(Event::Mapped(domain("z.example")));
    rig.turn();
    rig.issue("z.example", 90 * DAY);
    rig.pass(9 * DAY);
    let gone: Vec<_> = rig.schedule.unsaved().into_iter().filter(|(_, text)| text.is_none()).collect();
    assert_eq!(gone, [(RecordOf::Name(domain("x.example")), None)]);
}
