//! The requests of one HTTP/2 connection, its time limits, and how it ends (B120, B123–B125, B127, B131, B134, B135).
//!
//! Shared by the guard, which sees bytes come and go, the service, which opens a [`Stream`] for each request, and the sweep. Never
//! here: a timer, a byte of a message.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use super::{
    frames::{Frame, Kind, PING, calm_down},
    ledger::{Flood, Ledger},
    stream::Stream,
};
use crate::{
    limits::{HTTP2_IDLE_FRAMES_PER_SECOND, HTTP2_PIECE_BYTES, HTTP2_REQUESTS_MAX},
    proxy::patience::Patience,
};

/// The streams of a connection.
#[derive(Debug)]
pub(crate) struct Streams {
    open: RefCell<HashMap<u64, Rc<Stream>>>,
    next: Cell<u64>,
    /// The one whose task is about to begin.
    newest: RefCell<Option<Place>>,
    ledger: RefCell<Ledger>,
    /// The client's SETTINGS have come (B131).
    ready: Cell<bool>,
    /// When the last stream ended, or something of an answer was last sent; coarse.
    idle_since: Cell<Instant>,
    /// Something of an answer was sent since the last sweep.
    spoke: Cell<bool>,
    /// Bytes have come since the last sweep.
    heard: Cell<bool>,
    heard_at: Cell<Instant>,
    /// Bytes sent since then.
    unanswered: Cell<usize>,
    /// A ping went out and nothing has come since.
    pinged_at: Cell<Option<Instant>>,
    /// A frame of our own that is to go out between two of h2's.
    own: Cell<Option<[u8; 17]>>,
    /// No further stream is taken, since then.
    ending: Cell<Option<Instant>>,
    /// The connection is a flood: nothing of it is read any more.
    flood: Cell<Option<Flood>>,
}

/// What a sweep asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// The connection's task has something to do.
    Wake,
    /// The connection's time is over.
    Kill,
}

