//! Giving up what is no longer needed, after the sockets are held and before any thread exists (capabilities belong to
//! threads: capabilities(7)).
//!
//! Never here: keeping one capability "just in case". The process owns nothing but its state folder.

use std::{
    error::Error,
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown, lchown},
    },
    path::{Path, PathBuf},
};

use caps::{CapSet, CapsHashSet};
use nix::fcntl::OFlag;
use nix::unistd::{
    AccessFlags, Gid, Uid, User, eaccess, getegid, geteuid, setegid, seteuid, setgid, setgroups, setuid,
};

/// The user that the packages make.
pub const USER: &str = "hotcore";

/// The sets that are emptied. The bounding set needs a capability to be changed and is the unit's business.
const SETS: [CapSet; 4] = [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted];

/// A user to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// User id.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// Its name, for the log.
    pub name: String,
}

/// Whom to become, as a decision about facts: nobody else, unless the process is root's.
///
/// A state folder that is not root's is its owner's service; else there is `hotcore`, but not in local mode, which needs no user
/// of its own (B222).
fn choose(is_root: bool, local: bool, owner: Option<Account>, own_user: Option<Account>) -> Option<Account> {
    if !is_root {
        return None;
    }
    owner.filter(|owner| owner.user != 0).or_else(|| own_user.filter(|_| !local)).filter(|account| account.user != 0)
}

/// Becomes an ordinary user where that is possible, and drops every capability in any case. `state` is the state folder. The
/// answer are remarks for the operator.
///
/// Calls for this thread alone: to be called while it is the only one.
pub fn drop_all(state: &Path, local: bool) -> Result<Vec<String>, PrivilegeError> {
    let mut remarks = Vec::new();
    if geteuid().is_root() {
        let owner = fs::metadata(state).ok().and_then(|facts| account(facts.uid(), Some(facts.gid())));
        let own_user = User::from_name(USER).ok().flatten().map(Account::from);
        match choose(true, local, owner, own_user) {
            Some(target) => match become_user(&target, state)? {
                true => remarks.push(format!("runs as user {}", target.name)),
                false => remarks.push(format!(
                    "runs as root without capabilities: user {} cannot reach {}",
                    target.name,
                    state.display()
                )),
            },
            None if local => {}
            None => remarks.push(format!("runs as root without capabilities: there is no user {USER}")),
        }
    }
    drop_capabilities()?;
    Ok(remarks)
}

/// Empties the sets of this thread and looks whether they are.
pub fn drop_capabilities() -> Result<(), PrivilegeError> {
    for set in SETS {
        // Under its unit the process has none from the start, and may not even make the call.
        if !held(set)?.is_empty() {
            caps::clear(None, set).map_err(|error| PrivilegeError::Capabilities(error.to_string()))?;
        }
    }
    for set in SETS {
        let left = held(set)?;
        if !left.is_empty() {
            return Err(PrivilegeError::Kept(format!("{left:?}")));
        }
    }
    Ok(())
}

/// What this thread has in a set. Kernels and sandboxes without ambient capabilities have none there.
fn held(set: CapSet) -> Result<CapsHashSet, PrivilegeError> {
    caps::read(None, set).or_else(|error| match set {
        CapSet::Ambient => Ok(CapsHashSet::new()),
        _ => Err(PrivilegeError::Capabilities(error.to_string())),
    })
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self { user: user.uid.as_raw(), group: user.gid.as_raw(), name: user.name }
    }
}

fn account(user: u32, group: Option<u32>) -> Option<Account> {
    let known = User::from_uid(Uid::from_raw(user)).ok().flatten().map(Account::from);
    known.or_else(|| group.map(|group| Account { user, group, name: user.to_string() }))
}

/// `false`: the user could not work in the state folder, so nothing was changed.
fn become_user(target: &Account, state: &Path) -> Result<bool, PrivilegeError> {
    let (user, group) = (Uid::from_raw(target.user), Gid::from_raw(target.group));
    let failed = |what: &'static str| move |errno: nix::Error| PrivilegeError::User { what, source: errno.into() };
    give(state, target)?;
    // A trial first: there is no way back from the real thing.
    let before = (geteuid(), getegid());
    setegid(group).map_err(failed("setegid"))?;
    seteuid(user).map_err(failed("seteuid"))?;
    let is_usable = eaccess(state, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK).is_ok();
    seteuid(before.0).map_err(failed("seteuid"))?;
    setegid(before.1).map_err(failed("setegid"))?;
    if !is_usable {
        give(state, &Account { user: 0, group: 0, name: String::new() })?;
        return Ok(false);
    }
    setgroups(&[group]).map_err(failed("setgroups"))?;
    setgid(group).map_err(failed("setgid"))?;
    setuid(user).map_err(failed("setuid"))?;
    Ok(true)
}

