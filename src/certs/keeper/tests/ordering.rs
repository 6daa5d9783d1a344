//! From a rule to a certificate that serves.

use tracing::Level;

use super::{listening::Lines, script::Look, *};
use crate::certs::issuer::{Answer, Cause, ChallengeKind, Limit, Problem, RetryAfter, Step};

fn refused(kind: ChallengeKind, problem: &str) -> Act {
    let problem = Problem::new(problem, "its words");
    Act::Fail(failure(Step::Validation, Cause::ChallengeRefused { kind, problem }))
}

#[test]
fn a_name_gets_its_certificate_and_is_https_only_from_then_on() {
    run(async {
        let mut rig = Rig::started(&[]);
        rig.pass(1).await;
        rig.add("a.example");
        rig.until("ordering", |rig| rig.state("a.example") == Some(State::Ordering)).await;
        assert!(!rig.certificates.is_https_only(&domain("a.example")));
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert!(rig.certificates.is_https_only(&domain("a.example")));
        rig.until("valid", |rig| rig.state("a.example") == Some(State::Valid)).await;
        let standing = rig.standing("a.example").unwrap();
        assert!(standing.until.unwrap() > START + 89 * 86_400 && standing.next.unwrap() > START + 50 * 86_400);
        assert_eq!(rig.script.orders(), ["a.example"]);
        assert!(rig.board.problems().is_empty(), "{rig:?}");
        assert!(rig.stop().await < Duration::from_secs(1));
        assert!(rig.is_served("a.example"), "a keeper at rest serves on");
    });
}

/// B167, B168: each kind of answer is there while the CA may look, and nowhere afterwards; the kinds alternate.
#[test]
fn both_kinds_of_answers_are_shown_and_taken_away() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let certificates = rig.certificates.clone();
        rig.script.state.borrow_mut().look = Some(Look(Box::new(move |domain, answer| match answer {
            Answer::Tls { certificate } => {
                let shown = certificates.challenge(domain).unwrap();
                assert!(Arc::ptr_eq(&shown, certificate) && certificates.find(domain).is_none());
            }
            Answer::Http { token, key_authorization } => {
                assert_eq!(certificates.http_answer(domain, token).as_deref(), Some(key_authorization.as_str()));
            }
        })));
        // Its answer is in place when the CA refuses it.
        rig.script.act("a.example", Act::FailSigning(failure(Step::Finalize, Cause::Refused(Problem::new("x", "y")))));
        rig.start();
        let proved = |kind| Seen::Proved(domain("a.example"), kind);
        rig.until("the first kind", |rig| rig.script.count(&proved(ChallengeKind::TlsAlpn01)) == 1).await;
        rig.pass(1).await;
        assert!(rig.certificates.challenge(&domain("a.example")).is_none());
        // The name itself was refused: a day later the other kind.
        rig.pass(27 * 3_600).await;
        rig.until("the second kind", |rig| rig.script.count(&proved(ChallengeKind::Http01)) == 1).await;
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert_eq!(rig.certificates.http_answer(&domain("a.example"), "token"), None);
    });
}

#[test]
fn a_failure_is_said_with_its_reason_and_tried_again_with_the_other_challenge() {
    let lines = Lines::default();
    let _listening = lines.hear();
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        rig.add("b.example");
        for _ in 0..2 {
            rig.script.act("a.example", refused(ChallengeKind::Http01, "connection"));
        }
        rig.start();
        rig.until("failed", |rig| rig.is_said("a.example", "port 80")).await;
        let standing = rig.standing("a.example").unwrap();
        assert_eq!(standing.reason, "port 80 is not reachable from the CA: its words");
        assert!(standing.next.is_some());
        rig.until("the other one", |rig| rig.is_served("b.example")).await;
        rig.until("served", |rig| rig.is_served("a.example")).await;
        let order = |kind| Seen::Order(domain("a.example"), kind);
        assert_eq!(rig.script.count(&order(ChallengeKind::TlsAlpn01)), 2);
        assert_eq!(rig.script.count(&order(ChallengeKind::Http01)), 1);
        rig.stop().await;
    });
    assert_eq!(lines.count(Level::WARN, "port 80 is not reachable"), 1, "{}", lines.all());
    // B218.
    for secret in ["PRIVATE KEY", "token.thumb"] {
        assert!(!lines.all().contains(secret), "{}", lines.all());
    }
}

