//! A backend that costs as little as possible: `/b/N` is N bytes, one thread, edge-triggered epoll.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
};

use mio::{Events, Interest, Poll, Token, net::TcpListener, net::TcpStream};

const LISTENER: Token = Token(0);
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const TARGET: &[u8] = b"GET /b/";
/// What is written at once at most.
const BLOCK: usize = 256 * 1024;

struct Connection {
    stream: TcpStream,
    /// Answers, or their rest, that the socket has not taken yet: heads and small bodies.
    out: Vec<u8>,
    /// Bytes of a large body that follow them.
    left: usize,
}

/// Serves for ever; prints its address first.
pub(crate) fn serve() {
    let mut poll = Poll::new().unwrap();
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    crate::say(&listener.local_addr().unwrap().to_string());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
    let mut connections: HashMap<Token, Connection> = HashMap::new();
    let (mut next, mut events, mut buffer) = (1, Events::with_capacity(1024), vec![0; 64 * 1024]);
    let body = vec![b'x'; BLOCK];
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_nodelay(true);
                    let both = Interest::READABLE | Interest::WRITABLE;
                    poll.registry().register(&mut stream, Token(next), both).unwrap();
                    connections.insert(Token(next), Connection { stream, out: Vec::new(), left: 0 });
                    next += 1;
                }
            } else if let Some(connection) = connections.get_mut(&event.token())
                && !connection.turn(&mut buffer, &body)
            {
                connections.remove(&event.token());
            }
        }
    }
}

impl Connection {
    /// Answers what is there; `false` when the connection has ended. Heads come whole: the proxies write them in one piece.
    fn turn(&mut self, buffer: &mut [u8], body: &[u8]) -> bool {
        loop {
            if !self.send(body) {
                return false;
            }
            match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(length) => {
                    let mut rest = &buffer[..length];
                    while let Some(end) = rest.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD) {
                        self.answer(&rest[..end], body);
                        rest = &rest[end + END_OF_HEAD.len()..];
                    }
                    if !self.send(body) {
                        return false;
                    }
                    if length < buffer.len() {
                        return true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(_) => return false,
            }
        }
    }

    fn answer(&mut self, head: &[u8], body: &[u8]) {
        let size = head.strip_prefix(TARGET).expect("a request of the generator");
        let size = size.iter().take_while(|byte| byte.is_ascii_digit());
        let size = size.fold(0, |size, digit| 10 * size + usize::from(digit - b'0'));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n");
        self.out.extend_from_slice(head.as_bytes());
        if size <= 4096 {
            self.out.extend_from_slice(&body[..size]);
        } else {
            self.left = size;
        }
    }

    /// As much as the socket takes; `false` when it takes nothing any more.
    fn send(&mut self, body: &[u8]) -> bool {
        while !self.out.is_empty() || self.left > 0 {
            let written = if self.out.is_empty() {
                self.stream.write(&body[..self.left.min(body.len())])
            } else {
                self.stream.write(&self.out)
            };
            match written {
                Ok(length) if self.out.is_empty() => self.left -= length,
                Ok(length) => drop(self.out.drain(..length)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}
