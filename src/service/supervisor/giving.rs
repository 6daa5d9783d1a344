//! The supervisor's part in a hand-over, from the knock or the wish for a reload until another process serves, or this one goes on
//! with everything.

use std::{mem, time::Instant};

use tokio::time::{Instant as Deadline, timeout, timeout_at};

use super::{
    Supervisor,
    pen::{Pen, report, start_control},
};
use crate::{
    limits,
    routes::{Lock, LockError, journal::Journal},
    service::{
        ServiceError,
        handover::{
            Peer,
            machine::{Heard, Old, OldAction},
            message::{FromNew, FromOld},
            successor::cannot_start,
        },
    },
};

/// A hand-over that is under way, and then the channel to the one that serves.
#[derive(Debug)]
pub(super) struct Giving {
    machine: Old,
    pub(super) peer: Peer,
    /// When silence is a failure; `None`: nothing need be said any more.
    deadline: Option<Deadline>,
    /// Who waits for the outcome.
    asker: Option<Peer>,
    /// Nothing more will be heard.
    is_over: bool,
}

impl Giving {
    fn new(peer: Peer, asker: Option<Peer>, wait: std::time::Duration) -> Self {
        let deadline = Some(Deadline::now() + wait);
        Self { machine: Old::default(), peer, deadline, asker, is_over: false }
    }

    /// Tells the new one to serve.
    pub(super) fn told(&mut self) {
        self.peer.say(&FromOld::Told);
        self.deadline = Some(Deadline::now() + limits::HANDOVER_READY_WAIT);
    }

    /// Whether it is still open how the hand-over ends.
    pub(super) fn is_awaited(&self) -> bool {
        self.machine == Old::Told
    }

    /// What is heard while this process drains. Who asked is told the outcome.
    pub(super) fn drain(&mut self, heard: Heard) -> Option<OldAction> {
        self.is_over = heard == Heard::Gone;
        let action = self.machine.hear(heard);
        if let Some(OldAction::Report(outcome)) = &action {
            self.deadline = None;
            answer(self.asker.take(), outcome.clone());
        }
        action
    }
}

/// One that was told "no".
#[derive(Debug)]
pub(super) struct Failed {
    peer: Peer,
    since: Instant,
    /// When it is ended if it has not gone by itself; `None`: not by time alone.
    deadline: Option<Deadline>,
}

/// The next word of who takes over.
pub(super) async fn hear(giving: &mut Option<Giving>) -> Heard {
    match giving {
        Some(Giving { is_over: true, .. }) | None => std::future::pending().await,
        Some(Giving { peer, deadline: Some(deadline), .. }) => {
            timeout_at(*deadline, peer.hear()).await.unwrap_or(Heard::Silence)
        }
        Some(Giving { peer, deadline: None, .. }) => peer.hear().await,
    }
}

/// Resolves when one that failed has ended: by itself, or because its time is over. Cancel safe.
pub(super) async fn failed_ended(failed: &mut Option<Failed>) {
    let Some(Failed { peer, deadline, .. }) = failed else { return std::future::pending().await };
    if let Some(at) = *deadline {
        if timeout_at(at, peer.gone()).await.is_ok() {
            return;
        }
        tracing::warn!(target: "hotcore::service", process = peer.process(), "the process that failed to take over does not end, so it is killed");
        peer.kill();
        *deadline = None;
    }
    peer.gone().await;
}

fn answer(asker: Option<Peer>, outcome: Result<(), String>) {
    if let Some(mut asker) = asker {
        asker.say(&match outcome {
            Ok(()) => FromOld::Done,
            Err(why) => FromOld::No(why),
        });
    }
}

impl Supervisor {
    /// Somebody is at the door, and has said what it wants.
    pub(super) async fn knock(&mut self, mut peer: Peer, word: FromNew) -> Result<(), ServiceError> {
        let why = match word {
            FromNew::Reload => {
                self.reload(Some(peer));
                return Ok(());
            }
            FromNew::Ask { .. } if self.is_managed => {
                "it is run by systemd: use `systemctl reload hotcore`, or another folder with --state"
            }
            FromNew::Ask { .. } => match self.is_busy() {
                Some(why) => why,
                None => {
                    self.giving = Some(Giving::new(peer, None, self.handover_wait));
                    self.hear(Heard::Word(Some(word))).await?;
                    return Ok(());
                }
            },
            _ => "that is not what one says first",
        };
        tracing::info!(target: "hotcore::service", process = peer.process(), "refused to hand over: {why}");
        peer.say(&FromOld::No(why.to_owned()));
        Ok(())
    }

