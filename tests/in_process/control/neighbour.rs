//! A neighbour on the network, in a network namespace of its own, and a machine that lets it reach 127.0.0.1. Needs root.
//!
//! The test starts itself again in the two namespaces; which part it plays there stands in its environment.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::UdpSocket,
    process::{Child, Command, Stdio},
};

use hotcore::control::{Dropped, socket};

use super::rig::{Client, Disk, Rig, bind, new_server, wait_for};
use crate::skip;

const NAME: &str = "control::neighbour::a_neighbour_cannot_command_even_if_the_machine_lets_it_in";
const PART: &str = "HOTCORE_TEST_PART";

/// Invariant 6: what comes in on another interface than loopback is dropped, whatever its source says and however the socket
/// is bound (B187, CVE-2020-8558).
#[test]
#[expect(clippy::disallowed_methods, reason = "a test is its own edge")]
fn a_neighbour_cannot_command_even_if_the_machine_lets_it_in() {
    match env::var(PART).as_deref() {
        Ok("machine") => machine(),
        Ok("neighbour") => neighbour(),
        _ => match Command::new("unshare").args(["-n", "ip", "link", "add", "type", "veth"]).output() {
            Ok(tried) if tried.status.success() => {
                let played = play("machine").stderr(Stdio::piped()).output().unwrap();
                assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
            }
            _ => skip(NAME, "needs root, network namespaces and iproute2"),
        },
    }
}

/// This very test in a new network namespace.
fn play(part: &str) -> Command {
    let mut command = Command::new("unshare");
    command.arg("-n").arg(env::current_exe().unwrap()).args(["--exact", NAME, "--nocapture"]).env(PART, part);
    command
}

/// Serves on loopback, and lets the link's other end reach it.
fn machine() {
    ip("link set lo up");
    let mut child = play("neighbour").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut neighbour = Neighbour { said: BufReader::new(child.stderr.take().unwrap()), child };
    neighbour.hear("moved in");
    ip(&format!("link add hot0 type veth peer name hot1 netns {}", neighbour.child.id()));
    ip("addr add 10.213.0.1/24 dev hot0");
    ip("link set hot0 up");
    for (option, value) in [("route_localnet", "1"), ("accept_local", "1"), ("rp_filter", "0")] {
        for interface in ["all", "hot0"] {
            std::fs::write(format!("/proc/sys/net/ipv4/conf/{interface}/{option}"), value).unwrap();
        }
    }
    let everywhere = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket::adopt(&everywhere).unwrap();
    let on_loopback = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket::adopt(&on_loopback).unwrap();
    let rig = Rig::serve(new_server(Disk::default()), &[bind("127.0.0.1:0"), on_loopback, everywhere]);

    let ports: Vec<String> = rig.addresses.iter().map(|address| address.port().to_string()).collect();
    writeln!(neighbour.child.stdin.take().unwrap(), "{}", ports.join(" ")).unwrap();
    neighbour.hear("sent");
    // The link keeps the order. What was sent to the first socket, which `socket::bind` made, the kernel has dropped.
    wait_for("both from a loopback address", || rig.counters.dropped(Dropped::OtherInterface) == 2);
    wait_for("both from another address", || rig.counters.dropped(Dropped::NotLoopback) == 2);
    assert_eq!(rig.counters.received(), 4);
    for address in &rig.addresses {
        assert_eq!(Client::of(([127, 0, 0, 1], address.port()).into()).ask("list"), "");
    }
    assert!(neighbour.child.wait().unwrap().success());
}

/// Sends commands to 127.0.0.1 over the link, from an honest and from a false address.
#[expect(clippy::disallowed_macros, reason = "how it speaks to the machine")]
fn neighbour() {
    eprintln!("moved in");
    let mut ports = String::new();
    std::io::stdin().read_line(&mut ports).unwrap();
    ip("addr add 10.213.0.2/24 dev hot1");
    ip("addr add 127.0.0.5/32 dev hot1");
    ip("link set hot1 up");
    ip("route add 127.0.0.1/32 via 10.213.0.1 dev hot1");
    std::fs::write("/proc/sys/net/ipv4/conf/hot1/route_localnet", "1").unwrap();
    for port in ports.split_whitespace() {
        for own in ["127.0.0.5:0", "10.213.0.2:0"] {
            let stranger = Client::from(own, format!("127.0.0.1:{port}").parse().unwrap());
            stranger.send("add evil.com 8080");
        }
    }
    eprintln!("sent");
}

struct Neighbour {
    said: BufReader<std::process::ChildStderr>,
    child: Child,
}

impl Neighbour {
    fn hear(&mut self, word: &str) {
        let mut said = String::new();
        while self.said.read_line(&mut said).unwrap() > 0 {
            if said.lines().any(|line| line == word) {
                return;
            }
        }
        panic!("the neighbour said only: {said}");
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}
