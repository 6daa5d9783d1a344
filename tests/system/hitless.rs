//! Reloads, upgrades, restarts and violent ends, under all kinds of load at once on a machine where the package is installed.
//!
//! `HOTCORE_HITLESS=1` makes the first test a long one: 100 reloads, 20 upgrades and downgrades, 1,000,000 requests.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hotcore::limits::{GENERATIONS_MAX, HANDOVER_DRAIN, STOP_DRAIN};

use crate::rig::{
    Backend, Client, Control, Drops, Failure, IN_FLIGHT_MAX, Installed, Machine, PATIENCE, Root, Seen, Traffic,
    WebSocket, deb, note, wait_for,
};

/// What the site and the one without a certificate say.
const BODY: &str = "the app";
/// A name that no authority is asked about: it stays with plain HTTP.
const PLAIN: &str = "plain.test";
/// The same, for WebSockets.
const CHAT: &str = "chat.test";
/// A name with a certificate.
const SITE: &str = "site.example";
/// The same, for WebSockets.
const SECURE_CHAT: &str = "chat.example";
/// Each a higher version than the one before, but for the step from the last to the first.
const VERSIONS: [&str; 3] = ["0.1.0-1", "0.1.1-1", "0.1.2-1"];
/// Answers after an event that still belong to it.
const AFTERMATH: u64 = 50;

/// A machine with hotcore and what it routes to.
struct Stage {
    installed: Installed,
    root: PathBuf,
    app: Backend,
    _chat: Backend,
}

/// How long the first test lasts.
struct Plan {
    reloads: usize,
    upgrades: usize,
    requests: u64,
}

/// WebSockets, in clear and by TLS, of several generations.
struct Tunnels(VecDeque<[WebSocket; 2]>);

impl Plan {
    #[expect(clippy::disallowed_methods, reason = "the long run is asked for by the environment")]
    fn read() -> Self {
        if std::env::var_os("HOTCORE_HITLESS").is_some() {
            return Self { reloads: 100, upgrades: 20, requests: 1_000_000 };
        }
        Self { reloads: 8, upgrades: 3, requests: 20_000 }
    }
}

impl Stage {
    fn new() -> Self {
        let installed = Installed::from_deb(Machine::boot(Root::Debian), &packages()[0]);
        let folder = installed.machine.share().join("app");
        std::fs::create_dir(&folder).unwrap();
        let (app, chat) = installed.machine.inside(|| (Backend::app(BODY, &folder), Backend::python_echo("chat")));
        installed.machine.sh(&format!("hotcore add {PLAIN} {} && hotcore add {CHAT} {}", app.port, chat.port));
        installed.add_site(SITE, app.port);
        installed.add_site(SECURE_CHAT, chat.port);
        let root = installed.root();
        Self { installed, root, app, _chat: chat }
    }

    fn machine(&self) -> &Machine {
        &self.installed.machine
    }

    fn traffic(&self) -> Traffic {
        Traffic::start(self.machine(), PLAIN, SITE, &self.root, BODY)
    }

    fn tunnels(&self) -> [WebSocket; 2] {
        self.machine().inside(|| {
            [
                WebSocket::connect(at(80), CHAT).unwrap(),
                WebSocket::connect_securely(at(443), SECURE_CHAT, &self.root).unwrap(),
            ]
        })
    }

    /// Processes of hotcore: one for each generation.
    fn generations(&self) -> usize {
        self.machine().sh("pgrep --count --exact hotcore || true").parse().unwrap()
    }

    /// How often systemd started the service because it had ended by itself.
    fn restarts(&self) -> u32 {
        self.machine().property("hotcore.service", "NRestarts").parse().unwrap()
    }

    /// Fails the test if the main process is not a new one, from the file that is installed now.
    fn assert_replaced(&self, before: &str) {
        let pid = self.installed.main_pid();
        assert_ne!(pid, before, "the main process is the same");
        let program = std::fs::read_link(format!("/proc/{}/exe", self.machine().outer_pid(&pid))).unwrap();
        assert_eq!(program.to_str(), Some("/usr/bin/hotcore"));
    }

