//! Constant traffic on keep-alive connections, of which no request may fail.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Client, PATIENCE, wait_for};

/// Requests on one connection before a new one is opened: so both kinds meet the event under test.
const REQUESTS_PER_CONNECTION: u32 = 40;

/// Running clients; dropped, they end.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    host: String,
    stop: AtomicBool,
    answered: AtomicU64,
    slowest_micros: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    /// Starts `clients` that each send the next GET when the last was answered. Every answer must be a 200 with a body out
    /// of `bodies`.
    pub(crate) fn start(address: SocketAddr, host: &str, clients: usize, bodies: &'static [&'static str]) -> Self {
        let shared = Arc::new(Shared {
            address,
            host: host.to_owned(),
            stop: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            slowest_micros: AtomicU64::new(0),
            failures: Mutex::new(Vec::new()),
        });
        let threads = (0..clients)
            .map(|number| {
                let shared = Arc::clone(&shared);
                let thread = thread::Builder::new().name(format!("client {number}"));
                thread.spawn(move || shared.run(bodies)).unwrap()
            })
            .collect();
        Self { shared, threads }
    }

    /// Waits until `count` more requests were answered.
    pub(crate) fn wait_for_more(&self, count: u64) {
        let goal = self.shared.answered.load(Ordering::Relaxed) + count;
        wait_for("answers under load", PATIENCE, || {
            let failed = self.shared.failures.lock().unwrap().len() > 100;
            (failed || self.shared.answered.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    /// Ends the clients; fails the test if any request failed. Gives the number of answers and the longest wait for one.
    pub(crate) fn finish(mut self) -> (u64, Duration) {
        self.end();
        let answered = self.shared.answered.load(Ordering::Relaxed);
        let failures = self.shared.failures.lock().unwrap();
        assert!(
            failures.is_empty(),
            "{} of {answered} requests failed: {:#?}",
            failures.len(),
            &failures[..failures.len().min(5)]
        );
        (answered, Duration::from_micros(self.shared.slowest_micros.load(Ordering::Relaxed)))
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn run(&self, bodies: &[&str]) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.one_connection(bodies) {
                self.failures.lock().unwrap().push(error.to_string());
            }
        }
    }

    fn one_connection(&self, bodies: &[&str]) -> io::Result<()> {
        let mut client = Client::connect(self.address)?;
        for _ in 0..REQUESTS_PER_CONNECTION {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let begun = Instant::now();
            let answer = client.get(&self.host, "/")?;
            let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            if answer.status != 200 || !bodies.contains(&answer.text().as_str()) {
                return Err(io::Error::other(format!("{} {:?}", answer.status, answer.text())));
            }
            self.slowest_micros.fetch_max(micros, Ordering::Relaxed);
            self.answered.fetch_add(1, Ordering::Relaxed);
            if answer.closes() {
                break;
            }
        }
        Ok(())
    }
}
