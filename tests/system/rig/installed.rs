//! A machine on which hotcore was installed from its package, with a certificate authority of its own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::unistd::Pid;

use super::{Hostility, Machine, PATIENCE, Pebble, wait_for};

/// See the page of this module.
pub(crate) struct Installed {
    /// The machine.
    pub(crate) machine: Machine,
    /// Its certificate authority, in the same network.
    pub(crate) pebble: Pebble,
}

impl Installed {
    /// Installs a .deb as a person does, on a machine that knows which authority to ask.
    pub(crate) fn from_deb(machine: Machine, package: &Path) -> Self {
        let installed = Self::prepare(machine);
        installed.apt_install(package);
        installed
    }

    /// A machine that knows which authority to ask, and has no hotcore yet.
    pub(crate) fn prepare(machine: Machine) -> Self {
        let pebble = machine.inside(|| Pebble::start(Hostility::NONE, 80, 443));
        machine.write("/etc/hotcore-test-ca.pem", &pebble.identity().root);
        machine.sh("mkdir -p /etc/systemd/system/hotcore.service.d");
        let environment = format!(
            "[Service]\nEnvironment=HOTCORE_ACME_DIRECTORY={} HOTCORE_ACME_ROOT=/etc/hotcore-test-ca.pem\n",
            pebble.directory()
        );
        machine.write("/etc/systemd/system/hotcore.service.d/test.conf", &environment);
        Self { machine, pebble }
    }

    /// Installs, upgrades or downgrades. The answer is what it printed.
    pub(crate) fn apt_install(&self, package: &Path) -> String {
        let package = self.machine.give(package);
        self.machine.sh(&format!("apt-get install --yes --allow-downgrades {package} 2>&1"))
    }

    /// Maps a name, which has an address from now on, and waits for its certificate.
    pub(crate) fn add_site(&self, domain: &str, port: u16) {
        self.machine.sh(&format!("echo 127.0.0.1 {domain} >> /etc/hosts && hotcore add {domain} {port}"));
        wait_for("the certificate", PATIENCE, || {
            self.machine.sh("hotcore msg certs").contains(&format!("{domain} valid ")).then_some(())
        });
    }

    /// The root of what the authority signs, in PEM, for clients of the tests.
    pub(crate) fn root(&self) -> PathBuf {
        let path = self.machine.share().join("root.pem");
        if !path.exists() {
            fs::write(&path, self.machine.inside(|| self.pebble.issuing_root())).unwrap();
        }
        path
    }

    /// The same process as it is numbered here.
    pub(crate) fn main_process(&self) -> Pid {
        self.machine.outer_pid(&self.main_pid())
    }

    /// Waits until another process than `before` serves.
    pub(crate) fn wait_for_the_next(&self, before: &str) -> String {
        wait_for("the next process", PATIENCE, || {
            let is_up = self.machine.property("hotcore.service", "ActiveState") == "active";
            Some(self.main_pid()).filter(|pid| is_up && pid != before && pid != "0")
        })
    }

    /// The process that systemd takes for the service, as the machine numbers it.
    pub(crate) fn main_pid(&self) -> String {
        self.machine.property("hotcore.service", "MainPID")
    }
}
