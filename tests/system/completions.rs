//! The completions in docs/completions, by the shells that they are for: bash, zsh and fish.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, net::SocketAddr, os::unix::fs::symlink, path::Path, process::Command};

use super::cli::{FakeDaemon, closed_address, command, run};

/// A folder with the program and two files, in which a person types.
struct Desk {
    folder: tempfile::TempDir,
    daemon: SocketAddr,
}

impl Desk {
    fn new(daemon: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(env!("CARGO_BIN_EXE_hotcore"), folder.path().join("hotcore")).unwrap();
        for name in ["chain one.pem", "chain-two.pem"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        Self { folder, daemon }
    }

    /// What each shell offers behind a line.
    fn offers(&self, line: &str) -> Vec<(&'static str, BTreeSet<String>)> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/completions");
        let script = |name: &str| scripts.join(name).display().to_string();
        let fish = "source $argv[1]/hotcore.fish; complete -C $argv[2]";
        let shells: [(&str, Vec<String>); 3] = [
            ("bash", vec![script("offered.bash")]),
            ("zsh", vec!["-f".into(), script("offered.zsh")]),
            ("fish", vec!["--no-config".into(), "-c".into(), fish.into()]),
        ];
        shells.map(|(shell, words)| (shell, self.offered(shell, &words, line))).into()
    }

    fn offered(&self, shell: &str, words: &[String], line: &str) -> BTreeSet<String> {
        let folder = self.folder.path();
        let mut command = Command::new(shell);
        command.args(words).arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/completions")).arg(line).current_dir(folder);
        command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", folder.display()));
        command.env("HOME", folder).env("TERM", "xterm").env("LC_ALL", "C.UTF-8");
        command.env("HOTCORE_CONTROL", self.daemon.to_string());
        let outcome = run(&mut command);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{shell}, {line:?}: {outcome:?}");
        // Behind a tab fish describes the word; zsh writes it as it would be typed.
        let word = |line: &str| line.split('\t').next().unwrap().replace('\\', "");
        outcome.stdout.lines().map(word).collect()
    }
}

fn daemon_with_three_rules() -> FakeDaemon {
    FakeDaemon::start(|message| match message {
        "list" => Some("a.com 1\napp.localhost 3000\nmore app.localhost".into()),
        "list after app.localhost" => Some("b.example 2".into()),
        _ => Some("error this is for completions".into()),
    })
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn mapped_domains_and_files_are_offered_where_they_belong() {
    let daemon = daemon_with_three_rules();
    let desk = Desk::new(daemon.address);
    let all = ["a.com", "app.localhost", "b.example"];
    for (line, expected) in [
        ("hotcore remove ", &all[..]),
        ("hotcore retry ", &all),
        ("hotcore add ", &all),
        ("hotcore cert ", &all),
        ("hotcore remove a", &all[..2]),
        ("hotcore remove b.", &all[2..]),
        ("hotcore --control 127.0.0.1:1 remove a", &all[..2]),
        ("hotcore remove z", &[]),
        ("hotcore add a.com ", &[]),
        ("hotcore remove a.com ", &[]),
        ("hotcore cert a.com chain", &["chain one.pem", "chain-two.pem"]),
        ("hotcore cert a.com ./chain-two.pem chain-", &["chain-two.pem"]),
        ("hotcore re", &["remove", "retry"]),
        ("hotcore help re", &["remove", "retry"]),
        ("hotcore serve --acme-d", &["--acme-directory"]),
        ("hotcore list --j", &["--json"]),
        ("hotcore cert --rem", &["--remove"]),
    ] {
        for (shell, mut offered) in desk.offers(line) {
            // Where nothing else can follow, zsh offers options.
            offered.retain(|word| !word.starts_with('-') || line.contains(" --"));
            assert_eq!(offered, set(expected), "{shell}: {line:?}");
        }
    }
}

#[test]
fn without_a_daemon_no_domain_is_offered_and_no_file_in_its_place() {
    let desk = Desk::new(closed_address());
    for (shell, offered) in desk.offers("hotcore remove ") {
        assert_eq!(offered, set(&[]), "{shell}");
    }
}

#[test]
fn every_command_and_every_option_is_offered() {
    let daemon = daemon_with_three_rules();
    let desk = Desk::new(daemon.address);
    let help = |line: &str| run(&mut command(line)).stdout;
    let text = help("help");
    let (_, commands) = text.split_once("Commands:\n").unwrap_or_else(|| panic!("{text}"));
    let commands: BTreeSet<String> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().next().unwrap().into())
        .collect();
    assert!(commands.len() > 12, "{commands:?}");
    for (shell, offered) in desk.offers("hotcore ") {
        let missing: Vec<_> = commands.difference(&offered).collect();
        assert!(missing.is_empty(), "{shell}: {missing:?}");
        let strange = offered.iter().any(|word| !word.starts_with('-') && !commands.contains(word));
        assert!(!strange, "{shell}: {offered:?}");
    }
    for command in &commands {
        let text = help(&format!("help {command}"));
        let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
        let options = lines.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--")));
        let options: BTreeSet<String> = options.map(str::to_owned).collect();
        assert!(options.contains("--help") && options.contains("--control"), "{command}: {options:?}");
        for (shell, offered) in desk.offers(&format!("hotcore {command} --")) {
            let offered: BTreeSet<String> = offered.iter().map(|word| word.trim_end_matches('=').to_owned()).collect();
            assert_eq!(offered, options, "{shell}: {command}");
        }
    }
}
