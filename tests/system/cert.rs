//! `hotcore cert`: a person's certificate gets to where the daemon reads it, and nothing wrong ever does.

use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};
use serde_json::json;
use tempfile::TempDir;

use super::{
    cli::{FakeDaemon, Outcome, closed_address, command, run},
    rig::{Daemon, folder, skip},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A user without rights, on every machine.
const NOBODY: u32 = 65534;
const UNTIL: &str = "2090-01-01T00:00:00Z";

/// A state folder, and files of a person.
struct Desk {
    state: TempDir,
    files: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { state: folder(), files: folder() };
        let [ca_key, key, other] = [(); 3].map(|()| KeyPair::generate().unwrap());
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.distinguished_name.push(DnType::CommonName, "a CA");
        let ca = ca.self_signed(&ca_key).unwrap();
        let leaf = |from, until| {
            let mut leaf = CertificateParams::new(vec!["a.com".to_owned(), "*.b.com".to_owned()]).unwrap();
            (leaf.not_before, leaf.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
            leaf.signed_by(&key, &ca, &ca_key).unwrap().pem()
        };
        let (good, ca, key) = (leaf(2020, 2090), ca.pem(), key.serialize_pem());
        desk.write("key.pem", &key);
        desk.write("chain.pem", &format!("{good}{ca}"));
        desk.write("all.pem", &format!("{good}{ca}{key}"));
        desk.write("alone.pem", &format!("{good}{key}"));
        desk.write("old.pem", &format!("{}{ca}{key}", leaf(2020, 2021)));
        desk.write("early.pem", &format!("{}{ca}{key}", leaf(2089, 2090)));
        desk.write("order.pem", &format!("{ca}{good}{key}"));
        desk.write("other-key.pem", &other.serialize_pem());
        desk.write(
            "encrypted.pem",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        desk.write("large.pem", &"\n".repeat(300_000));
        desk.write("empty.pem", "");
        desk.write("text.pem", "hello");
        desk.write("live/fullchain.pem", &format!("{good}{ca}"));
        desk.write("live/privkey.pem", &key);
        desk
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.files.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The program, where the files are, with the state folder told by the environment.
    fn command(&self, line: &str) -> Command {
        let mut command = command(line);
        command.current_dir(self.files.path()).env("HOTCORE_STATE", self.state.path());
        command.env("HOTCORE_CONTROL", closed_address().to_string());
        command
    }

    fn hotcore(&self, line: &str) -> Outcome {
        run(&mut self.command(line))
    }

    fn own(&self) -> PathBuf {
        self.state.path().join("certificates/own")
    }

    /// The names of the files there.
    fn kept(&self) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.own()) else { return Vec::new() };
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Invariant 5: no private key is ever in a file others can read.
#[test]
fn a_certificate_is_installed_and_taken_away_without_a_daemon() {
    let desk = Desk::new();
    let outcome = desk.hotcore("cert A.com all.pem");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert_eq!(outcome.stdout, format!("ok a.com has its own certificate, valid until {UNTIL}\n"));
    assert_eq!(outcome.stderr, "hotcore is not running: this takes effect at its next start\n");
    assert_eq!(desk.kept(), ["a.com.pem", "a.com_once", "lock"]);
    assert_eq!((mode(&desk.state.path().join("certificates")), mode(&desk.own())), (0o700, 0o700));
    for file in desk.kept() {
        assert_eq!(mode(&desk.own().join(&file)), 0o600, "{file}");
    }
    let kept = fs::read_to_string(desk.own().join("a.com.pem")).unwrap();
    assert!(kept.ends_with(&fs::read_to_string(desk.files.path().join("all.pem")).unwrap()), "{kept}");
    // Again, for another name of it, and a wildcard's.
    assert_eq!(desk.hotcore("cert a.com all.pem").code, Some(0));
    assert_eq!(desk.hotcore("cert x.b.com all.pem").code, Some(0));

    let outcome = desk.hotcore("cert a.com --remove");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "ok a.com has no certificate of its own any more\n"));
    assert_eq!(desk.kept(), ["a.com_once", "lock", "x.b.com.pem", "x.b.com_once"], "B164");
    let outcome = desk.hotcore("cert a.com --remove");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "ok a.com had no certificate of its own\n"));
    assert_eq!(outcome.stderr, "");
}

