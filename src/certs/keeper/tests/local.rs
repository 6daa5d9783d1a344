//! Local names: served by whoever makes their certificates, or by plain HTTP with the reason.

use std::sync::atomic::AtomicBool;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::certs::{
    keeper::folders::Source,
    local::Authority,
    mkcert::{Absent, Made, MkcertError},
    schedule::Origin,
    store::{Certificate, Kept, Store},
};

/// A machine with a CA, or without.
#[derive(Debug, Default)]
struct Machine {
    authority: Mutex<Option<Arc<Ca>>>,
    looks: AtomicU64,
    made: Arc<Mutex<Vec<String>>>,
    /// It takes for ever.
    hangs: Arc<AtomicBool>,
}

/// Signs for all names but those that begin with `bad`.
struct Ca {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ca")
    }
}

#[derive(Debug)]
struct Signer {
    ca: Arc<Ca>,
    made: Arc<Mutex<Vec<String>>>,
    hangs: Arc<AtomicBool>,
}

impl Ca {
    fn new() -> Arc<Self> {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        Arc::new(Self { key, certificate })
    }

    /// Ten days long.
    fn sign(&self, name: &str, ends: u64) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let time = |seconds: u64| time::OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).unwrap()).unwrap();
        (parameters.not_before, parameters.not_after) = (time(ends - 10 * 86_400), time(ends));
        let leaf = parameters.signed_by(&key, &self.certificate, &self.key).unwrap();
        let pem = format!("{}{}", key.serialize_pem(), leaf.pem());
        Certificate::parse(&domain(name), Origin::Issued, pem.as_bytes()).unwrap()
    }

    fn has_signed(&self, leaf: &CertificateDer<'_>) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let parsed = rustls::server::ParsedCertificate::try_from(leaf).unwrap();
        let time = rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(START));
        let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
        rustls::client::verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], time, algorithms).is_ok()
    }
}

impl Machine {
    fn become_another(&self) {
        *self.authority.lock().unwrap() = Some(Ca::new());
    }

    fn made(&self) -> Vec<String> {
        self.made.lock().unwrap().clone()
    }
}

impl LocalIssuer for Machine {
    fn look<'a>(&'a self, _: &'a Path) -> Doing<'a, Result<Box<dyn LocalSigner>, Absent>> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        let ca = self.authority.lock().unwrap().clone().ok_or(Absent::NoProgram);
        let signer = ca.map(|ca| Signer { ca, made: self.made.clone(), hangs: self.hangs.clone() });
        Box::pin(async { signer.map(|signer| Box::new(signer) as Box<dyn LocalSigner>) })
    }
}

impl Authority for Signer {
    fn has_made(&self, certificate: &Kept) -> bool {
        self.ca.has_signed(&certificate.key.cert[0])
    }
}

impl LocalSigner for Signer {
    fn certificate<'a>(&'a self, domain: &'a Domain) -> Doing<'a, Result<Made, MkcertError>> {
        self.made.lock().unwrap().push(domain.to_string());
        if self.hangs.load(Ordering::Relaxed) {
            return Box::pin(std::future::pending());
        }
        if domain.as_str().starts_with("bad") {
            return Box::pin(async { Err(MkcertError::Refused("no".to_owned())) });
        }
        let certificate = self.ca.sign(domain.as_str(), START + 10 * 86_400);
        Box::pin(async { Ok(Made { certificate, untrusted_by: Vec::new() }) })
    }
}

/// With a machine that has no CA yet.
fn rig() -> (Rig, Arc<Machine>) {
    let (mut rig, machine) = (Rig::new(), Arc::new(Machine::default()));
    rig.settings.local = Some(machine.clone());
    rig.load();
    (rig, machine)
}

fn folder(rig: &Rig) -> PathBuf {
    Folders::new(rig.settings.folder.clone(), None).path(Source::Local).unwrap()
}

impl Rig {
    fn leaf(&self, name: &str) -> Option<Vec<u8>> {
        Some(self.certificates.find(&domain(name))?.cert[0].to_vec())
    }

