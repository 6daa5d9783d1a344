//! Every state that a crash may leave behind, at every call.

use super::*;
use crate::testing;

const CA: &str = "https://ca.example/dir";

/// What must be found after a crash at some moment: what was acknowledged, or what was under way.
#[derive(Clone, Debug, Default)]
struct Expected {
    certificate: Vec<Option<u64>>,
    had_one: bool,
    account: Vec<Option<Account>>,
    /// It was acknowledged: it may have been used.
    account_used: bool,
    record: Vec<Record>,
}

#[test]
fn no_crash_leaves_neither_the_old_nor_the_new_or_loses_an_account_that_was_used() {
    let seed = testing::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let name = "a.example";
    let certificates: Vec<_> = (2020..2026).map(|year| certificate(name, year)).collect();
    let account = Account { directory: CA.to_owned(), key: vec![7; 40], url: None };
    let known = Account { url: Some("https://ca.example/acct/1".to_owned()), ..account.clone() };
    let mut states = 0;
    for _ in 0..6 {
        let model = Model::new();
        model.record();
        let mut store = Store::new(model.clone());
        let mut expected = vec![Expected {
            certificate: vec![None],
            account: vec![None],
            record: vec![Record::Never],
            ..Expected::default()
        }];
        let mut step = |change: &dyn Fn(&mut Expected), run: &mut dyn FnMut(), settle: &dyn Fn(&mut Expected)| {
            let mut during = expected.last().unwrap().clone();
            change(&mut during);
            expected.push(during.clone());
            model.mark(expected.len() - 1);
            run();
            settle(&mut during);
            expected.push(during);
            model.mark(expected.len() - 1);
        };
        for turn in 0..8 {
            match random.u8(..4) {
                0 => {
                    let new = certificates[random.usize(..certificates.len())].clone();
                    let date = Some(new.not_before);
                    step(&|state| state.certificate.push(date), &mut || store.save(&new).unwrap(), &|state| {
                        (state.certificate, state.had_one) = (vec![date], true)
                    });
                }
                1 => {
                    let new = if turn < 4 { account.clone() } else { known.clone() };
                    step(
                        &|state| state.account.push(Some(new.clone())),
                        &mut || store.save_account(&new).unwrap(),
                        &|state| (state.account, state.account_used) = (vec![Some(new.clone())], true),
                    );
                }
                2 => step(
                    &|state| state.certificate.push(None),
                    &mut || _ = store.remove(&domain(name)).unwrap(),
                    &|state| state.certificate = vec![None],
                ),
                _ => {
                    let text = format!("record {turn}");
                    let record = Record::Text(text.clone().into_bytes());
                    let records = [(RecordOf::Name(domain(name)), Some(text.clone())), (RecordOf::Budget, Some(text))];
                    step(
                        &|state| state.record.push(record.clone()),
                        &mut || store.save_records(&records).unwrap(),
                        &|state| state.record = vec![record.clone()],
                    );
                }
            }
        }
        for (world, mark) in model.trace() {
            let expected = &expected[mark];
            world.crashes(&mut random, 12, |contents| {
                states += 1;
                let shown = format!("{:?} for {expected:?}, seed {seed}", contents.keys());
                let mut store = Store::new(Model::with(contents));
                let found = load(&store, name);
                let date = found.certificate.as_ref().map(|certificate| certificate.not_before);
                assert!(expected.certificate.contains(&date), "{date:?} in {shown}");
                assert!(found.had_one || !expected.had_one, "{shown}");
                assert!(expected.record.contains(&found.record), "{:?} in {shown}", found.record);
                assert!(expected.record.contains(&store.budget()), "{shown}");
                assert!(found.problems.is_empty(), "{:?} in {shown}", found.problems);
                let read = store.account(CA).unwrap();
                assert!(expected.account.contains(&read), "{read:?} in {shown}");
                assert!(read.is_some() || !expected.account_used, "{shown}");
                // It goes on from there.
                store.save(&certificates[0]).unwrap();
                assert_eq!(serves(&store, name), Some(certificates[0].not_before), "{shown}");
                store.save_account(&known).unwrap();
            });
        }
    }
    assert!(states > 1_000, "only {states} states");
}
