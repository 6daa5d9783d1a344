//! The way to the backends: connections to local ports, kept for reuse, one pool per worker.
//!
//! Everything behind [`Upstreams`] is private to this room: who calls it sees requests, responses and bodies, and no HTTP
//! library. Never here: a name, a rule, a resolver, or an address other than loopback (B14).

mod dial;
mod hold;
mod room;
mod stream;

use std::{
    cell::RefCell,
    collections::HashMap,
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{Request, Response, header::UPGRADE};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use tokio::{
    net::TcpStream,
    sync::oneshot,
    task::{AbortHandle, spawn_local, yield_now},
};

pub(crate) use self::{
    dial::{DialError, Family},
    hold::{Held, Holds},
    stream::{Switched, UpstreamStream},
};
use self::{room::Room, stream::Observed};
use super::{ProxyTotals, body::Upload};
use crate::{
    limits::{RESPONSE_FIELDS_MAX, RESPONSE_HEAD_BYTES_MAX, UPSTREAM_IDLE, UPSTREAM_IDLE_MAX},
    routes::Port,
};

/// The backends as one worker sees them.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    /// Idle connections, newest last.
    idle: RefCell<HashMap<(Port, Family), Vec<Idle>>>,
    /// The address family that answered last, where it is not the first choice (B15).
    family: RefCell<HashMap<Port, Family>>,
    totals: Arc<ProxyTotals>,
}

#[derive(Debug)]
struct Idle {
    link: Link,
    expires: Instant,
}

/// A connection to a backend, with the task that drives it.
#[derive(Debug)]
struct Link {
    sender: SendRequest<Upload>,
    observed: Rc<Observed>,
    task: AbortHandle,
    /// It has carried a request.
    used: bool,
    /// How long the backend keeps it when idle, at most [`UPSTREAM_IDLE`].
    idle_life: Duration,
}

impl Drop for Link {
    fn drop(&mut self) {
        // Closed at once, never drained: what the client gave up on is of no use to anybody (B36).
        self.task.abort();
    }
}

/// A connection in use by one request. Dropped, it is closed; [`Lease::give_back`] keeps it.
#[derive(Debug)]
pub(crate) struct Lease {
    upstreams: Rc<Upstreams>,
    link: Link,
    port: Port,
    family: Family,
    /// Where the stream arrives if the answer is a 101: at once, so it must be there before the answer is.
    switched: Option<oneshot::Receiver<Switched>>,
    /// Whether the connection has carried a request before: one that the probe has made has not, although it lay in the pool.
    pub(crate) reused: bool,
}

/// Why a request that was sent got no answer.
#[derive(Debug)]
pub(crate) struct SendError {
    /// What the library says: for the log.
    pub(crate) cause: hyper::Error,
    /// The request, if no byte of it was written.
    pub(crate) unsent: Option<Request<Upload>>,
    /// At least one byte of a response arrived.
    pub(crate) responded: bool,
    /// What arrived are interim answers beyond all measure (B94).
    pub(crate) is_flooded: bool,
    /// The backend, or its kernel, reset the connection.
    pub(crate) reset: bool,
    /// The first bytes that the backend ever sent on this connection.
    pub(crate) first_bytes: Vec<u8>,
}

impl Upstreams {
    /// None yet.
    pub(crate) fn new(totals: Arc<ProxyTotals>) -> Self {
        Self { totals, ..Self::default() }
    }

    /// An idle connection to `port`, the newest first (B33).
    pub(crate) fn reuse(self: &Rc<Self>, port: Port) -> Option<Lease> {
        let family = self.family(port);
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(&(port, family))?;
        while let Some(Idle { link, expires }) = list.pop() {
            // Readable or closed while idle means dead: the task that drives it has seen so (B34).
            if link.sender.is_ready() && Instant::now() < expires {
                let reused = link.used;
                return Some(Lease { upstreams: self.clone(), link, port, family, switched: None, reused });
            }
        }
        None
    }

    /// A new connection to `port`.
    pub(crate) async fn connect(self: &Rc<Self>, port: Port) -> Result<Lease, DialError> {
        let room = self.room().await.ok_or_else(|| DialError::Exhausted(io::Error::from(Errno::EMFILE)))?;
        let (stream, family) = dial::connect(port, self.family(port)).await?;
        self.remember(port, family);
        self.adopt(stream, room, port, family).await
    }

    /// Room for one more connection. Where none is left, the idle ones make it.
    async fn room(&self) -> Option<Room> {
        if let Some(room) = Room::take(&self.totals) {
            return Some(room);
        }
        self.clear();
        // They end when their tasks do.
        yield_now().await;
        Room::take(&self.totals)
    }

