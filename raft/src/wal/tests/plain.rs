//! One promise a test: order, visibility, group commit, truncation, purge, reopening.

use super::*;

use std::sync::atomic::{AtomicU64, Ordering};

use kstore_host::{DirectoryLock, File, Jobs, OpenMode};
use kstore_testkit::disk::OpKind;

use crate::wal::WalReadError;

#[test]
fn entries_can_be_read_before_they_are_flushed() {
    let bench = Bench::new();
    bench.append(1, 0..3);
    assert_eq!(bench.all(), [(1, 0), (1, 1), (1, 2)]);
    assert_eq!(bench.wal.last(), Some(position(1, 2)));
    assert_eq!(bench.wal.flushed(), None);
    assert!(bench.told.all().is_empty());
    bench.run();
    assert_eq!(bench.wal.flushed(), Some(position(1, 2)));
    assert_eq!(bench.told.all(), [(3, Ok(()))]);
}

#[test]
fn callbacks_come_in_order_and_each_after_a_sync_that_follows_its_write() {
    let bench = Bench::new();
    bench.disk.start_log();
    for index in 0..20 {
        let disk = bench.disk.clone();
        let told = bench.told.note(index);
        let marks: OnFlushed = Box::new(move |result| {
            disk.mark(&format!("told {index}"));
            told(result);
        });
        bench.wal.append(vec![entry(1, index)], marks);
        if index % 3 == 0 {
            bench.run();
        }
    }
    bench.run();
    let numbers: Vec<u64> = bench.told.all().iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..20).collect::<Vec<_>>());
    let mut unsynced = false;
    let mut told = 0;
    for operation in bench.disk.take_log() {
        match operation.kind {
            OpKind::Write => unsynced = true,
            OpKind::Sync => unsynced = false,
            OpKind::Mark => {
                assert!(!unsynced, "a callback came before the sync");
                told += 1;
            }
            _ => {}
        }
    }
    assert_eq!(told, 20);
}

#[test]
fn a_commit_asks_for_no_sync_and_goes_along_with_the_next_group() {
    let bench = Bench::new();
    bench.append(1, 0..1);
    bench.run();
    let syncs = bench.disk.count(OpKind::Sync);
    for _ in 0..10 {
        bench.wal.save_committed(position(1, 0));
    }
    assert_eq!(bench.lane.waiting(), 0);
    bench.append(1, 1..2);
    bench.run();
    assert_eq!(bench.disk.count(OpKind::Sync), syncs + 1);
    let bench = Bench::on(&bench.disk.crash(kstore_testkit::disk::CrashPolicy::LoseAll));
    assert_eq!(bench.recovered.committed, Some(position(1, 0)));
}

#[test]
fn a_commit_that_comes_while_a_group_is_written_asks_for_no_sync_either() {
    let bench = Bench::new();
    bench.append(1, 0..1);
    bench.run();
    let wal = bench.wal.clone();
    let commits: OnFlushed = Box::new(move |_| wal.save_committed(position(1, 1)));
    let syncs = bench.disk.count(OpKind::Sync);
    bench.wal.append(vec![entry(1, 1)], commits);
    bench.run();
    assert_eq!(bench.disk.count(OpKind::Sync), syncs + 1);
}

#[test]
fn waiting_for_what_is_flushed_costs_no_sync() {
    let bench = Bench::new();
    bench.append(1, 0..1);
    bench.run();
    let syncs = bench.disk.count(OpKind::Sync);
    bench.wal.when_flushed(bench.told.note(7));
    bench.run();
    assert_eq!(bench.told.last_ok(), Some(7));
    assert_eq!(bench.disk.count(OpKind::Sync), syncs);
}

#[test]
fn an_idle_log_puts_its_last_sync_on_record_once() {
    let bench = Bench::new();
    bench.append(1, 0..1);
    bench.run();
    bench.wal.idle_tick();
    assert_eq!(bench.lane.waiting(), 0, "it was busy since the tick before");
    bench.wal.idle_tick();
    assert_eq!(bench.lane.waiting(), 1);
    bench.run();
    let changes = bench.disk.changes();
    for _ in 0..3 {
        bench.wal.idle_tick();
        bench.run();
    }
    assert_eq!(bench.disk.changes(), changes);
}

