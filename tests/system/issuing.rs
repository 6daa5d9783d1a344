//! The issuer against a real certificate authority, which Debian's package `pebble` has, and against one that goes wrong.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant, SystemTime},
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use hotcore::{
    certs::issuer::{
        AccountFault, AccountKey, Acme, Answer, Blame, Cause, CertificateId, ChallengeKind, Challenges, Failure,
        Issued, Issuer, NewOrder, Patience, PendingOrder, PendingOrders, RetryAfter, Settings, Step,
    },
    domain::Domain,
    limits::{CA_ANSWER_BYTES_MAX, CA_HEAD_BYTES_MAX},
};
use serde_json::Value;
use tokio::{sync::Semaphore, task::LocalSet};

use super::rig::{ACCOUNT_MADE, Fault, Front, Hostility, Identity, ORDER_MADE, PATIENCE, Pebble, Responder, note};

const KINDS: [ChallengeKind; 2] = [ChallengeKind::TlsAlpn01, ChallengeKind::Http01];

/// A CA and those who answer it.
struct Stage {
    responder: Responder,
    pebble: Pebble,
}

impl Stage {
    fn new(hostility: Hostility) -> Self {
        let responder = Responder::start();
        let pebble = Pebble::start(hostility, responder.http_port(), responder.tls_port());
        Self { responder, pebble }
    }

    fn acme(&self) -> Acme {
        self.acme_at(&self.pebble.directory(), Patience::default())
    }

    fn acme_at(&self, directory: &str, patience: Patience) -> Acme {
        let root = Some(self.pebble.identity().root.clone().into_bytes());
        let settings = Settings { directory: directory.to_owned(), root, contact: None, patience };
        Acme::new(&settings, AccountKey::generate().unwrap(), None).unwrap()
    }

    async fn issue(&self, acme: &Acme, name: &str, kind: ChallengeKind) -> Result<Issued, Failure> {
        acme.issue(&order(name, kind), &self.responder, &Kept::default()).await
    }
}

/// Keeps pending orders, or fails to.
#[derive(Default)]
struct Kept {
    pending: RefCell<Vec<PendingOrder>>,
    is_full: bool,
}

impl PendingOrders for Kept {
    async fn keep(&self, pending: &PendingOrder) -> Result<(), String> {
        self.pending.borrow_mut().push(pending.clone());
        if self.is_full { Err("no space left on device".to_owned()) } else { Ok(()) }
    }
}

fn order(name: &str, challenge: ChallengeKind) -> NewOrder {
    NewOrder { domain: Domain::parse(name).unwrap(), challenge, replaces: None }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, future)
}

/// Short enough for many cases, long enough for a busy machine.
const BRISK: Patience = Patience {
    step: Duration::from_secs(2),
    order: Duration::from_secs(20),
    validation: Duration::from_secs(5),
    issuance: Duration::from_secs(5),
    rehearsal: Duration::from_secs(2),
    poll: [Duration::from_millis(50); 5],
};

#[test]
fn a_certificate_is_issued_by_either_challenge() {
    let stage = Stage::new(Hostility { validity: 3_600, ..Hostility::NONE });
    run(async {
        let acme = stage.acme();
        let registration = acme.register().await.unwrap();
        assert!(registration.is_new && registration.url.starts_with("https://localhost:"));
        for (kind, name) in KINDS.into_iter().zip(["one.example", "two.example"]) {
            let issued = stage.issue(&acme, name, kind).await.unwrap();
            assert_eq!(issued.domain.as_str(), name);
            assert!(issued.key_pem.starts_with("-----BEGIN PRIVATE KEY-----"));
            assert_eq!(issued.chain_pem.matches("BEGIN CERTIFICATE").count(), 2);
            let life = issued.not_after.duration_since(issued.not_before).unwrap();
            assert!((3_590..=3_600).contains(&life.as_secs()), "{life:?}");
            assert_eq!(issued.id, CertificateId::from_pem(&issued.chain_pem));
            assert_eq!(stage.responder.count(), 0, "the answer is taken away");
        }
        assert_eq!(stage.pebble.count(ORDER_MADE), 2);
    });
}

