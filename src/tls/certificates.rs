//! What the handshakes read: certificates, challenge certificates and orders in flight, by name.
//!
//! Shards of immutable maps, as the table of rules has them: a look-up takes one without waiting, a change copies one and puts
//! the copy in its place. Never here: a file, a certificate's dates, a lock on the readers' side.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::sync::{mpsc, watch};

use super::hello;
use crate::{
    domain::Domain,
    limits::{CERTIFICATE_SHARDS, CERTIFICATES_ASKED_MAX},
};

/// The readers' side: cheap to clone, shared by all workers, never waits unless asked to.
#[derive(Clone)]
pub struct Certificates(Arc<Shards>);

struct Shards {
    /// A shard that nobody has written to is absent.
    slots: Box<[ArcSwapOption<Shard>]>,
    hasher: RandomState,
    asked: mpsc::Sender<Domain>,
}

type Shard = HashMap<Domain, Entry>;

/// What is known of one name.
#[derive(Clone, Default)]
pub(super) struct Entry {
    pub(super) certificate: Option<Arc<CertifiedKey>>,
    pub(super) challenge: Option<Arc<CertifiedKey>>,
    /// For the same purpose on the plain port: token and key authorisation (RFC 8555, 8.3).
    pub(super) http_challenge: Option<(Box<str>, Arc<str>)>,
    /// Plain HTTP is answered with the way to https alone (B164).
    pub(super) is_https_only: bool,
    /// Ends when the order does: its other end is dropped then.
    pub(super) order: Option<watch::Receiver<()>>,
}

impl Entry {
    fn is_empty(&self) -> bool {
        let has_challenge = self.challenge.is_some() || self.http_challenge.is_some();
        self.certificate.is_none() && !has_challenge && self.order.is_none() && !self.is_https_only
    }
}

impl Certificates {
    /// Nothing yet, and the end at which names arrive that were asked for in vain.
    pub(super) fn new() -> (Self, mpsc::Receiver<Domain>) {
        let (asked, asked_for) = mpsc::channel(CERTIFICATES_ASKED_MAX);
        let slots = (0..CERTIFICATE_SHARDS).map(|_| ArcSwapOption::empty()).collect();
        (Self(Arc::new(Shards { slots, hasher: RandomState::new(), asked })), asked_for)
    }

    /// The certificate of exactly this name.
    pub fn find(&self, domain: &Domain) -> Option<Arc<CertifiedKey>> {
        self.look(domain, |entry| entry.certificate.clone())
    }

    /// The certificate that proves to a certificate authority that this name ends here (RFC 8737), while it is asked for.
    pub fn challenge(&self, domain: &Domain) -> Option<Arc<CertifiedKey>> {
        self.look(domain, |entry| entry.challenge.clone())
    }

    /// What to answer on the plain port to a certificate authority that shows this token for this name (B167), while an order of
    /// ours waits for that. Secret until then: for nobody who does not show the token.
    pub fn http_answer(&self, domain: &Domain, token: &str) -> Option<Arc<str>> {
        self.look(domain, |entry| {
            let (known, answer) = entry.http_challenge.as_ref()?;
            (**known == *token).then(|| Arc::clone(answer))
        })
    }

    /// Whether plain HTTP for this name is answered with the way to https alone (B164).
    pub fn is_https_only(&self, domain: &Domain) -> bool {
        self.look(domain, |entry| entry.is_https_only.then_some(())).is_some()
    }

    /// Tells whoever issues certificates that somebody wants this name now. Beyond the limit it is lost: its client will come
    /// again.
    pub fn ask(&self, domain: &Domain) {
        let _ = self.0.asked.try_send(domain.clone());
    }

    /// The certificate, for which it waits as long as an order for the name is in flight (B130): the caller sets the limit. `None` at
    /// once where there is neither; then whoever issues certificates hears that the name was asked for.
    pub async fn wait(&self, domain: &Domain) -> Option<Arc<CertifiedKey>> {
        let mut is_told = false;
        let mut ended: Option<watch::Receiver<()>> = None;
        loop {
            let (certificate, order) =
                self.look(domain, |entry| Some((entry.certificate.clone(), entry.order.clone()))).unwrap_or_default();
            if certificate.is_some() {
                return certificate;
            }
            if !std::mem::replace(&mut is_told, true) {
                self.ask(domain);
            }
            // Changed or closed: in either case it is time to look again, and an order that has ended is no longer there. If it is,
            // whoever was to end it is gone.
            let mut order = order.filter(|order| !ended.as_ref().is_some_and(|ended| ended.same_channel(order)))?;
            if order.changed().await.is_err() {
                ended = Some(order);
            }
        }
    }

    fn look<T>(&self, domain: &Domain, take: impl FnOnce(&Entry) -> Option<T>) -> Option<T> {
        take(self.slot(domain)?.load().as_deref()?.get(domain)?)
    }

    /// Puts a changed entry in the place of the present one; for the one writer.
    pub(super) fn change(&self, domain: &Domain, change: impl FnOnce(&mut Entry)) {
        let Some(slot) = self.slot(domain) else { return };
        let mut shard = slot.load_full().map(|shard| Shard::clone(&shard)).unwrap_or_default();
        let entry = shard.entry(domain.clone()).or_default();
        change(entry);
        if entry.is_empty() {
            shard.remove(domain);
        }
        slot.store((!shard.is_empty()).then(|| Arc::new(shard)));
    }

    fn slot(&self, domain: &Domain) -> Option<&ArcSwapOption<Shard>> {
        let hash = self.0.hasher.hash_one(domain);
        // The low bits choose a bucket within the shard's own map, which has another seed; any bits do here.
        self.0.slots.get(usize::try_from(hash >> 32).unwrap_or_default() % CERTIFICATE_SHARDS)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

/// For the library: the name has been judged before, so here it only finds the same once more.
impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.find(&hello::name(hello.server_name())?)
    }
}

/// The same for challenges: never a certificate of a site.
#[derive(Debug)]
pub(super) struct Challenges(pub(super) Certificates);

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.challenge(&hello::name(hello.server_name())?)
    }
}
