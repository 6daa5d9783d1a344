//! The listening sockets: those that were passed in, told apart by what they are and never by their order (B200), and those
//! that hotcore binds itself.
//!
//! Never here: an accepted connection, a datagram. A socket that is held is never closed before the process ends or another
//! generation has it.

mod bind;
mod choose;
mod error;
mod holder;
mod offered;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use self::offered::{Source, What};
use super::Settings;
use crate::limits;

pub use self::{
    error::SocketError,
    holder::{Holder, SYSTEMD},
    offered::Offered,
};

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Plain HTTP, TCP.
    Http,
    /// HTTPS, TCP.
    Https,
    /// Commands, UDP.
    Control,
}

impl Kind {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::Http, Self::Https, Self::Control];

    /// The port that is meant when none is given.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => limits::HTTP_PORT,
            Self::Https => limits::HTTPS_PORT,
            Self::Control => limits::CONTROL_PORT,
        }
    }

    /// Where `--local` listens when the default port is not allowed (B222).
    fn unprivileged_port(self) -> u16 {
        match self {
            Self::Http => limits::HTTP_PORT_UNPRIVILEGED,
            Self::Https => limits::HTTPS_PORT_UNPRIVILEGED,
            Self::Control => limits::CONTROL_PORT,
        }
    }

    /// `TCP` or `UDP`.
    pub fn transport(self) -> &'static str {
        match self {
            Self::Http | Self::Https => "TCP",
            Self::Control => "UDP",
        }
    }

    /// The option that sets its addresses.
    pub fn option(self) -> &'static str {
        match self {
            Self::Http => "--http",
            Self::Https => "--https",
            Self::Control => "--control",
        }
    }

    /// Its twin in the environment, as a unit sets it.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Http => "HOTCORE_HTTP",
            Self::Https => "HOTCORE_HTTPS",
            Self::Control => "HOTCORE_CONTROL",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Control => "control",
        })
    }
}

/// Where to listen for one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Want {
    /// Exactly here.
    Given(Vec<SocketAddr>),
    /// On the default port: on all addresses, or with `local` on loopback only.
    Default { local: bool },
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    http: Want,
    https: Want,
    control: Want,
}

impl Wanted {
    /// What the settings ask for. Commands are taken on loopback only, and with `--local` everything is.
    pub fn from_settings(settings: &Settings) -> Result<Self, SocketError> {
        let want = |kind: Kind, addresses: &[SocketAddr]| {
            if addresses.len() > limits::SOCKETS_PER_KIND_MAX {
                return Err(SocketError::TooMany(kind));
            }
            if (settings.local || kind == Kind::Control)
                && let Some(address) = addresses.iter().find(|address| !is_loopback(address.ip()))
            {
                return Err(SocketError::NotLoopback { kind, address: *address });
            }
            Ok(match addresses {
                [] => Want::Default { local: settings.local || kind == Kind::Control },
                _ => Want::Given(addresses.to_vec()),
            })
        };
        Ok(Self {
            http: want(Kind::Http, &settings.http)?,
            https: want(Kind::Https, &settings.https)?,
            control: want(Kind::Control, &settings.control)?,
        })
    }

    fn of(&self, kind: Kind) -> &Want {
        match kind {
            Kind::Http => &self.http,
            Kind::Https => &self.https,
            Kind::Control => &self.control,
        }
    }
}

/// The sockets the service listens on, all non-blocking.
#[derive(Debug, Default)]
pub struct Sockets {
    /// Plain HTTP.
    pub http: Vec<TcpListener>,
    /// HTTPS.
    pub https: Vec<TcpListener>,
    /// Commands.
    pub control: Vec<UdpSocket>,
    /// The smallest receive buffer among those for commands.
    receive_buffer_bytes: Option<usize>,
}

