//! What is in the packages: the same files, needed libraries that the promised systems have, and no word of the distributions'
//! own judges. Systemd.md, 7 and 8.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::rig::{PROFILE_IS_RELEASE, deb, rpm, run, succeed};

/// The newest C library that both Debian 12 and RHEL 9 have.
const GLIBC_MAX: (u32, u32) = (2, 34);

/// Files that one package has and the other has not, or elsewhere: of the .deb, of the .rpm, and why.
const DIFFERENCES: &[(Option<&str>, Option<&str>, &str)] = &[
    (Some("/etc/ufw/applications.d/hotcore"), None, "firewalld is the firewall of Fedora and its kin"),
    (
        Some("/usr/share/doc/hotcore/copyright"),
        Some("/usr/share/licenses/hotcore/LICENSE"),
        "each where its readers look",
    ),
    (Some("/usr/share/doc/hotcore/changelog.gz"), Some("/usr/share/doc/hotcore/CHANGELOG.md"), "Debian's policy, 12.7"),
    (Some("/usr/share/doc/hotcore/changelog.Debian.gz"), None, "what changed in the package; Debian's policy, 12.7"),
    (Some("/usr/share/lintian/overrides/hotcore"), None, "for lintian"),
    (
        Some("/usr/share/zsh/vendor-completions/_hotcore"),
        Some("/usr/share/zsh/site-functions/_hotcore"),
        "each where its zsh looks",
    ),
];

fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(tree().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A .deb's files, each with its mode and owner as tar prints them.
fn deb_files(package: &Path) -> BTreeMap<String, String> {
    let list = succeed(Command::new("dpkg-deb").arg("--contents").arg(package));
    let files = list.lines().filter(|line| !line.starts_with('d')).map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        (
            fields[5].trim_start_matches('.').to_owned(),
            format!("{} {}", fields[0], fields[1].replace("0/0", "root/root")),
        )
    });
    files.collect()
}

/// The same of an .rpm.
fn rpm_files(package: &Path) -> BTreeMap<String, String> {
    let format = "[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME}\n]";
    let list = succeed(Command::new("rpm").args(["--query", "--queryformat", format, "--package"]).arg(package));
    list.lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(path, rest)| (path.to_owned(), rest.to_owned()))
        .collect()
}

/// Whoever adds a file to one package is reminded of the other.
#[test]
fn both_packages_have_the_same_files() {
    let (mut debs, mut rpms) = (deb_files(&deb("0.1.0-1")), rpm_files(&rpm("0.1.0")));
    for (deb, rpm, reason) in DIFFERENCES {
        for (path, files) in [(deb, &mut debs), (rpm, &mut rpms)] {
            if let Some(path) = path {
                assert!(files.remove(*path).is_some(), "{path} is not there ({reason})");
            }
        }
    }
    // cargo-generate-rpm compresses nothing.
    let is_page = |path: &str| path.starts_with("/usr/share/man/");
    let debs: BTreeMap<_, _> = debs
        .into_iter()
        .map(|(path, mode)| (if is_page(&path) { path.trim_end_matches(".gz").to_owned() } else { path }, mode))
        .collect();
    assert_eq!(debs, rpms);
    for (path, mode) in debs {
        let expected = if path == "/usr/bin/hotcore" { "-rwxr-xr-x root/root" } else { "-rw-r--r-- root/root" };
        assert_eq!(mode, expected, "{path}");
    }
}

