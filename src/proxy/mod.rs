//! The way of a request: name, route, header rules, backend, and the answer back.

pub mod chunks;
pub mod forward;
pub mod head;
pub mod pages;
pub mod refusal;
