//! The sockets that systemd opens: without IPv6, with a port that somebody else has, and with other addresses than the usual.

use std::process::Output;

use crate::rig::{Installed, Machine, PATIENCE, Root, deb, wait_for};

const ALL: &str = "hotcore.service hotcore-web.socket hotcore-control.socket";

/// B191, B200, B215, under the real systemd.
#[test]
fn sockets_of_systemd_work_as_an_operator_expects() {
    let installed = Installed::from_deb(Machine::boot(Root::Debian), &deb("0.1.0-1"));
    let machine = &installed.machine;
    a_taken_port_is_named_with_its_holder_and_works_once_it_is_free(machine);
    without_ipv6_all_of_it_works_by_ipv4(machine);
    a_socket_more_is_named_and_used_once_it_is_said_what_for(machine);
    sockets_may_be_on_one_address_alone(machine);
    a_missing_socket_is_named_and_systemd_goes_on_trying(machine);
    assert_eq!(machine.failed_units(), "");
}

fn a_taken_port_is_named_with_its_holder_and_works_once_it_is_free(machine: &Machine) {
    let own = machine.sh("hotcore check --ports");
    assert!(own.contains("TCP port 80 is held by hotcore (process "), "{own}");
    machine.sh(&format!("systemctl stop {ALL}"));
    machine.sh("systemd-run --quiet --unit=other python3 -m http.server 80");
    wait_for("the other program", PATIENCE, || is_answering(machine, "127.0.0.1:80").then_some(()));
    // More often than systemd's default would bear.
    for _ in 0..7 {
        assert!(!machine.try_sh("systemctl start hotcore").status.success());
    }
    let process = machine.property("other.service", "MainPID");
    let named =
        format!("python3 (process {process}) has TCP port 80: stop it with `systemctl disable --now other.service`");
    let status = text(&machine.try_sh("systemctl status --no-pager --lines=40 hotcore-web.socket"));
    assert!(status.contains(&named), "{status}");
    let asked = machine.try_sh("hotcore check --ports");
    assert_eq!(asked.status.code(), Some(1));
    let words = text(&asked);
    assert!(words.contains(&named) && words.contains("TCP port 443 is free"), "{words}");
    let log = text(&machine.try_sh("timeout 1 hotcore log"));
    assert!(log.contains(&named), "{log}");
    machine.sh("systemctl stop other && systemctl start hotcore && hotcore check");
}

fn without_ipv6_all_of_it_works_by_ipv4(machine: &Machine) {
    machine.sh(&format!("systemctl stop {ALL}"));
    let switch = |to: u8| {
        for name in ["all", "default", "lo"] {
            machine.sh(&format!("sysctl --quiet --write net.ipv6.conf.{name}.disable_ipv6={to}"));
        }
    };
    switch(1);
    machine.sh("! ip -6 address show dev lo | grep inet6");
    machine.sh("systemctl start hotcore && hotcore add a.example 3000 && hotcore list | grep a.example");
    for address in ["127.0.0.1:80", "127.0.0.1:443"] {
        assert!(is_answering(machine, address), "{address}");
    }
    machine.sh(&format!("systemctl stop {ALL}"));
    switch(0);
    machine.sh("ip address add ::1/128 dev lo 2>/dev/null || true; systemctl start hotcore");
    assert!(is_answering(machine, "[::1]:80"));
}

fn a_socket_more_is_named_and_used_once_it_is_said_what_for(machine: &Machine) {
    machine.drop_in("hotcore-web.socket", "more", "[Socket]\nListenStream=8081\n");
    again(machine);
    let journal = machine.journal("hotcore");
    let told =
        "TCP [::]:8081 was passed in and nobody answers there: say what it is for with HOTCORE_HTTP or HOTCORE_HTTPS";
    assert!(journal.contains(told), "{journal}");
    assert!(is_answering(machine, "127.0.0.1:80"), "the others are what they were");
    machine.drop_in("hotcore.service", "more", "[Service]\nEnvironment=HOTCORE_HTTP=[::]:80,[::]:8081\n");
    machine.sh("systemctl restart hotcore");
    for address in ["127.0.0.1:80", "127.0.0.1:8081", "127.0.0.1:443"] {
        assert!(is_answering(machine, address), "{address}");
    }
    assert!(machine.sh("hotcore msg status").contains("http [::]:80 [::]:8081"));
    machine.drop_in("hotcore.service", "more", "");
    machine.drop_in("hotcore-web.socket", "more", "");
}

fn sockets_may_be_on_one_address_alone(machine: &Machine) {
    machine.sh("ip address add 192.0.2.1/32 dev lo");
    let here = "[Socket]\nListenStream=\nListenStream=192.0.2.1:443\nListenStream=192.0.2.1:80\n";
    machine.drop_in("hotcore-web.socket", "here", here);
    again(machine);
    assert!(is_answering(machine, "192.0.2.1:80") && is_answering(machine, "192.0.2.1:443"));
    assert!(!is_answering(machine, "127.0.0.1:80"));
    machine.drop_in("hotcore-web.socket", "here", "");
}

/// Nothing serves then, and yet the ports that there are stay open: it is not too late when the setting is put right.
fn a_missing_socket_is_named_and_systemd_goes_on_trying(machine: &Machine) {
    let moved = "[Socket]\nListenStream=\nListenStream=8080\nListenStream=443\n";
    machine.drop_in("hotcore-web.socket", "moved", moved);
    machine.sh(&format!("systemctl stop {ALL}"));
    machine.sh("systemctl start --no-block hotcore");
    let told = "no socket for HTTP (TCP port 80) among those passed in";
    wait_for("the error", PATIENCE, || {
        let journal = machine.journal("hotcore");
        let line = journal.lines().find(|line| line.contains(told))?.to_owned();
        assert!(line.contains("TCP [::]:8080") && line.contains("HOTCORE_HTTP"), "{line}");
        (machine.property("hotcore.service", "NRestarts").parse::<u32>().unwrap() >= 6).then_some(())
    });
    assert_eq!(machine.property("hotcore-web.socket", "ActiveState"), "active");
    machine.drop_in("hotcore.service", "moved", "[Service]\nEnvironment=HOTCORE_HTTP=[::]:8080\n");
    wait_for("an answer", PATIENCE, || is_answering(machine, "127.0.0.1:8080").then_some(()));
    machine.drop_in("hotcore.service", "moved", "");
    machine.drop_in("hotcore-web.socket", "moved", "");
    again(machine);
    assert!(is_answering(machine, "127.0.0.1:80"));
}

fn again(machine: &Machine) {
    machine.sh(&format!("systemctl stop {ALL} && systemctl start hotcore"));
}

/// Whether plain HTTP is understood there; the port of HTTPS has a page for it.
fn is_answering(machine: &Machine, address: &str) -> bool {
    let visit = format!("curl --silent --max-time 10 --output /dev/null 'http://{address}/'");
    machine.try_sh(&visit).status.success()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
