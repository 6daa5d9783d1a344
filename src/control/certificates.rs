//! What the server must be told about certificates, by whoever keeps them: it knows nothing else of them.

use crate::domain::Domain;

/// Who keeps certificates. Neither call may wait.
pub trait Certificates: Send {
    /// Shows the names behind `after`, sorted by their bytes, until `see` has enough and says `false`.
    fn page_after(&self, after: Option<&Domain>, see: &mut dyn FnMut(&Domain, Standing<'_>) -> bool);

    /// Somebody wants this name tried now. `false`: too many such wishes wait.
    fn retry(&self, domain: &Domain) -> bool;
}

/// Where a name stands with its certificate. Times are seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    /// In one word of lower-case letters; `docs/PROTOCOL.md` has them all.
    pub state: &'a str,
    /// When the certificate that serves ends.
    pub until: Option<u64>,
    /// When something will be done.
    pub next: Option<u64>,
    /// Why, for people; may be empty.
    pub reason: &'a str,
}
