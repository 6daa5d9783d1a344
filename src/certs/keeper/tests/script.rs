//! An issuer that follows a script, and the certificates that it signs.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use time::OffsetDateTime;
use tokio::time::sleep;

use super::{START, domain, wall};
use crate::{
    certs::issuer::{
        Answer, Cause, CertificateId, ChallengeKind, Challenges, Failure, Issued, Issuer, NewOrder, Offer,
        PendingOrder, PendingOrders, Registration, RenewalWindow, Step,
    },
    domain::Domain,
};

/// What comes of the next order for a name; without a word it succeeds.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Fail(Failure),
    /// Silence before the answer to the challenge is in place.
    Hang,
    /// Silence behind the certificate request.
    HangSigning,
    /// The request is kept, then this happens.
    FailSigning(Failure),
    Panic,
}

/// What happened at the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Register,
    Directory,
    Order(Domain, ChallengeKind),
    Resume(Domain),
    /// What the answer was while it was in place.
    Proved(Domain, ChallengeKind),
    Window(CertificateId),
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) seen: Vec<Seen>,
    pub(super) acts: HashMap<Domain, VecDeque<Act>>,
    pub(super) resumes: HashMap<Domain, VecDeque<Failure>>,
    pub(super) registrations: VecDeque<Failure>,
    pub(super) is_reachable: bool,
    pub(super) life: Duration,
    /// Time that the CA takes for one order.
    pub(super) delay: Duration,
    pub(super) has_windows: bool,
    /// How far the CA's clock is ahead of ours.
    pub(super) ahead: Duration,
    /// Called in the middle of each order, when the answer is in place.
    pub(super) look: Option<Look>,
}

/// See [`State::look`].
pub(super) struct Look(pub(super) Box<Looking>);
type Looking = dyn Fn(&Domain, &Answer);

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look")
    }
}

/// Clones are the same CA.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) state: Rc<RefCell<State>>,
    serial: Rc<Cell<u64>>,
}

impl Script {
    pub(super) fn new() -> Self {
        let state = State {
            seen: Vec::new(),
            acts: HashMap::new(),
            resumes: HashMap::new(),
            registrations: VecDeque::new(),
            is_reachable: true,
            life: Duration::from_secs(90 * 86_400),
            delay: Duration::from_secs(2),
            has_windows: false,
            ahead: Duration::ZERO,
            look: None,
        };
        Self { state: Rc::new(RefCell::new(state)), serial: Rc::default() }
    }

    pub(super) fn act(&self, name: &str, act: Act) {
        self.state.borrow_mut().acts.entry(domain(name)).or_default().push_back(act);
    }

    /// The names that were ordered, in order.
    pub(super) fn orders(&self) -> Vec<String> {
        let orders = self.state.borrow();
        let name = |seen: &Seen| match seen {
            Seen::Order(domain, _) => Some(domain.to_string()),
            _ => None,
        };
        orders.seen.iter().filter_map(name).collect()
    }

    pub(super) fn count(&self, wanted: &Seen) -> usize {
        self.state.borrow().seen.iter().filter(|seen| *seen == wanted).count()
    }

    fn note(&self, seen: Seen) {
        self.state.borrow_mut().seen.push(seen);
    }

    fn reach(&self, step: Step) -> Result<(), Failure> {
        match self.state.borrow().is_reachable {
            true => Ok(()),
            false => Err(failure(step, Cause::Unreachable("no route to host".into()))),
        }
    }

    fn sign(&self, pending: &PendingOrder) -> Issued {
        let (life, now) = (self.state.borrow().life, wall() + self.state.borrow().ahead);
        issued(&pending.domain, &pending.key_pem, now, now + life)
    }

    fn pending(&self, domain: &Domain) -> PendingOrder {
        self.serial.set(self.serial.get() + 1);
        PendingOrder {
            domain: domain.clone(),
            url: format!("https://ca.example/order/{}", self.serial.get()),
            key_pem: KeyPair::generate().unwrap().serialize_pem(),
            csr: b"request".to_vec(),
        }
    }
}

pub(super) fn failure(step: Step, cause: Cause) -> Failure {
    Failure { step, cause }
}

/// A chain for this key.
pub(super) fn issued(domain: &Domain, key_pem: &str, from: SystemTime, until: SystemTime) -> Issued {
    let key = KeyPair::from_pem(key_pem).unwrap();
    let (root, root_key) = root();
    let mut leaf = CertificateParams::new(vec![domain.to_string()]).unwrap();
    leaf.use_authority_key_identifier_extension = true;
    (leaf.not_before, leaf.not_after) = (OffsetDateTime::from(from), OffsetDateTime::from(until));
    let leaf = leaf.signed_by(&key, root, root_key).unwrap();
    Issued {
        domain: domain.clone(),
        key_pem: key_pem.to_owned(),
        chain_pem: format!("{}{}", leaf.pem(), root.pem()),
        not_before: from,
        not_after: until,
        id: None,
    }
}

