//! The packages, made from the program under test.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use super::succeed;

/// What was made in this run: a package is made once, by the first who needs it, and others wait for it.
static MADE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The .deb with this version, which need not be the program's.
pub(crate) fn deb(version: &str) -> PathBuf {
    let file = target().join(format!("hotcore_{version}.deb"));
    let mut command = Command::new("cargo");
    command.args([
        "deb",
        "--quiet",
        "--locked",
        "--no-build",
        "--no-strip",
        "--no-dbgsym",
        "--fast",
        "--profile",
        profile(),
    ]);
    command.args(["--deb-version", version, "--output"]).arg(&file);
    make(command, file)
}

/// The .rpm with this version.
pub(crate) fn rpm(version: &str) -> PathBuf {
    let file = target().join(format!("hotcore-{version}.rpm"));
    let mut command = Command::new("cargo");
    command.args(["generate-rpm", "--payload-compress=none", "--profile", profile()]);
    command.args(["--set-metadata", &format!("version = \"{version}\""), "--output"]).arg(&file);
    make(command, file)
}

fn make(mut command: Command, file: PathBuf) -> PathBuf {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if !made.contains(&file) {
        succeed(command.current_dir(env!("CARGO_MANIFEST_DIR")));
        made.insert(file.clone());
    }
    file
}

fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The profile of the program under test, as Cargo names it: what it built is in a folder of that name, but for `dev`.
fn profile() -> &'static str {
    let folder = Path::new(env!("CARGO_BIN_EXE_hotcore")).parent().and_then(Path::file_name).unwrap();
    match folder.to_str().unwrap() {
        "debug" => "dev",
        name => name,
    }
}
