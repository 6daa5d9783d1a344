//! Names whose rule was added, removed or replaced, for one who acts on it in its own time.
//!
//! Only names are kept, each once: whoever takes them reads in the table what holds now. So nothing is lost, nothing comes twice,
//! and what waits is bounded by the number of names. Never here: an order of changes, a wait on the writer's side.

use std::{
    collections::HashSet,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::domain::Domain;

/// Both ends: clones share the names.
#[derive(Debug, Clone, Default)]
pub struct Touched(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    names: Mutex<HashSet<Domain>>,
    arrived: Notify,
}

impl Touched {
    /// Notes a name; to be called after its change is visible.
    pub fn note(&self, domain: &Domain) {
        self.0.names.lock().unwrap_or_else(PoisonError::into_inner).insert(domain.clone());
        self.0.arrived.notify_one();
    }

    /// The names noted since the last call.
    pub fn take(&self) -> HashSet<Domain> {
        mem::take(&mut *self.0.names.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Resolves when there may be names to take; for one reader.
    pub async fn arrived(&self) {
        self.0.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_noted_often_is_taken_once() {
        let touched = Touched::default();
        let reader = touched.clone();
        let domain = Domain::parse("a.com").unwrap();
        touched.note(&domain);
        touched.note(&domain);
        reader.arrived().await;
        assert_eq!(reader.take(), HashSet::from([domain]));
        assert!(reader.take().is_empty());
    }
}
