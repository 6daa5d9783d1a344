//! How long each part of an order may take.

use std::time::Duration;

use tokio::time::Instant;

use crate::limits::{CA_ISSUANCE_WAIT, CA_ORDER_WAIT, CA_POLL_AFTER, CA_STEP_WAIT, CA_VALIDATION_WAIT, REHEARSAL_WAIT};

/// The figures of `limits.rs`, smaller in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// One request: name look-up, connection, answer.
    pub step: Duration,
    /// A whole order.
    pub order: Duration,
    /// The CA looks at our answer to its challenge.
    pub validation: Duration,
    /// The CA signs.
    pub issuance: Duration,
    /// Our own look at the answer before the CA is asked to look.
    pub rehearsal: Duration,
    /// Pauses between two looks at an authorisation or an order; the last one repeats.
    pub poll: [Duration; 5],
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            step: CA_STEP_WAIT,
            order: CA_ORDER_WAIT,
            validation: CA_VALIDATION_WAIT,
            issuance: CA_ISSUANCE_WAIT,
            rehearsal: REHEARSAL_WAIT,
            poll: CA_POLL_AFTER,
        }
    }
}

/// When the order as a whole must be done; a part of it never waits beyond that.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub(super) fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// The same, or earlier.
    pub(super) fn within(self, time: Duration) -> Self {
        Self(self.0.min(Instant::now() + time))
    }

    pub(super) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_never_waits_longer_than_the_whole() {
        let whole = Deadline::after(Duration::from_secs(10));
        assert_eq!(whole.within(Duration::from_secs(3)).left(), Duration::from_secs(3));
        assert_eq!(whole.within(Duration::from_secs(30)).left(), Duration::from_secs(10));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(whole.left(), Duration::ZERO);
    }
}
