//! Each promise of the simulated disk, one test each.

use super::*;

const SEED: u64 = 0x5EED;

fn file_at(disk: &SimDisk, path: &str) -> Arc<dyn File> {
    disk.open(Path::new(path), OpenMode::CreateNew).unwrap()
}

fn reopen(disk: &SimDisk, path: &str) -> Arc<dyn File> {
    disk.open(Path::new(path), OpenMode::ReadWrite).unwrap()
}

fn content(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(path), OpenMode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.length().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// A disk with one durable file `/data/log` that holds `bytes`.
fn disk_with(bytes: &[u8]) -> (SimDisk, Arc<dyn File>) {
    let disk = SimDisk::new(SEED);
    disk.create_dir(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let file = file_at(&disk, "/data/log");
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    (disk, file)
}

fn is_crashed<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|e| e.to_string() == "crashed")
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|e| e.raw_os_error())
}

#[test]
fn reads_see_unsynced_writes_gaps_read_as_zeros_and_ends_are_ends() {
    let (disk, file) = disk_with(b"abc");
    file.write_at(b"xyz", 9000).unwrap();
    let bytes = content(&disk, "/data/log").unwrap();
    assert_eq!(bytes.len(), 9003);
    assert_eq!(&bytes[..4], b"abc\0");
    assert_eq!(&bytes[8999..], b"\0xyz");
    let mut buffer = [7; 10];
    assert_eq!(file.read_at(&mut buffer, 9001).unwrap(), 2);
    assert_eq!(file.read_at(&mut buffer, 10_000).unwrap(), 0);
    let short = file.read_exact_at(&mut buffer, 9001).unwrap_err();
    assert_eq!(short.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_file_cut_and_grown_again_shows_zeros_where_it_was_cut() {
    let (disk, file) = disk_with(&[9; 10_000]);
    file.set_length(5000).unwrap();
    file.set_length(10_000).unwrap();
    let bytes = content(&disk, "/data/log").unwrap();
    assert!(bytes[..5000].iter().all(|b| *b == 9));
    assert!(bytes[5000..].iter().all(|b| *b == 0));
}

#[test]
fn what_was_synced_survives_every_policy() {
    for policy in [
        CrashPolicy::LoseAll,
        CrashPolicy::KeepAll,
        CrashPolicy::RandomSubset { tear: Sector::Bytes512 },
        CrashPolicy::RandomSubset { tear: Sector::Bytes4096 },
        CrashPolicy::Prefix,
    ] {
        let (disk, file) = disk_with(&[5; 3000]);
        file.write_at(&[6; 500], 3072).unwrap();
        let bytes = content(&disk.crash(policy), "/data/log").unwrap();
        assert_eq!(&bytes[..3000], &[5; 3000], "{policy:?}");
    }
}

#[test]
fn lose_all_forgets_and_keep_all_keeps_what_was_not_synced() {
    let (disk, file) = disk_with(b"old");
    file.write_at(b"new", 0).unwrap();
    file.set_length(100).unwrap();
    let lost = disk.fork().crash(CrashPolicy::LoseAll);
    assert_eq!(content(&lost, "/data/log").unwrap(), b"old");
    let kept = disk.crash(CrashPolicy::KeepAll);
    let bytes = content(&kept, "/data/log").unwrap();
    assert_eq!((&bytes[..3], bytes.len()), (b"new".as_slice(), 100));
}

#[test]
fn a_prefix_keeps_changes_in_the_order_of_issue_over_all_files() {
    let disk = SimDisk::new(SEED);
    let (one, two) = (file_at(&disk, "/one"), file_at(&disk, "/two"));
    disk.sync_dir(Path::new("/")).unwrap();
    for i in 0..20_u8 {
        let file = if i % 2 == 0 { &one } else { &two };
        file.write_at(&[i + 1], u64::from(i)).unwrap();
    }
    let mut ends = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let disk = disk.fork();
        disk.reseed(seed);
        let disk = disk.crash(CrashPolicy::Prefix);
        let both = [content(&disk, "/one").unwrap(), content(&disk, "/two").unwrap()];
        let kept: Vec<bool> =
            (0..20).map(|i| both[i % 2].get(i).is_some_and(|b| *b != 0)).collect();
        let end = kept.iter().filter(|kept| **kept).count();
        assert!(kept[..end].iter().all(|kept| *kept), "seed {seed}: {kept:?}");
        ends.insert(end);
    }
    assert_eq!(ends.len(), 21, "every prefix turns up");
}

#[test]
fn a_random_subset_tears_writes_at_sector_borders_only() {
    for (tear, unit) in [(Sector::Bytes512, 512), (Sector::Bytes4096, 4096)] {
        let mut torn = 0;
        for seed in 0..100 {
            let (disk, file) = disk_with(&[1; 16_384]);
            disk.reseed(seed);
            file.write_at(&[2; 16_000], 100).unwrap();
            let disk = disk.crash(CrashPolicy::RandomSubset { tear });
            let bytes = content(&disk, "/data/log").unwrap();
            let changes: Vec<usize> =
                (1..bytes.len()).filter(|i| bytes[*i] != bytes[i - 1]).collect();
            let inner: Vec<_> = changes.iter().filter(|at| **at != 100 && **at != 16_100).collect();
            assert!(inner.iter().all(|at| **at % unit == 0), "seed {seed}: {changes:?}");
            torn += usize::from(!inner.is_empty());
        }
        assert!(torn > 10, "torn {torn} times of 100");
    }
}

#[test]
fn a_random_subset_may_keep_a_later_write_without_an_earlier_one() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let (disk, file) = disk_with(&[0; 1024]);
        disk.reseed(seed);
        file.write_at(&[1; 512], 0).unwrap();
        file.write_at(&[2; 512], 512).unwrap();
        let disk = disk.crash(CrashPolicy::RandomSubset { tear: Sector::Bytes512 });
        let bytes = content(&disk, "/data/log").unwrap();
        seen.insert((bytes[0], bytes[512]));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(0, 0), (0, 2), (1, 0), (1, 2)]);
}

