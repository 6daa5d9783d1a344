//! HTTP/2 on the connections whose handshake has agreed on it (RFC 9113); never by prior knowledge, never by an upgrade (B62).
//!
//! hyper's server speaks it. Around it stand a `guard` that sees every frame's head, `streams` with what each request of the
//! connection is doing, and `tasks`, one for each. A request is judged (`head`) and goes the same way as every other:
//! the exchange. WebSockets over HTTP/2 (RFC 8441) are not offered, so clients take HTTP/1.1 for them (B118).
//!
//! Never here: a header rule, a page's words, a timer.

pub mod frames;

mod download;
mod guard;
mod head;
mod ledger;
mod stream;
mod streams;
mod tasks;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    time::Instant,
};

use http::Request;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioIo;

use self::{download::Download, guard::Guard, tasks::Tasks};
pub(super) use self::{
    stream::Stream,
    streams::{Due, Streams},
};
use super::{
    Proxy,
    connection::{Conn, ConnStream},
    exchange::{Exchange, Gone},
    lingering::linger,
    stream::ClientStream,
    turn::Turn,
};
use crate::limits::{
    HTTP2_CONNECTION_WINDOW_BYTES, HTTP2_FAULTS_MAX, HTTP2_FRAME_BYTES_MAX, HTTP2_PENDING_RESETS_MAX,
    HTTP2_SEND_BUFFER_BYTES, HTTP2_STREAM_WINDOW_BYTES, HTTP2_STREAMS_MAX, REQUEST_HEAD_BYTES_MAX,
};

impl Proxy {
    /// Serves a connection that speaks HTTP/2, to its end.
    pub(super) async fn speak_http2(self: Rc<Self>, conn: Rc<Conn>, stream: ClientStream) {
        let now = Instant::now();
        let streams = Rc::new(Streams::new(now));
        conn.multiplex(streams.clone(), now);
        let exchange = Rc::new(Exchange::new(self.clone(), conn.clone()));
        let opening = streams.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let exchange = exchange.clone();
            let (parts, body) = request.into_parts();
            let checked = head::check(&parts, !body.is_end_stream());
            let stream = opening.open(Stream::new(checked));
            // In a box: the server moves this work four times before it begins, and it is some kilobytes.
            Box::pin(async move {
                let stream = stream.ok_or(Gone)?;
                let request = Request::from_parts(parts, body);
                let answer = exchange.answer(Turn::Stream(stream.clone()), request).await?;
                Ok::<_, Gone>(answer.map(|answer| Download::new(answer, stream)))
            })
        });
        let tasks = Tasks { proxy: self.clone(), streams: streams.clone() };
        let io = TokioIo::new(Guard::new(stream, streams.clone()));
        let mut http = server(tasks).serve_connection(io, service);
        let mut is_told = false;
        let mut serving = poll_fn(|cx| {
            if streams.is_ending() && !std::mem::replace(&mut is_told, true) {
                Pin::new(&mut http).graceful_shutdown();
            }
            Pin::new(&mut http).poll(cx)
        });
        let Some(done) = self.drive(&conn, &mut serving).await else { return };
        drop(http);
        if let Err(error) = done {
            tracing::debug!(client = %conn.peer(), %error, "connection ended");
        }
        // The last frames must not be destroyed by what still comes (B98); it need not be understood for that.
        let mut lingering = pin!(linger(ClientStream::Plain(ConnStream(conn.clone())), self.patience.linger));
        self.drive(&conn, &mut lingering).await;
    }
}

/// Everything is set, nothing inherited (B119–B122).
fn server(tasks: Tasks) -> http2::Builder<Tasks> {
    const HEADER_LIST: u32 = {
        assert!(REQUEST_HEAD_BYTES_MAX <= 1 << 20);
        #[expect(clippy::cast_possible_truncation, reason = "just compared")]
        let bytes = REQUEST_HEAD_BYTES_MAX as u32;
        bytes
    };
    let mut server = http2::Builder::new(tasks);
    server
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(HEADER_LIST)
        .max_frame_size(HTTP2_FRAME_BYTES_MAX)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(HTTP2_FAULTS_MAX);
    server
}
