//! A control server on a thread of its own, journals that obey the test, and clients.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use hotcore::{
    control::{Certificates, Counters, Server, ServerConfig, ServerError, Standing, socket},
    domain::Domain,
    routes::{Change, Commit, Port, SaveError, Table, TableWriter},
};
use tokio::sync::oneshot;

/// No event of these tests takes so long, on a machine however busy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const OWN_PORTS: [u16; 3] = [80, 443, 40608];

/// A running server.
pub(crate) struct Rig {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) table: Table,
    pub(crate) counters: Arc<Counters>,
    pub(crate) heartbeat: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<(Server, Result<(), ServerError>)>>,
}

impl Rig {
    pub(crate) fn start(commit: impl Commit) -> Self {
        Self::serve(new_server(commit), &[bind("127.0.0.1:0")])
    }

    /// Runs `server` on sockets that stay the test's own.
    pub(crate) fn serve(mut server: Server, sockets: &[UdpSocket]) -> Self {
        let sockets: Vec<UdpSocket> = sockets.iter().map(|socket| socket.try_clone().unwrap()).collect();
        let addresses = sockets.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let (table, counters, heartbeat) = (server.table(), server.counters(), server.heartbeat());
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let ended = runtime.block_on(server.run(&sockets, async { stopped.await.unwrap_or(()) }));
            (server, ended)
        };
        let thread = Builder::new().name("control".to_owned()).spawn(run).unwrap();
        Self { addresses, table, counters, heartbeat, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn client(&self) -> Client {
        Client::of(self.addresses[0])
    }

    pub(crate) fn ask(&self, message: impl AsRef<[u8]>) -> String {
        self.client().ask(message)
    }

    pub(crate) fn tell_to_stop(&mut self) {
        drop(self.stop.take());
    }

    pub(crate) fn join(mut self) -> Server {
        self.tell_to_stop();
        let (server, ended) = self.thread.take().unwrap().join().unwrap();
        ended.unwrap();
        server
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.tell_to_stop();
        if let Some(thread) = self.thread.take()
            && !std::thread::panicking()
        {
            thread.join().unwrap().1.unwrap();
        }
    }
}

pub(crate) fn new_server(commit: impl Commit) -> Server {
    server_with(TableWriter::new(), commit)
}

/// A server that begins with these rules.
pub(crate) fn server_with(writer: TableWriter, commit: impl Commit) -> Server {
    let config = ServerConfig {
        own_ports: OWN_PORTS.to_vec(),
        started: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_500),
        status: Box::new(|| vec![("http", "127.0.0.1:80".to_owned()), ("log", "journalctl\n-u hotcore".to_owned())]),
        certificates: Box::new(Kept::default()),
    };
    Server::new(config, writer, Box::new(commit))
}

/// A server without rules that is told of certificates by `certificates`.
pub(crate) fn server_that_keeps(certificates: impl Certificates + 'static) -> Server {
    let config = ServerConfig {
        own_ports: OWN_PORTS.to_vec(),
        started: SystemTime::UNIX_EPOCH,
        status: Box::new(Vec::new),
        certificates: Box::new(certificates),
    };
    Server::new(config, TableWriter::new(), Box::new(Disk::default()))
}

/// Certificates as somebody keeps them, and the names that were to be tried: so many that no more may wait.
#[derive(Clone, Default)]
pub(crate) struct Kept {
    pub(crate) lines: Vec<(Domain, Standing<'static>)>,
    pub(crate) wishes: Arc<Mutex<Vec<Domain>>>,
    pub(crate) wishes_max: usize,
}

impl Certificates for Kept {
    fn page_after(&self, after: Option<&Domain>, see: &mut dyn FnMut(&Domain, Standing<'_>) -> bool) {
        let behind = self.lines.iter().filter(|line| after.is_none_or(|after| line.0 > *after));
        for (domain, standing) in behind {
            if !see(domain, *standing) {
                break;
            }
        }
    }

    fn retry(&self, domain: &Domain) -> bool {
        let mut wishes = self.wishes.lock().unwrap();
        let has_room = wishes.len() < self.wishes_max;
        wishes.extend(has_room.then(|| domain.clone()));
        has_room
    }
}

/// A control socket.
pub(crate) fn bind(address: &str) -> UdpSocket {
    socket::bind(address.parse().unwrap()).unwrap().socket
}

/// A client with a connected socket, as the CLI has one.
pub(crate) struct Client(pub(crate) UdpSocket);

impl Client {
    pub(crate) fn of(server: SocketAddr) -> Self {
        Self::from(if server.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }, server)
    }

    pub(crate) fn from(own: &str, server: SocketAddr) -> Self {
        let socket = UdpSocket::bind(own).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(socket)
    }

    pub(crate) fn send(&self, message: impl AsRef<[u8]>) {
        assert_eq!(self.0.send(message.as_ref()).unwrap(), message.as_ref().len());
    }

