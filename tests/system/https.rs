//! HTTPS seen by real clients: the real program, which has no certificates yet, and its workers with one.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::{Duration, SystemTime},
};

use hotcore::{
    domain::Domain,
    proxy::Patience,
    routes::{Port, TableWriter},
    service::worker::{Drain, Listeners, WorkerConfig, Workers},
    tls::{self, CertifiedKey, FrontConfig, Keyring, Tickets},
};
use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};

use crate::rig::{Backend, Daemon, Launch, folder, succeed};

const NAME: &str = "app.example";

/// What `openssl s_client` says, both streams together, after `input`.
fn s_client(address: SocketAddr, name: &str, options: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", name]).args(options);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have been refused before it reads this.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { stdout, stderr, .. } = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned()
}

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

/// B170: curl verifies the certificate; openssl comes back with its ticket, in both versions.
#[test]
fn curl_and_openssl_are_served() {
    let files = folder();
    let app = Backend::app("the app", files.path());
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let authority = files.path().join("authority.pem");
    fs::write(&authority, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.key_pair.serialize_der()));
    let certificate = CertifiedKey::new(vec![made.cert.der().clone()], any_supported_type(&key).unwrap());

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (mut rules, mut keyring) = (TableWriter::new(), Keyring::new());
    let domain = Domain::parse(NAME).unwrap();
    rules.insert(domain.clone(), Port::new(app.port).unwrap());
    keyring.insert(domain, Arc::new(certificate)).unwrap();
    let tickets = Tickets::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)).unwrap();
    let front = FrontConfig::new(rules.table(), keyring.certificates(), Arc::new(tickets), tls::Patience::default());
    let config = WorkerConfig {
        count: 2,
        table: rules.table(),
        tls: Some(front.unwrap()),
        own_ports: vec![address.port()],
        access_log: false,
        patience: Patience::default(),
        connections_max: None,
    };
    let workers = Workers::start(config, Listeners { http: Vec::new(), https: vec![listener] }).unwrap();
    workers.accept();

    let connect = format!("{NAME}:443:{address}");
    for version in ["--tls-max=1.2", "--tlsv1.3"] {
        let version: Vec<&str> = version.split('=').collect();
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--connect-to", &connect, "--cacert"]).arg(&authority);
        assert_eq!(succeed(curl.args(version).arg(format!("https://{NAME}/"))), "the app");
    }
    let session = files.path().join("session");
    let session = session.to_str().unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n");
    for version in ["-tls1_2", "-tls1_3"] {
        let first = s_client(address, NAME, &[version, "-ign_eof", "-sess_out", session], &request);
        assert!(first.contains("the app") && first.contains("New, "), "{first}");
        let second = s_client(address, NAME, &[version, "-ign_eof", "-sess_in", session], &request);
        assert!(second.contains("the app") && second.contains("Reused, "), "{second}");
    }
    workers.drain(Drain { requests: Duration::ZERO, tunnels: Duration::ZERO });
}