/// Makes the folder and what is in it the user's. Each folder is held open while its entries are changed, so that nobody can put
/// another in its place; links are not followed: what they point to is not ours to give.
fn give(path: &Path, to: &Account) -> Result<(), PrivilegeError> {
    let failed = |source| PrivilegeError::Owner { path: path.to_owned(), source };
    let folder = open_folder(path).map_err(failed)?;
    let held = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    for entry in fs::read_dir(&held).map_err(failed)? {
        let entry = held.join(entry.map_err(failed)?.file_name());
        let facts = fs::symlink_metadata(&entry).map_err(failed)?;
        // A second name of a file elsewhere, put here by somebody, is not ours to give either.
        let is_elsewhere_too = facts.is_file() && facts.nlink() > 1;
        if facts.is_dir() {
            give(&entry, to)?;
        } else if facts.uid() != to.user && !is_elsewhere_too {
            lchown(&entry, Some(to.user), Some(to.group)).map_err(failed)?;
        }
    }
    if folder.metadata().map_err(failed)?.uid() != to.user {
        fchown(&folder, Some(to.user), Some(to.group)).map_err(failed)?;
    }
    Ok(())
}

fn open_folder(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits()).open(path)
}

/// Why privileges could not be given up: the service does not start.
#[derive(Debug)]
pub enum PrivilegeError {
    /// The kernel refused to take capabilities away.
    Capabilities(String),
    /// Capabilities were left after all were dropped.
    Kept(String),
    /// The user could not be changed.
    User {
        /// The call that failed.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A file of the state folder could not be given to the user.
    Owner {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for PrivilegeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Capabilities(cause) => write!(f, "cannot drop capabilities: {cause}"),
            Self::Kept(left) => write!(f, "capabilities are left after all were dropped: {left}"),
            Self::User { what, source } => write!(f, "cannot become an ordinary user ({what}): {source}"),
            Self::Owner { path, source } => write!(f, "cannot give {} to the service's user: {source}", path.display()),
        }
    }
}

impl Error for PrivilegeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::User { source, .. } | Self::Owner { source, .. } => Some(source),
            Self::Capabilities(_) | Self::Kept(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn user(user: u32) -> Account {
        Account { user, group: user, name: user.to_string() }
    }

    #[test]
    fn root_becomes_the_owner_of_the_state_or_the_services_own_user() {
        let cases = [
            // root, local, owner of the state folder, user hotcore, becomes
            ((false, false, Some(1000), Some(900)), None),
            ((true, false, Some(0), Some(900)), Some(900)),
            ((true, false, Some(900), Some(900)), Some(900)),
            ((true, false, Some(1000), Some(900)), Some(1000)),
            ((true, false, Some(0), None), None),
            ((true, true, Some(0), Some(900)), None),
            ((true, true, Some(1000), Some(900)), Some(1000)),
            ((true, false, None, Some(0)), None),
        ];
        for ((root, local, owner, own), becomes) in cases {
            let target = choose(root, local, owner.map(user), own.map(user)).map(|account| account.user);
            assert_eq!(target, becomes, "root {root}, local {local}, owner {owner:?}, hotcore {own:?}");
        }
    }

    /// Capabilities belong to threads, so a thread of the test can lose its own.
    #[test]
    fn no_capability_is_left_in_any_set() {
        let sets = thread::Builder::new()
            .spawn(|| {
                drop_capabilities().unwrap();
                fs::read_to_string("/proc/thread-self/status").unwrap()
            })
            .unwrap()
            .join()
            .unwrap();
        for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let line = sets.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(line.ends_with("\t0000000000000000"), "{line}");
        }
    }

    #[test]
    fn giving_the_folder_away_does_not_follow_links_out_of_it() {
        if !geteuid().is_root() {
            return; // Only root gives files away.
        }
        let (state, outside) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        fs::create_dir(state.path().join("certs")).unwrap();
        fs::write(state.path().join("certs/a.com"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path(), state.path().join("link")).unwrap();
        fs::hard_link(outside.path(), state.path().join("hard")).unwrap();
        give(state.path(), &user(4711)).unwrap();
        assert_eq!(fs::metadata(outside.path()).unwrap().uid(), 0);
        assert_eq!(fs::metadata(state.path().join("certs/a.com")).unwrap().uid(), 4711);
        assert_eq!(fs::symlink_metadata(state.path().join("link")).unwrap().uid(), 4711);
        assert_eq!(fs::metadata(state.path()).unwrap().uid(), 4711);
    }
}
