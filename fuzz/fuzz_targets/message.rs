//! A datagram never panics the grammar; a command means the same when it is written out and read again; a refusal is one
//! printable line that fits into a reply, and is never answered when it comes back.

#![no_main]

use hotcore::{
    control::{
        protocol::{Command, Ignored, Message},
        reply,
    },
    limits::REPLY_BYTES_MAX,
};
use libfuzzer_sys::fuzz_target;

const OWN_PORTS: [u16; 3] = [80, 443, 40608];

fuzz_target!(|datagram: &[u8]| {
    match Message::parse(datagram, &OWN_PORTS) {
        Message::Command(command) => {
            let again = Message::parse(write_out(&command).as_bytes(), &OWN_PORTS);
            assert_eq!(again, Message::Command(command));
        }
        Message::Refused(refusal) => {
            let reply = reply::refused(&refusal);
            assert!(reply.len() <= REPLY_BYTES_MAX);
            assert!(reply.bytes().all(|byte| matches!(byte, b' '..=b'~')));
            assert_eq!(Message::parse(reply.as_bytes(), &OWN_PORTS), Message::Ignored(Ignored::ReplyWord));
        }
        Message::Ignored(_) => {}
    }
});

fn write_out(command: &Command) -> String {
    match command {
        Command::Add(domain, port) => {
            assert!(!OWN_PORTS.contains(&port.number()));
            format!("add {domain} {port}")
        }
        Command::Remove(domain) => format!("remove {domain}"),
        Command::List(None) => "list".to_owned(),
        Command::List(Some(domain)) => format!("list after {domain}"),
        Command::Certificates(None) => "certs".to_owned(),
        Command::Certificates(Some(domain)) => format!("certs after {domain}"),
        Command::Retry(domain) => format!("retry {domain}"),
        Command::Check => "check".to_owned(),
        Command::Version => "version".to_owned(),
        Command::Status => "status".to_owned(),
        Command::Help => "help".to_owned(),
    }
}