impl Sockets {
    /// Takes from `offered` what the settings ask for, closes the rest, and binds what is missing. The second part of the
    /// answer are remarks for the operator, one a line.
    pub fn open(wanted: &Wanted, offered: Vec<Offered>) -> Result<(Self, Vec<String>), SocketError> {
        let facts: Vec<_> = offered.iter().map(|socket| socket.facts.clone()).collect();
        let choice = choose::choose(wanted, &facts)?;
        let mut sockets = Self::default();
        let mut remarks = Vec::new();
        let mut kinds = choice.kinds.into_iter();
        for socket in offered {
            match kinds.next().flatten() {
                Some(kind) => sockets.adopt(kind, socket)?,
                // A socket of the generation before that is no longer asked for is no surprise.
                None if matches!(socket.facts.source, Source::Generation(_)) => {}
                // Whoever holds it beside hotcore keeps it open, so clients would wait there for nothing.
                None if matches!(socket.facts.what, What::Tcp(_)) => remarks.push(format!(
                    "{socket} was passed in and nobody answers there: say what it is for with HOTCORE_HTTP or HOTCORE_HTTPS, which name all addresses of a kind"
                )),
                None => remarks.push(format!("{socket} was passed in and is not needed: closed")),
            }
        }
        for (kind, address) in choice.bind {
            sockets.bind(kind, address)?;
        }
        for (kind, local) in choice.bind_default {
            sockets.bind_default(kind, local, &mut remarks)?;
        }
        if let Some(bytes) = sockets.receive_buffer_bytes.filter(|bytes| *bytes < limits::CONTROL_RECEIVE_BUFFER_BYTES)
        {
            let wanted = limits::CONTROL_RECEIVE_BUFFER_BYTES;
            remarks.push(format!(
                "the receive buffer for commands has {bytes} bytes and not {wanted}, so a burst may lose some: raise net.core.rmem_max"
            ));
        }
        Ok((sockets, remarks))
    }

    /// The addresses as the kernel knows them: port 0 has become a real one.
    pub fn addresses(&self, kind: Kind) -> Vec<SocketAddr> {
        let tcp = |sockets: &[TcpListener]| sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        match kind {
            Kind::Http => tcp(&self.http),
            Kind::Https => tcp(&self.https),
            Kind::Control => self.control.iter().filter_map(|socket| socket.local_addr().ok()).collect(),
        }
    }

    /// The ports a rule must not point to (B30, B178), sorted.
    pub fn own_ports(&self) -> Vec<u16> {
        let mut ports: Vec<u16> =
            Kind::ALL.into_iter().flat_map(|kind| self.addresses(kind)).map(|address| address.port()).collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    /// Second descriptors for the same sockets.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            http: self.http.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
            https: self.https.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
            control: self.control.iter().map(UdpSocket::try_clone).collect::<io::Result<_>>()?,
            receive_buffer_bytes: self.receive_buffer_bytes,
        })
    }

    fn adopt(&mut self, kind: Kind, offered: Offered) -> Result<(), SocketError> {
        let name = offered.to_string();
        let failed = |source| SocketError::Adopt { name: name.clone(), source };
        match kind {
            Kind::Http => self.http.push(offered.into_listener().map_err(failed)?),
            Kind::Https => self.https.push(offered.into_listener().map_err(failed)?),
            Kind::Control => {
                let (socket, receive_buffer_bytes) = offered.into_udp().map_err(failed)?;
                self.add_control(socket, receive_buffer_bytes);
            }
        }
        Ok(())
    }

    fn add_control(&mut self, socket: UdpSocket, receive_buffer_bytes: usize) {
        self.control.push(socket);
        let smallest = self.receive_buffer_bytes.unwrap_or(receive_buffer_bytes);
        self.receive_buffer_bytes = Some(smallest.min(receive_buffer_bytes));
    }

    fn bind(&mut self, kind: Kind, address: SocketAddr) -> Result<(), SocketError> {
        self.try_bind(kind, address).map_err(|error| SocketError::from_bind(kind, address, error))
    }

    fn try_bind(&mut self, kind: Kind, address: SocketAddr) -> io::Result<()> {
        match kind {
            Kind::Http => self.http.push(bind::listen(address)?),
            Kind::Https => self.https.push(bind::listen(address)?),
            Kind::Control => {
                let (socket, receive_buffer_bytes) = bind::control(address)?;
                self.add_control(socket, receive_buffer_bytes);
            }
        }
        Ok(())
    }

    /// The default addresses of a kind: `[::]` for both families, or 127.0.0.1 and `[::1]`; IPv4 alone where the machine has no
    /// IPv6 (B191).
    fn bind_default(&mut self, kind: Kind, local: bool, remarks: &mut Vec<String>) -> Result<(), SocketError> {
        let port = kind.default_port();
        if !local {
            let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
            return match self.try_bind(kind, both) {
                Err(error) if bind::lacks_ipv6(&error) => {
                    remarks.push(format!("this machine has no IPv6: {kind} listens on IPv4 alone"));
                    self.bind(kind, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
                }
                result => result.map_err(|error| SocketError::from_bind(kind, both, error)),
            };
        }
        let mut v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match self.try_bind(kind, v4) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && kind.unprivileged_port() != port => {
                v4.set_port(kind.unprivileged_port());
                remarks.push(format!("port {port} is not allowed for this user: {kind} listens on port {}", v4.port()));
                self.bind(kind, v4)?;
            }
            result => result.map_err(|error| SocketError::from_bind(kind, v4, error))?,
        }
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, v4.port()));
        match self.try_bind(kind, v6) {
            Err(error) if bind::lacks_ipv6(&error) => {
                remarks.push(format!("this machine has no IPv6: {kind} listens on {v4} alone"));
                Ok(())
            }
            result => result.map_err(|error| SocketError::from_bind(kind, v6, error)),
        }
    }
}