#[test]
fn a_length_may_survive_without_its_bytes() {
    let found = (0..200).any(|seed| {
        let (disk, file) = disk_with(b"");
        disk.reseed(seed);
        file.write_at(&[7; 600], 0).unwrap();
        let disk = disk.crash(CrashPolicy::RandomSubset { tear: Sector::Bytes512 });
        content(&disk, "/data/log").unwrap() == [0; 600]
    });
    assert!(found);
}

#[test]
fn a_new_name_is_lost_unless_its_directory_was_synced() {
    let disk = SimDisk::new(SEED);
    let file = file_at(&disk, "/new");
    file.write_at(b"bytes", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(content(&disk.fork().crash(CrashPolicy::LoseAll), "/new"), None);
    disk.sync_dir(Path::new("/")).unwrap();
    let disk = disk.crash(CrashPolicy::LoseAll);
    assert_eq!(content(&disk, "/new").unwrap(), b"bytes");
}

#[test]
fn a_removed_name_comes_back_unless_its_directory_was_synced() {
    let (disk, file) = disk_with(b"bytes");
    drop(file);
    disk.remove_file(Path::new("/data/log")).unwrap();
    let back = disk.fork().crash(CrashPolicy::LoseAll);
    assert_eq!(content(&back, "/data/log").unwrap(), b"bytes");
    disk.sync_dir(Path::new("/data")).unwrap();
    assert_eq!(content(&disk.crash(CrashPolicy::LoseAll), "/data/log"), None);
}

#[test]
fn a_rename_inside_a_directory_happens_whole_or_not_at_all() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (disk, _file) = disk_with(b"bytes");
        disk.reseed(seed);
        disk.rename(Path::new("/data/log"), Path::new("/data/old")).unwrap();
        let disk = disk.crash(CrashPolicy::RandomSubset { tear: Sector::Bytes512 });
        let (log, old) = (content(&disk, "/data/log"), content(&disk, "/data/old"));
        assert_ne!(log.is_some(), old.is_some());
        outcomes.insert(log.is_some());
    }
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn a_rename_replaces_a_file_and_a_link_does_not() {
    let (disk, _file) = disk_with(b"one");
    file_at(&disk, "/data/two").write_at(b"two", 0).unwrap();
    let refused = disk.link(Path::new("/data/two"), Path::new("/data/log")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
    disk.rename(Path::new("/data/two"), Path::new("/data/log")).unwrap();
    assert_eq!(content(&disk, "/data/log").unwrap(), b"two");
    assert_eq!(content(&disk, "/data/two"), None);
}

#[test]
fn a_file_with_two_names_lives_until_both_are_gone() {
    let (disk, _file) = disk_with(b"shared");
    disk.link(Path::new("/data/log"), Path::new("/data/again")).unwrap();
    disk.remove_file(Path::new("/data/log")).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    let disk = disk.crash(CrashPolicy::LoseAll);
    assert_eq!(content(&disk, "/data/again").unwrap(), b"shared");
    assert_eq!(content(&disk, "/data/log"), None);
}

#[test]
fn an_open_file_outlives_its_name_until_it_is_dropped() {
    let (disk, file) = disk_with(&[3; 5000]);
    disk.remove_file(Path::new("/data/log")).unwrap();
    disk.sync_dir(Path::new("/data")).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 4999).unwrap();
    assert_eq!(byte, [3]);
    assert!(disk.used() > 0);
    drop(file);
    assert_eq!(disk.used(), 0);
}