#[test]
fn an_idle_log_writes_the_commit_that_waits() {
    let bench = Bench::new();
    bench.append(1, 0..1);
    bench.run();
    bench.wal.save_committed(position(1, 0));
    bench.wal.idle_tick();
    bench.wal.idle_tick();
    bench.run();
    let bench = Bench::on(&bench.disk.crash(kstore_testkit::disk::CrashPolicy::LoseAll));
    assert_eq!(bench.recovered.committed, Some(position(1, 0)));
}

#[test]
fn truncated_entries_are_gone_at_once_and_after_reopening() {
    let bench = Bench::new();
    bench.append(1, 0..10);
    bench.run();
    bench.wal.truncate_after(Some(position(1, 3)));
    assert_eq!(bench.all(), (0..4).map(|index| (1, index)).collect::<Vec<_>>());
    bench.append(2, 4..6);
    let expected = [(1, 0), (1, 1), (1, 2), (1, 3), (2, 4), (2, 5)];
    assert_eq!(bench.all(), expected);
    assert_eq!(bench.wal.flushed(), Some(position(1, 3)));
    let bench = Bench::on(&bench.close());
    assert_eq!(bench.all(), expected);
    assert_eq!(bench.wal.term_at(Index(4)), Some(Term(2)));
    assert_eq!(bench.recovered.cut, None);
}

#[test]
fn truncating_everything_starts_the_log_anew() {
    let bench = Bench::new();
    bench.append(1, 0..3);
    bench.wal.truncate_after(None);
    assert_eq!(bench.wal.last(), None);
    bench.append(2, 0..1);
    bench.run();
    assert_eq!(bench.told.all(), [(3, Ok(())), (1, Ok(()))]);
    let bench = Bench::on(&bench.close());
    assert_eq!(bench.all(), [(2, 0)]);
}

#[test]
fn truncating_behind_the_end_does_nothing() {
    let bench = Bench::new();
    bench.append(1, 0..3);
    bench.wal.truncate_after(Some(position(1, 2)));
    bench.wal.truncate_after(Some(position(2, 9)));
    let bench = Bench::on(&bench.close());
    assert_eq!(bench.all(), [(1, 0), (1, 1), (1, 2)]);
}

#[test]
fn purged_entries_are_refused_and_their_segments_go() {
    let bench = Bench::new();
    for start in (0..200).step_by(5) {
        bench.append(1, start..start + 5);
        bench.run();
    }
    let before = segments(&bench.disk).len();
    assert!(before > 4, "{before} segments");
    bench.wal.purge(position(1, 180));
    let read = bench.wal.read(Index(180), Index(200), 1000, Access::Disk);
    assert!(matches!(read, Err(WalReadError::Purged)));
    bench.run();
    assert!(segments(&bench.disk).len() <= 3);
    assert_eq!(bench.all().first(), Some(&(1, 181)));
    let bench = Bench::on(&bench.close());
    assert_eq!(bench.recovered.purged, Some(position(1, 180)));
    assert_eq!(bench.all(), (181..200).map(|index| (1, index)).collect::<Vec<_>>());
}

#[test]
fn a_purged_segment_is_used_again() {
    let bench = Bench::new();
    for round in 0..40_u64 {
        let start = round * 10;
        bench.append(1, start..start + 10);
        bench.run();
        bench.wal.purge(position(1, start + 5));
        bench.run();
    }
    assert!(bench.disk.count(OpKind::Create) < 12, "{}", bench.disk.count(OpKind::Create));
    let bench = Bench::on(&bench.close());
    assert_eq!(bench.all(), [(1, 396), (1, 397), (1, 398), (1, 399)]);
}

#[test]
fn purging_beyond_the_end_moves_the_log_there() {
    let bench = Bench::new();
    bench.append(1, 0..5);
    bench.wal.purge(position(3, 99));
    assert_eq!(
        (bench.wal.last(), bench.wal.flushed()),
        (Some(position(3, 99)), Some(position(3, 99)))
    );
    bench.append(3, 100..102);
    bench.run();
    let bench = Bench::on(&bench.close());
    assert_eq!(bench.recovered.last, Some(position(3, 101)));
    assert_eq!(bench.wal.term_at(Index(99)), Some(Term(3)));
    assert_eq!(bench.all(), [(3, 100), (3, 101)]);
}

