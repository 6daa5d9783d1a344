//! The workers: one thread per core, each with its own runtime, connections, upstream pool and timers.
//!
//! A connection stays on the worker that accepted it, unless that worker has far more than its share. Never here: a lock
//! between accept and answer, work that computes for long, a file.

mod place;

use std::{
    cell::{Cell, RefCell},
    io,
    net::{SocketAddr, TcpListener, TcpStream as StdTcpStream},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    net::{TcpListener as TokioListener, TcpStream},
    sync::{mpsc, watch},
    task::{LocalSet, spawn_local},
    time::{MissedTickBehavior, interval},
};

use self::place::{Place, accept, connections_max};
use crate::{
    limits::HTTPS_PORT,
    proxy::{Door, Patience, Proxy, ProxyConfig, ProxyTotals},
    routes::Table,
    tls,
};

/// What the workers need to start.
#[derive(Debug)]
pub struct WorkerConfig {
    /// Number of threads.
    pub count: usize,
    /// The rules.
    pub table: Table,
    /// What handshakes need; `None`: connections to the HTTPS sockets stay in the kernel's queue.
    pub tls: Option<tls::FrontConfig>,
    /// Ports hotcore itself listens on: a rule that points there is answered with 508 (B30).
    pub own_ports: Vec<u16>,
    /// Write one record for each request, target `hotcore::access`.
    pub access_log: bool,
    /// How long clients are waited for.
    pub patience: Patience,
    /// Client connections of all workers together; `None`: as many as descriptors allow (B154).
    pub connections_max: Option<usize>,
}

/// The listening sockets of the data plane, non-blocking.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Plain HTTP.
    pub http: Vec<TcpListener>,
    /// HTTPS.
    pub https: Vec<TcpListener>,
}

/// How long a drain may take.
#[derive(Debug, Clone, Copy)]
pub struct Drain {
    /// Requests that have no answer yet; with it, all that remains when `tunnels` is shorter.
    pub requests: Duration,
    /// Tunnels and moving bodies; zero: tunnels are cut at once, idle connections closed at once.
    pub tunnels: Duration,
}

/// What the workers hold at this moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Client connections, tunnels included.
    pub connections: usize,
    /// Tunnels.
    pub tunnels: usize,
    /// Requests answered since the start.
    pub requests: u64,
    /// Requests repeated on a fresh connection because a kept one had gone stale (B39).
    pub retries: u64,
    /// Connections ended by a bug of ours (B212).
    pub panics: u64,
    /// TLS handshakes done since the start.
    pub handshakes: u64,
    /// Of these, the ones that resumed a session.
    pub resumed: u64,
    /// TLS handshakes refused for their name or protocol (B169).
    pub refused_handshakes: u64,
    /// TLS handshakes broken off otherwise.
    pub failed_handshakes: u64,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Waiting,
    Accepting,
    Draining(Drain),
}

/// The running threads.
#[derive(Debug)]
pub struct Workers {
    phase: watch::Sender<Phase>,
    ends: mpsc::UnboundedReceiver<Result<(), String>>,
    running: usize,
    seats: Arc<[Seat]>,
    totals: Arc<ProxyTotals>,
    tls: Arc<tls::Totals>,
}

/// What others may know of a worker.
#[derive(Debug, Default)]
struct Seat {
    heartbeat: AtomicU64,
    /// How often it took from its listening sockets, or found that it must wait with that.
    accepts: AtomicU64,
    connections: AtomicUsize,
}

/// A connection on its way to another worker.
type Passed = (StdTcpStream, SocketAddr, Door);
type Inbox = mpsc::UnboundedSender<Passed>;

