//! What the control server has done, counted: for `status`, and for whoever looks for a lost datagram. What a stranger can
//! cause is counted instead of logged (B219).

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a datagram was dropped without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// The sender is not on loopback (B187, invariant 6).
    NotLoopback,
    /// It did not come in on the loopback interface, whatever its sender says (B187, invariant 6).
    OtherInterface,
    /// The sender's port is 0 or our own (B188).
    OwnPort,
    /// It begins with one of our own reply words (B188).
    ReplyWord,
    /// It has no byte (B177).
    Empty,
}

/// Counts since the start; any thread may read them.
#[derive(Debug, Default)]
pub struct Counters {
    received: AtomicU64,
    not_loopback: AtomicU64,
    other_interface: AtomicU64,
    own_port: AtomicU64,
    reply_word: AtomicU64,
    empty: AtomicU64,
    replies_lost: AtomicU64,
    socket_errors: AtomicU64,
    commits: AtomicU64,
    save_failures: AtomicU64,
    waiting: AtomicU64,
}

impl Counters {
    /// Datagrams read.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Datagrams dropped for this reason.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.drops(reason).load(Ordering::Relaxed)
    }

    /// Datagrams dropped in all.
    pub fn dropped_in_all(&self) -> u64 {
        [Dropped::NotLoopback, Dropped::OtherInterface, Dropped::OwnPort, Dropped::ReplyWord, Dropped::Empty]
            .into_iter()
            .map(|reason| self.dropped(reason))
            .sum()
    }

    /// Replies that the kernel did not take: the client's socket is gone or full (B186).
    pub fn replies_lost(&self) -> u64 {
        self.replies_lost.load(Ordering::Relaxed)
    }

    /// Errors of receiving that concern one datagram or one moment.
    pub fn socket_errors(&self) -> u64 {
        self.socket_errors.load(Ordering::Relaxed)
    }

    /// Commits that were asked of the disk; many changes share one (B182).
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Commits that failed.
    pub fn save_failures(&self) -> u64 {
        self.save_failures.load(Ordering::Relaxed)
    }

    /// Changes that wait for the disk at this moment, those of the commit in flight included.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn count_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_drop(&self, reason: Dropped) {
        self.drops(reason).fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_reply_lost(&self) {
        self.replies_lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_socket_error(&self) {
        self.socket_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_save_failure(&self) {
        self.save_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note_waiting(&self, changes: usize) {
        self.waiting.store(changes as u64, Ordering::Relaxed);
    }

    fn drops(&self, reason: Dropped) -> &AtomicU64 {
        match reason {
            Dropped::NotLoopback => &self.not_loopback,
            Dropped::OtherInterface => &self.other_interface,
            Dropped::OwnPort => &self.own_port,
            Dropped::ReplyWord => &self.reply_word,
            Dropped::Empty => &self.empty,
        }
    }
}
