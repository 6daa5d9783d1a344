//! The proofs that a name is served here, and the seam to those who show them to the CA.

use std::{fmt, future::Future, net::SocketAddr, sync::Arc};

use rustls_acme::acme;
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::{domain::Domain, limits::CA_TOKEN_BYTES_MAX};

use super::failure::{Cause, Failure, Step};

/// A kind of challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChallengeKind {
    /// A certificate shown on port 443 under the protocol `acme-tls/1` (RFC 8737).
    TlsAlpn01,
    /// A text on port 80 under `/.well-known/acme-challenge/` (RFC 8555, 8.3).
    Http01,
}

impl ChallengeKind {
    /// The one to try after this one has failed.
    pub fn other(self) -> Self {
        match self {
            Self::TlsAlpn01 => Self::Http01,
            Self::Http01 => Self::TlsAlpn01,
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TlsAlpn01 => "TLS-ALPN-01",
            Self::Http01 => "HTTP-01",
        })
    }
}

/// What the CA wants to see. `Debug` shows no secret (B218).
#[derive(Clone)]
pub enum Answer {
    /// For a TLS handshake that offers `acme-tls/1` alone.
    Tls {
        /// The certificate to show.
        certificate: Arc<CertifiedKey>,
    },
    /// For a GET of `/.well-known/acme-challenge/<token>`.
    Http {
        /// The last part of the path: letters, digits, `-` and `_`.
        token: String,
        /// The body, as `application/octet-stream`.
        key_authorization: String,
    },
}

impl Answer {
    /// To the challenge of this kind among those offered; with the URL that tells the CA to look.
    pub(super) fn to(
        account: &acme::Account,
        offered: &[acme::Challenge],
        kind: ChallengeKind,
        domain: &Domain,
    ) -> Result<(String, Self), Failure> {
        let wanted = match kind {
            ChallengeKind::TlsAlpn01 => acme::ChallengeType::TlsAlpn01,
            ChallengeKind::Http01 => acme::ChallengeType::Http01,
        };
        let offer = offered.iter().find(|challenge| challenge.typ == wanted);
        let offer = offer.ok_or_else(|| Failure::new(Step::Authorization, Cause::ChallengeNotOffered(kind)))?;
        if !is_token(&offer.token) {
            return Err(Failure::answer(Step::Authorization, "a challenge without a proper token"));
        }
        // Keys and random numbers can fail to be made; nothing else can go wrong here.
        let failed = |cause: acme::AcmeError| Failure::new(Step::Authorization, Cause::NotServed(cause.to_string()));
        let (challenge, answer) = match kind {
            ChallengeKind::TlsAlpn01 => {
                let (challenge, certificate) =
                    account.tls_alpn_01(offered, domain.as_str().to_owned()).map_err(failed)?;
                (challenge, Self::Tls { certificate: Arc::new(certificate) })
            }
            ChallengeKind::Http01 => {
                let (challenge, key_authorization) = account.http_01(offered).map_err(failed)?;
                (challenge, Self::Http { token: offer.token.clone(), key_authorization })
            }
        };
        Ok((challenge.url.clone(), answer))
    }

    /// Which kind of challenge it answers.
    pub fn kind(&self) -> ChallengeKind {
        match self {
            Self::Tls { .. } => ChallengeKind::TlsAlpn01,
            Self::Http { .. } => ChallengeKind::Http01,
        }
    }

    /// What must not be shown; empty if there is nothing.
    pub(super) fn secret(&self) -> &str {
        match self {
            Self::Tls { .. } => "",
            Self::Http { key_authorization, .. } => key_authorization,
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// Those who show answers to the CA.
pub trait Challenges {
    /// Puts an answer in place, and waits until every worker gives it. The CA asks from several places and several times, so it
    /// stays until [`Challenges::withdraw`].
    fn publish(&self, domain: &Domain, answer: &Answer) -> impl Future<Output = Result<(), String>>;

    /// Takes it away again: also when the order was given up half way.
    fn withdraw(&self, domain: &Domain, answer: &Answer);

    /// Where on this machine answers of this kind are given, for a look before the CA's; nothing if that cannot be told.
    fn front(&self, kind: ChallengeKind) -> Option<SocketAddr> {
        let _ = kind;
        None
    }
}

/// An answer in place; dropped, it is taken away.
pub(super) struct Published<'a, C: Challenges> {
    challenges: &'a C,
    domain: &'a Domain,
    answer: Answer,
}

impl<'a, C: Challenges> Published<'a, C> {
    pub(super) fn new(challenges: &'a C, domain: &'a Domain, answer: Answer) -> Self {
        Self { challenges, domain, answer }
    }

    pub(super) async fn publish(&self) -> Result<(), String> {
        self.challenges.publish(self.domain, &self.answer).await
    }

    pub(super) fn answer(&self) -> &Answer {
        &self.answer
    }
}

impl<C: Challenges> Drop for Published<'_, C> {
    fn drop(&mut self) {
        self.challenges.withdraw(self.domain, &self.answer);
    }
}

/// RFC 8555, 8.3: the alphabet of base64url; so it is safe as a part of a path.
fn is_token(text: &str) -> bool {
    (1..=CA_TOKEN_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_base64url() {
        for token in ["a", "Az09-_", &"a".repeat(CA_TOKEN_BYTES_MAX)] {
            assert!(is_token(token), "{token}");
        }
        for token in ["", "a/b", "..", "a b", "a\r\n", "ä", &"a".repeat(CA_TOKEN_BYTES_MAX + 1)] {
            assert!(!is_token(token), "{token}");
        }
    }

    #[test]
    fn the_kinds_alternate() {
        assert_eq!(ChallengeKind::TlsAlpn01.other(), ChallengeKind::Http01);
        assert_eq!(ChallengeKind::Http01.other(), ChallengeKind::TlsAlpn01);
    }

    /// B218.
    #[test]
    fn an_answer_shows_no_secret() {
        let answer = Answer::Http { token: "token".into(), key_authorization: "token.thumb".into() };
        assert!(!format!("{answer:?}").contains("token"), "{answer:?}");
    }
}
