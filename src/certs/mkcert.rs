//! Certificates of local names, made by mkcert: the developer's own small CA, which the developer's browsers trust (B224).
//!
//! mkcert is found, and its CA with it, before it is ever asked to sign: where the CA is missing it would make a new one that
//! nobody trusts. Never here: a CA that is made or installed, a name that is not mapped, a shell, a file of a trust store.

mod absent;
mod error;
mod program;
#[cfg(test)]
mod tests;

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File},
    io::{self, Read},
    os::unix::{
        ffi::OsStringExt,
        fs::{DirBuilderExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ::aws_lc_rs::digest::{SHA256, digest};
use rustls::{
    RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::ParsedCertificate,
    sign::CertifiedKey,
};
use tokio::sync::Mutex;

use super::{
    schedule::Origin,
    store::{Certificate, CertificateError},
};
use crate::{domain::Domain, limits};

pub use absent::Absent;
pub use error::MkcertError;

use program::Program;

/// What `mkcert -install` reaches, for a person whose browser does not trust its CA (B225).
pub const TRUST_STORES: &str = "`mkcert -install` serves the store of the system, and with certutil (package libnss3-tools) \
                                those of Chromium and Firefox; a browser from a snap or a flatpak has a store of its own";

/// The files of a CA, in its folder.
const AUTHORITY: &str = "rootCA.pem";
const AUTHORITY_KEY: &str = "rootCA-key.pem";
/// The folder in which one call writes; no file of the store is named so.
const WORKPLACE: &str = "_mkcert";

/// What is known of the environment; read at the edge, passed on to mkcert, and all that mkcert sees of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `PATH`, where mkcert is looked for; places that are not absolute count for nothing.
    pub path: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
    /// `CAROOT`, where mkcert's CA is, if not in its usual place.
    pub ca_root: Option<OsString>,
    /// `XDG_DATA_HOME`.
    pub data_home: Option<OsString>,
    /// The effective user id. Root and services have no CA that a person's browser trusts, unless `CAROOT` names it.
    pub user: u32,
}

impl Environment {
    /// With the variables as `value` gives them; one that is empty counts as not set.
    pub fn new(value: impl Fn(&str) -> Option<OsString>, user: u32) -> Self {
        let value = |name| value(name).filter(|value| !value.is_empty());
        Self {
            path: value("PATH"),
            home: value("HOME"),
            ca_root: value("CAROOT"),
            data_home: value("XDG_DATA_HOME"),
            user,
        }
    }

    fn variables(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        let all =
            [("PATH", &self.path), ("HOME", &self.home), ("CAROOT", &self.ca_root), ("XDG_DATA_HOME", &self.data_home)];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)))
    }
}

/// The program with a CA that it can sign with.
#[derive(Debug)]
pub struct Mkcert {
    program: Program,
    /// The folder of the CA.
    ca_root: PathBuf,
    /// The CA's own certificate.
    authority: CertificateDer<'static>,
    roots: RootCertStore,
    /// Where its files may be: a folder that is closed to others.
    folder: PathBuf,
    /// One call at a time (B224).
    turn: Mutex<()>,
}

/// What mkcert made.
#[derive(Debug)]
pub struct Made {
    /// Checked: its key, its name, and that this CA signed it.
    pub certificate: Certificate,
    /// The trust stores of which mkcert says that they do not know its CA, such as `system`.
    pub untrusted_by: Vec<String>,
}

impl Mkcert {
    /// Looks for mkcert and its CA; makes neither. `folder` is where certificates will be made in passing: it must be closed to
    /// others, as that of a store is. Needs a tokio runtime with IO and time; may start mkcert to ask it where its CA is, and
    /// then takes [`limits::MKCERT_WAIT`] at most. Cancel safe.
    pub async fn look(environment: &Environment, folder: &Path) -> Result<Self, Absent> {
        if environment.user < limits::PERSON_UID_MIN && environment.ca_root.is_none() {
            return Err(Absent::NoPerson);
        }
        let path = find(environment.path.as_deref()).ok_or(Absent::NoProgram)?;
        let variables = environment.variables().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let program = Program { path, variables };
        let ca_root = match &environment.ca_root {
            Some(folder) => PathBuf::from(folder),
            None => ask_for_the_folder(&program).await?,
        };
        if !ca_root.is_absolute() {
            return Err(Absent::NoFolder);
        }
        let authority = read_authority(&ca_root)?;
        let mut roots = RootCertStore::empty();
        if roots.add(authority.clone()).is_err() {
            return Err(Absent::Unreadable(ca_root.join(AUTHORITY), "it is no certificate".to_owned()));
        }
        Ok(Self { program, ca_root, authority, roots, folder: folder.to_owned(), turn: Mutex::new(()) })
    }

