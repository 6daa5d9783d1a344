//! Progress of one direction of a connection, measured only while hotcore waits for the client.
//!
//! Pure: time comes in as figures. An idle limit alone would let one byte a minute hold a backend for ever, a total time
//! would cut honest uploads; so what counts is the average rate over a window of waiting (B151).

use std::time::Duration;

use crate::limits::{PROGRESS_BYTES_PER_SECOND, PROGRESS_WINDOW};

/// Bytes and waiting time since the window began.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    waited: Duration,
    bytes: u64,
}

impl Progress {
    /// Notes bytes that the client sent or took.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Notes that hotcore waited for the client for `time` more. True when the client is too slow to be waited for.
    pub(crate) fn wait(&mut self, time: Duration) -> bool {
        self.waited += time;
        if self.waited < PROGRESS_WINDOW {
            return false;
        }
        let enough = PROGRESS_BYTES_PER_SECOND * PROGRESS_WINDOW.as_secs();
        let stalled = self.bytes < enough;
        *self = Self::default();
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOUGH: u64 = 240 * 60;

    /// B136, B137, section 12: 240 B/s over 60 s of waiting, at the limit and one below it.
    #[test]
    fn the_average_rate_over_the_window_decides() {
        let mut progress = Progress::default();
        progress.add(ENOUGH as usize);
        assert!(!progress.wait(PROGRESS_WINDOW), "exactly enough");
        progress.add(ENOUGH as usize - 1);
        assert!(progress.wait(PROGRESS_WINDOW), "one byte short");
    }

    #[test]
    fn nothing_is_decided_before_the_window_is_over() {
        let mut progress = Progress::default();
        assert!(!progress.wait(PROGRESS_WINDOW - Duration::from_millis(1)));
        assert!(progress.wait(Duration::from_millis(1)));
    }

    #[test]
    fn each_window_begins_anew() {
        let mut progress = Progress::default();
        progress.add(10 * ENOUGH as usize);
        assert!(!progress.wait(PROGRESS_WINDOW));
        assert!(progress.wait(PROGRESS_WINDOW), "a fast start does not pay for a later stall");
    }
}
