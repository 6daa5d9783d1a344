//! The client's side of the control protocol, for the command line.
//!
//! Each question has a socket of its own, so an answer that comes late, or twice, arrives where nobody listens any more and
//! is never taken for the answer to another question. Never here: knowledge of what a message means beyond the pages of
//! `list`, a name server, an own guess at the outcome of a change that was not answered.

mod pages;

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Instant,
};

use crate::limits::{CLIENT_RESEND_AFTER, CLIENT_WAIT, CONTROL_PORT, REPLY_BYTES_MAX};

pub use pages::{Line, Mapping, Pages, Standing};

/// Where the daemon takes commands unless told otherwise: the address, not `localhost`, which may mean another (B228).
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), CONTROL_PORT);

/// Asks one daemon.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    address: SocketAddr,
}

impl Client {
    /// A client of the daemon at `address`. Nothing is sent yet.
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    /// Whom this client asks.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends `message` and returns the reply, whatever it says. A datagram may get lost, so the message is sent again after
    /// [`CLIENT_RESEND_AFTER`], which every verb allows (B179); after [`CLIENT_WAIT`] in all there is no answer (B149, B228).
    pub fn ask_raw(&self, message: &str) -> Result<String, AskError> {
        let socket = self.socket()?;
        let start = Instant::now();
        self.send(&socket, message)?;
        let mut resends = CLIENT_RESEND_AFTER.iter();
        let mut next = resends.next();
        let mut reply = [0; REPLY_BYTES_MAX];
        loop {
            let elapsed = start.elapsed();
            if elapsed >= CLIENT_WAIT {
                return Err(AskError::Silent(self.address));
            }
            if let Some(at) = next
                && elapsed >= *at
            {
                self.send(&socket, message)?;
                next = resends.next();
                continue;
            }
            // Never zero, which would mean "for ever": both were compared with the time that has passed.
            let until = next.map_or(CLIENT_WAIT, |at| (*at).min(CLIENT_WAIT));
            socket.set_read_timeout(Some(until - elapsed)).map_err(|cause| self.failed(cause))?;
            match socket.recv(&mut reply) {
                Ok(length) => return Ok(String::from_utf8_lossy(reply.get(..length).unwrap_or_default()).into_owned()),
                Err(cause) if is_wait_over(&cause) => {}
                Err(cause) => return Err(self.failed(cause)),
            }
        }
    }

    /// The same for a message whose refusal is an error: a reply that begins with `error` is [`AskError::Refused`].
    pub fn ask(&self, message: &str) -> Result<String, AskError> {
        let reply = self.ask_raw(message)?;
        match refusal(&reply) {
            Some(reason) => Err(AskError::Refused(reason.to_owned())),
            None => Ok(reply),
        }
    }

    /// All rules, page by page (B229): each item is one reply to `list` or `list after`.
    pub fn list(&self) -> Pages<Mapping> {
        Pages::new(*self)
    }

    /// Where all names stand with their certificates: each item is one reply to `certs` or `certs after`.
    pub fn certificates(&self) -> Pages<Standing> {
        Pages::new(*self)
    }

    fn socket(&self) -> Result<UdpSocket, AskError> {
        // From loopback: the daemon hears nobody else (B187).
        let own: IpAddr = if self.address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        let socket = UdpSocket::bind((own, 0)).map_err(|cause| self.failed(cause))?;
        // Connected: only the daemon's answers come in, and a closed port is an error at once instead of silence.
        socket.connect(self.address).map_err(|cause| self.failed(cause))?;
        // The control port lies in the range of ports that the kernel gives out. Where nobody listens, this very socket may
        // get it and would then answer itself.
        if socket.local_addr().is_ok_and(|own| own == self.address) {
            return Err(AskError::Closed(self.address));
        }
        Ok(socket)
    }

    fn send(&self, socket: &UdpSocket, message: &str) -> Result<(), AskError> {
        loop {
            match socket.send(message.as_bytes()) {
                Ok(_) => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(self.failed(cause)),
            }
        }
    }

    fn failed(&self, cause: io::Error) -> AskError {
        match cause.kind() {
            io::ErrorKind::ConnectionRefused => AskError::Closed(self.address),
            _ => AskError::Failed { address: self.address, cause },
        }
    }
}

/// Why there is no answer to a question.
#[derive(Debug)]
pub enum AskError {
    /// Nobody listens at the address.
    Closed(SocketAddr),
    /// Nobody answered within [`CLIENT_WAIT`]. A change that was asked for may have been made, or may still be (B183).
    Silent(SocketAddr),
    /// The daemon refuses, for this reason.
    Refused(String),
    /// Somebody answered, but not as this protocol has it.
    Unexpected {
        /// Who.
        address: SocketAddr,
        /// The reply: outside text.
        reply: String,
    },
    /// The message could not be sent, or the reply not be received.
    Failed {
        /// Whom it was meant for.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
}

impl Client {
    /// The error for a `reply` that is none of this protocol's.
    pub fn unexpected(&self, reply: &str) -> AskError {
        AskError::Unexpected { address: self.address, reply: reply.to_owned() }
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(address) => write!(f, "hotcore is not running: nothing listens on {address}"),
            Self::Silent(address) => {
                write!(f, "hotcore does not answer: nothing came from {address} within {} s", CLIENT_WAIT.as_secs())
            }
            Self::Refused(reason) => f.write_str(reason),
            Self::Unexpected { address, reply } => {
                write!(f, "{address} answers, but not like hotcore: {:?}", reply.chars().take(80).collect::<String>())
            }
            Self::Failed { address, cause } => write!(f, "cannot ask hotcore at {address}: {cause}"),
        }
    }
}

