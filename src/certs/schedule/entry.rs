//! What is known about one name, and what follows from it alone.

use super::{
    bucket::{Bucket, Shape},
    event::{Challenge, Held, OrderId, Origin},
    gate,
    jitter::{around, jitter},
};
use crate::{
    certs::{
        is_local,
        record::{self, Reader, Writer},
    },
    domain::Domain,
    limits,
};

pub(super) const FAILURES: Shape = Shape::new(limits::FAILURES_BURST, limits::FAILURES_EVERY);
pub(super) const CONSECUTIVE: Shape =
    Shape::new(limits::CONSECUTIVE_FAILURES_BURST, limits::CONSECUTIVE_FAILURES_EVERY);
pub(super) const WAKES: Shape = Shape::new(limits::ADDRESS_WAKES_BURST, limits::ADDRESS_WAKES_EVERY);

/// Steps of the ladder that a name whose record was damaged has behind it.
const CAUTIOUS_STEP: u64 = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    /// Its addresses are looked up, and an order may follow.
    Checking,
    Ordering {
        order: OrderId,
        began: u64,
    },
}

/// Where the agenda has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    /// To be ordered as soon as there is room: class, rank.
    Ready(u8, u64),
    /// Not before this time of the budget's clock.
    Try(u64),
    /// Not before this time of the wall clock.
    Due(u64),
}

/// Times are seconds of the budget's clock where nothing else is said.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Entry {
    pub(super) domain: Domain,
    pub(super) is_local: bool,
    pub(super) is_mapped: bool,
    pub(super) is_asked_for: bool,
    pub(super) held: Option<Held>,
    pub(super) phase: Phase,
    pub(super) place: Place,
    pub(super) arrival: u64,
    /// Counted among the names that may need an order.
    pub(super) is_counted: bool,
    /// The limited domain of which this order is the one under way.
    pub(super) family: Option<String>,

    // The name service.
    /// The last answer, if there was one: what it was.
    pub(super) answer: Option<Option<u64>>,
    pub(super) looked_up: u64,
    pub(super) is_looking: bool,
    pub(super) watched_since: Option<u64>,
    pub(super) next_look: Option<u64>,

    // Renewal information.
    pub(super) next_window: Option<u64>,
    /// The window of the certificate that ends then is being asked for.
    pub(super) reads_for: Option<u64>,

    pub(super) is_unsaved: bool,
    pub(super) is_on_disk: bool,

    // What a record keeps.
    /// The CA has signed for this name before: an order is a renewal.
    pub(super) was_issued: bool,
    pub(super) proved_by: Option<Challenge>,
    /// Failures of the site's kind in a row.
    pub(super) step: u64,
    /// Troubles of the CA in a row, with this name.
    pub(super) troubles: u32,
    pub(super) next_try: u64,
    /// The CA's word: nobody's wish passes it.
    pub(super) held_until: u64,
    pub(super) is_paused: bool,
    pub(super) last_try: u64,
    /// An order was under way when the record was read.
    pub(super) was_interrupted: bool,
    pub(super) failures: Bucket,
    pub(super) exact_set: Bucket,
    pub(super) exact_every: u64,
    pub(super) consecutive: Bucket,
    pub(super) wakes: Bucket,
    /// It had no address when it was last looked up for an order; the next try does not ask.
    pub(super) is_unresolved: bool,
    /// The end of the certificate that it is about, then from, until, and the moment drawn between: wall clock.
    pub(super) window: Option<[u64; 4]>,
    pub(super) reason: String,
}

impl Entry {
    pub(super) fn new(domain: Domain) -> Self {
        Self {
            is_local: is_local(&domain),
            domain,
            is_mapped: false,
            is_asked_for: false,
            held: None,
            phase: Phase::Idle,
            place: Place::Nowhere,
            arrival: 0,
            is_counted: false,
            family: None,
            answer: None,
            looked_up: 0,
            is_looking: false,
            watched_since: None,
            next_look: None,
            next_window: None,
            reads_for: None,
            is_unsaved: false,
            is_on_disk: false,
            was_issued: false,
            proved_by: None,
            step: 0,
            troubles: 0,
            next_try: 0,
            held_until: 0,
            is_paused: false,
            last_try: 0,
            was_interrupted: false,
            failures: Bucket::FULL,
            exact_set: Bucket::FULL,
            exact_every: limits::EXACT_SET_EVERY.as_secs(),
            consecutive: Bucket::FULL,
            wakes: Bucket::FULL,
            is_unresolved: false,
            window: None,
            reason: String::new(),
        }
    }

    /// Its record is there and says nothing: whatever it may have spent counts as spent.
    pub(super) fn lost(domain: Domain) -> Self {
        Self {
            step: CAUTIOUS_STEP,
            failures: Bucket::LOST,
            exact_set: Bucket::LOST,
            wakes: Bucket::LOST,
            ..Self::new(domain)
        }
    }

