//! From a `tracing` event to a record in the queue, without waiting.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::SystemTime,
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{Layer, layer::Context};

use super::{
    record::{Record, Shown},
    writer::Item,
};
use crate::limits;

/// The target of the records of single requests (B217).
const ACCESS: &str = "hotcore::access";

/// Puts events into the log's queue.
#[derive(Debug)]
pub struct LogLayer {
    level: Level,
    queue: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
}

impl LogLayer {
    pub(super) fn new(level: Level, queue: SyncSender<Item>, dropped: Arc<AtomicU64>) -> Self {
        Self { level, queue, dropped }
    }

    /// Other crates are heard from warnings on; those that print what strangers send, or a CA's answers, not at all (B218).
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        let name = target.split("::").next().unwrap_or(target);
        match name {
            "hotcore" => *metadata.level() <= self.level,
            "rustls" | "rustls_acme" => false,
            _ => *metadata.level() <= Level::WARN,
        }
    }
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::from_level(self.level.max(Level::WARN)))
    }

    #[expect(clippy::disallowed_methods, reason = "an edge: the time at which the event happened")]
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut parts = Parts { message: String::new(), fields: Vec::new() };
        event.record(&mut parts);
        let record = Record {
            at: SystemTime::now(),
            level: *metadata.level(),
            access: metadata.target() == ACCESS,
            message: parts.message,
            fields: parts.fields,
        };
        if self.queue.try_send(Item::Record(record)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Parts {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Parts {
    fn add(&mut self, field: &Field, value: impl fmt::Display) {
        if field.name() == "message" {
            let mut shown = Shown::new(limits::LOG_MESSAGE_BYTES_MAX);
            // Only the cut ends a write early.
            let _ = write!(shown, "{value}");
            self.message = shown.finish();
        } else if self.fields.len() < limits::LOG_FIELDS_MAX {
            self.fields.push((field.name(), Shown::value(value)));
        }
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}
