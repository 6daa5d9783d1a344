//! Bursts and long lists.

use std::{collections::BTreeMap, thread};

use hotcore::{control::socket, limits::CONTROL_RECEIVE_BUFFER_BYTES};
use nix::sys::socket::{setsockopt, sockopt};

use super::rig::{Client, Disk, Rig, new_server, port_of, wait_for};

const BURST: u16 = 20_000;

#[test]
fn a_burst_of_20_000_adds_from_one_sender_is_all_kept_and_all_acknowledged() {
    // Decisions, section 3; B182, B190.
    let bound = socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let large = bound.receive_buffer_bytes >= CONTROL_RECEIVE_BUFFER_BYTES;
    let disk = Disk::default();
    let rig = Rig::serve(new_server(disk.clone()), &[bound.socket]);
    let client = rig.client();
    // The client's own buffer is the test's business: without CAP_NET_ADMIN it reads while it sends.
    let roomy = setsockopt(&client.0, sockopt::RcvBufForce, &(4 * CONTROL_RECEIVE_BUFFER_BYTES)).is_ok();
    let reader = Client(client.0.try_clone().unwrap());
    let replies = thread::Builder::new()
        .spawn(move || {
            let mut replies = BTreeMap::new();
            while replies.len() < BURST.into() {
                *replies.entry(reader.receive()).or_insert(0) += 1;
            }
            replies
        })
        .unwrap();
    for number in 0..BURST {
        client.send(format!("add n{number}.com {}", number + 41_000));
        // Where the kernel grants no large buffer, a burst is what it grants.
        if !(large && roomy) && number % 64 == 63 {
            wait_for("the reading", || rig.counters.received() > u64::from(number));
        }
    }
    let replies = replies.join().unwrap();
    for number in 0..BURST {
        assert_eq!(replies.get(&format!("ok n{number}.com {}", number + 41_000)), Some(&1));
        assert_eq!(port_of(&rig.table, &format!("n{number}.com")), Some(number + 41_000));
    }
    assert_eq!(rig.table.len(), usize::from(BURST));
    assert_eq!(disk.changes(), u64::from(BURST));
    assert!(disk.commits() < 2_000, "{} commits for {BURST} adds", disk.commits());
}

#[test]
fn a_burst_that_meets_a_slow_disk_takes_few_commits() {
    // B182: with a commit as slow as a real disk's, nearly all of the burst shares a few.
    let (disk, commit) = super::rig::Stalled::new();
    let rig = Rig::start(commit);
    let client = rig.client();
    for number in 0..10_000_u16 {
        client.send(format!("add n{number}.com 8080"));
        if number % 64 == 63 {
            wait_for("the reading", || rig.counters.received() > u64::from(number));
        }
    }
    wait_for("all to wait", || rig.counters.waiting() == 10_000);
    let mut changes = 0;
    while changes < 10_000 {
        changes += disk.began().len();
        disk.end();
    }
    wait_for("the publication", || rig.table.len() == 10_000);
    assert!(rig.counters.commits() <= 4, "{} commits", rig.counters.commits());
}

#[test]
fn thousands_of_rules_are_listed_page_by_page() {
    // B184: sorted by bytes, none missing, none twice, each page a whole reply.
    let disk = Disk::default();
    let rig = Rig::start(disk.clone());
    let client = rig.client();
    let mut random = fastrand::Rng::with_seed(super::rig::seed());
    let mut wanted = BTreeMap::new();
    while wanted.len() < 5_000 {
        let labels =
            (0..random.usize(1..4)).map(|_| "abz-0".chars().cycle().skip(random.usize(0..5)).take(random.usize(1..60)));
        let name: Vec<String> = labels.map(|label| label.collect::<String>().trim_matches('-').to_owned()).collect();
        let name = format!("{}{}.com", name.join("."), random.u16(..));
        if hotcore::domain::Domain::parse(&name).is_ok() {
            let port = random.u16(1000..40000);
            assert_eq!(client.ask(format!("add {name} {port}")), format!("ok {name} {port}"));
            wanted.insert(name, port);
        }
    }
    assert_eq!(client.list(), wanted);
    assert_eq!(disk.rules(), wanted);
    let first_page = client.ask("list");
    let lines: Vec<&str> = first_page.lines().collect();
    assert!(lines.is_sorted() || lines[..lines.len() - 1].is_sorted(), "{first_page}");
    let after = wanted.keys().nth(2_500).unwrap();
    let next = wanted.iter().nth(2_501).map(|(name, port)| format!("{name} {port}"));
    assert_eq!(client.ask(format!("list after {after}")).lines().next().map(str::to_owned), next);
}
