//! HTTPS for names of this machine alone, as a developer has it: `hotcore serve --local` by an ordinary user with mkcert.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{
    local::Machine,
    rig::{Daemon, Launch, PATIENCE, folder, note, run, succeed, wait_for},
};

/// A user id of a person; none of this machine's.
const PERSON: u32 = 54_321;
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A developer with a home, on a machine of its own.
struct Person {
    machine: Machine,
    home: TempDir,
}

impl Person {
    fn new(test: &str) -> Option<Self> {
        let machine = Machine::new(test)?;
        let home = folder();
        chown(home.path(), Some(PERSON), Some(PERSON)).unwrap();
        Some(Self { machine, home })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A CA of mkcert's in this folder of the home: mkcert makes it with its first certificate.
    fn make_authority(&self, ca_root: &str) {
        let mut mkcert = Command::new("setpriv");
        let user = PERSON.to_string();
        mkcert.args(["--reuid", &user, "--regid", &user, "--clear-groups", "mkcert", "-cert-file"]);
        mkcert.arg(self.path("first.pem")).arg("-key-file").arg(self.path("first-key.pem")).arg("first.test");
        succeed(mkcert.env_clear().env("PATH", PATH).env("HOME", self.home.path()).env("CAROOT", self.path(ca_root)));
    }

    fn serve(&self, ca_root: &str, path: &str) -> Daemon {
        self.machine.serve_as(PERSON, |command| {
            command.env_clear().env("PATH", path).env("HOME", self.home.path()).env("CAROOT", self.path(ca_root));
        })
    }

    fn hotcore(&self, daemon: &Daemon, words: &[&str]) -> String {
        succeed(self.machine.inside(daemon, &[&self.machine.hotcore]).args(words))
    }

    /// What is said of this name, if anything.
    fn said(&self, daemon: &Daemon, name: &str) -> Option<String> {
        let lines = self.hotcore(daemon, &["msg", "certs"]);
        lines.lines().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned))
    }

    fn wait_until_said(&self, daemon: &Daemon, name: &str, words: &str) {
        wait_for(words, PATIENCE, || self.said(daemon, name).filter(|said| said.contains(words)));
    }

    /// Status, `Location` and body, if curl is content; `options` may be a CA to trust.
    fn visit(&self, daemon: &Daemon, address: &str, options: &[&str]) -> Option<String> {
        let mut curl = self.machine.inside(daemon, &["curl", "--silent", "--show-error", "--max-time", "20"]);
        curl.args(["--write-out", "|%{http_code} %{redirect_url}", address]).args(options);
        let output = run(&mut curl);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn visit_trusting(&self, daemon: &Daemon, address: &str, ca_root: &str) -> Option<String> {
        let root = self.path(ca_root).join("rootCA.pem");
        self.visit(daemon, address, &["--cacert", root.to_str().unwrap()])
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.machine.state.path().join("certificates/local").join(format!("{name}.pem"))
    }
}

fn stop(mut daemon: Daemon) {
    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait(PATIENCE).success());
}

const HTTP: &str = "http://app.localhost:8080/page?a=b";
const HTTPS: &str = "https://app.localhost:8443/";
const SERVED: &str = "the app|200 ";
const MOVED: &str = "|308 https://app.localhost:8443/page?a=b";

/// B222 to B225.
#[test]
fn a_developer_has_https_for_local_names_as_soon_as_they_are_mapped() {
    let Some(person) = Person::new("a_developer_has_https_for_local_names_as_soon_as_they_are_mapped") else { return };
    person.make_authority("ca");
    let daemon = person.serve("ca", PATH);
    let app = person.machine.app(&daemon);
    person.hotcore(&daemon, &["add", "app.localhost", "3000"]);
    let begin = std::time::Instant::now();
    let mut plain = 0;
    wait_for("HTTPS that the browser trusts", Duration::from_secs(10), || {
        let answer = person.visit(&daemon, HTTP, &[]).expect("plain HTTP goes on until then");
        match answer.ends_with(MOVED) {
            true => person.visit_trusting(&daemon, HTTPS, "ca"),
            false => {
                assert!(answer.ends_with("|200 "), "{answer}");
                plain += 1;
                None
            }
        }
        .filter(|answer| answer == SERVED)
    });
    note(&format!("HTTPS for a local name {:?} after add, {plain} times plain HTTP before", begin.elapsed()));
    let answer = person.visit(&daemon, HTTP, &[]).unwrap();
    assert!(answer.ends_with(MOVED), "{answer}");
    assert_eq!(person.visit(&daemon, HTTPS, &[]), None, "nobody else trusts it");
    // B225: mkcert says so itself, and nobody has installed this CA.
    let said = person.said(&daemon, "app.localhost").unwrap();
    assert!(said.starts_with("local 20") && said.contains("not in the trust store of system"), "{said}");
    let log = daemon.log();
    assert_eq!(log.matches("`mkcert -install` serves the store of the system").count(), 1, "{log}");
    let mode = fs::metadata(person.kept("app.localhost")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "invariant 5");
    // Who has a rule that is no local name's gets what there is with --local: plain HTTP, and no authority is asked.
    person.hotcore(&daemon, &["add", "public.example", "3000"]);
    person.wait_until_said(&daemon, "public.example", "off - - ");
    let here = ["--resolve", "public.example:8080:127.0.0.1"];
    assert_eq!(person.visit(&daemon, "http://public.example:8080/", &here).unwrap(), SERVED);
    let folders = fs::read_dir(person.machine.state.path().join("certificates")).unwrap();
    let mut folders: Vec<_> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    assert_eq!(folders, ["local", "own"]);
    drop(app);
    let first = fs::read(person.kept("app.localhost")).unwrap();
    stop(daemon);

    // The same again: served from the start, and nothing is made.
    let daemon = person.serve("ca", PATH);
    let app = person.machine.app(&daemon);
    assert_eq!(person.visit_trusting(&daemon, HTTPS, "ca").unwrap(), SERVED);
    // The time of the next renewal is known once mkcert's CA is.
    wait_for("a look at the CA", PATIENCE, || {
        let said = person.said(&daemon, "app.localhost")?;
        said.split(' ').nth(2).is_some_and(|next| next != "-").then_some(())
    });
    assert_eq!(fs::read(person.kept("app.localhost")).unwrap(), first);
    drop(app);
    stop(daemon);

    // Another CA: browsers trust the certificates of the one before no more.
    person.make_authority("other");
    let daemon = person.serve("other", PATH);
    let _app = person.machine.app(&daemon);
    wait_for("a certificate of the other CA", Duration::from_secs(10), || {
        assert_eq!(person.visit(&daemon, HTTPS, &["--insecure"]).as_deref(), Some(SERVED), "nothing breaks meanwhile");
        person.visit_trusting(&daemon, HTTPS, "other")
    });
    assert_eq!(person.visit_trusting(&daemon, HTTPS, "ca"), None);
    assert_ne!(fs::read(person.kept("app.localhost")).unwrap(), first);
    stop(daemon);

    // mkcert is removed: what is there serves on.
    let daemon = person.serve("other", "/nowhere");
    let _app = person.machine.app(&daemon);
    person.wait_until_said(&daemon, "app.localhost", "no new certificate: mkcert is not installed");
    assert_eq!(person.visit_trusting(&daemon, HTTPS, "other").unwrap(), SERVED);
}

