//! A small HTTP/1.1 client on a raw socket: it never repeats a request, so every cut connection shows.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
};

use rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use super::{PATIENCE, secure_load::trusting, succeed};

/// What a client reads from and writes to: a socket, or TLS on one.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// One connection.
pub(crate) struct Client {
    stream: BufReader<Box<dyn Stream>>,
    /// The same, below TLS.
    socket: TcpStream,
    framing: Framing,
}

/// What is left of the body that is being read (RFC 9112, 6.3).
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The fields, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// The body; empty where only the head was read.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the connection ends with this answer.
    pub(crate) fn closes(&self) -> bool {
        self.field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Client {
    /// Connects.
    pub(crate) fn connect(address: SocketAddr) -> io::Result<Self> {
        let socket = socket(address)?;
        Ok(Self::on(Box::new(socket.try_clone()?), socket))
    }

    /// Connects by TLS to this name; the server shows a certificate that this root vouches for.
    pub(crate) fn connect_securely(address: SocketAddr, name: &str, root: &Path) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(Arc::new(trusting(root, b"http/1.1")), name).map_err(io::Error::other)?;
        let socket = socket(address)?;
        Ok(Self::on(Box::new(StreamOwned::new(tls, socket.try_clone()?)), socket))
    }

    fn on(stream: Box<dyn Stream>, socket: TcpStream) -> Self {
        Self { stream: BufReader::new(stream), socket, framing: Framing::Length(0) }
    }

    /// Whether the server has closed the connection, as far as it is known here: most clients look before they send.
    pub(crate) fn has_ended(&self) -> io::Result<bool> {
        self.socket.set_nonblocking(true)?;
        let seen = self.socket.peek(&mut [0]);
        self.socket.set_nonblocking(false)?;
        Ok(!seen.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock))
    }

    /// Sends a GET and reads the whole answer.
    pub(crate) fn get(&mut self, host: &str, path: &str) -> io::Result<Answer> {
        self.write(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))?;
        self.answer()
    }

    /// Reads a whole answer.
    pub(crate) fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        while let Some(piece) = self.piece()? {
            answer.body.extend_from_slice(&piece);
        }
        Ok(answer)
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    /// Reads a response head.
    pub(crate) fn head(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {status_line:?}")))?;
        let mut answer = Answer { status, fields: Vec::new(), body: Vec::new() };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) =
                line.split_once(':').ok_or_else(|| io::Error::other(format!("not a field: {line:?}")))?;
            answer.fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        self.framing = if answer.field("transfer-encoding").is_some() {
            Framing::Chunked
        } else if let Some(length) = answer.field("content-length") {
            Framing::Length(length.parse().map_err(io::Error::other)?)
        } else if status < 200 || status == 204 || status == 304 {
            Framing::Length(0)
        } else {
            Framing::UntilClose
        };
        Ok(answer)
    }

    /// The next piece of the body, as it came; `None` at its proper end. A body that is cut short is an error.
    pub(crate) fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        match self.framing {
            Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                let piece = self.stream.fill_buf()?.to_vec();
                let taken = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                if taken == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.stream.consume(taken);
                self.framing = Framing::Length(left - taken as u64);
                Ok(Some(piece[..taken].to_vec()))
            }
            Framing::Chunked => {
                let line = self.line()?;
                let size = u64::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
                let size = size.map_err(|_| io::Error::other(format!("not a chunk size: {line:?}")))?;
                let mut piece = vec![0; usize::try_from(size).map_err(io::Error::other)?];
                self.stream.read_exact(&mut piece)?;
                if size == 0 {
                    while !self.line()?.is_empty() {}
                    self.framing = Framing::Length(0);
                    return Ok(None);
                }
                self.line()?;
                Ok(Some(piece))
            }
            Framing::UntilClose => {
                let piece = self.stream.fill_buf()?.to_vec();
                self.stream.consume(piece.len());
                Ok(if piece.is_empty() { None } else { Some(piece) })
            }
        }
    }

    /// The connection, with what was read ahead, for another protocol.
    pub(crate) fn into_stream(self) -> BufReader<Box<dyn Stream>> {
        self.stream
    }

    /// Reads up to `text` in the body; fails where the body ends before.
    pub(crate) fn read_until(&mut self, text: &str) -> io::Result<String> {
        let mut seen = String::new();
        while !seen.contains(text) {
            let piece = self.piece()?.ok_or_else(|| io::Error::other(format!("the body ended after {seen:?}")))?;
            seen.push_str(&String::from_utf8_lossy(&piece));
        }
        Ok(seen)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None if line.is_empty() => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed before an answer")),
            None => Err(io::Error::other(format!("not a line: {line:?}"))),
        }
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// curl, which believes that `address` serves every name.
pub(crate) fn curl(address: SocketAddr) -> Command {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "300"]);
    command.args(["--connect-to", &format!("::{address}")]);
    command
}

impl Answer {
    /// A GET by curl.
    pub(crate) fn by_curl(address: SocketAddr, url: &str) -> String {
        succeed(curl(address).arg(url))
    }
}
