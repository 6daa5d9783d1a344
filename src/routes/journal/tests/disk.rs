//! The journal on a real folder, and its passing from one process to the next.

use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::routes::storage::Disk;

fn open(folder: &tempfile::TempDir) -> (Journal<Disk>, TableWriter, Recovery) {
    Journal::open(Disk::open(folder.path()).unwrap()).unwrap()
}

fn names(folder: &tempfile::TempDir) -> Vec<String> {
    let mut names = Disk::open(folder.path()).unwrap().list().unwrap();
    names.sort_unstable();
    names
}

#[test]
fn rules_survive_a_restart_and_are_proven_then() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut writer, recovery) = open(&folder);
    assert_eq!(recovery, Recovery::default());
    save(&mut journal, &mut writer, &[map("a.example", 1), map("b.example", 2)]).unwrap();
    save(&mut journal, &mut writer, &[unmap("a.example"), map("b.example", 3), unmap("never.example")]).unwrap();
    journal.commit(&[], &writer.table()).unwrap();
    journal.close();
    let (_, writer, recovery) = open(&folder);
    assert_eq!(rules(&writer), Rules::from([("b.example".into(), 3)]));
    assert_eq!(recovery, Recovery { rules: 1, ..Recovery::default() });
    assert!(writer.table().find(&domain("b.example")).unwrap().is_proven(), "B23");
}

#[test]
fn b182_of_one_name_the_later_change_in_a_batch_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut writer, _) = open(&folder);
    save(&mut journal, &mut writer, &[map("a.example", 1), unmap("a.example"), map("a.example", 2)]).unwrap();
    drop(journal);
    assert_eq!(rules(&open(&folder).1), Rules::from([("a.example".into(), 2)]));
}

#[test]
fn files_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut writer, _) = open(&folder);
    (journal.compact_from, journal.compact_at) = (1, 1);
    save(&mut journal, &mut writer, &[map("a.example", 1)]).unwrap();
    await_compaction(&mut journal);
    assert_eq!(names(&folder), ["routes.log.2", "routes.snapshot.2"]);
    for name in names(&folder) {
        let mode = fs::metadata(folder.path().join(&name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn p36_compaction_leaves_one_sorted_snapshot_and_one_log_whatever_happens_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut writer, _) = open(&folder);
    (journal.compact_from, journal.compact_at) = (2_000, 2_000);
    let mut random = random("p36_compaction_leaves_one_sorted_snapshot_and_one_log_whatever_happens_meanwhile");
    for turn in 0..300 {
        let mut batch = random_batch(&mut random);
        batch.push(map(&format!("turn-{turn}.example"), 80));
        save(&mut journal, &mut writer, &batch).unwrap();
    }
    await_compaction(&mut journal);
    journal.compact_at = 0;
    save(&mut journal, &mut writer, &[unmap("turn-7.example")]).unwrap();
    await_compaction(&mut journal);
    journal.close();
    let names = names(&folder);
    assert_eq!(names.len(), 2, "{names:?}");
    let text = fs::read_to_string(folder.path().join(&names[1])).unwrap();
    let found: Vec<_> = text.lines().filter_map(|line| Some(line::parse_rule(line.as_bytes())?.0)).collect();
    assert!(found.len() > 290 && found.is_sorted());
    let (_, again, recovery) = open(&folder);
    assert_eq!((rules(&again), recovery.problems), (rules(&writer), Vec::new()));
}

#[test]
fn closing_gives_a_snapshot_in_the_making_up() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut writer, _) = open(&folder);
    let many: Vec<_> = (0..20_000).map(|i| map(&format!("host-{i}.example"), 80)).collect();
    save(&mut journal, &mut writer, &many).unwrap();
    journal.compact_at = 0;
    save(&mut journal, &mut writer, &[map("late.example", 81)]).unwrap();
    journal.close();
    // Given up or just finished: nothing writes any more, and nothing is lost.
    let before = names(&folder);
    assert!(before.iter().all(|name| !name.ends_with(".tmp")), "{before:?}");
    assert_eq!(open(&folder).1.table().len(), 20_001);
}

#[test]
fn many_starts_do_not_leave_many_logs() {
    let folder = tempfile::tempdir().unwrap();
    for start in 0..3 * limits::JOURNAL_LOGS_MAX {
        let (mut journal, mut writer, recovery) = open(&folder);
        assert_eq!((recovery.rules, recovery.problems), (start, Vec::new()));
        save(&mut journal, &mut writer, &[map(&format!("host-{start}.example"), 80)]).unwrap();
        await_compaction(&mut journal);
        assert!(names(&folder).len() <= limits::JOURNAL_LOGS_MAX + 2, "{:?}", names(&folder));
    }
    for _ in 0..5 {
        drop(open(&folder));
    }
    assert!(names(&folder).len() <= limits::JOURNAL_LOGS_MAX + 2, "starts without a change leave nothing");
}

