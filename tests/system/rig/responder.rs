//! Two tiny servers that show answers to the CA's challenges, one for each kind.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use hotcore::{
    certs::issuer::{Answer, ChallengeKind, Challenges},
    domain::Domain,
};
use tokio_rustls::rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::PATIENCE;

/// Shows what is published to it. Dropped, it ends its threads.
pub(crate) struct Responder {
    shown: Arc<Shown>,
    http: SocketAddr,
    tls: SocketAddr,
    /// Whether [`Challenges::front`] says where it is.
    pub(crate) is_found: bool,
    /// Whether it says that it shows answers but does not.
    pub(crate) is_lying: bool,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default, Debug)]
struct Shown {
    texts: Mutex<HashMap<(String, String), String>>,
    certificates: Mutex<HashMap<String, Arc<CertifiedKey>>>,
    is_over: AtomicBool,
}

impl Responder {
    pub(crate) fn start() -> Self {
        let shown = Arc::new(Shown::default());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as _);
        config.alpn_protocols = vec![b"acme-tls/1".to_vec()];
        let config = Arc::new(config);
        let texts = Arc::clone(&shown);
        let (http, plain) = serve(&shown, move |stream| answer(&texts, stream));
        let (tls, secure) = serve(&shown, move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = StreamOwned::new(connection, stream).read(&mut [0]);
        });
        Self { shown, http, tls, is_found: true, is_lying: false, threads: vec![plain, secure] }
    }

    pub(crate) fn http_port(&self) -> u16 {
        self.http.port()
    }

    pub(crate) fn tls_port(&self) -> u16 {
        self.tls.port()
    }

    /// How many answers are in place.
    pub(crate) fn count(&self) -> usize {
        self.shown.texts.lock().unwrap().len() + self.shown.certificates.lock().unwrap().len()
    }
}

impl Challenges for Responder {
    async fn publish(&self, domain: &Domain, answer: &Answer) -> Result<(), String> {
        let name = domain.to_string();
        match answer {
            _ if self.is_lying => {}
            Answer::Http { token, key_authorization } => {
                self.shown.texts.lock().unwrap().insert((name, token.clone()), key_authorization.clone());
            }
            Answer::Tls { certificate } => {
                self.shown.certificates.lock().unwrap().insert(name, Arc::clone(certificate));
            }
        }
        Ok(())
    }

    fn withdraw(&self, domain: &Domain, answer: &Answer) {
        let name = domain.to_string();
        match answer {
            Answer::Http { token, .. } => _ = self.shown.texts.lock().unwrap().remove(&(name, token.clone())),
            Answer::Tls { .. } => _ = self.shown.certificates.lock().unwrap().remove(&name),
        }
    }

    fn front(&self, kind: ChallengeKind) -> Option<SocketAddr> {
        let front = match kind {
            ChallengeKind::TlsAlpn01 => self.tls,
            ChallengeKind::Http01 => self.http,
        };
        self.is_found.then_some(front)
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificates.lock().unwrap().get(hello.server_name()?).cloned()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.shown.is_over.store(true, Relaxed);
        for (address, thread) in [self.http, self.tls].into_iter().zip(self.threads.drain(..)) {
            // Wakes it up.
            drop(TcpStream::connect(address));
            thread.join().unwrap();
        }
    }
}

/// A thread that serves one connection after the other: the CA's are short.
fn serve(shown: &Arc<Shown>, mut handle: impl FnMut(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, shown) = (listener.local_addr().unwrap(), Arc::clone(shown));
    let run = move || {
        for stream in listener.incoming() {
            if shown.is_over.load(Relaxed) {
                return;
            }
            let Ok(stream) = stream else { continue };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            handle(stream);
        }
    };
    (address, thread::Builder::new().name("responder".to_owned()).spawn(run).unwrap())
}

/// RFC 8555, 8.3.
fn answer(shown: &Shown, stream: TcpStream) {
    let (mut token, mut host) = (String::new(), String::new());
    for line in BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(target) = line.strip_prefix("GET /.well-known/acme-challenge/") {
            token = target.split(' ').next().unwrap().to_owned();
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("host: ") {
            host = value.split(':').next().unwrap().to_owned();
        }
    }
    let text = shown.texts.lock().unwrap().get(&(host, token)).cloned();
    let (status, body) = text.map_or(("404 Not Found", String::new()), |text| ("200 OK", text));
    let length = body.len();
    let _ = write!(&stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
}
