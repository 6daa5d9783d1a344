//! docs/PROTOCOL.md, sent to a real server: every message and its reply, each sent twice; every refusal; every limit.

use std::collections::BTreeSet;

use hotcore::{
    certs::keeper::State,
    control::{
        Standing,
        protocol::{Command, Message, Refusal},
    },
    domain::{DomainError, Fault},
    limits,
};

use super::rig::{Disk, Kept, OWN_PORTS, Rig, bind, domain, server_that_keeps};

const PAGE: &str = include_str!("../../../docs/PROTOCOL.md");

/// The cells of the tables with this header in the section with this heading.
fn rows(heading: &str, header: &str) -> Vec<Vec<String>> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n## ").next().unwrap();
    let (_, table) = section.split_once(&format!("\n{header}\n")).unwrap_or_else(|| panic!("no table {header}"));
    let lines = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<String>> =
        lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect();
    assert!(rows.len() > 3, "{heading}: only {} rows", rows.len());
    rows
}

/// What a cell stands for; `None` for no reply at all.
fn bytes(cell: &str) -> Option<Vec<u8>> {
    match cell {
        "(nothing)" => return None,
        "(empty)" => return Some(Vec::new()),
        _ => {}
    }
    let text =
        cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap_or_else(|| panic!("{cell} is no code"));
    let name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(62));
    let text = text
        .replace("<513 bytes>", &"a".repeat(513))
        .replace("<254 bytes>", &name)
        .replace("<64 bytes>", &"a".repeat(64))
        .replace("<version>", env!("CARGO_PKG_VERSION"));
    let text = [("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"), ("\\x00", "\0")]
        .into_iter()
        .fold(text, |text, (written, meant)| text.replace(written, meant));
    Some(text.into_bytes())
}

#[test]
fn every_documented_message_gets_its_documented_reply_and_may_be_sent_twice() {
    // B176, B179, B184, B185.
    let rig = Rig::start(Disk::default());
    for row in rows("Messages", "| sent | reply | reply to the second |") {
        let [sent, first, second] = row.as_slice() else { panic!("{row:?}") };
        for wanted in [first, second] {
            let reply = rig.ask(bytes(sent).unwrap());
            assert_eq!(reply.as_bytes(), bytes(wanted).unwrap(), "{sent}: {reply}");
        }
    }
}

/// The certificates that the tables of the page are about.
fn kept() -> Kept {
    let line = |name, state, until, next, reason| (domain(name), Standing { state, until, next, reason });
    let lines = vec![
        line("a.com", "valid", Some(1_800_000_000), Some(1_797_408_000), ""),
        line("b.com", "waiting", None, Some(1_792_300_000), "the name has no address yet"),
        line("c.localhost", "local", None, None, "plain HTTP: mkcert is not there"),
    ];
    Kept { lines, wishes_max: 2, ..Kept::default() }
}

#[test]
fn what_is_documented_of_certificates_is_answered_and_may_be_sent_twice() {
    // B179, B184.
    let kept = kept();
    let rig = Rig::serve(server_that_keeps(kept.clone()), &[bind("127.0.0.1:0")]);
    for row in rows("Certificates", "| sent | reply | reply to the second |") {
        let [sent, first, second] = row.as_slice() else { panic!("{row:?}") };
        for wanted in [first, second] {
            let reply = rig.ask(bytes(sent).unwrap());
            assert_eq!(reply.as_bytes(), bytes(wanted).unwrap(), "{sent}: {reply}");
        }
    }
    assert_eq!(*kept.wishes.lock().unwrap(), [domain("a.com"), domain("a.com")], "only names with a rule");
    // A flood of wishes is refused, not kept (invariant 3).
    let refusal = Refusal::TooManyRetries.to_string();
    assert_eq!(rig.ask("retry a.com"), format!("error {refusal}"));
    assert!(PAGE.contains(&refusal));
}

#[test]
fn every_state_of_a_certificate_is_documented() {
    let documented: BTreeSet<String> =
        rows("Certificates", "| state | meaning |").iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
    let all = [
        State::Valid,
        State::Own,
        State::Local,
        State::Ordering,
        State::Queued,
        State::Waiting,
        State::Stopped,
        State::Off,
    ];
    assert_eq!(documented, all.map(|state| state.to_string()).into());
    for word in documented {
        assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()) && word.len() <= "ordering".len(), "{word}");
    }
}

