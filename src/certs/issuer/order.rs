//! One order, from its creation to the certificate (RFC 8555, 7.4).

use std::{fmt, future::Future, time::Duration};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use http::header;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_acme::acme;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::{
    domain::Domain,
    limits::{CA_POLL_AFTER_MAX, CA_POLL_FAILURES_MAX},
};

use super::{
    Acme,
    ca::Directory,
    challenge::{Answer, ChallengeKind, Challenges, Published},
    client::Reply,
    failure::{AccountFault, Cause, Failure, Step},
    issued::Issued,
    patience::Deadline,
    problem::Problem,
    rehearsal,
    renewal::CertificateId,
    session::{Signer, pause_in},
};

/// What is wanted.
#[derive(Debug, Clone)]
pub struct NewOrder {
    /// The one name.
    pub domain: Domain,
    /// How it is to be proved.
    pub challenge: ChallengeKind,
    /// The certificate that it is to replace: told to CAs that offer renewal information, which then count the order less
    /// strictly (RFC 9773, 5).
    pub replaces: Option<CertificateId>,
}

/// What it takes to finish an order that was interrupted behind its certificate request. `Debug` shows no secret (B218).
#[derive(Clone, PartialEq, Eq)]
pub struct PendingOrder {
    /// The name.
    pub domain: Domain,
    /// The order's own URL.
    pub url: String,
    /// The certificate's private key, PKCS#8 in PEM. Secret.
    pub key_pem: String,
    /// The certificate request, PKCS#10 in DER (RFC 2986).
    pub csr: Vec<u8>,
}

impl fmt::Debug for PendingOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingOrder").field("domain", &self.domain).field("url", &self.url).finish_non_exhaustive()
    }
}

/// Those who keep pending orders on disk.
pub trait PendingOrders {
    /// Makes one durable: the CA is asked to sign only after that. An error ends the attempt.
    fn keep(&self, pending: &PendingOrder) -> impl Future<Output = Result<(), String>>;
}

/// One account's way through one order.
struct Walk<'a> {
    acme: &'a Acme,
    directory: Directory,
    account: acme::Account,
    deadline: Deadline,
}

impl Acme {
    pub(super) async fn order(
        &self,
        order: &NewOrder,
        challenges: &impl Challenges,
        pending: &impl PendingOrders,
    ) -> Result<Issued, Failure> {
        let walk = self.walk().await?;
        let issued = walk.through(order, challenges, pending).await;
        issued.inspect_err(|failure| self.learn_from(failure))
    }

    pub(super) async fn finish(&self, pending: &PendingOrder) -> Result<Issued, Failure> {
        let walk = self.walk().await?;
        let order = match walk.read_order(Step::Order, &pending.url).await {
            // RFC 8555, 7.1.6: a CA may forget orders.
            Err(Failure { cause: Cause::Refused(problem), step }) => {
                return Err(Failure::new(step, Cause::OrderLost(problem.to_string())));
            }
            other => other?.0,
        };
        let issued = match order.status {
            acme::OrderStatus::Pending => Err(lost("it was interrupted before it was proved")),
            acme::OrderStatus::Invalid => Err(lost(problem_of(order.error.as_ref(), "").to_string())),
            _ => walk.to_the_end(pending, order).await,
        };
        issued.inspect_err(|failure| self.learn_from(failure))
    }

    async fn walk(&self) -> Result<Walk<'_>, Failure> {
        let deadline = Deadline::after(self.session.patience.order);
        let directory = self.directory(deadline).await?;
        let account = self.account(&directory)?;
        Ok(Walk { acme: self, directory, account, deadline })
    }
}