    fn is_https_only(&self, name: &str) -> bool {
        self.certificates.is_https_only(&domain(name))
    }
}

#[test]
fn b225_a_local_name_is_served_by_mkcert_or_by_plain_http_with_the_reason() {
    run(async {
        let (mut rig, machine) = rig();
        rig.add("a.test");
        rig.start();
        rig.until("said", |rig| rig.is_said("a.test", "plain HTTP: mkcert is not installed")).await;
        assert!(!rig.is_https_only("a.test") && rig.board.problems().is_empty());
        machine.become_another();
        assert!(rig.board.wish(&domain("a.test")));
        rig.until("served", |rig| rig.is_served("a.test")).await;
        assert!(rig.is_https_only("a.test"));
        rig.add("b.test");
        rig.until("served", |rig| rig.is_served("b.test")).await;
        rig.stop().await;
        rig.load();
        assert!(rig.is_served("a.test") && rig.standing("a.test").is_none());
        assert!(rig.is_https_only("a.test"));
        rig.start();
        rig.until("shown", |rig| rig.state("a.test") == Some(State::Local)).await;
        rig.pass(600).await;
        rig.remove("b.test");
        rig.pass(60).await;
        assert_eq!(rig.standing("b.test"), None);
        rig.add("b.test");
        rig.pass(60).await;
        assert_eq!(rig.standing("b.test").unwrap().reason, "");
        assert_eq!(machine.made(), ["a.test", "b.test"], "each once");
        rig.stop().await;
        assert_eq!(rig.script.state.borrow().seen, []);
        assert!(folder(&rig).join("a.test.pem").exists());
    });
}

/// Another CAROOT: browsers do not trust the certificates of the one before.
#[test]
fn certificates_of_another_authority_serve_until_there_are_new_ones() {
    run(async {
        let (mut rig, machine) = rig();
        machine.become_another();
        rig.add("a.test");
        rig.start();
        rig.until("served", |rig| rig.is_served("a.test")).await;
        rig.stop().await;
        let before = rig.leaf("a.test");
        *machine.authority.lock().unwrap() = None;
        rig.load();
        rig.start();
        rig.until("said", |rig| rig.is_said("a.test", "no new certificate: mkcert is not installed")).await;
        assert_eq!(rig.leaf("a.test"), before, "it may be there tomorrow");
        assert!(rig.is_https_only("a.test"));
        rig.stop().await;
        machine.become_another();
        rig.load();
        assert_eq!(rig.leaf("a.test"), before);
        rig.start();
        rig.until("a new one", |rig| rig.leaf("a.test") != before).await;
        assert_eq!(machine.made().len(), 2);
        rig.until("all is well", |rig| rig.standing("a.test").is_some_and(|said| said.reason.is_empty())).await;
        rig.stop().await;
    });
}

#[test]
fn a_certificate_is_renewed_with_a_third_of_its_life_left_and_one_that_ended_brings_plain_http_back() {
    run(async {
        let (mut rig, machine) = rig();
        machine.become_another();
        let ca = machine.authority.lock().unwrap().clone().unwrap();
        let mut store = Store::open(&folder(&rig)).unwrap();
        store.save(&ca.sign("old.test", START + 4 * 86_400)).unwrap();
        store.save(&ca.sign("ended.test", START - 1)).unwrap();
        rig.add("old.test");
        rig.add("ended.test");
        *machine.authority.lock().unwrap() = None;
        rig.load();
        rig.start();
        rig.until("said", |rig| rig.is_said("ended.test", "its certificate has ended; no new certificate")).await;
        assert!(rig.is_served("ended.test") && !rig.is_https_only("ended.test") && rig.is_https_only("old.test"));
        *machine.authority.lock().unwrap() = Some(ca);
        rig.until("made", |rig| rig.is_https_only("ended.test")).await;
        assert_eq!(machine.made(), ["ended.test"]);
        rig.pass(86_400).await;
        assert_eq!(machine.made(), ["ended.test", "old.test"]);
        assert_eq!(rig.standing("old.test").unwrap().until, Some(START + 10 * 86_400));
        rig.stop().await;
    });
}

