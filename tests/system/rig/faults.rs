//! A front before the CA that goes wrong where a test wants it to.
//!
//! It ends TLS with the same certificate and passes everything else on as it is: the CA builds its URLs from `Host`, so they lead
//! here again.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{Identity, PATIENCE, Pebble};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// No answer ever.
    Hang,
    /// RST instead of an answer.
    Reset,
    /// 429 with `Retry-After`.
    TooMany,
    /// 503 with `Retry-After`.
    Busy,
    /// 500 without a reason.
    Internal,
    /// Half of some JSON, well framed.
    HalfJson,
    /// Fewer bytes than `Content-Length` says.
    Short,
    /// A body without an end.
    Endless,
    /// A field without an end.
    EndlessHead,
    /// Another certificate than the one whose root the client was given.
    Certificate,
    /// 409: the certificate to be replaced has been replaced before (RFC 9773, 5).
    Replaced,
}

impl Fault {
    /// All that may happen to any request.
    pub(crate) const ALL: [Self; 10] = [
        Self::Hang,
        Self::Reset,
        Self::TooMany,
        Self::Busy,
        Self::Internal,
        Self::HalfJson,
        Self::Short,
        Self::Endless,
        Self::EndlessHead,
        Self::Certificate,
    ];
}

/// A running front; dropped, it ends its thread.
pub(crate) struct Front {
    address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Plan {
    is_over: bool,
    /// From this request on, or at this one alone.
    fault: Option<(usize, Fault, bool)>,
    /// The lines and bodies of the requests so far.
    requests: Vec<String>,
    /// Bytes of endless answers that were taken.
    endless: usize,
    /// Orders that have begun and not ended, now and at most.
    orders: (usize, usize),
    /// The answer to requests for renewal information, and its `Retry-After`; offered in the directory if there is one.
    renewal: Option<(String, u32)>,
}

impl Front {
    pub(crate) fn start(pebble: &Pebble) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let plan = Arc::new(Mutex::new(Plan::default()));
        let relay = Arc::new(Relay {
            good: server(pebble.identity()),
            bad: server(&Identity::new()),
            client: client(pebble.identity()),
            ca: ([127, 0, 0, 1], pebble.port).into(),
            here: address,
            plan: Arc::clone(&plan),
        });
        let run = move || {
            let mut threads = Vec::new();
            for stream in listener.incoming() {
                if relay.plan.lock().unwrap().is_over {
                    break;
                }
                let (relay, stream) = (Arc::clone(&relay), stream.unwrap());
                let serve = move || _ = relay.serve(stream);
                threads.push(thread::Builder::new().name("front's connection".to_owned()).spawn(serve).unwrap());
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        };
        let thread = thread::Builder::new().name("front".to_owned()).spawn(run).unwrap();
        Self { address, plan, thread: Some(thread) }
    }

    /// The directory as seen through it.
    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.address.port())
    }

    /// Counts requests from 1 on again; from request number `position` on, each goes wrong.
    pub(crate) fn fail_from(&self, position: usize, fault: Fault) {
        self.set(Some((position, fault, false)));
    }

    /// The same for one request alone.
    pub(crate) fn fail_once(&self, position: usize, fault: Fault) {
        self.set(Some((position, fault, true)));
    }

    /// All goes well from now on.
    pub(crate) fn heal(&self) {
        self.set(None);
    }

    /// Offers renewal information.
    pub(crate) fn offer_renewal(&self, answer: &str, retry_after: u32) {
        self.plan.lock().unwrap().renewal = Some((answer.to_owned(), retry_after));
    }

    /// The requests since the plan was last changed: line, blank, body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.plan.lock().unwrap().requests.clone()
    }

    /// The most orders that were made and had not ended at one time.
    pub(crate) fn orders_in_flight_max(&self) -> usize {
        self.plan.lock().unwrap().orders.1
    }

    /// The most bytes that were taken of an endless answer.
    pub(crate) fn endless(&self) -> usize {
        self.plan.lock().unwrap().endless
    }

    fn set(&self, fault: Option<(usize, Fault, bool)>) {
        let mut plan = self.plan.lock().unwrap();
        (plan.fault, plan.requests) = (fault, Vec::new());
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.plan.lock().unwrap().is_over = true;
        drop(TcpStream::connect(self.address));
        self.thread.take().unwrap().join().unwrap();
    }
}

struct Relay {
    good: Arc<ServerConfig>,
    bad: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    ca: SocketAddr,
    here: SocketAddr,
    plan: Arc<Mutex<Plan>>,
}

