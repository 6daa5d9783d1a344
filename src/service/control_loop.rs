//! The thread of the control plane: the control server on a runtime of its own.

use std::{
    io,
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::Builder,
};

use tokio::{runtime, sync::oneshot};

use crate::control::Server;

/// The running control server.
#[derive(Debug)]
pub(super) struct ControlLoop {
    stop: Option<oneshot::Sender<()>>,
    end: oneshot::Receiver<(Server, Result<(), String>)>,
    heartbeat: Arc<AtomicU64>,
}

impl ControlLoop {
    /// Starts the thread.
    pub(super) fn start(mut server: Server, sockets: Vec<UdpSocket>) -> io::Result<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ending, end) = oneshot::channel();
        let heartbeat = server.heartbeat();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        Builder::new().name("control".into()).spawn(move || {
            let stopped = async {
                // That nobody can say stop any more is as good as the word.
                let _ = stopped.await;
            };
            let result = runtime.block_on(server.run(&sockets, stopped)).map_err(|error| error.to_string());
            let _ = ending.send((server, result));
        })?;
        Ok(Self { stop: Some(stop), end, heartbeat })
    }

    /// Tells it to read no more and to finish what it has.
    pub(super) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }

    /// Whether it was told to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_none()
    }

    /// Waits for its end: the server with its table and journal, or why it failed. Nothing is lost if this is dropped half-way;
    /// not to be asked again after an answer.
    pub(super) async fn ended(&mut self) -> Result<Server, String> {
        match (&mut self.end).await {
            Ok((server, Ok(()))) => Ok(server),
            Ok((_, Err(why))) => Err(why),
            Err(_) => Err("its thread panicked".to_owned()),
        }
    }

    /// Moves while its loop turns (B213).
    pub(super) fn heartbeat(&self) -> u64 {
        self.heartbeat.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use tokio::time::timeout;

    use super::*;
    use crate::{
        certs::Board,
        control::{ServerConfig, socket},
        routes::{Change, Commit, SaveError, Table, TableWriter},
        service::board::Shown,
    };

    struct NoDisk;

    impl Commit for NoDisk {
        fn commit(&mut self, _: &[Change], _: &Table) -> Result<(), SaveError> {
            Ok(())
        }
    }

    fn start(status: fn() -> Vec<(&'static str, String)>) -> (ControlLoop, UdpSocket) {
        let socket = socket::bind("127.0.0.1:0".parse().unwrap()).unwrap().socket;
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(socket.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let config = ServerConfig {
            own_ports: Vec::new(),
            started: SystemTime::UNIX_EPOCH,
            status: Box::new(status),
            certificates: Box::new(Shown(Board::default())),
        };
        let server = Server::new(config, TableWriter::new(), Box::new(NoDisk));
        (ControlLoop::start(server, vec![socket]).unwrap(), client)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { timeout(Duration::from_secs(10), future).await }).unwrap()
    }

    #[test]
    fn it_answers_until_it_is_stopped_and_gives_the_server_back() {
        let (mut control, client) = start(Vec::new);
        client.send(b"check").unwrap();
        assert_eq!(client.recv(&mut [0; 16]).unwrap(), 5);
        assert!(control.heartbeat() > 0);
        control.stop();
        assert!(control.is_stopping());
        assert!(block_on(control.ended()).is_ok());
    }

    /// A core task that ends is noticed, whatever ended it (B212).
    #[test]
    fn a_panic_of_the_control_thread_is_noticed_b212() {
        let (mut control, client) = start(|| panic!("a bug, made for this test"));
        client.send(b"status").unwrap();
        assert!(block_on(control.ended()).is_err());
    }
}
