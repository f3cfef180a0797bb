//! Both horizons: what can be read and watched at, above and below them, and what is dropped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;
use std::sync::Arc;

use kstore_host::Disk;
use kstore_mvcc::{
    Access, Content, HistoryLimit, Index, KeyRange, Options, RangeQuery, ReadError, RecordId,
    RecordKind, Revision, Store, Sub, verify,
};
use kstore_testkit::SimDisk;
use support::{DATA, chain, checkpoint, new_disk, open, position};

const MUCH: HistoryLimit = HistoryLimit { bytes: u64::MAX, revisions: u64::MAX };

const PUT: RecordKind = RecordKind::Put;
const DELETE: RecordKind = RecordKind::Delete;

struct Bench {
    disk: SimDisk,
    store: Store,
    entries: usize,
}

impl Bench {
    fn new() -> Self {
        let disk = new_disk(1);
        let (store, _) = open(&disk, &Options::tiny(), 1).unwrap();
        Self { disk, store, entries: 0 }
    }

    fn publish(&mut self) {
        self.store.publish(position(self.entries), chain(self.entries));
        self.entries += 1;
    }

    fn put(&mut self, key: &str, value: &str) {
        let mut write = self.store.begin(Index(self.entries as u64));
        write.put(key.as_bytes(), value.as_bytes(), None).unwrap();
        write.finish().unwrap();
        self.publish();
    }

    fn delete(&mut self, key: &str) {
        let mut write = self.store.begin(Index(self.entries as u64));
        write.delete(key.as_bytes()).unwrap().unwrap();
        write.finish().unwrap();
        self.publish();
    }

    fn compact(&mut self, compacted: u64, retained: u64) {
        let mut write = self.store.begin(Index(self.entries as u64));
        write.set_compacted(Revision(compacted));
        write.set_retained(Revision(retained));
        write.finish().unwrap();
        self.publish();
    }

    fn sweep(&mut self) -> u64 {
        let mut dropped = 0;
        loop {
            let step = self.store.sweep(1).unwrap();
            dropped += step.dropped;
            if step.done {
                return dropped;
            }
        }
    }

    fn get(&self, key: &str, at: u64) -> Result<Option<String>, ReadError> {
        let got = self.store.snapshot().get(key.as_bytes(), Some(Revision(at)), Access::Disk)?;
        Ok(got.map(|kv| String::from_utf8(kv.value.to_vec()).unwrap()))
    }

    fn events(&self, from: u64) -> Vec<(u64, RecordKind)> {
        let everything = KeyRange::everything();
        let page =
            self.store.snapshot().history(&everything, Revision(from), MUCH, Access::Disk).unwrap();
        page.events.iter().map(|event| (event.id.revision.0, event.kind)).collect()
    }

    fn cells(&mut self) -> u64 {
        self.publish();
        checkpoint(&mut self.store).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let report = verify(&disk, Path::new(DATA)).unwrap();
        assert_eq!(report.damages, []);
        report.cells
    }
}

/// a: 2 5 8, b: 3 deleted at 6, c: 4 deleted at 7, b again: 9.
fn some_history() -> Bench {
    let mut bench = Bench::new();
    bench.put("a", "a2");
    bench.put("b", "b3");
    bench.put("c", "c4");
    bench.put("a", "a5");
    bench.delete("b");
    bench.delete("c");
    bench.put("a", "a8");
    bench.put("b", "b9");
    bench
}

#[test]
fn a_fresh_store_has_revision_one_and_answers_at_it() {
    let bench = Bench::new();
    assert_eq!(bench.store.snapshot().revision(), Revision(1));
    assert_eq!(bench.get("a", 1).unwrap(), None);
    assert!(matches!(bench.get("a", 2), Err(ReadError::Future { current: Revision(1) })));
    assert_eq!(bench.events(1), []);
}

#[test]
fn reads_below_the_horizon_are_refused_and_at_it_they_are_answered() {
    let mut bench = some_history();
    bench.compact(6, 6);
    for swept in [0, 1] {
        assert!(matches!(bench.get("a", 5), Err(ReadError::Compacted { compacted: Revision(6) })));
        assert_eq!(bench.get("a", 6).unwrap().as_deref(), Some("a5"), "swept {swept}");
        assert_eq!(bench.get("b", 6).unwrap(), None);
        assert_eq!(bench.get("c", 6).unwrap().as_deref(), Some("c4"));
        assert_eq!(bench.get("c", 7).unwrap(), None);
        assert_eq!(bench.get("b", 9).unwrap().as_deref(), Some("b9"));
        bench.sweep();
    }
}

