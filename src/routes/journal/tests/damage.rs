//! Damaged files: each byte flipped, each length cut (D5, B194).

use super::*;
use crate::routes::storage::StorageFile;

const RULES: u16 = 1_000;

fn name(rule: u16) -> String {
    format!("host-{rule:04}.example")
}

fn snapshot_bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    Header::Snapshot { through: 7 }.write(&mut bytes);
    (1..=RULES).for_each(|rule| line::write_rule(&mut bytes, &domain(&name(rule)), Port::new(rule).unwrap()));
    line::write_end(&mut bytes, RULES.into());
    bytes
}

fn log_bytes() -> Vec<u8> {
    let mut bytes = Vec::new();
    Header::Log { after: 0 }.write(&mut bytes);
    (1..=RULES).for_each(|rule| line::write_change(&mut bytes, rule.into(), &map(&name(rule), rule)));
    bytes
}

fn folder(files: &[(&str, &[u8])]) -> Model {
    Model::with(files.iter().map(|&(name, bytes)| (name.to_owned(), bytes.to_vec())).collect())
}

/// The rules' lines that a change at `at` cannot have touched are in force, and nothing else is.
fn assert_others_are_served(recovered: &Recovered, bytes: &[u8], at: usize, kept: impl Fn(u16) -> bool) {
    let hit = bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
    let mut found = [false; RULES as usize + 1];
    for rule in &recovered.rules {
        let number = rule.port.number();
        assert_eq!(rule.domain.as_str(), name(number), "byte {at}");
        assert!(!mem::replace(&mut found[usize::from(number)], true), "byte {at}");
    }
    // Rule n is line n, counted from 0, which is the header.
    for rule in (1..=RULES).filter(|&rule| usize::from(rule) != hit && kept(rule)) {
        assert!(found[usize::from(rule)], "byte {at}: rule {rule} is lost");
    }
}

/// Runs `see` for each of `bytes`' positions, on two threads. In the normal run a random sixteenth of them, and all bytes of the
/// first and last lines; all with HOTCORE_CRASH_STATES=100000 or more.
#[expect(clippy::disallowed_methods, reason = "how thorough to be is set from outside")]
fn each_position(test: &str, bytes: &[u8], see: impl Fn(usize, &mut fastrand::Rng) + Sync) {
    let all = env::var("HOTCORE_CRASH_STATES").ok().and_then(|count| count.parse().ok()).unwrap_or(0) >= 100_000;
    let mut random = random(test);
    let edge = |at: usize| at < 200 || at + 200 > bytes.len();
    let chosen: Vec<usize> = (0..bytes.len()).filter(|&at| all || edge(at) || random.u8(..16) == 0).collect();
    thread::scope(|scope| {
        for half in chosen.chunks(chosen.len().div_ceil(2)) {
            let (see, mut random) = (&see, random.fork());
            scope.spawn(move || half.iter().for_each(|&at| see(at, &mut random)));
        }
    });
}

fn flip(bytes: &[u8], at: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    // A line break now and then, since it changes more than one line.
    damaged[at] = match random.u8(..8) {
        0 if bytes[at] != b'\n' => b'\n',
        _ => bytes[at] ^ random.u8(1..),
    };
    damaged
}

#[test]
fn d5_a_flipped_byte_of_a_snapshot_costs_its_own_line_at_most() {
    let bytes = snapshot_bytes();
    each_position("d5_a_flipped_byte_of_a_snapshot_costs_its_own_line_at_most", &bytes, |at, random| {
        let recovered = recover(Some(&flip(&bytes, at, random)), &[]).unwrap();
        assert!(!recovered.problems.is_empty(), "byte {at}");
        assert_others_are_served(&recovered, &bytes, at, |_| true);
    });
}

#[test]
fn d5_a_flipped_byte_of_a_log_costs_its_own_line_at_most() {
    let bytes = log_bytes();
    each_position("d5_a_flipped_byte_of_a_log_costs_its_own_line_at_most", &bytes, |at, random| {
        let recovered = recover(None, &[&flip(&bytes, at, random)]).unwrap();
        assert!(!recovered.problems.is_empty(), "byte {at}");
        assert_others_are_served(&recovered, &bytes, at, |_| true);
    });
}

