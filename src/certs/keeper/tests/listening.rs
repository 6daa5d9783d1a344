//! Hears what is logged.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{Dispatch, Event, Level, Subscriber, field::Field, level_filters::LevelFilter};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

/// The lines of one test, each with its level.
#[derive(Clone, Debug, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

impl Lines {
    /// Those that hold these words, at this level.
    pub(super) fn count(&self, level: Level, words: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|(at, line)| *at == level && line.contains(words)).count()
    }

    pub(super) fn all(&self) -> String {
        self.0.lock().unwrap().iter().map(|(level, line)| format!("{level} {line}\n")).collect()
    }

    /// From now on, on this thread.
    pub(super) fn hear(&self) -> tracing::subscriber::DefaultGuard {
        // With one subscriber alone, tracing asks the thread that comes to a line first whether anybody listens, and keeps the
        // answer: another test's thread would say no for all.
        static OTHER: OnceLock<Dispatch> = OnceLock::new();
        OTHER.get_or_init(|| Dispatch::new(tracing_subscriber::registry().with(Self::default())));
        tracing::subscriber::set_default(tracing_subscriber::registry().with(self.clone()))
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target().starts_with("hotcore") {
            let mut line = Line(String::new());
            event.record(&mut line);
            self.0.lock().unwrap().push((*event.metadata().level(), line.0));
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}