#[test]
fn certificates_come_page_by_page_and_each_once() {
    // B184.
    let name = |number: usize| domain(&format!("n{number:03}.example"));
    let standing =
        Standing { state: "valid", until: Some(1_800_000_000), next: None, reason: "a reason to be cut by no one" };
    let lines = (0..200).map(|number| (name(number), standing));
    let rig = Rig::serve(server_that_keeps(Kept { lines: lines.collect(), ..Kept::default() }), &[bind("127.0.0.1:0")]);
    let (mut seen, mut message) = (Vec::new(), "certs".to_owned());
    loop {
        let reply = rig.ask(&message);
        let mut more = None;
        for line in reply.lines() {
            match line.split_once(' ').unwrap() {
                ("more", last) => more = Some(last.to_owned()),
                (name, rest) => {
                    assert_eq!(rest, "valid 2027-01-15T08:00:00Z - a reason to be cut by no one");
                    seen.push(domain(name));
                }
            }
        }
        let Some(more) = more else { break };
        message = format!("certs after {more}");
    }
    assert_eq!(seen, (0..200).map(name).collect::<Vec<_>>());
}

#[test]
fn every_documented_verb_is_known_and_every_known_verb_is_documented() {
    let rig = Rig::start(Disk::default());
    let help = rig.ask("help");
    assert!(PAGE.contains(&format!("\n```\n{help}\n```\n")), "{help}");
    let verbs = |text: &str| text.split(' ').next().unwrap().to_owned();
    let documented: BTreeSet<String> = rows("Messages", "| message | reply |")
        .iter()
        .filter_map(|row| row[0].strip_prefix('`').map(|message| verbs(message.trim_end_matches('`'))))
        .collect();
    let helped: BTreeSet<String> = help.lines().map(verbs).collect();
    assert_eq!(documented, helped);
    for verb in helped {
        assert!(!rig.ask(&verb).starts_with("error there is no message"), "{verb}");
    }
}

#[test]
fn the_status_is_facts_in_the_documented_order() {
    let rig = Rig::start(Disk::default());
    rig.ask("add a.com 8080");
    rig.client().send("ok");
    let status = rig.ask("Status\n");
    let keys: Vec<&str> = status.lines().map(|line| line.split_once(' ').unwrap().0).collect();
    assert_eq!(keys, ["version", "pid", "since", "rules", "control", "http", "log", "messages"], "{status}");
    for line in [
        &format!("version {}", env!("CARGO_PKG_VERSION")),
        &format!("pid {}", std::process::id()),
        "since 2023-11-14T22:13:20Z",
        "rules 1",
        &format!("control {}", rig.addresses[0]),
        "log journalctl -u hotcore",
        "messages 3 received, 1 dropped",
    ] {
        assert!(status.lines().any(|other| other == line), "{line} is missing: {status}");
    }
}

#[test]
fn every_documented_refusal_is_sent_and_every_refusal_is_documented() {
    // B3 to B8, B13, B176 to B178, B185, B231.
    let rig = Rig::start(Disk::default());
    let mut seen = BTreeSet::new();
    for row in rows("Refusals", "| sent | reply |") {
        let [sent, wanted] = row.as_slice() else { panic!("{row:?}") };
        let message = bytes(sent).unwrap();
        let mut wanted = String::from_utf8(bytes(wanted).unwrap()).unwrap();
        if sent.contains("<254 bytes>") {
            wanted = wanted.replace(&"a".repeat(64), &format!("{}.", "a".repeat(63)));
        }
        for _ in 0..2 {
            assert_eq!(rig.ask(&message), wanted, "{sent}");
        }
        match Message::parse(&message, &OWN_PORTS) {
            Message::Refused(refusal) => seen.insert(kind(&refusal)),
            // Only the server knows.
            Message::Command(Command::Retry(name)) => seen.insert(kind(&Refusal::NotMapped(name))),
            other => panic!("{sent}: {other:?}"),
        };
    }
    let all = [
        "address",
        "blank",
        "byte",
        "character",
        "domain",
        "empty label",
        "encoding",
        "hyphen",
        "label",
        "no domain",
        "no port",
        "not alone",
        "not ascii",
        "not mapped",
        "number",
        "own port",
        "port",
        "reserved",
        "several lines",
        "surplus",
        "swapped",
        "too long",
        "total",
        "underscore",
        "unknown",
        "wildcard",
    ];
    assert_eq!(seen, all.into());
    assert!(PAGE.contains(&Refusal::Save("<cause>".to_owned()).to_string()));
    assert_eq!(rig.ask("list"), "");
}

