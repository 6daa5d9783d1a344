//! The loop of the keeper: hears what happens, lets the office decide, serves what comes of it, and tells people.

mod local;
mod news;
mod show;

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    future::poll_fn,
    mem,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use tokio::{
    select,
    sync::Mutex,
    time::{Instant, sleep_until},
};

use crate::{
    certs::{
        is_local,
        issuer::{AccountKey, Issuer, SettingsError},
        store::Certificate,
    },
    domain::Domain,
    limits,
    routes::{Table, Touched},
    tls::Keyring,
};

use super::{
    Board, Keeper, Settings,
    account::Trouble,
    clock::Clock,
    desk::Desk,
    folders::{Folders, Reading, Source},
    jobs::{Done, Job, Jobs},
    office::Office,
    opening::{self, Opened},
    orders::{Fronts, Orders},
    pulse::Pulse,
    shelf::{Serving, Shelf},
    warnings::Warnings,
};

/// Makes the issuer of an account: its key, and its name at the CA if that is known.
pub(super) type Make<I> = dyn FnMut(AccountKey, Option<String>) -> Result<I, SettingsError>;

/// A keeper at work, on its own thread.
pub(super) struct Work<I> {
    settings: Settings,
    table: Table,
    board: Board,
    touched: Touched,
    keyring: Rc<RefCell<Keyring>>,
    shelf: Shelf,
    folders: Folders,
    clock: Clock,
    pulse: Pulse,
    make: Box<Make<I>>,
    jobs: Jobs,
    /// `None`: no CA is asked, or there is no account to ask it with.
    office: Option<Office<I>>,
    /// Why not, and when to look again.
    closed: Option<(Trouble, Instant)>,
    is_opening: bool,
    /// Taken while the folders are opened: what is written then belongs to this process.
    opening: Arc<Mutex<()>>,
    /// Names whose files are being read again.
    looks: HashMap<Domain, Look>,
    /// Names whose files were read while the folders were opened, so that what that finds may be older.
    read_meanwhile: HashSet<Domain>,
    /// Issued, but not on disk yet: they serve from memory, and are never ordered again for that.
    unstored: HashMap<Domain, Unstored>,
    store_again: Instant,
    /// Names with a rule whose certificate is not ordered: local ones, or all; as many as are shown.
    unordered: HashSet<Domain>,
    local: local::Local,
    own_warnings: Warnings,
    renewal_warnings: Warnings,
    warned: Option<Instant>,
    folder_problems: Vec<String>,
    /// Names about which people may have to be told something new.
    changed: HashSet<Domain>,
    /// When all of the board was brought up to date, and how long that took.
    shown: Option<(Instant, Duration)>,
    hears_again: Instant,
}

/// A reading of a name's files: what it finds is old if something else serves by then.
#[derive(Debug)]
struct Look {
    serving: Option<Serving>,
    is_unstored: bool,
    /// Another look was wished for meanwhile.
    is_again: bool,
}

#[derive(Debug)]
struct Unstored {
    certificate: Box<Certificate>,
    why: String,
    is_storing: bool,
}

