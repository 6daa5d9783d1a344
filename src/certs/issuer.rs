//! Orders at a certificate authority (RFC 8555): an account, a name and a kind of challenge in, a certificate out.
//!
//! [`Acme`] makes one attempt when it is asked to and says what came of it; when to try, and how often, is the schedule's. Keys,
//! challenge answers and the CA's objects are those of `rustls_acme::acme`. Its requests are not used: they have no time limit,
//! read bodies without end into memory and drop `Retry-After`. `client` makes them instead, `session` signs them.
//!
//! Never here: a clock on the wall, a file, a log line (the caller has the whole [`Failure`] and decides), a private key or a key
//! authorisation in any text (B218), a wait without a limit.

mod account;
mod ca;
mod challenge;
mod client;
mod failure;
mod issued;
mod order;
mod patience;
mod problem;
mod rehearsal;
mod renewal;
mod session;

use std::{future::Future, sync::Mutex};

use tokio::time::Instant;

pub use account::{AccountKey, KeyError, Registration};
pub use ca::{Directory, Offer};
pub use challenge::{Answer, ChallengeKind, Challenges};
pub use client::Reply;
pub use failure::{AccountFault, Blame, Cause, Failure, Limit, Step};
pub use issued::Issued;
pub use order::{NewOrder, PendingOrder, PendingOrders};
pub use patience::Patience;
pub use problem::{Problem, RetryAfter};
pub use renewal::{CertificateId, RenewalWindow};
pub use session::{Settings, SettingsError};

use session::Session;

/// Let's Encrypt itself, the default (RFC 8555, 7.1.1). Its staging directory is for tests by hand.
pub const LETS_ENCRYPT: &str = rustls_acme::acme::LETS_ENCRYPT_PRODUCTION_DIRECTORY;

/// What the schedule's driver asks for; a test may put a script in its place.
pub trait Issuer {
    /// Finds the account of our key at the CA, or creates it there. The key must be durable before this is called (B199). Asking
    /// again with the same key gives the same account, so any failure may simply be repeated.
    fn register(&self) -> impl Future<Output = Result<Registration, Failure>>;

    /// Reads the CA's directory anew: its clock, and what it offers. It needs no account.
    fn read_directory(&self) -> impl Future<Output = Result<Offer, Failure>>;

    /// Orders one certificate. The account must be known.
    ///
    /// A dropped future leaves nothing published. What it has written with `pending` can be given to [`Issuer::resume`].
    fn issue(
        &self,
        order: &NewOrder,
        challenges: &impl Challenges,
        pending: &impl PendingOrders,
    ) -> impl Future<Output = Result<Issued, Failure>>;

    /// Finishes an order that had come as far as its certificate request when it was interrupted. [`Cause::OrderLost`] means that
    /// nothing can come of it any more.
    fn resume(&self, pending: &PendingOrder) -> impl Future<Output = Result<Issued, Failure>>;

    /// When the CA wants this certificate renewed (RFC 9773); nothing if it offers no such information.
    fn renewal_window(
        &self,
        certificate: &CertificateId,
    ) -> impl Future<Output = Result<Option<RenewalWindow>, Failure>>;
}

/// An account at a CA.
pub struct Acme {
    session: Session,
    directory: Mutex<Option<(Instant, Directory)>>,
    account: Mutex<Option<String>>,
}

impl Acme {
    /// Contacts nobody. `account` is the account's URL if it is known from an earlier registration with this key at this
    /// directory.
    pub fn new(settings: &Settings, key: AccountKey, account: Option<String>) -> Result<Self, SettingsError> {
        Ok(Self { session: Session::new(settings, key)?, directory: Mutex::new(None), account: Mutex::new(account) })
    }

    /// The name of the certificate authority's machine, for people.
    pub fn authority(&self) -> &str {
        self.session.authority()
    }
}

impl Issuer for Acme {
    async fn register(&self) -> Result<Registration, Failure> {
        self.find_or_create(false).await
    }

    async fn read_directory(&self) -> Result<Offer, Failure> {
        self.offer().await
    }

    async fn issue(
        &self,
        order: &NewOrder,
        challenges: &impl Challenges,
        pending: &impl PendingOrders,
    ) -> Result<Issued, Failure> {
        // On the heap: the future of a whole order is large.
        Box::pin(self.order(order, challenges, pending)).await
    }

    async fn resume(&self, pending: &PendingOrder) -> Result<Issued, Failure> {
        Box::pin(self.finish(pending)).await
    }

    async fn renewal_window(&self, certificate: &CertificateId) -> Result<Option<RenewalWindow>, Failure> {
        self.window(certificate).await
    }
}