/// B199: the key comes first; asking again with it never makes a second account.
#[test]
fn one_key_has_one_account() {
    let mut stage = Stage::new(Hostility::NONE);
    run(async {
        let acme = stage.acme();
        assert_eq!(acme.find().await.unwrap(), None, "looking makes none");
        let failure = stage.issue(&acme, "early.example", KINDS[0]).await.unwrap_err();
        assert!(matches!(failure.cause, Cause::Account { fault: AccountFault::Unknown, .. }), "{failure:?}");
        let first = acme.register().await.unwrap();
        let second = acme.register().await.unwrap();
        assert_eq!((&first.url, first.is_new, second.is_new), (&second.url, true, false));
        assert_eq!(acme.find().await.unwrap(), Some(second));
        assert_eq!(acme.account_url(), Some(first.url));

        // It forgets everything.
        stage.pebble.restart();
        let failure = stage.issue(&acme, "forgotten.example", KINDS[0]).await.unwrap_err();
        assert!(matches!(failure.cause, Cause::Account { fault: AccountFault::Unknown, .. }), "{failure:?}");
        assert_eq!((failure.blame(), acme.account_url()), (Blame::Account, None));
        assert!(acme.register().await.unwrap().is_new);
        stage.issue(&acme, "again.example", KINDS[0]).await.unwrap();
    });
}

#[test]
fn an_account_can_be_used_after_a_restart_without_asking_for_it() {
    let stage = Stage::new(Hostility::NONE);
    run(async {
        let directory = stage.pebble.directory();
        let root = Some(stage.pebble.identity().root.clone().into_bytes());
        let contact = Some("admin@hotcore.example".to_owned());
        let settings = Settings { directory, root, contact, patience: Patience::default() };
        let key = AccountKey::generate().unwrap();
        let kept = key.as_pkcs8().to_vec();
        let url = Acme::new(&settings, key, None).unwrap().register().await.unwrap().url;
        let key = AccountKey::from_pkcs8(&kept).unwrap();
        let acme = Acme::new(&settings, key, Some(url)).unwrap();
        stage.issue(&acme, "kept.example", KINDS[1]).await.unwrap();
        assert_eq!(stage.pebble.count(ACCOUNT_MADE), 1);
    });
}

/// Some names in flight at a time, with one account; gives the time that it took.
fn many(stage: Stage, count: usize, in_flight: usize) -> (Stage, Duration) {
    let begin = Instant::now();
    let stage = Rc::new(stage);
    run(async {
        // One after the other, the pauses between two looks would be most of the time.
        let poll = if in_flight == 1 { BRISK.poll } else { Patience::default().poll };
        let acme = Rc::new(stage.acme_at(&stage.pebble.directory(), Patience { poll, ..Patience::default() }));
        acme.register().await.unwrap();
        let free = Rc::new(Semaphore::new(in_flight));
        let tasks: Vec<_> = (0..count)
            .map(|number| {
                let (acme, stage, free) = (Rc::clone(&acme), Rc::clone(&stage), Rc::clone(&free));
                tokio::task::spawn_local(async move {
                    let _permit = free.acquire().await.unwrap();
                    let name = format!("site-{number}.example");
                    stage.issue(&acme, &name, KINDS[number % 2]).await.map(|issued| issued.domain)
                })
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            let domain = task.await.unwrap().unwrap_or_else(|failure| panic!("{number}: {failure}"));
            assert_eq!(domain.as_str(), format!("site-{number}.example"));
        }
    });
    let took = begin.elapsed();
    assert_eq!(stage.pebble.count(ACCOUNT_MADE), 1);
    let Ok(stage) = Rc::try_unwrap(stage) else { panic!("a task is left") };
    (stage, took)
}

/// A2 of the goals.
#[test]
fn all_of_30_names_are_issued_by_a_ca_with_its_usual_hostility() {
    let (_, took) = many(Stage::new(Hostility::DEFAULT), 30, 8);
    note(&format!("30 certificates, 8 at a time, usual hostility: {took:?}"));
}

/// A2 of the goals: at most 1.2 orders a certificate. A nonce alone never costs one.
#[test]
fn refused_nonces_cost_no_order() {
    for refused in [20, 50] {
        let (stage, took) = many(Stage::new(Hostility { nonces_refused: refused, ..Hostility::NONE }), 30, 8);
        let orders = stage.pebble.count(ORDER_MADE);
        note(&format!("30 certificates at {refused} % refused nonces: {orders} orders, {took:?}"));
        assert!((30..=36).contains(&orders), "{orders}");
    }
}

#[test]
fn names_in_a_row_are_issued_with_one_account() {
    let (stage, took) = many(Stage::new(Hostility::NONE), 30, 1);
    note(&format!("30 certificates, one after the other: {took:?}"));
    assert_eq!(stage.pebble.count(ORDER_MADE), 30);
}

#[test]
fn an_answer_that_is_not_in_place_costs_no_failure_at_the_ca() {
    let mut stage = Stage::new(Hostility::NONE);
    stage.responder.is_lying = true;
    run(async {
        let acme = stage.acme();
        acme.register().await.unwrap();
        for kind in KINDS {
            let failure = stage.issue(&acme, "absent.example", kind).await.unwrap_err();
            assert!(matches!(failure.cause, Cause::NotServed(_)), "{failure:?}");
            assert_eq!((failure.step, failure.blame()), (Step::Rehearsal, Blame::Here));
        }
    });
}

#[test]
fn a_refused_challenge_says_what_the_ca_saw() {
    let mut stage = Stage::new(Hostility::NONE);
    (stage.responder.is_lying, stage.responder.is_found) = (true, false);
    run(async {
        let acme = stage.acme();
        acme.register().await.unwrap();
        for kind in KINDS {
            let failure = stage.issue(&acme, "absent.example", kind).await.unwrap_err();
            let Cause::ChallengeRefused { kind: refused, problem } = &failure.cause else { panic!("{failure:?}") };
            assert_eq!((*refused, failure.blame(), problem.kind()), (kind, Blame::Site, "unauthorized"), "{failure}");
            assert!(failure.to_string().contains(problem.detail()) && !problem.detail().is_empty(), "{failure}");
        }
    });
}

/// Shows the right token with a wrong text: CAs then repeat what they expected.
struct Wrong<'a>(&'a Responder, RefCell<String>);

