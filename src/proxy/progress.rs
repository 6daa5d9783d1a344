//! Progress of one direction of a connection, measured only while hotcore waits for the client.
//!
//! Pure: time comes in as figures. An idle limit alone would let one byte a minute hold a backend for ever, a total time
//! would cut honest uploads; so what counts is the average rate over a window of waiting (B151).

use std::{cell::Cell, time::Duration};

use super::patience::Patience;

/// Bytes and waiting time since the window began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    waited: Duration,
    bytes: u64,
}

impl Progress {
    /// Notes bytes that hotcore has waited for: what was sent or taken before the waiting is no progress in it.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Notes that hotcore waited for the client for one sweep more. True when the client is too slow to be waited for.
    pub(crate) fn wait(&mut self, patience: &Patience) -> bool {
        self.waited += patience.sweep;
        if self.waited < patience.window {
            return false;
        }
        let stalled = self.bytes < patience.window_bytes();
        *self = Self::default();
        stalled
    }
}

/// Notes bytes on a shared account.
pub(crate) fn count(progress: &Cell<Progress>, bytes: usize) {
    let mut value = progress.get();
    value.add(bytes);
    progress.set(value);
}

/// One sweep's worth of waiting on a shared account. True when the client is too slow.
pub(crate) fn tick(progress: &Cell<Progress>, patience: &Patience) -> bool {
    let mut value = progress.get();
    let stalled = value.wait(patience);
    progress.set(value);
    stalled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{PROGRESS_WINDOW, SWEEP};

    const ENOUGH: usize = 240 * 60;

    /// A whole window in one step.
    const WINDOW: Patience =
        Patience { window: PROGRESS_WINDOW, bytes_per_second: 240, sweep: PROGRESS_WINDOW, ..Patience::DEFAULT };

    /// B136, B137, section 12: 240 B/s over 60 s of waiting, at the limit and one below it.
    #[test]
    fn the_average_rate_over_the_window_decides() {
        let mut progress = Progress::default();
        progress.add(ENOUGH);
        assert!(!progress.wait(&WINDOW), "exactly enough");
        progress.add(ENOUGH - 1);
        assert!(progress.wait(&WINDOW), "one byte short");
    }

    #[test]
    fn nothing_is_decided_before_the_window_is_over() {
        let mut progress = Progress::default();
        let sweeps = PROGRESS_WINDOW.as_millis() / SWEEP.as_millis();
        for _ in 1..sweeps {
            assert!(!progress.wait(&Patience::default()));
        }
        assert!(progress.wait(&Patience::default()));
    }

    #[test]
    fn each_window_begins_anew() {
        let mut progress = Progress::default();
        progress.add(10 * ENOUGH);
        assert!(!progress.wait(&WINDOW));
        assert!(progress.wait(&WINDOW), "a fast start does not pay for a later stall");
    }
}
