//! What a CA offers: its directory (RFC 8555, 7.1.1).

use std::{sync::PoisonError, time::SystemTime};

use http::StatusCode;
use rustls_acme::acme;
use serde_json::Value;
use tokio::time::Instant;

use crate::limits::CA_DIRECTORY_LIFE;

use super::{
    Acme,
    failure::{Cause, Failure, Step},
    patience::Deadline,
    problem,
};

/// What a CA's directory says to the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The CA's clock (`Date`; RFC 9110, 6.6.1), where it shows one. More than an hour between it and ours says that one of the two
    /// is wrong, most likely ours: then nothing should be ordered (B214).
    pub date: Option<SystemTime>,
    /// Whether it tells when it wants certificates renewed (RFC 9773).
    pub has_renewal_info: bool,
}

/// The URLs of a CA.
#[derive(Debug, Clone)]
pub struct Directory {
    /// Those that the crate knows.
    pub(super) urls: acme::Directory,
    /// Where renewal information is (RFC 9773, 4.1).
    pub(super) renewal_info: Option<String>,
    /// The CA's clock when it answered.
    date: Option<SystemTime>,
}

impl Directory {
    /// Reads the body of an answer; `date` is the answer's.
    pub fn parse(body: &[u8], date: Option<SystemTime>) -> Result<Self, Failure> {
        let wrong = |cause| Failure::answer(Step::Directory, format!("not the directory of a CA: {cause}"));
        let urls = serde_json::from_slice(body).map_err(wrong)?;
        let fields: Value = serde_json::from_slice(body).map_err(wrong)?;
        let renewal_info = fields.get("renewalInfo").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { urls, renewal_info, date })
    }
}

impl Acme {
    /// The directory, read again once a day and after answers that do not fit it.
    pub(super) async fn directory(&self, deadline: Deadline) -> Result<Directory, Failure> {
        let known = self.directory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((since, directory)) = known
            && since.elapsed() < CA_DIRECTORY_LIFE
        {
            return Ok(directory);
        }
        let url = &self.session.directory;
        let elsewhere = |why| Failure::answer(Step::Directory, format!("{url} is not the directory of a CA: {why}"));
        let reply = self.session.get(Step::Directory, url, deadline).await.map_err(|failure| match failure.cause {
            Cause::BadAnswer(why) => elsewhere(why),
            Cause::Refused(problem) => elsewhere(problem.to_string()),
            _ => failure,
        })?;
        let directory = Directory::parse(&reply.body, problem::date(&reply.headers))?;
        *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), directory.clone()));
        Ok(directory)
    }

    pub(super) async fn offer(&self) -> Result<Offer, Failure> {
        self.forget_directory();
        let directory = self.directory(Deadline::after(self.session.patience.step)).await?;
        Ok(Offer { date: directory.date, has_renewal_info: directory.renewal_info.is_some() })
    }

    /// Looks at a failure: does it mean that the directory has changed?
    pub(super) fn learn_from(&self, failure: &Failure) {
        if matches!(failure.cause, Cause::BadAnswer(_) | Cause::Refused(_)) {
            self.forget_directory();
        }
    }

    fn forget_directory(&self) {
        *self.directory.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Whether an answer says that something was made that was not there before (RFC 8555, 7.3).
pub(super) fn is_new(status: StatusCode) -> bool {
    status == StatusCode::CREATED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_read() {
        let body = br#"{"newNonce":"https://a/n","newAccount":"https://a/a","newOrder":"https://a/o","renewalInfo":"https://a/r"}"#;
        let directory = Directory::parse(body, None).unwrap();
        assert_eq!(directory.urls.new_order, "https://a/o");
        assert_eq!(directory.renewal_info.as_deref(), Some("https://a/r"));
    }

    #[test]
    fn what_is_no_directory_is_said_plainly() {
        for body in ["", "<html>", "{}", r#"{"newNonce":"https://a"#, r#"{"newNonce":1,"newAccount":2,"newOrder":3}"#] {
            let failure = Directory::parse(body.as_bytes(), None).unwrap_err();
            assert!(failure.to_string().contains("not the directory of a CA"), "{failure}");
        }
    }
}