    /// Why nobody can take over at this moment.
    fn is_busy(&self) -> Option<&'static str> {
        if self.giving.is_some() || !matches!(self.pen, Pen::Ours(_)) {
            Some("another process is just taking over")
        } else if self.failed.is_some() {
            Some("a process that failed to take over is still being ended: try again in a moment")
        } else {
            None
        }
    }

    /// Starts the next generation; `asker` is told how it ends.
    pub(super) fn reload(&mut self, asker: Option<Peer>) {
        if let Some(why) = self.is_busy() {
            tracing::info!(target: "hotcore::service", "refused to reload: {why}");
            return answer(asker, Err(why.to_owned()));
        }
        let started = match &self.successor {
            None => Err("it does not know how it was started".to_owned()),
            Some(successor) => successor.start().map_err(|error| cannot_start(&successor.program, &error)),
        };
        match started {
            Ok(peer) => {
                tracing::info!(target: "hotcore::service", "starts the process that is to take over");
                self.giving = Some(Giving::new(peer, asker, self.handover_wait));
            }
            Err(why) => self.reload_failed(asker, why),
        }
    }

    fn reload_failed(&mut self, asker: Option<Peer>, why: String) {
        tracing::error!(target: "hotcore::service", "the reload failed, and this process goes on: {why}");
        self.status.note_failed_reload(&why, Instant::now());
        self.tell_status(Instant::now());
        answer(asker, Err(why));
    }

    /// One step of a hand-over; an answer: that one serves now.
    pub(super) async fn hear(&mut self, heard: Heard) -> Result<Option<Giving>, ServiceError> {
        let Some(mut giving) = self.giving.take() else { return Ok(None) };
        let mut action = giving.machine.hear(heard);
        if action == Some(OldAction::SendSockets) {
            self.generations.prune();
            if let Err(error) = giving.peer.send(&self.sockets, &self.generations) {
                let why = format!("cannot send the sockets: {error}");
                action = Some(OldAction::GoOn { why, take_pen_back: false });
            }
        }
        if action == Some(OldAction::PassPen) {
            match self.pass_pen().await? {
                Ok(()) => giving.peer.say(&FromOld::Yours),
                Err(why) => action = Some(OldAction::GoOn { why, take_pen_back: false }),
            }
        }
        match action {
            Some(OldAction::SendSockets | OldAction::PassPen) => self.giving = Some(giving),
            Some(OldAction::Drain) => return Ok(Some(giving)),
            Some(OldAction::GoOn { why, take_pen_back }) => self.go_on(giving, why, take_pen_back)?,
            // They belong to a drain.
            Some(OldAction::Report(_) | OldAction::Cut) | None => {}
        }
        Ok(None)
    }

    /// B205: the new one is discarded, and this process goes on with everything.
    fn go_on(&mut self, giving: Giving, why: String, take_pen_back: bool) -> Result<(), ServiceError> {
        let Giving { mut peer, asker, .. } = giving;
        let is_ours = peer.is_ours();
        peer.say(&FromOld::No(why.clone()));
        if is_ours {
            self.reload_failed(asker, why);
        } else {
            let process = peer.process();
            tracing::warn!(target: "hotcore::service", process, "the hand-over failed, and this process goes on: {why}");
        }
        if is_ours || take_pen_back {
            let deadline = is_ours.then(|| Deadline::now() + limits::LOCK_RETURN_WAIT);
            self.failed = Some(Failed { peer, since: Instant::now(), deadline });
        }
        if take_pen_back {
            self.pen = match mem::replace(&mut self.pen, Pen::Moving) {
                Pen::Passed(server) => Pen::Awaited(server),
                pen => pen,
            };
            self.take_pen_back()?;
        }
        Ok(())
    }

    /// A stop is meant for who is about to take over as well.
    pub(super) async fn discard(&mut self) {
        if let Some(Giving { mut peer, asker, .. }) = self.giving.take() {
            let why = "the service is being stopped".to_owned();
            peer.say(&FromOld::No(why.clone()));
            answer(asker, Err(why));
            peer.discard().await;
        }
        if let Some(Failed { mut peer, .. }) = self.failed.take() {
            peer.discard().await;
        }
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
    pub(super) fn take_pen_back(&mut self) -> Result<(), ServiceError> {
        let Pen::Awaited(server) = mem::replace(&mut self.pen, Pen::Moving) else {
            return Ok(());
        };
        if self.lock.is_none() {
            match Lock::try_take(&self.folder) {
                Ok(lock) => self.lock = Some(lock),
                Err(error) => {
                    if let Some(failed) = &self.failed
                        && matches!(error, LockError::Held { by, .. } if by == Some(failed.peer.process()))
                        && failed.since.elapsed() >= limits::LOCK_RETURN_WAIT
                    {
                        let process = failed.peer.process();
                        tracing::warn!(target: "hotcore::service", process, "it keeps the lock of the rules, so it is ended");
                        failed.peer.kill();
                    }
                    self.pen = Pen::Awaited(server);
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
                self.pen = Pen::Awaited(server);
            }
        }
        Ok(())
    }
}
