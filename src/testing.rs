//! What unit tests share: the seed of their random input, a folder that knows every state that a crash may leave, and what was
//! logged.

pub(crate) mod folder;

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex},
};

use tracing::{Event, Subscriber, field::Field};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

/// The seed of a random test: `HOTCORE_SEED` if that is set, else a new one. It is printed, which the test harness shows
/// when the test fails.
#[expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test is its own edge")]
pub(crate) fn seed() -> u64 {
    let given = std::env::var("HOTCORE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| fastrand::u64(..));
    println!("HOTCORE_SEED={seed}");
    seed
}

/// What `work` logs on this thread: a line for each event, with its fields.
pub(crate) fn log_of(work: impl FnOnce()) -> String {
    let lines = Lines::default();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines.clone()), work);
    lines.0.lock().unwrap().clone()
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut lines = self.0.lock().unwrap();
        event.record(&mut |field: &Field, value: &dyn fmt::Debug| {
            let _ = write!(lines, "{}={} ", field.name(), format!("{value:?}").replace('\n', "\\n"));
        });
        lines.push('\n');
    }
}