#[test]
fn entries_that_left_the_memory_are_cold_and_come_from_the_disk() {
    let bench = Bench::new();
    bench.append(1, 0..100);
    bench.run();
    let cold = bench.wal.read(Index(0), Index(100), 1000, Access::Cached);
    assert!(matches!(cold, Err(WalReadError::Cold)));
    let warm = bench.wal.read(Index(99), Index(100), 1000, Access::Cached).unwrap();
    assert_eq!(warm, [entry(1, 99)]);
    for bytes_max in [0, 300, 1000, u64::MAX] {
        let all = read_all(&bench.wal, bytes_max);
        assert_eq!(all, (0..100).map(|index| entry(1, index)).collect::<Vec<_>>());
    }
    let first = bench.wal.read(Index(0), Index(100), 0, Access::Disk).unwrap();
    assert_eq!(first, [entry(1, 0)]);
    assert!(bench.wal.read(Index(100), Index(200), 1000, Access::Disk).unwrap().is_empty());
}

#[test]
fn an_entry_longer_than_a_segment_gets_one_of_its_own() {
    let bench = Bench::new();
    let long = Entry { position: position(1, 0), payload: Bytes::from(vec![7; 20_000]) };
    bench.wal.append(vec![long.clone()], bench.told.note(0));
    bench.append(1, 1..3);
    bench.run();
    let bench = Bench::on(&bench.close());
    assert_eq!(read_all(&bench.wal, 100), [long, entry(1, 1), entry(1, 2)]);
}

#[test]
fn the_vote_survives_the_segment_that_held_it() {
    let bench = Bench::new();
    bench.wal.save_vote(Bytes::from_static(b"me"), bench.told.note(0));
    for start in (0..100).step_by(5) {
        bench.append(1, start..start + 5);
        bench.run();
    }
    bench.wal.purge(position(1, 99));
    let bench = Bench::on(&bench.close());
    assert!(!segments(&bench.disk).contains(&"wal-00000001".to_owned()));
    assert_eq!(bench.recovered.vote, Some(Bytes::from_static(b"me")));
    assert_eq!(bench.wal.vote(), Some(Bytes::from_static(b"me")));
}

#[test]
fn the_bytes_behind_an_index_cover_what_is_written_and_what_waits() {
    let bench = Bench::new();
    assert!(bench.wal.bytes_behind(Index(0)) < 2048);
    bench.append(1, 0..50);
    assert!(bench.wal.queued_bytes() > 50 * 100);
    let waiting = bench.wal.bytes_behind(Index(0));
    bench.run();
    assert_eq!(bench.wal.queued_bytes(), 0);
    let written = bench.wal.bytes_behind(Index(0));
    assert!(written >= waiting - 2048, "{written} {waiting}");
    let mut last = u64::MAX;
    for index in 0..51 {
        let bytes = bench.wal.bytes_behind(Index(index));
        assert!(bytes < last);
        last = bytes;
    }
    assert_eq!(bench.wal.bytes_behind(Index(60)), 0);
}

#[test]
fn a_closed_log_answers_with_an_error() {
    let bench = Bench::new();
    bench.append(1, 0..1);
    bench.wal.close(bench.told.note(8));
    bench.append(1, 1..2);
    bench.run();
    bench.wal.save_vote(Bytes::new(), bench.told.note(9));
    bench.run();
    let closed = Err(io::ErrorKind::BrokenPipe);
    assert_eq!(bench.told.all(), [(1, Ok(())), (8, Ok(())), (2, closed), (9, closed)]);
}

#[test]
fn opening_again_and_again_keeps_the_log_and_its_files_few() {
    let mut disk = new_disk(1);
    let bench = Bench::on(&disk);
    bench.append(1, 0..3);
    disk = bench.close();
    for _ in 0..20 {
        disk = Bench::on(&disk).close();
    }
    let bench = Bench::on(&disk);
    assert_eq!(bench.all(), [(1, 0), (1, 1), (1, 2)]);
    assert!(segments(&disk).len() <= 3, "{:?}", segments(&disk));
}

/// A disk that calls something in the middle of each sync.
struct HookDisk {
    disk: SimDisk,
    syncs: Arc<AtomicU64>,
    during: Arc<dyn Fn(u64) + Send + Sync>,
}

