//! The control server: reads datagrams, answers them, and is the only writer of rules (invariant 1).
//!
//! The loop never waits for a disk. What needs none is answered at once; a change joins a queue, and the queue goes to the
//! disk in one commit after another, on a thread of its own: all that came in while the last one ran shares the next (B182).
//! When a commit returns, its changes are published in the table and only then acknowledged (invariant 2). If the disk
//! stalls, nobody is told anything (B183), and beyond `CONTROL_QUEUE_MAX` changes nothing more is read: datagrams wait in
//! the kernel (invariant 3).

use std::{
    fmt, io,
    net::UdpSocket,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{sync::oneshot, time::MissedTickBehavior};
use tracing::{debug, error, info};

use super::{
    Certificates,
    batch::{self, Batch, Peer, Queue, Request},
    counters::{Counters, Dropped},
    inbox::Inbox,
    protocol::{Command, Ignored, Message, Refusal},
    reply,
    saver::{Saved, Saver},
    socket::{self, Received, Receiver},
};
use crate::{
    domain::Domain,
    limits::{COMMIT_REQUESTS_MAX, CONTROL_PAUSE, CONTROL_QUEUE_MAX, CONTROL_TURN_MAX, LOG_REPEAT, SWEEP},
    routes::{Change, Commit, Rule, SaveError, Table, TableWriter},
};

/// What the server is told about its surroundings.
pub struct ServerConfig {
    /// Ports that hotcore listens on: no rule may point there (B178).
    pub own_ports: Vec<u16>,
    /// When the service was started, for `status`.
    pub started: SystemTime,
    /// Further facts for `status`, the important ones first: what does not fit into a reply is left out. Must not wait.
    pub status: Box<dyn Fn() -> Vec<(&'static str, String)> + Send>,
    /// Who keeps certificates.
    pub certificates: Box<dyn Certificates>,
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig").field("own_ports", &self.own_ports).finish_non_exhaustive()
    }
}

/// Why [`Server::run`] cannot go on. The process should end, to be started again.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A socket cannot be read.
    #[error("cannot read commands from the control socket: {0}")]
    Socket(#[source] io::Error),
    /// The loopback interface is not there.
    #[error("cannot find the loopback interface: {0}")]
    Loopback(#[source] io::Error),
    /// The thread that saves cannot be started.
    #[error("cannot start the thread that saves rules: {0}")]
    Thread(#[source] io::Error),
    /// The thread that saves has ended.
    #[error("the thread that saves rules has ended")]
    SaverEnded,
    /// The server was given no journal, or its journal was taken.
    #[error("there is no journal to save rules in")]
    NoJournal,
}

/// The only writer of rules.
pub struct Server {
    config: ServerConfig,
    writer: TableWriter,
    /// `None` while a thread has it, or after `release`.
    commit: Option<Box<dyn Commit>>,
    queue: Queue,
    counters: Arc<Counters>,
    heartbeat: Arc<AtomicU64>,
    trouble: Trouble,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("config", &self.config).field("queue", &self.queue.len()).finish_non_exhaustive()
    }
}

impl Server {
    /// A server that writes `writer` once `commit` has made a change durable.
    pub fn new(config: ServerConfig, writer: TableWriter, commit: Box<dyn Commit>) -> Self {
        Self {
            config,
            writer,
            commit: Some(commit),
            queue: Queue::default(),
            counters: Arc::default(),
            heartbeat: Arc::default(),
            trouble: Trouble::default(),
        }
    }

    /// Answers datagrams until `stop` resolves. Then it reads no more, finishes the commit in flight and all changes that
    /// wait, with their replies, and returns; how long that takes is up to the disk. Datagrams that were not read stay in
    /// the sockets, for the next run or for another process (B206).
    ///
    /// Must run on a tokio runtime with its timer and its io driver; the sockets must be prepared by [`socket::bind`] or
    /// [`socket::adopt`]. A run that is dropped half-way takes the journal with it.
    pub async fn run(&mut self, sockets: &[UdpSocket], stop: impl Future<Output = ()>) -> Result<(), ServerError> {
        let inbox = Inbox::open(sockets)?;
        let saver = Saver::start(self.commit.take().ok_or(ServerError::NoJournal)?).map_err(ServerError::Thread)?;
        self.turn_until(stop, &inbox, &saver).await?;
        self.commit = saver.stop();
        self.commit.is_some().then_some(()).ok_or(ServerError::SaverEnded)
    }

    /// Lets go of the journal between two runs, so that another process can have it.
    pub fn release(&mut self) -> Option<Box<dyn Commit>> {
        self.commit.take()
    }

    /// Takes a journal, for the next run, and makes visible what is in it: `saved`. Rules that are the same stay as they
    /// are; the others are what another process has changed since [`Server::release`].
    pub fn restore(&mut self, commit: Box<dyn Commit>, saved: &TableWriter) {
        let table = self.writer.table();
        let same = |rule: &Rule| table.find(&rule.domain).is_some_and(|visible| visible.port == rule.port);
        let gone = |rule: &Rule| saved.table().find(&rule.domain).is_none();
        let stale: Vec<Domain> =
            self.writer.page_after(None).filter(|rule| gone(rule)).map(|rule| rule.domain.clone()).collect();
        for domain in stale {
            self.writer.remove(&domain);
        }
        for rule in saved.page_after(None).filter(|rule| !same(rule)) {
            self.writer.insert(rule.domain.clone(), rule.port);
        }
        self.commit = Some(commit);
    }

    /// The table, as the data plane reads it.
    pub fn table(&self) -> Table {
        self.writer.table()
    }

    /// The table, and the journal if no failed or dropped run has lost it.
    pub fn into_parts(self) -> (TableWriter, Option<Box<dyn Commit>>) {
        (self.writer, self.commit)
    }

    /// Moves with every turn of the loop, at least every 250 ms. A stalled disk does not stop it (B213).
    pub fn heartbeat(&self) -> Arc<AtomicU64> {
        self.heartbeat.clone()
    }

    /// What the server has done so far.
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    async fn turn_until(
        &mut self,
        stop: impl Future<Output = ()>,
        inbox: &Inbox,
        saver: &Saver,
    ) -> Result<(), ServerError> {
        let mut stop = pin!(stop);
        let mut stopping = false;
        let (mut receiver, mut turn) = (Receiver::new(), 0_usize);
        let mut in_flight: Option<InFlight> = None;
        let mut tick = tokio::time::interval(SWEEP);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.heartbeat.fetch_add(1, Ordering::Relaxed);
            turn = turn.wrapping_add(1) & 0xff;
            while in_flight.is_none() && !self.queue.is_empty() {
                in_flight = self.start_commit(inbox, saver);
            }
            let waiting = self.queue.len() + in_flight.as_ref().map_or(0, |commit| commit.batch.len());
            self.counters.note_waiting(waiting);
            if stopping && in_flight.is_none() {
                return Ok(());
            }
            let room = CONTROL_QUEUE_MAX.saturating_sub(waiting);
            tokio::select! {
                biased;
                () = &mut stop, if !stopping => stopping = true,
                saved = saved(&mut in_flight) => {
                    let (batch, changes, result) = saved?;
                    in_flight = None;
                    self.settle(batch, changes, result, inbox);
                }
                index = inbox.readable(turn), if !stopping && room > 0 => {
                    let read = self.read(inbox, index?, &mut receiver, room, in_flight.as_ref())?;
                    if read == Turn::Shortage {
                        tokio::time::sleep(CONTROL_PAUSE).await;
                    }
                }
                _ = tick.tick() => {}
            }
        }
    }

    /// Reads what waits in one socket, a bounded number of datagrams, none beyond `room`.
    fn read(
        &mut self,
        inbox: &Inbox,
        index: usize,
        receiver: &mut Receiver,
        room: usize,
        in_flight: Option<&InFlight>,
    ) -> Result<Turn, ServerError> {
        for _ in 0..CONTROL_TURN_MAX.min(room) {
            let Some(received) = inbox.receive(index, receiver)? else { return Ok(Turn::Done) };
            match received {
                Received::Datagram(bytes, origin) => {
                    self.counters.count_received();
                    match origin.objection(inbox.loopback_interface, &inbox.ports) {
                        Some(reason) => self.drop_datagram(reason, &origin),
                        None => self.take(bytes, Peer { socket: index, origin }, inbox, in_flight),
                    }
                }
                Received::Hiccup(error) => {
                    self.counters.count_socket_error();
                    debug!(%error, "receiving a command failed");
                }
                Received::Shortage => {
                    self.counters.count_socket_error();
                    return Ok(Turn::Shortage);
                }
            }
        }
        Ok(Turn::Done)
    }

    fn drop_datagram(&self, reason: Dropped, origin: &socket::Origin) {
        self.counters.count_drop(reason);
        debug!(?reason, source = %origin.source, "dropped a datagram");
    }

    /// Answers one datagram, or puts its change into the queue.
    fn take(&mut self, datagram: &[u8], peer: Peer, inbox: &Inbox, in_flight: Option<&InFlight>) {
        let command = match Message::parse(datagram, &self.config.own_ports) {
            Message::Command(command) => command,
            Message::Refused(refusal) => return self.answer(inbox, &peer, &reply::refused(&refusal)),
            Message::Ignored(Ignored::Empty) => return self.drop_datagram(Dropped::Empty, &peer.origin),
            Message::Ignored(Ignored::ReplyWord) => return self.drop_datagram(Dropped::ReplyWord, &peer.origin),
        };
        if let Some(change) = batch::change(&command) {
            // While something about the name waits for the disk, nothing about it is known.
            let domain = batch::domain_of(&change);
            let waits = self.queue.concerns(domain) || in_flight.is_some_and(|commit| commit.batch.concerns(domain));
            return match batch::stands(&change, &self.writer.table()) {
                Some(reply) if !waits => self.answer(inbox, &peer, &reply),
                _ => self.queue.push(Request { change, peer }),
            };
        }
        match command {
            Command::List(after) => {
                let rules = self.writer.page_after(after.as_ref().map(|domain| domain.as_str()));
                self.answer(inbox, &peer, &reply::list(rules));
            }
            Command::Certificates(after) => {
                self.answer(inbox, &peer, &reply::certificates(&*self.config.certificates, after.as_ref()));
            }
            Command::Retry(domain) => self.answer(inbox, &peer, &self.retry(&domain)),
            Command::Check => self.answer(inbox, &peer, reply::CHECK),
            Command::Version => self.answer(inbox, &peer, reply::VERSION),
            Command::Status => self.answer(inbox, &peer, &self.status(inbox)),
            Command::Help => self.answer(inbox, &peer, reply::HELP),
            // Changes, which are in the queue.
            Command::Add(..) | Command::Remove(_) => {}
        }
    }

    /// Only for a name with a rule: nobody can make hotcore order certificates for others.
    fn retry(&self, domain: &Domain) -> String {
        if self.writer.table().find(domain).is_none() {
            reply::refused(&Refusal::NotMapped(domain.clone()))
        } else if self.config.certificates.retry(domain) {
            reply::tried(domain)
        } else {
            reply::refused(&Refusal::TooManyRetries)
        }
    }

    /// Gives the oldest requests to the disk; those that need none are answered here.
    fn start_commit(&mut self, inbox: &Inbox, saver: &Saver) -> Option<InFlight> {
        let table = self.writer.table();
        let batch = Batch::new(self.queue.take(COMMIT_REQUESTS_MAX), &table);
        let changes = batch.changes(&table);
        if changes.is_empty() {
            self.answer_all(inbox, batch.done());
            return None;
        }
        self.counters.count_commit();
        Some(InFlight { batch, saved: saver.save(changes, table) })
    }

    /// A commit has returned: durable, so now visible, and then acknowledged (invariant 2).
    fn settle(&mut self, batch: Batch, changes: Vec<Change>, result: Result<(), SaveError>, inbox: &Inbox) {
        match result {
            Ok(()) => {
                debug!(changes = changes.len(), requests = batch.len(), "saved rules");
                for change in changes {
                    match change {
                        Change::Map(domain, port) => self.writer.insert(domain, port),
                        Change::Unmap(domain) => self.writer.remove(&domain),
                    }
                }
                self.trouble.end();
                self.answer_all(inbox, batch.done());
            }
            Err(error) => {
                self.counters.count_save_failure();
                self.trouble.note(&error);
                self.answer_all(inbox, batch.failed(&error, &self.writer.table()));
            }
        }
    }

    fn answer_all(&self, inbox: &Inbox, replies: impl Iterator<Item = (Peer, String)>) {
        for (peer, reply) in replies {
            self.answer(inbox, &peer, &reply);
        }
    }

    fn answer(&self, inbox: &Inbox, peer: &Peer, reply: &str) {
        if let Err(error) = socket::answer(inbox.socket(peer.socket), &peer.origin, reply.as_bytes()) {
            self.counters.count_reply_lost();
            debug!(%error, client = %peer.origin.source, "a reply was lost");
        }
    }

    fn status(&self, inbox: &Inbox) -> String {
        let since = OffsetDateTime::from(self.config.started).replace_nanosecond(0).ok();
        let mut facts = vec![
            ("version", reply::VERSION.to_owned()),
            ("pid", std::process::id().to_string()),
            ("since", since.and_then(|since| since.format(&Rfc3339).ok()).unwrap_or_default()),
            ("rules", self.writer.table().len().to_string()),
        ];
        facts.extend(self.trouble.cause.as_ref().map(|cause| ("problem", format!("cannot save rules: {cause}"))));
        facts.push(("control", inbox.addresses.clone()));
        facts.extend((self.config.status)());
        let dropped = self.counters.dropped_in_all();
        facts.push(("messages", format!("{} received, {dropped} dropped", self.counters.received())));
        reply::status(facts)
    }
}

#[derive(PartialEq, Eq)]
enum Turn {
    Done,
    Shortage,
}

/// The commit that the disk works on.
struct InFlight {
    batch: Batch,
    saved: oneshot::Receiver<Saved>,
}

/// Waits for the commit in flight; for ever if there is none.
async fn saved(in_flight: &mut Option<InFlight>) -> Result<(Batch, Vec<Change>, Result<(), SaveError>), ServerError> {
    let saved = match in_flight {
        Some(commit) => (&mut commit.saved).await,
        None => std::future::pending().await,
    };
    match (in_flight.take(), saved) {
        (Some(InFlight { batch, .. }), Ok((changes, result))) => Ok((batch, changes, result)),
        _ => Err(ServerError::SaverEnded),
    }
}

/// A disk that refuses: logged at once, then once a minute with its count (B219), and shown by `status` until it is over.
#[derive(Default)]
struct Trouble {
    cause: Option<String>,
    logged: Option<Instant>,
    unlogged: u64,
}

impl Trouble {
    fn note(&mut self, error: &SaveError) {
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_REPEAT) {
            error!(%error, unlogged = self.unlogged, "cannot save rules: changes are refused, routing goes on");
            (self.logged, self.unlogged) = (Some(Instant::now()), 0);
        } else {
            self.unlogged += 1;
        }
        self.cause = Some(error.to_string());
    }

    fn end(&mut self) {
        if self.cause.take().is_some() {
            info!("rules are saved again");
        }
    }
}