#[test]
fn a_watch_from_the_horizon_gets_the_deletion_that_happened_at_it() {
    let mut bench = some_history();
    bench.compact(6, 6);
    bench.sweep();
    assert_eq!(bench.events(6), [(6, DELETE), (7, DELETE), (8, PUT), (9, PUT)]);
    let below =
        bench.store.snapshot().history(&KeyRange::everything(), Revision(5), MUCH, Access::Disk);
    assert!(matches!(below, Err(ReadError::Compacted { compacted: Revision(6) })));
}

#[test]
fn sweeping_drops_exactly_the_dead_cells_and_keeps_the_deletion_at_the_horizon() {
    let mut bench = some_history();
    assert_eq!(bench.cells(), 8);
    bench.compact(6, 6);
    assert_eq!(bench.sweep(), 2, "a at 2, b at 3");
    assert_eq!(bench.cells(), 6);
    bench.compact(9, 9);
    assert_eq!(bench.sweep(), 4, "a at 5, b's deletion at 6, c at 4 and its deletion at 7");
    assert_eq!(bench.cells(), 2);
    assert_eq!(bench.sweep(), 0);
    assert!(!bench.store.sweep_due());
}

#[test]
fn history_that_is_retained_is_not_swept() {
    let mut bench = some_history();
    bench.compact(9, 0);
    assert_eq!(bench.sweep(), 0);
    assert_eq!(bench.cells(), 8);
    bench.compact(9, 5);
    assert_eq!(bench.sweep(), 1, "a at 2");
}

#[test]
fn a_key_with_very_many_dead_cells_is_swept_in_steps() {
    let mut bench = Bench::new();
    for n in 0..500 {
        bench.put("busy", &n.to_string());
    }
    bench.delete("busy");
    bench.put("idle", "x");
    bench.compact(501, 501);
    let first = bench.store.sweep(20).unwrap();
    assert!(first.dropped <= 20 && !first.done, "{first:?}");
    assert_eq!(bench.get("busy", 503).unwrap(), None);
    assert_eq!(first.dropped + bench.sweep(), 499, "all but the newest put and the deletion");
    bench.compact(503, 503);
    assert_eq!(bench.sweep(), 2);
    assert_eq!(bench.cells(), 1);
}

#[test]
fn the_sizes_follow_what_is_written_and_what_dies() {
    let mut bench = Bench::new();
    for n in 0..300 {
        bench.put("key", &"v".repeat(100 + n % 7));
    }
    checkpoint(&mut bench.store).unwrap();
    let full = bench.store.snapshot();
    let files: u64 = bench.disk.files().iter().map(|(_, length)| *length).sum();
    // The root file is not counted.
    assert_eq!(full.size_on_disk() + 4 * 4096, files);
    assert_eq!(full.size_in_use(), full.size_on_disk());
    bench.compact(301, 301);
    bench.sweep();
    let swept = bench.store.snapshot();
    assert!(swept.size_in_use() < full.size_in_use() / 2, "{}", swept.size_in_use());
    checkpoint(&mut bench.store).unwrap();
    let (store, _) = open(&bench.disk, &Options::tiny(), 2).unwrap();
    assert!(!store.sweep_due(), "what was swept is known after a restart");
    let again = store.snapshot();
    assert!(again.size_in_use() < full.size_in_use(), "{} survives", again.size_in_use());
}

#[test]
fn hash_and_digests_do_not_depend_on_layout_sweeps_or_restarts() {
    let mut one = some_history();
    let mut other = Bench::new();
    let options = Options { segment_first: 300, segment_max: 300, ..Options::tiny() };
    other.disk = new_disk(5);
    other.store = open(&other.disk, &options, 6).unwrap().0;
    for bench in [&mut one, &mut other] {
        if bench.entries == 0 {
            for (key, value) in [("a", "a2"), ("b", "b3"), ("c", "c4"), ("a", "a5")] {
                bench.put(key, value);
            }
            checkpoint(&mut bench.store).unwrap();
            bench.store = open(&bench.disk, &options, 7).unwrap().0;
            bench.delete("b");
            bench.delete("c");
            bench.put("a", "a8");
            bench.put("b", "b9");
        }
        bench.compact(6, 6);
    }
    other.sweep();
    for at in 6..=9 {
        let hash = |bench: &Bench| bench.store.snapshot().hash_kv(Some(Revision(at))).unwrap();
        assert_eq!(hash(&one), hash(&other), "at {at}");
        assert_ne!(hash(&one), 0);
    }
    let digest = |bench: &mut Bench| {
        let mut write = bench.store.begin(Index(40));
        write.put(b"d", b"x", None).unwrap();
        write.delete(b"a").unwrap().unwrap();
        write.finish().unwrap()
    };
    let (first, second) = (digest(&mut one), digest(&mut other));
    assert_eq!(first, second);
    assert_eq!((first.revision, first.changes, first.first_sub), (Revision(10), 2, Sub(0)));
}