impl Walk<'_> {
    async fn through(
        &self,
        wanted: &NewOrder,
        challenges: &impl Challenges,
        pending: &impl PendingOrders,
    ) -> Result<Issued, Failure> {
        let domain = &wanted.domain;
        let (url, order) = self.create(wanted).await?;
        let [authorization] = order.authorizations.as_slice() else {
            let count = order.authorizations.len();
            return Err(Failure::answer(Step::NewOrder, format!("{count} authorizations for one name")));
        };
        self.prove(wanted, authorization, challenges).await?;
        let deadline = self.deadline.within(self.acme.session.patience.validation);
        let order = self
            .poll(Step::Order, Duration::ZERO, deadline, || async {
                let (order, pause) = self.read_order(Step::Order, &url).await?;
                match order.status {
                    acme::OrderStatus::Pending => Ok(Err(pause)),
                    acme::OrderStatus::Invalid => Err(invalid(Step::Order, &order)),
                    _ => Ok(Ok(order)),
                }
            })
            .await?;
        let pending_order = request(domain, url)?;
        let kept = timeout(self.acme.session.patience.step, pending.keep(&pending_order)).await;
        kept.unwrap_or_else(|_| Err("the disk gives no answer".to_owned()))
            .map_err(|why| Failure::new(Step::Keep, Cause::NotKept(why)))?;
        self.to_the_end(&pending_order, order).await
    }

    async fn create(&self, wanted: &NewOrder) -> Result<(String, acme::Order), Failure> {
        let step = Step::NewOrder;
        let mut payload = json!({ "identifiers": [{ "type": "dns", "value": wanted.domain.as_str() }] });
        // A CA without renewal information may take the field for a mistake.
        if let Some(replaced) = wanted.replaces.as_ref().filter(|_| self.directory.renewal_info.is_some()) {
            payload["replaces"] = Value::from(replaced.as_str());
        }
        let url = self.directory.urls.new_order.clone();
        let mut created = self.post(step, &url, &payload.to_string()).await;
        // RFC 9773, 5: somebody has replaced it already. Nothing was made, so the order may be sent without the field.
        if let Err(Failure { cause: Cause::Refused(problem), .. }) = &created
            && problem.kind() == "alreadyReplaced"
            && let Some(fields) = payload.as_object_mut()
        {
            fields.remove("replaces");
            created = self.post(step, &url, &payload.to_string()).await;
        }
        let reply = created?;
        let url = reply.headers.get(header::LOCATION).and_then(|url| url.to_str().ok());
        let url = url.ok_or_else(|| Failure::answer(step, "no URL of the order in it"))?.to_owned();
        let order: acme::Order = read(step, &reply)?;
        match order.status {
            acme::OrderStatus::Invalid => Err(invalid(step, &order)),
            _ => Ok((url, order)),
        }
    }

    /// Shows the CA that the name is served here, unless it remembers.
    async fn prove(&self, wanted: &NewOrder, url: &str, challenges: &impl Challenges) -> Result<(), Failure> {
        let (domain, kind) = (&wanted.domain, wanted.challenge);
        let (authorization, _) = self.read_authorization(Step::Authorization, url, domain).await?;
        match authorization.status {
            acme::AuthStatus::Valid => return Ok(()),
            acme::AuthStatus::Pending => {}
            other => return Err(Failure::answer(Step::Authorization, format!("an authorization that is {other:?}"))),
        }
        let (challenge, answer) = Answer::to(&self.account, &authorization.challenges, kind, domain)?;
        let published = Published::new(challenges, domain, answer);
        let not_served = |step, why| Failure::new(step, Cause::NotServed(why));
        let done = timeout(self.acme.session.patience.step, published.publish()).await;
        done.unwrap_or_else(|_| Err("the workers give no sign".to_owned()))
            .map_err(|why| not_served(Step::Publish, why))?;
        if let Some(front) = challenges.front(kind) {
            let patience = self.acme.session.patience.rehearsal;
            let seen = rehearsal::look(front, domain, published.answer(), patience).await;
            seen.map_err(|why| not_served(Step::Rehearsal, why))?;
        }
        self.post(Step::Challenge, &challenge, "{}").await?;
        let deadline = self.deadline.within(self.acme.session.patience.validation);
        let first = self.acme.session.patience.poll.first().copied().unwrap_or_default();
        // The answer stays in place until this is over, however it ends.
        self.poll(Step::Validation, first, deadline, || async {
            let (authorization, pause) = self.read_authorization(Step::Validation, url, domain).await?;
            match authorization.status {
                acme::AuthStatus::Valid => Ok(Ok(())),
                acme::AuthStatus::Pending => Ok(Err(pause)),
                _ => {
                    let error = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
                    let problem = problem_of(error, published.answer().secret());
                    Err(Failure::new(Step::Validation, Cause::ChallengeRefused { kind, problem }))
                }
            }
        })
        .await
    }

    /// From an order whose name is proved to its certificate.
    async fn to_the_end(&self, pending: &PendingOrder, mut order: acme::Order) -> Result<Issued, Failure> {
        if matches!(order.status, acme::OrderStatus::Ready) {
            let payload = json!({ "csr": BASE64_URL_SAFE_NO_PAD.encode(&pending.csr) }).to_string();
            let reply = self.post(Step::Finalize, &order.finalize, &payload).await?;
            order = read(Step::Finalize, &reply)?;
        }
        let certificate = match order.status {
            acme::OrderStatus::Valid { certificate } => certificate,
            _ => self.wait_for_signature(pending, order).await?,
        };
        // The certificate exists now: its download is worth several tries.
        let deadline = self.deadline.within(self.acme.session.patience.issuance);
        let reply = self
            .poll(Step::Certificate, Duration::ZERO, deadline, || async {
                Ok(Ok(self.post(Step::Certificate, &certificate, "").await?))
            })
            .await?;
        Issued::judge(&pending.domain, &pending.key_pem, &reply.body)
    }

    async fn wait_for_signature(&self, pending: &PendingOrder, order: acme::Order) -> Result<String, Failure> {
        if matches!(order.status, acme::OrderStatus::Invalid) {
            return Err(invalid(Step::Finalize, &order));
        }
        let deadline = self.deadline.within(self.acme.session.patience.issuance);
        let first = self.acme.session.patience.poll.first().copied().unwrap_or_default();
        self.poll(Step::Issuance, first, deadline, || async {
            let (order, pause) = self.read_order(Step::Issuance, &pending.url).await?;
            match &order.status {
                acme::OrderStatus::Valid { certificate } => Ok(Ok(certificate.clone())),
                acme::OrderStatus::Invalid => Err(invalid(Step::Issuance, &order)),
                _ => Ok(Err(pause)),
            }
        })
        .await
    }

    /// Looks again and again: `look` gives a result, or the pause that the CA asks for before the next look, or a failure. A few
    /// passing failures are overlooked, for looking changes nothing at the CA.
    async fn poll<T, F>(
        &self,
        step: Step,
        first: Duration,
        deadline: Deadline,
        mut look: impl FnMut() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<Result<T, Option<Duration>>, Failure>>,
    {
        let total = deadline.left();
        let mut pauses = self.acme.session.patience.poll.into_iter();
        let mut usual = pauses.next().unwrap_or_default();
        let (mut pause, mut failures) = (first, 0);
        loop {
            sleep(pause.min(deadline.left())).await;
            let asked = match look().await {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(asked)) => {
                    failures = 0;
                    asked
                }
                Err(failure) if failure.is_passing() && failures + 1 < CA_POLL_FAILURES_MAX => {
                    failures += 1;
                    if deadline.left().is_zero() {
                        return Err(failure);
                    }
                    match failure.retry_after() {
                        Some(super::RetryAfter::In(time)) => Some(time),
                        _ => None,
                    }
                }
                Err(failure) => return Err(failure),
            };
            if deadline.left().is_zero() {
                return Err(Failure::new(step, Cause::TimedOut(total)));
            }
            usual = pauses.next().unwrap_or(usual);
            pause = asked.map_or(usual, |asked| asked.min(CA_POLL_AFTER_MAX).max(usual));
        }
    }

    async fn read_order(&self, step: Step, url: &str) -> Result<(acme::Order, Option<Duration>), Failure> {
        let reply = self.post(step, url, "").await?;
        Ok((read(step, &reply)?, pause_in(&reply.headers)))
    }

    async fn read_authorization(
        &self,
        step: Step,
        url: &str,
        domain: &Domain,
    ) -> Result<(acme::Auth, Option<Duration>), Failure> {
        let reply = self.post(step, url, "").await?;
        let authorization: acme::Auth = read(step, &reply)?;
        let acme::Identifier::Dns(name) = &authorization.identifier;
        if !name.eq_ignore_ascii_case(domain.as_str()) {
            return Err(Failure::answer(step, "an authorization for another name"));
        }
        Ok((authorization, pause_in(&reply.headers)))
    }

    async fn post(&self, step: Step, url: &str, payload: &str) -> Result<Reply, Failure> {
        let (new_nonce, signer) = (&self.directory.urls.new_nonce, Signer::Account(&self.account.kid));
        let posted = self.acme.session.post(step, new_nonce, url, signer, payload, self.deadline).await;
        if let Err(Failure { cause: Cause::Account { fault: AccountFault::Unknown, .. }, .. }) = &posted {
            self.acme.forget_account();
        }
        posted
    }
}

