//! ClientHellos as bytes, and what comes back for them as bytes: names in every spelling, alerts, messages cut into records (B1, B2,
//! B5, B169, B263).

use std::{
    io::{Read, Write},
    sync::Arc,
};

use crate::{
    front::{Backend, Client},
    secure::SecureFront,
};

fn served(name: &str) -> SecureFront {
    let backend = Backend::fixed("hello");
    let mut front = SecureFront::start();
    front.serve(name, backend.port);
    front
}

/// A ClientHello whose name is `name`, whatever a library would think of it: one of the same length is written over.
fn hello(front: &SecureFront, name: &str, protocols: &[&str]) -> Vec<u8> {
    let place = "n".repeat(name.len());
    let mut config = front.client_config();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let server = rustls::pki_types::ServerName::try_from(place.clone()).unwrap();
    let mut session = rustls::ClientConnection::new(Arc::new(config), server).unwrap();
    let mut bytes = Vec::new();
    session.write_tls(&mut bytes).unwrap();
    let at = bytes.windows(place.len()).position(|window| window == place.as_bytes()).unwrap();
    bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
    bytes
}

/// The handshake message that comes first, or the alert: its record's type, and its description or the message's type.
fn first_answer(client: &mut Client) -> (u8, u8) {
    let mut record = [0; 5];
    client.stream.read_exact(&mut record).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([record[3], record[4]]))];
    client.stream.read_exact(&mut body).unwrap();
    match record[0] {
        0x15 => (0x15, body[1]),
        kind => (kind, body[0]),
    }
}

const SERVER_HELLO: (u8, u8) = (0x16, 2);
const UNRECOGNIZED_NAME: (u8, u8) = (0x15, 112);
/// The library refuses what is no name by its bytes before it lets anybody look.
const ILLEGAL_PARAMETER: (u8, u8) = (0x15, 47);

/// B1, B2, B5, B169: the one normaliser, and never a certificate for what is no name.
#[test]
fn a_name_is_known_in_every_spelling_and_no_other_is() {
    let front = served("a.test");
    for (name, expected) in [
        ("a.test", SERVER_HELLO),
        ("A.TEST", SERVER_HELLO),
        ("a.TesT", SERVER_HELLO),
        ("a.test.", SERVER_HELLO),
        ("a.test..", ILLEGAL_PARAMETER),
        (".a.test", ILLEGAL_PARAMETER),
        ("www.a.test", UNRECOGNIZED_NAME),
        ("*.test", ILLEGAL_PARAMETER),
        ("a_b.test", UNRECOGNIZED_NAME),
        ("a.test:443", ILLEGAL_PARAMETER),
        ("192.0.2.1", UNRECOGNIZED_NAME),
        ("2001:db8::1", UNRECOGNIZED_NAME),
        ("0x7f.1", ILLEGAL_PARAMETER),
        ("a.test\0", ILLEGAL_PARAMETER),
        ("a.te\u{17f}t", ILLEGAL_PARAMETER),
    ] {
        let mut client = front.front.connect();
        client.send(&hello(&front, name, &["http/1.1"]));
        assert_eq!(first_answer(&mut client), expected, "{name:?}");
    }
    front.front.is_left_alone();
}

/// B10, B169, B263: seven bytes and an end in order, not a byte of a certificate.
#[test]
fn a_refusal_is_one_alert_and_the_end() {
    let mut front = served("a.test");
    front.certify("unmapped.test");
    for (name, protocols, description) in [
        ("unknown.test", &["http/1.1"][..], 112),
        ("unmapped.test", &["http/1.1"], 112),
        ("unknown.test", &["ftp"], 120),
        ("a.test", &["ftp"], 120),
        ("a.test", &["acme-tls/1"], 112),
    ] {
        let mut client = front.front.connect();
        client.send(&hello(&front, name, protocols));
        client.finish();
        let (bytes, end) = client.read_result();
        end.unwrap();
        assert_eq!(bytes, [0x15, 3, 3, 0, 2, 2, description], "{name} {protocols:?}");
    }
}

/// A handshake message may be cut anywhere, into as many records as it has bytes (RFC 8446, 5.1; RUSTSEC-2024-0399).
#[test]
fn a_hello_in_many_records_is_understood() {
    let front = served("a.test");
    for size in [1, 2, 63, 1000] {
        let whole = hello(&front, "a.test", &["http/1.1"]);
        let pieces = whole[5..].chunks(size);
        let records = pieces.flat_map(|piece| {
            let [high, low] = u16::try_from(piece.len()).unwrap().to_be_bytes();
            [&[0x16, 3, 1, high, low], piece].concat()
        });
        let bytes: Vec<u8> = records.collect();
        for step in [bytes.len(), 7] {
            let mut client = front.front.connect();
            for piece in bytes.chunks(step) {
                // It may have been refused before the end.
                if client.stream.write_all(piece).is_err() {
                    break;
                }
            }
            assert_eq!(first_answer(&mut client), SERVER_HELLO, "records of {size}, pieces of {step}");
        }
    }
}