impl Challenges for Wrong<'_> {
    async fn publish(&self, domain: &Domain, answer: &Answer) -> Result<(), String> {
        let Answer::Http { token, key_authorization } = answer else { panic!("{answer:?}") };
        *self.1.borrow_mut() = key_authorization.clone();
        let (token, key_authorization) = (token.clone(), "something else".to_owned());
        self.0.publish(domain, &Answer::Http { token, key_authorization }).await
    }

    fn withdraw(&self, domain: &Domain, answer: &Answer) {
        self.0.withdraw(domain, answer);
    }
}

/// B218.
#[test]
fn no_key_authorisation_is_in_what_is_shown() {
    let stage = Stage::new(Hostility::NONE);
    run(async {
        let acme = stage.acme();
        acme.register().await.unwrap();
        let wrong = Wrong(&stage.responder, RefCell::default());
        let order = order("wrong.example", ChallengeKind::Http01);
        let failure = acme.issue(&order, &wrong, &Kept::default()).await.unwrap_err();
        let expected = wrong.1.take();
        assert!(expected.contains('.'), "{expected}");
        assert!(!format!("{failure} {failure:?}").contains(&expected), "{failure}");
        assert!(failure.to_string().contains("<hidden>"), "the CA did repeat it: {failure}");
    });
}

#[test]
fn a_name_that_the_ca_does_not_sign_is_a_fault_of_the_name() {
    let stage = Stage::new(Hostility::NONE);
    run(async {
        let acme = stage.acme();
        acme.register().await.unwrap();
        let failure = stage.issue(&acme, "blocked.example", KINDS[0]).await.unwrap_err();
        assert_eq!((failure.step, failure.blame()), (Step::NewOrder, Blame::Name), "{failure:?}");
    });
}

