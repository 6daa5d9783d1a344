//! Signed requests (RFC 8555, 6.2 to 6.5): nonces, signatures, repetition where a nonce alone was the reason.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::limits::{
    CA_NONCE_BYTES_MAX, CA_NONCE_LIFE, CA_NONCE_PAUSE, CA_NONCE_SPACING, CA_NONCE_TRIES, CA_NONCE_TRIES_AT_ONCE,
    CA_NONCES_KEPT,
};

use super::{
    account::AccountKey,
    client::{self, Client, Reply},
    failure::{Cause, Failure, Step},
    patience::{Deadline, Patience},
    problem::Problem,
};

/// Which CA, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The URL of its directory; [`super::LETS_ENCRYPT`] unless told otherwise.
    pub directory: String,
    /// Certificates in PEM that alone are trusted to have signed its own; the usual roots of the web if there are none.
    pub root: Option<Vec<u8>>,
    /// Where a person can be reached: a mail address, or a URL of another scheme.
    pub contact: Option<String>,
    /// Time limits.
    pub patience: Patience,
}

impl Default for Settings {
    fn default() -> Self {
        let directory = super::LETS_ENCRYPT.to_owned();
        Self { directory, root: None, contact: None, patience: Patience::default() }
    }
}

impl Settings {
    /// Whether an issuer can be made of them. Contacts nobody.
    pub fn check(&self) -> Result<(), SettingsError> {
        client::host(&self.directory).ok_or_else(|| SettingsError::Directory(self.directory.clone()))?;
        roots(self.root.as_deref()).map(drop)
    }
}

/// Why an issuer cannot be made of its settings.
#[derive(Debug)]
pub enum SettingsError {
    /// The directory is not an `https` URL.
    Directory(String),
    /// The file of roots holds none.
    Root(String),
    /// TLS cannot be set up at all.
    Tls(String),
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(url) => write!(f, "{url:?} is no directory of a CA: give an https address"),
            Self::Root(why) => write!(f, "the root of the CA holds no certificate in PEM: {why}"),
            Self::Tls(why) => write!(f, "cannot set up TLS towards the CA: {why}"),
        }
    }
}

impl Error for SettingsError {}

/// By whom a request is signed (RFC 8555, 6.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum Signer<'a> {
    /// The bare key: before there is an account.
    Key,
    /// The account with this URL.
    Account(&'a str),
}

/// What all requests share.
pub(super) struct Session {
    client: Client,
    pub(super) key: AccountKey,
    pub(super) directory: String,
    pub(super) contact: Option<String>,
    pub(super) patience: Patience,
    host: String,
    nonces: Mutex<Vec<(Instant, String)>>,
    /// When the next nonce may be asked for.
    turn: Mutex<Option<Instant>>,
}