impl Streams {
    /// Those of a connection that begins now.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            open: RefCell::default(),
            next: Cell::new(0),
            newest: RefCell::new(None),
            ledger: RefCell::new(Ledger::new()),
            ready: Cell::new(false),
            idle_since: Cell::new(now),
            spoke: Cell::new(false),
            heard: Cell::new(false),
            heard_at: Cell::new(now),
            unanswered: Cell::new(0),
            pinged_at: Cell::new(None),
            own: Cell::new(None),
            ending: Cell::new(None),
            flood: Cell::new(None),
        }
    }

    // ---- the course of a stream ----

    /// A request has arrived; its task begins next. `None`: there are too many (B125).
    pub(super) fn open(self: &Rc<Self>, stream: Stream) -> Option<Rc<Stream>> {
        if self.open.borrow().len() >= HTTP2_REQUESTS_MAX {
            self.condemn(Flood::CancelledStreams);
            return None;
        }
        let stream = Rc::new(stream);
        let key = self.next.get();
        self.next.set(key.wrapping_add(1));
        self.open.borrow_mut().insert(key, stream.clone());
        self.newest.replace(Some(Place { streams: self.clone(), key, stream: stream.clone() }));
        Some(stream)
    }

    /// The place of the request that arrived last, for its task; gone when that is dropped, also by a panic.
    pub(super) fn take_place(&self) -> Option<Place> {
        self.newest.borrow_mut().take()
    }

    /// For how long the connection has had no stream, if it has none and may get one.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.ready.get() && self.ending.get().is_none() && self.open.borrow().is_empty();
        is_idle.then(|| self.idle_since.get())
    }

    // ---- what the guard sees ----

    /// A frame of the client.
    pub(super) fn came(&self, frame: Frame) {
        if frame.kind == Kind::Settings && !frame.is_acknowledgement() {
            self.ready.set(true);
        }
        let judged = self.ledger.borrow_mut().came(frame);
        if let Err(flood) = judged {
            self.condemn(flood);
        }
    }

    /// A frame to the client.
    pub(super) fn went(&self, frame: Frame) {
        if matches!(frame.kind, Kind::Data | Kind::Headers) {
            self.spoke.set(true);
        }
        self.ledger.borrow_mut().went(frame);
    }

    pub(super) fn note_heard(&self) {
        self.heard.set(true);
    }

    pub(super) fn note_sent(&self, bytes: usize) {
        self.unanswered.set(self.unanswered.get().saturating_add(bytes));
    }

    /// A frame of our own that is to go out.
    pub(super) fn own_frame(&self) -> Option<[u8; 17]> {
        self.own.get()
    }

    pub(super) fn take_own_frame(&self) -> Option<[u8; 17]> {
        self.own.take()
    }

    /// Why nothing of the client is read any more.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.flood.get()
    }

    fn condemn(&self, flood: Flood) {
        if self.flood.get().is_none() {
            self.flood.set(Some(flood));
            self.own.set(Some(calm_down(self.ledger.borrow().last_stream())));
        }
    }

    // ---- the end ----

    /// No further stream: the client is told so (GOAWAY), streams that it has opened finish (B127).
    pub(crate) fn end(&self, now: Instant) {
        if self.ending.get().is_none() {
            self.ending.set(Some(now));
        }
    }

    pub(super) fn is_ending(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Gives up the requests that still wait for the head of their answer (B207).
    pub(crate) fn kill_waiting(&self) {
        for stream in self.open.borrow().values().filter(|stream| stream.is_waiting_for_answer()) {
            stream.kill();
        }
    }

    /// Looks at the time limits. `is_blocked`: the socket takes no more for now, which has a limit of its own (B137).
    pub(crate) fn sweep(&self, now: Instant, patience: &Patience, is_blocked: bool) -> Due {
        self.ledger.borrow_mut().earn(frames_in(patience.sweep));
        let open = self.open.borrow();
        open.values().for_each(|stream| stream.sweep(patience));
        if self.heard.take() || is_blocked {
            self.heard_at.set(now);
            self.unanswered.set(0);
            self.pinged_at.set(None);
        }
        if self.spoke.take() || is_blocked || !open.is_empty() {
            self.idle_since.set(now);
        }
        let past = |since: Instant, limit: Duration| now.saturating_duration_since(since) >= limit;
        let idle_since = self.idle_since.get();
        if !self.ready.get() {
            return if past(idle_since, patience.http2_preface) { Due::Kill } else { Due::Nothing };
        }
        match self.ending.get() {
            // What still has a stream is looked after as before: its client may vanish now as well.
            Some(since) if open.is_empty() => {
                let is_over = past(since.max(idle_since), patience.http2_goaway);
                return if is_over { Due::Kill } else { Due::Nothing };
            }
            None if open.is_empty() && past(idle_since, patience.http2_keep_alive) => {
                self.end(now);
                return Due::Wake;
            }
            _ => {}
        }
        // Behind much of an answer a ping arrives late: a slow client gets the time of one that does not read (B137).
        let is_behind = self.unanswered.get() > HTTP2_PIECE_BYTES;
        let wait = if is_behind { patience.window.max(patience.http2_ping_wait) } else { patience.http2_ping_wait };
        match self.pinged_at.get() {
            Some(at) if past(at, wait) => Due::Kill,
            None if past(self.heard_at.get(), patience.http2_ping_after) => {
                self.pinged_at.set(Some(now));
                self.own.set(Some(PING));
                Due::Wake
            }
            _ => Due::Nothing,
        }
    }
}

/// How many frames that bring nothing are allowed for this much time.
fn frames_in(time: Duration) -> u32 {
    let millis = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    HTTP2_IDLE_FRAMES_PER_SECOND.saturating_mul(millis) / 1000
}

/// A request's place among those of its connection.
#[derive(Debug)]
pub(super) struct Place {
    streams: Rc<Streams>,
    key: u64,
    pub(super) stream: Rc<Stream>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.open.borrow_mut().remove(&self.key);
    }
}
