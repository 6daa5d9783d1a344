//! Who is ordered when, one rule at a time.

use super::*;

#[test]
fn a_new_name_is_looked_up_and_ordered_at_once() {
    let rig = Rig::mapped(&["a.example"]);
    assert_eq!((rig.names(), rig.started[0].3), (vec!["a.example"], Challenge::TlsAlpn01));
    assert_eq!(rig.state("a.example"), State::Ordering);
    assert!(rig.schedule.is_ordering(&domain("a.example")));
}

#[test]
fn b223_local_names_are_never_ordered_and_ask_no_ca() {
    let mut rig = Rig::mapped(&["a.localhost", "printer", "a.test"]);
    rig.pass(400 * DAY);
    assert!(rig.names().is_empty() && rig.schedule.directory.asked_at.is_none());
    assert_eq!(rig.state("printer"), State::Local);
}

#[test]
fn an_own_certificate_is_never_ordered_over_until_it_is_taken_away() {
    let mut rig = Rig::new();
    let own = Held { not_before: START, not_after: START + 10, origin: Origin::Own };
    rig.tell(Event::Held(domain("a.example"), Some(own)));
    rig.tell(Event::Mapped(domain("a.example")));
    rig.pass(30 * DAY);
    assert!(rig.names().is_empty(), "not even when it has ended");
    assert_eq!(rig.state("a.example"), State::Own);
    rig.tell(Event::Held(domain("a.example"), None));
    rig.turn();
    assert_eq!(rig.names(), ["a.example"]);
}

#[test]
fn b173_a_name_added_a_hundred_times_is_one_order() {
    let mut rig = Rig::mapped(&["a.example"]);
    for _ in 0..100 {
        rig.tell(Event::Mapped(domain("a.example")));
        rig.turn();
    }
    assert_eq!(rig.names(), ["a.example"]);
}

#[test]
fn no_more_than_eight_orders_are_under_way() {
    let names: Vec<_> = (0..9).map(|i| format!("n{i}.example")).collect();
    let mut rig = Rig::mapped(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(rig.started.len(), limits::ORDERS_IN_FLIGHT_MAX);
    assert_eq!(rig.state("n8.example"), State::Queued(0));
    rig.issue("n3.example", 90 * DAY);
    assert_eq!(rig.names().last(), Some(&"n8.example"));
}

#[test]
fn renewals_come_first_then_names_asked_for_then_new_ones_then_those_that_failed() {
    let mut rig = Rig::mapped(&["failed.example"]);
    rig.end("failed.example", site());
    let fill: Vec<_> = (0..8).map(|i| format!("fill{i}.example")).collect();
    for name in &fill {
        rig.tell(Event::Mapped(domain(name)));
    }
    rig.turn();
    rig.pass(2 * MINUTE);
    let wall = START + rig.time;
    rig.tell(Event::Mapped(domain("new.example")));
    rig.tell(Event::Mapped(domain("asked.example")));
    rig.tell(Event::Asked(domain("asked.example")));
    for (name, left) in [("late.example", 4 * DAY), ("urgent.example", 3 * DAY)] {
        rig.tell(Event::Held(domain(name), held(wall - 90 * DAY + left, wall + left)));
        rig.tell(Event::Mapped(domain(name)));
    }
    rig.started.retain(|start| start.1.as_str().starts_with("fill"));
    for name in &fill {
        rig.issue(name, 90 * DAY);
    }
    assert_eq!(rig.names()[8..], ["urgent.example", "late.example", "asked.example", "new.example", "failed.example"]);
}

#[test]
fn a_name_that_nobody_mapped_is_not_ordered_whoever_asks_for_it() {
    let mut rig = Rig::mapped(&[]);
    rig.tell(Event::Asked(domain("a.example")));
    rig.tell(Event::Retry(domain("a.example")));
    rig.turn();
    assert!(rig.names().is_empty() && rig.schedule.entries.is_empty());
}

#[test]
fn failures_are_repeated_after_1_10_100_minutes_and_then_daily_with_the_other_challenge_each_time() {
    let mut rig = Rig::mapped(&["a.example"]);
    let mut before = 0;
    for (index, wait) in [MINUTE, 10 * MINUTE, 100 * MINUTE, DAY, DAY, DAY].into_iter().enumerate() {
        rig.end("a.example", site());
        rig.pass(2 * wait);
        let (time, _, _, challenge) = rig.started[index + 1];
        assert!((time - before).abs_diff(wait) <= wait / limits::RETRY_JITTER, "{index}: {}", time - before);
        assert_eq!(challenge, if index % 2 == 0 { Challenge::Http01 } else { Challenge::TlsAlpn01 });
        before = rig.time;
    }
    assert_eq!(rig.started.len(), 7);
}

#[test]
fn the_challenge_that_worked_comes_first_at_the_renewal() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.end("a.example", site());
    rig.pass(2 * MINUTE);
    let wall = START + rig.time;
    let proved_by = Some(Challenge::Http01);
    rig.end("a.example", Outcome::Issued { not_before: wall, not_after: wall + 90 * DAY, proved_by });
    rig.pass(60 * DAY);
    assert_eq!(rig.started.len(), 3);
    assert_eq!(rig.started[2].3, Challenge::Http01);
    rig.end("a.example", site());
    rig.pass(2 * MINUTE);
    assert_eq!(rig.started[3].3, Challenge::TlsAlpn01);
}