/// Stopping waits for no program: it ends, and so do the handshakes that wait for it.
#[test]
fn a_stop_ends_what_is_being_made_and_the_next_start_makes_it() {
    run(async {
        let (mut rig, machine) = rig();
        machine.become_another();
        machine.hangs.store(true, Ordering::Relaxed);
        rig.add("a.test");
        rig.start();
        while machine.made().is_empty() {
            tokio::task::yield_now().await;
        }
        let certificates = rig.certificates.clone();
        let waiting = tokio::task::spawn_local(async move { certificates.wait(&domain("a.test")).await.is_some() });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "a handshake waits for it");
        rig.stop().await;
        assert!(!waiting.await.unwrap());
        machine.hangs.store(false, Ordering::Relaxed);
        rig.start();
        rig.until("served", |rig| rig.is_served("a.test")).await;
        rig.stop().await;
    });
}

#[test]
fn a_persons_certificate_for_a_local_name_comes_first_and_brings_https_for_ever() {
    run(async {
        let (mut rig, machine) = rig();
        machine.become_another();
        let own = folder(&rig).with_file_name("own");
        let given = {
            let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
            let pem = format!("{}{}", made.key_pair.serialize_pem(), made.cert.pem());
            Certificate::parse(&domain("a.test"), Origin::Own, pem.as_bytes()).unwrap()
        };
        Store::open(&own).unwrap().save(&given).unwrap();
        rig.add("a.test");
        rig.load();
        rig.start();
        rig.until("shown", |rig| rig.state("a.test") == Some(State::Own)).await;
        rig.pass(7_200).await;
        assert!(machine.made().is_empty());
        Store::open(&own).unwrap().remove(&domain("a.test")).unwrap();
        assert!(rig.board.wish(&domain("a.test")));
        rig.until("made", |rig| rig.state("a.test") == Some(State::Local) && rig.is_served("a.test")).await;
        Store::open(&folder(&rig)).unwrap().remove(&domain("a.test")).unwrap();
        *machine.authority.lock().unwrap() = None;
        assert!(rig.board.wish(&domain("a.test")));
        rig.until("taken away", |rig| !rig.is_served("a.test")).await;
        assert!(rig.is_https_only("a.test"));
        rig.stop().await;
    });
}

/// The only thing that public names get where no CA is asked is plain HTTP.
#[test]
fn b223_mkcert_is_never_asked_for_a_public_name() {
    run(async {
        let (mut rig, machine) = rig();
        machine.become_another();
        rig.settings.ca = None;
        rig.load();
        rig.add("a.example");
        rig.start();
        rig.until("shown", |rig| rig.state("a.example") == Some(State::Off)).await;
        rig.certificates.ask(&domain("a.example"));
        assert!(rig.board.wish(&domain("a.example")));
        rig.pass(7_200).await;
        rig.stop().await;
        assert_eq!((machine.looks.load(Ordering::Relaxed), machine.made().len()), (0, 0));
    });
}

/// B224: and nothing is made for a name that has no rule.
#[test]
fn names_beyond_the_bound_get_a_certificate_when_somebody_asks() {
    run(async {
        let (mut rig, machine) = rig();
        (0..limits::LOCAL_NAMES_MAX).for_each(|number| rig.add(&format!("bad{number}.test")));
        rig.load();
        rig.start();
        rig.until("looked", |_| machine.looks.load(Ordering::Relaxed) > 0).await;
        // They would come before all others.
        for name in ["a.test", "asked.test"] {
            rig.add(name);
        }
        rig.pass(1).await;
        rig.certificates.ask(&domain("asked.test"));
        rig.certificates.ask(&domain("a-stranger.test"));
        rig.pass(1).await;
        machine.become_another();
        assert!(rig.board.wish(&domain("bad0.test")));
        rig.until("served", |rig| rig.is_served("asked.test")).await;
        while machine.made().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(machine.made()[..2], ["asked.test", "bad0.test"]);
        rig.stop().await;
    });
}
