//! The units of an install: those of the packages, line by line, but for what must differ.

use std::fmt::Write as _;

use super::{layout, person::Person, step::Runner};

const SERVICE: &str = include_str!("../../systemd/hotcore.service");
const WEB: &str = include_str!("../../systemd/hotcore-web.socket");
const CONTROL: &str = include_str!("../../systemd/hotcore-control.socket");

/// The first line of each: by it an install, and a package, knows its own.
const MARK: &str = "# Made by `hotcore install`, which renews it. Own settings belong into a drop-in: systemctl edit ";

/// The unit's program where packages put it.
const PACKAGED_PROGRAM: &str = "/usr/bin/hotcore";

/// In step with the capability of the file: without it the kernel refuses to execute such a file at all (systemd.md, 10).
const BOUNDING_SET: &str = "\
# The program's file has this capability, and a file with more than it may have is not executed. The process gives it up at once.
CapabilityBoundingSet=CAP_NET_BIND_SERVICE";

/// For a developer's machine: nobody else's connections come in, not even by way of the sysctl route_localnet.
const LOOPBACK: &str = "\
# For this machine alone.
ListenStream=127.0.0.1:80
ListenStream=[::1]:80
ListenStream=127.0.0.1:443
ListenStream=[::1]:443
BindToDevice=lo
# Without it the unit fails on machines where IPv6 is switched off.
FreeBind=yes";

/// A unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// The ports of HTTP and HTTPS.
    Web,
    /// The port of commands.
    Control,
    /// The process.
    Service,
}

impl Unit {
    /// Sockets first: the service needs them.
    pub const ALL: [Self; 3] = [Self::Web, Self::Control, Self::Service];

    /// Its name for systemd.
    pub fn name(self) -> &'static str {
        match self {
            Self::Web => "hotcore-web.socket",
            Self::Control => "hotcore-control.socket",
            Self::Service => "hotcore.service",
        }
    }

    /// Its file.
    pub(super) fn path(self) -> String {
        format!("{}/{}", layout::UNITS, self.name())
    }

    /// Its text for this runner.
    pub(super) fn text(self, runner: Runner<'_>) -> String {
        let mut text = format!("{MARK}{}\n", self.name());
        let source = match self {
            Self::Web => WEB,
            Self::Control => CONTROL,
            Self::Service => SERVICE,
        };
        for line in source.lines() {
            match replacement(self, line, runner) {
                None => text.push_str(line),
                // Of several lines that become one the first is replaced.
                Some(lines) if lines.is_empty() => continue,
                Some(lines) => text.push_str(&lines),
            }
            text.push('\n');
        }
        text
    }
}

/// What stands for a line of the packages' unit; `None`: the line itself.
fn replacement(unit: Unit, line: &str, runner: Runner<'_>) -> Option<String> {
    let program = |line: &str| line.replacen(PACKAGED_PROGRAM, layout::PROGRAM, 1);
    match (unit, line, runner) {
        (Unit::Service, "CapabilityBoundingSet=", _) => Some(BOUNDING_SET.to_owned()),
        (Unit::Service, "ExecStart=/usr/bin/hotcore serve", Runner::Person(person)) => {
            Some(format!("{} --local{}", program(line), environment(person)))
        }
        (_, line, _) if line.starts_with("Exec") => Some(program(line)),
        // What this unit runs is the same file.
        (Unit::Web, line, _) if line.starts_with("CapabilityBoundingSet=") => {
            Some(format!("{line} CAP_NET_BIND_SERVICE"))
        }
        (Unit::Service, "User=hotcore", Runner::Person(person)) => Some(format!("User={}", person.user)),
        (Unit::Service, "Group=hotcore", Runner::Person(person)) => Some(format!("Group={}", person.group)),
        (Unit::Service, "ProtectHome=yes", Runner::Person(_)) => {
            Some("# mkcert and its CA are there.\nProtectHome=read-only".to_owned())
        }
        (Unit::Web, "ListenStream=80", Runner::Person(_)) => Some(LOOPBACK.to_owned()),
        (Unit::Web, "ListenStream=443", Runner::Person(_)) => Some(String::new()),
        _ => None,
    }
}

/// Where the person's mkcert and its CA are, as far as that is known: a service does not see the person's environment.
fn environment(person: &Person) -> String {
    let mut lines = String::new();
    if let Some(folder) = person.ca_root.as_deref().and_then(quoted) {
        _ = write!(lines, "\n# The CA of {}'s mkcert.\nEnvironment=\"CAROOT={folder}\"", person.user);
    }
    if let Some(folder) = person.mkcert_folder.as_deref().and_then(quoted) {
        let usual = super::person::SERVICE_PATH;
        _ = write!(lines, "\n# mkcert is there.\nEnvironment=\"PATH={folder}:{usual}\"");
    }
    lines
}

