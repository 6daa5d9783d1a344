//! HTTPS by the programs that people use: each verifies the certificate and gets the backend's bytes.

use std::{fs, process::Command};

use crate::rig::{Backend, Client, SecureSite, beside, folder, note, run, sha256, succeed};

const NAME: &str = "app.example";

/// B62, B164, B169.
#[test]
fn curl_speaks_both_versions_of_http() {
    let files = folder();
    let app = Backend::app("the app", files.path());
    let site = SecureSite::start(&[(NAME, app.port)]);
    let url = format!("https://{NAME}/");
    for (option, version) in [("--http1.1", "1.1"), ("--http2", "2"), ("--http2-prior-knowledge", "2")] {
        for tls in ["1.2", "1.3"] {
            let mut curl = site.curl();
            curl.args([option, &format!("--tlsv{tls}"), "--tls-max", tls, "--write-out", "\n%{http_version}", &url]);
            assert_eq!(succeed(&mut curl), format!("the app\n{version}"), "{option}, TLS {tls}");
        }
    }
    // By itself it takes HTTP/2.
    assert_eq!(succeed(site.curl().args(["--write-out", "\n%{http_version}", &url])), "the app\n2");
    // On the plain port a name with a certificate is sent to HTTPS, and HTTP/2 is not spoken at all.
    let plain = format!("http://{NAME}/");
    let sent =
        run(site.plain_curl().args(["--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}", &plain]));
    assert_eq!(String::from_utf8_lossy(&sent.stdout), format!("308 {url}"));
    let prior = run(site.plain_curl().args(["--http2-prior-knowledge", &plain]));
    assert!(!prior.status.success(), "{prior:?}");
    let mut preface = Client::connect(site.daemon.http).unwrap();
    preface.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    let said = preface.head().unwrap();
    assert!(said.status == 505 && said.closes(), "{said:?}");
    // Upgrade: h2c is no reason to switch.
    site.daemon.commands().add("plain.example", app.port);
    let options = ["--http2", "--write-out", "\n%{http_version}", "http://plain.example/"];
    assert_eq!(succeed(site.plain_curl().args(options)), "the app\n1.1");
    // Somebody else's root is no reason to trust.
    let refused = run(site.curl().args(["--cacert", "/etc/ssl/certs/ca-certificates.crt", &url]));
    assert_eq!(refused.status.code(), Some(60), "{refused:?}");
}

/// Behind `site.example`, a backend that speaks HTTP/1.1 and knows WebSockets and trailers.
fn site() -> (SecureSite, Backend) {
    let backend = Backend::site("the site");
    (SecureSite::start(&[("site.example", backend.port)]), backend)
}

/// Runs a client of `clients/` that says `ok` when all is as it should be.
fn client_agrees(site: &SecureSite, program: &str, script: &str) {
    let mut command = Command::new(program);
    command.arg(beside(script)).args([site.address.ip().to_string(), site.address.port().to_string()]);
    assert_eq!(succeed(command.arg(site.root())), "ok\n");
}

/// B72, B73: trailers pass both ways between HTTP/2 and a backend that speaks HTTP/1.1.
#[test]
fn node_speaks_both_versions_of_http_with_trailers_both_ways() {
    let (site, _backend) = site();
    client_agrees(&site, "node", "clients/secure.js");
}

/// B106: and WebSockets.
#[test]
fn python_speaks_both_versions_of_http() {
    let (site, _backend) = site();
    client_agrees(&site, "/usr/bin/python3", "clients/secure.py");
}

/// B71, B72: a call's end is in its trailers.
#[test]
fn the_calls_of_grpc_reach_a_backend_that_speaks_http_1() {
    let (site, _backend) = site();
    client_agrees(&site, "/usr/bin/python3", "clients/grpc_calls.py");
}

/// RFC 9113, 5.4.1 and 6.8: no stream is reset, and the one GOAWAY is the client's, at its end.
#[test]
fn nghttp_has_a_clean_session() {
    let (site, _backend) = site();
    let said = succeed(nghttp(&site, "site.example").args([&url(&site, "/"), &url(&site, "/scheme")]));
    assert_eq!(said.matches(":status: 200").count(), 2, "{said}");
    assert!(said.contains("the site[") && said.contains("https["), "{said}");
    assert_eq!(said.matches("GOAWAY").count(), 1, "{said}");
    let (_, end) = said.split_once("send GOAWAY").unwrap();
    assert!(end.contains("NO_ERROR") && !end.contains("recv"), "{said}");
    assert!(!said.contains("RST_STREAM"), "{said}");
}

#[test]
fn nghttp_uploads_a_file() {
    let files = folder();
    let app = Backend::app("the app", files.path());
    let site = SecureSite::start(&[(NAME, app.port)]);
    let file = files.path().join("file");
    fs::write(&file, (0..5_000_000_u32).map(|number| number.to_le_bytes()[0] ^ 0x5A).collect::<Vec<_>>()).unwrap();
    let mut command = nghttp(&site, NAME);
    let said = succeed(command.arg("--data").arg(&file).arg(url(&site, "/upload")));
    assert!(said.contains(":status: 200") && said.contains(&sha256(&file)), "{said}");
    assert!(!said.contains("RST_STREAM"), "{said}");
}

/// As many as h2load can ask at a time on ten connections.
#[test]
fn h2load_gets_ten_thousand_answers() {
    let (site, _backend) = site();
    let mut command = Command::new("h2load");
    command.args(["-n", "10000", "-c", "10", "-m", "32", &format!("--connect-to={}", site.address)]);
    let said = succeed(command.arg("https://site.example/"));
    note(said.lines().find(|line| line.starts_with("finished in")).expect("it has finished"));
    assert!(said.contains("Application protocol: h2\n"), "{said}");
    assert!(said.contains("10000 done, 10000 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(said.contains("status codes: 10000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{said}");
}

/// It asks for the name that it sends as `:authority`, in the handshake, too.
fn nghttp(site: &SecureSite, name: &str) -> Command {
    let mut command = Command::new("nghttp");
    command.args(["--verbose", "--header", &format!(":authority: {name}")]).env("SSL_CERT_FILE", site.root());
    command
}

fn url(site: &SecureSite, path: &str) -> String {
    format!("https://{}{path}", site.address)
}
