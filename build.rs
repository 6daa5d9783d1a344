//! Writes the list of libraries that `hotcore credits` prints: name, version and licence of each, a line, parted by tabs.
//!
//! Cargo itself is asked, so the list is that of `Cargo.lock` and of the packages' own manifests, for the machine that is
//! built for. Procedural macros, build and test dependencies are no part of the program and are left out.
#![expect(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "this is how a build script talks with Cargo"
)]

use std::{env, error::Error, fs, path::Path, process::Command};

fn main() -> Result<(), Box<dyn Error>> {
    for file in ["build.rs", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let libraries = libraries().unwrap_or_else(|cause| {
        // A build as part of another workspace may lack packages that only this one names. The program then says that it has
        // no list; a test refuses to ship it so.
        println!("cargo::warning=`hotcore credits` will be empty: {cause}");
        String::new()
    });
    fs::write(Path::new(&env::var("OUT_DIR")?).join("credits.txt"), libraries)?;
    Ok(())
}

fn libraries() -> Result<String, Box<dyn Error>> {
    // `tree` and not `metadata`: it wants no package that the build itself did not need, so a fresh checkout is enough.
    let output = Command::new(env::var("CARGO")?)
        .args(["tree", "--locked", "--offline", "--edges=normal,no-proc-macro", "--prefix=none", "--format={p}\t{l}"])
        .args(["--target", &env::var("TARGET")?, "--charset=ascii", "--color=never"])
        .current_dir(env::var("CARGO_MANIFEST_DIR")?)
        .output()?;
    if !output.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&output.stderr).replace('\n', " ")).into());
    }
    let own = env::var("CARGO_PKG_NAME")?;
    let mut lines = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        // `name v1.2.3 (where from)`, and ` (*)` at the end of a line that was there before.
        let (package, licence) = line.split_once('\t').ok_or("cargo tree: a line without a licence column")?;
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            return Err(format!("cargo tree: cannot read {line:?}").into());
        };
        if name != own {
            let licence = licence.trim_end_matches("(*)").trim();
            lines.push(format!("{name}\t{}\t{licence}\n", version.trim_start_matches('v')));
        }
    }
    lines.sort();
    lines.dedup();
    Ok(lines.concat())
}
