//! The changes that wait for the disk, and how many of them make one commit. Pure.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use super::{
    protocol::{Command, Refusal},
    reply,
    socket::Origin,
};
use crate::{
    domain::Domain,
    routes::{Change, Port, SaveError, Table},
};

/// Whom to answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// The socket that was asked, as an index.
    pub(super) socket: usize,
    /// The sender, and the address that it asked.
    pub(super) origin: Origin,
}

/// A change that somebody waits for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) change: Change,
    pub(super) peer: Peer,
}

/// The requests that wait, in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Queue {
    requests: VecDeque<Request>,
    /// How many requests wait for each name.
    names: HashMap<Domain, usize>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    pub(super) fn concerns(&self, domain: &Domain) -> bool {
        self.names.contains_key(domain)
    }

    pub(super) fn push(&mut self, request: Request) {
        *self.names.entry(domain_of(&request.change).clone()).or_default() += 1;
        self.requests.push_back(request);
    }

    /// Takes the oldest requests, at most `requests_max`.
    pub(super) fn take(&mut self, requests_max: usize) -> Vec<Request> {
        let taken: Vec<Request> = self.requests.drain(..requests_max.min(self.requests.len())).collect();
        for request in &taken {
            if let Entry::Occupied(mut count) = self.names.entry(domain_of(&request.change).clone()) {
                match *count.get() {
                    0 | 1 => drop(count.remove()),
                    many => *count.get_mut() = many - 1,
                }
            }
        }
        taken
    }
}

/// Requests that share one commit: of those for the same name the last one stays, and each gets its own reply (B182).
#[derive(Debug)]
pub(super) struct Batch {
    answers: Vec<Answer>,
    /// For each name where its requests lead: a port or nothing.
    outcome: HashMap<Domain, Option<Port>>,
}

#[derive(Debug)]
struct Answer {
    request: Request,
    /// What to say once all of the batch is durable and visible.
    done: String,
}

impl Batch {
    /// `table` must be what the commit will meet: no other one may be in flight.
    pub(super) fn new(requests: Vec<Request>, table: &Table) -> Self {
        let mut outcome: HashMap<Domain, Option<Port>> = HashMap::new();
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let (domain, wanted) = wish(&request.change);
            let state = outcome.entry(domain.clone()).or_insert_with(|| port_of(table, domain));
            let done = say(domain, *state, wanted);
            *state = wanted;
            answers.push(Answer { request, done });
        }
        Self { answers, outcome }
    }

    /// What must reach the disk: one change for each name that ends otherwise than it began. None if nothing does.
    pub(super) fn changes(&self, table: &Table) -> Vec<Change> {
        self.outcome
            .iter()
            .filter(|(domain, port)| port_of(table, domain) != **port)
            .map(|(domain, port)| match port {
                Some(port) => Change::Map(domain.clone(), *port),
                None => Change::Unmap(domain.clone()),
            })
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }

    pub(super) fn concerns(&self, domain: &Domain) -> bool {
        self.outcome.contains_key(domain)
    }

    /// The replies, once everything is durable and visible.
    pub(super) fn done(self) -> impl Iterator<Item = (Peer, String)> {
        self.answers.into_iter().map(|answer| (answer.request.peer, answer.done))
    }

    /// The replies when nothing was changed: an error, but not for those who asked for what is so in any case.
    pub(super) fn failed(self, error: &SaveError, table: &Table) -> impl Iterator<Item = (Peer, String)> {
        let refusal = reply::refused(&Refusal::Save(error.to_string()));
        self.answers.into_iter().map(move |Answer { request, .. }| {
            let reply = stands(&request.change, table).unwrap_or_else(|| refusal.clone());
            (request.peer, reply)
        })
    }
}

/// The change that a command asks for, if it does.
pub(super) fn change(command: &Command) -> Option<Change> {
    match command {
        Command::Add(domain, port) => Some(Change::Map(domain.clone(), *port)),
        Command::Remove(domain) => Some(Change::Unmap(domain.clone())),
        _ => None,
    }
}