impl<I: Issuer + 'static> Work<I> {
    pub(super) fn new(keeper: Keeper, touched: Touched, pulse: Pulse, make: Box<Make<I>>) -> Self {
        let Keeper { settings, keyring, table, board, shelf } = keeper;
        let directory = settings.ca.as_ref().map(|ca| ca.directory.as_str());
        let (folders, clock) = (Folders::new(settings.folder.clone(), directory), Clock::new(settings.clock));
        let now = Instant::now();
        Self {
            settings,
            table,
            board,
            touched,
            keyring: Rc::new(RefCell::new(keyring)),
            shelf,
            folders,
            clock,
            pulse,
            make,
            jobs: Jobs::default(),
            office: None,
            closed: None,
            is_opening: false,
            opening: Arc::default(),
            looks: HashMap::new(),
            read_meanwhile: HashSet::new(),
            unstored: HashMap::new(),
            store_again: now,
            unordered: HashSet::new(),
            local: local::Local::default(),
            own_warnings: Warnings::default(),
            renewal_warnings: Warnings::default(),
            warned: None,
            folder_problems: Vec::new(),
            changed: HashSet::new(),
            shown: None,
            hears_again: now,
        }
    }

    /// Until it is told to stop, within a local set.
    pub(super) async fn run(mut self) -> Keeper {
        self.begin().await;
        while !self.pulse.is_told() {
            self.turn().await;
            self.rest().await;
        }
        Box::pin(self.end()).await
    }

    /// Makes the folders, reads what another process has written since, and begins to open the account.
    async fn begin(&mut self) {
        let folders = self.folders.clone();
        let ready = tokio::task::spawn_blocking(move || (opening::make_folders(&folders), folders.read()));
        let (problems, reading) = match self.pulse.patiently(ready).await {
            None => return,
            Some(Ok(done)) => done,
            // It is read once more when the account is looked for.
            Some(Err(error)) => (Vec::new(), Reading::failed(&format!("cannot read the certificates: {error}"))),
        };
        for problem in &problems {
            tracing::error!("{problem}");
        }
        self.folder_problems = problems;
        self.shelf.replace(&reading, &mut self.keyring.borrow_mut());
        self.list_local();
        self.list_unordered();
        self.open();
    }

    /// Looks for the account and everything else that orders need.
    fn open(&mut self) {
        let Some(directory) = self.settings.ca.as_ref().map(|ca| ca.directory.clone()) else { return };
        let (folders, opening) = (self.folders.clone(), Arc::clone(&self.opening));
        self.is_opening = true;
        self.jobs.begin(Job::Open, async move {
            let busy = opening.lock_owned().await;
            let opened = tokio::task::spawn_blocking(move || {
                let opened = opening::open(&folders, &directory);
                drop(busy);
                opened
            });
            let opened = opened.await.unwrap_or_else(|error| Err(Trouble::Disk(error.to_string())));
            Done::Opened(opened.map(Box::new))
        });
    }

    /// Everything is there, or it is known what is missing.
    fn opened(&mut self, opened: Result<Box<Opened>, Trouble>) {
        self.is_opening = false;
        let opened = opened.and_then(|opened| self.take_office(*opened));
        match opened {
            Ok(()) => {
                if self.closed.take().is_some() {
                    tracing::info!("certificates are ordered again");
                }
            }
            Err(trouble) => {
                if self.closed.as_ref().is_none_or(|(known, _)| *known != trouble) {
                    tracing::error!("no certificates are ordered, those that are there serve: {trouble}");
                }
                self.closed = Some((trouble, Instant::now() + limits::STORE_PAUSE));
                self.list_unordered();
            }
        }
        self.shown = None;
    }

    fn take_office(&mut self, opened: Opened) -> Result<(), Trouble> {
        let Opened { store, account, key, budget, is_known, reading } = opened;
        let issuer = (self.make)(key, account.url.clone()).map_err(|error| Trouble::Person(error.to_string()))?;
        let fronts = Fronts { http: self.settings.http, https: self.settings.https };
        let desk = Desk::new(store);
        // Any figure that stays the same: what is spread stays where it is.
        let seed = u64::from(crc32fast::hash(&account.key));
        let orders = Orders::new(issuer, desk, account, Rc::clone(&self.keyring), self.clock, fronts);
        let resolver = Arc::clone(&self.settings.resolver);
        self.shelf.replace(&reading, &mut self.keyring.borrow_mut());
        let mut office = Office::open(Rc::new(orders), seed, &budget, is_known, &reading, self.clock, resolver);
        for (domain, _) in self.shelf.iter().filter(|(_, serving)| serving.source != Source::Local) {
            office.held(domain, &self.shelf);
        }
        for domain in reading.names.keys() {
            if !is_local(domain) && self.table.find(domain).is_some() {
                let is_certified = self.shelf.get(domain).is_some();
                office.mapped(domain, is_certified, true);
            }
        }
        let (local, others) = mem::take(&mut self.unordered).into_iter().partition(is_local);
        self.unordered = local;
        self.changed.extend::<HashSet<Domain>>(others);
        self.office = Some(office);
        for domain in mem::take(&mut self.read_meanwhile) {
            self.look(domain);
        }
        Ok(())
    }

    /// Hears, decides, does, tells.
    async fn turn(&mut self) {
        self.pulse.beat();
        self.hear();
        if let Some(office) = &mut self.office {
            let shelf = &self.shelf;
            let filled = office.fill(&self.table, |domain| !is_local(domain) && shelf.get(domain).is_none());
            let decided = office.turn(&mut self.jobs, &self.pulse).await;
            self.changed.extend(filled.into_iter().chain(decided));
        } else if self.closed.as_ref().is_some_and(|(_, again)| *again <= Instant::now()) && !self.is_opening {
            self.open();
        }
        self.store_again();
        self.turn_local();
        self.show_orders();
        self.warn();
        self.show();
    }

    /// Handshakes wait for what is being ordered (B163).
    fn show_orders(&self) {
        let Some(office) = &self.office else { return };
        let mut keyring = self.keyring.borrow_mut();
        for domain in self.changed.iter().filter(|domain| !is_local(domain)) {
            match office.schedule().is_ordering(domain) {
                true => keyring.begin_order(domain),
                false => keyring.end_order(domain),
            }
        }
    }

    /// Sleeps until something happens or is due.
    async fn rest(&mut self) {
        let wait = self.office.as_ref().map_or(limits::SCHEDULE_WAIT_MAX, Office::wait);
        let until = Instant::now() + wait.min(self.housekeeping());
        loop {
            let keyring = &self.keyring;
            let asked = async {
                sleep_until(self.hears_again).await;
                poll_fn(|context| keyring.borrow_mut().poll_asked(context)).await
            };
            let done = select! {
                biased;
                () = self.pulse.told() => return,
                done = self.jobs.next() => Some(done),
                () = self.board.wished() => None,
                () = self.touched.arrived() => None,
                domain = asked => {
                    self.asked(domain);
                    None
                }
                () = sleep_until(until) => None,
                () = self.pulse.pause() => {
                    self.pulse.beat();
                    continue;
                }
            };
            if let Some(done) = done {
                self.done(done);
            }
            return;
        }
    }

    /// When the keeper has something to do of its own.
    fn housekeeping(&self) -> Duration {
        let now = Instant::now();
        let pause = if self.changed.is_empty() { limits::BOARD_REFRESH } else { Duration::ZERO };
        let shown = self.shown.map(|(shown, took)| shown + pause.max(limits::BOARD_PAUSE * took));
        let closed = self.closed.as_ref().filter(|_| !self.is_opening).map(|(_, again)| *again);
        let unstored = (!self.unstored.is_empty()).then_some(self.store_again);
        let local = self.settings.local.as_ref().and_then(|_| self.local.names.wait(self.clock.now()));
        let local = local.map(|seconds| now + Duration::from_secs(seconds));
        let times = [shown, closed, unstored, local].into_iter().flatten().min();
        // A moment, whatever was forgotten: the loop never spins.
        times.map_or(limits::SCHEDULE_WAIT_MAX, |time| time.saturating_duration_since(now)).max(limits::ASKED_PAUSE)
    }

    /// Gives up what runs, writes what has to be written, and gives the keeper back. The disk alone is waited for, and not long.
    async fn end(mut self) -> Keeper {
        while let Some(done) = self.jobs.try_next() {
            self.done(done);
        }
        let running = self.jobs.orders();
        self.jobs.shutdown().await;
        let desk = self.office.as_ref().map(|office| office.orders().desk.clone());
        self.end_local();
        if let Some(mut office) = self.office.take() {
            for (domain, _) in &running {
                self.keyring.borrow_mut().end_order(domain);
            }
            office.give_up(running);
            let orders = office.orders();
            let unstored = mem::take(&mut self.unstored);
            let pulse = self.pulse.clone();
            // One wait for all of it.
            let last = async {
                let _ = office.save(&pulse, false).await;
                for (domain, Unstored { certificate, .. }) in unstored {
                    if let Err(why) = orders.store(&certificate).await {
                        tracing::error!(%domain, "its certificate is lost, as it cannot be stored: {why}");
                    }
                }
            };
            if self.pulse.patiently(last).await.is_none() {
                tracing::error!("the disk does not take what was to be kept of certificates");
            }
        }
        // Who comes next reads what is on disk: nothing may be written behind its back (B206).
        let (opening, pulse) = (Arc::clone(&self.opening), self.pulse.clone());
        pulse
            .while_it_takes(async {
                drop(opening.lock().await);
                if let Some(desk) = desk {
                    desk.free().await;
                }
            })
            .await;
        let Self { settings, table, board, keyring, shelf, .. } = self;
        // Nobody else has it any more: what ran has ended.
        let keyring = keyring.replace(Keyring::new());
        Keeper { settings, keyring, table, board, shelf }
    }
}
