//! The strict reader beside the lenient one behind it: whatever passes here, that one reads the same way (P33).

use std::str;

use http::{HeaderName, HeaderValue, Method, Uri};

use super::super::*;
use crate::testing::seed;

/// What is accepted, httparse and the `http` crate take as well, with the same end and the same fields (P33, B258).
fn compare_with_the_parser_behind(head: &[u8]) {
    let Ok(ours) = check(head) else { return };
    let shown = head.escape_ascii();
    let mut fields = vec![httparse::EMPTY_HEADER; REQUEST_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    assert_eq!(request.parse(head), Ok(httparse::Status::Complete(head.len())), "{shown}");
    assert_eq!(find_end(head, 0), Some(head.len()), "{shown}");
    let version = if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    assert_eq!(ours.version, version, "{shown}");
    Method::from_bytes(request.method.unwrap().as_bytes()).unwrap();
    let target = request.path.unwrap();
    let uri = Uri::try_from(target).unwrap_or_else(|error| panic!("{error}: {shown}"));
    if target.starts_with('/') {
        let sent = target.split('#').next().unwrap();
        assert_eq!(uri.path_and_query().unwrap().as_str(), sent, "B57: {shown}");
    }
    let named = |name: &str| {
        request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value).collect()
    };
    for field in request.headers.iter() {
        HeaderName::from_bytes(field.name.as_bytes()).unwrap();
        HeaderValue::from_bytes(field.value).unwrap();
    }
    let (lengths, encodings): (Vec<&[u8]>, Vec<&[u8]>) = (named("content-length"), named("transfer-encoding"));
    match ours.framing {
        Framing::None => assert!(lengths.is_empty() && encodings.is_empty(), "{shown}"),
        Framing::Length(length) => {
            assert_eq!((lengths.len(), encodings.len()), (1, 0), "{shown}");
            assert_eq!(str::from_utf8(lengths[0]).unwrap().trim().parse(), Ok(length), "{shown}");
        }
        Framing::Chunked => {
            assert_eq!((lengths.len(), encodings.len()), (0, 1), "{shown}");
            assert!(encodings[0].trim_ascii().eq_ignore_ascii_case(b"chunked"), "{shown}");
        }
    }
    let hosts: Vec<&[u8]> = named("host");
    assert!(hosts.len() == 1 || (hosts.is_empty() && version == Version::HTTP_10), "{shown}");
    // No prefix of an accepted head is refused, and none of them has an end.
    for end in 0..head.len() {
        assert_eq!(check_partial(&head[..end], end.saturating_sub(1)), Ok(()), "{shown} up to {end}");
        assert_eq!(check_partial(&head[..end], 0), Ok(()), "{shown} up to {end}");
        assert_eq!(find_end(&head[..end], 0), None, "{shown} up to {end}");
    }
}

