//! The package, on a machine that has never seen hotcore.

use crate::rig::{Backend, Installed, Machine, Root, deb};

const NAME: &str = "a-app.example";

/// B266, B267. What a person does and sees: install, add, visit, read the journal, and find all of it again after a reboot.
#[test]
fn an_installed_machine_serves_a_site_over_https_and_again_after_a_reboot() {
    let installed = Installed::from_deb(Machine::lasting(Root::Debian), &deb("0.1.0-1"));
    let machine = &installed.machine;
    assert_eq!(machine.failed_units(), "");
    let folder = machine.share().join("app");
    std::fs::create_dir(&folder).unwrap();
    let app = machine.inside(|| Backend::app("first", &folder));
    installed.add_site(NAME, app.port);
    installed.root();
    let visit = "curl --silent --show-error --fail --cacert /t/root.pem";
    assert_eq!(machine.sh(&format!("{visit} https://{NAME}/")), "first");
    let plain = machine
        .sh(&format!("{visit} --output /dev/null --write-out '%{{http_code}} %{{redirect_url}}' http://{NAME}/"));
    assert_eq!(plain, format!("308 https://{NAME}/"));
    let journal = machine.journal("hotcore");
    assert!(journal.contains("serves") && journal.contains(NAME), "{journal}");
    let pid = machine.outer_pid(&installed.main_pid());
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim(), "hotcore");
    let port = app.port;
    drop(app);

    let machine = installed.machine.reboot();
    let _app = machine.inside(|| Backend::app_on("second", port, &folder));
    assert_eq!(machine.sh(&format!("{visit} https://{NAME}/")), "second");
    assert_eq!(machine.sh("hotcore list"), format!("{NAME} {port}"));
    assert_eq!(machine.failed_units(), "");
}
