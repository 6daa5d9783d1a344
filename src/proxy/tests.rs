//! What a connection weighs.

use std::net::Ipv4Addr;

use tokio::{net::TcpListener, runtime};

use super::*;

/// B153: an idle or slow connection costs its task, the library's read buffer of 8 KiB, and the head that it has sent so far.
#[test]
#[expect(clippy::disallowed_macros, reason = "a figure to look at")]
fn a_connection_is_light() {
    const BUFFER: usize = 8 * 1024;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (task, state) = runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let totals = Arc::new(ProxyTotals::new());
        let (table, patience) = (Table::default(), Patience::default());
        let config = ProxyConfig {
            table,
            tls: None,
            https_port: None,
            own_ports: Vec::new(),
            access_log: false,
            patience,
            totals,
        };
        let proxy = Rc::new(Proxy::new(config));
        let peer = listener.local_addr().unwrap();
        let conn = Rc::new(Conn::new(stream, peer, Instant::now()));
        let seat = Seat::take(&proxy, conn.clone());
        (size_of_val(&proxy.clone().run(conn, seat, Door::Http)), size_of::<Conn>())
    });
    println!("a connection's task: {task} bytes, its state: {state} bytes");
    assert!(task + state + BUFFER < 40 * 1024 / 2, "room is left for TLS");
}
