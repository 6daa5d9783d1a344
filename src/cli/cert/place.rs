//! Which state folder is meant, and as which user it is written.
//!
//! What lies in it is the daemon's, so it is written as the daemon's user: then each file is that user's from its first byte, and
//! nothing that this user may have laid there leads root astray. A folder that was not typed is not trusted blindly: any program
//! may answer in the place of a daemon that has ended, and would get a key if it could name its own folder.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{self, Path, PathBuf},
};

use nix::unistd::{Gid, Uid, User, geteuid, setgroups, setresgid, setresuid};

use crate::{
    cli::{daemon, failure::Failure, output::Escaped, serve, unanswered},
    control::client::{AskError, Client},
};

/// The user that the packages make.
const SERVICE_USER: &str = "hotcore";

pub(super) struct Place {
    /// The state folder.
    pub(super) folder: PathBuf,
    pub(super) daemon: Daemon,
    is_typed: bool,
}

/// Who answers the messages.
pub(super) enum Daemon {
    /// It uses this folder.
    Serves,
    /// Nobody.
    Stopped,
    /// It uses that folder.
    Elsewhere(String),
    /// It does not answer as it should.
    Unknown(AskError),
}

impl Place {
    /// The folder that was typed, or the daemon's, or where a daemon would keep its own.
    pub(super) fn find(typed: Option<&Path>, client: Client) -> Result<Self, Failure> {
        let report = daemon::report(client);
        if let Some(folder) = typed {
            let folder = path::absolute(folder).map_err(|cause| unusable(folder, &cause))?;
            let daemon = match report {
                Ok(report) => match report.value("state") {
                    Some(state) if !is_same(Path::new(state), &folder) => Daemon::Elsewhere(state.to_owned()),
                    _ => Daemon::Serves,
                },
                Err(AskError::Closed(_)) => Daemon::Stopped,
                Err(cause) => Daemon::Unknown(cause),
            };
            return Ok(Self { folder, daemon, is_typed: true });
        }
        match report {
            Ok(report) => match report.value("state").filter(|state| state.starts_with('/')) {
                Some(state) => Ok(Self { folder: state.into(), daemon: Daemon::Serves, is_typed: false }),
                None => Err(Failure::refused("the daemon does not say where its state folder is")
                    .hint("say it: --state /var/lib/hotcore")),
            },
            Err(AskError::Closed(_)) => {
                #[expect(clippy::disallowed_methods, reason = "the edge where the environment is read")]
                let folder = serve::state_folder(|name| env::var_os(name), geteuid().is_root())?;
                Ok(Self { folder, daemon: Daemon::Stopped, is_typed: false })
            }
            Err(cause) => Err(unanswered::explain(cause, client)
                .hint("nothing was changed; with --state DIR it is done without an answer")),
        }
    }

    /// Gives up what this process may do beyond what the folder's owner may, for good.
    pub(super) fn become_its_owner(&self) -> Result<(), Failure> {
        let data = fs::metadata(&self.folder).map_err(|cause| {
            let failure = unusable(&self.folder, &cause);
            match cause.kind() {
                io::ErrorKind::NotFound => {
                    failure.hint("start hotcore once, or give the folder that it uses: --state DIR")
                }
                io::ErrorKind::PermissionDenied => failure.hint(self.who_may()),
                _ => failure,
            }
        })?;
        if !data.is_dir() {
            return Err(unusable(&self.folder, &io::ErrorKind::NotADirectory.into()));
        }
        let (owner, me) = (Uid::from_raw(data.uid()), geteuid());
        if me.is_root() && data.mode() & 0o022 != 0 {
            let wrong = format!("others may write to the state folder {}, and would lead root astray", self.shown());
            return Err(Failure::refused(wrong).hint(format_args!("close it: chmod go-w {}", self.shown())));
        }
        if owner == me {
            return Ok(());
        }
        let is_the_service = User::from_name(SERVICE_USER).ok().flatten().is_some_and(|user| user.uid == owner);
        if !me.is_root() || !(self.is_typed || is_the_service) {
            let wrong = format!("the state folder {} belongs to {}", self.shown(), name(owner));
            let failure = Failure::refused(wrong).hint(self.who_may());
            return Err(if me.is_root() {
                failure.hint(format_args!("if it is the right one: --state {}", self.shown()))
            } else {
                failure
            });
        }
        let group = Gid::from_raw(data.gid());
        setgroups(&[])
            .and_then(|()| setresgid(group, group, group))
            .and_then(|()| setresuid(owner, owner, owner))
            .map_err(|cause| Failure::refused(format_args!("cannot act as the user {}: {cause}", name(owner))))
    }

    /// Who may write there, in a line.
    pub(super) fn who_may(&self) -> String {
        let owner = fs::metadata(&self.folder).map(|data| Uid::from_raw(data.uid()));
        match owner {
            Ok(owner) if owner.is_root() => "run it as root: sudo hotcore cert …".to_owned(),
            Ok(owner) => format!("run it as root, or as the user {0}: sudo -u {0} hotcore cert …", name(owner)),
            Err(_) => format!("run it as root, or as the user {SERVICE_USER}: sudo hotcore cert …"),
        }
    }

    fn shown(&self) -> String {
        Escaped(&self.folder.to_string_lossy()).to_string()
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    whole(one) == whole(other)
}

fn unusable(folder: &Path, cause: &io::Error) -> Failure {
    Failure::refused(format_args!("cannot use the state folder {}: {cause}", Escaped(&folder.to_string_lossy())))
}

fn name(user: Uid) -> String {
    User::from_uid(user).ok().flatten().map_or_else(|| user.to_string(), |user| Escaped(&user.name).to_string())
}
