//! Certificates that people give.

use tracing::Level;

use super::{listening::Lines, *};
use crate::certs::{
    schedule::Origin,
    store::{Certificate, Store},
};

/// A certificate of a person's for this name, valid for some days from now.
pub(super) fn own(name: &str, days: u64) -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let until = wall() + Duration::from_secs(days * 86_400);
    let issued = script::issued(&domain(name), &key, wall(), until);
    let pem = format!("{}{}", issued.key_pem, issued.chain_pem);
    Certificate::parse(&domain(name), Origin::Own, pem.as_bytes()).unwrap()
}

impl Rig {
    pub(super) fn own_folder(&self) -> PathBuf {
        self.settings.folder.join("own")
    }

    pub(super) fn give(&self, certificate: &Certificate) {
        Store::open(&self.own_folder()).unwrap().save(certificate).unwrap();
    }

    pub(super) fn serves(&self, certificate: &Certificate) -> bool {
        self.certificates.find(&certificate.domain).is_some_and(|served| served.cert == certificate.key.cert)
    }
}

#[test]
fn a_certificate_of_a_person_wins_and_nothing_is_ordered_over_it() {
    run(async {
        let mut rig = Rig::new();
        let given = own("a.example", 300);
        rig.give(&given);
        rig.load();
        assert!(rig.serves(&given) && rig.certificates.is_https_only(&domain("a.example")));
        rig.add("a.example");
        rig.start();
        rig.until("shown", |rig| rig.state("a.example") == Some(State::Own)).await;
        rig.pass(86_400).await;
        assert!(rig.script.orders().is_empty());
        rig.stop().await;
    });
}

#[test]
fn one_given_and_taken_away_while_hotcore_runs_takes_effect_with_a_wish() {
    run(async {
        let mut rig = Rig::started(&["a.example", "b.example"]);
        rig.until("served", |rig| rig.is_served("a.example")).await;
        let (given, first) = (own("a.example", 300), rig.certificates.find(&domain("a.example")).unwrap());
        rig.give(&given);
        assert!(rig.board.wish(&domain("a.example")));
        rig.until("its own", |rig| rig.serves(&given) && rig.state("a.example") == Some(State::Own)).await;
        for file in fs::read_dir(rig.own_folder()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        assert!(rig.board.wish(&domain("a.example")));
        rig.until("the CA's", |rig| !rig.serves(&given)).await;
        assert_eq!(rig.certificates.find(&domain("a.example")).unwrap().cert, first.cert);
        rig.until("valid", |rig| rig.state("a.example") == Some(State::Valid)).await;
        assert_eq!(rig.script.orders().len(), 2);
        rig.stop().await;
    });
}

#[test]
fn without_one_of_the_ca_behind_it_the_name_is_ordered_when_its_own_goes() {
    run(async {
        let mut rig = Rig::new();
        rig.give(&own("a.example", 300));
        rig.load();
        rig.add("a.example");
        rig.start();
        rig.until("its own", |rig| rig.state("a.example") == Some(State::Own)).await;
        fs::remove_dir_all(rig.own_folder()).unwrap();
        assert!(rig.board.wish(&domain("a.example")));
        rig.until("the CA's", |rig| rig.state("a.example") == Some(State::Valid)).await;
        assert_eq!(rig.script.orders(), ["a.example"]);
        rig.stop().await;
    });
}

#[test]
fn one_that_was_damaged_serves_on_and_is_said() {
    run(async {
        let mut rig = Rig::new();
        let given = own("a.example", 300);
        rig.give(&given);
        rig.load();
        rig.add("a.example");
        rig.start();
        rig.until("its own", |rig| rig.state("a.example") == Some(State::Own)).await;
        fs::write(rig.own_folder().join("a.example.pem"), "damaged").unwrap();
        assert!(rig.board.wish(&domain("a.example")));
        rig.until("said", |rig| rig.is_problem("own/a.example.pem")).await;
        assert!(rig.serves(&given));
        rig.give(&given);
        assert!(rig.board.wish(&domain("a.example")));
        rig.until("well again", |rig| rig.board.problems().is_empty()).await;
        rig.stop().await;
    });
}

#[test]
fn one_given_while_its_name_is_ordered_is_not_replaced() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.script.state.borrow_mut().delay = Duration::from_secs(60);
        rig.script.state.borrow_mut().life = Duration::from_secs(6 * 3_600);
        rig.until("ordering", |rig| rig.script.orders().len() == 1).await;
        let given = own("a.example", 300);
        rig.give(&given);
        assert!(rig.board.wish(&domain("a.example")));
        rig.until("its own", |rig| rig.serves(&given)).await;
        rig.pass(120).await;
        assert!(rig.ca_folder().join("a.example.pem").exists(), "the order has ended");
        assert!(rig.serves(&given) && rig.state("a.example") == Some(State::Own), "{rig:?}");
        rig.pass(86_400).await;
        assert_eq!(rig.script.orders().len(), 1, "and is not renewed behind it");
        rig.stop().await;
    });
}

#[test]
fn one_that_ends_is_warned_about_from_two_weeks_before_on() {
    let lines = Lines::default();
    let _listening = lines.hear();
    run(async {
        let mut rig = Rig::new();
        rig.give(&own("a.example", 20));
        rig.load();
        rig.add("a.example");
        rig.start();
        for (days, ending, ended) in [(5, 0, 0), (10, 9, 0), (8, 14, 4)] {
            for _ in 0..days {
                // A day and an hour of the wall clock, in which the log is looked after once.
                SHIFT.set(SHIFT.get() + 90_000 - 3_601);
                rig.pass(3_601).await;
            }
            let said = [lines.count(Level::WARN, "ends at"), lines.count(Level::WARN, "ended at")];
            assert!(said[0].abs_diff(ending) <= 1 && said[1].abs_diff(ended) <= 1, "{}", lines.all());
        }
        assert!(rig.is_said("a.example", "ended at") && rig.is_served("a.example"));
        rig.stop().await;
    });
}
