//! The packages, made from the program under test. Each is made once a run.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

use super::{folder, succeed};

/// The .deb with this version, which need not be the program's. Made by the first who asks.
pub(crate) fn deb(version: &str) -> PathBuf {
    once(&format!("hotcore_{version}.deb"), |file| {
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
        command.args(["--deb-version", version, "--output"]).arg(file);
        succeed(command.current_dir(env!("CARGO_MANIFEST_DIR")));
    })
}

/// The .rpm with this version.
pub(crate) fn rpm(version: &str) -> PathBuf {
    // By the name that rpm's tools expect.
    once(&format!("hotcore-{version}-1.{}.rpm", std::env::consts::ARCH), |file| {
        let mut command = Command::new("cargo");
        command.args(["generate-rpm", "--payload-compress=none", "--profile", profile()]);
        command.args(["--set-metadata", &format!("version = \"{version}\""), "--output"]).arg(file);
        succeed(command.current_dir(env!("CARGO_MANIFEST_DIR")));
    })
}

/// A package with nothing in it that says it has what `package` needs, systemd in this version: the database of Debian's rpm does
/// not even know /bin/sh.
pub(crate) fn system_rpm(package: &Path, systemd: u32) -> PathBuf {
    once(&format!("system-{systemd}-1.noarch.rpm"), |file| {
        let mut text = format!(
            "Name: system\nVersion: {systemd}\nRelease: 1\nSummary: What a machine has\nLicense: none\nBuildArch: noarch\n\
             Provides: systemd = {systemd}\n"
        );
        for need in succeed(Command::new("rpm").args(["--query", "--requires", "--package"]).arg(package)).lines() {
            if !need.starts_with("rpmlib(") && !need.starts_with("systemd") {
                writeln!(text, "Provides: {need}").unwrap();
            }
        }
        text += "%description\nNothing.\n%files\n";
        let work = folder();
        let spec = work.path().join("system.spec");
        fs::write(&spec, text).unwrap();
        let mut command = Command::new("rpmbuild");
        command.args(["-bb", "--quiet", "--define", &format!("_topdir {}", work.path().display())]).arg(&spec);
        succeed(&mut command);
        fs::copy(work.path().join("RPMS/noarch").join(file.file_name().unwrap()), file).unwrap();
    })
}

/// Whether the program under test is what is shipped.
pub(crate) const PROFILE_IS_RELEASE: bool = !cfg!(debug_assertions);

/// What `make` makes of a file of this name.
fn once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    static MADE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut made = MADE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !made.contains(&file) {
        make(&file);
        made.insert(file.clone());
    }
    file
}

/// The profile of the program under test, as Cargo names it: what it built is in a folder of that name, but for `dev`.
fn profile() -> &'static str {
    let folder = Path::new(env!("CARGO_BIN_EXE_hotcore")).parent().and_then(Path::file_name).unwrap();
    match folder.to_str().unwrap() {
        "debug" => "dev",
        name => name,
    }
}
