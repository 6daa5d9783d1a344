//! What happens, and what it means for who serves and who orders.

use std::task::{Context, Poll, Waker};

use tokio::{task::spawn_blocking, time::Instant};

use super::{Done, Job, Look, Serving, Unstored, Work};
use crate::{
    certs::{
        is_local,
        issuer::Issuer,
        keeper::{
            clock::shown,
            folders::{Reading, Source},
            orders::End,
        },
        schedule::{Event, OrderId, Outcome},
        store::{Certificate, Kept},
    },
    domain::Domain,
    limits,
};

impl<I: Issuer + 'static> Work<I> {
    /// All that has happened by now.
    pub(super) fn hear(&mut self) {
        while let Some(done) = self.jobs.try_next() {
            self.done(done);
        }
        for domain in self.touched.take() {
            self.rule_changed(domain);
        }
        while self.looks.len() < limits::WISHES_AT_ONCE
            && let Some(domain) = self.board.take_wish()
        {
            self.look(domain);
        }
        self.hears_again = Instant::now() + limits::ASKED_PAUSE;
        for _ in 0..limits::CERTIFICATES_ASKED_MAX {
            let asked = self.keyring.borrow_mut().poll_asked(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(domain) = asked else { break };
            self.asked(domain);
        }
    }

    /// A handshake or a request wants this name, which has no certificate.
    pub(super) fn asked(&mut self, domain: Domain) {
        if self.table.find(&domain).is_none() {
            return;
        }
        if is_local(&domain) {
            return self.local_asked(&domain);
        }
        if let Some(office) = &mut self.office
            && office.wanted(&domain)
        {
            office.tell(Event::Asked(domain.clone()));
            self.changed.insert(domain);
        }
    }

    /// Its rule was added, removed or replaced: the table says what holds now.
    fn rule_changed(&mut self, domain: Domain) {
        let is_mapped = self.table.find(&domain).is_some();
        let is_certified = self.shelf.get(&domain).is_some();
        match &mut self.office {
            Some(office) if !is_local(&domain) => match is_mapped {
                true => _ = office.mapped(&domain, is_certified, false),
                false => office.unmapped(&domain),
            },
            _ if is_mapped => self.list(&domain),
            _ => {
                self.unordered.remove(&domain);
                self.local.names.unmapped(&domain);
            }
        }
        self.changed.insert(domain);
    }

    /// Names whose certificates are not ordered here, as far as they are shown.
    pub(super) fn list_unordered(&mut self) {
        let is_all = self.settings.ca.is_none() || self.closed.is_some();
        let table = self.table.clone();
        table.for_each(|rule| {
            if is_all || is_local(&rule.domain) {
                self.list(&rule.domain);
            }
        });
        self.shown = None;
    }

    pub(super) fn list(&mut self, domain: &Domain) {
        if self.unordered.len() < limits::UNORDERED_NAMES_SHOWN_MAX {
            self.unordered.insert(domain.clone());
        }
        if is_local(domain) {
            self.local_mapped(domain, limits::LOCAL_NAMES_MAX);
        }
    }

    /// A person wants a look at this name: its files first, then a try.
    pub(super) fn look(&mut self, domain: Domain) {
        if let Some(look) = self.looks.get_mut(&domain) {
            look.is_again = true;
            return;
        }
        let (serving, is_unstored) = self.what_serves(&domain);
        self.looks.insert(domain.clone(), Look { serving, is_unstored, is_again: false });
        let folders = self.folders.clone();
        self.jobs.begin(Job::Read(domain.clone()), async move {
            let asked = domain.clone();
            let reading = spawn_blocking(move || folders.read_name(&asked)).await;
            let reading = reading.unwrap_or_else(|error| Reading::failed(&error.to_string()));
            Done::Read { domain, reading }
        });
    }

    fn what_serves(&self, domain: &Domain) -> (Option<Serving>, bool) {
        (self.shelf.get(domain).copied(), self.unstored.contains_key(domain))
    }

    /// Whether nothing has happened to the name since its files were read; if something has, they are read again.
    fn is_last_look(&mut self, domain: &Domain) -> bool {
        let Some(look) = self.looks.remove(domain) else { return false };
        let is_last = !look.is_again && self.what_serves(domain) == (look.serving, look.is_unstored);
        if !is_last {
            self.look(domain.clone());
        }
        is_last
    }

    /// Something that was begun is over.
    pub(super) fn done(&mut self, done: Done) {
        match done {
            Done::Ordered { domain, order, end } => {
                match end {
                    End::Issued { certificate, proved_by, stored } => {
                        self.issued(&domain, order, *certificate, proved_by, stored);
                    }
                    End::Failed(outcome) => self.failed(&domain, order, outcome),
                }
                self.changed.insert(domain);
            }
            Done::Read { domain, reading } => {
                if self.is_last_look(&domain) {
                    self.read(domain, &reading);
                }
            }
            Done::Opened(opened) => self.opened(opened),
            Done::Stored { certificate, stored } => self.stored(*certificate, stored),
            Done::LocalLooked(looked) => self.local_looked(looked),
            Done::LocalMade { domain, made } => self.local_made(domain, made),
            Done::LookedUp { domain, addresses, is_answered } => {
                if let Some(office) = &mut self.office {
                    office.looked_up(&domain, addresses, is_answered);
                }
                self.changed.insert(domain);
            }
            Done::Directory(read) => {
                if let Some(office) = &mut self.office {
                    office.directory_read(read);
                }
                self.shown = None;
            }
            Done::Registered(registered) => {
                if let Some(office) = &mut self.office {
                    office.registered(registered);
                }
            }
            Done::Window { domain, window } => {
                if let Some(office) = &mut self.office {
                    office.window_read(domain.clone(), window);
                }
                self.changed.insert(domain);
            }
        }
    }

    /// A new certificate serves from now on, unless a person has given one meanwhile.
    fn issued(
        &mut self,
        domain: &Domain,
        order: OrderId,
        certificate: Certificate,
        proved_by: Option<crate::certs::schedule::Challenge>,
        stored: Result<(), String>,
    ) {
        let Certificate { not_before, not_after, .. } = certificate;
        if self.shelf.get(domain).is_some_and(|serving| serving.source == Source::Own) {
            self.keyring.borrow_mut().set_https_only(domain, true);
        } else {
            self.shelf.put(domain, Source::Ca, &Kept::from(&certificate), &mut self.keyring.borrow_mut());
        }
        match stored {
            Ok(()) => {
                self.unstored.remove(domain);
                tracing::info!(%domain, until = shown(not_after), "new certificate");
            }
            Err(why) => {
                tracing::error!(%domain, "its new certificate serves, but is not on disk: {why}");
                self.store_again = Instant::now() + limits::STORE_PAUSE;
                let unstored = Unstored { certificate: Box::new(certificate), why, is_storing: false };
                self.unstored.insert(domain.clone(), unstored);
            }
        }
        self.renewal_warnings.forget(domain);
        if let Some(office) = &mut self.office {
            let outcome = Outcome::Issued { not_before, not_after, proved_by };
            office.tell(Event::Ended { domain: domain.clone(), order, outcome });
            if self.shelf.get(domain).is_some() {
                office.held(domain, &self.shelf);
            }
        }
    }

    fn failed(&mut self, domain: &Domain, order: OrderId, outcome: Outcome) {
        let Some(office) = &mut self.office else { return };
        let Outcome::Failed { reason, .. } = &outcome else { return };
        let reason = crate::certs::record::one_line(reason);
        let is_news = office.failed(domain, order, outcome);
        let now = self.clock.wall();
        match self.shelf.get(domain) {
            Some(serving) => {
                if self.renewal_warnings.is_due(domain, now) {
                    let until = shown(serving.not_after);
                    tracing::warn!(%domain, until, "its certificate cannot be renewed: {reason}");
                }
            }
            None if is_news => tracing::warn!(%domain, "no certificate yet: {reason}"),
            None => tracing::debug!(%domain, "no certificate yet: {reason}"),
        }
    }

    /// The files of one name were read again because a person wished it.
    fn read(&mut self, domain: Domain, reading: &Reading) {
        if self.is_opening {
            self.read_meanwhile.insert(domain.clone());
        }
        let finding = reading.names.get(&domain);
        let problems = finding.map(|finding| finding.problems.as_slice()).unwrap_or_default();
        self.shelf.damaged(&domain, problems);
        let is_whole = reading.unread.is_empty() && problems.is_empty();
        let best = finding.and_then(|finding| finding.best()).map(|(source, _)| source);
        let was_own = self.shelf.get(&domain).is_some_and(|serving| serving.source == Source::Own);
        if best == Some(Source::Own) && !was_own {
            tracing::info!(%domain, "served with the certificate that a person gave");
        }
        let mut keyring = self.keyring.borrow_mut();
        // Signed, but not on disk: better than what is.
        let unstored = self.unstored.get(&domain).filter(|_| best != Some(Source::Own));
        match (finding, unstored) {
            (_, Some(Unstored { certificate, .. })) => {
                _ = self.shelf.put(&domain, Source::Ca, &Kept::from(&**certificate), &mut keyring);
            }
            (Some(finding), None) if best.is_some() && !(was_own && reading.lacks(Source::Own)) => {
                _ = self.shelf.serve(&domain, finding, &mut keyring)
            }
            _ if is_whole && self.shelf.get(&domain).is_some() => {
                tracing::info!(%domain, "its certificate was taken away");
                self.shelf.withdraw(&domain, &mut keyring);
            }
            _ => {}
        }
        drop(keyring);
        self.own_warnings.forget(&domain);
        self.warned = None;
        let is_mapped = self.table.find(&domain).is_some();
        if let Some((_, again)) = &mut self.closed {
            *again = Instant::now();
        }
        if is_local(&domain) {
            self.local_read(&domain);
        } else if let Some(office) = &mut self.office {
            office.held(&domain, &self.shelf);
            if is_mapped && office.wanted(&domain) {
                office.tell(Event::Retry(domain.clone()));
            }
        }
        self.changed.insert(domain);
    }

    /// Certificates that the disk did not take are offered to it again.
    pub(super) fn store_again(&mut self) {
        let Some(office) = &self.office else { return };
        if self.unstored.is_empty() || Instant::now() < self.store_again {
            return;
        }
        self.store_again = Instant::now() + limits::STORE_PAUSE;
        for unstored in self.unstored.values_mut().filter(|unstored| !unstored.is_storing) {
            unstored.is_storing = true;
            let (orders, certificate) = (office.orders(), unstored.certificate.clone());
            self.jobs.begin(Job::Store(certificate.clone()), async move {
                let stored = orders.store(&certificate).await;
                Done::Stored { certificate, stored }
            });
        }
    }

    fn stored(&mut self, certificate: Certificate, stored: Result<(), String>) {
        let domain = &certificate.domain;
        let Some(unstored) = self.unstored.get_mut(domain) else { return };
        unstored.is_storing = false;
        match stored {
            // Not if a newer one has come meanwhile.
            Ok(()) if unstored.certificate.not_after == certificate.not_after => {
                self.unstored.remove(domain);
                tracing::info!(%domain, "its certificate is on disk now");
            }
            Ok(()) => {}
            Err(why) => {
                tracing::error!(%domain, "its certificate is still not on disk: {why}");
                unstored.why = why;
            }
        }
        self.changed.insert(domain.clone());
    }
}
