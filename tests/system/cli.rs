//! The commands (B227–B233), against a stand-in for the daemon: a UDP socket that answers as told.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod certificates;

use std::{
    fs::File,
    io::{Read, Write},
    net::{SocketAddr, UdpSocket},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// No command takes this long; one that does hangs.
const DEADLINE: Duration = Duration::from_secs(30);

/// A daemon that answers each message with what the script makes of it; `None` is silence.
pub(super) struct FakeDaemon {
    pub(super) address: SocketAddr,
    received: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

type Script = dyn Fn(&str) -> Option<String> + Send;

impl FakeDaemon {
    pub(super) fn start(script: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        Self::start_with(Box::new(script), false)
    }

    /// Before each answer, all earlier ones are sent again to those who asked.
    fn start_with(script: Box<Script>, late_duplicates: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let address = socket.local_addr().unwrap();
        let (received, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, stopped) = (received.clone(), stop.clone());
        let serve = move || {
            let mut sent: Vec<(SocketAddr, String)> = Vec::new();
            let mut buffer = [0; 2048];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
                let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
                log.lock().unwrap().push(message.clone());
                if late_duplicates {
                    for (peer, reply) in &sent {
                        let _ = socket.send_to(reply.as_bytes(), peer);
                    }
                }
                if let Some(reply) = script(&message) {
                    let _ = socket.send_to(reply.as_bytes(), peer);
                    sent.push((peer, reply));
                }
            }
        };
        let thread = thread::Builder::new().name("fake daemon".into()).spawn(serve).unwrap();
        Self { address, received, stop, thread: Some(thread) }
    }

    /// A daemon of this version that does what it is told.
    fn willing() -> Self {
        Self::start(|message| {
            let words: Vec<_> = message.split(' ').collect();
            Some(match words[..] {
                ["add", name, port] => format!("ok {name} {port}"),
                ["remove", "unknown.com"] => "ok unknown.com was not mapped".into(),
                ["remove", name] => format!("ok {name} removed"),
                ["list"] => "a.com 1\nb.example 65535\nmore b.example".into(),
                ["list", "after", "b.example"] => "c.com 3".into(),
                ["certs"] => "a.com valid 2999-01-02T03:04:05Z 2998-01-02T03:04:05Z\nmore a.com".into(),
                ["certs", "after", "a.com"] => "b.example queued - -".into(),
                ["retry", name] => format!("ok {name} is tried now"),
                ["check"] => "kcehc".into(),
                ["version"] => VERSION.into(),
                ["status"] => format!("version {VERSION}\npid 7\nhttp 127.0.0.1:80\nrules 3\nlog journal"),
                _ => "error unknown message: try help".into(),
            })
        })
    }

    pub(super) fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().clone()
    }

    /// The program, told to ask this daemon.
    pub(super) fn hotcore(&self, line: &str) -> Outcome {
        run(command(line).env("HOTCORE_CONTROL", self.address.to_string()))
    }
}

impl Drop for FakeDaemon {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How the program ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    took: Duration,
}

impl Outcome {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|cause| panic!("no JSON: {cause}: {self:?}"))
    }
}

/// The program with the words of `line`, and an environment of its own.
pub(super) fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hotcore"));
    command.args(line.split(' ').filter(|word| !word.is_empty()));
    command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
    command
}

pub(super) fn run(command: &mut Command) -> Outcome {
    let start = Instant::now();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (code, stdout, stderr) = thread::scope(|scope| {
        let read = scope.spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text).unwrap()
        });
        let read_talk = scope.spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text).unwrap()
        });
        (wait(&mut child), read.join().unwrap(), read_talk.join().unwrap())
    });
    Outcome { code, stdout, stderr, took: start.elapsed() }
}