#[test]
fn a_longer_wish_of_the_ca_is_heeded_for_a_week_at_most() {
    for (wish, wanted) in [(5 * HOUR, 5 * HOUR), (10, MINUTE), (30 * DAY, 7 * DAY)] {
        let mut rig = Rig::mapped(&["a.example"]);
        rig.end("a.example", failed(Failure::Site { until: Some(START + wish) }));
        rig.pass(8 * DAY);
        let time = rig.started[1].0;
        assert!(time.abs_diff(wanted) <= MINUTE / limits::RETRY_JITTER, "{wish}: {time}");
    }
}

#[test]
fn trouble_of_the_ca_stops_all_orders_and_then_lets_one_try() {
    let names: Vec<_> = (0..20).map(|i| format!("n{i}.example")).collect();
    let mut rig = Rig::mapped(&names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names[..8] {
        rig.end(name, failed(Failure::Ca { until: None }));
    }
    assert_eq!(rig.started.len(), 8);
    assert!(matches!(rig.state("n12.example"), State::CaTrouble(_)));
    rig.pass(59);
    assert_eq!(rig.started.len(), 8);
    rig.pass(2);
    assert_eq!(rig.names()[8..], ["n8.example"], "one, and another name than before");
    rig.end("n8.example", failed(Failure::Ca { until: Some(START + 10 * MINUTE) }));
    rig.pass(8 * MINUTE);
    assert_eq!(rig.started.len(), 9);
    rig.pass(2 * MINUTE);
    assert_eq!(rig.started.len(), 10);
    let last = rig.names()[9].to_owned();
    rig.issue(&last, 90 * DAY);
    assert_eq!(rig.started.len(), 18, "and all again when one came back well");
}

#[test]
fn b173_a_name_that_troubles_the_ca_each_time_holds_up_no_other() {
    let mut rig = Rig::mapped(&["bad.example"]);
    for i in 0..50 {
        rig.tell(Event::Mapped(domain(&format!("n{i}.example"))));
    }
    rig.turn();
    for _ in 0..600 {
        let running: Vec<_> =
            rig.schedule.entries.iter().filter(|e| matches!(e.phase, Phase::Ordering { .. })).collect();
        for name in running.iter().map(|entry| entry.domain.to_string()).collect::<Vec<_>>() {
            match name.as_str() {
                "bad.example" => rig.end(&name, failed(Failure::Ca { until: None })),
                _ => rig.issue(&name, 90 * DAY),
            }
        }
        rig.pass(10);
    }
    let good = rig.schedule.entries.iter().filter(|entry| entry.held.is_some()).count();
    assert_eq!(good, 50);
    assert!(rig.names().iter().filter(|name| **name == "bad.example").count() <= 10);
}

#[test]
fn a_limit_of_the_account_holds_new_names_and_lets_renewals_pass() {
    let mut rig = Rig::mapped(&["a.example", "b.example"]);
    let until = Some(START + 2 * HOUR);
    rig.end("a.example", failed(Failure::RateLimited { scope: Scope::Account, until }));
    rig.end("b.example", failed(Failure::RateLimited { scope: Scope::Unknown, until: None }));
    rig.tell(Event::Held(domain("old.example"), held(START - 70 * DAY, START + 20 * DAY)));
    rig.tell(Event::Mapped(domain("old.example")));
    rig.turn();
    assert_eq!(rig.names()[2..], ["old.example"]);
    assert_eq!(rig.state("a.example"), State::HeldByCa(START + 2 * HOUR));
    rig.issue("old.example", 90 * DAY);
    rig.pass(2 * HOUR - 1);
    assert_eq!(rig.started.len(), 3);
    rig.pass(1);
    assert_eq!(rig.started.len(), 4, "one, to see");
    rig.issue("a.example", 90 * DAY);
    assert_eq!(rig.names()[4..], ["b.example"]);
}

#[test]
fn a_limit_of_a_registered_domain_holds_the_names_under_it_alone() {
    let mut rig = Rig::mapped(&["x.big.example"]);
    let scope = Scope::Registered(domain("big.example"));
    rig.end("x.big.example", failed(Failure::RateLimited { scope, until: Some(START + 3 * HOUR) }));
    for name in ["y.big.example", "z.big.example", "small.example"] {
        rig.tell(Event::Mapped(domain(name)));
    }
    rig.turn();
    assert_eq!(rig.names()[1..], ["small.example"]);
    rig.pass(3 * HOUR + 5);
    assert_eq!(rig.started.len(), 3, "one at a time from then on");
}

#[test]
fn a_limit_of_the_name_holds_it_even_against_a_persons_wish_but_a_pause_does_not() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.end("a.example", failed(Failure::RateLimited { scope: Scope::Name, until: Some(START + DAY) }));
    rig.tell(Event::Retry(domain("a.example")));
    rig.pass(DAY - 1);
    assert_eq!(rig.started.len(), 1);
    rig.pass(1);
    assert_eq!(rig.started.len(), 2);
    rig.end("a.example", failed(Failure::RateLimited { scope: Scope::Paused, until: None }));
    rig.pass(HOUR);
    assert_eq!((rig.started.len(), rig.state("a.example")), (2, State::Paused));
    rig.tell(Event::Retry(domain("a.example")));
    rig.turn();
    assert_eq!(rig.started.len(), 3);
}

