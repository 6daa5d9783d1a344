//! The commands that a person types, against the real daemon; `cli` has the rest, against a stand-in (B227 to B233).

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use crate::rig::{Backend, Client, Daemon, NO_AUTHORITY, PATIENCE, folder, run, wait_for};

fn ended(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn add_list_and_remove_do_what_they_say() {
    let (state, files) = (folder(), folder());
    let daemon = Daemon::start(state.path());
    let app = Backend::app("the app", files.path());
    let hotcore = |words: &[&str]| ended(&run(daemon.cli().args(words)));

    let (code, out, err) = hotcore(&["list"]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "nothing mapped is no error: {err}");
    assert!(!err.is_empty(), "a hint");
    let (code, _, err) = hotcore(&["add", "app.example", &app.port.to_string()]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(Client::connect(daemon.http).unwrap().get("app.example", "/").unwrap().text(), "the app");
    let (code, out, _) = hotcore(&["list"]);
    assert_eq!(code, Some(0));
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["app.example", &app.port.to_string()]);
    let (code, out, err) = hotcore(&["list", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    serde_json::from_str::<serde_json::Value>(&out).unwrap();
    assert_eq!(hotcore(&["msg", "check"]).1.trim(), "kcehc");
    assert_eq!(hotcore(&["remove", "app.example"]).0, Some(0));
    assert_eq!(hotcore(&["remove", "app.example"]).0, Some(0), "removing twice is done, too");
    assert_eq!(Client::connect(daemon.http).unwrap().get("app.example", "/").unwrap().status, 404);
}

#[test]
fn no_sub_command_means_status() {
    let state = folder();
    let daemon = Daemon::start(state.path());
    let (code, bare, err) = ended(&run(&mut daemon.cli()));
    assert_eq!(code, Some(0), "{err}");
    assert!(!bare.is_empty());
    let (code, status, _) = ended(&run(daemon.cli().arg("status")));
    assert_eq!(code, Some(0));
    assert_eq!(bare.lines().count(), status.lines().count());
}

/// Programs rely on the types: what is a number in the daemon's own status is one in JSON.
#[test]
fn the_status_as_json_has_numbers_where_there_are_numbers() {
    let state = folder();
    let daemon = Daemon::start(state.path());
    let (code, out, err) = ended(&run(daemon.cli().args(["status", "--json"])));
    assert_eq!(code, Some(0), "{err}");
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    for key in ["pid", "rules", "certificates", "stopped", "workers", "connections", "tunnels", "requests", "retries"] {
        assert!(status[key].is_u64(), "{key} in {out}");
    }
    for key in ["http", "https", "control", "problem"] {
        assert!(status[key].is_array(), "{key} in {out}");
    }
    let text_digits = status.as_object().unwrap().iter().find(|(_, value)| {
        value.as_str().is_some_and(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
    });
    assert_eq!(text_digits, None, "a number that is shown as a text");
}

/// Invariant 5: whatever the mask of the user who starts it, nobody else can read the folder or a file in it.
#[test]
fn what_is_kept_can_be_read_by_its_owner_alone() {
    let outer = folder();
    let state = outer.path().join("state/hotcore");
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000 && exec \"$@\"", "sh"]).arg(Daemon::program().get_program());
    command.args(["serve", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--control", "127.0.0.1:0", "--state"]);
    command.env("HOTCORE_ACME_DIRECTORY", NO_AUTHORITY);
    let _daemon = Daemon::spawn(command.arg(&state), &state);
    let kept = || fs::read_dir(&state).into_iter().flatten().map(|entry| entry.unwrap().path());
    wait_for("the log of rules, and what else is kept", PATIENCE, || {
        let is_log = kept().any(|path| path.to_string_lossy().contains("routes.log"));
        (is_log && kept().count() >= 3).then_some(())
    });
    let paths: Vec<_> = kept().chain([state.clone()]).collect();
    assert!(paths.len() >= 4, "{paths:?}");
    for path in paths {
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
}
