//! What a CA says when it refuses: problem documents (RFC 7807; RFC 8555, 6.7) and `Retry-After` (RFC 9110, 10.2.3).

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use http::{HeaderMap, header};
use serde_json::Value;
use time::{PrimitiveDateTime, macros::format_description};

use crate::limits::{CA_DETAIL_BYTES_MAX, RETRY_AFTER_MAX};

/// The namespace of ACME's own types (RFC 8555, 6.7).
const NAMESPACE: &str = "urn:ietf:params:acme:error:";

/// A refusal in the CA's own words, made harmless: escaped and cut (B216).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problem {
    kind: String,
    detail: String,
}

impl Problem {
    /// From the parts as the CA sent them.
    pub fn new(kind: &str, detail: &str) -> Self {
        let kind = kind.strip_prefix(NAMESPACE).unwrap_or(kind);
        Self { kind: harmless(kind, 64), detail: harmless(detail, CA_DETAIL_BYTES_MAX) }
    }

    /// The body of an answer, if it is a problem document.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(body).ok()?;
        let text = |of: &Value, name| of.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (kind, mut detail) = (text(&document, "type"), text(&document, "detail"));
        // Several names would have several problems; there is one name, so the first says most.
        if let Some(first) = document.get("subproblems").and_then(|all| all.get(0)) {
            detail = format!("{detail} ({})", text(first, "detail"));
        }
        (!kind.is_empty() || !detail.is_empty()).then(|| Self::new(&kind, &detail))
    }

    /// The last part of the type: `rateLimited`, `connection`, `dns` (RFC 8555, 6.7); empty if there is none.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The CA's sentence, on one line; may be empty.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind.as_str(), self.detail.as_str()) {
            ("", "") => f.write_str("no reason given"),
            ("", text) | (text, "") => f.write_str(text),
            (kind, detail) => write!(f, "{detail} [{kind}]"),
        }
    }
}

/// Text of the CA on one line, cut to some bytes.
pub(super) fn harmless(text: &str, bytes: usize) -> String {
    let mut kept = String::new();
    for letter in text.chars() {
        // Quotation marks stay as they are: this is shown as a sentence, not as a quotation.
        let escaped = match letter {
            '"' | '\'' => letter.to_string(),
            other => other.escape_debug().to_string(),
        };
        if kept.len() + escaped.len() > bytes {
            kept.push_str("...");
            break;
        }
        kept.push_str(&escaped);
    }
    kept
}

/// When the CA is ready to be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    /// So much later than its answer; at most seven days.
    In(Duration),
    /// At this time by the CA's clock.
    At(SystemTime),
}

impl RetryAfter {
    /// The field of an answer. A date becomes a time span where the answer has a `Date`, since clocks differ.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Self::In(Duration::from_secs(seconds).min(RETRY_AFTER_MAX)));
        }
        let at = httpdate::parse_http_date(text).ok()?;
        Some(match date(headers).map(|now| at.duration_since(now).unwrap_or_default()) {
            Some(time) => Self::In(time.min(RETRY_AFTER_MAX)),
            None => Self::At(at),
        })
    }

    /// The words of a rate limit: `… retry after 2026-01-02 03:04:05 UTC: see …`; the last one if there are several.
    pub fn within(sentence: &str) -> Option<Self> {
        let (_, after) = sentence.rsplit_once("retry after ")?;
        let text = after.get(..19)?;
        // Older texts have a T and a Z.
        let with_letter = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
        let with_blank = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
        let at = PrimitiveDateTime::parse(text, with_blank).or_else(|_| PrimitiveDateTime::parse(text, with_letter));
        Some(Self::At(at.ok()?.assume_utc().into()))
    }

    /// How long that is from `now` on; at most seven days.
    pub fn from(self, now: SystemTime) -> Duration {
        match self {
            Self::In(time) => time,
            Self::At(time) => time.duration_since(now).unwrap_or_default().min(RETRY_AFTER_MAX),
        }
    }
}

