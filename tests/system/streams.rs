//! Bodies of any size pass byte for byte, as they come, in a memory that does not grow with them (B54, B102).

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use crate::rig::{Backend, Client, Daemon, SecureSite, curl, folder, note, seeded, sha256, succeed};

const GIBIBYTE: u64 = 1 << 30;
/// What a body of any size may add to the daemon's peak.
const GROWTH_KIB_MAX: u64 = 32 * 1024;

#[test]
fn a_gibibyte_passes_both_ways_unchanged_in_flat_memory() {
    let (state, files) = (folder(), folder());
    let file = files.path().join("large");
    write_random(&file, GIBIBYTE);
    let hash = sha256(&file);
    let daemon = Daemon::start(state.path());
    let (app, python) = (Backend::app("the app", files.path()), Backend::files(files.path()));
    let commands = daemon.commands();
    commands.add("app.example", app.port);
    commands.add("files.example", python.port);
    succeed(curl(daemon.http).arg("http://app.example/"));
    let before = daemon.memory_kib("VmHWM");

    let uploaded = succeed(curl(daemon.http).arg("--upload-file").arg(&file).arg("http://app.example/upload"));
    assert_eq!(uploaded, hash, "upload with a length");
    let after_upload = daemon.memory_kib("VmHWM");
    // Node sends it chunked, Python with a length.
    let chunked = hash_of_download(curl(daemon.http).arg("http://app.example/file/large"));
    assert_eq!(chunked, hash, "chunked download");
    let with_length = hash_of_download(curl(daemon.http).arg("http://files.example/large"));
    assert_eq!(with_length, hash, "download with a length");
    let after = daemon.memory_kib("VmHWM");

    note(&format!("peak memory: {before} KiB before, {after_upload} after 1 GiB up, {after} after 2 GiB down"));
    assert!(after - before < GROWTH_KIB_MAX, "memory grew from {before} to {after} KiB");
}

/// In both versions of HTTP.
#[test]
fn a_gibibyte_passes_both_ways_unchanged_over_https() {
    let files = folder();
    let file = files.path().join("large");
    write_random(&file, GIBIBYTE);
    let hash = sha256(&file);
    let app = Backend::app("the app", files.path());
    let site = SecureSite::start(&[("app.example", app.port)]);
    assert_eq!(site.get("app.example", "/"), "the app");
    let before = site.daemon.memory_kib("VmHWM");
    for version in ["--http2", "--http1.1"] {
        let begun = Instant::now();
        let url = "https://app.example/upload";
        let uploaded = succeed(site.curl().arg(version).arg("--upload-file").arg(&file).arg(url));
        assert_eq!(uploaded, hash, "upload, {version}");
        let up = begun.elapsed();
        let downloaded = hash_of_download(site.curl().args([version, "https://app.example/file/large"]));
        assert_eq!(downloaded, hash, "download, {version}");
        note(&format!("1 GiB over HTTPS, {version}: {up:.1?} up, {:.1?} down", begun.elapsed() - up));
    }
    let after = site.daemon.memory_kib("VmHWM");
    note(&format!("peak memory: {before} KiB before, {after} after 4 GiB"));
    assert!(after - before < GROWTH_KIB_MAX, "memory grew from {before} to {after} KiB");
}

/// B102: each event is seen before the next one exists.
#[test]
fn server_sent_events_arrive_one_by_one() {
    let (state, files) = (folder(), folder());
    let daemon = Daemon::start(state.path());
    let app = Backend::app("the app", files.path());
    daemon.commands().add("app.example", app.port);

    let mut stream = Client::connect(daemon.http).unwrap();
    stream.write("GET /events HTTP/1.1\r\nHost: app.example\r\nAccept: text/event-stream\r\n\r\n").unwrap();
    let head = stream.head().unwrap();
    assert_eq!((head.status, head.field("content-type")), (200, Some("text/event-stream")));
    stream.read_until(": open\n\n").unwrap();
    let mut other = Client::connect(daemon.http).unwrap();
    for number in 1..=20 {
        assert_eq!(other.get("app.example", "/next").unwrap().text(), format!("event {number}"));
        assert_eq!(stream.read_until("\n\n").unwrap(), format!("data: event {number}\n\n"));
    }
}

fn hash_of_download(curl: &mut Command) -> String {
    let mut download = curl.stdout(Stdio::piped()).spawn().unwrap();
    let body = download.stdout.take().unwrap();
    let sum = succeed(Command::new("sha256sum").stdin(body));
    assert!(download.wait().unwrap().success(), "{curl:?}");
    sum.split_whitespace().next().unwrap().to_owned()
}

fn write_random(path: &Path, bytes: u64) {
    let mut random = seeded("a gibibyte");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let mut block = [0; 1 << 16];
    for _ in 0..bytes / block.len() as u64 {
        random.fill(&mut block);
        file.write_all(&block).unwrap();
    }
    file.flush().unwrap();
}