impl Relay {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // One request a connection: so its number is known before the handshake.
        let number = self.plan.lock().unwrap().requests.len() + 1;
        let is_bad = self.fault(number) == Some(Fault::Certificate);
        let config = Arc::clone(if is_bad { &self.bad } else { &self.good });
        let mut client = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
        let request = match read_request(&mut client) {
            Ok(request) => request,
            Err(cause) => {
                self.plan.lock().unwrap().requests.push("none".to_owned());
                return Err(cause);
            }
        };
        let text = String::from_utf8_lossy(&request).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let line = head.lines().next().unwrap();
        let target = line.split(' ').nth(1).unwrap().to_owned();
        let renewal = {
            let mut plan = self.plan.lock().unwrap();
            plan.requests.push(format!("{line} {body}"));
            plan.renewal.clone()
        };
        if let Some(fault) = self.fault(number) {
            return self.go_wrong(fault, client);
        }
        if let Some((answer, retry_after)) = renewal.as_ref().filter(|_| target.starts_with("/renewal/")) {
            let fields = format!("Retry-After: {retry_after}\r\n");
            return reply(&mut client, "200 OK", &fields, answer);
        }
        let mut answer = self.ask(&request)?;
        self.count_order(&target, &answer);
        if renewal.is_some() && target == "/dir" {
            answer = self.with_renewal(&answer);
        }
        client.write_all(&answer)?;
        finish(&mut client)
    }

    /// Each begins and ends with a request of its own that goes well (RFC 8555, 7.4).
    fn count_order(&self, target: &str, answer: &[u8]) {
        let orders = &mut self.plan.lock().unwrap().orders;
        if target == "/order-plz" && answer.starts_with(b"HTTP/1.1 201") {
            orders.0 += 1;
            orders.1 = orders.1.max(orders.0);
        } else if target.starts_with("/certZ/") && answer.starts_with(b"HTTP/1.1 200") {
            orders.0 = orders.0.saturating_sub(1);
        }
    }

    fn fault(&self, number: usize) -> Option<Fault> {
        let (position, fault, is_once) = self.plan.lock().unwrap().fault?;
        (number == position || (number > position && !is_once)).then_some(fault)
    }

    fn ask(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let stream = TcpStream::connect(self.ca)?;
        let name = "localhost".try_into().unwrap();
        let mut ca = StreamOwned::new(ClientConnection::new(Arc::clone(&self.client), name).unwrap(), stream);
        ca.write_all(request)?;
        let mut answer = Vec::new();
        match ca.read_to_end(&mut answer) {
            // Without a close_notify.
            Err(cause) if cause.kind() != io::ErrorKind::UnexpectedEof => Err(cause),
            _ => Ok(answer),
        }
    }

    fn with_renewal(&self, answer: &[u8]) -> Vec<u8> {
        let text = String::from_utf8_lossy(answer);
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let mut directory: serde_json::Value = serde_json::from_str(body).unwrap();
        directory["renewalInfo"] = format!("https://localhost:{}/renewal", self.here.port()).into();
        let body = directory.to_string();
        let date = text.lines().find(|line| line.to_ascii_lowercase().starts_with("date:")).unwrap_or("Vary: Date");
        let length = body.len();
        format!("HTTP/1.1 200 OK\r\n{date}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
    }

    fn go_wrong(&self, fault: Fault, mut client: StreamOwned<ServerConnection, TcpStream>) -> io::Result<()> {
        let problem = |kind: &str| {
            format!(r#"{{"type":"urn:ietf:params:acme:error:{kind}","detail":"too many requests, try later"}}"#)
        };
        match fault {
            // Ends when the client has had enough.
            Fault::Hang | Fault::Certificate => _ = client.read(&mut [0; 16]),
            Fault::Reset => socket2::SockRef::from(&client.sock).set_linger(Some(Duration::ZERO))?,
            Fault::TooMany => {
                reply(&mut client, "429 Too Many Requests", "Retry-After: 1\r\n", &problem("rateLimited"))?;
            }
            Fault::Busy => reply(&mut client, "503 Service Unavailable", "Retry-After: 1\r\n", &problem("busy"))?,
            Fault::Internal => reply(&mut client, "500 Internal Server Error", "", "<html>")?,
            Fault::Replaced => reply(&mut client, "409 Conflict", "", &problem("alreadyReplaced"))?,
            Fault::HalfJson => reply(&mut client, "200 OK", "", r#"{"status":"valid","authoriz"#)?,
            Fault::Short => {
                client.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"a\":")?;
                finish(&mut client)?;
            }
            Fault::Endless => {
                self.pour(&mut client, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4000\r\n")?;
            }
            Fault::EndlessHead => self.pour(&mut client, b"HTTP/1.1 200 OK\r\nA: b", b"")?,
        }
        Ok(())
    }

    fn pour(&self, client: &mut impl Write, head: &[u8], before: &[u8]) -> io::Result<()> {
        let mut piece = before.to_vec();
        piece.extend([b'a'; 0x4000]);
        if !before.is_empty() {
            piece.extend(b"\r\n");
        }
        client.write_all(head)?;
        let mut taken = 0;
        while client.write_all(&piece).is_ok() {
            taken += piece.len();
            let mut plan = self.plan.lock().unwrap();
            plan.endless = plan.endless.max(taken);
            // The test fails by this figure; the machine need not.
            if plan.is_over || taken > 1 << 30 {
                break;
            }
        }
        Ok(())
    }
}

fn read_request(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return Ok(request);
            }
        }
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            length => request.extend_from_slice(&piece[..length]),
        }
    }
}

fn reply(
    client: &mut StreamOwned<ServerConnection, TcpStream>,
    status: &str,
    fields: &str,
    body: &str,
) -> io::Result<()> {
    let length = body.len();
    write!(client, "HTTP/1.1 {status}\r\n{fields}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
    finish(client)
}

fn finish(client: &mut StreamOwned<ServerConnection, TcpStream>) -> io::Result<()> {
    client.conn.send_close_notify();
    client.flush()
}

fn server(identity: &Identity) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

fn client(identity: &Identity) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(identity.root.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}
