//! Constant traffic over HTTPS, by both versions of HTTP, of which no request may fail.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    net::TcpStream,
    runtime,
    task::{JoinSet, LocalSet, spawn_local},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{PATIENCE, Tally};

/// Requests on one connection before a new one is opened: so handshakes meet the event under test, too.
const REQUESTS_PER_CONNECTION: u32 = 200;
/// Streams at a time on a connection of HTTP/2.
const STREAMS: usize = 4;

/// What a client does all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A few requests at a time on a connection of HTTP/2.
    Http2,
    /// One request at a time on a connection of HTTP/1.1.
    Kept,
    /// A new connection for each request, with a ticket of an earlier one.
    Resumed,
    /// A new connection for each request, as if it were the first.
    Full,
}

/// Where HTTPS is served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Door<'a> {
    /// The address.
    pub(crate) address: SocketAddr,
    /// The name that is asked for, and that the certificate must have.
    pub(crate) name: &'a str,
    /// The root that vouches for it, in PEM.
    pub(crate) root: &'a Path,
}

/// Running clients on a thread of their own; dropped, they end.
pub(crate) struct SecureLoad {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    name: String,
    body: String,
    pause: Duration,
    http_2: TlsConnector,
    http_1: TlsConnector,
    without_tickets: TlsConnector,
    stop: AtomicBool,
    tally: Arc<Tally>,
    farewells: AtomicU64,
}

impl Way {
    /// The name of its requests in a [`Tally`].
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http2 => "HTTP/2",
            Self::Kept => "TLS kept",
            Self::Resumed => "TLS resumed",
            Self::Full => "TLS full",
        }
    }

    /// Whether requests of this kind share connections of HTTP/1.1.
    pub(crate) fn is_kept(kind: &str) -> bool {
        kind == Self::Kept.name()
    }
}

impl SecureLoad {
    /// Starts as many `clients` of either version. Every answer must be a 200 with this body.
    pub(crate) fn start(door: Door<'_>, clients: usize, body: &str) -> Self {
        Self::mixed(door, &[Way::Http2, Way::Kept].repeat(clients), body, Duration::ZERO, Arc::default())
    }

