//! One run of a program that is not trusted to end, or to be quiet.
//!
//! It gets the environment that it is given and no more, no input, and a process group of its own, so that what it started
//! ends with it. Never here: a shell, an end by name.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::Stdio,
    sync::Arc,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

use super::MkcertError;
use crate::{certs::record::one_line, limits};

#[derive(Debug)]
pub(super) struct Program {
    pub(super) path: Arc<Path>,
    pub(super) variables: Vec<(String, OsString)>,
}

/// What it said before it ended well.
pub(super) struct Said {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

impl Program {
    /// Runs it to its end, bounded in time and in what it says. Cancel safe: it is killed.
    pub(super) async fn run(&self, arguments: &[&OsStr]) -> Result<Said, MkcertError> {
        let mut command = Command::new(&*self.path);
        command.args(arguments).env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut group = Group(command.process_group(0).kill_on_drop(true).spawn().map_err(MkcertError::Io)?);
        let outcome = timeout(limits::MKCERT_WAIT, group.outcome()).await.unwrap_or(Err(MkcertError::TimedOut));
        if outcome.is_err() {
            group.kill();
            // Killed, so it does not take long, unless the disk hangs.
            _ = timeout(limits::MKCERT_KILL_WAIT, group.0.wait()).await;
        }
        outcome
    }
}

/// The process and whatever it started.
struct Group(Child);

impl Group {
    async fn outcome(&mut self) -> Result<Said, MkcertError> {
        // Read to the end before the process is waited for: until then its id is its group's, and nobody else's.
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let (stdout, stderr) = tokio::try_join!(read(stdout), read(stderr))?;
        let status = self.0.wait().await.map_err(MkcertError::Io)?;
        if status.success() {
            return Ok(Said { stdout, stderr });
        }
        let words = String::from_utf8_lossy(&stderr);
        let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Err(MkcertError::Refused(one_line(last.strip_prefix("ERROR: ").unwrap_or(last))))
    }

    /// Does nothing once the process was waited for: its id may be another's then.
    fn kill(&self) {
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, MkcertError> {
    let mut bytes = Vec::new();
    let Some(stream) = stream else { return Ok(bytes) };
    let limit = limits::MKCERT_OUTPUT_BYTES_MAX;
    stream.take(limit as u64 + 1).read_to_end(&mut bytes).await.map_err(MkcertError::Io)?;
    if bytes.len() > limit { Err(MkcertError::TooMuch) } else { Ok(bytes) }
}
