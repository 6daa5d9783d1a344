//! Disks that fail: at every call, once and for a while (D3).

use std::{collections::BTreeSet, io::ErrorKind};

use super::*;

/// What may be in force: of each name what was acknowledged last, or what was refused since.
#[derive(Default)]
struct Ledger {
    acknowledged: Rules,
    refused: BTreeMap<String, BTreeSet<Option<u16>>>,
}

impl Ledger {
    fn note(&mut self, batch: &[Change], saved: bool) {
        let mut after = self.acknowledged.clone();
        for change in batch {
            apply(&mut after, change);
            let (Change::Map(name, _) | Change::Unmap(name)) = change;
            if saved {
                self.refused.remove(name.as_str());
            } else {
                self.refused.entry(name.to_string()).or_default().insert(after.get(name.as_str()).copied());
            }
        }
        if saved {
            self.acknowledged = after;
        }
    }

    fn allows(&self, found: &Rules) -> bool {
        let names: BTreeSet<&String> =
            self.acknowledged.keys().chain(found.keys()).chain(self.refused.keys()).collect();
        names.into_iter().all(|name| {
            let value = found.get(name).copied();
            value == self.acknowledged.get(name).copied()
                || self.refused.get(name).is_some_and(|refused| refused.contains(&value))
        })
    }
}

/// A fixed script with a compaction; after it, all files are as they are.
fn script(model: &Model) -> Result<(Rules, usize), OpenError> {
    let mut seeded = fastrand::Rng::with_seed(7);
    let (mut journal, mut writer, _) = Journal::open(model.clone())?;
    (journal.compact_from, journal.compact_at) = (300, 300);
    let (mut expected, mut refused) = (rules(&writer), 0);
    for _ in 0..12 {
        let batch = random_batch(&mut seeded);
        match save(&mut journal, &mut writer, &batch) {
            Ok(()) => batch.iter().for_each(|change| apply(&mut expected, change)),
            Err(_) => refused += 1,
        }
        assert_eq!(rules(&writer), expected);
        await_compaction(&mut journal);
    }
    Ok((expected, refused))
}

fn after_crashes(model: &Model, random: &mut fastrand::Rng, mut see: impl FnMut(Rules, Recovery)) {
    model.world().crashes(random, 12, |contents| {
        let (_, writer, recovery) = Journal::open(Model::with(contents)).unwrap();
        see(rules(&writer), recovery);
    });
}

/// D3: one failing call costs at most the batch that it hit, wholly, also after a crash.
#[test]
fn one_fault_at_any_call_loses_nothing_and_invents_nothing() {
    let mut random = random("one_fault_at_any_call_loses_nothing_and_invents_nothing");
    let calm = Model::new();
    script(&calm).unwrap();
    assert!(calm.calls() > 40 && calm.contents().keys().any(|name| name.starts_with("routes.snapshot.")));
    let mut refusals = 0;
    for call in 0..calm.calls() {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            let model = Model::new();
            model.fail(call, call + 1, kind);
            let Ok((expected, refused)) = script(&model) else {
                assert!(call < 1, "only a folder that cannot be read prevents the start, not call {call}");
                continue;
            };
            refusals += refused;
            assert!(refused <= 1, "call {call}: {refused} batches refused for one fault");
            after_crashes(&model, &mut random, |found, _| assert_eq!(found, expected, "call {call}, {kind}"));
            let (_, writer, _) = Journal::open(model).unwrap();
            assert_eq!(rules(&writer), expected, "call {call}, {kind}");
        }
    }
    assert!(refusals > 10);
}

