//! The guard between the client's socket and the HTTP/1.1 server: strict about framing before anything else sees a byte.
//!
//! It holds a request head back until it is complete, checks it with [`head::check_knowing`], follows the body to its end, and
//! releases the next head only when the present answer is complete (B53). A refused head is replaced by a small request that
//! the exchange answers with the reason, so that answers stay in order. Nothing a stricter parser refuses is ever given to
//! a milder one (P33), and never more than one head plus one read is held (B54, B153).

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderValue;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    chunks::Chunks,
    connection::Conn,
    head::{self, Framing, Head, LastHost},
    pages::{self, Problem},
    refusal::Refusal,
};
use crate::limits::{HEAD_READ_BYTES, RELAY_BYTES_MAX};

/// The guard around a byte stream.
#[derive(Debug)]
pub(crate) struct Guard<S> {
    io: S,
    conn: Rc<Conn>,
    state: State,
    /// Bytes that were read and not yet handed over.
    carry: Vec<u8>,
    /// How many of them may be handed over.
    cleared: usize,
    /// How many of the others have been searched for the end of a head.
    searched: usize,
    last_host: LastHost,
}

#[derive(Debug)]
enum State {
    /// Before or within a head.
    Head,
    /// So many bytes of the body are left.
    Length(u64),
    /// Within a chunked body.
    Chunked(Box<Chunks>),
    /// A request was refused: nothing more is read; the answer ends the connection.
    Refused,
    /// The end: of the client's bytes, or of our patience.
    Closed,
}

impl<S: AsyncRead + Unpin> Guard<S> {
    pub(crate) fn new(io: S, conn: Rc<Conn>) -> Self {
        Self {
            io,
            conn,
            state: State::Head,
            carry: Vec::new(),
            cleared: 0,
            searched: 0,
            last_host: LastHost::default(),
        }
    }

    /// The stream, and what was read from it and not handed over: a tunnel's first bytes (B108).
    pub(crate) fn into_parts(self) -> (S, Bytes) {
        (self.io, self.carry.into())
    }

    /// Whether bytes of the client may be on their way that nobody will read: then closing must linger (B98).
    pub(crate) fn may_have_unread_input(&self) -> bool {
        !self.carry.is_empty() || !matches!(self.state, State::Head | State::Closed)
    }