/// The reply to a request for what already is so: the same one again, without a disk write (B179).
pub(super) fn stands(change: &Change, table: &Table) -> Option<String> {
    let (domain, wanted) = wish(change);
    let state = port_of(table, domain);
    (state == wanted).then(|| say(domain, state, wanted))
}

pub(super) fn domain_of(change: &Change) -> &Domain {
    match change {
        Change::Map(domain, _) | Change::Unmap(domain) => domain,
    }
}

fn wish(change: &Change) -> (&Domain, Option<Port>) {
    match change {
        Change::Map(domain, port) => (domain, Some(*port)),
        Change::Unmap(domain) => (domain, None),
    }
}

fn port_of(table: &Table, domain: &Domain) -> Option<Port> {
    table.find(domain).map(|rule| rule.port)
}

/// The reply to a request that leads from `state` to `wanted`.
fn say(domain: &Domain, state: Option<Port>, wanted: Option<Port>) -> String {
    match (state, wanted) {
        (_, Some(port)) => reply::mapped(domain, port),
        (Some(_), None) => reply::removed(domain),
        (None, None) => reply::not_mapped(domain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::TableWriter;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn request(text: &str) -> Request {
        let super::super::protocol::Message::Command(command) =
            super::super::protocol::Message::parse(text.as_bytes(), &[])
        else {
            panic!("{text}")
        };
        let origin = Origin { source: "127.0.0.1:5000".parse().unwrap(), way: None };
        Request { change: change(&command).unwrap(), peer: Peer { socket: 0, origin } }
    }

    fn batch(table: &Table, texts: &[&str]) -> Batch {
        Batch::new(texts.iter().map(|text| request(text)).collect(), table)
    }

    fn writer() -> TableWriter {
        let mut writer = TableWriter::new();
        writer.insert(domain("a.com"), Port::new(1).unwrap());
        writer
    }

    fn texts(replies: impl Iterator<Item = (Peer, String)>) -> Vec<String> {
        replies.map(|(_, reply)| reply).collect()
    }

    #[test]
    fn of_the_same_name_the_last_change_stays_and_each_gets_its_reply() {
        // B180, B182.
        let table = writer().table();
        let batch = batch(
            &table,
            &["add b.com 2", "add a.com 3", "remove b.com", "add b.com 4", "remove c.com", "add a.com 3"],
        );
        let mut changes = batch.changes(&table);
        changes.sort_by_key(|change| domain_of(change).clone());
        let port = |number| Port::new(number).unwrap();
        assert_eq!(changes, [Change::Map(domain("a.com"), port(3)), Change::Map(domain("b.com"), port(4))]);
        let wanted =
            ["ok b.com 2", "ok a.com 3", "ok b.com removed", "ok b.com 4", "ok c.com was not mapped", "ok a.com 3"];
        assert_eq!(texts(batch.done()), wanted);
    }

    #[test]
    fn changes_that_cancel_out_need_no_disk() {
        let table = writer().table();
        let batch = batch(&table, &["add b.com 2", "remove a.com", "add a.com 1", "remove b.com"]);
        assert_eq!(batch.changes(&table), []);
        assert_eq!(texts(batch.done()), ["ok b.com 2", "ok a.com removed", "ok a.com 1", "ok b.com removed"]);
    }

    #[test]
    fn after_a_failure_only_those_get_an_error_whose_wish_is_not_so() {
        let table = writer().table();
        let batch = batch(&table, &["add a.com 2", "add a.com 1", "remove b.com", "add b.com 5"]);
        let replies = texts(batch.failed(&SaveError("disk full".to_owned()), &table));
        let error = "error cannot save the rule, nothing was changed: disk full";
        assert_eq!(replies, [error, "ok a.com 1", "ok b.com was not mapped", error]);
    }

    #[test]
    fn a_queue_knows_the_names_that_wait_in_it() {
        let mut queue = Queue::default();
        for text in ["add a.com 1", "add b.com 1", "remove a.com"] {
            queue.push(request(text));
        }
        assert_eq!(queue.take(2).len(), 2);
        assert!(queue.concerns(&domain("a.com")) && !queue.concerns(&domain("b.com")));
        assert_eq!(queue.take(2).len(), 1);
        assert!(queue.is_empty() && !queue.concerns(&domain("a.com")));
    }
}
