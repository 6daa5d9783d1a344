//! Certificates: when to order one, and where they are kept.
//!
//! [`schedule`] decides, [`issuer`] asks the CA, [`store`] keeps; the [`keeper`] lets them work together, on a thread of its
//! own, and holds the keyring of `tls`.
//!
//! Never here: an order that the schedule did not ask for, one name's certificate under another name, a worker's time.

pub mod issuer;
pub mod keeper;
pub mod local;
pub mod mkcert;
pub mod own;
mod record;
pub mod schedule;
pub mod store;

pub use keeper::{Board, Keeper, Keeping, Standing};
pub use local::{LocalNames, is_local};
pub use mkcert::Mkcert;