/// B130, B163.
#[test]
fn a_handshake_waits_for_the_order_in_flight() {
    run(async {
        let mut rig = Rig::started(&["a.example", "b.example"]);
        rig.script.act("b.example", Act::Hang);
        rig.until("ordering", |rig| rig.script.orders().len() == 2).await;
        let begin = Instant::now();
        assert!(rig.certificates.wait(&domain("a.example")).await.is_some());
        assert!(begin.elapsed() < Duration::from_secs(10));
        let other = domain("b.example");
        let waiting = tokio::time::timeout(Duration::from_secs(20), rig.certificates.wait(&other));
        assert!(waiting.await.is_err(), "it waits as long as the order runs");
        rig.remove("b.example");
        assert!(rig.certificates.wait(&domain("b.example")).await.is_none(), "the order has ended");
        rig.stop().await;
    });
}

#[test]
fn no_more_than_eight_are_ordered_at_a_time_and_one_that_is_asked_for_comes_first() {
    run(async {
        let mut rig = Rig::new();
        for number in 0..1_000 {
            rig.add(&format!("n{number}.example"));
        }
        rig.start();
        rig.until("some", |rig| rig.script.orders().len() >= 20).await;
        let begun = rig.script.orders();
        let last = (0..1_000).map(|number| format!("n{number}.example")).find(|name| !begun.contains(name)).unwrap();
        let queued = rig.standing(&last).unwrap();
        assert!(queued.state == State::Queued && queued.reason.contains("before it"), "{queued:?}");
        rig.certificates.ask(&domain(&last));
        rig.until("it", |rig| rig.script.orders().contains(&last)).await;
        assert!(rig.script.orders().len() <= begun.len() + 2 * limits::ORDERS_IN_FLIGHT_MAX, "{rig:?}");
        // The budget of the account, and then one now and then.
        rig.pass(600).await;
        let orders = rig.script.orders();
        assert!((285..310).contains(&orders.len()), "{}", orders.len());
        assert_eq!(orders.iter().collect::<HashSet<_>>().len(), orders.len(), "none twice");
        rig.stop().await;
        let (served, written) =
            (orders.iter().filter(|name| rig.is_served(name)).count(), fs::read_dir(rig.ca_folder()));
        let written = written.unwrap().filter(|file| {
            let name = file.as_ref().unwrap().file_name().into_string().unwrap();
            name.ends_with(".pem")
        });
        assert_eq!(written.count(), served);
    });
}

/// B173.
#[test]
fn removed_and_added_again_a_name_costs_no_further_order() {
    run(async {
        let mut rig = Rig::started(&["a.example"]);
        rig.until("served", |rig| rig.is_served("a.example")).await;
        for _ in 0..100 {
            rig.remove("a.example");
            rig.pass(1).await;
            assert_eq!(rig.standing("a.example"), None);
            assert!(rig.is_served("a.example") && rig.certificates.is_https_only(&domain("a.example")));
            rig.add("a.example");
            rig.pass(1).await;
        }
        assert_eq!(rig.state("a.example"), Some(State::Valid));
        assert_eq!(rig.script.orders().len(), 1);
        rig.stop().await;
    });
}

/// B223.
#[test]
fn a_local_name_is_never_ordered_and_no_name_where_no_ca_is_asked() {
    run(async {
        let mut rig = Rig::started(&["a.test", "printer"]);
        rig.until("shown", |rig| rig.state("a.test") == Some(State::Local)).await;
        rig.certificates.ask(&domain("a.test"));
        assert!(rig.board.wish(&domain("printer")));
        rig.pass(3_000).await;
        rig.stop().await;
        assert_eq!(rig.script.state.borrow().seen, []);
        assert_eq!(rig.names.asked.load(Ordering::Relaxed), 0);

        let mut rig = Rig::new();
        rig.settings.ca = None;
        rig.load();
        rig.add("a.example");
        rig.start();
        rig.until("shown", |rig| rig.state("a.example") == Some(State::Off)).await;
        rig.pass(3_000).await;
        rig.stop().await;
        assert_eq!(rig.script.state.borrow().seen, []);
    });
}

#[test]
fn a_name_without_an_address_waits_for_one() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        rig.names.missing.lock().unwrap().insert(domain("a.example"));
        rig.start();
        rig.until("waiting", |rig| rig.is_said("a.example", "DNS does not point anywhere yet")).await;
        assert_eq!(rig.state("a.example"), Some(State::Waiting));
        rig.pass(600).await;
        assert!(rig.script.orders().is_empty());
        rig.names.missing.lock().unwrap().clear();
        let begin = Instant::now();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        assert!(begin.elapsed() < Duration::from_secs(120), "{:?}", begin.elapsed());
        rig.stop().await;
    });
}