/// A crash between the certificate request and the certificate costs no second order.
#[test]
fn an_interrupted_order_is_finished_later() {
    let stage = Stage::new(Hostility::NONE);
    run(async {
        let acme = stage.acme();
        acme.register().await.unwrap();
        let order = order("pending.example", KINDS[0]);
        // The disk is full: the CA is not asked to sign.
        let kept = Kept { is_full: true, ..Kept::default() };
        let failure = acme.issue(&order, &stage.responder, &kept).await.unwrap_err();
        assert_eq!((failure.step, failure.blame()), (Step::Keep, Blame::Here), "{failure:?}");
        let pending = kept.pending.take().remove(0);
        let issued = acme.resume(&pending).await.unwrap();
        assert_eq!((issued.domain, &issued.key_pem), (order.domain, &pending.key_pem));
        // ... and once more: the certificate is still there to be downloaded.
        assert_eq!(acme.resume(&pending).await.unwrap().chain_pem, issued.chain_pem);
        assert_eq!(stage.pebble.count(ORDER_MADE), 1);

        let strange = PendingOrder { url: format!("{}x", pending.url), ..pending };
        let failure = acme.resume(&strange).await.unwrap_err();
        assert!(matches!(failure.cause, Cause::OrderLost(_)), "{failure:?}");
    });
}

#[test]
fn an_order_that_is_given_up_leaves_no_answer_behind() {
    let stage = Stage::new(Hostility { sleep: 5, ..Hostility::NONE });
    run(async {
        let acme = stage.acme();
        acme.register().await.unwrap();
        let order = order("dropped.example", KINDS[1]);
        let kept = Kept::default();
        let issue = acme.issue(&order, &stage.responder, &kept);
        let published = async {
            while stage.responder.count() == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            done = issue => panic!("{done:?}"),
            () = published => {}
        }
        assert_eq!(stage.responder.count(), 0);
    });
}

#[test]
fn a_ca_with_another_root_is_not_trusted_and_the_remedy_is_said() {
    let stage = Stage::new(Hostility::NONE);
    let directory = stage.pebble.directory();
    for root in [Some(Identity::new().root.into_bytes()), None] {
        let settings = Settings { directory: directory.clone(), root, ..Settings::default() };
        let acme = Acme::new(&settings, AccountKey::generate().unwrap(), None).unwrap();
        let failure = run(acme.register()).unwrap_err();
        assert!(matches!(failure.cause, Cause::Untrusted(_)), "{failure:?}");
        assert!(failure.to_string().contains("--acme-root"), "{failure}");
    }
}

#[test]
fn a_ca_that_is_not_there_is_said_plainly() {
    let stage = Stage::new(Hostility::NONE);
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (directory, words) in [
        (format!("https://localhost:{unused}/dir"), "cannot connect to"),
        ("https://no-such-host.invalid/dir".to_owned(), "cannot find the address of no-such-host.invalid"),
    ] {
        let failure = run(stage.acme_at(&directory, Patience::default()).register()).unwrap_err();
        assert!(matches!(failure.cause, Cause::Unreachable(_)), "{failure:?}");
        assert!(failure.to_string().contains(words), "{failure}");
    }
    // Another server's page.
    let elsewhere = format!("https://localhost:{}/elsewhere", stage.pebble.port);
    let failure = run(stage.acme_at(&elsewhere, Patience::default()).register()).unwrap_err();
    assert!(matches!(failure.cause, Cause::BadAnswer(_)), "{failure:?}");
    assert!(failure.to_string().contains("is not the directory of a CA"), "{failure}");
}

/// B214: the CA's clock is known.
#[test]
fn the_directory_shows_the_cas_clock() {
    let stage = Stage::new(Hostility::NONE);
    run(async {
        let offer = stage.acme().read_directory().await.unwrap();
        let (now, date) = (time_now(), offer.date.unwrap());
        let difference = now.duration_since(date).unwrap_or_else(|earlier| earlier.duration());
        assert!(difference < Duration::from_secs(60), "{difference:?}");
        assert!(!offer.has_renewal_info, "this one has none");
    });
}

#[expect(clippy::disallowed_methods, reason = "the test compares with the real clock")]
fn time_now() -> SystemTime {
    SystemTime::now()
}

