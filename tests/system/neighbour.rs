//! A host on the same wire, with every setting of the kernel in its favour: it gets no command through, and no answer.

use std::{
    io::{BufRead, BufReader, Write},
    net::UdpSocket,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use nix::sys::socket::{setsockopt, sockopt};

use crate::rig::{Installed, Machine, PATIENCE, Root, beside, deb, note, wait_for};

const CONTROL: u16 = 40608;
/// Datagrams from 127.0.0.1 to 127.0.0.1, and by each other way.
const MANY: usize = 10_000;
const SOME: usize = 300;
const ROUTES_V4: &[(&str, &str)] = &[
    ("127.0.0.1", "127.0.0.1"),
    ("127.0.0.53", "127.0.0.1"),
    ("192.0.2.2", "127.0.0.1"),
    ("192.0.2.1", "127.0.0.1"),
    ("127.0.0.1", "192.0.2.1"),
    ("192.0.2.1", "192.0.2.1"),
    ("192.0.2.2", "192.0.2.1"),
];
const ROUTES_V6: &[(&str, &str)] = &[
    ("::1", "::1"),
    ("2001:db8::2", "::1"),
    ("::1", "2001:db8::1"),
    ("2001:db8::1", "2001:db8::1"),
    ("2001:db8::2", "2001:db8::1"),
];

/// Invariant 6, U4, B187. Two locks, each alone: the unit's, which lets nothing in but through `lo`, and the program's own
/// judgement of each datagram, with the unit's lock taken away and then on a socket for all addresses.
#[test]
fn a_neighbour_gets_no_command_through_and_no_answer() {
    let installed = Installed::from_deb(Machine::boot(Root::Debian), &deb("0.1.0-1"));
    let machine = &installed.machine;
    let mut neighbour = Neighbour::beside(machine);

    // That the way is open: a socket like hotcore's, without its protection, hears the neighbour and answers it.
    let plain = machine.inside(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = plain.local_addr().unwrap().port();
    neighbour.send(1, "127.0.0.1", 5000, "127.0.0.1", port);
    let (length, sender) = plain.recv_from(&mut [0; 64]).unwrap();
    assert_eq!((length, sender.to_string().as_str()), ("add evil.example 1".len(), "127.0.0.1:5000"));
    let bound = machine.inside(|| UdpSocket::bind("127.0.0.1:0").unwrap());
    setsockopt(&bound, sockopt::BindToDevice, &"lo".into()).unwrap();
    neighbour.send(1, "192.0.2.2", 5000, "127.0.0.1", port);
    let (_, sender) = plain.recv_from(&mut [0; 64]).unwrap();
    plain.send_to(b"ok", sender).unwrap();
    wait_for("an answer that the neighbour hears", PATIENCE, || (neighbour.heard(port) > 0).then_some(()));
    // The unit's lock alone, on a socket that nobody else protects.
    neighbour.send(SOME, "127.0.0.1", 5000, "127.0.0.1", bound.local_addr().unwrap().port());
    bound.set_nonblocking(true).unwrap();
    assert!(bound.recv(&mut [0; 64]).is_err(), "nothing comes in but through lo");

    // As it is shipped.
    let before = Messages::of(machine);
    let sent = neighbour.attack();
    let after = Messages::of(machine);
    nothing_came_of_it(machine, &mut neighbour);
    assert_eq!(after.dropped, before.dropped, "the program is not even bothered");

    // Without the unit's locks.
    machine.drop_in("hotcore-control.socket", "open", "[Socket]\nBindToDevice=\nIPAddressDeny=\nIPAddressAllow=\n");
    start_again(machine);
    let before = Messages::of(machine);
    neighbour.attack();
    let after = Messages::of(machine);
    nothing_came_of_it(machine, &mut neighbour);
    let dropped = after.dropped - before.dropped;
    assert!(dropped >= MANY as u64, "they reach the program, and no further: {dropped} of {sent}");

    // And on every address, the machine's own included.
    let all = "[Socket]\nListenDatagram=\nListenDatagram=[::]:40608\nBindIPv6Only=both\nBindToDevice=\nIPAddressDeny=\nIPAddressAllow=\n";
    machine.drop_in("hotcore-control.socket", "open", all);
    start_again(machine);
    let before = Messages::of(machine);
    neighbour.attack();
    let after = Messages::of(machine);
    nothing_came_of_it(machine, &mut neighbour);
    let everywhere = after.dropped - before.dropped;
    assert!(everywhere > dropped, "more of them reach it: {everywhere} of {sent}");
    note(&format!(
        "{sent} forged datagrams: 0 reached the service, {dropped} without its unit's lock, {everywhere} on all addresses; 0 accepted"
    ));
}

fn start_again(machine: &Machine) {
    machine.sh("systemctl stop hotcore.service hotcore-control.socket && systemctl start hotcore.service");
}

/// By both addresses, as each has a queue of its own: what was sent before has been judged then.
fn nothing_came_of_it(machine: &Machine, neighbour: &mut Neighbour) {
    for address in ["127.0.0.1", "[::1]"] {
        let list = machine.sh(&format!("hotcore --control {address}:40608 list"));
        assert_eq!(list, "good.example 3000");
    }
    assert_eq!(neighbour.heard(CONTROL), 0, "an answer left the machine");
}

/// What the service says about the datagrams that it took out of its sockets.
struct Messages {
    dropped: u64,
}

impl Messages {
    fn of(machine: &Machine) -> Self {
        machine.sh("hotcore --control '[::1]:40608' check && hotcore add good.example 3000");
        let status = machine.sh("hotcore msg status");
        let line = status.lines().find_map(|line| line.strip_prefix("messages ")).unwrap().to_owned();
        let dropped = line.split(", ").find_map(|fact| fact.strip_suffix(" dropped")).unwrap();
        Self { dropped: dropped.parse().unwrap() }
    }
}

/// Another network on a wire to the machine's. Both are gone with the machine.
struct Neighbour {
    child: Child,
    words: ChildStdin,
    lines: BufReader<ChildStdout>,
}

impl Neighbour {
    fn beside(machine: &Machine) -> Self {
        machine.sh("ip netns add neighbour && ip link add wire type veth peer name far netns neighbour");
        machine.sh("ip address add 192.0.2.1/24 dev wire && ip address add 2001:db8::1/64 dev wire nodad && ip link set wire up");
        machine.sh("ip -n neighbour address add 192.0.2.2/24 dev far && ip -n neighbour address add 2001:db8::2/64 dev far nodad");
        machine.sh("ip -n neighbour link set far up");
        // All that ever helped such a neighbour (CVE-2020-8558), and more.
        for name in ["all", "default", "wire"] {
            let set = format!("sysctl --quiet --write net.ipv4.conf.{name}");
            machine.sh(&format!("{set}.route_localnet=1 && {set}.rp_filter=0 && {set}.accept_local=1"));
        }
        machine.sh("ip -n neighbour route add 127.0.0.0/8 via 192.0.2.1 dev far");
        let mac = |line: &str| machine.sh(&format!("{line} | sed 's/.*ether \\([^ ]*\\).*/\\1/'"));
        let (mac, own) = (mac("ip -oneline link show wire"), mac("ip -n neighbour -oneline link show far"));
        // Nobody has to be asked where the neighbour is: an answer would find it.
        for address in ["192.0.2.2", "2001:db8::2"] {
            machine.sh(&format!("ip neighbour replace {address} lladdr {own} dev wire nud permanent"));
        }
        let mut child = machine.in_netns("neighbour", || {
            let mut command = Command::new("/usr/bin/python3");
            command.arg(beside("neighbours/flood.py")).args(["far", &mac]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        });
        let (words, lines) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, words, lines }
    }

    /// By every way, from ports of anybody and from the port of commands. Says how many it were.
    fn attack(&mut self) -> usize {
        let mut sent = MANY;
        self.send(MANY, "127.0.0.1", 5000, "127.0.0.1", CONTROL);
        for (source, target) in ROUTES_V4.iter().chain(ROUTES_V6) {
            for port in [5000, CONTROL] {
                self.send(SOME, source, port, target, CONTROL);
                sent += SOME;
            }
        }
        sent
    }

    fn send(&mut self, count: usize, source: &str, source_port: u16, target: &str, port: u16) {
        assert_eq!(self.ask(&format!("{count} {source} {source_port} {target} {port}")), "sent");
    }

    /// Datagrams that came to it from this port.
    fn heard(&mut self, port: u16) -> u64 {
        self.ask(&format!("heard {port}")).parse().unwrap()
    }

    fn ask(&mut self, line: &str) -> String {
        writeln!(self.words, "{line}").unwrap();
        let mut said = String::new();
        self.lines.read_line(&mut said).unwrap();
        said.trim().to_owned()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
