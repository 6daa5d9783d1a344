//! What visitors notice of a reload: hotcore, nginx and HAProxy, one after the other on one machine, each by its own unit.
//!
//! `cargo bench --bench reload`; `benches/README.md` tells what is counted. Nothing here passes or fails.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that cannot be made ends loudly"
)]

#[allow(dead_code, unused_imports, reason = "the tests use all of it")]
#[path = "../../tests/system/rig/mod.rs"]
mod rig;

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rig::{Backend, Habit, Load, Machine, Root, Seen, Tally, deb};

/// What the application says.
const BODY: &str = "the app";
/// What it is asked for.
const NAME: &str = "app.test";
/// Half of them with a connection for each request.
const CLIENTS: [Habit; 8] = {
    let [new, kept] = [Habit::New, Habit::Kept];
    [new, kept, new, kept, new, kept, new, kept]
};
/// After each answer.
const REST: Duration = Duration::from_millis(1);
/// Time without a reload, before each one.
const CALM: Duration = Duration::from_millis(500);
/// What comes so soon after a reload is put down to it.
const AFTERMATH: Duration = Duration::from_millis(500);

/// A proxy on the machine.
struct Contender {
    unit: &'static str,
    port: u16,
    version: String,
    calm: Seen,
    reloading: Seen,
    took: Duration,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |option: &str, usual: usize| {
        let place = words.iter().position(|word| word == option);
        place.map_or(usual, |place| words[place + 1].parse().expect("a number"))
    };
    let (reloads, rounds) = (number("--reloads", 40), number("--rounds", 2));
    let machine = Machine::boot(Root::Peers);
    let folder = machine.share().join("app");
    std::fs::create_dir(&folder).unwrap();
    let app = machine.inside(|| Backend::app(BODY, &folder));
    let mut contenders = Vec::from([hotcore, nginx, haproxy].map(|install| install(&machine, app.port)));
    let is_named = |unit: &str| words.iter().any(|word| word == unit);
    if contenders.iter().any(|contender| is_named(contender.unit)) {
        contenders.retain(|contender| is_named(contender.unit));
    }
    for _ in 0..rounds {
        for contender in &mut contenders {
            contender.measure(&machine, reloads / rounds);
        }
    }
    for contender in &contenders {
        contender.report(reloads);
    }
}

impl Contender {
    fn new(machine: &Machine, unit: &'static str, port: u16, version: &str) -> Self {
        let (version, calm, reloading) = (machine.sh(version), Seen::default(), Seen::default());
        Self { unit, port, version, calm, reloading, took: Duration::ZERO }
    }

    fn measure(&mut self, machine: &Machine, reloads: usize) {
        let address = SocketAddr::from(([127, 0, 0, 1], self.port));
        let tally = Arc::<Tally>::default();
        let mut load = machine.inside(|| Load::mixed(address, NAME, &CLIENTS, &[BODY], REST, Arc::clone(&tally)));
        // Connections are made and habits formed before anything counts.
        thread::sleep(2 * CALM);
        tally.take();
        for _ in 0..reloads {
            thread::sleep(CALM);
            self.calm.add(tally.take());
            let begun = Instant::now();
            machine.sh(&format!("systemctl reload {}", self.unit));
            self.took += begun.elapsed();
            thread::sleep(AFTERMATH);
            self.reloading.add(tally.take());
        }
        load.end();
    }

    fn report(&self, reloads: usize) {
        let (unit, version, took) = (self.unit, &self.version, self.took / u32::try_from(reloads).unwrap());
        let (calm, reloading) = (&self.calm, &self.reloading);
        let (lost, answered) = (reloading.lost(), reloading.answered());
        say(&format!(
            "{unit} {version}: {reloads} reloads of {took:?}, {lost} of {} requests lost\n between them:{calm}\n \
             while reloading:{reloading}",
            answered + lost as u64
        ));
    }
}

fn hotcore(machine: &Machine, app: u16) -> Contender {
    let package = machine.give(&deb("0.1.0-1"));
    machine.sh(&format!("apt-get install --yes {package} 2>&1 && hotcore add {NAME} {app}"));
    Contender::new(machine, "hotcore", 80, "hotcore version")
}

fn nginx(machine: &Machine, app: u16) -> Contender {
    let site = format!(
        "upstream app {{ server 127.0.0.1:{app}; keepalive 64; }}
         server {{
           listen 8081; server_name {NAME}; access_log off;
           location / {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; }}
         }}"
    );
    machine.sh("rm --force /etc/nginx/sites-enabled/default");
    machine.write("/etc/nginx/sites-enabled/app", &site);
    machine.sh("systemctl start nginx");
    Contender::new(machine, "nginx", 8081, "dpkg-query --show --showformat='${Version}' nginx")
}

fn haproxy(machine: &Machine, app: u16) -> Contender {
    let site = format!(
        "\nfrontend site\n bind :8082\n no log\n default_backend app\nbackend app\n http-reuse always\n server app 127.0.0.1:{app}\n"
    );
    let usual = machine.sh("cat /etc/haproxy/haproxy.cfg");
    machine.write("/etc/haproxy/haproxy.cfg", &[usual.as_str(), &site].concat());
    machine.sh("systemctl start haproxy");
    Contender::new(machine, "haproxy", 8082, "dpkg-query --show --showformat='${Version}' haproxy")
}

fn say(text: &str) {
    let mut out = io::stdout();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