impl Session {
    pub(super) fn new(settings: &Settings, key: AccountKey) -> Result<Self, SettingsError> {
        let host =
            client::host(&settings.directory).ok_or_else(|| SettingsError::Directory(settings.directory.clone()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|cause| SettingsError::Tls(cause.to_string()))?
            .with_root_certificates(roots(settings.root.as_deref())?)
            .with_no_client_auth();
        Ok(Self {
            client: Client::new(Arc::new(config)),
            key,
            directory: settings.directory.clone(),
            contact: settings.contact.clone(),
            patience: settings.patience,
            host,
            nonces: Mutex::default(),
            turn: Mutex::default(),
        })
    }

    pub(super) fn authority(&self) -> &str {
        &self.host
    }

    /// A request without a signature. Any status but 2xx is a failure.
    pub(super) async fn get(&self, step: Step, url: &str, deadline: Deadline) -> Result<Reply, Failure> {
        self.accepted(step, self.send(step, Method::GET, url, None, deadline).await?)
    }

    /// A signed request; an empty `payload` makes it a POST-as-GET (6.3). Any status but 2xx is a failure.
    ///
    /// It is sent again only when the CA refused its nonce: then it had no effect (6.5).
    pub(super) async fn post(
        &self,
        step: Step,
        new_nonce: &str,
        url: &str,
        signer: Signer<'_>,
        payload: &str,
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        for attempt in 0..CA_NONCE_TRIES {
            if attempt >= CA_NONCE_TRIES_AT_ONCE {
                sleep(CA_NONCE_PAUSE.min(deadline.left())).await;
            }
            let nonce = self.nonce(new_nonce, deadline).await?;
            let body = self.signed(url, signer, &nonce, payload).map_err(|cause| Failure::answer(step, cause))?;
            let reply = self.send(step, Method::POST, url, Some(body), deadline).await?;
            self.keep_nonce(&reply.headers);
            let is_refused = |problem: Problem| problem.kind() == "badNonce";
            if reply.status.is_success() || !Problem::parse(&reply.body).is_some_and(is_refused) {
                return self.accepted(step, reply);
            }
        }
        Err(Failure::new(step, Cause::Nonces))
    }

    fn accepted(&self, step: Step, reply: Reply) -> Result<Reply, Failure> {
        if reply.status.is_success() { Ok(reply) } else { Err(Failure::from_reply(step, &reply)) }
    }

    async fn send(
        &self,
        step: Step,
        method: Method,
        url: &str,
        body: Option<String>,
        deadline: Deadline,
    ) -> Result<Reply, Failure> {
        let time = deadline.left().min(self.patience.step);
        match timeout(time, Box::pin(self.client.request(method, url, body))).await {
            Ok(reply) => reply.map_err(|error| Failure::from_client(step, error)),
            Err(_) => Err(Failure::new(step, Cause::TimedOut(time))),
        }
    }

    /// One that came with an earlier answer, else a new one (7.2).
    async fn nonce(&self, url: &str, deadline: Deadline) -> Result<String, Failure> {
        // The newest is the least likely to be forgotten.
        let kept = self.nonces().pop().filter(|(since, _)| since.elapsed() < CA_NONCE_LIFE);
        if let Some((_, nonce)) = kept {
            return Ok(nonce);
        }
        self.wait_for_turn().await;
        let reply = self.accepted(Step::Nonce, self.send(Step::Nonce, Method::HEAD, url, None, deadline).await?)?;
        nonce_in(&reply.headers).ok_or_else(|| Failure::answer(Step::Nonce, "no nonce in it"))
    }

    async fn wait_for_turn(&self) {
        let turn = {
            let mut next = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = next.unwrap_or_else(Instant::now).max(Instant::now());
            *next = Some(turn + CA_NONCE_SPACING);
            turn
        };
        sleep_until(turn).await;
    }

    fn keep_nonce(&self, headers: &HeaderMap) {
        if let Some(nonce) = nonce_in(headers) {
            let mut nonces = self.nonces();
            if nonces.len() >= CA_NONCES_KEPT {
                nonces.remove(0);
            }
            nonces.push((Instant::now(), nonce));
        }
    }

    fn nonces(&self) -> MutexGuard<'_, Vec<(Instant, String)>> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The JWS in its flattened form (RFC 7515, 7.2.2), ES256.
    fn signed(&self, url: &str, signer: Signer<'_>, nonce: &str, payload: &str) -> Result<String, &'static str> {
        let mut head = json!({ "alg": "ES256", "nonce": nonce, "url": url });
        match signer {
            Signer::Key => head["jwk"] = self.key.public(),
            Signer::Account(url) => head["kid"] = Value::from(url),
        }
        let (head, payload) = (encode(&head.to_string()), encode(payload));
        let signature = self.key.sign(format!("{head}.{payload}").as_bytes())?;
        Ok(json!({ "protected": head, "payload": payload, "signature": BASE64_URL_SAFE_NO_PAD.encode(signature) })
            .to_string())
    }
}

fn encode(text: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

/// RFC 8555, 6.5.1: base64url; anything else is thrown away.
fn nonce_in(headers: &HeaderMap) -> Option<String> {
    let nonce = headers.get("replay-nonce")?.to_str().ok()?;
    let is_base64url = nonce.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    (is_base64url && (1..=CA_NONCE_BYTES_MAX).contains(&nonce.len())).then(|| nonce.to_owned())
}

/// The given roots alone, else those of the web.
fn roots(pem: Option<&[u8]>) -> Result<RootCertStore, SettingsError> {
    let mut roots = RootCertStore::empty();
    match pem {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|cause| SettingsError::Root(cause.to_string()))?;
                roots.add(certificate).map_err(|cause| SettingsError::Root(cause.to_string()))?;
            }
            if roots.is_empty() {
                return Err(SettingsError::Root("there is none in it".to_owned()));
            }
        }
    }
    Ok(roots)
}

