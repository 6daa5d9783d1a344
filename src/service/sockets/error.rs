//! Why the service cannot listen, in words that name the remedy.

use std::{error::Error, fmt, io, net::SocketAddr};

use super::{Holder, Kind};
use crate::limits;

/// Why the service cannot listen. The text names the socket and the remedy.
#[derive(Debug)]
pub enum SocketError {
    /// Sockets were passed in, and none for this kind was among them.
    Missing {
        /// What is missing.
        kind: Kind,
        /// What was passed in.
        passed: String,
    },
    /// Two sockets for one address were passed in.
    Twice {
        /// The first.
        first: String,
        /// The second.
        second: String,
    },
    /// A socket was passed in and cannot be used.
    Adopt {
        /// Which.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// Another program has the address (B215).
    Taken {
        /// For what it was wanted.
        kind: Kind,
        /// Where.
        address: SocketAddr,
        /// Who has it, where that can be seen.
        holder: Option<Holder>,
    },
    /// This user may not have the port (B215).
    Denied {
        /// For what it was wanted.
        kind: Kind,
        /// Where.
        address: SocketAddr,
    },
    /// Any other failure.
    Bind {
        /// For what it was wanted.
        kind: Kind,
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// An address that others could reach where only loopback is meant.
    NotLoopback {
        /// For what it was given.
        kind: Kind,
        /// The address.
        address: SocketAddr,
    },
    /// More addresses than [`limits::SOCKETS_PER_KIND_MAX`].
    TooMany(Kind),
}

impl SocketError {
    pub(super) fn from_bind(kind: Kind, address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { kind, address, holder: Holder::find(kind, address.port()) },
            io::ErrorKind::PermissionDenied => Self::Denied { kind, address },
            _ => Self::Bind { kind, address, source },
        }
    }
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { kind, passed } => write!(
                f,
                "no socket for {kind} ({} port {}) among those passed in ({passed}): start the socket unit that has it, or give its address with {} or {}",
                kind.transport(),
                kind.default_port(),
                kind.option(),
                kind.variable()
            ),
            Self::Twice { first, second } => {
                write!(
                    f,
                    "two sockets for one address were passed in: {first} and {second}; name it once in the socket units"
                )
            }
            Self::Adopt { name, source } => write!(f, "cannot use {name}: {source}"),
            Self::Taken { kind, address, holder: Some(holder) } => write!(
                f,
                "cannot listen on {address} for {kind}: {holder} has {} port {}; stop it, or give another address with {}",
                kind.transport(),
                address.port(),
                kind.option()
            ),
            Self::Taken { kind, address, holder: None } => write!(
                f,
                "cannot listen on {address} for {kind}: another program has {} port {port}; find it with `sudo ss -{} 'sport = :{port}'` and stop it, or give another address with {}",
                kind.transport(),
                if *kind == Kind::Control { "lunp" } else { "ltnp" },
                kind.option(),
                port = address.port(),
            ),
            Self::Denied { kind, address } => write!(
                f,
                "not allowed to listen on {address} for {kind}: run it as root or by systemd, or give a port from 1024 on with {}",
                kind.option()
            ),
            Self::Bind { kind, address, source } => write!(f, "cannot listen on {address} for {kind}: {source}"),
            Self::NotLoopback { kind: Kind::Control, address } => {
                write!(
                    f,
                    "{} {address} is not a loopback address: whoever reaches it could change the rules",
                    Kind::Control.option()
                )
            }
            Self::NotLoopback { kind, address } => {
                write!(f, "{} {address} is not a loopback address, and --local listens on loopback only", kind.option())
            }
            Self::TooMany(kind) => {
                write!(f, "{} was given more than {} times", kind.option(), limits::SOCKETS_PER_KIND_MAX)
            }
        }
    }
}

impl Error for SocketError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Adopt { source, .. } | Self::Bind { source, .. } => Some(source),
            _ => None,
        }
    }
}
