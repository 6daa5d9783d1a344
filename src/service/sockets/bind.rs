//! Binding by hand, with the options that the socket units set otherwise.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
};

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::{control, limits};

/// A listening TCP socket. Accepted ones inherit TCP_NODELAY; `[::]` takes IPv4 as well, whatever `bindv6only` says.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Connections of the process before in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    socket.listen(limits::BACKLOG)?;
    Ok(socket.into())
}

/// A socket for commands, and the bytes of its receive buffer.
pub(super) fn control(address: SocketAddr) -> io::Result<(UdpSocket, usize)> {
    let bound = control::socket::bind(address)?;
    Ok((bound.socket, bound.receive_buffer_bytes))
}

/// The same for a socket that somebody else has bound.
pub(super) fn adopt_control(socket: UdpSocket) -> io::Result<(UdpSocket, usize)> {
    let receive_buffer_bytes = control::socket::adopt(&socket)?;
    Ok((socket, receive_buffer_bytes))
}

/// The kernel has no IPv6, or it is switched off (B191).
pub(super) fn lacks_ipv6(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| {
        matches!(Errno::from_raw(code), Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL | Errno::EPROTONOSUPPORT)
    })
}
