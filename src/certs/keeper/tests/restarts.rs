//! What a stop, a crash and another process mean for orders.

use super::*;
use crate::certs::issuer::{Cause, Step};

#[test]
fn a_restart_costs_no_order() {
    run(async {
        let mut rig = Rig::started(&["a.example", "b.example"]);
        rig.until("served", |rig| rig.is_served("a.example") && rig.is_served("b.example")).await;
        for turn in 0..10 {
            assert!(rig.stop().await < Duration::from_secs(1));
            // The same process again, or another one.
            if turn % 2 == 0 {
                rig.load();
            }
            assert!(rig.is_served("a.example") && rig.certificates.is_https_only(&domain("b.example")));
            rig.start();
            rig.until("valid", |rig| rig.state("a.example") == Some(State::Valid)).await;
            rig.pass(60).await;
        }
        rig.stop().await;
        assert_eq!((rig.script.orders().len(), rig.script.count(&Seen::Register)), (2, 1));
    });
}

/// B211 for orders: what was asked to be signed is fetched, not ordered again.
#[test]
fn a_crash_behind_the_certificate_request_costs_no_second_order() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.script.act("a.example", Act::HangSigning);
        rig.until("asked", |rig| rig.ca_folder().join("a.example_pending").exists()).await;
        rig.pass(5).await;
        rig.crash().await;
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert_eq!((rig.script.orders().len(), rig.script.count(&Seen::Resume(domain("a.example")))), (1, 1));
        rig.until("forgotten", |rig| !rig.ca_folder().join("a.example_pending").exists()).await;
        rig.stop().await;
    });
}

#[test]
fn a_stop_behind_the_certificate_request_leaves_the_order_to_the_next_process() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.script.act("a.example", Act::HangSigning);
        rig.until("asked", |rig| rig.ca_folder().join("a.example_pending").exists()).await;
        assert!(rig.stop().await < Duration::from_secs(1));
        rig.load();
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert_eq!(rig.script.orders().len(), 1);
        rig.stop().await;
    });
}

#[test]
fn an_interrupted_order_that_came_to_nothing_is_ordered_anew() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.script.act("a.example", Act::HangSigning);
        rig.until("asked", |rig| rig.ca_folder().join("a.example_pending").exists()).await;
        rig.crash().await;
        let lost = failure(Step::Order, Cause::OrderLost("expired".into()));
        rig.script.state.borrow_mut().resumes.entry(domain("a.example")).or_default().push_back(lost);
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert_eq!((rig.script.orders().len(), rig.script.count(&Seen::Resume(domain("a.example")))), (2, 1));
        rig.stop().await;
    });
}

/// The CA was silent when it should have signed: the next try fetches what it has signed.
#[test]
fn what_may_have_been_signed_is_fetched_by_the_next_try() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let silence = failure(Step::Finalize, Cause::TimedOut(Duration::from_secs(30)));
        rig.script.act("a.example", Act::FailSigning(silence));
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert_eq!((rig.script.orders().len(), rig.script.count(&Seen::Resume(domain("a.example")))), (1, 1));
        rig.stop().await;
    });
}

#[test]
fn an_order_that_can_never_be_finished_is_given_up_for_a_new_one() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let silence = || failure(Step::Issuance, Cause::TimedOut(Duration::from_secs(300)));
        rig.script.act("a.example", Act::FailSigning(silence()));
        let resumes = std::iter::repeat_with(silence).take(100).collect();
        rig.script.state.borrow_mut().resumes.insert(domain("a.example"), resumes);
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert_eq!(rig.script.orders().len(), 2);
        rig.stop().await;
    });
}

/// What was signed waits for the CA to come back, however long that takes.
#[test]
fn an_outage_of_the_ca_gives_up_no_order_that_was_interrupted() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let silence = failure(Step::Finalize, Cause::TimedOut(Duration::from_secs(30)));
        rig.script.act("a.example", Act::FailSigning(silence));
        rig.start();
        rig.until("asked", |rig| rig.ca_folder().join("a.example_pending").exists()).await;
        rig.pass(2).await;
        rig.script.state.borrow_mut().is_reachable = false;
        rig.pass(6 * 3_600).await;
        assert!(rig.script.count(&Seen::Resume(domain("a.example"))) > 3, "{rig:?}");
        rig.script.state.borrow_mut().is_reachable = true;
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert_eq!(rig.script.orders().len(), 1);
        rig.stop().await;
    });
}

#[test]
fn a_stop_while_an_order_hangs_takes_no_time_and_the_name_is_ordered_by_the_next_process() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.script.act("a.example", Act::Hang);
        rig.until("hanging", |rig| rig.script.orders().len() == 1).await;
        rig.pass(3).await;
        assert!(rig.stop().await < Duration::from_secs(1));
        rig.load();
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert_eq!(rig.script.orders().len(), 2);
        rig.stop().await;
    });
}

/// An order that is killed counts as a failure, as its record was there before it began.
#[test]
fn a_crash_loop_orders_no_more_than_the_ladder_allows() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        for _ in 0..20 {
            rig.script.act("a.example", Act::Hang);
        }
        rig.until("hanging", |rig| rig.script.orders().len() == 1).await;
        for _ in 0..50 {
            rig.crash().await;
            rig.start();
            rig.pass(10).await;
        }
        assert!(rig.script.orders().len() <= 3, "1 and 10 min: {rig:?}");
        rig.stop().await;
    });
}

/// B171.
#[test]
fn an_ended_certificate_is_served_all_the_same() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
        rig.pass(100 * 86_400).await;
        rig.script.state.borrow_mut().is_reachable = false;
        rig.load();
        assert!(rig.is_served("a.example"));
        rig.start();
        rig.until("said", |rig| rig.is_said("a.example", "has ended")).await;
        assert!(rig.is_served("a.example"));
        rig.stop().await;
    });
}

/// B206: what another process wrote between the load and the start is read.
#[test]
fn what_another_process_wrote_meanwhile_is_read_at_the_start() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let early = Keeper::load(rig.settings.clone(), rig.writer.table(), Keyring::new());
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
        (rig.board, rig.certificates) = (early.board(), early.keyring.certificates());
        rig.resting = Some(early);
        assert!(!rig.is_served("a.example"));
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
        assert_eq!(rig.script.orders().len(), 1);
    });
}

/// B214.
#[test]
fn nothing_is_ordered_while_the_clock_is_wrong() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        SHIFT.set(-(300 * 86_400));
        rig.start();
        rig.until("said", |rig| rig.is_problem("clock")).await;
        rig.pass(1_000).await;
        assert_eq!((rig.script.orders().len(), rig.state("a.example")), (0, Some(State::Stopped)));
        SHIFT.set(0);
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
    });
}
