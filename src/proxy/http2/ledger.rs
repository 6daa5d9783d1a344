//! What the frames of a client cost, against what they bring: floods are told from work (B120, B123).
//!
//! h2 bounds what a peer can make it keep. What it leaves open is the time that a worker spends on frames which bring nothing
//! forward, and on streams that are opened to be cancelled. Pure: frames and time come in.

use super::frames::{Frame, Kind};
use crate::limits::{
    HTTP2_BYTES_PER_IDLE_FRAME, HTTP2_CANCELLED_MAX, HTTP2_IDLE_FRAMES_MAX, HTTP2_IDLE_FRAMES_PER_FRAME,
};

/// The account of one connection.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    /// So many frames that bring nothing may still come.
    allowed: u32,
    /// Streams that the client has opened, and those of them that it has cancelled.
    opened: u64,
    cancelled: u64,
    /// The highest of their numbers.
    last: u32,
}

/// Why a connection is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    /// Frames that bring nothing forward (B123).
    IdleFrames,
    /// Streams that are opened to be cancelled (B120).
    CancelledStreams,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { allowed: HTTP2_IDLE_FRAMES_MAX, opened: 0, cancelled: 0, last: 0 }
    }

    /// The highest number of a stream.
    pub(super) fn last_stream(&self) -> u32 {
        self.last
    }

    /// A frame of the client.
    pub(super) fn came(&mut self, frame: Frame) -> Result<(), Flood> {
        match frame.kind {
            Kind::Headers if frame.stream > self.last => {
                self.last = frame.stream;
                self.opened += 1;
                self.earn(HTTP2_IDLE_FRAMES_PER_FRAME);
                Ok(())
            }
            Kind::Data if frame.length > 0 => {
                self.earn(1);
                Ok(())
            }
            // The usual end of a body; there is one of them for each stream.
            Kind::Data if frame.ends_stream() => Ok(()),
            Kind::ResetStream => {
                self.cancelled += 1;
                if self.cancelled > HTTP2_CANCELLED_MAX && self.cancelled > self.opened / 2 {
                    return Err(Flood::CancelledStreams);
                }
                self.spend()
            }
            _ => self.spend(),
        }
    }

    /// A frame to the client: it may answer, by opening its windows and by measuring with pings.
    pub(super) fn went(&mut self, frame: Frame) {
        // What acknowledges SETTINGS is our answer to a frame that brings nothing, and earns nothing (CVE-2019-9515).
        let is_work = match frame.kind {
            Kind::Data | Kind::Headers => true,
            Kind::Settings => !frame.is_acknowledgement(),
            _ => false,
        };
        if is_work {
            self.earn(HTTP2_IDLE_FRAMES_PER_FRAME + frame.length / HTTP2_BYTES_PER_IDLE_FRAME);
        }
    }

    /// Time passes, in which so many may come.
    pub(super) fn earn(&mut self, frames: u32) {
        self.allowed = self.allowed.saturating_add(frames).min(HTTP2_IDLE_FRAMES_MAX);
    }

    fn spend(&mut self) -> Result<(), Flood> {
        self.allowed = self.allowed.checked_sub(1).ok_or(Flood::IdleFrames)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: Kind, stream: u32, length: u32, flags: u8) -> Frame {
        Frame { length, kind, flags, stream }
    }

    /// B123: at the limit and one past it.
    #[test]
    fn frames_that_bring_nothing_are_counted() {
        for idle in [
            frame(Kind::Other, 0, 8, 0),
            frame(Kind::Settings, 0, 0, 0),
            frame(Kind::Data, 1, 0, 0),
            frame(Kind::Continuation, 1, 0, 0),
            frame(Kind::Headers, 0, 5, 0),
        ] {
            let mut ledger = Ledger::new();
            for _ in 0..HTTP2_IDLE_FRAMES_MAX {
                ledger.came(idle).unwrap();
            }
            assert_eq!(ledger.came(idle), Err(Flood::IdleFrames), "{idle:?}");
            ledger.earn(1);
            ledger.came(idle).unwrap();
            assert_eq!(ledger.came(idle), Err(Flood::IdleFrames), "{idle:?}");
        }
    }

    /// B123: a client that opens both windows for each 4 KiB of an answer, and pings for each frame.
    #[test]
    fn a_download_pays_for_its_windows() {
        let mut ledger = Ledger::new();
        for _ in 0..10_000 {
            ledger.went(frame(Kind::Data, 1, 16 * 1024, 0));
            for _ in 0..9 {
                ledger.came(frame(Kind::Other, 1, 4, 0)).unwrap();
            }
        }
    }

    /// B123: CVE-2019-9515.
    #[test]
    fn what_we_must_acknowledge_earns_nothing() {
        let mut ledger = Ledger::new();
        for _ in 0..HTTP2_IDLE_FRAMES_MAX {
            ledger.came(frame(Kind::Settings, 0, 6, 0)).unwrap();
            ledger.went(frame(Kind::Settings, 0, 0, 1));
        }
        assert_eq!(ledger.came(frame(Kind::Settings, 0, 6, 0)), Err(Flood::IdleFrames));
        ledger.went(frame(Kind::Settings, 0, 6, 0));
        ledger.came(frame(Kind::Settings, 0, 6, 0)).unwrap();
    }

    #[test]
    fn what_is_saved_has_its_limit() {
        let mut ledger = Ledger::new();
        (0..100_000).for_each(|n| ledger.came(frame(Kind::Headers, 2 * n + 1, 10, 5)).unwrap());
        assert_eq!((ledger.allowed, ledger.last_stream()), (HTTP2_IDLE_FRAMES_MAX, 199_999));
    }

    /// B120: at the limit and one past it; and half of all is not more than half.
    #[test]
    fn cancelled_streams_are_counted() {
        let mut ledger = Ledger::new();
        let open = |ledger: &mut Ledger| {
            let id = ledger.last + 2;
            ledger.came(frame(Kind::Headers, id, 10, 5)).unwrap();
        };
        let cancel = |ledger: &mut Ledger| ledger.came(frame(Kind::ResetStream, ledger.last, 4, 0));
        for _ in 0..HTTP2_CANCELLED_MAX {
            open(&mut ledger);
            cancel(&mut ledger).unwrap();
        }
        open(&mut ledger);
        assert_eq!(cancel(&mut ledger), Err(Flood::CancelledStreams));

        let mut ledger = Ledger::new();
        for _ in 0..10 * HTTP2_CANCELLED_MAX {
            open(&mut ledger);
            open(&mut ledger);
            cancel(&mut ledger).unwrap();
        }
        assert_eq!(cancel(&mut ledger), Err(Flood::CancelledStreams));
    }
}
