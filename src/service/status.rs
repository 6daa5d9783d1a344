//! What `status` and `systemctl status` say about the process.

use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{
    sockets::{Kind, Sockets},
    worker::Counts,
};
use crate::{
    certs::Board,
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
    /// What is wrong with all certificates.
    board: Board,
    connections: AtomicUsize,
    tunnels: AtomicUsize,
    requests: AtomicU64,
    retries: AtomicU64,
    panics: AtomicU64,
    draining: AtomicUsize,
    /// Why the last reload failed, and when. The data plane never looks here.
    failed_reload: Mutex<Option<(String, Instant)>>,
}

impl Status {
    pub(super) fn new(
        sockets: &Sockets,
        state: PathBuf,
        log: String,
        workers: usize,
        writer: &TableWriter,
        problems: Vec<String>,
        board: Board,
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
            board,
            connections: AtomicUsize::new(0),
            tunnels: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            draining: AtomicUsize::new(0),
            failed_reload: Mutex::default(),
        })
    }

    /// Notes that this process goes on although another one was to take over.
    pub(super) fn note_failed_reload(&self, why: &str, now: Instant) {
        let mut failed = self.failed_reload.lock().unwrap_or_else(PoisonError::into_inner);
        *failed = Some((format!("the last reload failed, and the process before it serves on: {why}"), now));
    }

    /// Forgets a reload that failed long ago.
    pub(super) fn forget(&self, now: Instant) {
        let is_old = |at: Instant| now.saturating_duration_since(at) >= limits::RELOAD_FAILURE_SHOWN;
        let mut failed = self.failed_reload.lock().unwrap_or_else(PoisonError::into_inner);
        failed.take_if(|(_, at)| is_old(*at));
    }

    /// Notes what the workers hold, and how many generations before this one still drain.
    pub(super) fn update(&self, counts: Counts, draining: usize) {
        self.connections.store(counts.connections, Ordering::Relaxed);
        self.tunnels.store(counts.tunnels, Ordering::Relaxed);
        self.requests.store(counts.requests, Ordering::Relaxed);
        self.retries.store(counts.retries, Ordering::Relaxed);
        self.panics.store(counts.panics, Ordering::Relaxed);
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
        let mut problems = self.problems.clone();
        problems.extend(self.board.problems());
        let failed = self.failed_reload.lock().unwrap_or_else(PoisonError::into_inner);
        problems.extend(failed.as_ref().map(|(why, _)| why.clone()));
        drop(failed);
        let panics = self.panics.load(Ordering::Relaxed);
        if panics > 0 {
            problems.push(format!("{panics} connections met a bug: please report what the log says of it"));
        }
        let loops = self.rules_to_own_ports();
        if !loops.is_empty() {
            problems.push(format!("rules to hotcore's own ports: {}", join(&loops)));
        }
        let more = problems.len().saturating_sub(limits::STATUS_PROBLEMS_SHOWN_MAX);
        problems.truncate(limits::STATUS_PROBLEMS_SHOWN_MAX);
        if more > 0 {
            problems.push(format!("and {more} more: see the log"));
        }
        problems
    }

    /// The answer to `status`, the important facts first. A key is one word (docs/PROTOCOL.md).
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
        for (key, count) in self.certificates() {
            facts.push((key, count.to_string()));
        }
        facts.push(("log", self.log.clone()));
        facts.push(("state", self.state.display().to_string()));
        facts.push(("workers", self.workers.to_string()));
        facts.push(("connections", self.connections.load(Ordering::Relaxed).to_string()));
        facts.push(("tunnels", self.tunnels.load(Ordering::Relaxed).to_string()));
        facts.push(("requests", self.requests.load(Ordering::Relaxed).to_string()));
        // Many are a finding: the app closes connections that hotcore keeps (B39).
        facts.push(("retries", self.retries.load(Ordering::Relaxed).to_string()));
        let draining = self.draining.load(Ordering::Relaxed);
        if draining > 0 {
            facts.push(("draining", format!("{draining} older processes")));
        }
        facts
    }

    /// Names whose certificate serves, and those that lack something.
    fn certificates(&self) -> [(&'static str, usize); 4] {
        let counts = self.board.counts();
        [
            ("certificates", counts.served),
            ("ordering", counts.ordering),
            ("waiting", counts.waiting),
            ("stopped", counts.stopped),
        ]
    }

    /// The line of `systemctl status`.
    pub(super) fn line(&self) -> String {
        let mut line = match self.table.len() {
            1 => "1 rule".to_owned(),
            count => format!("{count} rules"),
        };
        // Writing to a String cannot fail.
        for (key, count) in self.certificates().into_iter().filter(|(key, count)| *count > 0 || *key == "certificates")
        {
            let _ = write!(line, ", {count} {key}");
        }
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
    use crate::{certs::keeper::State, routes::Port};

    /// B30, B39, B212: what is wrong comes first, and each line begins with a key of one word.
    #[test]
    fn trouble_is_told_as_a_problem_and_figures_as_they_are() {
        let mut writer = TableWriter::new();
        writer.insert(Domain::parse("a.com").unwrap(), Port::new(8080).unwrap());
        let status = |own_ports: &[u16], counts: Counts| {
            let problems = vec!["a line was damaged".to_owned()];
            let mut status = Status::new(
                &Sockets::default(),
                "/state".into(),
                "journal".into(),
                2,
                &writer,
                problems,
                Board::default(),
            );
            let inner = Arc::get_mut(&mut status).unwrap();
            inner.own_ports = own_ports.to_vec();
            inner.suspects = vec![Domain::parse("a.com").unwrap()];
            status.update(counts, 0);
            status.facts()
        };
        let well = status(&[], Counts { requests: 7, retries: 3, ..Counts::default() });
        assert_eq!(well.iter().filter(|(key, _)| *key == "problem").count(), 1);
        for fact in [("requests", "7"), ("retries", "3"), ("workers", "2"), ("state", "/state")] {
            assert!(well.iter().any(|(key, value)| (*key, value.as_str()) == fact), "{fact:?} in {well:?}");
        }
        let ill = status(&[8080], Counts { panics: 2, ..Counts::default() });
        let (keys, values): (Vec<_>, Vec<_>) = ill.into_iter().unzip();
        assert_eq!(keys[..3], ["problem"; 3]);
        assert!(values[1].starts_with("2 connections met a bug"), "{values:?}");
        assert_eq!(values[2], "rules to hotcore's own ports: a.com");
        assert!(keys.iter().all(|key| !key.contains(' ')), "{keys:?}");
    }

    #[test]
    fn certificates_are_counted_and_those_that_lack_something_named() {
        let writer = TableWriter::new();
        let sockets = Sockets::default();
        let status = |board| Status::new(&sockets, "/state".into(), "journal".into(), 2, &writer, Vec::new(), board);
        let none = status(Board::default());
        assert!(none.line().starts_with("0 rules, 0 certificates, 0 connections"), "{}", none.line());
        let mut states = vec![(State::Valid, Some(1)); 5];
        states.extend([(State::Waiting, None), (State::Waiting, None), (State::Stopped, None)]);
        let status = status(Board::of(&states));
        assert!(status.line().starts_with("0 rules, 5 certificates, 2 waiting, 1 stopped, 0 connections"));
        let facts = status.facts();
        for fact in [("certificates", "5"), ("ordering", "0"), ("waiting", "2"), ("stopped", "1")] {
            assert!(facts.iter().any(|(key, value)| (*key, value.as_str()) == fact), "{fact:?} in {facts:?}");
        }
    }

    /// B205: the next process that takes over begins without it.
    #[test]
    fn a_reload_that_failed_is_a_problem_for_some_time_b205() {
        let writer = TableWriter::new();
        let status = Status::new(
            &Sockets::default(),
            "/state".into(),
            "journal".into(),
            2,
            &writer,
            Vec::new(),
            Board::default(),
        );
        let start = Instant::now();
        status.note_failed_reload("no such file", start);
        let is_shown =
            || status.line().contains("; problem: the last reload failed") && status.line().contains("no such file");
        status.forget(start + limits::RELOAD_FAILURE_SHOWN - std::time::Duration::from_secs(1));
        assert!(is_shown(), "{}", status.line());
        assert_eq!(status.facts()[0].0, "problem");
        status.forget(start + limits::RELOAD_FAILURE_SHOWN);
        assert!(!is_shown(), "{}", status.line());
    }

    #[test]
    fn many_problems_leave_room_for_the_other_facts() {
        let shown = |count: usize| {
            let problems = (0..count).map(|number| format!("trouble {number}")).collect();
            let writer = TableWriter::new();
            let status = Status::new(
                &Sockets::default(),
                "/state".into(),
                "journal".into(),
                2,
                &writer,
                problems,
                Board::default(),
            );
            let facts = status.facts().into_iter();
            facts.filter(|fact| fact.0 == "problem").map(|fact| fact.1).collect::<Vec<_>>()
        };
        let at = limits::STATUS_PROBLEMS_SHOWN_MAX;
        assert_eq!(shown(at).len(), at);
        assert_eq!(shown(at).last().unwrap(), &format!("trouble {}", at - 1));
        assert_eq!(shown(at + 1).len(), at + 1);
        assert_eq!(shown(at + 1).last().unwrap(), "and 1 more: see the log");
        assert_eq!(shown(100).last().unwrap(), "and 97 more: see the log");
    }
}
