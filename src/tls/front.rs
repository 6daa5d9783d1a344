//! One handshake, from the first byte to the last, under one deadline (B129, B263).
//!
//! The ClientHello is read and judged first; only then anything is computed, by at most [`HANDSHAKES_COMPUTING_MAX`] handshakes of
//! a worker between two looks at its other sockets, so that a storm of handshakes costs an established connection about a
//! millisecond and not the whole storm (performance.md 3.4).

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use rustls::{
    HandshakeKind, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{Acceptor, NoServerSessionStorage, ResolvesServerCert},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::Semaphore,
    task::yield_now,
    time::{Instant, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake, server::TlsStream};

use super::{
    Certificates, Tickets,
    certificates::Challenges,
    hello::{self, ACME_TLS, HTTP_2, Refusal, SPOKEN, Wish},
};
use crate::{
    domain::Domain,
    limits::{CERTIFICATE_WAIT, HANDSHAKE_WAIT, HANDSHAKES_COMPUTING_MAX, RELAY_BYTES_MAX, TICKETS_PER_HANDSHAKE},
    routes::Table,
};

/// How long handshakes are waited for. The defaults hold everywhere but in tests, which cannot wait for ten seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// ClientHello and handshake, from the accept on (B129).
    pub handshake: Duration,
    /// For a first certificate, while its order is in flight; the time above stands still meanwhile (B130).
    pub certificate: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { handshake: HANDSHAKE_WAIT, certificate: CERTIFICATE_WAIT }
    }
}

/// What all workers' fronts are made of; clones share it.
#[derive(Debug, Clone)]
pub struct FrontConfig {
    table: Table,
    certificates: Certificates,
    site: Arc<ServerConfig>,
    challenge: Arc<ServerConfig>,
    patience: Patience,
    totals: Arc<Totals>,
}

/// Counters of all workers together: what a stranger can trigger is counted, not logged (B219).
#[derive(Debug, Default)]
pub struct Totals {
    /// Handshakes done, resumed ones included.
    pub handshakes: AtomicU64,
    /// Of these, the ones that resumed a session.
    pub resumed: AtomicU64,
    /// Refused for their name or protocol.
    pub refused: AtomicU64,
    /// Broken off: by the client, by the deadline, by bytes that are no TLS.
    pub failed: AtomicU64,
    /// Answers to a certificate authority's challenge.
    pub challenges: AtomicU64,
}

impl FrontConfig {
    /// For the rules of `table`, with the certificates of one keyring and the keys of one process.
    pub fn new(
        table: Table,
        certificates: Certificates,
        tickets: Arc<Tickets>,
        patience: Patience,
    ) -> Result<Self, rustls::Error> {
        // Its groups include X25519MLKEM768, taken where the client prefers it; its certificates are whatever was issued.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut site = server_config(provider.clone(), Arc::new(certificates.clone()))?;
        site.alpn_protocols = SPOKEN.map(<[u8]>::to_vec).to_vec();
        site.ticketer = tickets;
        site.send_tls13_tickets = TICKETS_PER_HANDSHAKE;
        // RFC 8737, 3: that protocol alone; and nobody comes back to such a session.
        let mut challenge = server_config(provider, Arc::new(Challenges(certificates.clone())))?;
        challenge.alpn_protocols = vec![ACME_TLS.to_vec()];
        challenge.send_tls13_tickets = 0;
        Ok(Self {
            table,
            certificates,
            site: Arc::new(site),
            challenge: Arc::new(challenge),
            patience,
            totals: Arc::default(),
        })
    }

    /// The certificates that handshakes are done with.
    pub fn certificates(&self) -> Certificates {
        self.certificates.clone()
    }

    /// What has been counted so far.
    pub fn totals(&self) -> Arc<Totals> {
        self.totals.clone()
    }
}

/// TLS 1.2 and 1.3, no client certificates, no early data (it can be replayed, B170), no sessions in memory.
fn server_config(
    provider: Arc<CryptoProvider>,
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(config)
}

/// The front of one worker.
#[derive(Debug)]
pub struct Front {
    config: FrontConfig,
    /// A handshake that computes has one.
    admission: Semaphore,
}

/// A connection after its handshake.
pub struct Secured<S> {
    /// The bytes in clear; both protocols that are spoken find theirs by its ALPN.
    pub stream: Box<TlsStream<S>>,
    /// The name that its certificate is for.
    pub domain: Domain,
}

/// Whether HTTP/2 was agreed on.
pub fn speaks_http2<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP_2)
}

/// Why there is no connection to go on with; never an error of ours.
pub enum Ending<S> {
    /// Refused; the alert is written, the rest is up to who owns the socket.
    Refused(S, Refusal),
    /// A certificate authority has seen what it came for (B168). The end of the session is written.
    Challenged(S),
    /// The client has left, sent what is no TLS, or failed to agree with us.
    Failed(io::Error),
}

impl Front {
    /// For one worker.
    pub fn new(config: FrontConfig) -> Self {
        Self { config, admission: Semaphore::new(HANDSHAKES_COMPUTING_MAX) }
    }

