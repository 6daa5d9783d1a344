//! Reading and writing on the socket of a [`Conn`], which counts what moves while hotcore waits for the client. Behind TLS these
//! are the bytes on the wire, so the limits hold there as well.

use std::{
    io,
    os::fd::AsRawFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use nix::sys::socket::{MsgFlags, recv};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use super::Conn;
use crate::proxy::progress::count;

/// Reading and writing on a shared [`Conn`].
#[derive(Debug, Clone)]
pub(crate) struct ConnStream(pub(crate) Rc<Conn>);

impl AsyncRead for ConnStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let conn = &*self.0;
        loop {
            ready!(conn.stream.poll_read_ready(cx))?;
            let most = buf.remaining().min(conn.read_max.get());
            let space = buf.initialize_unfilled_to(most);
            let mut short = None;
            let result = conn.stream.try_io(Interest::READABLE, || {
                let bytes = recv_nonblocking(&conn.stream, space)?;
                if bytes > 0 && bytes < space.len() {
                    // The socket is empty now. Saying so here saves the next call that could only learn the same.
                    short = Some(bytes);
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                Ok(bytes)
            });
            let bytes = match (short, result) {
                (Some(bytes), _) | (None, Ok(bytes)) => bytes,
                (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => continue,
                (None, Err(error)) => return Poll::Ready(Err(error)),
            };
            buf.advance(bytes);
            if conn.awaiting_body.get() {
                count(&conn.input, bytes);
            }
            return Poll::Ready(Ok(()));
        }
    }
}

fn recv_nonblocking(stream: &TcpStream, space: &mut [u8]) -> io::Result<usize> {
    recv(stream.as_raw_fd(), space, MsgFlags::empty()).map_err(io::Error::from)
}

impl ConnStream {
    fn poll_send(&self, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let conn = &*self.0;
        loop {
            let has_waited = conn.writing.get();
            let polled = conn.stream.poll_write_ready(cx);
            conn.writing.set(polled.is_pending());
            let sent = match polled {
                Poll::Ready(ready) => {
                    ready?;
                    match bufs {
                        [buf] => conn.stream.try_write(buf),
                        _ => conn.stream.try_write_vectored(bufs),
                    }
                }
                // The kernel asks for bytes only when a third of its buffer is free, which a slow client may need minutes for.
                // Offered some at every sweep, it shows whether the client takes any (B137).
                Poll::Pending if conn.retry.take() => match SockRef::from(&conn.stream).send_vectored(bufs) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                    sent => sent,
                },
                Poll::Pending => return Poll::Pending,
            };
            match sent {
                Ok(bytes) => {
                    conn.writing.set(false);
                    if has_waited {
                        count(&conn.output, bytes);
                        if !conn.is_answering() {
                            // The guard may hold the next head, or the end, back until now.
                            conn.wake();
                        }
                    }
                    return Poll::Ready(Ok(bytes));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for ConnStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(&self.0.stream).shutdown(std::net::Shutdown::Write) {
            // The peer has left already: there is nothing to shut.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }
}
