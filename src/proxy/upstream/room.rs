//! Room for connections to backends: with those of clients they have so many descriptors (B41, B154).
//!
//! A client of HTTP/2 has many requests at a time, each of which may need a connection. What is kept back for state, logs and
//! control stays free only if all of them are counted.

use std::sync::{Arc, atomic::Ordering};

use crate::proxy::ProxyTotals;

/// One connection's, until it is dropped.
#[derive(Debug)]
pub(super) struct Room(Arc<ProxyTotals>);

impl Room {
    /// `None`: nothing is left.
    pub(super) fn take(totals: &Arc<ProxyTotals>) -> Option<Self> {
        // Counted first: of two who come for the last room both may go without, but never do both get it.
        let backends = totals.backends.fetch_add(1, Ordering::Relaxed) + 1;
        let room = Self(totals.clone());
        let sockets = totals.connections.load(Ordering::Relaxed).saturating_add(backends);
        (sockets <= totals.sockets_max).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.backends.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B154: at the limit and one past it.
    #[test]
    fn clients_and_backends_share_it() {
        let totals = Arc::new(ProxyTotals::with_sockets(3));
        totals.connections.store(1, Ordering::Relaxed);
        let first = Room::take(&totals).unwrap();
        let _second = Room::take(&totals).unwrap();
        assert!(Room::take(&totals).is_none());
        drop(first);
        assert!(Room::take(&totals).is_some());
        assert_eq!(totals.backends.load(Ordering::Relaxed), 1);
    }
}