/// D3 with restarts between: a change refused by a disk that failed twice may be there or not, nothing else may differ.
#[test]
fn a_disk_that_fails_for_a_while_loses_nothing_acknowledged_and_works_again_after() {
    let mut random = random("a_disk_that_fails_for_a_while_loses_nothing_acknowledged_and_works_again_after");
    let (mut refusals, mut rounds) = (0, 0);
    while rounds < 400 {
        let model = Model::new();
        let mut ledger = Ledger::default();
        for _ in 0..random.usize(1..4) {
            let Ok((mut journal, mut writer, _)) = Journal::open(model.clone()) else {
                model.fail(0, 0, ErrorKind::Other);
                continue;
            };
            // What a restart finds is in force from then on.
            let found = rules(&writer);
            assert!(ledger.allows(&found), "{found:?} for {:?} or {:?}", ledger.acknowledged, ledger.refused);
            (journal.compact_from, journal.compact_at) = (300, 300);
            for _ in 0..random.usize(1..10) {
                if random.u8(..3) == 0 {
                    let from = model.calls() + random.u64(..4);
                    let kind = if random.bool() { ErrorKind::StorageFull } else { ErrorKind::Other };
                    model.fail(from, from + random.u64(1..20), kind);
                }
                let batch = random_batch(&mut random);
                let before = rules(&writer);
                let saved = save(&mut journal, &mut writer, &batch).is_ok();
                ledger.note(&batch, saved);
                if !saved {
                    refusals += 1;
                    assert_eq!(rules(&writer), before);
                }
                if random.bool() {
                    await_compaction(&mut journal);
                }
            }
            let live = rules(&writer);
            drop(journal);
            assert!(ledger.allows(&live), "{live:?} for {:?} or {:?}", ledger.acknowledged, ledger.refused);
            after_crashes(&model, &mut random, |found, _| {
                assert!(ledger.allows(&found), "{found:?} for {:?} or {:?}", ledger.acknowledged, ledger.refused);
            });
        }
        model.fail(0, 0, ErrorKind::Other);
        let (mut journal, mut writer, _) = Journal::open(model.clone()).unwrap();
        let batch = random_batch(&mut random);
        save(&mut journal, &mut writer, &batch).unwrap();
        ledger.note(&batch, true);
        drop(journal);
        after_crashes(&model, &mut random, |found, _| {
            assert!(ledger.allows(&found), "{found:?} for {:?} or {:?}", ledger.acknowledged, ledger.refused);
        });
        rounds += 1;
    }
    assert!(refusals > 100, "{refusals}");
}

#[test]
fn b196_a_full_disk_refuses_changes_by_name_and_works_again_when_space_comes_back() {
    let model = Model::new();
    let (mut journal, mut writer, _) = Journal::open(model.clone()).unwrap();
    save(&mut journal, &mut writer, &[map("a.example", 1)]).unwrap();
    let (before, mut random) = (model.contents(), fastrand::Rng::with_seed(1));
    // The two lines have 27 and 28 bytes: none of them, a part, all but the last byte.
    for room in [0, 1, 20, 26, 27, 28, 40, 54] {
        model.room(Some(room));
        let error = save(&mut journal, &mut writer, &[map("b.example", 2), unmap("a.example")]).unwrap_err();
        assert!(error.to_string().starts_with("cannot save routes to /model/routes.log.1: "), "{error}");
        assert_eq!(model.contents(), before, "with room for {room} bytes");
        assert_eq!(rules(&writer), Rules::from([("a.example".into(), 1)]));
        // B183: what was refused does not come back, not even after a crash at once.
        after_crashes(&model, &mut random, |found, _| assert_eq!(found, rules(&writer), "with room for {room} bytes"));
    }
    model.room(None);
    save(&mut journal, &mut writer, &[map("b.example", 2)]).unwrap();
    assert_eq!(rules(&Journal::open(model).unwrap().1), rules(&writer));
}

#[test]
fn b196_a_full_disk_does_not_prevent_the_start() {
    let full = Model::new();
    let (mut journal, mut writer, _) = Journal::open(full.clone()).unwrap();
    save(&mut journal, &mut writer, &[map("a.example", 1)]).unwrap();
    drop(journal);
    full.room(Some(0));
    let (mut journal, mut writer, recovery) = Journal::open(full.clone()).unwrap();
    assert_eq!(rules(&writer), Rules::from([("a.example".into(), 1)]));
    assert!(recovery.problems[0].contains("new rules are refused"), "{:?}", recovery.problems);
    save(&mut journal, &mut writer, &[map("b.example", 2)]).unwrap_err();
    full.room(None);
    save(&mut journal, &mut writer, &[map("b.example", 2)]).unwrap();
    assert_eq!(rules(&Journal::open(full).unwrap().1), rules(&writer));
}

