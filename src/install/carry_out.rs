//! The execution of a step. Each may be done twice: what is so stays so.

use std::{
    error::Error,
    fmt,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{PermissionsExt, lchown},
    path::Path,
};

use nix::unistd::User;

use super::{
    entry,
    host::Firewall,
    layout,
    look::THIS_PROGRAM,
    step::{Action, Launch, Owner, Step},
    tool,
    units::Unit,
};
use crate::{limits::CAPABILITY_TEXT, service::privileges::USER};

/// Where the kernel shows SELinux, if it is in force.
const SELINUX: &str = "/sys/fs/selinux/enforce";
/// The exit code of a program that does not know how to hand over: its command line is wrong (B227).
const USAGE: &str = "2";

impl Step {
    /// Does it. The answer is a remark, where there is something to be known.
    pub fn carry_out(&self) -> Result<Option<String>, StepFailed> {
        let outcome = match &self.action {
            Action::User => make_user().map(|()| None),
            Action::Folder(path, owner) => make_folder(path, *owner).map(|()| None),
            Action::Program => copy_program().map(|()| None),
            Action::Capability => Ok(set_capability()),
            Action::OpenFirewall(firewall) => open(*firewall).map(|()| None),
            Action::Link => entry::write_link(Path::new(layout::LINK), layout::PROGRAM).map(|()| None).map_err(text),
            Action::Unit(unit, content) => write(&unit.path(), content).map(|()| None),
            Action::ReadUnits => systemctl(&["daemon-reload"], &[]).map(|()| None),
            Action::Launch(launch) => do_launch(*launch),
            Action::Enable => systemctl(&["enable"], &Unit::ALL).map(|()| None),
            Action::CloseFirewall(firewall) => close(*firewall).map(|()| None),
            Action::Stop => stop().map(|()| None),
            Action::RemoveFile(path) => entry::remove(Path::new(path)).map(|()| None).map_err(text),
            Action::RemoveFolder(path) => remove_folder(path),
        };
        outcome.map_err(|why| StepFailed { step: self.action.to_string(), why, remedy: remedy(&self.action) })
    }
}

fn make_user() -> Result<(), String> {
    if tool::find("systemd-sysusers").is_some() {
        write(layout::SYSUSERS, layout::SYSUSERS_TEXT)?;
        return tool::run("systemd-sysusers", &[layout::SYSUSERS]).map(|_| ());
    }
    let shell = ["/usr/sbin/nologin", "/sbin/nologin"].into_iter().find(|shell| Path::new(shell).exists());
    let shell = shell.unwrap_or("/bin/false");
    let comment = "hotcore reverse proxy";
    let arguments = [
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        layout::STATE,
        "--shell",
        shell,
        "--comment",
        comment,
        USER,
    ];
    tool::run("useradd", &arguments).map(|_| ())
}

fn make_folder(path: &str, owner: Owner) -> Result<(), String> {
    let (user, group) = match owner {
        Owner::Root => (0, 0),
        Owner::Service => {
            let user = User::from_name(USER).ok().flatten().ok_or_else(|| format!("there is no user {USER}"))?;
            (user.uid.as_raw(), user.gid.as_raw())
        }
    };
    let path = Path::new(path);
    if !path.exists() {
        fs::create_dir_all(path).map_err(text)?;
        // Whatever the umask is.
        fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(text)?;
    }
    lchown(path, Some(user), Some(group)).map_err(text)?;
    relabel(path);
    Ok(())
}

fn copy_program() -> Result<(), String> {
    let path = Path::new(layout::PROGRAM);
    let mut program = File::open(THIS_PROGRAM).map_err(text)?;
    entry::write_file(path, &mut program, 0o755).map_err(text)?;
    relabel(path);
    Ok(())
}

/// systemd passes the ports in, so it is no failure if it cannot be set.
fn set_capability() -> Option<String> {
    let outcome = tool::run("setcap", &[CAPABILITY_TEXT, layout::PROGRAM]);
    let why = outcome.err()?;
    Some(format!("not set, and the service works without: {why}"))
}

fn open(firewall: Firewall) -> Result<(), String> {
    match firewall {
        Firewall::Ufw => {
            write(layout::UFW, layout::UFW_TEXT)?;
            tool::run("ufw", &["allow", USER]).map(|_| ())
        }
        Firewall::Firewalld => {
            write(layout::FIREWALLD, layout::FIREWALLD_TEXT)?;
            let permanent = || tool::run("firewall-cmd", &["--permanent", "--add-service=hotcore"]);
            // It may not have seen the file yet.
            if permanent().is_err() {
                tool::run("firewall-cmd", &["--reload"])?;
                permanent()?;
            }
            tool::run("firewall-cmd", &["--reload"]).map(|_| ())
        }
    }
}

fn close(firewall: Firewall) -> Result<(), String> {
    match firewall {
        Firewall::Ufw => {
            if tool::find("ufw").is_some() {
                tool::run("ufw", &["delete", "allow", USER])?;
            }
            entry::remove(Path::new(layout::UFW)).map_err(text)
        }
        Firewall::Firewalld => {
            let is_running = tool::run("firewall-cmd", &["--state"]).is_ok();
            if is_running {
                tool::run("firewall-cmd", &["--permanent", "--remove-service=hotcore"])?;
            } else if tool::find("firewall-offline-cmd").is_some() {
                tool::run("firewall-offline-cmd", &["--remove-service=hotcore"])?;
            }
            entry::remove(Path::new(layout::FIREWALLD)).map_err(text)?;
            if is_running { tool::run("firewall-cmd", &["--reload"]).map(|_| ()) } else { Ok(()) }
        }
    }
}

