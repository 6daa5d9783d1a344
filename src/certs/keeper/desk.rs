//! The CA's store, asked off the loop: a slow or dead disk holds up nobody but who waits for it.

use std::{io, sync::Arc};

use tokio::{sync::Mutex, task::spawn_blocking};

use crate::certs::store::Store;

/// One store, one request at a time. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Desk(Arc<Mutex<Store>>);

impl Desk {
    pub(super) fn new(store: Store) -> Self {
        Self(Arc::new(Mutex::new(store)))
    }

    /// Resolves when nothing is done there.
    pub(super) async fn free(&self) {
        drop(self.0.lock().await);
    }

    /// Does `act` on a thread that may block. Dropped half way it is done all the same, before the next one; the error says that it
    /// panicked.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> io::Result<T> {
        let mut store = Arc::clone(&self.0).lock_owned().await;
        spawn_blocking(move || act(&mut store)).await.map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_done_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::new(Store::open(folder.path()).unwrap());
        let (begun, has_begun) = std::sync::mpsc::channel::<()>();
        let (go, going) = std::sync::mpsc::channel::<()>();
        let (said, mut sayings) = tokio::sync::mpsc::unbounded_channel();
        let other = said.clone();
        let first = desk.ask(move |_| {
            begun.send(()).unwrap();
            going.recv().unwrap();
            said.send(1).unwrap();
        });
        let mut first = Box::pin(first);
        assert!(futures_are_pending(&mut first).await);
        has_begun.recv().unwrap();
        drop(first);
        go.send(()).unwrap();
        desk.ask(move |_| other.send(2).unwrap()).await.unwrap();
        assert_eq!((sayings.recv().await, sayings.recv().await), (Some(1), Some(2)));
        assert!(desk.ask(|_| panic!("a bug, made for this test")).await.is_err());
        assert!(desk.ask(|_| ()).await.is_ok(), "and goes on");
    }

    async fn futures_are_pending<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