#[test]
fn the_key_may_be_in_a_file_of_its_own_or_come_by_a_pipe() {
    for (line, pipe) in [
        ("cert a.com chain.pem key.pem", None),
        ("cert a.com key.pem chain.pem", None),
        ("cert a.com live/fullchain.pem live/privkey.pem", None),
        ("cert a.com -", Some("all.pem")),
        ("cert a.com chain.pem -", Some("key.pem")),
    ] {
        let desk = Desk::new();
        let mut command = desk.command(line);
        if let Some(file) = pipe {
            command.stdin(fs::File::open(desk.files.path().join(file)).unwrap());
        }
        let outcome = run(&mut command);
        assert_eq!(outcome.code, Some(0), "{line}: {outcome:?}");
        assert!(desk.kept().contains(&"a.com.pem".to_owned()), "{line}");
    }
}

#[test]
fn json_tells_the_same() {
    let desk = Desk::new();
    let expected = json!({
        "domain": "a.com", "installed": true, "not_before": "2020-01-01T00:00:00Z", "not_after": UNTIL,
        "warnings": [], "serving": false
    });
    assert_eq!(desk.hotcore("cert a.com all.pem --json").json(), expected);
    let outcome = desk.hotcore("cert a.com alone.pem --json");
    assert_eq!(outcome.json()["warnings"].as_array().unwrap().len(), 1);
    assert!(outcome.stderr.starts_with("warning: the certificates that lead to a root are missing"), "{outcome:?}");
    assert_eq!(desk.hotcore("cert a.com --remove --json").json(), json!({"domain": "a.com", "removed": true}));
    assert_eq!(desk.hotcore("cert a.com --remove --json").json(), json!({"domain": "a.com", "removed": false}));
}

#[test]
fn what_is_wrong_is_named_with_its_remedy_and_nothing_is_written() {
    let desk = Desk::new();
    let certificate = fs::read_to_string(desk.files.path().join("chain.pem")).unwrap();
    let openssl = Command::new("openssl")
        .args(["x509", "-outform", "der", "-out", "der.crt"])
        .current_dir(desk.files.path())
        .stdin(Stdio::piped())
        .spawn();
    let mut openssl = openssl.unwrap();
    openssl.stdin.take().unwrap().write_all(certificate.as_bytes()).unwrap();
    assert!(openssl.wait().unwrap().success());
    for (line, texts) in [
        ("cert a.com none.pem", &["cannot read none.pem", "No such file"][..]),
        ("cert a.com live", &["cannot read live", "hotcore cert a.com live/fullchain.pem live/privkey.pem"]),
        ("cert a.com empty.pem", &["empty.pem: it is empty"]),
        ("cert a.com text.pem", &["text.pem: there is neither a certificate nor a key", "-----BEGIN CERTIFICATE-----"]),
        ("cert a.com large.pem", &["large.pem: it has more than 256 KB"]),
        ("cert a.com /dev/zero", &["/dev/zero: it has more than 256 KB"]),
        (
            "cert a.com der.crt",
            &["der.crt: it is a certificate in another form", "openssl x509 -inform der -in der.crt"],
        ),
        ("cert a.com chain.pem der.crt", &["der.crt: it is a certificate in another form"]),
        ("cert a.com chain.pem", &["there is no private key in it", "hotcore cert a.com chain.pem <key.pem>"]),
        ("cert a.com key.pem", &["there is a key, but no certificate", "hotcore cert a.com <chain.pem> key.pem"]),
        ("cert a.com chain.pem encrypted.pem", &["under a password", "openssl pkey -in encrypted.pem -out key.pem"]),
        (
            "cert a.com chain.pem other-key.pem",
            &["chain.pem and other-key.pem: the key belongs to another certificate"],
        ),
        ("cert a.com all.pem key.pem", &["several private keys"]),
        ("cert a.com order.pem", &["the key belongs to certificate 2", "put the certificate of the site first"]),
        ("cert c.com all.pem", &["all.pem: the certificate is for other names: a.com, *.b.com"]),
        ("cert a.com old.pem", &["the certificate has ended", "it ended at 2021-01-01T00:00:00Z", "clock says 20"]),
        ("cert a.com early.pem", &["is not valid yet", "it begins at 2089-01-01T00:00:00Z"]),
    ] {
        let outcome = desk.hotcore(line);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{line}: {outcome:?}");
        assert!(outcome.stderr.starts_with("error: "), "{line}: {outcome:?}");
        for text in texts {
            assert!(outcome.stderr.contains(text), "{line}: no {text:?} in {}", outcome.stderr);
        }
        assert!(!outcome.stderr.contains("PRIVATE KEY-----\nM"), "B218: {outcome:?}");
    }
    assert!(!desk.state.path().join("certificates").exists());
}

