//! The UDP sockets of the control protocol: how they are made, who sent a datagram and by which way it came, and the answer
//! from the address that was asked.
//!
//! A socket bound to 127.0.0.1 is no proof that the sender is on this machine: with `route_localnet=1` a neighbour's
//! datagrams reach it (B187, CVE-2020-8558). So the kernel is asked, for each datagram, for its source and for the interface
//! it came in on (`IP_PKTINFO`, ip(7); `IPV6_RECVPKTINFO`, RFC 3542, 6), and both must be loopback (invariant 6).

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket},
    os::fd::{AsRawFd, BorrowedFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    libc,
    net::if_::if_nametoindex,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
    },
};
use socket2::{Domain as Family, Protocol, SockRef, Socket, Type};

use super::counters::Dropped;
use crate::limits::{COMMAND_BYTES_MAX, CONTROL_RECEIVE_BUFFER_BYTES};

/// The loopback interface; its index is looked up, its name never changes.
const LOOPBACK: &str = "lo";

/// A control socket made by [`bind`].
#[derive(Debug)]
pub struct Bound {
    /// Non-blocking, and ready for `Server::run`.
    pub socket: UdpSocket,
    /// The receive buffer that the kernel granted, in bytes as they are asked for (it keeps twice that, socket(7)). Less
    /// than `CONTROL_RECEIVE_BUFFER_BYTES` means that bursts may lose datagrams, which is worth a line in the log (B190).
    pub receive_buffer_bytes: usize,
    /// The kernel itself drops what comes in on another interface. If it may not be told to, every datagram is checked.
    pub bound_to_loopback: bool,
}

/// Binds a control socket to `address` and prepares it. The address alone, never a wildcard of both families: an IPv6
/// socket takes IPv6 only.
pub fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Family::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Not allowed without CAP_NET_RAW before Linux 5.7; the check of each datagram stands in any case.
    let bound_to_loopback = socket.bind_device(Some(LOOPBACK.as_bytes())).is_ok();
    socket.bind(&address.into())?;
    let socket = UdpSocket::from(socket);
    let receive_buffer_bytes = adopt(&socket)?;
    Ok(Bound { socket, receive_buffer_bytes, bound_to_loopback })
}

/// Prepares a socket that somebody else has bound, systemd or an older process: non-blocking (B201), information on the way
/// of each datagram on, and the receive buffer as large as allowed. Returns the size of that, see
/// [`Bound::receive_buffer_bytes`].
pub fn adopt(socket: &UdpSocket) -> io::Result<usize> {
    socket.set_nonblocking(true)?;
    match socket.local_addr()? {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    enlarge_receive_buffer(socket)
}

fn enlarge_receive_buffer(socket: &UdpSocket) -> io::Result<usize> {
    let reference = SockRef::from(socket);
    let granted = || reference.recv_buffer_size().map(|doubled| doubled / 2);
    if granted()? < CONTROL_RECEIVE_BUFFER_BYTES
        && setsockopt(socket, sockopt::RcvBufForce, &CONTROL_RECEIVE_BUFFER_BYTES).is_err()
    {
        // Without CAP_NET_ADMIN: silently cut to net.core.rmem_max.
        reference.set_recv_buffer_size(CONTROL_RECEIVE_BUFFER_BYTES)?;
    }
    granted()
}

/// The index of the loopback interface.
pub(super) fn loopback_interface() -> io::Result<u32> {
    Ok(if_nametoindex(LOOPBACK)?)
}

/// Where a datagram came from, and by which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// The sender's address, as the socket's family writes it.
    pub(super) source: SocketAddr,
    /// The address that the sender asked, and the interface that the datagram came in on; `None` if the kernel did not say.
    pub(super) way: Option<(IpAddr, u32)>,
}

impl Origin {
    /// Why this sender gets no answer, whatever it says. What the kernel does not say counts against it.
    pub(super) fn objection(&self, loopback_interface: u32, control_ports: &[u16]) -> Option<Dropped> {
        if !self.source.ip().to_canonical().is_loopback() {
            return Some(Dropped::NotLoopback);
        }
        if self.way.is_none_or(|(_, interface)| interface != loopback_interface) {
            return Some(Dropped::OtherInterface);
        }
        let port = self.source.port();
        (port == 0 || control_ports.contains(&port)).then_some(Dropped::OwnPort)
    }
}

/// What an attempt to receive came to.
pub(super) enum Received<'a> {
    /// A datagram; of one that is too long, one byte more than is allowed.
    Datagram(&'a [u8], Origin),
    /// An error that belongs to one datagram, such as an ICMP message about an earlier reply. The next call may succeed.
    Hiccup(Errno),
    /// The kernel is short of memory.
    Shortage,
}

