//! The service around the rules: sockets, workers, start, hand-over and stop. No rule of HTTP or of the protocol lives here.

pub mod handover;
pub mod log;
pub mod notify;
pub mod privileges;
mod settings;
pub mod sockets;
pub mod worker;

pub use settings::Settings;
