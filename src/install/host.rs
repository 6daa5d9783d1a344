//! What is so on a machine, as far as an install depends on it. Facts alone: they are gathered in `look`, made up in tests.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use super::units::Unit;
use crate::limits::SYSTEMD_MIN;

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Whether this process may change it.
    pub is_root: bool,
    /// The version of the systemd that runs it; `None`: another init system does.
    pub systemd: Option<u32>,
    /// Who has installed hotcore as a package.
    pub package: Option<Packager>,
    /// The id of the user `hotcore`.
    pub user: Option<u32>,
    /// Whether the line that makes this user is in /etc, as an install left it.
    pub has_sysusers_line: bool,
    /// Whether systemd-sysusers is there.
    pub has_sysusers: bool,
    /// Whether useradd is there.
    pub has_useradd: bool,
    /// Whether setcap is there.
    pub has_setcap: bool,
    /// /opt/hotcore.
    pub home: Folder,
    /// /opt/hotcore/bin.
    pub bin: Folder,
    /// /opt/hotcore/bin/hotcore.
    pub program: Program,
    /// /usr/local/bin/hotcore.
    pub link: Link,
    /// The texts of the units in /etc; empty where it is no file that can be read.
    pub units: BTreeMap<Unit, String>,
    /// Whether systemd has yet to read a unit that was changed.
    pub needs_reading: bool,
    /// Whether all three units are started at boot.
    pub is_enabled: bool,
    /// Whether both socket units hold their ports.
    pub has_sockets: bool,
    /// The service's process.
    pub running: Option<Running>,
    /// Ports that hotcore needs and another program has.
    pub held: Vec<Held>,
    /// The firewall in force.
    pub firewall: Option<Firewall>,
    /// Firewalls, in force or not, that have a profile of hotcore in /etc.
    pub profiles: Vec<Firewall>,
    /// Why nothing can be installed into a folder that is needed.
    pub seal: Option<Seal>,
    /// Whether /usr/local/bin cannot be written to.
    pub is_link_folder_sealed: bool,
    /// Whether there is a state folder.
    pub has_state: bool,
}

impl Host {
    /// Whether an install has been here: its service's unit is there.
    pub(super) fn is_installed(&self) -> bool {
        self.units.contains_key(&Unit::Service)
    }

    /// Whether systemd is there and old enough for the units.
    pub(super) fn has_new_systemd(&self) -> bool {
        self.systemd.is_some_and(|version| version >= SYSTEMD_MIN)
    }
}

/// Who looks after packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packager {
    /// Debian, Ubuntu and their kin.
    Apt,
    /// Fedora, Red Hat and their kin.
    Dnf,
    /// Somebody: this file is a package's.
    Unknown(PathBuf),
}

/// A folder of an install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// There is nothing.
    Absent,
    /// It belongs to the user with this id.
    Of(u32),
    /// It is a link, or no folder at all.
    Strange,
}

/// The installed program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// There is none.
    Absent,
    /// Not this one, byte by byte; or with another owner or mode.
    Other,
    /// This one.
    Same {
        /// Whether the file has its capability.
        is_capable: bool,
    },
}

/// What a shell finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Nothing.
    Absent,
    /// The installed program.
    Ours,
    /// What somebody else has put there: shown like this.
    Foreign(String),
}

/// The main process of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Whether it runs the file that is installed, and not one that was replaced since.
    pub is_installed_file: bool,
}

/// A port that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// `TCP` or `UDP`.
    pub transport: &'static str,
    /// The port.
    pub port: u16,
    /// The program and its process, where that can be seen.
    pub holder: Option<String>,
}

/// A firewall that can be told by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Firewall {
    /// ufw(8).
    Ufw,
    /// firewalld(1).
    Firewalld,
}

impl fmt::Display for Firewall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ufw => "ufw",
            Self::Firewalld => "firewalld",
        })
    }
}

/// A folder that does not take a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seal {
    /// Its file system is mounted read-only.
    ReadOnly(PathBuf),
    /// Programs on its file system are not executed.
    NoExec(PathBuf),
}
