//! What comes in clear to the port of HTTPS (B63): who speaks HTTP is told where to go, in the form that it asks for; anything else
//! is closed without a word, since nobody knows what it would understand.
//!
//! Never here: a request that is carried out, more than one page's worth of memory, a wait beyond the handshake's deadline.

use std::time::Instant;

use http::{HeaderValue, header::HOST};
use memchr::{memchr, memmem};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant as Deadline, timeout_at},
};

use super::{
    Proxy,
    connection::ConnStream,
    head::{find_end, is_token},
    lingering::linger,
    pages::{self, Problem},
    stream::ClientStream,
};
use crate::{domain::Authority, limits::HEAD_READ_BYTES};

impl Proxy {
    /// Answers and ends the connection; nothing of it has been read.
    pub(super) async fn answer_in_clear(&self, mut io: ConnStream, deadline: Deadline) {
        io.0.handshake_begins(Instant::now());
        let Ok(Some(head)) = timeout_at(deadline, read(&mut io)).await else { return };
        let port = io.0.stream().local_addr().map_or(0, |address| address.port());
        let problem = Problem::ClearText { site: site(&head, port) };
        let response = pages::answer(&problem, pages::sniff(&head, b"accept").as_ref());
        let bytes = pages::to_wire(&response, pages::is_head_request(&head));
        // A page fits into the socket's empty buffer; who does not read it has left.
        if matches!(timeout_at(deadline, io.write_all(&bytes)).await, Ok(Ok(()))) {
            linger(ClientStream::Plain(io), self.patience.linger).await;
        }
    }
}

/// The head of a request, or as much of it as tells enough; `None` if it is not HTTP.
async fn read(io: &mut ConnStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(HEAD_READ_BYTES);
    loop {
        let searched = bytes.len();
        let has_ended = io.read_buf(&mut bytes).await.ok()? == 0;
        match is_http(&bytes) {
            Some(false) => return None,
            None if has_ended || bytes.len() >= HEAD_READ_BYTES => return None,
            Some(true) if has_ended || bytes.len() >= HEAD_READ_BYTES || find_end(&bytes, searched).is_some() => {
                return Some(bytes);
            }
            _ => {}
        }
    }
}

/// Whether the first line is one of HTTP; `None` while that is open.
fn is_http(bytes: &[u8]) -> Option<bool> {
    let line = memchr(b'\n', bytes).and_then(|end| bytes.get(..end));
    let begun = line.unwrap_or(bytes);
    let method = memchr(b' ', begun).and_then(|end| begun.get(..end)).unwrap_or(begun);
    let method = if line.is_none() { method.strip_suffix(b"\r").unwrap_or(method) } else { method };
    if !method.iter().all(|&byte| is_token(byte)) {
        return Some(false);
    }
    line.map(|line| memmem::find(line, b" HTTP/").is_some())
}

/// Where the client wanted to go, if it says so: the port that it thinks it speaks to, else the one that it has reached.
fn site(head: &[u8], reached: u16) -> Option<pages::Site> {
    let host = pages::sniff(head, HOST.as_str().as_bytes());
    let Authority { domain, port } = Authority::parse(host.as_ref().map_or(&b""[..], HeaderValue::as_bytes)).ok()?;
    Some(pages::Site { domain: domain?, port: port.unwrap_or(reached) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B63.
    #[test]
    fn the_first_line_tells_whether_it_is_http() {
        for (bytes, verdict) in [
            ("GET / HTTP/1.1\r\n", Some(true)),
            ("GET / HTTP/1.0\n", Some(true)),
            ("PRI * HTTP/2.0\r\n\r\nSM", Some(true)),
            ("M-SEARCH /<> HTTP/9\r\n", Some(true)),
            ("GET / HTTP/1.1", None),
            ("GET / HTTP/1.1\r", None),
            ("GET", None),
            ("GET\r", None),
            ("G", None),
            ("", None),
            ("GET /\r\n", Some(false)),
            ("HELO a.test\r\n", Some(false)),
            ("SSH-2.0-client 1\r\n", Some(false)),
            ("\r\nGET / HTTP/1.1\r\n", Some(false)),
            ("\0\0\0", Some(false)),
            ("\u{80}", Some(false)),
            ("{\"a\": 1}", Some(false)),
            ("*1\r\n$4\r\nPING\r\n", Some(false)),
        ] {
            assert_eq!(is_http(bytes.as_bytes()), verdict, "{bytes:?}");
        }
    }

    #[test]
    fn the_site_is_the_one_that_was_asked_for() {
        let of = |host: &str| {
            let site = site(format!("GET / HTTP/1.1\r\n{host}\r\n\r\n").as_bytes(), 8443)?;
            Some((site.domain.to_string(), site.port))
        };
        assert_eq!(of("Host: a.test"), Some(("a.test".into(), 8443)));
        assert_eq!(of("host:A.Test.:443"), Some(("a.test".into(), 443)));
        for host in ["Host: 192.0.2.1", "Host: a_b.test", "Host: a@b.test", "Host:", "X: a.test"] {
            assert_eq!(of(host), None, "{host}");
        }
    }
}