#[test]
fn a_name_that_the_ca_does_not_sign_is_tried_once_a_day() {
    let mut rig = Rig::mapped(&["a.example"]);
    for _ in 0..10 {
        rig.end("a.example", failed(Failure::Name));
        rig.pass(DAY * 9 / 10 - 1);
        rig.pass(DAY / 5 + 2);
    }
    assert_eq!(rig.started.len(), 11);
}

#[test]
fn an_account_that_the_ca_forgot_is_registered_again_every_three_hours_at_most() {
    let mut rig = Rig::mapped(&["a.example", "b.example"]);
    rig.end("a.example", failed(Failure::AccountUnknown));
    rig.end("b.example", failed(Failure::AccountUnknown));
    assert_eq!(rig.others, [Decision::Register]);
    rig.tell(Event::Registered(true));
    rig.turn();
    assert_eq!(rig.started.len(), 4);
    rig.end("a.example", failed(Failure::AccountUnknown));
    rig.pass(3 * HOUR - 1);
    assert_eq!((rig.others.len(), rig.state("b.example")), (1, State::Ordering));
    rig.pass(1);
    assert_eq!(rig.others.len(), 2);
    rig.restart();
    rig.pass(10 * MINUTE);
    let last = rig.names().last().unwrap().to_string();
    rig.end(&last, failed(Failure::AccountUnknown));
    rig.pass(HOUR);
    assert_eq!(rig.others.len(), 2, "a restart does not forget when it was");
}

#[test]
fn an_account_that_a_person_must_mend_is_asked_once_a_day_or_when_the_person_says_so() {
    let mut rig = Rig::mapped(&["a.example", "b.example"]);
    rig.end("a.example", failed(Failure::AccountStopped));
    rig.end("b.example", failed(Failure::AccountStopped));
    rig.restart();
    rig.pass(DAY - 1);
    assert_eq!((rig.started.len(), rig.state("a.example")), (2, State::AccountStopped));
    rig.pass(1);
    assert_eq!(rig.started.len(), 3);
    let last = rig.names()[2].to_owned();
    rig.end(&last, failed(Failure::AccountStopped));
    rig.tell(Event::Retry(domain("b.example")));
    rig.turn();
    assert_eq!(rig.started.len(), 4);
    let last = rig.names()[3].to_owned();
    rig.issue(&last, 90 * DAY);
    assert_eq!(rig.started.len(), 5);
}

