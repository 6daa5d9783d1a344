//! When a certificate is renewed.

use super::*;

/// Seconds before its end at which a certificate of this life is ordered again.
fn renewed(name: &str, life: u64) -> u64 {
    let mut rig = Rig::mapped(&[name]);
    rig.issue(name, life);
    rig.pass(life);
    life - rig.started[1].0
}

#[test]
fn a_certificate_is_renewed_when_a_third_of_its_life_is_left_and_short_ones_at_half() {
    for (life, left) in [(90 * DAY, 30 * DAY), (64 * DAY, 64 * DAY / 3), (45 * DAY, 15 * DAY), (10 * DAY, 10 * DAY / 3)]
    {
        let found = renewed("a.example", life);
        assert!((left..=left + life / limits::RENEWAL_JITTER).contains(&found), "{life}: {found}");
    }
    for life in [10 * DAY - 1, 6 * DAY, HOUR, 60] {
        let found = renewed("a.example", life);
        assert!((life / 2..=life / 2 + life / limits::RENEWAL_JITTER + 1).contains(&found), "{life}: {found}");
    }
}

#[test]
fn names_of_one_day_are_not_renewed_at_one_moment() {
    let moments: BTreeSet<_> = (0..50).map(|i| renewed(&format!("n{i}.example"), 90 * DAY)).collect();
    assert!(moments.len() > 40 && moments.last().unwrap() - moments.first().unwrap() > 2 * DAY);
}

#[test]
fn b214_renewal_follows_the_wall_clock_through_sleep() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.issue("a.example", 90 * DAY);
    rig.pass(100);
    // The machine slept for 70 days; the steady clock did not see it.
    rig.wall_error = 70 * 24 * 3_600;
    assert_eq!(rig.schedule.poll(rig.now()), [Decision::ReadDirectory]);
    let wall = rig.now().wall;
    rig.tell(Event::Directory { date: Some(wall), offers_windows: false });
    rig.turn();
    assert_eq!(rig.started.len(), 2);
}

#[test]
fn the_cas_window_brings_a_renewal_forward_and_never_back() {
    for (from, until, earliest, latest) in [
        (20 * DAY, 22 * DAY, 20 * DAY, 22 * DAY),
        (80 * DAY, 85 * DAY, 50 * DAY, 60 * DAY),
        (0, 1, 0, HOUR),
        // Nonsense.
        (22 * DAY, 20 * DAY, 50 * DAY, 60 * DAY),
        (5 * DAY, 5 * DAY, 50 * DAY, 60 * DAY),
    ] {
        let mut rig = Rig::mapped(&["a.example"]);
        rig.issue("a.example", 90 * DAY);
        rig.ask_for_window();
        let window = Some((START + from, START + until));
        rig.tell(Event::Window { domain: domain("a.example"), window, again: None });
        rig.restart();
        rig.pass(90 * DAY);
        let time = rig.started[1].0;
        assert!((earliest..=latest).contains(&time), "{from}..{until}: {time}");
    }
}

#[test]
fn the_window_is_asked_for_as_often_as_the_ca_says_within_bounds() {
    for (again, wanted) in [(None, 6 * HOUR), (Some(1), HOUR), (Some(8 * HOUR), 8 * HOUR), (Some(9 * DAY), DAY)] {
        let mut rig = Rig::mapped(&["a.example"]);
        rig.issue("a.example", 90 * DAY);
        let read = rig.others.len();
        assert_eq!(read, 1, "asked at once");
        rig.ask_for_window();
        let again = again.map(Duration::from_secs);
        rig.tell(Event::Window { domain: domain("a.example"), window: None, again });
        rig.pass(wanted - 1);
        assert_eq!(rig.others.len(), read);
        rig.pass(1);
        assert_eq!(rig.others.len(), read + 1);
    }
}

impl Rig {
    /// The CA is being asked for the window of the first name's certificate.
    fn ask_for_window(&mut self) {
        let entry = &mut self.schedule.entries[0];
        entry.reads_for = entry.held.map(|held| held.not_after);
        self.schedule.reading += 1;
    }
}

#[test]
fn a_window_that_comes_after_the_renewal_is_not_that_of_the_new_certificate() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.issue("a.example", 90 * DAY);
    rig.pass(60 * DAY);
    rig.ask_for_window();
    rig.issue("a.example", 90 * DAY);
    let read = rig.others.len();
    rig.tell(Event::Window { domain: domain("a.example"), window: Some((START, START + DAY)), again: None });
    rig.pass(HOUR);
    assert_eq!((rig.started.len(), rig.others.len()), (2, read + 1), "it is asked for anew, and nothing is ordered");
}

/// The certificate was on disk when the process died, what the schedule knew of it was not.
#[test]
fn the_window_of_an_older_certificate_orders_nothing_after_a_crash() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.issue("a.example", 90 * DAY);
    rig.ask_for_window();
    let window = Some((START + 20 * DAY, START + 21 * DAY));
    rig.tell(Event::Window { domain: domain("a.example"), window, again: None });
    rig.pass(22 * DAY);
    assert_eq!(rig.started.len(), 2);
    rig.schedule.entries[0].held = held(START + 22 * DAY, START + 112 * DAY);
    rig.restart();
    rig.pass(10 * DAY);
    assert_eq!(rig.started.len(), 2);
}

#[test]
fn a_ca_that_wants_each_certificate_renewed_at_once_does_not_break_its_own_limit() {
    let mut rig = Rig::mapped(&["a.example"]);
    for _ in 0..100 {
        if matches!(rig.schedule.entries[0].phase, Phase::Ordering { .. }) {
            rig.issue("a.example", 90 * DAY);
            let of = rig.schedule.entries[0].held.unwrap().not_after;
            rig.schedule.entries[0].window = Some([of, 0, 1, 0]);
            rig.schedule.place(0);
        }
        rig.pass(HOUR);
    }
    assert!((5..=7).contains(&rig.started.len()), "{}: 4, and one per 36 h", rig.started.len());
}

#[test]
fn a_certificate_of_one_minute_is_renewed_all_day() {
    let mut rig = Rig::mapped(&["a.example"]);
    let mut last = rig.time;
    for _ in 0..200 {
        rig.issue("a.example", 60);
        let count = rig.started.len();
        while rig.started.len() == count {
            rig.pass(1);
            assert!(rig.time < last + 60, "it ended");
        }
        last = rig.time;
    }
}

#[test]
fn b172_a_certificate_that_was_lost_is_ordered_again_and_that_is_a_renewal() {
    let mut rig = Rig::mapped(&["a.example"]);
    rig.issue("a.example", 90 * DAY);
    let spent = rig.schedule.budget.orders;
    rig.pass(DAY);
    rig.tell(Event::Held(domain("a.example"), None));
    rig.turn();
    assert_eq!(rig.started.len(), 2);
    assert_eq!(rig.schedule.budget.orders, spent);
}
