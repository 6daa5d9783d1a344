//! Whatever a CA answers, it makes no panic, and what is shown of it is one short line.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use hotcore::{
    certs::issuer::{CertificateId, Problem, RenewalWindow, RetryAfter},
    limits::{CA_RETRY_AFTER_MAX, RENEWAL_INFO_AGAIN_MAX, RENEWAL_INFO_AGAIN_MIN},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: &[u8]| {
    if let Some(problem) = Problem::parse(answer) {
        let shown = problem.to_string();
        assert!(shown.len() < 1_024 && !shown.chars().any(char::is_control), "{shown:?}");
    }
    if let Ok(window) = RenewalWindow::parse(answer, Some(Duration::from_secs(answer.len() as u64))) {
        assert!(window.start < window.end);
        assert!((RENEWAL_INFO_AGAIN_MIN..=RENEWAL_INFO_AGAIN_MAX).contains(&window.ask_again));
    }
    if let Ok(text) = std::str::from_utf8(answer) {
        if let Some(until) = RetryAfter::within(text) {
            assert!(until.from(UNIX_EPOCH) <= CA_RETRY_AFTER_MAX);
        }
        let _ = CertificateId::from_pem(text);
    }
});
