//! Backends in other languages, as child processes on ports of their own.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use socket2::{Domain, Socket, Type};

use super::{Identity, PATIENCE, beside, wait_for};

/// A running backend; dropped, it is killed and waited for.
pub(crate) struct Backend {
    child: Child,
    /// Where it listens on 127.0.0.1.
    pub(crate) port: u16,
}

impl Backend {
    /// The Node.js application: `backends/app.js` tells what it serves.
    pub(crate) fn app(name: &str, folder: &Path) -> Self {
        Self::app_on(name, 0, folder)
    }

    /// The same on a given port.
    pub(crate) fn app_on(name: &str, port: u16, folder: &Path) -> Self {
        Self::start(Command::new("node").arg(beside("backends/app.js")).args([name, &port.to_string()]).arg(folder))
    }

    /// Python's own file server.
    pub(crate) fn files(folder: &Path) -> Self {
        Self::start(Command::new("/usr/bin/python3").arg(beside("backends/files.py")).arg(folder).arg("0"))
    }

    /// The same by HTTPS, as somebody whose certificate and key, in PEM, are put into `scratch`.
    pub(crate) fn secure_files(folder: &Path, identity: &Identity, scratch: &Path) -> Self {
        let (chain, key) = (scratch.join("certificate.pem"), scratch.join("key.pem"));
        fs::write(&chain, &identity.certificate).unwrap();
        fs::write(&key, &identity.key).unwrap();
        let mut command = Command::new("/usr/bin/python3");
        Self::start(command.arg(beside("backends/files.py")).arg(folder).arg("0").args([chain, key]))
    }

    /// A WebSocket echo server in Python.
    pub(crate) fn python_echo(name: &str) -> Self {
        Self::start(Command::new("/usr/bin/python3").arg(beside("backends/echo.py")).args([name, "0"]))
    }

    /// A WebSocket echo server in Node.js.
    pub(crate) fn node_echo(name: &str) -> Self {
        Self::start(Command::new("node").arg(beside("backends/echo.js")).args([name, "0"]).env("NODE_PATH", NODE_PATH))
    }

    /// The Node.js application for clients of HTTPS: `backends/secure.js` tells what it serves.
    pub(crate) fn site(name: &str) -> Self {
        Self::start(
            Command::new("node").arg(beside("backends/secure.js")).args([name, "0"]).env("NODE_PATH", NODE_PATH),
        )
    }

    /// Whether Node.js finds the package ws.
    pub(crate) fn node_has_ws() -> bool {
        let mut command = Command::new("node");
        command.args(["-e", "require('ws')"]).env("NODE_PATH", NODE_PATH);
        command.output().is_ok_and(|output| output.status.success())
    }

    /// Starts a program that prints its port as its first line, and that ends when its stdin does.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().unwrap_or_else(|_| panic!("{command:?} did not print its port but {line:?}"));
        Self { child, port }
    }

    /// Asks it to end as a service manager does, and waits until it has.
    pub(crate) fn terminate(mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGTERM).unwrap();
        let child = &mut self.child;
        wait_for("the backend's end", PATIENCE, || child.try_wait().unwrap());
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Debian's node packages, for a Node.js that is not Debian's.
const NODE_PATH: &str = "/usr/share/nodejs:/usr/lib/node_modules:/usr/local/lib/node_modules";

/// A port on 127.0.0.1 that nobody else gets while a backend on it comes and goes: bound, but not listening, so that
/// connections are refused, and others that set SO_REUSEADDR may bind it too (socket(7)).
pub(crate) struct ReservedPort {
    /// The number.
    pub(crate) number: u16,
    _socket: Socket,
}

impl ReservedPort {
    /// Chosen by the kernel.
    pub(crate) fn new() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let number = socket.local_addr().unwrap().as_socket().unwrap().port();
        Self { number, _socket: socket }
    }
}
