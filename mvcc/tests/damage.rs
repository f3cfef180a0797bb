//! What is damaged is never answered: reads name it, opening goes back to the root before, and
//! `verify` finds it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use kstore_host::Disk;
use kstore_mvcc::{
    Access, Content, HistoryLimit, Index, KeyRange, OpenError, Options, RangeQuery, ReadError,
    Revision, Store, VerifyReport,
};
use kstore_testkit::disk::CrashPolicy;
use kstore_testkit::{Prng, SimDisk};
use support::{DATA, applied, chain, checkpoint, new_disk, open, position};

/// Puts `count` keys, one command each, from entry `from` on.
fn put_some(store: &mut Store, from: usize, count: usize) {
    for index in from..from + count {
        let mut write = store.begin(Index(index as u64));
        let key = format!("/registry/pods/{:04}", index % 300);
        write.put(key.as_bytes(), &value_of(index), None).unwrap();
        write.finish().unwrap();
        store.publish(position(index), chain(index));
    }
}

fn value_of(index: usize) -> Vec<u8> {
    format!("value {index} ").repeat(12).into_bytes()
}

/// A store with several segments and two finished checkpoints, at 500 and 600 entries.
fn filled(seed: u64) -> SimDisk {
    let disk = new_disk(seed);
    let (mut store, _) = open(&disk, &Options::tiny(), seed).unwrap();
    put_some(&mut store, 0, 500);
    assert!(checkpoint(&mut store).unwrap());
    put_some(&mut store, 500, 100);
    assert!(checkpoint(&mut store).unwrap());
    disk
}

fn verify(disk: &SimDisk) -> VerifyReport {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    kstore_mvcc::verify(&disk, Path::new(DATA)).unwrap()
}

fn paths(disk: &SimDisk, part: &str) -> Vec<(PathBuf, u64)> {
    let all = disk.files().into_iter();
    all.filter(|(path, _)| path.to_str().unwrap().contains(part)).collect()
}

fn everything(at: Option<u64>) -> RangeQuery {
    let range = KeyRange::everything();
    RangeQuery { range, at: at.map(Revision), limit: None, content: Content::Values }
}

#[test]
fn a_sound_store_verifies() {
    let report = verify(&filled(1));
    assert_eq!(report.damages, []);
    assert_eq!((report.records, report.revision), (600, Revision(601)));
    assert!(report.segments > 2 && report.height > 1, "{report:?}");
}

#[test]
fn a_damaged_newest_root_slot_leads_back_to_the_root_before_and_is_said() {
    let disk = filled(2);
    // The fresh root has generation 1 and each checkpoint adds one: the newest is in slot 3.
    let root = paths(&disk, "root")[0].0.clone();
    disk.flip_bit(&root, 3 * 4096 + 200, 3).unwrap();
    assert_eq!(verify(&disk).damages.len(), 1);
    let (mut store, opening) = open(&disk, &Options::tiny(), 3).unwrap();
    let why = opening.fell_back.unwrap();
    assert!(why.contains("slot 3") && why.contains("root is damaged"), "{why}");
    assert_eq!(applied(opening.position), 500);
    assert_eq!(store.durable().second_newest, None, "the root before may be gone");
    put_some(&mut store, 500, 100);
    let answer = store.snapshot().range(&everything(None), Access::Disk).unwrap();
    assert_eq!(answer.count, 300);
    assert!(checkpoint(&mut store).unwrap());
    drop(store);
    let (_, opening) = open(&disk, &Options::tiny(), 4).unwrap();
    assert_eq!((applied(opening.position), opening.fell_back), (600, None));
    assert_eq!(verify(&disk).damages, []);
}

#[test]
fn a_newest_root_whose_tree_is_damaged_leads_back_to_the_root_before() {
    let disk = filled(5);
    // The root page of the catalogue or of the state tree ends the last page file.
    let pages = paths(&disk, "pages-");
    let (path, length) = pages.last().unwrap();
    disk.flip_bit(path, length - 10, 1).unwrap();
    let (store, opening) = open(&disk, &Options::tiny(), 6).unwrap();
    assert_eq!(applied(opening.position), 500);
    let why = opening.fell_back.unwrap();
    assert!(why.contains("pages-") && why.contains("500") || why.contains("1:499"), "{why}");
    assert_eq!(store.snapshot().range(&everything(None), Access::Disk).unwrap().count, 300);
    // The bad root is void: the next start does not even try it.
    drop(store);
    let (_, opening) = open(&disk, &Options::tiny(), 7).unwrap();
    assert_eq!((applied(opening.position), opening.fell_back), (500, None));
}

