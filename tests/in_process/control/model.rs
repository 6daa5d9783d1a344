//! Random messages against a plain map: adds, removes, restarts, disks that fail.

use std::collections::BTreeMap;

use super::rig::{Client, Disk, Rig, seed, server_with};

#[test]
fn the_server_answers_like_a_plain_map() {
    let seed = seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model: BTreeMap<String, u16> = BTreeMap::new();
    let disk = Disk::default();
    let mut full = false;
    let mut rig = Rig::start(disk.clone());
    let mut client = rig.client();
    for step in 0..20_000 {
        let name = format!("{}.com", char::from(b'a' + random.u8(0..12)));
        let port = random.u16(8000..8004);
        let context = format!("step {step}, seed {seed}");
        match random.u8(0..100) {
            0..50 => {
                let wanted = match model.get(&name) == Some(&port) {
                    false if full => None,
                    _ => Some(format!("ok {name} {port}")),
                };
                let reply = client.ask(spell(&mut random, &format!("add {name} {port}")));
                check(&reply, wanted.as_deref(), &context);
                if wanted.is_some() {
                    model.insert(name, port);
                }
            }
            50..85 => {
                let wanted = match model.contains_key(&name) {
                    true if full => None,
                    true => Some(format!("ok {name} removed")),
                    false => Some(format!("ok {name} was not mapped")),
                };
                let reply = client.ask(spell(&mut random, &format!("remove {name}")));
                check(&reply, wanted.as_deref(), &context);
                if wanted.is_some() {
                    model.remove(&name);
                }
            }
            85..95 => {
                let lines =
                    model.iter().filter(|(other, _)| **other > name).map(|(name, port)| format!("{name} {port}"));
                let lines: Vec<String> = lines.collect();
                assert_eq!(client.ask(format!("list after {name}")), lines.join("\n"), "{context}");
            }
            95..97 => {
                full = !full;
                disk.fill(full);
            }
            97 => assert_eq!(client.list(), model, "{context}"),
            _ if random.u8(0..10) > 0 => {}
            _ => {
                // A restart: the rules come from the disk.
                drop(rig.join());
                let server = server_with(disk.read(), disk.clone());
                rig = Rig::serve(server, &[super::rig::bind("127.0.0.1:0")]);
                client = Client::of(rig.addresses[0]);
            }
        }
        assert_eq!(disk.rules(), model, "{context}");
    }
}

/// What a plain map says; without a `wanted` reply it is the disk's error.
fn check(reply: &str, wanted: Option<&str>, context: &str) {
    let wanted = wanted.unwrap_or("error cannot save the rule, nothing was changed: no space left on device");
    assert_eq!(reply, wanted, "{context}");
}

/// The message in another form that means the same.
fn spell(random: &mut fastrand::Rng, message: &str) -> String {
    let blank = ["  ", "\t", " "][random.usize(0..3)];
    let end = ["", " ", "\n", "\r\n"][random.usize(0..4)];
    let text = message.replace(' ', blank) + end;
    if random.bool() { text.to_ascii_uppercase() } else { text }
}
