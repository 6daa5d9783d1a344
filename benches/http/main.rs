//! CPU time per proxied request: hotcore, nginx and HAProxy side by side in one run, with a raw forwarder as the floor.
//!
//! `cargo bench --bench http`; `benches/README.md` tells what is measured and how to read it. Nothing here passes or fails.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot be made ends loudly"
)]

mod backend;
mod contender;
mod floor;
mod rules;

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::Command,
    thread,
    time::Duration,
};

use contender::{Contender, Wrk};

/// Where the proxy under test runs, and nobody else.
const PROXY_CORE: &str = "1";
/// Where the load generator and the backend run.
const LOAD_CORE: &str = "0";
const CONNECTIONS: u32 = 64;
/// The name that is routed.
const HOST: &str = "plain.test";

/// What the command line may change.
struct Plan {
    rounds: usize,
    seconds: u32,
}

/// CPU microseconds per request and requests per second of one contender in one round.
#[derive(Clone, Copy)]
struct Sample {
    micros: f64,
    rate: f64,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        // The program starts itself under these names.
        Some("backend") => backend::serve(),
        Some("floor") => floor::serve(words[1].parse().expect("the backend's address")),
        _ => measure(&plan(&words)),
    }
}

fn plan(words: &[String]) -> Plan {
    let number = |name: &str, default: u32| {
        let place = words.iter().position(|word| word == name);
        place.map_or(default, |place| words[place + 1].parse().unwrap_or_else(|_| panic!("{name} takes a number")))
    };
    Plan { rounds: number("--rounds", 6) as usize, seconds: number("--seconds", 5) }
}

fn measure(plan: &Plan) {
    if thread::available_parallelism().unwrap().get() < 2 {
        return say("needs two processors: one for the proxy, one for the load");
    }
    if Command::new("wrk").arg("--version").output().is_err() {
        return say("missing: wrk (Debian package wrk), the load generator");
    }
    let (_backend, address) = contender::start_own(LOAD_CORE, &["backend"]);
    side_by_side(plan, address);
    rules::add_under_load(plan, address);
    rules::one_against_a_million(plan, address);
}

fn side_by_side(plan: &Plan, backend: SocketAddr) {
    let all = [
        Contender::floor(backend),
        Contender::hotcore(backend),
        Contender::nginx(backend),
        Contender::haproxy(backend),
    ];
    let contenders: Vec<Contender> =
        all.into_iter().filter_map(|started| started.map_err(|missing| say(&missing)).ok()).collect();
    say(&format!(
        "\nHTTP/1.1 keep-alive, {CONNECTIONS} connections, 128-byte body; one worker on processor {PROXY_CORE}, generator and \
         backend on processor {LOAD_CORE}; {} rounds of {} s",
        plan.rounds, plan.seconds
    ));
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); contenders.len()];
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    for round in 0..plan.rounds {
        // Shuffled, then mirrored, so that a drift of the machine hits all alike.
        if round % 2 == 0 {
            fastrand::shuffle(&mut order);
        } else {
            order.reverse();
        }
        for &number in &order {
            samples[number].push(contenders[number].measure(&Wrk::plain(HOST), plan.seconds));
        }
    }
    let floor = contenders.iter().position(|contender| contender.name == "floor").map(|place| samples[place].clone());
    say("\n| proxy | version | CPU µs/request | min–max | ÷ floor | requests/s |\n|---|---|---|---|---|---|");
    for (contender, samples) in contenders.iter().zip(&samples) {
        let micros: Vec<f64> = samples.iter().map(|sample| sample.micros).collect();
        // Paired within a round: what the machine did to one it did to the other.
        let ratio = floor.as_ref().map_or(f64::NAN, |floor| {
            median(samples.iter().zip(floor).map(|(own, floor)| own.micros / floor.micros).collect())
        });
        let (least, most) =
            (micros.iter().copied().fold(f64::MAX, f64::min), micros.iter().copied().fold(0.0, f64::max));
        let rate = median(samples.iter().map(|sample| sample.rate).collect());
        let (name, version) = (contender.name, &contender.version);
        say(&format!("| {name} | {version} | {:.1} | {least:.1}–{most:.1} | {ratio:.2} | {rate:.0} |", median(micros)));
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    if figures.len() % 2 == 1 { figures[middle] } else { f64::midpoint(figures[middle - 1], figures[middle]) }
}

fn say(text: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// A port on loopback that is free now: peers that cannot choose one themselves are told it.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Tries until a peer accepts connections.
fn until_it_accepts(address: SocketAddr) {
    for _ in 0..1_000 {
        if std::net::TcpStream::connect(address).is_ok() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("nobody accepts on {address}");
}