fn do_launch(launch: Launch) -> Result<Option<String>, String> {
    const SERVICE: [Unit; 1] = [Unit::Service];
    match launch {
        Launch::Start => systemctl(&["start"], &Unit::ALL)?,
        Launch::Restart => systemctl(&["restart"], &SERVICE)?,
        Launch::Reopen => {
            systemctl(&["stop"], &SERVICE)?;
            systemctl(&["restart"], &[Unit::Web, Unit::Control])?;
            systemctl(&["start"], &SERVICE)?;
        }
        Launch::Reload => return reload(),
    }
    Ok(None)
}

/// Asks for a hand-over. Where the program does not know it, a restart does, in which clients wait a moment. Where it was tried
/// and failed, the present process serves on (B205): a restart would end it, for one that could not even begin.
fn reload() -> Result<Option<String>, String> {
    let Err(why) = systemctl(&["reload"], &[Unit::Service]) else { return Ok(None) };
    let arguments = ["show", "--value", "--property=ExecReload", Unit::Service.name()];
    let is_known = tool::run("systemctl", &arguments).is_ok_and(|last| exit_code(&last) != Some(USAGE));
    if is_known {
        return Err(format!("the present process serves on, for the new one did not come so far: {why}"));
    }
    systemctl(&["restart"], &[Unit::Service])?;
    Ok(Some("by a restart: the program does not know how to hand over".to_owned()))
}

/// Ends what was made by an install, and no unit of a package.
fn stop() -> Result<(), String> {
    let ours: Vec<Unit> = Unit::ALL.into_iter().filter(|unit| super::look::has_own_unit(*unit)).collect();
    systemctl(&["disable", "--now"], &ours)?;
    // One that had failed would be listed for ever; of the others there is nothing to forget.
    _ = systemctl(&["reset-failed"], &ours);
    Ok(())
}

/// The digits in `… ; code=exited ; status=2 }`, as `systemctl show` writes a command that has run.
fn exit_code(command: &str) -> Option<&str> {
    let (_, status) = command.rsplit_once(" status=")?;
    status.split(|letter: char| !letter.is_ascii_digit()).next()
}

fn remove_folder(path: &str) -> Result<Option<String>, String> {
    let is_gone = entry::remove_folder(Path::new(path)).map_err(text)?;
    Ok((!is_gone).then(|| "kept: there are other files in it".to_owned()))
}

fn systemctl(words: &[&str], units: &[Unit]) -> Result<(), String> {
    let mut arguments = vec!["--quiet", "--no-ask-password"];
    arguments.extend(words);
    arguments.extend(units.iter().map(|unit| unit.name()));
    tool::run("systemctl", &arguments).map(|_| ())
}

fn write(path: &str, content: &str) -> Result<(), String> {
    let path = Path::new(path);
    entry::write_file(path, &mut content.as_bytes(), 0o644).map_err(text)?;
    relabel(path);
    Ok(())
}

/// Where SELinux is in force, gives a new file the label of its place: systemd executes and reads no others.
fn relabel(path: &Path) {
    if Path::new(SELINUX).exists()
        && let Some(path) = path.to_str()
    {
        // Without the tool the label of the folder holds.
        _ = tool::run("restorecon", &[path]);
    }
}

fn text(cause: io::Error) -> String {
    cause.to_string()
}

/// What to do if a step fails, where its own words do not say it.
fn remedy(action: &Action) -> Option<&'static str> {
    match action {
        Action::Launch(_) => Some("see why: journalctl --unit hotcore --unit hotcore-web.socket --lines 30"),
        Action::Unit(..) | Action::Program | Action::Folder(..) => {
            Some("is the disk full, or read-only? see: df /opt /etc")
        }
        Action::OpenFirewall(Firewall::Ufw) => Some("see: ufw status verbose"),
        Action::OpenFirewall(Firewall::Firewalld) => Some("see: firewall-cmd --state"),
        _ => None,
    }
}

/// A step that was not done; the steps before it were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailed {
    step: String,
    why: String,
    remedy: Option<&'static str>,
}

impl StepFailed {
    /// Where to look.
    pub fn remedy(&self) -> Option<&'static str> {
        self.remedy
    }
}

impl fmt::Display for StepFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.why)
    }
}

impl Error for StepFailed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_over_that_is_not_known_is_told_from_one_that_failed() {
        let ran = |status: &str| format!("{{ path=/opt/x ; argv[]=x serve status=7 ; code=exited ; status={status} }}");
        assert_eq!(exit_code(&ran("2")), Some(USAGE));
        assert_eq!(exit_code(&ran("2/INVALIDARGUMENT")), Some(USAGE));
        for other in ["0", "1", "203", "20"] {
            assert_eq!(exit_code(&ran(other)), Some(other));
        }
        assert_eq!(exit_code(""), None);
    }
}
