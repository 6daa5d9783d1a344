//! The guard between TLS and the HTTP/2 server: it sees every frame's head, both ways, and ends a flood (B120, B123).
//!
//! It also puts frames of our own between those of the server, which has no words for them: a ping to a client that has been silent
//! for long (any bytes are an answer, B135), and the last GOAWAY of a flood. Never more than one such frame is held.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{frames::Frames, streams::Streams};

/// The guard around a byte stream.
#[derive(Debug)]
pub(super) struct Guard<S> {
    io: S,
    streams: Rc<Streams>,
    coming: Frames,
    going: Frames,
    /// A frame of our own on its way, and how much of it has gone.
    own: Option<([u8; 17], usize)>,
}

impl<S: AsyncWrite + Unpin> Guard<S> {
    pub(super) fn new(io: S, streams: Rc<Streams>) -> Self {
        Self { io, streams, coming: Frames::of_client(), going: Frames::of_server(), own: None }
    }

    /// Sends the frame of our own, if there is one and it may be sent here. Pending: what has begun must end before anything else
    /// is written.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let Some((frame, gone)) = self.own else {
                if !self.going.is_between() {
                    return Poll::Ready(Ok(()));
                }
                let Some(frame) = self.streams.take_own_frame() else { return Poll::Ready(Ok(())) };
                self.own = Some((frame, 0));
                continue;
            };
            let rest = frame.get(gone..).unwrap_or_default();
            if rest.is_empty() {
                self.own = None;
                // Nothing else may follow for long.
                ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                continue;
            }
            let bytes = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.own = Some((frame, gone + bytes));
        }
    }

    fn note(&mut self, bytes: &[u8]) {
        self.streams.note_spoke();
        let streams = &self.streams;
        self.going.follow(bytes, |frame| streams.went(frame));
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Poll::Ready(sent) = this.poll_own(cx) {
            sent?;
        }
        let start = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let fresh = buf.filled().get(start..).unwrap_or_default();
        if !fresh.is_empty() {
            this.streams.note_heard();
        }
        let streams = &this.streams;
        this.coming.follow(fresh, |frame| streams.came(frame));
        if let Some(flood) = this.streams.flood() {
            tracing::debug!(?flood, "an HTTP/2 connection is ended");
            buf.set_filled(start);
            // As far as it goes: who floods may not read either.
            if this.poll_own(cx).is_ready() {
                let _ = Pin::new(&mut this.io).poll_shutdown(cx);
            }
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a flood of frames")));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_own(cx))?;
        if this.streams.own_frame().is_some() {
            // It waits for the end of a frame: no further than there.
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            let bytes = first.get(..this.going.ahead()).unwrap_or(first);
            let gone = ready!(Pin::new(&mut this.io).poll_write(cx, bytes))?;
            this.note(bytes.get(..gone).unwrap_or_default());
            return Poll::Ready(Ok(gone));
        }
        let gone = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs))?;
        let mut left = gone;
        for buf in bufs {
            let bytes = buf.get(..left).unwrap_or(buf);
            left -= bytes.len();
            this.note(bytes);
        }
        Poll::Ready(Ok(gone))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_own(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    /// Ends writing: close_notify and FIN. What a client still sends is thrown away later, see [`super::lingering`].
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