#[test]
fn a_directory_whose_own_entry_was_not_synced_vanishes_with_all_it_holds() {
    let disk = SimDisk::new(SEED);
    disk.create_dir(Path::new("/a/b")).unwrap();
    let file = file_at(&disk, "/a/b/file");
    file.sync().unwrap();
    disk.sync_dir(Path::new("/a/b")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let disk = disk.crash(CrashPolicy::LoseAll);
    assert_eq!(disk.read_dir(Path::new("/a")).unwrap(), []);
}

#[test]
fn directories_list_by_name_and_only_empty_ones_go() {
    let (disk, _file) = disk_with(b"");
    disk.create_dir(Path::new("/data/b")).unwrap();
    disk.create_dir(Path::new("/data/b")).unwrap();
    let names = disk.read_dir(Path::new("/data")).unwrap();
    let names: Vec<_> = names.into_iter().map(|entry| (entry.name, entry.is_dir)).collect();
    assert_eq!(names, [("b".to_owned(), true), ("log".to_owned(), false)]);
    let full = disk.remove_dir(Path::new("/data")).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::DirectoryNotEmpty);
    disk.remove_dir(Path::new("/data/b")).unwrap();
    let missing = disk.open(Path::new("/none/file"), OpenMode::CreateNew).unwrap_err();
    assert_eq!(missing.kind(), io::ErrorKind::NotFound);
}

#[test]
fn after_a_crash_old_handles_fail_and_new_ones_work() {
    let (old, file) = disk_with(b"bytes");
    let disk = old.crash(CrashPolicy::LoseAll);
    assert!(is_crashed(file.write_at(b"x", 0)));
    assert!(is_crashed(file.read_at(&mut [0], 0)));
    assert!(is_crashed(file.sync()));
    assert!(is_crashed(old.read_dir(Path::new("/data"))));
    reopen(&disk, "/data/log").write_at(b"x", 0).unwrap();
}

