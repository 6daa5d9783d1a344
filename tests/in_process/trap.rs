//! A bug within a connection, for tests of what follows from it: the log panics at a certain name.
//!
//! The library has no switch for that, and shall have none. Its log is the one place where a program's other code runs within
//! a connection, so the trap is a subscriber of this test program.

use std::{fmt, sync::Once};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// The name whose records panic.
pub(crate) const NAME: &str = "trap.test";

/// Sets the trap for this process; no other name is touched.
pub(crate) fn set() {
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(Trap).unwrap());
}

struct Trap;

impl Subscriber for Trap {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("hotcore::proxy") && *metadata.level() <= Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Reader);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Reader;

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        assert!(field.name() != "domain" || format!("{value:?}") != NAME, "the trap has closed");
    }
}
