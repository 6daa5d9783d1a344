//! The control protocol: UDP messages that change and show the rules.

pub mod client;
