//! A request and its answer: the header rules, framing, trailers (B49–B52, B56, B69–B73, B84, B94, B96, B99, B104, B118).

use bytes::Bytes;
use h2::client;
use http::{HeaderMap, HeaderValue, Request, header::COOKIE};

use super::rig::{Answer, Client, front_of, front_with, get, request, run, send_all};
use crate::{front::Backend, recorder::Recorder};

#[test]
fn it_is_preferred_and_http_11_stays() {
    let backend = Backend::fixed("hello");
    let front = front_of(&backend);
    let mut config = front.client_config();
    config.alpn_protocols = vec![b"http/1.1".to_vec(), b"h2".to_vec()];
    let client = front.try_connect("a.test", &std::sync::Arc::new(config)).unwrap();
    assert_eq!(client.stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(front.get("a.test").text(), "hello");
    run(async {
        let mut client = Client::connect(&front).await;
        for _ in 0..3 {
            let answer = client.get("/").await;
            assert_eq!((answer.status, answer.text()), (200, "hello"));
            assert!(answer.field("date").is_some() && answer.field("connection").is_none());
        }
    });
    assert_eq!(backend.accepted(), 1, "kept connections are used, whichever door asks");
}

/// B11, B69, B71, B79–B84, B253: HTTP/1.1 in origin form, whatever came in.
#[test]
fn the_backend_sees_an_ordinary_request() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port, |_| {});
    run(async {
        let mut client = Client::connect(&front).await;
        let mut asked = Request::builder().method("GET").uri("https://A.Test:8443/x/../y//z?a=%2F;b").body(()).unwrap();
        let headers = asked.headers_mut();
        for crumb in ["a=1", "b=2", "c=3; d=4"] {
            headers.append(COOKIE, HeaderValue::from_static(crumb));
        }
        for (name, value) in [
            ("te", "trailers"),
            ("x-forwarded-for", "192.0.2.1"),
            ("x_real_ip", "192.0.2.1"),
            ("forwarded", "for=192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("proxy", "x"),
            ("accept", "text/html"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(Answer::read(client.ask(asked).await.unwrap()).await.unwrap().text(), "ok");
    });
    let request = recorder.only();
    assert_eq!(request.line(), "GET /x/../y//z?a=%2F;b HTTP/1.1", "B57");
    assert_eq!(
        request.sorted(),
        [
            "accept: text/html",
            "connection: TE",
            "cookie: a=1; b=2; c=3; d=4",
            "host: A.Test:8443",
            "te: trailers",
            "via: 2 hotcore-",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: A.Test:8443",
            "x-forwarded-proto: https",
            "x-real-ip: 127.0.0.1",
        ]
    );
}

/// B49, B50, B252: what is known of the length, and for each method.
#[test]
fn bodies_are_framed_for_http_11() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port, |_| {});
    run(async {
        let mut client = Client::connect(&front).await;
        for method in ["GET", "HEAD", "DELETE", "POST"] {
            let (answer, mut body) = client.begin(request(method, "/unknown")).await;
            body.send_data(Bytes::from_static(b"hel"), false).unwrap();
            body.send_data(Bytes::from_static(b"lo"), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
            let mut known = request(method, "/known");
            known.headers_mut().insert("content-length", HeaderValue::from_static("5"));
            let (answer, mut body) = client.begin(known).await;
            body.send_data(Bytes::from_static(b"hello"), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
            assert_eq!(client.ask(request(method, "/none")).await.unwrap().status(), 200);
            // The end comes by itself, after a head that promised something.
            let (answer, mut body) = client.begin(request(method, "/empty")).await;
            body.send_data(Bytes::new(), true).unwrap();
            assert_eq!(answer.await.unwrap().status(), 200);
        }
    });
    for request in recorder.requests() {
        let framing = (request.field("content-length"), request.field("transfer-encoding"));
        let body = String::from_utf8(request.body.clone()).unwrap();
        let line = request.line();
        match line.split(' ').nth(1).unwrap() {
            "/unknown" => {
                assert_eq!(framing, (None, Some("chunked")), "{line}");
                assert!(["5\r\nhello\r\n0\r\n\r\n", "3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"].contains(&&*body), "{body}");
            }
            "/known" => assert_eq!((framing, &*body), ((Some("5"), None), "hello"), "{line}"),
            "/none" => {
                let length = line.starts_with("POST").then_some("0");
                assert_eq!((framing, &*body), ((length, None), ""), "{line}");
            }
            _ => assert_eq!((framing, &*body), ((None, Some("chunked")), "0\r\n\r\n"), "{line}"),
        }
    }
    assert_eq!(recorder.requests().len(), 16);
}

/// B99, B104, B161: what has no body has none, and the head keeps what it says.
#[test]
fn answers_without_a_body() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            let answer: &[u8] = match head.split(' ').nth(1).unwrap() {
                "/head" => b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n",
                "/204" => b"HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"x\"\r\n\r\n",
                "/chunked" => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                _ => b"HTTP/1.1 299 Whatever\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\n\r\n",
            };
            peer.send(answer);
        }
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        for (method, path, status, length) in [
            ("HEAD", "/head", 200, Some("12345")),
            ("GET", "/204", 204, None),
            ("GET", "/304", 304, Some("7")),
            ("GET", "/chunked", 200, None),
            ("GET", "/other", 299, Some("0")),
        ] {
            let response = client.ask(request(method, path)).await.unwrap();
            let is_over = response.body().is_end_stream();
            let answer = Answer::read(response).await.unwrap();
            assert_eq!((answer.status, answer.field("content-length"), answer.text()), (status, length, ""), "{path}");
            assert!(is_over || path == "/chunked", "{path}: END_STREAM is on the head");
            assert!(answer.field("keep-alive").is_none(), "B105");
        }
        // A page of our own (B67), whose client cannot take a body.
        let mut other = request("HEAD", "/");
        *other.uri_mut() = "https://b.test/".parse().unwrap();
        let answer = Answer::read(client.ask(other).await.unwrap()).await.unwrap();
        assert_eq!((answer.status, answer.text()), (421, ""));
        assert_ne!(answer.field("content-length"), Some("0"));
    });
}

