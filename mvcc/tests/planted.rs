//! The planted bug is found: a root before its pages makes a store that does not open.
//! `cargo test -p kstore-mvcc --features planted --test planted`.
#![cfg(feature = "planted")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use kstore_mvcc::{Index, Options};
use kstore_testkit::disk::{Applied, CrashPolicy};
use support::{applied, chain, new_disk, open, position};

#[test]
fn a_root_before_its_pages_is_found_by_a_crash_in_between() {
    kstore_mvcc::planted::plant_root_before_pages();
    let found = (0..40).any(|point| {
        let disk = new_disk(point);
        let (mut store, _) = open(&disk, &Options::tiny(), point).unwrap();
        let mut durable = 0;
        disk.cut_power_after(point, Applied::Yes);
        for index in 0..200 {
            let mut write = store.begin(Index(index as u64));
            write.put(&[7; 20], &[1; 100], None).unwrap();
            if write.finish().is_err() {
                break;
            }
            store.publish(position(index), chain(index));
            if index % 20 != 0 {
                continue;
            }
            match support::checkpoint(&mut store) {
                Ok(_) => durable = index + 1,
                Err(_) => break,
            }
        }
        let disk = disk.crash(CrashPolicy::LoseAll);
        match open(&disk, &Options::tiny(), 1) {
            Err(_) => true,
            Ok((_, opening)) => opening.fell_back.is_some() || applied(opening.position) < durable,
        }
    });
    assert!(found, "no crash showed the planted bug");
}
