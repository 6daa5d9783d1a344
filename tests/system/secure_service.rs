//! HTTPS while the daemon ends, starts and is replaced: sessions, connections and requests live through it.

use std::{
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use crate::rig::{Backend, Load, PATIENCE, SecureLoad, SecureSite, bounded, folder, note};

const NAME: &str = "app.example";
/// Far beyond what any of these programs takes.
const SECONDS_MAX: u32 = 120;
/// Clients of each version of HTTP.
const CLIENTS: usize = 4;

/// B170: the keys of tickets outlive the process.
#[test]
fn sessions_resume_across_a_restart_and_a_take_over() {
    let files = folder();
    let app = Backend::app("the app", files.path());
    let mut site = SecureSite::start(&[(NAME, app.port)]);
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    let ask = |site: &SecureSite, version: &str, direction: &str| {
        let session = site.files().join(version);
        let said = site.s_client(NAME, &[version, "-ign_eof", direction, session.to_str().unwrap()], &request);
        assert!(said.contains("the app") && said.contains("Verify return code: 0 (ok)"), "{said}");
        if said.contains("Reused, ") { "reused" } else { "new" }
    };
    for version in ["-tls1_2", "-tls1_3"] {
        assert_eq!(ask(&site, version, "-sess_out"), "new", "{version}");
    }
    site.restart();
    for version in ["-tls1_2", "-tls1_3"] {
        assert_eq!(ask(&site, version, "-sess_in"), "reused", "{version} after a restart");
        // A ticket of TLS 1.3 is for one use.
        ask(&site, version, "-sess_out");
    }
    let mut old = site.take_over();
    assert!(old.wait(PATIENCE).success());
    for version in ["-tls1_2", "-tls1_3"] {
        assert_eq!(ask(&site, version, "-sess_in"), "reused", "{version} after a take-over");
    }
}

/// B127, B207: connections of HTTP/2 are told to come again, those of HTTP/1.1 are closed between requests, and port 80 goes on, too.
#[test]
fn a_take_over_under_https_loses_no_request() {
    let files = folder();
    let app = Backend::app("the app", files.path());
    let mut site = SecureSite::start(&[(NAME, app.port)]);
    site.daemon.commands().add("plain.example", app.port);
    let secure = SecureLoad::start(site.door(NAME), CLIENTS, "the app");
    let plain = Load::start(site.daemon.http, "plain.example", 2, &["the app"]);
    for _ in 0..3 {
        secure.wait_for_more(2_000);
        let mut old = site.take_over();
        assert!(old.wait(PATIENCE).success(), "it ends well, and soon");
        secure.wait_for_more(2_000);
        plain.wait_for_more(100);
    }
    let (answered, farewells) = secure.finish();
    let (plain, slowest) = plain.finish();
    note(&format!(
        "3 take-overs under HTTPS: {answered} requests, {farewells} connections of HTTP/2 said farewell; \
         {plain} by plain HTTP, the longest took {slowest:?}; none failed"
    ));
    assert!(farewells >= 3, "{farewells} connections got GOAWAY");
}

/// B127: the first GOAWAY refuses nothing that is on its way, the last one names what was taken.
#[test]
fn a_stream_in_flight_ends_well_between_goaway_and_the_end() {
    let files = folder();
    let app = Backend::app("the app", files.path());
    let mut site = SecureSite::start(&[(NAME, app.port)]);
    // Line by line, since the test follows it.
    let mut command = bounded(SECONDS_MAX, "stdbuf");
    command.args(["--output=L", "nghttp", "--verbose", "--header", &format!(":authority: {NAME}")]);
    command.arg(format!("https://{}/slow", site.address)).env("SSL_CERT_FILE", site.root()).stdout(Stdio::piped());
    let mut nghttp = command.spawn().unwrap();
    let mut output = BufReader::new(nghttp.stdout.take().unwrap());
    let mut said = String::new();
    while !said.contains("First response header") {
        assert_ne!(output.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let mut old = site.take_over();
    while !said.contains("recv GOAWAY") {
        assert_ne!(output.read_line(&mut said).unwrap(), 0, "{said}");
    }
    assert_eq!(site.get(NAME, "/release"), "released", "by the new one");
    output.read_to_string(&mut said).unwrap();
    assert!(nghttp.wait().unwrap().success(), "{said}");
    assert!(old.wait(PATIENCE).success());
    let steps = [
        "recv GOAWAY",
        "last_stream_id=2147483647, error_code=NO_ERROR",
        "recv PING",
        "recv GOAWAY",
        "last_stream_id=13, error_code=NO_ERROR",
        "finished",
        "; END_STREAM\n",
    ];
    let mut rest = said.as_str();
    for step in steps {
        rest = rest.split_once(step).unwrap_or_else(|| panic!("{step:?} is missing, or out of order:\n{said}")).1;
    }
    assert!(!said.contains("RST_STREAM"), "{said}");
}
