//! What runs in the background, each bounded in number by who asks for it; a panic in one is a failure of that one alone (B212).

use std::collections::HashMap;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::{
    certs::{
        issuer::{Cause, Failure, Offer, RenewalWindow, Step},
        mkcert::{Absent, Made, MkcertError},
        schedule::{self, OrderId, Outcome, Reached},
        store::Certificate,
    },
    domain::Domain,
};

use super::{account::Trouble, folders::Reading, local::LocalSigner, opening::Opened, orders::End};

/// Something is over.
#[derive(Debug)]
pub(super) enum Done {
    Ordered {
        domain: Domain,
        order: OrderId,
        end: End,
    },
    /// `is_answered`: the name service has said whether there are addresses.
    LookedUp {
        domain: Domain,
        addresses: Option<u64>,
        is_answered: bool,
    },
    Directory(Result<Offer, Failure>),
    Registered(Result<(), Failure>),
    Window {
        domain: Domain,
        window: Result<Option<RenewalWindow>, Failure>,
    },
    Read {
        domain: Domain,
        reading: Reading,
    },
    Stored {
        certificate: Box<Certificate>,
        stored: Result<(), String>,
    },
    LocalLooked(Result<Box<dyn LocalSigner>, Absent>),
    LocalMade {
        domain: Domain,
        made: Result<Made, MkcertError>,
    },
    Opened(Result<Box<Opened>, Trouble>),
}

/// Something begun: what to say if it panics.
#[derive(Clone, Debug)]
pub(super) enum Job {
    Order(Domain, OrderId),
    LookUp(Domain),
    Directory,
    Register,
    Window(Domain),
    Read(Domain),
    Store(Box<Certificate>),
    LookLocal,
    MakeLocal(Domain),
    Open,
}

#[derive(Debug, Default)]
pub(super) struct Jobs {
    tasks: JoinSet<Done>,
    running: HashMap<Id, Job>,
    orders: HashMap<Domain, (OrderId, AbortHandle)>,
}

impl Jobs {
    pub(super) fn begin(&mut self, job: Job, task: impl Future<Output = Done> + 'static) {
        let handle = self.tasks.spawn_local(task);
        if let Job::Order(domain, order) = &job {
            self.orders.insert(domain.clone(), (*order, handle.clone()));
        }
        self.running.insert(handle.id(), job);
    }

    /// Ends this order without a word.
    pub(super) fn abandon(&mut self, domain: &Domain, order: OrderId) {
        if self.orders.get(domain).is_some_and(|(running, _)| *running == order)
            && let Some((_, handle)) = self.orders.remove(domain)
        {
            handle.abort();
        }
    }

    /// The orders that run.
    pub(super) fn orders(&self) -> Vec<(Domain, OrderId)> {
        self.orders.iter().map(|(domain, (order, _))| (domain.clone(), *order)).collect()
    }

    /// The next that is over, as soon as there is one. Cancel safe.
    pub(super) async fn next(&mut self) -> Done {
        loop {
            match self.tasks.join_next_with_id().await {
                Some(joined) => {
                    if let Some(done) = self.end(joined) {
                        return done;
                    }
                }
                None => std::future::pending::<()>().await,
            }
        }
    }

    /// The next that is over by now.
    pub(super) fn try_next(&mut self) -> Option<Done> {
        loop {
            let joined = self.tasks.try_join_next_with_id()?;
            if let Some(done) = self.end(joined) {
                return Some(done);
            }
        }
    }

    /// Ends all of them.
    pub(super) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
        self.running.clear();
        self.orders.clear();
    }

    /// `None`: it was ended on purpose.
    fn end(&mut self, joined: Result<(Id, Done), JoinError>) -> Option<Done> {
        let id = joined.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let job = self.running.remove(&id)?;
        if let Job::Order(domain, order) = &job
            && self.orders.get(domain).is_some_and(|(running, _)| running == order)
        {
            self.orders.remove(domain);
        }
        match joined {
            Ok((_, done)) => Some(done),
            Err(error) if error.is_cancelled() => None,
            Err(_) => {
                tracing::error!(?job, "a part of the keeper panicked: a bug of hotcore");
                Some(job.failed())
            }
        }
    }
}

impl Job {
    fn failed(self) -> Done {
        let bug = || "a bug of hotcore ended it".to_owned();
        match self {
            Self::Order(domain, order) => {
                let failure = schedule::Failure::Ca { until: None };
                let end = End::Failed(Outcome::Failed { failure, reached: Reached::Signature, reason: bug() });
                Done::Ordered { domain, order, end }
            }
            Self::LookUp(domain) => Done::LookedUp { domain, addresses: None, is_answered: false },
            Self::Directory => Done::Directory(Err(unknown(bug()))),
            Self::Register => Done::Registered(Err(unknown(bug()))),
            Self::Window(domain) => Done::Window { domain, window: Err(unknown(bug())) },
            Self::Read(domain) => Done::Read { domain, reading: Reading::failed("a bug of hotcore") },
            Self::Store(certificate) => Done::Stored { certificate, stored: Err(bug()) },
            Self::LookLocal => Done::LocalLooked(Err(Absent::Failed(bug()))),
            Self::MakeLocal(domain) => Done::LocalMade { domain, made: Err(MkcertError::Refused(bug())) },
            Self::Open => Done::Opened(Err(Trouble::Disk(bug()))),
        }
    }
}

fn unknown(why: String) -> Failure {
    Failure { step: Step::Directory, cause: Cause::BadAnswer(why) }
}