fn wait(child: &mut Child) -> Option<i32> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the program hangs");
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// An address where nobody listens: taken, then left.
pub(super) fn closed_address() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// B227: done is 0, data is on stdout, and there is no talk.
#[test]
fn what_is_done_ends_with_0() {
    let daemon = FakeDaemon::willing();
    for (line, stdout) in [
        ("add a.com 8080", "ok a.com 8080\n"),
        ("add A.COM 8080", "ok a.com 8080\n"),
        ("remove a.com", "ok a.com removed\n"),
        ("remove unknown.com", "ok unknown.com was not mapped\n"),
        ("list", "a.com 1\nb.example 65535\nc.com 3\n"),
        ("check", "ok\n"),
        ("check --certs", "ok\n"),
        ("version", &format!("{VERSION}\n")),
        ("msg check", "kcehc\n"),
        ("msg list after b.example", "c.com 3\n"),
        ("license", include_str!("../../LICENSE")),
    ] {
        let outcome = daemon.hotcore(line);
        assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(0), stdout, ""), "{line}");
    }
}

/// B227: a line that makes no command ends with 2, is explained on stderr alone, and reaches no daemon.
#[test]
fn wrong_use_ends_with_2_and_shows_what_to_type() {
    fails(
        2,
        &[
            ("add", &["hotcore add app.localhost 3000"]),
            ("add a.com", &["\"a.com\"", "hotcore add a.com <port>"]),
            ("add a.com:8080", &["hotcore add a.com 8080"]),
            ("add a.com 8080 now", &["\"now\"", "hotcore add a.com 8080"]),
            ("remove", &["hotcore list"]),
            ("remove a.com 8080", &["\"8080\"", "hotcore remove a.com"]),
            ("retry", &["hotcore list"]),
            ("retry a.com now", &["\"now\"", "hotcore retry a.com"]),
            ("list a.com", &["'a.com'"]),
            ("cert", &["hotcore cert a.com fullchain.pem privkey.pem"]),
            ("cert a.com", &["hotcore cert a.com <chain.pem> [key.pem]", "hotcore cert a.com --remove"]),
            ("cert a.com x --remove", &["--remove takes no file", "hotcore cert a.com --remove"]),
            ("cert a.com x y z", &["two files at most", "hotcore cert a.com <chain.pem>"]),
            ("cert a.com - -", &["can be read once"]),
            ("lst", &["'lst'", "'list'"]),
            ("--json list", &["hotcore list --json"]),
            ("list --jsn", &["'--jsn'", "'--json'"]),
            ("msg", &["hotcore msg help"]),
            ("msg ok a.com 80", &["\"ok\"", "would not answer"]),
            ("help nothing", &["'nothing'"]),
            ("serve --http 80", &["--http", "127.0.0.1:80"]),
            ("serve --http localhost:80", &["--http", "127.0.0.1:80"]),
            ("serve --https [::1]", &["--https", "[::1]:8080"]),
            ("serve --control 0.0.0.0:40608", &["--control", "127.0.0.1:40608"]),
            ("serve --acme-directory http://a.com", &["--acme-directory", "http://a.com", "https://"]),
            ("serve --acme-contact ann", &["--acme-contact", "\"ann\"", "ann@a.com"]),
            ("serve --acme-root /dev/null", &["--acme-root /dev/null", "no certificate in PEM"]),
            ("serve --acme-root /dev/null/none", &["--acme-root", "/dev/null/none"]),
            ("serve --workers 0", &["--workers", "1 to 1024"]),
            ("serve --local --http 0.0.0.0:80", &["0.0.0.0:80", "127.0.0.1:80"]),
            ("serve now", &["'now'"]),
            ("list --control 127.0.0.1:0", &["127.0.0.1:0", "40608"]),
            ("list --control 192.0.2.1:40608", &["--control", "127.0.0.1:40608"]),
        ],
    );
}