#[test]
fn after_going_back_the_root_before_that_is_not_believed_to_have_its_files() {
    let disk = filled(12);
    let (mut store, _) = open(&disk, &Options::tiny(), 13).unwrap();
    put_some(&mut store, 600, 300);
    drop(store);
    // This start copies the part of the open segment that counts; the second checkpoint removes
    // the old file, which the third newest root names.
    let (mut store, _) = open(&disk, &Options::tiny(), 16).unwrap();
    for from in [600, 610] {
        put_some(&mut store, from, 10);
        assert!(checkpoint(&mut store).unwrap());
    }
    drop(store);
    let pages = paths(&disk, "pages-");
    let (path, length) = pages.last().unwrap();
    disk.flip_bit(path, length - 10, 1).unwrap();
    let (store, opening) = open(&disk, &Options::tiny(), 14).unwrap();
    assert_eq!(applied(opening.position), 610);
    assert!(opening.fell_back.is_some());
    drop(store);
    let (mut store, opening) = open(&disk, &Options::tiny(), 15).unwrap();
    assert_eq!((applied(opening.position), opening.second_position), (610, None));
    for from in [610, 620, 630] {
        put_some(&mut store, from, 10);
        assert!(checkpoint(&mut store).unwrap());
    }
    assert_eq!(verify(&disk).damages, []);
}

#[test]
fn a_short_open_segment_leads_back_to_the_root_before() {
    let disk = filled(8);
    let logs = paths(&disk, "log-");
    let (path, length) = logs.last().unwrap();
    let file = disk.open(path, kstore_host::OpenMode::ReadWrite).unwrap();
    file.set_length(length - 1).unwrap();
    let (_, opening) = open(&disk, &Options::tiny(), 9).unwrap();
    assert_eq!(applied(opening.position), 500);
    let why = opening.fell_back.unwrap();
    assert!(why.contains(path.file_name().unwrap().to_str().unwrap()), "{why}");
}

#[test]
fn both_roots_damaged_is_an_error_and_not_an_empty_store() {
    let disk = filled(10);
    let root = paths(&disk, "root")[0].0.clone();
    for slot in 0..4 {
        disk.flip_bit(&root, slot * 4096 + 100, 0).unwrap();
    }
    let error = open(&disk, &Options::tiny(), 11).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    let disk = filled(10);
    disk.remove_file(&root).unwrap();
    let error = open(&disk, &Options::tiny(), 11).unwrap_err();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
}

#[test]
fn a_directory_of_another_format_version_is_refused_in_one_line() {
    let disk = filled(12);
    let root = paths(&disk, "root")[0].0.clone();
    disk.overwrite(&root, 3 * 4096 + 8, &[9, 0, 0, 0]).unwrap();
    let error = open(&disk, &Options::tiny(), 13).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/data/store-000001/root has format version 9; this kstore reads version 1 only"
    );
    let disk = filled(12);
    let log = paths(&disk, "log-").last().unwrap().0.clone();
    disk.overwrite(&log, 8, &[2]).unwrap();
    let error = open(&disk, &Options::tiny(), 13).unwrap_err();
    assert!(matches!(error, OpenError::OtherFormat { found: 2, expected: 1, .. }), "{error}");
    assert!(!error.to_string().contains('\n'));
}

#[test]
fn every_flipped_bit_is_noticed_or_hits_nothing() {
    let sound = filled(14);
    let mut prng = Prng::new(14);
    let (mut noticed, mut unused) = (0, 0);
    for round in 0..400 {
        let files: Vec<(PathBuf, u64)> =
            sound.files().into_iter().filter(|(_, length)| *length > 0).collect();
        let (path, length) = prng.pick(&files).clone();
        let (offset, bit) = (prng.below(length), u32::try_from(prng.below(8)).unwrap());
        let disk = sound.fork();
        disk.flip_bit(&path, offset, bit).unwrap();
        let report = match kstore_mvcc::verify(
            &(Arc::new(disk.clone()) as Arc<dyn Disk>),
            Path::new(DATA),
        ) {
            Ok(report) => report.damages,
            Err(_) => {
                noticed += 1;
                continue;
            }
        };
        if report.is_empty() {
            unused += 1;
        } else {
            noticed += 1;
        }
        // Whatever happened, no read answers anything but the truth.
        let Ok((store, opening)) = open(&disk, &Options::tiny(), round) else { continue };
        let done = applied(opening.position);
        for at in [300, done as u64 + 1] {
            match store.snapshot().range(&everything(Some(at)), Access::Disk) {
                Err(ReadError::Damaged(_)) => {
                    let what = format!("{path:?} {offset}");
                    assert!(!report.is_empty(), "verify did not see {what}");
                }
                Err(error) => panic!("{error}"),
                Ok(answer) => {
                    for kv in answer.kvs {
                        let index = usize::try_from(kv.modified.revision.0).unwrap() - 2;
                        assert_eq!(kv.value, Bytes::from(value_of(index)));
                    }
                }
            }
        }
    }
    println!("{noticed} noticed, {unused} in unused space");
    assert!(noticed > 250);
}

