//! What the tests are made of: the daemon, backends, clients and load, each ended and waited for when it is dropped.

mod backend;
mod control;
mod daemon;
mod faults;
mod http;
mod installed;
mod internet;
mod load;
mod machine;
mod manager;
mod package;
mod pebble;
mod responder;
mod secure;
mod secure_load;
mod standing;
mod tally;
mod traffic;
mod websocket;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

pub(crate) use backend::{Backend, ReservedPort};
pub(crate) use control::Control;
pub(crate) use daemon::{Daemon, Launch, NO_AUTHORITY};
pub(crate) use faults::{Fault, Front};
pub(crate) use http::{Answer, Client, curl};
pub(crate) use installed::Installed;
pub(crate) use internet::{Internet, Trust, Visit};
pub(crate) use load::{Habit, Load};
pub(crate) use machine::{Machine, Root, without_systemd};
pub(crate) use manager::{Manager, WATCHDOG};
pub(crate) use package::{PROFILE_IS_RELEASE, deb, rpm, system_rpm};
pub(crate) use pebble::{ACCOUNT_MADE, Hostility, Identity, ORDER_MADE, Pebble, SIGNED};
pub(crate) use responder::Responder;
pub(crate) use secure::{SecureSite, s_client};
pub(crate) use secure_load::{Door, SecureLoad, Way};
pub(crate) use standing::Standing;
pub(crate) use tally::{Failure, Seen, Tally};
pub(crate) use traffic::{Drops, IN_FLIGHT_MAX, Traffic};
pub(crate) use websocket::WebSocket;

/// How long a test waits for an event before it fails: far beyond what a loaded machine needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Looks until `look` finds something; fails the test after `patience`.
pub(crate) fn wait_for<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A line on the real stderr: the test harness does not swallow it. For figures.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr(), "note: {text}");
}

/// Says that `test` proves nothing on this machine, and why. The test command collects these lines.
pub(crate) fn skip(test: &str, reason: &str) {
    let _ = writeln!(io::stderr(), "SKIPPED {test}: {reason}");
}

/// The state folder of one test, removed with it.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("hotcore-test-").tempdir().unwrap()
}

/// A file beside these tests.
pub(crate) fn beside(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system").join(path)
}

/// The seed of a test with random input: from HOTCORE_SEED, else drawn; printed, so that a failure can be repeated.
#[expect(clippy::disallowed_methods, reason = "the seed of a failed run is given by the environment")]
pub(crate) fn seeded(test: &str) -> fastrand::Rng {
    let seed =
        std::env::var("HOTCORE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    note(&format!("{test}: HOTCORE_SEED={seed}"));
    fastrand::Rng::with_seed(seed)
}

/// Runs a program to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"))
}

/// A program that is ended after so many seconds, and exits with 124 then: a client that waits for ever fails its test.
pub(crate) fn bounded(seconds: u32, program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", &seconds.to_string(), program]);
    command
}

/// Runs a program that must succeed, and gives its standard output.
pub(crate) fn succeed(command: &mut Command) -> String {
    let output = run(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Whether a program is there and, asked with these words, succeeds.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// SHA-256 of a file, by coreutils.
pub(crate) fn sha256(file: &Path) -> String {
    succeed(Command::new("sha256sum").arg(file)).split_whitespace().next().unwrap().to_owned()
}
