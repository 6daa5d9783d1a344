//! One client connection: its socket, what it is doing, and since when.
//!
//! The state is shared by the guard (which reads), the exchange (which answers) and the sweep (which keeps the time limits),
//! all on one worker. Never here: a timer per request, a rule about header fields.

mod stream;

use std::{
    cell::{Cell, OnceCell, RefCell},
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;
use tokio::{
    io::{Interest, ReadBuf},
    net::TcpStream,
};

pub(crate) use self::stream::ConnStream;
use super::{
    head::Head,
    http2::{Due, Streams},
    pages::Problem,
    patience::Patience,
    progress::{Progress, tick},
};
use crate::{
    domain::Domain,
    limits::{FRESH_GRACE, HEAD_READ_BYTES},
};

/// What a connection is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Accepted; nothing has arrived.
    Fresh,
    /// A TLS handshake is under way; it has a deadline of its own (B129).
    Handshake,
    /// Part of a request head has arrived.
    Head,
    /// A request is being answered.
    Answering,
    /// Between two requests.
    Idle,
    /// Several requests at a time: what each of them does, its stream knows.
    Multiplexed,
}

/// A client connection. Everything in it changes through shared references: it never leaves its worker.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: TcpStream,
    peer: IpAddr,
    /// The name that the certificate of this connection is for; plain HTTP has none.
    secured_for: OnceCell<Domain>,
    /// Its streams, on HTTP/2.
    streams: OnceCell<Rc<Streams>>,
    phase: Cell<Phase>,
    /// When the phase began; coarse.
    since: Cell<Instant>,
    /// The connection's task.
    task: RefCell<Option<Waker>>,
    /// The head that is about to be answered.
    head: RefCell<Option<Head>>,
    /// Whether the client keeps the connection after the present request.
    persistent: Cell<bool>,
    /// Why the present request is refused: set by the guard or the sweep, read by the exchange.
    refusal: RefCell<Option<Problem>>,
    /// The head of the answer has been handed over, so that a 408 is no longer possible (B136).
    answered: Cell<bool>,
    /// The next answer is the last.
    last: Cell<bool>,
    /// No further request is read: an idle connection ends now.
    closing: Cell<bool>,
    /// The service stops: a fresh connection does not wait for its request for long.
    stopping: Cell<bool>,
    killed: Cell<bool>,
    /// Nobody reads from the socket: that the client leaves must be seen otherwise.
    unread: Cell<bool>,
    /// Bytes that one read takes at most.
    read_max: Cell<usize>,
    /// hotcore waits for bytes of the request body.
    awaiting_body: Cell<bool>,
    /// hotcore waits for the client to take bytes.
    writing: Cell<bool>,
    /// The socket is to be offered bytes although it has not asked for them.
    retry: Cell<bool>,
    input: Cell<Progress>,
    output: Cell<Progress>,
}

