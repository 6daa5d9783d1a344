//! The way of a request: name, route, header rules, backend, and the answer back.
//!
//! One [`Proxy`] per worker owns the worker's client connections and its connections to backends; nothing of it is shared with
//! other threads but the table of rules, which is read without waiting, and a few counters. Never here: a lock, a file, a
//! change of a rule, knowledge of where a certificate comes from.
//!
//! A connection's bytes pass `guard` (strict framing) before the HTTP library sees them; `exchange` answers each request in
//! five steps; `forward` has the header rules, `pages` every answer of our own, `upstream` the backends, `tunnel` what follows
//! a 101.

mod access;
mod body;
mod clear_text;
mod connection;
mod exchange;
mod guard;
mod lingering;
mod patience;
mod plain_door;
mod progress;
mod reminders;
mod secure;
mod stream;
mod tunnel;
mod turn;
mod upstream;

pub mod chunks;
pub mod forward;
pub mod head;
pub mod http2;
pub mod pages;
pub mod refusal;

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, HashSet},
    fmt,
    future::{Future, poll_fn},
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::Notify,
    task::spawn_local,
    time::{sleep, timeout},
};

pub use self::patience::Patience;
use self::{
    connection::{Conn, ConnStream},
    exchange::Exchange,
    forward::Via,
    guard::Guard,
    lingering::{finish, linger},
    plain_door::PlainDoor,
    reminders::Reminders,
    stream::ClientStream,
    turn::Turn,
    upstream::{Holds, Tunnel, Upstreams},
};
use crate::{
    limits::{REQUEST_FIELDS_MAX, REQUEST_HEAD_BYTES_MAX, TUNNEL_BUFFER_BYTES, UPGRADE_WAIT},
    routes::Table,
    tls::{self, Front, FrontConfig},
};

/// How a client came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Plain HTTP.
    Http,
    /// HTTPS: a handshake comes first.
    Https,
}

/// What a worker's proxy is made of.
#[derive(Debug)]
pub struct ProxyConfig {
    /// The rules.
    pub table: Table,
    /// The door of HTTPS; `None`: it stays shut.
    pub tls: Option<FrontConfig>,
    /// The port of HTTPS, for those who come by plain HTTP and name a port (B165).
    pub https_port: Option<u16>,
    /// Ports hotcore itself listens on (B30).
    pub own_ports: Vec<u16>,
    /// Write one record for each request.
    pub access_log: bool,
    /// How long clients are waited for.
    pub patience: Patience,
    /// The counters of all workers.
    pub totals: Arc<ProxyTotals>,
}

/// Counters of all workers together.
#[derive(Debug)]
pub struct ProxyTotals {
    /// Client connections, tunnels included.
    pub connections: AtomicUsize,
    /// Connections to backends, idle ones included.
    backends: AtomicUsize,
    /// Those of clients and to backends together, at most (B154).
    sockets_max: usize,
    /// Tunnels.
    pub tunnels: AtomicUsize,
    /// Requests answered.
    pub requests: AtomicU64,
    /// Requests repeated because a kept connection had gone stale (B39).
    pub retries: AtomicU64,
    /// Connections ended by a bug of ours (B212).
    pub panics: AtomicU64,
    /// Requests that wait for a backend (B24).
    held: Arc<AtomicU32>,
    /// What this process signs requests with, to know them again (B84).
    via: Via,
    /// Who was warned of a loop through a proxy in front (B175).
    reminders: Reminders,
}

impl ProxyTotals {
    /// Counters at zero, and a new signature of this process.
    pub fn new() -> Self {
        Self::with_sockets(usize::MAX)
    }

    /// The same, with so many sockets at most for clients and backends together (B154). Clients are counted by who accepts them.
    pub fn with_sockets(sockets_max: usize) -> Self {
        Self {
            connections: AtomicUsize::new(0),
            backends: AtomicUsize::new(0),
            sockets_max,
            tunnels: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            held: Arc::default(),
            via: Via::new(draw()),
            reminders: Reminders::new(Instant::now()),
        }
    }
}