/// B227, B231: a name or a port that the daemon would refuse is refused before it is sent.
#[test]
fn a_wrong_name_or_port_ends_with_1_and_shows_what_to_type() {
    fails(
        1,
        &[
            (
                "add https://a.com/x 80800",
                &[
                    "\"https://a.com/x\"",
                    "give the name alone: a.com",
                    "\"80800\"",
                    "1 to 65535",
                    "hotcore add a.com <port>",
                ],
            ),
            ("add https://a.com 80", &["hotcore add a.com 80"]),
            ("add 8080 a.com", &["the name comes first", "hotcore add a.com 8080"]),
            ("add a.com localhost:3000", &["give the port alone: 3000", "hotcore add a.com 3000"]),
            ("add *.a.com 80", &["*.a.com", "hotcore add <domain> 80"]),
            ("add 127.0.0.1 80", &["127.0.0.1", "hotcore add <domain> 80"]),
            ("add a.com 0", &["\"0\"", "1 to 65535"]),
            ("add a.com -1", &["\"-1\"", "1 to 65535"]),
            ("add a.com 080", &["\"080\"", "1 to 65535"]),
            ("add a.com 8080x", &["\"8080x\"", "1 to 65535"]),
            ("remove https://a.com/x", &["hotcore remove a.com"]),
            ("remove a..com", &["a..com"]),
            ("retry https://a.com/x", &["hotcore retry a.com"]),
            ("cert https://a.com/x f", &["hotcore cert a.com <chain.pem>"]),
            ("cert *.a.com f", &["is a wildcard"]),
            ("cert a.com /none/f.pem", &["cannot read /none/f.pem", "No such file"]),
        ],
    );
}

/// Each line ends with `code`, says each of its texts on stderr, and sends nothing.
fn fails(code: i32, lines: &[(&str, &[&str])]) {
    let daemon = FakeDaemon::willing();
    for (line, texts) in lines {
        let outcome = daemon.hotcore(line);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(code), ""), "{line}: {outcome:?}");
        for text in *texts {
            assert!(outcome.stderr.contains(text), "{line}: no {text:?} in {}", outcome.stderr);
        }
    }
    assert_eq!(daemon.received(), [""; 0], "nothing wrong is sent");
}

#[test]
fn a_wrong_environment_is_named() {
    for (name, value) in [
        ("HOTCORE_CONTROL", "40608"),
        ("HOTCORE_HTTP", "80"),
        ("HOTCORE_LOCAL", "perhaps"),
        ("HOTCORE_ACME_DIRECTORY", "a.com"),
        ("HOTCORE_ACME_ROOT", "/dev/null/none"),
        ("HOTCORE_ACME_CONTACT", "ann"),
    ] {
        let outcome = run(command("serve").env(name, value));
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(2), ""), "{name}: {outcome:?}");
        assert!(outcome.stderr.contains(value), "{name}: {outcome:?}");
    }
}

/// As an empty line of an environment file means it.
#[test]
fn an_empty_variable_is_as_good_as_none() {
    let daemon = FakeDaemon::willing();
    let outcome = run(command(&format!("--control {}", daemon.address)).env("HOTCORE_CONTROL", ""));
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{outcome:?}");
    // All of `serve` at once; the last word ends it before it serves.
    let mut line = command("serve --state /dev/null/none");
    for name in [
        "HTTP",
        "HTTPS",
        "CONTROL",
        "STATE",
        "LOCAL",
        "WORKERS",
        "ACCESS_LOG",
        "ACME_DIRECTORY",
        "ACME_ROOT",
        "ACME_CONTACT",
    ] {
        line.env(format!("HOTCORE_{name}"), "");
    }
    let outcome = run(&mut line);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("/dev/null/none"), "{outcome:?}");
}

/// B8: on the wire only ASCII counts.
#[test]
fn a_name_in_other_letters_is_sent_in_ascii() {
    let daemon = FakeDaemon::willing();
    let outcome = daemon.hotcore("add BÜCHER.example 80");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "ok xn--bcher-kva.example 80\n"), "{outcome:?}");
    assert_eq!(daemon.received(), ["add xn--bcher-kva.example 80"]);
}

