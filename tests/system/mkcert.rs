//! Certificates of local names by the real mkcert, which Debian's package `mkcert` has, with a CA of each test's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use hotcore::{
    certs::{
        Mkcert,
        mkcert::{Absent, Environment},
        store::Store,
    },
    domain::Domain,
};
use tempfile::TempDir;

use super::rig::{folder, note, succeed};

/// A developer's home, with or without a CA, and a folder for certificates.
struct Home {
    folder: TempDir,
    environment: Environment,
}

impl Home {
    fn empty() -> Self {
        let folder = folder();
        let variable = |name: &str| match name {
            "PATH" => Some("/usr/local/bin:/usr/bin:/bin".into()),
            "HOME" => Some(folder.path().into()),
            "XDG_DATA_HOME" => Some(folder.path().join("data").into()),
            _ => None,
        };
        let environment = Environment::new(variable, 1_000);
        fs::create_dir(folder.path().join("store")).unwrap();
        Self { folder, environment }
    }

    /// mkcert makes its CA with the first certificate.
    fn with_authority() -> Self {
        let home = Self::empty();
        home.make_authority();
        home
    }

    fn make_authority(&self) {
        let [certificate, key] = ["first.pem", "first-key.pem"].map(|name| self.path(name));
        let mut mkcert = Command::new("mkcert");
        mkcert.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("CAROOT", self.ca_root());
        mkcert.arg("-cert-file").arg(certificate).arg("-key-file").arg(key).arg("first.test");
        succeed(&mut mkcert);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ca_root(&self) -> PathBuf {
        self.path("data/mkcert")
    }

    async fn look(&self) -> Result<Mkcert, Absent> {
        Mkcert::look(&self.environment, &self.path("store")).await
    }
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn openssl(arguments: &[&str], file: &Path) -> String {
    succeed(Command::new("openssl").args(arguments).arg(file))
}

/// B224.
#[tokio::test]
async fn mkcert_makes_certificates_that_its_own_authority_vouches_for() {
    let home = Home::with_authority();
    let mkcert = home.look().await.unwrap();
    assert_eq!(mkcert.ca_root(), home.ca_root());
    let root = home.ca_root().join("rootCA.pem");
    let shown = openssl(&["x509", "-noout", "-fingerprint", "-sha256", "-in"], &root);
    assert!(shown.trim().ends_with(&mkcert.authority()), "{shown} is not {}", mkcert.authority());
    let longest = format!("{0}.{0}.{0}.{1}.test", "a".repeat(63), "b".repeat(56));
    let mut store = Store::open(&home.path("store")).unwrap();
    let begin = Instant::now();
    let names = ["app.localhost", "localhost", "printer", "xn--bcher-kva.test", "a.b.c.home.arpa", &longest];
    for name in names {
        let made = mkcert.certificate(&domain(name)).await.unwrap();
        assert!(mkcert.has_made(&made.certificate), "{name}");
        assert_eq!(made.certificate.key.cert.len(), 1, "a chain of one");
        // Nobody has installed this CA.
        assert!(made.untrusted_by.iter().any(|store| store == "system"), "{:?}", made.untrusted_by);
        store.save(&made.certificate).unwrap();
    }
    note(&format!("mkcert: {} certificates in {:?}", names.len(), begin.elapsed()));
    let mut loaded = Vec::new();
    store.load_each(|domain, found| loaded.push((domain, found.certificate.unwrap()))).unwrap();
    assert_eq!(loaded.len(), names.len(), "and nothing else is in the folder");
    for name in names {
        let (_, certificate) = loaded.iter().find(|(domain, _)| domain.as_str() == name).unwrap();
        assert!(mkcert.has_made(certificate), "{name}");
    }
    let kept = home.path("store/app.localhost.pem");
    let shown = openssl(&["x509", "-noout", "-text", "-in"], &kept);
    assert!(shown.contains("DNS:app.localhost") && shown.contains("P-256"), "{shown}");
    openssl(&["verify", "-CAfile", root.to_str().unwrap()], &kept);
}

#[tokio::test]
async fn several_at_a_time_wait_for_each_other() {
    let home = Home::with_authority();
    let mkcert = home.look().await.unwrap();
    let [a, b, c] = ["a.test", "b.test", "c.test"].map(domain);
    let made = tokio::join!(mkcert.certificate(&a), mkcert.certificate(&b), mkcert.certificate(&c));
    for (made, name) in [(made.0, a), (made.1, b), (made.2, c)] {
        assert_eq!(made.unwrap().certificate.domain, name);
    }
}

/// mkcert itself would make a CA that nobody trusts, without a word that a program hears.
#[tokio::test]
async fn no_authority_is_ever_made() {
    let home = Home::empty();
    let absent = home.look().await.unwrap_err();
    assert_eq!(absent, Absent::NoAuthority(home.ca_root().join("rootCA.pem")));
    assert!(!home.ca_root().exists());
    home.make_authority();
    let mkcert = home.look().await.unwrap();
    let [key, certificate] = ["rootCA-key.pem", "rootCA.pem"].map(|name| home.ca_root().join(name));
    fs::remove_file(&key).unwrap();
    assert!(matches!(mkcert.certificate(&domain("a.test")).await, Err(error) if error.is_of_the_authority()));
    assert_eq!(home.look().await.unwrap_err(), Absent::NoAuthority(key.clone()));
    fs::remove_file(&certificate).unwrap();
    assert!(matches!(mkcert.certificate(&domain("a.test")).await, Err(error) if error.is_of_the_authority()));
    assert!(!key.exists() && !certificate.exists());
}

#[tokio::test]
async fn a_new_authority_is_another_one() {
    let home = Home::with_authority();
    let before = home.look().await.unwrap();
    let old = before.certificate(&domain("a.test")).await.unwrap().certificate;
    fs::remove_dir_all(home.ca_root()).unwrap();
    home.make_authority();
    let now = home.look().await.unwrap();
    // Both have the same name.
    assert!(now.authority() != before.authority() && !now.has_made(&old));
    assert!(matches!(before.certificate(&domain("a.test")).await, Err(error) if error.is_of_the_authority()));
    assert!(now.has_made(&now.certificate(&domain("a.test")).await.unwrap().certificate));
}