impl Workers {
    /// Starts the threads; none accepts yet.
    pub fn start(config: WorkerConfig, listeners: Listeners) -> io::Result<Self> {
        let count = config.count.max(1);
        let (phase, phases) = watch::channel(Phase::Waiting);
        let (ended, ends) = mpsc::unbounded_channel();
        let seats: Arc<[Seat]> = (0..count).map(|_| Seat::default()).collect();
        let (inboxes, mut mail): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let inboxes: Arc<[Inbox]> = inboxes.into();
        let connections_max = config.connections_max.unwrap_or_else(connections_max);
        // Two for each connection on average, whatever it speaks.
        let totals = Arc::new(ProxyTotals::with_sockets(connections_max.saturating_mul(2)));
        let https_port = https_port(&listeners.https);
        for index in (0..count).rev() {
            let mut own = Vec::with_capacity(listeners.http.len() + listeners.https.len());
            for listener in &listeners.http {
                own.push((listener.try_clone()?, Door::Http));
            }
            for listener in listeners.https.iter().filter(|_| config.tls.is_some()) {
                own.push((listener.try_clone()?, Door::Https));
            }
            let Some(mail) = mail.pop() else { break };
            let worker = Worker {
                index,
                listeners: own,
                proxy: ProxyConfig {
                    table: config.table.clone(),
                    tls: config.tls.clone(),
                    https_port,
                    own_ports: config.own_ports.clone(),
                    access_log: config.access_log,
                    patience: config.patience,
                    totals: totals.clone(),
                },
                phases: phases.clone(),
                seats: seats.clone(),
                totals: totals.clone(),
                inboxes: inboxes.clone(),
                mail,
                connections_max,
            };
            let notice =
                Notice { ended: ended.clone(), result: Err(format!("worker {index} ended without being told")) };
            thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                let mut notice = notice;
                notice.result = worker.run();
            })?;
        }
        let tls = config.tls.as_ref().map(tls::FrontConfig::totals).unwrap_or_default();
        Ok(Self { phase, ends, running: count, seats, totals, tls })
    }

    /// From now on connections are accepted.
    pub fn accept(&self) {
        self.phase.send_replace(Phase::Accepting);
    }

    /// Stops accepting, closes the workers' copies of the listeners, and ends each connection as soon as it allows.
    pub fn drain(&self, limits: Drain) {
        self.phase.send_replace(Phase::Draining(limits));
    }

    /// Resolves when every worker has drained and ended (`Ok`), or at once when one ended without being told (`Err`, the
    /// reason): then the process must end, to be restarted.
    pub async fn ended(&mut self) -> Result<(), String> {
        while self.running > 0 {
            match self.ends.recv().await {
                Some(Ok(())) => self.running -= 1,
                Some(Err(reason)) => return Err(reason),
                None => break,
            }
        }
        Ok(())
    }

    /// For each worker a figure that moves with every turn of its loop, at least every 250 ms.
    pub fn heartbeats(&self) -> Vec<u64> {
        self.seats.iter().map(|seat| seat.heartbeat.load(Ordering::Relaxed)).collect()
    }

    /// A figure that moves whenever a worker takes from a listening socket; while all descriptors are used, by itself: a full house
    /// is no reason to be ended (B213).
    pub fn accepts(&self) -> u64 {
        self.seats.iter().map(|seat| seat.accepts.load(Ordering::Relaxed)).sum()
    }

    /// For each worker its client connections, as the others know of them.
    pub fn connections(&self) -> Vec<usize> {
        self.seats.iter().map(|seat| seat.connections.load(Ordering::Relaxed)).collect()
    }

    /// What the workers hold at this moment.
    pub fn counts(&self) -> Counts {
        Counts {
            connections: self.totals.connections.load(Ordering::Relaxed),
            tunnels: self.totals.tunnels.load(Ordering::Relaxed),
            requests: self.totals.requests.load(Ordering::Relaxed),
            retries: self.totals.retries.load(Ordering::Relaxed),
            panics: self.totals.panics.load(Ordering::Relaxed),
            handshakes: self.tls.handshakes.load(Ordering::Relaxed),
            resumed: self.tls.resumed.load(Ordering::Relaxed),
            refused_handshakes: self.tls.refused.load(Ordering::Relaxed),
            failed_handshakes: self.tls.failed.load(Ordering::Relaxed),
        }
    }
}

/// Reports the end of a worker, also when it ends by a panic.
struct Notice {
    ended: mpsc::UnboundedSender<Result<(), String>>,
    result: Result<(), String>,
}

impl Drop for Notice {
    fn drop(&mut self) {
        let _ = self.ended.send(std::mem::replace(&mut self.result, Ok(())));
    }
}

