//! What testssl.sh, which asks as attackers and old programs do, finds wrong with how HTTPS is spoken: nothing.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::rig::{Backend, SecureSite, note, wait_for};

const NAME: &str = "site.example";

/// Findings that say something about this test, or that are as they should be, and why.
const EXPECTED: [(&str, &str); 5] = [
    ("engine_problem", "testssl.sh misses an engine for GOST in its own openssl"),
    ("cert_revocation", "the CA of a test has neither a list of what it revoked nor a responder"),
    ("secure_renego", "it asks without a name, which is refused (B63); the test asks with one"),
    (
        "sessionresumption_ticket",
        "it may hang up before the ticket of TLS 1.3 has come; secure_service resumes sessions",
    ),
    ("cipher_order", "the client chooses: all that is offered is strong, and a client knows what it computes fast"),
];

/// Far beyond what it takes: about half a minute where nothing else runs.
const TIME_MAX: Duration = Duration::from_secs(300);

/// B63, B170.
#[test]
fn testssl_finds_nothing_of_medium_weight() {
    let backend = Backend::site("the site");
    let site = SecureSite::start(&[(NAME, backend.port)]);
    let (report, output) = (site.files().join("report.json"), site.files().join("output"));
    let begun = Instant::now();
    let mut command = Command::new("testssl");
    command.args(["--ip", &site.address.ip().to_string(), "--nodns", "none", "--warnings", "batch", "--color", "0"]);
    // Left out: header fields, which are the backend's, and what only lists ciphers and clients.
    command.args(["--protocols", "--standard", "--fs", "--server-preference", "--server-defaults", "--vulnerable"]);
    command.arg("--add-ca").arg(site.root()).arg("--jsonfile").arg(&report);
    command.arg(format!("https://{NAME}:{}/", site.address.port()));
    let mut child = command.stdin(Stdio::null()).stdout(File::create(&output).unwrap()).spawn().unwrap();
    wait_for("the end of testssl", TIME_MAX, || child.try_wait().unwrap());
    note(&format!("testssl took {:?}", begun.elapsed()));

    let output = fs::read_to_string(output).unwrap();
    let findings: Vec<Value> = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    let severity = |id: &str| findings.iter().find(|finding| finding["id"] == id).map(|finding| &finding["severity"]);
    // It has really looked.
    for id in
        ["SSLv2", "SSLv3", "TLS1_2", "TLS1_3", "cipherlist_STRONG", "PFS", "cert_trust", "heartbleed", "POODLE_SSL"]
    {
        assert!(severity(id).is_some_and(|severity| severity == "OK"), "{id}:\n{output}");
    }
    let is_harmless = |finding: &&Value| ["OK", "INFO", "LOW"].iter().any(|word| finding["severity"] == *word);
    let is_expected = |finding: &&Value| EXPECTED.iter().any(|(id, _)| finding["id"] == *id);
    let wrong: Vec<_> = findings.iter().filter(|finding| !is_harmless(finding) && !is_expected(finding)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{output}");

    let said = site.s_client(NAME, &["-tls1_2"], "");
    assert!(said.contains("Secure Renegotiation IS supported"), "{said}");
}