/// A daemon of this state folder that answers these messages so, besides `status`.
fn daemon(state: &Path, script: &'static [(&str, &str)]) -> FakeDaemon {
    let state = state.display().to_string();
    FakeDaemon::start(move |message| match message {
        "status" => Some(format!("version {VERSION}\npid 7\nstate {state}")),
        "version" => Some(VERSION.to_owned()),
        _ => {
            let found = script.iter().find(|(prefix, _)| message.starts_with(prefix));
            found.map(|(_, reply)| (*reply).to_owned()).or_else(|| Some("error there is no message".to_owned()))
        }
    })
}

#[test]
fn the_daemon_says_where_its_folder_is_and_is_told() {
    for (script, stderr) in [
        (
            &[
                ("retry a.com", "ok a.com is tried now"),
                ("certs after a.col", "a.coma own - -\nmore a.coma"),
                ("certs after a.coma", "a.com own 2090-01-01T00:00:00Z - yours\nb.com valid - -"),
            ][..],
            "",
        ),
        (&[("retry", "ok a.com is tried now")], ""),
        (
            &[("retry", "ok a.com is tried now"), ("certs", "")],
            "the daemon has not taken it up yet; see: hotcore msg certs\n",
        ),
        (&[("retry", "error a.com is not mapped: add it first")], "a.com is not mapped: hotcore add a.com <port>\n"),
        (&[], "the daemon is of a version that looks at certificates at its start only\n"),
    ] {
        let desk = Desk::new();
        let daemon = daemon(desk.state.path(), script);
        let mut command = desk.command("cert a.com all.pem");
        let outcome = run(command.env("HOTCORE_CONTROL", daemon.address.to_string()).env("HOTCORE_STATE", ""));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), stderr), "{outcome:?}");
        assert!(desk.kept().contains(&"a.com.pem".to_owned()));
        assert_eq!(daemon.received()[..2], ["status", "retry a.com"]);
        let outcome = run(desk.command("cert a.com --remove").env("HOTCORE_CONTROL", daemon.address.to_string()));
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert!(outcome.stdout.contains("no certificate of its own any more"), "{outcome:?}");
    }
}

#[test]
fn json_says_whether_it_serves() {
    let desk = Desk::new();
    let script = &[("retry", "ok a.com is tried now"), ("certs", "a.com own 2090-01-01T00:00:00Z -")];
    let daemon = daemon(desk.state.path(), script);
    let outcome = run(desk.command("cert a.com all.pem --json").env("HOTCORE_CONTROL", daemon.address.to_string()));
    assert_eq!((outcome.code, &outcome.json()["serving"]), (Some(0), &json!(true)), "{outcome:?}");
}

