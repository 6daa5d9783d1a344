//! Where an install puts what. Packages use other folders, so that neither overwrites the other's files.

/// The folder of the program: the service's user's, as its own page promises; the service itself sees it read-only.
pub const HOME: &str = "/opt/hotcore";
/// The folder of the program itself, root's.
pub(super) const BIN: &str = "/opt/hotcore/bin";
/// The program.
pub const PROGRAM: &str = "/opt/hotcore/bin/hotcore";
/// Where a shell finds it.
pub const LINK: &str = "/usr/local/bin/hotcore";
/// Rules, certificates and keys: made by systemd (`StateDirectory=`), the same as with the packages.
pub const STATE: &str = "/var/lib/hotcore";

/// Units of the administrator (systemd.unit(5)): they hide those of packages.
pub(super) const UNITS: &str = "/etc/systemd/system";
/// Units of packages.
pub(super) const PACKAGED_UNITS: [&str; 2] = ["/usr/lib/systemd/system", "/lib/systemd/system"];

/// The user of the service: sysusers.d(5).
pub(super) const SYSUSERS: &str = "/etc/sysusers.d/hotcore.conf";
pub(super) const SYSUSERS_TEXT: &str = include_str!("../../systemd/hotcore.sysusers");
/// An application profile of ufw(8).
pub(super) const UFW: &str = "/etc/ufw/applications.d/hotcore";
pub(super) const UFW_TEXT: &str = include_str!("../../debian/hotcore.ufw");
/// A service of firewalld.service(5).
pub(super) const FIREWALLD: &str = "/etc/firewalld/services/hotcore.xml";
pub(super) const FIREWALLD_TEXT: &str = include_str!("../../rpm/hotcore.firewalld.xml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{CONTROL_PORT, HTTP_PORT, HTTPS_PORT};

    /// Systemd.md 9, B185: messages come from this machine alone, so no firewall ever opens their port.
    #[test]
    fn the_firewall_opens_the_ports_of_http_and_https_and_no_other() {
        assert!(UFW_TEXT.contains(&format!("\nports={HTTP_PORT},{HTTPS_PORT}/tcp\n")));
        let ports: Vec<_> = FIREWALLD_TEXT.lines().filter(|line| line.contains("<port ")).map(str::trim).collect();
        let port = |number: u16| format!("<port protocol=\"tcp\" port=\"{number}\"/>");
        assert_eq!(ports, [port(HTTP_PORT), port(HTTPS_PORT)]);
        for text in [UFW_TEXT, FIREWALLD_TEXT] {
            assert!(!text.contains(&CONTROL_PORT.to_string()));
        }
    }
}
