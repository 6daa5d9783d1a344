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
mod cases;
mod contender;
mod floor;
mod load;
mod rules;
mod tls;

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use load::Score;
use tls::Identity;

/// Where the proxy under test runs, and nobody else.
const PROXY_CORE: &str = "1";
/// Where the load generator and the backend run.
const LOAD_CORE: &str = "0";
/// The name that is routed in clear.
const HOST: &str = "plain.test";
/// The name that has a certificate.
const TLS_HOST: &str = "tls.test";

/// What the command line may change.
struct Plan {
    rounds: usize,
    seconds: u32,
    /// Another build of hotcore, measured beside this one.
    beside: Option<String>,
    /// Only cases whose titles contain one of these.
    only: Vec<String>,
}

/// CPU microseconds per answer of one contender in one round, and what the generator saw.
#[derive(Clone, Copy)]
struct Sample {
    micros: f64,
    score: Score,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        // The program starts itself under these names.
        Some("backend") => backend::serve(),
        Some("floor") => floor::serve(words[1].parse().expect("the backend's address")),
        Some("load") => load::run(&words[1..]),
        _ => measure(&Plan::read(&words)),
    }
}

impl Plan {
    fn read(words: &[String]) -> Self {
        let (mut rounds, mut seconds, mut beside, mut only) = (4, 3, None, Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || {
                let number = words.next().and_then(|number| number.parse().ok());
                number.unwrap_or_else(|| panic!("{word} takes a number"))
            };
            match word.as_str() {
                "--rounds" => rounds = number() as usize,
                "--seconds" => seconds = number(),
                "--beside" => beside = words.next().cloned(),
                // What cargo says.
                "--bench" => {}
                title => only.push(title.to_owned()),
            }
        }
        Self { rounds, seconds, beside, only }
    }

    fn wants(&self, title: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| title.contains(only.as_str()))
    }
}

fn measure(plan: &Plan) {
    if thread::available_parallelism().unwrap().get() < 2 {
        return say("needs two processors: one for the proxy, one for the load");
    }
    let (_backend, address) = contender::start_own(LOAD_CORE, &["backend"]);
    let identity = Identity::new();
    cases::side_by_side(plan, address, &identity);
    if plan.wants("rules") {
        rules::add_under_load(plan, address, &identity);
        rules::one_against_a_million(plan, address, &identity);
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
