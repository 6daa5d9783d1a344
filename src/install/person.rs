//! Whose service a local one is: the person who develops on this machine, with the mkcert that this person's browsers trust (B224).

use std::{
    error::Error,
    ffi::{OsStr, OsString},
    fmt,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
};

use nix::unistd::{Group, Uid, User};

use super::tool;
use crate::limits::MKCERT_WAIT;

/// The `PATH` of a service without one of its own (systemd.exec(5)), and of what a person may have put before it.
pub(super) const SERVICE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where programs also are, below a home and elsewhere: sudo does not pass the person's `PATH` on.
const HOME_FOLDERS: [&str; 3] = [".local/bin", "go/bin", "bin"];
const OTHER_FOLDERS: [&str; 2] = ["/home/linuxbrew/.linuxbrew/bin", "/snap/bin"];

/// A person, and where mkcert is for this person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The user's name.
    pub user: String,
    /// The name of the user's group.
    pub group: String,
    /// The folder of mkcert's CA; `None`: there is no CA yet.
    pub ca_root: Option<String>,
    /// The folder of mkcert, if a service would not find it there by itself.
    pub mkcert_folder: Option<String>,
}

impl Person {
    /// The person who called sudo, or who calls without. `variable` reads the environment: `SUDO_USER` and `CAROOT`. Runs mkcert, as
    /// that person, to ask it where its CA is.
    pub fn find(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, PersonError> {
        let caller = nix::unistd::getuid();
        let user = if caller.is_root() {
            let name = variable("SUDO_USER").and_then(|name| name.into_string().ok()).filter(|name| !name.is_empty());
            let name = name.ok_or(PersonError::Root)?;
            User::from_name(&name).ok().flatten().ok_or(PersonError::Unknown(name))?
        } else {
            User::from_uid(caller).ok().flatten().ok_or_else(|| PersonError::Unknown(caller.to_string()))?
        };
        if user.uid.is_root() {
            return Err(PersonError::Root);
        }
        let group = Group::from_gid(user.gid).ok().flatten().map_or_else(|| user.gid.to_string(), |group| group.name);
        let mkcert = find_mkcert(&user.dir);
        let folder = mkcert.as_deref().and_then(Path::parent);
        let mkcert_folder = folder.filter(|folder| !tool::is_in_path(folder, SERVICE_PATH));
        let ca_root = match variable("CAROOT").filter(|folder| !folder.is_empty()) {
            Some(folder) => Some(PathBuf::from(folder)),
            None => mkcert.as_deref().and_then(|mkcert| ask_for_the_folder(mkcert, &user)),
        };
        let ca_root = ca_root.filter(|folder| folder.is_absolute() && folder.join("rootCA.pem").is_file());
        let text = |path: &Path| path.to_str().map(str::to_owned);
        Ok(Self {
            user: user.name.clone(),
            group,
            ca_root: ca_root.as_deref().and_then(text),
            mkcert_folder: mkcert_folder.and_then(text),
        })
    }
}

fn find_mkcert(home: &Path) -> Option<PathBuf> {
    let usual = SERVICE_PATH.split(':').map(PathBuf::from);
    let folders = usual.chain(HOME_FOLDERS.map(|folder| home.join(folder))).chain(OTHER_FOLDERS.map(PathBuf::from));
    folders.map(|folder| folder.join("mkcert")).find(|path| tool::is_program(path))
}

/// Asks as the person: the program may be the person's own, and is not root's to run.
fn ask_for_the_folder(mkcert: &Path, user: &User) -> Option<PathBuf> {
    let mut command = Command::new(mkcert);
    command.arg("-CAROOT").env_clear().env("PATH", SERVICE_PATH).env("HOME", &user.dir).current_dir("/");
    if nix::unistd::geteuid() != user.uid && Uid::effective().is_root() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    let output = tool::bounded(command, MKCERT_WAIT).ok().filter(|output| output.status.success())?;
    let said = output.stdout.trim_ascii_end();
    (!said.is_empty()).then(|| PathBuf::from(<OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(said)))
}

/// Why there is nobody to install a local service for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonError {
    /// Nobody but root is known.
    Root,
    /// The user database does not know this user.
    Unknown(String),
}

impl PersonError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        "run it by sudo, as the person who develops here: sudo hotcore install --local; or name that person: SUDO_USER=ann hotcore \
         install --local"
    }
}

impl fmt::Display for PersonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("a local service runs as the person who uses it, and only root is known here"),
            Self::Unknown(name) => write!(f, "there is no user {}", name.escape_debug()),
        }
    }
}

impl Error for PersonError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_alone_is_no_person() {
        if !nix::unistd::getuid().is_root() {
            return; // Whoever calls is the person.
        }
        assert_eq!(Person::find(|_| None), Err(PersonError::Root));
        assert_eq!(Person::find(|_| Some("root".into())), Err(PersonError::Root));
        assert_eq!(Person::find(|_| Some("no such user".into())), Err(PersonError::Unknown("no such user".to_owned())));
        let nobody = Person::find(|name| (name == "SUDO_USER").then(|| "nobody".into())).unwrap();
        assert_eq!((nobody.user.as_str(), nobody.ca_root), ("nobody", None));
    }
}