/// The pause that an answer asks for between two looks, if it is a time span.
pub(super) fn pause_in(headers: &HeaderMap) -> Option<Duration> {
    match super::RetryAfter::of(headers) {
        Some(super::RetryAfter::In(time)) => Some(time),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let directory = "https://ca.example/dir".to_owned();
        Session::new(&Settings { directory, ..Settings::default() }, AccountKey::generate().unwrap()).unwrap()
    }

    fn refusal(settings: &Settings) -> String {
        Session::new(settings, AccountKey::generate().unwrap()).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn the_default_is_production() {
        assert_eq!(Settings::default().directory, "https://acme-v02.api.letsencrypt.org/directory");
    }

    #[test]
    fn settings_that_cannot_work_are_refused_with_the_remedy() {
        let directory = "http://ca.example/dir".to_owned();
        let settings = Settings { directory, ..Settings::default() };
        assert_eq!(refusal(&settings), "\"http://ca.example/dir\" is no directory of a CA: give an https address");
        for root in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let directory = "https://ca.example/dir".to_owned();
            let settings = Settings { directory, root: Some(root.into()), ..Settings::default() };
            assert!(refusal(&settings).starts_with("the root of the CA holds no certificate"), "{root}");
        }
    }

    /// RFC 8555, 6.2: exactly one of `jwk` and `kid`.
    #[test]
    fn a_signature_names_the_key_or_the_account() {
        let session = session();
        for (signer, field, other) in [(Signer::Key, "jwk", "kid"), (Signer::Account("https://a"), "kid", "jwk")] {
            let body: Value = serde_json::from_str(&session.signed("https://b", signer, "n", "{}").unwrap()).unwrap();
            let head = BASE64_URL_SAFE_NO_PAD.decode(body["protected"].as_str().unwrap()).unwrap();
            let head: Value = serde_json::from_slice(&head).unwrap();
            assert_eq!(
                (&head["alg"], &head["nonce"], &head["url"]),
                (&json!("ES256"), &json!("n"), &json!("https://b"))
            );
            assert!(head.get(field).is_some() && head.get(other).is_none(), "{head}");
            assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(body["signature"].as_str().unwrap()).unwrap().len(), 64);
        }
    }

    #[test]
    fn nonces_are_kept_within_bounds_and_judged() {
        let session = session();
        let with = |nonce: &str| HeaderMap::from_iter([("replay-nonce".parse().unwrap(), nonce.parse().unwrap())]);
        for number in 0..=CA_NONCES_KEPT {
            session.keep_nonce(&with(&format!("n{number}")));
        }
        assert_eq!(session.nonces().len(), CA_NONCES_KEPT);
        assert_eq!(session.nonces().first().unwrap().1, "n1", "the oldest goes");
        assert!(nonce_in(&with(&"a".repeat(CA_NONCE_BYTES_MAX))).is_some());
        for nonce in ["", "a b", "a\"b", &"a".repeat(CA_NONCE_BYTES_MAX + 1)] {
            assert_eq!(nonce_in(&with(nonce)), None, "{nonce}");
        }
        assert_eq!(nonce_in(&HeaderMap::new()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn new_nonces_are_spaced() {
        let (session, begin) = (session(), Instant::now());
        for _ in 0..19 {
            session.wait_for_turn().await;
        }
        assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
    }
}
