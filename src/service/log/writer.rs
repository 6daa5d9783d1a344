//! The thread that writes: takes records from the queue, asks the gate, and puts them where they belong.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender},
    },
    time::{Instant, SystemTime},
};

use tracing::Level;

use super::{
    Place,
    file::RotatingFile,
    gate::{Gate, Verdict},
    journald::Journald,
    record::Record,
};
use crate::limits;

/// What is in the queue.
#[derive(Debug)]
pub(super) enum Item {
    Record(Record),
    /// Everything before it is to be written; then this is answered.
    Flush(SyncSender<()>),
}

/// Where lines end.
pub struct Sinks {
    journal: Option<Journald>,
    file: Option<RotatingFile>,
    stream: Option<Box<dyn Write + Send>>,
    buffer: Vec<u8>,
    /// Whose lines they are; the journal knows by itself.
    process: u32,
    lost: u64,
}

impl Sinks {
    /// The sinks of the running service: `place`, and stderr where it is a terminal.
    pub fn open(place: &Place) -> Self {
        match place {
            Place::Journal => match Journald::open() {
                Ok(journal) => Self { journal: Some(journal), ..Self::text(None, None) },
                // stderr leads to the journal as well, without the fields.
                Err(_) => Self::text(None, Some(Box::new(io::stderr()))),
            },
            Place::File(path) => {
                let terminal = io::stderr().is_terminal();
                let stream = terminal.then(|| Box::new(io::stderr()) as Box<dyn Write + Send>);
                Self::text(Some(RotatingFile::new(path.clone(), limits::LOG_FILE_BYTES_MAX)), stream)
            }
        }
    }

    /// Lines into a file, a stream, or both.
    pub(super) fn text(file: Option<RotatingFile>, stream: Option<Box<dyn Write + Send>>) -> Self {
        Self { journal: None, file, stream, buffer: Vec::new(), process: std::process::id(), lost: 0 }
    }

    fn write(&mut self, record: &Record, text: &str) {
        if let Some(journal) = &self.journal {
            self.lost += u64::from(journal.send(record, text).is_err());
            return;
        }
        record.line(self.process, text, &mut self.buffer);
        if self.buffer.len() >= limits::LOG_BUFFER_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let mut is_kept = false;
        if let Some(file) = &mut self.file {
            is_kept |= file.append(&self.buffer).is_ok();
        }
        if let Some(stream) = &mut self.stream {
            is_kept |= stream.write_all(&self.buffer).and_then(|()| stream.flush()).is_ok();
        } else if !is_kept {
            // No file (disk full, folder gone): better on stderr than nowhere.
            is_kept = io::stderr().write_all(&self.buffer).is_ok();
        }
        if !is_kept {
            self.lost += self.buffer.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
        self.buffer.clear();
    }
}

impl fmt::Debug for Sinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sinks").field("journal", &self.journal).field("file", &self.file).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    sinks: Sinks,
    gate: Gate,
    queue: Receiver<Item>,
    dropped: Arc<AtomicU64>,
    reported: u64,
    report_after: Option<Instant>,
    /// No repetition is due before.
    due_after: Instant,
}

impl Writer {
    pub(super) fn new(sinks: Sinks, queue: Receiver<Item>, dropped: Arc<AtomicU64>) -> Self {
        let gate = Gate::new(Instant::now(), sinks.journal.is_some());
        Self { sinks, gate, queue, dropped, reported: 0, report_after: None, due_after: Instant::now() }
    }

    /// Writes until nobody can log any more.
    pub(super) fn run(mut self) {
        loop {
            let item = match self.queue.try_recv() {
                Ok(item) => item,
                Err(_) => {
                    self.sinks.flush();
                    match self.queue.recv_timeout(self.gate.next_due(Instant::now())) {
                        Ok(item) => item,
                        Err(RecvTimeoutError::Timeout) => {
                            self.write_due(false);
                            continue;
                        }
                        Err(RecvTimeoutError::Disconnected) => break,
                    }
                }
            };
            self.take(item);
            self.write_due(false);
        }
        self.write_due(true);
        self.sinks.flush();
    }

    /// Writes what is in the queue now, on the caller's thread.
    pub(super) fn write_waiting(&mut self) {
        while let Ok(item) = self.queue.try_recv() {
            self.take(item);
        }
        self.write_due(true);
        self.sinks.flush();
    }

    fn take(&mut self, item: Item) {
        match item {
            Item::Record(record) => {
                let text = record.text();
                if self.gate.admit(&record, &text, Instant::now()) == Verdict::Write {
                    self.sinks.write(&record, &text);
                }
            }
            Item::Flush(done) => {
                self.write_due(true);
                self.sinks.flush();
                let _ = done.try_send(());
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "an edge: the time of a line about the log itself")]
    fn write_due(&mut self, all: bool) {
        let now = Instant::now();
        if all || now >= self.due_after {
            for (mut record, text, count) in self.gate.due(now, all) {
                record.at = SystemTime::now();
                self.sinks.write(&record, &format!("{text} (again, {count} times)"));
            }
            self.due_after = now + self.gate.next_due(now);
        }
        let dropped = self.dropped.load(Ordering::Relaxed);
        if !all && self.report_after.is_some_and(|at| now < at) {
            return;
        }
        let lost = dropped - self.reported + self.gate.take_dropped() + std::mem::take(&mut self.sinks.lost);
        self.reported = dropped;
        if lost > 0 {
            self.report_after = Some(now + limits::LOG_REPEAT);
            let note = format!("{lost} log lines were dropped: more than the log can take");
            let record = Record::note(SystemTime::now(), Level::WARN, note);
            self.sinks.write(&record, &record.text());
        }
    }
}
