//! What people are told: the board, and warnings in the log.

use std::time::Duration;

use tokio::time::Instant;

use super::Work;
use crate::{
    certs::{
        is_local,
        issuer::Issuer,
        keeper::{
            account::Trouble,
            board::Standing,
            clock::shown,
            folders::Source,
            standing::{self, Facts},
        },
        schedule::State,
    },
    domain::Domain,
    limits,
};

/// Names whose places are counted one by one; for more of them, all are counted at once.
const FEW: usize = 64;

impl<I: Issuer + 'static> Work<I> {
    /// Brings the board up to date.
    pub(super) fn show(&mut self) {
        let problems = self.problems();
        let is_many = self.changed.len() > FEW;
        let rests = |(shown, took): (Instant, Duration)| shown.elapsed() < limits::BOARD_PAUSE * took;
        if is_many && self.shown.is_some_and(rests) {
            self.board.set_problems(problems);
            return;
        }
        let is_due = self.shown.is_none_or(|shown| shown.0.elapsed() >= limits::BOARD_REFRESH && !rests(shown));
        let changed = std::mem::take(&mut self.changed);
        let is_done = is_due || is_many;
        if is_done {
            let begin = Instant::now();
            self.show_all(&problems);
            self.shown = Some((Instant::now(), begin.elapsed()));
        }
        for domain in changed {
            let schedule = self.office.as_ref().map(super::Office::schedule);
            // Those that are in the schedule have been shown with all others.
            let is_known = schedule.is_some_and(|schedule| schedule.state_uncounted(&domain).is_some());
            if !(is_done && is_known) {
                let state = schedule.and_then(|schedule| schedule.state(&domain));
                let standing = self.table.find(&domain).and_then(|_| self.standing(&domain, state, &problems));
                self.board.put(&domain, standing);
            }
        }
        self.board.set_problems(problems);
    }

    fn show_all(&self, problems: &[String]) {
        if let Some(office) = &self.office {
            for (domain, state) in office.schedule().states() {
                self.board.put(domain, self.standing(domain, Some(state), problems));
            }
        } else {
            for (domain, _) in self.shelf.iter().filter(|(domain, _)| self.table.find(domain).is_some()) {
                self.board.put(domain, self.standing(domain, None, problems));
            }
        }
        for domain in &self.unordered {
            self.board.put(domain, self.standing(domain, None, problems));
        }
    }

    /// `None`: the name is one of many that are not shown.
    fn standing(&self, domain: &Domain, state: Option<State>, problems: &[String]) -> Option<Standing> {
        let serving = self.shelf.get(domain);
        let facts = Facts {
            serving,
            state: None,
            reason: "",
            is_answered: self.office.as_ref().is_none_or(|office| office.is_answered(domain)),
            problem: problems.first().map(String::as_str),
            pause: 0,
            now: self.clock.wall(),
        };
        let is_listed = serving.is_some() || self.unordered.contains(domain);
        match (&self.office, &self.closed) {
            _ if is_local(domain) => {
                is_listed.then(|| standing::local(facts, self.local.names.standing(domain, self.clock.now())))
            }
            _ if self.settings.ca.is_none() => is_listed.then(|| standing::off(facts)),
            (Some(office), _) => {
                let reason = office.schedule().reason(domain);
                state.map(|_| standing::ordered(Facts { state, reason, pause: office.pause(), ..facts }))
            }
            (None, Some((Trouble::Person(_), _))) => Some(standing::stopped(facts, true)),
            (None, Some(_)) => Some(standing::stopped(facts, false)),
            (None, None) => Some(standing::opening(facts)),
        }
    }

    /// What holds up all names, one sentence each, and what is wrong with files.
    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.closed.iter().map(|(trouble, _)| trouble.to_string()).collect();
        if let Some(office) = &self.office {
            problems.extend(office.problems());
        }
        problems.extend(self.folder_problems.iter().cloned());
        for (domain, unstored) in self.unstored.iter().take(limits::BOARD_DAMAGES_MAX) {
            problems.push(format!("the certificate of {domain} serves, but is not on disk: {}", unstored.why));
        }
        problems.extend(self.shelf.damages());
        problems
    }

    /// Warns of certificates that end and are not renewed (B171).
    pub(super) fn warn(&mut self) {
        if self.warned.is_some_and(|warned| warned.elapsed() < limits::WARNING_LOOK) {
            return;
        }
        self.warned = Some(Instant::now());
        let now = self.clock.wall();
        for (domain, serving) in self.shelf.iter() {
            let life = serving.not_after.saturating_sub(serving.not_before);
            let left = serving.not_after.saturating_sub(now);
            match serving.source {
                Source::Own => match standing::own_warning(serving.not_after, now) {
                    Some(words) if self.own_warnings.is_due(domain, now) => tracing::warn!(%domain, "{words}"),
                    Some(_) => {}
                    None => self.own_warnings.forget(domain),
                },
                Source::Local if left == 0 => self.shelf.end_local(domain, &mut self.keyring.borrow_mut()),
                Source::Local => {}
                // Half of the time that there is for a renewal is gone.
                Source::Ca if left < life / 6 => {
                    let schedule = self.office.as_ref().map(super::Office::schedule);
                    let is_wanted = match schedule {
                        Some(schedule) => schedule.state_uncounted(domain).is_some(),
                        None => self.table.find(domain).is_some(),
                    };
                    if is_wanted && self.renewal_warnings.is_due(domain, now) {
                        let reason = schedule.map_or("", |schedule| schedule.reason(domain));
                        let until = shown(serving.not_after);
                        tracing::warn!(%domain, until, "its certificate should have been renewed by now: {reason}");
                    }
                }
                Source::Ca => {}
            }
        }
    }
}
