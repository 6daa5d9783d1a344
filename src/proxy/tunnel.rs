//! Tunnels: bytes both ways after a 101, until both sides have ended.
//!
//! A tunnel belongs to no rule: no change of a route touches it (B115). It keeps no buffer while it is idle, only what one
//! side has sent and the other has not taken yet (B117).

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, sleep_until},
};

use crate::limits::{
    HALF_CLOSED_WAIT, TCP_KEEPALIVE_IDLE, TCP_KEEPALIVE_INTERVAL, TCP_KEEPALIVE_PROBES, TCP_USER_TIMEOUT,
    TUNNEL_BUFFER_BYTES,
};

thread_local! {
    /// One read is in flight per worker at a time, so all tunnels share its space.
    static SPACE: RefCell<Box<[u8]>> = RefCell::new(vec![0; TUNNEL_BUFFER_BYTES].into_boxed_slice());
}

/// Copies between two streams until both ways have ended, one fails, or one has ended and the other is silent for
/// [`HALF_CLOSED_WAIT`] (B112, B113). `*_first` was read before and is delivered first (B108).
pub(crate) async fn run<A, B>(a: &mut A, a_first: Bytes, b: &mut B, b_first: Bytes) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let mut there = Way::new(a_first);
    let mut back = Way::new(b_first);
    let mut silence = pin!(sleep_until(Instant::now() + HALF_CLOSED_WAIT));
    let mut half_closed = false;
    poll_fn(|cx| {
        let first = there.poll(cx, a, b)?;
        let second = back.poll(cx, b, a)?;
        if first.is_ready() && second.is_ready() {
            return Poll::Ready(Ok(()));
        }
        if first.is_pending() && second.is_pending() {
            return Poll::Pending;
        }
        if !half_closed || there.has_moved() | back.has_moved() {
            half_closed = true;
            silence.as_mut().reset(Instant::now() + HALF_CLOSED_WAIT);
        }
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    })
    .await
}

/// Lets the kernel find out that the peer of a long silence is dead (B114).
pub(crate) fn watch_for_dead_peer(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(TCP_KEEPALIVE_IDLE)
        .with_interval(TCP_KEEPALIVE_INTERVAL)
        .with_retries(TCP_KEEPALIVE_PROBES);
    // Where a kernel lacks one of them, the tunnel works all the same.
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(TCP_USER_TIMEOUT));
}

/// One direction.
#[derive(Debug)]
struct Way {
    /// Read from one side and not yet taken by the other.
    waiting: Bytes,
    state: WayState,
    moved: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WayState {
    Open,
    /// Bytes were written that the stream may still keep to itself.
    Unflushed,
    /// The reading side has ended; the writing side is to be told.
    Ending,
    Ended,
}

impl Way {
    fn new(first: Bytes) -> Self {
        Self { waiting: first, state: WayState::Open, moved: false }
    }

    /// Whether bytes have moved since the last call.
    fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if !self.waiting.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.waiting))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.waiting = self.waiting.split_off(written);
                self.moved = true;
                self.state = WayState::Unflushed;
                continue;
            }
            match self.state {
                WayState::Open => ready!(self.poll_read(cx, from, to))?,
                WayState::Unflushed => {
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    self.state = WayState::Open;
                }
                WayState::Ending => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = WayState::Ended;
                }
                WayState::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_read<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        SPACE.with_borrow_mut(|space| {
            let mut buf = ReadBuf::new(space);
            ready!(Pin::new(from).poll_read(cx, &mut buf))?;
            let bytes = buf.filled();
            if bytes.is_empty() {
                self.state = WayState::Ending;
                return Poll::Ready(Ok(()));
            }
            self.state = WayState::Unflushed;
            let written = match Pin::new(to).poll_write(cx, bytes)? {
                Poll::Ready(written) => written,
                Poll::Pending => 0,
            };
            self.moved |= written > 0;
            if let Some(rest) = bytes.get(written..)
                && !rest.is_empty()
            {
                self.waiting = Bytes::copy_from_slice(rest);
            }
            Poll::Ready(Ok(()))
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn first_bytes_come_first_in_both_directions() {
        let (mut client, mut a) = duplex(64);
        let (mut backend, mut b) = duplex(64);
        let tunnel = run(&mut a, Bytes::from_static(b"early"), &mut b, Bytes::from_static(b"hello"));
        let talk = async {
            client.write_all(b" bird").await.unwrap();
            client.shutdown().await.unwrap();
            let mut got = String::new();
            backend.read_to_string(&mut got).await.unwrap();
            assert_eq!(got, "early bird");
            backend.write_all(b" there").await.unwrap();
            backend.shutdown().await.unwrap();
            let mut got = String::new();
            client.read_to_string(&mut got).await.unwrap();
            assert_eq!(got, "hello there", "B112: the way back goes on after the end of the way there");
        };
        let (result, ()) = tokio::join!(tunnel, talk);
        result.unwrap();
    }

    /// B113: at the limit; progress begins it anew.
    #[tokio::test(start_paused = true)]
    async fn a_half_closed_tunnel_ends_after_a_silence() {
        let (mut client, mut a) = duplex(64);
        let (mut backend, mut b) = duplex(64);
        let start = Instant::now();
        let tunnel = run(&mut a, Bytes::new(), &mut b, Bytes::new());
        let talk = async {
            client.shutdown().await.unwrap();
            tokio::time::sleep(HALF_CLOSED_WAIT / 2).await;
            backend.write_all(b"still here").await.unwrap();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            result = tunnel => assert_eq!(result.unwrap_err().kind(), io::ErrorKind::TimedOut),
            () = talk => unreachable!(),
        }
        let lasted = start.elapsed();
        assert!(lasted >= HALF_CLOSED_WAIT * 3 / 2 && lasted < HALF_CLOSED_WAIT * 2, "{lasted:?}");
    }

    /// B114, B145: nothing ends a tunnel that is open both ways.
    #[tokio::test(start_paused = true)]
    async fn an_open_tunnel_may_be_silent_for_a_day() {
        let (_client, mut a) = duplex(64);
        let (_backend, mut b) = duplex(64);
        tokio::select! {
            _ = run(&mut a, Bytes::new(), &mut b, Bytes::new()) => panic!("the tunnel ended"),
            () = tokio::time::sleep(std::time::Duration::from_secs(86_400)) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_a_buffer_passes_under_back_pressure() {
        let (mut client, mut a) = duplex(1000);
        let (mut backend, mut b) = duplex(300);
        let sent: Vec<u8> = (0..200_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let tunnel = run(&mut a, Bytes::new(), &mut b, Bytes::new());
        let write = async {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let read = async {
            let mut got = Vec::new();
            backend.read_to_end(&mut got).await.unwrap();
            backend.shutdown().await.unwrap();
            got
        };
        let (result, (), got) = tokio::join!(tunnel, write, read);
        result.unwrap();
        assert_eq!(got, sent);
    }
}