struct Worker {
    index: usize,
    listeners: Vec<(TcpListener, Door)>,
    proxy: ProxyConfig,
    phases: watch::Receiver<Phase>,
    seats: Arc<[Seat]>,
    totals: Arc<ProxyTotals>,
    inboxes: Arc<[Inbox]>,
    mail: mpsc::UnboundedReceiver<Passed>,
    connections_max: usize,
}

impl Worker {
    fn run(self) -> Result<(), String> {
        let index = self.index;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("worker {index} cannot start its runtime: {error}"))?;
        let local = LocalSet::new();
        local.block_on(&runtime, self.work()).map_err(|error| format!("worker {index} cannot go on: {error}"))
    }

    async fn work(self) -> io::Result<()> {
        let Self { index, listeners, proxy, mut phases, seats, totals, inboxes, mut mail, connections_max } = self;
        let every = proxy.patience.sweep;
        let proxy = Rc::new(Proxy::new(proxy));
        let stopped = Cell::new(false);
        let place =
            Rc::new(Place { index, seats, totals, inboxes, connections_max, waiting: RefCell::default(), stopped });
        let mut keeping_time = spawn_local(sweep(proxy.clone(), place.clone(), every));

        let drain = loop {
            match *phases.borrow_and_update() {
                Phase::Waiting => {}
                Phase::Accepting => break None,
                Phase::Draining(drain) => break Some(drain),
            }
            if phases.changed().await.is_err() {
                return Ok(());
            }
        };
        let drain = match drain {
            Some(drain) => drain,
            None => {
                let mut accepting = tokio::task::JoinSet::new();
                for (listener, door) in listeners {
                    let listener = TokioListener::from_std(listener)?;
                    accepting.spawn_local(accept(listener, door, proxy.clone(), place.clone()));
                }
                loop {
                    tokio::select! {
                        changed = phases.changed() => {
                            if changed.is_err() {
                                return Ok(());
                            }
                            if let Phase::Draining(drain) = *phases.borrow_and_update() {
                                break drain;
                            }
                        }
                        Some((stream, peer, door)) = mail.recv() => {
                            if let Ok(stream) = TcpStream::from_std(stream) {
                                proxy.serve(stream, peer, door);
                            }
                            place.note(proxy.connections() + mail.len());
                        }
                        ended = &mut keeping_time => {
                            let reason = ended.err().map(|panic| panic.to_string()).unwrap_or_default();
                            return Err(io::Error::other(format!("its clock has ended: {reason}")));
                        }
                        Some(ended) = accepting.join_next() => {
                            return match ended {
                                Ok(error) => Err(error),
                                Err(panic) => Err(io::Error::other(panic)),
                            };
                        }
                    }
                }
                // Dropping the set closes this worker's copies of the listening sockets.
            }
        };
        // What was accepted must be answered: what waits for room, and what another worker has just passed on.
        for (stream, peer, door) in place.waiting.take() {
            proxy.serve(stream, peer, door);
        }
        mail.close();
        while let Some((stream, peer, door)) = mail.recv().await {
            if let Ok(stream) = TcpStream::from_std(stream) {
                proxy.serve(stream, peer, door);
            }
        }
        let mut limits = drain;
        loop {
            tokio::select! {
                () = proxy.drain(limits.requests, limits.tunnels) => break,
                // A stop shortens the drain of a hand-over.
                changed = phases.changed() => match *phases.borrow_and_update() {
                    Phase::Draining(shorter) if changed.is_ok() => limits = shorter,
                    _ => break,
                },
            }
        }
        place.stopped.set(true);
        Ok(())
    }
}

/// Keeps time: the limits of all connections, and the heartbeat.
async fn sweep(proxy: Rc<Proxy>, place: Rc<Place>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !place.stopped.get() {
        ticks.tick().await;
        proxy.sweep(Instant::now());
        if let Some(seat) = place.seats.get(place.index) {
            seat.heartbeat.fetch_add(1, Ordering::Relaxed);
        }
        place.note(proxy.connections());
    }
}

/// The port of HTTPS that clients are told: the usual one if it is among them (B165).
fn https_port(listeners: &[TcpListener]) -> Option<u16> {
    let ports = listeners.iter().filter_map(|listener| listener.local_addr().ok()).map(|address| address.port());
    ports.reduce(|first, other| if other == HTTPS_PORT { other } else { first })
}