#[test]
fn a_daemon_that_refuses_or_does_not_answer_is_a_failure_after_the_work() {
    let desk = Desk::new();
    let refusing = daemon(desk.state.path(), &[("retry", "error too many names wait")]);
    let outcome = run(desk.command("cert a.com all.pem").env("HOTCORE_CONTROL", refusing.address.to_string()));
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    for text in ["the certificate is installed, but the daemon says: too many names wait", "hotcore msg retry a.com"] {
        assert!(outcome.stderr.contains(text), "{outcome:?}");
    }
    let silent = FakeDaemon::start(|_| None);
    let outcome = run(desk.command("cert x.b.com all.pem").env("HOTCORE_CONTROL", silent.address.to_string()));
    assert_eq!(outcome.code, Some(3), "{outcome:?}");
    assert!(outcome.stderr.contains("the certificate is installed, but hotcore does not answer"), "{outcome:?}");
    assert!(desk.kept().contains(&"x.b.com.pem".to_owned()));
}

/// Where nobody says which folder is meant, nothing is written anywhere.
#[test]
fn without_an_answer_there_is_no_folder() {
    let desk = Desk::new();
    let silent = FakeDaemon::start(|_| None);
    for (address, home, code, text) in
        [(silent.address, "/none", 3, "--state DIR"), (closed_address(), "/none", 1, "start hotcore once")]
    {
        let mut command = desk.command("cert a.com all.pem");
        command.env("HOTCORE_CONTROL", address.to_string()).env("HOTCORE_STATE", "");
        command.env("STATE_DIRECTORY", format!("{home}/hotcore")).env("HOME", home);
        let outcome = run(&mut command);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(code), ""), "{outcome:?}");
        assert!(outcome.stderr.contains(text), "{outcome:?}");
    }
    let outcome = desk.hotcore("cert a.com all.pem --state none");
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(
        outcome.stderr.contains("cannot use the state folder") && outcome.stderr.contains("/none: "),
        "{outcome:?}"
    );
}

#[test]
fn another_daemons_folder_is_not_confused_with_the_one_that_was_typed() {
    let (desk, other) = (Desk::new(), folder());
    let daemon = daemon(other.path(), &[("retry", "ok a.com is tried now")]);
    let outcome = run(desk.command("cert a.com all.pem").env("HOTCORE_CONTROL", daemon.address.to_string()));
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stderr.contains(&format!("uses another folder, {}", other.path().display())), "{outcome:?}");
    assert_eq!(daemon.received(), ["status"], "it was not told");
}

