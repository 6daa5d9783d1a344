//! Figures of the table and the journal at scale.
use hotcore::{
    domain::Domain,
    routes::{Port, Rule, TableWriter},
};
use std::{hint::black_box, sync::Arc, time::Instant};
fn names(n: usize) -> Vec<Domain> {
    (0..n).map(|i| Domain::parse(&format!("host-{:07}.example.com", i)).unwrap()).collect()
}
#[allow(clippy::all)]
fn main() {
    for n in [1usize, 10_000, 1_000_000] {
        let names: Vec<Domain> = names(n);
        let rules: Vec<_> = names
            .iter()
            .map(|d| Arc::new(Rule::new(Domain::parse(d.as_str()).unwrap(), Port::new(80).unwrap(), true)))
            .collect();
        let t = Instant::now();
        let mut w = TableWriter::from_rules(rules);
        println!("{n}: build {:?}", t.elapsed());
        let table = w.table();
        let picks: Vec<_> =
            (0..1_000_000).map(|_| Domain::parse(names[fastrand::usize(..n)].as_str()).unwrap()).collect();
        for _ in 0..3 {
            let t = Instant::now();
            for d in &picks {
                black_box(table.find(d));
            }
            println!("  find {:.1} ns", t.elapsed().as_nanos() as f64 / picks.len() as f64);
        }
        let m = 100_000.min(picks.len());
        let t = Instant::now();
        for (i, d) in picks[..m].iter().enumerate() {
            w.insert(d.clone(), Port::new((i % 60000 + 1000) as u16).unwrap());
        }
        println!("  insert {:.2} us", t.elapsed().as_nanos() as f64 / m as f64 / 1e3);
    }
    let t = Instant::now();
    for _ in 0..100 {
        black_box(TableWriter::new());
    }
    println!("empty {:?}", t.elapsed() / 100);
}