/// The CA's clock when it answered.
pub(super) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(header::DATE)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn headers(fields: &[(header::HeaderName, &str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_problem_document_is_read() {
        let body = br#"{"type":"urn:ietf:params:acme:error:dns","detail":"no A record","status":400}"#;
        let problem = Problem::parse(body).unwrap();
        assert_eq!((problem.kind(), problem.detail()), ("dns", "no A record"));
        assert_eq!(problem.to_string(), "no A record [dns]");
        let body = br#"{"type":"malformed","detail":"a","subproblems":[{"type":"x","detail":"b"}]}"#;
        assert_eq!(Problem::parse(body).unwrap().to_string(), "a (b) [malformed]");
    }

    #[test]
    fn what_is_no_problem_document_is_none() {
        for body in ["", "{}", "[]", "<html>", "null", r#"{"type":1}"#, r#"{"type":"#] {
            assert_eq!(Problem::parse(body.as_bytes()), None, "{body}");
        }
    }

    /// B216.
    #[test]
    fn a_sentence_of_the_ca_stays_on_one_line_and_short() {
        let problem = Problem::new("x\x1b", "a\n\x1b[31m\"b\"");
        assert_eq!(problem.to_string(), "a\\n\\u{1b}[31m\"b\" [x\\u{1b}]");
        let at = "a".repeat(CA_DETAIL_BYTES_MAX);
        assert_eq!(Problem::new("", &at).detail(), at);
        assert_eq!(Problem::new("", &format!("{at}b")).detail(), format!("{at}..."));
    }

    #[test]
    fn seconds_and_dates_of_retry_after_are_understood() {
        let (date, retry) = (header::DATE, header::RETRY_AFTER);
        let of = |fields: &[(header::HeaderName, &str)]| RetryAfter::of(&headers(fields));
        let in_seconds = |seconds| Some(RetryAfter::In(Duration::from_secs(seconds)));
        assert_eq!(of(&[(retry.clone(), "120")]), in_seconds(120));
        assert_eq!(of(&[(retry.clone(), "604800")]), in_seconds(604_800));
        assert_eq!(of(&[(retry.clone(), "604801")]), in_seconds(604_800));
        let at = "Fri, 02 Jan 2026 03:04:05 GMT";
        assert_eq!(of(&[(retry.clone(), at), (date, "Fri, 02 Jan 2026 03:04:00 GMT")]), in_seconds(5));
        let time = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
        assert_eq!(of(&[(retry.clone(), at)]), Some(RetryAfter::At(time)));
        for nonsense in ["", "-1", "soon", "1e9", "99999999999999999999999"] {
            assert_eq!(of(&[(retry.clone(), nonsense)]), None, "{nonsense}");
        }
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_words_of_a_rate_limit_are_understood() {
        let time = UNIX_EPOCH + Duration::from_secs(1_767_323_045);
        for sentence in [
            "too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s, \
             retry after 2026-01-02 03:04:05 UTC: see https://letsencrypt.org/docs/",
            "retry after 2025-01-02 03:04:05 UTC, retry after 2026-01-02T03:04:05Z: see",
        ] {
            assert_eq!(RetryAfter::within(sentence), Some(RetryAfter::At(time)), "{sentence}");
        }
        for sentence in ["", "retry after ", "retry after 2026-13-02 03:04:05 UTC", "retry after äääääääääääääää"]
        {
            assert_eq!(RetryAfter::within(sentence), None, "{sentence}");
        }
    }

    #[test]
    fn a_time_long_past_or_far_off_is_bounded() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        assert_eq!(RetryAfter::At(UNIX_EPOCH).from(now), Duration::ZERO);
        assert_eq!(RetryAfter::At(now + RETRY_AFTER_MAX * 2).from(now), RETRY_AFTER_MAX);
        assert_eq!(RetryAfter::In(Duration::from_secs(3)).from(now), Duration::from_secs(3));
    }
}
