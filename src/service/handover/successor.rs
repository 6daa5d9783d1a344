//! The next generation, started by the running one.
//!
//! It is started in two steps: a *starter*, which starts the real new process and ends. Thereby the new one becomes a child of
//! process 1 (or of the user's service manager), and systemd notices if it dies; a child of the old one would be missed
//! (sd_notify(3), MAINPID=). Two runs of the program: no fork of a process with threads.
//!
//! How a run learns that it is one of the two is an interface between versions, and never changes:
//!
//! | `HOTCORE_HANDOVER=` | the program |
//! |---|---|
//! | `start` | starts itself with the same arguments and `take`, and exits with 0; if it cannot, it says so on its standard input and exits with another code |
//! | `take` | takes over, by the words of [`super::message`] on its standard input |
//!
//! Standard input is one end of a socket pair, the hand-over's channel. The program is found by the path by which the running one
//! was started, so that an upgrade finds the new file. Arguments and environment are the same, except: no LISTEN_PID, LISTEN_FDS
//! and LISTEN_FDNAMES, as the sockets come by the channel; no WATCHDOG_PID, which would keep the new one from feeding the
//! watchdog (sd_watchdog_enabled(3)); and the state folder by name, as the running process may have become another user.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    path::{Path, PathBuf},
    process::{Command as StdCommand, ExitStatus, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
};

use super::{message::FromNew, old::Peer};

/// The variable that tells a run of the program its part.
pub const VARIABLE: &str = "HOTCORE_HANDOVER";

const START: &str = "start";
const TAKE: &str = "take";

/// What else a new process must not inherit.
const NOT_INHERITED: [&str; 4] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// The part of a run of the program in a hand-over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Start the new one, and end.
    Start,
    /// Be the new one.
    Take,
}

impl Role {
    /// From the value of [`VARIABLE`]; the error is a value that means nothing to this version.
    pub fn from_variable(value: Option<&OsStr>) -> Result<Option<Self>, String> {
        match value {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) if value == START => Ok(Some(Self::Start)),
            Some(value) if value == TAKE => Ok(Some(Self::Take)),
            Some(value) => Err(format!("{VARIABLE}={} means nothing to this version", value.display())),
        }
    }
}

/// How to run this program again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Successor {
    /// Its file. A path, so that an upgrade finds the new one.
    pub program: PathBuf,
    /// What follows on the command line.
    pub arguments: Vec<OsString>,
    /// Variables that are not inherited as they are: a value, or `None` to take one away.
    pub variables: Vec<(OsString, Option<OsString>)>,
}

impl Successor {
    /// This very program: by the path it was started with if that is absolute, else by that of the running file. To be made at the
    /// start, before the file is replaced.
    pub fn of_this_process(words: impl IntoIterator<Item = OsString>) -> io::Result<Self> {
        let mut words = words.into_iter();
        let program = match words.next().map(PathBuf::from) {
            Some(path) if path.is_absolute() => path,
            _ => env::current_exe()?,
        };
        Ok(Self { program, arguments: words.collect(), variables: Vec::new() })
    }

    /// Starts it, as somebody who is about to take over. Needs the reactor of a runtime.
    pub fn start(&self) -> io::Result<Peer> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::from(OwnedFd::from(theirs)));
        for (name, value) in &self.variables {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        NOT_INHERITED.iter().for_each(|name| _ = command.env_remove(name));
        // A group of its own: whatever it starts can be ended with it.
        let child = command.env(VARIABLE, START).process_group(0).spawn()?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        Ok(Peer::started(UnixStream::from_std(ours)?, Starter { child: Some(child), group }))
    }
}

/// The starter's part: starts the new process, which inherits the channel, and does not wait for it.
pub fn start_new(program: &Successor) -> Result<(), String> {
    let mut command = StdCommand::new(&program.program);
    match command.args(&program.arguments).env(VARIABLE, TAKE).spawn() {
        Ok(_) => Ok(()),
        Err(error) => {
            let why = cannot_start(&program.program, &error);
            if let Ok(channel) = io::stdin().as_fd().try_clone_to_owned() {
                let _ = File::from(channel).write_all(format!("{}\n", FromNew::Failed(why.clone())).as_bytes());
            }
            Err(why)
        }
    }
}

/// Names the file: with a missing interpreter, for example, the error alone says nothing.
pub fn cannot_start(program: &Path, error: &io::Error) -> String {
    format!("cannot start {}: {error}", program.display())
}

/// A starter that was started.
#[derive(Debug)]
pub(super) struct Starter {
    /// Until it was waited for.
    child: Option<Child>,
    group: Option<Pid>,
}

impl Starter {
    /// Resolves when it has ended and was waited for. Cancel safe.
    pub(super) async fn ended(&mut self) -> Option<io::Result<ExitStatus>> {
        let status = self.child.as_mut()?.wait().await;
        self.child = None;
        Some(status)
    }

    /// How it failed; never resolves if it ended well. Cancel safe.
    pub(super) async fn failure(&mut self) -> String {
        match self.ended().await {
            Some(Ok(status)) if !status.success() => format!("ended at once ({status})"),
            Some(Err(error)) => format!("cannot be waited for: {error}"),
            Some(Ok(_)) | None => std::future::pending().await,
        }
    }