    /// Fails the test if a unit has failed, or a port is not systemd's any more.
    fn assert_units_well(&self) {
        assert_eq!(self.machine().failed_units(), "");
        for unit in ["hotcore-web.socket", "hotcore-control.socket", "hotcore.service"] {
            assert_eq!(self.machine().property(unit, "ActiveState"), "active", "{unit}");
        }
    }

    /// Ends the main process without a warning, and waits until systemd has started another.
    fn kill(&self) {
        let before = self.installed.main_pid();
        self.machine().sh(&format!("kill -9 {before}"));
        wait_for("another process", PATIENCE, || {
            let pid = self.installed.main_pid();
            (pid != "0" && pid != before && self.machine().property("hotcore.service", "SubState") == "running")
                .then_some(())
        });
    }
}

impl Tunnels {
    /// A message and its echo through each of them.
    fn assert_alive(&mut self) {
        for tunnel in self.0.iter_mut().flatten() {
            assert_eq!(tunnel.ask("still there?").expect("a tunnel was cut"), "chat: still there?");
        }
    }

    /// Waits until none of them carries a message.
    fn assert_cut(self) {
        for mut tunnel in self.0.into_iter().flatten() {
            wait_for("the end of a tunnel", PATIENCE, || tunnel.ask("still there?").is_err().then_some(()));
        }
    }

    /// Does `work` while messages go through all of them.
    fn talk_during(&mut self, work: impl FnOnce()) {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let talk = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    self.assert_alive();
                    thread::sleep(Duration::from_millis(1));
                }
                self.assert_alive();
            });
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            done.store(true, Ordering::Relaxed);
            talk.join().unwrap();
            outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }
}

