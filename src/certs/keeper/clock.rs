//! The two clocks of the schedule, from the wall's and the runtime's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::Instant;

use crate::certs::schedule::Now;

/// What the time is, by either clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    wall: fn() -> SystemTime,
    begin: Instant,
}

impl Clock {
    /// The steady clock begins now.
    pub(super) fn new(wall: fn() -> SystemTime) -> Self {
        Self { wall, begin: Instant::now() }
    }

    pub(super) fn now(&self) -> Now {
        Now { wall: self.wall(), steady: self.begin.elapsed().as_secs() }
    }

    /// Seconds since 1970.
    pub(super) fn wall(&self) -> u64 {
        seconds((self.wall)())
    }

    /// The CA's time, where its clock differs from ours by `difference` seconds.
    pub(super) fn at_the_ca(&self, difference: i64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.wall().saturating_add_signed(difference))
    }
}

/// Seconds since 1970; 0 for anything before.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// As people read it: RFC 3339, UTC.
pub(super) fn shown(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "a time far off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_one_way() {
        assert_eq!(shown(1_767_323_045), "2026-01-02T03:04:05Z");
        assert_eq!((shown(0), shown(u64::MAX)), ("1970-01-01T00:00:00Z".to_owned(), "a time far off".to_owned()));
        assert_eq!(seconds(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_steady_clock_is_that_of_the_runtime() {
        let clock = Clock::new(|| UNIX_EPOCH + Duration::from_secs(100));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.now(), Now { wall: 100, steady: 7 });
        assert_eq!(seconds(clock.at_the_ca(-30)), 70);
    }
}
