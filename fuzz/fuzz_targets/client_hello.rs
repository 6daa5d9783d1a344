//! Any bytes as a ClientHello: no panic, no end but one of the three, a refusal is one alert, and nobody is through by a hello alone.
//!
//! The first byte says whether the rest is sent as it is, cut into records of its own, or written over a good hello: three bytes
//! each, a place and what comes there.

#![no_main]

use std::{
    cell::RefCell,
    future::pending,
    io,
    pin::Pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use hotcore::{
    domain::Domain,
    routes::{Port, TableWriter},
    tls::{CertifiedKey, Ending, Front, FrontConfig, Keyring, Patience, Refusal, Tickets},
};
use libfuzzer_sys::fuzz_target;
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::{Builder, Runtime},
};

/// For a.test, with h2 and http/1.1, TLS 1.2 and 1.3, x25519.
const HELLO: &str = "\
    16030100fa010000f60303c6c2a894b3058d9bc6d9d34b3203119f0207104d96ada603f03555687b60bf3a209f8c2f55801594ec211b7bbcbc360b0c\
    9fbe841be58135b799782f1e81f4e69f0014130213011303c02cc02bcca9c030c02fcca800ff01000099000b000201000000000b0009000006612e74\
    657374003300260024001d0020b4e7b33a13169ec29a849d01c5ce21441be0d68a0b15bf9a1a5bf1358d19e37c00230000000d001c001a0503040306\
    030807080608050804060105010401090409050906002d00020101000a00040002001d002b000504030403030010000e000c02683208687474702f31\
    2e3100170000000500050100000000";

static FRONT: LazyLock<(Front, TableWriter, Keyring)> = LazyLock::new(|| {
    let (mut rules, mut keyring) = (TableWriter::new(), Keyring::new());
    let name = |name| Domain::parse(name).unwrap();
    rules.insert(name("a.test"), Port::new(1).unwrap());
    rules.insert(name("b.test"), Port::new(1).unwrap());
    keyring.insert(name("a.test"), certificate("a.test")).unwrap();
    keyring.begin_challenge(&name("c.test"), certificate("c.test"));
    let tickets = Arc::new(Tickets::new(SystemTime::UNIX_EPOCH).unwrap());
    let patience = Patience { handshake: Duration::from_secs(5), certificate: Duration::from_secs(5) };
    let config = FrontConfig::new(rules.table(), keyring.certificates(), tickets, patience).unwrap();
    (Front::new(config), rules, keyring)
});

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(Builder::new_current_thread().enable_time().build().unwrap());
}

fuzz_target!(|input: &[u8]| {
    let Some((&mode, rest)) = input.split_first() else { return };
    let bytes = match mode % 3 {
        0 => rest.to_vec(),
        1 => rest.chunks(usize::from(mode) + 1).flat_map(record).collect(),
        _ => written_over(rest),
    };
    let front = &FRONT.0;
    let mut wire = Wire { bytes, at: 0, written: Vec::new() };
    let result = RUNTIME.with_borrow(|runtime| runtime.block_on(front.accept(&mut wire, front.deadline(), pending())));
    match result {
        Ok(secured) => panic!("{} is served without the client's half", secured.domain),
        Err(Ending::Refused(wire, refusal)) => {
            let description = match refusal {
                Refusal::UnrecognizedName => 112,
                Refusal::NoApplicationProtocol => 120,
            };
            assert_eq!(wire.written, [0x15, 3, 3, 0, 2, 2, description]);
        }
        Err(Ending::Challenged(_)) => panic!("a challenge without the client's half"),
        Err(Ending::Failed(_)) => {}
    }
});

fn record(piece: &[u8]) -> Vec<u8> {
    let [high, low] = (piece.len() as u16).to_be_bytes();
    [&[0x16, 3, 1, high, low], piece].concat()
}

fn written_over(rest: &[u8]) -> Vec<u8> {
    let digits = HELLO.as_bytes().chunks(2);
    let mut hello: Vec<u8> =
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    for change in rest.chunks_exact(3) {
        let place = (usize::from(change[0]) * 256 + usize::from(change[1])) % hello.len();
        hello[place] = change[2];
    }
    hello
}

fn certificate(name: &str) -> Arc<CertifiedKey> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key_pair.serialize_der()));
    Arc::new(CertifiedKey::new(vec![made.cert.der().clone()], any_supported_type(&key).unwrap()))
}

/// A client that says all it has to say at once and leaves.
struct Wire {
    bytes: Vec<u8>,
    at: usize,
    written: Vec<u8>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let end = self.bytes.len().min(self.at + buf.remaining());
        buf.put_slice(&self.bytes[self.at..end]);
        self.at = end;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
