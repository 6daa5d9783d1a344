//! Bodies on their way: an upload to the backend, a download to the client, a page of our own.
//!
//! Bytes are handed on as they come, one read at a time: nothing is collected here (B54, B102).

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{access::Access, forward, http2::Stream, turn::Turn, upstream::Lease};

/// The request body on its way to the backend.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Option<Incoming>,
    /// Where it comes on a stream of its own, and its client's clock is kept there.
    stream: Option<Rc<Stream>>,
    state: Rc<UploadState>,
}

/// How far an upload is; the exchange keeps one end, the body the other.
#[derive(Debug, Default)]
pub(crate) struct UploadState {
    /// Every byte has been handed to the backend's connection.
    pub(crate) complete: Cell<bool>,
    /// The client has ended it before its end.
    pub(crate) broken: Cell<bool>,
}

impl Upload {
    /// `None` for a request without a body.
    pub(crate) fn new(body: Option<Incoming>, stream: Option<Rc<Stream>>) -> Self {
        let state = UploadState::default();
        state.complete.set(body.is_none());
        Self { body, stream, state: Rc::new(state) }
    }

    pub(crate) fn state(&self) -> Rc<UploadState> {
        self.state.clone()
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if this.stream.as_ref().is_some_and(|stream| stream.is_refused()) {
            return Poll::Ready(Some(Err(UploadError::Refused)));
        }
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if let Some(stream) = &this.stream {
            match &polled {
                Poll::Pending => stream.await_body(cx),
                Poll::Ready(Some(Ok(frame))) => stream.body_comes(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(_) => stream.body_comes(0),
            }
        }
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                this.state.broken.set(true);
                return Poll::Ready(Some(Err(UploadError::Broken(error))));
            }
            None => {
                this.state.complete.set(true);
                return Poll::Ready(None);
            }
        };
        if frame.is_trailers() || body.is_end_stream() {
            this.state.complete.set(true);
        }
        Poll::Ready(Some(Ok(filter(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Why the backend does not get the rest of an upload.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The client has ended it before its end, or the framing is wrong.
    Broken(hyper::Error),
    /// It was refused meanwhile; the stream knows why.
    Refused,
}

impl fmt::Display for UploadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => fmt::Display::fmt(error, f),
            Self::Refused => f.write_str("the request body was refused"),
        }
    }
}

impl std::error::Error for UploadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(error) => error.source(),
            Self::Refused => None,
        }
    }
}

/// Trailers pass, without fields that must not come after a body (B72).
fn filter(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            forward::clean_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}

/// The body of an answer on its way to the client. When it ends, the connection goes back to the pool and the client's
/// connection is free for its next request.
#[derive(Debug)]
pub(crate) struct Answer {
    source: Source,
    turn: Turn,
    access: Option<Box<Access>>,
}

#[derive(Debug)]
enum Source {
    /// A page of our own, or nothing.
    Page(Option<Bytes>),
    /// The backend's body.
    Relay(Relay),
}

#[derive(Debug)]
struct Relay {
    body: Incoming,
    lease: Option<Lease>,
    upload: Rc<UploadState>,
    /// An end by FIN would look like a complete body to this client (B100).
    reset_if_cut: bool,
}

impl Answer {
    /// A page, or an empty body.
    pub(crate) fn page(bytes: Bytes, turn: Turn, access: Option<Box<Access>>) -> Self {
        Self { source: Source::Page((!bytes.is_empty()).then_some(bytes)), turn, access }
    }

    /// The backend's body.
    pub(crate) fn relay(
        body: Incoming,
        lease: Lease,
        upload: Rc<UploadState>,
        reset_if_cut: bool,
        turn: Turn,
        access: Option<Box<Access>>,
    ) -> Self {
        let mut relay = Relay { body, lease: Some(lease), upload, reset_if_cut };
        if relay.body.is_end_stream() {
            relay.finish();
        }
        Self { source: Source::Relay(relay), turn, access }
    }
}

impl Relay {
    fn finish(&mut self) {
        if let Some(lease) = self.lease.take()
            && self.upload.complete.get()
        {
            lease.give_back();
        }
    }

    /// The body ends before its end, whoever is to blame: the backend, the client, or we ourselves.
    fn cut(&mut self, turn: &Turn) {
        if self.lease.take().is_some() && self.reset_if_cut {
            turn.reset_on_close();
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let relay = match &mut this.source {
            Source::Page(page) => {
                let page = page.take();
                if let (Some(access), Some(page)) = (&mut this.access, &page) {
                    access.bytes = page.len() as u64;
                }
                return Poll::Ready(page.map(|page| Ok(Frame::data(page))));
            }
            Source::Relay(relay) => relay,
        };
        match ready!(Pin::new(&mut relay.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let (Some(access), Some(data)) = (&mut this.access, frame.data_ref()) {
                    access.bytes += data.len() as u64;
                }
                // Nothing follows trailers, and the server does not ask.
                if frame.is_trailers() || relay.body.is_end_stream() {
                    relay.finish();
                }
                Poll::Ready(Some(Ok(filter(frame))))
            }
            Some(Err(error)) => {
                relay.cut(&this.turn);
                if let Some(access) = &mut this.access {
                    access.cut = true;
                }
                Poll::Ready(Some(Err(error)))
            }
            None => {
                relay.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Page(bytes) => bytes.is_none(),
            Source::Relay(relay) => relay.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Page(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Relay(relay) => relay.body.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(access) = &mut self.access
            && let Source::Relay(relay) = &self.source
            && relay.lease.is_some()
        {
            access.left = true;
        }
        if let Source::Relay(relay) = &mut self.source {
            relay.cut(&self.turn);
        }
        self.turn.answer_ends();
    }
}
