//! Whom a request is for, and what is refused before it goes anywhere (B10, B58–B61, B64–B68, B70, B126, B161).

use http::{HeaderValue, Request};

use super::rig::{
    Answer, Client, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, Raw, block, field, front_of, front_with, get,
    request, run,
};
use crate::{
    front::{Backend, dead_port},
    recorder::Recorder,
};

/// B67: mapped or not, and the connection stays good for its own name; B68: after the rule is gone.
#[test]
fn another_name_on_the_same_connection_is_misdirected() {
    let (a, b) = (Backend::fixed("a"), Backend::fixed("b"));
    let mut front = front_of(&a);
    front.serve("b.test", b.port);
    run(async {
        let mut client = Client::connect(&front).await;
        for name in ["b.test", "unknown.test", "127.0.0.1", "www.a.test"] {
            let asked = Request::get(format!("https://{name}/")).header("accept", "application/json").body(()).unwrap();
            let answer = Answer::read(client.ask(asked).await.unwrap()).await.unwrap();
            assert_eq!((answer.status, answer.field("server")), (421, Some("hotcore")), "{name}");
            assert_eq!(answer.field("content-type"), Some("application/json"));
            assert!(answer.field("connection").is_none());
        }
        assert_eq!(client.get("/").await.text(), "a");
        front.front.unmap("a.test");
        let answer = client.get("/").await;
        assert_eq!((answer.status, answer.field("connection")), (404, None), "B68");
        front.front.map("a.test", b.port);
        assert_eq!(client.get("/").await.text(), "b", "B40");
    });
}

/// B59–B61: on their own stream each.
#[test]
fn methods_and_targets() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port, |_| {});
    run(async {
        let mut client = Client::connect(&front).await;
        for (method, status) in [("TRACE", 501), ("CONNECT", 501), ("PURGE", 200)] {
            let mut asked = request(method, "/");
            if method == "CONNECT" {
                *asked.uri_mut() = "a.test:443".parse().unwrap();
            }
            assert_eq!(client.ask(asked).await.unwrap().status(), status, "{method}");
        }
        let mut last = request("OPTIONS", "/");
        last.headers_mut().insert("max-forwards", HeaderValue::from_static("0"));
        assert_eq!(client.ask(last).await.unwrap().status(), 204);
        let long = "x".repeat(hotcore::limits::TARGET_BYTES_MAX - 1);
        assert_eq!(client.get(&format!("/{long}")).await.status, 200);
        let answer = client.get(&format!("/{long}x")).await;
        assert_eq!((answer.status, answer.field("connection")), (414, None), "B55");
        assert_eq!(client.get("/").await.status, 200, "B126: the connection lives");
    });
    let mut raw = Raw::connect(&front);
    let star =
        [field(":method", "OPTIONS"), field(":scheme", "https"), field(":authority", "a.test"), field(":path", "*")];
    raw.send(HEADERS, END_STREAM | END_HEADERS, 1, &star.concat());
    assert_eq!(raw.outcome(1).unwrap(), "ok");
    assert_eq!(recorder.requests().last().unwrap().line(), "OPTIONS * HTTP/1.1");
}

