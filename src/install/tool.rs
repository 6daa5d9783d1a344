//! Programs of the system: found where the system keeps them, run without a shell, bounded in time.

use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, runtime, time::timeout};

use crate::limits::INSTALL_TOOL_WAIT;

/// Where programs of the system are, whatever the caller's `PATH` says: they are run as root.
const FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// What they see as `PATH`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The program of this name.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| is_program(path))
}

/// Whether there is a file that can be executed.
pub(super) fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// What the program says, if it ends well. Else why not: in its own words, where it has some.
pub(super) fn run(name: &str, arguments: &[&str]) -> Result<String, String> {
    let output = finish(name, arguments)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = [errors, said].into_iter().find(|words| !words.trim().is_empty());
    let words = words.map_or_else(|| output.status.to_string(), |words| one_line(&words));
    Err(format!("{name} {}: {words}", arguments.join(" ")))
}

/// The same without a judgement of how it ends.
pub(super) fn finish(name: &str, arguments: &[&str]) -> Result<Output, String> {
    let path = find(name).ok_or_else(|| format!("there is no {name} in {PATH}"))?;
    let mut command = std::process::Command::new(path);
    command.args(arguments).env_clear().env("PATH", PATH).env("LC_ALL", "C");
    bounded(command, INSTALL_TOOL_WAIT).map_err(|cause| format!("cannot run {name}: {cause}"))
}

/// Runs to the end, or kills after `wait`.
pub(super) fn bounded(mut command: std::process::Command, wait: Duration) -> Result<Output, String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(|cause| cause.to_string())?;
    runtime.block_on(async {
        let child = Command::from(command).kill_on_drop(true).spawn().map_err(|cause| cause.to_string())?;
        match timeout(wait, child.wait_with_output()).await {
            Ok(output) => output.map_err(|cause| cause.to_string()),
            Err(_) => Err(format!("it did not end within {} s", wait.as_secs())),
        }
    })
}

/// What a program said, on one line, without what would paint the screen.
fn one_line(words: &str) -> String {
    let lines: Vec<_> = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join("; ");
    let shown = line.chars().map(|letter| if letter.is_control() { '?' } else { letter });
    shown.take(WORDS_MAX).collect()
}

/// Letters of a program's complaint that are shown.
const WORDS_MAX: usize = 500;

/// Whether programs of this folder are found by this `PATH`.
pub(super) fn is_in_path(folder: &Path, path: &str) -> bool {
    path.split(':').any(|known| OsStr::new(known) == folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_programs_words_or_its_end_say_why_it_failed() {
        assert_eq!(run("sh", &["-c", "echo well"]), Ok("well\n".to_owned()));
        let wrong = run("sh", &["-c", "echo out; echo 'no\n\tgo\u{1b}[31m' >&2; exit 3"]).unwrap_err();
        assert!(wrong.ends_with(": no; go?[31m"), "{wrong}");
        assert!(run("sh", &["-c", "exit 3"]).unwrap_err().contains("exit status: 3"));
        assert!(run("no-such-tool", &[]).unwrap_err().contains("there is no no-such-tool"));
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let mut command = std::process::Command::new("sleep");
        command.arg("1000");
        let wrong = bounded(command, Duration::from_millis(50)).unwrap_err();
        assert!(wrong.contains("did not end"), "{wrong}");
    }
}
