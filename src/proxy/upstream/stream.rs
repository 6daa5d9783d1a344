//! A backend's socket, and what was seen on it.

use std::{
    cell::{Cell, RefCell},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take},
    net::TcpStream,
    sync::oneshot,
};

use super::room::Room;
use crate::limits::{RELAY_BYTES_MAX, RESPONSE_HEAD_BYTES_MAX};

/// What a request wants to know about the connection that carried it.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// A byte has arrived since the request was sent.
    pub(super) responded: Cell<bool>,
    /// The connection was reset.
    pub(super) reset: Cell<bool>,
    /// The head of an answer is awaited; so many bytes of it have come, interim answers included.
    head: Cell<Option<usize>>,
    /// The first bytes ever received: they tell a TLS server or a banner from HTTP (B103).
    first: Cell<([u8; 16], usize)>,
    /// Where the stream goes after a 101, if the request asks for one.
    pub(super) tunnel: RefCell<Option<oneshot::Sender<Switched>>>,
}

/// A stream after its 101, and what was read beyond it.
pub(crate) type Switched = (UpstreamStream, Bytes);

impl Observed {
    /// A request goes out: from now on the head of its answer is awaited.
    pub(super) fn await_head(&self) {
        self.responded.set(false);
        self.head.set(Some(0));
    }

    /// The head has come.
    pub(super) fn has_head(&self) {
        self.head.set(None);
    }

    /// Interim answers are dropped one after the other, so only their sum shows a flood (B94).
    pub(super) fn is_flooded(&self) -> bool {
        self.head.get().is_some_and(|bytes| bytes > RESPONSE_HEAD_BYTES_MAX)
    }

    pub(super) fn first_bytes(&self) -> Vec<u8> {
        let (bytes, len) = self.first.get();
        bytes.get(..len).unwrap_or_default().to_vec()
    }

    fn note(&self, fresh: &[u8]) {
        self.responded.set(true);
        self.head.set(self.head.get().map(|bytes| bytes + fresh.len()));
        let (mut bytes, len) = self.first.get();
        if len < bytes.len() {
            let more = fresh.len().min(bytes.len() - len);
            for (to, from) in bytes.iter_mut().skip(len).zip(fresh) {
                *to = *from;
            }
            self.first.set((bytes, len + more));
        }
    }
}

/// The stream itself.
#[derive(Debug)]
pub(crate) struct UpstreamStream {
    /// It takes so much in one read as one direction may hold (B54); the library offers as much space as a head may need.
    stream: Take<TcpStream>,
    _room: Room,
    observed: Rc<Observed>,
    /// The backend no longer takes bytes. Its answer may still be there to read, so what is written vanishes instead of
    /// failing (B97).
    deaf: bool,
}

impl UpstreamStream {
    pub(super) fn new(stream: TcpStream, room: Room, observed: Rc<Observed>) -> Self {
        Self { stream: stream.take(0), _room: room, observed, deaf: false }
    }

    /// The socket.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    fn written(&mut self, result: io::Result<usize>, all: usize) -> io::Result<usize> {
        match result {
            Err(error) if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                self.deaf = true;
                self.observed.reset.set(true);
                Ok(all)
            }
            result => result,
        }
    }
}

impl AsyncRead for UpstreamStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.observed.is_flooded() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "too many interim answers")));
        }
        let start = buf.filled().len();
        self.stream.set_limit(RELAY_BYTES_MAX as u64);
        let result = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
            self.observed.reset.set(true);
        }
        let fresh = buf.filled().get(start..).unwrap_or_default();
        if !fresh.is_empty() {
            self.observed.note(fresh);
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for UpstreamStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = ready!(Pin::new(self.stream.get_mut()).poll_write(cx, bytes));
        Poll::Ready(self.written(result, bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(all));
        }
        let result = ready!(Pin::new(self.stream.get_mut()).poll_write_vectored(cx, bufs));
        Poll::Ready(self.written(result, all))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.stream.get_mut()).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{mem::MaybeUninit, sync::Arc, time::Duration};

    use socket2::SockRef;
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpSocket},
        time::{sleep, timeout},
    };

    use super::*;

    /// B54: whatever space is offered, and however much has come.
    #[tokio::test]
    async fn one_read_takes_no_more_than_one_direction_may_hold() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(1 << 20).unwrap();
        let stream = socket.connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut backend, _) = listener.accept().await.unwrap();
        let sent = vec![b'x'; 2 * RELAY_BYTES_MAX];
        let mut stream = UpstreamStream::new(stream, Room::take(&Arc::default()).unwrap(), Rc::default());
        let reading = async {
            let mut space = vec![MaybeUninit::uninit(); sent.len()];
            while SockRef::from(stream.socket()).peek(&mut space).unwrap_or(0) <= RELAY_BYTES_MAX {
                sleep(Duration::from_millis(1)).await;
            }
            let mut space = vec![0; 2 * sent.len()];
            assert_eq!(stream.read(&mut space).await.unwrap(), RELAY_BYTES_MAX);
            stream.read_exact(&mut space[RELAY_BYTES_MAX..sent.len()]).await.unwrap();
            assert_eq!(space[..sent.len()], sent);
        };
        let both = async { tokio::join!(backend.write_all(&sent), reading) };
        timeout(Duration::from_secs(10), both).await.unwrap().0.unwrap();
    }
}