#[test]
fn a_damaged_record_is_named_and_the_rest_is_served() {
    let disk = filled(15);
    let first = paths(&disk, "log-")[0].0.clone();
    disk.flip_bit(&first, 64 + 40, 2).unwrap();
    let (store, opening) = open(&disk, &Options::tiny(), 16).unwrap();
    assert_eq!(opening.fell_back, None);
    let snapshot = store.snapshot();
    let damaged = |error: ReadError| match error {
        ReadError::Damaged(damage) => (damage.file, damage.offset),
        other => panic!("{other}"),
    };
    let got = snapshot.get(b"/registry/pods/0000", Some(Revision(2)), Access::Disk);
    assert_eq!(damaged(got.unwrap_err()), ("log-000001-0000".to_owned(), 64));
    let limit = HistoryLimit { bytes: 1 << 20, revisions: 1000 };
    let got = snapshot.history(&KeyRange::everything(), Revision(1), limit, Access::Disk);
    assert_eq!(damaged(got.unwrap_err()), ("log-000001-0000".to_owned(), 64));
    let got = snapshot.get(b"/registry/pods/0001", Some(Revision(3)), Access::Disk).unwrap();
    assert_eq!(got.unwrap().value, value_of(1));
    assert_eq!(snapshot.range(&everything(None), Access::Disk).unwrap().count, 300);
}

#[test]
fn a_cold_read_says_so_instead_of_waiting_and_a_hot_one_is_answered() {
    let disk = filled(17);
    let options = Options { recent_bytes: 0, ..Options::tiny() };
    let (mut store, _) = open(&disk, &options, 18).unwrap();
    let snapshot = store.snapshot();
    let key = b"/registry/pods/0007";
    let got = snapshot.get(key, None, Access::Cached);
    assert!(matches!(got, Err(ReadError::Cold)), "{got:?}");
    let value = snapshot.get(key, None, Access::Disk).unwrap();
    assert_eq!(snapshot.get(key, None, Access::Cached).unwrap(), value, "read a moment ago");
    put_some(&mut store, 600, 1);
    let written = store.snapshot().get(b"/registry/pods/0000", None, Access::Cached).unwrap();
    assert_eq!(written.unwrap().value, value_of(600), "written a moment ago");
    let limit = HistoryLimit { bytes: 100, revisions: 10 };
    let recent =
        store.snapshot().history(&KeyRange::everything(), Revision(602), limit, Access::Cached);
    assert_eq!(recent.unwrap().events.len(), 1);
    let old = snapshot.history(&KeyRange::everything(), Revision(1), limit, Access::Cached);
    assert!(matches!(old, Err(ReadError::Cold)), "{old:?}");
}

