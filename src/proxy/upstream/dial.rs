//! Connecting to a port of this machine: 127.0.0.1 first, then ::1, a fixed list (B14–B18).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use nix::errno::Errno;
use socket2::SockRef;
use tokio::{net::TcpStream, time::timeout};

use crate::{limits::CONNECT_WAIT, routes::Port};

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Family {
    /// 127.0.0.1, tried first.
    #[default]
    V4,
    /// ::1.
    V6,
}

impl Family {
    fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    fn address(self, port: Port) -> SocketAddr {
        let ip = match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        };
        SocketAddr::new(ip, port.number())
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum DialError {
    /// Nobody listens.
    Refused,
    /// Somebody listens and does not answer: the accept queue is full (B18).
    Silent,
    /// Somebody listens, and ended the connection before it could be used (B29).
    Reset,
    /// This process or machine has no descriptor, port or memory left (B41).
    Exhausted(io::Error),
    /// Anything else.
    Failed(io::Error),
}

/// Connects to `port`, the family that answered last time first. The other family is tried only where nobody listens, and
/// not one byte has been written then, so nothing needs repeating (B16).
pub(super) async fn connect(port: Port, first: Family) -> Result<(TcpStream, Family), DialError> {
    let error = match attempt(first.address(port)).await {
        Ok(stream) => return Ok((stream, first)),
        Err(DialError::Refused) => DialError::Refused,
        Err(error) => return Err(error),
    };
    let second = first.other();
    match attempt(second.address(port)).await {
        Ok(stream) => Ok((stream, second)),
        Err(DialError::Refused) => Err(error),
        Err(other) => Err(other),
    }
}

async fn attempt(address: SocketAddr) -> Result<TcpStream, DialError> {
    let stream = match timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(classify(error)),
        Err(_) => return Err(DialError::Silent),
    };
    // Dialling a dead port of the ephemeral range can connect the socket to itself, and then it holds the very port that
    // the app wants to bind (B17).
    if stream.local_addr().is_ok_and(|local| local == address) {
        let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return Err(DialError::Refused);
    }
    // Small frames would otherwise wait for a delayed ACK (B19).
    stream.set_nodelay(true).map_err(DialError::Failed)?;
    Ok(stream)
}

fn classify(error: io::Error) -> DialError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED | Errno::ENETUNREACH | Errno::EADDRNOTAVAIL | Errno::EAFNOSUPPORT) => {
            DialError::Refused
        }
        Some(Errno::ETIMEDOUT) => DialError::Silent,
        Some(Errno::ECONNRESET | Errno::ECONNABORTED | Errno::EPIPE) => DialError::Reset,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => DialError::Exhausted(error),
        _ => DialError::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B16: where the other family may be tried, and where not.
    #[test]
    fn errors_are_sorted_by_what_follows_from_them() {
        let sorted = |errno: Errno| classify(io::Error::from_raw_os_error(errno as i32));
        for errno in [Errno::ECONNREFUSED, Errno::ENETUNREACH, Errno::EADDRNOTAVAIL, Errno::EAFNOSUPPORT] {
            assert!(matches!(sorted(errno), DialError::Refused), "{errno}");
        }
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM] {
            assert!(matches!(sorted(errno), DialError::Exhausted(_)), "{errno}");
        }
        assert!(matches!(sorted(Errno::ETIMEDOUT), DialError::Silent));
        assert!(matches!(sorted(Errno::ECONNRESET), DialError::Reset));
        assert!(matches!(sorted(Errno::EACCES), DialError::Failed(_)));
    }

    /// B17: a dead port of the ephemeral range, dialled until the kernel has chosen that very port for our side.
    #[tokio::test]
    async fn a_socket_connected_to_itself_counts_as_refused() {
        let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let mut range = range.split_ascii_whitespace().map(|bound| bound.parse::<u16>().unwrap());
        let (low, high) = (range.next().unwrap(), range.next().unwrap());
        // The kernel prefers ports of the lower bound's parity for connect(2). Each process of the tests has one of its own.
        let share = u16::try_from(std::process::id() % u32::from((high - low) / 2)).unwrap();
        let port = low + share * 2;
        let address = Family::V4.address(Port::new(port).unwrap());
        let tries = 4 * u32::from(high - low);
        let mut met = false;
        for _ in 0..tries {
            match std::net::TcpStream::connect(address) {
                Ok(stream) if stream.local_addr().unwrap() == address => {
                    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    met = true;
                    break;
                }
                // Somebody listens there after all.
                Ok(_) => return,
                Err(_) => {}
            }
        }
        if !met {
            // Nothing to be proved where the kernel does not do it.
            return;
        }
        for _ in 0..tries {
            match attempt(address).await {
                Err(DialError::Refused) => {}
                Err(other) => panic!("{other:?}"),
                Ok(stream) => assert_ne!(stream.local_addr().unwrap(), stream.peer_addr().unwrap()),
            }
        }
        // And nothing is left that would keep the port from the app that wants it. That others use it is their affair.
        let end = format!("0100007F:{port:04X}");
        let is_own = |line: &str| line.split_ascii_whitespace().skip(1).take(2).all(|address| address == end);
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while std::fs::read_to_string("/proc/net/tcp").unwrap().lines().any(is_own) {
            assert!(std::time::Instant::now() < deadline, "a socket is still connected to itself");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
