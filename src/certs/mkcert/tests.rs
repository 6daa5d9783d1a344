//! Against a script in the place of mkcert: what hangs, fails, talks without end or makes rubbish does no harm. The real one
//! is asked in `tests/system/mkcert.rs`.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::Instant,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;

/// A machine with a CA of rcgen's and a script named mkcert.
struct Machine {
    folder: TempDir,
    environment: Environment,
}

impl Machine {
    fn new(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["bin", "ca", "store"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let path = format!("relative:/none:{}:/usr/bin:/bin", folder.path().join("bin").display());
        let environment = Environment {
            path: Some(path.into()),
            home: Some(folder.path().into()),
            ca_root: Some(folder.path().join("ca").into()),
            data_home: None,
            user: 0,
        };
        let machine = Self { folder, environment };
        machine.script(script);
        machine.authority();
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn script(&self, script: &str) {
        // Written by another process: one that is forked here meanwhile would have it open for writing, and it could not be run.
        let shell = "cat > bin/new && chmod 755 bin/new && mv bin/new bin/mkcert";
        let mut shell = Command::new("/bin/sh")
            .args(["-c", shell])
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(format!("#!/bin/sh\n{script}\n").as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
    }

    /// A new CA, and beside it, for the script, a certificate that it signed for a.test.
    fn authority(&self) {
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let [ca_key, key] = [(); 2].map(|()| KeyPair::generate().unwrap());
        let ca = ca.self_signed(&ca_key).unwrap();
        let leaf = CertificateParams::new(vec!["a.test".to_owned()]).unwrap().signed_by(&key, &ca, &ca_key).unwrap();
        for (name, pem) in [
            ("ca/rootCA.pem", ca.pem()),
            ("ca/rootCA-key.pem", ca_key.serialize_pem()),
            ("cert", leaf.pem()),
            ("key", key.serialize_pem()),
        ] {
            fs::write(self.path(name), pem).unwrap();
        }
    }

    async fn look(&self) -> Result<Mkcert, Absent> {
        Mkcert::look(&self.environment, &self.path("store")).await
    }

    async fn make(&self) -> Result<Made, MkcertError> {
        let made = self.look().await.unwrap().certificate(&Domain::parse("a.test").unwrap()).await;
        assert_eq!(fs::read_dir(self.path("store")).unwrap().count(), 0, "something is left behind");
        made
    }
}

/// What the real one does with its arguments, and a record of them.
const GOOD: &str = r#"echo "$@" > "$HOME/arguments"; env | sort > "$HOME/environment"; ls -ld "$(dirname "$3")" > "$HOME/mode"
cp "$HOME/cert" "$3"; cp "$HOME/key" "$5"; echo 'Note: the local CA is not installed in the system trust store.' >&2"#;

#[tokio::test]
async fn b224_mkcert_is_called_with_a_bare_environment_and_a_folder_closed_to_others() {
    let machine = Machine::new(GOOD);
    let made = machine.make().await.unwrap();
    assert_eq!((made.certificate.domain.as_str(), made.untrusted_by), ("a.test", vec!["system".to_owned()]));
    let said = |name: &str| fs::read_to_string(machine.path(name)).unwrap();
    let work = machine.path("store/_mkcert").display().to_string();
    let wanted = format!("-ecdsa -cert-file {work}/cert.pem -key-file {work}/key.pem -- a.test\n");
    assert_eq!((said("arguments"), &said("mode")[..10]), (wanted, "drwx------"));
    let said = said("environment");
    // The shell adds its own.
    let names = said.lines().filter_map(|line| Some(line.split_once('=')?.0));
    let names: Vec<_> = names.filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name)).collect();
    assert_eq!(names, ["CAROOT", "HOME", "PATH"]);
}

#[tokio::test]
async fn what_it_says_when_it_fails_is_told() {
    let machine = Machine::new("echo first >&2; echo 'ERROR: no \u{1b}[31mluck' >&2; echo >&2; exit 1");
    assert_eq!(machine.make().await.unwrap_err().to_string(), "mkcert failed: no  [31mluck");
    machine.script("exit 3");
    assert_eq!(machine.make().await.unwrap_err().to_string(), "mkcert failed and does not say why");
    machine.script("kill -9 $$");
    assert!(matches!(machine.make().await, Err(MkcertError::Refused(_))));
}

#[tokio::test]
async fn what_it_makes_is_checked() {
    for (script, wanted) in [
        ("exit 0", "No such file"),
        (r#"cp "$HOME/cert" "$3"; head -c 300000 /dev/zero > "$5""#, "too large"),
        (r#"cp "$HOME/cert" "$3"; mkdir "$5""#, "no file"),
        (r#"cp "$HOME/cert" "$3"; echo rubbish > "$5""#, "no private key"),
        (r#"cp "$HOME/ca/rootCA.pem" "$3"; cp "$HOME/ca/rootCA-key.pem" "$5""#, "not for this name"),
    ] {
        let error = Machine::new(script).make().await.unwrap_err().to_string();
        assert!(error.contains(wanted), "{script}: {error}");
    }
}

#[tokio::test]
async fn output_is_bounded() {
    let at = limits::MKCERT_OUTPUT_BYTES_MAX;
    let say = |bytes: usize| {
        format!("head -c {bytes} /dev/zero; head -c {bytes} /dev/zero >&2; {GOOD}").replace("echo 'N", ": 'N")
    };
    assert!(Machine::new(&say(at)).make().await.is_ok());
    assert!(matches!(Machine::new(&say(at + 1)).make().await, Err(MkcertError::TooMuch)));
    let begin = Instant::now();
    assert!(matches!(Machine::new("exec yes").make().await, Err(MkcertError::TooMuch)));
    assert!(begin.elapsed() < limits::MKCERT_WAIT, "{:?}", begin.elapsed());
}

/// Waits until no process has this id, nor is one of its group.
async fn ended(id: &str) {
    let group = nix::unistd::Pid::from_raw(id.trim().parse().unwrap());
    let deadline = Instant::now() + Duration::from_secs(30);
    while nix::sys::signal::killpg(group, None).is_ok() {
        assert!(Instant::now() < deadline, "{id} lives");
        tokio::task::yield_now().await;
    }
}

/// The clock of the test stands still while something happens, and goes on by itself where nothing does.
#[tokio::test]
async fn b224_what_hangs_is_killed_with_what_it_started() {
    let machine = Machine::new(r#"echo $$ > "$HOME/id~"; mv "$HOME/id~" "$HOME/id"; sleep 1000 & sleep 1000"#);
    let mkcert = machine.look().await.unwrap();
    let domain = Domain::parse("a.test").unwrap();
    let mut making = Box::pin(mkcert.certificate(&domain));
    let id = loop {
        tokio::select! {
            biased;
            outcome = &mut making => panic!("{outcome:?}"),
            () = tokio::task::yield_now() => {}
        }
        if let Ok(id) = fs::read_to_string(machine.path("id")) {
            break id;
        }
    };
    tokio::time::pause();
    let begin = tokio::time::Instant::now();
    assert!(matches!(making.await, Err(MkcertError::TimedOut)));
    assert!(begin.elapsed() >= limits::MKCERT_WAIT - Duration::from_secs(10), "{:?}", begin.elapsed());
    ended(&id).await;
    assert_eq!(fs::read_dir(machine.path("store")).unwrap().count(), 0);
}

#[tokio::test]
async fn who_loses_patience_ends_it() {
    let machine = Machine::new(r#"echo $$ > "$HOME/id~"; mv "$HOME/id~" "$HOME/id"; exec sleep 1000"#);
    let mkcert = machine.look().await.unwrap();
    let domain = Domain::parse("a.test").unwrap();
    let mut making = Box::pin(mkcert.certificate(&domain));
    let id = loop {
        tokio::select! {
            biased;
            outcome = &mut making => panic!("{outcome:?}"),
            () = tokio::task::yield_now() => {}
        }
        if let Ok(id) = fs::read_to_string(machine.path("id")) {
            break id;
        }
    };
    drop(making);
    ended(&id).await;
    machine.script(GOOD);
    machine.make().await.unwrap();
}

#[tokio::test]
async fn without_a_whole_authority_mkcert_is_never_called() {
    for (file, wanted) in
        [("ca/rootCA.pem", "run `mkcert -install` as yourself"), ("ca/rootCA-key.pem", "rootCA-key.pem")]
    {
        let machine = Machine::new(GOOD);
        let mkcert = machine.look().await.unwrap();
        fs::remove_file(machine.path(file)).unwrap();
        let absent = machine.look().await.unwrap_err();
        assert_eq!(absent, Absent::NoAuthority(machine.path(file)));
        assert!(absent.to_string().contains(wanted), "{absent}");
        let error = mkcert.certificate(&Domain::parse("a.test").unwrap()).await.unwrap_err();
        assert!(error.is_of_the_authority(), "{error}");
        fs::write(machine.path(file), "rubbish").unwrap();
        assert!(file.contains("key") || matches!(machine.look().await, Err(Absent::Unreadable(..))));
        fs::remove_file(machine.path(file)).unwrap();
        fs::create_dir(machine.path(file)).unwrap();
        assert!(matches!(machine.look().await, Err(Absent::Unreadable(..))));
        assert!(!machine.path("arguments").exists(), "it was called");
    }
}

#[tokio::test]
async fn another_authority_is_noticed() {
    let machine = Machine::new(GOOD);
    let mkcert = machine.look().await.unwrap();
    let domain = Domain::parse("a.test").unwrap();
    let first = mkcert.certificate(&domain).await.unwrap().certificate;
    assert!(mkcert.has_made(&first));
    machine.authority();
    assert!(matches!(mkcert.certificate(&domain).await, Err(MkcertError::OtherAuthority)));
    let other = machine.look().await.unwrap();
    assert!(!other.has_made(&first) && other.authority() != mkcert.authority());
    assert!(other.has_made(&other.certificate(&domain).await.unwrap().certificate));
    // It changed while mkcert was at work.
    let ours = machine.path("ours");
    fs::create_dir(&ours).unwrap();
    for file in ["cert", "key"] {
        fs::rename(machine.path(file), ours.join(file)).unwrap();
    }
    machine.authority();
    for file in ["cert", "key"] {
        fs::copy(ours.join(file), machine.path(file)).unwrap();
    }
    let now = machine.look().await.unwrap();
    assert!(matches!(now.certificate(&domain).await, Err(MkcertError::OtherAuthority)));
}

#[tokio::test]
async fn the_authority_is_where_mkcert_says_it_is() {
    let mut machine = Machine::new(r#"[ "$*" = -CAROOT ] && [ -z "$CAROOT" ] && echo "$HOME/ca""#);
    machine.environment.ca_root = None;
    machine.environment.user = limits::PERSON_UID_MIN;
    assert_eq!(machine.look().await.unwrap().ca_root(), machine.path("ca"));
    for (script, wanted) in
        [("echo", Absent::NoFolder), ("echo relative", Absent::NoFolder), ("exit 1", Absent::Failed(String::new()))]
    {
        machine.script(script);
        let absent = machine.look().await.unwrap_err();
        assert_eq!(std::mem::discriminant(&absent), std::mem::discriminant(&wanted), "{script}: {absent}");
    }
}

/// The CA of root or of a service is not the one that a person's browsers trust.
#[tokio::test]
async fn a_service_has_no_authority_unless_it_is_told_of_one() {
    let mut machine = Machine::new(GOOD);
    assert!(machine.look().await.is_ok());
    machine.environment.ca_root = None;
    for user in [0, limits::PERSON_UID_MIN - 1] {
        machine.environment.user = user;
        assert_eq!(machine.look().await.unwrap_err(), Absent::NoPerson);
    }
}

#[tokio::test]
async fn only_a_program_in_an_absolute_place_of_the_path_is_run() {
    let mut machine = Machine::new(GOOD);
    let program = machine.path("bin/mkcert");
    assert_eq!(find(machine.environment.path.as_deref()).as_deref(), Some(&*program));
    assert_eq!(find(Some(OsStr::new(":.:bin"))), None);
    fs::set_permissions(&program, PermissionsExt::from_mode(0o644)).unwrap();
    machine.environment.path = Some(machine.path("bin").into());
    assert_eq!(machine.look().await.unwrap_err(), Absent::NoProgram);
    machine.environment.path = None;
    assert_eq!(machine.look().await.unwrap_err(), Absent::NoProgram);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let value = |name: &str| Some(if name == "HOME" { "/home/ann" } else { "" }.into());
    let environment = Environment::new(value, 7);
    assert_eq!(environment, Environment { home: Some("/home/ann".into()), user: 7, ..Environment::default() });
}
