//! A bug within a connection ends that connection alone, and is counted (B212).
//!
//! The library has no switch for a bug, and shall have none. Its log is the one place where other code runs within a connection,
//! so the bug is a subscriber that panics at a certain name. It holds for one thread, so the data plane runs on the test's own.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
};

use rustls::RootCertStore;
use tokio::{
    net::TcpListener,
    task::{LocalSet, spawn_local},
};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use hotcore::{
    domain::Domain,
    proxy::{Door, Patience, Proxy, ProxyConfig, ProxyTotals},
    routes::{Port, Table, TableWriter},
    tls::{self, FrontConfig, Keyring},
};

use crate::{
    front::{Backend, Client, eventually},
    http2,
    secure::{certificate, fresh_tickets},
};

/// The name whose records panic.
const NAME: &str = "trap.test";

/// What is said of a tunnel that ends by an error; it panics, too.
const TUNNEL: &str = "tunnel ended";

struct Trap;

impl Subscriber for Trap {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("hotcore::proxy") && *metadata.level() <= Level::DEBUG
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Reader);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Reader;

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let trap = match field.name() {
            "domain" => NAME,
            "message" => TUNNEL,
            _ => return,
        };
        assert!(format!("{value:?}") != trap, "the trap has closed");
    }
}

#[test]
fn a_panic_ends_one_connection_and_is_counted() {
    let good = Backend::fixed("well");
    let bad = Backend::start(|mut peer, _| {
        peer.read_head();
        // Worth a record, since it is no status.
        peer.send(b"HTTP/1.1 600 Far\r\nContent-Length: 0\r\n\r\n");
        peer.ends();
    });
    with_trap(good, bad, |address, totals| {
        let mut neighbour = Client::connect(address);
        for panics in 1..=3 {
            let mut unlucky = Client::connect(address);
            ask(&mut unlucky, NAME);
            assert!(unlucky.read_to_end().is_empty());
            eventually("it is counted", || totals.panics.load(Relaxed) == panics);
            ask(&mut neighbour, "a.test");
            assert_eq!(neighbour.read_answer().text(), "well");
        }
    });
}

#[test]
fn a_panic_ends_one_tunnel_and_is_counted() {
    let good = Backend::fixed("well");
    let bad = Backend::start(|mut peer, _| {
        peer.read_head();
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        peer.ends();
    });
    with_trap(good, bad, |address, totals| {
        let mut neighbour = Client::connect(address);
        for panics in 1..=3 {
            let mut unlucky = Client::connect(address);
            unlucky.send(
                format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                    .as_bytes(),
            );
            assert!(unlucky.read_head().starts_with("HTTP/1.1 101 "));
            unlucky.reset();
            eventually("it is counted", || totals.panics.load(Relaxed) == panics);
            assert_eq!(totals.tunnels.load(Relaxed), 0);
            ask(&mut neighbour, "a.test");
            assert_eq!(neighbour.read_answer().text(), "well");
        }
    });
}

/// B212: of the streams of one connection, too.
#[test]
fn a_panic_ends_one_stream_and_is_counted() {
    let good = Backend::fixed("well");
    let bad = Backend::start(|mut peer, _| {
        peer.read_head();
        peer.send(b"HTTP/1.1 600 Far\r\nContent-Length: 0\r\n\r\n");
        peer.ends();
    });
    let (roots, tls) = certified(&["a.test", NAME]);
    with_trap_behind(Some(tls), good, bad, move |address, totals| {
        let mut unlucky = http2::Raw::connect_to(address, NAME, roots.clone());
        for panics in 1..=3 {
            let stream = u32::try_from(panics).unwrap() * 4;
            unlucky.ask_for(NAME, stream - 3);
            assert!(unlucky.outcome(stream - 3).is_err());
            eventually("it is counted", || totals.panics.load(Relaxed) == panics);
            // Its sibling is told that it has come to the wrong connection, and that is all.
            unlucky.ask_for("a.test", stream - 1);
            assert!(unlucky.outcome(stream - 1).unwrap().starts_with("421 "));
        }
        let mut neighbour = http2::Raw::connect_to(address, "a.test", roots);
        neighbour.ask_for("a.test", 1);
        assert_eq!(neighbour.outcome(1).unwrap(), "well");
    });
}

/// What a front needs for these names, and what a client must trust.
fn certified(names: &[&str]) -> (RootCertStore, impl FnOnce(Table) -> FrontConfig + use<>) {
    let (mut keyring, mut roots) = (Keyring::new(), RootCertStore::empty());
    for name in names {
        let certificate = certificate(name);
        roots.add(certificate.end_entity_cert().unwrap().clone()).unwrap();
        keyring.insert(Domain::parse(name).unwrap(), certificate).unwrap();
    }
    let front = move |table| FrontConfig::new(table, keyring.certificates(), fresh_tickets(), tls::Patience::default());
    (roots, move |table| front(table).unwrap())
}

fn ask(client: &mut Client, name: &str) {
    client.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes());
}

/// A data plane on this thread, where the trap is set; `clients` runs on another.
fn with_trap(good: Backend, bad: Backend, clients: impl FnOnce(SocketAddr, &ProxyTotals) + Send + 'static) {
    with_trap_behind(None::<fn(Table) -> FrontConfig>, good, bad, clients);
}

/// The same behind TLS, if there is any.
fn with_trap_behind(
    tls: Option<impl FnOnce(Table) -> FrontConfig>,
    good: Backend,
    bad: Backend,
    clients: impl FnOnce(SocketAddr, &ProxyTotals) + Send + 'static,
) {
    let mut rules = TableWriter::new();
    rules.insert(Domain::parse("a.test").unwrap(), Port::new(good.port).unwrap());
    rules.insert(Domain::parse(NAME).unwrap(), Port::new(bad.port).unwrap());
    let totals = Arc::new(ProxyTotals::new());
    let config = ProxyConfig {
        tls: tls.map(|tls| tls(rules.table())),
        https_port: None,
        table: rules.table(),
        own_ports: Vec::new(),
        access_log: false,
        patience: Patience::default(),
        totals: totals.clone(),
    };

    let door = if config.tls.is_some() { Door::Https } else { Door::Http };
    let _trap = tracing::subscriber::set_default(Trap);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Rc::new(Proxy::new(config));
        spawn_local(async move {
            loop {
                let (stream, peer) = listener.accept().await?;
                proxy.serve(stream, peer, door);
            }
            #[expect(unreachable_code, reason = "it says what the loop may fail with")]
            io::Result::Ok(())
        });
        let (done, is_done) = tokio::sync::oneshot::channel();
        let asking = thread::Builder::new().spawn(move || {
            clients(address, &totals);
            eventually("no connection is left", || totals.connections.load(Relaxed) == 0);
            eventually("nor one to the backend", || bad.open() == 0);
            done.send(()).unwrap();
        });
        let _ = is_done.await;
        asking.unwrap().join().unwrap();
    });
}
