//! The supervisor: starts workers, control loop and the keeper of certificates, watches over them, and ends them: on a stop, after a hand-over, or because
//! one of them ended by itself (B212).
//!
//! It runs on the first thread. Never here: the environment, the clock of the wall, a request. Everything comes in as a value,
//! so that a test can run several in one process.

mod certificates;
mod giving;
mod pen;
mod start;

use std::{
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use self::{
    certificates::Certificates,
    giving::{Failed, Giving, failed_ended, hear},
    pen::{Pen, Turn, start_control},
};
use super::{
    ServiceError,
    handover::{Doorway, Generations, Peer, Successor, machine::OldAction, message::FromNew},
    notify::{Notifier, Watchdog},
    proof::{Judgement, Probe, Proof},
    sockets::{Kind, Sockets},
    status::Status,
    ticket_keys::TicketKeys,
    worker::{Drain, Workers},
};
use crate::{
    control::Server,
    limits,
    routes::{Disk, Lock},
};

pub use self::start::Start;

/// The running service.
#[derive(Debug)]
pub struct Supervisor {
    folder: PathBuf,
    disk: Disk,
    sockets: Sockets,
    workers: Workers,
    ticket_keys: TicketKeys,
    certificates: Certificates,
    pen: Pen,
    lock: Option<Lock>,
    doorway: Option<Doorway>,
    /// Who is about to take over.
    giving: Option<Giving>,
    /// Who was to take over, failed, and has not ended yet.
    failed: Option<Failed>,
    /// Those before this one that still drain.
    generations: Generations,
    /// How the next one is started, where that is known.
    successor: Option<Successor>,
    /// Somebody wants a reload, and no answer.
    hang_up: Arc<Notify>,
    notifier: Notifier,
    watchdog: Watchdog,
    proof: Proof,
    probe: Option<Probe>,
    status: Arc<Status>,
    told: (String, Option<Instant>),
    turns: u64,
    is_managed: bool,
    handover_wait: Duration,
}

/// Why the loop of the supervisor ended.
enum End {
    Stop,
    Drain(Box<Giving>),
}

impl Supervisor {
    /// Where it listens.
    pub fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Serves until `stop` resolves, or until another process has taken over; then it drains. An error means that something
    /// that must run has ended.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<(), ServiceError> {
        let mut stop = pin!(stop);
        self.first_turn().await?;
        self.told = (self.status.line(), Some(Instant::now()));
        self.notifier.ready(&self.told.0);
        // From now on the one before may say that all went well.
        self.generations.ready();
        let hang_up = Arc::clone(&self.hang_up);
        let mut beat = interval(limits::HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            tokio::select! {
                () = &mut stop => break End::Stop,
                result = self.workers.ended() => return Err(worker_ended(result)),
                watched = self.certificates.watch() => watched?,
                turn = self.pen.turn() => match turn {
                    Turn::Ended(result) => self.control_ended(*result)?,
                    Turn::Retry => self.take_pen_back()?,
                },
                (peer, word) = next_peer(&mut self.doorway) => self.knock(peer, word).await?,
                () = hang_up.notified() => self.reload(None),
                heard = hear(&mut self.giving) => if let Some(giving) = self.hear(heard).await? {
                    break End::Drain(Box::new(giving));
                },
                connected = tried(&mut self.probe) => self.proof.tried(connected),
                () = failed_ended(&mut self.failed) => self.failed = None,
                _ = beat.tick() => self.beat(Instant::now()),
            }
        };
        match end {
            End::Stop => self.stop().await,
            End::Drain(giving) => self.drain(*giving, stop).await,
        }
    }

    /// The first turn of the control loop: only then are commands read, and READY=1 says so (B202).
    async fn first_turn(&mut self) -> Result<(), ServiceError> {
        let Pen::Ours(control) = &mut self.pen else { return Ok(()) };
        while control.heartbeat() == 0 {
            tokio::select! {
                result = control.ended() => {
                    let why = result.err().unwrap_or_default();
                    return Err(ServiceError::Ended { task: "the control loop", why });
                }
                () = sleep(Duration::from_millis(1)) => {}
            }
        }
        Ok(())
    }

    fn beat(&mut self, now: Instant) {
        self.turns += 1;
        self.generations.prune();
        // Who passes the pen on leaves the file to the next.
        if matches!(self.pen, Pen::Ours(_)) {
            self.ticket_keys.beat();
        }
        self.status.forget(now);
        self.status.update(self.workers.counts(), self.generations.count());
        let mut beats = self.workers.heartbeats();
        beats.push(match &self.pen {
            Pen::Ours(control) => control.heartbeat(),
            // Nothing is meant to turn there.
            Pen::Passed(_) | Pen::Awaited(_) | Pen::Moving => self.turns,
        });
        beats.push(self.certificates.heartbeat(self.turns));
        if self.watchdog.is_due(now, &beats) {
            self.give_sign_of_life(now, &beats);
        }
        for index in self.watchdog.overdue(now, &beats) {
            let name = match beats.len() - index {
                1 => "the keeper of certificates".to_owned(),
                2 => "the control loop".to_owned(),
                _ => format!("worker {index}"),
            };
            tracing::error!(target: "hotcore::service", "{name} stands still: the watchdog is not fed");
        }
        if self.told.1.is_some_and(|at| now.saturating_duration_since(at) >= limits::STATUS_REFRESH) {
            self.tell_status(now);
        }
    }

    /// Every loop has turned. That connections are accepted must be shown as well.
    fn give_sign_of_life(&mut self, now: Instant, beats: &[u64]) {
        let accepts = self.workers.accepts();
        match self.proof.judge(now, accepts) {
            Judgement::Waiting => return,
            Judgement::Ask { again } => {
                if again {
                    tracing::error!(target: "hotcore::service", "no connection is accepted: the watchdog is not fed");
                }
                self.probe = self.sockets.addresses(Kind::Http).first().copied().map(Probe::start);
                return;
            }
            Judgement::OutOfReach => {
                tracing::warn!(target: "hotcore::service", "the own port cannot be reached from this machine: the watchdog goes without this proof");
            }
            Judgement::Proved => {}
        }
        self.probe = None;
        self.proof.used(accepts);
        self.watchdog.fed(now, beats);
        self.notifier.alive();
    }

    fn tell_status(&mut self, now: Instant) {
        let line = self.status.line();
        if line != self.told.0 {
            self.notifier.status(&line);
        }
        self.told = (line, Some(now));
    }

    /// The control loop has ended by itself, or late after it was told to.
    fn control_ended(&mut self, result: Result<Server, String>) -> Result<(), ServiceError> {
        let was_told = matches!(&self.pen, Pen::Ours(control) if control.is_stopping());
        match result {
            Ok(server) if was_told => {
                self.pen = Pen::Ours(start_control(server, &self.sockets)?);
                Ok(())
            }
            Ok(_) => {
                Err(ServiceError::Ended { task: "the control loop", why: "it stopped without being told".to_owned() })
            }
            Err(why) => Err(ServiceError::Ended { task: "the control loop", why }),
        }
    }

    /// B203: accepting stops at once, requests get [`limits::STOP_DRAIN`], tunnels are cut.
    async fn stop(mut self) -> Result<(), ServiceError> {
        tracing::info!(target: "hotcore::service", "stops");
        self.notifier.stopping();
        self.discard().await;
        if let Some(doorway) = self.doorway.take() {
            doorway.close();
        }
        self.workers.drain(Drain { requests: limits::STOP_DRAIN, tunnels: Duration::ZERO });
        if let Pen::Ours(control) = &mut self.pen {
            control.stop();
        }
        let (certificates, control, workers) = tokio::join!(
            self.certificates.rest(),
            timeout(limits::COMMIT_WAIT, async {
                match &mut self.pen {
                    Pen::Ours(control) => control.ended().await.map(drop),
                    Pen::Passed(_) | Pen::Awaited(_) | Pen::Moving => Ok(()),
                }
            }),
            timeout(limits::STOP_DRAIN + limits::STOP_GRACE, self.workers.ended()),
        );
        if !matches!(certificates, Ok(true)) {
            tracing::warn!(target: "hotcore::service", "the work on certificates was cut short: what was under way is repeated");
        }
        if !matches!(control, Ok(Ok(()))) {
            tracing::warn!(target: "hotcore::service", "the last changes of rules were not finished, and not acknowledged");
        }
        if workers.is_err() {
            tracing::warn!(target: "hotcore::service", "connections were cut: their workers did not end in time");
        }
        Ok(())
    }

    /// B207: another process serves. What is in flight here is finished, in silence; a stop shortens it, and so does a generation
    /// too many.
    async fn drain(mut self, mut giving: Giving, stop: impl Future<Output = ()>) -> Result<(), ServiceError> {
        let mut stop = pin!(stop);
        let process = giving.peer.process();
        // systemd takes this from the main process alone, which this one still is (B204).
        self.notifier.main_process(process);
        self.notifier.silence();
        giving.told();
        tracing::info!(target: "hotcore::service", process, "another process has taken over; this one drains");
        self.workers.drain(Drain { requests: limits::HANDOVER_DRAIN, tunnels: limits::HANDOVER_TUNNELS });
        // The file of the doorway is the successor's now, or will be.
        self.doorway = None;
        self.sockets = Sockets::default();
        self.generations = Generations::default();
        let mut giving = Some(giving);
        let mut is_drained = false;
        // Who asked for the reload is told how it went, however soon this process is done.
        while !is_drained || giving.as_ref().is_some_and(Giving::is_awaited) {
            tokio::select! {
                result = self.workers.ended(), if !is_drained => {
                    result.map_err(|why| ServiceError::Ended { task: "a worker", why })?;
                    is_drained = true;
                }
                () = &mut stop => break,
                heard = hear(&mut giving) => match giving.as_mut().and_then(|giving| giving.drain(heard)) {
                    Some(OldAction::Cut) => break,
                    Some(OldAction::Report(Err(why))) => tracing::error!(target: "hotcore::service", process, "{why}"),
                    _ => {}
                },
            }
        }
        if !is_drained {
            self.workers.drain(Drain { requests: limits::STOP_DRAIN, tunnels: Duration::ZERO });
            let _ = timeout(limits::STOP_DRAIN + limits::STOP_GRACE, self.workers.ended()).await;
        }
        tracing::info!(target: "hotcore::service", "drained");
        // The end of this channel tells the successor that this generation is gone.
        drop(giving);
        Ok(())
    }
}

fn worker_ended(result: Result<(), String>) -> ServiceError {
    let why = result.err().unwrap_or_else(|| "it stopped without being told".to_owned());
    ServiceError::Ended { task: "a worker", why }
}

async fn tried(probe: &mut Option<Probe>) -> bool {
    match probe {
        Some(probe) => probe.tried().await,
        None => std::future::pending().await,
    }
}

async fn next_peer(doorway: &mut Option<Doorway>) -> (Peer, FromNew) {
    let Some(doorway) = doorway else { return std::future::pending().await };
    loop {
        match doorway.next().await {
            Ok(knock) => return knock,
            // Out of descriptors, most likely.
            Err(error) => {
                tracing::warn!(target: "hotcore::service", %error, "cannot hear who wants to take over");
                sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}
