//! What testssl.sh, which asks as attackers and old programs do, finds wrong with how HTTPS is spoken: nothing.

use std::{fs, time::Instant};

use serde_json::Value;

use crate::rig::{Backend, SecureSite, bounded, note, run};

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

/// It takes half a minute where nothing else runs: most of that is bash.
const SECONDS_MAX: u32 = 400;

/// B63, B170.
#[test]
fn testssl_finds_nothing_of_medium_weight() {
    let backend = Backend::site("the site");
    let site = SecureSite::start(&[(NAME, backend.port)]);
    let report = site.files().join("report.json");
    let begun = Instant::now();
    let mut command = bounded(SECONDS_MAX, "testssl");
    command.args(["--ip", &site.address.ip().to_string(), "--nodns", "none", "--warnings", "batch", "--color", "0"]);
    // Left out: header fields, which are the backend's, and what only lists ciphers and clients.
    command.args(["--protocols", "--standard", "--fs", "--server-preference", "--server-defaults", "--vulnerable"]);
    command.arg("--add-ca").arg(site.root()).arg("--jsonfile").arg(&report);
    command.arg(format!("https://{NAME}:{}/", site.address.port()));
    // Its exit code counts findings, unless it was ended.
    let ended = run(&mut command);
    note(&format!("testssl took {:?}", begun.elapsed()));

    let output = String::from_utf8_lossy(&ended.stdout);
    assert_ne!(ended.status.code(), Some(124), "it takes too long:\n{output}");
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
