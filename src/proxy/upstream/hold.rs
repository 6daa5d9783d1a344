//! Holding: a refused port is not an error for a while, because an app that restarts comes back (B21–B28).
//!
//! One probe per port and worker tries the port; the requests that wait for it only wait for the probe, so a dead backend
//! with a thousand waiting requests costs four attempts a second. Each waiting request reads its route again after every
//! probe: that is the exchange's part.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::{sync::Notify, task::spawn_local, time::sleep};

use super::{DialError, Upstreams};
use crate::{
    limits::{HELD_MAX, HELD_PER_DOMAIN_MAX, PROBE_AFTER},
    routes::{Port, Rule},
};

/// The ports of one worker that are being probed.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    probes: RefCell<HashMap<Port, Rc<Probe>>>,
    /// Waiting requests in the whole process.
    held: Arc<AtomicU32>,
}

#[derive(Debug, Default)]
struct Probe {
    /// Moves with every attempt, successful or not.
    tried: Notify,
    waiting: Cell<usize>,
    /// The last attempt was neither taken nor refused (B18).
    silent: Cell<bool>,
}

/// There are too many waiting requests already (B24).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl Holds {
    /// `held` counts the waiting requests of all workers.
    pub(crate) fn new(held: Arc<AtomicU32>) -> Self {
        Self { probes: RefCell::default(), held }
    }

    /// Whether the port is known to be refused at this moment: then it is for the probe to try it, not for each request.
    pub(crate) fn is_probing(&self, port: Port) -> bool {
        self.probes.borrow().contains_key(&port)
    }

    /// Whether the port takes connections in without an answer, as the last attempt found it; else it refuses them.
    pub(crate) fn is_silent(&self, port: Port) -> bool {
        self.probes.borrow().get(&port).is_some_and(|probe| probe.silent.get())
    }

    /// Takes a place among the requests that wait for the rule's backend.
    pub(crate) fn enter(&self, rule: &Arc<Rule>) -> Result<Held, NoRoom> {
        let all = Count::take(&self.held, HELD_MAX).ok_or(NoRoom)?;
        if !raise(rule.held(), HELD_PER_DOMAIN_MAX) {
            return Err(NoRoom);
        }
        Ok(Held { rule: rule.clone(), _all: all })
    }

    /// Waits for the next attempt to reach `port`, whatever its outcome. A connection that succeeds lies in the pool.
    /// `silent` is what the caller's own attempt found, if it made one; the probe's attempts find anew.
    pub(crate) async fn next_attempt(self: &Rc<Self>, upstreams: &Rc<Upstreams>, port: Port, silent: bool) {
        let probe = self.probe(upstreams, port, silent);
        probe.waiting.set(probe.waiting.get() + 1);
        let _leave = Leave(&probe);
        probe.tried.notified().await;
    }

    fn probe(self: &Rc<Self>, upstreams: &Rc<Upstreams>, port: Port, silent: bool) -> Rc<Probe> {
        if let Some(probe) = self.probes.borrow().get(&port) {
            return probe.clone();
        }
        let probe = Rc::new(Probe { silent: Cell::new(silent), ..Probe::default() });
        self.probes.borrow_mut().insert(port, probe.clone());
        spawn_local(run(self.clone(), upstreams.clone(), port, probe.clone()));
        probe
    }
}

/// Tries the port until it answers or nobody waits any more.
async fn run(holds: Rc<Holds>, upstreams: Rc<Upstreams>, port: Port, probe: Rc<Probe>) {
    let [first, second, third, rest] = PROBE_AFTER;
    let mut pauses = [first, second, third].into_iter();
    loop {
        sleep(pauses.next().unwrap_or(rest)).await;
        if probe.waiting.get() == 0 {
            break;
        }
        match upstreams.stock(port).await {
            // Taken is answered, however it ends: the requests see it themselves (B29).
            Ok(()) | Err(DialError::Reset) => break,
            Err(error) => probe.silent.set(matches!(error, DialError::Silent)),
        }
        probe.tried.notify_waiters();
    }
    // Taken out first: who is woken now and refused again begins a new probe.
    holds.probes.borrow_mut().remove(&port);
    probe.tried.notify_waiters();
}

