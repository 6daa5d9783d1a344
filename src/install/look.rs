//! The look at a machine: facts are gathered, and nothing is changed. What cannot be seen without root is taken for well.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use nix::{
    sys::statvfs::{FsFlags, statvfs},
    unistd::{User, geteuid},
};

use super::{
    host::{Firewall, Folder, Held, Host, Link, Packager, Program, Running, Seal},
    layout,
    service::{self, Service},
    tool,
    units::{self, Unit},
};
use crate::{
    limits::CAPABILITY_TEXT,
    service::{
        privileges::USER,
        sockets::{Holder, Kind},
    },
};

/// This program, even where its file was replaced or removed since: proc(5).
pub(super) const THIS_PROGRAM: &str = "/proc/self/exe";

impl Host {
    /// This machine as it is.
    pub fn look() -> Self {
        // sd_booted(3).
        let is_booted = Path::new("/run/systemd/system").is_dir();
        let version = tool::run("systemctl", &["--version"]).ok().and_then(|answer| service::version(&answer));
        let systemd = version.filter(|_| is_booted);
        let service = if systemd.is_some() { Service::look() } else { Service::default() };
        let link_folder = existing(Path::new(layout::LINK).parent());
        Self {
            is_root: geteuid().is_root(),
            systemd,
            package: package(),
            user: User::from_name(USER).ok().flatten().map(|user| user.uid.as_raw()),
            has_sysusers_line: Path::new(layout::SYSUSERS).exists(),
            has_sysusers: tool::find("systemd-sysusers").is_some(),
            has_useradd: tool::find("useradd").is_some(),
            has_setcap: tool::find("setcap").is_some(),
            home: folder(Path::new(layout::HOME)),
            bin: folder(Path::new(layout::BIN)),
            program: program(),
            link: link(Path::new(layout::LINK), Path::new(layout::PROGRAM)),
            units: Unit::ALL.into_iter().filter_map(|unit| Some((unit, text(&unit.path())?))).collect(),
            needs_reading: service.needs_reading(),
            is_enabled: service.is_enabled(),
            has_sockets: service.is_active(Unit::Web) && service.is_active(Unit::Control),
            running: service.process().map(|process| Running { is_installed_file: is_installed_file(process) }),
            held: held(&service),
            firewall: firewall(&service),
            profiles: [(Firewall::Ufw, layout::UFW), (Firewall::Firewalld, layout::FIREWALLD)]
                .into_iter()
                .filter(|(_, profile)| Path::new(profile).exists())
                .map(|(firewall, _)| firewall)
                .collect(),
            seal: [layout::HOME, layout::UNITS]
                .into_iter()
                .find_map(|path| seal(Path::new(path), path == layout::HOME)),
            is_link_folder_sealed: statvfs(&link_folder).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY)),
            has_state: Path::new(layout::STATE).exists(),
        }
    }
}

/// Whether a package manager knows hotcore. Configuration that outlived its package (`rc`) is none.
fn package() -> Option<Packager> {
    let is_in_dpkg = |status: String| status.chars().nth(1).is_some_and(|state| !"nc ".contains(state));
    if tool::find("dpkg-query").is_some()
        && tool::run("dpkg-query", &["--show", "--showformat=${db:Status-Abbrev}", "hotcore"]).is_ok_and(is_in_dpkg)
    {
        return Some(Packager::Apt);
    }
    if tool::find("rpm").is_some() && tool::run("rpm", &["--query", "hotcore"]).is_ok() {
        return Some(Packager::Dnf);
    }
    let units = layout::PACKAGED_UNITS.iter().map(|folder| Path::new(folder).join(Unit::Service.name()));
    units.into_iter().find(|unit| unit.exists()).map(Packager::Unknown)
}

/// Links are not followed: root is not led to another place.
fn folder(path: &Path) -> Folder {
    match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => Folder::Of(data.uid()),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Folder::Absent,
        Ok(_) | Err(_) => Folder::Strange,
    }
}

fn program() -> Program {
    let installed = Path::new(layout::PROGRAM);
    let Ok(data) = fs::symlink_metadata(installed) else { return Program::Absent };
    let is_as_it_should = data.is_file() && data.uid() == 0 && data.mode() & 0o7777 == 0o755;
    if !is_as_it_should || !has_same_content(Path::new(THIS_PROGRAM), installed).unwrap_or(false) {
        return Program::Other;
    }
    // It compares, and changes nothing.
    let is_capable = tool::run("setcap", &["-q", "-v", CAPABILITY_TEXT, layout::PROGRAM]).is_ok();
    Program::Same { is_capable }
}

