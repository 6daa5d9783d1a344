//! Which certificate serves each name: puts into the keyring what was read or issued, the best of each name.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::{
    certs::{
        is_local,
        schedule::{Held, Origin},
        store::Kept,
    },
    domain::Domain,
    limits,
    tls::Keyring,
};

use super::folders::{Finding, Reading, Source};

/// What serves. The certificates themselves are in the keyring.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    names: HashMap<Domain, Serving>,
    /// Local names that have had another certificate than one that was made here: plain HTTP never comes back (B164).
    secure: HashSet<Domain>,
    /// What is wrong with files, for people; and with whole folders.
    damages: BTreeMap<Domain, Vec<String>>,
    unread: Vec<String>,
}

/// Times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Serving {
    pub(super) source: Source,
    pub(super) not_before: u64,
    pub(super) not_after: u64,
}

impl Serving {
    fn new(source: Source, kept: &Kept) -> Self {
        Self { source, not_before: kept.not_before, not_after: kept.not_after }
    }

    /// As the schedule is told; certificates of local names are none of its business.
    pub(super) fn held(self) -> Option<Held> {
        let Self { source, not_before, not_after } = self;
        let origin = match source {
            Source::Local => return None,
            Source::Ca => Origin::Issued,
            Source::Own => Origin::Own,
        };
        Some(Held { not_before, not_after, origin })
    }
}

impl Shelf {
    pub(super) fn get(&self, domain: &Domain) -> Option<&Serving> {
        self.names.get(domain)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Domain, &Serving)> {
        self.names.iter()
    }

    /// What is wrong with folders and files: the first of them.
    pub(super) fn damages(&self) -> Vec<String> {
        let damages = self.unread.iter().chain(self.damages.values().flatten());
        damages.take(limits::BOARD_DAMAGES_MAX).cloned().collect()
    }

    /// Serves what a reading of all folders has found, and takes away what is no longer there. What a folder holds that could not be
    /// read stays as it was.
    pub(super) fn replace(&mut self, reading: &Reading, keyring: &mut Keyring) {
        let is_gone = |domain: &Domain, serving: &Serving| {
            // A file that was damaged since it was read is no reason to end what serves.
            let is_known = |finding: &Finding| finding.best().is_some() || !finding.problems.is_empty();
            let is_found = reading.names.get(domain).is_some_and(is_known);
            !is_found && !reading.lacks(serving.source)
        };
        let gone = self.names.iter().filter(|(domain, serving)| is_gone(domain, serving));
        let gone: Vec<_> = gone.map(|(domain, _)| domain.clone()).collect();
        gone.iter().for_each(|domain| self.withdraw(domain, keyring));
        let unread = reading.unread.iter().map(|(_, why)| why.clone()).collect();
        let before = std::mem::replace(&mut self.unread, unread);
        for why in self.unread.iter().filter(|why| !before.contains(why)) {
            tracing::error!("{why}");
        }
        self.damages.retain(|domain, _| reading.names.contains_key(domain));
        for (domain, finding) in &reading.names {
            self.damaged(domain, &finding.problems);
            if !self.names.get(domain).is_some_and(|serving| reading.lacks(serving.source)) {
                self.serve(domain, finding, keyring);
            }
        }
    }

    /// Serves the best that was found for one name, if it is not what serves already. Returns whether there is one.
    pub(super) fn serve(&mut self, domain: &Domain, finding: &Finding, keyring: &mut Keyring) -> bool {
        if finding.had_one {
            self.secure.extend(is_local(domain).then(|| domain.clone()));
            keyring.set_https_only(domain, true);
        }
        let Some((source, kept)) = finding.best() else { return false };
        let is_own_damaged = |serving: &Serving| serving.source > source && !finding.problems.is_empty();
        if self.names.get(domain).is_some_and(is_own_damaged) {
            return true;
        }
        self.put(domain, source, kept, keyring)
    }

    /// Serves this certificate from now on; `false`: it does not fit.
    pub(super) fn put(&mut self, domain: &Domain, source: Source, kept: &Kept, keyring: &mut Keyring) -> bool {
        if let Err(error) = keyring.insert(domain.clone(), kept.key.clone()) {
            tracing::error!(%domain, "{error}");
            return false;
        }
        if source != Source::Local && is_local(domain) {
            self.secure.insert(domain.clone());
        }
        let serving = Serving::new(source, kept);
        let is_known = self.names.insert(domain.clone(), serving) == Some(serving);
        // For ever (B164), but for what was made here: where that has ended, it stays so when it is read again.
        if source != Source::Local || !is_known {
            keyring.set_https_only(domain, true);
        }
        true
    }

    /// Nothing serves this name any more.
    pub(super) fn withdraw(&mut self, domain: &Domain, keyring: &mut Keyring) {
        keyring.remove(domain);
        let was = self.names.remove(domain);
        if was.is_some_and(|serving| serving.source == Source::Local) {
            self.end_local(domain, keyring);
        }
    }

    /// The certificate that was made here for this local name is gone or has ended. Who could renew it may be gone as well, so
    /// plain HTTP comes back.
    pub(super) fn end_local(&self, domain: &Domain, keyring: &mut Keyring) {
        if !self.secure.contains(domain) {
            keyring.set_https_only(domain, false);
        }
    }

    /// What is wrong with the files of this name now.
    pub(super) fn damaged(&mut self, domain: &Domain, problems: &[String]) {
        let before = self.damages.remove(domain).unwrap_or_default();
        for problem in problems.iter().filter(|problem| !before.contains(problem)) {
            tracing::error!(%domain, "{problem}");
        }
        if !problems.is_empty() {
            self.damages.insert(domain.clone(), problems.to_vec());
        }
    }
}
