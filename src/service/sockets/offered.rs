//! Sockets that somebody else opened: the service manager, or the generation before.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::fd::{AsRawFd as _, OwnedFd},
};

use listenfd::ListenFd;
use nix::libc::{AF_INET, AF_UNIX, SOCK_DGRAM, SOCK_STREAM};
use socket2::{Socket, Type};

use super::{Kind, bind};

/// A descriptor that was passed in, and what it is.
#[derive(Debug)]
pub struct Offered {
    pub(super) facts: Facts,
    socket: Option<Socket>,
}

/// What is known about a descriptor: all that a choice needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) source: Source,
    pub(super) what: What,
}

/// Who passed a descriptor in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The service manager, under this number (sd_listen_fds(3)).
    Manager(i32),
    /// The generation before, which says what it was used for.
    Generation(Kind),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A TCP socket that listens.
    Tcp(SocketAddr),
    /// A UDP socket.
    Udp(SocketAddr),
    /// Nothing that can be used; in words.
    Other(String),
}

impl Offered {
    /// Takes what the environment announces (LISTEN_FDS), and removes the announcement: to be called before any thread exists
    /// and before anything else is opened (B260).
    pub fn from_environment() -> Vec<Self> {
        let mut fds = ListenFd::from_env();
        (0..fds.len()).map(|index| Self::take(&mut fds, index)).collect()
    }

    /// What the generation before used for `kind`.
    pub fn from_generation(kind: Kind, fd: OwnedFd) -> Self {
        Self::new(Source::Generation(kind), fd.into())
    }

    /// A socket as the service manager passes it in.
    pub fn from_manager(socket: OwnedFd) -> Self {
        Self::new(Source::Manager(socket.as_raw_fd()), socket.into())
    }

    /// Non-blocking, because that belongs to the open file and systemd's are not (B201), and without delay.
    pub(super) fn into_listener(self) -> io::Result<TcpListener> {
        let socket = self.into_socket()?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into())
    }

    /// For commands, with the bytes of its receive buffer.
    pub(super) fn into_udp(self) -> io::Result<(UdpSocket, usize)> {
        let socket = self.into_socket()?;
        socket.set_nonblocking(true)?;
        bind::adopt_control(socket.into())
    }

    fn into_socket(self) -> io::Result<Socket> {
        self.socket.ok_or_else(|| io::ErrorKind::InvalidInput.into())
    }

    fn new(source: Source, socket: Socket) -> Self {
        Self { facts: Facts { source, what: What::of(&socket) }, socket: Some(socket) }
    }

    fn take(fds: &mut ListenFd, index: usize) -> Self {
        for kind in [SOCK_STREAM, SOCK_DGRAM] {
            if let Ok(Some(socket)) = fds.take_custom::<OwnedFd>(index, AF_INET, kind, "socket") {
                return Self::from_manager(socket);
            }
        }
        // Neither is of use, but the type closes it when it is dropped.
        let unix = [SOCK_STREAM, SOCK_DGRAM]
            .into_iter()
            .find_map(|kind| fds.take_custom::<OwnedFd>(index, AF_UNIX, kind, "socket").ok().flatten());
        let (fd, words) = match (unix, fds.take_raw_fd(index)) {
            (Some(unix), _) => (unix.as_raw_fd(), "a Unix socket".to_owned()),
            (None, Ok(Some(fd))) => {
                let is = std::fs::read_link(format!("/proc/self/fd/{fd}"));
                // What is not there cannot be closed, and that is fine.
                let _ = nix::unistd::close(fd);
                (fd, is.map_or_else(|_| "nothing".to_owned(), |path| path.display().to_string()))
            }
            (None, _) => (-1, "nothing".to_owned()),
        };
        Self { facts: Facts { source: Source::Manager(fd), what: What::Other(words) }, socket: None }
    }
}

impl What {
    fn of(socket: &Socket) -> Self {
        let address = socket.local_addr().ok().and_then(|address| address.as_socket());
        match (address, socket.r#type().ok()) {
            (Some(address), Some(Type::STREAM)) if socket.is_listener().unwrap_or(false) => Self::Tcp(address),
            (Some(address), Some(Type::STREAM)) => Self::Other(format!("TCP {address}, which does not listen")),
            (Some(address), Some(Type::DGRAM)) => Self::Udp(address),
            _ => Self::Other("a socket of another family".to_owned()),
        }
    }
}

impl fmt::Display for Offered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.fmt(f)
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Manager(fd) => write!(f, "descriptor {fd}, ")?,
            Source::Generation(kind) => write!(f, "the {kind} socket of the process before, ")?,
        }
        match &self.what {
            What::Tcp(address) => write!(f, "TCP {address}"),
            What::Udp(address) => write!(f, "UDP {address}"),
            What::Other(words) => f.write_str(words),
        }
    }
}