/// A key made for this order alone, and the request for a certificate for it.
fn request(domain: &Domain, url: String) -> Result<PendingOrder, Failure> {
    let failed = |cause: rcgen::Error| Failure::new(Step::Keep, Cause::NotKept(format!("cannot make a key: {cause}")));
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let mut parameters = CertificateParams::new(vec![domain.as_str().to_owned()]).map_err(failed)?;
    // No common name: it holds 64 bytes at most, and names may be longer.
    parameters.distinguished_name = DistinguishedName::new();
    let csr = parameters.serialize_request(&key).map_err(failed)?.der().to_vec();
    Ok(PendingOrder { domain: domain.clone(), url, key_pem: key.serialize_pem(), csr })
}

fn read<T: for<'a> serde::Deserialize<'a>>(step: Step, reply: &Reply) -> Result<T, Failure> {
    serde_json::from_slice(&reply.body).map_err(|cause| Failure::answer(step, cause))
}

/// The CA's words as they may be shown: without `secret`, which they may repeat (B218).
fn problem_of(error: Option<&acme::Problem>, secret: &str) -> Problem {
    let Some(acme::Problem { typ, detail }) = error else { return Problem::default() };
    let detail = detail.as_deref().unwrap_or_default();
    let detail = if secret.is_empty() { detail.to_owned() } else { detail.replace(secret, "<hidden>") };
    Problem::new(typ.as_deref().unwrap_or_default(), &detail)
}

