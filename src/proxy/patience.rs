//! How long the data plane waits for its clients: figures only, passed in.
//!
//! The defaults are those of [`limits`](crate::limits) and hold everywhere but in tests, which cannot wait for a minute.

use std::time::Duration;

use crate::limits::{
    HEAD_WAIT, HTTP2_GOAWAY_WAIT, HTTP2_KEEP_ALIVE, HTTP2_PING_AFTER, HTTP2_PING_WAIT, HTTP2_PREFACE_WAIT, KEEP_ALIVE,
    LINGER, PROGRESS_BYTES_PER_SECOND, PROGRESS_WINDOW, SWEEP,
};

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
    /// Preface and SETTINGS of HTTP/2 must have come so long after the handshake (B131).
    pub http2_preface: Duration,
    /// A connection of HTTP/2 without a stream is kept this long (B134).
    pub http2_keep_alive: Duration,
    /// After so much silence a client of HTTP/2 gets a ping (B135) ...
    pub http2_ping_after: Duration,
    /// ... and must show life within this time (B135).
    pub http2_ping_wait: Duration,
    /// A connection of HTTP/2 that was told to end, and does nothing more, is ended after this time (B127).
    pub http2_goaway: Duration,
}

impl Patience {
    /// The figures of [`limits`](crate::limits).
    pub const DEFAULT: Self = Self {
        head: HEAD_WAIT,
        keep_alive: KEEP_ALIVE,
        window: PROGRESS_WINDOW,
        bytes_per_second: PROGRESS_BYTES_PER_SECOND,
        sweep: SWEEP,
        linger: LINGER,
        http2_preface: HTTP2_PREFACE_WAIT,
        http2_keep_alive: HTTP2_KEEP_ALIVE,
        http2_ping_after: HTTP2_PING_AFTER,
        http2_ping_wait: HTTP2_PING_WAIT,
        http2_goaway: HTTP2_GOAWAY_WAIT,
    };

    /// Bytes that count as progress in one window.
    pub(super) fn window_bytes(&self) -> u64 {
        let millis = u64::try_from(self.window.as_millis()).unwrap_or(u64::MAX);
        self.bytes_per_second.saturating_mul(millis) / 1000
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::DEFAULT
    }
}
