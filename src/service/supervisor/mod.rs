//! The supervisor: starts workers, control loop and the keeper of certificates, watches over them, and ends them: on a stop, after a hand-over, or because
//! one of them ended by itself (B212).
//!
//! It runs on the first thread. Never here: the environment, the clock of the wall, a request. Everything comes in as a value,
//! so that a test can run several in one process.

mod certificates;
mod pen;
mod start;

use std::{
    os::unix::net::UnixStream,
    path::PathBuf,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use self::{
    certificates::Certificates,
    pen::{Pen, Turn, report, start_control},
};
use super::{
    ServiceError,
    handover::{
        Doorway, Peer,
        machine::{Heard, Old, OldAction},
        message::FromOld,
    },
    notify::{Notifier, Watchdog},
    sockets::Sockets,
    status::Status,
    ticket_keys::TicketKeys,
    worker::{Drain, Workers},
};
use crate::{
    control::Server,
    limits,
    routes::{Disk, Lock, LockError, journal::Journal},
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
    /// Channels to generations that still drain.
    before: Vec<UnixStream>,
    notifier: Notifier,
    watchdog: Watchdog,
    status: Arc<Status>,
    told: (String, Option<Instant>),
    turns: u64,
    is_managed: bool,
    handover_wait: Duration,
}

#[derive(Debug)]
struct Giving {
    machine: Old,
    peer: Peer,
    deadline: tokio::time::Instant,
}

/// Why the loop of the supervisor ended.
enum End {
    Stop,
    Drain(Peer),
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
                peer = next_peer(&self.doorway) => self.knock(peer),
                heard = hear(&mut self.giving) => if let Some(peer) = self.hear(heard).await? {
                    break End::Drain(peer);
                },
                _ = beat.tick() => self.beat(Instant::now()),
            }
        };
        match end {
            End::Stop => self.stop().await,
            End::Drain(peer) => self.drain(peer, stop).await,
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
        self.before.retain(is_open);
        // Who passes the pen on leaves the file to the next.
        if matches!(self.pen, Pen::Ours(_)) {
            self.ticket_keys.beat();
        }
        self.status.update(self.workers.counts(), self.before.len());
        let mut beats = self.workers.heartbeats();
        beats.push(match &self.pen {
            Pen::Ours(control) => control.heartbeat(),
            // Nothing is meant to turn there.
            Pen::Passed(_) | Pen::Awaited { .. } | Pen::Moving => self.turns,
        });
        beats.push(self.certificates.heartbeat(self.turns));
        if self.watchdog.is_due(now, &beats) {
            self.notifier.alive();
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
            let line = self.status.line();
            if line != self.told.0 {
                self.notifier.status(&line);
            }
            self.told = (line, Some(now));
        }
    }

    fn knock(&mut self, mut peer: Peer) {
        let why = if self.is_managed {
            "it is run by systemd: use `systemctl reload hotcore`, or another folder with --state"
        } else if self.giving.is_some() || !matches!(self.pen, Pen::Ours(_)) {
            "another process is just taking over"
        } else {
            let deadline = tokio::time::Instant::now() + self.handover_wait;
            self.giving = Some(Giving { machine: Old::default(), peer, deadline });
            return;
        };
        tracing::info!(target: "hotcore::service", process = peer.process(), "refused to hand over: {why}");
        peer.say(&FromOld::No(why.to_owned()));
    }

    /// One step of a hand-over; a peer: it serves now.
    async fn hear(&mut self, heard: Heard) -> Result<Option<Peer>, ServiceError> {
        let Some(mut giving) = self.giving.take() else { return Ok(None) };
        let mut action = giving.machine.hear(heard);
        if action == Some(OldAction::SendSockets)
            && let Err(error) = giving.peer.send(&self.sockets)
        {
            action = Some(OldAction::GoOn { why: format!("cannot send the sockets: {error}"), take_pen_back: false });
        }
        if action == Some(OldAction::PassPen) {
            match self.pass_pen().await? {
                Ok(()) => giving.peer.say(&FromOld::Yours),
                Err(why) => action = Some(OldAction::GoOn { why, take_pen_back: false }),
            }
        }
        match action {
            Some(OldAction::SendSockets | OldAction::PassPen) => self.giving = Some(giving),
            Some(OldAction::Drain) => return Ok(Some(giving.peer)),
            Some(OldAction::GoOn { why, take_pen_back }) => {
                let process = giving.peer.process();
                tracing::warn!(target: "hotcore::service", process, "the hand-over failed, and this process goes on: {why}");
                giving.peer.say(&FromOld::No(why));
                if take_pen_back {
                    self.pen = match std::mem::replace(&mut self.pen, Pen::Moving) {
                        Pen::Passed(server) => Pen::Awaited { server, failed: giving.peer, since: Instant::now() },
                        pen => pen,
                    };
                    self.take_pen_back()?;
                }
            }
            None => {}
        }
        Ok(None)
    }

    /// Stops the keeper, then the control loop, which finishes its last commit, and lets go of journal and lock. The inner error:
    /// it could not be done in time, and everything stays as it was.
    async fn pass_pen(&mut self) -> Result<Result<(), String>, ServiceError> {
        let Pen::Ours(control) = &mut self.pen else { return Ok(Err("the rules are not at hand".to_owned())) };
        // First, as commands are still answered meanwhile.
        if !self.certificates.rest().await? {
            return Ok(Err("the certificates could not be let go of in time".to_owned()));
        }
        control.stop();
        match timeout(limits::COMMIT_WAIT, control.ended()).await {
            Ok(Ok(mut server)) => {
                drop(server.release());
                self.lock = None;
                self.pen = Pen::Passed(Box::new(server));
                Ok(Ok(()))
            }
            Ok(Err(why)) => Err(ServiceError::Ended { task: "the control loop", why }),
            // It ends when the disk lets it, and is started again then.
            Err(_) => {
                self.certificates.start()?;
                Ok(Err("the disk did not finish the last change in time".to_owned()))
            }
        }
    }

    /// After a hand-over that failed: tries once to get the lock and the journal back. Nothing has changed meanwhile, because
    /// the other one reads no datagram before it was told to serve.
    fn take_pen_back(&mut self) -> Result<(), ServiceError> {
        let Pen::Awaited { server, failed, since } = std::mem::replace(&mut self.pen, Pen::Moving) else {
            return Ok(());
        };
        if self.lock.is_none() {
            match Lock::try_take(&self.folder) {
                Ok(lock) => self.lock = Some(lock),
                Err(error) => {
                    let is_its = matches!(error, LockError::Held { by, .. } if by == Some(failed.process()));
                    if is_its && since.elapsed() >= limits::LOCK_RETURN_WAIT {
                        tracing::warn!(target: "hotcore::service", process = failed.process(), "it keeps the lock of the rules, so it is ended");
                        failed.kill();
                    }
                    self.pen = Pen::Awaited { server, failed, since };
                    return Ok(());
                }
            }
        }
        let mut server = server;
        match Journal::open(self.disk.clone()) {
            Ok((journal, saved, recovery)) => {
                report(&recovery);
                server.restore(Box::new(journal), &saved);
                self.pen = Pen::Ours(start_control(*server, &self.sockets)?);
                self.certificates.start()?;
                tracing::info!(target: "hotcore::service", "reads commands again");
            }
            Err(error) => {
                tracing::error!(target: "hotcore::service", %error, "cannot open the rules again");
                self.pen = Pen::Awaited { server, failed, since };
            }
        }
        Ok(())
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
                    Pen::Passed(_) | Pen::Awaited { .. } | Pen::Moving => Ok(()),
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

    /// B207: another process serves. What is in flight here is finished, in silence; a stop shortens it.
    async fn drain(mut self, mut successor: Peer, stop: impl Future<Output = ()>) -> Result<(), ServiceError> {
        self.notifier.silence();
        successor.say(&FromOld::Told);
        tracing::info!(target: "hotcore::service", process = successor.process(), "another process has taken over; this one drains");
        self.workers.drain(Drain { requests: limits::HANDOVER_DRAIN, tunnels: limits::HANDOVER_TUNNELS });
        // The file of the doorway is the successor's now, or will be.
        self.doorway = None;
        self.sockets = Sockets::default();
        let is_done = tokio::select! {
            result = self.workers.ended() => { result.map_err(|why| ServiceError::Ended { task: "a worker", why })?; true }
            () = stop => false,
        };
        if !is_done {
            self.workers.drain(Drain { requests: limits::STOP_DRAIN, tunnels: Duration::ZERO });
            let _ = timeout(limits::STOP_DRAIN + limits::STOP_GRACE, self.workers.ended()).await;
        }
        tracing::info!(target: "hotcore::service", "drained");
        // The end of this channel tells the successor that this generation is gone.
        drop(successor);
        Ok(())
    }
}

fn worker_ended(result: Result<(), String>) -> ServiceError {
    let why = result.err().unwrap_or_else(|| "it stopped without being told".to_owned());
    ServiceError::Ended { task: "a worker", why }
}

async fn next_peer(doorway: &Option<Doorway>) -> Peer {
    let Some(doorway) = doorway else { return std::future::pending().await };
    loop {
        match doorway.next().await {
            Ok(peer) => return peer,
            // Out of descriptors, most likely.
            Err(error) => {
                tracing::warn!(target: "hotcore::service", %error, "cannot hear who wants to take over");
                sleep(limits::ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn hear(giving: &mut Option<Giving>) -> Heard {
    match giving {
        Some(giving) => tokio::time::timeout_at(giving.deadline, giving.peer.hear()).await.unwrap_or(Heard::Silence),
        None => std::future::pending().await,
    }
}

/// Whether the process at the other end still lives: it says nothing more, so anything but silence is its end.
fn is_open(channel: &UnixStream) -> bool {
    let mut byte = [0];
    matches!(std::io::Read::read(&mut &*channel, &mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}