/// An order that the CA has given up.
fn invalid(step: Step, order: &acme::Order) -> Failure {
    let problem = problem_of(order.error.as_ref(), "");
    match problem.kind() {
        "caa" | "dns" | "rejectedIdentifier" | "unsupportedIdentifier" => {
            Failure::new(step, Cause::NameRefused(problem))
        }
        _ => Failure::new(step, Cause::Refused(problem)),
    }
}

fn lost(why: impl Into<String>) -> Failure {
    Failure::new(Step::Order, Cause::OrderLost(why.into()))
}

#[cfg(test)]
mod tests {
    use crate::limits::CA_DETAIL_BYTES_MAX;

    use super::*;

    /// B218: CAs repeat the key authorisation that they expected; no part of it is left where the sentence is cut.
    #[test]
    fn a_key_authorisation_is_hidden() {
        for before in [0, CA_DETAIL_BYTES_MAX - 15] {
            let detail = Some(format!("{}expected \"token.thumb\" but got \"x\"", " ".repeat(before)));
            let error = acme::Problem { typ: Some("unauthorized".to_owned()), detail };
            let shown = problem_of(Some(&error), "token.thumb").to_string();
            assert!(shown.contains("expected") && !shown.contains("tok"), "{shown}");
        }
    }

    /// B218.
    #[test]
    fn a_pending_order_shows_no_secret() {
        let pending = request(&Domain::parse("a.example").unwrap(), "https://ca/1".into()).unwrap();
        assert!(pending.key_pem.contains("PRIVATE KEY"));
        let shown = format!("{pending:?}");
        assert!(shown.contains("https://ca/1") && !shown.contains("PRIVATE"), "{shown}");
    }

    #[test]
    fn each_order_has_a_key_of_its_own_and_the_longest_name_is_possible() {
        let name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        let domain = Domain::parse(&name).unwrap();
        let [one, two] = [(); 2].map(|()| request(&domain, String::new()).unwrap());
        assert_ne!(one.key_pem, two.key_pem);
    }
}