struct HookFile {
    file: Arc<dyn File>,
    syncs: Arc<AtomicU64>,
    during: Arc<dyn Fn(u64) + Send + Sync>,
}

impl std::fmt::Debug for HookDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookDisk")
    }
}

impl std::fmt::Debug for HookFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookFile")
    }
}

impl File for HookFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn sync(&self) -> io::Result<()> {
        (self.during)(self.syncs.fetch_add(1, Ordering::SeqCst) + 1);
        self.file.sync()
    }
    fn allocate(&self, length: u64) -> io::Result<()> {
        self.file.allocate(length)
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
}

impl Disk for HookDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let file = self.disk.open(path, mode)?;
        let (syncs, during) = (Arc::clone(&self.syncs), Arc::clone(&self.during));
        Ok(Arc::new(HookFile { file, syncs, during }))
    }
    fn read_dir(&self, path: &Path) -> io::Result<Vec<kstore_host::Entry>> {
        self.disk.read_dir(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        self.disk.lock(path)
    }
    fn free_space(&self, path: &Path) -> io::Result<u64> {
        self.disk.free_space(path)
    }
}

#[test]
fn what_is_queued_during_one_sync_takes_one_further_sync_together() {
    let syncs = Arc::new(AtomicU64::new(0));
    let wal: Arc<Mutex<Option<Wal>>> = Arc::default();
    let told = Told::default();
    let during = {
        let (wal, told) = (Arc::clone(&wal), told.clone());
        move |_| {
            // Taken out first: the syncs that follow queue nothing.
            if let Some(wal) = wal.lock().unwrap().take() {
                for index in 1..=50 {
                    let small = Entry { position: position(1, index), payload: Bytes::new() };
                    wal.append(vec![small], told.note(index));
                }
            }
        }
    };
    let hook = HookDisk { disk: new_disk(1), syncs: Arc::clone(&syncs), during: Arc::new(during) };
    let disk: Arc<dyn Disk> = Arc::new(hook);
    let lane = Arc::new(ManualLane::default());
    let options =
        WalOptions { group_bytes: 1 << 20, segment_bytes_first: 1 << 20, ..WalOptions::default() };
    let for_wal = Arc::clone(&lane) as Arc<dyn Lane>;
    let random = SimRandom::new(1);
    let (opened, _) = Wal::open(&disk, Path::new(DIR), for_wal, &random, options, None).unwrap();
    *wal.lock().unwrap() = Some(opened.clone());
    let before = syncs.load(Ordering::SeqCst);
    opened.append(vec![entry(1, 0)], told.note(0));
    lane.run_one();
    assert_eq!(syncs.load(Ordering::SeqCst), before + 1);
    assert_eq!(told.all(), [(0, Ok(()))]);
    lane.run_all();
    assert_eq!(syncs.load(Ordering::SeqCst), before + 2);
    assert_eq!(told.all().len(), 51);
}

#[test]
fn a_log_on_the_real_disk_with_a_real_lane_comes_back() {
    let disk: Arc<dyn Disk> = Arc::new(kstore_host::os::OsDisk);
    let unique = format!("kstore-wal-{}", std::process::id());
    let dir = std::env::temp_dir().join(unique);
    let jobs = kstore_host::threads::ThreadJobs::new(1, 1);
    let random = kstore_host::os::OsRandom;
    for start in [0_u64, 500] {
        let options = WalOptions::tiny();
        let (wal, recovered) =
            Wal::open(&disk, &dir, jobs.lane("wal"), &random, options, None).unwrap();
        assert_eq!(recovered.last, start.checked_sub(1).map(|last| position(1, last)));
        let (sender, done) = std::sync::mpsc::channel();
        for index in start..start + 500 {
            let sender = sender.clone();
            wal.append(vec![entry(1, index)], Box::new(move |result| sender.send(result).unwrap()));
        }
        wal.close(Box::new(move |result| sender.send(result).unwrap()));
        assert_eq!(done.iter().filter(Result::is_ok).count(), 501);
        assert_eq!(read_all(&wal, 1000).len() as u64, start + 500);
    }
    for entry in disk.read_dir(&dir).unwrap() {
        disk.remove_file(&dir.join(entry.name)).unwrap();
    }
    disk.remove_dir(&dir).unwrap();
}
