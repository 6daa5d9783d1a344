//! What plain HTTP is for beside certificates: it proves to a certificate authority whose a name is (B167), sends everybody else to
//! HTTPS as soon as a name has had a certificate (B164), and tells whoever issues certificates which names are wanted (B163).
//!
//! All of it is one look-up that never waits, and only on plain HTTP; nothing of it is remembered with a connection, so the first
//! certificate counts from the next request on. Never here: a certificate, a page's words, a byte of a body.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Response, header::ACCEPT, request, uri::PathAndQuery};

use super::{ProxyTotals, forward, pages};
use crate::{
    domain::{Authority, Domain},
    limits::{CERTIFICATE_ASK_EVERY, CERTIFICATES_WANTED_MAX, HTTPS_PORT},
    tls::Certificates,
};

/// Where a certificate authority looks for the answer to its challenge (RFC 8555, 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// What a proxy in front says of its own client.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The same, as Cloudflare says it: `{"scheme":"https"}`.
const CF_VISITOR: HeaderName = HeaderName::from_static("cf-visitor");

/// The plain door of one worker.
pub(super) struct PlainDoor {
    /// `None`: there is no HTTPS, and plain HTTP is all there is.
    certificates: Option<Certificates>,
    /// The port of HTTPS where it is not the usual one.
    https_port: Option<u16>,
    totals: Arc<ProxyTotals>,
    /// Names that were asked for without a certificate since the moment below.
    wanted: RefCell<HashSet<Domain>>,
    wanted_since: Cell<Instant>,
}

impl PlainDoor {
    pub(super) fn new(
        certificates: Option<Certificates>,
        https_port: Option<u16>,
        totals: Arc<ProxyTotals>,
        now: Instant,
    ) -> Self {
        Self {
            certificates,
            https_port: https_port.filter(|port| *port != HTTPS_PORT),
            totals,
            wanted: RefCell::default(),
            wanted_since: Cell::new(now),
        }
    }

    /// What a certificate authority came for, if the token is that of an order of ours for this name: whether the name is still
    /// mapped or not, and whatever would else become of the request. A token of somebody else's is no concern of ours: the app may
    /// have a client of its own (B167).
    ///
    /// Behind TLS it is answered as well: an authority follows redirects (RFC 8555, 8.3), which a CDN in front may give, and who
    /// shows the token knows it.
    pub(super) fn challenge(&self, domain: &Domain, token: &str) -> Option<Response<Bytes>> {
        let answer = self.certificates.as_ref()?.http_answer(domain, token)?;
        Some(pages::challenge(&answer))
    }

    /// The way to HTTPS, if a mapped name has had a certificate (B164). Else the name is wanted, and its request is an ordinary one.
    pub(super) fn redirect(&self, authority: &Authority, parts: &request::Parts) -> Option<Response<Bytes>> {
        let (certificates, domain) = (self.certificates.as_ref()?, authority.domain.as_ref()?);
        if !certificates.is_https_only(domain) {
            self.want(certificates, domain);
            return None;
        }
        if came_by_https(&parts.headers) && self.totals.reminders.is_due(domain, Instant::now()) {
            tracing::warn!(
                target: "hotcore::proxy",
                %domain,
                "plain HTTP says that its client uses HTTPS: the redirect to HTTPS becomes a loop. If a CDN or proxy is in \
                 front, let it come by HTTPS (Cloudflare: SSL/TLS mode Full (strict), not Flexible)"
            );
        }
        // No port stays no port: in front of an unusual one something may forward the usual one (B165).
        let port = authority.port.and(self.https_port);
        let target = forward::origin_form(parts.uri.clone());
        let path = target.path_and_query().map_or("/", PathAndQuery::as_str);
        Some(pages::redirect(domain, port, path, parts.headers.get(ACCEPT)))
    }

    /// Begins to listen again to names that were heard; the worker calls it with its sweep.
    pub(super) fn sweep(&self, now: Instant) {
        if now.saturating_duration_since(self.wanted_since.get()) >= CERTIFICATE_ASK_EVERY {
            self.wanted_since.set(now);
            self.wanted.borrow_mut().clear();
        }
    }

    /// Passes the name on once in a while, and so many names at most.
    fn want(&self, certificates: &Certificates, domain: &Domain) {
        let mut wanted = self.wanted.borrow_mut();
        if wanted.len() >= CERTIFICATES_WANTED_MAX || wanted.contains(domain) {
            return;
        }
        wanted.insert(domain.clone());
        if certificates.find(domain).is_none() {
            certificates.ask(domain);
        }
    }
}

