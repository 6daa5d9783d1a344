//! The end of a connection whose client may still be sending, and of one that was in order.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::stream::ClientStream;
use crate::limits::{LINGER_BYTES_MAX, TUNNEL_BUFFER_BYTES};

/// Closing with unread input makes the kernel send RST, which can destroy the answer on its way: end writing, throw away
/// what still comes for a moment, then close (B98, RFC 9112, 9.6).
pub(super) async fn linger(mut stream: ClientStream, time: Duration) {
    let discard = async {
        if stream.shutdown().await.is_err() {
            return;
        }
        let mut space = vec![0; TUNNEL_BUFFER_BYTES];
        let mut discarded = 0;
        while discarded < LINGER_BYTES_MAX {
            match stream.read(&mut space).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => discarded += bytes,
            }
        }
    };
    let _ = timeout(time, discard).await;
}

/// The end of a connection on which everything was said: behind TLS a close_notify tells that nothing was cut off (RFC 8446, 6.1).
/// In clear the kernel's FIN does.
pub(super) async fn finish(stream: ClientStream, time: Duration) {
    if let ClientStream::Secure(mut stream) = stream {
        let _ = timeout(time, stream.shutdown()).await;
    }
}