    /// Starts a client for each of `clients`, which pauses after each answer.
    pub(crate) fn mixed(door: Door<'_>, clients: &[Way], body: &str, pause: Duration, tally: Arc<Tally>) -> Self {
        let mut without_tickets = trusting(door.root, b"http/1.1");
        without_tickets.resumption = Resumption::disabled();
        let [http_2, http_1, without_tickets] =
            [trusting(door.root, b"h2"), trusting(door.root, b"http/1.1"), without_tickets]
                .map(|config| TlsConnector::from(Arc::new(config)));
        let shared = Arc::new(Shared {
            address: door.address,
            name: door.name.to_owned(),
            body: body.to_owned(),
            pause,
            http_2,
            http_1,
            without_tickets,
            stop: AtomicBool::new(false),
            tally,
            farewells: AtomicU64::new(0),
        });
        let (run, ways) = (Arc::clone(&shared), clients.to_vec());
        let thread = thread::Builder::new().name("HTTPS clients".to_owned()).spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                let mut clients = JoinSet::new();
                for way in ways {
                    clients.spawn_local(Arc::clone(&run).keep_asking(way));
                }
                clients.join_all().await;
            });
        });
        Self { shared, thread: Some(thread.unwrap()) }
    }

    /// Waits until `count` more requests were answered.
    pub(crate) fn wait_for_more(&self, count: u64) {
        self.shared.tally.wait_for_more(count);
    }

    /// Ends the clients; fails the test if any request failed. Gives the number of answers, and how many connections of HTTP/2 the
    /// server asked to end.
    pub(crate) fn finish(mut self) -> (u64, u64) {
        self.end();
        let seen = self.shared.tally.take();
        seen.assert_none_failed();
        (seen.answered(), self.shared.farewells.load(Relaxed))
    }

    /// Ends the clients.
    pub(crate) fn end(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for SecureLoad {
    fn drop(&mut self) {
        self.end();
    }
}

/// A client's side of TLS that trusts this root alone and speaks this protocol alone.
pub(crate) fn trusting(root: &Path, protocol: &[u8]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

impl Shared {
    async fn keep_asking(self: Arc<Self>, way: Way) {
        while !self.stop.load(Relaxed) {
            let work = async {
                match way {
                    Way::Http2 => self.by_http_2().await,
                    Way::Kept => self.by_http_1(way, &self.http_1, REQUESTS_PER_CONNECTION).await,
                    Way::Resumed => self.by_http_1(way, &self.http_1, 1).await,
                    Way::Full => self.by_http_1(way, &self.without_tickets, 1).await,
                }
            };
            let outcome = timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            if let Err(error) = outcome {
                self.tally.failed(way.name(), &error);
            }
        }
    }

    async fn connect(&self, tls: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        tls.connect(ServerName::try_from(self.name.clone()).unwrap(), socket).await
    }

    /// One connection with a few requests at a time, until it is to end.
    async fn by_http_2(self: &Arc<Self>) -> io::Result<()> {
        let begun = Instant::now();
        let stream = self.connect(&self.http_2).await?;
        let (send, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
        let end = spawn_local(connection);
        let mut streams = JoinSet::new();
        for _ in 0..STREAMS {
            streams.spawn_local(Arc::clone(self).one_after_the_other(send.clone(), begun));
        }
        drop(send);
        let mut has_failed = false;
        let mut is_farewell = false;
        for outcome in streams.join_all().await {
            match outcome {
                Ok(farewell) => is_farewell |= farewell,
                Err(error) => {
                    self.tally.failed(Way::Http2.name(), &error);
                    has_failed = true;
                }
            }
        }
        if has_failed {
            return Ok(());
        }
        self.farewells.fetch_add(u64::from(is_farewell), Relaxed);
        // After its GOAWAY the server ends the connection in order, and else we do.
        end.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    /// Whether the server wanted no more of them: a request that was sent is answered all the same. The first counts from the moment
    /// at which the connection was asked for.
    async fn one_after_the_other(
        self: Arc<Self>,
        mut send: h2::client::SendRequest<Bytes>,
        mut begun: Instant,
    ) -> io::Result<bool> {
        let is_farewell = |error: &h2::Error| error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        for _ in 0..REQUESTS_PER_CONNECTION {
            if self.stop.load(Relaxed) {
                break;
            }
            match poll_fn(|cx| send.poll_ready(cx)).await {
                Ok(()) => {}
                Err(error) if is_farewell(&error) => return Ok(true),
                Err(error) => return Err(io::Error::other(error)),
            }
            let request = Request::get(format!("https://{}/", self.name)).body(()).unwrap();
            let (response, _) = send.send_request(request, true).map_err(io::Error::other)?;
            let response = response.await.map_err(io::Error::other)?;
            let (status, mut body, mut seen) = (response.status(), response.into_body(), Vec::new());
            while let Some(piece) = body.data().await {
                let piece = piece.map_err(io::Error::other)?;
                body.flow_control().release_capacity(piece.len()).map_err(io::Error::other)?;
                seen.extend_from_slice(&piece);
            }
            self.judge(Way::Http2, begun, status, &seen)?;
            self.rest().await;
            begun = Instant::now();
        }
        Ok(false)
    }

    /// One connection with one request at a time, until it is to end.
    async fn by_http_1(&self, way: Way, tls: &TlsConnector, requests: u32) -> io::Result<()> {
        let mut begun = Instant::now();
        let stream = TokioIo::new(self.connect(tls).await?);
        let (mut send, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        let end = spawn_local(connection);
        for _ in 0..requests {
            // An end that the server announced is no failure: it shows here, before a request is sent.
            if self.stop.load(Relaxed) || send.ready().await.is_err() {
                break;
            }
            let request = Request::get("/").header(HOST, &self.name).body(Empty::<Bytes>::new()).unwrap();
            let response = send.send_request(request).await.map_err(io::Error::other)?;
            let status = response.status();
            let seen = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
            self.judge(way, begun, status, &seen)?;
            self.rest().await;
            begun = Instant::now();
        }
        drop(send);
        end.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    fn judge(&self, way: Way, begun: Instant, status: StatusCode, body: &[u8]) -> io::Result<()> {
        if status != StatusCode::OK || body != self.body.as_bytes() {
            return Err(io::Error::other(format!("{status} {:?}", String::from_utf8_lossy(body))));
        }
        self.tally.answered(way.name(), begun);
        Ok(())
    }

    async fn rest(&self) {
        if !self.pause.is_zero() {
            sleep(self.pause).await;
        }
    }
}
