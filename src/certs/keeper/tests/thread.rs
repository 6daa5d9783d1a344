//! The thread of the keeper, by the real clock.

use std::{cell::RefCell, net::TcpListener, sync::mpsc};

use super::*;

/// Never answers, until the test ends.
#[derive(Debug)]
struct DeadResolver(Mutex<mpsc::Receiver<()>>, AtomicU64);

impl Resolver for DeadResolver {
    fn addresses(&self, _: &Domain) -> io::Result<Vec<IpAddr>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let _ = self.0.lock().unwrap().recv();
        Err(io::ErrorKind::TimedOut.into())
    }
}

fn real_time<T>(test: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await }).unwrap()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        sleep(Duration::from_millis(5)).await;
    }
}

fn rig(names: &[&str]) -> Rig {
    BEGIN.set(None);
    let mut rig = Rig::new();
    rig.settings.clock = || UNIX_EPOCH + Duration::from_secs(START);
    names.iter().for_each(|name| rig.add(name));
    rig
}

async fn stop(mut keeping: Keeping) -> Keeper {
    let begin = Instant::now();
    keeping.stop();
    let keeper = keeping.ended().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    keeper
}

/// B174: it ends within a second all the same, and can be started again.
#[test]
fn a_resolver_that_never_answers_holds_up_no_stop() {
    real_time(async {
        let mut rig = rig(&["a.example", "b.example", "c.example", "d.example", "e.example"]);
        let (end, ended) = mpsc::channel();
        let resolver = Arc::new(DeadResolver(Mutex::new(ended), AtomicU64::new(0)));
        rig.settings.resolver = resolver.clone();
        rig.load();
        let mut keeper = rig.resting.take().unwrap();
        for asked in [1, 2] {
            let touched = rig.touched.clone();
            let keeping = Keeping::start_with(keeper, touched, || Box::new(|_, _| Ok(Script::new()))).unwrap();
            until("looked up", || resolver.1.load(Ordering::Relaxed) >= asked).await;
            keeper = stop(keeping).await;
        }
        drop(end);
    });
}

/// B174: the CA takes connections and says nothing.
#[test]
fn a_ca_that_never_answers_holds_up_no_stop() {
    real_time(async {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut rig = rig(&["a.example"]);
        let directory = format!("https://{}/dir", silent.local_addr().unwrap());
        rig.settings.ca = Some(issuer::Settings { directory, ..issuer::Settings::default() });
        rig.load();
        let keeping = rig.resting.take().unwrap().start(rig.touched.clone()).unwrap();
        let (arrived, has_arrived) = mpsc::channel();
        let listening = std::thread::Builder::new().spawn(move || arrived.send(silent.accept()).unwrap()).unwrap();
        until("it is asked", || listening.is_finished()).await;
        until("shown", || rig.state("a.example") == Some(State::Waiting)).await;
        let beats = keeping.heartbeat();
        until("its heart beats", || keeping.heartbeat() > beats + 2).await;
        stop(keeping).await;
        drop(has_arrived);
    });
}

/// B206: who comes next would read what is about to change; an account could be made twice.
#[test]
fn it_has_not_ended_before_the_disk_has_taken_what_it_was_given() {
    real_time(async {
        let mut rig = rig(&["a.example"]);
        fs::create_dir_all(rig.ca_folder()).unwrap();
        let stuck = rivals::Stuck::new(rig.ca_folder().join("_account"));
        let (keeper, touched) = (rig.resting.take().unwrap(), rig.touched.clone());
        let mut keeping = Keeping::start_with(keeper, touched, || Box::new(|_, _| Ok(Script::new()))).unwrap();
        let reader = RefCell::new(None);
        until("it looks for the account", || {
            reader.replace(stuck.reader());
            reader.borrow().is_some()
        })
        .await;
        keeping.stop();
        let early = tokio::time::timeout(Duration::from_secs(1), keeping.ended()).await;
        assert!(early.is_err(), "it is still at it");
        drop((stuck, reader));
        keeping.ended().await.unwrap();
    });
}

/// B212.
#[test]
fn a_panic_of_its_thread_is_noticed() {
    real_time(async {
        let mut rig = rig(&["a.example"]);
        rig.load();
        let (keeper, touched) = (rig.resting.take().unwrap(), rig.touched.clone());
        let make = || -> Box<work::Make<Script>> { Box::new(|_, _| panic!("a bug, made for this test")) };
        let mut keeping = Keeping::start_with(keeper, touched, make).unwrap();
        assert!(keeping.ended().await.is_err());
    });
}

#[test]
fn dropped_it_ends() {
    real_time(async {
        let rig = rig(&[]);
        let Rig { resting, touched, beats, .. } = rig;
        let (gone, is_gone) = mpsc::channel::<()>();
        let keeper = resting.unwrap();
        let make = move || -> Box<work::Make<Script>> {
            let gone = gone;
            Box::new(move |_, _| {
                let _ = &gone;
                Ok(Script::new())
            })
        };
        drop(Keeping::start_with(keeper, touched, make).unwrap());
        until("its thread has ended", || is_gone.try_recv() == Err(mpsc::TryRecvError::Disconnected)).await;
        drop(beats);
    });
}