struct Leave<'a>(&'a Probe);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get().saturating_sub(1));
    }
}

/// A place among the waiting requests; free again when dropped.
#[derive(Debug)]
pub(crate) struct Held {
    rule: Arc<Rule>,
    _all: Count,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.rule.held().fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Count(Arc<AtomicU32>);

impl Count {
    fn take(counter: &Arc<AtomicU32>, limit: u32) -> Option<Self> {
        raise(counter, limit).then(|| Self(counter.clone()))
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Adds one unless `limit` is reached.
fn raise(counter: &AtomicU32, limit: u32) -> bool {
    counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| (held < limit).then_some(held + 1)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Domain;

    fn rule(name: &str) -> Arc<Rule> {
        Arc::new(Rule::new(Domain::parse(name).unwrap(), Port::new(8080).unwrap(), true))
    }

    /// B21: one probe for a port, however many wait for it, and none when nobody waits any more.
    #[tokio::test]
    async fn one_probe_serves_all_that_wait() {
        // Bound and not listening: it refuses, and nobody else can take it.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = Port::new(socket.local_addr().unwrap().as_socket().unwrap().port()).unwrap();
        let (holds, upstreams) = (Rc::new(Holds::default()), Rc::new(Upstreams::default()));
        tokio::task::LocalSet::new()
            .run_until(async {
                let waiting: Vec<_> = (0..50)
                    .map(|_| {
                        let (holds, upstreams) = (holds.clone(), upstreams.clone());
                        spawn_local(async move { holds.next_attempt(&upstreams, port, true).await })
                    })
                    .collect();
                tokio::task::yield_now().await;
                assert_eq!(holds.probes.borrow().len(), 1);
                assert!(holds.is_silent(port), "what the first has found");
                for waiting in waiting {
                    waiting.await.unwrap();
                }
                assert!(!holds.is_silent(port), "what the probe has found");
                while holds.is_probing(port) {
                    sleep(PROBE_AFTER[0]).await;
                }
                socket.listen(1).unwrap();
                holds.next_attempt(&upstreams, port, false).await;
                assert!(!holds.is_probing(port), "it has answered");
                assert!(!upstreams.reuse(port).unwrap().reused, "its connection has carried nothing yet");
            })
            .await;
    }

    /// B24: 1,000 requests wait for one domain, and not one more.
    #[test]
    fn places_per_domain_are_limited() {
        let holds = Holds::default();
        let a = rule("a.com");
        let places: Vec<_> = (0..HELD_PER_DOMAIN_MAX).map(|_| holds.enter(&a).unwrap()).collect();
        assert_eq!(holds.enter(&a).unwrap_err(), NoRoom);
        holds.enter(&rule("b.com")).expect("another domain has places of its own");
        drop(places);
        holds.enter(&a).expect("places are free again");
    }

    /// B24: 10,000 requests wait in all, and not one more.
    #[test]
    fn places_in_all_are_limited() {
        let holds = Holds::default();
        let rules: Vec<_> = (0..11).map(|n| rule(&format!("d{n}.com"))).collect();
        let places: Vec<_> = rules
            .iter()
            .flat_map(|rule| (0..HELD_PER_DOMAIN_MAX).map_while(|_| holds.enter(rule).ok()).collect::<Vec<_>>())
            .collect();
        assert_eq!(u32::try_from(places.len()).unwrap(), HELD_MAX);
        drop(places);
        assert_eq!(holds.held.load(Ordering::Relaxed), 0);
        assert!(rules.iter().all(|rule| rule.held().load(Ordering::Relaxed) == 0));
    }
}