    fn poll_head(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.conn.is_refused() {
                self.stand_in();
                return Poll::Ready(Ok(()));
            }
            if self.carry.is_empty() && self.conn.is_closing() && !self.conn.has_input() {
                self.state = State::Closed;
                return Poll::Ready(Ok(()));
            }
            if self.searched < self.carry.len() {
                let carry = std::mem::take(&mut self.carry);
                let cleared = self.examine(&carry);
                self.carry = carry;
                if let Some(bytes) = cleared {
                    self.cleared = bytes;
                    return Poll::Ready(Ok(()));
                }
                self.searched = self.carry.len();
                continue;
            }
            let start = buf.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            if buf.filled().len() == start {
                self.state = State::Closed;
                return Poll::Ready(Ok(()));
            }
            let fresh = buf.filled().get(start..).unwrap_or_default();
            if self.carry.is_empty()
                && let Some(bytes) = self.examine(fresh)
            {
                self.carry.extend_from_slice(fresh.get(bytes..).unwrap_or_default());
                buf.set_filled(start + bytes);
                return Poll::Ready(Ok(()));
            }
            // What was just found incomplete need not be searched again.
            self.searched = if self.carry.is_empty() { fresh.len() } else { self.searched };
            self.carry.extend_from_slice(fresh);
            buf.set_filled(start);
        }
    }

    /// Looks for a complete head at the start of `bytes`. `Some`: so many bytes may be handed over (none, if refused).
    fn examine(&mut self, bytes: &[u8]) -> Option<usize> {
        let checked = match head::find_end(bytes, self.searched) {
            Some(end) => head::check_knowing(bytes.get(..end).unwrap_or_default(), &mut self.last_host)
                .map(|head| Some((end, head))),
            None => head::check_partial(bytes, self.searched).map(|()| None),
        };
        match checked {
            Ok(Some((end, head))) => {
                self.searched = 0;
                self.begin(head);
                Some(end + self.follow(bytes.get(end..).unwrap_or_default()))
            }
            Ok(None) => {
                self.conn.head_begins(Instant::now());
                None
            }
            Err(refusal) => {
                self.conn.refuse(Problem::Refused(refusal));
                Some(0)
            }
        }
    }

    fn begin(&mut self, head: Head) {
        self.conn.read_up_to(if head.framing == Framing::None { HEAD_READ_BYTES } else { RELAY_BYTES_MAX });
        self.state = match head.framing {
            Framing::None | Framing::Length(0) => State::Head,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Box::default()),
        };
        self.conn.request_begins(head, Instant::now());
        self.conn.leave_unread(!matches!(self.state, State::Head));
    }

    /// How many of `bytes` belong to the present body. A violation is noted and nothing more is handed over (B47).
    fn follow(&mut self, bytes: &[u8]) -> usize {
        match &mut self.state {
            State::Length(left) => {
                let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= here as u64;
                if *left == 0 {
                    self.state = State::Head;
                }
                here
            }
            State::Chunked(chunks) => match chunks.advance(bytes) {
                Ok(advance) => {
                    if advance.complete {
                        self.state = State::Head;
                    }
                    advance.used
                }
                Err(refusal) => {
                    self.conn.refuse(Problem::Refused(refusal));
                    self.state = State::Refused;
                    0
                }
            },
            State::Head | State::Refused | State::Closed => 0,
        }
    }

    fn poll_body(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.conn.is_refused() {
            return Poll::Ready(Err(broken_body()));
        }
        if !self.carry.is_empty() {
            let carry = std::mem::take(&mut self.carry);
            self.cleared = self.follow(&carry);
            self.carry = carry;
            return if self.conn.is_refused() { Poll::Ready(Err(broken_body())) } else { Poll::Ready(Ok(())) };
        }
        let start = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        self.conn.await_body(polled.is_pending());
        ready!(polled)?;
        let fresh = buf.filled().get(start..).unwrap_or_default();
        if fresh.is_empty() {
            // Else the request that comes to nothing would look like the backend's doing.
            self.conn.refuse(Problem::Refused(Refusal::BodyCut));
            self.state = State::Closed;
            return Poll::Ready(Ok(()));
        }
        let here = self.follow(fresh);
        if self.conn.is_refused() {
            buf.set_filled(start);
            return Poll::Ready(Err(broken_body()));
        }
        self.carry.extend_from_slice(fresh.get(here..).unwrap_or_default());
        buf.set_filled(start + here);
        Poll::Ready(Ok(()))
    }

    /// While an answer is pending or on its way out: the client may leave (B75) or send its next request, which waits here, bounded.
    fn poll_watch(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.conn.leave_unread(false);
        while self.carry.len() < RELAY_BYTES_MAX {
            let start = buf.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
            let fresh = buf.filled().get(start..).unwrap_or_default();
            if fresh.is_empty() {
                if self.conn.is_persistent() {
                    return Poll::Ready(Ok(()));
                }
                // A script's `Connection: close` request is answered although its sending side has ended.
                break;
            }
            self.carry.extend_from_slice(fresh);
            buf.set_filled(start);
        }
        self.conn.leave_unread(true);
        Poll::Pending
    }

    /// Replaces a refused head by a request that the exchange knows by the refusal noted on the connection. Of the original
    /// only what the page's form depends on is kept.
    fn stand_in(&mut self) {
        let method: &[u8] = if pages::is_head_request(&self.carry) { b"HEAD" } else { b"GET" };
        let accept = pages::sniff(&self.carry, b"accept");
        let accept = accept.as_ref().map_or(&b"*/*"[..], HeaderValue::as_bytes);
        let rest = b"\r\nconnection: close\r\n\r\n";
        self.carry = [method, b" / HTTP/1.1\r\nhost: refused.invalid\r\naccept: ", accept, rest].concat();
        self.cleared = self.carry.len();
        self.state = State::Refused;
        self.conn.refused_begins(Instant::now());
    }

    fn hand_over(&mut self, buf: &mut ReadBuf<'_>) {
        let bytes = self.cleared.min(buf.remaining());
        buf.put_slice(self.carry.get(..bytes).unwrap_or_default());
        self.carry.drain(..bytes);
        self.cleared -= bytes;
        if self.carry.is_empty() {
            // Nothing of a head's size stays with an idle connection.
            self.carry = Vec::new();
        }
    }
}

fn broken_body() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the request body was refused")
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let start = buf.filled().len();
        loop {
            if this.cleared > 0 {
                this.hand_over(buf);
                return Poll::Ready(Ok(()));
            }
            match this.state {
                State::Head if this.conn.owes_answer() => return this.poll_watch(cx, buf),
                State::Head => ready!(this.poll_head(cx, buf))?,
                State::Length(_) | State::Chunked(_) => {
                    ready!(this.poll_body(cx, buf))?;
                }
                State::Refused => return Poll::Pending,
                State::Closed => return Poll::Ready(Ok(())),
            }
            if buf.filled().len() > start {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Nothing yet: how the connection ends is decided when the server has let go of it (B98).
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