#[test]
fn writes_of_one_command_share_a_revision_and_see_each_other() {
    let mut bench = some_history();
    let mut write = bench.store.begin(Index(50));
    assert_eq!(write.revision(), Revision(9));
    assert_eq!(write.delete(b"nothing").unwrap(), None);
    assert_eq!(write.revision(), Revision(9), "a delete of nothing makes no revision");
    let put = write.put(b"a", b"new", None).unwrap();
    assert_eq!((put.create, put.version), (Revision(2), 4));
    let id = |revision, sub| RecordId { revision: Revision(revision), sub: Sub(sub) };
    assert_eq!((put.id, put.previous), (id(10, 0), Some(id(8, 0))));
    let made = write.put(b"new", b"", None).unwrap();
    assert_eq!((made.id, made.create, made.version), (id(10, 1), Revision(10), 1));
    assert_eq!(write.get(b"a").unwrap().unwrap().value, "new");
    assert_eq!(write.meta(b"new").unwrap().unwrap().value_length, 0);
    let range = KeyRange::everything();
    let query = RangeQuery { range, at: None, limit: Some(2), content: Content::KeysOnly };
    let answer = write.range(&query).unwrap().unwrap();
    assert_eq!((answer.count, answer.more, answer.kvs.len()), (3, true, 2));
    let old = RangeQuery { at: Some(Revision(11)), ..query };
    assert!(matches!(write.range(&old).unwrap(), Err(ReadError::Future { .. })));
    write.abandon().unwrap();
    bench.publish();
    assert_eq!(bench.store.snapshot().revision(), Revision(9));
    assert_eq!(bench.get("a", 9).unwrap().as_deref(), Some("a8"));
    assert_eq!(bench.get("new", 9).unwrap(), None);
    bench.put("a", "after");
    assert_eq!(bench.events(9).len(), 2);
}

#[test]
fn a_full_disk_is_fatal_and_names_what_failed() {
    let mut bench = Bench::new();
    bench.disk.set_capacity(Some(40 << 10));
    let mut failure = None;
    for n in 0..2000 {
        let mut write = bench.store.begin(Index(n));
        write.put(b"key", &[7; 100], None).unwrap();
        if let Err(error) = write.finish() {
            failure = Some(error.to_string());
            break;
        }
    }
    let failure = failure.expect("the disk is full");
    assert!(failure.contains("log-00000"), "{failure}");
}

#[test]
fn pressure_grows_with_dirty_pages_and_a_checkpoint_takes_it_away() {
    let mut bench = Bench::new();
    assert!(
        !bench.store.checkpoint_due(u64::MAX, std::time::Duration::MAX, false),
        "nothing changed"
    );
    for n in 0..6000 {
        bench.put(&format!("key{n}"), "v");
    }
    let pressure = bench.store.pressure();
    assert!(pressure.dirty_bytes > pressure.budget / 4, "{pressure:?}");
    assert!(bench.store.checkpoint_due(0, std::time::Duration::ZERO, false));
    checkpoint(&mut bench.store).unwrap();
    assert!(bench.store.pressure().dirty_bytes < pressure.dirty_bytes / 10);
    assert!(
        !bench.store.checkpoint_due(0, std::time::Duration::MAX, false),
        "nothing changed since"
    );
}

#[test]
fn a_member_that_is_killed_every_few_seconds_replays_a_bounded_log() {
    let mut bench = Bench::new();
    bench.put("key", "value");
    let now = std::time::Duration::ZERO;
    let replayed = Options::tiny().checkpoint_log_bytes / 64;
    assert!(bench.store.checkpoint_due(replayed, now, true), "the first one of a run comes early");
    assert!(!bench.store.checkpoint_due(replayed, now, false), "later ones do not");
    assert!(!bench.store.checkpoint_due(replayed / 64, now, true), "nor at every start");
}
