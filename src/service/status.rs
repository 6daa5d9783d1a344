//! What `status` and `systemctl status` say about the process.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{
    sockets::{Kind, Sockets},
    worker::Counts,
};
use crate::{
    domain::Domain,
    limits,
    routes::{Table, TableWriter},
};

/// Facts about the process. Those that move are kept up to date by the supervisor, so that reading them never waits.
#[derive(Debug)]
pub(super) struct Status {
    addresses: Vec<(Kind, Vec<SocketAddr>)>,
    state: PathBuf,
    log: String,
    workers: usize,
    table: Table,
    own_ports: Vec<u16>,
    suspects: Vec<Domain>,
    /// What was wrong with the rules on disk.
    problems: Vec<String>,
    connections: AtomicUsize,
    tunnels: AtomicUsize,
    requests: AtomicU64,
    draining: AtomicUsize,
}

impl Status {
    pub(super) fn new(
        sockets: &Sockets,
        state: PathBuf,
        log: String,
        workers: usize,
        writer: &TableWriter,
        problems: Vec<String>,
    ) -> Arc<Self> {
        let own_ports = sockets.own_ports();
        // New rules to own ports are refused, so only those read from disk can point there (B30).
        let suspects = writer
            .page_after(None)
            .filter(|rule| own_ports.contains(&rule.port.number()))
            .map(|rule| rule.domain.clone())
            .take(limits::OWN_PORT_RULES_SHOWN_MAX)
            .collect();
        Arc::new(Self {
            addresses: Kind::ALL.into_iter().map(|kind| (kind, sockets.addresses(kind))).collect(),
            state,
            log,
            workers,
            table: writer.table(),
            own_ports,
            suspects,
            problems,
            connections: AtomicUsize::new(0),
            tunnels: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            draining: AtomicUsize::new(0),
        })
    }

    /// Notes what the workers hold, and how many generations before this one still drain.
    pub(super) fn update(&self, counts: Counts, draining: usize) {
        self.connections.store(counts.connections, Ordering::Relaxed);
        self.tunnels.store(counts.tunnels, Ordering::Relaxed);
        self.requests.store(counts.requests, Ordering::Relaxed);
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Rules that point to a port hotcore itself listens on: they stay, and are answered with 508 (B30).
    pub(super) fn rules_to_own_ports(&self) -> Vec<Domain> {
        let points_here =
            |domain: &&Domain| self.table.find(domain).is_some_and(|rule| self.own_ports.contains(&rule.port.number()));
        self.suspects.iter().filter(points_here).cloned().collect()
    }

    /// What is wrong, one sentence each: so few that the other facts have room beside them.
    fn problems_to_show(&self) -> Vec<String> {
        let own_port = |domain: &Domain| {
            format!("{domain} is mapped to a port of hotcore itself: map it to its app's port, or remove it")
        };
        let loops = self.rules_to_own_ports();
        let mut problems: Vec<_> = self.problems.iter().cloned().chain(loops.iter().map(own_port)).collect();
        let more = problems.len().saturating_sub(limits::STATUS_PROBLEMS_SHOWN_MAX);
        problems.truncate(limits::STATUS_PROBLEMS_SHOWN_MAX);
        if more > 0 {
            problems.push(format!("and {more} more: see the log"));
        }
        problems
    }

    /// The answer to `status`, the important facts first.
    pub(super) fn facts(&self) -> Vec<(&'static str, String)> {
        let mut facts: Vec<_> = self.problems_to_show().into_iter().map(|problem| ("problem", problem)).collect();
        for (kind, addresses) in &self.addresses {
            match kind {
                Kind::Http => facts.push(("http", join(addresses))),
                Kind::Https => facts.push(("https", join(addresses))),
                // The control server names its own.
                Kind::Control => {}
            }
        }
        facts.push(("log", self.log.clone()));
        facts.push(("state", self.state.display().to_string()));
        facts.push(("workers", self.workers.to_string()));
        facts.push(("connections", self.connections.load(Ordering::Relaxed).to_string()));
        facts.push(("tunnels", self.tunnels.load(Ordering::Relaxed).to_string()));
        facts.push(("requests", self.requests.load(Ordering::Relaxed).to_string()));
        let draining = self.draining.load(Ordering::Relaxed);
        if draining > 0 {
            facts.push(("draining", format!("{draining} older processes")));
        }
        facts
    }

    /// The line of `systemctl status`.
    pub(super) fn line(&self) -> String {
        let mut line = match self.table.len() {
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        };
        // Writing to a String cannot fail.
        let _ = write!(line, ", {} connections", self.connections.load(Ordering::Relaxed));
        for (kind, addresses) in &self.addresses {
            let _ = write!(line, "; {kind} on {}", join(addresses));
        }
        for problem in self.problems_to_show() {
            let _ = write!(line, "; problem: {problem}");
        }
        line
    }
}

fn join<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Port;

    fn status(problems: usize) -> Status {
        let mut writer = TableWriter::new();
        writer.insert(Domain::parse("a.example").unwrap(), Port::new(80).unwrap());
        Status {
            addresses: Vec::new(),
            state: PathBuf::from("/state"),
            log: "journal".to_owned(),
            workers: 1,
            table: writer.table(),
            own_ports: vec![80],
            suspects: vec![Domain::parse("a.example").unwrap()],
            problems: (0..problems).map(|number| format!("trouble {number}")).collect(),
            connections: AtomicUsize::new(0),
            tunnels: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            draining: AtomicUsize::new(0),
        }
    }

    fn problems(status: &Status) -> Vec<String> {
        status.facts().into_iter().filter(|fact| fact.0 == "problem").map(|fact| fact.1).collect()
    }

    /// B30, and the protocol: a key has no blank in it.
    #[test]
    fn a_rule_to_an_own_port_is_a_problem_like_others() {
        let status = status(0);
        let wanted = "a.example is mapped to a port of hotcore itself: map it to its app's port, or remove it";
        assert_eq!(problems(&status), [wanted]);
        assert!(status.line().ends_with(&format!("; problem: {wanted}")), "{}", status.line());
        assert!(status.facts().iter().all(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase())));
    }

    #[test]
    fn many_problems_leave_room_for_the_other_facts() {
        let at = limits::STATUS_PROBLEMS_SHOWN_MAX;
        assert_eq!(problems(&status(at - 1)).len(), at);
        let past = problems(&status(at));
        assert_eq!((past.len(), past.last().map(String::as_str)), (at + 1, Some("and 1 more: see the log")));
        assert_eq!(problems(&status(100)).last().map(String::as_str), Some("and 98 more: see the log"));
    }
}