/// B225: plain HTTP, and one clear line with the remedy.
#[test]
fn without_mkcert_or_its_authority_local_names_have_plain_http() {
    let Some(person) = Person::new("without_mkcert_or_its_authority_local_names_have_plain_http") else { return };
    let daemon = person.serve("ca", "/nowhere");
    let app = person.machine.app(&daemon);
    person.hotcore(&daemon, &["add", "app.localhost", "3000"]);
    person.hotcore(&daemon, &["add", "b.localhost", "3000"]);
    for name in ["app.localhost", "b.localhost"] {
        person.wait_until_said(
            &daemon,
            name,
            "plain HTTP: mkcert is not installed: install it, and run `mkcert -install`",
        );
    }
    assert!(person.visit(&daemon, HTTP, &[]).unwrap().ends_with("|200 "));
    let listed = person.hotcore(&daemon, &["list", "--json"]);
    assert!(listed.contains("plain HTTP: mkcert is not installed"), "{listed}");
    let log = daemon.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("mkcert is not installed")).collect();
    // On stderr and in the log file.
    assert!((1..=2).contains(&lines.len()), "{lines:#?}");
    drop(app);
    stop(daemon);

    // It is installed, but has no CA yet: hotcore makes none.
    let daemon = person.serve("ca", PATH);
    let _app = person.machine.app(&daemon);
    person.wait_until_said(&daemon, "app.localhost", "rootCA.pem: run `mkcert -install` as yourself");
    assert!(person.visit(&daemon, HTTP, &[]).unwrap().ends_with("|200 "));
    assert!(!person.path("ca").exists());
    person.make_authority("ca");
    person.hotcore(&daemon, &["retry", "app.localhost"]);
    wait_for("HTTPS", Duration::from_secs(10), || person.visit_trusting(&daemon, HTTPS, "ca"));
}

/// B224: a CA of root's is trusted by no person's browser.
#[test]
fn a_service_does_not_use_mkcert_and_says_why() {
    let state = folder();
    let daemon = Launch::new(state.path()).start();
    let control = daemon.commands();
    control.add("a.localhost", 3000);
    let words = "run `hotcore serve --local` as yourself, or set CAROOT";
    wait_for("the reason", PATIENCE, || control.ask("certs").contains(words).then_some(()));
    wait_for("the line in the log", PATIENCE, || daemon.log().contains(words).then_some(()));
    control.add("b.localhost", 3000);
    wait_for("the reason", PATIENCE, || (control.ask("certs").matches(words).count() == 2).then_some(()));
    let file = fs::read_to_string(state.path().join("hotcore.log")).unwrap_or_else(|_| daemon.log());
    assert_eq!(file.matches(words).count(), 1, "{file}");
}

/// B224: it hangs, and hotcore stops all the same, and leaves nothing behind.
#[test]
fn a_stop_ends_a_running_mkcert() {
    let Some(person) = Person::new("a_stop_ends_a_running_mkcert") else { return };
    person.make_authority("ca");
    fs::create_dir(person.path("bin")).unwrap();
    let script = person.path("bin/mkcert");
    fs::write(&script, "#!/bin/sh\necho $$ > \"$HOME/new\" && mv \"$HOME/new\" \"$HOME/pid\"\nsleep 1000\n").unwrap();
    fs::set_permissions(person.path("bin"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = person.serve("ca", &format!("{}:{PATH}", person.path("bin").display()));
    let _app = person.machine.app(&daemon);
    person.hotcore(&daemon, &["add", "app.localhost", "3000"]);
    let pid = wait_for("mkcert", PATIENCE, || fs::read_to_string(person.path("pid")).ok());
    let process = PathBuf::from("/proc").join(pid.trim());
    assert!(process.exists());
    assert!(person.visit(&daemon, HTTP, &[]).unwrap().ends_with("|200 "), "plain HTTP goes on");
    let begin = std::time::Instant::now();
    stop(daemon);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    wait_for("the end of mkcert", PATIENCE, || (!process.exists()).then_some(()));
    assert!(!person.machine.state.path().join("certificates/local/_mkcert").exists());
}