#[test]
fn a_ca_that_is_not_there_is_said_and_found_again() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        rig.script.state.borrow_mut().is_reachable = false;
        rig.start();
        rig.until("said", |rig| rig.is_problem("no route to host")).await;
        assert!(rig.standing("a.example").unwrap().reason.contains("no route to host"));
        rig.script.state.borrow_mut().is_reachable = true;
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.until("no problem", |rig| rig.board.problems().is_empty()).await;
        rig.stop().await;
    });
}

#[test]
fn a_limit_of_the_ca_is_kept_to_its_end() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        let limited = Cause::RateLimited {
            limit: Limit::Orders,
            retry: Some(RetryAfter::In(Duration::from_secs(1_800))),
            problem: Problem::new("rateLimited", "too many new orders"),
        };
        rig.script.act("a.example", Act::Fail(failure(Step::NewOrder, limited)));
        rig.start();
        rig.until("held", |rig| rig.is_said("a.example", "rate-limited")).await;
        let standing = rig.standing("a.example").unwrap();
        assert!(standing.reason.contains("too many new orders") && standing.state == State::Waiting, "{standing:?}");
        rig.add("b.example");
        rig.pass(1_700).await;
        assert_eq!(rig.script.orders(), ["a.example"]);
        rig.until("served", |rig| rig.is_served("a.example") && rig.is_served("b.example")).await;
        rig.stop().await;
    });
}

/// B212.
#[test]
fn a_bug_in_one_order_ends_no_other() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        rig.script.act("a.example", Act::Panic);
        rig.start();
        rig.until("waiting", |rig| rig.state("a.example") == Some(State::Waiting)).await;
        rig.add("b.example");
        rig.until("served", |rig| rig.is_served("b.example")).await;
        rig.until("and itself", |rig| rig.is_served("a.example")).await;
        rig.stop().await;
    });
}

#[test]
fn the_cas_wish_for_a_renewal_is_asked_for_and_followed() {
    run(async {
        let mut rig = Rig::new();
        rig.add("a.example");
        rig.script.state.borrow_mut().has_windows = true;
        rig.start();
        rig.until("asked", |rig| rig.script.state.borrow().seen.iter().any(|seen| matches!(seen, Seen::Window(_))))
            .await;
        rig.until("shown", |rig| {
            rig.standing("a.example").and_then(|said| said.next).unwrap_or(0) < START + 12 * 86_400
        })
        .await;
        rig.pass(3 * 86_400).await;
        rig.until("renewed", |rig| rig.script.orders().len() >= 2).await;
        rig.stop().await;
    });
}

/// B171: at once and then daily.
#[test]
fn a_renewal_that_fails_is_warned_about_daily_and_the_old_certificate_serves_on() {
    let lines = Lines::default();
    let _listening = lines.hear();
    run(async {
        let mut rig = Rig::new();
        rig.script.state.borrow_mut().life = Duration::from_secs(12 * 86_400);
        rig.add("a.example");
        rig.start();
        rig.until("served", |rig| rig.is_served("a.example")).await;
        rig.pass(7 * 86_400).await;
        assert_eq!(lines.count(Level::WARN, ""), 0, "{}", lines.all());
        for _ in 0..20 {
            rig.script.act("a.example", refused(ChallengeKind::TlsAlpn01, "connection"));
        }
        rig.pass(6 * 86_400).await;
        assert!(rig.is_served("a.example"), "ended, but better than nothing");
        let standing = rig.standing("a.example").unwrap();
        assert!(standing.reason.starts_with("its certificate has ended; port 443"), "{standing:?}");
        let warnings = lines.count(Level::WARN, "a.example");
        assert!((4..=7).contains(&warnings), "{warnings} {}", lines.all());
        rig.stop().await;
    });
}

/// B213.
#[test]
fn its_heart_beats_while_nothing_happens() {
    run(async {
        let mut rig = Rig::started(&[]);
        rig.pass(1).await;
        let before = rig.beats.load(Ordering::Relaxed);
        rig.pass(200).await;
        assert!(rig.beats.load(Ordering::Relaxed) >= before + 10);
        rig.stop().await;
    });
}
