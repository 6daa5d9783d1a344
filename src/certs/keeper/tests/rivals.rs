//! Things that happen at the same time: files that take long to read or to write, while other things go on.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::OpenOptionsExt,
};

use nix::{fcntl::OFlag, sys::stat::Mode, unistd::mkfifo};

use super::{own::own, *};

/// A file that keeps whoever opens it waiting (fifo(7)).
pub(super) struct Stuck(PathBuf);

impl Stuck {
    pub(super) fn new(path: PathBuf) -> Self {
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        Self(path)
    }

    /// If somebody waits to read it: what keeps him waiting until it is dropped.
    pub(super) fn reader(&self) -> Option<File> {
        OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.0).ok()
    }

    /// Lets whoever waits to write it write, as long as this is kept.
    fn take(&self) -> File {
        OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.0).unwrap()
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        // Whoever waits goes on, also when the test has failed.
        let both = OpenOptions::new().read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.0);
        let _ = fs::remove_file(&self.0);
        drop(both);
    }
}

/// Waits while something blocks, which keeps the clock of the test from moving by itself.
async fn step<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let begin = std::time::Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::advance(Duration::from_millis(20)).await;
        std::thread::yield_now();
    }
}

/// Its files were read before the certificate was there: nothing is taken away or ordered again.
#[test]
fn a_certificate_that_comes_while_a_person_has_its_files_read_stays() {
    run(async {
        let mut rig = Rig::new();
        rig.script.state.borrow_mut().delay = Duration::from_secs(60);
        rig.add("a.example");
        rig.start();
        rig.until("ordering", |rig| rig.script.orders().len() == 1).await;
        let stuck = Stuck::new(rig.own_folder().join("a.example_once"));
        assert!(rig.board.wish(&domain("a.example")));
        let reader = step("it reads", || stuck.reader()).await;
        step("served", || rig.is_served("a.example").then_some(())).await;
        drop(stuck);
        drop(reader);
        rig.pass(600).await;
        assert!(rig.is_served("a.example") && rig.state("a.example") == Some(State::Valid), "{rig:?}");
        assert_eq!(rig.script.orders().len(), 1);
        rig.stop().await;
    });
}

/// B174: a dead disk gathers no readers, and leaves the threads that ask the name service alone.
#[test]
fn wishes_that_the_disk_does_not_follow_are_refused_in_the_end() {
    run(async {
        let mut rig = Rig::new();
        rig.script.state.borrow_mut().is_reachable = false;
        let names: Vec<_> =
            (0..limits::CERTIFICATE_WISHES_MAX + 100).map(|number| format!("n{number}.example")).collect();
        names.iter().for_each(|name| rig.add(name));
        rig.start();
        rig.pass(5).await;
        let mut dead = Vec::new();
        for name in &names[..limits::WISHES_AT_ONCE] {
            let stuck = Stuck::new(rig.own_folder().join(format!("{name}_once")));
            assert!(rig.board.wish(&domain(name)));
            let reader = step("it reads", || stuck.reader()).await;
            dead.push((stuck, reader));
        }
        let mut refused = 0;
        for name in &names[limits::WISHES_AT_ONCE..] {
            refused += usize::from(!rig.board.wish(&domain(name)));
            tokio::time::advance(Duration::from_millis(60)).await;
        }
        assert_eq!(refused, 100 - limits::WISHES_AT_ONCE);
        drop(dead);
        rig.until("there is room again", |rig| rig.board.wish(&domain("n0.example"))).await;
        rig.stop().await;
    });
}

