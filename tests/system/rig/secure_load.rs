//! Constant traffic over HTTPS, by both versions of HTTP, of which no request may fail.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    net::TcpStream,
    runtime,
    task::{JoinSet, LocalSet, spawn_local},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{PATIENCE, SecureSite, wait_for};

/// Requests on one connection before a new one is opened: so handshakes meet the event under test, too.
const REQUESTS_PER_CONNECTION: u32 = 200;
/// Streams at a time on a connection of HTTP/2.
const STREAMS: usize = 4;

/// Running clients on a thread of their own; dropped, they end.
pub(crate) struct SecureLoad {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    name: String,
    body: &'static str,
    tls: [TlsConnector; 2],
    stop: AtomicBool,
    answered: AtomicU64,
    farewells: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl SecureLoad {
    /// Starts as many `clients` of either version. Every answer must be a 200 with this body.
    pub(crate) fn start(site: &SecureSite, name: &str, clients: usize, body: &'static str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(site.root()).unwrap()).unwrap();
        let tls = [&b"h2"[..], b"http/1.1"].map(|protocol| {
            let mut config = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
            config.alpn_protocols = vec![protocol.to_vec()];
            TlsConnector::from(Arc::new(config))
        });
        let shared = Arc::new(Shared {
            address: site.address,
            name: name.to_owned(),
            body,
            tls,
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            farewells: AtomicU64::new(0),
            failures: Mutex::new(Vec::new()),
        });
        let (run, count) = (Arc::clone(&shared), clients);
        let thread = thread::Builder::new().name("HTTPS clients".to_owned()).spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                let mut clients = JoinSet::new();
                for _ in 0..count {
                    clients.spawn_local(Arc::clone(&run).keep_asking(true));
                    clients.spawn_local(Arc::clone(&run).keep_asking(false));
                }
                clients.join_all().await;
            });
        });
        Self { shared, thread: Some(thread.unwrap()) }
    }

    /// Waits until `count` more requests were answered.
    pub(crate) fn wait_for_more(&self, count: u64) {
        let goal = self.shared.answered.load(Relaxed) + count;
        wait_for("answers under load", PATIENCE, || {
            let failed = self.shared.failures.lock().unwrap().len() > 100;
            (failed || self.shared.answered.load(Relaxed) >= goal).then_some(())
        });
    }

    /// Ends the clients; fails the test if any request failed. Gives the number of answers, and how many connections of HTTP/2 the
    /// server asked to end.
    pub(crate) fn finish(mut self) -> (u64, u64) {
        self.end();
        let answered = self.shared.answered.load(Relaxed);
        let failures = self.shared.failures.lock().unwrap();
        let shown = &failures[..failures.len().min(5)];
        assert!(failures.is_empty(), "{} of {answered} requests failed: {shown:#?}", failures.len());
        (answered, self.shared.farewells.load(Relaxed))
    }

    fn end(&mut self) {
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

impl Shared {
    async fn keep_asking(self: Arc<Self>, by_http_2: bool) {
        while !self.stop.load(Relaxed) {
            let work = async { if by_http_2 { self.by_http_2().await } else { self.by_http_1().await } };
            let outcome = timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            if let Err(error) = outcome {
                let version = if by_http_2 { 2 } else { 1 };
                self.failures.lock().unwrap().push(format!("HTTP/{version}: {error}"));
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
        let stream = self.connect(&self.tls[0]).await?;
        let (send, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
        let end = spawn_local(connection);
        let mut streams = JoinSet::new();
        for _ in 0..STREAMS {
            streams.spawn_local(Arc::clone(self).one_after_the_other(send.clone()));
        }
        drop(send);
        let mut is_farewell = false;
        for outcome in streams.join_all().await {
            is_farewell |= outcome?;
        }
        self.farewells.fetch_add(u64::from(is_farewell), Relaxed);
        // After its GOAWAY the server ends the connection in order, and else we do.
        end.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    /// Whether the server wanted no more of them: a request that was sent is answered all the same.
    async fn one_after_the_other(self: Arc<Self>, mut send: h2::client::SendRequest<Bytes>) -> io::Result<bool> {
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
            self.judge(status, &seen)?;
        }
        Ok(false)
    }

    /// One connection with one request at a time, until it is to end.
    async fn by_http_1(self: &Arc<Self>) -> io::Result<()> {
        let stream = TokioIo::new(self.connect(&self.tls[1]).await?);
        let (mut send, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
        let end = spawn_local(connection);
        for _ in 0..REQUESTS_PER_CONNECTION {
            // An end that the server announced is no failure: it shows here, before a request is sent.
            if self.stop.load(Relaxed) || send.ready().await.is_err() {
                break;
            }
            let request = Request::get("/").header(HOST, &self.name).body(Empty::<Bytes>::new()).unwrap();
            let response = send.send_request(request).await.map_err(io::Error::other)?;
            let status = response.status();
            let seen = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
            self.judge(status, &seen)?;
        }
        drop(send);
        end.await.map_err(io::Error::other)?.map_err(io::Error::other)
    }

    fn judge(&self, status: StatusCode, body: &[u8]) -> io::Result<()> {
        if status != StatusCode::OK || body != self.body.as_bytes() {
            return Err(io::Error::other(format!("{status} {:?}", String::from_utf8_lossy(body))));
        }
        self.answered.fetch_add(1, Relaxed);
        Ok(())
    }
}
