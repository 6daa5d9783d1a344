//! The README's first promise, typed as it stands there, in a network of its own so that ports 80, 443 and 40608 are free.

use std::process::Command;

use nix::unistd::Uid;

use crate::rig::{Backend, Daemon, PATIENCE, beside, folder, skip, succeed, wait_for, works};

#[test]
fn serve_local_and_add_make_app_localhost_work() {
    let test = "serve_local_and_add_make_app_localhost_work";
    if !Uid::effective().is_root() || !works("unshare", &["--net", "ip", "link", "set", "lo", "up"]) {
        return skip(test, "needs root and network namespaces");
    }
    let state = folder();
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
    command.arg(Daemon::program().get_program()).args(["serve", "--local", "--state"]).arg(state.path());
    let daemon = Daemon::spawn(&mut command, state.path());
    let inside = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--target", &daemon.pid().to_string(), "--"]).args(words);
        command
    };
    let hotcore = Daemon::program().get_program().to_str().unwrap().to_owned();
    wait_for("hotcore check", PATIENCE, || {
        inside(&[&hotcore, "check"]).output().unwrap().status.success().then_some(())
    });

    let app = beside("backends/app.js");
    let _app = Backend::start(inside(&["node", app.to_str().unwrap(), "the app", "3000"]).arg(state.path()));
    succeed(&mut inside(&[&hotcore, "add", "app.localhost", "3000"]));
    assert_eq!(
        succeed(&mut inside(&["curl", "--silent", "--show-error", "--fail", "http://app.localhost"])),
        "the app"
    );
}
