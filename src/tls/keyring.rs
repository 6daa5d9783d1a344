//! The writing half of [`Certificates`]: one, in the hands of whoever issues certificates.
//!
//! The order of a change is: visible first, then those are woken who wait for it. Never here: a file, an order itself, a
//! certificate that is not for the name it is given for.

use std::{
    collections::HashMap,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{client::verify_server_name, pki_types::ServerName, server::ParsedCertificate, sign::CertifiedKey};
use tokio::sync::{mpsc, watch};

use super::Certificates;
use crate::domain::Domain;

/// The writer's side of the certificates.
#[derive(Debug)]
pub struct Keyring {
    certificates: Certificates,
    /// Dropping one wakes the handshakes that wait for it.
    orders: HashMap<Domain, watch::Sender<()>>,
    asked: mpsc::Receiver<Domain>,
}

/// A certificate that cannot serve the name it was given for.
#[derive(Debug, thiserror::Error)]
#[error("the certificate cannot serve {domain}: {cause}")]
pub struct Misfit {
    domain: Domain,
    #[source]
    cause: rustls::Error,
}

impl Keyring {
    /// Without a certificate.
    pub fn new() -> Self {
        let (certificates, asked) = Certificates::new();
        Self { certificates, orders: HashMap::new(), asked }
    }

    /// The readers' side.
    pub fn certificates(&self) -> Certificates {
        self.certificates.clone()
    }

    /// From now on the name is served with this certificate; handshakes that wait for it go on. Refused if the certificate names
    /// another site or the key is another's (invariant 7, B172): dates are the caller's business.
    pub fn insert(&mut self, domain: Domain, certificate: Arc<CertifiedKey>) -> Result<(), Misfit> {
        if let Err(cause) = fits(&domain, &certificate) {
            return Err(Misfit { domain, cause });
        }
        self.certificates.change(&domain, |entry| {
            entry.certificate = Some(certificate);
            entry.order = None;
        });
        self.orders.remove(&domain);
        Ok(())
    }

    /// The name is served no more; connections that are open stay so.
    pub fn remove(&mut self, domain: &Domain) {
        self.certificates.change(domain, |entry| entry.certificate = None);
    }

    /// The certificate authority may ask for this name now (B168).
    pub fn begin_challenge(&mut self, domain: &Domain, certificate: Arc<CertifiedKey>) {
        self.certificates.change(domain, |entry| entry.challenge = Some(certificate));
    }

    /// The same on the plain port: who shows the token gets this answer (B167).
    pub fn begin_http_challenge(&mut self, domain: &Domain, token: &str, answer: &str) {
        self.certificates.change(domain, |entry| entry.http_challenge = Some((token.into(), answer.into())));
    }

    /// It may not any more, on either port.
    pub fn end_challenge(&mut self, domain: &Domain) {
        self.certificates.change(domain, |entry| {
            entry.challenge = None;
            entry.http_challenge = None;
        });
    }

    /// Whether plain HTTP for this name is answered with the way to https alone, whatever becomes of its certificate (B164).
    pub fn set_https_only(&mut self, domain: &Domain, is_https_only: bool) {
        self.certificates.change(domain, |entry| entry.is_https_only = is_https_only);
    }

    /// An order for this name is in flight: as long as it has no certificate, its handshakes wait (B130, B163).
    pub fn begin_order(&mut self, domain: &Domain) {
        if self.orders.contains_key(domain) {
            return;
        }
        let (order, end) = watch::channel(());
        self.certificates.change(domain, |entry| entry.order = Some(end));
        self.orders.insert(domain.clone(), order);
    }

    /// The order has ended; handshakes that wait without a certificate are refused now.
    pub fn end_order(&mut self, domain: &Domain) {
        self.certificates.change(domain, |entry| entry.order = None);
        self.orders.remove(domain);
    }

    /// The next name that has a rule, no certificate, and a client who wants it now. The same may come many times; when many come
    /// at once, some are left out.
    pub async fn asked(&mut self) -> Domain {
        poll_fn(|context| self.poll_asked(context)).await
    }

    /// The same for who cannot keep the keyring to itself while it waits.
    pub fn poll_asked(&mut self, context: &mut Context<'_>) -> Poll<Domain> {
        match ready!(self.asked.poll_recv(context)) {
            Some(domain) => Poll::Ready(domain),
            // Cannot be: this very value holds the other end.
            None => Poll::Pending,
        }
    }
}

impl Default for Keyring {
    fn default() -> Self {
        Self::new()
    }
}

fn fits(domain: &Domain, certificate: &CertifiedKey) -> Result<(), rustls::Error> {
    certificate.keys_match()?;
    let parsed = ParsedCertificate::try_from(certificate.end_entity_cert()?)?;
    let name = ServerName::try_from(domain.as_str())
        .map_err(|_| rustls::Error::General("no certificate can name it".to_owned()))?;
    verify_server_name(&parsed, &name)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::tls::tests::{certificate, domain};

    #[test]
    fn a_certificate_is_found_under_its_own_name_and_no_other() {
        let mut keyring = Keyring::new();
        let certificates = keyring.certificates();
        keyring.insert(domain("a.test"), certificate("a.test")).unwrap();
        keyring.insert(domain("b.test"), certificate("b.test")).unwrap();
        assert!(certificates.find(&domain("a.test")).is_some());
        assert!(certificates.find(&domain("c.test")).is_none());
        assert!(certificates.challenge(&domain("a.test")).is_none());
        keyring.remove(&domain("a.test"));
        assert!(certificates.find(&domain("a.test")).is_none());
        assert!(certificates.find(&domain("b.test")).is_some());
    }

    /// Invariant 7.
    #[test]
    fn a_certificate_for_another_name_is_refused() {
        let mut keyring = Keyring::new();
        let error = keyring.insert(domain("b.test"), certificate("a.test")).unwrap_err();
        assert!(error.to_string().starts_with("the certificate cannot serve b.test: "), "{error}");
        assert!(keyring.certificates().find(&domain("b.test")).is_none());
    }

    /// B172.
    #[test]
    fn a_certificate_with_another_key_is_refused() {
        let mut keyring = Keyring::new();
        let mixed = CertifiedKey::new(certificate("a.test").cert.clone(), certificate("a.test").key.clone());
        keyring.insert(domain("a.test"), Arc::new(mixed)).unwrap_err();
        assert!(keyring.certificates().find(&domain("a.test")).is_none());
    }

    /// B168: what is for the certificate authority is for nobody else, and the other way round.
    #[test]
    fn challenges_and_certificates_do_not_mix() {
        let mut keyring = Keyring::new();
        let certificates = keyring.certificates();
        keyring.begin_challenge(&domain("a.test"), certificate("a.test"));
        assert!(certificates.find(&domain("a.test")).is_none());
        assert!(certificates.challenge(&domain("a.test")).is_some());
        keyring.insert(domain("a.test"), certificate("a.test")).unwrap();
        keyring.end_challenge(&domain("a.test"));
        assert!(certificates.challenge(&domain("a.test")).is_none());
        assert!(certificates.find(&domain("a.test")).is_some());
    }

    /// B164, B167.
    #[test]
    fn the_plain_port_learns_what_to_answer_and_where_to_send() {
        let mut keyring = Keyring::new();
        let certificates = keyring.certificates();
        let (a, b) = (domain("a.test"), domain("b.test"));
        keyring.begin_http_challenge(&a, "token", "token.thumbprint");
        assert_eq!(certificates.http_answer(&a, "token").as_deref(), Some("token.thumbprint"));
        assert_eq!(certificates.http_answer(&a, "Token"), None, "another token");
        assert_eq!(certificates.http_answer(&b, "token"), None, "another name");
        keyring.end_challenge(&a);
        assert_eq!(certificates.http_answer(&a, "token"), None);
        keyring.insert(a.clone(), certificate("a.test")).unwrap();
        assert!(!certificates.is_https_only(&a));
        keyring.set_https_only(&a, true);
        keyring.remove(&a);
        assert!(certificates.is_https_only(&a) && !certificates.is_https_only(&b), "without a certificate as well");
    }

    /// B130: across threads, since issuing and serving are never on the same one.
    #[tokio::test]
    async fn who_waits_for_an_order_is_woken_by_its_certificate_or_its_end() {
        let mut keyring = Keyring::new();
        let certificates = keyring.certificates();
        keyring.begin_order(&domain("a.test"));
        keyring.begin_order(&domain("a.test"));
        keyring.begin_order(&domain("b.test"));
        let waiting = |name: &'static str| {
            let certificates = certificates.clone();
            std::thread::Builder::new()
                .spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(async { certificates.wait(&domain(name)).await.is_some() })
                })
                .unwrap()
        };
        let (first, second) = (waiting("a.test"), waiting("b.test"));
        let mut asked = vec![keyring.asked().await, keyring.asked().await];
        asked.sort();
        assert_eq!(asked, [domain("a.test"), domain("b.test")]);
        assert!(!first.is_finished() && !second.is_finished());
        keyring.insert(domain("a.test"), certificate("a.test")).unwrap();
        keyring.end_order(&domain("b.test"));
        assert!(first.join().unwrap(), "there is a certificate now");
        assert!(!second.join().unwrap(), "the order has ended without one");
    }

    /// B163.
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_where_no_order_is_in_flight() {
        let mut keyring = Keyring::new();
        let certificates = keyring.certificates();
        assert!(certificates.wait(&domain("a.test")).await.is_none());
        assert_eq!(keyring.asked().await, domain("a.test"));
        keyring.begin_order(&domain("a.test"));
        let waited = tokio::time::timeout(Duration::from_secs(3600), certificates.wait(&domain("a.test"))).await;
        assert!(waited.is_err(), "the limit is the caller's");
    }

    /// Its thread has ended, say, while handshakes go on: nobody will ever end the order.
    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_keyring_that_is_gone() {
        let mut keyring = Keyring::new();
        let certificates = keyring.certificates();
        keyring.begin_order(&domain("a.test"));
        drop(keyring);
        let waited = tokio::time::timeout(Duration::from_secs(3600), certificates.wait(&domain("a.test"))).await;
        assert!(waited.expect("at once").is_none());
    }

    #[tokio::test]
    async fn many_questions_at_once_are_bounded() {
        let mut keyring = Keyring::new();
        let certificates = keyring.certificates();
        for _ in 0..crate::limits::CERTIFICATES_ASKED_MAX + 10 {
            certificates.wait(&domain("a.test")).await;
        }
        for _ in 0..crate::limits::CERTIFICATES_ASKED_MAX {
            keyring.asked().await;
        }
        assert!(keyring.asked.try_recv().is_err());
    }
}