/// B72, B73: a backend's trailers reach a client that did not ask for them, without what a head alone may say.
#[test]
fn trailers_of_an_answer_pass() {
    let backend = Backend::start(|mut peer, _| {
        while peer.read_head().is_some() {
            peer.send(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: grpc-status\r\n\r\n5\r\nhello\r\n0\r\n\
                  grpc-status: 0\r\ngrpc-message: fine\r\nset-cookie: a=1\r\n\r\n",
            );
        }
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        for te in [None, Some("trailers")] {
            let mut asked = get("/");
            if let Some(te) = te {
                asked.headers_mut().insert("te", HeaderValue::from_static(te));
            }
            let answer = Answer::read(client.ask(asked).await.unwrap()).await.unwrap();
            assert_eq!((answer.text(), answer.field("trailer")), ("hello", Some("grpc-status")));
            let trailers = answer.trailers.as_ref().expect("trailers");
            assert_eq!(trailers.get("grpc-status").unwrap(), "0");
            assert_eq!(trailers.get("grpc-message").unwrap(), "fine");
            assert!(!trailers.contains_key("set-cookie") && answer.field("grpc-status").is_none());
        }
    });
}

/// B72: those announced, since HTTP/1.1 carries no others.
#[test]
fn trailers_of_a_request_pass() {
    let recorder = Recorder::start();
    let front = front_with(recorder.port, |_| {});
    run(async {
        let mut client = Client::connect(&front).await;
        let mut asked = request("POST", "/");
        asked.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
        let (answer, mut body) = client.begin(asked).await;
        body.send_data(Bytes::from_static(b"hello"), false).unwrap();
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("5"));
        trailers.insert("x-other", HeaderValue::from_static("6"));
        trailers.insert("authorization", HeaderValue::from_static("x"));
        body.send_trailers(trailers).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    });
    let request = recorder.only();
    assert_eq!(String::from_utf8(request.body.clone()).unwrap(), "5\r\nhello\r\n0\r\nx-sum: 5\r\n\r\n");
    assert_eq!(request.field("trailer"), Some("x-sum"));
}

/// B51, B47: the stream is reset, and the backend never sees a complete request.
#[test]
fn a_body_that_is_not_as_long_as_it_says_resets_its_stream() {
    let recorder = Recorder::silent();
    let front = front_with(recorder.port, |_| {});
    run(async {
        let mut client = Client::connect(&front).await;
        for body in [&b"hell"[..], b"hello!"] {
            let mut asked = request("POST", "/");
            asked.headers_mut().insert("content-length", HeaderValue::from_static("5"));
            let (answer, mut stream) = client.begin(asked).await;
            stream.send_data(Bytes::copy_from_slice(body), true).unwrap();
            let error = answer.await.unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR), "{body:?}");
        }
        let mut empty = request("POST", "/");
        empty.headers_mut().insert("content-length", HeaderValue::from_static("5"));
        assert_eq!(client.ask(empty).await.unwrap_err().reason(), Some(h2::Reason::PROTOCOL_ERROR));
    });
    assert!(recorder.requests().is_empty(), "{:?}", recorder.requests());
    recorder.wait_for_end();
}

