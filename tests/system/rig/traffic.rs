//! All kinds of visitors at once, in the network of a machine.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use super::{Door, Habit, Load, Machine, SecureLoad, Seen, Tally, Way};

/// Clients in clear.
const PLAIN: &[Habit] = &[Habit::New, Habit::New, Habit::Kept, Habit::Kept, Habit::Upload, Habit::Slow];
/// Clients by HTTPS.
const SECURE: &[Way] = &[Way::Http2, Way::Http2, Way::Kept, Way::Kept, Way::Resumed, Way::Full];
/// Requests at a time, at most: each of a connection of HTTP/2 has four.
pub(crate) const IN_FLIGHT_MAX: usize = PLAIN.len() + SECURE.len() + 2 * 3;
/// After each answer a client rests, so that connections are idle at times, and processors, too: what an event adds to a wait shows.
const PAUSE: Duration = Duration::from_millis(1);

/// Running clients; dropped, they end.
pub(crate) struct Traffic {
    tally: Arc<Tally>,
    plain: Load,
    secure: SecureLoad,
}

/// What the kernel's TCP threw away in the network of a machine since it booted: /proc/net/netstat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Drops(Vec<(String, u64)>);

impl Traffic {
    /// Who asks for names of sites that answer with `body`: `plain` by port 80, `secure`, which `root` vouches for, by port 443.
    pub(crate) fn start(machine: &Machine, plain: &str, secure: &str, root: &Path, body: &str) -> Self {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let tally = Arc::<Tally>::default();
        machine.inside(|| Self {
            plain: Load::mixed(at(80), plain, PLAIN, &[body], PAUSE, Arc::clone(&tally)),
            secure: SecureLoad::mixed(
                Door { address: at(443), name: secure, root },
                SECURE,
                body,
                PAUSE,
                Arc::clone(&tally),
            ),
            tally: Arc::clone(&tally),
        })
    }

    /// Waits until `count` more requests were answered.
    pub(crate) fn wait_for_more(&self, count: u64) {
        self.tally.wait_for_more(count);
    }

    /// What was seen since the start, or since this was asked for the last time.
    pub(crate) fn take(&self) -> Seen {
        self.tally.take()
    }

    /// Ends the clients. What they saw to the last is in the answer.
    pub(crate) fn end(mut self) -> Seen {
        self.plain.end();
        self.secure.end();
        self.tally.take()
    }
}

impl Drops {
    /// As they are now.
    pub(crate) fn of(machine: &Machine) -> Self {
        let text = machine.sh("grep ^TcpExt: /proc/net/netstat");
        let (names, figures) = text.split_once('\n').unwrap();
        let counts = names.split_whitespace().zip(figures.split_whitespace()).filter_map(|(name, figure)| {
            let is_meant =
                name.starts_with("ListenDrops") || name == "ListenOverflows" || name.starts_with("TCPAbortOn");
            is_meant.then(|| (name.to_owned(), figure.parse().unwrap()))
        });
        Self(counts.collect())
    }

    /// What was added since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self(self.0.iter().zip(&before.0).map(|((name, now), (_, then))| (name.clone(), now - then)).collect())
    }

    /// Connections that found no place in the queue of a listening socket, or were thrown out of it.
    pub(crate) fn out_of_queues(&self) -> u64 {
        self.0.iter().filter(|(name, _)| name.starts_with("Listen")).map(|(_, count)| count).sum()
    }
}