/// What stands in the folders for it is in the packages.
#[test]
fn the_packages_have_all_that_the_tree_has_for_them() {
    let debs = deb_files(&deb("0.1.0-1"));
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(tree().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut wanted = BTreeSet::new();
    for unit in names("systemd").iter().filter(|name| !name.ends_with(".sysusers")) {
        wanted.insert(format!("/usr/lib/systemd/system/{unit}"));
    }
    for page in names("docs/man").iter().filter(|name| !name.ends_with(".md")) {
        wanted.insert(format!("/usr/share/man/man{}/{page}.gz", page.rsplit('.').next().unwrap()));
    }
    for page in names("docs").iter().filter(|name| name.ends_with(".md")) {
        wanted.insert(format!("/usr/share/doc/hotcore/docs/{page}"));
    }
    assert!(wanted.len() >= 9, "{wanted:?}");
    for path in &wanted {
        assert!(debs.contains_key(path), "{path} is not in the package");
    }
    assert_eq!(names("docs/completions").len(), debs.keys().filter(|path| path.contains("completions")).count());
}

/// B268: the name of a script that is not there becomes its text.
#[test]
fn the_rpm_has_the_scripts_that_the_tree_has() {
    let package = rpm("0.1.0");
    let query = |format: &str| {
        succeed(Command::new("rpm").args(["--query", "--queryformat", format, "--package"]).arg(&package))
    };
    for (tag, file) in [
        ("POSTIN", Some("rpm/post-install.sh")),
        ("PREUN", Some("rpm/pre-remove.sh")),
        ("POSTUN", Some("rpm/post-remove.sh")),
        ("PREIN", None),
        ("PRETRANS", None),
        ("POSTTRANS", None),
    ] {
        let expected = file.map_or_else(|| "(none)".to_owned(), read);
        assert_eq!(query(&format!("%{{{tag}}}")), expected, "{tag}");
    }
}

/// Two packages, one behaviour: what their scripts share is the same text.
#[test]
fn the_scripts_of_both_packages_share_their_functions() {
    let shared = |path: &str| {
        let text = read(path);
        let begin = text.find("# ---- From here on as in ").unwrap_or_else(|| panic!("{path} has no beginning"));
        let (_, rest) = text[begin..].split_once('\n').unwrap();
        rest[..rest.find("# ---- To here.").unwrap()].to_owned()
    };
    for (deb, rpm) in [("debian/postinst", "rpm/post-install.sh"), ("debian/prerm", "rpm/pre-remove.sh")] {
        assert!(shared(deb).len() > 500);
        assert_eq!(shared(deb), shared(rpm), "{deb}, {rpm}");
    }
}

/// The floor of systemd.md, 2. Older systems hear it from apt or dnf.
#[test]
fn the_program_needs_no_newer_c_library_than_promised_and_the_packages_say_what_it_needs() {
    let symbols = succeed(Command::new("objdump").args(["--dynamic-syms", env!("CARGO_BIN_EXE_hotcore")]));
    let newest = symbols.split("GLIBC_").skip(1).map(|rest| {
        let version = rest.split(|letter: char| !letter.is_ascii_digit() && letter != '.').next().unwrap();
        let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap_or(0))
    });
    let newest = newest.max().expect("the program needs no C library");
    assert!(newest <= GLIBC_MAX, "{newest:?}");
    let (package, (major, minor)) = (rpm("0.1.0"), newest);
    let needs = succeed(Command::new("rpm").args(["--query", "--requires", "--package"]).arg(&package));
    let needs: BTreeSet<_> = needs.lines().collect();
    assert!(needs.contains(format!("libc.so.6(GLIBC_{major}.{minor})(64bit)").as_str()), "{needs:?}");
    assert!(needs.contains("systemd >= 252") && needs.contains("/bin/sh"), "{needs:?}");
    let depends = succeed(Command::new("dpkg-deb").arg("--field").arg(deb("0.1.0-1")).arg("Depends"));
    assert_eq!(depends.trim(), format!("libc6 (>= {major}.{minor}), systemd (>= 252)"));
}

#[test]
fn the_version_is_the_same_everywhere() {
    let version = env!("CARGO_PKG_VERSION");
    let changelog = read("debian/changelog");
    assert!(changelog.starts_with(&format!("hotcore ({version}-1) ")), "{changelog}");
}

/// S7. Errors and warnings; a reason for each that is let off is in debian/hotcore.lintian-overrides.
#[test]
fn lintian_finds_nothing() {
    let package = deb(concat!(env!("CARGO_PKG_VERSION"), "-1"));
    let mut command = Command::new("lintian");
    command.args(["--allow-root", "--fail-on", "error,warning", "--tag-display-limit", "0"]);
    // A debug build has symbols, and is not shipped.
    if !PROFILE_IS_RELEASE {
        command.args(["--suppress-tags", "unstripped-binary-or-object"]);
    }
    let output = run(command.arg(package));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.trim().is_empty(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// S7. The same; reasons are in rpm/hotcore.rpmlintrc.
#[test]
fn rpmlint_finds_nothing() {
    let filters: PathBuf = tree().join("rpm/hotcore.rpmlintrc");
    let package = rpm(env!("CARGO_PKG_VERSION"));
    let output = run(Command::new("rpmlint").arg("--rpmlintrc").arg(filters).arg(package));
    let text = String::from_utf8_lossy(&output.stdout);
    let is_fault = |line: &&str| {
        (line.contains(": W: ") || line.contains(": E: "))
            && (PROFILE_IS_RELEASE || !line.contains("unstripped-binary-or-object"))
    };
    assert_eq!(text.lines().find(is_fault), None, "{text}");
    assert!(text.contains("1 packages") && text.contains("0 errors"), "{text}");
}
