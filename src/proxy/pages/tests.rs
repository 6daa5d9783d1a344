//! Each page in each form.

use serde_json::Value;

use super::*;

static HTML: HeaderValue = HeaderValue::from_static("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
static JSON: HeaderValue = HeaderValue::from_static("application/json");

fn domain() -> Domain {
    Domain::parse("a.com").unwrap()
}

fn backend() -> Backend {
    Backend { domain: domain(), port: Port::new(3000).unwrap() }
}

/// Every problem, with its status and whether its page shows domain and port.
fn problems() -> Vec<(Problem, u16, bool, bool)> {
    let name = || "a.com".to_owned();
    let mut problems = vec![
        (Problem::HeadTimeout, 408, false, false),
        (Problem::BodyTimeout, 408, false, false),
        (Problem::ClearText { site: Some(Site { domain: domain(), port: 8443 }) }, 400, true, false),
        (Problem::ClearText { site: None }, 400, false, false),
        (Problem::UnknownName { name: name(), domain: Some(domain()) }, 404, true, false),
        (Problem::UnknownName { name: name(), domain: None }, 404, true, false),
        (Problem::NoName, 404, false, false),
        (Problem::Misdirected { name: name() }, 421, true, false),
        (Problem::NothingListens(backend()), 502, true, true),
        (Problem::NotAccepting(backend()), 502, true, true),
        (Problem::ClosedAtOnce(backend()), 502, true, true),
        (Problem::Interrupted(backend()), 502, true, true),
        (Problem::BadResponse(backend(), BadResponse::LengthAndEncoding), 502, true, true),
        (Problem::TooManyWaiting(backend()), 503, true, true),
        (Problem::NoDescriptors, 503, false, false),
        (Problem::OwnPort(backend()), 508, true, true),
        (Problem::Loop { domain: domain() }, 508, true, false),
    ];
    for guess in [Guess::Tls, Guess::Http2, Guess::Banner, Guess::Unknown] {
        problems.push((Problem::NotHttp(backend(), guess), 502, true, true));
    }
    for (refusal, status) in [
        (Refusal::NoHost, 400),
        (Refusal::TargetTooLong, 414),
        (Refusal::HeadTooLong, 431),
        (Refusal::TooManyFields, 431),
        (Refusal::UnservedMethod, 501),
        (Refusal::UnservedEncoding, 501),
        (Refusal::Version, 505),
        (Refusal::TlsOnPlainPort, 400),
    ] {
        problems.push((refusal.into(), status, false, false));
    }
    problems
}

fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

fn field<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// B157, B158, B160, B161.
#[test]
fn every_page_has_its_status_its_fields_and_three_forms() {
    for (problem, status, shows_domain, shows_port) in problems() {
        for (accept, media_type) in [
            (None, "text/plain; charset=utf-8"),
            (Some(&HTML), "text/html; charset=utf-8"),
            (Some(&JSON), "application/json"),
        ] {
            let response = answer(&problem, accept);
            assert_eq!(response.status().as_u16(), status, "{problem:?}");
            assert_eq!(field(&response, "content-type"), Some(media_type));
            assert_eq!(field(&response, "cache-control"), Some("no-store"));
            assert_eq!(field(&response, "x-content-type-options"), Some("nosniff"));
            assert_eq!(field(&response, "server"), Some("hotcore"));
            assert_eq!(field(&response, "content-length"), Some(response.body().len().to_string().as_str()));
            assert_eq!(field(&response, "retry-after"), (status == 503).then_some("1"), "{problem:?}");
            let is_in_doubt = matches!(
                problem,
                Problem::Refused(_) | Problem::ClearText { .. } | Problem::HeadTimeout | Problem::BodyTimeout
            );
            assert_eq!(field(&response, "connection"), is_in_doubt.then_some("close"), "{problem:?}");
            let body = text(&response);
            assert!(body.ends_with('\n') && body.len() < 8 * 1024, "{problem:?}");
            assert_eq!(body.contains("a.com"), shows_domain, "{body}");
            // A page about the crowd before a name does not name its port, but to a program.
            let shows_port = shows_port && (status != 503 || accept == Some(&JSON));
            assert_eq!(body.contains("3000"), shows_port, "{body}");
        }
        let page = answer(&problem, Some(&HTML));
        let page = text(&page);
        for part in [
            "<!doctype html>",
            "<html lang=\"en\">",
            "charset=\"utf-8\"",
            "viewport",
            "prefers-color-scheme:dark",
            "<h1>",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        for part in ["<script", "<a ", "<img", "<iframe", "src=", "@import", "url(", "onload"] {
            assert!(!page.contains(part), "{part}: {page}");
        }
        let line = answer(&problem, None);
        let line = text(&line);
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.starts_with(&format!("{status} ")), "{line}");

        let json: Value = serde_json::from_slice(answer(&problem, Some(&JSON)).body()).unwrap();
        assert_eq!(json["status"], status);
        assert!(json["error"].as_str().is_some_and(|error| !error.is_empty() && !error.ends_with('.')));
        assert!(json["remedy"].is_string());
        assert_eq!(json["domain"].as_str(), shows_domain.then_some("a.com"));
        assert_eq!(json["port"].as_u64(), shows_port.then_some(3000));
        assert_eq!(json.as_object().unwrap().len(), 5);
    }
}

/// Every refusal says what is wrong, and none says a version or a path.
#[test]
fn a_page_never_tells_about_the_machine() {
    for (problem, ..) in problems() {
        for accept in [None, Some(&HTML), Some(&JSON)] {
            let response = answer(&problem, accept);
            let body = text(&response);
            for secret in [env!("CARGO_PKG_VERSION"), "/var", "/home", "/etc", "pid"] {
                assert!(!body.contains(secret), "{secret}: {body}");
            }
        }
    }
}

/// B10, B20, B29, B103: the remedy is the one that helps.
#[test]
fn a_remedy_names_the_command_that_helps() {
    let line = |problem: Problem| text(&answer(&problem, None)).to_owned();
    let refused = line(Problem::NothingListens(backend()));
    assert!(
        refused.starts_with("502 nothing listens on port 3000. Start the app for a.com on port 3000."),
        "{refused}"
    );
    assert!(refused.contains("127.0.0.1, ::1 or all addresses") && refused.ends_with(": hotcore add a.com PORT\n"));
    assert!(line(Problem::ClosedAtOnce(backend())).contains("container"));
    assert!(line(Problem::NotHttp(backend(), Guess::Tls)).contains("speaks TLS"));
    for (port, url) in [(443, "https://a.com/"), (8443, "https://a.com:8443/")] {
        let site = Some(Site { domain: domain(), port });
        assert!(line(Problem::ClearText { site }).contains(url), "B63");
    }
    assert!(line(Problem::NotHttp(backend(), Guess::Http2)).contains("HTTP/2 only"));
    let unknown = Problem::UnknownName { name: "a.com".into(), domain: Some(domain()) };
    assert_eq!(
        line(unknown),
        "404 no app is mapped to a.com here. If this is your server, map the name to your app's port: hotcore add a.com PORT\n"
    );
    let address = Problem::UnknownName { name: "192.0.2.1".into(), domain: None };
    assert!(!line(address).contains("hotcore add"));
    assert_eq!(line(Refusal::NoHost.into()), "400 the Host header is missing\n");
}

/// B159.
#[test]
fn text_from_outside_is_escaped_and_cut() {
    let page = |name: &str, accept| text(&answer(&Problem::Misdirected { name: name.into() }, accept)).to_owned();
    let evil = "<script>alert('x')</script>&\"\u{1b}[31m\r\n\u{202e}é";
    let html = page(evil, Some(&HTML));
    assert!(
        !html.contains("<script") && html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"),
        "{html}"
    );
    for accept in [None, Some(&HTML), Some(&JSON)] {
        let body = page(evil, accept);
        assert!(!body.contains(['\u{1b}', '\r', '\u{202e}', 'é']), "{body}");
    }
    assert_eq!(page(evil, None).matches('\n').count(), 1);
    let longest = "a".repeat(PAGE_QUOTE_BYTES_MAX);
    assert!(page(&longest, None).contains(&format!("for {longest}.")));
    let cut = page(&format!("{longest}a"), None);
    assert!(cut.contains(&format!("for {longest}….")), "{cut}");
    // An escape is cut as a whole.
    let at_the_edge = quote(&format!("{}\u{1b}b", "a".repeat(PAGE_QUOTE_BYTES_MAX - 1)));
    assert_eq!(at_the_edge, format!("{}…", "a".repeat(PAGE_QUOTE_BYTES_MAX - 1)));
}

/// B164, B165, B166.
#[test]
fn a_redirect_goes_to_the_mapped_name_and_nowhere_else() {
    let rows = [
        (None, "/", "https://a.com/"),
        (None, "/x?y=%20&z#", "https://a.com/x?y=%20&z#"),
        (None, "//evil.com/", "https://a.com//evil.com/"),
        (None, "*", "https://a.com/"),
        (None, "", "https://a.com/"),
        (None, "@evil.com", "https://a.com/"),
        (None, ".evil.com", "https://a.com/"),
        (None, "/a\r\nset-cookie: x", "https://a.com/"),
        (Some(8443), "/x", "https://a.com:8443/x"),
    ];
    for (port, path, location) in rows {
        let response = redirect(&domain(), port, path, None);
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        assert_eq!(field(&response, "location"), Some(location), "{path:?}");
        assert_eq!(field(&response, "cache-control"), Some("no-store"));
        assert_eq!(field(&response, "server"), Some("hotcore"));
    }
    let high = redirect(&domain(), None, "/é", Some(&HTML));
    assert_eq!(high.headers()["location"].as_bytes(), "https://a.com/é".as_bytes());
    assert!(text(&high).contains("<h1>This site uses HTTPS</h1>"));
    let json: Value = serde_json::from_slice(redirect(&domain(), None, "/", Some(&JSON)).body()).unwrap();
    assert_eq!(json["status"], 308);
}

/// B61.
#[test]
fn the_answer_to_options_is_empty() {
    let response = options_answer();
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert!(response.body().is_empty() && !response.headers().contains_key("content-length"));
    assert_eq!(field(&response, "server"), Some("hotcore"));
}

/// B161: HEAD gets the same fields without the body.
#[test]
fn a_page_on_the_wire_is_a_whole_response() {
    let response = answer(&Refusal::BareLf.into(), None);
    for is_head in [false, true] {
        let bytes = to_wire(&response, is_head);
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(end)) = parsed.parse(&bytes) else { panic!("{bytes:?}") };
        assert_eq!((parsed.version, parsed.code, parsed.reason), (Some(1), Some(400), Some("Bad Request")));
        assert_eq!(parsed.headers.len(), response.headers().len());
        for field in parsed.headers.iter() {
            assert_eq!(response.headers()[field.name].as_bytes(), field.value);
        }
        assert_eq!(&bytes[end..], if is_head { b"" } else { &response.body()[..] });
    }
}

