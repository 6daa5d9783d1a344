//! One HTTPS request to the CA on one connection: bounded in bytes; the caller bounds the time.
//!
//! Never here: a redirect followed, a connection kept, an address other than what the name of the CA resolves to.

use std::{
    error::Error,
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, StatusCode, Uri,
    header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, USER_AGENT},
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, ClientConfig, pki_types::ServerName},
};

use crate::limits::{
    CA_ADDRESSES_MAX, CA_ANSWER_BYTES_MAX, CA_CONNECT_WAIT, CA_HEAD_BYTES_MAX, CA_LOOKUPS_MAX, CA_URL_BYTES_MAX,
    HTTPS_PORT,
};

/// RFC 8555, 6.1: clients name themselves.
const AGENT: &str = concat!("hotcore/", env!("CARGO_PKG_VERSION"));

/// Makes requests.
pub(super) struct Client {
    tls: TlsConnector,
    lookups: Arc<Semaphore>,
    /// The address that answered last, by authority: a CA whose first address is dead costs its time limit once.
    answered: Mutex<Option<(String, SocketAddr)>>,
}

/// A complete response.
#[derive(Debug)]
pub struct Reply {
    /// Any.
    pub status: StatusCode,
    /// As they came.
    pub headers: HeaderMap,
    /// [`CA_ANSWER_BYTES_MAX`] at most.
    pub body: Bytes,
}

impl Client {
    pub(super) fn new(config: Arc<ClientConfig>) -> Self {
        Self {
            tls: TlsConnector::from(config),
            lookups: Arc::new(Semaphore::new(CA_LOOKUPS_MAX)),
            answered: Mutex::new(None),
        }
    }

    /// Sends one request and reads its whole answer, whatever its status.
    pub(super) async fn request(&self, method: Method, url: &str, body: Option<String>) -> Result<Reply, ClientError> {
        let place = Place::parse(url).ok_or_else(|| ClientError::Url(url.to_owned()))?;
        let mut request = Request::builder()
            .method(method)
            .uri(place.target.as_str())
            .header(HOST, place.authority.as_str())
            .header(USER_AGENT, AGENT)
            .header(CONNECTION, "close");
        request = match body {
            // RFC 8555, 6.2.
            Some(_) => request.header(CONTENT_TYPE, "application/jose+json"),
            None => request.header(ACCEPT, "application/json"),
        };
        let request =
            request.body(Full::from(body.unwrap_or_default())).map_err(|_| ClientError::Url(url.to_owned()))?;
        exchange(self.connect(&place).await?, request).await
    }