#[test]
fn d5_a_cut_snapshot_serves_what_is_left_and_says_so() {
    let bytes = snapshot_bytes();
    each_position("d5_a_cut_snapshot_serves_what_is_left_and_says_so", &bytes, |at, _| {
        let recovered = recover(Some(&bytes[..at]), &[]).unwrap();
        assert!(!recovered.problems.is_empty(), "cut to {at}");
        let whole = bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
        assert_others_are_served(&recovered, &bytes, at, |rule| usize::from(rule) < whole);
    });
}

#[test]
fn d5_b194_the_torn_end_of_a_log_is_cut_and_everything_before_it_served() {
    let bytes = log_bytes();
    each_position("d5_b194_the_torn_end_of_a_log_is_cut_and_everything_before_it_served", &bytes, |at, _| {
        let recovered = recover(None, &[&bytes[..at]]).unwrap();
        assert_eq!(recovered.problems, Vec::<String>::new(), "cut to {at}");
        let whole = bytes[..at].iter().filter(|&&byte| byte == b'\n').count();
        assert_eq!(recovered.rules.len(), whole.saturating_sub(1), "cut to {at}");
        assert_others_are_served(&recovered, &bytes, at, |rule| usize::from(rule) < whole);
    });
}

#[test]
fn b194_a_damaged_file_is_kept_aside_and_the_next_start_is_quiet() {
    for (file, bytes) in [("routes.snapshot.3", snapshot_bytes()), ("routes.log.3", log_bytes())] {
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        let model = folder(&[(file, &damaged)]);
        let (mut journal, mut writer, recovery) = Journal::open(model.clone()).unwrap();
        assert_eq!(writer.table().len(), usize::from(RULES) - 1);
        let line = bytes[..bytes.len() / 2].iter().filter(|&&byte| byte == b'\n').count() + 1;
        assert!(
            recovery.problems[0].contains(&format!("{file} is damaged: line {line} cannot be read")),
            "{recovery:?}"
        );
        let aside = format!("{file}.damaged-1");
        assert_eq!(recovery.kept_aside, [model.location(&aside)]);
        assert_eq!(model.contents()[&aside], damaged);
        save(&mut journal, &mut writer, &[map("late.example", 80)]).unwrap();
        drop(journal);

        let (_, again, recovery) = Journal::open(model.clone()).unwrap();
        assert_eq!((rules(&again), recovery.problems), (rules(&writer), Vec::new()));
        assert_eq!(recovery.kept_aside, [model.location(&aside)]);
    }
}

#[test]
fn b194_the_original_survives_a_crash_at_any_point_of_the_mending() {
    let (snapshot, log) = (snapshot_bytes(), Vec::from_iter([&log_bytes()[..200], &log_bytes()[201..400]].concat()));
    let model =
        folder(&[("routes.snapshot.3", &[&snapshot[..500], b"?", &snapshot[501..]].concat()), ("routes.log.3", &log)]);
    let originals: Vec<_> = model.contents().into_values().collect();
    model.record();
    let (_, writer, _) = Journal::open(model.clone()).unwrap();
    let expected = rules(&writer);
    let mut random = random("b194_the_original_survives_a_crash_at_any_point_of_the_mending");
    for (world, _) in model.trace() {
        world.crashes(&mut random, 30, |contents| {
            let model = Model::with(contents);
            let (_, writer, _) = Journal::open(model.clone()).unwrap();
            assert_eq!(rules(&writer), expected);
            let left: Vec<_> = model.contents().into_values().collect();
            assert!(originals.iter().all(|original| left.contains(original)));
        });
    }
}

#[test]
fn b194_damage_on_a_full_disk_is_served_and_mended_when_space_comes_back() {
    let mut bytes = snapshot_bytes();
    bytes[300] ^= 1;
    let model = folder(&[("routes.snapshot.3", &bytes)]);
    model.room(Some(0));
    let (mut journal, mut writer, recovery) = Journal::open(model.clone()).unwrap();
    assert_eq!((writer.table().len(), recovery.problems.len()), (usize::from(RULES) - 1, 2), "{recovery:?}");
    assert_eq!(model.contents()["routes.snapshot.3"], bytes);
    save(&mut journal, &mut writer, &[map("late.example", 80)]).unwrap_err();
    model.room(None);
    save(&mut journal, &mut writer, &[map("late.example", 80)]).unwrap();
    assert_eq!(model.contents()["routes.snapshot.3.damaged-1"], bytes);
    drop(journal);
    let (_, again, recovery) = Journal::open(model).unwrap();
    assert_eq!((rules(&again), recovery.problems), (rules(&writer), Vec::new()));
}