const METHODS: &[&str] = &["GET", "POST", "HEAD", "OPTIONS", "x", "G T", "", "CONNECT", "PRI", "G\u{e9}"];
const TARGETS: &[&str] = &[
    "/",
    "/a?b=c",
    "*",
    "http://a.com",
    "https://a.com:80/x?y#z",
    "http://a.com?q",
    "http://[::1]/",
    "/\u{e9}",
    "/a#b c",
    "//b",
    "?x",
    "a:b",
    "/\"{}|\\^",
    "/?`",
    "http:///",
    "http://a.com:/",
];
const VERSIONS: &[&str] = &["HTTP/1.1", "HTTP/1.0", "HTTP/1.1", "HTTP/2.0", "HTTP/1.1 ", "http/1.1", ""];
const FIELDS: &[&str] = &[
    "Host: a.com",
    "Host: a.com",
    "host:b.com:80",
    "Content-Length: 5",
    "content-length: 0",
    "Content-Length: 5, 5",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip, chunked",
    "Connection: close",
    "Connection: Upgrade, x",
    "Upgrade: websocket",
    "Expect: 100-continue",
    "Accept: text/html;q=0.9\t",
    "x_y: \u{e9}",
    "x:",
    "x : y",
    " folded",
    "no colon",
    "x: a\u{0}",
    "",
];
const ENDS: &[&str] = &["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "\r\r\n"];

fn assemble(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut head = String::new();
    let mut pick = |choices: &[&'static str]| choices[random.usize(0..choices.len())];
    head += pick(&["", "", "", "\r\n", "\n", "\r\n\r\n"]);
    head += &format!("{} {} {}{}", pick(METHODS), pick(TARGETS), pick(VERSIONS), pick(ENDS));
    head += pick(&["Host: a.com\r\n", "Host: a.com\r\n", ""]);
    for _ in 0..pick(&["", "x", "xx", "xxx", "xxxx"]).len() {
        head += pick(FIELDS);
        head += pick(ENDS);
    }
    head += pick(ENDS);
    head.into_bytes()
}

#[test]
fn whatever_is_accepted_the_parser_behind_reads_the_same_way() {
    let mut random = fastrand::Rng::with_seed(seed());
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let mut head = assemble(&mut random);
        if random.u8(..) < 64 {
            let at = random.usize(0..head.len());
            head[at] = random.u8(..);
        }
        *if check(&head).is_ok() { &mut accepted } else { &mut refused } += 1;
        compare_with_the_parser_behind(&head);
    }
    assert!(accepted > 1_000 && refused > 1_000, "one-sided: {accepted} accepted, {refused} refused");
}

/// B258: the bytes that pass in path, query and fragment are those that the `http` crate takes.
#[test]
fn every_byte_of_a_target_is_judged_as_the_parser_behind_does() {
    for prefix in [&b"/"[..], b"/a", b"/?", b"/a?b", b"http://a.com/", b"http://a.com/?"] {
        for byte in 0x21..=0xff_u8 {
            // A character of two bytes, so that bytes from 0x80 can be part of valid UTF-8.
            for after in [&b""[..], b"\x80"] {
                let target = [prefix, &[byte], after].concat();
                let head = [b"GET ", &target[..], b" HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
                let is_theirs = Uri::try_from(&target[..]).is_ok() && byte != 0x7f;
                let shown = target.escape_ascii();
                // The `http` crate cuts the fragment off unseen; ours must be UTF-8 as well.
                if byte != b'#' || after.is_empty() {
                    assert_eq!(check(&head).is_ok(), is_theirs, "{shown}");
                }
                compare_with_the_parser_behind(&head);
            }
        }
    }
    // Blanks and controls pass nowhere, fragments included.
    for byte in (0..=0x20_u8).chain([0x7f]) {
        for prefix in ["/", "/?", "/#"] {
            let head = [b"GET ", prefix.as_bytes(), &[byte], b"x HTTP/1.1\r\nHost: a\r\n\r\n"].concat();
            assert!(check(&head).is_err(), "{byte:#x} after {prefix}");
        }
    }
}

/// P5, P6: every byte in a name and in a value, at every place of a word of eight.
#[test]
fn every_byte_of_a_field_is_judged_as_the_parser_behind_does() {
    for byte in 0..=0xff_u8 {
        let is_token = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let head = [b"GET / HTTP/1.1\r\nHost: a\r\nx", &[byte][..], b"y: z\r\n\r\n"].concat();
        assert_eq!(check(&head).is_ok(), is_token || byte == b':', "{byte:#x} in a name");
        compare_with_the_parser_behind(&head);
        for before in 0..18 {
            let value = [&b"aaaaaaaaaaaaaaaaaa"[..before], &[byte], b"b"].concat();
            let head = [b"GET / HTTP/1.1\r\nHost: a\r\nx:", &value[..], b"\r\n\r\n"].concat();
            assert_eq!(check(&head).is_ok(), byte == b'\t' || (byte >= b' ' && byte != 0x7f), "{byte:#x} at {before}");
            compare_with_the_parser_behind(&head);
        }
    }
}

#[test]
fn random_bytes_never_panic_and_a_refusal_of_a_part_is_final() {
    let mut random = fastrand::Rng::with_seed(seed());
    let alphabet = b"GET / HTTP/1.1\r\n\r\nhost:a\t *?#@\x00\x16\xff,5";
    for _ in 0..200_000 {
        let bytes: Vec<u8> = (0..random.usize(0..60)).map(|_| alphabet[random.usize(0..alphabet.len())]).collect();
        let verdict = check(&bytes);
        let split = random.usize(0..=bytes.len());
        if check_partial(&bytes[..split], random.usize(0..=split)).is_err() {
            assert!(verdict.is_err(), "{}", bytes.escape_ascii());
        }
    }
}
