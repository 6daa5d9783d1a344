//! Certificates of local names: the one place where they come from (B223).

use std::fmt;

use crate::domain::Domain;

/// Who makes certificates for local names.
pub trait LocalIssuer: fmt::Debug + Send + Sync {
    /// A new one for this name, key and chain in PEM; the error is one line for people, with the remedy. It may block for some
    /// seconds; it is called on a thread of its own, for one name at a time, and only for names that have a rule (B224).
    fn issue(&self, domain: &Domain) -> Result<Vec<u8>, String>;
}