/// What people are told before the folders have been read.
#[test]
fn a_certificate_that_serves_is_valid_while_the_folders_are_opened() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
        rig.load();
        let (account, kept) = (rig.ca_folder().join("_account"), rig.ca_folder().join("kept"));
        fs::rename(&account, &kept).unwrap();
        let stuck = Stuck::new(account.clone());
        rig.start();
        let reader = step("it reads", || stuck.reader()).await;
        assert_eq!(step("shown", || rig.state("a.example")).await, State::Valid);
        drop(stuck);
        fs::rename(&kept, &account).unwrap();
        drop(reader);
        rig.until("known", |rig| rig.standing("a.example").is_some_and(|said| said.next.is_some())).await;
        assert_eq!((rig.state("a.example"), rig.script.orders().len()), (Some(State::Valid), 1));
        rig.stop().await;
    });
}

#[test]
fn a_certificate_given_while_the_folders_are_opened_serves() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        fs::create_dir_all(&rig.settings.folder).unwrap();
        fs::write(rig.ca_folder(), "").unwrap();
        rig.start();
        rig.until("said", |rig| rig.is_problem("cannot open")).await;
        fs::remove_file(rig.ca_folder()).unwrap();
        let stuck = Stuck::new(rig.own_folder().join("z.example_pending"));
        assert!(rig.board.wish(&domain("b.example")), "the folders are opened again at once");
        let reader = step("they are read", || stuck.reader()).await;
        let given = own("a.example", 300);
        rig.give(&given);
        assert!(rig.board.wish(&domain("a.example")));
        step("its own", || rig.serves(&given).then_some(())).await;
        drop(stuck);
        drop(reader);
        rig.until("opened", |rig| rig.board.problems().is_empty()).await;
        rig.pass(60).await;
        assert!(rig.serves(&given) && rig.state("a.example") == Some(State::Own), "{rig:?}");
        assert!(rig.script.orders().is_empty());
        rig.stop().await;
    });
}

/// A folder that cannot be read takes no certificate away, and lets no other one in its place.
#[test]
fn a_folder_that_cannot_be_read_any_more_changes_nothing() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.until("served", |rig| rig.is_served("a.example")).await;
        let given = own("a.example", 300);
        rig.give(&given);
        assert!(rig.board.wish(&domain("a.example")));
        rig.until("its own", |rig| rig.serves(&given)).await;
        rig.stop().await;
        let aside = rig.settings.folder.join("aside");
        fs::rename(rig.own_folder(), &aside).unwrap();
        fs::write(rig.own_folder(), "").unwrap();
        rig.start();
        rig.until("said", |rig| rig.is_problem("/own")).await;
        assert!(rig.board.wish(&domain("a.example")));
        rig.pass(60).await;
        assert!(rig.serves(&given) && rig.state("a.example") == Some(State::Own), "{rig:?}");
        rig.stop().await;
    });
}

/// B174: nothing is ordered, and all else goes on.
#[test]
fn a_disk_that_gives_no_answer_holds_up_orders_alone() {
    run(async {
        let mut rig = Rig::started(&["b.example"]);
        rig.until("served", |rig| rig.is_served("b.example")).await;
        let stuck = Stuck::new(rig.ca_folder().join("a.example_schedule~"));
        rig.add("a.example");
        step("said", || rig.is_problem("no answer").then_some(())).await;
        let given = own("b.example", 300);
        rig.give(&given);
        assert!(rig.board.wish(&domain("b.example")));
        step("its own", || rig.serves(&given).then_some(())).await;
        assert_eq!(rig.script.orders(), ["b.example"]);
        let taking = stuck.take();
        drop(stuck);
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.until("well", |rig| rig.board.problems().is_empty()).await;
        drop(taking);
        rig.stop().await;
    });
}

/// Clocks may differ by an hour: the dates of a new certificate are those of the CA's.
#[test]
fn a_new_certificate_is_judged_by_the_clock_of_the_ca() {
    run(async {
        let mut rig = Rig::new();
        rig.script.state.borrow_mut().ahead = Duration::from_secs(1_800);
        rig.add("a.example");
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.pass(600).await;
        assert_eq!(rig.script.orders().len(), 1);
        rig.stop().await;
    });
}
