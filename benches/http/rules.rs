//! What rules cost: one durable `add` while requests flow, and a look-up among a million.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::{
    Plan,
    contender::{Contender, control},
    load::{Load, Names},
    median, say,
    tls::Identity,
};

const RULES: u32 = 1_000_000;
/// Unanswered commands at any time while the rules are added: well within the default receive buffer.
const WINDOW: u32 = 128;

/// How long one `add` takes to be durable and routing, at rest and under full HTTP load.
pub(crate) fn add_under_load(plan: &Plan, backend: SocketAddr, identity: &Identity) {
    say(
        "\nOne durable add at a time, milliseconds until its ok\n\n| | adds | p50 | p99 | slowest |\n|---|---|---|---|---|",
    );
    for loaded in [false, true] {
        let hotcore = Contender::hotcore(backend, identity).expect("it was just built");
        let _load = loaded.then(|| hotcore.load(&Load::PLAIN));
        let socket = control(hotcore.control.expect("hotcore takes commands"));
        let until = Instant::now() + Duration::from_secs(u64::from(plan.seconds));
        let mut waits = Vec::new();
        while Instant::now() < until {
            let begun = Instant::now();
            socket.send(format!("add site-{}.test {}", waits.len(), backend.port()).as_bytes()).unwrap();
            let mut reply = [0; 1024];
            match socket.recv(&mut reply) {
                Ok(length) => assert!(reply[..length].starts_with(b"ok "), "refused"),
                // Counted with the time that a client would have waited.
                Err(_) => say("an add was not acknowledged within 200 ms"),
            }
            waits.push(begun.elapsed());
        }
        waits.sort();
        let at = |percent: usize| waits[(waits.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
        let name = if loaded { "under load" } else { "at rest" };
        say(&format!("| {name} | {} | {:.2} | {:.2} | {:.2} |", waits.len(), at(50), at(99), at(100)));
    }
}

/// CPU per request with one rule and with a million, hosts drawn uniformly.
pub(crate) fn one_against_a_million(plan: &Plan, backend: SocketAddr, identity: &Identity) {
    let [one, million] = [(); 2].map(|()| Contender::hotcore(backend, identity).unwrap());
    let begun = Instant::now();
    fill(&million, backend.port());
    let filled = begun.elapsed().as_secs_f64();
    // The generator does the same work in both cases; only the name it sends differs.
    let [same, random] =
        [false, true].map(|is_sent| Load { names: Names::Drawn { of: RULES, is_sent }, ..Load::PLAIN });
    let (mut single, mut ratios) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let (first, second) = if round % 2 == 0 {
            let first = one.measure(&same, plan.seconds).micros;
            (first, million.measure(&random, plan.seconds).micros)
        } else {
            let second = million.measure(&random, plan.seconds).micros;
            (one.measure(&same, plan.seconds).micros, second)
        };
        single.push(first);
        ratios.push(second / first);
    }
    say(&format!(
        "\n{RULES} rules, hosts drawn uniformly: {:.3} × the CPU per request of one rule ({:.1} µs); added in {filled:.1} s",
        median(ratios),
        median(single)
    ));
}

fn fill(hotcore: &Contender, port: u16) {
    let socket = control(hotcore.control.expect("hotcore takes commands"));
    let mut reply = [0; 1024];
    let (mut sent, mut answered) = (0, 0);
    while answered < RULES {
        while sent < RULES && sent - answered < WINDOW {
            socket.send(format!("add site-{sent:07}.test {port}").as_bytes()).unwrap();
            sent += 1;
        }
        socket.recv(&mut reply).expect("an add was not acknowledged");
        answered += 1;
    }
}
