//! The data plane on a port of its own, scripted backends, and clients that send bytes as they are.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hotcore::{
    domain::Domain,
    limits::BACKLOG,
    proxy::Patience,
    routes::{Port, TableWriter},
    service::worker::{Drain, Listeners, WorkerConfig, Workers},
};

/// How long a test waits for anything before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Workers with one listener on 127.0.0.1.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    pub(crate) rules: TableWriter,
    pub(crate) workers: Workers,
    /// For tests of what happens to a worker that meets a bug.
    pub(crate) bugs_expected: bool,
}

impl Front {
    /// One worker, as most tests want it.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// With a configuration of the test's own.
    pub(crate) fn start_with(change: impl FnOnce(&mut WorkerConfig)) -> Self {
        Self::start_with_listener(change).0
    }

    /// With a copy of the listening socket, such as systemd keeps: while it is there, new connections are not refused.
    pub(crate) fn start_with_listener(change: impl FnOnce(&mut WorkerConfig)) -> (Self, TcpListener) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        // As the service does; with the usual 128 a burst of a test would wait for its SYNs to be repeated.
        socket2::SockRef::from(&listener).listen(BACKLOG).unwrap();
        let address = listener.local_addr().unwrap();
        let rules = TableWriter::new();
        let mut config = WorkerConfig {
            count: 1,
            table: rules.table(),
            tls: None,
            own_ports: vec![address.port()],
            access_log: false,
            patience: Patience::default(),
            connections_max: None,
        };
        change(&mut config);
        let copy = listener.try_clone().unwrap();
        let workers = Workers::start(config, Listeners { http: vec![listener], https: Vec::new() }).unwrap();
        workers.accept();
        (Self { address, rules, workers, bugs_expected: false }, copy)
    }

    /// Waits until all workers have ended, as they were told.
    pub(crate) fn has_ended(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, self.workers.ended()).await });
        ended.expect("the workers end in time").expect("the workers end in order");
    }

    /// Waits until no client connection is left.
    pub(crate) fn is_left_alone(&self) {
        eventually("the last connection ends", || self.workers.counts().connections == 0);
    }

    /// Maps a name to a port, at once.
    pub(crate) fn map(&mut self, domain: &str, port: u16) {
        self.rules.insert(Domain::parse(domain).unwrap(), Port::new(port).unwrap());
    }

    pub(crate) fn unmap(&mut self, domain: &str) {
        self.rules.remove(&Domain::parse(domain).unwrap());
    }

    /// A client connection.
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends bytes on a new connection, ends writing after the answer's end, and returns all that came back.
    pub(crate) fn exchange(&self, request: &[u8]) -> Vec<u8> {
        let mut client = self.connect();
        client.send(request);
        client.read_to_end()
    }

    /// A `GET /` for `host` with `Connection: close`.
    pub(crate) fn get(&self, host: &str) -> Answer {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        Answer::parse(&self.exchange(request.as_bytes()))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.workers.drain(Drain { requests: Duration::ZERO, tunnels: Duration::ZERO });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ended = runtime.block_on(self.workers.ended());
        if !thread::panicking() && !self.bugs_expected {
            ended.expect("the workers end in order");
            assert_eq!(self.workers.counts().panics, 0, "a connection met a bug");
        }
    }
}

/// A client that sends bytes as they are.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// One for whom the kernel keeps no more than so many bytes.
    pub(crate) fn connect_narrow(address: SocketAddr, bytes: usize) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        socket.connect(&address.into()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream: socket.into() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Ends the sending side.
    pub(crate) fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// All that comes until the end. A reset counts as an end here; tests that care use [`Client::read_result`].
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let (bytes, _) = self.read_result();
        bytes
    }

    /// All that comes until the end, and how it ended.
    pub(crate) fn read_result(&mut self) -> (Vec<u8>, io::Result<()>) {
        read_result(&mut self.stream)
    }

    /// Reads until `end` has come; everything up to and including it.
    pub(crate) fn read_until(&mut self, end: &[u8]) -> Vec<u8> {
        read_until(&mut self.stream, end)
    }

    /// Ends the connection with RST.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// The head of an answer, as text.
    pub(crate) fn read_head(&mut self) -> String {
        String::from_utf8(self.read_until(b"\r\n\r\n")).unwrap()
    }

    /// The same, or `None` if the connection has ended before its first byte.
    pub(crate) fn read_answer_or_end(&mut self) -> io::Result<Option<Answer>> {
        let mut byte = [0];
        match self.stream.peek(&mut byte) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(self.read_answer())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One answer with `Content-Length`, the connection left open.
    pub(crate) fn read_answer(&mut self) -> Answer {
        let head = self.read_until(b"\r\n\r\n");
        let mut answer = Answer::parse(&head);
        let length: usize = answer.field("content-length").expect("a length").parse().unwrap();
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        answer.body = body;
        answer
    }
}