/// A name for each way to be refused; a new one does not compile until it stands here.
fn kind(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::TooLong => "too long",
        Refusal::Byte(_) => "byte",
        Refusal::NotAscii(_) => "not ascii",
        Refusal::SeveralLines => "several lines",
        Refusal::Blank => "blank",
        Refusal::Unknown(_) => "unknown",
        Refusal::NoDomain(_) => "no domain",
        Refusal::NoPort => "no port",
        Refusal::Surplus(_) => "surplus",
        Refusal::Swapped(..) => "swapped",
        Refusal::Port(_) => "port",
        Refusal::OwnPort(_) => "own port",
        Refusal::NotMapped(_) => "not mapped",
        Refusal::TooManyRetries => "retries",
        Refusal::Save(_) => "save",
        Refusal::Domain(DomainError::Empty) => "domain",
        Refusal::Domain(DomainError::NotAlone { .. }) => "not alone",
        Refusal::Domain(DomainError::Name { fault, .. }) => match fault {
            Fault::Empty => "domain",
            Fault::EmptyLabel => "empty label",
            Fault::LabelTooLong => "label",
            Fault::TooLong => "total",
            Fault::Hyphen => "hyphen",
            Fault::Character(_) => "character",
            Fault::Underscore => "underscore",
            Fault::Wildcard => "wildcard",
            Fault::Number => "number",
            Fault::Address => "address",
            Fault::Encoding => "encoding",
            Fault::Reserved => "reserved",
        },
    }
}

#[test]
fn what_is_documented_as_not_answered_is_not() {
    // B177, B188. Replies come in the order of the messages: the first one is that of `check`.
    let rig = Rig::start(Disk::default());
    let client = rig.client();
    for row in rows("Who is answered", "| sent | reply |") {
        assert_eq!(bytes(&row[1]), None);
        client.send(bytes(&row[0]).unwrap());
        assert_eq!(client.ask("check"), "kcehc", "{row:?}");
        assert!(client.has_nothing(), "{row:?}");
    }
}

#[test]
fn the_documented_limits_are_those_of_the_program() {
    let documented: BTreeSet<(String, u64)> = rows("Limits", "| constant | value | meaning |")
        .iter()
        .map(|row| (row[0].trim_matches('`').to_owned(), row[1].parse().unwrap()))
        .collect();
    let real = [
        ("CONTROL_PORT", u64::from(limits::CONTROL_PORT)),
        ("COMMAND_BYTES_MAX", limits::COMMAND_BYTES_MAX as u64),
        ("REPLY_BYTES_MAX", limits::REPLY_BYTES_MAX as u64),
        ("QUOTE_BYTES_MAX", limits::QUOTE_BYTES_MAX as u64),
        ("CERTIFICATE_REASON_BYTES_MAX", limits::CERTIFICATE_REASON_BYTES_MAX as u64),
        ("CERTIFICATE_WISHES_MAX", limits::CERTIFICATE_WISHES_MAX as u64),
        ("DOMAIN_BYTES_MAX", limits::DOMAIN_BYTES_MAX as u64),
        ("LABEL_BYTES_MAX", limits::LABEL_BYTES_MAX as u64),
        ("CONTROL_QUEUE_MAX", limits::CONTROL_QUEUE_MAX as u64),
        ("CONTROL_RECEIVE_BUFFER_BYTES", limits::CONTROL_RECEIVE_BUFFER_BYTES as u64),
    ];
    assert_eq!(documented, real.map(|(name, value)| (name.to_owned(), value)).into());
}
