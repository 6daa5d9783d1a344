//! Pebble, a certificate authority for tests, on loopback: Debian's package of that name has it and a name server that answers
//! 127.0.0.1 to every question.

use std::{
    fs::{self, File},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
use tempfile::TempDir;

use super::{PATIENCE, ReservedPort, folder, wait_for};

/// How hostile the CA is, and where it looks for answers to challenges.
#[derive(Clone, Copy)]
pub(crate) struct Hostility {
    /// Per cent of good nonces that are refused.
    pub(crate) nonces_refused: u32,
    /// Per cent of authorizations that are used again.
    pub(crate) authorizations_reused: u32,
    /// It waits up to so many seconds before it looks at an answer.
    pub(crate) sleep: u32,
    /// Life of a certificate in seconds.
    pub(crate) validity: u32,
}

impl Hostility {
    /// As it comes: 5 % of nonces refused, half of the authorizations used again, some seconds of sleep.
    pub(crate) const DEFAULT: Self =
        Self { nonces_refused: 5, authorizations_reused: 50, sleep: 5, validity: 90 * 86_400 };
    /// As helpful as can be.
    pub(crate) const NONE: Self = Self { nonces_refused: 0, authorizations_reused: 0, sleep: 0, ..Self::DEFAULT };
}

/// What the CA logs when it makes an account.
pub(crate) const ACCOUNT_MADE: &str = "accounts in memory";
/// What the CA logs when it makes an order.
pub(crate) const ORDER_MADE: &str = "Added order";

/// What the CA logs when it signs a certificate.
pub(crate) const SIGNED: &str = "Issued certificate serial";

/// A running CA; dropped, it and its name server are killed and waited for.
pub(crate) struct Pebble {
    children: Vec<Child>,
    folder: TempDir,
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
    identity: Identity,
    hostility: Hostility,
    challenges: [u16; 2],
    reserved: Vec<ReservedPort>,
}

impl Pebble {
    /// A CA that looks for answers to HTTP-01 and to TLS-ALPN-01 at these ports.
    pub(crate) fn start(hostility: Hostility, http: u16, tls: u16) -> Self {
        let reserved: Vec<_> = (0..4).map(|_| ReservedPort::new()).collect();
        let mut pebble = Self {
            children: Vec::new(),
            folder: folder(),
            port: reserved[0].number,
            identity: Identity::new(),
            hostility,
            challenges: [http, tls],
            reserved,
        };
        pebble.run();
        pebble
    }

    /// Ends it and starts it again at the same place: it forgets all accounts and orders, as it keeps them in memory.
    pub(crate) fn restart(&mut self) {
        self.end();
        self.run();
    }

    /// The URL of its directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// The certificate and key of its listener, and their root.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The root of what it issues, in PEM: another one after each start.
    pub(crate) fn issuing_root(&self) -> String {
        let url = format!("https://127.0.0.1:{}/roots/0", self.reserved[1].number);
        super::succeed(Command::new("curl").args(["--silent", "--show-error", "--fail", "--insecure", &url]))
    }

    /// How often its log says `words`: see [`ACCOUNT_MADE`] and [`ORDER_MADE`].
    pub(crate) fn count(&self, words: &str) -> usize {
        fs::read_to_string(self.folder.path().join("log")).unwrap().matches(words).count()
    }

    fn run(&mut self) {
        let [ca, management, names, names_management] = [0, 1, 2, 3].map(|index| self.reserved[index].number);
        let path = |name: &str| self.folder.path().join(name);
        fs::write(path("certificate.pem"), &self.identity.certificate).unwrap();
        fs::write(path("key.pem"), &self.identity.key).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{ca}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": path("certificate.pem"),
            "privateKey": path("key.pem"),
            "httpPort": self.challenges[0],
            "tlsPort": self.challenges[1],
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": self.hostility.validity,
            "domainBlocklist": ["blocked.example"],
        }});
        fs::write(path("pebble.json"), config.to_string()).unwrap();
        let mut name_server = Command::new("pebble-challtestsrv");
        name_server.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", "", "-http01", "", "-https01", ""]);
        name_server.args(["-tlsalpn01", "", "-dns01", &format!("127.0.0.1:{names}")]);
        name_server.args(["-management", &format!("127.0.0.1:{names_management}")]);
        self.children.push(spawn(&mut name_server, &path("names.log")));
        let mut authority = Command::new("pebble");
        authority.arg("-config").arg(path("pebble.json"));
        authority.args(["-strict", "-dnsserver", &format!("127.0.0.1:{names}")]);
        authority.env("PEBBLE_WFE_NONCEREJECT", self.hostility.nonces_refused.to_string());
        authority.env("PEBBLE_AUTHZREUSE", self.hostility.authorizations_reused.to_string());
        match self.hostility.sleep {
            0 => authority.env("PEBBLE_VA_NOSLEEP", "1"),
            seconds => authority.env("PEBBLE_VA_SLEEPTIME", seconds.to_string()),
        };
        self.children.push(spawn(&mut authority, &path("log")));
        for port in [ca, management, names, names_management] {
            wait_for("the CA to listen", PATIENCE, || {
                for child in &mut self.children {
                    if let Some(status) = child.try_wait().unwrap() {
                        let logs = ["log", "names.log"].map(|log| fs::read_to_string(path(log)).unwrap());
                        panic!("a part of the CA ended with {status}:\n{}", logs.join("\n"));
                    }
                }
                TcpStream::connect(("127.0.0.1", port)).ok()
            });
        }
    }

    fn end(&mut self) {
        for mut child in self.children.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(command: &mut Command, log: &Path) -> Child {
    let log = File::create(log).unwrap();
    command.stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
    command.spawn().unwrap_or_else(|cause| panic!("{command:?}: {cause}; apt-get install pebble"))
}

/// A certificate for `localhost`, signed by a root of its own: rustls takes no root for a server's certificate.
pub(crate) struct Identity {
    /// In PEM, like the others.
    pub(crate) root: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let root_key = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Another name than that of what it signs: OpenSSL takes one for self-signed else.
        root.distinguished_name.push(DnType::CommonName, "root of a test");
        let root = root.self_signed(&root_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &root, &root_key).unwrap();
        Self { root: root.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
    }
}
