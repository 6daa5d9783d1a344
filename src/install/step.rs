//! One step of a plan: what it does, and whether that is needed. Its words are what a person reads.

use std::fmt;

use super::{host::Firewall, layout, person::Person, units::Unit};
use crate::{limits::CAPABILITY_TEXT, service::privileges::USER};

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub action: Action,
    /// Whether that is needed.
    pub need: Need,
}

impl Step {
    /// A step that is due unless it `is_so` already.
    pub(super) fn unless(is_so: bool, action: Action) -> Self {
        Self { action, need: if is_so { Need::AlreadySo } else { Need::Due } }
    }

    /// A step that is left out.
    pub(super) fn left(action: Action, why: impl Into<String>) -> Self {
        Self { action, need: Need::Left(why.into()) }
    }
}

/// Whether a step is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Need {
    /// Yes.
    Due,
    /// No: nothing would change.
    AlreadySo,
    /// It is not done, for this reason; the rest works without.
    Left(String),
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Makes the user of the service.
    User,
    /// Makes a folder, or gives it to its owner.
    Folder(&'static str, Owner),
    /// Copies this program.
    Program,
    /// Lets the program's file listen on ports below 1024.
    Capability,
    /// Opens 80 and 443.
    OpenFirewall(Firewall),
    /// Lets a shell find the program.
    Link,
    /// Writes a unit with this text.
    Unit(Unit, String),
    /// Has systemd read the units again.
    ReadUnits,
    /// Has the service run what is installed.
    Launch(Launch),
    /// Has the service started at boot.
    Enable,
    /// Takes the rule for 80 and 443 away, and the profile behind it.
    CloseFirewall(Firewall),
    /// Ends the service and its sockets, now and at boot.
    Stop,
    /// Removes a file that an install has made.
    RemoveFile(String),
    /// Removes a folder, if nothing is left in it.
    RemoveFolder(&'static str),
}

/// Whose a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Root's.
    Root,
    /// The service's user's.
    Service,
}

/// How the service comes to run what is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launch {
    /// Service and sockets are started.
    Start,
    /// A new process takes over from the present one: no request is lost (B204).
    Reload,
    /// The unit has changed in a way that only a new start puts into effect. Clients wait a moment in the sockets (B203).
    Restart,
    /// The sockets have changed: they are closed and opened again.
    Reopen,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User => write!(f, "user {USER}"),
            Self::Folder(path, Owner::Root) => write!(f, "folder {path}"),
            Self::Folder(path, Owner::Service) => write!(f, "folder {path}, owned by {USER}"),
            Self::Program => write!(f, "program {}", layout::PROGRAM),
            Self::Capability => write!(f, "capability {CAPABILITY_TEXT} of the program"),
            Self::OpenFirewall(firewall) => write!(f, "ports 80 and 443 opened in {firewall}"),
            Self::Link => write!(f, "link {}", layout::LINK),
            Self::Unit(unit, _) => write!(f, "unit {}", unit.path()),
            Self::ReadUnits => f.write_str("units read by systemd"),
            Self::Launch(Launch::Start) => f.write_str("service started"),
            Self::Launch(Launch::Reload) => f.write_str("service handed over to the new program"),
            Self::Launch(Launch::Restart) => f.write_str("service restarted with the new unit"),
            Self::Launch(Launch::Reopen) => f.write_str("sockets and service restarted"),
            Self::Enable => f.write_str("service started at boot"),
            Self::CloseFirewall(firewall) => write!(f, "rule for ports 80 and 443 removed from {firewall}"),
            Self::Stop => f.write_str("service and sockets stopped, and no longer started at boot"),
            Self::RemoveFile(path) => write!(f, "file {path} removed"),
            Self::RemoveFolder(path) => write!(f, "folder {path} removed"),
        }
    }
}

/// Whose service it is, for the units.
#[derive(Debug, Clone, Copy)]
pub(super) enum Runner<'a> {
    /// Its own user's, for everybody.
    Service,
    /// A person's, for this machine alone.
    Person(&'a Person),
}
