//! Every state that a crash may leave behind, at every point of random scripts (D1).

use super::*;

/// What may be in force after a crash at some moment: what was acknowledged, and a beginning of the batch under way.
struct Expected {
    acknowledged: Rules,
    under_way: Vec<Change>,
}

impl Expected {
    fn allows(&self, found: &Rules) -> bool {
        let mut rules = self.acknowledged.clone();
        *found == rules
            || self.under_way.iter().any(|change| {
                apply(&mut rules, change);
                *found == rules
            })
    }
}

/// Runs a random script and records what is on disk, and what is expected, at every call.
fn script(random: &mut fastrand::Rng) -> (Model, Vec<Expected>) {
    let model = Model::new();
    model.record();
    let mut expected = vec![Expected { acknowledged: Rules::new(), under_way: Vec::new() }];
    for _ in 0..random.usize(1..4) {
        let (mut journal, mut writer, _) = Journal::open(model.clone()).unwrap();
        let compact_from = if random.bool() { random.u64(50..600) } else { u64::MAX };
        (journal.compact_from, journal.compact_at) = (compact_from, compact_from);
        for _ in 0..random.usize(1..12) {
            let mut acknowledged = expected.last().unwrap().acknowledged.clone();
            let batch = random_batch(random);
            expected.push(Expected { acknowledged: acknowledged.clone(), under_way: batch.clone() });
            model.mark(expected.len() - 1);
            save(&mut journal, &mut writer, &batch).unwrap();
            batch.iter().for_each(|change| apply(&mut acknowledged, change));
            expected.push(Expected { acknowledged, under_way: Vec::new() });
            model.mark(expected.len() - 1);
            if random.bool() {
                await_compaction(&mut journal);
            }
        }
        assert_eq!(rules(&writer), expected.last().unwrap().acknowledged);
        journal.close();
    }
    (model, expected)
}

/// Opens what a crash left, compares, goes on, crashes again in the worst way, and compares again.
fn check(contents: &BTreeMap<String, Vec<u8>>, expected: &Expected, random: &mut fastrand::Rng) {
    let show = || {
        let files = contents.iter().map(|(name, bytes)| format!("{name}:\n{}", String::from_utf8_lossy(bytes)));
        files.collect::<Vec<_>>().join("\n")
    };
    let model = Model::with(contents.clone());
    model.record();
    let (mut journal, mut writer, recovery) = Journal::open(model.clone()).unwrap();
    let mut found = rules(&writer);
    assert!(
        expected.allows(&found),
        "{found:?}\nfor {:?} + {:?}\n{}",
        expected.acknowledged,
        expected.under_way,
        show()
    );
    assert_eq!(recovery.problems, Vec::<String>::new(), "{}", show());
    assert_eq!(recovery.rules, found.len());

    let late = map("late.example", 9);
    save(&mut journal, &mut writer, std::slice::from_ref(&late)).unwrap();
    drop(journal);
    let trace = model.trace();
    apply(&mut found, &late);
    let mut lost = None;
    model.world().crashes(random, 1, |contents| lost = Some(contents));
    let (_, writer, recovery) = Journal::open(Model::with(lost.unwrap())).unwrap();
    assert_eq!((rules(&writer), recovery.problems), (found, Vec::new()), "{}", show());

    // A crash while the crash was being mended.
    if random.u8(..20) == 0 {
        let (world, _) = &trace[random.usize(..trace.len())];
        let expected = Expected {
            acknowledged: expected.acknowledged.clone(),
            under_way: expected.under_way.iter().cloned().chain([late]).collect(),
        };
        world.crashes(random, 4, |contents| {
            let (_, writer, recovery) = Journal::open(Model::with(contents)).unwrap();
            let mut found = rules(&writer);
            let late = found.remove("late.example");
            let before =
                Expected { acknowledged: expected.acknowledged.clone(), under_way: expected.under_way.clone() };
            assert!(before.allows(&found), "{late:?} {found:?}\n{}", show());
            assert_eq!(recovery.problems, Vec::<String>::new(), "{}", show());
        });
    }
}

/// D1, invariant 2: durable, then visible, then acknowledged. 10,000 states, or HOTCORE_CRASH_STATES of them.
#[test]
#[expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "the number of states is set from outside")]
fn no_crash_loses_an_acknowledged_rule_or_invents_one_or_prevents_the_start() {
    let wanted = env::var("HOTCORE_CRASH_STATES").ok().and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let mut random = random("no_crash_loses_an_acknowledged_rule_or_invents_one_or_prevents_the_start");
    let (mut states, mut scripts) = (0_usize, 0);
    while states < wanted {
        let (model, expected) = script(&mut random);
        for (world, mark) in model.trace() {
            let mut crashes = Vec::new();
            world.crashes(&mut random, 24, |contents| crashes.push(contents));
            for contents in crashes {
                check(&contents, &expected[mark], &mut random);
                states += 1;
            }
        }
        scripts += 1;
    }
    println!("{states} crash states of {scripts} scripts");
}

/// A storage whose sync waits would show the same; here, every state before the sync is one in which the rule may be lost.
#[test]
fn durable_then_visible_nothing_that_a_crash_can_take_back_is_in_the_table() {
    let model = Model::new();
    let (mut journal, mut writer, _) = Journal::open(model.clone()).unwrap();
    model.record();
    let table = writer.table();
    let change = map("a.example", 80);
    journal.commit(std::slice::from_ref(&change), &table).unwrap();
    assert!(table.is_empty(), "to make it visible is the caller's, after this");
    let (mut random, mut lost_before) = (fastrand::Rng::with_seed(1), false);
    for (world, _) in model.trace() {
        world.crashes(&mut random, usize::MAX, |contents| {
            lost_before |= Journal::open(Model::with(contents)).unwrap().1.table().is_empty();
        });
    }
    assert!(lost_before, "the model must be able to lose an unsynced rule");
    model.world().crashes(&mut random, usize::MAX, |contents| {
        let (_, writer, _) = Journal::open(Model::with(contents)).unwrap();
        assert_eq!(rules(&writer), Rules::from([("a.example".into(), 80)]));
    });
    save(&mut journal, &mut writer, &[change]).unwrap();
}
