//! The way in by HTTPS: from the first byte to a connection on which HTTP may be spoken, or to its end.
//!
//! What a handshake is and who gets a certificate is `tls`'s; here it is put on a client's connection, whose socket, leaving and
//! limits are the same as for plain HTTP. Whatever a stranger causes is a counter and a debug line (B219).

use std::{future::poll_fn, rc::Rc, time::Instant};

use tokio::{io::AsyncWriteExt, time::timeout_at};

use super::{
    Proxy,
    connection::{Conn, ConnStream},
    lingering::linger,
    pages::{self, Problem},
    refusal::Refusal,
    stream::ClientStream,
};
use crate::{
    limits::HEAD_READ_BYTES,
    tls::{Ending, Front, TlsStream},
};

/// The first byte of a record with a handshake message (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

impl Proxy {
    /// Does the handshake. `None`: the connection is to end, and all that is to be said has been said.
    pub(super) async fn secure(&self, front: &Front, conn: &Rc<Conn>) -> Option<Box<TlsStream<ConnStream>>> {
        let deadline = front.deadline();
        let io = ConnStream(conn.clone());
        let mut space = vec![0; HEAD_READ_BYTES];
        let first = timeout_at(
            deadline,
            poll_fn(|cx| conn.poll_first_bytes(cx, &mut space).map(|bytes| bytes.map(<[u8]>::len))),
        );
        let Ok(Some(bytes)) = first.await else {
            front.note_failure();
            return None;
        };
        space.truncate(bytes);
        if space.first() != Some(&HANDSHAKE_RECORD) {
            front.note_failure();
            tracing::debug!(client = %conn.peer(), "clear text on the port of HTTPS");
            return self.answer_in_clear(io, &space).await;
        }
        drop(space);
        conn.handshake_begins(Instant::now());
        match front.accept(io, deadline, conn.gone()).await {
            Ok(secured) => {
                conn.handshake_ends(secured.domain, Instant::now());
                Some(secured.stream)
            }
            Err(ending) => {
                tracing::debug!(client = %conn.peer(), "handshake ended: {ending}");
                match ending {
                    Ending::Refused(io, _) | Ending::Challenged(io) => {
                        linger(ClientStream::Plain(io), self.patience.linger).await;
                    }
                    Ending::Failed(_) => {}
                }
                None
            }
        }
    }

    /// B63: who speaks HTTP to this port is told so, in the form that it asks for.
    async fn answer_in_clear<T>(&self, mut io: ConnStream, first: &[u8]) -> Option<T> {
        let mut response =
            pages::answer(&Problem::Refused(Refusal::ClearTextOnTlsPort), pages::sniff_accept(first).as_ref());
        response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
        let bytes = pages::to_wire(&response, pages::is_head_request(first));
        // A page fits into the socket's empty buffer; who does not read it has left.
        if io.write_all(&bytes).await.is_ok() {
            linger(ClientStream::Plain(io), self.patience.linger).await;
        }
        None
    }
}
