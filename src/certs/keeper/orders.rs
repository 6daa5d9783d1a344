//! One order from beginning to end: the account registered, an interrupted order finished first, the answer to the challenge in
//! the keyring, the certificate verified and on disk (acme.md 4.6 to 4.8).
//!
//! Never here: a decision about when; a secret in any text (B218).

mod pending;

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{
    certs::{
        issuer::{
            AccountFault, Answer, Cause, CertificateId, ChallengeKind, Challenges, Failure, Issued, Issuer, NewOrder,
            PendingOrder, PendingOrders, Registration,
        },
        schedule::{self, Challenge, Origin, Outcome, Reached},
        store::{Account, Certificate},
    },
    domain::Domain,
    limits,
    tls::Keyring,
};

use super::{
    clock::{Clock, seconds},
    desk::Desk,
    outcome,
};

/// What all orders at one CA share.
#[derive(Debug)]
pub(super) struct Orders<I> {
    pub(super) issuer: I,
    pub(super) desk: Desk,
    pub(super) keyring: Rc<RefCell<Keyring>>,
    pub(super) clock: Clock,
    /// Where answers to challenges of either kind are looked at before the CA is asked to look.
    pub(super) fronts: Fronts,
    account: RefCell<Account>,
    /// When a registration failed last, and why: those that waited for it need not try again.
    registration: Mutex<Option<(Instant, Failure)>>,
    /// Orders that were interrupted behind their certificate request, and how often their end was looked for in vain.
    pending: RefCell<HashMap<Domain, (PendingOrder, u32)>>,
    /// Seconds by which the CA's clock is ahead of ours.
    pub(super) difference: Cell<i64>,
}

/// Our own sockets, as this machine reaches them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fronts {
    pub(super) http: Option<SocketAddr>,
    pub(super) https: Option<SocketAddr>,
}

/// The end of an order.
#[derive(Debug)]
pub(super) enum End {
    /// A certificate that may serve.
    Issued {
        certificate: Box<Certificate>,
        proved_by: Option<Challenge>,
        /// Whether it is on disk; else why not.
        stored: Result<(), String>,
    },
    /// As the schedule is told it.
    Failed(Outcome),
}

impl<I: Issuer> Orders<I> {
    pub(super) fn new(
        issuer: I,
        desk: Desk,
        account: Account,
        keyring: Rc<RefCell<Keyring>>,
        clock: Clock,
        fronts: Fronts,
    ) -> Self {
        Self {
            issuer,
            desk,
            keyring,
            clock,
            fronts,
            account: RefCell::new(account),
            registration: Mutex::default(),
            pending: RefCell::default(),
            difference: Cell::default(),
        }
    }

    /// An earlier process left this; `false`: it is of no use.
    pub(super) fn remember(&self, domain: &Domain, pending: &[u8]) -> bool {
        let read = pending::read(domain, pending);
        let is_read = read.is_some();
        if let Some(pending) = read {
            self.pending.borrow_mut().insert(domain.clone(), (pending, 0));
        }
        is_read
    }

    /// Whether something is left of an interrupted order: a new process can finish it.
    pub(super) fn is_pending(&self, domain: &Domain) -> bool {
        self.pending.borrow().contains_key(domain)
    }

    /// Orders a certificate, or finishes an order that was interrupted; `None`: that alone.
    pub(super) async fn order(&self, domain: &Domain, challenge: Option<Challenge>) -> End {
        if let Err(failure) = self.register_once().await {
            return self.failed(&failure, Reached::Order);
        }
        let pending = self.pending.borrow().get(domain).map(|(pending, _)| pending.clone());
        if let Some(pending) = pending {
            match self.issuer.resume(&pending).await {
                Ok(issued) => return self.accept(domain, issued, None).await,
                Err(failure) if is_lost(&failure) || !is_out(&failure) && self.is_given_up(domain) => {
                    self.forget(domain).await;
                    if challenge.is_none() {
                        return End::Failed(given_up("the interrupted order came to nothing"));
                    }
                }
                // An order that was to be a new one has asked for no further signature.
                Err(failure) => {
                    let reached = if challenge.is_none() { Reached::Signature } else { Reached::Order };
                    return self.failed(&failure, reached);
                }
            }
        }
        let Some(challenge) = challenge else {
            return End::Failed(given_up("nothing is left of the interrupted order"));
        };
        let stage = Stage { orders: self, was_published: Cell::new(false), was_kept: Cell::new(false) };
        let order =
            NewOrder { domain: domain.clone(), challenge: kind(challenge), replaces: self.certificate_id(domain) };
        match self.issuer.issue(&order, &stage, &stage).await {
            Ok(issued) => self.accept(domain, issued, stage.was_published.get().then_some(challenge)).await,
            Err(failure) => {
                let end = self.failed(&failure, stage.reached());
                // What may have been signed is fetched by the next try.
                if stage.was_kept.get()
                    && !matches!(end, End::Failed(Outcome::Failed { reached: Reached::Signature, .. }))
                {
                    self.forget(domain).await;
                }
                end
            }
        }
    }

