//! The files that a person gave, and what to do about each thing that can be wrong with them.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::date;
use crate::{
    certs::own::{Fault, Form, Given, look},
    cli::{failure::Failure, output::Escaped},
    domain::Domain,
    limits::CERTIFICATE_FILE_BYTES_MAX,
};

/// What they hold, one or two.
pub(super) struct Material {
    first: (PathBuf, Vec<u8>),
    second: Option<(PathBuf, Vec<u8>)>,
}

impl Material {
    /// Reads one or two files; `-` is standard input, once.
    pub(super) fn read(domain: &Domain, files: &[PathBuf]) -> Result<Self, Failure> {
        let [first, rest @ ..] = files else { return Err(Failure::usage("there is no file")) };
        if rest.iter().any(|file| is_stdin(first) && is_stdin(file)) {
            return Err(Failure::usage("- stands for standard input, which can be read once"));
        }
        let first = (first.clone(), bytes(domain, first)?);
        let second = rest.first().map(|file| Ok((file.clone(), bytes(domain, file)?))).transpose()?;
        let material = Self { first, second };
        for (path, bytes) in material.files() {
            look(bytes).map_err(|fault| wrong(path, &fault, domain))?;
        }
        Ok(material)
    }

    /// What they are good for. `now` is in seconds since 1970.
    pub(super) fn judge(&self, domain: &Domain, now: u64) -> Result<Given, Failure> {
        let second = self.second.as_ref().map(|(_, bytes)| bytes.as_slice());
        Given::read(domain, &self.first.1, second, now).map_err(|fault| {
            let files: Vec<_> = self.files().map(|(path, _)| Escaped(&path.to_string_lossy()).to_string()).collect();
            let failure = Failure::refused(format_args!("{}: {fault}", files.join(" and ")));
            let hints = hints(&fault, self.file_of_the_key(), domain, self.second.is_some());
            let failure = hints.into_iter().fold(failure, Failure::hint);
            match fault {
                Fault::Ended(then) => failure.hint(dates("it ended", then, now)),
                Fault::NotYet(then) => failure.hint(dates("it begins", then, now)),
                _ => failure,
            }
        })
    }

    fn files(&self) -> impl Iterator<Item = &(PathBuf, Vec<u8>)> {
        [Some(&self.first), self.second.as_ref()].into_iter().flatten()
    }

    /// For the command that would change the key.
    fn file_of_the_key(&self) -> &Path {
        let has_key = |bytes: &[u8]| memchr::memmem::find(bytes, b"PRIVATE KEY-----").is_some();
        let found = self.files().find(|(_, bytes)| has_key(bytes));
        &found.unwrap_or(&self.first).0
    }
}

fn bytes(domain: &Domain, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // One more than there may be: so it is seen that there is more.
    let limit = CERTIFICATE_FILE_BYTES_MAX as u64 + 1;
    let read = if is_stdin(path) {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    let Err(cause) = read else { return Ok(bytes) };
    let failure = Failure::refused(format_args!("cannot read {}: {cause}", shown(path)));
    Err(match cause.kind() {
        io::ErrorKind::PermissionDenied => {
            failure.hint(format_args!("it is another user's: sudo hotcore cert {domain} …"))
        }
        // As certbot names them.
        io::ErrorKind::IsADirectory if path.join("fullchain.pem").exists() => failure.hint(format_args!(
            "give its files: hotcore cert {domain} {} {}",
            shown(&path.join("fullchain.pem")),
            shown(&path.join("privkey.pem"))
        )),
        _ => failure,
    })
}

fn wrong(path: &Path, fault: &Fault, domain: &Domain) -> Failure {
    let failure = Failure::refused(format_args!("{}: {fault}", shown(path)));
    hints(fault, path, domain, true).into_iter().fold(failure, Failure::hint)
}

/// What to do about it, a line each.
fn hints(fault: &Fault, file: &Path, domain: &Domain, is_second_given: bool) -> Vec<String> {
    let file = shown(file);
    match fault {
        Fault::OtherForm(Form::Certificate) => {
            vec![format!("make it PEM: openssl x509 -inform der -in {file} -out chain.pem")]
        }
        Fault::OtherForm(Form::Key) => vec![format!("make it PEM: openssl pkey -inform der -in {file} -out key.pem")],
        Fault::OtherForm(Form::Pkcs12) => vec![format!("make it PEM: openssl pkcs12 -nodes -in {file} -out all.pem")],
        Fault::OtherForm(Form::Pkcs7) => {
            vec![format!(
                "make it PEM: openssl pkcs7 -print_certs -in {file} -out chain.pem (with -inform der if it is no text)"
            )]
        }
        Fault::NotPem | Fault::Damaged => vec!["a PEM file has lines like -----BEGIN CERTIFICATE-----".to_owned()],
        Fault::Request => vec!["give the file that the certificate authority sent back".to_owned()],
        Fault::NoKey if !is_second_given => {
            vec![format!("if the key is in a file of its own: hotcore cert {domain} {file} <key.pem>")]
        }
        Fault::NoKey => vec!["give the key that the certificate was asked for with".to_owned()],
        Fault::EncryptedKey => vec![
            format!("take the password off: openssl pkey -in {file} -out key.pem"),
            format!("then: hotcore cert {domain} <chain.pem> key.pem"),
        ],
        Fault::SeveralKeys => vec!["give one alone: that of the first certificate".to_owned()],
        Fault::NoCertificate if !is_second_given => {
            vec![format!("give the certificates too: hotcore cert {domain} <chain.pem> {file}")]
        }
        Fault::OtherKey => vec!["give the key that the first certificate was asked for with".to_owned()],
        Fault::NotFirst(_) => {
            vec!["put the certificate of the site first, and behind it those that lead to a root".to_owned()]
        }
        Fault::OtherNames(_) => vec![format!("get one for {domain}, or install this one for one of its own names")],
        _ => Vec::new(),
    }
}

fn dates(what: &str, then: u64, now: u64) -> String {
    format!("{what} at {}, and this machine's clock says {}", date(then), date(now))
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn shown(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { Escaped(&path.to_string_lossy()).to_string() }
}
