//! What the schedule is told, and what it says.

use std::time::Duration;

use crate::domain::Domain;

/// How the CA is shown that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// In the handshake on the HTTPS port (RFC 8737).
    TlsAlpn01,
    /// A file on the HTTP port (RFC 8555, 8.3).
    Http01,
}

impl Challenge {
    /// The one to try after this one failed.
    pub fn other(self) -> Self {
        match self {
            Self::TlsAlpn01 => Self::Http01,
            Self::Http01 => Self::TlsAlpn01,
        }
    }
}

/// Tells an order from another one for the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderId(pub(super) u64);

/// Where a certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Ordered from the CA by this schedule: it is renewed.
    Issued,
    /// Given by a person: nothing is ever ordered over it.
    Own,
}

/// A certificate that serves. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Valid from.
    pub not_before: u64,
    /// Valid until.
    pub not_after: u64,
    /// Whose it is.
    pub origin: Origin,
}

/// Something happened. A name that the schedule does not know makes an event mean nothing, [`Event::Mapped`] and
/// [`Event::Held`] apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// There is a rule for this name. Again: nothing changes (B173).
    Mapped(Domain),
    /// The rule is gone. An order under way ends, everything known about the name is kept.
    Unmapped(Domain),
    /// Somebody wants this site now: a handshake or a request, seen by a worker.
    Asked(Domain),
    /// This certificate serves now; `None`: none does any more (both generations damaged, an own one taken away).
    Held(Domain, Option<Held>),
    /// A person wants a try at once.
    Retry(Domain),
    /// The answer to [`Decision::LookUp`].
    LookedUp {
        /// The name.
        domain: Domain,
        /// A hash of the sorted addresses; `None` if there is none.
        addresses: Option<u64>,
    },
    /// The end of [`Decision::Start`].
    Ended {
        /// The name.
        domain: Domain,
        /// As given at its start.
        order: OrderId,
        /// What came of it.
        outcome: Outcome,
    },
    /// The answer to [`Decision::ReadDirectory`].
    Directory {
        /// The CA's clock (`Date`), seconds since 1970, where it shows one.
        date: Option<u64>,
        /// Whether it offers renewal information (RFC 9773).
        offers_windows: bool,
    },
    /// [`Decision::ReadDirectory`] failed.
    DirectoryFailed,
    /// The answer to [`Decision::ReadWindow`].
    Window {
        /// The name.
        domain: Domain,
        /// When the CA wants it renewed, from and until; `None` if it did not say, or could not be asked.
        window: Option<(u64, u64)>,
        /// When it wants to be asked again.
        again: Option<Duration>,
    },
    /// The answer to [`Decision::Register`]: whether the CA knows the account again.
    Registered(bool),
}

/// What came of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A certificate was issued; whether it could also be stored is not the schedule's.
    Issued {
        /// It, as [`Held::not_before`].
        not_before: u64,
        /// It, as [`Held::not_after`].
        not_after: u64,
        /// The challenge that convinced the CA; `None` if it asked for none.
        proved_by: Option<Challenge>,
    },
    /// No certificate.
    Failed {
        /// Whose fault.
        failure: Failure,
        /// How far the CA may have come.
        reached: Reached,
        /// For people; kept to [`crate::limits::REASON_BYTES_MAX`].
        reason: String,
    },
}

/// How far the CA may have come with an order that failed. What it has counted against us follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// It was not asked to look at the site.
    Order,
    /// It may have looked at the site, and counted a failure.
    Site,
    /// It was asked to sign, and may have done so.
    Signature,
}

/// Whose fault a failed order is. `until`: not before this time, as the CA says it (`Retry-After`, or in its text), in
/// seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The CA's, or the way's to it: unreachable, silent, 5xx, nonsense.
    Ca {
        /// See above.
        until: Option<u64>,
    },
    /// Ours: a limit was met that the buckets should have kept.
    RateLimited {
        /// What it holds.
        scope: Scope,
        /// See above.
        until: Option<u64>,
    },
    /// The site's: the challenge failed, for whatever cause (a wrong address, a closed port, a CAA record …).
    Site {
        /// See above.
        until: Option<u64>,
    },
    /// The name's: this CA will not sign it.
    Name,
    /// The CA does not know the account (any more).
    AccountUnknown,
    /// The CA wants a person to act on the account.
    AccountStopped,
    /// The state folder cannot be written. Nothing was asked of the CA.
    NotStored,
    /// The same, seen when the order was under way: what it has spent stays spent.
    NotKept,
    /// The order was given up on purpose: the process ends or passes on, or what is left of an interrupted order is worth
    /// nothing.
    GivenUp,
}

/// What a limit of the CA holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All new names.
    Account,
    /// All new names that end in this one.
    Registered(Domain),
    /// The name alone: its certificates, or its failures.
    Name,
    /// The name alone, until a person lifts it at the CA.
    Paused,
    /// The text says nothing that we understand: as [`Scope::Account`].
    Unknown,
}

/// Something to do, in the background; each is answered by an event, however long it takes.
///
/// Before any of them is done, [`super::Schedule::unsaved`] must be on disk: if it cannot be, each `Start` is answered with
/// [`Failure::NotStored`] and nothing is asked of the CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Read the CA's directory, by a request that shows its clock.
    ReadDirectory,
    /// Register the account's key again: the CA forgot it. Never a new key.
    Register,
    /// Ask the name service for the addresses of this name.
    LookUp(Domain),
    /// Order a certificate.
    Start {
        /// For this name alone.
        domain: Domain,
        /// To be given back with the end.
        order: OrderId,
        /// To be tried, if the CA asks for one.
        challenge: Challenge,
    },
    /// End this order now; no event follows.
    Abandon {
        /// The name.
        domain: Domain,
        /// As given at its start.
        order: OrderId,
    },
    /// Ask the CA when it wants the certificate of this name renewed.
    ReadWindow(Domain),
}
