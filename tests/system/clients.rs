//! The sample clients of the pages that hotcore is modelled on, to the letter (`clients/page.*` and `clients/post.*`), against
//! the real daemon. They read at most 1,024 bytes and wait 100 ms: that is the contract of the control protocol (B193).
//!
//! The post's samples wait for no reply. Its Python lost its indentation on the page and has it again here; its Ruby sample opens
//! a TCP connection and can reach no UDP port; its Go sample is the page's without the reply.

use std::{fs, process::Command};

use crate::rig::{Control, Daemon, PATIENCE, beside, folder, run, skip, wait_for, works};

/// A language: how its sample is made to send one message and to print what it gives back.
struct Sample {
    file: &'static str,
    version: &'static [&'static str],
    run: fn(source: &str, port: u16, message: &str) -> Command,
}

const SAMPLES: [Sample; 4] = [
    Sample {
        file: "page.py",
        version: &["/usr/bin/python3", "--version"],
        run: |source, port, message| {
            let script = format!("{source}\nprint(send_udp_message({port}, '{message}'), end='')");
            command("/usr/bin/python3", &["-c", &script])
        },
    },
    Sample {
        file: "page.js",
        version: &["node", "--version"],
        run: |source, port, message| {
            let script =
                format!("{source}\nsendUDPMessage({port}, '{message}').then(r => process.stdout.write(String(r)))");
            command("node", &["-e", &script])
        },
    },
    Sample {
        file: "page.php",
        version: &["php", "--version"],
        run: |source, port, message| {
            let script = format!("{source}\necho send_udp_message({port}, '{message}');");
            command("php", &["-r", &script])
        },
    },
    Sample {
        file: "page.rb",
        version: &["ruby", "--version"],
        run: |source, port, message| {
            let script = format!("{source}\nprint send_udp_message({port}, '{message}')");
            command("ruby", &["-e", &script])
        },
    },
];

#[test]
fn the_pages_python_client_is_understood() {
    converse(&SAMPLES[0]);
}

#[test]
fn the_pages_node_client_is_understood() {
    converse(&SAMPLES[1]);
}

#[test]
fn the_pages_php_client_is_understood() {
    converse(&SAMPLES[2]);
}

#[test]
fn the_pages_ruby_client_is_understood() {
    converse(&SAMPLES[3]);
}

#[test]
fn the_pages_go_client_is_understood() {
    if !works("go", &["version"]) {
        return skip("the_pages_go_client_is_understood", "go is not installed");
    }
    let state = folder();
    let daemon = Daemon::start(state.path());
    let sample = fs::read_to_string(beside("clients/page.go")).unwrap();
    let program = state.path().join("main.go");
    // `print` is built in and writes to stderr.
    let main =
        format!("func main() {{ reply, _ := SendUDPMessage({}, \"check\"); print(reply) }}", daemon.control.port());
    fs::write(&program, format!("package main\n{sample}\n{main}\n")).unwrap();
    let output = run(Command::new("go").arg("run").arg(&program).env("GOFLAGS", "-mod=mod"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "kcehc");
}

#[test]
fn the_posts_clients_are_heard() {
    let state = folder();
    let daemon = Daemon::start(state.path());
    let (control, port) = (daemon.commands(), daemon.control.port());
    let read = |name: &str| fs::read_to_string(beside(&format!("clients/{name}"))).unwrap();

    let script = format!("{}\nsend_udp_message({port}, 'add python.example 3001')", read("post.py"));
    heard(&control, command("/usr/bin/python3", &["-c", &script]), "python.example", 3001);
    let script = format!("{}\nsendUDPMessage({port}, 'add node.example 3002')", read("post.js"));
    heard(&control, command("node", &["-e", &script]), "node.example", 3002);
    let script = format!("{}\nsend_udp_message({port}, 'add php.example 3003');", read("post.php"));
    heard(&control, command("php", &["-r", &script]), "php.example", 3003);
}

/// Runs a client that waits for nothing, and waits for what it asked for.
fn heard(control: &Control, mut client: Command, domain: &str, port: u16) {
    let output = run(&mut client);
    assert!(output.status.success(), "{client:?}: {}", String::from_utf8_lossy(&output.stderr));
    wait_for(domain, PATIENCE, || (control.list().get(domain) == Some(&port)).then_some(()));
}

fn converse(sample: &Sample) {
    assert!(works(sample.version[0], &sample.version[1..]), "{} is not installed", sample.version[0]);
    let state = folder();
    let daemon = Daemon::start(state.path());
    let source = fs::read_to_string(beside(&format!("clients/{}", sample.file))).unwrap();
    let ask = |message: &str, expected: &str| {
        let mut seen = String::new();
        // On a machine that is busy elsewhere 100 ms can pass; then an app asks again, since every verb may arrive twice.
        for _ in 0..3 {
            let output = run(&mut (sample.run)(&source, daemon.control.port(), message));
            assert!(output.status.success(), "{}: {}", sample.file, String::from_utf8_lossy(&output.stderr));
            seen = String::from_utf8_lossy(&output.stdout).into_owned();
            if seen == expected {
                return;
            }
        }
        panic!("{}: {message:?} gave {seen:?}, expected {expected:?}", sample.file);
    };
    ask("check", "kcehc");
    ask("version", env!("CARGO_PKG_VERSION"));
    ask("add b-app.example 9000", "ok b-app.example 9000");
    ask("add a-app.example 8080", "ok a-app.example 8080");
    ask("list", "a-app.example 8080\nb-app.example 9000");
    ask("remove c-app.example", "ok c-app.example was not mapped");
    // A list longer than a reply says how to go on, within the client's 1,024 bytes.
    let rules = (0..100).map(|number| format!("add site-{number:03}.example 4000"));
    assert_eq!(daemon.commands().pipeline(rules, 100).len(), 100);
    let output = run(&mut (sample.run)(&source, daemon.control.port(), "list after b-app.example"));
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(page.starts_with("site-000.example 4000\nsite-001.example 4000\n"), "{page}");
    assert!(page.lines().last().unwrap().starts_with("more site-0"), "{page}");
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
