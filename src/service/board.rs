//! The keeper's board, as the control server and `status` read it: `control` and `certs` do not know each other.

use crate::{
    certs::{self, Board},
    control::{Certificates, Standing},
    domain::Domain,
};

/// The board, for messages.
#[derive(Debug)]
pub(super) struct Shown(pub(super) Board);

impl Certificates for Shown {
    fn page_after(&self, after: Option<&Domain>, see: &mut dyn FnMut(&Domain, Standing<'_>) -> bool) {
        self.0.page_after(after, |domain, standing| {
            let certs::Standing { state, until, next, reason } = standing;
            see(domain, Standing { state: &state.to_string(), until: *until, next: *next, reason })
        });
    }

    fn retry(&self, domain: &Domain) -> bool {
        self.0.wish(domain)
    }
}