/// Root, and a state folder that is somebody else's.
fn desk_of_nobody(test: &str) -> Option<Desk> {
    if !nix::unistd::geteuid().is_root() {
        skip(test, "only root can act as another user");
        return None;
    }
    let desk = Desk::new();
    chown(desk.state.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    Some(desk)
}

#[test]
fn root_writes_as_the_owner_of_the_folder() {
    let Some(desk) = desk_of_nobody("root_writes_as_the_owner_of_the_folder") else { return };
    for line in ["cert a.com all.pem", "cert a.com --remove", "cert x.b.com all.pem"] {
        let outcome = desk.hotcore(line);
        assert_eq!(outcome.code, Some(0), "{line}: {outcome:?}");
    }
    assert_eq!(desk.kept(), ["a.com_once", "lock", "x.b.com.pem", "x.b.com_once"]);
    let folders = [desk.state.path().join("certificates"), desk.own()];
    for path in desk.kept().iter().map(|file| desk.own().join(file)).chain(folders) {
        let data = fs::metadata(&path).unwrap();
        assert_eq!((data.uid(), data.gid(), mode(&path) & 0o077), (NOBODY, NOBODY, 0), "{}", path.display());
    }
}

/// What the folder's owner laid there must not lead root to a file of root's.
#[test]
fn root_follows_no_link_to_what_is_not_the_owners() {
    let Some(desk) = desk_of_nobody("root_follows_no_link_to_what_is_not_the_owners") else { return };
    let secret = desk.files.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    fs::create_dir_all(desk.own()).unwrap();
    for path in [desk.state.path().join("certificates"), desk.own()] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for name in ["a.com.pem~", "a.com_once", "lock"] {
        let link = desk.own().join(name);
        _ = fs::remove_file(&link);
        symlink(&secret, &link).unwrap();
        let outcome = desk.hotcore("cert a.com all.pem");
        assert_eq!(outcome.code, Some(1), "{name}: {outcome:?}");
        assert!(outcome.stderr.contains("Permission denied"), "{name}: {outcome:?}");
        let data = fs::metadata(&secret).unwrap();
        assert_eq!(
            (fs::read_to_string(&secret).unwrap().as_str(), data.uid(), mode(&secret)),
            ("secret", 0, 0o600),
            "{name}"
        );
        fs::remove_file(link).unwrap();
    }
    let outcome = desk.hotcore("cert a.com all.pem");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

/// Any program may answer in the place of a daemon that has ended.
#[test]
fn root_gives_no_key_to_a_folder_that_only_a_message_names() {
    let test = "root_gives_no_key_to_a_folder_that_only_a_message_names";
    let Some(desk) = desk_of_nobody(test) else { return };
    let refused = |line: &str, texts: &[&str]| {
        let daemon = daemon(desk.state.path(), &[]);
        let mut command = desk.command(line);
        let outcome = run(command.env("HOTCORE_CONTROL", daemon.address.to_string()).env("HOTCORE_STATE", ""));
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome:?}");
        for text in texts {
            assert!(outcome.stderr.contains(text), "no {text:?} in {}", outcome.stderr);
        }
        assert_eq!(fs::read_dir(desk.state.path()).unwrap().count(), 0);
    };
    let right_one = format!("--state {}", desk.state.path().display());
    refused("cert a.com all.pem", &["belongs to nobody", &right_one]);
    chown(desk.state.path(), Some(0), Some(0)).unwrap();
    fs::set_permissions(desk.state.path(), Permissions::from_mode(0o1777)).unwrap();
    refused("cert a.com all.pem", &["others may write to the state folder", "chmod go-w"]);
}

#[test]
fn who_may_not_is_told_who_may() {
    let Some(desk) = desk_of_nobody("who_may_not_is_told_who_may") else { return };
    // The program and the files, where this user may read them.
    let program = desk.files.path().join("hotcore");
    fs::copy(env!("CARGO_BIN_EXE_hotcore"), &program).unwrap();
    fs::set_permissions(desk.files.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(desk.files.path().join("key.pem"), Permissions::from_mode(0o600)).unwrap();
    let by = |user: u32, line: &str| {
        let mut command = Command::new(&program);
        command
            .args(line.split(' '))
            .env_clear()
            .current_dir(desk.files.path())
            .uid(user)
            .gid(user)
            .stdin(Stdio::null());
        command.env("HOTCORE_CONTROL", closed_address().to_string()).env("HOTCORE_STATE", desk.state.path());
        run(&mut command)
    };
    let outcome = by(12_345, "cert a.com all.pem");
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    for text in ["belongs to nobody", "sudo -u nobody hotcore cert"] {
        assert!(outcome.stderr.contains(text), "{outcome:?}");
    }
    let outcome = by(12_345, "cert a.com chain.pem key.pem");
    assert!(
        outcome.stderr.contains("cannot read key.pem") && outcome.stderr.contains("sudo hotcore cert"),
        "{outcome:?}"
    );
    let outcome = by(NOBODY, "cert a.com all.pem");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
}

/// Against the real daemon, as far as it goes by itself.
#[test]
fn the_real_daemon_names_its_folder() {
    let (desk, state) = (Desk::new(), folder());
    let daemon = Daemon::start(state.path());
    let mut command = daemon.cli();
    command.args(["cert", "a.com", "all.pem"]).current_dir(desk.files.path()).env_remove("HOTCORE_STATE");
    let outcome = run(&mut command);
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(state.path().join("certificates/own/a.com.pem").exists(), "{outcome:?}");
}