    /// When a connection accepted now must have done its handshake, but for the time it waits for a certificate.
    pub fn deadline(&self) -> Instant {
        Instant::now() + self.config.patience.handshake
    }

    /// Counts a connection whose first byte shows that it will never be a handshake, or that ended before.
    pub fn note_failure(&self) {
        self.config.totals.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads the ClientHello from `io`, judges it, and does the handshake. `gone` resolves when the client has left: then nobody
    /// waits for a certificate any more.
    pub async fn accept<S>(
        &self,
        io: S,
        deadline: Instant,
        gone: impl Future<Output = ()>,
    ) -> Result<Secured<S>, Ending<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let totals = &self.config.totals;
        let result = self.handshake(io, deadline, gone).await;
        let counter = match &result {
            Ok(secured) => {
                let is_resumed = secured.stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed);
                totals.resumed.fetch_add(is_resumed.into(), Ordering::Relaxed);
                &totals.handshakes
            }
            Err(Ending::Refused(..)) => &totals.refused,
            Err(Ending::Challenged(_)) => &totals.challenges,
            Err(Ending::Failed(_)) => &totals.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    }

    async fn handshake<S>(
        &self,
        io: S,
        mut deadline: Instant,
        gone: impl Future<Output = ()>,
    ) -> Result<Secured<S>, Ending<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), io);
        let start = within(deadline, hello).await.map_err(Ending::Failed)?;
        let wish = {
            let hello = start.client_hello();
            hello::read(hello.server_name(), hello.alpn())
        };
        let domain = match wish {
            Ok(Wish::Challenge(domain)) if self.config.certificates.challenge(&domain).is_some() => {
                return Box::pin(self.challenge(start, deadline)).await;
            }
            Ok(Wish::Challenge(_)) => return refuse(start.io, Refusal::UnrecognizedName, deadline).await,
            Err(refusal) => return refuse(start.io, refusal, deadline).await,
            Ok(Wish::Site(domain)) => domain,
        };
        let waits = Instant::now();
        if !self.has_certificate(&domain, gone).await {
            deadline += waits.elapsed();
            return refuse(start.io, Refusal::UnrecognizedName, deadline).await;
        }
        deadline += waits.elapsed();
        let stream =
            within(deadline, Box::pin(self.compute(start, &self.config.site))).await.map_err(Ending::Failed)?;
        Ok(Secured { stream: Box::new(stream), domain })
    }

    /// Whether the name is served: it has a rule and a certificate, perhaps after waiting for it.
    async fn has_certificate(&self, domain: &Domain, gone: impl Future<Output = ()>) -> bool {
        let FrontConfig { table, certificates, patience, .. } = &self.config;
        if table.find(domain).is_none() {
            return false;
        }
        if certificates.find(domain).is_some() {
            return true;
        }
        let until = Instant::now() + patience.certificate;
        let arrives = tokio::select! {
            certificate = timeout_at(until, certificates.wait(domain)) => matches!(certificate, Ok(Some(_))),
            () = gone => false,
        };
        // The rule may have been removed meanwhile (B68).
        arrives && table.find(domain).is_some()
    }

    /// B168: the certificate is all that the other side wants to see.
    async fn challenge<S>(&self, start: StartHandshake<S>, deadline: Instant) -> Result<Secured<S>, Ending<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let work = async {
            let mut stream = self.compute(start, &self.config.challenge).await?;
            // Whether it still listens makes no difference.
            let _ = stream.shutdown().await;
            Ok(stream.into_inner().0)
        };
        match within(deadline, work).await {
            Ok(io) => Err(Ending::Challenged(io)),
            Err(error) => Err(Ending::Failed(error)),
        }
    }

    /// The rest of a handshake. What costs is what comes before the first write: the key exchange and the signature.
    async fn compute<S>(&self, start: StartHandshake<S>, config: &Arc<ServerConfig>) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        // In the order of arrival. Never closed, so there is always a permit to come.
        let permit = self.admission.acquire().await;
        let mut handshake =
            start.into_stream_with(config.clone(), |session| session.set_buffer_limit(Some(RELAY_BYTES_MAX)));
        let written = poll_fn(|cx| Poll::Ready(Pin::new(&mut handshake).poll(cx))).await;
        // Passed on only after the worker has looked at its other sockets.
        yield_now().await;
        drop(permit);
        match written {
            Poll::Ready(done) => done,
            Poll::Pending => handshake.await,
        }
    }
}

async fn refuse<S>(mut io: S, refusal: Refusal, deadline: Instant) -> Result<Secured<S>, Ending<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match within(deadline, io.write_all(&refusal.alert())).await {
        Ok(()) => Err(Ending::Refused(io, refusal)),
        Err(error) => Err(Ending::Failed(error)),
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(deadline, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl<S> fmt::Debug for Secured<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("domain", &self.domain).finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Ending<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<S> fmt::Display for Ending<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(_, refusal) => fmt::Display::fmt(refusal, f),
            Self::Challenged(_) => f.write_str("a challenge was answered"),
            Self::Failed(error) => fmt::Display::fmt(error, f),
        }
    }
}
