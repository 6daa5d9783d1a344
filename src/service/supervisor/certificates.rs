//! The keeper of certificates through the life of a process: at rest until the pen is ours, at work while it is, at rest again
//! when it is passed on. At any moment one process orders certificates and writes them (B206).

use std::{fmt, io, mem};

use tokio::time::timeout;

use crate::{
    certs::{Keeper, Keeping},
    limits,
    routes::Touched,
    service::ServiceError,
};

const TASK: &str = "the keeper of certificates";

/// A keeper, wherever it stands.
#[derive(Debug)]
pub(super) struct Certificates<K: Keeps = Keeper> {
    state: State<K>,
    touched: Touched,
}

enum State<K: Keeps> {
    AtRest(K),
    AtWork {
        work: K::Work,
        /// It was told to stop.
        is_told: bool,
    },
    /// Between two of the others, or lost.
    Moving,
}

impl<K: Keeps> Certificates<K> {
    /// With a keeper that has loaded.
    pub(super) fn new(keeper: K) -> Self {
        Self { state: State::AtRest(keeper), touched: Touched::default() }
    }

    /// Where the keeper hears of changed rules.
    pub(super) fn touched(&self) -> Touched {
        self.touched.clone()
    }

    /// Puts the keeper to work; to be called with lock and pen in hand.
    pub(super) fn start(&mut self) -> Result<(), ServiceError> {
        self.state = match mem::replace(&mut self.state, State::Moving) {
            State::AtRest(keeper) => {
                let work = keeper.start(self.touched());
                let work = work.map_err(|source| ServiceError::Start { what: TASK, source })?;
                State::AtWork { work, is_told: false }
            }
            state => state,
        };
        Ok(())
    }

    /// Tells the keeper to stop.
    pub(super) fn stop(&mut self) {
        if let State::AtWork { work, is_told } = &mut self.state {
            *is_told = true;
            K::stop(work);
        }
    }

    /// Stops the keeper and waits until it rests. `false`: it did not in time; it will when it can, and is started again then
    /// by [`Certificates::watch`].
    pub(super) async fn rest(&mut self) -> Result<bool, ServiceError> {
        self.stop();
        match timeout(limits::KEEPER_WAIT, self.ended()).await {
            Ok(ended) => ended.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// Watches over a keeper at work: an error if it ends without being told (B212). One that was told and came late is started
    /// again. Cancel safe.
    pub(super) async fn watch(&mut self) -> Result<(), ServiceError> {
        if !matches!(self.state, State::AtWork { .. }) {
            return std::future::pending().await;
        }
        self.ended().await?;
        self.start()
    }

    /// Moves while the keeper's loop turns (B213); `turns` where nothing is meant to turn.
    pub(super) fn heartbeat(&self, turns: u64) -> u64 {
        match &self.state {
            State::AtWork { work, .. } => K::heartbeat(work),
            State::AtRest(_) | State::Moving => turns,
        }
    }

    /// Resolves when the keeper rests. Cancel safe.
    async fn ended(&mut self) -> Result<(), ServiceError> {
        let State::AtWork { work, is_told } = &mut self.state else { return Ok(()) };
        let why = match K::ended(work).await {
            Ok(keeper) if *is_told => {
                self.state = State::AtRest(keeper);
                return Ok(());
            }
            Ok(_) => "it stopped without being told".to_owned(),
            Err(why) => why,
        };
        self.state = State::Moving;
        Err(ServiceError::Ended { task: TASK, why })
    }
}

impl<K: Keeps> fmt::Debug for State<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtRest(_) => "AtRest",
            Self::AtWork { is_told: false, .. } => "AtWork",
            Self::AtWork { is_told: true, .. } => "Stopping",
            Self::Moving => "Moving",
        })
    }
}

/// What a keeper can do; a test puts a script in its place.
pub(super) trait Keeps: Sized {
    /// The keeper at work.
    type Work;

    fn start(self, touched: Touched) -> io::Result<Self::Work>;
    fn stop(work: &Self::Work);
    async fn ended(work: &mut Self::Work) -> Result<Self, String>;
    fn heartbeat(work: &Self::Work) -> u64;
}

impl Keeps for Keeper {
    type Work = Keeping;

    fn start(self, touched: Touched) -> io::Result<Keeping> {
        self.start(touched)
    }

    fn stop(work: &Keeping) {
        work.stop();
    }

    async fn ended(work: &mut Keeping) -> Result<Self, String> {
        work.ended().await
    }