    /// Whether a certificate of the CA is wanted at all.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_mapped && !self.is_local && self.held.is_none_or(|held| held.origin == Origin::Issued)
    }

    /// Whether nothing would be lost with it.
    pub(super) fn is_forgettable(&self, now: u64) -> bool {
        let is_old = self.last_try.saturating_add(limits::RETRY_AFTER_MAX.as_secs()) < now || self.last_try == 0;
        !self.is_mapped
            && self.phase == Phase::Idle
            && !(self.is_looking || self.reads_for.is_some() || self.was_issued)
            && self.held.is_none()
            && is_old
            && self.exact_set.0 <= now
            && self.held_until <= now
    }

    pub(super) fn exact_shape(&self) -> Shape {
        Shape { capacity: limits::EXACT_SET_BURST, every: self.exact_every }
    }

    /// When its certificate is to be renewed, by the wall clock; 0 without one.
    pub(super) fn due(&self, seed: u64) -> u64 {
        let Some(held) = self.held else { return 0 };
        let life = held.not_after.saturating_sub(held.not_before);
        let left = if life < limits::SHORT_LIFE.as_secs() { life / 2 } else { life / 3 };
        let earlier = jitter(seed, self.domain.as_str(), held.not_after, life / limits::RENEWAL_JITTER + 1);
        let by_rule = held.not_after.saturating_sub(left).saturating_sub(earlier);
        // Another certificate's window says nothing about this one.
        let window = self.window.filter(|[of, ..]| *of == held.not_after);
        window.map_or(by_rule, |[.., drawn]| drawn.min(by_rule))
    }

    /// When an order may begin, as far as this name is concerned.
    pub(super) fn earliest(&self) -> u64 {
        let buckets =
            [self.failures.next(FAILURES), self.exact_set.next(self.exact_shape()), self.consecutive.next(CONSECUTIVE)];
        buckets.into_iter().fold(self.next_try.max(self.held_until), u64::max)
    }

    /// Who comes first: renewals, then names that someone waits for, then new names, then those that failed before.
    pub(super) fn ready(&self, wall: u64) -> Place {
        let ends = self.held.map_or(0, |held| held.not_after);
        match self {
            _ if self.was_issued && ends.saturating_sub(wall) <= limits::RENEWAL_URGENT.as_secs() => {
                Place::Ready(0, ends)
            }
            _ if self.was_issued => Place::Ready(1, ends),
            _ if self.step == 0 && self.is_asked_for => Place::Ready(2, self.arrival),
            _ if self.step == 0 => Place::Ready(3, self.arrival),
            _ => Place::Ready(4, self.arrival),
        }
    }

    /// The kind that worked comes first; after each failure the other one.
    pub(super) fn challenge(&self) -> Challenge {
        let first = self.proved_by.unwrap_or(Challenge::TlsAlpn01);
        if self.step.is_multiple_of(2) { first } else { first.other() }
    }

    /// Whether its addresses must be looked up before an order.
    pub(super) fn needs_look_up(&self, now: u64) -> bool {
        let is_fresh = now <= self.looked_up.saturating_add(limits::LOOK_UP_LIFE.as_secs());
        !(self.is_unresolved || matches!(self.answer, Some(Some(_))) && is_fresh)
    }

    pub(super) fn begin(&mut self, order: OrderId, now: u64) {
        self.phase = Phase::Ordering { order, began: now };
        self.last_try = now;
        self.failures.spend(FAILURES, now);
        self.consecutive.spend(CONSECUTIVE, now);
        self.exact_set.spend(self.exact_shape(), now);
        self.is_unresolved = false;
        self.was_interrupted = false;
    }

    pub(super) fn succeed(&mut self, held: Held, proved_by: Option<Challenge>, now: u64) {
        let life = held.not_after.saturating_sub(held.not_before);
        let every = limits::EXACT_SET_EVERY.as_secs().min(life / 4).max(1);
        self.exact_set.change_pace(self.exact_every, every, now);
        self.exact_every = every;
        self.consecutive = Bucket::FULL;
        self.proved_by = proved_by.or(self.proved_by);
        self.held = Some(held);
        (self.was_issued, self.was_interrupted, self.is_unresolved, self.is_paused) = (true, false, false, false);
        (self.step, self.troubles, self.next_try) = (0, 0, 0);
        (self.window, self.next_window) = (None, Some(now));
        (self.watched_since, self.next_look) = (None, None);
        self.reason.clear();
    }

    /// One step up the ladder: 1, 10, 100 min, then daily.
    pub(super) fn climb(&mut self, seed: u64, now: u64) {
        self.step = self.step.saturating_add(1);
        let at = usize::try_from(self.step - 1).unwrap_or(usize::MAX).min(limits::RETRY_AFTER.len() - 1);
        let wait = limits::RETRY_AFTER.get(at).map_or(0, |wait| wait.as_secs());
        self.next_try = now.saturating_add(self.around(wait, seed));
    }

    /// The last step of the ladder, wherever the name is on it.
    pub(super) fn once_a_day(&mut self, seed: u64, from: u64) {
        let day = limits::RETRY_AFTER.last().map_or(0, |wait| wait.as_secs());
        self.next_try = self.next_try.max(from.saturating_add(self.around(day, seed)));
    }

    /// Trouble of the CA with this name: others go first next time.
    pub(super) fn stand_back(&mut self, seed: u64, now: u64) {
        self.troubles = self.troubles.saturating_add(1);
        self.next_try = self.next_try.max(now.saturating_add(self.around(gate::pause(self.troubles), seed)));
    }

    fn around(&self, seconds: u64, seed: u64) -> u64 {
        around(seconds, limits::RETRY_JITTER, seed, self.domain.as_str(), self.last_try)
    }

    /// When a watched name is looked up again.
    pub(super) fn look_again(&self, now: u64) -> Option<u64> {
        let age = now.saturating_sub(self.watched_since?);
        let pace = limits::LOOK_UP_AGAIN.iter().find(|(below, _)| age < below.as_secs());
        pace.map(|(_, every)| now.saturating_add(every.as_secs()))
    }

    /// No time read from disk, or told by a clock that was wrong, lies further ahead than it can.
    /// Returns whether one did.
    pub(super) fn clamp(&mut self, now: u64) -> bool {
        let figures = |entry: &Self| {
            let buckets = [entry.failures, entry.exact_set, entry.consecutive, entry.wakes];
            ([entry.next_try, entry.held_until, entry.last_try], buckets)
        };
        let before = figures(self);
        let latest = now.saturating_add(limits::RETRY_AFTER_MAX.as_secs());
        self.next_try = self.next_try.min(latest);
        self.held_until = self.held_until.min(latest);
        self.last_try = self.last_try.min(now);
        self.exact_set.clamp(self.exact_shape(), now);
        self.failures.clamp(FAILURES, now);
        self.consecutive.clamp(CONSECUTIVE, now);
        self.wakes.clamp(WAKES, now);
        figures(self) != before
    }

    pub(super) fn write(&self) -> String {
        let proved_by = match self.proved_by {
            None => "nothing",
            Some(Challenge::TlsAlpn01) => "tls-alpn-01",
            Some(Challenge::Http01) => "http-01",
        };
        let [of, from, until, drawn] = self.window.unwrap_or_default();
        let is_ordering = matches!(self.phase, Phase::Ordering { .. });
        Writer::new(format_args!("hotcore-schedule 1 {}", self.domain))
            .flag("issued", self.was_issued)
            .line("proved-by", proved_by)
            .line("failures", self.step)
            .line("troubles", self.troubles)
            .line("last-try", self.last_try)
            .flag("ordering", is_ordering)
            .line("next-try", self.next_try)
            .line("held-until", self.held_until)
            .flag("paused", self.is_paused)
            .line("failure-bucket", self.failures.0)
            .line("exact-set-bucket", format_args!("{} {}", self.exact_set.0, self.exact_every))
            .line("consecutive-bucket", self.consecutive.0)
            .line("wakes-bucket", self.wakes.0)
            .flag("unresolved", self.is_unresolved)
            .line("window", format_args!("{of} {from} {until} {drawn}"))
            .line("reason", &self.reason)
            .finish()
    }

    /// `None`: damaged, another name's, or of a version that this one does not know. An order that was under way counts as a
    /// failure: the process that tried may have died of it.
    pub(super) fn read(domain: Domain, text: &[u8], seed: u64) -> Option<Self> {
        let mut reader = Reader::open(text, format_args!("hotcore-schedule 1 {domain}"))?;
        let mut entry = Self::new(domain);
        entry.was_issued = reader.flag("issued")?;
        entry.proved_by = match reader.text("proved-by")? {
            "nothing" => None,
            "tls-alpn-01" => Some(Challenge::TlsAlpn01),
            "http-01" => Some(Challenge::Http01),
            _ => return None,
        };
        entry.step = reader.number("failures")?;
        entry.troubles = u32::try_from(reader.number("troubles")?).ok()?;
        entry.last_try = reader.number("last-try")?;
        entry.was_interrupted = reader.flag("ordering")?;
        entry.next_try = reader.number("next-try")?;
        entry.held_until = reader.number("held-until")?;
        entry.is_paused = reader.flag("paused")?;
        entry.failures = Bucket(reader.number("failure-bucket")?);
        let [full_at, every] = reader.numbers("exact-set-bucket")?;
        (entry.exact_set, entry.exact_every) = (Bucket(full_at), every);
        entry.consecutive = Bucket(reader.number("consecutive-bucket")?);
        entry.wakes = Bucket(reader.number("wakes-bucket")?);
        entry.is_unresolved = reader.flag("unresolved")?;
        let window: [u64; 4] = reader.numbers("window")?;
        entry.window = Some(window).filter(|window| *window != [0; 4]);
        let reason = reader.text("reason")?;
        entry.reason = record::one_line(reason);
        let is_sane = entry.reason == reason && (1..=limits::EXACT_SET_EVERY.as_secs()).contains(&every);
        (is_sane && reader.is_at_end()).then_some(())?;
        if entry.was_interrupted {
            entry.climb(seed, entry.last_try);
        }
        Some(entry)
    }
}