/// A number that differs from process to process; nobody may rely on it as a secret.
fn draw() -> u32 {
    let [a, b, c, d, ..] = RandomState::new().hash_one(std::process::id()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

impl Default for ProxyTotals {
    fn default() -> Self {
        Self::new()
    }
}

/// The data plane of one worker.
pub struct Proxy {
    table: Table,
    tls: Option<Front>,
    plain_door: PlainDoor,
    own_ports: HashSet<u16>,
    access_log: bool,
    patience: Patience,
    via: Via,
    totals: Arc<ProxyTotals>,
    upstreams: Rc<Upstreams>,
    holds: Rc<Holds>,
    connections: RefCell<HashMap<u64, Rc<Conn>>>,
    next: Cell<u64>,
    /// Open connections that have become tunnels; they are no longer in `connections`.
    tunnels: Cell<usize>,
    /// Tunnels end, those that are still to come included.
    are_tunnels_cut: Cell<bool>,
    /// Tells the tunnels so.
    cut: Notify,
    /// A connection or tunnel has ended.
    left: Notify,
    draining: Cell<bool>,
    http1: http1::Builder,
}

impl Proxy {
    /// The data plane of one worker, without connections.
    pub fn new(config: ProxyConfig) -> Self {
        let mut http1 = http1::Builder::new();
        // The guard's limits lie below the library's, so that our readable page wins over a bare one (B162).
        const ABOVE: usize = REQUEST_HEAD_BYTES_MAX + 8 * 1024;
        http1.max_headers(REQUEST_FIELDS_MAX).max_buf_size(ABOVE).half_close(false);
        // This one counts for trailers too, whose limit would else be met one byte before ours.
        http1.max_header_size(ABOVE);
        let certificates = config.tls.as_ref().map(FrontConfig::certificates);
        Self {
            table: config.table,
            plain_door: PlainDoor::new(certificates, config.https_port, config.totals.clone(), Instant::now()),
            tls: config.tls.map(Front::new),
            own_ports: config.own_ports.into_iter().collect(),
            access_log: config.access_log,
            patience: config.patience,
            via: config.totals.via.clone(),
            upstreams: Rc::new(Upstreams::new(config.totals.clone())),
            holds: Rc::new(Holds::new(config.totals.held.clone())),
            totals: config.totals,
            connections: RefCell::default(),
            next: Cell::new(0),
            tunnels: Cell::new(0),
            are_tunnels_cut: Cell::new(false),
            cut: Notify::new(),
            left: Notify::new(),
            draining: Cell::new(false),
            http1,
        }
    }

    /// Serves a client connection on this thread.
    pub fn serve(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, door: Door) {
        // Inherited from the listener where the kernel does so; said for those that were passed in (B19).
        let _ = stream.set_nodelay(true);
        let conn = Rc::new(Conn::new(stream, peer, Instant::now()));
        if self.draining.get() {
            conn.close_after_answer();
        }
        let seat = Seat::take(self, conn.clone());
        spawn_local(self.clone().run(conn, seat, door));
    }

    /// Client connections of this worker, tunnels included.
    pub fn connections(&self) -> usize {
        self.connections.borrow().len() + self.tunnels.get()
    }

    /// Keeps the time limits; the worker calls it every [`SWEEP`](crate::limits::SWEEP).
    pub fn sweep(&self, now: Instant) {
        for conn in self.connections.borrow().values() {
            conn.sweep(now, &self.patience);
        }
        self.upstreams.sweep(now);
        self.plain_door.sweep(now);
    }

    /// Makes room at the connection cap; false if no connection is idle (B154).
    pub fn close_longest_idle(&self) -> bool {
        let connections = self.connections.borrow();
        let oldest = connections.values().filter_map(|conn| Some((conn.idle_since()?, conn))).min_by_key(|(at, _)| *at);
        match oldest {
            Some((_, conn)) => {
                conn.close();
                true
            }
            None => false,
        }
    }

    /// Waits until a connection of this worker has ended.
    pub async fn departure(&self) {
        self.left.notified().await;
    }

    /// Ends all connections in order: idle ones now if `tunnels` is zero, else after their next answer (B203, B207);
    /// requests without an answer by `requests`; the rest by the longer of both; tunnels by `tunnels`.
    pub async fn drain(self: &Rc<Self>, requests: Duration, tunnels: Duration) {
        self.draining.set(true);
        let now = Instant::now();
        for conn in self.connections.borrow().values() {
            if tunnels.is_zero() {
                conn.stop(now);
            } else {
                conn.close_after_answer();
            }
        }
        let cut_requests = async {
            sleep(requests).await;
            for conn in self.connections.borrow().values() {
                if tunnels <= requests {
                    conn.kill();
                } else {
                    conn.kill_waiting();
                }
            }
            std::future::pending::<()>().await;
        };
        let cut_tunnels = async {
            sleep(tunnels).await;
            self.are_tunnels_cut.set(true);
            self.cut.notify_waiters();
            sleep(requests.saturating_sub(tunnels)).await;
            for conn in self.connections.borrow().values() {
                conn.kill();
            }
            std::future::pending::<()>().await;
        };
        let all_gone = async {
            while self.connections() > 0 {
                self.left.notified().await;
            }
        };
        tokio::select! {
            () = all_gone => {}
            () = cut_requests => {}
            () = cut_tunnels => {}
        }
        self.upstreams.clear();
    }

    async fn run(self: Rc<Self>, conn: Rc<Conn>, seat: Seat, door: Door) {
        let stream = match (door, &self.tls) {
            (Door::Http, _) => ClientStream::Plain(ConnStream(conn.clone())),
            (Door::Https, Some(front)) => {
                // In a box of its own: what a handshake needs is given back when it is over.
                let mut handshake = Box::pin(self.secure(front, &conn));
                match self.drive(&conn, &mut handshake).await {
                    Some(Some(stream)) => ClientStream::Secure(stream),
                    Some(None) | None => return,
                }
            }
            (Door::Https, None) => return,
        };
        if let ClientStream::Secure(secure) = &stream
            && tls::speaks_http2(secure)
        {
            let _seat = seat;
            return Box::pin(self.speak_http2(conn, stream)).await;
        }
        let guard = Guard::new(stream, conn.clone());
        let exchange = Rc::new(Exchange::new(self.clone(), conn.clone()));
        let answering = exchange.clone();
        let service = service_fn(move |request| {
            let exchange = answering.clone();
            let turn = Turn::Connection(exchange.conn().clone());
            async move { exchange.answer(turn, request).await }
        });
        let mut http = self.http1.serve_connection(TokioIo::new(guard), service);
        let done = self.drive(&conn, &mut http).await;
        let Some(done) = done else { return };
        let parts = http.into_parts();
        let guard = parts.io.into_inner();
        if let Some(tunnel) = exchange.take_tunnel() {
            let (stream, rest) = guard.into_parts();
            let first = [parts.read_buf, rest].concat().into();
            let mut tunnel = pin!(self.tunnel(&conn, seat, stream, first, tunnel));
            self.drive(&conn, &mut tunnel).await;
            return;
        }
        match done {
            Ok(()) if guard.may_have_unread_input() => {
                // It is no idle connection any more, that could make room for another.
                conn.close();
                conn.read_up_to(TUNNEL_BUFFER_BYTES);
                let mut lingering = pin!(linger(guard.into_parts().0, self.patience.linger));
                self.drive(&conn, &mut lingering).await;
            }
            Ok(()) => {
                let mut finishing = pin!(finish(guard.into_parts().0, self.patience.linger));
                self.drive(&conn, &mut finishing).await;
            }
            // No close_notify: what the client has may not be all (B100).
            Err(error) => tracing::debug!(client = %conn.peer(), %error, "connection ended"),
        }
    }

    /// Drives a connection to its end; `None` when it was given up.
    async fn drive<F: Future + Unpin>(&self, conn: &Conn, work: &mut F) -> Option<F::Output> {
        let mut gone = pin!(None);
        let mut watched = None;
        poll_fn(|cx| {
            conn.attach(cx.waker());
            if conn.is_killed() {
                return Poll::Ready(None);
            }
            // A bug met by one connection ends that connection alone (B212).
            match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *work).poll(cx))) {
                Ok(Poll::Ready(done)) => return Poll::Ready(Some(done)),
                Ok(Poll::Pending) => {}
                Err(_) => {
                    self.totals.panics.fetch_add(1, Ordering::Relaxed);
                    return Poll::Ready(None);
                }
            }
            // While nobody reads from the socket, only the poller tells that the client has left (B74, B75, B247).
            let watch = conn.needs_watch().then(|| conn.is_persistent());
            if watch != watched {
                gone.set(watch.map(|_| conn.gone()));
                watched = watch;
            }
            match gone.as_mut().as_pin_mut() {
                Some(gone) => gone.poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    }

    async fn tunnel(&self, conn: &Conn, seat: Seat, client: ClientStream, first: Bytes, tunnel: Tunnel) {
        let _tunnel = seat.into_tunnel();
        let copy = async {
            let Ok(Some((mut backend, backend_first))) = timeout(UPGRADE_WAIT, tunnel.parts()).await else { return };
            conn.read_up_to(TUNNEL_BUFFER_BYTES);
            tunnel::watch_for_dead_peer(conn.stream());
            tunnel::watch_for_dead_peer(backend.socket());
            let copied = match client {
                ClientStream::Plain(mut client) => tunnel::run(&mut client, first, &mut backend, backend_first).await,
                // Here an end without close_notify is an error: nothing else tells what was cut from what was said.
                ClientStream::Secure(mut client) => tunnel::run(&mut *client, first, &mut backend, backend_first).await,
            };
            if let Err(error) = copied {
                tracing::debug!(client = %conn.peer(), %error, "tunnel ended");
            }
        };
        tokio::select! {
            () = self.tunnels_cut() => {}
            () = copy => {}
        }
    }

    /// Resolves when the time of tunnels is over; at once for one that begins after that.
    async fn tunnels_cut(&self) {
        while !self.are_tunnels_cut.get() {
            self.cut.notified().await;
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

/// A connection's place in its worker's list; gone when dropped, also by a panic.
struct Seat {
    proxy: Rc<Proxy>,
    key: u64,
}

impl Seat {
    fn take(proxy: &Rc<Proxy>, conn: Rc<Conn>) -> Self {
        let key = proxy.next.get();
        proxy.next.set(key.wrapping_add(1));
        proxy.connections.borrow_mut().insert(key, conn);
        proxy.totals.connections.fetch_add(1, Ordering::Relaxed);
        Self { proxy: proxy.clone(), key }
    }

    fn into_tunnel(self) -> TunnelSeat {
        self.proxy.connections.borrow_mut().remove(&self.key);
        self.proxy.tunnels.set(self.proxy.tunnels.get() + 1);
        self.proxy.totals.tunnels.fetch_add(1, Ordering::Relaxed);
        TunnelSeat(self)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.proxy.connections.borrow_mut().remove(&self.key);
        self.proxy.totals.connections.fetch_sub(1, Ordering::Relaxed);
        self.proxy.left.notify_waiters();
    }
}

/// The place of a connection that has become a tunnel: no time limit of a request applies to it any more.
struct TunnelSeat(Seat);

impl Drop for TunnelSeat {
    fn drop(&mut self) {
        let proxy = &self.0.proxy;
        proxy.tunnels.set(proxy.tunnels.get() - 1);
        proxy.totals.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
