//! What the port of plain HTTP does where there are certificates: it proxies until a name has its first one, then sends everybody
//! to HTTPS for ever, and answers the challenges of a certificate authority before all else (B163–B167, B175).

use std::sync::Arc;

use hotcore::{domain::Domain, tls::Keyring};

use crate::{
    front::{Answer, Backend, Client, Reserved, answering, eventually},
    recorder::Recorder,
    secure::{SecureFront, domain},
};

const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";
const AUTHORIZATION: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI";

fn front_of(name: &str, port: u16) -> SecureFront {
    let mut front = SecureFront::start();
    front.front.map(name, port);
    front
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
}

fn challenge(token: &str) -> String {
    get(&format!("/.well-known/acme-challenge/{token}"))
}

/// B163, B164: the first certificate counts from the next request on, on connections that are open as well.
#[test]
fn plain_http_is_proxied_until_the_first_certificate() {
    let backend = Backend::fixed("hello");
    let mut front = front_of("a.test", backend.port);
    front.front.map("b.test", backend.port);
    let mut open = Client::connect(front.plain);
    for _ in 0..2 {
        open.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        assert_eq!(open.read_answer().text(), "hello");
    }
    front.certify("a.test");
    front.keyring.set_https_only(&domain("a.test"), true);
    open.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
    let answer = open.read_answer();
    assert_eq!((answer.status, answer.field("location")), (308, Some("https://a.test/x")));
    open.send(b"GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!(open.read_answer().text(), "hello", "another name, on the same connection");
    assert_eq!(front.get("a.test").text(), "hello", "that is where it leads");
    // Its certificate is gone and its rule was away: never downgraded.
    front.keyring.remove(&domain("a.test"));
    front.front.unmap("a.test");
    assert_eq!(front.ask_in_clear(&get("/")).status, 404, "B10: first of all there must be such a name");
    front.front.map("a.test", backend.port);
    assert_eq!(front.ask_in_clear(&get("/")).status, 308);
    // A local name may come back, when whoever signs for it has gone.
    front.keyring.set_https_only(&domain("a.test"), false);
    assert_eq!(front.ask_in_clear(&get("/")).text(), "hello");
}

/// B158, B160, B164, B166.
#[test]
fn a_redirect_is_an_own_answer() {
    let mut front = front_of("a.test", 1);
    front.keyring.set_https_only(&domain("a.test"), true);
    for (accept, kind) in [
        ("", "text/plain; charset=utf-8"),
        ("Accept: text/html\r\n", "text/html; charset=utf-8"),
        ("Accept: application/json\r\n", "application/json"),
    ] {
        let answer =
            front.ask_in_clear(&format!("GET /a?b HTTP/1.1\r\nHost: a.test:8080\r\n{accept}Connection: close\r\n\r\n"));
        let location = format!("https://a.test:{}/a?b", front.front.address.port());
        assert_eq!((answer.status, answer.field("location")), (308, Some(location.as_str())));
        assert_eq!(answer.field("content-type"), Some(kind));
        assert_eq!((answer.field("server"), answer.field("cache-control")), (Some("hotcore"), Some("no-store")));
        assert_eq!(answer.field("strict-transport-security"), None, "B90");
        assert!(answer.field("date").is_some());
        assert!(answer.text().contains("a.test"));
    }
}

/// B52, B57, B58, B59, B61, B106, B165: every kind of request, and never to another site.
#[test]
fn every_request_for_the_name_is_redirected() {
    let mut front = front_of("a.test", 1);
    front.keyring.set_https_only(&domain("a.test"), true);
    let port = front.front.address.port();
    for (request, location) in [
        (
            "GET //evil.com/%2e%2e/?q=%3f&& HTTP/1.1\r\nHost: a.test",
            "https://a.test//evil.com/%2e%2e/?q=%3f&&".to_owned(),
        ),
        ("GET /x HTTP/1.1\r\nHost: A.TEST.:8080", format!("https://a.test:{port}/x")),
        ("GET http://a.test/x HTTP/1.1\r\nHost: evil.com:8080", "https://a.test/x".into()),
        ("GET http://a.test:8080?x HTTP/1.1\r\nHost: evil.com", format!("https://a.test:{port}/?x")),
        ("OPTIONS * HTTP/1.1\r\nHost: a.test", "https://a.test/".into()),
        ("OPTIONS / HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0", "https://a.test/".into()),
        ("DELETE /x HTTP/1.1\r\nHost: a.test", "https://a.test/x".into()),
        ("PROPFIND /x HTTP/1.1\r\nHost: a.test", "https://a.test/x".into()),
        ("GET /x HTTP/1.0\r\nHost: a.test", "https://a.test/x".into()),
        (
            "GET /socket HTTP/1.1\r\nHost: a.test\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "https://a.test/socket".into(),
        ),
    ] {
        let mut client = Client::connect(front.plain);
        client.send(format!("{request}\r\n\r\n").as_bytes());
        let answer = Answer::parse(&client.read_until(b"\r\n\r\n"));
        assert_eq!((answer.status, answer.field("location")), (308, Some(location.as_str())), "{request}");
    }
    let answer = front.ask_in_clear("HEAD /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    assert_eq!((answer.status, answer.body.len()), (308, 0));
    assert_ne!(answer.field("content-length"), Some("0"), "B161: the same fields");
    assert_eq!(
        front.ask_in_clear("GET / HTTP/1.1\r\nHost: www.a.test\r\nConnection: close\r\n\r\n").status,
        404,
        "B12"
    );
    assert_eq!(front.ask_in_clear("GET / HTTP/1.0\r\n\r\n").status, 404, "B64");
    assert_eq!(front.ask_in_clear("GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n").status, 400, "B64");
}

/// B98, B166: nobody asks for the body, nobody waits for it, and it does not destroy the answer.
#[test]
fn the_body_of_a_redirected_request_is_not_read() {
    let recorder = Recorder::start();
    let mut front = front_of("a.test", recorder.port);
    front.keyring.set_https_only(&domain("a.test"), true);
    let mut client = Client::connect(front.plain);
    client.send(b"POST /up HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    let answer = client.read_answer();
    assert_eq!((answer.status, answer.field("connection")), (308, Some("close")), "no 100 before it");
    let mut client = Client::connect(front.plain);
    client.send(b"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 500000\r\n\r\n");
    client.send(&[b'x'; 500_000]);
    client.finish();
    let (bytes, end) = client.read_result();
    end.unwrap();
    let answer = Answer::parse(&bytes);
    assert_eq!((answer.status, answer.field("location")), (308, Some("https://a.test/up")));
    assert!(recorder.links().is_empty());
}

/// B167: before the redirect, without a rule, without a backend, on a connection that is kept.
#[test]
fn a_challenge_is_answered_before_all_else() {
    let mut front = SecureFront::start();
    let name = domain("a.test");
    assert_eq!(front.ask_in_clear(&challenge(TOKEN)).status, 404, "none is under way, and there is no rule");
    front.keyring.begin_http_challenge(&name, TOKEN, AUTHORIZATION);
    let is_answered = |front: &SecureFront| {
        let answer = front.ask_in_clear(&challenge(TOKEN));
        assert_eq!((answer.status, answer.text().as_str()), (200, AUTHORIZATION));
        assert_eq!(answer.field("content-type"), Some("application/octet-stream"), "RFC 8555, 8.3");
        assert_eq!((answer.field("cache-control"), answer.field("server")), (Some("no-store"), Some("hotcore")));
    };
    is_answered(&front);
    // Nothing listens: nothing is waited for either.
    front.front.map("a.test", 1);
    is_answered(&front);
    front.keyring.set_https_only(&name, true);
    is_answered(&front);
    let own = front.plain.port();
    front.front.map("a.test", own);
    is_answered(&front);
    let head = front.ask_in_clear(&challenge(TOKEN).replace("GET", "HEAD"));
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.field("content-length").map(str::parse), Some(Ok(AUTHORIZATION.len())));
    let mut client = Client::connect(front.plain);
    for host in ["a.test", "A.Test:80", "a.test."] {
        client.send(challenge(TOKEN).replace("a.test", host).replace("Connection: close\r\n", "").as_bytes());
        assert_eq!(client.read_answer().text(), AUTHORIZATION, "{host}");
    }
    front.keyring.end_challenge(&name);
    front.front.unmap("a.test");
    assert_eq!(front.ask_in_clear(&challenge(TOKEN)).status, 404, "it is over");
}

/// B167: an app's own client of a certificate authority goes on working.
#[test]
fn other_tokens_are_ordinary_requests() {
    let recorder = Recorder::start();
    let mut front = front_of("a.test", recorder.port);
    front.front.map("b.test", recorder.port);
    front.keyring.begin_http_challenge(&domain("a.test"), TOKEN, AUTHORIZATION);
    let others = [
        challenge("another"),
        challenge(TOKEN).replace("a.test", "b.test"),
        challenge(TOKEN).replace("GET", "DELETE"),
        challenge(&format!("{TOKEN}/")),
        challenge(&TOKEN.to_lowercase()),
        challenge(""),
        get(&format!("/x/../.well-known/acme-challenge/{TOKEN}")),
        get(&format!("/?/.well-known/acme-challenge/{TOKEN}")),
    ];
    for (number, request) in others.iter().enumerate() {
        let answer = front.ask_in_clear(request);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{request}");
        assert_eq!(recorder.requests().len(), number + 1, "{request}");
    }
    front.keyring.set_https_only(&domain("a.test"), true);
    let answer = front.ask_in_clear(&challenge("another"));
    assert_eq!(answer.field("location"), Some("https://a.test/.well-known/acme-challenge/another"));
}

/// B167: an authority that was sent to HTTPS finds the same answer there; on another name's connection it finds nothing.
#[test]
fn a_challenge_is_answered_behind_tls_as_well() {
    let backend = Backend::fixed("hello");
    let mut front = SecureFront::start();
    front.serve("a.test", backend.port);
    front.serve("b.test", backend.port);
    front.keyring.begin_http_challenge(&domain("a.test"), TOKEN, AUTHORIZATION);
    let mut client = front.connect("a.test");
    client.send(challenge(TOKEN).replace("Connection: close\r\n", "").as_bytes());
    assert_eq!(client.read_answer().text(), AUTHORIZATION);
    let mut client = front.connect("b.test");
    client.send(challenge(TOKEN).as_bytes());
    assert_eq!(client.read_answer().status, 421, "B67");
    let mut client = front.connect("b.test");
    client.send(challenge(TOKEN).replace("a.test", "b.test").as_bytes());
    assert_eq!(client.read_answer().text(), "hello");
}

/// B163: who issues certificates hears of names that are wanted; of those that have one it hears nothing.
#[test]
fn a_plain_request_without_a_certificate_says_that_one_is_wanted() {
    let backend = Backend::fixed("hello");
    let mut front = SecureFront::start();
    for name in ["a.test", "b.test", "c.test", "d.test"] {
        front.front.map(name, backend.port);
    }
    front.certify("b.test");
    front.certify("c.test");
    front.keyring.set_https_only(&domain("c.test"), true);
    for _ in 0..20 {
        for name in ["unmapped.test", "b.test", "c.test", "a.test"] {
            front.ask_in_clear(&get("/").replace("a.test", name));
        }
    }
    front.ask_in_clear(&get("/").replace("a.test", "d.test"));
    let mut heard = Vec::new();
    while heard.last() != Some(&domain("d.test")) {
        heard.push(next(&mut front.keyring));
    }
    heard.pop();
    assert!(heard.iter().all(|name| *name == domain("a.test")), "{heard:?}");
    assert!((1..20).contains(&heard.len()), "not at each request: {}", heard.len());
}

fn next(keyring: &mut Keyring) -> Domain {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let asked = runtime.block_on(async { tokio::time::timeout(crate::front::PATIENCE, keyring.asked()).await });
    asked.expect("a name that is wanted")
}

/// B164: held, and in a tunnel: what began before the first certificate ends in its own time.
#[test]
fn what_began_before_the_first_certificate_goes_on() {
    let backend = Backend::start(|mut peer, _| {
        let head = peer.read_head().unwrap();
        assert!(head.contains("Upgrade") || head.contains("upgrade"), "{head}");
        peer.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        let bytes = peer.read_exact(5);
        peer.send(&bytes);
    });
    let late = Reserved::new();
    let mut front = front_of("a.test", backend.port);
    front.front.map("late.test", late.port);
    let mut held = Client::connect(front.plain);
    held.send(b"GET / HTTP/1.1\r\nHost: late.test\r\n\r\n");
    let mut client = Client::connect(front.plain);
    client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    assert!(client.read_head().starts_with("HTTP/1.1 101 "));
    eventually("the other is there", || front.front.workers.counts().requests == 2);
    for name in ["a.test", "late.test"] {
        front.certify(name);
        front.keyring.set_https_only(&domain(name), true);
    }
    let _late = late.open(answering("hello"));
    assert_eq!(held.read_answer().text(), "hello");
    client.send(b"hello");
    client.read_until(b"hello");
    drop(client);
    eventually("its tunnel ends", || front.front.workers.counts().tunnels == 0);
}

/// B164 across workers: none of them answers by an older state than the one that was told.
#[test]
fn every_worker_redirects_from_the_first_certificate_on() {
    let backend = Backend::fixed("hello");
    let tickets = crate::secure::fresh_tickets();
    let mut front = SecureFront::start_with(|config| config.count = 3, |_| {}, tickets);
    front.front.map("a.test", backend.port);
    let mut clients: Vec<_> = (0..12).map(|_| Client::connect(front.plain)).collect();
    let request = Arc::new(get("/").replace("Connection: close\r\n", ""));
    for client in &mut clients {
        client.send(request.as_bytes());
        assert_eq!(client.read_answer().status, 200);
    }
    front.keyring.set_https_only(&domain("a.test"), true);
    for client in &mut clients {
        client.send(request.as_bytes());
        assert_eq!(client.read_answer().status, 308);
    }
}
