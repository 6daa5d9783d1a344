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
    proxy::{Patience, Proxy, ProxyConfig, ProxyTotals},
    routes::{Port, TableWriter},
};

use crate::front::{Backend, Client, eventually};

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

fn ask(client: &mut Client, name: &str) {
    client.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n").as_bytes());
}

/// A data plane on this thread, where the trap is set; `clients` runs on another.
fn with_trap(good: Backend, bad: Backend, clients: impl FnOnce(SocketAddr, &ProxyTotals) + Send + 'static) {
    let mut rules = TableWriter::new();
    rules.insert(Domain::parse("a.test").unwrap(), Port::new(good.port).unwrap());
    rules.insert(Domain::parse(NAME).unwrap(), Port::new(bad.port).unwrap());
    let totals = Arc::new(ProxyTotals::new());
    let config = ProxyConfig {
        tls: None,
        https_port: None,
        table: rules.table(),
        own_ports: Vec::new(),
        access_log: false,
        patience: Patience::default(),
        totals: totals.clone(),
    };

    let _trap = tracing::subscriber::set_default(Trap);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = Rc::new(Proxy::new(config));
        spawn_local(async move {
            loop {
                let (stream, peer) = listener.accept().await?;
                proxy.serve(stream, peer, hotcore::proxy::Door::Http);
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