/// Also true for `::ffff:127.0.0.1`.
fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(http: &str, https: &str, control: &str) -> Settings {
        let list = |text: &str| text.split(' ').filter(|t| !t.is_empty()).map(|t| t.parse().unwrap()).collect();
        Settings { http: list(http), https: list(https), control: list(control), ..Settings::default() }
    }

    fn open(settings: &Settings, offered: Vec<Offered>) -> Result<(Sockets, Vec<String>), SocketError> {
        Sockets::open(&Wanted::from_settings(settings)?, offered)
    }

    #[test]
    fn port_0_becomes_a_real_port_and_is_shown() {
        let any = "127.0.0.1:0";
        let (sockets, _) = open(&settings("127.0.0.1:0 127.0.0.1:0", any, any), Vec::new()).unwrap();
        assert_eq!(sockets.addresses(Kind::Http).len(), 2);
        assert_eq!(sockets.own_ports().len(), 4);
        assert!(sockets.own_ports().iter().all(|port| *port != 0));
    }

    #[test]
    fn accepted_connections_are_without_delay_and_the_listener_never_blocks() {
        let any = "127.0.0.1:0";
        let (sockets, _) = open(&settings(any, any, any), Vec::new()).unwrap();
        let listener = &sockets.http[0];
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn an_unspecified_ipv6_address_takes_ipv4_as_well() {
        let (sockets, _) = open(&settings("[::]:0", "127.0.0.1:0", "127.0.0.1:0"), Vec::new()).unwrap();
        let port = sockets.addresses(Kind::Http)[0].port();
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn inherited_sockets_become_non_blocking_and_extras_are_named_b201() {
        let [http, https, extra] = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let control = UdpSocket::bind("127.0.0.1:0").unwrap();
        let text = |address: io::Result<SocketAddr>| address.unwrap().to_string();
        let settings = settings(&text(http.local_addr()), &text(https.local_addr()), &text(control.local_addr()));
        let extra_address = text(extra.local_addr());
        let offered = vec![
            Offered::from_manager(extra.into()),
            Offered::from_manager(control.into()),
            Offered::from_manager(https.into()),
            Offered::from_manager(http.into()),
        ];
        let (sockets, remarks) = open(&settings, offered).unwrap();
        assert_eq!(sockets.addresses(Kind::Https), settings.https);
        assert_eq!(sockets.http[0].accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(sockets.control[0].recv(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(remarks[0].contains(&extra_address) && remarks[0].contains("HOTCORE_HTTPS"), "{remarks:?}");
        assert!(std::net::TcpStream::connect(extra_address).is_err(), "an extra is closed");
    }

    #[test]
    fn a_port_that_is_taken_is_an_error_with_its_holder_and_the_remedy_b215() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = open(&settings(&address.to_string(), "127.0.0.1:0", "127.0.0.1:0"), Vec::new()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("(process {}) has TCP port {}", std::process::id(), address.port())), "{text}");
        assert!(text.contains("stop it, or give another address with --http"), "{text}");
        let unknown = SocketError::Taken { kind: Kind::Control, address, holder: None }.to_string();
        assert!(unknown.contains("`sudo ss -lunp 'sport = :"), "{unknown}");
    }

    #[test]
    fn commands_and_local_mode_are_for_loopback_alone_b222() {
        let error = open(&settings("127.0.0.1:0", "127.0.0.1:0", "0.0.0.0:0"), Vec::new()).unwrap_err().to_string();
        assert!(error.starts_with("--control 0.0.0.0:0 is not a loopback address"), "{error}");
        let mut local = settings("192.0.2.1:80", "", "");
        local.local = true;
        let error = open(&local, Vec::new()).unwrap_err().to_string();
        assert!(error.contains("--http 192.0.2.1:80") && error.contains("--local"), "{error}");
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let most = vec!["127.0.0.1:0"; limits::SOCKETS_PER_KIND_MAX].join(" ");
        assert!(Wanted::from_settings(&settings(&most, "", "")).is_ok());
        assert!(Wanted::from_settings(&settings(&(most + " 127.0.0.1:0"), "", "")).is_err());
    }
}