impl Conn {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr, now: Instant) -> Self {
        Self {
            stream,
            // On a dual-stack socket IPv4 peers arrive as ::ffff:a.b.c.d (B82).
            peer: peer.ip().to_canonical(),
            secured_for: OnceCell::new(),
            streams: OnceCell::new(),
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(now),
            task: RefCell::new(None),
            head: RefCell::new(None),
            persistent: Cell::new(true),
            refusal: RefCell::new(None),
            answered: Cell::new(false),
            last: Cell::new(false),
            closing: Cell::new(false),
            stopping: Cell::new(false),
            killed: Cell::new(false),
            unread: Cell::new(false),
            read_max: Cell::new(HEAD_READ_BYTES),
            awaiting_body: Cell::new(false),
            writing: Cell::new(false),
            retry: Cell::new(false),
            input: Cell::new(Progress::default()),
            output: Cell::new(Progress::default()),
        }
    }

    /// The client's address.
    pub(crate) fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The socket, for options and for the tunnel.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Remembers the task, so that the sweep can wake it.
    pub(crate) fn attach(&self, waker: &Waker) {
        let mut task = self.task.borrow_mut();
        if !task.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(task) = self.task.borrow().as_ref() {
            task.wake_by_ref();
        }
    }

    // ---- the handshake ----

    /// The first byte of the client, which stays in the socket; `None` when the connection is to end or has ended before it.
    pub(crate) fn poll_first_byte(&self, cx: &mut Context<'_>) -> Poll<Option<u8>> {
        let mut space = [0];
        match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut space)) {
            Poll::Ready(Ok(1..)) => Poll::Ready(space.first().copied()),
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending if self.closing.get() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The first byte of a handshake has arrived.
    pub(crate) fn handshake_begins(&self, now: Instant) {
        // Reads go to space that is cleared already, whatever is to come.
        self.read_max.set(usize::MAX);
        self.enter(Phase::Handshake, now);
    }

    /// The handshake is done: what comes now is as on a connection just accepted.
    pub(crate) fn handshake_ends(&self, domain: Domain, now: Instant) {
        let _ = self.secured_for.set(domain);
        self.enter(Phase::Fresh, now);
    }

    /// The name that the certificate of this connection is for (B67); `None`: plain HTTP.
    pub(crate) fn secured_for(&self) -> Option<&Domain> {
        self.secured_for.get()
    }

    /// From now on the connection speaks HTTP/2.
    pub(crate) fn multiplex(&self, streams: Rc<Streams>, now: Instant) {
        if self.last.get() {
            // A drain has begun meanwhile; what is on its way is still taken (B127).
            streams.end(now);
        }
        let _ = self.streams.set(streams);
        self.enter(Phase::Multiplexed, now);
    }

    // ---- the course of a request ----

    /// The first bytes of a head have arrived, but not all of it.
    pub(crate) fn head_begins(&self, now: Instant) {
        if matches!(self.phase.get(), Phase::Fresh | Phase::Idle) {
            self.enter(Phase::Head, now);
        }
    }

    /// A request is handed over to be answered.
    pub(crate) fn request_begins(&self, head: Head, now: Instant) {
        self.enter(Phase::Answering, now);
        self.persistent.set(head.persistent);
        *self.head.borrow_mut() = Some(head);
        self.answered.set(false);
        self.unread.set(false);
        self.awaiting_body.set(false);
        self.input.set(Progress::default());
        self.output.set(Progress::default());
    }

    /// A refused request is to be answered; there is no head.
    pub(crate) fn refused_begins(&self, now: Instant) {
        self.enter(Phase::Answering, now);
        self.persistent.set(false);
        self.answered.set(false);
        self.unread.set(false);
        self.awaiting_body.set(false);
    }

    /// Whether bytes may lie on the socket that nobody reads now: the rest of a body, or what has no room here. The server
    /// reads a body only as far as somebody takes it.
    pub(crate) fn leave_unread(&self, is_unread: bool) {
        self.unread.set(is_unread);
    }

    /// Whether [`Conn::gone`] is the only way to see that the client leaves the present request.
    pub(crate) fn needs_watch(&self) -> bool {
        self.unread.get() && self.owes_answer()
    }

    /// What comes next is of this size at most, or larger and worth several reads: space is cleared before each read, so it is not
    /// offered where little is to come.
    pub(crate) fn read_up_to(&self, bytes: usize) {
        // Behind TLS what is read is not what is to come, and its space is cleared once.
        if self.secured_for.get().is_none() {
            self.read_max.set(bytes);
        }
    }

    /// Whether hotcore now waits for bytes of the request body; only then does the client's clock run (B136, B142).
    pub(crate) fn await_body(&self, waiting: bool) {
        self.awaiting_body.set(waiting);
    }

    /// What the guard found in the head of the present request, once.
    pub(crate) fn take_head(&self) -> Option<Head> {
        self.head.borrow_mut().take()
    }

    /// Whether the present request has a head; it has none when it was refused.
    pub(crate) fn has_head(&self) -> bool {
        self.head.borrow().is_some()
    }

    /// Whether the client keeps the connection after the present request.
    pub(crate) fn is_persistent(&self) -> bool {
        self.persistent.get()
    }

    /// The present request is refused; the exchange answers with the reason and the connection ends.
    pub(crate) fn refuse(&self, problem: Problem) {
        *self.refusal.borrow_mut() = Some(problem);
    }

    /// Whether the present request was refused, once.
    pub(crate) fn take_refusal(&self) -> Option<Problem> {
        self.refusal.borrow_mut().take()
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.borrow().is_some()
    }

    /// The head of the answer is on its way.
    pub(crate) fn answer_begins(&self) {
        self.answered.set(true);
    }

    /// The answer is complete, or given up.
    pub(crate) fn answer_ends(&self, now: Instant) {
        if self.phase.get() == Phase::Answering {
            self.read_up_to(HEAD_READ_BYTES);
            self.enter(Phase::Idle, now);
            // The guard may hold the next, pipelined head back until now (B53).
            self.wake();
        }
    }

    pub(crate) fn is_answering(&self) -> bool {
        self.phase.get() == Phase::Answering
    }

    /// Whether a request is being answered, or the end of its answer has not left yet: until then an end of the client's bytes
    /// would look to the server like the end of everything.
    pub(crate) fn owes_answer(&self) -> bool {
        self.is_answering() || self.writing.get()
    }

    /// For how long the connection has had no request, if it has none and may get one.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        if let Some(streams) = self.streams.get() {
            return streams.idle_since().filter(|_| !self.writing.get());
        }
        let is_idle = self.phase.get() == Phase::Idle && !self.writing.get() && !self.closing.get();
        is_idle.then(|| self.since.get())
    }

    fn enter(&self, phase: Phase, now: Instant) {
        self.phase.set(phase);
        self.since.set(now);
    }

    // ---- the end ----

    /// No further request: an idle connection ends now, a busy one after its answer.
    pub(crate) fn close(&self) {
        self.close_after_answer();
        self.closing.set(true);
        self.wake();
    }

    /// As [`Conn::close`], but for a connection that was accepted a moment ago: its request is on the way, and a close that
    /// meets it would be a lost request (B203). So is one whose handshake is under way.
    pub(crate) fn stop(&self, now: Instant) {
        let is_young = now.saturating_duration_since(self.since.get()) < FRESH_GRACE;
        if self.phase.get() == Phase::Handshake || self.phase.get() == Phase::Fresh && is_young {
            self.last.set(true);
            self.stopping.set(true);
        } else {
            self.close();
        }
    }

    /// The present answer, or the next one, says `Connection: close`. A connection that is idle now stays for one more request:
    /// closing it could meet that request on its way, and a close that meets a request is a lost request (B207). HTTP/2 has words
    /// for that, so its end begins at once.
    pub(crate) fn close_after_answer(&self) {
        self.last.set(true);
        if let Some(streams) = self.streams.get() {
            streams.end(Instant::now());
            self.wake();
        }
    }

    /// Whether no request is read any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Whether bytes of the client lie in the socket: a request that came before the close (B203).
    pub(crate) fn has_input(&self) -> bool {
        recv(self.stream.as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
            .is_ok_and(|bytes| bytes > 0)
    }

    /// Whether the answer must say that the connection closes.
    pub(crate) fn is_last(&self) -> bool {
        self.last.get()
    }

    /// Gives up requests that have arrived and whose answers have not begun (B207).
    pub(crate) fn kill_waiting(&self) {
        if let Some(streams) = self.streams.get() {
            streams.kill_waiting();
        } else if matches!(self.phase.get(), Phase::Head | Phase::Answering) && !self.answered.get() {
            self.kill();
        }
    }

    /// Ends the connection at once, whatever it is doing.
    pub(crate) fn kill(&self) {
        self.killed.set(true);
        self.wake();
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.get()
    }

    /// The client must not take what it has for complete: closing sends RST instead of FIN (B100).
    pub(crate) fn reset_on_close(&self) {
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Waits until the client is gone: a reset, or the end of its sending side on a persistent connection, which is how
    /// browsers and libraries leave. A request that asked for `close` is answered even so (B75).
    ///
    /// Seen even while bytes of a body lie unread before the FIN: the poller reports the closed side by itself (B247).
    pub(crate) async fn gone(&self) {
        let interest = if self.persistent.get() { Interest::PRIORITY } else { Interest::ERROR };
        let _ = self.stream.ready(interest).await;
    }

    /// Looks at the time limits; called by the worker every [`SWEEP`](crate::limits::SWEEP).
    pub(crate) fn sweep(&self, now: Instant, patience: &Patience) {
        if self.writing.get() {
            if tick(&self.output, patience) {
                tracing::debug!(client = %self.peer, "client does not read, connection ended");
                self.reset_on_close();
                self.kill();
                return;
            }
            self.retry.set(true);
            self.wake();
            if self.phase.get() == Phase::Idle {
                // The last byte of the answer has not left yet (B133).
                self.since.set(now);
            }
        }
        if let Some(streams) = self.streams.get() {
            match streams.sweep(now, patience) {
                Due::Nothing => {}
                Due::Wake => self.wake(),
                Due::Kill => {
                    tracing::debug!(client = %self.peer, "HTTP/2 connection ended: its time is over");
                    self.kill();
                }
            }
            return;
        }
        let age = now.saturating_duration_since(self.since.get());
        match self.phase.get() {
            Phase::Fresh if age >= patience.head || self.stopping.get() && age >= FRESH_GRACE => self.close(),
            Phase::Idle if age >= patience.keep_alive => self.close(),
            Phase::Head if age >= patience.head && !self.is_refused() => self.time_out(Problem::HeadTimeout),
            Phase::Answering if self.awaiting_body.get() && !self.answered.get() && tick(&self.input, patience) => {
                self.time_out(Problem::BodyTimeout)
            }
            _ => {}
        }
    }

    fn time_out(&self, problem: Problem) {
        self.refuse(problem);
        self.wake();
    }
}
