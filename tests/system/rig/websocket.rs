//! A small WebSocket client (RFC 6455): short text messages, one at a time.

use std::{
    io::{self, BufReader, Read, Write},
    net::SocketAddr,
    path::Path,
};

use super::{Client, http::Stream};

const PONG: u8 = 0xA;

/// An open WebSocket.
pub(crate) struct WebSocket(BufReader<Box<dyn Stream>>);

impl WebSocket {
    /// Shakes hands with the key and the accept value of RFC 6455, 1.3.
    pub(crate) fn connect(address: SocketAddr, host: &str) -> io::Result<Self> {
        Self::on(Client::connect(address)?, host)
    }

    /// The same by TLS, to a server that this root vouches for.
    pub(crate) fn connect_securely(address: SocketAddr, host: &str, root: &Path) -> io::Result<Self> {
        Self::on(Client::connect_securely(address, host, root)?, host)
    }

    fn on(mut client: Client, host: &str) -> io::Result<Self> {
        client.write(&format!(
            "GET /chat HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ))?;
        let head = client.head()?;
        if head.status != 101 || head.field("sec-websocket-accept") != Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") {
            return Err(io::Error::other(format!("no WebSocket: {head:?}")));
        }
        Ok(Self(client.into_stream()))
    }

    /// Sends a text message and reads the next one.
    pub(crate) fn ask(&mut self, text: &str) -> io::Result<String> {
        self.write(0x1, text.as_bytes())?;
        loop {
            let mut head = [0; 2];
            self.0.read_exact(&mut head)?;
            let mut length = usize::from(head[1] & 0x7F);
            if length == 126 {
                let mut long = [0; 2];
                self.0.read_exact(&mut long)?;
                length = usize::from(u16::from_be_bytes(long));
            }
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload)?;
            match head[0] & 0xF {
                0x1 => return String::from_utf8(payload).map_err(io::Error::other),
                0x9 => self.write(PONG, &payload)?,
                other => return Err(io::Error::other(format!("frame of kind {other}: {payload:?}"))),
            }
        }
    }

    /// One final frame; a client's frames are masked, here with zeros.
    fn write(&mut self, kind: u8, payload: &[u8]) -> io::Result<()> {
        let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126).expect("a short message");
        let mut frame = vec![0x80 | kind, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(payload);
        self.0.get_mut().write_all(&frame)
    }
}
