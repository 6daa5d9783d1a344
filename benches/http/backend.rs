//! A backend that costs as little as possible: a fixed answer for each head, one thread, edge-triggered epoll.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
};

use mio::{Events, Interest, Poll, Token, net::TcpListener, net::TcpStream};

const LISTENER: Token = Token(0);
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Serves for ever; prints its address first.
pub(crate) fn serve() {
    let mut poll = Poll::new().unwrap();
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    crate::say(&listener.local_addr().unwrap().to_string());
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).unwrap();
    let answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 128\r\n\r\n{}", "x".repeat(128));
    let mut connections: HashMap<Token, TcpStream> = HashMap::new();
    let (mut next, mut events, mut buffer) = (1, Events::with_capacity(1024), vec![0; 64 * 1024]);
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let _ = stream.set_nodelay(true);
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE).unwrap();
                    connections.insert(Token(next), stream);
                    next += 1;
                }
            } else if let Some(stream) = connections.get_mut(&event.token())
                && !answer_all(stream, &mut buffer, answer.as_bytes())
            {
                connections.remove(&event.token());
            }
        }
    }
}

/// Answers what is there; `false` when the connection has ended. Heads come whole: the proxies write them in one piece.
fn answer_all(stream: &mut TcpStream, buffer: &mut [u8], answer: &[u8]) -> bool {
    loop {
        match stream.read(buffer) {
            Ok(0) => return false,
            Ok(length) => {
                let heads = buffer[..length].windows(END_OF_HEAD.len()).filter(|window| *window == END_OF_HEAD).count();
                if stream.write_all(&answer.repeat(heads)).is_err() {
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
