//! Who is answered, from which address, and what strange datagrams do.

use std::{net::UdpSocket, sync::atomic::Ordering};

use hotcore::control::{Dropped, socket};

use super::rig::{Client, Disk, Rig, bind, new_server, wait_for};
use crate::skip;

/// Invariant 6: control datagrams from anything but loopback are dropped, however the socket is bound (B187).
#[test]
fn a_sender_that_is_not_on_loopback_is_dropped_even_by_a_socket_bound_to_all_addresses() {
    let everywhere = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket::adopt(&everywhere).unwrap();
    let port = everywhere.local_addr().unwrap().port();
    let rig = Rig::serve(new_server(Disk::default()), &[everywhere]);
    assert_eq!(Client::of(([127, 0, 0, 1], port).into()).ask("check"), "kcehc");
    // An address of this machine that is not on loopback; connecting a UDP socket sends nothing.
    let probe = UdpSocket::bind("0.0.0.0:0").unwrap();
    let Ok(own) = probe.connect("198.51.100.1:9").and_then(|()| probe.local_addr()) else {
        let test = "a_sender_that_is_not_on_loopback_is_dropped_even_by_a_socket_bound_to_all_addresses";
        return skip(test, "this machine has no address beyond loopback");
    };
    let stranger = Client::from(&format!("{}:0", own.ip()), (own.ip(), port).into());
    stranger.send("add a.com 8080");
    wait_for("the drop", || rig.counters.dropped(Dropped::NotLoopback) == 1);
    assert_eq!(Client::of(([127, 0, 0, 1], port).into()).ask("list"), "");
    assert!(stranger.has_nothing());
}

/// Invariant 6, where the kernel does not say by which way a datagram came: what is not known counts against the sender.
#[test]
fn a_datagram_of_unknown_way_is_dropped() {
    let unprepared = UdpSocket::bind("127.0.0.1:0").unwrap();
    let rig = Rig::serve(new_server(Disk::default()), &[unprepared]);
    let client = rig.client();
    client.send("check");
    wait_for("the drop", || rig.counters.dropped(Dropped::OtherInterface) == 1);
    assert!(client.has_nothing());
}

#[test]
fn every_address_is_served_and_the_reply_comes_from_the_one_that_was_asked() {
    // B186, B191. The clients are connected: a reply from another address would not reach them.
    let everywhere = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket::adopt(&everywhere).unwrap();
    let port = everywhere.local_addr().unwrap().port();
    let mut sockets = vec![bind("127.0.0.1:0"), everywhere];
    let six = socket::bind("[::1]:0".parse().unwrap()).map(|bound| sockets.push(bound.socket)).is_ok();
    let both = six.then(|| UdpSocket::bind("[::]:0").unwrap());
    if let Some(both) = &both {
        socket::adopt(both).unwrap();
        sockets.push(both.try_clone().unwrap());
    }
    let rig = Rig::serve(new_server(Disk::default()), &sockets);
    assert_eq!(rig.ask("check"), "kcehc");
    for ip in ["127.0.0.1", "127.0.0.2", "127.255.255.254"] {
        assert_eq!(Client::of(format!("{ip}:{port}").parse().unwrap()).ask("check"), "kcehc", "{ip}");
    }
    let Some(both) = both else {
        let test = "every_address_is_served_and_the_reply_comes_from_the_one_that_was_asked";
        return skip(test, "this machine has no IPv6");
    };
    let port = both.local_addr().unwrap().port();
    assert_eq!(Client::of(rig.addresses[2]).ask("check"), "kcehc");
    assert_eq!(Client::of(format!("[::1]:{port}").parse().unwrap()).ask("check"), "kcehc");
    // An IPv4 client of an IPv6 socket.
    assert_eq!(Client::of(format!("127.0.0.3:{port}").parse().unwrap()).ask("check"), "kcehc");
}

#[test]
fn a_sender_with_our_own_port_is_dropped() {
    // B188.
    let rig = Rig::start(Disk::default());
    let twin = Client::from(&format!("127.0.0.2:{}", rig.addresses[0].port()), rig.addresses[0]);
    twin.send("add a.com 8080");
    wait_for("the drop", || rig.counters.dropped(Dropped::OwnPort) == 1);
    assert_eq!(rig.ask("list"), "");
    assert!(twin.has_nothing());
}

#[test]
fn two_servers_that_hear_each_other_fall_silent() {
    // B188: each thing that a server says is taken to the other one, and back, until nobody answers.
    let (one, two) = (Rig::start(Disk::default()), Rig::start(Disk::default()));
    for name in ["add", "list", "check", "help", "a.com", "b.com"] {
        one.ask(format!("add {name} 8080"));
    }
    for message in
        ["add c.com 1", "remove c.com", "list", "list after add", "check", "version", "status", "help", "nonsense"]
    {
        let mut words = one.ask(message);
        let mut said = 1;
        for rig in [&two, &one].into_iter().cycle() {
            let client = rig.client();
            client.send(&words);
            client.send("check");
            words = client.receive();
            if words == "kcehc" {
                break;
            }
            said += 1;
            assert!(said <= 2, "{message}: {words}");
        }
    }
    assert_eq!(two.ask("list"), "");
}

#[test]
fn strange_datagrams_get_one_short_error_and_do_no_harm() {
    // B177, B189; at the limit and one past it.
    let rig = Rig::start(Disk::default());
    let client = rig.client();
    for length in [513, 514, 1500, 60_000] {
        let reply = client.ask("a".repeat(length));
        assert_eq!(reply, "error the message has more than 512 bytes: send one command a datagram", "{length}");
    }
    assert_eq!(client.ask(format!("{:512}", "check")), "kcehc");
    assert!(client.ask("a".repeat(512)).starts_with("error there is no message \"aaaa"));
    for bytes in [&[0_u8; 512][..], &[0xff; 100], b"\x00", b"add a.com 80\xc3", b"\n", b"check\rcheck"] {
        assert!(client.ask(bytes).starts_with("error the message "), "{bytes:?}");
    }
    client.send("");
    assert_eq!(client.ask("check"), "kcehc");
    assert!(client.has_nothing());
    assert_eq!(rig.counters.dropped(Dropped::Empty), 1);
}

#[test]
fn clients_that_are_gone_do_not_disturb_the_others() {
    // Each reply to a closed socket comes back as an ICMP error.
    let rig = Rig::start(Disk::default());
    for number in 0..500 {
        rig.client().send(format!("add n{number}.com 8080"));
        if number % 64 == 63 {
            wait_for("the reading", || rig.counters.received() > number);
        }
    }
    wait_for("all changes", || rig.table.len() == 500);
    assert_eq!(rig.ask("check"), "kcehc");
}

#[test]
fn a_client_that_never_reads_loses_its_replies_and_nothing_else() {
    // B186.
    let rig = Rig::start(Disk::default());
    let deaf = rig.client();
    let reader = rig.client();
    for number in 0..5_000 {
        deaf.send(format!("add n{number}.com 8080"));
        if number % 64 == 0 {
            assert_eq!(reader.ask("check"), "kcehc");
        }
    }
    wait_for("all changes", || rig.table.len() == 5_000);
    assert_eq!(reader.ask("check"), "kcehc");
}

#[test]
fn the_heart_beats_while_nothing_happens() {
    // B213.
    let rig = Rig::start(Disk::default());
    let began = std::time::Instant::now();
    let turns = rig.heartbeat.load(Ordering::Relaxed);
    wait_for("four beats", || rig.heartbeat.load(Ordering::Relaxed) >= turns + 4);
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
}
