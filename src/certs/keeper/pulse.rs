//! That the loop turns, and that it is told to stop.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{select, sync::watch, time::sleep};

use crate::limits;

/// The loop's side of both.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    beats: Arc<AtomicU64>,
    stop: watch::Receiver<bool>,
    pace: Duration,
}

impl Pulse {
    /// It beats at least once every `pace`.
    pub(super) fn new(beats: Arc<AtomicU64>, stop: watch::Receiver<bool>, pace: Duration) -> Self {
        Self { beats, stop, pace }
    }

    pub(super) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Resolves one beat from now on.
    pub(super) async fn pause(&self) {
        sleep(self.pace).await;
    }

    /// Whether it is told to stop. That nobody can say so any more is as good as the word.
    pub(super) fn is_told(&self) -> bool {
        *self.stop.borrow() || self.stop.has_changed().is_err()
    }

    /// Resolves when it is told to stop.
    pub(super) async fn told(&self) {
        let _ = self.stop.clone().wait_for(|is_told| *is_told).await;
    }

    /// Waits for something as long as it takes, and beats meanwhile.
    pub(super) async fn while_it_takes<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        self.beat();
        loop {
            select! {
                biased;
                result = &mut future => return result,
                () = self.pause() => self.beat(),
            }
        }
    }

    /// Waits for something and beats meanwhile. `None`: it is told to stop, and has waited as long as it may.
    pub(super) async fn patiently<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        let over = async {
            self.told().await;
            sleep(limits::KEEPER_STOP_WAIT).await;
        };
        let either = async {
            select! {
                biased;
                result = future => Some(result),
                () = over => None,
            }
        };
        self.while_it_takes(either).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B213.
    #[tokio::test(start_paused = true)]
    async fn it_beats_while_it_waits_and_waits_no_longer_than_it_may() {
        let (stop, stopped) = watch::channel(false);
        let beats = Arc::new(AtomicU64::new(0));
        let pulse = Pulse::new(Arc::clone(&beats), stopped, Duration::from_secs(1));
        assert_eq!(pulse.patiently(async { sleep(Duration::from_secs(10)).await }).await, Some(()));
        assert!((10..=11).contains(&beats.load(Ordering::Relaxed)));
        assert!(!pulse.is_told());
        stop.send_replace(true);
        let begin = tokio::time::Instant::now();
        assert_eq!(pulse.patiently(std::future::pending::<()>()).await, None);
        assert_eq!(begin.elapsed(), limits::KEEPER_STOP_WAIT);
        assert_eq!(pulse.patiently(async { 7 }).await, Some(7), "what is there is taken");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_who_could_say_stop_is_as_good_as_the_word() {
        let (stop, stopped) = watch::channel(false);
        let pulse = Pulse::new(Arc::default(), stopped, Duration::from_secs(1));
        drop(stop);
        pulse.told().await;
        assert!(pulse.is_told());
    }
}