#[test]
fn a_directory_is_locked_once_until_dropped_or_crashed() {
    let (disk, _file) = disk_with(b"");
    let path = Path::new("/data");
    let lock = disk.lock(path).unwrap();
    assert_eq!(disk.lock(path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(lock);
    let lock = disk.lock(path).unwrap();
    let disk = disk.crash(CrashPolicy::KeepAll);
    let again = disk.lock(path).unwrap();
    drop(lock);
    assert_eq!(disk.lock(path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(again);
}

#[test]
fn the_nth_operation_fails_once_or_from_then_on() {
    for (repeat, later) in [(Repeat::Once, None), (Repeat::FromThenOn, Some(5))] {
        let (disk, file) = disk_with(b"");
        let next = disk.operations() + 1;
        disk.inject(Fault::fail(next + 1, Errno::InputOutput, repeat));
        assert_eq!(errno(file.length()), None);
        assert_eq!(errno(file.length()), Some(5));
        assert_eq!(errno(file.length()), later);
        disk.heal();
        assert_eq!(errno(file.length()), None);
    }
}

#[test]
fn faults_can_be_aimed_at_one_kind_of_operation() {
    let (disk, file) = disk_with(b"");
    let when = When::Kind(OpKind::Sync, disk.count(OpKind::Sync) + 2);
    let trouble = Trouble::Fail(Errno::NoSpace);
    disk.inject(Fault { when, trouble, repeat: Repeat::Once });
    file.sync().unwrap();
    file.write_at(b"x", 0).unwrap();
    assert_eq!(errno(file.sync()), Some(28));
    file.sync().unwrap();
}

#[test]
fn a_sync_after_a_failed_sync_may_succeed_without_making_anything_durable() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (disk, file) = disk_with(b"old");
        disk.reseed(seed);
        disk.inject(Fault::fail(disk.operations() + 2, Errno::InputOutput, Repeat::Once));
        file.write_at(b"new", 0).unwrap();
        assert!(file.sync().is_err());
        file.sync().unwrap();
        assert_eq!(content(&disk, "/data/log").unwrap(), b"new", "reads come from the cache");
        outcomes.insert(content(&disk.crash(CrashPolicy::LoseAll), "/data/log").unwrap());
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [b"new", b"old"]);
}

#[test]
fn a_failed_write_may_leave_a_part_behind() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let (disk, file) = disk_with(b"");
        disk.reseed(seed);
        disk.inject(Fault::fail(disk.operations() + 1, Errno::NoSpace, Repeat::Once));
        assert_eq!(errno(file.write_at(b"abc", 0)), Some(28));
        lengths.insert(file.length().unwrap());
    }
    assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn the_power_goes_at_the_nth_change_with_or_without_it() {
    for (applied, kept) in [(Applied::Yes, b"new"), (Applied::No, b"old")] {
        let (disk, file) = disk_with(b"old");
        disk.cut_power_after(2, applied);
        file.write_at(b"new", 0).unwrap();
        assert_eq!(file.length().unwrap(), 3, "a read is no change");
        assert!(is_crashed(file.sync()));
        assert!(disk.is_cut());
        assert!(is_crashed(disk.open(Path::new("/data/log"), OpenMode::Read)));
        let disk = disk.crash(CrashPolicy::LoseAll);
        assert_eq!(content(&disk, "/data/log").unwrap(), kept);
        reopen(&disk, "/data/log").sync().unwrap();
    }
}

#[test]
fn the_power_goes_after_the_nth_sync_and_that_sync_counts() {
    let (disk, file) = disk_with(b"old");
    disk.cut_power_after_sync(2);
    file.write_at(b"one", 0).unwrap();
    file.sync().unwrap();
    file.write_at(b"two", 0).unwrap();
    assert!(is_crashed(file.sync()));
    assert!(disk.is_cut());
    let disk = disk.crash(CrashPolicy::LoseAll);
    assert_eq!(content(&disk, "/data/log").unwrap(), b"two");
}

#[test]
fn a_forgotten_write_and_a_lying_sync_report_success() {
    let (disk, file) = disk_with(b"old");
    let forget = |kind| Fault {
        when: When::Kind(kind, disk.count(kind) + 1),
        trouble: Trouble::Forget,
        repeat: Repeat::Once,
    };
    disk.inject(forget(OpKind::Write));
    file.write_at(b"new", 0).unwrap();
    assert_eq!(content(&disk, "/data/log").unwrap(), b"old");
    disk.inject(forget(OpKind::Sync));
    file.write_at(b"new", 0).unwrap();
    file.sync().unwrap();
    assert_eq!(content(&disk.crash(CrashPolicy::LoseAll), "/data/log").unwrap(), b"old");
}

#[test]
fn a_full_disk_refuses_growth_but_not_writes_into_reserved_space() {
    let (disk, file) = disk_with(b"");
    disk.set_capacity(Some(64 << 10));
    file.allocate(60 << 10).unwrap();
    assert_eq!(disk.free_space(Path::new("/")).unwrap(), 4 << 10);
    let other = file_at(&disk, "/data/other");
    assert_eq!(errno(other.write_at(&[1; 5000], 0)), Some(28));
    assert_eq!(errno(other.allocate(5000)), Some(28));
    file.write_at(&[1; 60 << 10], 0).unwrap();
    disk.remove_file(Path::new("/data/log")).unwrap();
    drop(file);
    other.write_at(&[1; 5000], 0).unwrap();
}

#[test]
fn damage_is_silent_and_durable_and_bad_stretches_fail_reads() {
    let (disk, file) = disk_with(b"abcd");
    let path = Path::new("/data/log");
    let before = disk.operations();
    disk.flip_bit(path, 1, 0).unwrap();
    disk.overwrite(path, 2, b"XY").unwrap();
    assert_eq!(disk.operations(), before);
    disk.spoil_reads(path, 3..4).unwrap();
    let mut bytes = [0; 3];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(errno(file.read_at(&mut [0; 2], 2)), Some(5));
    let disk = disk.crash(CrashPolicy::LoseAll);
    disk.heal();
    assert_eq!(content(&disk, "/data/log").unwrap(), b"acXY");
}

#[test]
fn the_log_proves_that_a_sync_lies_between_append_and_reply() {
    let (disk, file) = disk_with(b"");
    disk.start_log();
    file.write_at(b"entry", 512).unwrap();
    file.sync().unwrap();
    disk.mark("reply");
    let log = disk.take_log();
    let kinds: Vec<OpKind> = log.iter().map(|operation| operation.kind).collect();
    assert_eq!(kinds, [OpKind::Write, OpKind::Sync, OpKind::Mark]);
    assert_eq!((log[0].offset, log[0].length), (512, 5));
    assert_eq!(log[0].path, Path::new("/data/log"));
    assert!(disk.take_log().is_empty());
}

#[test]
fn forks_are_equal_at_first_and_apart_afterwards() {
    let (disk, file) = disk_with(b"old");
    file.write_at(b"new", 0).unwrap();
    let fork = disk.fork();
    assert_eq!(content(&fork, "/data/log"), content(&disk, "/data/log"));
    reopen(&fork, "/data/log").write_at(b"fork", 0).unwrap();
    assert_eq!(content(&disk, "/data/log").unwrap(), b"new");
    assert_eq!(content(&fork, "/data/log").unwrap(), b"fork");
}

#[test]
fn the_same_seed_and_calls_leave_the_same_disk() {
    let run = |seed: u64| {
        let disk = SimDisk::new(seed);
        let mut prng = Prng::new(9);
        let files = [file_at(&disk, "/a"), file_at(&disk, "/b")];
        for _ in 0..200 {
            let file = prng.pick(&files);
            match prng.below(8) {
                0 => file.sync().unwrap(),
                1 => file.set_length(prng.below(5000)).unwrap(),
                _ => file.write_at(&[1; 700], prng.below(5000)).unwrap(),
            }
        }
        disk.sync_dir(Path::new("/")).unwrap();
        let disk = disk.crash(CrashPolicy::RandomSubset { tear: Sector::Bytes512 });
        (content(&disk, "/a"), content(&disk, "/b"), disk.digest())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_file_opened_for_reading_cannot_be_written() {
    let (disk, _file) = disk_with(b"old");
    let file = disk.open(Path::new("/data/log"), OpenMode::Read).unwrap();
    assert_eq!(errno(file.write_at(b"new", 0)), Some(EBADF));
    assert_eq!(errno(file.set_length(0)), Some(EINVAL));
}

#[test]
fn every_change_is_a_crash_point_that_can_be_visited() {
    let script = |disk: &SimDisk| -> io::Result<()> {
        let file = disk.open(Path::new("/file"), OpenMode::CreateNew)?;
        file.write_at(b"one", 0)?;
        file.sync()?;
        disk.sync_dir(Path::new("/"))?;
        file.write_at(b"two", 0)?;
        file.sync()
    };
    let whole = SimDisk::new(SEED);
    script(&whole).unwrap();
    assert_eq!(whole.changes(), 6);
    let left: Vec<Option<Vec<u8>>> = (1..=whole.changes())
        .map(|point| {
            let disk = SimDisk::new(SEED);
            disk.inject(Fault::power_cut(point, Applied::Yes));
            assert!(script(&disk).is_err());
            content(&disk.crash(CrashPolicy::LoseAll), "/file")
        })
        .collect();
    let one = || Some(b"one".to_vec());
    assert_eq!(left, [None, None, None, one(), one(), Some(b"two".to_vec())]);
}
