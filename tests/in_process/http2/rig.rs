//! Clients of HTTP/2: one that keeps the rules, and one that sends frames as they are.

use std::{
    future::Future,
    io::{self, Read, Write},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{self, SendRequest},
};
use hotcore::service::worker::WorkerConfig;
use http::{HeaderMap, Request, Response};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    task::{JoinHandle, LocalSet, spawn_local},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::{
    front::{Backend, PATIENCE},
    secure::{SecureClient, SecureFront, fresh_tickets},
};

/// The door of HTTPS with a rule and a certificate for `a.test`.
pub(super) fn front_of(backend: &Backend) -> SecureFront {
    front_with(backend.port, |_| {})
}

pub(super) fn front_with(port: u16, change: impl FnOnce(&mut WorkerConfig)) -> SecureFront {
    let mut front = SecureFront::start_with(change, |_| {}, fresh_tickets());
    front.serve("a.test", port);
    front
}

/// With limits that a test can wait for.
pub(super) fn hurried(config: &mut WorkerConfig) {
    config.patience.window = Duration::from_millis(400);
    config.patience.sweep = Duration::from_millis(50);
}

/// How a client speaks that offers HTTP/2 alone.
pub(super) fn config(front: &SecureFront) -> ClientConfig {
    let mut config = front.client_config();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Runs what a test does with its clients, on this thread.
pub(super) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { timeout(PATIENCE, work).await.expect("it is done in time") })
}

/// A client that keeps the rules.
pub(super) struct Client {
    pub(super) send: SendRequest<Bytes>,
    /// How the connection ends.
    pub(super) end: JoinHandle<Result<(), h2::Error>>,
}

impl Client {
    pub(super) async fn connect(front: &SecureFront) -> Self {
        Self::connect_with(front, "a.test", &client::Builder::new()).await
    }

    pub(super) async fn connect_with(front: &SecureFront, name: &str, builder: &client::Builder) -> Self {
        let socket = TcpStream::connect(front.front.address).await.unwrap();
        Self::on(socket, front, name, builder).await
    }

    pub(super) async fn on(socket: TcpStream, front: &SecureFront, name: &str, builder: &client::Builder) -> Self {
        socket.set_nodelay(true).unwrap();
        let connector = TlsConnector::from(Arc::new(config(front)));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = connector.connect(name, socket).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, connection) = builder.handshake(stream).await.unwrap();
        Self { send, end: spawn_local(connection) }
    }

    /// Sends a request without a body, and waits for the head of its answer.
    pub(super) async fn ask(&mut self, request: Request<()>) -> Result<Response<RecvStream>, h2::Error> {
        self.ready().await?;
        let (response, _) = self.send.send_request(request, true)?;
        response.await
    }

    /// Begins a request whose body follows.
    pub(super) async fn begin(&mut self, request: Request<()>) -> (client::ResponseFuture, SendStream<Bytes>) {
        self.ready().await.unwrap();
        self.send.send_request(request, false).unwrap()
    }

    pub(super) async fn ready(&mut self) -> Result<(), h2::Error> {
        std::future::poll_fn(|cx| self.send.poll_ready(cx)).await
    }

    /// A `GET` with a whole answer.
    pub(super) async fn get(&mut self, path: &str) -> Answer {
        Answer::read(self.ask(get(path)).await.unwrap()).await.unwrap()
    }
}

pub(super) fn get(path: &str) -> Request<()> {
    request("GET", path)
}

