//! What this program's log hears. The workers are threads of their own, so there is one listener for all tests: it keeps the access
//! records, and it panics at the records of one name.
//!
//! The panic is a bug within a connection, for tests of what follows from it. The library has no switch for that, and shall have
//! none; its log is the one place where a program's other code runs within a connection.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, OnceLock},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

/// The name whose records panic.
pub(crate) const TRAP: &str = "trap.test";

/// The fields of one record.
pub(crate) type Record = BTreeMap<&'static str, String>;

/// The access records of this process; each test has a name of its own.
pub(crate) fn listen() -> &'static Mutex<Vec<Record>> {
    static RECORDS: OnceLock<Mutex<Vec<Record>>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Listener)).unwrap();
        Mutex::default()
    })
}

struct Listener;

impl<S: Subscriber> Layer<S> for Listener {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        is_access(metadata) || (metadata.target().starts_with("hotcore::proxy") && *metadata.level() <= Level::WARN)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Record::new());
        event.record(&mut fields);
        if is_access(event.metadata()) {
            listen().lock().unwrap().push(fields.0);
        } else {
            assert!(fields.0.get("domain").is_none_or(|domain| domain != TRAP), "the trap has closed");
        }
    }
}

fn is_access(metadata: &Metadata<'_>) -> bool {
    metadata.target() == "hotcore::access"
}

struct Fields(Record);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
