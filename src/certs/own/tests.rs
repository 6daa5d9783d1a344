//! Each thing that can be wrong with what a person gives is named; what is kept is its owner's alone.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};

use super::*;
use crate::limits;

/// In 2026, the year of all certificates here.
const NOW: u64 = 1_780_000_000;

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// A key, the certificate for it, and that of its CA.
struct Parts {
    key: String,
    leaf: String,
    ca: String,
}

impl Parts {
    fn of(names: &[&str]) -> Self {
        Self::with(names, |_| {})
    }

    fn with(names: &[&str], change: impl Fn(&mut CertificateParams)) -> Self {
        let [ca_key, key] = [(); 2].map(|()| KeyPair::generate().unwrap());
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "a CA");
        let ca = ca.self_signed(&ca_key).unwrap();
        let mut leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        (leaf.not_before, leaf.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
        change(&mut leaf);
        let leaf = leaf.signed_by(&key, &ca, &ca_key).unwrap();
        Self { key: key.serialize_pem(), leaf: leaf.pem(), ca: ca.pem() }
    }

    fn all(&self) -> String {
        format!("{}{}{}", self.key, self.leaf, self.ca)
    }
}

fn read(pem: &str) -> Result<Given, Fault> {
    Given::read(&domain("a.example"), pem.as_bytes(), None, NOW)
}

fn fault(pem: &str) -> Fault {
    read(pem).unwrap_err()
}

#[test]
fn key_and_chain_come_in_one_file_or_in_two_in_any_order() {
    let Parts { key, leaf, ca } = Parts::of(&["a.example"]);
    let chain = format!("{leaf}{ca}");
    for (first, second) in [
        (format!("{key}{chain}"), None),
        (format!("{chain}{key}"), None),
        (format!("{leaf}{key}{ca}"), None),
        (format!("some words\n{chain}\r\nmore words\n{key}"), None),
        (chain.clone(), Some(key.clone())),
        (key.clone(), Some(chain.clone())),
        (chain.trim_end().to_owned(), Some(key.trim_end().to_owned())),
        (chain.replace('\n', "\r\n"), Some(key.replace('\n', "\r\n"))),
    ] {
        let second = second.as_ref().map(String::as_bytes);
        let given = Given::read(&domain("a.example"), first.as_bytes(), second, NOW).unwrap();
        assert_eq!((given.certificate.key.cert.len(), given.warnings.as_slice()), (2, &[][..]), "{first}");
    }
}

#[test]
fn a_certificate_of_many_names_or_of_a_wildcard_serves_each_of_them() {
    let parts = Parts::of(&["b.example", "*.c.example", "a.example", "D.example"]).all();
    for name in ["a.example", "x.c.example", "d.example"] {
        assert!(Given::read(&domain(name), parts.as_bytes(), None, NOW).is_ok(), "{name}");
    }
    for name in ["c.example", "x.y.c.example", "e.example"] {
        let fault = Given::read(&domain(name), parts.as_bytes(), None, NOW).unwrap_err();
        assert!(fault.to_string().ends_with("other names: b.example, *.c.example, a.example, D.example"), "{fault}");
    }
    let many: Vec<_> = (0..100).map(|number| format!("n{number}.example")).collect();
    let many = Parts::of(&many.iter().map(String::as_str).collect::<Vec<_>>()).all();
    let Fault::OtherNames(names) = fault(&many) else { panic!() };
    assert_eq!((names.len(), names.last().unwrap().as_str()), (9, "and 92 more"));
    assert_eq!(fault(&Parts::of(&[]).all()), Fault::OtherNames(Vec::new()));
}

