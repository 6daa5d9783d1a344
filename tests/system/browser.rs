//! Chromium, as a visitor uses it.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use serde_json::{Value, json};

use crate::rig::{Answer, Backend, Client, PATIENCE, SecureSite, succeed, wait_for};

const NAME: &str = "site.example";

/// A running browser; dropped, it and its own processes are killed.
struct Browser(Child);

impl Browser {
    /// Opens `url` without a window. It trusts `root` beside the roots that it has, and finds each name at `site`.
    fn open(url: &str, site: &SecureSite) -> Self {
        let home = site.files().join("home");
        trust(&home, &site.root());
        let mut command = Command::new("chromium");
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.arg(format!("--host-resolver-rules=MAP {NAME} {}, MAP * ~NOTFOUND", site.address));
        command.arg(format!("--user-data-dir={}", home.join("profile").display())).arg(url);
        command.env("HOME", &home).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.process_group(0).spawn().expect("apt-get install chromium"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Puts a root where Chromium looks for those that a person has added: the NSS database of the home folder.
fn trust(home: &Path, root: &Path) {
    let database = home.join(".pki/nssdb");
    std::fs::create_dir_all(&database).unwrap();
    let database = format!("sql:{}", database.display());
    succeed(Command::new("certutil").args(["-d", &database, "-N", "--empty-password"]));
    succeed(Command::new("certutil").args(["-d", &database, "-A", "-t", "C,,", "-n", "root", "-i"]).arg(root));
}

/// What the page reported; its attempts are in `clients/page.html`.
fn report(backend: &Backend) -> Value {
    let mut client = Client::connect(([127, 0, 0, 1], backend.port).into()).unwrap();
    wait_for("the page's report", 2 * PATIENCE, || {
        let Answer { body, .. } = client.get("127.0.0.1", "/reported").unwrap();
        (!body.is_empty()).then(|| serde_json::from_slice(&body).unwrap())
    })
}

/// B102, B106: WebSockets come over a connection of HTTP/1.1 beside that of HTTP/2.
#[test]
fn chromium_speaks_http_2_and_opens_websockets() {
    let backend = Backend::site("the site");
    let site = SecureSite::start(&[(NAME, backend.port)]);
    let _browser = Browser::open(&format!("https://{NAME}/page"), &site);
    assert_eq!(
        report(&backend),
        json!({
            "page": "h2",
            "secure": true,
            "fetched": "the site by h2",
            "uploaded": true,
            "together": "h2",
            "events": vec!["event 1,event 2,event 3"; 10],
            "socket": "the site: hello",
        })
    );
}
