//! What the journal promises, on a disk that fails, tears, fills up and stops at every step.

mod crash;
mod damage;
mod disk;
mod faults;

use std::{collections::BTreeMap, env, sync::Arc, thread};

use super::*;
use crate::{limits, routes::TableWriter, testing::folder::Model};

/// What a table, or a client's view of it, holds.
type Rules = BTreeMap<String, u16>;

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

fn map(name: &str, number: u16) -> Change {
    Change::Map(domain(name), Port::new(number).unwrap())
}

fn unmap(name: &str) -> Change {
    Change::Unmap(domain(name))
}

fn rules(writer: &TableWriter) -> Rules {
    let rules: Rules = writer.page_after(None).map(|rule| (rule.domain.to_string(), rule.port.number())).collect();
    assert_eq!(rules.len(), writer.table().len());
    for (name, port) in &rules {
        assert_eq!(writer.table().find(&domain(name)).unwrap().port.number(), *port);
    }
    rules
}

fn apply(rules: &mut Rules, change: &Change) {
    match change {
        Change::Map(domain, port) => rules.insert(domain.to_string(), port.number()),
        Change::Unmap(domain) => rules.remove(domain.as_str()),
    };
}

/// What `control::server` does with a batch: durable, then visible.
fn save<S: Storage>(journal: &mut Journal<S>, writer: &mut TableWriter, changes: &[Change]) -> Result<(), SaveError> {
    journal.commit(changes, &writer.table())?;
    for change in changes {
        match change {
            Change::Map(domain, port) => writer.insert(domain.clone(), *port),
            Change::Unmap(domain) => writer.remove(domain),
        }
    }
    Ok(())
}

fn await_compaction<S: Storage>(journal: &mut Journal<S>) {
    while journal.compaction.as_ref().is_some_and(|compaction| !compaction.is_finished()) {
        thread::yield_now();
    }
    journal.finish_compaction(false);
}

fn random_batch(random: &mut fastrand::Rng) -> Vec<Change> {
    (0..random.usize(1..6))
        .map(|_| {
            let name = format!("n{}.example", random.u8(..9));
            if random.u8(..3) == 0 { unmap(&name) } else { map(&name, random.u16(1..)) }
        })
        .collect()
}

#[expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a failed run must be repeatable")]
fn random(test: &str) -> fastrand::Rng {
    let seed = env::var("HOTCORE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("{test}: HOTCORE_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}
