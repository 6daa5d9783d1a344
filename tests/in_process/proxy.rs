//! The request's way, from client to backend and back.

use crate::front::{Answer, Backend, Front};

#[test]
fn a_request_reaches_the_backend_of_its_name_and_the_answer_comes_back() {
    let a = Backend::fixed("this is a");
    let b = Backend::fixed("this is b");
    let mut front = Front::start();
    front.map("a.test", a.port);
    front.map("b.test", b.port);
    assert_eq!(front.get("a.test").text(), "this is a");
    assert_eq!(front.get("B.TEST:8080").text(), "this is b");
    let unknown = front.get("c.test");
    assert_eq!(unknown.status, 404, "B10");
    assert!(unknown.text().contains("c.test"));
    assert!(!unknown.text().contains("a.test"));
}

#[test]
fn many_requests_use_one_connection_on_both_sides() {
    let backend = Backend::fixed("hello");
    let mut front = Front::start();
    front.map("a.test", backend.port);
    let mut client = front.connect();
    for _ in 0..100 {
        client.send(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n");
        let answer = client.read_answer();
        assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    }
    assert_eq!(backend.accepted(), 1);
    assert_eq!(front.workers.counts().requests, 100);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            peer.answer(&path);
        }
    });
    let mut front = Front::start();
    front.map("a.test", backend.port);
    let mut client = front.connect();
    let requests: String = (0..20).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a.test\r\n\r\n")).collect();
    client.send(requests.as_bytes());
    for n in 0..20 {
        assert_eq!(client.read_answer().text(), format!("/{n}"), "B53");
    }
}

#[test]
fn a_refused_head_is_answered_with_a_page_and_the_connection_ends() {
    let front = Front::start();
    let bytes = front.exchange(
        b"GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    );
    let answer = Answer::parse(&bytes);
    assert_eq!(answer.status, 400, "B42");
    assert_eq!(answer.field("connection"), Some("close"));
    assert_eq!(answer.field("server"), Some("hotcore"), "B160");
}

#[test]
fn an_upload_arrives_whole_and_in_order() {
    let backend = Backend::start(|mut peer, _| {
        let head = peer.read_head().unwrap().to_lowercase();
        assert!(head.contains("content-length: 1000000\r\n"), "{head}");
        let body = peer.read_exact(1_000_000);
        peer.answer(&format!("{}", body.iter().map(|byte| u64::from(*byte)).sum::<u64>()));
    });
    let mut front = Front::start();
    front.map("a.test", backend.port);
    let body: Vec<u8> = (0..1_000_000u32).map(|n| n.to_le_bytes()[0]).collect();
    let mut client = front.connect();
    client.send(b"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n");
    client.send(&body);
    let sum: u64 = body.iter().map(|byte| u64::from(*byte)).sum();
    assert_eq!(client.read_answer().text(), sum.to_string());
}