#[test]
fn an_order_that_could_not_be_noted_on_disk_costs_nothing_and_stops_the_others_for_a_minute() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.end("a.example", failed(Failure::NotStored));
    let entry = &rig.schedule.entries[0];
    assert_eq!((entry.exact_set.0, entry.failures.0, rig.schedule.budget.orders.0), (START, START, START));
    assert_eq!(rig.state("a.example"), State::StoreNotWritable);
    rig.pass(59);
    assert_eq!(rig.started.len(), 1);
    rig.pass(1);
    assert_eq!((rig.started.len(), rig.started[1].3), (2, Challenge::TlsAlpn01));
}

#[test]
fn an_order_that_the_disk_did_not_take_is_not_blamed_on_the_ca() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.end("a.example", failed(Failure::NotKept));
    assert!(rig.schedule.budget.orders.0 > START, "the CA has counted it");
    assert_eq!(rig.state("a.example"), State::StoreNotWritable);
    assert_eq!(rig.schedule.obstacle(), Some(State::StoreNotWritable));
    rig.pass(2 * MINUTE);
    assert_eq!(rig.started.len(), 2);
    rig.end("a.example", failed(Failure::Ca { until: None }));
    assert!(matches!(rig.schedule.obstacle(), Some(State::CaTrouble(_))));
}

#[test]
fn a_removed_name_is_abandoned_and_the_end_of_its_order_means_nothing_to_the_next_one() {
    let mut rig = Rig::mapped(&["a.example"]);
    let first = rig.started[0].2;
    rig.tell(Event::Unmapped(domain("a.example")));
    rig.turn();
    assert_eq!(rig.others, [Decision::Abandon { domain: domain("a.example"), order: first }]);
    assert_eq!(rig.schedule.state(&domain("a.example")), None);
    rig.tell(Event::Mapped(domain("a.example")));
    rig.pass(59);
    assert_eq!(rig.started.len(), 1);
    rig.pass(1);
    assert_eq!(rig.started.len(), 2);
    rig.tell(Event::Ended { domain: domain("a.example"), order: first, outcome: site() });
    rig.turn();
    assert_eq!((rig.state("a.example"), rig.started.len()), (State::Ordering, 2));
}

#[test]
fn a_name_removed_and_added_ten_times_a_day_keeps_its_certificate_and_costs_no_order() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.issue("a.example", 90 * DAY);
    for _ in 0..50 {
        rig.tell(Event::Unmapped(domain("a.example")));
        rig.pass(HOUR);
        rig.tell(Event::Mapped(domain("a.example")));
        rig.pass(2 * HOUR);
    }
    assert_eq!(rig.started.len(), 1);
}

#[test]
fn a_name_without_an_address_waits_until_it_has_one() {
    let mut rig = Rig::new();
    rig.lost.push(domain("a.example"));
    rig.tell(Event::Mapped(domain("a.example")));
    rig.pass(30 * MINUTE);
    assert_eq!((rig.started.len(), rig.state("a.example")), (0, State::WaitingForAddress));
    assert!(!rig.schedule.reason(&domain("a.example")).is_empty());
    rig.lost.clear();
    rig.pass(MINUTE);
    assert_eq!(rig.names(), ["a.example"]);
}

#[test]
fn a_name_without_an_address_is_tried_once_a_day_all_the_same() {
    let mut rig = Rig::new();
    rig.lost.push(domain("a.example"));
    rig.tell(Event::Mapped(domain("a.example")));
    for day in 1..5 {
        rig.pass(DAY * 11 / 10 + HOUR);
        assert_eq!(rig.started.len(), day, "the resolver here may be the one that is wrong");
        rig.end("a.example", site());
        rig.started.truncate(day);
        rig.schedule.entries[0].step = 9;
    }
}

