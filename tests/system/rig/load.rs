//! Constant traffic in clear, of which no request may fail.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Client, Tally};

/// Bytes of an upload, all of them zero, and their SHA-256.
const UPLOAD: (usize, &str) = (65_536, "de2f256064a0af797747c2b97505dc0b9f3df0de4f489eac731c23ae9ca9cc31");
/// An upload is sent in so many pieces, with a pause after each.
const PIECES: usize = 8;
/// It makes an upload last as long as it takes the application to answer slowly.
const PAUSE_OF_UPLOADS: Duration = Duration::from_millis(20);
/// What the application says to `/drip`, over some 160 ms.
const SLOW_ANSWER: &str = "drop drop drop drop drop drop drop drop ";

/// What a client does all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habit {
    /// A new connection for each request.
    New,
    /// Many requests on a connection, then a new one: so both kinds meet the event under test.
    Kept,
    /// A body that takes its time, on a kept connection.
    Upload,
    /// An answer that takes its time, on a kept connection.
    Slow,
}

/// Running clients; dropped, they end.
pub(crate) struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    address: SocketAddr,
    host: String,
    bodies: Vec<String>,
    pause: Duration,
    stop: AtomicBool,
    tally: Arc<Tally>,
}

impl Habit {
    /// The name of its requests in a [`Tally`].
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Kept => "kept",
            Self::Upload => "upload",
            Self::Slow => "slow answer",
        }
    }

    /// Whether requests of this kind share connections.
    pub(crate) fn is_kept(kind: &str) -> bool {
        [Self::Kept, Self::Upload, Self::Slow].iter().any(|habit| habit.name() == kind)
    }

    /// Requests on one connection.
    fn requests(self) -> u32 {
        if self == Self::New { 1 } else { 40 }
    }
}

impl Load {
    /// Starts `clients` that each send the next GET when the last was answered. Every answer must be a 200 with a body out
    /// of `bodies`.
    pub(crate) fn start(address: SocketAddr, host: &str, clients: usize, bodies: &[&str]) -> Self {
        Self::mixed(address, host, &vec![Habit::Kept; clients], bodies, Duration::ZERO, Arc::default())
    }

    /// Starts a client for each of `clients`, which pauses after each answer.
    pub(crate) fn mixed(
        address: SocketAddr,
        host: &str,
        clients: &[Habit],
        bodies: &[&str],
        pause: Duration,
        tally: Arc<Tally>,
    ) -> Self {
        let (host, bodies) = (host.to_owned(), bodies.iter().map(|body| (*body).to_owned()).collect());
        let shared = Arc::new(Shared { address, host, bodies, pause, stop: AtomicBool::new(false), tally });
        let threads = clients.iter().map(|habit| {
            let (shared, habit) = (Arc::clone(&shared), *habit);
            let thread = thread::Builder::new().name(format!("client: {}", habit.name()));
            thread.spawn(move || shared.run(habit)).unwrap()
        });
        Self { threads: threads.collect(), shared }
    }

    /// Waits until `count` more requests were answered.
    pub(crate) fn wait_for_more(&self, count: u64) {
        self.shared.tally.wait_for_more(count);
    }

    /// Ends the clients; fails the test if any request failed. Gives the number of answers and the longest wait for one.
    pub(crate) fn finish(mut self) -> (u64, Duration) {
        self.end();
        let seen = self.shared.tally.take();
        seen.assert_none_failed();
        (seen.answered(), seen.slowest())
    }

    /// Ends the clients.
    pub(crate) fn end(&mut self) {
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
    fn run(&self, habit: Habit) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = self.one_connection(habit) {
                self.tally.failed(habit.name(), &error);
            }
        }
    }

    fn one_connection(&self, habit: Habit) -> io::Result<()> {
        let mut begun = Instant::now();
        let mut client = Client::connect(self.address)?;
        for _ in 0..habit.requests() {
            let answer = match habit {
                Habit::New | Habit::Kept => client.get(&self.host, "/")?,
                Habit::Upload => self.upload(&mut client)?,
                Habit::Slow => client.get(&self.host, "/drip")?,
            };
            let body = answer.text();
            let is_right = match habit {
                Habit::New | Habit::Kept => self.bodies.contains(&body),
                Habit::Upload => body == UPLOAD.1,
                Habit::Slow => body == SLOW_ANSWER,
            };
            if answer.status != 200 || !is_right {
                return Err(io::Error::other(format!("{} {body:?}", answer.status)));
            }
            self.tally.answered(habit.name(), begun);
            if !self.pause.is_zero() {
                thread::sleep(self.pause);
            }
            if habit == Habit::New || answer.closes() || self.stop.load(Ordering::Relaxed) {
                break;
            }
            if client.has_ended()? {
                self.tally.stale(habit.name());
                break;
            }
            begun = Instant::now();
        }
        Ok(())
    }

    fn upload(&self, client: &mut Client) -> io::Result<super::Answer> {
        let (host, length) = (&self.host, UPLOAD.0);
        client.write(&format!("POST /upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n"))?;
        let piece = "\0".repeat(length / PIECES);
        for _ in 0..PIECES {
            client.write(&piece)?;
            thread::sleep(PAUSE_OF_UPLOADS);
        }
        client.answer()
    }
}
