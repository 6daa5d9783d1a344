//! The thread that owns the journal: it makes changes durable, one commit at a time, while the control loop goes on reading.

use std::{
    io,
    sync::mpsc,
    thread::{Builder, JoinHandle},
};

use tokio::sync::oneshot;

use crate::routes::{Change, Commit, SaveError, Table};

/// What a commit came to: the changes, and whether they are on disk.
pub(super) type Saved = (Vec<Change>, Result<(), SaveError>);

/// The running thread.
pub(super) struct Saver {
    jobs: mpsc::Sender<Job>,
    thread: JoinHandle<Box<dyn Commit>>,
}

struct Job {
    changes: Vec<Change>,
    table: Table,
    saved: oneshot::Sender<Saved>,
}

impl Saver {
    pub(super) fn start(mut commit: Box<dyn Commit>) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = Builder::new().name("commit".to_owned()).spawn(move || {
            for Job { changes, table, saved } in inbox {
                let result = commit.commit(&changes, &table);
                // Nobody waits any more if the control loop was dropped.
                let _ = saved.send((changes, result));
            }
            commit
        })?;
        Ok(Self { jobs, thread })
    }

    /// Asks for a commit. The receiver fails if the thread has ended, which only a panic in the journal can bring about.
    pub(super) fn save(&self, changes: Vec<Change>, table: Table) -> oneshot::Receiver<Saved> {
        let (saved, receiver) = oneshot::channel();
        // If nobody takes the job, its sender goes with it, and the receiver says so.
        let _ = self.jobs.send(Job { changes, table, saved });
        receiver
    }

    /// Ends the thread and gives the journal back; `None` if it has panicked. Waits for a commit in flight.
    pub(super) fn stop(self) -> Option<Box<dyn Commit>> {
        drop(self.jobs);
        self.thread.join().ok()
    }
}
