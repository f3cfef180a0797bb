//! The power goes at every change to the disk, and every operation of the disk fails once.

use super::model::{Model, POLICIES, Script};
use super::*;

use kstore_testkit::disk::{Applied, CrashPolicy, Errno, Fault, OpKind, Operation, Repeat, Sector};

const SESSIONS: u64 = 3;
const STEPS: u64 = 50;

/// Runs a script of three sessions on `disk` until the disk fails, if it does. Returns what was
/// told in the session that was cut off, and how the log could not be opened, if so.
fn run(script: &mut Script, disk: &SimDisk) -> (Option<u64>, Option<OpenError>) {
    let mut told = None;
    for session in 0..SESSIONS {
        let bench = match try_open(disk, session, WalOptions::tiny(), None) {
            Ok(bench) => bench,
            Err(error) => return (told, Some(error)),
        };
        script.recover(&bench, told);
        for _ in 0..STEPS {
            script.step(&bench);
        }
        bench.run();
        // Upkeep may have failed since.
        bench.wal.when_flushed(bench.told.note(u64::MAX));
        if session == 1 {
            bench.wal.close(bench.told.note(u64::MAX));
        }
        bench.run();
        check_callbacks(&bench);
        let last = bench.told.all().into_iter().filter(|told| told.0 != u64::MAX);
        told = last.filter(|(_, result)| result.is_ok()).map(|(number, _)| number).max();
        if bench.told.all().iter().any(|(_, result)| result.is_err()) || disk.is_cut() {
            return (told, None);
        }
    }
    (told, None)
}

/// Callbacks come in order, and after the first error there are only errors.
fn check_callbacks(bench: &Bench) {
    let told = bench.told.all();
    assert!(told.is_sorted_by_key(|(number, _)| *number));
    let first_error = told.iter().position(|(_, result)| result.is_err()).unwrap_or(told.len());
    assert!(told[first_error..].iter().all(|(_, result)| result.is_err()));
}

/// The changes to the disk before the script and after it.
fn measure(seed: u64) -> (u64, u64) {
    let disk = new_disk(seed);
    let start = disk.changes();
    let (_, error) = run(&mut Script::new(seed), &disk);
    assert!(error.is_none());
    (start, disk.changes())
}

#[test]
fn after_a_power_cut_at_any_change_everything_told_is_there_and_nothing_else() {
    for seed in 0..4 {
        let (start, changes) = measure(seed);
        for point in start + 1..=changes {
            for (number, policy) in (0..).zip(POLICIES) {
                println!("seed {seed} point {point} policy {policy:?}");
                let disk = new_disk(seed);
                let applied =
                    if (point + number).is_multiple_of(2) { Applied::Yes } else { Applied::No };
                disk.inject(Fault::power_cut(point, applied));
                let mut script = Script::new(seed);
                let (told, _) = run(&mut script, &disk);
                assert!(disk.is_cut());
                let disk = disk.crash(policy);
                recover_through_a_second_cut(&mut script, &disk, told, point);
            }
        }
    }
}

/// Recovers; in some cases the power goes again while that happens.
fn recover_through_a_second_cut(
    script: &mut Script,
    disk: &SimDisk,
    told: Option<u64>,
    point: u64,
) {
    let mut disk = disk.clone();
    let applied = script.applied(told);
    if !point.is_multiple_of(3) {
        let again = if point.is_multiple_of(2) { Applied::Yes } else { Applied::No };
        disk.cut_power_after(1 + point / 3 % 8, again);
        drop(try_open(&disk, point, WalOptions::tiny(), applied));
        let policy = POLICIES[usize::try_from(point / 24 % 5).unwrap()];
        disk.cut_power();
        disk = disk.crash(policy);
    }
    let bench = try_open(&disk, point + 1, WalOptions::tiny(), applied).unwrap();
    script.recover(&bench, told);
    for _ in 0..5 {
        script.step(&bench);
    }
    let now = script.now().clone();
    let bench = Bench::on(&bench.close());
    assert_eq!(Model::of(&bench.wal, &mut script.random), now);
}

#[test]
fn after_any_operation_that_fails_the_log_says_so_and_loses_nothing_told() {
    for seed in 4..6 {
        let disk = new_disk(seed);
        disk.start_log();
        run(&mut Script::new(seed), &disk);
        let operations = disk.take_log();
        for operation in operations {
            for errno in [Errno::InputOutput, Errno::NoSpace] {
                println!("seed {seed} operation {operation:?} {errno:?}");
                fail_at(seed, &operation, errno);
            }
        }
    }
}