fn has_same_content(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (one_data, other_data) = (one.metadata()?, other.metadata()?);
    if (one_data.dev(), one_data.ino()) == (other_data.dev(), other_data.ino()) {
        return Ok(true);
    }
    if one_data.len() != other_data.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
    loop {
        let read = one.read(&mut left)?;
        let Some((left, right)) = left.get(..read).zip(right.get_mut(..read)) else { return Ok(false) };
        other.read_exact(right)?;
        if left != right {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// Bytes that are compared at a time.
const COMPARED_BYTES: usize = 64 * 1024;

fn link(path: &Path, target: &Path) -> Link {
    match fs::read_link(path) {
        Ok(is) if is == target => Link::Ours,
        Ok(is) => Link::Foreign(format!("a link to {}", is.display())),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Link::Absent,
        Err(_) => Link::Foreign("another file".to_owned()),
    }
}

/// The text of a unit. A link counts as a text that is nobody's: `systemctl mask` and `link` make such.
fn text(path: &str) -> Option<String> {
    let data = fs::symlink_metadata(path).ok()?;
    if !data.is_file() {
        return Some(String::new());
    }
    Some(fs::read_to_string(path).unwrap_or_default())
}

fn is_installed_file(process: u32) -> bool {
    let file = |path: &str| fs::metadata(path).map(|data| (data.dev(), data.ino()));
    match (file(&format!("/proc/{process}/exe")), file(layout::PROGRAM)) {
        (Ok(runs), Ok(installed)) => runs == installed,
        (Err(cause), _) if cause.kind() == io::ErrorKind::PermissionDenied => true,
        _ => false,
    }
}

/// The ports that others have. What systemd holds for our sockets is ours.
fn held(service: &Service) -> Vec<Held> {
    let is_others = |kind: &Kind| {
        let unit = if *kind == Kind::Control { Unit::Control } else { Unit::Web };
        !service.is_active(unit)
    };
    let ports = Kind::ALL.into_iter().filter(is_others).map(|kind| (kind, kind.default_port()));
    let held = ports.filter(|(kind, port)| Holder::has_one(*kind, *port));
    held.map(|(kind, port)| {
        let holder = Holder::find(kind, port).map(|holder| holder.to_string());
        Held { transport: kind.transport(), port, holder }
    })
    .collect()
}

/// The firewall in force. ufw's own word needs root, its setting does not: ufw(8), ufw.conf.
fn firewall(service: &Service) -> Option<Firewall> {
    let is_enabled = |text: String| text.lines().any(|line| line.trim().eq_ignore_ascii_case("enabled=yes"));
    if tool::find("ufw").is_some() && fs::read_to_string("/etc/ufw/ufw.conf").is_ok_and(is_enabled) {
        return Some(Firewall::Ufw);
    }
    (service.has_firewalld() && tool::find("firewall-cmd").is_some()).then_some(Firewall::Firewalld)
}

/// Why the file system of `path` takes no file, or no program.
fn seal(path: &Path, is_for_program: bool) -> Option<Seal> {
    let place = existing(Some(path));
    let flags = statvfs(&place).ok()?.flags();
    let is_no_exec = is_for_program && flags.contains(FsFlags::ST_NOEXEC);
    Seal::new(place, flags.contains(FsFlags::ST_RDONLY), is_no_exec)
}

/// The nearest folder above that is there.
fn existing(path: Option<&Path>) -> PathBuf {
    let above = path.into_iter().flat_map(Path::ancestors);
    above.into_iter().find(|path| path.exists()).unwrap_or_else(|| Path::new("/")).to_owned()
}

/// Whether an install has left something of its own on this machine.
pub(super) fn has_own_unit(unit: Unit) -> bool {
    text(&unit.path()).is_some_and(|text| units::is_ours(&text))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_is_ours_only_if_it_leads_to_our_program() {
        let home = tempfile::tempdir().unwrap();
        let (path, target) = (home.path().join("hotcore"), home.path().join("program"));
        assert_eq!(link(&path, &target), Link::Absent);
        symlink("/home/ann/hotcore", &path).unwrap();
        assert_eq!(link(&path, &target), Link::Foreign("a link to /home/ann/hotcore".to_owned()));
        fs::remove_file(&path).unwrap();
        symlink(&target, &path).unwrap();
        assert_eq!(link(&path, &target), Link::Ours, "even if the program is missing");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(link(&path, &target), Link::Foreign("another file".to_owned()));
    }

    #[test]
    fn a_folder_behind_a_link_is_strange() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::create_dir(path("real")).unwrap();
        symlink(path("real"), path("link")).unwrap();
        fs::write(path("file"), "").unwrap();
        assert_eq!(folder(&path("real")), Folder::Of(fs::metadata(path("real")).unwrap().uid()));
        assert_eq!(
            ["link", "file", "none"].map(|name| folder(&path(name))),
            [Folder::Strange, Folder::Strange, Folder::Absent]
        );
    }

    #[test]
    fn programs_are_compared_byte_by_byte() {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &[u8]| {
            let path = home.path().join(name);
            fs::write(&path, content).unwrap();
            path
        };
        let long = vec![7; COMPARED_BYTES + 1];
        let mut other = long.clone();
        other[COMPARED_BYTES] = 8;
        let first = file("first", &long);
        assert!(has_same_content(&first, &first).unwrap());
        assert!(has_same_content(&first, &file("copy", &long)).unwrap());
        assert!(!has_same_content(&first, &file("other", &other)).unwrap());
        assert!(!has_same_content(&first, &file("shorter", &long[1..])).unwrap());
        assert!(has_same_content(&file("empty", b""), &file("empty too", b"")).unwrap());
    }

    #[test]
    fn the_nearest_folder_that_is_there_is_looked_at() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(existing(Some(&home.path().join("a/b/c"))), home.path());
        assert_eq!(seal(&home.path().join("a"), true), None, "the folder of tests takes files");
    }
}
