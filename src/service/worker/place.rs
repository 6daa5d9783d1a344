//! A worker's place among the others: which of them takes a fresh connection, and whether there is room for it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};

use super::{Inbox, Seat};
use crate::{
    limits::{ACCEPT_PAUSE, ACCEPTS_PER_TURN, DESCRIPTORS_RESERVED},
    proxy::{Door, Proxy, ProxyTotals},
};

/// A worker's place among the others.
pub(super) struct Place {
    pub(super) index: usize,
    pub(super) seats: Arc<[Seat]>,
    pub(super) totals: Arc<ProxyTotals>,
    pub(super) inboxes: Arc<[Inbox]>,
    pub(super) connections_max: usize,
    /// Connections that were accepted and wait for room; one for each listener at most.
    pub(super) waiting: RefCell<VecDeque<(TcpStream, SocketAddr, Door)>>,
    pub(super) stopped: Cell<bool>,
}

impl Place {
    /// Tells the others how many connections this worker has.
    pub(super) fn note(&self, connections: usize) {
        if let Some(seat) = self.seats.get(self.index) {
            seat.connections.store(connections, Ordering::Relaxed);
        }
    }

    /// Shows that this worker looks at its listening sockets.
    fn note_accept(&self) {
        if let Some(seat) = self.seats.get(self.index) {
            seat.accepts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The worker that a fresh connection goes to, if this one has more than a quarter above its share.
    fn emptier(&self, own: usize) -> Option<usize> {
        let all: usize = self.seats.iter().map(|seat| seat.connections.load(Ordering::Relaxed)).sum();
        // A few connections more or less are no imbalance.
        if own < 4 || own * self.seats.len() * 4 <= all * 5 {
            return None;
        }
        let (index, _) =
            self.seats.iter().enumerate().min_by_key(|(_, seat)| seat.connections.load(Ordering::Relaxed))?;
        (index != self.index).then_some(index)
    }
}

/// Accepts until an error that cannot pass: that error (B155).
pub(super) async fn accept(listener: TcpListener, door: Door, proxy: Rc<Proxy>, place: Rc<Place>) -> io::Error {
    loop {
        for _ in 0..ACCEPTS_PER_TURN {
            let accepted = listener.accept().await;
            place.note_accept();
            match accepted {
                Ok((stream, peer)) => {
                    // Kept where a drain finds it: this task ends as soon as that begins.
                    place.waiting.borrow_mut().push_back((stream, peer, door));
                    make_room(&proxy, &place).await;
                    let first = place.waiting.borrow_mut().pop_front();
                    if let Some((stream, peer, door)) = first {
                        admit(stream, peer, door, &proxy, &place);
                    }
                }
                Err(error) => match classify(&error) {
                    AcceptError::Passing => {}
                    AcceptError::Exhausted => {
                        tracing::warn!(%error, "cannot accept connections for want of descriptors or memory, pausing");
                        sleep(ACCEPT_PAUSE).await;
                    }
                    AcceptError::Fatal => return error,
                },
            }
        }
        // A burst must not land on one worker.
        tokio::task::yield_now().await;
    }
}

/// At the cap the longest idle connection makes room; else this one waits, and those behind it wait in the kernel's queue
/// (B154).
async fn make_room(proxy: &Proxy, place: &Place) {
    while place.totals.connections.load(Ordering::Relaxed) >= place.connections_max {
        if !proxy.close_longest_idle() {
            tracing::warn!(connections = place.connections_max, "too many connections, new ones wait");
        }
        place.note_accept();
        // One that ends elsewhere is not noticed here at once.
        let _ = timeout(ACCEPT_PAUSE, proxy.departure()).await;
    }
}

fn admit(stream: TcpStream, peer: SocketAddr, door: Door, proxy: &Rc<Proxy>, place: &Place) {
    let own = proxy.connections();
    place.note(own);
    if let Some(other) = place.emptier(own)
        && let Some(inbox) = place.inboxes.get(other)
        && !inbox.is_closed()
    {
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "cannot pass a connection on"),
        };
        // Counted there at once, or all of a burst would go to one whose count is old.
        if let Some(seat) = place.seats.get(other) {
            seat.connections.fetch_add(1, Ordering::Relaxed);
        }
        // A worker that drains this very moment takes no more.
        if let Err(mpsc::error::SendError((stream, peer, door))) = inbox.send((stream, peer, door))
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            proxy.serve(stream, peer, door);
        }
        return;
    }
    place.note(own + 1);
    proxy.serve(stream, peer, door);
}

#[derive(Debug, PartialEq, Eq)]
enum AcceptError {
    /// One connection's trouble: the next may be well.
    Passing,
    /// No descriptor or memory: pause.
    Exhausted,
    /// The listener is broken.
    Fatal,
}

/// accept(2): "already-pending network errors on the new socket" are an error of accept on Linux.
fn classify(error: &io::Error) -> AcceptError {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(
            Errno::ECONNABORTED
            | Errno::EPROTO
            | Errno::ENETDOWN
            | Errno::ENOPROTOOPT
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::EHOSTUNREACH
            | Errno::EOPNOTSUPP
            | Errno::ENETUNREACH
            | Errno::EPERM
            | Errno::ECONNRESET
            | Errno::ETIMEDOUT
            | Errno::EINTR,
        ) => AcceptError::Passing,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => AcceptError::Exhausted,
        _ => AcceptError::Fatal,
    }
}

/// Each request may need a second socket, hence half of what RLIMIT_NOFILE leaves (B154).
pub(super) fn connections_max() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(limit.saturating_sub(DESCRIPTORS_RESERVED) / 2).unwrap_or(usize::MAX).max(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B155.
    #[test]
    fn accept_errors_are_sorted_by_what_follows_from_them() {
        let sorted = |errno: Errno| classify(&io::Error::from_raw_os_error(errno as i32));
        assert_eq!(sorted(Errno::ECONNABORTED), AcceptError::Passing);
        assert_eq!(sorted(Errno::ENETUNREACH), AcceptError::Passing);
        assert_eq!(sorted(Errno::EMFILE), AcceptError::Exhausted);
        assert_eq!(sorted(Errno::ENOMEM), AcceptError::Exhausted);
        assert_eq!(sorted(Errno::EBADF), AcceptError::Fatal);
        assert_eq!(sorted(Errno::EINVAL), AcceptError::Fatal);
    }
}