    /// Registers the account's key, again or for the first time; and keeps what the CA calls it.
    pub(super) async fn register(&self) -> Result<(), Failure> {
        let Registration { url, is_new } = self.issuer.register().await?;
        tracing::info!(account = url, is_new, "registered at the CA");
        let account = {
            let mut account = self.account.borrow_mut();
            account.url = Some(url);
            account.clone()
        };
        let saved = self.desk.ask(move |store| store.save_account(&account).map_err(|error| error.to_string())).await;
        if let Err(error) = saved.unwrap_or_else(|error| Err(error.to_string())) {
            // The key is safe; its account is asked for again by the next process.
            tracing::warn!("cannot keep the name of the account: {error}");
        }
        Ok(())
    }

    /// What the CA calls the certificate that serves this name.
    pub(super) fn certificate_id(&self, domain: &Domain) -> Option<CertificateId> {
        let certificate = self.keyring.borrow().certificates().find(domain)?;
        CertificateId::from_der(certificate.end_entity_cert().ok()?)
    }

    /// Keeps a certificate and lets go of the order behind it.
    pub(super) async fn store(&self, certificate: &Certificate) -> Result<(), String> {
        let (domain, certificate) = (certificate.domain.clone(), certificate.clone());
        let saved = self.desk.ask(move |store| {
            store.save(&certificate).map_err(|error| error.to_string())?;
            // What stays behind is finished once more by the next process, and gives the same certificate.
            let _ = store.remove_pending(&certificate.domain);
            Ok(())
        });
        let saved = timeout(limits::CERTIFICATE_SAVE_WAIT, saved).await;
        let saved = saved.unwrap_or_else(|_| Ok(Err("the disk gives no answer".to_owned())));
        let saved = saved.unwrap_or_else(|error| Err(error.to_string()));
        if saved.is_ok() {
            self.pending.borrow_mut().remove(&domain);
        }
        saved
    }

    /// One registration for all orders that wait for one.
    async fn register_once(&self) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut last = self.registration.lock().await;
        if self.account.borrow().url.is_some() {
            return Ok(());
        }
        // Another order has just tried.
        if let Some((_, failure)) = last.as_ref().filter(|(at, _)| *at >= begin) {
            return Err(failure.clone());
        }
        let done = self.register().await;
        *last = done.clone().err().map(|failure| (Instant::now(), failure));
        done
    }

    /// Verifies, stores, and only then hands over (B172).
    async fn accept(&self, domain: &Domain, issued: Issued, proved_by: Option<Challenge>) -> End {
        let pem = format!("{}{}", issued.key_pem, issued.chain_pem);
        // By the clock of who wrote the dates: ours may differ by some minutes.
        let now = seconds(self.clock.at_the_ca(self.difference.get()));
        let certificate = Certificate::parse(domain, Origin::Issued, pem.as_bytes())
            .and_then(|certificate| certificate.check_fresh(now).map(|()| certificate));
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err(error) => {
                self.forget(domain).await;
                let reason = format!("the CA's certificate is of no use: {error}");
                let failure = schedule::Failure::Ca { until: None };
                return End::Failed(Outcome::Failed { failure, reached: Reached::Signature, reason });
            }
        };
        let stored = self.store(&certificate).await;
        End::Issued { certificate: Box::new(certificate), proved_by, stored }
    }

    fn failed(&self, failure: &Failure, reached: Reached) -> End {
        if matches!(failure.cause, Cause::Account { fault: AccountFault::Unknown, .. }) {
            self.account.borrow_mut().url = None;
        }
        let now = self.clock.at_the_ca(self.difference.get());
        End::Failed(outcome::failed(failure, reached, now))
    }

    /// Counts one more failure to finish an order.
    fn is_given_up(&self, domain: &Domain) -> bool {
        self.pending.borrow_mut().get_mut(domain).is_none_or(|(_, failures)| {
            *failures += 1;
            *failures > limits::PENDING_FAILURES_MAX
        })
    }

    async fn forget(&self, domain: &Domain) {
        self.pending.borrow_mut().remove(domain);
        let domain = domain.clone();
        // If it stays on disk, the next process finds out once more.
        let _ = self.desk.ask(move |store| store.remove_pending(&domain)).await;
    }
}

