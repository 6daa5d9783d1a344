//! HTTPS before there is a certificate. What clients see with one is in `secure_clients`, `secure_service` and `browser`.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use crate::rig::{Daemon, Launch, folder, s_client, succeed};

const NAME: &str = "app.example";

/// B63, B169, B170.
#[test]
fn without_a_certificate_every_handshake_is_refused_and_the_keys_of_tickets_are_kept() {
    let state = folder();
    let daemon = Daemon::start(state.path());
    daemon.commands().add(NAME, 3000);
    let https = daemon.https.expect("it is bound");
    let said = s_client(https, NAME, &[], "");
    assert!(said.contains("alert number 112"), "{said}");
    let url = format!("http://{https}/");
    let status = succeed(Command::new("curl").args(["--silent", "--output", "-", "--write-out", "%{http_code}", &url]));
    assert!(status.ends_with("400") && status.contains("https://"), "{status}");

    let keys = state.path().join("ticket-keys");
    let before = fs::read(&keys).unwrap();
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600, "invariant 5");
    let _next = Launch::new(state.path()).beside(&daemon).start();
    assert_eq!(fs::read(&keys).unwrap(), before, "the successor has the same");
}