/// A value between the quotes of a line: systemd.syntax(7), systemd.unit(5) on specifiers. `None`: it cannot be written there.
fn quoted(value: &str) -> Option<String> {
    let is_harmless = !value.chars().any(char::is_control);
    is_harmless.then(|| value.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%"))
}

/// Whether an install has written this unit.
pub(super) fn is_ours(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Whether this service is for its machine alone.
pub(super) fn is_local(service: &str) -> bool {
    directives(service)
        .any(|line| line.starts_with("ExecStart=") && line.split_whitespace().any(|word| word == "--local"))
}

/// Whether two texts mean the same to systemd: remarks do not count.
pub(super) fn means_the_same(one: &str, other: &str) -> bool {
    directives(one).eq(directives(other))
}

fn directives(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> Person {
        Person {
            user: "ann".to_owned(),
            group: "people".to_owned(),
            ca_root: Some("/home/ann/a \"b\" 100%".to_owned()),
            mkcert_folder: Some("/home/ann/go/bin".to_owned()),
        }
    }

    /// The lines of `unit` that the packages' unit does not have, and the other way round.
    fn difference(unit: Unit, source: &str, runner: Runner<'_>) -> (Vec<String>, Vec<String>) {
        let text = unit.text(runner);
        let lines = |text: &str, other: &str| {
            let other: Vec<_> = directives(other).collect();
            directives(text).filter(|line| !other.contains(line)).map(str::to_owned).collect()
        };
        (lines(&text, source), lines(source, &text))
    }

    #[test]
    fn a_servers_units_differ_from_the_packages_by_path_and_bounding_set() {
        assert!(means_the_same(&Unit::Control.text(Runner::Service), CONTROL));
        let (ours, theirs) = difference(Unit::Web, WEB, Runner::Service);
        assert_eq!(
            ours,
            [
                "ExecStartPre=-/opt/hotcore/bin/hotcore check --ports",
                "CapabilityBoundingSet=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_NET_BIND_SERVICE"
            ]
        );
        assert_eq!(
            theirs,
            [
                "ExecStartPre=-/usr/bin/hotcore check --ports",
                "CapabilityBoundingSet=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH"
            ]
        );
        let (ours, theirs) = difference(Unit::Service, SERVICE, Runner::Service);
        assert_eq!(
            ours,
            [
                "ExecStart=/opt/hotcore/bin/hotcore serve",
                "ExecReload=/opt/hotcore/bin/hotcore serve --hand-over $MAINPID",
                "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
            ]
        );
        assert_eq!(
            theirs,
            [
                "ExecStart=/usr/bin/hotcore serve",
                "ExecReload=/usr/bin/hotcore serve --hand-over $MAINPID",
                "CapabilityBoundingSet="
            ]
        );
        assert!(Unit::ALL.iter().all(|unit| !unit.text(Runner::Service).contains(PACKAGED_PROGRAM)));
    }

    /// B222, B224.
    #[test]
    fn a_local_service_is_its_persons_and_listens_on_loopback() {
        let ann = ann();
        let (ours, _) = difference(Unit::Service, SERVICE, Runner::Person(&ann));
        assert_eq!(
            ours,
            [
                "ExecStart=/opt/hotcore/bin/hotcore serve --local",
                r#"Environment="CAROOT=/home/ann/a \"b\" 100%%""#,
                r#"Environment="PATH=/home/ann/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin""#,
                "ExecReload=/opt/hotcore/bin/hotcore serve --hand-over $MAINPID",
                "User=ann",
                "Group=people",
                "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
                "ProtectHome=read-only",
            ]
        );
        let web = Unit::Web.text(Runner::Person(&ann));
        let ports: Vec<_> = directives(&web).filter(|line| line.starts_with("Listen")).collect();
        assert_eq!(
            ports,
            [
                "ListenStream=127.0.0.1:80",
                "ListenStream=[::1]:80",
                "ListenStream=127.0.0.1:443",
                "ListenStream=[::1]:443"
            ]
        );
        assert!(web.contains("\nBindToDevice=lo\n"));
        assert!(means_the_same(&Unit::Control.text(Runner::Person(&ann)), CONTROL));
    }

    #[test]
    fn what_cannot_be_written_into_a_unit_is_left_out() {
        let ann = Person { ca_root: Some("/home/ann\nUser=root".to_owned()), mkcert_folder: None, ..ann() };
        assert!(!Unit::Service.text(Runner::Person(&ann)).contains("root\n"));
    }

    #[test]
    fn an_install_knows_its_own_units() {
        let ann = ann();
        for unit in Unit::ALL {
            for runner in [Runner::Service, Runner::Person(&ann)] {
                let text = unit.text(runner);
                assert!(is_ours(&text) && text.lines().next().unwrap().ends_with(unit.name()), "{text}");
                assert_eq!(is_local(&text), matches!((unit, runner), (Unit::Service, Runner::Person(_))));
            }
        }
        for text in ["", SERVICE, "[Service]\nExecStart=/usr/bin/hotcore serve"] {
            assert!(!is_ours(text));
        }
    }

    #[test]
    fn remarks_in_a_unit_mean_nothing() {
        assert!(means_the_same("# one\n[Socket]\n\nA=1\n", "; two\n[Socket]\n A=1"));
        assert!(!means_the_same("[Socket]\nA=1", "[Socket]\nA=2"));
        assert!(!means_the_same("[Socket]\nA=1\nB=1", "[Socket]\nA=1"));
    }
}