    /// Makes a certificate for this name, valid from now on; it is not kept. One call at a time, each for
    /// [`limits::MKCERT_WAIT`] at most. Cancel safe: mkcert ends with the future.
    pub async fn certificate(&self, domain: &Domain) -> Result<Made, MkcertError> {
        let _turn = self.turn.lock().await;
        // It may have gone meanwhile, and mkcert would make another one.
        if read_authority(&self.ca_root).map_err(MkcertError::Absent)? != self.authority {
            return Err(MkcertError::OtherAuthority);
        }
        let workplace = Workplace::new(self.folder.join(WORKPLACE)).map_err(MkcertError::Io)?;
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| workplace.0.join(name));
        let arguments = [
            OsStr::new("-ecdsa"),
            OsStr::new("-cert-file"),
            certificate.as_os_str(),
            OsStr::new("-key-file"),
            key.as_os_str(),
            OsStr::new("--"),
            OsStr::new(domain.as_str()),
        ];
        let said = self.program.run(&arguments).await?;
        let mut pem = read(&key).map_err(MkcertError::Io)?;
        pem.extend(read(&certificate).map_err(MkcertError::Io)?);
        let certificate = Certificate::parse(domain, Origin::Issued, &pem).map_err(MkcertError::Certificate)?;
        if !self.has_made(&certificate) {
            return Err(MkcertError::OtherAuthority);
        }
        Ok(Made { certificate, untrusted_by: untrusted_by(&said.stderr) })
    }

    /// Whether this CA signed it. If not, it is one of a CA that this machine had before: browsers trust it no more.
    pub fn has_made(&self, certificate: &Certificate) -> bool {
        self.has_signed(&certificate.key, certificate.not_before)
    }

    /// The same of one that began then, in seconds since 1970.
    pub fn has_signed(&self, key: &CertifiedKey, not_before: u64) -> bool {
        let Some(leaf) = key.cert.first() else { return false };
        // Whether it is valid at this time is another question.
        let time = UnixTime::since_unix_epoch(Duration::from_secs(not_before));
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
        ParsedCertificate::try_from(leaf)
            .and_then(|leaf| verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, &[], time, algorithms))
            .is_ok()
    }

    /// The fingerprint of the CA's certificate, as browsers and openssl show it: SHA-256, hexadecimal with colons.
    pub fn authority(&self) -> String {
        let digest = digest(&SHA256, &self.authority);
        digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    /// The folder of the CA.
    pub fn ca_root(&self) -> &Path {
        &self.ca_root
    }
}

/// The first program of that name.
fn find(path: Option<&OsStr>) -> Option<Arc<Path>> {
    let is_program =
        |file: &PathBuf| fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    let places = env::split_paths(path?).filter(|place| place.is_absolute());
    places.map(|place| place.join("mkcert")).find(is_program).map(Arc::from)
}

async fn ask_for_the_folder(program: &Program) -> Result<PathBuf, Absent> {
    let mut said = program.run(&[OsStr::new("-CAROOT")]).await.map_err(|cause| Absent::Failed(cause.to_string()))?;
    while said.stdout.last().is_some_and(u8::is_ascii_whitespace) {
        said.stdout.pop();
    }
    Ok(PathBuf::from(OsString::from_vec(said.stdout)))
}

/// The CA's certificate, if its key is there too and may be read.
fn read_authority(ca_root: &Path) -> Result<CertificateDer<'static>, Absent> {
    let [authority, key] = [AUTHORITY, AUTHORITY_KEY].map(|name| ca_root.join(name));
    let unusable = |file: &Path, cause: io::Error| match cause.kind() {
        io::ErrorKind::NotFound => Absent::NoAuthority(file.to_owned()),
        _ => Absent::Unreadable(file.to_owned(), cause.to_string()),
    };
    let pem = read(&authority).map_err(|cause| unusable(&authority, cause))?;
    read(&key).map_err(|cause| unusable(&key, cause))?;
    CertificateDer::from_pem_slice(&pem)
        .map_err(|_| Absent::Unreadable(authority, "there is no certificate in it".to_owned()))
}

/// A whole file, unless it is too large to be what it should be.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = limits::CERTIFICATE_FILE_BYTES_MAX;
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > limit {
        return Err(io::Error::other(CertificateError::TooLarge));
    }
    Ok(bytes)
}

/// Of what mkcert says, the stores in "Note: the local CA is not installed in the … trust store."
fn untrusted_by(said: &[u8]) -> Vec<String> {
    let said = String::from_utf8_lossy(said);
    let stores = said.lines().filter_map(|line| {
        let (_, rest) = line.split_once(" is not installed in the ")?;
        Some(super::record::one_line(rest.split(" trust store").next()?))
    });
    stores.collect()
}

/// A fresh folder that is closed to others (0700, B220) and goes away with what is in it.
struct Workplace(PathBuf);

impl Workplace {
    fn new(path: PathBuf) -> io::Result<Self> {
        // What a crash left.
        match fs::remove_dir_all(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        // What stays is closed to others, and the next call removes it.
        _ = fs::remove_dir_all(&self.0);
    }
}
