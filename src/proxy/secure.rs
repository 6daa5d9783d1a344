//! The way in by HTTPS: from the first byte to a connection on which HTTP may be spoken, or to its end.
//!
//! What a handshake is and who gets a certificate is `tls`'s; here it is put on a client's connection, whose socket, leaving and
//! limits are the same as for plain HTTP. Whatever a stranger causes is a counter and a debug line (B219).

use std::{future::poll_fn, rc::Rc, time::Instant};

use tokio::time::timeout_at;

use super::{
    Proxy,
    connection::{Conn, ConnStream},
    lingering::linger,
    stream::ClientStream,
};
use crate::tls::{Ending, Front, TlsStream};

/// The first byte of a record with a handshake message (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

impl Proxy {
    /// Does the handshake. `None`: the connection is to end, and all that is to be said has been said.
    pub(super) async fn secure(&self, front: &Front, conn: &Rc<Conn>) -> Option<Box<TlsStream<ConnStream>>> {
        let deadline = front.deadline();
        let io = ConnStream(conn.clone());
        let first = timeout_at(deadline, poll_fn(|cx| conn.poll_first_byte(cx)));
        let Ok(Some(first)) = first.await else {
            front.note_failure();
            return None;
        };
        if first != HANDSHAKE_RECORD {
            front.note_failure();
            tracing::debug!(client = %conn.peer(), "clear text on the port of HTTPS");
            Box::pin(self.answer_in_clear(io, deadline)).await;
            return None;
        }
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
}
