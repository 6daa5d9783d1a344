//! A request's turn at its client: on HTTP/1.1 the connection has one at a time, on HTTP/2 each is a stream of its own.
//!
//! What the way of a request needs of the client's side, whichever it is.

use std::{rc::Rc, time::Instant};

use super::{connection::Conn, head::Head, http2::Stream, pages::Problem};

/// Who waits for the answer.
#[derive(Debug, Clone)]
pub(super) enum Turn {
    /// The present request of a connection.
    Connection(Rc<Conn>),
    /// A stream among others.
    Stream(Rc<Stream>),
}

impl Turn {
    /// What was found in the head, once.
    pub(super) fn take_head(&self) -> Option<Head> {
        match self {
            Self::Connection(conn) => conn.take_head(),
            Self::Stream(stream) => stream.take_head(),
        }
    }

    /// Whether there is a head; there is none when it was refused.
    pub(super) fn has_head(&self) -> bool {
        match self {
            Self::Connection(conn) => conn.has_head(),
            Self::Stream(stream) => stream.has_head(),
        }
    }

    /// Why the request is refused, once.
    pub(super) fn take_refusal(&self) -> Option<Problem> {
        match self {
            Self::Connection(conn) => conn.take_refusal(),
            Self::Stream(stream) => stream.take_refusal(),
        }
    }

    /// The stream, where the request has one of its own.
    pub(super) fn stream(&self) -> Option<Rc<Stream>> {
        match self {
            Self::Connection(_) => None,
            Self::Stream(stream) => Some(stream.clone()),
        }
    }

    /// The head of the answer is on its way.
    pub(super) fn answer_begins(&self) {
        match self {
            Self::Connection(conn) => conn.answer_begins(),
            Self::Stream(stream) => stream.answer_begins(),
        }
    }

    /// The answer is complete, or given up. A stream's end is its task's.
    pub(super) fn answer_ends(&self) {
        if let Self::Connection(conn) = self {
            conn.answer_ends(Instant::now());
        }
    }

    /// Whether the answer must say that the connection closes: it is the last one, or what is left of the upload would be read as
    /// a request (B96, B161, P19). On HTTP/2 such a stream is reset after its end, and GOAWAY says the rest.
    pub(super) fn must_say_close(&self, is_upload_complete: bool) -> bool {
        matches!(self, Self::Connection(conn) if conn.is_last() || !is_upload_complete)
    }

    /// The client must not take what it has for complete, where the end of the connection is the end of the body (B100).
    pub(super) fn reset_on_close(&self) {
        if let Self::Connection(conn) = self {
            conn.reset_on_close();
        }
    }
}