#[test]
fn b206_a_new_generation_reads_before_and_adds_what_came_since() {
    let folder = tempfile::tempdir().unwrap();
    let (mut old, mut writer, _) = open(&folder);
    save(&mut old, &mut writer, &[map("a.example", 1), map("b.example", 2)]).unwrap();
    let disk = Disk::open(folder.path()).unwrap();
    let before = names(&folder);
    let loaded = Loaded::read(&disk).unwrap();
    let table = loaded.table();
    let kept = table.find(&domain("a.example")).unwrap();
    assert_eq!((table.len(), names(&folder)), (2, before), "reading writes nothing");
    save(&mut old, &mut writer, &[map("c.example", 3), unmap("b.example")]).unwrap();
    old.close();
    let (mut new, mut writer, recovery) = Journal::open_after(loaded, disk).unwrap();
    assert_eq!(rules(&writer), Rules::from([("a.example".into(), 1), ("c.example".into(), 3)]));
    assert_eq!((recovery.rules, recovery.problems), (2, Vec::new()));
    assert!(kept.is_current() && Arc::ptr_eq(&kept, &table.find(&domain("a.example")).unwrap()));
    assert_eq!(table.find(&domain("c.example")).unwrap().port.number(), 3);
    assert!(table.find(&domain("c.example")).unwrap().is_proven(), "B23");
    save(&mut new, &mut writer, &[map("d.example", 4)]).unwrap();
    new.close();
    assert_eq!(rules(&open(&folder).1), rules(&writer));
}

#[test]
fn b206_the_same_at_any_moment_of_any_script() {
    let mut random = random("b206_the_same_at_any_moment_of_any_script");
    for _ in 0..150 {
        let model = Model::new();
        let (mut old, mut writer, _) = Journal::open(model.clone()).unwrap();
        (old.compact_from, old.compact_at) = (400, 400);
        let mut loaded = None;
        let peek = random.usize(..20);
        for turn in 0..20 {
            if turn == peek {
                loaded = Some(Loaded::read(&model).unwrap());
            }
            if random.u8(..10) == 0 {
                // Refused and undone after it was read, perhaps.
                model.room(Some(random.usize(..80)));
            }
            _ = save(&mut old, &mut writer, &random_batch(&mut random));
            model.room(None);
            if random.bool() {
                await_compaction(&mut old);
            }
        }
        let loaded = loaded.unwrap();
        let table = loaded.table();
        old.close();
        let (mut new, mut new_writer, recovery) = Journal::open_after(loaded, model.clone()).unwrap();
        assert_eq!((rules(&new_writer), recovery.problems), (rules(&writer), Vec::new()));
        assert_eq!(table.len(), writer.table().len());
        save(&mut new, &mut new_writer, &random_batch(&mut random)).unwrap();
        drop(new);
        assert_eq!(rules(&Journal::open(model).unwrap().1), rules(&new_writer));
    }
}

#[test]
fn a_reading_that_saw_a_write_which_was_undone_is_not_trusted() {
    let model = Model::new();
    let (mut old, mut writer, _) = Journal::open(model.clone()).unwrap();
    save(&mut old, &mut writer, &[map("a.example", 1)]).unwrap();
    // The reader comes between a write and its undoing; the next write has the same length and number.
    let mut torn = model.contents();
    line::write_change(torn.get_mut("routes.log.1").unwrap(), 2, &map("b.example", 2));
    let loaded = Loaded::read(&Model::with(torn)).unwrap();
    assert_eq!(loaded.table().len(), 2);
    save(&mut old, &mut writer, &[map("c.example", 3)]).unwrap();
    save(&mut old, &mut writer, &[map("d.example", 4)]).unwrap();
    old.close();
    let (_, found, recovery) = Journal::open_after(loaded, model).unwrap();
    assert_eq!((rules(&found), recovery.problems), (rules(&writer), Vec::new()));
}

#[test]
fn a_torn_end_is_noted_and_cut_from_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (mut journal, mut writer, _) = open(&folder);
    save(&mut journal, &mut writer, &[map("a.example", 1)]).unwrap();
    drop(journal);
    let log = folder.path().join("routes.log.1");
    let whole = fs::read(&log).unwrap();
    fs::write(&log, [&whole[..], b"01234567 2 add b.exam"].concat()).unwrap();
    let (_, writer, recovery) = open(&folder);
    assert_eq!((writer.table().len(), recovery.problems), (1, Vec::new()));
    assert!(recovery.notes[0].contains("routes.log.1: an unfinished change"), "{:?}", recovery.notes);
    assert_eq!(fs::read(&log).unwrap(), whole);
}

#[test]
fn a_file_that_cannot_be_read_is_not_a_file_that_does_not_exist() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("routes.snapshot.4")).unwrap();
    let error = Journal::open(Disk::open(folder.path()).unwrap()).unwrap_err();
    assert!(error.to_string().ends_with("routes.snapshot.4: is a directory"), "{error}");
}