/// Nothing can come of an interrupted order any more.
fn is_lost(failure: &Failure) -> bool {
    match &failure.cause {
        Cause::OrderLost(_) | Cause::Refused(_) | Cause::NameRefused(_) => true,
        // It is another account's.
        Cause::Account { fault, .. } => *fault == AccountFault::Unauthorized,
        _ => false,
    }
}

/// The CA cannot be reached: that says nothing about the order.
fn is_out(failure: &Failure) -> bool {
    matches!(failure.cause, Cause::Unreachable(_))
}

pub(super) fn given_up(why: &str) -> Outcome {
    Outcome::Failed { failure: schedule::Failure::GivenUp, reached: Reached::Site, reason: why.to_owned() }
}

fn kind(challenge: Challenge) -> ChallengeKind {
    match challenge {
        Challenge::TlsAlpn01 => ChallengeKind::TlsAlpn01,
        Challenge::Http01 => ChallengeKind::Http01,
    }
}

/// What one order shows to the CA and writes down.
struct Stage<'a, I> {
    orders: &'a Orders<I>,
    was_published: Cell<bool>,
    was_kept: Cell<bool>,
}

impl<I> Stage<'_, I> {
    fn reached(&self) -> Reached {
        match (self.was_kept.get(), self.was_published.get()) {
            (true, _) => Reached::Signature,
            (false, true) => Reached::Site,
            (false, false) => Reached::Order,
        }
    }
}

impl<I> Challenges for Stage<'_, I> {
    /// The workers read the keyring itself: what is in it, all of them give.
    async fn publish(&self, domain: &Domain, answer: &Answer) -> Result<(), String> {
        let mut keyring = self.orders.keyring.borrow_mut();
        match answer {
            Answer::Tls { certificate } => keyring.begin_challenge(domain, certificate.clone()),
            Answer::Http { token, key_authorization } => {
                keyring.begin_http_challenge(domain, token, key_authorization);
            }
        }
        self.was_published.set(true);
        Ok(())
    }

    fn withdraw(&self, domain: &Domain, _: &Answer) {
        self.orders.keyring.borrow_mut().end_challenge(domain);
    }

    fn front(&self, kind: ChallengeKind) -> Option<SocketAddr> {
        let front = match kind {
            ChallengeKind::TlsAlpn01 => self.orders.fronts.https,
            ChallengeKind::Http01 => self.orders.fronts.http,
        };
        front.map(reachable)
    }
}

impl<I> PendingOrders for Stage<'_, I> {
    async fn keep(&self, pending: &PendingOrder) -> Result<(), String> {
        let (domain, bytes) = (pending.domain.clone(), pending::write(pending));
        let saved = self.orders.desk.ask(move |store| store.save_pending(&domain, &bytes)).await;
        saved.and_then(|saved| saved).map_err(|cause| format!("cannot save the order: {cause}"))?;
        self.orders.pending.borrow_mut().insert(pending.domain.clone(), (pending.clone(), 0));
        self.was_kept.set(true);
        Ok(())
    }
}

/// A socket on all addresses is reached by loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_on_all_addresses_is_reached_by_loopback() {
        for (given, wanted) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:443", "[::1]:443"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
        ] {
            assert_eq!(reachable(given.parse().unwrap()), wanted.parse().unwrap());
        }
    }
}