    fn heartbeat(work: &Keeping) -> u64 {
        work.heartbeat()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::{Cell, RefCell},
        rc::Rc,
        time::Duration,
    };

    use tokio::{sync::mpsc, time::Instant};

    use super::*;

    /// A keeper that ends when the test says so, and remembers what it was told.
    struct Scripted(Rc<Script>);

    #[derive(Default)]
    struct Script {
        said: RefCell<Vec<&'static str>>,
        fails: Cell<bool>,
        end: RefCell<Option<mpsc::UnboundedSender<Result<(), String>>>>,
    }

    struct AtWork(Rc<Script>, mpsc::UnboundedReceiver<Result<(), String>>);

    impl Keeps for Scripted {
        type Work = AtWork;

        fn start(self, _: Touched) -> io::Result<AtWork> {
            self.0.said.borrow_mut().push("start");
            if self.0.fails.get() {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            let (end, ends) = mpsc::unbounded_channel();
            self.0.end.replace(Some(end));
            Ok(AtWork(self.0, ends))
        }

        fn stop(work: &AtWork) {
            work.0.said.borrow_mut().push("stop");
        }

        async fn ended(work: &mut AtWork) -> Result<Self, String> {
            work.1.recv().await.unwrap().map(|()| Self(work.0.clone()))
        }

        fn heartbeat(_: &AtWork) -> u64 {
            7
        }
    }

    impl Script {
        fn end(&self, result: Result<(), String>) {
            self.end.borrow().as_ref().unwrap().send(result).unwrap();
        }

        fn said(&self) -> Vec<&'static str> {
            self.said.take()
        }
    }

    fn at_work() -> (Rc<Script>, Certificates<Scripted>) {
        let script = Rc::new(Script::default());
        let mut certificates = Certificates::new(Scripted(script.clone()));
        assert_eq!(certificates.heartbeat(3), 3, "nothing turns yet");
        certificates.start().unwrap();
        assert_eq!((script.said(), certificates.heartbeat(3)), (vec!["start"], 7));
        (script, certificates)
    }

    fn why(result: Result<(), ServiceError>) -> String {
        match result {
            Err(ServiceError::Ended { task: TASK, why }) => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_rests_when_it_was_told_and_can_be_put_to_work_again_b206() {
        let (script, mut certificates) = at_work();
        script.end(Ok(()));
        assert!(certificates.rest().await.unwrap());
        assert_eq!((script.said(), certificates.heartbeat(3)), (vec!["stop"], 3));
        assert!(certificates.rest().await.unwrap(), "it rests already");
        certificates.start().unwrap();
        certificates.start().unwrap();
        assert_eq!(script.said(), ["start"], "started once");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_comes_late_is_not_waited_for_and_is_put_to_work_again() {
        let (script, mut certificates) = at_work();
        let start = Instant::now();
        assert!(!certificates.rest().await.unwrap());
        assert_eq!(start.elapsed(), limits::KEEPER_WAIT);
        assert_eq!(script.said(), ["stop"]);
        script.end(Ok(()));
        certificates.watch().await.unwrap();
        assert_eq!(script.said(), ["start"]);
    }

    /// B212: a core task that ends by itself is noticed, and why.
    #[tokio::test(start_paused = true)]
    async fn one_that_ends_by_itself_is_an_error_b212() {
        let (script, mut certificates) = at_work();
        script.end(Ok(()));
        assert_eq!(why(certificates.watch().await), "it stopped without being told");
        let (script, mut certificates) = at_work();
        script.end(Err("its thread panicked".to_owned()));
        assert_eq!(why(certificates.watch().await), "its thread panicked");
        let (script, mut certificates) = at_work();
        script.end(Err("its thread panicked".to_owned()));
        assert_eq!(why(certificates.rest().await.map(drop)), "its thread panicked", "while it stops, too");
    }

    #[tokio::test(start_paused = true)]
    async fn a_keeper_that_cannot_start_is_an_error() {
        let script = Rc::new(Script::default());
        script.fails.set(true);
        let mut certificates = Certificates::new(Scripted(script));
        assert!(matches!(certificates.start(), Err(ServiceError::Start { what: TASK, .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn at_rest_there_is_nothing_to_watch() {
        let mut certificates = Certificates::new(Scripted(Rc::default()));
        let watched = timeout(Duration::from_secs(3600), certificates.watch()).await;
        assert!(watched.is_err());
    }
}
