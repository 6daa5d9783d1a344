//! The sockets of the control server, and the wait for a datagram in any of them.

use std::{
    future::poll_fn,
    io,
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    task::Poll,
};

use tokio::io::Interest;

use super::{
    server::ServerError,
    socket::{self, Received, Receiver},
};

/// The sockets, as the loop waits for them.
pub(super) struct Inbox {
    sockets: Vec<tokio::net::UdpSocket>,
    /// Their ports: a sender with one of them is one of us.
    pub(super) ports: Vec<u16>,
    /// Their addresses, for `status`.
    pub(super) addresses: String,
    pub(super) loopback_interface: u32,
}

impl Inbox {
    pub(super) fn open(sockets: &[UdpSocket]) -> Result<Self, ServerError> {
        let watch = |socket: &UdpSocket| {
            let socket = socket.try_clone()?;
            socket.set_nonblocking(true)?;
            tokio::net::UdpSocket::from_std(socket)
        };
        let sockets = sockets.iter().map(watch).collect::<io::Result<Vec<_>>>().map_err(ServerError::Socket)?;
        let addresses = sockets.iter().map(tokio::net::UdpSocket::local_addr).collect::<io::Result<Vec<_>>>();
        let addresses = addresses.map_err(ServerError::Socket)?;
        Ok(Self {
            sockets,
            ports: addresses.iter().map(SocketAddr::port).collect(),
            addresses: addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            loopback_interface: socket::loopback_interface().map_err(ServerError::Loopback)?,
        })
    }

    pub(super) fn socket(&self, index: usize) -> BorrowedFd<'_> {
        self.sockets[index].as_fd()
    }

    /// The index of a socket in which something may wait. The search begins at another one each turn, so that a busy socket
    /// starves none.
    pub(super) async fn readable(&self, turn: usize) -> Result<usize, ServerError> {
        let count = self.sockets.len();
        poll_fn(|context| {
            for index in (0..count).map(|offset| (turn + offset) % count) {
                if let Poll::Ready(ready) = self.sockets[index].poll_recv_ready(context) {
                    return Poll::Ready(ready.map(|()| index).map_err(ServerError::Socket));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Takes one datagram, without waiting; `None` if there is none, and then the next look at the socket waits for one.
    pub(super) fn receive<'r>(
        &self,
        index: usize,
        receiver: &'r mut Receiver,
    ) -> Result<Option<Received<'r>>, ServerError> {
        let socket = &self.sockets[index];
        match socket.try_io(Interest::READABLE, || receiver.receive(socket.as_fd())) {
            Ok(received) => Ok(Some(received)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(ServerError::Socket(error)),
        }
    }
}
