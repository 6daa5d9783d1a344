//! Who has the ports of the web, before hotcore or instead of it: `check --ports` (B215).
//!
//! The unit of the sockets asks it before it opens them, as systemd itself only says that an address is in use. Never here: a
//! question to the daemon, which may not run.

use serde_json::json;

use super::{
    failure::{Exit, Failure},
    output::Output,
};
use crate::service::sockets::{Holder, Kind, SYSTEMD};

/// The name of a process of the daemon (proc_pid_comm(5)).
const OWN_NAME: &str = "hotcore";

/// Says for each port who has it. Fails if that is another program.
pub(super) fn check(json: bool, output: &mut Output) -> Result<(), Failure> {
    let ports = [Kind::Http, Kind::Https].map(|kind| Port::look(kind, kind.default_port()));
    if json {
        let ports: Vec<_> = ports.iter().map(Port::to_json).collect();
        output.json(&json!({"ok": ports.iter().all(|port| port["ok"] == true), "ports": ports}));
    } else {
        ports.iter().filter(|port| port.is_well()).for_each(|port| output.data(port.words()));
    }
    let wrongs: Vec<String> = ports.iter().filter(|port| !port.is_well()).map(Port::words).collect();
    match wrongs.is_empty() {
        true => Ok(()),
        false if json => Err(Failure::told(Exit::Refused)),
        false => Err(Failure::all_refused(wrongs)),
    }
}

/// A port, and who has it.
struct Port {
    number: u16,
    state: State,
}

enum State {
    Free,
    /// Somebody whom this user may not see.
    Unseen,
    Held {
        by: Holder,
        unit: Option<String>,
    },
}

impl Port {
    fn look(kind: Kind, number: u16) -> Self {
        let state = match Holder::find(kind, number) {
            Some(by) => State::Held { unit: by.unit(), by },
            None if Holder::has_one(kind, number) => State::Unseen,
            None => State::Free,
        };
        Self { number, state }
    }

    /// Free, or hotcore's.
    fn is_well(&self) -> bool {
        match &self.state {
            State::Free => true,
            State::Unseen => false,
            State::Held { by, unit } => by.name == OWN_NAME || unit.as_deref() == Some("hotcore.service"),
        }
    }

    fn words(&self) -> String {
        let port = self.number;
        match &self.state {
            State::Free => format!("TCP port {port} is free"),
            State::Held { by, .. } if self.is_well() => format!("TCP port {port} is held by {by}"),
            State::Held { by, .. } if by.process == SYSTEMD => format!(
                "{by} has TCP port {port} for a socket unit: find it with `systemctl list-sockets`; if it is not hotcore-web.socket, \
                 stop it with `systemctl disable --now`, then `systemctl start hotcore`"
            ),
            State::Held { by, unit: Some(unit) } => format!(
                "{by} has TCP port {port}: stop it with `systemctl disable --now {unit}`, then `systemctl start hotcore`"
            ),
            State::Held { by, unit: None } => {
                format!("{by} has TCP port {port}: stop it, then `systemctl start hotcore`")
            }
            State::Unseen => format!(
                "another program has TCP port {port}: find it with `sudo hotcore check --ports` or `sudo ss -ltnp 'sport = :{port}'`"
            ),
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let mut value = json!({"port": self.number, "ok": self.is_well(), "free": matches!(self.state, State::Free)});
        if let State::Held { by, unit } = &self.state {
            value["process"] = json!(by.process);
            value["name"] = json!(by.name);
            value["unit"] = json!(unit);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(process: u32, name: &str, unit: Option<&str>) -> Port {
        let by = Holder { process, name: name.to_owned() };
        Port { number: 80, state: State::Held { by, unit: unit.map(str::to_owned) } }
    }

    /// B215: the program, and what to do about it.
    #[test]
    fn another_holder_is_named_with_the_remedy_and_hotcore_itself_is_well() {
        let cases = [
            (
                held(12, "nginx", Some("nginx.service")),
                false,
                "nginx (process 12) has TCP port 80: stop it with `systemctl disable --now nginx.service`",
            ),
            (held(12, "python3", None), false, "python3 (process 12) has TCP port 80: stop it, then"),
            (held(1, "systemd", None), false, "systemctl list-sockets"),
            (held(12, "hotcore", Some("hotcore.service")), true, "held by hotcore (process 12)"),
            (held(12, "hotcore", None), true, "held by hotcore"),
            (Port { number: 80, state: State::Free }, true, "TCP port 80 is free"),
            (Port { number: 80, state: State::Unseen }, false, "sudo hotcore check --ports"),
        ];
        for (port, is_well, words) in cases {
            assert_eq!(port.is_well(), is_well, "{words}");
            assert!(port.words().contains(words), "{}", port.words());
        }
    }

    #[test]
    fn programs_can_read_who_it_is() {
        let value = held(12, "nginx", Some("nginx.service")).to_json();
        assert_eq!(
            value,
            json!({"port": 80, "ok": false, "free": false, "process": 12, "name": "nginx", "unit": "nginx.service"})
        );
    }

    #[test]
    fn a_port_that_somebody_has_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(
            matches!(Port::look(Kind::Http, port).state, State::Held { by, .. } if by.process == std::process::id())
        );
        drop(listener);
        assert!(matches!(Port::look(Kind::Http, port).state, State::Free));
    }
}
