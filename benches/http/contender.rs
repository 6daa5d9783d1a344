//! The proxies under test, each pinned to one core, and the generator that drives them.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{CONNECTIONS, HOST, LOAD_CORE, PROXY_CORE, Sample, free_port, until_it_accepts};

/// Warm-up before each measurement.
const WARM_UP_SECONDS: u32 = 1;

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

/// A running proxy that routes [`HOST`] to the backend.
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    pub(crate) version: String,
    pub(crate) address: SocketAddr,
    /// Where hotcore takes commands.
    pub(crate) control: Option<SocketAddr>,
    process: Running,
    _folder: TempDir,
}

impl Contender {
    pub(crate) fn floor(backend: SocketAddr) -> Result<Self, String> {
        let (process, address) = start_own(PROXY_CORE, &["floor", &backend.to_string()]);
        Ok(Self { name: "floor", version: "–".to_owned(), address, control: None, process, _folder: folder() })
    }

    pub(crate) fn hotcore(backend: SocketAddr) -> Result<Self, String> {
        let program = env!("CARGO_BIN_EXE_hotcore");
        let (folder, control) = (folder(), loopback(free_udp_port()));
        let (address, https) = (loopback(free_port()), loopback(free_port()));
        let mut command = pinned(PROXY_CORE, program);
        command.args(["serve", "--local", "--workers", "1", "--state"]).arg(folder.path());
        command.args([
            "--http",
            &address.to_string(),
            "--https",
            &https.to_string(),
            "--control",
            &control.to_string(),
        ]);
        let process = spawn(&mut command);
        until_it_accepts(address);
        let contender = Self {
            name: "hotcore",
            version: version(program, "version"),
            address,
            control: Some(control),
            process,
            _folder: folder,
        };
        assert!(contender.ask(&format!("add {HOST} {}", backend.port())).starts_with("ok "));
        Ok(contender)
    }

    pub(crate) fn nginx(backend: SocketAddr) -> Result<Self, String> {
        let Some(program) = found("nginx") else {
            return Err("missing: nginx (Debian package nginx-light)".to_owned());
        };
        let (folder, address) = (folder(), loopback(free_port()));
        let temporary = folder.path().display();
        let configuration = format!(
            "daemon off; master_process off; worker_processes 1; error_log stderr crit; pid {temporary}/pid;
             events {{ worker_connections 4096; }}
             http {{
               access_log off; keepalive_requests 1000000;
               client_body_temp_path {temporary}/body; proxy_temp_path {temporary}/proxy; fastcgi_temp_path {temporary}/fastcgi;
               uwsgi_temp_path {temporary}/uwsgi; scgi_temp_path {temporary}/scgi;
               upstream app {{ server {backend}; keepalive 256; keepalive_requests 1000000; }}
               server {{
                 listen {address}; server_name {HOST};
                 location / {{
                   proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\";
                   proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr;
                   proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme;
                   proxy_set_header X-Forwarded-Host $host;
                 }}
               }}
             }}"
        );
        let file = folder.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let process = spawn(pinned(PROXY_CORE, &program).arg("-c").arg(file));
        until_it_accepts(address);
        Ok(Self { name: "nginx", version: version(&program, "-v"), address, control: None, process, _folder: folder })
    }

    pub(crate) fn haproxy(backend: SocketAddr) -> Result<Self, String> {
        let Some(program) = found("haproxy") else {
            return Err("missing: haproxy (Debian package haproxy)".to_owned());
        };
        let (folder, address) = (folder(), loopback(free_port()));
        let configuration = format!(
            "global\n nbthread 1\n maxconn 4096\n\
             defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n http-reuse always\n\
             frontend all\n bind {address}\n option forwardfor\n http-request set-header X-Real-IP %[src]\n \
             http-request set-header X-Forwarded-Proto http\n http-request set-header X-Forwarded-Host %[req.hdr(host)]\n \
             use_backend app if {{ hdr(host) -i {HOST} }}\n\
             backend app\n server app {backend}\n"
        );
        let file = folder.path().join("haproxy.cfg");
        fs::write(&file, configuration).unwrap();
        let process = spawn(pinned(PROXY_CORE, &program).arg("-f").arg(file).arg("-db"));
        until_it_accepts(address);
        Ok(Self { name: "haproxy", version: version(&program, "-v"), address, control: None, process, _folder: folder })
    }

    /// One warm-up and one measured run.
    pub(crate) fn measure(&self, load: &Wrk, seconds: u32) -> Sample {
        load.run(self.address, WARM_UP_SECONDS);
        let before = self.process.cpu_nanos();
        let requests = load.run(self.address, seconds);
        let nanos = self.process.cpu_nanos() - before;
        Sample { micros: nanos as f64 / requests / 1_000.0, rate: requests / f64::from(seconds) }
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

/// How wrk is run.
pub(crate) struct Wrk {
    host: String,
    script: Option<PathBuf>,
}

impl Wrk {
    /// The same request again and again.
    pub(crate) fn plain(host: &str) -> Self {
        Self { host: host.to_owned(), script: None }
    }

    /// Requests made by a script.
    pub(crate) fn script(script: PathBuf) -> Self {
        Self { host: HOST.to_owned(), script: Some(script) }
    }

    /// Runs it to its end; the number of requests that were answered. Any other answer than 2xx, and any broken connection,
    /// ends the measurement: it would be cheaper than the truth.
    pub(crate) fn run(&self, address: SocketAddr, seconds: u32) -> f64 {
        let output = self.command(address, seconds).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "wrk: {text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "requests failed:\n{text}");
        let line = text.lines().find(|line| line.contains(" requests in ")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// In the background, until dropped.
    pub(crate) fn start(&self, address: SocketAddr) -> Running {
        spawn(self.command(address, 3_600).stdout(Stdio::null()))
    }

    fn command(&self, address: SocketAddr, seconds: u32) -> Command {
        let mut command = pinned(LOAD_CORE, "wrk");
        command.args([
            "-t1",
            &format!("-c{CONNECTIONS}"),
            &format!("-d{seconds}s"),
            "-H",
            &format!("Host: {}", self.host),
        ]);
        if let Some(script) = &self.script {
            command.arg("-s").arg(script);
        }
        command.arg(format!("http://{address}/b/128"));
        command
    }
}

/// Starts this program under another name; it prints its address as its first line.
pub(crate) fn start_own(core: &str, words: &[&str]) -> (Running, SocketAddr) {
    let own = std::env::current_exe().unwrap();
    let mut child = pinned(core, own.to_str().unwrap()).args(words).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Running(child), line.trim().parse().unwrap())
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
