//! The access log: one record for each request, only if asked for (B217).

use std::{net::IpAddr, time::Instant};

use http::{Method, Uri, Version};

use crate::limits::LOG_QUOTE_BYTES_MAX;

/// What the record will say. It is written when it is dropped, which is when the answer has ended or the client has left.
#[derive(Debug)]
pub(crate) struct Access {
    client: IpAddr,
    /// `None` where the head was refused: nothing of it is believed.
    request: Option<Asked>,
    pub(crate) status: u16,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
    started: Instant,
    /// The backend ended the body before its end.
    pub(crate) cut: bool,
    /// The client left before the end: 499 (B221).
    pub(crate) left: bool,
}

#[derive(Debug)]
struct Asked {
    version: &'static str,
    method: Method,
    /// As the client wrote it.
    host: String,
    /// Without the query: secrets travel there.
    path: String,
}

impl Access {
    /// A request as it came in.
    pub(crate) fn new(client: IpAddr, version: Version, method: Method, host: &str, target: &Uri) -> Self {
        let version = match version {
            Version::HTTP_2 => "2",
            Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        let asked = Asked { version, method, host: cut(host).to_owned(), path: cut(target.path()).to_owned() };
        Self::begin(client, Some(asked))
    }

    /// A request whose head was refused.
    pub(crate) fn refused(client: IpAddr) -> Self {
        Self::begin(client, None)
    }

    fn begin(client: IpAddr, request: Option<Asked>) -> Self {
        Self { client, request, status: 0, bytes: 0, started: Instant::now(), cut: false, left: false }
    }
}

impl Drop for Access {
    /// Hands the record to the log, which never makes a worker wait.
    fn drop(&mut self) {
        let (version, method, host, path) = match &self.request {
            Some(asked) => (asked.version, cut(asked.method.as_str()), asked.host.as_str(), asked.path.as_str()),
            None => ("-", "-", "-", "-"),
        };
        let status = if self.left || self.status == 0 { 499 } else { self.status };
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "hotcore::access",
            client = %self.client,
            version,
            method,
            host,
            path,
            status,
            bytes = self.bytes,
            millis,
            cut = self.cut,
            "request"
        );
    }
}

/// Text from outside has its limit in the log (B216); escaping it is the sink's part.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LOG_QUOTE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B216: at the limit and one past it; a character is never split.
    #[test]
    fn outside_text_is_cut() {
        let long = "a".repeat(LOG_QUOTE_BYTES_MAX);
        assert_eq!(cut(&long), long);
        assert_eq!(cut(&format!("{long}a")), long);
        assert_eq!(cut(&format!("{}ü", "a".repeat(LOG_QUOTE_BYTES_MAX - 1))).len(), LOG_QUOTE_BYTES_MAX - 1);
    }
}