/// A4 of the goals: each fault at each request, and from there on.
#[test]
fn each_fault_at_each_request_is_told_apart_within_its_time() {
    let stage = Stage::new(Hostility::NONE);
    let front = Front::start(&stage.pebble);
    let number = Cell::new(0);
    let attempt = || async {
        number.set(number.get() + 1);
        let acme = stage.acme_at(&front.directory(), BRISK);
        acme.register().await?;
        let name = format!("fault-{}.example", number.get());
        stage.issue(&acme, &name, KINDS[number.get() % 2]).await
    };
    run(async {
        front.heal();
        attempt().await.unwrap();
        // From the directory to the download; more only if the CA takes its time.
        let positions = front.requests().len().min(11);
        assert!(positions >= 10, "{:?}", front.requests());
        let begin = Instant::now();
        for fault in Fault::ALL {
            let mut slowest = Duration::ZERO;
            for position in 1..=positions {
                front.fail_from(position, fault);
                let begin = Instant::now();
                let failure = attempt().await.unwrap_err();
                slowest = slowest.max(begin.elapsed());
                let at = format!("{fault:?} at {position}: {failure:?}, {:?}", front.requests());
                assert!(is_fitting(fault, &failure, &front.requests()), "{at}");
                assert!(begin.elapsed() < Duration::from_secs(15), "{at}: {:?}", begin.elapsed());
                assert_eq!(stage.responder.count(), 0, "{at}");
            }
            note(&format!("{fault:?} at each of {positions} requests: at most {slowest:?}"));
        }
        note(&format!("{} cases in {:?}", positions * Fault::ALL.len(), begin.elapsed()));
        // What the sockets and TLS of both sides hold comes on top of what is kept.
        let kept = CA_ANSWER_BYTES_MAX.max(CA_HEAD_BYTES_MAX);
        note(&format!("{} bytes were taken of an endless answer", front.endless()));
        assert!(front.endless() < kept + 16 * 1024 * 1024, "{}", front.endless());
        front.heal();
        attempt().await.unwrap();
    });
}

/// The classes that a fault may have.
fn is_fitting(fault: Fault, failure: &Failure, requests: &[String]) -> bool {
    // An answer to HEAD has no body that could be wrong; what is wrong is that there is no nonce.
    let is_head = requests.last().is_some_and(|request| request.starts_with("HEAD"));
    let second = Some(RetryAfter::In(Duration::from_secs(1)));
    match (fault, &failure.cause) {
        (Fault::Hang, Cause::TimedOut(_)) => true,
        (Fault::Reset | Fault::EndlessHead, Cause::Unreachable(_)) => true,
        (Fault::Short, Cause::Unreachable(_)) => !is_head,
        (Fault::TooMany, Cause::RateLimited { retry, .. }) | (Fault::Busy, Cause::Overloaded { retry, .. }) => {
            // The answer to HEAD brings no sentence, but the field.
            *retry == second
        }
        (Fault::Internal, Cause::Overloaded { status: 500, retry: None, .. }) => true,
        (Fault::HalfJson | Fault::Endless, Cause::BadAnswer(_)) => true,
        (Fault::Short, Cause::BadAnswer(_)) => is_head,
        (Fault::Certificate, Cause::Untrusted(_)) => true,
        _ => false,
    }
}

/// A look at the CA's objects that fails once is repeated: the order behind it is worth it. What may have had an effect is not.
#[test]
fn a_single_fault_while_waiting_costs_nothing() {
    let stage = Stage::new(Hostility::NONE);
    let front = Front::start(&stage.pebble);
    run(async {
        let acme = stage.acme_at(&front.directory(), BRISK);
        acme.register().await.unwrap();
        for fault in [Fault::Reset, Fault::Busy, Fault::Short] {
            front.heal();
            stage.issue(&acme, &format!("{fault:?}-first.example"), KINDS[0]).await.unwrap();
            // Directory and nonce are known: new order, authorization, challenge, then the first look.
            front.fail_once(4, fault);
            stage.issue(&acme, &format!("{fault:?}-look.example"), KINDS[0]).await.unwrap();
            front.fail_once(1, fault);
            let failure = stage.issue(&acme, &format!("{fault:?}-order.example"), KINDS[0]).await.unwrap_err();
            assert_eq!(failure.step, Step::NewOrder, "{failure:?}");
            assert_eq!(front.requests().len(), 1, "{:?}", front.requests());
        }
    });
}