/// Runs the script with one operation failing, and then stops: by a power cut, or only the process.
fn fail_at(seed: u64, operation: &Operation, errno: Errno) {
    let disk = new_disk(seed);
    disk.inject(Fault::fail(operation.number, errno, Repeat::Once));
    let mut script = Script::new(seed);
    let (told, _) = run(&mut script, &disk);
    disk.heal();
    let policy = POLICIES.get(usize::try_from(operation.number % 7).unwrap());
    let disk = match policy {
        Some(policy) => disk.crash(*policy),
        // What a directory whose sync failed shows, and what it holds, nobody knows; only a new
        // start of the machine tells. File systems remount themselves read-only after that.
        None if operation.kind == OpKind::SyncDir => disk.crash(CrashPolicy::Prefix),
        None => disk,
    };
    let bench = try_open(&disk, operation.number, WalOptions::tiny(), None).unwrap();
    script.recover(&bench, told);
    // What was shown once stays, even if the machine's memory was all that held it.
    let now = script.now().clone();
    let bench = Bench::on(&disk.crash(CrashPolicy::LoseAll));
    assert_eq!(Model::of(&bench.wal, &mut script.random), now);
}

/// Appends and purges, so that segments are used again and again.
fn recycle(disk: &SimDisk) {
    let Ok(bench) = try_open(disk, 1, WalOptions::tiny(), None) else { return };
    for round in 0..12 {
        let start = round * 10;
        bench.append(1, start..start + 10);
        bench.run();
        bench.wal.purge(position(1, start + 5));
        bench.run();
    }
}

#[test]
fn a_segment_that_is_used_again_never_bears_two_names() {
    let disk = new_disk(1);
    disk.start_log();
    recycle(&disk);
    let operations = disk.take_log();
    let changes = operations.iter().filter(|operation| operation.kind.changes());
    for (point, operation) in (1..).zip(changes) {
        if operation.kind != OpKind::SyncDir {
            continue;
        }
        let disk = new_disk(1);
        disk.cut_power_after(point, Applied::No);
        recycle(&disk);
        assert!(disk.is_cut());
        for choice in 0..12 {
            println!("change {point} choice {choice}");
            let disk = disk.fork();
            disk.reseed(choice);
            let disk = disk.crash(CrashPolicy::RandomSubset { tear: Sector::Bytes512 });
            let bench = Bench::on(&disk);
            let found = bench.all();
            let next = bench.wal.last().map_or(0, |last| last.index.0 + 1);
            // Goes on until what lay aside was used.
            for index in next..next + 40 {
                bench.append(1, index..index + 1);
                bench.run();
            }
            let bench = Bench::on(&bench.close());
            assert_eq!(bench.all()[..found.len()], found);
            assert_eq!(bench.all().len(), found.len() + 40);
        }
    }
}

#[test]
fn a_full_disk_is_an_error_and_the_log_goes_on_when_there_is_room() {
    let disk = new_disk(1);
    let bench = Bench::on(&disk);
    bench.append(1, 0..10);
    bench.run();
    disk.set_capacity(Some(disk.used()));
    for start in (10..1000).step_by(10) {
        bench.append(1, start..start + 10);
        bench.run();
    }
    let told = bench.told.all();
    check_callbacks(&bench);
    let refused = told.iter().find(|(_, result)| result.is_err()).unwrap();
    assert_eq!(refused.1, Err(io::ErrorKind::StorageFull));
    let last = bench.told.last_ok().unwrap();
    bench.wal.save_vote(Bytes::new(), bench.told.note(2000));
    bench.run();
    assert_eq!(bench.told.all().last().unwrap().1, Err(io::ErrorKind::StorageFull));

    disk.set_capacity(None);
    let bench = Bench::on(&disk.crash(CrashPolicy::LoseAll));
    let end = bench.recovered.last.unwrap().index.0 + 1;
    assert!(end >= last, "{end} {last}");
    assert_eq!(bench.all(), (0..end).map(|index| (1, index)).collect::<Vec<_>>());
    bench.append(1, end..end + 5);
    bench.run();
    assert_eq!(bench.told.last_ok(), Some(end + 5));
}

#[test]
fn a_log_on_a_full_disk_can_be_opened() {
    let disk = new_disk(1);
    let bench = Bench::on(&disk);
    let mut end = 0;
    // Until a segment is ready ahead of its time.
    while !disk.read_dir(Path::new(DIR)).unwrap().iter().any(|entry| entry.name == "wal-next") {
        bench.append(1, end..end + 1);
        bench.run();
        end += 1;
    }
    disk.set_capacity(Some(disk.used()));
    let disk = disk.crash(CrashPolicy::LoseAll);
    let bench = Bench::on(&disk);
    assert_eq!(bench.recovered.last, Some(position(1, end - 1)));
}
