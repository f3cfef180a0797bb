//! Readers on other threads beside the writer, with caches so small that everything moves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use kstore_mvcc::{
    Access, Content, HistoryLimit, Index, KeyRange, Options, RangeQuery, Reader, Revision,
};
use kstore_testkit::Prng;
use support::{chain, checkpoint, new_disk, open, position};

const KEYS: u64 = 50;

fn value_at(revision: u64) -> Vec<u8> {
    format!("value of revision {revision} ").repeat(5).into_bytes()
}

fn key_at(revision: u64) -> String {
    format!("key {:03}", revision * 7 % KEYS)
}

/// Every revision from 2 on is one put of a known key and value.
fn read(reader: &Reader, stop: &AtomicBool, seed: u64) -> u64 {
    let mut prng = Prng::new(seed);
    let mut rounds = 0;
    let mut newest = Revision(0);
    while !stop.load(Ordering::Relaxed) {
        let snapshot = reader.snapshot();
        assert!(snapshot.revision() >= newest, "published states go forward");
        newest = snapshot.revision();
        if newest.0 < 2 {
            continue;
        }
        rounds += 1;
        let at = Revision(prng.between(1, newest.0));
        let content = Content::Values;
        let query =
            RangeQuery { range: KeyRange::everything(), at: Some(at), limit: Some(10), content };
        for kv in snapshot.range(&query, Access::Disk).unwrap().kvs {
            assert_eq!(kv.value, value_at(kv.modified.revision.0));
            assert_eq!(kv.key, key_at(kv.modified.revision.0));
            assert!(kv.modified.revision <= at);
        }
        let from = Revision(prng.between(1, newest.0));
        let limit = HistoryLimit { bytes: 5000, revisions: 30 };
        let page = snapshot.history(&KeyRange::everything(), from, limit, Access::Disk).unwrap();
        let first = from.0.max(2);
        for (n, event) in page.events.iter().enumerate() {
            assert_eq!(event.id.revision.0, first + n as u64);
            assert_eq!(event.value, value_at(event.id.revision.0));
        }
        assert_eq!(page.next.0, first + page.events.len() as u64);
    }
    rounds
}

#[test]
fn readers_on_other_threads_see_whole_states_while_everything_moves() {
    let disk = new_disk(1);
    let options = Options {
        segment_first: 4 << 10,
        segment_max: 16 << 10,
        recent_bytes: 6 << 10,
        ..Options::tiny()
    };
    let (mut store, _) = open(&disk, &options, 1).unwrap();
    let reader = store.reader();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|seed| {
                scope.spawn({
                    let (reader, stop) = (reader.clone(), &stop);
                    move || read(&reader, stop, seed)
                })
            })
            .collect();
        for index in 0..6000 {
            let revision = index as u64 + 2;
            let mut write = store.begin(Index(index as u64));
            write.put(key_at(revision).as_bytes(), &value_at(revision), None).unwrap();
            write.finish().unwrap();
            if index % 4 == 0 {
                store.publish(position(index), chain(index));
            }
            if index % 500 == 499 {
                checkpoint(&mut store).unwrap();
            }
        }
        stop.store(true, Ordering::Relaxed);
        let rounds: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(rounds > 10, "{rounds}");
    });
}