/// Room for one datagram and what the kernel says about it.
pub(super) struct Receiver {
    bytes: [u8; COMMAND_BYTES_MAX + 1],
    about: Vec<u8>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        // More than the two that can be asked for: whoever passed the socket on may have asked for others.
        let about = cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo, [u8; 256]);
        Self { bytes: [0; COMMAND_BYTES_MAX + 1], about }
    }

    /// Takes one datagram, without waiting: if there is none, `Err` of the kind `WouldBlock`. Any other `Err` means that
    /// this is no socket to receive from.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<Received<'_>> {
        let mut room = [IoSliceMut::new(&mut self.bytes)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut room, Some(&mut self.about), flags) {
            Ok(message) => message,
            Err(Errno::ENOMEM | Errno::ENOBUFS) => return Ok(Received::Shortage),
            Err(
                error @ (Errno::EAGAIN
                | Errno::EBADF
                | Errno::ENOTSOCK
                | Errno::EINVAL
                | Errno::EFAULT
                | Errno::EOPNOTSUPP),
            ) => {
                return Err(error.into());
            }
            Err(error) => return Ok(Received::Hiccup(error)),
        };
        let Some(source) = message.address.as_ref().and_then(socket_address) else {
            return Ok(Received::Hiccup(Errno::EAFNOSUPPORT));
        };
        let way = message.cmsgs().ok().and_then(|mut about| about.find_map(|about| way(&about)));
        let length = message.bytes;
        Ok(Received::Datagram(self.bytes.get(..length).unwrap_or(&self.bytes), Origin { source, way }))
    }
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = || storage.as_sockaddr_in().map(|address| SocketAddrV4::from(*address).into());
    let v6 = || storage.as_sockaddr_in6().map(|address| SocketAddrV6::from(*address).into());
    v4().or_else(v6)
}

fn way(about: &ControlMessageOwned) -> Option<(IpAddr, u32)> {
    match about {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let asked = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
            Some((asked.into(), u32::try_from(info.ipi_ifindex).ok()?))
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            Some((Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), info.ipi6_ifindex))
        }
        _ => None,
    }
}

/// Sends `reply` back to where a datagram came from, from the address that was asked: connected sockets drop others (B186).
/// Without waiting: a reply that the kernel does not take is lost.
pub(super) fn answer(socket: BorrowedFd<'_>, origin: &Origin, reply: &[u8]) -> Result<(), Errno> {
    let send = |about: &[ControlMessage<'_>]| {
        let target = SockaddrStorage::from(origin.source);
        loop {
            match sendmsg(socket.as_raw_fd(), &[IoSlice::new(reply)], about, MsgFlags::MSG_DONTWAIT, Some(&target)) {
                Err(Errno::EINTR) => {}
                other => return other.map(|_| ()),
            }
        }
    };
    match origin.way {
        Some((IpAddr::V4(asked), _)) => {
            let asked = libc::in_addr { s_addr: u32::from(asked).to_be() };
            let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: asked, ipi_addr: libc::in_addr { s_addr: 0 } };
            send(&[ControlMessage::Ipv4PacketInfo(&info)])
        }
        Some((IpAddr::V6(asked), _)) => {
            let info = libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: asked.octets() }, ipi6_ifindex: 0 };
            send(&[ControlMessage::Ipv6PacketInfo(&info)])
        }
        None => send(&[]),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    const LO: u32 = 1;
    const OWN: [u16; 1] = [40608];

    fn origin(source: &str, interface: Option<u32>) -> Origin {
        Origin { source: source.parse().unwrap(), way: interface.map(|index| (Ipv4Addr::LOCALHOST.into(), index)) }
    }

    /// Invariant 6: source *and* way must be loopback (B187), and the sender somebody who can be answered (B188).
    #[test]
    fn only_loopback_by_source_and_by_way_is_heard() {
        for (source, interface, wanted) in [
            ("127.0.0.1:5000", Some(LO), None),
            ("127.9.9.9:5000", Some(LO), None),
            ("[::1]:5000", Some(LO), None),
            ("[::ffff:127.0.0.1]:5000", Some(LO), None),
            ("192.0.2.1:5000", Some(LO), Some(Dropped::NotLoopback)),
            ("[fe80::1]:5000", Some(LO), Some(Dropped::NotLoopback)),
            ("[::ffff:192.0.2.1]:5000", Some(LO), Some(Dropped::NotLoopback)),
            ("127.0.0.1:5000", Some(2), Some(Dropped::OtherInterface)),
            ("[::1]:5000", Some(2), Some(Dropped::OtherInterface)),
            ("127.0.0.1:5000", None, Some(Dropped::OtherInterface)),
            ("127.0.0.1:0", Some(LO), Some(Dropped::OwnPort)),
            ("127.0.0.2:40608", Some(LO), Some(Dropped::OwnPort)),
            ("127.0.0.2:40609", Some(LO), None),
        ] {
            assert_eq!(origin(source, interface).objection(LO, &OWN), wanted, "{source} on {interface:?}");
        }
    }

    #[test]
    fn a_bound_socket_tells_the_way_of_each_datagram() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let bound = match bind(address.parse().unwrap()) {
                Err(error) if address.starts_with('[') && error.kind() == io::ErrorKind::AddrNotAvailable => continue,
                other => other.unwrap(),
            };
            assert!(bound.receive_buffer_bytes > 0);
            let asked = bound.socket.local_addr().unwrap();
            let client = UdpSocket::bind(address).unwrap();
            client.connect(asked).unwrap();
            client.send(b"check").unwrap();
            let (mut receiver, lo) = (Receiver::new(), loopback_interface().unwrap());
            // A datagram to loopback is in the socket when send(2) returns.
            let Received::Datagram(bytes, origin) = receiver.receive(bound.socket.as_fd()).unwrap() else {
                panic!("nothing arrived at {address}");
            };
            assert_eq!(bytes, b"check");
            assert_eq!(origin, Origin { source: client.local_addr().unwrap(), way: Some((asked.ip(), lo)) });
            answer(bound.socket.as_fd(), &origin, b"").unwrap();
            assert_eq!(client.recv(&mut [0; 8]).unwrap(), 0);
        }
    }
}
