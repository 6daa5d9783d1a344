//! The tasks of a connection's streams: one each, on this worker.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    sync::atomic::Ordering,
    task::Poll,
};

use hyper::rt::Executor;
use tokio::task::spawn_local;

use super::streams::Streams;
use crate::proxy::Proxy;

/// What the server gives the work of each stream to.
#[derive(Clone)]
pub(super) struct Tasks {
    pub(super) proxy: Rc<Proxy>,
    pub(super) streams: Rc<Streams>,
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Tasks {
    /// The server calls the service, which opens the stream, and then this, with nothing in between.
    fn execute(&self, work: F) {
        let (proxy, place) = (self.proxy.clone(), self.streams.take_place());
        spawn_local(async move {
            let mut work = pin!(work);
            poll_fn(|cx| {
                if let Some(place) = &place {
                    place.stream.attach(cx.waker());
                    if place.stream.is_killed() {
                        return Poll::Ready(());
                    }
                }
                // A bug met by one stream ends that stream alone (B212).
                catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))).unwrap_or_else(|_| {
                    proxy.totals.panics.fetch_add(1, Ordering::Relaxed);
                    Poll::Ready(())
                })
            })
            .await;
        });
    }
}