/// B58, B59, B64–B66, B70: what h2 lets pass gets a page; what it does not, a reset. Siblings do not notice.
#[test]
fn malformed_requests_end_their_stream_alone() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port, |_| {});
    let mut raw = Raw::connect(&front);
    let pseudo = |method: &str, scheme: &str, authority: &str, path: &str| {
        let list = [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path)];
        list.iter()
            .filter(|(_, value)| !value.is_empty())
            .flat_map(|(name, value)| field(name, value))
            .collect::<Vec<u8>>()
    };
    let usual = || pseudo("GET", "https", "a.test", "/");
    let cases: Vec<(&str, Vec<u8>, Result<&str, u32>)> = vec![
        ("only host", [pseudo("GET", "https", "", "/"), field("host", "a.test")].concat(), Ok("ok")),
        ("host and authority", [usual(), field("host", "A.Test.")].concat(), Ok("ok")),
        ("neither", pseudo("GET", "https", "", "/"), Ok("400 the Host")),
        ("two hosts", [usual(), field("host", "a.test"), field("host", "a.test")].concat(), Ok("400 there is more")),
        ("another host", [usual(), field("host", "b.test")].concat(), Ok("400 the request names two")),
        ("no host", [usual(), field("host", "")].concat(), Ok("400 the Host header")),
        ("a user", pseudo("GET", "https", "user@a.test", "/"), Ok("400 the target names a user")),
        ("a scheme", pseudo("GET", "ftp", "a.test", "/"), Ok("400 the target's scheme")),
        ("a query alone", pseudo("GET", "https", "a.test", "?x"), Ok("400 the target is malformed")),
        ("an asterisk", pseudo("GET", "https", "a.test", "*"), Ok("400 the target *")),
        ("a blank at the start", [usual(), field("x", " y")].concat(), Ok("400 a header's value")),
        ("a blank at the end", [usual(), field("x", "y\t")].concat(), Ok("400 a header's value")),
        (
            "two lengths",
            [usual(), field("content-length", "0"), field("content-length", "0")].concat(),
            Ok("400 there is"),
        ),
        ("lengths that differ", [usual(), field("content-length", "0"), field("content-length", "1")].concat(), Err(1)),
        ("no number", [usual(), field("content-length", "+0")].concat(), Err(PROTOCOL_ERROR)),
        ("no path", pseudo("GET", "https", "a.test", ""), Err(PROTOCOL_ERROR)),
        ("no method", pseudo("", "https", "a.test", "/"), Err(PROTOCOL_ERROR)),
        ("no scheme", pseudo("GET", "", "a.test", "/"), Err(PROTOCOL_ERROR)),
        ("connection", [usual(), field("connection", "close")].concat(), Err(PROTOCOL_ERROR)),
        ("upgrade", [usual(), field("upgrade", "websocket")].concat(), Err(PROTOCOL_ERROR)),
        ("a coding", [usual(), field("transfer-encoding", "chunked")].concat(), Err(PROTOCOL_ERROR)),
        ("a te", [usual(), field("te", "gzip")].concat(), Err(PROTOCOL_ERROR)),
        ("a late pseudo", [usual(), field("x", "y"), field(":path", "/")].concat(), Err(PROTOCOL_ERROR)),
        ("a protocol", [pseudo("CONNECT", "https", "a.test", "/"), field(":protocol", "websocket")].concat(), Err(1)),
    ];
    let mut stream = 1;
    for (what, block, wanted) in cases {
        raw.send(HEADERS, END_STREAM | END_HEADERS, stream, &block);
        let outcome = raw.outcome(stream);
        match (&outcome, wanted) {
            (Ok(text), Ok(start)) => assert!(text.starts_with(start), "{what}: {text}"),
            (outcome, wanted) => assert_eq!(outcome.as_deref().map_err(|&reason| reason), wanted, "{what}"),
        }
        raw.ask(stream + 2, &[]);
        assert_eq!(raw.outcome(stream + 2).unwrap(), "ok", "after {what}");
        stream += 4;
    }
    for request in recorder.requests() {
        assert_eq!(request.fields("host").len(), 1, "{request:?}");
        assert!(request.field("x").is_none() && request.line() == "GET / HTTP/1.1", "{request:?}");
    }
}

/// B70: names and values that are none at all end the connection, which RFC 9113 (5.4.2) allows: h2 gives up the whole block.
#[test]
fn bytes_that_no_field_has_end_the_connection() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port, |_| {});
    for (name, value) in [("X", "y"), ("x y", "z"), ("x", "y\r\nz: 1"), ("x", "y\nz"), ("x", "\0"), ("", "x")] {
        let mut raw = Raw::connect(&front);
        let block = [block("GET", "/", &[]), field(name, value)].concat();
        raw.send(HEADERS, END_STREAM | END_HEADERS, 1, &block);
        let reason = raw.read_to_end();
        assert!(reason.is_some_and(|reason| reason != 0), "{name:?}: {value:?}: {reason:?}");
    }
    assert!(recorder.requests().is_empty());
}

/// B28, B31, B157: a page of our own travels like every other answer.
#[test]
fn own_pages_are_the_same() {
    let mut front = front_with(dead_port(), |_| {});
    run(async {
        let mut client = Client::connect(&front).await;
        let asked = Request::get("https://a.test/").header("accept", "text/html").body(()).unwrap();
        let answer = Answer::read(client.ask(asked).await.unwrap()).await.unwrap();
        assert_eq!((answer.status, answer.field("server")), (502, Some("hotcore")));
        assert!(answer.text().contains("<!") && answer.field("cache-control") == Some("no-store"));
        front.front.unmap("a.test");
        let answer = client.get("/").await;
        assert_eq!(answer.status, 404);
        assert!(answer.text().contains("hotcore add a.test PORT"));
        assert_eq!(Answer::read(client.ask(get("/")).await.unwrap()).await.unwrap().status, 404);
    });
}
