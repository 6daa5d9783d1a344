//! The log: what an operator should know, on its way from any thread to the journal or to a file.
//!
//! Never here: a wait. Threads that serve put a record into a bounded queue, or count it as dropped; one thread of its own
//! writes (B221). Text from outside is escaped and cut when the record is made (B216), lines that repeat are counted instead
//! of written, and the rate is bounded (B219).
//!
//! Where it goes: under systemd to the journal, by its native protocol, with the event's fields as journal fields; else to
//! `hotcore.log` in the state folder, and to stderr where that is a terminal.

mod file;
mod gate;
mod journald;
mod layer;
mod record;
mod writer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use self::writer::{Item, Writer};
use crate::limits;

pub use self::{layer::LogLayer, writer::Sinks};

/// File name of the log in the state folder.
pub const FILE_NAME: &str = "hotcore.log";

/// Where the log goes; shown by `status` and read by `hotcore log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// systemd's journal.
    Journal,
    /// A file, bounded by rotating once.
    File(PathBuf),
}

impl Place {
    /// The journal where `journal_stream` (the variable JOURNAL_STREAM, systemd.exec(5)) names what stderr is connected to, else
    /// the file in the state folder.
    pub fn choose(journal_stream: Option<&str>, state: &Path) -> Self {
        if journald::is_stderr(journal_stream) { Self::Journal } else { Self::File(state.join(FILE_NAME)) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal => f.write_str("journal"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// The queue and, once started, the thread that empties it.
#[derive(Debug)]
pub struct Log {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
    waiting: Option<Writer>,
    thread: Option<JoinHandle<()>>,
}

impl Log {
    /// Makes the queue. Records wait in it until [`Log::start`]: capabilities belong to threads, so there is none yet.
    pub fn new(sinks: Sinks) -> Self {
        let (sender, receiver): (_, Receiver<Item>) = sync_channel(limits::LOG_QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let writer = Writer::new(sinks, receiver, Arc::clone(&dropped));
        Self { sender, dropped, waiting: Some(writer), thread: None }
    }

    /// What puts events into the queue; for `tracing_subscriber::registry().with(…)`.
    pub fn layer(&self, level: tracing::Level) -> LogLayer {
        LogLayer::new(level, self.sender.clone(), Arc::clone(&self.dropped))
    }

    /// Starts the thread that writes.
    pub fn start(&mut self) -> io::Result<()> {
        if let Some(writer) = self.waiting.take() {
            self.thread = Some(Builder::new().name("log".into()).spawn(move || writer.run())?);
        }
        Ok(())
    }

    /// Records lost so far because their queue was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes what waits, `deadline` at most: a stuck sink does not keep the process from ending.
    pub fn flush(&mut self, deadline: Duration) {
        if let Some(writer) = self.waiting.as_mut() {
            writer.write_waiting();
            return;
        }
        let (done, is_done) = sync_channel(1);
        // A full queue means a stuck sink: then these lines are lost, as they would be anyway.
        if self.sender.try_send(Item::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        sync::{
            Mutex,
            mpsc::{Sender, channel},
        },
    };

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Shared {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// A sink whose writes last until the test lets them go.
    struct Stuck(Receiver<()>, Sender<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.1.send(());
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_event_becomes_one_line_with_its_fields_b216() {
        let out = Shared::default();
        let mut log = Log::new(Sinks::text(None, Some(Box::new(out.clone()))));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log.layer(tracing::Level::INFO)), || {
            tracing::warn!(target: "hotcore::proxy", domain = "a.com", port = 8080, "backend\nrefused");
            tracing::debug!(target: "hotcore::proxy", "not shown");
            tracing::info!(target: "hyper::proto", "not shown");
            tracing::warn!(target: "rustls::server", sni = "x", "not shown (B218)");
            tracing::warn!(target: "hyper::proto", "shown");
        });
        log.start().unwrap();
        log.flush(Duration::from_secs(10));
        let text = out.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        let (time, rest) = lines[0].split_at(24);
        assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T' && time.as_bytes()[19] == b'.', "{time}");
        let process = std::process::id();
        assert_eq!(rest, format!(" {process} WARN backend\\nrefused domain=a.com port=8080"));
    }

    #[test]
    fn lines_wait_for_the_thread_and_are_written_without_it_at_the_end() {
        let out = Shared::default();
        let mut log = Log::new(Sinks::text(None, Some(Box::new(out.clone()))));
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(log.layer(tracing::Level::INFO)),
            || tracing::info!(target: "hotcore", "early"),
        );
        assert_eq!(out.text(), "");
        log.flush(Duration::ZERO);
        assert!(out.text().ends_with(" INFO early\n"), "{}", out.text());
    }

    #[test]
    fn a_stuck_sink_blocks_nobody_and_what_is_lost_is_counted_b221() {
        let (go, gate) = channel();
        let (stuck, is_stuck) = channel();
        let mut log = Log::new(Sinks::text(None, Some(Box::new(Stuck(gate, stuck)))));
        log.start().unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(log.layer(tracing::Level::INFO)), || {
            tracing::info!(target: "hotcore", "first");
            is_stuck.recv_timeout(Duration::from_secs(10)).unwrap();
            for number in 0..limits::LOG_QUEUE_MAX {
                tracing::info!(target: "hotcore", number, "line");
            }
            assert_eq!(log.dropped(), 0, "the queue holds LOG_QUEUE_MAX");
            tracing::info!(target: "hotcore", "one past the limit");
            assert_eq!(log.dropped(), 1);
        });
        log.flush(Duration::from_millis(10));
        drop(go);
    }

    #[test]
    fn the_journal_is_chosen_only_where_stderr_is_connected_to_it() {
        let state = Path::new("/state");
        let file = Place::File(PathBuf::from("/state/hotcore.log"));
        for variable in [None, Some(""), Some("1"), Some("1:x"), Some("0:0")] {
            assert_eq!(Place::choose(variable, state), file, "{variable:?}");
        }
        let stderr = nix::sys::stat::fstat(io::stderr()).unwrap();
        assert_eq!(Place::choose(Some(&format!("{}:{}", stderr.st_dev, stderr.st_ino)), state), Place::Journal);
        assert_eq!(file.to_string(), "/state/hotcore.log");
        assert_eq!(Place::Journal.to_string(), "journal");
    }
}
