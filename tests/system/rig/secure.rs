//! The daemon with certificates of a CA made for one test, installed as a person does it: by `hotcore cert`.

use std::{
    fs,
    io::Write as _,
    mem,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use super::{Daemon, Door, Launch, PATIENCE, curl, folder, succeed, wait_for};

/// The usual life of a certificate of today.
const LIFE: Duration = Duration::days(90);

/// A running daemon, whose domains have certificates; all ends and is removed with it.
pub(crate) struct SecureSite {
    /// It may be replaced by the one that takes over.
    pub(crate) daemon: Daemon,
    /// Where HTTPS is served.
    pub(crate) address: SocketAddr,
    state: TempDir,
    files: TempDir,
    root: PathBuf,
}

impl SecureSite {
    /// A daemon that routes each domain to its port, and has a certificate for it.
    pub(crate) fn start(rules: &[(&str, u16)]) -> Self {
        let (state, files) = (folder(), folder());
        let daemon = Daemon::start(state.path());
        let address = daemon.https.expect("it serves HTTPS");
        let root = files.path().join("root.pem");
        let site = Self { daemon, address, state, files, root };
        let authority = Authority::new();
        fs::write(site.root(), &authority.root).unwrap();
        let commands = site.daemon.commands();
        for (domain, port) in rules {
            commands.add(domain, *port);
            let file = site.files.path().join("given.pem");
            fs::write(&file, authority.issue(domain)).unwrap();
            let said = succeed(site.daemon.cli().args(["cert", domain, "--json"]).arg(&file));
            let said: serde_json::Value = serde_json::from_str(&said).unwrap();
            assert_eq!(said["warnings"], serde_json::json!([]), "{said}");
            let line = format!("{domain} own ");
            wait_for("the certificate to serve", PATIENCE, || {
                commands.ask("certs").lines().any(|told| told.starts_with(&line)).then_some(())
            });
        }
        site
    }

    /// The root that clients are told to trust, in PEM.
    pub(crate) fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// What clients need to ask for this name.
    pub(crate) fn door<'a>(&'a self, name: &'a str) -> Door<'a> {
        Door { address: self.address, name, root: &self.root }
    }

    /// A folder for what a client needs.
    pub(crate) fn files(&self) -> &Path {
        self.files.path()
    }

    /// Ends the daemon in order and starts it again at the same addresses.
    pub(crate) fn restart(&mut self) {
        let next = self.next();
        self.daemon.signal(Signal::SIGTERM);
        assert!(self.daemon.wait(PATIENCE).success(), "it ends well");
        self.daemon = next.start();
    }

    /// Starts a daemon that takes over, and gives the one that has given up its sockets.
    pub(crate) fn take_over(&mut self) -> Daemon {
        let next = self.next().start();
        assert_eq!(next.https, Some(self.address), "the same sockets");
        mem::replace(&mut self.daemon, next)
    }

    fn next(&self) -> Launch {
        Launch::new(self.state.path()).beside(&self.daemon)
    }

    /// curl, which verifies.
    pub(crate) fn curl(&self) -> Command {
        let mut command = curl(self.address);
        command.arg("--cacert").arg(self.root());
        command
    }

    /// A GET by curl.
    pub(crate) fn get(&self, domain: &str, path: &str) -> String {
        succeed(self.curl().arg(format!("https://{domain}{path}")))
    }

    /// curl, which asks by plain HTTP.
    pub(crate) fn plain_curl(&self) -> Command {
        curl(self.daemon.http)
    }

    /// What openssl, which verifies, says after `input`.
    pub(crate) fn s_client(&self, domain: &str, options: &[&str], input: &str) -> String {
        let root = self.root();
        let verifying = ["-verify_return_error", "-CAfile", root.to_str().unwrap()];
        s_client(self.address, domain, &[&verifying, options].concat(), input)
    }
}

/// What `openssl s_client` says, both streams together, after `input`.
pub(crate) fn s_client(address: SocketAddr, name: &str, options: &[&str], input: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", name]).args(options);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have been refused before it reads this.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// A root with one intermediate, as the known CAs have it.
struct Authority {
    root: String,
    intermediate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let [root_key, key] = [(); 2].map(|()| KeyPair::generate().unwrap());
        let root = Self::signing("A root for a test").self_signed(&root_key).unwrap();
        let intermediate = Self::signing("An intermediate for a test").signed_by(&key, &root, &root_key).unwrap();
        Self { root: root.pem(), intermediate, key }
    }

    fn signing(name: &str) -> CertificateParams {
        let mut params = named(name, Vec::new());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// Certificate, chain and key in one text.
    fn issue(&self, domain: &str) -> String {
        let key = KeyPair::generate().unwrap();
        let mut leaf = named(domain, vec![domain.to_owned()]);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        leaf.use_authority_key_identifier_extension = true;
        let leaf = leaf.signed_by(&key, &self.intermediate, &self.key).unwrap();
        [leaf.pem(), self.intermediate.pem(), key.serialize_pem()].concat()
    }
}

fn named(name: &str, names: Vec<String>) -> CertificateParams {
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = OffsetDateTime::now_utc();
    (params.not_before, params.not_after) = (now - Duration::days(1), now - Duration::days(1) + LIFE);
    params
}
