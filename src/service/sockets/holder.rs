//! Who has a port: read from /proc, where permitted (B215; proc(5)).

use std::{fmt, fs};

use super::Kind;

/// The process that systemd is. What it holds belongs to a socket unit.
pub const SYSTEMD: u32 = 1;

/// The program that has a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub process: u32,
    /// Its name as the kernel knows it, at most 15 bytes; what is not printable ASCII shows as `?`.
    pub name: String,
}

impl Holder {
    /// Whether any program has it, even one that this user may not see.
    pub fn has_one(kind: Kind, port: u16) -> bool {
        !sockets(kind, port).is_empty()
    }

    /// Looks through the processes that this user may see.
    pub fn find(kind: Kind, port: u16) -> Option<Self> {
        let sockets: Vec<String> = sockets(kind, port).into_iter().map(|inode| format!("socket:[{inode}]")).collect();
        if sockets.is_empty() {
            return None;
        }
        let mut holders = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| {
            let process: u32 = entry.file_name().to_str()?.parse().ok()?;
            let has_it = fs::read_dir(entry.path().join("fd")).ok()?.flatten().any(|fd| {
                fs::read_link(fd.path())
                    .is_ok_and(|link| link.to_str().is_some_and(|link| sockets.iter().any(|s| s == link)))
            });
            if !has_it {
                return None;
            }
            let name = fs::read(entry.path().join("comm")).unwrap_or_default();
            Some(Self { process, name: printable(&name) })
        });
        // systemd holds the sockets of its units beside the program that uses them.
        let first = holders.next()?;
        if first.process == SYSTEMD { holders.next().or(Some(first)) } else { Some(first) }
    }

    /// The service of systemd that it belongs to, such as `nginx.service`: systemd names control groups like that.
    pub fn unit(&self) -> Option<String> {
        unit(&fs::read_to_string(format!("/proc/{}/cgroup", self.process)).ok()?)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {})", self.name, self.process)
    }
}

/// The inodes of the sockets on `port`.
fn sockets(kind: Kind, port: u16) -> Vec<u64> {
    let (tables, state) = match kind {
        Kind::Http | Kind::Https => (["/proc/net/tcp", "/proc/net/tcp6"], "0A"),
        Kind::Control => (["/proc/net/udp", "/proc/net/udp6"], "07"),
    };
    let tables = tables.iter().filter_map(|path| fs::read_to_string(path).ok());
    tables.flat_map(|table| inodes(&table, state, port)).collect()
}

/// The inodes of the sockets of a table that are in `state` on `port`.
fn inodes(table: &str, state: &str, port: u16) -> Vec<u64> {
    let port = format!("{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let is_it = fields.get(1)?.rsplit_once(':')?.1 == port && *fields.get(3)? == state;
            is_it.then(|| fields.get(9)?.parse().ok()).flatten()
        })
        .filter(|inode| *inode != 0)
        .collect()
}

/// From /proc/PID/cgroup (cgroups(7)): in the hierarchy of systemd, or the only one.
fn unit(groups: &str) -> Option<String> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut names = paths.flat_map(|path| path.split('/')).filter(|name| name.ends_with(".service"));
    // A name is also part of a command that is shown to a person.
    let is_plain = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@:\\".contains(&b));
    names.rfind(is_plain).map(str::to_owned)
}

fn printable(name: &[u8]) -> String {
    name.trim_ascii_end()
        .iter()
        .map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_table_of_the_kernel_is_read_by_port_and_state() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n\
             1: 0100007F:1F90 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1\n\
             2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n\
             short\n";
        assert_eq!(inodes(table, "0A", 8080), [4711]);
        assert_eq!(inodes(table, "0A", 80), [4713]);
        assert!(inodes(table, "0A", 443).is_empty());
    }

    /// The process that runs the test is the one found (B215).
    #[test]
    fn the_holder_of_a_port_is_named_b215() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = Holder::find(Kind::Http, port).unwrap();
        assert!(Holder::has_one(Kind::Http, port));
        assert_eq!(holder.process, std::process::id());
        assert!(!holder.name.is_empty() && holder.to_string().contains("(process "));
    }

    #[test]
    fn the_service_of_a_holder_is_read_from_its_control_group() {
        assert_eq!(unit("0::/system.slice/nginx.service\n").as_deref(), Some("nginx.service"));
        let version_1 = "2:cpu,cpuacct:/\n1:name=systemd:/system.slice/a@b.service/child\n0::/\n";
        assert_eq!(unit(version_1).as_deref(), Some("a@b.service"));
        for none in
            ["0::/user.slice/user-0.slice/session-1.scope\n", "0::/init.scope\n", "0::/x;reboot.service\n", "0\n", ""]
        {
            assert_eq!(unit(none), None, "{none}");
        }
    }

    #[test]
    fn names_of_programs_cannot_paint_the_terminal() {
        assert_eq!(printable(b"ng\x1b[1minx\n"), "ng?[1minx");
    }
}
