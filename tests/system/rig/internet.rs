//! An internet in small: a certificate authority, names that have an address, and visitors who trust what that authority signs.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Front, Hostility, Launch, PATIENCE, Pebble, ReservedPort, folder};

/// See the page of this module.
pub(crate) struct Internet {
    /// The certificate authority.
    pub(crate) pebble: Pebble,
    http: ReservedPort,
    https: ReservedPort,
    files: TempDir,
}

/// What a visitor of a site has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Visit {
    /// The whole answer, head and body.
    pub(crate) answer: String,
    /// The certificate's serial number.
    pub(crate) serial: String,
    /// Until when it is valid.
    pub(crate) until: SystemTime,
}

impl Internet {
    /// In which no name has an address yet.
    pub(crate) fn new(hostility: Hostility) -> Self {
        let (http, https, files) = (ReservedPort::new(), ReservedPort::new(), folder());
        let pebble = Pebble::start(hostility, http.number, https.number);
        fs::write(files.path().join("ca.pem"), &pebble.identity().root).unwrap();
        let internet = Self { pebble, http, https, files };
        internet.give_addresses(&[]);
        internet
    }

    /// A daemon that these names, and the authority, lead to.
    pub(crate) fn launch(&self, state: &Path) -> Launch {
        self.launch_behind(&self.pebble.directory(), state)
    }

    /// The same, but what it asks of the authority goes through `front`.
    pub(crate) fn launch_through(&self, front: &Front, state: &Path) -> Launch {
        self.launch_behind(&front.directory(), state)
    }

    fn launch_behind(&self, directory: &str, state: &Path) -> Launch {
        let launch = Launch::new(state).at(self.http.number, self.https.number).knowing(&self.hosts());
        launch.with("--acme-directory", directory).with("--acme-root", self.files.path().join("ca.pem"))
    }

    /// From now on these names have an address, and no other one but localhost has.
    pub(crate) fn give_addresses(&self, names: &[&str]) {
        let mut text = "127.0.0.1 localhost\n".to_owned();
        for name in names {
            writeln!(text, "127.0.0.1 {name}").unwrap();
        }
        // In its place: the daemon sees this very file.
        fs::write(self.hosts(), text).unwrap();
    }

    fn hosts(&self) -> PathBuf {
        self.files.path().join("hosts")
    }

    /// Where the sites serve HTTPS.
    pub(crate) fn https(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.https.number).into()
    }

    /// What a browser trusts.
    pub(crate) fn trust(&self) -> Trust {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pebble.issuing_root().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // Each visit is a full handshake.
        config.resumption = rustls::client::Resumption::disabled();
        Trust { config: Arc::new(config), address: self.https() }
    }
}

/// Visitors of sites.
#[derive(Clone)]
pub(crate) struct Trust {
    config: Arc<ClientConfig>,
    address: SocketAddr,
}

impl Trust {
    /// GET / over HTTPS, with a certificate that must be valid.
    pub(crate) fn visit(&self, name: &str) -> io::Result<Visit> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let server = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(&self.config), server).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        write!(stream, "GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let chain = stream.conn.peer_certificates().unwrap_or_default();
        let (_, leaf) = X509Certificate::from_der(&chain[0]).map_err(io::Error::other)?;
        let until = u64::try_from(leaf.validity().not_after.timestamp()).unwrap();
        let until = SystemTime::UNIX_EPOCH + Duration::from_secs(until);
        Ok(Visit { answer, serial: leaf.raw_serial_as_string(), until })
    }
}