/// One of each version; made once.
fn packages() -> &'static [PathBuf; 3] {
    static MADE: OnceLock<[PathBuf; 3]> = OnceLock::new();
    MADE.get_or_init(|| VERSIONS.map(deb))
}

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// B204, B207, B210. A reload, and an upgrade or a downgrade by apt: no request fails, no tunnel is cut, systemd sees one service that
/// never ended, and each process ends when its last connection has.
#[test]
fn nobody_notices_a_reload_or_an_upgrade() {
    let plan = Plan::read();
    let stage = Stage::new();
    let machine = stage.machine();
    let packages = packages();
    let drops = Drops::of(machine);
    let (mut calm, mut busy, mut took) = (Seen::default(), Seen::default(), [Duration::ZERO; 2]);
    let mut tunnels = Tunnels(VecDeque::new());
    let traffic = stage.traffic();
    let events = plan.reloads + plan.upgrades;
    let every = events / plan.upgrades;
    let mut upgrades = 0;
    for event in 0..events {
        // No more than may live at a time: the process that serves, and the others with the tunnels that they keep.
        if tunnels.0.len() == GENERATIONS_MAX - 1 {
            tunnels.0.pop_front();
        }
        tunnels.0.push_back(stage.tunnels());
        let goal = plan.requests * (event as u64 + 1) / events as u64;
        traffic.wait_for_more(goal.saturating_sub(calm.answered() + busy.answered()).max(AFTERMATH));
        calm.add(traffic.take());
        let pid = stage.installed.main_pid();
        let is_upgrade = event % every == every - 1 && upgrades < plan.upgrades;
        upgrades += usize::from(is_upgrade);
        let begun = Instant::now();
        tunnels.talk_during(|| {
            if is_upgrade {
                stage.installed.apt_install(&packages[upgrades % VERSIONS.len()]);
            } else {
                machine.sh("systemctl reload hotcore");
            }
        });
        let longest = &mut took[usize::from(is_upgrade)];
        *longest = begun.elapsed().max(*longest);
        traffic.wait_for_more(AFTERMATH);
        busy.add(traffic.take());
        tunnels.assert_alive();
        stage.assert_replaced(&pid);
    }
    assert_eq!(upgrades, plan.upgrades);
    calm.add(traffic.end());
    let drops = Drops::of(machine).since(&drops);
    note(&format!(
        "{} reloads (the longest took {:?}), {upgrades} upgrades and downgrades ({:?}), {} requests; {drops:?}\n \
         between them:{calm}\n while they lasted:{busy}",
        plan.reloads,
        took[0],
        took[1],
        calm.answered() + busy.answered()
    ));
    calm.assert_none_failed();
    busy.assert_none_failed();
    assert!(calm.answered() + busy.answered() >= plan.requests);
    assert_eq!(drops.out_of_queues(), 0, "{drops:?}");
    assert_eq!(stage.restarts(), 0);
    stage.assert_units_well();

    let patience = HANDOVER_DRAIN + PATIENCE;
    let kept = 1 + tunnels.0.len();
    wait_for("the end of all without a tunnel", patience, || (stage.generations() == kept).then_some(()));
    tunnels.assert_alive();
    drop(tunnels);
    wait_for("the end of all but one", patience, || (stage.generations() == 1).then_some(()));
    stage.assert_units_well();
    let journal = machine.journal("hotcore");
    let complaints: Vec<_> = journal.lines().filter(|line| line.to_lowercase().contains("failed")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// B203, B209. New visitors wait, and what had begun is finished, unless it takes longer than the drain.
#[test]
fn a_restart_refuses_nobody_and_cuts_only_what_takes_too_long() {
    let stage = Stage::new();
    restart_again_and_again(&stage);
    restart_with_a_request_that_never_ends(&stage);
    visit_while_stopped(&stage);
    stage.assert_units_well();
}

/// Far more restarts in a row than systemd's usual limit allows.
fn restart_again_and_again(stage: &Stage) {
    let machine = stage.machine();
    let drops = Drops::of(machine);
    let traffic = stage.traffic();
    traffic.wait_for_more(1_000);
    let calm = traffic.take();
    for _ in 0..20 {
        let pid = stage.installed.main_pid();
        machine.sh("systemctl restart hotcore");
        stage.assert_replaced(&pid);
    }
    traffic.wait_for_more(AFTERMATH);
    let few = traffic.take();
    note(&format!("before 20 restarts:{calm}\n during 20 restarts, one after the other:{few}"));

    machine.inside(|| {
        let control = Control::connect(at(40608));
        let replies = control.pipeline((0..10_000).map(|number| format!("add n-{number}.test 3000")), 1_000);
        assert!(replies.len() == 10_000 && replies.iter().all(|reply| reply.starts_with("ok ")));
    });
    traffic.take();
    for _ in 0..5 {
        machine.sh("systemctl restart hotcore");
        traffic.wait_for_more(200);
    }
    let many = traffic.end();
    let drops = Drops::of(machine).since(&drops);
    note(&format!("during 5 restarts with 10,000 rules:{many}\n {drops:?}"));
    calm.assert_none_failed();
    for seen in [few, many] {
        seen.assert_none_lost_but_on_kept();
    }
    assert_eq!(drops.out_of_queues(), 0, "{drops:?}");
}

fn restart_with_a_request_that_never_ends(stage: &Stage) {
    let machine = stage.machine();
    let mut slow = machine.inside(|| Client::connect(at(80)).unwrap());
    slow.write(&format!("GET /slow HTTP/1.1\r\nHost: {PLAIN}\r\n\r\n")).unwrap();
    assert_eq!(slow.head().unwrap().status, 200);
    slow.read_until("begun ").unwrap();
    let traffic = stage.traffic();
    traffic.wait_for_more(500);
    traffic.take();
    let begun = Instant::now();
    machine.sh("systemctl restart hotcore");
    let took = begun.elapsed();
    traffic.wait_for_more(AFTERMATH);
    let seen = traffic.end();
    note(&format!("a restart with a request that never ends: {took:?}, of them {STOP_DRAIN:?} to drain:{seen}"));
    assert!(slow.piece().is_err(), "a cut body looked complete");
    seen.assert_none_lost_but_on_kept();
}

/// The sockets are systemd's, which starts the service for the first who comes.
fn visit_while_stopped(stage: &Stage) {
    let machine = stage.machine();
    machine.sh("systemctl stop hotcore.service");
    assert_eq!(stage.generations(), 0);
    let begun = Instant::now();
    let answer = machine.inside(|| Client::connect(at(80)).unwrap().get(PLAIN, "/").unwrap());
    note(&format!("a visitor of a stopped service waited {:?}", begun.elapsed()));
    assert_eq!((answer.status, answer.text().as_str()), (200, BODY));
    assert_eq!(stage.app.port.to_string(), machine.sh(&format!("hotcore list | sed -n 's/^{PLAIN} //p'")));
}

/// B207, B209, B211. Only what is in flight is lost, however often it happens; no port is ever closed.
#[test]
fn a_killed_process_takes_only_the_requests_in_flight_along_and_one_that_drains_is_in_nobodys_way() {
    let stage = Stage::new();
    kill_again_and_again(&stage);
    reload_restart_and_kill_while_others_drain(&stage);
    stage.assert_units_well();
}

fn kill_again_and_again(stage: &Stage) {
    let machine = stage.machine();
    let drops = Drops::of(machine);
    let traffic = stage.traffic();
    traffic.wait_for_more(500);
    traffic.take().assert_none_failed();
    let mut all = Seen::default();
    for _ in 0..10 {
        stage.kill();
        traffic.wait_for_more(200);
        let seen = traffic.take();
        let lost = seen.lost();
        assert!(lost <= IN_FLIGHT_MAX, "{lost} requests lost at one kill:{seen}");
        all.add(seen);
    }
    // One after the other, without a moment of rest.
    for _ in 0..10 {
        stage.kill();
    }
    traffic.wait_for_more(200);
    all.add(traffic.end());
    let drops = Drops::of(machine).since(&drops);
    note(&format!("20 times kill -9:{all}\n {drops:?}"));
    for failure in [Failure::Refused, Failure::Late, Failure::Wrong] {
        assert_eq!(all.count(failure), 0, "{failure:?}:{all}");
    }
    assert_eq!(stage.restarts(), 20);
    assert_eq!(drops.out_of_queues(), 0, "{drops:?}");
}

/// More reloads in a row than processes may drain at a time; then one that is restarted, and one that is killed, while another
/// still drains.
fn reload_restart_and_kill_while_others_drain(stage: &Stage) {
    let machine = stage.machine();
    let restarts = stage.restarts();
    let traffic = stage.traffic();
    traffic.wait_for_more(500);
    let begun = Instant::now();
    for _ in 0..20 {
        machine.sh("systemctl reload hotcore");
    }
    let took = begun.elapsed();
    traffic.wait_for_more(AFTERMATH);
    let seen = traffic.take();
    note(&format!("20 reloads in a row within {took:?}:{seen}"));
    seen.assert_none_failed();
    assert_eq!(stage.restarts(), restarts);

    let reload_with_a_tunnel = || {
        let mut tunnels = Tunnels(VecDeque::from([stage.tunnels()]));
        machine.sh("systemctl reload hotcore");
        tunnels.assert_alive();
        assert!(stage.generations() > 1);
        traffic.take().assert_none_failed();
        tunnels
    };
    let tunnels = reload_with_a_tunnel();
    let begun = Instant::now();
    machine.sh("systemctl restart hotcore");
    note(&format!("a restart while an older process drains: {:?}", begun.elapsed()));
    assert_eq!(stage.generations(), 1, "a restart ends all");
    tunnels.assert_cut();
    traffic.wait_for_more(AFTERMATH);
    traffic.take().assert_none_lost_but_on_kept();

    let tunnels = reload_with_a_tunnel();
    stage.kill();
    tunnels.assert_cut();
    traffic.wait_for_more(AFTERMATH);
    let seen = traffic.end();
    note(&format!("kill -9 while an older process drains:{seen}"));
    let counts = [Failure::Refused, Failure::Late, Failure::Wrong].map(|failure| seen.count(failure));
    assert!(counts == [0; 3] && seen.lost() <= IN_FLIGHT_MAX, "{seen}");
    assert_eq!(stage.generations(), 1);
}
