//! The proxies under test, each pinned to one core, and how one of them is measured.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    HOST, LOAD_CORE, PROXY_CORE, Sample, TLS_HOST, free_port,
    load::{Door, Load, Score},
    tls::Identity,
    until_it_accepts,
};

/// A child process that ends with its value.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// CPU time of all its threads, in nanoseconds (proc(5), /proc/pid/task/tid/schedstat).
    fn cpu_nanos(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        threads
            .map(|thread| {
                let figures = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
                figures.split_whitespace().next().unwrap().parse::<u64>().unwrap()
            })
            .sum()
    }
}

/// A running proxy that routes [`HOST`] in clear and [`TLS_HOST`] behind TLS to the backend.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    address: SocketAddr,
    /// Where it does handshakes, HTTP/2 and HTTP/1.1 behind them; the floor does none.
    https: Option<SocketAddr>,
    /// Where hotcore takes commands.
    pub(crate) control: Option<SocketAddr>,
    process: Running,
    _folder: TempDir,
}

impl Contender {
    pub(crate) fn floor(backend: SocketAddr) -> Result<Self, String> {
        let (process, address) = start_own(PROXY_CORE, &["floor", &backend.to_string()]);
        let (name, version, _folder) = ("floor", "–".to_owned(), folder());
        Ok(Self { name, version, address, https: None, control: None, process, _folder })
    }

    pub(crate) fn hotcore(backend: SocketAddr, identity: &Identity) -> Result<Self, String> {
        Self::build("hotcore", env!("CARGO_BIN_EXE_hotcore"), backend, identity)
    }

    /// Some build of hotcore.
    pub(crate) fn build(
        name: &'static str,
        program: &str,
        backend: SocketAddr,
        identity: &Identity,
    ) -> Result<Self, String> {
        let (folder, control) = (folder(), loopback(free_udp_port()));
        let (address, https) = (loopback(free_port()), loopback(free_port()));
        identity.install(folder.path());
        // Without a path to mkcert, with which names for tests would leave plain HTTP.
        let mut command = pinned(PROXY_CORE, "env");
        command.args(["PATH=/nonexistent", program, "serve", "--local", "--workers", "1", "--state"]);
        command.arg(folder.path());
        let addresses = [("--http", address), ("--https", https), ("--control", control)];
        for (option, address) in addresses {
            command.args([option, &address.to_string()]);
        }
        let process = spawn(&mut command);
        until_it_accepts(address);
        let contender = Self {
            name,
            version: version(program, "version"),
            address,
            https: Some(https),
            control: Some(control),
            process,
            _folder: folder,
        };
        for name in [HOST, TLS_HOST] {
            assert!(contender.ask(&format!("add {name} {}", backend.port())).starts_with("ok "));
        }
        Ok(contender)
    }

