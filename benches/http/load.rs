//! The generator: requests as fast as they are answered, or at a fixed rate, from one thread.
//!
//! It speaks just enough of each protocol to ask and to count, so that the proxy has the work and not it: the same bytes for every
//! proxy, nothing but TLS_AES_128_GCM_SHA256 and X25519 in TLS 1.3, no certificate verified. Any other answer than a complete 200
//! ends the measurement: it would be cheaper than the truth.

mod http1;
mod http2;
mod link;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};
use rustls::ClientConfig;

use self::link::Link;
use crate::{say, tls};

/// Connections are made and habits formed before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often requests of a fixed rate become due; the poller wakes no finer.
const TICK: Duration = Duration::from_millis(1);

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) door: Door,
    pub(crate) session: Session,
    pub(crate) connections: usize,
    /// Requests at the same time on one connection.
    pub(crate) streams: usize,
    /// Bytes of each answer's body.
    pub(crate) body: usize,
    /// Requests per second; zero: as fast as they are answered.
    pub(crate) rate: u32,
    pub(crate) names: Names,
}

/// Which way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Plain,
    Tls,
    Http2,
}

/// What becomes of a connection after its first answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Session {
    Kept,
    /// Closed; the next one does a whole handshake.
    Full,
    /// Closed; the next one comes with a ticket of the ones before.
    Resumed,
}

/// Whose pages are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// The routed name of the door.
    One,
    /// One of so many, drawn for each request. If not `is_sent` it is drawn and the routed name sent: the generator does the same work.
    Drawn { of: u32, is_sent: bool },
}

/// What was counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Score {
    pub(crate) answers: f64,
    pub(crate) seconds: f64,
    /// Milliseconds from the request to the end of its answer.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Load {
    /// HTTP/1.1 in clear, a small body, 64 connections.
    pub(crate) const PLAIN: Self = Self {
        door: Door::Plain,
        session: Session::Kept,
        connections: 64,
        streams: 1,
        body: 128,
        rate: 0,
        names: Names::One,
    };

    /// For the command line of the generator.
    pub(crate) fn words(&self) -> Vec<String> {
        let (of, is_sent) = match self.names {
            Names::One => (0, true),
            Names::Drawn { of, is_sent } => (of, is_sent),
        };
        let numbers = [self.connections, self.streams, self.body, self.rate as usize, of as usize, is_sent.into()];
        let mut words = vec![format!("{:?}", self.door), format!("{:?}", self.session)];
        words.extend(numbers.map(|number| number.to_string()));
        words
    }

    fn read(words: &[String]) -> Self {
        let number = |place: usize| words[place].parse::<usize>().unwrap();
        let door = [Door::Plain, Door::Tls, Door::Http2].into_iter().find(|door| words[0] == format!("{door:?}"));
        let session = [Session::Kept, Session::Full, Session::Resumed];
        let session = session.into_iter().find(|session| words[1] == format!("{session:?}"));
        let of = u32::try_from(number(6)).unwrap();
        Self {
            door: door.unwrap(),
            session: session.unwrap(),
            connections: number(2),
            streams: number(3),
            body: number(4),
            rate: u32::try_from(number(5)).unwrap(),
            names: if of == 0 { Names::One } else { Names::Drawn { of, is_sent: number(7) == 1 } },
        }
    }

    fn name(&self) -> &'static str {
        if self.door == Door::Plain { crate::HOST } else { crate::TLS_HOST }
    }
}

impl Score {
    /// From the line that the generator prints.
    pub(crate) fn read(line: &str) -> Self {
        let mut figures = line.split_whitespace().map(|word| word.parse().unwrap_or_else(|_| panic!("{line}")));
        let mut next = || figures.next().unwrap_or_else(|| panic!("the generator has ended: {line:?}"));
        Self { answers: next(), seconds: next(), p50: next(), p99: next() }
    }
}

/// Generates: the address, the seconds, then [`Load::words`]. Says `begun` when what counts begins, then the [`Score`].
pub(crate) fn run(words: &[String]) {
    let (address, seconds) = (words[0].parse().unwrap(), words[1].parse().unwrap());
    let mut generator = Generator::new(Load::read(&words[2..]), address);
    generator.until(Instant::now() + WARM_UP);
    say("begun");
    generator.forget();
    let begun = Instant::now();
    generator.until(begun + Duration::from_secs(seconds));
    let seconds = begun.elapsed().as_secs_f64();
    generator.check();
    generator.waits.sort_unstable();
    let at = |percent: usize| {
        let place = generator.waits.len().saturating_sub(1) * percent / 100;
        generator.waits.get(place).map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
    };
    say(&format!("{} {seconds} {} {}", generator.waits.len(), at(50), at(99)));
}