#[test]
fn a_changed_address_allows_a_try_at_once_but_not_each_time() {
    let mut rig = Rig::mapped(&["a.example"]);
    for _ in 0..5 {
        rig.end("a.example", site());
        rig.pass(2 * DAY);
    }
    rig.end("a.example", site());
    let before = rig.started.len();
    // An answer that is another one each time.
    let mut addresses = 100;
    for _ in 0..DAY / MINUTE {
        addresses += 1;
        let at = 0;
        if !rig.schedule.entries[at].is_looking {
            rig.schedule.entries[at].is_looking = true;
            rig.schedule.looking += 1;
        }
        rig.tell(Event::LookedUp { domain: domain("a.example"), addresses: Some(addresses) });
        rig.turn();
        if matches!(rig.schedule.entries[at].phase, Phase::Ordering { .. }) {
            rig.end("a.example", site());
        }
        rig.pass(MINUTE);
    }
    let tries = rig.started.len() - before;
    assert!((3..=10).contains(&tries), "{tries}");
}

#[test]
fn look_ups_are_few_at_a_time_and_their_silence_stops_nothing_else() {
    let mut rig = Rig::new();
    for i in 0..20 {
        rig.tell(Event::Mapped(domain(&format!("n{i}.example"))));
    }
    rig.schedule.poll(rig.now());
    rig.tell(Event::Directory { date: None, offers_windows: false });
    let look_ups = rig.schedule.poll(rig.now());
    assert_eq!(look_ups.len(), limits::LOOK_UPS_IN_FLIGHT_MAX);
    assert!(look_ups.iter().all(|decision| matches!(decision, Decision::LookUp(_))));
    assert!(rig.schedule.poll(rig.now()).is_empty());
}

#[test]
fn b214_nothing_is_ordered_while_the_clock_is_absurd_or_far_from_the_cas() {
    let mut rig = Rig::new();
    rig.wall_error = -i64::try_from(START).unwrap();
    rig.schedule.clock.advance(rig.now());
    rig.tell(Event::Mapped(domain("a.example")));
    rig.pass(DAY);
    assert_eq!((rig.started.len(), rig.state("a.example")), (0, State::ClockWrong));
    assert_eq!(rig.schedule.directory.asked_at, None, "and nobody is asked: no certificate of the CA would be valid");
    rig.wall_error = 2 * 3_600;
    rig.pass(DAY);
    assert_eq!((rig.started.len(), rig.state("a.example")), (0, State::ClockWrong));
    rig.wall_error = 0;
    rig.pass(10 * MINUTE);
    assert_eq!(rig.names(), ["a.example"]);
}

#[test]
fn a_ca_that_cannot_be_reached_at_the_start_is_asked_again_with_pauses() {
    let mut rig = Rig::new();
    rig.tell(Event::Mapped(domain("a.example")));
    let mut asked = Vec::new();
    for second in 0..10 * MINUTE {
        rig.time = second;
        for decision in rig.schedule.poll(rig.now()) {
            assert_eq!(decision, Decision::ReadDirectory);
            asked.push(second);
            rig.tell(Event::DirectoryFailed);
        }
    }
    assert_eq!(asked, [0, 60, 180, 420]);
    assert_eq!(rig.state("a.example"), State::ClockUnknown);
}

#[test]
fn a_clock_that_jumps_all_the_time_does_not_ask_the_ca_all_the_time() {
    let mut rig = Rig::mapped(&["a.example"]);
    let mut asked = 0;
    for turn in 0..100 {
        rig.wall_error = turn % 2 * 4_000;
        rig.time += 1;
        let decisions = rig.schedule.poll(rig.now());
        if decisions.contains(&Decision::ReadDirectory) {
            asked += 1;
            rig.tell(Event::Directory { date: Some(START + rig.time), offers_windows: false });
        }
    }
    assert!(asked <= 2, "{asked}");
}

/// A CA that was down when an order began has seen nothing of the site: nothing of that counts as a failure of the name.
#[test]
fn a_ca_in_trouble_before_its_look_at_the_site_costs_no_failure() {
    let tries = |reached| {
        let mut rig = Rig::mapped(&["a.example"]);
        for _ in 0..10 {
            let started = rig.started.len();
            rig.tell(Event::Retry(domain("a.example")));
            rig.turn();
            if rig.started.len() == started && rig.state("a.example") != State::Ordering {
                break;
            }
            let failure = Failure::Ca { until: None };
            rig.end("a.example", Outcome::Failed { failure, reached, reason: String::new() });
        }
        rig.started.len()
    };
    assert_eq!(tries(Reached::Order), 10);
    assert_eq!(tries(Reached::Site), 4, "as many failures as an hour allows");
}