/// RFC 9773.
#[test]
fn renewal_information_is_read_and_the_replaced_certificate_named() {
    let stage = Stage::new(Hostility::NONE);
    let front = Front::start(&stage.pebble);
    run(async {
        let acme = stage.acme_at(&front.directory(), Patience::default());
        acme.register().await.unwrap();
        let issued = stage.issue(&acme, "renewed.example", KINDS[0]).await.unwrap();
        let id = issued.id.unwrap();
        assert_eq!(acme.renewal_window(&id).await.unwrap(), None, "this CA offers none");

        let window = r#"{"suggestedWindow":{"start":"2026-01-02T03:04:05Z","end":"2026-01-03T03:04:05Z"}}"#;
        front.offer_renewal(window, 7_200);
        let acme = stage.acme_at(&front.directory(), Patience::default());
        acme.register().await.unwrap();
        front.heal();
        let window = acme.renewal_window(&id).await.unwrap().unwrap();
        assert_eq!(window.end.duration_since(window.start).unwrap(), Duration::from_secs(86_400));
        assert_eq!(window.ask_again, Duration::from_secs(7_200));
        assert!(front.requests().last().unwrap().contains(&format!("GET /renewal/{id} ")), "{:?}", front.requests());

        let order = NewOrder { replaces: Some(id.clone()), ..order("renewed.example", KINDS[0]) };
        front.heal();
        acme.issue(&order, &stage.responder, &Kept::default()).await.unwrap();
        assert_eq!(replaced(&front), [Some(id.as_str().to_owned())]);
        // Somebody else was faster: the order is made without.
        front.fail_once(1, Fault::Replaced);
        acme.issue(&order, &stage.responder, &Kept::default()).await.unwrap();
        assert_eq!(replaced(&front), [Some(id.as_str().to_owned()), None]);

        for nonsense in ["", "{}", r#"{"suggestedWindow":{"start":"2","end":"1"}}"#] {
            front.offer_renewal(nonsense, 0);
            let failure = acme.renewal_window(&id).await.unwrap_err();
            assert!(matches!(failure.cause, Cause::BadAnswer(_)), "{failure:?}");
        }
    });
}

/// The bound on an answer: at it, and one byte past it.
#[test]
fn an_answer_has_256_kib_at_most() {
    let stage = Stage::new(Hostility::NONE);
    let front = Front::start(&stage.pebble);
    run(async {
        let acme = stage.acme();
        acme.register().await.unwrap();
        let id = stage.issue(&acme, "large.example", KINDS[0]).await.unwrap().id.unwrap();
        let acme = stage.acme_at(&front.directory(), Patience::default());
        let window = r#"{"suggestedWindow":{"start":"2026-01-02T03:04:05Z","end":"2026-01-03T03:04:05Z"}}"#;
        let padded = |length: usize| format!("{window}{}", " ".repeat(length - window.len()));
        front.offer_renewal(&padded(CA_ANSWER_BYTES_MAX), 0);
        assert!(acme.renewal_window(&id).await.unwrap().is_some());
        front.offer_renewal(&padded(CA_ANSWER_BYTES_MAX + 1), 0);
        let failure = acme.renewal_window(&id).await.unwrap_err();
        assert!(failure.to_string().contains("larger than 262144 bytes"), "{failure}");
    });
}

/// RFC 8555, 7.4: an authorization that is still valid needs no new proof.
#[test]
fn a_proof_that_the_ca_remembers_is_not_given_again() {
    let mut stage = Stage::new(Hostility { authorizations_reused: 100, ..Hostility::NONE });
    run(async {
        let acme = stage.acme();
        acme.register().await.unwrap();
        stage.issue(&acme, "known.example", KINDS[0]).await.unwrap();
        stage.responder.is_lying = true;
        stage.issue(&acme, "known.example", KINDS[1]).await.unwrap();
    });
}

/// What the orders say that they replace.
fn replaced(front: &Front) -> Vec<Option<String>> {
    let requests = front.requests();
    let orders = requests.iter().filter_map(|request| request.strip_prefix("POST /order-plz HTTP/1.1 "));
    let payload = |body: &str| {
        let body: Value = serde_json::from_str(body).unwrap();
        let payload = BASE64_URL_SAFE_NO_PAD.decode(body["payload"].as_str().unwrap()).unwrap();
        serde_json::from_slice::<Value>(&payload).unwrap()["replaces"].as_str().map(str::to_owned)
    };
    orders.map(payload).collect()
}

/// A1 of the goals, the CA's side of it.
#[test]
fn a_hundred_names_in_one_burst_take_less_than_a_minute() {
    let (_, took) = many(Stage::new(Hostility::NONE), 100, 8);
    note(&format!("100 certificates, 8 at a time: {took:?}"));
    assert!(took < 2 * PATIENCE, "{took:?}");
}