impl std::error::Error for AskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// The reason given by an `error` reply; `None` for every other reply. No rule can look like one (B13).
pub fn refusal(reply: &str) -> Option<&str> {
    let rest = reply.strip_prefix("error")?;
    if rest.is_empty() { Some("refused, without a reason") } else { rest.strip_prefix([' ', '\n']).map(str::trim_end) }
}

/// Nothing came in time, or a signal did: look at the clock and go on.
fn is_wait_over(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;

    /// A socket that takes the place of a daemon, and a client of it.
    pub(super) fn pair() -> (UdpSocket, Client) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let client = Client::new(socket.local_addr().unwrap());
        (socket, client)
    }

    pub(super) fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
        let mut buffer = [0; 1024];
        let (length, peer) = socket.recv_from(&mut buffer).unwrap();
        (String::from_utf8(buffer[..length].to_vec()).unwrap(), peer)
    }

    #[test]
    fn the_reply_comes_back_as_it_is() {
        let (socket, client) = pair();
        thread::scope(|scope| {
            let asking = scope.spawn(|| client.ask_raw("check"));
            let (message, peer) = receive(&socket);
            assert_eq!(message, "check");
            socket.send_to(b"kcehc", peer).unwrap();
            assert_eq!(asking.join().unwrap().unwrap(), "kcehc");
        });
    }

    #[test]
    fn an_empty_reply_is_a_reply() {
        let (socket, client) = pair();
        thread::scope(|scope| {
            let asking = scope.spawn(|| client.ask("list"));
            let (_, peer) = receive(&socket);
            socket.send_to(b"", peer).unwrap();
            assert_eq!(asking.join().unwrap().unwrap(), "");
        });
    }

    /// B149, B228: a lost datagram is sent again, by the same socket.
    #[test]
    fn a_lost_message_is_sent_again() {
        let (socket, client) = pair();
        thread::scope(|scope| {
            let asking = scope.spawn(|| client.ask("add a.com 80"));
            let sent: Vec<_> = (0..=CLIENT_RESEND_AFTER.len()).map(|_| receive(&socket)).collect();
            assert!(sent.windows(2).all(|pair| pair[0] == pair[1]), "{sent:?}");
            socket.send_to(b"ok a.com 80", sent[0].1).unwrap();
            assert_eq!(asking.join().unwrap().unwrap(), "ok a.com 80");
        });
    }

    /// B228.
    #[test]
    fn silence_ends_after_the_wait() {
        let (_socket, client) = pair();
        let start = Instant::now();
        let error = client.ask("check").unwrap_err();
        assert!(matches!(error, AskError::Silent(address) if address == client.address()), "{error}");
        assert!(start.elapsed() >= CLIENT_WAIT);
    }

    /// B228.
    #[test]
    fn a_closed_port_is_known_at_once() {
        let (socket, client) = pair();
        drop(socket);
        let start = Instant::now();
        let error = client.ask("check").unwrap_err();
        assert!(matches!(error, AskError::Closed(_)), "{error}");
        assert!(start.elapsed() < CLIENT_RESEND_AFTER[0], "{:?}", start.elapsed());
    }

    #[test]
    fn a_late_duplicate_is_not_taken_for_the_next_answer() {
        let (socket, client) = pair();
        thread::scope(|scope| {
            let asking = scope.spawn(|| (client.ask("version").unwrap(), client.ask("check").unwrap()));
            let (_, first) = receive(&socket);
            socket.send_to(b"1.0.0", first).unwrap();
            let second = loop {
                let (message, peer) = receive(&socket);
                socket.send_to(b"1.0.0", first).unwrap();
                if message == "check" {
                    break peer;
                }
            };
            socket.send_to(b"kcehc", second).unwrap();
            assert_eq!(asking.join().unwrap(), ("1.0.0".to_owned(), "kcehc".to_owned()));
        });
    }

    #[test]
    fn another_sender_is_not_heard() {
        let (socket, client) = pair();
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        thread::scope(|scope| {
            let asking = scope.spawn(|| client.ask("check"));
            let (_, peer) = receive(&socket);
            stranger.send_to(b"stranger", peer).unwrap();
            socket.send_to(b"kcehc", peer).unwrap();
            assert_eq!(asking.join().unwrap().unwrap(), "kcehc");
        });
    }

    #[test]
    fn only_the_word_error_is_a_refusal() {
        assert_eq!(refusal("error no such verb"), Some("no such verb"));
        assert!(refusal("error").is_some());
        for reply in ["errors.com 80", "ok error", "", "kcehc"] {
            assert_eq!(refusal(reply), None, "{reply:?}");
        }
    }

    #[test]
    fn every_error_names_the_address_or_the_reason() {
        let address = DEFAULT_ADDRESS;
        let errors = [
            AskError::Closed(address),
            AskError::Silent(address),
            AskError::Unexpected { address, reply: "\u{1b}[31mhello".to_owned() },
            AskError::Failed { address, cause: io::Error::from(io::ErrorKind::PermissionDenied) },
        ];
        for error in errors {
            let text = error.to_string();
            assert!(text.contains("127.0.0.1:40608"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }
}