/// The token that the request shows, if it may be a certificate authority's (RFC 8555, 8.3).
pub(super) fn token(parts: &request::Parts) -> Option<&str> {
    let token = parts.uri.path().strip_prefix(CHALLENGES)?;
    (parts.method == Method::GET || parts.method == Method::HEAD).then_some(token)
}

/// Whether the request claims to have been HTTPS before it came here by plain HTTP (B175). Never trusted: it decides about a line in
/// the log.
fn came_by_https(headers: &HeaderMap) -> bool {
    let says = |name, is_https: fn(&[u8]) -> bool| headers.get(name).is_some_and(|value| is_https(value.as_bytes()));
    says(FORWARDED_PROTO, |value| {
        value.split(|&byte| byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(b"https"))
    }) || says(CF_VISITOR, |value| memchr::memmem::find(value, b"\"https\"").is_some())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, Request, Uri};
    use tokio::time::timeout;

    use super::*;
    use crate::tls::Keyring;

    fn domain(name: &str) -> Domain {
        Domain::parse(name).unwrap()
    }

    fn authority(host: &str) -> Authority {
        Authority::parse(host.as_bytes()).unwrap()
    }

    fn request(target: &str) -> request::Parts {
        let mut request = Request::new(());
        *request.uri_mut() = Uri::try_from(target.to_owned()).unwrap();
        request.into_parts().0
    }

    fn door(keyring: &Keyring, port: u16) -> PlainDoor {
        PlainDoor::new(Some(keyring.certificates()), Some(port), Arc::default(), Instant::now())
    }

    fn location(door: &PlainDoor, host: &str, target: &str) -> Option<String> {
        let response = door.redirect(&authority(host), &request(target))?;
        Some(response.headers()["location"].to_str().unwrap().to_owned())
    }

    /// B164, B165.
    #[test]
    fn a_name_that_had_a_certificate_is_sent_to_https_byte_for_byte() {
        let mut keyring = Keyring::new();
        keyring.set_https_only(&domain("a.test"), true);
        let (usual, unusual) = (door(&keyring, 443), door(&keyring, 8443));
        for (host, target, at_usual, at_unusual) in [
            ("a.test", "/", "https://a.test/", "https://a.test/"),
            ("a.test:8080", "/", "https://a.test/", "https://a.test:8443/"),
            ("a.test:80", "/x", "https://a.test/x", "https://a.test:8443/x"),
            ("A.Test.:1", "/x", "https://a.test/x", "https://a.test:8443/x"),
            ("a.test", "/%7e/..//x;y?q=%20&&=?/", "https://a.test/%7e/..//x;y?q=%20&&=?/", ""),
            ("a.test", "//evil.com/x", "https://a.test//evil.com/x", ""),
            ("a.test", "//evil.com:80@b/", "https://a.test//evil.com:80@b/", ""),
            ("a.test", "/\\evil.com", "https://a.test/\\evil.com", ""),
            ("a.test", "http://evil.com/x?y", "https://a.test/x?y", ""),
            ("a.test", "http://a.test", "https://a.test/", ""),
            ("a.test", "http://a.test?q", "https://a.test/?q", ""),
            ("a.test", "*", "https://a.test/", ""),
        ] {
            assert_eq!(location(&usual, host, target).as_deref(), Some(at_usual), "{host} {target}");
            let at_unusual = if at_unusual.is_empty() { at_usual } else { at_unusual };
            assert_eq!(location(&unusual, host, target).as_deref(), Some(at_unusual), "{host} {target}");
        }
        assert_eq!(location(&usual, "b.test", "/"), None, "another name");
        assert_eq!(location(&usual, "192.0.2.1", "/"), None, "no name");
    }

    /// B167.
    #[test]
    fn a_token_of_ours_is_answered_for_its_own_name_alone() {
        let mut keyring = Keyring::new();
        keyring.begin_http_challenge(&domain("a.test"), "tok-en_1", "tok-en_1.print");
        let door = door(&keyring, 443);
        let ask = |name: &str, method: Method, target: &str| {
            let mut parts = request(target);
            parts.method = method;
            token(&parts).and_then(|token| door.challenge(&domain(name), token))
        };
        let known = "/.well-known/acme-challenge/tok-en_1";
        for method in [Method::GET, Method::HEAD] {
            let answer = ask("a.test", method, known).unwrap();
            assert_eq!(answer.status(), 200);
            assert_eq!(&answer.body()[..], b"tok-en_1.print");
            assert_eq!(answer.headers()["content-type"], "application/octet-stream");
            assert_eq!(answer.headers()["cache-control"], "no-store");
            assert_eq!(answer.headers()["content-length"], "14");
        }
        assert!(ask("a.test", Method::GET, &format!("http://a.test{known}")).is_some());
        for (name, method, target) in [
            ("b.test", Method::GET, known),
            ("a.test", Method::POST, known),
            ("a.test", Method::OPTIONS, known),
            ("a.test", Method::GET, "/.well-known/acme-challenge/tok-en_2"),
            ("a.test", Method::GET, "/.well-known/acme-challenge/tok-en_1/"),
            ("a.test", Method::GET, "/.well-known/acme-challenge/tok%2Den_1"),
            ("a.test", Method::GET, "/.well-known/acme-challenge//tok-en_1"),
            ("a.test", Method::GET, "/.well-known/acme-challenge/"),
            ("a.test", Method::GET, "/.well-known/acme-challenge"),
            ("a.test", Method::GET, "//.well-known/acme-challenge/tok-en_1"),
            ("a.test", Method::GET, "/.Well-Known/acme-challenge/tok-en_1"),
            ("a.test", Method::GET, "/tok-en_1"),
        ] {
            assert!(ask(name, method.clone(), target).is_none(), "{name} {method} {target}");
        }
        keyring.end_challenge(&domain("a.test"));
        assert!(ask("a.test", Method::GET, known).is_none(), "it is over");
    }

    /// B163: at the limit and one past it.
    #[tokio::test(start_paused = true)]
    async fn a_wanted_name_is_passed_on_once_in_a_while() {
        let mut keyring = Keyring::new();
        let door = door(&keyring, 443);
        let start = Instant::now();
        let visit = |name: &str| assert!(door.redirect(&authority(name), &request("/")).is_none());
        for _ in 0..3 {
            visit("a.test");
            visit("b.test");
        }
        door.sweep(start);
        visit("a.test");
        assert_eq!(heard(&mut keyring).await, ["a.test", "b.test"]);
        door.sweep(start + CERTIFICATE_ASK_EVERY * 2);
        visit("b.test");
        assert_eq!(heard(&mut keyring).await, ["b.test"]);
        door.sweep(start + CERTIFICATE_ASK_EVERY * 4);
        (0..=CERTIFICATES_WANTED_MAX).for_each(|number| visit(&format!("n{number}.test")));
        assert_eq!(heard(&mut keyring).await.len(), CERTIFICATES_WANTED_MAX);
    }

    async fn heard(keyring: &mut Keyring) -> Vec<String> {
        let mut names = Vec::new();
        while let Ok(name) = timeout(Duration::from_millis(1), keyring.asked()).await {
            names.push(name.to_string());
        }
        names
    }

    /// Without HTTPS nothing is sent there.
    #[test]
    fn without_certificates_plain_http_is_all_there_is() {
        let door = PlainDoor::new(None, None, Arc::default(), Instant::now());
        assert_eq!(location(&door, "a.test", "/"), None);
        assert!(door.challenge(&domain("a.test"), "x").is_none());
    }

    /// B175: with the name and what to change, once an hour.
    #[test]
    fn a_loop_in_the_making_is_named_in_the_log() {
        let mut keyring = Keyring::new();
        keyring.set_https_only(&domain("a.test"), true);
        let door = door(&keyring, 443);
        let log = crate::testing::log_of(|| {
            for _ in 0..3 {
                let mut parts = request("/");
                door.redirect(&authority("a.test"), &parts).unwrap();
                parts.headers.insert(CF_VISITOR, HeaderValue::from_static(r#"{"scheme":"https"}"#));
                door.redirect(&authority("a.test"), &parts).unwrap();
                assert!(door.redirect(&authority("b.test"), &parts).is_none());
            }
        });
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("a.test") && log.contains("Full (strict)"), "{log}");
    }

    #[test]
    fn who_claims_to_have_come_by_https_is_recognised() {
        for (name, value, expected) in [
            ("x-forwarded-proto", "https", true),
            ("x-forwarded-proto", "HTTPS", true),
            ("x-forwarded-proto", "http, https", true),
            ("x-forwarded-proto", "http", false),
            ("x-forwarded-proto", "httpsx", false),
            ("cf-visitor", "{\"scheme\":\"https\"}", true),
            ("cf-visitor", "{\"scheme\": \"https\"}", true),
            ("cf-visitor", "{\"scheme\":\"http\"}", false),
            ("cf-visitor", "", false),
            ("x-scheme", "https", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(came_by_https(&headers), expected, "{name}: {value}");
        }
        assert!(!came_by_https(&HeaderMap::new()));
    }
}
