//! The commands that a person types, against the real daemon; `cli` has the rest, against a stand-in (B227 to B233).

use std::process::Output;

use crate::rig::{Backend, Client, Daemon, folder, run};

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
    for key in ["pid", "rules", "workers", "connections", "tunnels", "requests"] {
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
