//! `install.sh`, as people run it: from a file, a folder, the web, a checkout, and piped into a shell.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    process::Command,
};

use crate::rig::{Backend, Identity, Machine, Root, beside, deb, folder, rpm, sha256, skip, succeed};

const OLD: &str = "0.1.0-1";
const NEW: &str = "0.2.0-1";

/// A machine without hotcore, which sees the script, and a release: packages with their sums.
struct Fresh {
    machine: Machine,
    architecture: String,
}

impl Fresh {
    fn boot(root: Root) -> Self {
        let machine = Machine::boot(root);
        let share = machine.share();
        // Who is not root reads the script, too.
        fs::set_permissions(share, Permissions::from_mode(0o755)).unwrap();
        let script = fs::read_to_string(beside("../../install.sh")).unwrap();
        assert!(script.contains("\nRELEASES='"), "the one place for the address of the releases");
        // The tests know no address.
        let lines = script.lines().map(|line| if line.starts_with("RELEASES=") { "RELEASES=''" } else { line });
        fs::write(share.join("install.sh"), lines.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        let architecture = machine.sh("dpkg --print-architecture");
        Self { machine, architecture }
    }

    /// Makes the folder `/t/NAME` of these .debs.
    fn release(&self, name: &str, versions: &[&str]) -> String {
        let path = self.machine.share().join(name);
        fs::create_dir(&path).unwrap();
        let mut sums = String::new();
        for version in versions {
            let file = path.join(self.file(version));
            fs::copy(deb(version), &file).unwrap();
            sums += &format!("{}  {}\n", sha256(&file), self.file(version));
        }
        fs::write(path.join("SHA256SUMS"), sums).unwrap();
        format!("/t/{name}")
    }

    fn file(&self, version: &str) -> String {
        format!("hotcore_{version}_{}.deb", self.architecture)
    }

    /// A folder for the beginning of PATH, with a program of this name.
    fn stub(&self, program: &str, script: &str) -> String {
        let path = format!("/stubs/{program}");
        self.machine.sh(&format!("mkdir -p {path}"));
        self.machine.write(&format!("{path}/{program}"), &format!("#!/bin/sh\n{script}\n"));
        self.machine.sh(&format!("chmod 755 {path}/{program}"));
        path
    }

    /// The exit code of a line of the shell, and what it said.
    fn run(&self, line: &str) -> (i32, String) {
        let output = self.machine.try_sh(&format!("{{ {line}; }} 2>&1"));
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a line that must succeed and say all this. Nothing of it may be left behind.
    fn succeeds(&self, line: &str, says: &[&str]) {
        let (code, said) = self.run(line);
        assert!(code == 0 && says.iter().all(|says| said.contains(says)), "{line}: {code}, wanted {says:?}\n{said}");
        self.assert_no_leftovers(line);
    }

    /// Runs a line that must be refused, with one sentence that contains this, and change nothing.
    fn refuses(&self, code: i32, line: &str, says: &str) {
        let before = self.installed();
        let (is, said) = self.run(line);
        let told: Vec<_> = said.lines().filter(|line| line.starts_with("install.sh: ")).collect();
        assert!(is == code && told.len() == 1 && told[0].contains(says), "{line}: {is}, wanted {says:?}\n{said}");
        assert_eq!(self.installed(), before, "{line}");
        self.assert_no_leftovers(line);
    }

    fn assert_no_leftovers(&self, line: &str) {
        assert_eq!(self.machine.sh("ls /tmp | grep -v '^systemd-private-' || :"), "", "{line} left files behind");
    }

    /// The version that dpkg knows; empty: none.
    fn installed(&self) -> String {
        self.machine.sh("dpkg-query --show --showformat='${Version}' hotcore 2>/dev/null || :")
    }

    /// A web server in the machine's network, which shows what the machine sees as `/t`: its address, and how to trust it.
    fn web(&self, scratch: &std::path::Path) -> (Backend, String, String) {
        let identity = Identity::new();
        self.machine.write("/etc/release-ca.pem", &identity.root);
        let server = self.machine.inside(|| Backend::secure_files(self.machine.share(), &identity, scratch));
        let address = format!("https://127.0.0.1:{}", server.port);
        (server, address, "export CURL_CA_BUNDLE=/etc/release-ca.pem;".to_owned())
    }
}

/// The life of a machine that is kept up to date by the script.
#[test]
fn the_script_installs_upgrades_and_may_be_run_again() {
    let fresh = Fresh::boot(Root::Debian);
    let release = fresh.release("release", &[NEW, OLD]);
    let old = fresh.release("old", &[OLD]);
    let file = format!("{}/{}", old, fresh.file(OLD));

    // From a checkout, without a word.
    let checkout = fresh.machine.share().join("checkout");
    fs::create_dir(&checkout).unwrap();
    fs::copy(beside("../../Cargo.toml"), checkout.join("Cargo.toml")).unwrap();
    fs::copy(fresh.machine.share().join("install.sh"), checkout.join("install.sh")).unwrap();
    fresh.refuses(1, "sh /t/checkout/install.sh", "there is no cargo to build with");
    let cargo = fresh.stub(
        "cargo",
        &format!("echo \"cargo $*\"\nwhile [ $# -gt 0 ]; do\n[ $1 != --output ] || cp {file} $2\nshift\ndone"),
    );
    let build = format!("PATH={cargo}:$PATH sh /t/checkout/install.sh");
    fresh.refuses(1, &build, "cargo-deb is missing: cargo install --locked cargo-deb");
    let tool = fresh.stub("cargo-deb", "");
    let build = format!("PATH={cargo}:{tool}:$PATH sh /t/checkout/install.sh");
    fresh.succeeds(&format!("{build} --dry-run"), &["would build"]);
    assert_eq!(fresh.installed(), "");
    fresh.succeeds(&build, &["cargo build --release --locked", "hotcore 0.1.0-1 serves", "hotcore add a-app.com 8080"]);
    assert_eq!(fresh.installed(), OLD);
    fresh.machine.sh("hotcore add kept.example 8080");

    // Again, from a file this time.
    fresh.succeeds(
        &format!("sh /t/install.sh {file}"),
        &["SHA-256 as it should be", "0.1.0-1 is installed already", "serves"],
    );
    // The newest of a folder.
    fresh.succeeds(
        &format!("sh /t/install.sh --dry-run {release}"),
        &["would upgrade hotcore 0.2.0-1, where 0.1.0-1 is: ", "apt-get"],
    );
    assert_eq!(fresh.installed(), OLD);
    fresh.succeeds(&format!("sh /t/install.sh {release}"), &["SHA-256 as it should be", "hotcore 0.2.0-1 serves"]);
    assert_eq!(fresh.installed(), NEW);
    // Back only if that is meant; a file that nobody vouches for is told from one that somebody does.
    fresh.machine.sh(&format!("mkdir /alone && cp {file} '/alone/a strange name'"));
    fresh.refuses(1, "sh /t/install.sh '/alone/a strange name'", "0.1.0-1 is older: take --allow-downgrade");
    fresh.succeeds(
        "cd /alone && sh /t/install.sh --allow-downgrade 'a strange name'",
        &["a strange name was not verified", "hotcore 0.1.0-1 serves"],
    );
    assert_eq!(fresh.installed(), OLD);
    assert_eq!(fresh.machine.sh("hotcore list"), "kept.example 8080");

    // What was stopped on purpose is not started, and what does not serve is not praised.
    fresh.machine.sh("systemctl stop hotcore.service hotcore-web.socket hotcore-control.socket");
    fresh.refuses(
        1,
        &format!("sh /t/install.sh {file}"),
        "is installed, but was stopped: systemctl start hotcore-web.socket",
    );
}

/// The way of the first page: a line that pipes the script from the web into a shell.
#[test]
fn the_script_installs_from_the_web_when_it_is_piped_into_a_shell() {
    let (fresh, scratch) = (Fresh::boot(Root::Debian), folder());
    fresh.release("release", &[OLD]);
    fresh.release("wrong", &[OLD]);
    let wrong = fresh.machine.share().join("wrong");
    fs::write(wrong.join("SHA256SUMS"), format!("{}  {}\n", "0".repeat(64), fresh.file(OLD))).unwrap();
    fresh.release("bare", &[OLD]);
    fs::remove_file(fresh.machine.share().join("bare/SHA256SUMS")).unwrap();
    let (_server, address, trust) = fresh.web(scratch.path());
    let plain = fresh.machine.inside(|| Backend::files(fresh.machine.share()));
    let (pipe, file) = (format!("{trust} cat /t/install.sh | sh -s --"), fresh.file(OLD));

    fresh.refuses(1, "cat /t/install.sh | bash", "there is no public address of packages yet");
    fresh.refuses(1, &format!("cat /t/install.sh | sh -s -- --from {address}/release"), "cannot download");
    fresh.refuses(1, &format!("{pipe} --from {address}/bare"), "cannot download");
    fresh.refuses(1, &format!("{pipe} {address}/bare/{file}"), "cannot download");
    fresh.refuses(1, &format!("{pipe} --from {address}/wrong"), "is wanted: it is damaged");
    fresh.refuses(1, &format!("{pipe} {address}/wrong/{file}"), "is wanted: it is damaged");
    let http = format!("http://127.0.0.1:{}/release", plain.port);
    fresh.refuses(1, &format!("{pipe} --from {http}"), "is not https");
    fresh.refuses(1, &format!("{pipe} --from {http} --sha256 {}", "0".repeat(64)), "is wanted: it is damaged");
    let sum = sha256(&fresh.machine.share().join("release").join(&file));
    fresh.succeeds(&format!("{pipe} --from {http} --sha256 {sum} --dry-run"), &["would install hotcore 0.1.0-1: "]);
    fresh.succeeds(&format!("{pipe} {http}/{file} --sha256 {sum} --dry-run"), &["would install hotcore 0.1.0-1: "]);
    fresh.succeeds(
        &format!("{trust} HOTCORE_RELEASES={address}/release sh /t/install.sh --dry-run"),
        &["would install"],
    );
    assert_eq!(fresh.installed(), "");
    let filled = format!("{trust} sed \"s|^RELEASES=''|RELEASES='{address}/release'|\" /t/install.sh | bash");
    fresh.succeeds(&filled, &["SHA-256 as it should be", "hotcore 0.1.0-1 serves"]);
    assert_eq!(fresh.installed(), OLD);
}

/// Each with one sentence, before anything is changed.
#[test]
fn where_the_script_cannot_work_it_says_so_and_changes_nothing() {
    let fresh = Fresh::boot(Root::Debian);
    let release = fresh.release("release", &[OLD]);
    let install = format!("sh /t/install.sh {release}");
    let with = |stub: &str| format!("PATH={stub}:$PATH {install}");

    for (words, says) in [
        ("--bogus", "there is no option --bogus"),
        ("--from", "--from needs a value"),
        ("--from ftp://x/y", "ftp://x/y is not the address of a folder on the web"),
        ("--sha256 12", "64 hexadecimal digits"),
        ("/t/a /t/b", "are two packages"),
        ("--build /t/a", "are two sources"),
        ("--from https://a/b /t/c", "are two sources"),
    ] {
        fresh.refuses(2, &format!("sh /t/install.sh {words}"), says);
    }
    fresh.succeeds("sh /t/install.sh --help", &["--allow-downgrade", "HOTCORE_RELEASES"]);
    fresh.refuses(1, "sh /t/install.sh /t/none.deb", "there is no file or folder /t/none.deb");
    fresh.refuses(1, "sh /t/install.sh --build", "there is no source beside install.sh");
    fresh.refuses(1, "sh /t/install.sh /t", "/t has no SHA256SUMS");

    // The package.
    let file = fresh.file(OLD);
    let share = fresh.machine.share();
    fs::create_dir(share.join("wrong")).unwrap();
    fs::write(share.join("wrong").join(&file), "no package").unwrap();
    fresh.refuses(1, &format!("sh /t/install.sh /t/wrong/{file}"), "is no .deb package that can be read");
    fresh.refuses(1, "touch /t/x.rpm; sh /t/install.sh /t/x.rpm", "is an .rpm, and this system installs .deb packages");
    let sums = fs::read_to_string(share.join("release/SHA256SUMS")).unwrap();
    fs::write(share.join("wrong/SHA256SUMS"), &sums).unwrap();
    fresh.refuses(1, "sh /t/install.sh /t/wrong", "is wanted: it is damaged");
    fresh.refuses(1, &format!("sh /t/install.sh /t/wrong/{file}"), "is wanted: it is damaged");
    fs::write(share.join("wrong/SHA256SUMS"), sums.replace("hotcore_", "other_")).unwrap();
    fresh.refuses(1, "sh /t/install.sh /t/wrong", "SHA256SUMS names no .deb package of hotcore for");
    fs::write(share.join("wrong/SHA256SUMS"), sums.replace(OLD, "9.9.9-1")).unwrap();
    fresh.refuses(1, "sh /t/install.sh /t/wrong", "is in SHA256SUMS, but not in /t/wrong");

    // The system.
    fresh.refuses(1, &with(&fresh.stub("uname", "echo FreeBSD")), "hotcore runs on Linux, and this is FreeBSD");
    fresh.refuses(1, &with(&fresh.stub("dpkg", "echo riscv64")), "there is no package for riscv64");
    fresh.refuses(
        1,
        &with(&fresh.stub("systemctl", "echo 'systemd 251 (251.4)'")),
        "systemd 251 is too old, 252 is needed",
    );
    let unshared = |line: &str| format!("unshare --mount sh -c '{line} && {install}'");
    fresh.refuses(1, &unshared("mount -t tmpfs none /run/systemd"), "systemd does not run this system");
    fresh.machine.write("/fedora", "ID=fedora\n");
    fresh.refuses(1, &unshared("mount --bind /fedora /etc/os-release"), "(fedora ) has neither apt-get nor dnf");
    fresh.refuses(1, &unshared("mkdir -p /run/x && mount -t tmpfs -o size=1m none /tmp"), "cannot copy");
    let df = fresh.stub("df", "echo x\necho / 9 9 9000 9 /");
    fresh.refuses(1, &with(&df), "there is too little room in /usr: 9000 KiB are free");
    for (missing, words, says) in [
        ("sha256sum", release.as_str(), "sha256sum is missing"),
        ("curl", "--from https://127.0.0.1:9/x", "there is neither curl nor wget"),
    ] {
        fresh.machine.sh(&format!("cp -as /usr/bin /without-{missing} && rm /without-{missing}/{missing}"));
        fresh.refuses(1, &format!("PATH=/without-{missing} sh /t/install.sh {words}"), says);
    }

    // Who runs it.
    let somebody = "setpriv --reuid=1000 --regid=1000 --clear-groups";
    fresh.refuses(1, &format!("{somebody} {install}"), "you are not root: run it as root, or install sudo");
    fresh.succeeds(&format!("{somebody} {install} --dry-run"), &["would install hotcore 0.1.0-1: "]);
    let sudo = fresh.stub("sudo", "[ \"$1\" != -n ]");
    fresh.refuses(1, &format!("PATH={sudo}:$PATH {somebody} {install}"), "sudo asks for a password");
    let sudo = fresh.stub("sudo", "[ \"$1\" = -n ] || { echo \"as root: $*\"; exit 1; }");
    fresh.refuses(1, &format!("PATH={sudo}:$PATH {somebody} {install}"), "apt-get could not install hotcore");
    let (_, said) = fresh.run(&format!("PATH={sudo}:$PATH {somebody} {install}"));
    assert!(said.contains("as root: env DEBIAN_FRONTEND=noninteractive apt-get"), "{said}");
    assert_eq!(fresh.installed(), "");
}

/// Where .rpm packages are the system's own; dnf itself is a stand-in, as Debian's knows no package that hotcore could need.
#[test]
fn the_script_takes_the_rpm_where_that_is_the_systems_own() {
    let manifest = fs::read_to_string(beside("../../Cargo.toml")).unwrap();
    if !manifest.contains("[package.metadata.generate-rpm]") {
        return skip(
            "the_script_takes_the_rpm_where_that_is_the_systems_own",
            "Cargo.toml says nothing of an .rpm yet",
        );
    }
    let fresh = Fresh::boot(Root::Fedora);
    fresh.machine.write("/etc/os-release", "ID=fedora\n");
    let (release, architecture) = (fresh.machine.share().join("release"), fresh.machine.sh("uname -m"));
    fs::create_dir(&release).unwrap();
    let mut sums = String::new();
    for version in ["0.2.0", "0.10.0"] {
        let name = format!("hotcore-{version}-1.{architecture}.rpm");
        fs::copy(rpm(version), release.join(&name)).unwrap();
        sums += &format!("{}  {name}\n", sha256(&release.join(&name)));
    }
    fs::write(release.join("SHA256SUMS"), sums).unwrap();
    let dnf = fresh.stub(
        "dnf",
        "echo \"dnf $*\"\nfor file in \"$@\"; do :; done\n[ $1 != downgrade ] || old=--oldpackage\nexec rpm -U ${old-} --nodeps $file",
    );
    let script = format!("PATH={dnf}:$PATH sh /t/install.sh");
    let old = format!("/t/release/hotcore-0.2.0-1.{architecture}.rpm");
    fresh.succeeds(
        &format!("{script} {old}"),
        &["as it should be", "dnf install --assumeyes ", "hotcore 0.2.0-1 serves"],
    );
    fresh.succeeds(&format!("{script} {old}"), &["hotcore 0.2.0-1 is installed already", "serves"]);
    fresh.succeeds(&format!("{script} /t/release"), &["as it should be", "hotcore 0.10.0-1 serves"]);
    fresh.refuses(1, &format!("{script} {old}"), "0.2.0-1 is older: take --allow-downgrade");
    fresh.succeeds(&format!("{script} {old} --allow-downgrade"), &["dnf downgrade ", "hotcore 0.2.0-1 serves"]);
    fresh.refuses(
        1,
        &format!("touch /t/x.deb; {script} /t/x.deb"),
        "is a .deb, and this system installs .rpm packages",
    );
    let uname = fresh.stub("uname", "if [ $1 = -m ]; then echo riscv64; else echo Linux; fi");
    fresh.refuses(1, &format!("PATH={uname}:{dnf}:$PATH sh /t/install.sh {old}"), "there is no package for riscv64");
    assert_eq!(fresh.machine.sh("rpm --query hotcore"), format!("hotcore-0.2.0-1.{architecture}"));
}

/// A download that breaks off runs nothing, wherever that is; all of it installs.
#[test]
fn a_script_that_is_cut_off_does_nothing() {
    let fresh = Fresh::boot(Root::Debian);
    let release = fresh.release("release", &[OLD]);
    let script = fs::read(fresh.machine.share().join("install.sh")).unwrap();
    let last = script.len() - "\n".len();
    let cuts = format!("seq 1 149 {last}; seq {} {}", last - 40, last - 1);
    fresh.machine.sh(&format!(
        "for cut in $({cuts}); do for shell in sh bash; do head -c $cut /t/install.sh | $shell -s -- {release} >>/said 2>&1 || :; done; done"
    ));
    assert_eq!(fresh.installed(), "");
    fresh.assert_no_leftovers("a script that is cut off");
    let said = fresh.machine.sh("cat /said");
    assert!(!said.contains("SHA-256") && !said.contains("install.sh: "), "{said}");
    fresh.succeeds(&format!("head -c {last} /t/install.sh | sh -s -- {release}"), &["hotcore 0.1.0-1 serves"]);
    assert_eq!(fresh.installed(), OLD);
}

/// What the page says of options is what there is.
#[test]
fn the_help_of_the_script_names_every_option() {
    let script = fs::read_to_string(beside("../../install.sh")).unwrap();
    let help = succeed(Command::new("sh").arg(beside("../../install.sh")).arg("--help"));
    let parse = script.split("\nparse() {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let options = parse.split_ascii_whitespace().map(|word| word.trim_end_matches(')')).filter(|word| word.len() > 2);
    let options: std::collections::BTreeSet<_> = options
        .filter(|word| {
            word.starts_with("--") && word[2..].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
        .collect();
    assert!(options.len() >= 7, "{options:?}");
    for option in options {
        assert!(help.contains(option), "{option} is not in the help");
    }
}
