//! A backend that keeps every byte it receives, and how each connection ended.

use std::{
    io::Read,
    sync::{Arc, Condvar, Mutex, MutexGuard},
};

use crate::front::{Backend, PATIENCE, Peer};

/// The backend.
pub(crate) struct Recorder {
    pub(crate) port: u16,
    tape: Arc<Tape>,
}

#[derive(Default)]
struct Tape {
    links: Mutex<Vec<Link>>,
    changed: Condvar,
}

/// One connection as the backend saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    pub(crate) bytes: Vec<u8>,
    pub(crate) ended: bool,
}

impl Recorder {
    /// Answers each complete request with `200` and `ok`.
    pub(crate) fn start() -> Self {
        Self::answering(|_| Some(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()))
    }

    /// Never answers.
    pub(crate) fn silent() -> Self {
        Self::answering(|_| None)
    }

    /// Gives the answer to each complete request; what it may send before, see [`Recorder::scripted`].
    pub(crate) fn answering(answer: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::scripted(|_| {}, answer)
    }

    /// `greet` gets the connection as soon as the first byte of its first request is there.
    pub(crate) fn scripted(
        greet: impl Fn(&mut Peer) + Send + Sync + 'static,
        answer: impl Fn(&Request) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let tape = Arc::new(Tape::default());
        let writing = tape.clone();
        let backend = Backend::start(move |mut peer, _| {
            let number = {
                let mut links = writing.lock();
                links.push(Link::default());
                links.len() - 1
            };
            let (mut answered, mut space) = (0, vec![0; 64 * 1024]);
            let mut greeted = false;
            while let Ok(count @ 1..) = peer.stream.read(&mut space) {
                let received = {
                    let mut links = writing.lock();
                    links[number].bytes.extend_from_slice(&space[..count]);
                    links[number].bytes.clone()
                };
                writing.changed.notify_all();
                if !greeted {
                    greeted = true;
                    greet(&mut peer);
                }
                while let Some((request, end)) = Request::read(&received[answered..]) {
                    answered += end;
                    if let Some(bytes) = answer(&request) {
                        peer.send(&bytes);
                    }
                }
            }
            writing.lock()[number].ended = true;
            writing.changed.notify_all();
        });
        Self { port: backend.port, tape }
    }

    /// All connections so far.
    pub(crate) fn links(&self) -> Vec<Link> {
        self.tape.lock().clone()
    }

    /// All complete requests so far, in the order of their connections.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let mut requests = Vec::new();
        for link in self.links() {
            let mut rest = &link.bytes[..];
            while let Some((request, end)) = Request::read(rest) {
                requests.push(request);
                rest = &rest[end..];
            }
        }
        requests
    }

    /// The only request so far.
    pub(crate) fn only(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests.remove(0)
    }

    /// Waits until the connections satisfy `condition`, woken by every byte.
    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&[Link]) -> bool) {
        let links = self.tape.lock();
        let (links, waited) = self.tape.changed.wait_timeout_while(links, PATIENCE, |links| !condition(links)).unwrap();
        assert!(!waited.timed_out(), "not in time: {what}: {links:?}");
    }

    /// Waits until a first byte has arrived.
    pub(crate) fn wait_for_request(&self) {
        self.wait("a request", |links| links.iter().any(|link| !link.bytes.is_empty()));
    }

    /// Waits until every connection has ended.
    pub(crate) fn wait_for_end(&self) {
        self.wait("the end of all connections", |links| links.iter().all(|link| link.ended));
    }
}

impl Tape {
    fn lock(&self) -> MutexGuard<'_, Vec<Link>> {
        self.links.lock().unwrap()
    }
}

/// A complete request as it came over the wire.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// The head with its empty line.
    pub(crate) head: String,
    /// The body with its framing.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The first complete request in `bytes`, and where it ends.
    fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let start = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..start]).into_owned();
        let mut request = Self { head, body: Vec::new() };
        let rest = &bytes[start..];
        let length = match request.field("content-length") {
            Some(length) => length.parse().unwrap(),
            None if request.field("transfer-encoding").is_some() => chunked_end(rest)?,
            None => 0,
        };
        request.body = rest.get(..length)?.to_vec();
        Some((request, start + length))
    }

    pub(crate) fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }

    /// The value of the only field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let values = self.fields(name);
        assert!(values.len() < 2, "{name} more than once: {self:?}");
        values.first().copied()
    }

    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
    }

    /// The field lines, sorted, without the number that differs from run to run.
    pub(crate) fn sorted(&self) -> Vec<String> {
        let lines = self.head.split("\r\n").skip(1).filter(|line| !line.is_empty());
        let mut lines: Vec<_> = lines
            .map(|line| match line.split_once("hotcore-") {
                Some((before, number)) => format!("{before}hotcore-{}", number.get(8..).unwrap_or("?")),
                None => line.to_owned(),
            })
            .collect();
        lines.sort();
        lines
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.head, String::from_utf8_lossy(&self.body))
    }
}

/// Where a chunked body ends.
fn chunked_end(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).unwrap(), 16).unwrap();
        at += line + 2;
        if size == 0 {
            // Trailers, then an empty line.
            loop {
                let line = bytes[at..].windows(2).position(|window| window == b"\r\n")?;
                at += line + 2;
                if line == 0 {
                    return Some(at);
                }
            }
        }
        at += size + 2;
        bytes.get(..at)?;
    }
}