/// An answer, taken apart without understanding it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {text:?}"));
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let fields =
            lines.map(|line| line.split_once(':').unwrap()).map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()));
        Self { status, fields: fields.collect(), body: bytes[end + 4..].to_vec() }
    }

    /// The value of the only field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} more than once: {:?}", self.fields);
        value
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A backend that does as it is told: the script gets each connection and its number.
pub(crate) struct Backend {
    pub(crate) port: u16,
    accepted: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    listener: TcpListener,
    accepting: JoinHandle<()>,
}

impl Backend {
    pub(crate) fn start(script: impl Fn(Peer, usize) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), script)
    }

    pub(crate) fn on(listener: TcpListener, script: impl Fn(Peer, usize) + Send + Sync + 'static) -> Self {
        let port = listener.local_addr().unwrap().port();
        socket2::SockRef::from(&listener).listen(BACKLOG).unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let open = Arc::new(AtomicUsize::new(0));
        let (counter, opened) = (accepted.clone(), open.clone());
        let script = Arc::new(script);
        let own = listener.try_clone().unwrap();
        // The thread ends with the process; each test has its own port.
        let accepting = spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let number = counter.fetch_add(1, Ordering::SeqCst);
                opened.fetch_add(1, Ordering::SeqCst);
                let (script, place) = (script.clone(), Open(opened.clone()));
                spawn(move || {
                    let _place = place;
                    script(Peer::new(stream), number)
                });
            }
        });
        Self { port, accepted, open, listener: own, accepting }
    }

    /// On ::1 only.
    pub(crate) fn on_v6(script: impl Fn(Peer, usize) + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap(), script)
    }

    /// Ends listening; connections that are open stay so.
    pub(crate) fn stop(self) {
        let Self { listener, accepting, .. } = self;
        socket2::SockRef::from(&listener).shutdown(Shutdown::Both).unwrap();
        accepting.join().unwrap();
    }

    /// Answers every request with `200` and this body, on connections that stay open.
    pub(crate) fn fixed(body: &'static str) -> Self {
        Self::start(answering(body))
    }

    /// How many connections it has taken.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many of them have a script that still runs.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A backend's side of a connection.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// The next request head, as text; `None` at the end of the connection.
    pub(crate) fn read_head(&mut self) -> Option<String> {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            match self.stream.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                _ => return None,
            }
        }
        Some(String::from_utf8(bytes).unwrap())
    }

    pub(crate) fn read_exact(&mut self, bytes: usize) -> Vec<u8> {
        let mut body = vec![0; bytes];
        self.stream.read_exact(&mut body).unwrap();
        body
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        // The proxy may have left already; what the test looks at is elsewhere.
        let _ = self.stream.write_all(bytes);
    }

    /// Waits for the end of the connection, or a reset; true if no byte came before.
    pub(crate) fn ends(&mut self) -> bool {
        !matches!(self.stream.read(&mut [0]), Ok(1))
    }

    /// Ends the connection with RST.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    pub(crate) fn answer(&mut self, body: &str) {
        self.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    }
}

/// A port of 127.0.0.1 that refuses, and that no other program can take, until a backend opens it.
pub(crate) struct Reserved {
    pub(crate) port: u16,
    socket: socket2::Socket,
}

impl Reserved {
    pub(crate) fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { port, socket }
    }

    /// From now on connections are taken.
    pub(crate) fn open(self, script: impl Fn(Peer, usize) + Send + Sync + 'static) -> Backend {
        self.socket.listen(1024).unwrap();
        Backend::on(self.socket.into(), script)
    }
}

/// Answers every request with `200` and this body, on connections that stay open.
pub(crate) fn answering(body: &'static str) -> impl Fn(Peer, usize) + Send + Sync + 'static {
    move |mut peer, _| {
        while peer.read_head().is_some() {
            peer.answer(body);
        }
    }
}

/// A port on which nobody listens.
pub(crate) fn dead_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// All that comes until the end, in clear or behind TLS; it must come in time.
pub(crate) fn read_result(stream: &mut impl Read) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = stream.read_to_end(&mut bytes).map(|_| ());
    if let Err(error) = &end {
        let is_late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        assert!(!is_late, "no end in time after {:?}", String::from_utf8_lossy(&bytes));
    }
    (bytes, end)
}

/// Reads until `end` has come; everything up to and including it.
pub(crate) fn read_until(stream: &mut impl Read, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end) {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    bytes
}

/// A thread of a test.
pub(crate) fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new().name("test".into()).spawn(work).unwrap()
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
