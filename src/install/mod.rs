//! `hotcore install`: this program makes itself a service of the machine, and undoes it again.
//!
//! What is so ([`Host`]) is looked at first; [`plan()`] turns it into steps, pure and compared in tests; only then is anything
//! changed, step by step, so that a second run finds the first one's steps done and continues. Never here: a change before the whole
//! plan is known, a file or unit of somebody else that is replaced, a fight with an installed package, a rule.

mod carry_out;
mod entry;
mod host;
mod layout;
mod look;
mod person;
mod plan;
mod refusal;
mod removal;
mod service;
mod step;
mod tool;
mod units;

pub use carry_out::StepFailed;
pub use host::{Firewall, Folder, Held, Host, Link, Packager, Program, Running, Seal};
pub use layout::{HOME, LINK, PROGRAM, STATE};
pub use person::{Person, PersonError};
pub use refusal::Refusal;
pub use step::{Action, Launch, Need, Owner, Step};
pub use units::Unit;

/// What is wanted of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// A service for everybody, under a user of its own.
    Server,
    /// A service for this machine alone, under the user of the person who develops on it (B222).
    Local(Person),
    /// No service: what an install has made is taken away, except for the state folder.
    Removal,
}

/// The steps that make the host what is wanted, in order; those that are done already are among them. Or why nothing may be done.
pub fn plan(host: &Host, wanted: &Wanted) -> Result<Vec<Step>, Refusal> {
    match wanted {
        Wanted::Removal => removal::plan(host),
        Wanted::Server | Wanted::Local(_) => plan::plan(host, wanted),
    }
}