#[test]
fn cutting_the_log_never_writes_into_a_file_that_was_linked_or_sealed() {
    let disk = filled(19);
    // Everything behind the root is written and not named: a crash keeps it all.
    let (mut store, _) = open(&disk, &Options::tiny(), 20).unwrap();
    put_some(&mut store, 600, 400);
    let before: Vec<(PathBuf, u64)> = paths(&disk, "log-");
    let open_at_root = before.iter().rev().nth(1).unwrap().0.clone();
    drop(store);
    let disk = disk.crash(CrashPolicy::KeepAll);
    disk.link(&open_at_root, Path::new("/elsewhere")).unwrap();
    let content = |path: &Path| {
        let file = disk.open(path, kstore_host::OpenMode::Read).unwrap();
        let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let linked = content(Path::new("/elsewhere"));
    let (mut store, opening) = open(&disk, &Options::tiny(), 21).unwrap();
    assert_eq!(applied(opening.position), 600);
    put_some(&mut store, 600, 900);
    assert!(checkpoint(&mut store).unwrap());
    put_some(&mut store, 1500, 10);
    assert!(checkpoint(&mut store).unwrap());
    assert_eq!(content(Path::new("/elsewhere")), linked);
    assert!(!paths(&disk, "-0001").is_empty(), "the records moved to the next generation");
    assert_eq!(verify(&disk).damages, []);
}

/// A store whose log was cut: the newest root names the next generation of the open segment, the
/// one before it the file that was cut.
fn cut_and_checkpointed(seed: u64) -> SimDisk {
    let disk = filled(seed);
    let (mut store, _) = open(&disk, &Options::tiny(), seed + 1).unwrap();
    put_some(&mut store, 600, 60);
    drop(store);
    let disk = disk.crash(CrashPolicy::KeepAll);
    let (mut store, opening) = open(&disk, &Options::tiny(), seed + 2).unwrap();
    assert_eq!(applied(opening.position), 600);
    put_some(&mut store, 600, 5);
    assert!(checkpoint(&mut store).unwrap());
    assert_eq!(paths(&disk, "-0001").len(), 1, "{:?}", disk.files());
    disk
}

#[test]
fn the_file_that_was_cut_stays_for_as_long_as_the_root_before_names_it() {
    let disk = cut_and_checkpointed(30);
    // A clean restart keeps it, and going back to the root before works.
    drop(open(&disk, &Options::tiny(), 33).unwrap());
    let root = paths(&disk, "root")[0].0.clone();
    let back = disk.fork();
    for slot in 0..4 {
        // Whichever slot is the newest: going back from it must lead to a store that opens.
        let back = back.fork();
        back.flip_bit(&root, slot * 4096 + 50, 1).unwrap();
        let (store, opening) = open(&back, &Options::tiny(), 34).unwrap();
        let answer = store.snapshot().range(&everything(None), Access::Disk).unwrap();
        assert_eq!(answer.count, 300);
        assert!(applied(opening.position) >= 600);
    }
    // Two checkpoints later nothing names it.
    let (mut store, _) = open(&disk, &Options::tiny(), 35).unwrap();
    for round in 0..2 {
        put_some(&mut store, 605 + round, 1);
        assert!(checkpoint(&mut store).unwrap());
    }
    let cut = paths(&disk, "-0001")[0].0.to_str().unwrap().replace("-0001", "-0000");
    assert!(paths(&disk, &cut).is_empty(), "{:?}", disk.files());
    assert_eq!(verify(&disk).damages, []);
}

#[test]
fn a_root_whose_successor_was_lost_does_not_promise_the_root_before_it() {
    let disk = filled(40);
    let (mut store, _) = open(&disk, &Options::tiny(), 41).unwrap();
    put_some(&mut store, 600, 10);
    assert!(checkpoint(&mut store).unwrap());
    drop(store);
    let root = paths(&disk, "root")[0].0.clone();
    disk.flip_bit(&root, 100, 1).unwrap();
    let (store, opening) = open(&disk, &Options::tiny(), 42).unwrap();
    assert_eq!((applied(opening.position), opening.second_position), (600, None));
    assert!(opening.fell_back.is_some());
    assert_eq!(store.durable().second_newest, None);
}

#[test]
fn records_that_recovery_moved_are_durable_with_the_next_root_even_if_nothing_is_added() {
    let disk = filled(50);
    let (mut store, _) = open(&disk, &Options::tiny(), 51).unwrap();
    put_some(&mut store, 600, 60);
    drop(store);
    let disk = disk.crash(CrashPolicy::KeepAll);
    let (mut store, _) = open(&disk, &Options::tiny(), 52).unwrap();
    store.begin(Index(600)).finish().unwrap();
    store.publish(position(600), chain(600));
    assert!(checkpoint(&mut store).unwrap());
    drop(store);
    let disk = disk.crash(CrashPolicy::LoseAll);
    let (store, opening) = open(&disk, &Options::tiny(), 53).unwrap();
    assert_eq!((applied(opening.position), opening.fell_back), (601, None));
    assert_eq!(store.snapshot().range(&everything(None), Access::Disk).unwrap().count, 300);
    assert_eq!(verify(&disk).damages, []);
}