struct Generator {
    load: Load,
    address: SocketAddr,
    poll: Poll,
    config: Option<Arc<ClientConfig>>,
    links: Vec<Link>,
    space: Vec<u8>,
    clear: Vec<u8>,
    /// Microseconds of each answer.
    waits: Vec<u32>,
    handshakes: u64,
    resumed: u64,
    /// When the next request of a fixed rate is due.
    due: Instant,
    /// When the ones were due for which no connection was free.
    late: VecDeque<Instant>,
    next: usize,
}

impl Generator {
    fn new(load: Load, address: SocketAddr) -> Self {
        let config = (load.door != Door::Plain).then(|| tls::client(load.door == Door::Http2, load.session));
        let mut generator = Self {
            load,
            address,
            poll: Poll::new().unwrap(),
            config,
            links: Vec::new(),
            space: vec![0; 256 * 1024],
            clear: Vec::new(),
            waits: Vec::new(),
            handshakes: 0,
            resumed: 0,
            due: Instant::now(),
            late: VecDeque::new(),
            next: 0,
        };
        for place in 0..load.connections {
            let link = generator.open(place);
            generator.links.push(link);
        }
        generator
    }

    fn open(&self, place: usize) -> Link {
        let mut link = Link::open(&self.load, self.address, self.config.clone(), &self.poll, Token(place));
        if self.load.rate == 0 {
            self.fill(&mut link);
        }
        link.flush();
        link
    }

    /// As many requests as the connection takes.
    fn fill(&self, link: &mut Link) {
        for _ in 0..link.free() {
            link.ask(Instant::now(), &self.load);
        }
    }

    fn until(&mut self, end: Instant) {
        let (mut events, mut done) = (Events::with_capacity(1024), Vec::new());
        loop {
            let now = Instant::now();
            if now >= end {
                return;
            }
            if self.load.rate > 0 {
                self.ask_what_is_due(now);
            }
            let patience = if self.load.rate > 0 { TICK } else { end - now };
            self.poll.poll(&mut events, Some(patience)).unwrap();
            for event in &events {
                let place = event.token().0;
                self.links[place].turn(&mut self.space, &mut self.clear, &mut done);
                if done.is_empty() {
                    continue;
                }
                let now = Instant::now();
                for begun in done.drain(..) {
                    self.waits.push(u32::try_from((now - begun).as_micros()).unwrap_or(u32::MAX));
                }
                if self.load.session == Session::Kept {
                    if self.load.rate == 0 {
                        let mut link = std::mem::take(&mut self.links[place]);
                        self.fill(&mut link);
                        link.flush();
                        self.links[place] = link;
                    }
                } else {
                    self.handshakes += 1;
                    self.resumed += u64::from(self.links[place].is_resumed());
                    self.links[place].close();
                    self.links[place] = self.open(place);
                }
            }
        }
    }

    /// A request is counted from the moment it was due if it had to wait for a free connection, else from the moment it is sent: the
    /// grain of the clock is nobody's fault.
    fn ask_what_is_due(&mut self, now: Instant) {
        while self.due <= now {
            self.late.push_back(self.due);
            self.due += Duration::from_secs(1) / self.load.rate;
        }
        let mut tried = 0;
        while let Some(due) = self.late.front().copied()
            && tried < self.links.len()
        {
            self.next = (self.next + 1) % self.links.len();
            let link = &mut self.links[self.next];
            if link.free() == 0 {
                tried += 1;
                continue;
            }
            tried = 0;
            self.late.pop_front();
            link.ask(if now - due < 2 * TICK { Instant::now() } else { due }, &self.load);
            link.flush();
        }
    }

    /// The warm-up counts for nothing.
    fn forget(&mut self) {
        self.waits.clear();
        (self.handshakes, self.resumed) = (0, 0);
        self.late.clear();
        self.due = Instant::now();
    }

    fn check(&self) {
        let resumed = self.resumed as f64 / (self.handshakes as f64).max(1.0);
        match self.load.session {
            Session::Kept => {}
            Session::Full => assert_eq!(self.resumed, 0, "handshakes were resumed"),
            Session::Resumed => assert!(resumed > 0.99, "only {resumed} of the handshakes were resumed"),
        }
    }
}
