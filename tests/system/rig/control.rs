//! A client of the control protocol that, unlike the CLI, never sends twice: what is lost shows.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use nix::sys::socket::{setsockopt, sockopt};

use super::PATIENCE;

/// Receive buffer for the replies to a burst; beyond the system's limit only where the test runs as root.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024 * 1024;

/// A socket connected to a daemon's control port.
pub(crate) struct Control(UdpSocket);

impl Control {
    /// From a port of its own.
    pub(crate) fn connect(daemon: SocketAddr) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        if setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES);
        }
        socket.connect(daemon).unwrap();
        Self(socket)
    }

    /// Sends one datagram.
    pub(crate) fn send(&self, message: &str) {
        self.0.send(message.as_bytes()).unwrap();
    }

    /// The next reply, if it comes within `patience`; zero: if it is there.
    pub(crate) fn receive(&self, patience: Duration) -> Option<String> {
        self.0.set_nonblocking(patience.is_zero()).unwrap();
        if !patience.is_zero() {
            self.0.set_read_timeout(Some(patience)).unwrap();
        }
        let mut reply = [0; 2048];
        match self.0.recv(&mut reply) {
            Ok(length) => Some(String::from_utf8(reply[..length].to_vec()).unwrap()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused) => None,
            Err(error) => panic!("cannot receive: {error}"),
        }
    }

    /// Sends one datagram and waits for its reply.
    pub(crate) fn ask(&self, message: &str) -> String {
        self.send(message);
        self.receive(PATIENCE).unwrap_or_else(|| panic!("no reply to {message:?}"))
    }

    /// Adds a rule; it is durable and routing when this returns.
    pub(crate) fn add(&self, domain: &str, port: u16) {
        assert_eq!(self.ask(&format!("add {domain} {port}")), format!("ok {domain} {port}"));
    }

    /// Removes a rule; it is gone when this returns.
    pub(crate) fn remove(&self, domain: &str) {
        assert_eq!(self.ask(&format!("remove {domain}")), format!("ok {domain} removed"));
    }

    /// All rules, page by page.
    pub(crate) fn list(&self) -> BTreeMap<String, u16> {
        let mut rules = BTreeMap::new();
        let mut question = "list".to_owned();
        loop {
            let page = self.ask(&question);
            assert!(page.len() <= 1024, "a page of {} bytes", page.len());
            question.clear();
            for line in page.lines() {
                match line.split_once(' ').unwrap() {
                    ("more", domain) => question = format!("list after {domain}"),
                    (domain, port) => {
                        assert!(rules.insert(domain.to_owned(), port.parse().unwrap()).is_none(), "{domain} twice");
                    }
                }
            }
            if question.is_empty() {
                return rules;
            }
        }
    }

    /// Sends all of `messages` as fast as `window` unanswered ones allow, and gives the replies in the order they came.
    pub(crate) fn pipeline(&self, messages: impl Iterator<Item = String>, window: usize) -> Vec<String> {
        let mut replies = Vec::new();
        let mut sent = 0;
        for message in messages {
            while sent - replies.len() >= window {
                replies.push(self.receive(PATIENCE).expect("a reply was lost"));
            }
            self.send(&message);
            sent += 1;
        }
        let deadline = Instant::now() + PATIENCE;
        while replies.len() < sent && Instant::now() < deadline {
            replies.extend(self.receive(PATIENCE));
        }
        replies
    }
}
