//! Which local name gets a certificate next, and what a person is told about each (B224, B225).
//!
//! Told of names, certificates and outcomes, with the time each time; says what to do, one thing at a time. Pauses run by the
//! steady clock, ends of certificates by the wall clock. Never here: a file, a program, a certificate of another name.

use std::{collections::BTreeMap, sync::Arc};

use super::super::{
    keeper::{Standing, State},
    mkcert::{Absent, Made, Mkcert, MkcertError},
    record::one_line,
    schedule::Now,
    store::Kept,
};
use crate::{domain::Domain, limits};

/// Who signs: mkcert, or a test's stand-in.
pub trait Authority {
    /// Whether this is one of its certificates.
    fn has_made(&self, certificate: &Kept) -> bool;
}

impl Authority for Mkcert {
    fn has_made(&self, certificate: &Kept) -> bool {
        self.has_signed(&certificate.key, certificate.not_before)
    }
}

/// What to do next. The outcome is to be told, whatever it is: until then there is nothing else to do.
#[derive(Debug)]
pub enum Decision<A = Mkcert> {
    /// [`Mkcert::look`], then [`LocalNames::looked`].
    Look,
    /// [`Mkcert::certificate`] for this name, then [`LocalNames::made`].
    Make(Domain, Arc<A>),
}

/// The local names that are mapped.
#[derive(Debug)]
pub struct LocalNames<A = Mkcert> {
    names: BTreeMap<Domain, Name>,
    /// What the last look found; `None` before the first one.
    found: Option<Result<Arc<A>, Absent>>,
    /// Looks in a row that found none.
    misses: usize,
    /// The next look; steady.
    look_at: u64,
    /// A decision whose outcome was not told yet.
    is_busy: bool,
}

#[derive(Debug, Default)]
struct Name {
    held: Option<Kept>,
    /// Whether the CA of the last look has signed it.
    is_of_our_authority: bool,
    /// In a row.
    failures: usize,
    /// Not tried before; steady.
    again: u64,
    /// Why the last try failed.
    failure: String,
    /// Stores that do not trust the CA.
    untrusted_by: Vec<String>,
    is_being_made: bool,
}

impl<A> Default for LocalNames<A> {
    fn default() -> Self {
        Self { names: BTreeMap::new(), found: None, misses: 0, look_at: 0, is_busy: false }
    }
}

impl<A: Authority> LocalNames<A> {
    /// There is a rule for this local name, and this certificate on disk. Again: nothing changes.
    pub fn mapped(&mut self, domain: &Domain, held: Option<Kept>) {
        let found = &self.found;
        self.names.entry(domain.clone()).or_insert_with(|| {
            let mut name = Name { held, ..Name::default() };
            if let Some(Ok(authority)) = found {
                name.compare(&**authority);
            }
            name
        });
    }

    /// The rule is gone.
    pub fn unmapped(&mut self, domain: &Domain) {
        self.names.remove(domain);
    }

    /// A person wants it tried now.
    pub fn retry(&mut self, domain: &Domain) {
        if let Some(name) = self.names.get_mut(domain) {
            name.again = 0;
            self.look_at = 0;
        }
    }

    /// The next thing to do; `None` as long as there is nothing, or the last one is under way.
    pub fn next(&mut self, now: Now) -> Option<Decision<A>> {
        if self.is_busy || self.names.is_empty() {
            return None;
        }
        if self.look_at <= now.steady {
            self.is_busy = true;
            return Some(Decision::Look);
        }
        let Some(Ok(authority)) = &self.found else { return None };
        let due = self.names.iter_mut().filter(|(_, name)| name.is_due(now));
        // A site without any certificate comes before one with an old one.
        let (domain, name) = due.min_by_key(|(_, name)| name.held.is_some())?;
        name.is_being_made = true;
        self.is_busy = true;
        Some(Decision::Make(domain.clone(), Arc::clone(authority)))
    }

    /// What [`Decision::Look`] came to.
    pub fn looked(&mut self, outcome: Result<A, Absent>, now: Now) {
        self.is_busy = false;
        let outcome = outcome.map(Arc::new);
        self.misses = match &outcome {
            Ok(authority) => {
                self.names.values_mut().for_each(|name| name.compare(&**authority));
                0
            }
            Err(_) => self.misses + 1,
        };
        // Also after one that found it: the CA may become another one.
        self.look_at = now.steady.saturating_add(pause(self.misses));
        self.found = Some(outcome);
    }

