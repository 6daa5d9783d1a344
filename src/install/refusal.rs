//! Why nothing is installed: each is said, with the remedy, before anything is changed.

use std::{error::Error, fmt, path::PathBuf};

use super::{
    host::{Held, Packager, Seal},
    layout,
    units::Unit,
};
use crate::limits::SYSTEMD_MIN;

/// Why a host cannot become what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// This process may not change the machine.
    NotRoot,
    /// Another init system runs it.
    NoSystemd,
    /// Its systemd does not know what the units say: this version.
    OldSystemd(u32),
    /// A package is there already.
    Packaged(Packager),
    /// A unit of this name is somebody else's.
    ForeignUnit(Unit),
    /// A folder of the install is a link, or no folder.
    Strange(&'static str),
    /// A folder takes no program.
    Sealed(Seal),
    /// Other programs have these ports; at least one.
    Held(Vec<Held>),
    /// There is no means to make the user.
    NoMeansForUser,
    /// Installed for everybody, and wanted for this machine alone: its visitors would be shut out.
    IsForEverybody,
    /// Installed for this machine alone, and wanted for everybody: it would be opened to the world.
    IsLocal,
}

impl Refusal {
    /// What to do about it, a line each.
    pub fn remedies(&self) -> Vec<String> {
        let one = |text: &str| vec![text.to_owned()];
        match self {
            Self::NotRoot => one("run it by sudo; what it would do: hotcore install --dry-run"),
            Self::NoSystemd => one("start it by the means of your system: hotcore serve --help"),
            Self::OldSystemd(_) => one("upgrade the system, or start it by other means: hotcore serve --help"),
            Self::Packaged(Packager::Apt) => one(
                "upgrade it by apt install ./hotcore.deb; or remove it first, rules and certificates stay: apt remove hotcore",
            ),
            Self::Packaged(Packager::Dnf) => one(
                "upgrade it by dnf install hotcore.rpm; or remove it first, rules and certificates stay: dnf remove hotcore",
            ),
            Self::Packaged(Packager::Unknown(_)) => one("upgrade it by what has installed it, or remove that first"),
            Self::ForeignUnit(unit) => {
                let name = unit.name();
                vec![format!(
                    "end it and move the file away first: systemctl disable --now {name}; mv {} /root/",
                    unit.path()
                )]
            }
            Self::Strange(path) => vec![format!("move it away first: mv {path} {path}.old")],
            Self::Sealed(Seal::ReadOnly(path)) => {
                vec![format!("mount it writable, or use a package instead, which does not need {}", path.display())]
            }
            Self::Sealed(Seal::NoExec(_)) => one("mount it without noexec, or use a package instead"),
            Self::Held(held) => held.iter().map(free).collect(),
            Self::NoMeansForUser => one("install systemd-sysusers or useradd (package passwd, or shadow-utils)"),
            Self::IsForEverybody => one(
                "upgrade it: sudo hotcore install; to have it local, remove it first: sudo hotcore install --remove",
            ),
            Self::IsLocal => one(
                "upgrade it: sudo hotcore install --local; to open it to everybody, remove it first: sudo hotcore install \
                 --remove",
            ),
        }
    }
}

/// How to free a port.
fn free(held: &Held) -> String {
    let flags = if held.transport == "UDP" { "-lunp" } else { "-ltnp" };
    match &held.holder {
        Some(holder) => {
            format!("end {holder} and see that it does not come back: systemctl status {}", process(holder))
        }
        None => format!("see which program it is: sudo ss {flags} 'sport = :{}'", held.port),
    }
}

/// The number in `nginx (process 12)`: `systemctl status` finds the service of a process.
fn process(holder: &str) -> &str {
    holder.rsplit_once("(process ").map_or(holder, |(_, rest)| rest.trim_end_matches(')'))
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRoot => f.write_str("an install changes the system, and you are not root"),
            Self::NoSystemd => {
                f.write_str("systemd does not run this machine, and hotcore is installed as its service")
            }
            Self::OldSystemd(version) => {
                write!(f, "systemd is too old: this is version {version}, and {SYSTEMD_MIN} is needed")
            }
            Self::Packaged(Packager::Apt) => f.write_str("hotcore was installed by apt: use that"),
            Self::Packaged(Packager::Dnf) => f.write_str("hotcore was installed by dnf: use that"),
            Self::Packaged(Packager::Unknown(path)) => {
                write!(f, "hotcore was installed by a package: {} is there", path.display())
            }
            Self::ForeignUnit(unit) => write!(f, "{} was not made by hotcore install", unit.path()),
            Self::Strange(path) => write!(f, "{path} is not a folder, or it is a link"),
            Self::Sealed(Seal::ReadOnly(path)) => write!(f, "{} is read-only", path.display()),
            Self::Sealed(Seal::NoExec(path)) => {
                write!(f, "{} is mounted noexec, so {} would not be executed", path.display(), layout::PROGRAM)
            }
            Self::Held(held) => {
                for (number, Held { transport, port, holder }) in held.iter().enumerate() {
                    let holder = holder.as_deref().unwrap_or("another program");
                    write!(f, "{}{transport} port {port} is taken by {holder}", if number == 0 { "" } else { "; " })?;
                }
                Ok(())
            }
            Self::NoMeansForUser => {
                f.write_str("there is no user hotcore, and neither systemd-sysusers nor useradd to make it")
            }
            Self::IsForEverybody => {
                f.write_str("hotcore is installed here for everybody, and --local would shut its visitors out")
            }
            Self::IsLocal => f.write_str(
                "hotcore is installed for this machine alone (--local), and this would open it to everybody",
            ),
        }
    }
}

impl Error for Refusal {}

/// The folder of a seal.
impl Seal {
    pub(super) fn new(folder: PathBuf, is_read_only: bool, is_no_exec: bool) -> Option<Self> {
        match (is_read_only, is_no_exec) {
            (true, _) => Some(Self::ReadOnly(folder)),
            (false, true) => Some(Self::NoExec(folder)),
            (false, false) => None,
        }
    }
}
