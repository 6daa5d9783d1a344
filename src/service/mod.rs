//! The service around the rules: sockets, workers, start, hand-over and stop. No rule of HTTP or of the protocol lives here.

pub mod handover;
pub mod log;
pub mod notify;
pub mod privileges;
mod settings;
pub mod sockets;
pub mod worker;

pub use settings::Settings;

/// Why the service did not start, or ended.
#[derive(Debug)]
pub struct ServiceError(String);

impl std::fmt::Display for ServiceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ServiceError {}

/// Serves until told to stop.
pub fn run(settings: Settings) -> Result<(), ServiceError> {
    Err(ServiceError(format!("not yet: {settings:?}")))
}
