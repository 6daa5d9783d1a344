//! The floor: what moving the bytes costs without understanding them. Each client connection has one connection to the backend;
//! whatever can be read from one is written to the other. No proxy on the same system calls can be cheaper.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
};

use mio::{Events, Interest, Poll, Token, net::TcpListener, net::TcpStream};

const LISTENER: Token = Token(0);

/// Serves for ever; prints its address first. Ends of one pair have tokens that differ in the lowest bit.
pub(crate) fn serve(backend: SocketAddr) {
    let mut poll = Poll::new().unwrap();
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    crate::say(&listener.local_addr().unwrap().to_string());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
    let mut ends: HashMap<Token, TcpStream> = HashMap::new();
    let (mut next, mut events, mut buffer) = (2, Events::with_capacity(1024), vec![0; 64 * 1024]);
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    // Blocking until connected: loopback answers at once.
                    let upstream = std::net::TcpStream::connect(backend).unwrap();
                    upstream.set_nonblocking(true).unwrap();
                    for (mut end, token) in [(client, next), (TcpStream::from_std(upstream), next + 1)] {
                        let _ = end.set_nodelay(true);
                        poll.registry().register(&mut end, Token(token), Interest::READABLE).unwrap();
                        ends.insert(Token(token), end);
                    }
                    next += 2;
                }
            } else if !forward(&mut ends, event.token(), &mut buffer) {
                ends.remove(&event.token());
                ends.remove(&other(event.token()));
            }
        }
    }
}

fn other(token: Token) -> Token {
    Token(token.0 ^ 1)
}

/// `false` when the pair has ended. Messages of the benchmark are smaller than any socket buffer, so a write never blocks.
fn forward(ends: &mut HashMap<Token, TcpStream>, token: Token, buffer: &mut [u8]) -> bool {
    let Some(from) = ends.get_mut(&token) else { return true };
    match from.read(buffer) {
        Ok(0) => false,
        Ok(length) => ends.get_mut(&other(token)).is_some_and(|to| to.write_all(&buffer[..length]).is_ok()),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}
