//! The thread of the keeper.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::Builder,
};

use tokio::{
    runtime,
    sync::{oneshot, watch},
    task::LocalSet,
};

use crate::{certs::issuer::Acme, limits, routes::Touched};

use super::{Keeper, pulse::Pulse, work::Work};

/// A keeper at work. Dropped, it stops.
#[derive(Debug)]
pub struct Keeping {
    stop: watch::Sender<bool>,
    end: oneshot::Receiver<Keeper>,
    beats: Arc<AtomicU64>,
}

impl Keeping {
    pub(super) fn start(keeper: Keeper, touched: Touched) -> io::Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let (ending, end) = oneshot::channel();
        let beats = Arc::new(AtomicU64::new(0));
        let pulse = Pulse::new(Arc::clone(&beats), stopped, limits::HEARTBEAT);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(limits::KEEPER_THREADS_MAX)
            .thread_name("certs-disk-dns")
            .build()?;
        Builder::new().name("certificates".into()).spawn(move || {
            let ca = keeper.settings.ca.clone().unwrap_or_default();
            let keeper = LocalSet::new().block_on(&runtime, async move {
                let make = Box::new(move |key, url| Acme::new(&ca, key, url));
                Box::pin(Work::new(keeper, touched, pulse, make).run()).await
            });
            let _ = ending.send(keeper);
            runtime.shutdown_timeout(limits::KEEPER_THREADS_WAIT);
        })?;
        Ok(Self { stop, end, beats })
    }

    /// Tells it to stop: orders that can be resumed later are, the others are given up, and what has to be written is written.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Resolves when it has stopped, with the keeper at rest; an error: its thread has ended by itself, which must never happen.
    /// Cancel safe; not to be asked again after an answer.
    pub async fn ended(&mut self) -> Result<Keeper, String> {
        (&mut self.end).await.map_err(|_| "its thread panicked".to_owned())
    }

    /// How often its loop has turned (B213).
    pub fn heartbeat(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }
}