    /// Ends it and whatever it has started. To be called only while one of them is there: until then the group's number is
    /// nobody else's.
    pub(super) fn kill(&self) {
        if let Some(group) = self.group {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_has_two_values_and_others_are_refused() {
        let role = |value: Option<&str>| Role::from_variable(value.map(OsStr::new));
        assert_eq!(role(None), Ok(None));
        assert_eq!(role(Some("")), Ok(None));
        assert_eq!(role(Some("start")), Ok(Some(Role::Start)));
        assert_eq!(role(Some("take")), Ok(Some(Role::Take)));
        assert!(role(Some("fly")).unwrap_err().contains("HOTCORE_HANDOVER=fly"));
    }

    /// B204.
    #[test]
    fn the_program_is_the_path_it_was_started_with_if_that_is_absolute() {
        let of = |words: &[&str]| Successor::of_this_process(words.iter().map(OsString::from)).unwrap();
        let installed = of(&["/usr/bin/hotcore", "serve", "--local"]);
        assert_eq!(installed.program, Path::new("/usr/bin/hotcore"));
        assert_eq!(installed.arguments, ["serve", "--local"]);
        for word in ["hotcore", "./hotcore", "target/hotcore"] {
            assert_eq!(of(&[word]).program, env::current_exe().unwrap(), "{word}");
        }
        assert_eq!(of(&[]).program, env::current_exe().unwrap());
    }

    /// A shell in the place of the program.
    fn shell(script: &str) -> Successor {
        Successor { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()], variables: Vec::new() }
    }

    #[tokio::test]
    async fn what_it_gets_is_the_channel_and_no_variable_that_is_meant_for_another() {
        let mut program =
            shell("echo \"failed $HOTCORE_HANDOVER/$LISTEN_FDS/$LISTEN_PID/$LISTEN_FDNAMES/$WATCHDOG_PID/$A/$B\" >&0");
        program.variables = vec![
            ("LISTEN_FDS".into(), Some("3".into())),
            ("LISTEN_PID".into(), Some("1".into())),
            ("LISTEN_FDNAMES".into(), Some("x".into())),
            ("WATCHDOG_PID".into(), Some("1".into())),
            ("A".into(), Some("given".into())),
            ("B".into(), None),
        ];
        let mut peer = program.start().unwrap();
        let heard = peer.hear().await;
        let expected = FromNew::Failed("start/////given/".to_owned());
        assert_eq!(heard, super::super::machine::Heard::Word(Some(expected)));
        peer.gone().await;
    }

    #[tokio::test]
    async fn one_that_cannot_be_started_is_an_error_at_once_b205() {
        let folder = tempfile::tempdir().unwrap();
        let garbage = folder.path().join("garbage");
        std::fs::write(&garbage, [0x7F, b'E', b'L', b'F', 0, 0]).unwrap();
        let start = || Successor { program: garbage.clone(), ..Successor::default() }.start().unwrap_err();
        assert_eq!(start().kind(), io::ErrorKind::PermissionDenied);
        let executable = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        std::fs::set_permissions(&garbage, executable).unwrap();
        assert_eq!(start().raw_os_error(), Some(nix::errno::Errno::ENOEXEC as i32));
        std::fs::remove_file(&garbage).unwrap();
        assert_eq!(start().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn how_it_failed_is_heard_and_what_it_said_itself_comes_first_b205() {
        use super::super::machine::Heard;

        let heard = async |script: &str| {
            let mut peer = shell(script).start().unwrap();
            let heard = peer.hear().await;
            peer.kill();
            peer.gone().await;
            heard
        };
        assert_eq!(heard("exit 3").await, Heard::Unstarted("ended at once (exit status: 3)".into()));
        assert_eq!(heard("kill -9 $$").await, Heard::Unstarted("ended at once (signal: 9 (SIGKILL))".into()));
        assert_eq!(heard("exit 0").await, Heard::Gone);
        assert_eq!(heard("exec <&-; exec sleep 600").await, Heard::Gone);
        // Something that stays behind has the channel still.
        assert_eq!(
            heard("exec 3<&0; sleep 600 & exit 3").await,
            Heard::Unstarted("ended at once (exit status: 3)".into())
        );
        let said = Heard::Word(Some(FromNew::Failed("no room".into())));
        assert_eq!(heard("echo failed no room >&0; exit 1").await, said);
        assert_eq!(heard("ask").await, Heard::Unstarted("ended at once (exit status: 127)".into()));
    }

    #[tokio::test]
    async fn a_new_one_says_which_process_it_is() {
        use super::super::machine::Heard;

        let mut peer = shell("exec 3<&0; sh -c 'echo ask 1 $$ >&3; exec sleep 600' & exit 0").start().unwrap();
        assert_eq!(peer.process(), 0);
        let Heard::Word(Some(FromNew::Ask { process, .. })) = peer.hear().await else { panic!() };
        assert_eq!(peer.process(), process);
        assert!(Path::new(&format!("/proc/{process}")).exists());
        peer.kill();
        peer.gone().await;
    }
}