pub(super) fn request(method: &str, path: &str) -> Request<()> {
    Request::builder().method(method).uri(format!("https://a.test{path}")).body(()).unwrap()
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(super) async fn read(response: Response<RecvStream>) -> Result<Self, h2::Error> {
        let (parts, mut stream) = response.into_parts();
        let mut body = Vec::new();
        while let Some(data) = stream.data().await {
            let data = data?;
            stream.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers = stream.trailers().await?;
        Ok(Self { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} more than once");
        value
    }
}

/// Sends a whole body, as fast as the windows allow.
pub(super) async fn send_all(stream: &mut SendStream<Bytes>, body: &[u8]) -> Result<(), h2::Error> {
    let mut rest = Bytes::copy_from_slice(body);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await.ok_or(h2::Reason::CANCEL)??;
        stream.send_data(rest.split_to(room.min(rest.len())), false)?;
    }
    stream.send_data(Bytes::new(), true)
}

/// A client that sends frames as they are.
pub(super) struct Raw {
    pub(super) client: SecureClient,
}

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

impl Raw {
    /// After the handshake of TLS: nothing is said yet.
    pub(super) fn silent(front: &SecureFront) -> Self {
        Self { client: front.try_connect("a.test", &Arc::new(config(front))).unwrap() }
    }

    /// After preface and SETTINGS, both ways.
    pub(super) fn connect(front: &SecureFront) -> Self {
        Self::connect_with(front, &[])
    }

    /// With settings of the test's own: identifier and value.
    pub(super) fn connect_with(front: &SecureFront, settings: &[(u16, u32)]) -> Self {
        let mut raw = Self::silent(front);
        let payload: Vec<u8> = settings
            .iter()
            .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
            .collect();
        raw.client.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &payload)].concat());
        assert_eq!(raw.read().unwrap().kind, SETTINGS);
        raw.send(SETTINGS, 1, 0, &[]);
        raw
    }

    pub(super) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.client.send(&frame(kind, flags, stream, payload));
    }

    /// The same, where the other side may have hung up.
    pub(super) fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.client.stream.write_all(bytes)?;
        self.client.stream.flush()
    }

    /// The next frame.
    pub(super) fn read(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.client.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.client.stream.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// Reads on until a frame of this kind.
    pub(super) fn read_until(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.read().unwrap_or_else(|error| panic!("{error} before a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads to the end of the connection: the reason of the last GOAWAY, if there was one.
    pub(super) fn read_to_end(&mut self) -> Option<u32> {
        let mut reason = None;
        loop {
            match self.read() {
                Ok(frame) if frame.kind == GOAWAY => reason = Some(number(&frame.payload[4..8])),
                Ok(_) => {}
                Err(error) => {
                    let is_late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    assert!(!is_late, "no end in time");
                    return reason;
                }
            }
        }
    }
}

impl Raw {
    /// Sends a request without a body, with fields of the test's own.
    pub(super) fn ask(&mut self, stream: u32, fields: &[(&str, &str)]) {
        self.send(HEADERS, END_STREAM | END_HEADERS, stream, &block("GET", "/", fields));
    }

    /// What becomes of a stream: the bytes of its answer as text, or the reason of its reset.
    pub(super) fn outcome(&mut self, stream: u32) -> Result<String, u32> {
        let mut text = String::new();
        loop {
            let frame = self.read().expect("the connection lives");
            match frame.kind {
                RST_STREAM if frame.stream == stream => return Err(number(&frame.payload)),
                DATA if frame.stream == stream => text.push_str(std::str::from_utf8(&frame.payload).unwrap()),
                GOAWAY => panic!("the connection ends: {frame:?}"),
                _ => {}
            }
            if frame.stream == stream && frame.kind <= HEADERS && frame.flags & END_STREAM != 0 {
                return Ok(text);
            }
        }
    }
}

/// The bytes of a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[a, b, c, kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// A field without compression (RFC 7541, 6.2.2).
pub(super) fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = text.len();
    assert!(length < 127 + 128 * 128);
    let mut bytes = Vec::new();
    if length < 127 {
        bytes.push(u8::try_from(length).unwrap());
    } else {
        let mut rest = length - 127;
        bytes.push(127);
        while rest >= 128 {
            bytes.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        bytes.push(u8::try_from(rest).unwrap());
    }
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// The block of a request for `a.test`, with fields of the test's own.
pub(super) fn block(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "https"), (":authority", "a.test"), (":path", path)];
    pseudo.iter().chain(fields).flat_map(|(name, value)| field(name, value)).collect()
}

pub(super) fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}