    pub(crate) fn receive(&self) -> String {
        let mut reply = [0; 2048];
        let length = self.0.recv(&mut reply).expect("no reply");
        assert!(length <= 1024, "a reply of {length} bytes");
        String::from_utf8(reply[..length].to_vec()).unwrap()
    }

    pub(crate) fn ask(&self, message: impl AsRef<[u8]>) -> String {
        self.send(message);
        self.receive()
    }

    /// Whether no reply is in the socket at this moment.
    pub(crate) fn has_nothing(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let nothing = self.0.recv(&mut [0; 8]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        self.0.set_nonblocking(false).unwrap();
        nothing
    }

    /// All rules, page by page.
    pub(crate) fn list(&self) -> BTreeMap<String, u16> {
        let mut rules = BTreeMap::new();
        let mut message = "list".to_owned();
        loop {
            let reply = self.ask(&message);
            let mut more = None;
            for line in reply.lines() {
                let (name, port) = line.split_once(' ').unwrap();
                match name {
                    "more" => more = Some(port.to_owned()),
                    _ => assert_eq!(rules.insert(name.to_owned(), port.parse().unwrap()), None, "{name} came twice"),
                }
            }
            match more {
                Some(last) => message = format!("list after {last}"),
                None => return rules,
            }
        }
    }
}

/// Waits for what must come about, without a fixed time.
pub(crate) fn wait_for(what: &str, mut come: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !come() {
        assert!(Instant::now() < end, "{what} did not come about");
        std::thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// The port that requests for `name` go to.
pub(crate) fn port_of(table: &Table, name: &str) -> Option<u16> {
    table.find(&domain(name)).map(|rule| rule.port.number())
}

/// A disk in memory: what is on it survives the server. It fails while it is told to.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    rules: Mutex<BTreeMap<String, u16>>,
    full: AtomicBool,
    commits: AtomicU64,
    changes: AtomicU64,
}

impl Disk {
    pub(crate) fn fill(&self, full: bool) {
        self.0.full.store(full, Ordering::SeqCst);
    }

    pub(crate) fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::SeqCst)
    }

    pub(crate) fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::SeqCst)
    }

    pub(crate) fn rules(&self) -> BTreeMap<String, u16> {
        self.0.rules.lock().unwrap().clone()
    }

    /// The rules as a restart finds them.
    pub(crate) fn read(&self) -> TableWriter {
        let mut writer = TableWriter::new();
        for (name, port) in self.rules() {
            writer.insert(domain(&name), Port::new(port).unwrap());
        }
        writer
    }
}

impl Commit for Disk {
    fn commit(&mut self, changes: &[Change], _: &Table) -> Result<(), SaveError> {
        self.0.commits.fetch_add(1, Ordering::SeqCst);
        if self.0.full.load(Ordering::SeqCst) {
            return Err(SaveError("no space left on device".to_owned()));
        }
        self.0.changes.fetch_add(changes.len() as u64, Ordering::SeqCst);
        let mut rules = self.0.rules.lock().unwrap();
        for change in changes {
            match change {
                Change::Map(domain, port) => rules.insert(domain.as_str().to_owned(), port.number()),
                Change::Unmap(domain) => rules.remove(domain.as_str()),
            };
        }
        Ok(())
    }
}

/// A disk that waits for the test: `began` gives the changes of each commit, `end` lets it return.
pub(crate) struct Stalled {
    began: mpsc::Receiver<Vec<Change>>,
    end: mpsc::Sender<Result<(), SaveError>>,
}

struct StalledCommit {
    began: mpsc::Sender<Vec<Change>>,
    end: mpsc::Receiver<Result<(), SaveError>>,
}

impl Stalled {
    pub(crate) fn new() -> (Self, impl Commit) {
        let ((began_here, began), (end, end_here)) = (mpsc::channel(), mpsc::channel());
        (Self { began, end }, StalledCommit { began: began_here, end: end_here })
    }

    pub(crate) fn began(&self) -> Vec<Change> {
        self.began.recv_timeout(DEADLINE).expect("no commit began")
    }

    pub(crate) fn end(&self) {
        self.end.send(Ok(())).unwrap();
    }

    pub(crate) fn fail(&self, cause: &str) {
        self.end.send(Err(SaveError(cause.to_owned()))).unwrap();
    }
}

impl Commit for StalledCommit {
    fn commit(&mut self, changes: &[Change], _: &Table) -> Result<(), SaveError> {
        self.began.send(changes.to_vec()).unwrap();
        // The test has ended: let the server end too.
        self.end.recv().unwrap_or(Ok(()))
    }
}

/// The seed of a random test, printed: `HOTCORE_SEED` repeats a run.
#[expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test is its own edge")]
pub(crate) fn seed() -> u64 {
    let given = std::env::var("HOTCORE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("HOTCORE_SEED={seed}");
    seed
}