/// B56, B94: the expectation goes no further, and interim answers of a backend are read and dropped.
#[test]
fn expectations_and_interim_answers() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            assert!(!head.to_lowercase().contains("expect"), "{head}");
            peer.read_exact(5);
            peer.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
            peer.answer("done");
        }
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        let mut asked = request("PUT", "/");
        asked.headers_mut().insert("expect", HeaderValue::from_static("100-continue"));
        asked.headers_mut().insert("content-length", HeaderValue::from_static("5"));
        let (answer, mut body) = client.begin(asked).await;
        body.send_data(Bytes::from_static(b"hello"), true).unwrap();
        assert_eq!(Answer::read(answer.await.unwrap()).await.unwrap().text(), "done");
    });
}

/// B96: the answer is there at once, and when it ends first, the stream ends without an error.
#[test]
fn an_answer_before_the_end_of_the_upload() {
    let backend = Backend::start(|mut peer, _| {
        peer.read_head();
        peer.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno!");
        while !peer.ends() {}
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        let (answer, mut body) = client.begin(request("POST", "/")).await;
        body.send_data(Bytes::from_static(b"some of it"), false).unwrap();
        let answer = Answer::read(answer.await.unwrap()).await.unwrap();
        assert_eq!((answer.status, answer.text(), answer.field("connection")), (413, "no!", None));
        let reason = std::future::poll_fn(|cx| body.poll_reset(cx)).await.unwrap();
        assert_eq!(reason, h2::Reason::NO_ERROR);
        assert!(client.ready().await.is_ok(), "the connection lives");
    });
    crate::front::eventually("the backend's side ends", || backend.open() == 0);
}

/// B118: never advertised; and who asks for another protocol anyway gets none.
#[test]
fn no_other_protocol_is_offered() {
    let backend = Backend::fixed("hello");
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        client.get("/").await;
        assert!(!client.send.is_extended_connect_protocol_enabled());
    });
    let mut raw = super::rig::Raw::silent(&front);
    raw.client.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), super::rig::frame(4, 0, 0, &[])].concat());
    let settings = raw.read().unwrap();
    let list: Vec<(u16, u32)> = settings
        .payload
        .chunks(6)
        .map(|entry| (u16::from_be_bytes([entry[0], entry[1]]), super::rig::number(&entry[2..])))
        .collect();
    // B119: streams, window, frame, header list; nothing else.
    assert_eq!(list, [(3, 100), (4, 512 * 1024), (5, 16 * 1024), (6, 64 * 1024)]);
    // B119: the rest of the connection's window.
    let update = raw.read_until(super::rig::WINDOW_UPDATE);
    assert_eq!((update.stream, super::rig::number(&update.payload)), (0, 1024 * 1024 - 65_535));
}

/// B53 has no meaning here: a hundred at a time, answered in the order in which their backends are ready.
#[test]
fn a_hundred_streams_at_a_time() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            let path = head.split(' ').nth(1).unwrap().to_owned();
            let number: u64 = path[1..].parse().unwrap();
            std::thread::sleep(std::time::Duration::from_millis((100 - number) * 3));
            peer.answer(&path);
        }
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect_with(&front, "a.test", &client::Builder::new()).await;
        let mut answers = tokio::task::JoinSet::new();
        for number in 0..100 {
            client.ready().await.unwrap();
            let (response, _) = client.send.send_request(get(&format!("/{number}")), true).unwrap();
            answers.spawn_local(async move {
                let answer = Answer::read(response.await.unwrap()).await.unwrap();
                assert_eq!(answer.text(), format!("/{number}"));
                number
            });
        }
        let mut order = Vec::new();
        while let Some(number) = answers.join_next().await {
            order.push(number.unwrap());
        }
        assert_eq!(order.len(), 100);
        assert!(!order.is_sorted(), "none waits for those before it");
    });
    assert!(backend.accepted() <= 100);
}

/// Uploads and downloads of several streams side by side, byte for byte.
#[test]
fn streams_do_not_mix() {
    let backend = Backend::start(|mut peer, _| {
        while let Some(head) = peer.read_head() {
            let length: usize =
                head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
            let body = peer.read_exact(length);
            peer.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").as_bytes());
            peer.send(&body);
        }
    });
    let front = front_of(&backend);
    run(async {
        let mut client = Client::connect(&front).await;
        let mut answers = tokio::task::JoinSet::new();
        for number in 0..20_u8 {
            let bytes = vec![number; 10_000 * usize::from(number) + 1];
            let mut asked = request("POST", "/");
            asked.headers_mut().insert("content-length", HeaderValue::from(bytes.len()));
            let (response, mut body) = client.begin(asked).await;
            answers.spawn_local(async move {
                send_all(&mut body, &bytes).await.unwrap();
                assert!(Answer::read(response.await.unwrap()).await.unwrap().body == bytes, "{number}");
            });
        }
        while let Some(done) = answers.join_next().await {
            done.unwrap();
        }
    });
}