/// B226: a line for the hosts file is shown where one is needed, and never written.
#[test]
fn a_local_name_that_nobody_knows_gets_its_hosts_line() {
    let daemon = FakeDaemon::willing();
    let hosts = std::fs::read("/etc/hosts").unwrap();
    for (name, is_shown) in
        [("hotcore-test.test", true), ("hotcore-test.localhost", false), ("localhost", false), ("a.com", false)]
    {
        let outcome = daemon.hotcore(&format!("add {name} 80"));
        assert_eq!(outcome.code, Some(0), "{name}: {outcome:?}");
        let line = format!("a line for /etc/hosts: 127.0.0.1 {name}\n");
        assert_eq!((outcome.stderr.ends_with(&line), outcome.stderr.is_empty()), (is_shown, !is_shown), "{outcome:?}");
    }
    assert_eq!(std::fs::read("/etc/hosts").unwrap(), hosts);
}

/// B227: what the daemon refuses ends with 1, and the reason is talk.
#[test]
fn what_is_refused_ends_with_1() {
    let daemon = FakeDaemon::start(|message| {
        Some(if message == "version" { VERSION.into() } else { "error cannot save the rule: disk full".into() })
    });
    for line in [
        "add a.com 80",
        "remove a.com",
        "retry a.com",
        "list",
        "list --json",
        "status",
        "status --json",
        "check --certs",
        "msg add a.com 80",
    ] {
        let outcome = daemon.hotcore(line);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{line}: {outcome:?}");
        assert!(outcome.stderr.contains("error") && outcome.stderr.contains("disk full"), "{line}: {outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{line}: {outcome:?}");
    }
}

/// B228: without a daemon it ends at once, with the command that starts one.
#[test]
fn without_a_daemon_it_ends_with_3_at_once() {
    let address = closed_address().to_string();
    for line in [
        "",
        "add a.com 80",
        "remove a.com",
        "retry a.com",
        "list",
        "list --json",
        "status",
        "check",
        "check --certs",
        "log",
        "msg check",
    ] {
        let outcome = run(command(line).env("HOTCORE_CONTROL", &address));
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{line}: {outcome:?}");
        assert!(outcome.stderr.contains(&address) && outcome.stderr.contains("hotcore serve"), "{line}: {outcome:?}");
        assert!(outcome.took < Duration::from_millis(900), "{line}: {outcome:?}");
    }
    let outcome = run(command("status --json").env("HOTCORE_CONTROL", &address));
    assert_eq!((outcome.code, outcome.json()), (Some(3), json!({"running": false})));
    for line in ["check --json", "check --certs --json"] {
        let outcome = run(command(line).env("HOTCORE_CONTROL", &address));
        assert_eq!((outcome.code, &outcome.json()["ok"]), (Some(3), &json!(false)));
    }
}

#[test]
fn the_program_speaks_about_itself_without_a_daemon() {
    let address = closed_address().to_string();
    for line in
        ["version", "version --json", "license", "credits", "credits --json", "help", "--help", "--version", "help add"]
    {
        let outcome = run(command(line).env("HOTCORE_CONTROL", &address));
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{line}: {outcome:?}");
        assert!(!outcome.stdout.is_empty(), "{line}");
    }
}

/// B149, B228: silence is asked again, and ends after one second.
#[test]
fn a_silent_daemon_is_asked_again_for_a_second() {
    let daemon = FakeDaemon::start(|_| None);
    let outcome = daemon.hotcore("add a.com 80");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{outcome:?}");
    assert!(outcome.took >= Duration::from_secs(1), "{outcome:?}");
    assert!(outcome.stderr.contains("may have been made or not"), "{outcome:?}");
    assert_eq!(daemon.received(), ["add a.com 80"; 4]);
}

