//! The keeper at work with a scripted CA, real folders and a clock that the test moves.

mod disk;
mod listening;
mod local;
mod ordering;
mod own;
mod restarts;
mod rivals;
mod script;
mod thread;

use std::{
    cell::Cell,
    collections::HashSet,
    fs, io,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use tokio::{
    runtime::Builder,
    sync::watch,
    task::{JoinHandle, LocalSet},
    time::{Instant, sleep},
};

use super::{pulse::Pulse, work::Work, *};
use crate::{
    domain::Domain,
    limits,
    routes::{Port, TableWriter},
    tls::Certificates,
};

use script::{Act, Script, Seen, failure};

const DIRECTORY: &str = "https://ca.example/dir";
/// Some days after the program was made.
const START: u64 = limits::CLOCK_EARLIEST + 5 * 86_400;

thread_local! {
    static BEGIN: Cell<Option<Instant>> = const { Cell::new(None) };
    static SHIFT: Cell<i64> = const { Cell::new(0) };
}

/// The wall clock of a test: it goes with the runtime's.
fn wall() -> SystemTime {
    let begin = BEGIN.get().unwrap_or_else(Instant::now);
    BEGIN.set(Some(begin));
    let passed = begin.elapsed().as_secs();
    UNIX_EPOCH + Duration::from_secs((START + passed).saturating_add_signed(SHIFT.get()))
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

/// Names have an address, unless they are among these; each question takes no time.
#[derive(Debug, Default)]
struct Names {
    missing: Mutex<HashSet<Domain>>,
    asked: AtomicU64,
}

impl Resolver for Names {
    fn addresses(&self, domain: &Domain) -> io::Result<Vec<IpAddr>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        match self.missing.lock().unwrap().contains(domain) {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(vec![Ipv4Addr::new(192, 0, 2, 1).into()]),
        }
    }
}

/// A keeper and everything around it.
struct Rig {
    folder: TempDir,
    writer: TableWriter,
    touched: Touched,
    script: Script,
    names: Arc<Names>,
    settings: Settings,
    board: Board,
    certificates: Certificates,
    beats: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    running: Option<JoinHandle<Keeper>>,
    resting: Option<Keeper>,
}

impl Rig {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names = Arc::new(Names::default());
        let ca = issuer::Settings { directory: DIRECTORY.into(), ..issuer::Settings::default() };
        let mut settings = Settings::new(folder.path().join("certificates"), Some(ca), wall);
        settings.resolver = names.clone();
        let writer = TableWriter::new();
        let keeper = Keeper::load(settings.clone(), writer.table(), Keyring::new());
        Self {
            folder,
            writer,
            touched: Touched::default(),
            script: Script::new(),
            names,
            settings,
            board: keeper.board(),
            certificates: keeper.keyring.certificates(),
            beats: Arc::default(),
            stop: watch::channel(false).0,
            running: None,
            resting: Some(keeper),
        }
    }

    /// With these rules, at work.
    fn started(names: &[&str]) -> Self {
        let mut rig = Self::new();
        names.iter().for_each(|name| rig.add(name));
        rig.start();
        rig
    }

    fn start(&mut self) {
        let keeper = self.resting.take().unwrap();
        let (stop, stopped) = watch::channel(false);
        let pulse = Pulse::new(Arc::clone(&self.beats), stopped, Duration::from_secs(20));
        let script = self.script.clone();
        let make = Box::new(move |_, _| Ok(script.clone()));
        let work = Work::new(keeper, self.touched.clone(), pulse, make);
        (self.stop, self.running) = (stop, Some(tokio::task::spawn_local(work.run())));
    }

    /// Tells it to stop and waits for that; gives the time it took.
    async fn stop(&mut self) -> Duration {
        let begin = Instant::now();
        self.stop.send_replace(true);
        let keeper = self.running.take().unwrap().await.unwrap();
        self.resting = Some(keeper);
        begin.elapsed()
    }

    /// The process is killed: nothing is said or written any more. Another one loads what is on disk.
    async fn crash(&mut self) {
        let running = self.running.take().unwrap();
        running.abort();
        let _ = running.await;
        self.load();
    }

    /// Another process.
    fn load(&mut self) {
        let keeper = Keeper::load(self.settings.clone(), self.writer.table(), Keyring::new());
        (self.board, self.certificates) = (keeper.board(), keeper.keyring.certificates());
        self.resting = Some(keeper);
    }

    fn add(&mut self, name: &str) {
        self.writer.insert(domain(name), Port::new(8080).unwrap());
        self.touched.note(&domain(name));
    }

    fn remove(&mut self, name: &str) {
        self.writer.remove(&domain(name));
        self.touched.note(&domain(name));
    }

    fn is_served(&self, name: &str) -> bool {
        self.certificates.find(&domain(name)).is_some()
    }

    fn standing(&self, name: &str) -> Option<Standing> {
        let mut found = None;
        self.board.page_after(None, |domain, standing| {
            found = (domain.as_str() == name).then(|| standing.clone());
            found.is_none()
        });
        found
    }

    fn state(&self, name: &str) -> Option<State> {
        self.standing(name).map(|standing| standing.state)
    }

    fn ca_folder(&self) -> PathBuf {
        Folders::new(self.settings.folder.clone(), Some(DIRECTORY)).path(folders::Source::Ca).unwrap()
    }

    /// Waits until this holds; an hour of the test's clock at most.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < Duration::from_secs(3_600), "not within an hour: {what}\n{self:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Whether its reason, as people are told it, holds these words.
    fn is_said(&self, name: &str, words: &str) -> bool {
        self.standing(name).is_some_and(|standing| standing.reason.contains(words))
    }

    /// Whether one of the problems holds these words.
    fn is_problem(&self, words: &str) -> bool {
        self.board.problems().iter().any(|problem| problem.contains(words))
    }

    async fn pass(&self, seconds: u64) {
        sleep(Duration::from_secs(seconds)).await;
    }
}

impl std::fmt::Debug for Rig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "at the CA: {:#?}\nproblems: {:?}", self.script.state.borrow().seen, self.board.problems())?;
        self.board.page_after(None, |domain, standing| writeln!(f, "{domain} {standing:?}").is_ok());
        Ok(())
    }
}

/// Runs a test on a clock that stands still while something is done, and jumps while nothing is.
fn run<T>(test: impl Future<Output = T>) -> T {
    BEGIN.set(None);
    SHIFT.set(0);
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    LocalSet::new().block_on(&runtime, test)
}
