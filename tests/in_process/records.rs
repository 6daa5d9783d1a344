//! The access log (B216, B217, B221): one record a request, and nothing of a query, a cookie or a token.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, OnceLock},
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

use crate::{
    front::{Backend, Front, dead_port, eventually},
    recorder::Recorder,
    secure::{SecureFront, domain, fresh_tickets},
};

/// The fields of one record.
type Record = BTreeMap<&'static str, String>;

/// The access records of this process; each test has a name of its own. The workers are threads of their own, so the listener is
/// everybody's.
fn listen() -> &'static Mutex<Vec<Record>> {
    static RECORDS: OnceLock<Mutex<Vec<Record>>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Listener)).unwrap();
        Mutex::default()
    })
}

struct Listener;

impl<S: Subscriber> Layer<S> for Listener {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() == "hotcore::access"
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(Record::new());
        event.record(&mut fields);
        listen().lock().unwrap().push(fields.0);
    }
}

struct Fields(Record);

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

fn front_with(host: &str, port: u16) -> Front {
    listen();
    let mut front = Front::start_with(|config| config.access_log = true);
    front.map(host, port);
    front
}

/// The records of one name, once there are so many.
fn of(host: &str, count: usize) -> Vec<Record> {
    let mut found = Vec::new();
    eventually("the records", || {
        found = listen().lock().unwrap().iter().filter(|record| record["host"] == host).cloned().collect();
        found.len() >= count
    });
    assert_eq!(found.len(), count, "{found:?}");
    found
}

#[test]
fn a_record_tells_who_asked_for_what_and_what_came_of_it() {
    let recorder = Recorder::start();
    let front = front_with("record.test", recorder.port);
    front.exchange(
        b"POST /a/b%20c?token=s3cret HTTP/1.1\r\nHost: record.test\r\nCookie: k=s3cret\r\nAuthorization: s3cret\r\n\
          X: s3cret\r\nConnection: close\r\nContent-Length: 6\r\n\r\ns3cret",
    );
    let record = &of("record.test", 1)[0];
    let expected = [
        ("client", "127.0.0.1"),
        ("method", "POST"),
        ("path", "/a/b%20c"),
        ("status", "200"),
        ("bytes", "2"),
        ("cut", "false"),
    ];
    for (field, value) in expected {
        assert_eq!(record[field], value, "{field} of {record:?}");
    }
    assert!(record["millis"].parse::<u64>().is_ok());
    assert!(!format!("{record:?}").contains("s3cret"), "B217, B218: {record:?}");
}

/// B221: before the answer, while it is held, and in the middle of the answer.
#[test]
fn a_client_that_leaves_is_a_499() {
    let recorder = Recorder::answering(|request| {
        request.line().contains("/stream").then(|| b"HTTP/1.1 200 OK\r\n\r\nstart".to_vec())
    });
    let mut front = front_with("left.test", recorder.port);
    front.map("held.left.test", dead_port());
    let mut client = front.connect();
    client.send(b"GET /pending HTTP/1.1\r\nHost: left.test\r\n\r\n");
    recorder.wait_for_request();
    drop(client);
    assert_eq!(of("left.test", 1)[0]["status"], "499");

    let mut client = front.connect();
    client.send(b"GET /stream HTTP/1.1\r\nHost: left.test\r\n\r\n");
    client.read_until(b"start");
    drop(client);
    let record = &of("left.test", 2)[1];
    assert_eq!((record["status"].as_str(), record["path"].as_str()), ("499", "/stream"));

    let mut client = front.connect();
    client.send(b"POST /held HTTP/1.1\r\nHost: held.left.test\r\nContent-Length: 100\r\n\r\nstart");
    eventually("it is held", || front.workers.counts().requests == 3);
    drop(client);
    assert_eq!(of("held.left.test", 1)[0]["status"], "499");
}

#[test]
fn an_answer_that_the_backend_cuts_is_told_so() {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head();
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
    });
    let front = front_with("cut.test", backend.port);
    front.get("cut.test");
    let record = &of("cut.test", 1)[0];
    assert_eq!((record["status"].as_str(), record["cut"].as_str(), record["bytes"].as_str()), ("200", "true", "4"));
}

/// Pages of our own, and heads of which nothing is believed.
#[test]
fn refused_and_unknown_requests_are_recorded() {
    let front = front_with("page.test", dead_port());
    let mut client = front.connect();
    client.send(b"GET /1?q HTTP/1.1\r\nHost: nobody.page.test\r\n\r\n");
    let length = client.read_answer().body.len().to_string();
    client.send(b"GET /s3cret HTTP/1.1\r\nHost: page.test\r\nHost: page.test\r\n\r\n");
    client.read_answer();
    let record = &of("nobody.page.test", 1)[0];
    assert_eq!((record["status"].as_str(), record["path"].as_str()), ("404", "/1"));
    assert_eq!(record["bytes"], length);
    let refused = of("-", 1);
    assert_eq!((refused[0]["status"].as_str(), refused[0]["path"].as_str()), ("400", "-"));
}

/// B216.
#[test]
fn long_text_from_outside_is_cut() {
    let recorder = Recorder::start();
    let front = front_with("long.test", recorder.port);
    let request = format!("GET /{} HTTP/1.1\r\nHost: long.test\r\nConnection: close\r\n\r\n", "x".repeat(1_000));
    front.exchange(request.as_bytes());
    assert_eq!(of("long.test", 1)[0]["path"].len(), hotcore::limits::LOG_QUOTE_BYTES_MAX);
}

/// B218: who asks for the answer to a challenge gets it, and the log does not.
#[test]
fn the_answer_to_a_challenge_is_not_recorded() {
    listen();
    let mut front = SecureFront::start_with(|config| config.access_log = true, |_| {}, fresh_tickets());
    front.keyring.begin_http_challenge(&domain("challenge.test"), "t0ken", "t0ken.s3cret");
    let request = "GET /.well-known/acme-challenge/t0ken HTTP/1.1\r\nHost: challenge.test\r\nConnection: close\r\n\r\n";
    assert_eq!(front.ask_in_clear(request).text(), "t0ken.s3cret");
    let record = &of("challenge.test", 1)[0];
    assert_eq!((record["status"].as_str(), record["bytes"].as_str()), ("200", "12"));
    assert!(!format!("{record:?}").contains("s3cret"), "{record:?}");
}

/// B217: not unless asked for.
#[test]
fn there_is_no_record_by_default() {
    listen();
    let recorder = Recorder::start();
    let mut front = Front::start();
    front.map("silent.test", recorder.port);
    assert_eq!(front.get("silent.test").status, 200);
    drop(front);
    assert!(listen().lock().unwrap().iter().all(|record| record["host"] != "silent.test"));
}
