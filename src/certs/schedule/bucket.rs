//! A token bucket in one number: the moment at which it will be full again (the generic cell rate algorithm, ITU-T I.371).
//!
//! It needs no clock of its own, loses nothing by rounding, and is one line on disk.

use std::time::Duration;

/// How much a bucket holds and how fast it fills.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Tokens in a full bucket.
    pub(super) capacity: u64,
    /// Seconds until one more token is there.
    pub(super) every: u64,
}

impl Shape {
    pub(super) const fn new(capacity: u64, every: Duration) -> Self {
        Self { capacity, every: every.as_secs() }
    }
}

/// When the bucket is full again, in seconds of the budget's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bucket(pub(super) u64);

impl Bucket {
    pub(super) const FULL: Self = Self(0);
    /// Empty from the moment on at which [`Bucket::clamp`] is told the time.
    pub(super) const LOST: Self = Self(u64::MAX);

    /// When a token is there; in the past if one is there already.
    pub(super) fn next(self, shape: Shape) -> u64 {
        self.0.saturating_sub(shape.capacity.saturating_sub(1).saturating_mul(shape.every))
    }

    /// Takes a token, whether it is there or not: what was counted wrongly once is paid for later.
    pub(super) fn spend(&mut self, shape: Shape, now: u64) {
        self.0 = self.0.max(now).saturating_add(shape.every);
    }

    /// Gives a token back that was not needed after all.
    pub(super) fn refund(&mut self, shape: Shape) {
        self.0 = self.0.saturating_sub(shape.every);
    }

    /// Emptier than empty is a clock that was wrong, or a file that was lost.
    pub(super) fn clamp(&mut self, shape: Shape, now: u64) {
        self.0 = self.0.min(now.saturating_add(shape.capacity.saturating_mul(shape.every)));
    }

    /// The same level in a bucket that fills at another pace.
    pub(super) fn change_pace(&mut self, from: u64, to: u64, now: u64) {
        let missing = u128::from(self.0.saturating_sub(now)) * u128::from(to) / u128::from(from.max(1));
        self.0 = now.saturating_add(u64::try_from(missing).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { capacity: 4, every: 10 };

    #[test]
    fn a_full_bucket_gives_its_capacity_at_once_and_then_one_at_a_time() {
        let mut bucket = Bucket::FULL;
        for _ in 0..4 {
            assert!(bucket.next(SHAPE) <= 1_000);
            bucket.spend(SHAPE, 1_000);
        }
        assert_eq!(bucket.next(SHAPE), 1_010, "one past its capacity waits");
        bucket.spend(SHAPE, 1_010);
        assert_eq!(bucket.next(SHAPE), 1_020);
        bucket.refund(SHAPE);
        assert_eq!(bucket.next(SHAPE), 1_010);
    }

    #[test]
    fn a_lost_bucket_is_empty_and_no_emptier() {
        let mut bucket = Bucket::LOST;
        bucket.clamp(SHAPE, 500);
        assert_eq!((bucket, bucket.next(SHAPE)), (Bucket(540), 510));
        bucket.clamp(SHAPE, 500);
        assert_eq!(bucket, Bucket(540));
    }

    #[test]
    fn another_pace_keeps_the_level() {
        let mut bucket = Bucket(1_030);
        bucket.change_pace(10, 2, 1_000);
        assert_eq!(bucket, Bucket(1_006));
        let mut full = Bucket(3);
        full.change_pace(10, 2, 1_000);
        assert_eq!(full.next(Shape { capacity: 4, every: 2 }), 994);
    }

    #[test]
    fn no_figure_overflows() {
        let shape = Shape { capacity: u64::MAX, every: u64::MAX };
        let mut bucket = Bucket::LOST;
        bucket.spend(shape, u64::MAX);
        bucket.clamp(shape, u64::MAX);
        bucket.change_pace(0, u64::MAX, 0);
        assert_eq!(bucket, Bucket(u64::MAX));
        bucket.refund(shape);
        assert_eq!(bucket.next(shape), 0);
    }
}