/// One for all: making keys takes time.
fn root() -> &'static (rcgen::Certificate, KeyPair) {
    static ROOT: OnceLock<(rcgen::Certificate, KeyPair)> = OnceLock::new();
    ROOT.get_or_init(|| {
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        (root.self_signed(&key).unwrap(), key)
    })
}

/// Takes the answer away, as the real one does.
struct Published<'a, C: Challenges>(&'a C, &'a Domain, Answer);

impl<C: Challenges> Drop for Published<'_, C> {
    fn drop(&mut self) {
        self.0.withdraw(self.1, &self.2);
    }
}

impl Issuer for Script {
    async fn register(&self) -> Result<Registration, Failure> {
        sleep(Duration::from_millis(300)).await;
        self.reach(Step::Account)?;
        self.note(Seen::Register);
        if let Some(failure) = self.state.borrow_mut().registrations.pop_front() {
            return Err(failure);
        }
        Ok(Registration { url: "https://ca.example/account/1".into(), is_new: true })
    }

    async fn read_directory(&self) -> Result<Offer, Failure> {
        sleep(Duration::from_millis(300)).await;
        self.reach(Step::Directory)?;
        self.note(Seen::Directory);
        let date = wall() + self.state.borrow().ahead;
        Ok(Offer { date: Some(date), has_renewal_info: self.state.borrow().has_windows })
    }

    async fn issue(
        &self,
        order: &NewOrder,
        challenges: &impl Challenges,
        pending: &impl PendingOrders,
    ) -> Result<Issued, Failure> {
        let domain = &order.domain;
        self.note(Seen::Order(domain.clone(), order.challenge));
        let act = self.state.borrow_mut().acts.get_mut(domain).and_then(VecDeque::pop_front);
        let delay = self.state.borrow().delay;
        sleep(delay / 2).await;
        self.reach(Step::NewOrder)?;
        match &act {
            Some(Act::Fail(failure)) => return Err(failure.clone()),
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Panic) => panic!("a bug, made for this test"),
            _ => {}
        }
        let answer = match order.challenge {
            ChallengeKind::TlsAlpn01 => {
                let made = rcgen::generate_simple_self_signed([domain.to_string()]).unwrap();
                let pem = format!("{}{}", made.key_pair.serialize_pem(), made.cert.pem());
                let origin = crate::certs::schedule::Origin::Own;
                let certificate = crate::certs::store::Certificate::parse(domain, origin, pem.as_bytes()).unwrap();
                Answer::Tls { certificate: certificate.key }
            }
            ChallengeKind::Http01 => Answer::Http { token: "token".into(), key_authorization: "token.thumb".into() },
        };
        challenges.publish(domain, &answer).await.unwrap();
        let published = Published(challenges, domain, answer);
        sleep(delay / 2).await;
        if let Some(Look(look)) = &self.state.borrow().look {
            look(domain, &published.2);
        }
        self.note(Seen::Proved(domain.clone(), order.challenge));
        drop(published);
        let request = self.pending(domain);
        pending.keep(&request).await.map_err(|why| failure(Step::Keep, Cause::NotKept(why)))?;
        match act {
            Some(Act::HangSigning) => std::future::pending().await,
            Some(Act::FailSigning(failure)) => Err(failure),
            _ => Ok(self.sign(&request)),
        }
    }

    async fn resume(&self, pending: &PendingOrder) -> Result<Issued, Failure> {
        self.note(Seen::Resume(pending.domain.clone()));
        sleep(Duration::from_secs(1)).await;
        self.reach(Step::Order)?;
        if let Some(failure) = self.state.borrow_mut().resumes.get_mut(&pending.domain).and_then(VecDeque::pop_front) {
            return Err(failure);
        }
        Ok(self.sign(pending))
    }

    async fn renewal_window(&self, certificate: &CertificateId) -> Result<Option<RenewalWindow>, Failure> {
        self.note(Seen::Window(certificate.clone()));
        Ok(Some(RenewalWindow {
            start: UNIX_EPOCH + Duration::from_secs(START + 2 * 86_400),
            end: UNIX_EPOCH + Duration::from_secs(START + 3 * 86_400),
            explanation: None,
            ask_again: Duration::from_secs(6 * 3600),
        }))
    }
}