#[test]
fn damaged_files_are_kept_up_to_the_limit_and_one_more_lets_the_oldest_go() {
    let model = Model::new();
    for round in 1..=limits::JOURNAL_DAMAGED_MAX + 1 {
        let (mut journal, mut writer, _) = Journal::open(model.clone()).unwrap();
        save(&mut journal, &mut writer, &[map("a.example", 1), map("b.example", 2)]).unwrap();
        drop(journal);
        let log =
            model.contents().into_keys().rfind(|name| name.starts_with("routes.log.") && !name.contains("damaged"));
        let mut bytes = model.contents()[&log.clone().unwrap()].clone();
        bytes[60] ^= 1;
        model.create(&log.unwrap()).unwrap().append(&bytes).unwrap();
        let kept = Journal::open(model.clone()).unwrap().2.kept_aside;
        assert_eq!(kept.len(), round.min(limits::JOURNAL_DAMAGED_MAX));
        let newest = format!(".damaged-{round}");
        assert!(kept.last().unwrap().display().to_string().ends_with(&newest), "{kept:?}");
    }
}

#[test]
fn lines_that_are_gone_without_a_trace_are_missed() {
    let log = log_bytes();
    let lines: Vec<&[u8]> = log.split_inclusive(|&byte| byte == b'\n').collect();
    let gap = [lines[..4].concat(), lines[6..].concat()].concat();
    let recovered = recover(None, &[&gap]).unwrap();
    assert_eq!(recovered.rules.len(), usize::from(RULES) - 2);
    assert!(recovered.problems[0].contains("changes 4 to 5 are missing"), "{:?}", recovered.problems);

    let snapshot = snapshot_bytes();
    let lines: Vec<&[u8]> = snapshot.split_inclusive(|&byte| byte == b'\n').collect();
    let gap = [lines[..4].concat(), lines[5..].concat()].concat();
    let recovered = recover(Some(&gap), &[]).unwrap();
    assert!(recovered.problems[0].contains("999 of 1000 rules are readable"), "{:?}", recovered.problems);

    let recovered = recover(None, &[&lines_after(40), &lines_after(50)]).unwrap();
    assert!(recovered.problems[0].contains("changes 1 to 40 are missing"), "{:?}", recovered.problems);
}

fn lines_after(after: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Header::Log { after }.write(&mut bytes);
    bytes
}

#[test]
fn a_newer_format_is_refused_and_left_as_it_is() {
    for (file, other) in [("routes.snapshot.3", "routes.log.3"), ("routes.log.4", "routes.snapshot.3")] {
        let mut newer = Vec::new();
        Header::Newer { format: 2 }.write(&mut newer);
        newer.extend(b"\x00whatever comes then");
        let other_bytes = if other.contains("log") { log_bytes() } else { snapshot_bytes() };
        let model = folder(&[(file, &newer), (other, &other_bytes)]);
        let before = model.contents();
        let error = Journal::open(model.clone()).unwrap_err();
        assert!(matches!(&error, OpenError::Newer(NewerFormat { format: 2, .. })), "{error}");
        assert!(error.to_string().starts_with(&format!("/model/{file} was written by a newer hotcore")), "{error}");
        assert_eq!(model.contents(), before);
    }
}

#[test]
fn any_bytes_are_recovered_without_a_panic() {
    let mut random = random("any_bytes_are_recovered_without_a_panic");
    let pieces = [
        snapshot_bytes()[..300].to_vec(),
        log_bytes()[..300].to_vec(),
        vec![b'\n'; 3],
        vec![0; 9],
        b"end of 1 rules".to_vec(),
    ];
    for _ in 0..3_000 {
        let mut some = || {
            let mut bytes = Vec::new();
            for _ in 0..random.usize(..5) {
                let piece = &pieces[random.usize(..pieces.len())];
                let start = random.usize(..piece.len());
                bytes.extend(&piece[start..random.usize(start..=piece.len())]);
                if random.bool() {
                    bytes.extend((0..random.usize(..20)).map(|_| random.u8(..)).collect::<Vec<_>>());
                }
            }
            bytes
        };
        let (snapshot, first, second) = (some(), some(), some());
        for recovered in [recover(Some(&snapshot), &[&first, &second]), recover(None, &[&first, &first])] {
            let rules = recovered.unwrap().rules;
            assert!(rules.is_sorted_by(|a, b| a.domain < b.domain), "one rule for each name");
        }
    }
}
