//! Local names: told to whoever decides about them, and what comes of it served.

use std::{path::PathBuf, sync::Arc};

use super::{Done, Job, Work};
use crate::{
    certs::{
        LocalNames, is_local,
        issuer::Issuer,
        keeper::{
            clock::shown,
            folders::Source,
            local::{self, LocalSigner},
        },
        local::Decision,
        mkcert::{Absent, Made, MkcertError, TRUST_STORES},
        record::one_line,
        store::Kept,
    },
    domain::Domain,
    limits,
};

/// What is known of local names, and what was said about them: each thing once.
#[derive(Debug, Default)]
pub(super) struct Local {
    /// Those that have a rule, as many as get certificates.
    pub(super) names: LocalNames<Box<dyn LocalSigner>>,
    making: Option<Domain>,
    absent: Option<Absent>,
    failure: Option<String>,
    untrusted_by: Vec<String>,
}

impl<I: Issuer + 'static> Work<I> {
    /// This local name has a rule. `most`: how many of them may be known.
    pub(super) fn local_mapped(&mut self, domain: &Domain, most: usize) {
        if self.settings.local.is_none() || !self.local.names.knows(domain) && self.local.names.count() >= most {
            return;
        }
        let held = match self.shelf.get(domain) {
            Some(serving) if serving.source == Source::Local => {
                let key = self.keyring.borrow().certificates().find(domain);
                key.map(|key| Kept { key, not_before: serving.not_before, not_after: serving.not_after })
            }
            // A person gave it one.
            Some(_) => return self.local.names.unmapped(domain),
            None => None,
        };
        self.local.names.mapped(domain, held);
    }

    /// A request for this local name, which has no certificate: it need not be one of the first.
    pub(super) fn local_asked(&mut self, domain: &Domain) {
        self.local_mapped(domain, limits::LOCAL_NAMES_MAX + limits::ASKED_NAMES_MAX);
    }

    /// Its files were read again, because a person wants a look at it.
    pub(super) fn local_read(&mut self, domain: &Domain) {
        // What was known of its certificate may be wrong.
        self.local.names.unmapped(domain);
        if self.table.find(domain).is_some() {
            self.list(domain);
            self.local_asked(domain);
            self.local.names.retry(domain);
        }
    }

    /// Names that have a certificate come first: whatever the bound, what serves is renewed.
    pub(super) fn list_local(&mut self) {
        let is_mapped = |domain: &Domain| is_local(domain) && self.table.find(domain).is_some();
        let held = self.shelf.iter().filter(|(domain, serving)| serving.source == Source::Local && is_mapped(domain));
        for domain in held.map(|(domain, _)| domain.clone()).collect::<Vec<_>>() {
            self.local_mapped(&domain, limits::LOCAL_NAMES_MAX);
        }
    }

    /// Begins what is next: one thing at a time (B224).
    pub(super) fn turn_local(&mut self) {
        let (Some(issuer), Some(folder)) = (self.settings.local.clone(), self.folders.path(Source::Local)) else {
            return;
        };
        match self.local.names.next(self.clock.now()) {
            None => {}
            Some(Decision::Look) => self.jobs.begin(Job::LookLocal, async move {
                let looked = local::aside(async move { issuer.look(&folder).await }).await;
                Done::LocalLooked(looked.unwrap_or_else(|error| Err(Absent::Failed(error.to_string()))))
            }),
            Some(Decision::Make(domain, signer)) => {
                if self.shelf.get(&domain).is_none() {
                    // A moment: handshakes wait for it (B163).
                    self.keyring.borrow_mut().begin_order(&domain);
                }
                self.changed.insert(domain.clone());
                self.local.making = Some(domain.clone());
                self.jobs.begin(Job::MakeLocal(domain.clone()), make(signer, domain, folder));
            }
        }
    }

    pub(super) fn local_looked(&mut self, looked: Result<Box<dyn LocalSigner>, Absent>) {
        let absent = looked.as_ref().err().cloned();
        self.local.names.looked(looked, self.clock.now());
        if self.local.absent != absent {
            match &absent {
                Some(why) => {
                    tracing::warn!("no new certificates for local names, plain HTTP for those without one: {why}")
                }
                None => tracing::info!("mkcert is there: local names get certificates"),
            }
            self.local.absent = absent;
        }
        // It concerns all of them.
        self.shown = None;
    }

    pub(super) fn local_made(&mut self, domain: Domain, made: Result<Made, MkcertError>) {
        self.end_local();
        match &made {
            Ok(Made { certificate, untrusted_by }) => {
                if self.is_opening {
                    // What is being read was written before this.
                    self.read_meanwhile.insert(domain.clone());
                }
                let is_own = self.shelf.get(&domain).is_some_and(|serving| serving.source == Source::Own);
                if !is_own {
                    self.shelf.put(&domain, Source::Local, &certificate.into(), &mut self.keyring.borrow_mut());
                }
                tracing::info!(%domain, until = shown(certificate.not_after), "new certificate by mkcert");
                if !untrusted_by.is_empty() && self.local.untrusted_by != *untrusted_by {
                    let stores = untrusted_by.join(", ");
                    tracing::warn!(
                        "mkcert's CA is not in the trust store of {stores}: run `mkcert -install` as yourself; {TRUST_STORES}"
                    );
                }
                self.local.untrusted_by.clone_from(untrusted_by);
                self.local.failure = None;
            }
            Err(why) => {
                let why = one_line(&why.to_string());
                // What is missing is missing for all.
                if self.local.failure.as_ref() != Some(&why) {
                    tracing::warn!(%domain, "no certificate for this local name: {why}");
                }
                self.local.failure = Some(why);
            }
        }
        self.local.names.made(&domain, made, self.clock.now());
        self.changed.insert(domain);
    }

    /// Handshakes wait no more for the certificate that is being made.
    pub(super) fn end_local(&mut self) {
        if let Some(domain) = self.local.making.take() {
            self.keyring.borrow_mut().end_order(&domain);
        }
    }
}

async fn make(signer: Arc<Box<dyn LocalSigner>>, domain: Domain, folder: PathBuf) -> Done {
    let asked = domain.clone();
    let made = local::aside(async move { local::make(&**signer, &asked, &folder).await }).await;
    Done::LocalMade { domain, made: made.unwrap_or_else(|error| Err(MkcertError::Io(error))) }
}
