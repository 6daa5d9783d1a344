//! The door of HTTPS and that of plain HTTP beside it, certificates made on the spot, and clients that speak TLS.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hotcore::{
    domain::Domain,
    limits::BACKLOG,
    proxy::Patience,
    routes::TableWriter,
    service::worker::{Listeners, WorkerConfig, Workers},
    tls::{self, CertifiedKey, FrontConfig, Keyring, Tickets},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::aws_lc_rs::{self, sign::any_supported_type},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};

use crate::front::{Answer, Client, Front, PATIENCE, read_result, read_until};

/// Workers with a listener for each of HTTPS and plain HTTP on 127.0.0.1, and the keyring that the service would have.
pub(crate) struct SecureFront {
    /// Its address is that of the HTTPS door.
    pub(crate) front: Front,
    /// The door of plain HTTP.
    pub(crate) plain: SocketAddr,
    pub(crate) keyring: Keyring,
    /// What clients trust: every certificate made here.
    roots: RootCertStore,
}

impl SecureFront {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {}, |_| {}, fresh_tickets())
    }

    /// With a configuration, a patience and keys of tickets of the test's own.
    pub(crate) fn start_with(
        change: impl FnOnce(&mut WorkerConfig),
        hurry: impl FnOnce(&mut tls::Patience),
        tickets: Arc<Tickets>,
    ) -> Self {
        let (listener, plain_listener) = (listen(), listen());
        let (address, plain) = (listener.local_addr().unwrap(), plain_listener.local_addr().unwrap());
        let (rules, keyring) = (TableWriter::new(), Keyring::new());
        let mut patience = tls::Patience::default();
        hurry(&mut patience);
        let mut config = WorkerConfig {
            count: 1,
            table: rules.table(),
            tls: Some(FrontConfig::new(rules.table(), keyring.certificates(), tickets, patience).unwrap()),
            own_ports: vec![address.port(), plain.port()],
            access_log: false,
            patience: Patience::default(),
            connections_max: None,
        };
        change(&mut config);
        let workers = Workers::start(config, Listeners { http: vec![plain_listener], https: vec![listener] }).unwrap();
        workers.accept();
        let front = Front { address, rules, workers, bugs_expected: false };
        Self { front, plain, keyring, roots: RootCertStore::empty() }
    }

    /// A rule and a certificate.
    pub(crate) fn serve(&mut self, name: &str, port: u16) {
        self.front.map(name, port);
        self.certify(name);
    }

    /// A certificate, whether there is a rule or not.
    pub(crate) fn certify(&mut self, name: &str) {
        let certificate = certificate(name);
        self.trust(&certificate);
        self.keyring.insert(domain(name), certificate).unwrap();
    }

    pub(crate) fn trust(&mut self, certificate: &CertifiedKey) {
        self.roots.add(certificate.end_entity_cert().unwrap().clone()).unwrap();
    }

    /// How a client speaks that trusts what was made here: HTTP/1.1, TLS 1.2 and 1.3.
    pub(crate) fn client_config(&self) -> ClientConfig {
        self.client_config_with(rustls::ALL_VERSIONS)
    }

    pub(crate) fn client_config_with(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let mut config = builder.with_root_certificates(self.roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config
    }

    /// A client after its handshake.
    pub(crate) fn connect(&self, name: &str) -> SecureClient {
        self.try_connect(name, &Arc::new(self.client_config())).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn try_connect(&self, name: &str, config: &Arc<ClientConfig>) -> io::Result<SecureClient> {
        SecureClient::connect(self.front.address, name, config)
    }

    /// A `GET /` with `Connection: close`.
    pub(crate) fn get(&self, name: &str) -> Answer {
        let mut client = self.connect(name);
        client.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").as_bytes());
        let (bytes, end) = client.read_result();
        end.expect("it ends with close_notify");
        Answer::parse(&bytes)
    }

    /// All that comes back on a new connection to the plain door.
    pub(crate) fn ask_in_clear(&self, request: &str) -> Answer {
        let mut client = Client::connect(self.plain);
        client.send(request.as_bytes());
        Answer::parse(&client.read_to_end())
    }

    /// The alert with which a handshake is refused.
    pub(crate) fn refusal(&self, name: &str, config: ClientConfig) -> rustls::AlertDescription {
        match self.try_connect(name, &Arc::new(config)) {
            Ok(_) => panic!("{name} is served"),
            Err(error) => match error.get_ref().and_then(|error| error.downcast_ref()) {
                Some(rustls::Error::AlertReceived(alert)) => *alert,
                other => panic!("{name}: {error} {other:?}"),
            },
        }
    }
}

/// A client of HTTPS.
pub(crate) struct SecureClient {
    pub(crate) stream: StreamOwned<ClientConnection, TcpStream>,
}

impl SecureClient {
    pub(crate) fn connect(address: SocketAddr, name: &str, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(config.clone(), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self { stream: StreamOwned::new(session, socket) })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    /// Says that nothing more comes, and that nothing was cut off.
    pub(crate) fn finish(&mut self) {
        self.stream.conn.send_close_notify();
        self.stream.flush().unwrap();
    }

    /// All that comes until the end; an end without close_notify is an error.
    pub(crate) fn read_result(&mut self) -> (Vec<u8>, io::Result<()>) {
        read_result(&mut self.stream)
    }

    /// Reads until `end` has come; everything up to and including it.
    pub(crate) fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        read_until(&mut self.stream, end)
    }

    /// One answer with `Content-Length`, the connection left open.
    pub(crate) fn read_answer(&mut self) -> Answer {
        let mut answer = Answer::parse(&self.read_until(b"\r\n\r\n"));
        let length: usize = answer.field("content-length").expect("a length").parse().unwrap();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        answer.body = body;
        answer
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    }
}

fn listen() -> TcpListener {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    socket2::SockRef::from(&listener).listen(BACKLOG).unwrap();
    listener
}

pub(crate) fn fresh_tickets() -> Arc<Tickets> {
    Arc::new(Tickets::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)).unwrap())
}

pub(crate) fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// Self-signed, for this name.
pub(crate) fn certificate(name: &str) -> Arc<CertifiedKey> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    key_with(&made.cert, &made.key_pair)
}

/// As it is served.
pub(crate) fn key_with(certificate: &rcgen::Certificate, key: &rcgen::KeyPair) -> Arc<CertifiedKey> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Arc::new(CertifiedKey::new(vec![certificate.der().clone()], any_supported_type(&key).unwrap()))
}
