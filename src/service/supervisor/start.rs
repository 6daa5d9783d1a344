//! From values to a running service: rules, certificates, workers, the keeper, control loop, in this order.

use std::{
    io,
    num::NonZero,
    path::Path,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::Notify;

use super::{
    Supervisor,
    certificates::Certificates,
    pen::{Pen, report, start_control},
};
use crate::{
    certs::{self, Keeper},
    control::{Server, ServerConfig},
    limits,
    proxy::Patience,
    routes::{
        Disk, Lock, Table,
        journal::{Journal, Loaded},
    },
    service::{
        Authority, ServiceError, Settings,
        board::Shown,
        claim::Claim,
        handover::{Doorway, Generations, Successor},
        notify::{Notifier, Watchdog},
        proof::Proof,
        sockets::{Kind, Sockets},
        status::Status,
        ticket_keys::TicketKeys,
        worker::{Listeners, WorkerConfig, Workers},
    },
    tls::{self, FrontConfig, Keyring, Patience as HandshakePatience},
};

/// What the service is made of.
#[derive(Debug)]
pub struct Start {
    /// What it was told.
    pub settings: Settings,
    /// The state folder.
    pub disk: Disk,
    /// The right to use it.
    pub claim: Claim,
    /// The listening sockets.
    pub sockets: Sockets,
    /// Who is told about the state of the service.
    pub notifier: Notifier,
    /// Whether and when a watchdog is fed.
    pub watchdog: Watchdog,
    /// Where mkcert and its CA are looked for, as the user that the process has become.
    pub mkcert: certs::mkcert::Environment,
    /// Where the log goes, for `status`.
    pub log: String,
    /// A service manager runs it: nobody else may take over.
    pub is_managed: bool,
    /// How the next generation is started; `None`: it cannot be.
    pub successor: Option<Successor>,
    /// Notified when somebody wants a reload without waiting for its outcome (SIGHUP).
    pub hang_up: Arc<Notify>,
    /// How long one that takes over may take until it serves; [`limits::HANDOVER_WAIT`] but for tests.
    pub handover_wait: Duration,
}

impl Supervisor {
    /// Loads the rules, starts workers and control loop, and lets them accept and read. Where another process hands over, it
    /// waits for it, on this thread. Needs the reactor of a runtime.
    pub fn start(start: Start) -> Result<Self, ServiceError> {
        let Start { settings, disk, claim, sockets, notifier, watchdog, mkcert, log, .. } = start;
        let Start { is_managed, successor, hang_up, handover_wait, .. } = start;
        let folder = settings.state.clone();
        let count = worker_count(settings.workers);
        let ticket_keys = TicketKeys::new(disk.clone()).map_err(no_tls)?;
        // Certificates are read before anybody may be served.
        let warm_up = |table: Table| -> Result<_, ServiceError> {
            let keyring = Keyring::new();
            let certificates = keyring.certificates();
            let keeper = Keeper::load(keeper_settings(&settings, &sockets, mkcert.clone()), table.clone(), keyring);
            Ok((start_workers(&settings, &sockets, count, table, certificates, &ticket_keys)?, keeper))
        };
        let (lock, journal, mut writer, recovery, (workers, keeper), generations) = match claim {
            Claim::Alone(lock) => {
                let (journal, writer, recovery) = Journal::open(disk.clone()).map_err(rules)?;
                let warm = warm_up(writer.table())?;
                (lock, journal, writer, recovery, warm, Generations::default())
            }
            Claim::After(mut new) => {
                let process = new.process();
                let failed = |source| ServiceError::Handover { process: Some(process), source };
                let loaded = Loaded::read(&disk).map_err(rules);
                let (warm, loaded) = match loaded.and_then(|loaded| Ok((warm_up(loaded.table())?, loaded))) {
                    Ok(both) => both,
                    Err(error) => {
                        new.fail(&error.to_string());
                        return Err(error);
                    }
                };
                new.wait_for_pen().map_err(failed)?;
                let lock = take_lock(&folder)?;
                let (journal, writer, recovery) = match Journal::open_after(loaded, disk.clone()).map_err(rules) {
                    Ok(opened) => opened,
                    Err(error) => {
                        drop(lock);
                        new.fail(&error.to_string());
                        return Err(error);
                    }
                };
                let generations = new.wait_for_word().map_err(failed)?;
                tracing::info!(target: "hotcore::service", process, "took over sockets and rules");
                (lock, journal, writer, recovery, warm, generations)
            }
        };
        ticket_keys.open();
        let board = keeper.board();
        let mut certificates = Certificates::new(keeper);
        // Before the keeper looks at the table: no change is missed in between.
        writer.note_changes(certificates.touched());
        certificates.start()?;
        workers.accept();
        report(&recovery);
        let status = Status::new(&sockets, folder.clone(), log, count, &writer, recovery.problems, board.clone());
        let config = ServerConfig {
            own_ports: sockets.own_ports(),
            started: now(),
            status: facts(&status),
            certificates: Box::new(Shown(board)),
        };
        let server = Server::new(config, writer, Box::new(journal));
        let control = start_control(server, &sockets)?;
        let doorway = match Doorway::open(&folder) {
            Ok(doorway) => Some(doorway),
            Err(error) => {
                // A full disk, for example: no reason not to serve (B196).
                tracing::warn!(target: "hotcore::service", %error, "cannot open the socket for hand-overs");
                None
            }
        };
        let supervisor = Self {
            folder,
            disk,
            sockets,
            workers,
            ticket_keys,
            certificates,
            pen: Pen::Ours(control),
            lock: Some(lock),
            doorway,
            giving: None,
            failed: None,
            generations,
            successor,
            hang_up,
            notifier,
            watchdog,
            proof: Proof::default(),
            probe: None,
            status,
            told: (String::new(), None),
            turns: 0,
            is_managed,
            handover_wait,
        };
        supervisor.announce();
        Ok(supervisor)
    }

    fn announce(&self) {
        let (version, process) = (env!("CARGO_PKG_VERSION"), std::process::id());
        tracing::info!(target: "hotcore::service", version, process, "serves");
        for kind in Kind::ALL {
            let addresses: Vec<String> = self.sockets.addresses(kind).iter().map(ToString::to_string).collect();
            tracing::info!(target: "hotcore::service", "{kind} on {}", addresses.join(" "));
        }
        for domain in self.status.rules_to_own_ports() {
            tracing::warn!(target: "hotcore::service", %domain, "its rule points to a port of hotcore's own: map it to the port that the app listens on");
        }
    }
}

fn start_workers(
    settings: &Settings,
    sockets: &Sockets,
    count: usize,
    table: Table,
    certificates: tls::Certificates,
    ticket_keys: &TicketKeys,
) -> Result<Workers, ServiceError> {
    let failed = |source| ServiceError::Start { what: "the workers", source };
    let Sockets { http, https, .. } = sockets.try_clone().map_err(failed)?;
    let front = FrontConfig::new(table.clone(), certificates, ticket_keys.tickets(), HandshakePatience::default());
    let config = WorkerConfig {
        count,
        table,
        tls: Some(front.map_err(no_tls)?),
        own_ports: sockets.own_ports(),
        access_log: settings.access_log,
        patience: Patience::default(),
        connections_max: None,
    };
    Workers::start(config, Listeners { http, https }).map_err(failed)
}

fn keeper_settings(
    settings: &Settings,
    sockets: &Sockets,
    mkcert: certs::mkcert::Environment,
) -> certs::keeper::Settings {
    let authority = settings.authority.as_ref().filter(|_| !settings.local);
    let folder = settings.state.join("certificates");
    let first = |kind| sockets.addresses(kind).first().copied();
    certs::keeper::Settings {
        http: first(Kind::Http),
        https: first(Kind::Https),
        local: Some(Arc::new(mkcert)),
        ..certs::keeper::Settings::new(folder, authority.map(Authority::for_issuer), now)
    }
}

/// One worker for each usable processor, unless told otherwise.
fn worker_count(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get)).clamp(1, limits::WORKERS_MAX)
}

fn take_lock(folder: &Path) -> Result<Lock, ServiceError> {
    let deadline = Instant::now() + limits::HANDOVER_WAIT;
    loop {
        match Lock::try_take(folder) {
            Ok(lock) => return Ok(lock),
            Err(_) if Instant::now() < deadline => std::thread::sleep(limits::LOCK_RETRY),
            Err(error) => return Err(ServiceError::Lock(error)),
        }
    }
}

fn no_tls(error: impl std::error::Error + Send + Sync + 'static) -> ServiceError {
    ServiceError::Start { what: "TLS", source: io::Error::other(error) }
}

fn rules(error: impl std::fmt::Display) -> ServiceError {
    ServiceError::Rules(error.to_string())
}

#[expect(clippy::disallowed_methods, reason = "an edge: the clock of the keeper, and when the service was started")]
fn now() -> SystemTime {
    SystemTime::now()
}

fn facts(status: &Arc<Status>) -> Box<dyn Fn() -> Vec<(&'static str, String)> + Send> {
    let status = Arc::clone(status);
    Box::new(move || status.facts())
}
