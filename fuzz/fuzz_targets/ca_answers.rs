//! Whatever a certificate authority answers, or who stands in its place: no panic, nothing without bounds, nothing on a terminal that
//! is more than one line, and no chain that is not for our key and our name.
//!
//! The input is a line with `Retry-After`, one with `Date`, one byte for step and status, and a body. The body is also written over a
//! good chain: three bytes each, a place and what comes there.

#![no_main]

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use hotcore::{
    certs::issuer::{CertificateId, Directory, Failure, Issued, Problem, RenewalWindow, Reply, RetryAfter, Step},
    domain::Domain,
    limits::{CA_DETAIL_BYTES_MAX, RETRY_AFTER_MAX, WINDOW_AGAIN_MAX, WINDOW_AGAIN_MIN},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls_acme::acme;

const NAME: &str = "a.example";
const STEPS: [Step; 5] = [Step::Directory, Step::Account, Step::NewOrder, Step::Finalize, Step::RenewalInfo];
const STATUS: [u16; 6] = [200, 400, 403, 429, 500, 503];

/// A key, and a chain for it.
static GOOD: LazyLock<(String, String)> = LazyLock::new(|| {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = root.self_signed(&root_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &root, &root_key).unwrap();
    (key.serialize_pem(), leaf.pem() + &root.pem())
});

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |&byte| byte == b'\n');
    let (retry, date) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Some((&choice, body)) = parts.next().unwrap_or_default().split_first() else { return };

    let mut headers = HeaderMap::new();
    for (name, value) in [(header::RETRY_AFTER, retry), (header::DATE, date)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let named = RetryAfter::of(&headers);
    let said = std::str::from_utf8(body).ok().and_then(RetryAfter::within);
    for retry in [named, said].into_iter().flatten() {
        if let RetryAfter::In(time) = retry {
            assert!(time <= RETRY_AFTER_MAX);
        }
        for now in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)] {
            assert!(retry.from(now) <= RETRY_AFTER_MAX);
        }
    }

    if let Some(problem) = Problem::parse(body) {
        is_one_line(&problem.to_string());
    }
    let status = StatusCode::from_u16(STATUS[usize::from(choice) % STATUS.len()]).unwrap();
    let step = STEPS[usize::from(choice) / STATUS.len() % STEPS.len()];
    let failure = Failure::from_reply(step, &Reply { status, headers, body: body.to_vec().into() });
    let _ = failure.blame();
    is_one_line(&failure.to_string());

    if let Err(failure) = Directory::parse(body, None) {
        is_one_line(&failure.to_string());
    }
    let _ = serde_json::from_slice::<acme::Order>(body);
    let _ = serde_json::from_slice::<acme::Auth>(body);
    if let Ok(window) = RenewalWindow::parse(body, None) {
        assert!(window.start < window.end);
        assert!((WINDOW_AGAIN_MIN..=WINDOW_AGAIN_MAX).contains(&window.ask_again));
        window.explanation.as_deref().into_iter().for_each(is_one_line);
    }

    judge(body);
    let mut chain = GOOD.1.clone().into_bytes();
    for change in body.chunks_exact(3) {
        let place = (usize::from(change[0]) * 256 + usize::from(change[1])) % chain.len();
        chain[place] = change[2];
    }
    judge(&chain);
});

fn judge(chain: &[u8]) {
    let domain = Domain::parse(NAME).unwrap();
    match Issued::judge(&domain, &GOOD.0, chain) {
        Ok(issued) => {
            let again = Issued::judge(&domain, &GOOD.0, issued.chain_pem.as_bytes()).unwrap();
            assert_eq!((again.chain_pem, again.not_after), (issued.chain_pem, issued.not_after));
        }
        Err(failure) => is_one_line(&failure.to_string()),
    }
    let _ = std::str::from_utf8(chain).ok().and_then(CertificateId::from_pem);
}

fn is_one_line(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() <= 2 * CA_DETAIL_BYTES_MAX, "{} bytes", text.len());
}
