//! The account: its key, made before anything is sent, and its registration (RFC 8555, 7.3).

use std::{error::Error, fmt, sync::PoisonError};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use http::header;
use rustls_acme::acme;
use serde_json::{Value, json};

use super::{
    Acme,
    ca::{self, Directory},
    failure::{AccountFault, Cause, Failure, Step},
    patience::Deadline,
    problem::Problem,
    session::Signer,
};

/// An account's private key, ECDSA P-256. Making one contacts nobody, so that it can be durable before its first use (B199).
/// `Debug` shows nothing of it (B218).
pub struct AccountKey {
    pkcs8: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl AccountKey {
    /// A new one.
    pub fn generate() -> Result<Self, KeyError> {
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Self::from_pkcs8(made.map_err(|_| KeyError)?.as_ref())
    }

    /// One that was kept.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(|_| KeyError)?;
        Ok(Self { pkcs8: pkcs8.to_vec(), pair })
    }

    /// The bytes to keep: PKCS#8 in DER (RFC 5958). Secret.
    pub fn as_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
        let signature = self.pair.sign(&SystemRandom::new(), bytes).map_err(|_| "the account's key does not sign")?;
        Ok(signature.as_ref().to_vec())
    }

    /// The public half as a JWK (RFC 7518, 6.2).
    pub(super) fn public(&self) -> Value {
        // 0x04, then the two coordinates (SEC 1, 2.3.3).
        let point = self.pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at(point.len() / 2);
        let encode = |bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y) })
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountKey").finish_non_exhaustive()
    }
}

/// The bytes are no ECDSA P-256 key, or none could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyError;

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this is not an ECDSA P-256 key in PKCS#8")
    }
}

impl Error for KeyError {}

/// An account as the CA knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Its URL: to be kept beside the key.
    pub url: String,
    /// Whether it was made just now.
    pub is_new: bool,
}

impl Acme {
    /// Finds the account of our key at the CA without making one (`onlyReturnExisting`, RFC 8555, 7.3.1).
    pub async fn find(&self) -> Result<Option<Registration>, Failure> {
        match self.find_or_create(true).await {
            Ok(found) => Ok(Some(found)),
            Err(Failure { cause: Cause::Account { fault: AccountFault::Unknown, .. }, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The account's URL, if it is known.
    pub fn account_url(&self) -> Option<String> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The CA does not know it any more: the same key must be registered again.
    pub(super) fn forget_account(&self) {
        *self.account.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) async fn find_or_create(&self, only_existing: bool) -> Result<Registration, Failure> {
        let found = self.post_account(only_existing).await;
        match &found {
            Ok(found) => *self.account.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.url.clone()),
            Err(failure) => self.learn_from(failure),
        }
        found
    }

    async fn post_account(&self, only_existing: bool) -> Result<Registration, Failure> {
        let deadline = Deadline::after(self.session.patience.step * 3);
        let urls = self.directory(deadline).await?.urls;
        let payload = match only_existing {
            true => json!({ "onlyReturnExisting": true }),
            false => match &self.session.contact {
                Some(contact) => json!({ "termsOfServiceAgreed": true, "contact": [contact_url(contact)] }),
                None => json!({ "termsOfServiceAgreed": true }),
            },
        };
        let (step, payload) = (Step::Account, payload.to_string());
        let reply =
            self.session.post(step, &urls.new_nonce, &urls.new_account, Signer::Key, &payload, deadline).await?;
        let url = reply.headers.get(header::LOCATION).and_then(|url| url.to_str().ok());
        let url = url.ok_or_else(|| Failure::answer(step, "no URL of the account in it"))?.to_owned();
        // RFC 8555, 7.1.2: an account that is not valid may do nothing.
        let status = serde_json::from_slice::<Value>(&reply.body).ok();
        let status = status.as_ref().and_then(|account| account.get("status")).and_then(Value::as_str);
        match status.unwrap_or("valid") {
            "valid" => Ok(Registration { url, is_new: ca::is_new(reply.status) }),
            other => {
                let problem = Problem::new("", &format!("its status is {other}"));
                Err(Failure::new(step, Cause::Account { fault: AccountFault::Unauthorized, problem }))
            }
        }
    }

    /// The account as the crate wants it, for the answers to challenges.
    pub(super) fn account(&self, directory: &Directory) -> Result<acme::Account, Failure> {
        let failed =
            |fault, why: &str| Failure::new(Step::Account, Cause::Account { fault, problem: Problem::new("", why) });
        let kid = self.account_url().ok_or_else(|| failed(AccountFault::Unknown, "not registered yet"))?;
        let key_pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, self.session.key.as_pkcs8())
            .map_err(|_| failed(AccountFault::Key, "not a key"))?;
        Ok(acme::Account { key_pair, directory: directory.urls.clone(), kid })
    }
}

/// A mail address becomes a URL (RFC 8555, 7.1.2).
fn contact_url(contact: &str) -> String {
    if contact.contains(':') { contact.to_owned() } else { format!("mailto:{contact}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_being_kept() {
        let key = AccountKey::generate().unwrap();
        let again = AccountKey::from_pkcs8(key.as_pkcs8()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_ne!(AccountKey::generate().unwrap().public(), key.public());
    }

    /// B199: a damaged file is not an account that does not exist.
    #[test]
    fn a_damaged_key_is_refused() {
        let key = AccountKey::generate().unwrap();
        let whole = key.as_pkcs8();
        for damaged in [&[][..], b"-----BEGIN", &whole[1..], &whole[..whole.len() - 1]] {
            assert_eq!(AccountKey::from_pkcs8(damaged).map(drop), Err(KeyError));
        }
    }

    /// B218.
    #[test]
    fn a_key_is_not_shown() {
        assert_eq!(format!("{:?}", AccountKey::generate().unwrap()), "AccountKey { .. }");
    }

    #[test]
    fn a_contact_is_a_url() {
        assert_eq!(contact_url("a@b.example"), "mailto:a@b.example");
        assert_eq!(contact_url("mailto:a@b.example"), "mailto:a@b.example");
    }
}