    pub(crate) fn nginx(backend: SocketAddr, identity: &Identity) -> Result<Self, String> {
        let Some(program) = found("nginx") else {
            return Err("missing: nginx (Debian package nginx-light)".to_owned());
        };
        let (folder, address, https) = (folder(), loopback(free_port()), loopback(free_port()));
        let temporary = folder.path().display();
        fs::write(folder.path().join("certificate"), &identity.certificate).unwrap();
        fs::write(folder.path().join("key"), &identity.key).unwrap();
        // Large answers are passed on as they come, as by the others; buffered, they cost more.
        let site = "location / {
                   proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off;
                   proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
                   proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
                   proxy_set_header X-Forwarded-Host $host;
                 }";
        let configuration = format!(
            "daemon off; master_process off; worker_processes 1; error_log stderr crit; pid {temporary}/pid;
             events {{ worker_connections 4096; }}
             http {{
               access_log off; keepalive_requests 1000000;
               client_body_temp_path {temporary}/body; proxy_temp_path {temporary}/proxy; fastcgi_temp_path {temporary}/fastcgi;
               uwsgi_temp_path {temporary}/uwsgi; scgi_temp_path {temporary}/scgi;
               upstream app {{ server {backend}; keepalive 256; keepalive_requests 1000000; }}
               server {{ listen {address}; server_name {HOST}; {site} }}
               server {{
                 listen {https} ssl http2; server_name {TLS_HOST}; ssl_protocols TLSv1.2 TLSv1.3;
                 ssl_certificate {temporary}/certificate; ssl_certificate_key {temporary}/key; {site}
               }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let process = spawn(pinned(PROXY_CORE, &program).arg("-c").arg(file));
        until_it_accepts(address);
        let (name, version, https) = ("nginx", version(&program, "-v"), Some(https));
        Ok(Self { name, version, address, https, control: None, process, _folder: folder })
    }

    pub(crate) fn haproxy(backend: SocketAddr, identity: &Identity) -> Result<Self, String> {
        let Some(program) = found("haproxy") else {
            return Err("missing: haproxy (Debian package haproxy)".to_owned());
        };
        let (folder, address, https) = (folder(), loopback(free_port()), loopback(free_port()));
        let pem = folder.path().join("pem");
        fs::write(&pem, [identity.certificate.as_str(), &identity.key].concat()).unwrap();
        let pem = pem.display();
        let configuration = format!(
            "global\n nbthread 1\n maxconn 4096\n\
             defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n http-reuse always\n\
             frontend all\n bind {address}\n bind {https} ssl crt {pem} alpn h2,http/1.1\n \
             option forwardfor\n http-request set-header X-Real-IP %[src]\n \
             http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}\n \
             http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}\n \
             http-request set-header X-Forwarded-Host %[req.hdr(host)]\n \
             use_backend app if {{ hdr(host) -i {HOST} {TLS_HOST} }}\n\
             backend app\n server app {backend}\n"
        );
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let process = spawn(pinned(PROXY_CORE, &program).arg("-f").arg(file).arg("-db"));
        until_it_accepts(address);
        let (name, version, https) = ("haproxy", version(&program, "-v"), Some(https));
        Ok(Self { name, version, address, https, control: None, process, _folder: folder })
    }

    /// Whether it has this way in.
    pub(crate) fn has(&self, door: Door) -> bool {
        door == Door::Plain || self.https.is_some()
    }

    /// One run; the warm-up does not count.
    pub(crate) fn measure(&self, load: &Load, seconds: u32) -> Sample {
        let (_generator, mut said) = self.generate(load, seconds);
        let mut next = || {
            let mut line = String::new();
            said.read_line(&mut line).unwrap();
            line
        };
        let begun = next();
        assert_eq!(begun.trim(), "begun", "the generator has ended");
        let before = self.process.cpu_nanos();
        let line = next();
        let nanos = self.process.cpu_nanos() - before;
        let score = Score::read(&line);
        Sample { micros: nanos as f64 / score.answers / 1_000.0, score }
    }

    /// Load in the background, until dropped.
    pub(crate) fn load(&self, load: &Load) -> Running {
        let (generator, mut said) = self.generate(load, 3_600);
        said.read_line(&mut String::new()).unwrap();
        generator
    }

    fn generate(&self, load: &Load, seconds: u32) -> (Running, BufReader<ChildStdout>) {
        let address = if load.door == Door::Plain { self.address } else { self.https.expect("has this door") };
        let mut command = own(LOAD_CORE);
        command.args(["load", &address.to_string(), &seconds.to_string()]).args(load.words());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        (Running(child), said)
    }

    /// A command to hotcore and its reply.
    pub(crate) fn ask(&self, command: &str) -> String {
        let socket = control(self.control.expect("only hotcore takes commands"));
        for _ in 0..50 {
            socket.send(command.as_bytes()).unwrap();
            let mut reply = [0; 1024];
            if let Ok(length) = socket.recv(&mut reply) {
                return String::from_utf8_lossy(&reply[..length]).into_owned();
            }
        }
        panic!("no reply to {command:?}");
    }
}

/// A socket to hotcore's control port that waits 200 ms for a reply.
pub(crate) fn control(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    socket.connect(address).unwrap();
    socket
}

/// Starts this program under another name; it prints its address as its first line.
pub(crate) fn start_own(core: &str, words: &[&str]) -> (Running, SocketAddr) {
    let mut child = own(core).args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Running(child), line.trim().parse().unwrap())
}

fn own(core: &str) -> Command {
    pinned(core, std::env::current_exe().unwrap().to_str().unwrap())
}

fn pinned(core: &str, program: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", core, program]);
    command
}

fn spawn(command: &mut Command) -> Running {
    Running(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("hotcore-bench-").tempdir().unwrap()
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn free_udp_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The path of a program; daemons are often in a folder that is not on everybody's PATH.
fn found(program: &str) -> Option<String> {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|folder| format!("{folder}/{program}"))
        .find(|path| fs::exists(path).unwrap_or(false))
}

/// The first word with a digit in what a program says about its version.
fn version(program: &str, option: &str) -> String {
    let output = Command::new(program).arg(option).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let word = text.split_whitespace().find(|word| word.contains(|letter: char| letter.is_ascii_digit()));
    word.unwrap_or("?").trim_start_matches("nginx/").to_owned()
}