#[test]
fn b195_after_a_failed_sync_all_rules_are_written_anew_and_the_batch_with_them() {
    let model = Model::new();
    let (mut journal, mut writer, _) = Journal::open(model.clone()).unwrap();
    save(&mut journal, &mut writer, &[map("a.example", 1), map("b.example", 2)]).unwrap();
    // The next calls are the append and its sync.
    model.fail(model.calls() + 1, model.calls() + 2, ErrorKind::Other);
    save(&mut journal, &mut writer, &[map("c.example", 3), unmap("a.example")]).unwrap();
    let names: Vec<_> = model.contents().into_keys().collect();
    assert!(names.len() == 2 && names[0] != "routes.log.1" && names[1].starts_with("routes.snapshot."), "{names:?}");
    save(&mut journal, &mut writer, &[map("d.example", 4)]).unwrap();
    let expected = Rules::from([("b.example".into(), 2), ("c.example".into(), 3), ("d.example".into(), 4)]);
    let mut random = fastrand::Rng::with_seed(1);
    after_crashes(&model, &mut random, |found, recovery| {
        assert_eq!((found, recovery.problems), (expected.clone(), Vec::new()));
    });
}

#[test]
fn b195_if_that_fails_too_the_batch_is_refused_until_it_succeeds() {
    let model = Model::new();
    let (mut journal, mut writer, _) = Journal::open(model.clone()).unwrap();
    save(&mut journal, &mut writer, &[map("a.example", 1)]).unwrap();
    model.fail(model.calls() + 1, u64::MAX, ErrorKind::Other);
    for _ in 0..3 {
        let error = save(&mut journal, &mut writer, &[map("b.example", 2)]).unwrap_err();
        assert!(error.to_string().contains("/model/routes.snapshot."), "{error}");
    }
    assert_eq!(rules(&writer), Rules::from([("a.example".into(), 1)]));
    model.fail(0, 0, ErrorKind::Other);
    save(&mut journal, &mut writer, &[map("c.example", 3)]).unwrap();
    let expected = Rules::from([("a.example".into(), 1), ("c.example".into(), 3)]);
    assert_eq!(rules(&Journal::open(model.clone()).unwrap().1), expected);
    let mut random = fastrand::Rng::with_seed(1);
    after_crashes(&model, &mut random, |found, _| assert_eq!(found, expected));
}

#[test]
fn a_failed_compaction_leaves_everything_as_it_was_and_is_not_tried_with_every_batch() {
    let model = Model::new();
    let (mut journal, mut writer, _) = Journal::open(model.clone()).unwrap();
    (journal.compact_from, journal.compact_at) = (400, 400);
    let mut tried = 0;
    model.refuse_snapshots(true);
    for turn in 0..60 {
        tried += usize::from(journal.log_bytes >= journal.compact_at);
        save(&mut journal, &mut writer, &[map(&format!("n{turn}.example"), 80)]).unwrap();
        await_compaction(&mut journal);
    }
    assert!((2..10).contains(&tried), "{tried} of 60");
    assert!(model.contents().keys().all(|name| name.starts_with("routes.log.")));
    drop(journal);
    let (mut journal, mut again, recovery) = Journal::open(model.clone()).unwrap();
    assert_eq!((rules(&again), recovery.problems), (rules(&writer), Vec::new()));
    model.refuse_snapshots(false);
    (journal.compact_from, journal.compact_at) = (400, 400);
    save(&mut journal, &mut again, &[map("late.example", 80)]).unwrap();
    await_compaction(&mut journal);
    assert_eq!(model.contents().len(), 2, "a snapshot and a log");
}

#[test]
fn the_systems_words_become_part_of_a_sentence() {
    assert_eq!(reason(&io::Error::from_raw_os_error(28)), "no space left on device");
    assert_eq!(reason(&io::Error::from_raw_os_error(5)), "input/output error");
    assert_eq!(reason(&io::Error::other("I/O error")), "I/O error");
    assert_eq!(reason(&io::Error::other("")), "");
}
