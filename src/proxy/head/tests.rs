//! Each refusal, each limit, and each fact that is told of a head.

mod differential;

use super::*;

fn status(head: &[u8]) -> u16 {
    check(head).expect_err("accepted").status().as_u16()
}

fn accepted(head: &str) -> Head {
    check(head.as_bytes()).unwrap_or_else(|refusal| panic!("{head:?}: {refusal}"))
}

/// A head with these lines after a valid request line and `Host`.
fn with(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a.com\r\n{lines}\r\n")
}

#[test]
fn a_head_that_breaks_a_rule_is_refused_for_that_rule() {
    let rows: &[(&str, Refusal)] = &[
        // P2, B45: lines end in CRLF and nothing else.
        ("GET / HTTP/1.1\nHost: a\n\n", Refusal::BareLf),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", Refusal::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", Refusal::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", Refusal::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\nx\n\r\n", Refusal::BareLf),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::BareLf),
        ("GET / HTTP/1.1\r\nHost: a\r\nx: a\rb\r\n\r\n", Refusal::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nx: a\r\r\n\r\n", Refusal::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\n\rx: b\r\n\r\n", Refusal::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nx\r: b\r\n\r\n", Refusal::BareCr),
        ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", Refusal::BareCr),
        ("GET /\ra HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::BareCr),
        ("GET\r/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::BareCr),
        ("GET / HTTP/1.1\r\nHost: a\r\nx: a\0b\r\n\r\n", Refusal::Control),
        ("GET / HTTP/1.1\r\nHost: a\r\nx: a\x7fb\r\n\r\n", Refusal::Control),
        ("GET / HTTP/1.1\r\nHost: a\r\nx: a\x1bb\r\n\r\n", Refusal::Control),
        ("GET / HTTP/1.1\r\nHost: a\r\nx\0: b\r\n\r\n", Refusal::Control),
        ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Control),
        ("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Control),
        ("GET / HTTP/1.1\0\r\nHost: a\r\n\r\n", Refusal::Control),
        // P3: one empty line before the request line, not two.
        ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::EmptyLines),
        ("\r\n\r\n", Refusal::EmptyLines),
        // P4: method SP target SP version.
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::RequestLine),
        ("GET\r\nHost: a\r\n\r\n", Refusal::RequestLine),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::RequestLine),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::RequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Refusal::RequestLine),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::RequestLine),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Method),
        ("GET /\tHTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Version),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", Refusal::RequestLine),
        ("GET / HTTP\r\nHost: a\r\n\r\n", Refusal::RequestLine),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Method),
        ("G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Method),
        ("GET: / HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Method),
        // B52, B62, P4: other versions.
        ("GET /\r\n\r\n", Refusal::Version),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", Refusal::Version),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", Refusal::Version),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", Refusal::Version),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", Refusal::Version),
        ("PRI * HTTP/2.0\r\n\r\n", Refusal::Version),
        // B60.
        ("CONNECT a.com:443 HTTP/1.1\r\nHost: a.com\r\n\r\n", Refusal::UnservedMethod),
        ("TRACE / HTTP/1.1\r\nHost: a.com\r\n\r\n", Refusal::UnservedMethod),
        // B63.
        ("\u{16}\u{3}\u{1}\r\n\r\n", Refusal::TlsOnPlainPort),
        // P8, B58, B59, B65, B258: targets.
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Asterisk),
        ("OPTIONS *x HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        ("GET a.com HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        ("GET a.com:80 HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        ("GET ?x HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        ("GET ://a HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        ("GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        ("GET ftp://a.com/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::TargetScheme),
        ("GET ws://a.com/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::TargetScheme),
        ("GET http://u@a.com/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Userinfo),
        ("GET http://u:p@a.com/ HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Userinfo),
        ("GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        ("GET /`a HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        ("GET /?\"a HTTP/1.1\r\nHost: a\r\n\r\n", Refusal::Target),
        // P5, B46: names and folding.
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", Refusal::FoldedLine),
        ("GET / HTTP/1.1\r\nHost: a\r\nx: b\r\n c\r\n\r\n", Refusal::FoldedLine),
        ("GET / HTTP/1.1\r\nHost: a\r\nx: b\r\n\tc\r\n\r\n", Refusal::FoldedLine),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", Refusal::BlankBeforeColon),
        ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length\t: 5\r\n\r\n", Refusal::BlankBeforeColon),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nx\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nx y: b\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\nx(y: b\r\n\r\n", Refusal::FieldName),
        ("GET / HTTP/1.1\r\nHost: a\r\n\u{e9}: b\r\n\r\n", Refusal::FieldName),
        // P7, B64: exactly one Host.
        ("GET / HTTP/1.1\r\n\r\n", Refusal::NoHost),
        ("GET http://a.com/ HTTP/1.1\r\n\r\n", Refusal::NoHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", Refusal::TwoHosts),
        ("GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n", Refusal::TwoHosts),
        ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Refusal::TwoHosts),
        // P9 to P12, B42 to B44: framing.
        ("GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::EncodingInHttp10),
    ];
    for (head, refusal) in rows {
        assert_eq!(check(head.as_bytes()), Err(*refusal), "{head:?}");
    }
}

/// B42, B43, B44, P9, P11, P12.
#[test]
fn framing_that_two_parsers_could_read_differently_is_refused() {
    let rows: &[(&str, Refusal)] = &[
        ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Refusal::LengthAndEncoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Refusal::LengthAndEncoding),
        ("Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", Refusal::LengthAndEncoding),
        ("Transfer-Encoding: \r\nContent-Length: 0\r\n", Refusal::LengthAndEncoding),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Refusal::TwoLengths),
        ("Content-Length: 5\r\nCONTENT-LENGTH: 6\r\n", Refusal::TwoLengths),
        ("Content-Length: 5, 5\r\n", Refusal::BadLength),
        ("Content-Length: +5\r\n", Refusal::BadLength),
        ("Content-Length: -5\r\n", Refusal::BadLength),
        ("Content-Length: 0x5\r\n", Refusal::BadLength),
        ("Content-Length: 5_0\r\n", Refusal::BadLength),
        ("Content-Length: 5 0\r\n", Refusal::BadLength),
        ("Content-Length: 5.0\r\n", Refusal::BadLength),
        ("Content-Length: 5;\r\n", Refusal::BadLength),
        ("Content-Length:\r\n", Refusal::BadLength),
        ("Content-Length:  \r\n", Refusal::BadLength),
        ("Content-Length: 9223372036854775808\r\n", Refusal::BadLength),
        ("Content-Length: 18446744073709551621\r\n", Refusal::BadLength),
        ("Content-Length: 100000000000000000000000000000000\r\n", Refusal::BadLength),
        ("Transfer-Encoding: chunked, chunked\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding: gzip, chunked\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding: chunked, gzip\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding: chunked,\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding: ,chunked\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding:\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding: chunked;q=1\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding: \"chunked\"\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding: chun\u{e9}ed\r\n", Refusal::BadEncoding),
        ("Transfer-Encoding: \u{b}chunked\r\n", Refusal::Control),
        ("Transfer-Encoding: gzip\r\n", Refusal::UnservedEncoding),
        ("Transfer-Encoding: identity\r\n", Refusal::UnservedEncoding),
        ("Transfer-Encoding: xchunked\r\n", Refusal::UnservedEncoding),
    ];
    for (lines, refusal) in rows {
        assert_eq!(check(with(lines).as_bytes()), Err(*refusal), "{lines:?}");
    }
    let framing = |lines: &str| accepted(&with(lines)).framing;
    assert_eq!(framing(""), Framing::None, "P10: no method implies a body");
    assert_eq!(framing("Content-Length: 0\r\n"), Framing::Length(0));
    assert_eq!(framing("Content-Length:\t 42 \r\n"), Framing::Length(42));
    assert_eq!(framing("content-length: 9223372036854775807\r\n"), Framing::Length(i64::MAX as u64));
    assert_eq!(framing("Transfer-Encoding: chunked\r\n"), Framing::Chunked);
    assert_eq!(framing("transfer-encoding:\tCHUNKED \r\n"), Framing::Chunked);
}

/// B9, B64, B65, P7. The syntax is `domain::Authority`'s, and tested there; here, that it is asked.
#[test]
fn a_host_of_invalid_syntax_is_refused() {
    for host in ["", " ", "user@a.com", "a.com/", "a b", "b\u{fc}cher.example", "a,b", "a.com:x"] {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let is_list = host == "a,b";
        assert_eq!(check(head.as_bytes()).is_err(), !is_list, "{host:?}: a comma is valid in a name, if useless");
        let head = format!("GET http://{}/ HTTP/1.1\r\nHost: a.com\r\n\r\n", host.replace(['/', ' '], "^"));
        assert_eq!(check(head.as_bytes()).is_err(), !is_list, "{host:?} in a target");
    }
    // An absolute target does not excuse a bad Host.
    assert_eq!(status(b"GET http://a.com/ HTTP/1.1\r\nHost: user@a.com\r\n\r\n"), 400);
}

#[test]
fn what_follows_from_a_head_is_told() {
    let head = accepted("GET / HTTP/1.1\r\nHost: A.com:8080\r\nAccept: */*\r\n\r\n");
    assert_eq!(head.version, Version::HTTP_11);
    assert_eq!(head.framing, Framing::None);
    assert!(head.persistent);
    let authority = head.authority.unwrap();
    assert_eq!(authority.domain.unwrap().as_str(), "a.com");
    assert_eq!(authority.port, Some(8080));

    // P8, B58: the absolute target's authority replaces Host; B11, B57.
    let head = accepted("GET HTTPS://b.com?x HTTP/1.1\r\nHost: a.com\r\n\r\n");
    assert_eq!(head.authority.unwrap().domain.unwrap().as_str(), "b.com");
    accepted("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    // P3: one empty line is skipped. P6: blanks are trimmed, bytes from 0x80 pass.
    accepted("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(check(b"GET / HTTP/1.1\r\nHost:\ta.com \r\nx: \xff\xfe\t\x80\r\ny:\r\n\r\n").is_ok());
    // B60: other methods pass.
    accepted("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n");
    accepted("connect / HTTP/1.1\r\nHost: a\r\n\r\n");
    accepted("M-SEARCH!#$%&'*+-.^_`|~ / HTTP/1.1\r\nHost: a\r\n\r\n");
}

/// Whatever a connection has said before, a head means what it says.
#[test]
fn a_remembered_host_changes_nothing() {
    let long = format!("{}.com", "a".repeat(300));
    let hosts =
        ["a.com", "a.com", "A.com", "b.com:80", "a.com", "", "a.com", &long, "a.com:80", "a.com:x", &long, "a.com:80"];
    let mut last = LastHost::default();
    for host in hosts {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(check_knowing(head.as_bytes(), &mut last), check(head.as_bytes()), "{host:?}");
    }
}

/// B52, RFC 9112, 9.3.
#[test]
fn a_connection_is_kept_as_version_and_options_say() {
    let rows = [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.1", "Connection: close\r\nConnection: keep-alive\r\n", false),
        ("1.1", "Connection: x,\t close ,y\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
        ("1.0", "Proxy-Connection: keep-alive\r\n", false),
    ];
    for (version, lines, persistent) in rows {
        let head = accepted(&format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(head.persistent, persistent, "{version} {lines:?}");
    }
    // B64: no Host is fine in HTTP/1.0, and leads nowhere.
    assert_eq!(accepted("GET / HTTP/1.0\r\n\r\n").authority, None);
}

/// B55, P1: each limit, at it and one past it.
#[test]
fn limits_hold_to_the_byte() {
    let with_target = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(length - 1));
    assert!(check(with_target(TARGET_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(check(with_target(TARGET_BYTES_MAX + 1).as_bytes()), Err(Refusal::TargetTooLong));
    assert_eq!(status(with_target(REQUEST_HEAD_BYTES_MAX * 2).as_bytes()), 414, "the more telling one");

    let of_size = |size: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nx: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", "a".repeat(size - frame))
    };
    assert!(check(of_size(REQUEST_HEAD_BYTES_MAX).as_bytes()).is_ok());
    assert_eq!(check(of_size(REQUEST_HEAD_BYTES_MAX + 1).as_bytes()), Err(Refusal::HeadTooLong));

    let of_fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
    assert!(check(of_fields(REQUEST_FIELDS_MAX).as_bytes()).is_ok());
    assert_eq!(check(of_fields(REQUEST_FIELDS_MAX + 1).as_bytes()), Err(Refusal::TooManyFields));
    assert_eq!(status(of_fields(REQUEST_FIELDS_MAX + 1).as_bytes()), 431);
}

#[test]
fn an_incomplete_head_is_refused_as_soon_as_nothing_can_save_it() {
    let rows: &[(&[u8], Refusal)] = &[
        (b"\x16", Refusal::TlsOnPlainPort),
        (b"\x16\x03\x01\x02", Refusal::TlsOnPlainPort),
        (b"\r\n\x16", Refusal::TlsOnPlainPort),
        (b"PRI * HTTP/2.0\r\n", Refusal::Version),
        (b"GET /\r\n", Refusal::Version),
        (b"\n", Refusal::BareLf),
        (b"\r\n\n", Refusal::BareLf),
        (b"\rG", Refusal::BareCr),
        (b"\r\n\r\n", Refusal::EmptyLines),
        (b" ", Refusal::RequestLine),
        (b"\x80", Refusal::Method),
        (b"\x00", Refusal::Control),
        (b"GET /\rx", Refusal::BareCr),
        (b"GET /\x01", Refusal::Control),
        (b"GET / HTTP/1.1\n", Refusal::BareLf),
        (b"GET / HTTP/1.1\r\r", Refusal::BareCr),
        (b"CONNECT a:1 HTTP/1.1\r\n", Refusal::UnservedMethod),
        (b"GET * HTTP/1.1\r\n", Refusal::Asterisk),
    ];
    for (bytes, refusal) in rows {
        assert_eq!(check_partial(bytes, 0), Err(*refusal), "{:?}", bytes.escape_ascii().to_string());
        // Byte by byte it comes to the same.
        let by_bytes = (1..=bytes.len()).find_map(|end| check_partial(&bytes[..end], end - 1).err());
        assert_eq!(by_bytes, Some(*refusal), "{:?}", bytes.escape_ascii().to_string());
    }
    let target = format!("GET {}", "/".repeat(TARGET_BYTES_MAX));
    assert_eq!(check_partial(target.as_bytes(), 0), Ok(()));
    assert_eq!(check_partial(format!("{target}/").as_bytes(), target.len()), Err(Refusal::TargetTooLong));
    let head = format!("GET / HTTP/1.1\r\nx: {}", "a".repeat(REQUEST_HEAD_BYTES_MAX));
    assert_eq!(check_partial(&head.as_bytes()[..REQUEST_HEAD_BYTES_MAX - 1], 0), Ok(()));
    assert_eq!(check_partial(&head.as_bytes()[..REQUEST_HEAD_BYTES_MAX], 0), Err(Refusal::HeadTooLong));
    let method = "A".repeat(REQUEST_HEAD_BYTES_MAX);
    assert_eq!(check_partial(method.as_bytes(), 0), Err(Refusal::HeadTooLong));
}

#[test]
fn the_end_of_a_head_is_found_however_it_is_split() {
    let rows: &[(&[u8], Option<usize>)] = &[
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some(27)),
        (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET", Some(29)),
        (b"GET / HTTP/1.1\nHost: a\n\nrest", Some(24)),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\nrest", Some(26)),
        (b"GET / HTTP/1.1\r\nHost: a\n\r\nrest", Some(26)),
        (b"\r\n\r\n", Some(4)),
        (b"\n\n", Some(2)),
        (b"\r\n", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r", None),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", None),
        (b"", None),
    ];
    for (bytes, end) in rows {
        assert_eq!(find_end(bytes, 0), *end, "{:?}", bytes.escape_ascii().to_string());
        for split in 0..=bytes.len() {
            let found = find_end(&bytes[..split], 0);
            match found {
                Some(found) => assert!(Some(found) == *end && found <= split),
                None => assert_eq!(find_end(bytes, split), *end, "split at {split}"),
            }
        }
        let by_bytes = (1..=bytes.len()).find_map(|length| find_end(&bytes[..length], length - 1));
        assert_eq!(by_bytes, *end);
    }
}