#[test]
fn what_is_missing_is_named() {
    let Parts { key, leaf, ca } = Parts::of(&["a.example"]);
    let other = Parts::of(&["a.example"]);
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let older = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    let useless = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (pem, wanted) in [
        (String::new(), Fault::Empty),
        (" \r\n".to_owned(), Fault::Empty),
        ("certificate".to_owned(), Fault::NotPem),
        (format!("{leaf}{ca}"), Fault::NoKey),
        (key.clone(), Fault::NoCertificate),
        (format!("{key}{request}"), Fault::Request),
        (format!("{leaf}{encrypted}"), Fault::EncryptedKey),
        (format!("{leaf}{older}"), Fault::EncryptedKey),
        (format!("{leaf}{useless}"), Fault::UselessKey),
        (format!("{leaf}{key}{}", other.key), Fault::SeveralKeys),
        (format!("{leaf}{}{ca}", other.key), Fault::OtherKey),
        (format!("{ca}{leaf}{key}"), Fault::NotFirst(2)),
        (format!("{key}{}", leaf.replacen("MII", "M!!", 1)), Fault::Damaged),
        (format!("{key}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), Fault::Damaged),
    ] {
        assert_eq!(fault(&pem), wanted, "{pem}");
    }
}

#[test]
fn another_form_than_pem_is_recognised() {
    let Parts { key, leaf, .. } = Parts::of(&["a.example"]);
    let openssl = |arguments: &str, input: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments.split(' ')).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut openssl = openssl.spawn().ok()?;
        openssl.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = openssl.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments}");
        Some(output.stdout)
    };
    for (arguments, input, wanted) in [
        ("x509 -outform der", &leaf, Form::Certificate),
        ("pkey -outform der", &key, Form::Key),
        ("ec -outform der", &key, Form::Key),
        ("crl2pkcs7 -nocrl -outform der -certfile /dev/stdin", &leaf, Form::Pkcs7),
        ("crl2pkcs7 -nocrl -certfile /dev/stdin", &leaf, Form::Pkcs7),
        ("pkcs12 -export -passout pass:x", &format!("{key}{leaf}"), Form::Pkcs12),
    ] {
        // Where there is no openssl, a certificate is looked at all the same.
        let Some(file) = openssl(arguments, input) else { continue };
        let fault = Given::read(&domain("a.example"), &file, None, NOW).unwrap_err();
        assert_eq!(fault, Fault::OtherForm(wanted), "{arguments}");
    }
    let pem = leaf.lines().filter(|line| !line.starts_with('-')).collect::<String>();
    let der = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, pem).unwrap();
    assert_eq!(only(&der), Some(Fault::OtherForm(Form::Certificate)));
    for end in 0..der.len().min(64) {
        assert!(only(&der[..end]).is_some(), "a piece of one is nothing, and no panic");
    }
    let seed = crate::testing::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..2_000 {
        let bytes: Vec<u8> =
            (0..random.usize(1..64)).map(|_| [0x30, 2, 1, 3, 0x80, random.u8(..)][random.usize(..6)]).collect();
        assert!(only(&bytes).is_some(), "{bytes:?}, seed {seed}");
    }
}

fn only(file: &[u8]) -> Option<Fault> {
    look(file).err()
}

#[test]
fn dates_are_judged_by_the_clock_at_hand() {
    let [begin, end] = [2026, 2027].map(|year| u64::try_from(date_time_ymd(year, 1, 1).unix_timestamp()).unwrap());
    let pem = Parts::of(&["a.example"]).all();
    let early = limits::CERTIFICATE_EARLY.as_secs();
    for (now, wanted) in [
        (begin - early - 1, Some(Fault::NotYet(begin))),
        (begin - early, None),
        (end - 1, None),
        (end, Some(Fault::Ended(end))),
    ] {
        let fault = Given::read(&domain("a.example"), pem.as_bytes(), None, now).err();
        assert_eq!(fault, wanted, "{now}");
    }
}

