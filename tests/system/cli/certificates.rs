//! `list`, `status` and `check --certs` where certificates need attention, and where the daemon does not know of them.

use serde_json::json;

use super::{FakeDaemon, VERSION, command, on_a_terminal};

const SOON: &str = "2999-01-02T03:04:05Z";
const PAST: &str = "2001-01-02T03:04:05Z";

/// A daemon with a name for each thing that can be the matter, and one that is well.
fn troubled() -> FakeDaemon {
    FakeDaemon::start(|message| {
        Some(match message {
            "list" => "a.com 1\nb.com 2\nc.com 3\nd.com 4".into(),
            "certs" => {
                format!("a.com valid {SOON} -\nb.com waiting - {SOON} the name has no \u{1b}[2J address\nmore b.com")
            }
            "certs after b.com" => format!("c.com stopped {SOON} - forbidden\nd.com own {PAST} -"),
            "status" => format!("version {VERSION}\npid 7\nrules 4\ncertificates 3\nwaiting 1\nlog journal"),
            "version" => VERSION.into(),
            _ => "error there is no such message".into(),
        })
    })
}

const LINES: [&str; 3] = [
    "d.com its certificate ended at 2001-01-02T03:04:05Z",
    "c.com its certificate, until 2999-01-02T03:04:05Z, is not renewed: forbidden",
    "b.com it has no certificate: the name has no \\u{1b}[2J address; next try at 2999-01-02T03:04:05Z",
];

/// The worst first, a line each, and exit code 1.
#[test]
fn a_check_of_certificates_names_those_that_need_attention() {
    let daemon = troubled();
    let outcome = daemon.hotcore("check --certs");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(1), ""), "{outcome:?}");
    assert_eq!(outcome.stdout.lines().collect::<Vec<_>>(), LINES);
    let outcome = daemon.hotcore("check --certs --json");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(1), ""), "{outcome:?}");
    let json = outcome.json();
    assert_eq!((&json["ok"], &json["names"]), (&json!(false), &json!(4)));
    let expected = json!({
        "domain": "c.com", "need": "stopped", "certificate": "stopped", "until": SOON, "next": null, "reason": "forbidden"
    });
    assert_eq!((json["attention"].as_array().unwrap().len(), &json["attention"][1]), (3, &expected));
}

#[test]
fn the_status_names_first_what_needs_attention() {
    let daemon = troubled();
    let outcome = daemon.hotcore("status");
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:?}");
    let lines: Vec<_> = outcome.stdout.lines().collect();
    assert_eq!(lines[0], format!("hotcore {VERSION} is running, but:"));
    for (line, expected) in lines[1..4].iter().zip(LINES) {
        assert_eq!(line.trim_start().replacen("  ", " ", 1), expected);
    }
    let json = daemon.hotcore("status --json").json();
    assert_eq!((&json["certificates"], &json["waiting"]), (&json!(3), &json!(1)));
    assert_eq!(json["attention"][0]["domain"], "d.com");
}

/// In a pipe a list is what it always was: name and port.
#[test]
fn a_list_shows_certificates_to_people_and_in_json_but_not_in_a_pipe() {
    let daemon = troubled();
    assert_eq!(daemon.hotcore("list").stdout, "a.com 1\nb.com 2\nc.com 3\nd.com 4\n");
    assert_eq!(daemon.received(), ["list"]);
    let mut list = command("list");
    list.env("HOTCORE_CONTROL", daemon.address.to_string()).env("TERM", "xterm");
    let screen = on_a_terminal(&mut list);
    let red = |name: &str| format!("\u{1b}[1;31m{name}\u{1b}[0m");
    assert_eq!(
        screen.lines().collect::<Vec<_>>(),
        [
            "a.com      1  valid until 2999-01-02".to_owned(),
            format!("{}      2  waiting: the name has no \\u{{1b}}[2J address", red("b.com")),
            format!("{}      3  stopped until 2999-01-02: forbidden", red("c.com")),
            format!("{}      4  own ended 2001-01-02", red("d.com")),
        ]
    );
    assert_eq!(daemon.hotcore("list --json").json()[2]["reason"], "forbidden");
}

/// B233: rules and status of a daemon that knows no certificates are shown all the same.
#[test]
fn a_daemon_that_knows_no_certificates_is_named_and_its_rules_are_shown() {
    let daemon = FakeDaemon::start(|message| {
        Some(match message {
            "list" => "a.com 1".into(),
            "status" => "version 0.0.1\npid 7\nrules 1".into(),
            "version" => "0.0.1".into(),
            _ => "error there is no message \"certs\": send help for the messages".into(),
        })
    });
    let older = "the daemon is older (0.0.1)";
    let outcome = daemon.hotcore("list --json");
    assert_eq!((outcome.code, &outcome.json()[0]["certificate"]), (Some(0), &json!(null)), "{outcome:?}");
    assert!(outcome.stderr.contains("there is no message") && outcome.stderr.contains(older), "{outcome:?}");
    let outcome = daemon.hotcore("status");
    assert_eq!(outcome.code, Some(0));
    assert!(outcome.stdout.contains("hotcore 0.0.1 is running\n") && outcome.stderr.contains(older), "{outcome:?}");
    for line in ["check --certs", "retry a.com"] {
        let outcome = daemon.hotcore(line);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{line}: {outcome:?}");
        assert!(
            outcome.stderr.contains("there is no message") && outcome.stderr.contains(older),
            "{line}: {outcome:?}"
        );
    }
}

#[test]
fn a_name_is_tried_again() {
    let daemon = FakeDaemon::willing();
    let outcome = daemon.hotcore("retry A.com.");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "ok a.com is tried now\n"), "{outcome:?}");
    assert_eq!(daemon.received(), ["retry a.com"]);
    let daemon = FakeDaemon::start(|_| Some("error a.com is not mapped: first add a.com <port>".into()));
    let outcome = daemon.hotcore("retry a.com");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome:?}");
    assert!(outcome.stderr.contains("a.com is not mapped"), "{outcome:?}");
}
