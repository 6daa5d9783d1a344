//! The cases, each with all proxies in turn, and the one table of them.

use std::net::SocketAddr;

use crate::{
    Plan, Sample,
    contender::Contender,
    load::{Door, Load, Session},
    median, say,
    tls::Identity,
};

const MIB: usize = 1 << 20;

/// What is measured, and in which unit CPU time is told.
struct Case {
    title: &'static str,
    unit: Unit,
    load: Load,
}

#[derive(Clone, Copy)]
enum Unit {
    /// Microseconds per request.
    Request,
    /// Milliseconds per connection: accept, handshake, one request, end.
    Connection,
    /// Seconds per GiB of bodies.
    Gib,
}

fn cases() -> [Case; 11] {
    use Unit::{Connection, Gib, Request};
    let (plain, tls) = (Load::PLAIN, Load { door: Door::Tls, ..Load::PLAIN });
    let http2 = Load { door: Door::Http2, connections: 16, ..tls };
    let (full, resumed) = (Session::Full, Session::Resumed);
    [
        ("plain HTTP/1.1", Request, plain),
        ("TLS HTTP/1.1", Request, tls),
        ("HTTP/2, 1 stream", Request, http2),
        ("HTTP/2, 32 streams", Request, Load { streams: 32, ..http2 }),
        ("full handshake", Connection, Load { session: full, connections: 16, ..tls }),
        ("resumed handshake", Connection, Load { session: resumed, connections: 16, ..tls }),
        ("bulk TLS HTTP/1.1", Gib, Load { body: MIB, connections: 4, ..tls }),
        ("bulk HTTP/2", Gib, Load { body: MIB, connections: 4, ..http2 }),
        ("calm plain HTTP/1.1", Request, Load { rate: 2_000, ..plain }),
        ("calm TLS HTTP/1.1", Request, Load { rate: 2_000, ..tls }),
        ("calm HTTP/2", Request, Load { rate: 2_000, streams: 8, ..http2 }),
    ]
    .map(|(title, unit, load)| Case { title, unit, load })
}

impl Unit {
    fn of(self, micros: f64, load: &Load) -> f64 {
        match self {
            Self::Request => micros,
            Self::Connection => micros / 1e3,
            Self::Gib => micros / 1e6 * (1_024.0 * MIB as f64 / load.body as f64),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Request => "µs/request",
            Self::Connection => "ms/connection",
            Self::Gib => "s/GiB",
        }
    }
}

/// All cases, one row for each proxy.
pub(crate) fn side_by_side(plan: &Plan, backend: SocketAddr, identity: &Identity) {
    let cases: Vec<Case> = cases().into_iter().filter(|case| plan.wants(case.title)).collect();
    if cases.is_empty() {
        return;
    }
    let all = [
        Contender::floor(backend),
        Contender::hotcore(backend, identity),
        Contender::nginx(backend, identity),
        Contender::haproxy(backend, identity),
    ];
    let other = plan.beside.as_ref().map(|program| Contender::build("beside", program, backend, identity));
    let contenders: Vec<Contender> =
        all.into_iter().chain(other).filter_map(|started| started.map_err(|missing| say(&missing)).ok()).collect();
    let versions = contenders.iter().map(|contender| format!("{} {}", contender.name, contender.version));
    say(&format!(
        "{}; one worker on one processor, generator and backend on another; {} rounds of {} s\n\n\
         | case | proxy | CPU | min–max | ÷ floor | ÷ best peer | per second | p50 ms | p99 ms |\n\
         |---|---|---|---|---|---|---|---|---|",
        versions.collect::<Vec<_>>().join(", "),
        plan.rounds,
        plan.seconds
    ));
    for case in cases {
        let present: Vec<&Contender> = contenders.iter().filter(|contender| contender.has(case.load.door)).collect();
        case.tell(&present, &rounds(plan, &present, &case.load));
    }
}

/// The samples of each contender, round by round.
fn rounds(plan: &Plan, contenders: &[&Contender], load: &Load) -> Vec<Vec<Sample>> {
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
            samples[number].push(contenders[number].measure(load, plan.seconds));
        }
    }
    samples
}

impl Case {
    fn tell(&self, contenders: &[&Contender], samples: &[Vec<Sample>]) {
        let middle = |samples: &[Sample]| median(samples.iter().map(|sample| sample.micros).collect());
        let place = |name: &str| contenders.iter().position(|contender| contender.name == name);
        let floor = place("floor");
        let peers = [place("nginx"), place("haproxy")].into_iter().flatten();
        let best = peers.min_by(|one, other| middle(&samples[*one]).total_cmp(&middle(&samples[*other])));
        for (contender, own) in contenders.iter().zip(samples) {
            // Paired within a round: what the machine did to one it did to the other.
            let ratio = |to: Option<usize>| {
                let paired = |to: usize| own.iter().zip(&samples[to]).map(|(own, to)| own.micros / to.micros);
                to.map_or_else(|| "–".to_owned(), |to| format!("{:.2}", median(paired(to).collect())))
            };
            let show = |micros: f64| {
                let figure = self.unit.of(micros, &self.load);
                if figure < 10.0 { format!("{figure:.3}") } else { format!("{figure:.1}") }
            };
            let micros = || own.iter().map(|sample| sample.micros);
            let (least, most) = (micros().fold(f64::MAX, f64::min), micros().fold(0.0, f64::max));
            let of = |take: fn(&Sample) -> f64| median(own.iter().map(take).collect());
            say(&format!(
                "| {} | {} | {} {} | {}–{} | {} | {} | {:.0} | {:.2} | {:.2} |",
                self.title,
                contender.name,
                show(middle(own)),
                self.unit.name(),
                show(least),
                show(most),
                ratio(floor),
                ratio(best),
                of(|sample| sample.score.answers / sample.score.seconds),
                of(|sample| sample.score.p50),
                of(|sample| sample.score.p99),
            ));
        }
    }
}
