//! The side of the CA: tells the schedule what happens, has its records on disk before anything is done, and does what it says.

use std::{
    collections::{HashSet, VecDeque},
    rc::Rc,
    sync::Arc,
};

use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use crate::{
    certs::{
        issuer::{Failure as IssuerFailure, Issuer, Offer, RenewalWindow},
        schedule::{self, Decision, Event, Failure, Now, OrderId, Outcome, Reached, Saved, Schedule, State},
        store::Record,
    },
    domain::Domain,
    limits,
    routes::Table,
};

use super::{
    clock::{Clock, seconds, shown},
    folders::Reading,
    jobs::{Done, Job, Jobs},
    orders::{Orders, given_up},
    pulse::Pulse,
    resolver::{Resolver, fingerprint, is_answer},
    roster::Roster,
    shelf::Shelf,
};

/// See the page of this module.
#[derive(Debug)]
pub(super) struct Office<I> {
    schedule: Schedule,
    orders: Rc<Orders<I>>,
    roster: Roster,
    clock: Clock,
    resolver: Arc<dyn Resolver>,
    look_ups: Arc<Semaphore>,
    /// Interrupted orders that have not been gone on with yet.
    resumable: VecDeque<Domain>,
    /// Names about which the name service gave no answer when it was asked last.
    unanswered: HashSet<Domain>,
    /// Why the CA's directory could not be read last.
    silence: Option<String>,
    /// Why the disk did not take the last records.
    unsaved: Option<String>,
    /// The disk gave no answer, and is not asked before this time.
    silent_until: Option<Instant>,
    /// Until then it counts that there was room for a certificate.
    room_until: Option<Instant>,
}

