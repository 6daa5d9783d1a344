//! Disks that fail, files that are damaged, an account that is lost: a folder in a file's place is an error for root too.

use super::*;
use crate::certs::keeper::tests::script::Look;

/// Rule 2 of the schedule: on disk before anything is asked of the CA.
#[test]
fn nothing_is_asked_of_the_ca_before_it_is_on_disk() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let record = rig.ca_folder().join("a.example_schedule");
        let (account, budget) = (rig.ca_folder().join("_account"), rig.ca_folder().join("_budget"));
        rig.script.state.borrow_mut().look = Some(Look(Box::new(move |_, _| {
            assert!(fs::read_to_string(&record).unwrap().contains("ordering yes"));
            assert!(budget.exists() && fs::read_to_string(&account).unwrap().contains("https://ca.example/account/1"));
        })));
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
    });
}

/// B196.
#[test]
fn records_that_cannot_be_saved_hold_orders_until_they_can() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let in_the_way = rig.ca_folder().join("a.example_schedule~");
        fs::create_dir_all(&in_the_way).unwrap();
        rig.start();
        rig.until("said", |rig| rig.is_problem("cannot be written")).await;
        rig.pass(600).await;
        assert!(rig.script.orders().is_empty(), "{rig:?}");
        assert_eq!(rig.script.count(&Seen::Register), 0);
        fs::remove_dir(&in_the_way).unwrap();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert_eq!((rig.script.orders().len(), rig.board.problems()), (1, Vec::new()));
        rig.stop().await;
    });
}

/// Records are small; a disk that takes them and would not take a certificate gets no order.
#[test]
fn nothing_is_ordered_where_there_is_no_room_for_a_certificate() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let in_the_way = rig.ca_folder().join("_room~");
        fs::create_dir_all(&in_the_way).unwrap();
        rig.start();
        rig.until("said", |rig| rig.is_problem("cannot be written")).await;
        rig.pass(600).await;
        assert!(rig.script.orders().is_empty(), "{rig:?}");
        fs::remove_dir(&in_the_way).unwrap();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert!(!in_the_way.exists(), "nothing is left of the attempt");
        rig.stop().await;
    });
}

/// A7: no second order for a certificate that the disk does not take.
#[test]
fn a_certificate_that_cannot_be_stored_serves_and_is_stored_later() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let in_the_way = rig.ca_folder().join("a.example.pem~");
        fs::create_dir_all(&in_the_way).unwrap();
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.until("said", |rig| rig.is_problem("not on disk")).await;
        rig.pass(600).await;
        assert!(rig.board.wish(&domain("a.example")));
        rig.pass(5).await;
        assert!(rig.is_served("a.example"), "a wish looks at the disk, and takes nothing away");
        fs::remove_dir(&in_the_way).unwrap();
        rig.until("stored", |rig| rig.board.problems().is_empty()).await;
        assert_eq!(rig.script.orders().len(), 1);
        assert!(!rig.ca_folder().join("a.example_pending").exists());
        rig.stop().await;
        rig.load();
        assert!(rig.is_served("a.example"));
    });
}

#[test]
fn an_order_that_cannot_be_kept_is_not_signed() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let in_the_way = rig.ca_folder().join("a.example_pending~");
        fs::create_dir_all(&in_the_way).unwrap();
        rig.start();
        rig.until("failed", |rig| rig.is_said("a.example", "save the order")).await;
        assert!(!rig.is_served("a.example"));
        assert!(rig.is_problem("could not be written") && !rig.is_said("a.example", "CA is in trouble"), "{rig:?}");
        fs::remove_dir(&in_the_way).unwrap();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
    });
}

/// B164, B172: one damaged file costs its name an order, and nobody else anything.
#[test]
fn a_damaged_certificate_stops_no_other_and_brings_plain_http_back_for_none() {
    run(async {
        let mut rig = Rig::started(&["a.example", "b.example"]);
        rig.until("served", |rig| rig.is_served("a.example") && rig.is_served("b.example")).await;
        rig.stop().await;
        fs::write(rig.ca_folder().join("a.example.pem"), "hotcore-certificate 1 a.example issued 00000000\n").unwrap();
        rig.load();
        assert!(!rig.is_served("a.example") && rig.is_served("b.example"));
        assert!(rig.certificates.is_https_only(&domain("a.example")));
        assert!(rig.is_problem("a.example.pem"), "{rig:?}");
        rig.start();
        rig.until("ordered again", |rig| rig.is_served("a.example")).await;
        assert_eq!(rig.script.orders().len(), 3);
        rig.stop().await;
    });
}

/// B199: no order, never another key, and what is there serves.
#[test]
fn a_damaged_or_lost_account_orders_nothing_until_it_is_put_back() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.until("served", |rig| rig.is_served("a.example")).await;
        let account = rig.ca_folder().join("_account");
        let whole = fs::read(&account).unwrap();
        for damage in [Some(b"hotcore-account 1\n".as_slice()), None] {
            rig.stop().await;
            match damage {
                Some(bytes) => fs::write(&account, bytes).unwrap(),
                None => fs::remove_file(&account).unwrap(),
            }
            rig.load();
            assert!(rig.is_served("a.example"));
            rig.add("b.example");
            rig.start();
            rig.until("said", |rig| rig.is_problem("account")).await;
            assert_eq!(rig.state("a.example"), Some(State::Stopped));
            assert_eq!(rig.state("b.example"), Some(State::Stopped));
            rig.pass(1_000).await;
            assert_eq!(rig.script.orders(), ["a.example"]);
            assert_eq!(fs::read(&account).ok().as_deref(), damage);
        }
        fs::write(&account, &whole).unwrap();
        rig.until("ordered", |rig| rig.is_served("b.example")).await;
        assert_eq!(rig.script.count(&Seen::Register), 1);
        rig.stop().await;
    });
}

#[test]
fn a_lost_budget_beside_an_account_counts_as_spent() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
        fs::remove_file(rig.ca_folder().join("_budget")).unwrap();
        rig.load();
        (0..20).for_each(|number| rig.add(&format!("n{number}.example")));
        rig.start();
        rig.pass(5 * limits::ORDERS_EVERY.as_secs()).await;
        assert!((4..=7).contains(&rig.script.orders().len()), "{rig:?}");
        rig.stop().await;
    });
}

#[test]
fn a_folder_that_cannot_be_opened_is_looked_at_again() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        fs::create_dir_all(&rig.settings.folder).unwrap();
        fs::write(rig.ca_folder(), "").unwrap();
        rig.start();
        rig.until("said", |rig| rig.is_problem("cannot open")).await;
        assert_eq!(rig.state("a.example"), Some(State::Waiting));
        fs::remove_file(rig.ca_folder()).unwrap();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
    });
}

/// Invariant 5.
#[test]
fn folders_and_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let folder = rig.folder.path().join("certificates");
        for path in [folder.clone(), folder.join("own"), folder.join("local"), rig.ca_folder()] {
            assert_eq!(mode(&path), 0o700, "{path:?}");
        }
        for file in fs::read_dir(rig.ca_folder()).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
    });
}