/// B149: a datagram that is lost does no harm.
#[test]
fn a_lost_datagram_does_no_harm() {
    let count = AtomicBool::new(false);
    let daemon = FakeDaemon::start(move |_| count.swap(true, Ordering::Relaxed).then(|| "ok a.com 80".into()));
    let outcome = daemon.hotcore("add a.com 80");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "ok a.com 80\n"), "{outcome:?}");
}

#[test]
fn late_duplicates_are_not_taken_for_answers() {
    let script = |message: &str| {
        Some(match message {
            "list" => "a.com 1\nmore a.com".to_owned(),
            "list after a.com" => "b.com 2\nmore b.com".to_owned(),
            _ => "c.com 3".to_owned(),
        })
    };
    let daemon = FakeDaemon::start_with(Box::new(script), true);
    let outcome = daemon.hotcore("list");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), "a.com 1\nb.com 2\nc.com 3\n"), "{outcome:?}");
    assert_eq!(daemon.received(), ["list", "list after a.com", "list after b.com"]);
}

/// Another program behind the port is no daemon.
#[test]
fn another_program_is_not_taken_for_the_daemon() {
    let daemon = FakeDaemon::start(|_| Some("\u{1b}[31mhello".into()));
    for line in ["add a.com 80", "remove a.com", "retry a.com", "list", "status", "check", "check --certs"] {
        let outcome = daemon.hotcore(line);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(3), ""), "{line}: {outcome:?}");
        assert!(
            outcome.stderr.contains("not like hotcore") && !outcome.stderr.contains('\u{1b}'),
            "{line}: {outcome:?}"
        );
    }
}

/// B233: both sides of a difference.
#[test]
fn a_refusal_by_another_version_says_which_side_is_older() {
    for (version, text) in [("0.0.1", "the daemon is older (0.0.1)"), ("999.0.0", "this program is older")] {
        let daemon = FakeDaemon::start(move |message| {
            Some(if message == "version" { version.into() } else { "error unknown message: try help".into() })
        });
        for line in ["status", "msg sing", "list", "retry a.com", "check --certs"] {
            let outcome = daemon.hotcore(line);
            assert_eq!(outcome.code, Some(1), "{line}: {outcome:?}");
            assert!(outcome.stderr.contains("unknown message") && outcome.stderr.contains(text), "{line}: {outcome:?}");
        }
        let outcome = daemon.hotcore("version");
        assert_eq!((outcome.code, outcome.stdout), (Some(0), format!("{VERSION}\n")));
        assert!(outcome.stderr.contains(text), "{}", outcome.stderr);
        assert_eq!(daemon.hotcore("version --json").json(), json!({"version": VERSION, "daemon": version}));
    }
}

/// B233: a newer daemon says more in its status; nothing of it is lost.
#[test]
fn a_newer_status_is_shown_whole() {
    let daemon =
        FakeDaemon::start(|_| Some("version 999.0.0\npid 7\nhttp3 on\nproblem disk full\nproblem clock wrong".into()));
    let outcome = daemon.hotcore("status");
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    for text in ["999.0.0", "http3", "on", "disk full", "clock wrong"] {
        assert!(outcome.stdout.contains(text), "{text}: {outcome:?}");
    }
    assert!(outcome.stderr.contains("this program is older"), "{outcome:?}");
    let json = daemon.hotcore("status --json").json();
    let expected = json!({
        "running": true, "version": "999.0.0", "pid": 7, "http3": "on", "problem": ["disk full", "clock wrong"]
    });
    assert_eq!(json, expected);
}

/// B229.
#[test]
fn no_command_is_the_status() {
    let daemon = FakeDaemon::willing();
    let status = daemon.hotcore("status");
    assert_eq!(status.code, Some(0));
    assert_eq!(status.stdout, daemon.hotcore("").stdout);
    assert_eq!(daemon.hotcore("--json").json(), daemon.hotcore("status --json").json());
}