impl<I: Issuer + 'static> Office<I> {
    /// With all that earlier processes knew. The names that have a rule come after that: [`Office::mapped`].
    pub(super) fn open(
        orders: Rc<Orders<I>>,
        seed: u64,
        budget: &Record,
        is_known: bool,
        reading: &Reading,
        clock: Clock,
        resolver: Arc<dyn Resolver>,
    ) -> Self {
        let budget = match saved(budget) {
            // There is an account, so there was a budget.
            Saved::Never if is_known => Saved::Lost,
            other => other,
        };
        let settings = schedule::Settings { seed, earliest: limits::CLOCK_EARLIEST };
        let mut schedule = Schedule::new(settings, budget, clock.now());
        let mut resumable = VecDeque::new();
        for (domain, finding) in &reading.names {
            schedule.restore(domain, saved(&finding.record));
            if let Some(pending) = &finding.pending
                && orders.remember(domain, pending)
            {
                resumable.push_back(domain.clone());
            }
        }
        Self {
            schedule,
            orders,
            roster: Roster::new(),
            clock,
            resolver,
            look_ups: Arc::new(Semaphore::new(limits::LOOK_UPS_IN_FLIGHT_MAX)),
            resumable,
            unanswered: HashSet::new(),
            silence: None,
            unsaved: None,
            silent_until: None,
            room_until: None,
        }
    }

    pub(super) fn tell(&mut self, event: Event) {
        self.schedule.event(self.clock.now(), event);
    }

    /// A name with a rule that is not a local one. `is_known`: it has a certificate, or an earlier process has begun with it.
    /// Returns whether the schedule knows it now.
    pub(super) fn mapped(&mut self, domain: &Domain, is_certified: bool, is_known: bool) -> bool {
        match (is_certified, is_known) {
            (true, _) => {}
            (false, true) => self.roster.admit_known(domain),
            (false, false) if self.roster.admit(domain) => {}
            (false, false) => return false,
        }
        self.tell(Event::Mapped(domain.clone()));
        true
    }

    pub(super) fn unmapped(&mut self, domain: &Domain) {
        self.roster.leave(domain);
        self.unanswered.remove(domain);
        self.tell(Event::Unmapped(domain.clone()));
    }

    /// Somebody wants this name, which has a rule; `false`: too many are wanted.
    pub(super) fn wanted(&mut self, domain: &Domain) -> bool {
        if self.is_known(domain) {
            return true;
        }
        let is_admitted = self.roster.admit_asked(domain);
        if is_admitted {
            self.tell(Event::Mapped(domain.clone()));
        }
        is_admitted
    }

    /// Whether the schedule has it among the names with a rule.
    pub(super) fn is_known(&self, domain: &Domain) -> bool {
        self.schedule.state_uncounted(domain).is_some()
    }

    /// Another certificate serves this name, or none.
    pub(super) fn held(&mut self, domain: &Domain, shelf: &Shelf) {
        let held = shelf.get(domain).and_then(|serving| serving.held());
        if held.is_some() {
            self.roster.leave(domain);
        }
        self.tell(Event::Held(domain.clone(), held));
    }

    /// Lets names of the table in where there is room, and others make room.
    pub(super) fn fill(&mut self, table: &Table, is_candidate: impl Fn(&Domain) -> bool) -> Vec<Domain> {
        let schedule = &self.schedule;
        let is_stuck = |domain: &Domain| {
            matches!(
                schedule.state_uncounted(domain),
                Some(State::WaitingForAddress | State::Waiting(_) | State::Paused)
            )
        };
        let mut changed = self.roster.turn(is_stuck);
        for domain in &changed {
            self.unanswered.remove(domain);
            self.schedule.event(self.clock.now(), Event::Unmapped(domain.clone()));
        }
        let schedule = &self.schedule;
        let admitted =
            self.roster.fill(table, |domain| is_candidate(domain) && schedule.state_uncounted(domain).is_none());
        for domain in &admitted {
            self.tell(Event::Mapped(domain.clone()));
        }
        changed.extend(admitted);
        changed
    }

    fn resume(&mut self, now: Now) -> Vec<(Domain, OrderId)> {
        let mut resumed = Vec::new();
        if matches!(self.schedule.obstacle(), Some(State::ClockUnknown | State::ClockWrong | State::AccountUnknown)) {
            return resumed;
        }
        for _ in 0..self.resumable.len().min(limits::ORDERS_IN_FLIGHT_MAX) {
            let Some(domain) = self.resumable.pop_front() else { break };
            match self.schedule.resume(now, &domain) {
                Some(order) => resumed.push((domain, order)),
                // No rule: it is gone on with by its next order, if there ever is one. Else there is no room now.
                None if self.is_known(&domain) && !self.schedule.is_ordering(&domain) => {
                    self.resumable.push_back(domain);
                }
                None => {}
            }
        }
        resumed
    }

    /// One turn: decides, has the records on disk, and only then does what was decided. Returns the names that something was decided
    /// about.
    pub(super) async fn turn(&mut self, jobs: &mut Jobs, pulse: &Pulse) -> Vec<Domain> {
        let now = self.clock.now();
        let resumed = self.resume(now);
        let decisions = self.schedule.poll(now);
        let begins = !resumed.is_empty() || decisions.iter().any(|decision| matches!(decision, Decision::Start { .. }));
        let saved = self.save(pulse, begins).await;
        let mut changed = Vec::new();
        for (domain, order) in resumed {
            match &saved {
                Ok(()) => self.start(&domain, order, None, jobs),
                Err(_) => {
                    let outcome = given_up("the folder of certificates cannot be written");
                    self.tell(Event::Ended { domain: domain.clone(), order, outcome });
                }
            }
            changed.push(domain);
        }
        for decision in decisions {
            changed.extend(self.carry_out(decision, &saved, jobs));
        }
        changed
    }

    /// Has what the schedule wants to keep on disk; where orders begin after that, there must be room for what they leave behind.
    pub(super) async fn save(&mut self, pulse: &Pulse, begins: bool) -> Result<(), String> {
        let records = Arc::new(self.schedule.unsaved());
        if records.is_empty() {
            return Ok(());
        }
        let written = Arc::clone(&records);
        let looks = begins && self.room_until.is_none_or(|until| until <= Instant::now());
        let saving = self.orders.desk.ask(move |store| {
            store.save_records(&written)?;
            if looks { store.try_room() } else { Ok(()) }
        });
        let is_silent =
            self.silent_until.take_if(|until| *until <= Instant::now()).is_none() && self.silent_until.is_some();
        let saved = match is_silent {
            true => None,
            false => pulse.patiently(timeout(limits::RECORDS_SAVE_WAIT, saving)).await.and_then(Result::ok),
        };
        let saved = match saved {
            Some(saved) => saved.and_then(|saved| saved).map_err(|cause| cause.to_string()),
            None => {
                self.silent_until.get_or_insert_with(|| Instant::now() + limits::STORE_PAUSE);
                Err("the disk gives no answer".to_owned())
            }
        };
        match &saved {
            Ok(()) => {
                if looks {
                    self.room_until = Some(Instant::now() + limits::STORE_ROOM_AGAIN);
                }
                if self.unsaved.take().is_some() {
                    tracing::info!("the folder of certificates can be written again");
                }
            }
            Err(why) => {
                records.iter().for_each(|(of, _)| self.schedule.not_saved(of));
                if self.unsaved.as_ref() != Some(why) {
                    tracing::error!("cannot write to the folder of certificates, nothing is ordered: {why}");
                }
                self.unsaved = Some(why.clone());
            }
        }
        saved
    }

    fn carry_out(&mut self, decision: Decision, saved: &Result<(), String>, jobs: &mut Jobs) -> Option<Domain> {
        match decision {
            Decision::ReadDirectory => {
                let orders = Rc::clone(&self.orders);
                jobs.begin(Job::Directory, async move { Done::Directory(orders.issuer.read_directory().await) });
                None
            }
            Decision::Register if saved.is_err() => {
                self.tell(Event::Registered(false));
                None
            }
            Decision::Register => {
                let orders = Rc::clone(&self.orders);
                jobs.begin(Job::Register, async move { Done::Registered(orders.register().await) });
                None
            }
            Decision::LookUp(domain) => {
                jobs.begin(Job::LookUp(domain.clone()), self.look_up(domain.clone()));
                Some(domain)
            }
            Decision::Start { domain, order, challenge } => {
                match saved {
                    Ok(()) => self.start(&domain, order, Some(challenge), jobs),
                    Err(why) => {
                        let reason = format!("the folder of certificates cannot be written: {why}");
                        let outcome = Outcome::Failed { failure: Failure::NotStored, reached: Reached::Order, reason };
                        self.tell(Event::Ended { domain: domain.clone(), order, outcome });
                    }
                }
                Some(domain)
            }
            Decision::Abandon { domain, order } => {
                jobs.abandon(&domain, order);
                Some(domain)
            }
            Decision::ReadWindow(domain) => {
                let orders = Rc::clone(&self.orders);
                jobs.begin(Job::Window(domain.clone()), async move {
                    let window = match orders.certificate_id(&domain) {
                        Some(id) => orders.issuer.renewal_window(&id).await,
                        None => Ok(None),
                    };
                    Done::Window { domain, window }
                });
                None
            }
        }
    }

    fn start(&self, domain: &Domain, order: OrderId, challenge: Option<schedule::Challenge>, jobs: &mut Jobs) {
        let (orders, domain) = (Rc::clone(&self.orders), domain.clone());
        jobs.begin(Job::Order(domain.clone(), order), async move {
            let end = Box::pin(orders.order(&domain, challenge)).await;
            Done::Ordered { domain, order, end }
        });
    }

    /// On a thread that may hang as long as the resolver likes; the answer comes in time or counts as none (B174).
    fn look_up(&self, domain: Domain) -> impl Future<Output = Done> + 'static {
        let (resolver, look_ups) = (Arc::clone(&self.resolver), Arc::clone(&self.look_ups));
        async move {
            let asked = domain.clone();
            let looking = async {
                // The permit goes with the thread: a dead resolver gathers no more of them.
                let permit = look_ups.acquire_owned().await.ok()?;
                let found = spawn_blocking(move || {
                    let found = resolver.addresses(&asked);
                    drop(permit);
                    found
                });
                found.await.ok()
            };
            let found = timeout(limits::LOOK_UP_WAIT, looking).await.unwrap_or(None);
            let is_answered = found.as_ref().is_some_and(is_answer);
            let addresses = found.and_then(Result::ok).and_then(fingerprint);
            Done::LookedUp { domain, addresses, is_answered }
        }
    }

    pub(super) fn directory_read(&mut self, read: Result<Offer, IssuerFailure>) {
        match read {
            Ok(Offer { date, has_renewal_info }) => {
                if self.silence.take().is_some() {
                    tracing::info!("the CA answers again");
                }
                let date = date.map(seconds);
                let difference = date.map_or(0, |date| date.wrapping_sub(self.clock.wall()).cast_signed());
                self.orders.difference.set(difference);
                self.tell(Event::Directory { date, offers_windows: has_renewal_info });
            }
            Err(failure) => {
                let why = failure.to_string();
                if self.silence.as_ref() != Some(&why) {
                    tracing::warn!("the CA cannot be asked: {why}");
                }
                self.silence = Some(why);
                self.tell(Event::DirectoryFailed);
            }
        }
    }

    pub(super) fn looked_up(&mut self, domain: &Domain, addresses: Option<u64>, is_answered: bool) {
        match is_answered {
            false if self.is_known(domain) => _ = self.unanswered.insert(domain.clone()),
            _ => _ = self.unanswered.remove(domain),
        }
        let had_reason = self.schedule.state_uncounted(domain) == Some(State::WaitingForAddress);
        self.tell(Event::LookedUp { domain: domain.clone(), addresses });
        let has_reason = self.schedule.state_uncounted(domain) == Some(State::WaitingForAddress);
        if has_reason && !had_reason {
            let why = if is_answered { "knows no address for this name" } else { "gives no answer about this name" };
            tracing::info!(%domain, "no certificate yet: the name service {why}");
        }
    }

    pub(super) fn registered(&mut self, registered: Result<(), IssuerFailure>) {
        if let Err(failure) = &registered {
            tracing::error!("cannot register at the CA again: {failure}");
        }
        self.tell(Event::Registered(registered.is_ok()));
    }

    pub(super) fn window_read(&mut self, domain: Domain, window: Result<Option<RenewalWindow>, IssuerFailure>) {
        let (window, again) = match window {
            Ok(Some(RenewalWindow { start, end, ask_again, .. })) => {
                (Some((seconds(start), seconds(end))), Some(ask_again))
            }
            Ok(None) => (None, None),
            Err(failure) => {
                tracing::debug!(%domain, "no renewal information: {failure}");
                let now = self.clock.at_the_ca(self.orders.difference.get());
                (None, failure.retry_after().map(|retry| retry.from(now)))
            }
        };
        self.tell(Event::Window { domain, window, again });
    }

    /// The end of an order without a certificate. Returns whether the reason is another one than last time.
    pub(super) fn failed(&mut self, domain: &Domain, order: OrderId, outcome: Outcome) -> bool {
        let before = self.schedule.reason(domain).to_owned();
        self.tell(Event::Ended { domain: domain.clone(), order, outcome });
        self.schedule.reason(domain) != before
    }

    /// Gives up what runs, so that the next process knows: an order that it can finish itself stays begun.
    pub(super) fn give_up(&mut self, running: Vec<(Domain, OrderId)>) {
        for (domain, order) in running {
            if !self.orders.is_pending(&domain) {
                self.tell(Event::Ended { domain, order, outcome: given_up("hotcore was stopped") });
            }
        }
    }

    /// The same orders, for who has to store a certificate again.
    pub(super) fn orders(&self) -> Rc<Orders<I>> {
        Rc::clone(&self.orders)
    }

    /// Whether the name service has said what it knows of this name.
    pub(super) fn is_answered(&self, domain: &Domain) -> bool {
        !self.unanswered.contains(domain)
    }

    pub(super) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// How long nothing happens by itself.
    pub(super) fn wait(&self) -> std::time::Duration {
        self.schedule.wait().min(limits::SCHEDULE_WAIT_MAX)
    }

    /// Seconds until a new name may be ordered.
    pub(super) fn pause(&self) -> u64 {
        self.schedule.next_new_order()
    }

    /// What holds up all names, one sentence each.
    pub(super) fn problems(&self) -> Vec<String> {
        let silence = self.silence.as_deref();
        let mut problems = Vec::new();
        let obstacle = match self.schedule.obstacle() {
            None => None,
            Some(State::StoreNotWritable) if self.unsaved.is_some() => None,
            Some(State::StoreNotWritable) => {
                Some("the folder of certificates could not be written: nothing is ordered for a moment".to_owned())
            }
            Some(State::ClockWrong) => Some(match self.orders.difference.get() {
                0 => "the clock of this machine is wrong: nothing is ordered until it is set".to_owned(),
                seconds => format!(
                    "the clock of this machine is {} s {} that of the CA: nothing is ordered until it is set",
                    seconds.unsigned_abs(),
                    if seconds > 0 { "behind" } else { "ahead of" }
                ),
            }),
            Some(State::ClockUnknown) => silence.map(|why| format!("the CA cannot be asked: {why}")),
            Some(State::AccountStopped) => {
                Some("the CA wants a person to act on the account, and nothing is ordered before; then: hotcore retry <domain>".to_owned())
            }
            Some(State::AccountUnknown) => {
                Some("the CA does not know the account any more: it is registered again".to_owned())
            }
            Some(State::CaTrouble(until)) => Some(format!("the CA is in trouble and asked again at {}", shown(until))),
            Some(State::HeldByCa(until)) => {
                Some(format!("the CA takes no new names until {}: a limit of the account", shown(until)))
            }
            Some(_) => None,
        };
        problems.extend(obstacle);
        if self.roster.has_others() {
            let known = self.roster.len();
            problems.push(format!("more than {known} names have no certificate yet: those beyond wait for room"));
        }
        problems.extend(
            self.unsaved
                .iter()
                .map(|why| format!("the folder of certificates cannot be written, nothing is ordered: {why}")),
        );
        problems
    }
}

fn saved(record: &Record) -> Saved<'_> {
    match record {
        Record::Never => Saved::Never,
        Record::Text(text) => Saved::Text(text),
        Record::Unreadable => Saved::Lost,
    }
}