#[test]
fn what_serves_and_is_yet_not_as_it_should_be_is_warned_of() {
    let Parts { key, leaf, ca } = Parts::of(&["a.example"]);
    let warnings = |pem: &str| read(pem).unwrap().warnings;
    assert_eq!(warnings(&format!("{key}{leaf}{ca}")), []);
    assert_eq!(warnings(&format!("{key}{leaf}")), [Warning::NoChain]);
    let other = Parts::of(&["a.example"]);
    assert_eq!(warnings(&format!("{key}{leaf}{}", other.leaf)), [Warning::BrokenChain]);
    let client = Parts::with(&["a.example"], |leaf| {
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert_eq!(warnings(&client.all()), [Warning::NotForServers]);
    let server = Parts::with(&["a.example"], |leaf| {
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    });
    assert_eq!(warnings(&server.all()), []);
    let key = KeyPair::generate().unwrap();
    let mut alone = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    (alone.not_before, alone.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2027, 1, 1));
    let alone = alone.self_signed(&key).unwrap();
    assert_eq!(warnings(&format!("{}{}", key.serialize_pem(), alone.pem())), [Warning::SelfSigned]);
}

#[test]
fn each_limit_holds() {
    let Parts { key, leaf, ca } = Parts::of(&["a.example"]);
    let chain = |more: usize| format!("{key}{leaf}{}", ca.repeat(more));
    assert!(read(&chain(limits::CERTIFICATE_CHAIN_MAX - 1)).is_ok());
    assert_eq!(fault(&chain(limits::CERTIFICATE_CHAIN_MAX)), Fault::TooManyCertificates);
    let all = chain(1);
    let filled = |size: usize| format!("{}{all}", "\n".repeat(size - all.len()));
    assert!(read(&filled(limits::CERTIFICATE_FILE_BYTES_MAX)).is_ok());
    assert_eq!(fault(&filled(limits::CERTIFICATE_FILE_BYTES_MAX + 1)), Fault::TooLarge);
    // Two files are one with a line break between them.
    let two = |size: usize| {
        let chain = format!("{leaf}{ca}");
        let chain = format!("{}{chain}", "\n".repeat(size - 1 - key.len() - chain.len()));
        Given::read(&domain("a.example"), chain.as_bytes(), Some(key.as_bytes()), NOW).map(|_| ())
    };
    assert_eq!(two(limits::CERTIFICATE_FILE_BYTES_MAX), Ok(()));
    assert_eq!(two(limits::CERTIFICATE_FILE_BYTES_MAX + 1), Err(Fault::TooLarge));
}

/// Invariant 5: no private key is ever in a file others can read.
#[test]
fn what_is_kept_is_its_owners_alone() {
    let state = tempfile::tempdir().unwrap();
    let given = read(&Parts::of(&["a.example"]).all()).unwrap();
    let mut own = Own::open(state.path()).unwrap();
    own.install(&given).unwrap();
    assert!(matches!(Own::open(state.path()), Err(OwnError::Busy)), "one at a time");
    drop(own);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&state.path().join("certificates")), mode(&folder(state.path()))), (0o700, 0o700));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder(state.path())).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names, ["a.example.pem", "a.example_once", "lock"]);
    let mut found = Vec::new();
    let store = Store::open(&folder(state.path())).unwrap();
    store.load_each(|domain, one| found.push((domain, one.certificate.is_some()))).unwrap();
    assert_eq!(found, [(domain("a.example"), true)]);
    let mut own = Own::open(state.path()).unwrap();
    assert_eq!((own.remove(&domain("a.example")).unwrap(), own.remove(&domain("a.example")).unwrap()), (true, false));
    assert!(!folder(state.path()).join("a.example.pem").exists());
    assert!(!format!("{given:?}").contains("PRIVATE"), "B218");
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let state = tempfile::tempdir().unwrap();
    fs::create_dir(state.path().join("certificates")).unwrap();
    fs::write(folder(state.path()), "").unwrap();
    let error = Own::open(state.path()).unwrap_err();
    assert!(error.to_string().contains("certificates/own") && !error.is_of_rights(), "{error}");
}
