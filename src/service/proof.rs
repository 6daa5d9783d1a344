//! Proof that connections are accepted, for the watchdog: that a loop turns says nothing about the sockets (B213).
//!
//! Under load the load is the proof. Where nobody came since the last sign of life, one connection to ourselves is made, and what
//! counts is that a worker accepts it. [`Proof`] decides, with time passed in; [`Probe`] connects.
//!
//! Never here: an end of the process for what is not its fault. Where the first connection to ourselves fails (a packet filter on
//! loopback, an address that went away), there is no proof to be had, and none is asked for.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    time::Instant,
};

use tokio::{net::TcpStream, time::timeout};

use crate::limits;

/// Decides whether a sign of life may be given as far as the sockets are concerned.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// How often workers had taken from their sockets at the last sign of life; `None`: there was none.
    seen: Option<u64>,
    /// When a connection to ourselves was begun that has proved nothing yet.
    asked: Option<Instant>,
    /// One came about, at whatever time.
    has_connected: bool,
    is_out_of_reach: bool,
}

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Connections are accepted, or nothing can be said about it.
    Proved,
    /// Connect to ourselves; `again`: one before has proved nothing.
    Ask {
        /// See above.
        again: bool,
    },
    /// Wait for that.
    Waiting,
    /// From now on nothing can be said, as we do not reach ourselves. Said once.
    OutOfReach,
}

impl Proof {
    /// To be asked when a sign of life is due. `accepts` moves whenever a worker takes from a listening socket.
    pub(super) fn judge(&mut self, now: Instant, accepts: u64) -> Judgement {
        if self.seen != Some(accepts) || self.is_out_of_reach {
            return Judgement::Proved;
        }
        match self.asked {
            Some(at) if now.saturating_duration_since(at) < limits::PROBE_WAIT => Judgement::Waiting,
            Some(_) if !self.has_connected => {
                self.is_out_of_reach = true;
                Judgement::OutOfReach
            }
            before => {
                self.asked = Some(now);
                Judgement::Ask { again: before.is_some() }
            }
        }
    }

    /// How a connection to ourselves ended: whether it came about, which is not yet a proof.
    pub(super) fn tried(&mut self, connected: bool) {
        self.has_connected |= connected;
    }

    /// A sign of life was given.
    pub(super) fn used(&mut self, accepts: u64) {
        (self.seen, self.asked) = (Some(accepts), None);
    }
}

/// A connection to ourselves. It says nothing; dropped, it ends.
pub(super) enum Probe {
    /// It is on its way.
    Connecting(Pin<Box<dyn Future<Output = Option<TcpStream>>>>),
    /// It has come about, or failed.
    Tried(Option<TcpStream>),
}

impl Probe {
    /// To where `address` is reached from this machine.
    pub(super) fn start(address: SocketAddr) -> Self {
        let addresses = reached_at(address);
        let connect = async move {
            let connected = timeout(limits::PROBE_WAIT, TcpStream::connect(addresses.as_slice())).await;
            connected.ok().and_then(Result::ok)
        };
        Self::Connecting(Box::pin(connect))
    }

    /// Resolves once: whether it has come about. Cancel safe.
    pub(super) async fn tried(&mut self) -> bool {
        let Self::Connecting(connecting) = self else { return std::future::pending().await };
        let stream = connecting.await;
        let is_connected = stream.is_some();
        *self = Self::Tried(stream);
        is_connected
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting(_) => f.write_str("Connecting"),
            Self::Tried(stream) => f.debug_tuple("Tried").field(stream).finish(),
        }
    }
}

/// `[::]` takes both families, of which one may be switched off.
fn reached_at(address: SocketAddr) -> Vec<SocketAddr> {
    let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
    let ips = match address.ip() {
        ip if !ip.is_unspecified() => vec![ip],
        ip if ip.is_ipv4() => vec![v4],
        _ => vec![v4, v6],
    };
    ips.into_iter().map(|ip| SocketAddr::new(ip, address.port())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WAIT: Duration = limits::PROBE_WAIT;
    const MOMENT: Duration = Duration::from_millis(1);

    fn idle_since(accepts: u64) -> Proof {
        let mut proof = Proof::default();
        assert_eq!(proof.judge(Instant::now(), accepts), Judgement::Proved, "the first sign of life");
        proof.used(accepts);
        proof
    }

    /// B213.
    #[test]
    fn under_load_no_connection_is_made_b213() {
        let (mut proof, now) = (idle_since(0), Instant::now());
        for accepts in 1..100 {
            assert_eq!(proof.judge(now, accepts), Judgement::Proved);
            proof.used(accepts);
        }
    }

    #[test]
    fn in_a_quiet_time_one_connection_of_our_own_is_the_proof_b213() {
        let (mut proof, now) = (idle_since(7), Instant::now());
        for accepts in 7..10 {
            assert_eq!(proof.judge(now, accepts), Judgement::Ask { again: false });
            assert_eq!(proof.judge(now + MOMENT, accepts), Judgement::Waiting);
            proof.tried(true);
            assert_eq!(proof.judge(now + 2 * MOMENT, accepts), Judgement::Waiting, "the kernel alone is no proof");
            assert_eq!(proof.judge(now + 3 * MOMENT, accepts + 1), Judgement::Proved);
            proof.used(accepts + 1);
        }
    }

    #[test]
    fn connections_that_nobody_accepts_are_no_proof_however_long_it_takes_b213() {
        let (mut proof, now) = (idle_since(7), Instant::now());
        assert_eq!(proof.judge(now, 7), Judgement::Ask { again: false });
        proof.tried(true);
        assert_eq!(proof.judge(now + WAIT - MOMENT, 7), Judgement::Waiting);
        for round in 1..100 {
            assert_eq!(proof.judge(now + round * WAIT, 7), Judgement::Ask { again: true });
            // The queue is full by now.
            proof.tried(false);
        }
        assert_eq!(proof.judge(now + 100 * WAIT, 8), Judgement::Proved, "it was only slow");
    }

    #[test]
    fn who_never_reaches_itself_is_not_ended_for_it() {
        let (mut proof, now) = (idle_since(7), Instant::now());
        assert_eq!(proof.judge(now, 7), Judgement::Ask { again: false });
        proof.tried(false);
        assert_eq!(proof.judge(now + WAIT - MOMENT, 7), Judgement::Waiting);
        assert_eq!(proof.judge(now + WAIT, 7), Judgement::OutOfReach);
        for round in 2..10 {
            assert_eq!(proof.judge(now + round * WAIT, 7), Judgement::Proved);
            proof.used(7);
        }
    }

    #[test]
    fn every_address_is_reached_from_this_machine() {
        let at =
            |text: &str| -> Vec<String> { reached_at(text.parse().unwrap()).iter().map(ToString::to_string).collect() };
        assert_eq!(at("[::]:80"), ["127.0.0.1:80", "[::1]:80"]);
        assert_eq!(at("0.0.0.0:80"), ["127.0.0.1:80"]);
        assert_eq!(at("192.0.2.1:8080"), ["192.0.2.1:8080"]);
        assert_eq!(at("[::1]:8080"), ["[::1]:8080"]);
    }

    #[tokio::test]
    async fn a_probe_says_whether_it_came_about_and_stays_until_it_is_dropped() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut probe = Probe::start(address);
        assert!(probe.tried().await);
        let (mut stream, _) = listener.accept().unwrap();
        drop(probe);
        assert_eq!(std::io::Read::read(&mut stream, &mut [0]).unwrap(), 0, "it has said nothing");
        drop(listener);
        assert!(!Probe::start(address).tried().await);
    }
}