    /// Puts a fresh connection where the next request for `port` finds it.
    pub(crate) async fn stock(self: &Rc<Self>, port: Port) -> Result<(), DialError> {
        self.connect(port).await?.give_back();
        Ok(())
    }

    /// Drops what has been idle for too long; called by the worker's sweep.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, list| {
            list.retain(|idle| now < idle.expires && !idle.link.sender.is_closed());
            !list.is_empty()
        });
    }

    /// Drops every idle connection: the worker ends.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    async fn adopt(
        self: &Rc<Self>,
        stream: TcpStream,
        room: Room,
        port: Port,
        family: Family,
    ) -> Result<Lease, DialError> {
        let observed = Rc::new(Observed::default());
        let io = TokioIo::new(UpstreamStream::new(stream, room, observed.clone()));
        let (sender, mut connection) = http1::Builder::new()
            .max_headers(RESPONSE_FIELDS_MAX)
            .max_header_size(RESPONSE_HEAD_BYTES_MAX)
            .max_buf_size(RESPONSE_HEAD_BYTES_MAX)
            .handshake(io)
            .await
            .map_err(|_| DialError::Refused)?;
        let watched = observed.clone();
        let task = spawn_local(async move {
            // The outcome of a request reaches its sender; the end of an idle connection is nobody's news.
            let _ = poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
            if let Some(tunnel) = watched.tunnel.borrow_mut().take() {
                let parts = connection.into_parts();
                let _ = tunnel.send((parts.io.into_inner(), parts.read_buf));
            }
        });
        let link = Link { sender, observed, task: task.abort_handle(), used: false, idle_life: UPSTREAM_IDLE };
        Ok(Lease { upstreams: self.clone(), link, port, family, switched: None, reused: false })
    }

    fn family(&self, port: Port) -> Family {
        self.family.borrow().get(&port).copied().unwrap_or_default()
    }

    fn remember(&self, port: Port, family: Family) {
        let mut families = self.family.borrow_mut();
        if family == Family::default() {
            families.remove(&port);
        } else {
            families.insert(port, family);
        }
    }
}

impl Lease {
    /// Sends the request and waits for the head of the answer.
    pub(crate) async fn send(&mut self, request: Request<Upload>) -> Result<Response<Incoming>, SendError> {
        self.link.used = true;
        let observed = &self.link.observed;
        observed.await_head();
        let (stream, switched) = request.headers().contains_key(UPGRADE).then(oneshot::channel).unzip();
        *observed.tunnel.borrow_mut() = stream;
        self.switched = switched;
        let sent = self.link.sender.try_send_request(request).await;
        let is_flooded = observed.is_flooded();
        observed.has_head();
        sent.map_err(|mut error| SendError {
            unsent: error.take_message(),
            cause: error.into_error(),
            responded: observed.responded.get(),
            reset: observed.reset.get(),
            is_flooded,
            first_bytes: observed.first_bytes(),
        })
    }

    /// Lets the poller report what happened to the connection while it was idle; false if it is closed. For requests that
    /// could not be repeated (B34, B39).
    pub(crate) async fn is_alive(&self) -> bool {
        yield_now().await;
        !self.link.sender.is_closed()
    }

    /// Notes how long the backend wants to keep the connection (`Keep-Alive: timeout=`, B32).
    pub(crate) fn limit_idle_life(&mut self, life: Duration) {
        self.link.idle_life = life.min(UPSTREAM_IDLE);
    }

    /// The message is complete on both sides: the next request may use the connection (B35, P28).
    pub(crate) fn give_back(self) {
        let Self { upstreams, link, port, family, .. } = self;
        if link.sender.is_closed() || link.idle_life.is_zero() {
            return;
        }
        let expires = Instant::now() + link.idle_life;
        let mut idle = upstreams.idle.borrow_mut();
        let list = idle.entry((port, family)).or_default();
        if list.len() >= UPSTREAM_IDLE_MAX {
            list.remove(0);
        }
        list.push(Idle { link, expires });
    }

    /// The backend's side of a tunnel: the answer was a 101.
    pub(crate) fn into_tunnel(self) -> Tunnel {
        Tunnel(self)
    }
}

/// A connection on its way to become a tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel(Lease);

impl Tunnel {
    /// The raw stream and the bytes that were read beyond the 101 (B108), once the library has let go of them.
    pub(crate) async fn parts(mut self) -> Option<Switched> {
        self.0.switched.take()?.await.ok()
    }
}
