//! One connection of the generator: a socket, TLS on it or not, and the protocol that is spoken.

use std::{
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use mio::{Interest, Poll, Token, net::TcpStream};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::{Door, Load, Names, http1::Http1, http2::Http2};

#[derive(Default)]
pub(super) struct Link {
    stream: Option<TcpStream>,
    tls: Option<Box<ClientConnection>>,
    speech: Speech,
    /// What is to be sent, in clear.
    out: Vec<u8>,
}

enum Speech {
    Http1(Http1),
    Http2(Box<Http2>),
}

impl Default for Speech {
    fn default() -> Self {
        Self::Http1(Http1::default())
    }
}

impl Link {
    pub(super) fn open(
        load: &Load,
        address: SocketAddr,
        config: Option<Arc<ClientConfig>>,
        poll: &Poll,
        token: Token,
    ) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        let _ = stream.set_nodelay(true);
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE).unwrap();
        let tls = config.map(|config| {
            let name = load.name().try_into().unwrap();
            Box::new(ClientConnection::new(config, name).unwrap())
        });
        let mut out = Vec::new();
        let speech = match load.door {
            Door::Plain | Door::Tls => Speech::Http1(Http1::new(load.body)),
            Door::Http2 => Speech::Http2(Box::new(Http2::new(load.body, load.streams, &mut out))),
        };
        Self { stream: Some(stream), tls, speech, out }
    }

    /// How many requests may be sent now.
    pub(super) fn free(&self) -> usize {
        match &self.speech {
            Speech::Http1(http1) => http1.free(),
            Speech::Http2(http2) => http2.free(),
        }
    }

    /// A request that counts from `begun` on; [`Link::flush`] sends it.
    pub(super) fn ask(&mut self, begun: Instant, load: &Load) {
        let drawn;
        let name = match load.names {
            Names::One => load.name(),
            Names::Drawn { of, is_sent } => {
                drawn = format!("site-{:07}.test", fastrand::u32(..of));
                if is_sent { &drawn } else { load.name() }
            }
        };
        match &mut self.speech {
            Speech::Http1(http1) => http1.ask(begun, name, &mut self.out),
            Speech::Http2(http2) => http2.ask(begun, name, &mut self.out),
        }
    }

    /// Reads what has come and sends what is to be sent; when the requests began that are answered now.
    pub(super) fn turn(&mut self, space: &mut [u8], clear: &mut Vec<u8>, done: &mut Vec<Instant>) {
        let Some(stream) = &mut self.stream else { return };
        loop {
            let length = match stream.read(space) {
                Ok(0) => panic!("the proxy has closed a connection"),
                Ok(length) => length,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) => panic!("the proxy has broken a connection: {error}"),
            };
            match &mut self.tls {
                None => self.speech.hear(&space[..length], &mut self.out, done),
                Some(tls) => {
                    let mut sealed = &space[..length];
                    while !sealed.is_empty() {
                        tls.read_tls(&mut sealed).unwrap();
                        let state = tls.process_new_packets().unwrap_or_else(|error| panic!("TLS: {error}"));
                        clear.resize(state.plaintext_bytes_to_read(), 0);
                        if !clear.is_empty() {
                            tls.reader().read_exact(clear).unwrap();
                            self.speech.hear(clear, &mut self.out, done);
                        }
                    }
                }
            }
            if length < space.len() {
                break;
            }
        }
        self.flush();
    }

    /// Sends what the socket takes; the rest when it can be written to again.
    pub(super) fn flush(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        if let Some(tls) = &mut self.tls {
            if !self.out.is_empty() {
                tls.writer().write_all(&self.out).unwrap();
                self.out.clear();
            }
            while tls.wants_write() {
                match tls.write_tls(stream) {
                    Ok(_) => {}
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => return,
                    Err(error) => panic!("the proxy has broken a connection: {error}"),
                }
            }
        } else if !self.out.is_empty() {
            match stream.write(&self.out) {
                Ok(length) => drop(self.out.drain(..length)),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {}
                Err(error) => panic!("the proxy has broken a connection: {error}"),
            }
        }
    }

    pub(super) fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.handshake_kind() == Some(HandshakeKind::Resumed))
    }

    /// Says so, as a client in order does.
    pub(super) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
        self.flush();
        self.stream = None;
    }
}

impl Speech {
    fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>, done: &mut Vec<Instant>) {
        match self {
            Self::Http1(http1) => http1.hear(bytes, done),
            Self::Http2(http2) => http2.hear(bytes, out, done),
        }
    }
}