    /// What [`Decision::Make`] came to, once the certificate is kept.
    pub fn made(&mut self, domain: &Domain, outcome: Result<Made, MkcertError>, now: Now) {
        self.is_busy = false;
        if outcome.as_ref().is_err_and(MkcertError::is_of_the_authority) {
            self.look_at = 0;
        }
        let Some(name) = self.names.get_mut(domain) else { return };
        match outcome {
            Ok(made) => {
                let untrusted_by = made.untrusted_by;
                *name = Name {
                    held: Some(Kept::from(&made.certificate)),
                    is_of_our_authority: true,
                    untrusted_by,
                    // Should it be due at once, by a clock that is wrong, it is not made in a circle.
                    again: now.steady.saturating_add(pause(1)),
                    ..Name::default()
                };
            }
            Err(cause) => {
                name.is_being_made = false;
                name.failures += 1;
                name.failure = cause.to_string();
                name.again = now.steady.saturating_add(pause(name.failures));
            }
        }
    }

    /// Seconds until [`LocalNames::next`] may have something to do; `None`: not before something is told.
    pub fn wait(&self, now: Now) -> Option<u64> {
        if self.is_busy || self.names.is_empty() {
            return None;
        }
        let look = self.look_at.saturating_sub(now.steady);
        let first = self
            .found
            .as_ref()
            .is_some_and(Result::is_ok)
            .then(|| self.names.values().map(|name| name.due(now).saturating_sub(now.steady)).min());
        Some(first.flatten().map_or(look, |first| first.min(look)))
    }

    /// How many names there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// Whether this name is one of them.
    pub fn knows(&self, domain: &Domain) -> bool {
        self.names.contains_key(domain)
    }

    /// What a person is told about this name; `None`: it is not mapped.
    pub fn standing(&self, domain: &Domain, now: Now) -> Option<Standing> {
        let name = self.names.get(domain)?;
        let on_the_wall = |steady: u64| now.wall.saturating_add(steady.saturating_sub(now.steady));
        let next = match &self.found {
            _ if name.is_being_made => None,
            Some(Ok(_)) => Some(on_the_wall(name.due(now))),
            Some(Err(_)) => Some(on_the_wall(self.look_at)),
            None => None,
        };
        let until = name.held.as_ref().map(|held| held.not_after);
        Some(Standing { state: State::Local, until, next, reason: one_line(&self.reason(name)) })
    }

    fn reason(&self, name: &Name) -> String {
        let trouble = match &self.found {
            Some(Err(absent)) => absent.to_string(),
            _ if !name.failure.is_empty() => name.failure.clone(),
            _ if name.held.is_some() && !name.is_of_our_authority && self.found.is_some() => {
                "mkcert has another CA than before".to_owned()
            }
            _ if !name.untrusted_by.is_empty() => {
                let stores = name.untrusted_by.join(", ");
                return format!("mkcert's CA is not in the trust store of {stores}: run `mkcert -install` as yourself");
            }
            _ => String::new(),
        };
        match (&name.held, trouble.as_str()) {
            (Some(_), "") => trouble,
            (Some(_), _) => format!("no new certificate: {trouble}"),
            (None, "") => "plain HTTP until mkcert has made a certificate".to_owned(),
            (None, _) => format!("plain HTTP: {trouble}"),
        }
    }
}

impl Name {
    fn compare(&mut self, authority: &impl Authority) {
        self.is_of_our_authority = self.held.as_ref().is_some_and(|held| authority.has_made(held));
    }

    fn is_due(&self, now: Now) -> bool {
        self.due(now) <= now.steady
    }

    /// When a new certificate is to be made; steady.
    fn due(&self, now: Now) -> u64 {
        let due = match &self.held {
            Some(held) if self.is_of_our_authority => {
                let life = held.not_after.saturating_sub(held.not_before);
                // A third of the life is left.
                let renewal = held.not_after.saturating_sub(life / 3);
                now.steady.saturating_add(renewal.saturating_sub(now.wall))
            }
            _ => 0,
        };
        due.max(self.again)
    }
}

/// Seconds after so many failures in a row; after none as after many: that is the pace at which to look whether all is well.
fn pause(failures: usize) -> u64 {
    let [.., last] = limits::LOCAL_RETRY_AFTER;
    let index = failures.checked_sub(1);
    index.and_then(|index| limits::LOCAL_RETRY_AFTER.get(index)).unwrap_or(&last).as_secs()
}

#[cfg(test)]
mod tests;