/// The look of a refused request's page follows what can be found of its head, whatever else is wrong with it.
#[test]
fn a_refused_head_still_says_what_it_accepts() {
    let found = |head: &str| sniff(head.as_bytes(), b"accept").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(found("GET / HTTP/1.1\r\nHost: a\r\nACCEPT:  text/html \r\n\r\n"), Some("text/html".into()));
    assert_eq!(found("GET / HTTP/1.1\nAccept: */*\n\n"), Some("*/*".into()));
    assert_eq!(found("GET / HTTP/1.1\r\nAccept: text/ht"), None);
    assert_eq!(found("GET / HTTP/1.1\r\nAccept-Language: de\r\n\r\n"), None);
    assert_eq!(found("Accept: x\r\n\r\n"), None);
    assert_eq!(found(""), None);
    assert_eq!(
        found(&format!("GET / HTTP/1.1\r\n{}Accept: x\r\n", "a: b\r\n".repeat(REQUEST_FIELDS))),
        Some("x".into())
    );
    assert_eq!(found(&format!("GET / HTTP/1.1\r\n{}Accept: x\r\n", "a: b\r\n".repeat(REQUEST_FIELDS + 1))), None);
    assert!(is_head_request(b"HEAD / HTTP/1.1\r\n") && is_head_request(b"\r\nHEAD / H"));
    assert!(!is_head_request(b"HEADER / HTTP/1.1\r\n") && !is_head_request(b"GET"));
}

const REQUEST_FIELDS: usize = crate::limits::REQUEST_FIELDS_MAX;
