//! The access log: one record for each request, only if asked for (B217).

use std::{net::IpAddr, time::Instant};

use http::{Method, Uri};

/// What the record will say; written when the answer has ended.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) client: IpAddr,
    pub(crate) method: Method,
    /// The name asked for, as the client wrote it.
    pub(crate) host: String,
    /// Without the query: secrets travel there.
    pub(crate) path: String,
    pub(crate) status: u16,
    /// Bytes of the answer's body.
    pub(crate) bytes: u64,
    pub(crate) started: Instant,
    /// The backend ended the body before its end.
    pub(crate) cut: bool,
    /// The client left before the end: 499 (B221).
    pub(crate) left: bool,
}

impl Access {
    pub(crate) fn new(client: IpAddr, method: Method, host: &str, uri: &Uri) -> Self {
        Self {
            client,
            method,
            host: host.to_owned(),
            path: uri.path().to_owned(),
            status: 0,
            bytes: 0,
            started: Instant::now(),
            cut: false,
            left: false,
        }
    }

    /// Hands the record to the log, which never makes a worker wait.
    pub(crate) fn write(&self) {
        let status = if self.left || self.status == 0 { 499 } else { self.status };
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::info!(
            target: "hotcore::access",
            client = %self.client,
            method = %self.method,
            host = %self.host,
            path = %self.path,
            status,
            bytes = self.bytes,
            millis,
            cut = self.cut,
            "request"
        );
    }
}