/// B229.
#[test]
fn nothing_mapped_is_done_with_a_hint() {
    let daemon = FakeDaemon::start(|_| Some(String::new()));
    let outcome = daemon.hotcore("list");
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(0), ""), "{outcome:?}");
    assert!(outcome.stderr.contains("hotcore add app.localhost 3000"), "{outcome:?}");
    assert_eq!(daemon.hotcore("list --json").json(), json!([]));
}

#[test]
fn json_is_valid_and_complete() {
    let daemon = FakeDaemon::willing();
    let list = daemon.hotcore("list --json").json();
    let expected = json!([
        {
            "domain": "a.com", "port": 1, "certificate": "valid",
            "until": "2999-01-02T03:04:05Z", "next": "2998-01-02T03:04:05Z", "reason": null
        },
        {"domain": "b.example", "port": 65535, "certificate": "queued", "until": null, "next": null, "reason": null},
        {"domain": "c.com", "port": 3, "certificate": null, "until": null, "next": null, "reason": null}
    ]);
    assert_eq!(list, expected);
    let check = daemon.hotcore("check --json").json();
    assert_eq!(check, json!({"ok": true, "control": daemon.address.to_string()}));
    assert_eq!(daemon.hotcore("version --json").json(), json!({"version": VERSION, "daemon": VERSION}));
    let certs = daemon.hotcore("check --certs --json").json();
    assert_eq!(certs, json!({"ok": true, "control": daemon.address.to_string(), "names": 2, "attention": []}));
    let credits = daemon.hotcore("credits --json").json();
    let libraries = credits["libraries"].as_array().unwrap();
    assert!(libraries.iter().any(|library| library["name"] == "hyper" && library["licence"] == "MIT"), "{credits}");
}

/// A daemon with 100,000 pages.
fn endless() -> FakeDaemon {
    FakeDaemon::start(|message| {
        let page: u32 = message.strip_prefix("list after n").map_or(0, |name| name[..6].parse().unwrap());
        let line = |index: u32| format!("n{:06}.example {}\n", page + index, 1000 + index);
        Some(format!("{}more n{:06}.example", (1..=30).map(line).collect::<String>(), page + 30))
    })
}

/// B230: the reader of a pipe may leave at any time.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let daemon = endless();
    let mut command = command("list");
    command.env("HOTCORE_CONTROL", daemon.address.to_string());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 16];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"n000001.example ");
    assert_eq!(wait(&mut child), Some(0));
    let mut talk = String::new();
    child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert_eq!(talk, "");
    assert!(daemon.received().len() < 10_000, "it asked on for nobody");
}

/// B230: also for what is printed in one go, by the parser too, and for talk.
#[test]
fn a_pipe_closed_from_the_start_does_no_harm() {
    for (line, code) in
        [("license", 0), ("help", 0), ("--help", 0), ("credits", 0), ("version", 0), ("lst", 2), ("add", 2)]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut child = command(line).stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
        assert_eq!(wait(&mut child), Some(code), "{line}");
    }
}

#[test]
fn a_full_disk_behind_stdout_is_no_success() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut child = command("license").stdout(full).stderr(Stdio::piped()).spawn().unwrap();
    assert_eq!(wait(&mut child), Some(1));
    let mut talk = String::new();
    child.stderr.take().unwrap().read_to_string(&mut talk).unwrap();
    assert!(talk.contains("cannot write the output"), "{talk}");
}

/// B232: names come from outside.
#[test]
fn names_from_the_table_cannot_paint_the_screen() {
    let daemon = FakeDaemon::start(|message| {
        Some(match message {
            "list" => "\u{1b}[2J.com 80".into(),
            "status" => format!("version {VERSION}\nstate \u{1b}[2J"),
            _ => "ok \u{1b}[2J\u{9b}2J".into(),
        })
    });
    for line in ["list", "status", "msg x", "add a.com 80"] {
        let outcome = daemon.hotcore(line);
        assert_eq!(outcome.code, Some(0), "{line}: {outcome:?}");
        assert!(!outcome.stdout.contains(['\u{1b}', '\u{9b}']), "{line}: {outcome:?}");
    }
}

