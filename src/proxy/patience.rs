//! How long the data plane waits for its clients: figures only, passed in.
//!
//! The defaults are those of [`limits`](crate::limits) and hold everywhere but in tests, which cannot wait for a minute.

use std::time::Duration;

use crate::limits::{HEAD_WAIT, KEEP_ALIVE, LINGER, PROGRESS_BYTES_PER_SECOND, PROGRESS_WINDOW, SWEEP};

/// The time limits of client connections (behaviour, section 12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A request head must be complete this long after its first byte (B132).
    pub head: Duration,
    /// A connection without a request is kept this long (B133).
    pub keep_alive: Duration,
    /// The window in which a client must make progress while hotcore waits for it (B136, B137).
    pub window: Duration,
    /// Bytes per second, on average over the window, that count as progress (B151).
    pub bytes_per_second: u64,
    /// The limits above are looked at this often (B152).
    pub sweep: Duration,
    /// The rest of an upload is thrown away this long after an early answer (B98).
    pub linger: Duration,
}

impl Patience {
    /// Bytes that count as progress in one window.
    pub(super) fn window_bytes(&self) -> u64 {
        let millis = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX);
        self.bytes_per_second.saturating_mul(millis) / 1000
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: HEAD_WAIT,
            keep_alive: KEEP_ALIVE,
            window: PROGRESS_WINDOW,
            bytes_per_second: PROGRESS_BYTES_PER_SECOND,
            sweep: SWEEP,
            linger: LINGER,
        }
    }
}