    async fn connect(&self, place: &Place) -> Result<TlsStream<TcpStream>, ClientError> {
        let server = ServerName::try_from(place.host.clone()).map_err(|_| ClientError::Url(place.authority.clone()))?;
        let mut refusal = None;
        for address in self.addresses(place).await? {
            let connected = timeout(CA_CONNECT_WAIT, TcpStream::connect(address)).await;
            match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => {
                    // Requests are small and alone on their connection: nothing is gained by gathering them.
                    let _ = stream.set_nodelay(true);
                    let secured = self.tls.connect(server, stream).await.map_err(ClientError::from_tls)?;
                    *self.answered() = Some((place.authority.clone(), address));
                    return Ok(secured);
                }
                Err(cause) => refusal = Some((address, cause)),
            }
        }
        *self.answered() = None;
        Err(match refusal {
            Some((address, cause)) => ClientError::Connect(address, cause),
            None => ClientError::Resolve(place.host.clone(), io::ErrorKind::NotFound.into()),
        })
    }

    /// The addresses of the CA, the one that answered last first.
    async fn addresses(&self, place: &Place) -> Result<Vec<SocketAddr>, ClientError> {
        let failed = |cause| ClientError::Resolve(place.host.clone(), cause);
        // The permit goes with the thread: getaddrinfo cannot be stopped, and a dead resolver must not gather threads (B174).
        let permit =
            Arc::clone(&self.lookups).acquire_owned().await.map_err(|_| failed(io::ErrorKind::Other.into()))?;
        let (host, port) = (place.host.clone(), place.port);
        let found = tokio::task::spawn_blocking(move || {
            let found = (host.as_str(), port).to_socket_addrs().map(|found| found.take(CA_ADDRESSES_MAX).collect());
            drop(permit);
            found
        });
        let mut found: Vec<SocketAddr> =
            found.await.map_err(|cause| failed(io::Error::other(cause)))?.map_err(failed)?;
        let first = self.answered().as_ref().filter(|last| last.0 == place.authority).map(|last| last.1);
        found.sort_by_key(|address| Some(*address) != first);
        Ok(found)
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, Option<(String, SocketAddr)>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn exchange(stream: TlsStream<TcpStream>, request: Request<Full<Bytes>>) -> Result<Reply, ClientError> {
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(CA_HEAD_BYTES_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(ClientError::broken)?;
    let mut connection = pin!(connection);
    let mut answer = pin!(async move {
        let (head, body) = sender.send_request(request).await.map_err(ClientError::broken)?.into_parts();
        let body = Limited::new(body, CA_ANSWER_BYTES_MAX).collect().await.map_err(|cause| {
            if cause.is::<LengthLimitError>() { ClientError::TooLarge } else { ClientError::broken(&*cause) }
        })?;
        Ok(Reply { status: head.status, headers: head.headers, body: body.to_bytes() })
    });
    tokio::select! {
        biased;
        answer = &mut answer => return answer,
        _ = &mut connection => {}
    }
    // The connection is over; what it has brought is in the channel, and so is the reason if it has brought too little.
    answer.await
}

/// The parts of an `https` URL.
struct Place {
    authority: String,
    host: String,
    port: u16,
    target: String,
}

impl Place {
    fn parse(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok().filter(|_| url.len() <= CA_URL_BYTES_MAX)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let is_https = uri.scheme_str() == Some("https");
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(HTTPS_PORT);
        (is_https && !host.is_empty()).then(|| Self { authority: authority.to_string(), host, port, target })
    }
}

/// The host of an `https` URL that requests can be made to.
pub(super) fn host(url: &str) -> Option<String> {
    Place::parse(url).map(|place| place.host)
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum ClientError {
    /// Not a URL that may be asked: another scheme, user information, too long.
    Url(String),
    /// The name of the CA has no address.
    Resolve(String, io::Error),
    /// None of its addresses takes a connection; the last one tried.
    Connect(SocketAddr, io::Error),
    /// Its certificate is not signed by a root that is trusted here, or is not valid for its name now.
    Untrusted(rustls::CertificateError),
    /// The connection or the answer broke off, or is not HTTP.
    Broken(String),
    /// The body is larger than any that the protocol needs.
    TooLarge,
}

impl ClientError {
    fn from_tls(cause: io::Error) -> Self {
        match cause.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(fault)) => Self::Untrusted(fault.clone()),
            _ => Self::Broken(format!("TLS: {cause}")),
        }
    }

    fn broken(cause: impl Error) -> Self {
        let mut text = cause.to_string();
        let mut inner = cause.source();
        while let Some(cause) = inner {
            text = format!("{text}: {cause}");
            inner = cause.source();
        }
        Self::Broken(text)
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "{url:?} is not an https address"),
            Self::Resolve(host, cause) => write!(f, "cannot find the address of {host}: {cause}"),
            Self::Connect(address, cause) => write!(f, "cannot connect to {address}: {cause}"),
            Self::Untrusted(fault) => write!(f, "its certificate is not trusted: {fault}"),
            Self::Broken(cause) => write!(f, "the connection broke off: {cause}"),
            Self::TooLarge => write!(f, "its answer is larger than {CA_ANSWER_BYTES_MAX} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Option<(String, String, u16, String)> {
        Place::parse(url).map(|place| (place.authority, place.host, place.port, place.target))
    }

    #[test]
    fn a_url_is_taken_apart() {
        let found = parts("https://ca.example/dir?a=b").unwrap();
        assert_eq!(found, ("ca.example".into(), "ca.example".into(), 443, "/dir?a=b".into()));
        let found = parts("https://[::1]:14000").unwrap();
        assert_eq!(found, ("[::1]:14000".into(), "::1".into(), 14000, "/".into()));
    }

    #[test]
    fn a_url_that_leads_elsewhere_is_refused() {
        for url in ["http://ca.example/dir", "https://a@ca.example/", "/dir", "", "ca.example", "https:///dir"] {
            assert!(parts(url).is_none(), "{url}");
        }
        let path = |length: usize| format!("https://ca.example/{}", "a".repeat(length - 19));
        assert!(parts(&path(CA_URL_BYTES_MAX)).is_some());
        assert!(parts(&path(CA_URL_BYTES_MAX + 1)).is_none());
    }
}