/// What a command writes to a terminal, both streams.
fn on_a_terminal(command: &mut Command) -> String {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let mut child = command.stdout(terminal.slave.try_clone().unwrap()).stderr(terminal.slave).spawn().unwrap();
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut screen = Vec::new();
    // The end of a terminal is an error (EIO), not an end of file.
    let _ = File::from(terminal.master).read_to_end(&mut screen);
    wait(&mut child);
    String::from_utf8(screen).unwrap().replace('\r', "")
}

const LIST_ON_A_TERMINAL: &str = "\
a.com          1  valid until 2999-01-02
b.example  65535  queued
c.com          3
";

/// B229, B232.
#[test]
fn a_terminal_has_columns_and_colour_unless_told_otherwise() {
    let daemon = FakeDaemon::willing();
    let hotcore = |line: &str| {
        let mut command = command(line);
        command.env("HOTCORE_CONTROL", daemon.address.to_string()).env("TERM", "xterm");
        command
    };
    assert_eq!(on_a_terminal(&mut hotcore("list")), LIST_ON_A_TERMINAL);
    for line in ["status", "add", "lst", "help"] {
        let coloured = |command: &mut Command| on_a_terminal(command).contains('\u{1b}');
        assert!(coloured(&mut hotcore(line)), "{line}");
        assert!(coloured(hotcore(line).env("NO_COLOR", "")), "{line}: an empty NO_COLOR counts for nothing");
        assert!(!coloured(hotcore(line).env("NO_COLOR", "1")), "{line}: NO_COLOR");
        assert!(!coloured(hotcore(line).env("TERM", "dumb")), "{line}: a dumb terminal");
        assert!(!daemon.hotcore(line).stderr.contains('\u{1b}'), "{line}: a pipe");
    }
}

/// A folder with stand-ins for the tools of `log`, which print their own command line.
fn tools(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        write_tool(&folder.path().join(name));
    }
    folder
}

fn write_tool(path: &Path) {
    let mut file = File::create(path).unwrap();
    file.write_all(b"#!/bin/sh\necho \"${0##*/} $*\"\n").unwrap();
    file.set_permissions(PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn the_log_is_followed_where_the_daemon_says_it_is() {
    for (place, expected) in [
        ("journal", "journalctl --unit hotcore --unit hotcore-web.socket --lines 50 --follow\n"),
        ("/var/lib/hotcore/hotcore.log", "tail -n 50 -F -- /var/lib/hotcore/hotcore.log\n"),
    ] {
        let daemon = FakeDaemon::start(move |_| Some(format!("version {VERSION}\nlog {place}")));
        let log =
            |folder: &Path| run(command("log").env("HOTCORE_CONTROL", daemon.address.to_string()).env("PATH", folder));
        let folder = tools(&["journalctl", "tail"]);
        let outcome = log(folder.path());
        assert_eq!((outcome.code, outcome.stdout.as_str(), outcome.stderr.as_str()), (Some(0), expected, ""));

        let outcome = log(tools(&[]).path());
        assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""), "{outcome:?}");
        let tool = expected.split(' ').next().unwrap();
        assert!(outcome.stderr.contains(&format!("cannot run {tool}")), "{outcome:?}");
    }
    let daemon = FakeDaemon::start(|_| Some(format!("version {VERSION}\nlog --help")));
    assert_eq!(daemon.hotcore("log").code, Some(1), "an option is no file");
    let daemon = FakeDaemon::start(|_| Some(format!("version {VERSION}\nlog /dev/null/hotcore.log")));
    let outcome = daemon.hotcore("log");
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("cannot read the log /dev/null/hotcore.log"), "{outcome:?}");
}
