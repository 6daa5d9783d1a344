//! The service around the rules: sockets, workers, start, hand-over and stop. No rule of HTTP or of the protocol lives here.
//!
//! [`run()`] is `hotcore serve`: it reads the environment and touches the process; [`Supervisor`] serves, with everything passed in
//! as values. [`sockets`] and the [`claim`] on the state folder come first, then [`privileges`] go, and only then is there a
//! second thread.

mod board;
pub mod claim;
mod control_loop;
mod error;
pub mod handover;
pub mod log;
pub mod notify;
pub mod privileges;
mod proof;
mod run;
mod settings;
mod signals;
pub mod sockets;
mod status;
mod supervisor;
mod ticket_keys;
pub mod worker;

pub use error::ServiceError;
pub use run::run;
pub use settings::{Authority, AuthorityError, Settings};
pub use supervisor::{Start, Supervisor};
