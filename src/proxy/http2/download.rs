//! An answer's body on its way to an HTTP/2 client: in pieces, so that a window that stays shut is seen (B124).

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::stream::Stream;
use crate::{limits::HTTP2_PIECE_BYTES, proxy::body::Answer};

/// The body. The server asks for a frame when the client has made room for the one before.
#[derive(Debug)]
pub(crate) struct Download {
    answer: Answer,
    stream: Rc<Stream>,
    /// Bytes of the last piece.
    piece: usize,
    /// What has come from the backend and was not handed on yet: less than one read.
    rest: Bytes,
}

impl Download {
    pub(super) fn new(answer: Answer, stream: Rc<Stream>) -> Self {
        Self { answer, stream, piece: 0, rest: Bytes::new() }
    }

    fn piece(&mut self, mut data: Bytes) -> Frame<Bytes> {
        let piece = data.split_to(data.len().min(HTTP2_PIECE_BYTES));
        self.rest = data;
        self.piece = piece.len();
        if !piece.is_empty() {
            self.stream.piece_goes();
        }
        Frame::data(piece)
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        this.stream.piece_is_taken(this.piece);
        if !this.rest.is_empty() {
            let rest = std::mem::take(&mut this.rest);
            return Poll::Ready(Some(Ok(this.piece(rest))));
        }
        let frame = match ready!(Pin::new(&mut this.answer).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => this.piece(data),
            Err(frame) => frame,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.answer.is_end_stream()
    }

    /// What is left of it is not needed, and at the start it is the answer's.
    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.answer.size_hint() } else { SizeHint::default() }
    }
}
