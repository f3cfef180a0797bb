//! Damaged files: never taken for sound ones, never for the end of the log, never a panic.

use super::*;

use std::path::PathBuf;

use kstore_host::OpenMode;
use kstore_testkit::Prng;
use kstore_testkit::disk::CrashPolicy;

use crate::wal::base::Base;
use crate::wal::format::{
    BLOCK, GROUP_HEADER_BYTES, GroupHeader, Record, SEGMENT_HEADER_BYTES, SegmentHeader, seal_group,
};
use crate::wal::recover::find;
use crate::wal::{Cut, WalReadError};

/// A cleanly closed log with some of everything in it, of several segments.
fn closed_log() -> SimDisk {
    let bench = Bench::new();
    bench.wal.save_vote(Bytes::from_static(b"first"), bench.told.note(0));
    for start in (0..40).step_by(4) {
        bench.append(1, start..start + 4);
        bench.run();
    }
    bench.wal.save_committed(position(1, 30));
    bench.wal.truncate_after(Some(position(1, 35)));
    bench.append(2, 36..40);
    bench.run();
    bench.wal.purge(position(1, 20));
    bench.run();
    let bench = Bench::on(&bench.close());
    bench.append(3, 40..44);
    bench.wal.save_vote(Bytes::from_static(b"second"), bench.told.note(0));
    bench.run();
    bench.wal.save_committed(position(3, 42));
    bench.close()
}

/// What a log holds, without opening it: the ends, and all entries.
fn contents(disk: &SimDisk) -> Result<Option<(Recovered, Vec<Entry>)>, OpenError> {
    let found = find(disk, Path::new(DIR), OpenMode::Read, u64::MAX, None)?;
    Ok(found.map(|found| {
        let start = found.view.tail_start();
        let entries = found.view.tail_from(start, Index(u64::MAX), u64::MAX);
        (found.recovered(), entries)
    }))
}

/// That the error names a file of the log.
fn assert_names_a_file(error: &OpenError) {
    let text = error.to_string();
    match error {
        OpenError::Corrupt { file, .. } | OpenError::Version { file, .. } => {
            assert!(file.starts_with(DIR), "{text}");
            assert!(text.contains(file.to_str().unwrap()), "{text}");
        }
        OpenError::Io { .. } => panic!("{text}"),
    }
}

#[test]
fn every_flipped_bit_of_a_closed_log_is_refused_or_harmless() {
    let disk = closed_log();
    let whole = contents(&disk).unwrap().unwrap();
    assert_eq!(whole.0.last, Some(position(3, 43)));
    assert!(segments(&disk).len() >= 3);
    let (mut refused, mut harmless) = (0, 0);
    for name in segments(&disk) {
        let path = Path::new(DIR).join(name);
        let file = disk.open(&path, OpenMode::Read).unwrap();
        for offset in 0..file.length().unwrap() {
            for bit in 0..8 {
                disk.flip_bit(&path, offset, bit).unwrap();
                match contents(&disk) {
                    Err(error) => {
                        assert_names_a_file(&error);
                        refused += 1;
                    }
                    Ok(Some(found)) => {
                        // The last group is empty, so nothing is lost when it is cut off.
                        assert_eq!(found.1, whole.1, "{} {offset} {bit}", path.display());
                        let found = Recovered { cut: None, ..found.0 };
                        assert_eq!(found, whole.0, "{} {offset} {bit}", path.display());
                        harmless += 1;
                    }
                    Ok(None) => panic!("the log is gone: {} {offset} {bit}", path.display()),
                }
                disk.flip_bit(&path, offset, bit).unwrap();
            }
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > harmless / 2, "{refused} refused, {harmless} harmless");
}

#[test]
fn a_missing_segment_is_refused() {
    let disk = closed_log();
    let names = segments(&disk);
    let applied = Some(Index(43));
    for name in &names {
        let disk = disk.fork();
        disk.remove_file(&Path::new(DIR).join(name)).unwrap();
        let error = try_open(&disk, 1, WalOptions::tiny(), applied).err().unwrap();
        assert_names_a_file(&error);
    }
    for name in &names {
        disk.remove_file(&Path::new(DIR).join(name)).unwrap();
    }
    assert!(try_open(&disk, 1, WalOptions::tiny(), applied).is_err());
    assert!(try_open(&disk, 1, WalOptions::tiny(), None).is_ok());
}

/// Writes another sound group over the first one of a segment, as a bug might.
fn replace_first_group(disk: &SimDisk, name: &str, number: Option<u64>, base: Option<Base>) {
    let path = Path::new(DIR).join(name);
    let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    file.read_at(&mut bytes, 0).unwrap();
    let seed = SegmentHeader::decode(&bytes).unwrap().seed;
    let mut bytes = [0; GROUP_HEADER_BYTES];
    file.read_at(&mut bytes, BLOCK).unwrap();
    let header = GroupHeader::decode(&bytes, seed, BLOCK).unwrap();
    let mut body = vec![0; usize::try_from(header.length).unwrap()];
    let at = BLOCK + GROUP_HEADER_BYTES as u64;
    file.read_at(&mut body, at).unwrap();
    let (first, _) = Record::decode(&Bytes::from(body), seed, at).unwrap();
    let base = base.map_or(first, Record::Base);
    let mut group = vec![0; GROUP_HEADER_BYTES];
    base.encode(&mut group, seed, at);
    seal_group(&mut group, number.unwrap_or(header.number), 0, seed, BLOCK);
    file.write_at(&group, BLOCK).unwrap();
}

#[test]
fn a_sound_group_that_contradicts_the_ones_before_it_is_refused() {
    let disk = closed_log();
    let second = segments(&disk)[1].clone();
    let wrong_number = disk.fork();
    replace_first_group(&wrong_number, &second, Some(1000), None);
    assert_names_a_file(&contents(&wrong_number).unwrap_err());

    let wrong_base = disk.fork();
    let base = Base { vote: Some(Bytes::from_static(b"forged")), ..Base::default() };
    replace_first_group(&wrong_base, &second, None, Some(base));
    let error = contents(&wrong_base).unwrap_err();
    assert!(error.to_string().contains("contradicts"), "{error}");
}

#[test]
fn a_group_that_skips_a_number_is_refused() {
    let bench = Bench::new();
    let disk = bench.disk.crash(CrashPolicy::LoseAll);
    let name = segments(&disk)[0].clone();
    let bench = Bench::on(&disk);
    bench.append(1, 0..1);
    let disk = bench.close();
    replace_first_group(&disk, &name, Some(2), None);
    let error = contents(&disk).unwrap_err();
    assert!(error.to_string().contains("out of its order"), "{error}");
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let disk = closed_log();
    let other = new_disk(9);
    let bench = try_open(&other, 77, WalOptions::tiny(), None).unwrap();
    for index in 0..80 {
        bench.append(1, index..index + 1);
        bench.run();
    }
    let other = bench.close();
    let name = segments(&disk).last().unwrap().clone();
    assert!(segments(&other).contains(&name), "{name} {:?}", segments(&other));
    let path = Path::new(DIR).join(name);
    let from = other.open(&path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(from.length().unwrap()).unwrap()];
    from.read_at(&mut bytes, 0).unwrap();
    let to = disk.open(&path, OpenMode::ReadWrite).unwrap();
    to.write_at(&bytes, 0).unwrap();
    let error = contents(&disk).unwrap_err();
    assert!(error.to_string().contains("another log"), "{error}");
}

/// The last group of a log that was not closed: the file, where it begins, and its entries.
fn open_end() -> (SimDisk, PathBuf, u64, u64) {
    let bench = Bench::new();
    bench.append(1, 0..3);
    bench.run();
    let path = Path::new(DIR).join(segments(&bench.disk).last().unwrap());
    let offset = inspect_end(&bench.disk);
    bench.append(1, 3..5);
    bench.run();
    assert_eq!(segments(&bench.disk).len(), 1);
    (bench.disk.crash(CrashPolicy::LoseAll), path, offset, 3)
}

/// Where the last group of the log ends.
fn inspect_end(disk: &SimDisk) -> u64 {
    let disk = disk.fork();
    drop(Bench::on(&disk));
    let path = Path::new(DIR).join(&segments(&disk)[0]);
    disk.open(&path, OpenMode::Read).unwrap().length().unwrap()
}

#[test]
fn a_torn_tail_is_cut_off_and_never_comes_back() {
    let (disk, path, offset, _) = open_end();
    disk.flip_bit(&path, offset + 100, 3).unwrap();
    let bench = Bench::on(&disk);
    assert_eq!(bench.recovered.cut, Some(Cut { file: path.clone(), offset }));
    assert_eq!(bench.all(), [(1, 0), (1, 1), (1, 2)]);
    bench.append(2, 3..4);
    let disk = bench.close();
    let bench = Bench::on(&disk);
    assert_eq!(bench.recovered.cut, None);
    assert_eq!(bench.all(), [(1, 0), (1, 1), (1, 2), (2, 3)]);
}

#[test]
fn what_a_checkpoint_applied_is_no_torn_tail() {
    let (disk, path, offset, _) = open_end();
    disk.flip_bit(&path, offset + 100, 3).unwrap();
    match try_open(&disk, 1, WalOptions::tiny(), Some(Index(3))) {
        Err(OpenError::Corrupt { file, offset: at, .. }) => assert_eq!((file, at), (path, offset)),
        other => panic!("{:?}", other.err()),
    }
    assert!(try_open(&disk, 1, WalOptions::tiny(), Some(Index(2))).is_ok());
}

#[test]
fn what_an_idle_log_put_on_record_is_no_torn_tail() {
    let bench = Bench::new();
    bench.append(1, 0..3);
    bench.run();
    let path = Path::new(DIR).join(&segments(&bench.disk)[0]);
    bench.wal.idle_tick();
    bench.wal.idle_tick();
    bench.run();
    let disk = bench.disk.crash(CrashPolicy::LoseAll);
    disk.flip_bit(&path, 1024 + 100, 3).unwrap();
    match contents(&disk) {
        Err(OpenError::Corrupt { file, offset, .. }) => assert_eq!((file, offset), (path, 1024)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_announced_image_takes_its_proof_from_the_checkpoint_at_its_place() {
    let bench = Bench::new();
    bench.append(1, 0..3);
    bench.wal.expect_image(position(5, 100), bench.told.note(100));
    bench.run();
    assert_eq!(bench.told.last_ok(), Some(100));
    let disk = bench.disk.crash(CrashPolicy::LoseAll);
    assert!(try_open(&disk.fork(), 1, WalOptions::tiny(), Some(Index(99))).is_err());
    let bench = try_open(&disk, 1, WalOptions::tiny(), Some(Index(100))).unwrap();
    bench.wal.purge(position(5, 100));
    bench.append(5, 101..102);
    let bench = try_open(&bench.close(), 1, WalOptions::tiny(), Some(Index(101))).unwrap();
    assert_eq!(bench.all(), [(5, 101)]);
}

#[test]
fn a_damaged_entry_is_never_answered() {
    let bench = Bench::new();
    bench.append(1, 0..100);
    bench.run();
    let path = Path::new(DIR).join(&segments(&bench.disk)[1]);
    for offset in 512..2048 {
        bench.disk.flip_bit(&path, offset, 5).unwrap();
        let mut next = 0;
        loop {
            match bench.wal.read(Index(next), Index(100), 500, Access::Disk) {
                Ok(entries) if entries.is_empty() => break,
                Ok(entries) => {
                    for found in &entries {
                        assert_eq!(found, &entry(1, next));
                        next += 1;
                    }
                }
                Err(WalReadError::Damaged(damage)) => {
                    assert!(path.ends_with(damage.file));
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        bench.disk.flip_bit(&path, offset, 5).unwrap();
    }
    assert_eq!(bench.all().len(), 100);
}

#[test]
fn no_bytes_make_recovery_panic_or_invent_an_entry() {
    for seed in 0..3000 {
        let mut random = Prng::of("damaged wal", seed);
        let disk = closed_log_of(seed % 8);
        let whole = contents(&disk).unwrap().unwrap();
        for _ in 0..random.between(1, 4) {
            let names = segments(&disk);
            let path = Path::new(DIR).join(random.pick(&names));
            let file = disk.open(&path, OpenMode::ReadWrite).unwrap();
            let length = file.length().unwrap();
            if random.one_in(4) {
                file.set_length(random.below(length + 600)).unwrap();
                continue;
            }
            let mut bytes = vec![0; random.index(700)];
            match random.below(3) {
                0 => random.fill(&mut bytes),
                1 => {}
                // What was written elsewhere: a write that went astray.
                _ => drop(file.read_at(&mut bytes, random.below(length / 512 + 1) * 512).unwrap()),
            }
            let block = random.below(length / 512 + 1) * 512;
            let at = if random.one_in(2) { block } else { random.below(length + 1) };
            file.write_at(&bytes, at).unwrap();
        }
        match contents(&disk) {
            Ok(None) => panic!("seed {seed}: the log is gone"),
            Ok(Some((_, entries))) => {
                for (found, written) in entries.iter().zip(&whole.1) {
                    assert_eq!(found.position.index, written.position.index, "seed {seed}");
                }
                let all_known = entries.iter().all(known);
                assert!(all_known, "seed {seed}");
            }
            Err(OpenError::Io { doing, source, .. }) => panic!("seed {seed}: {doing}: {source}"),
            Err(error) => assert_names_a_file(&error),
        }
    }
}

fn known(found: &Entry) -> bool {
    *found == entry(found.position.term.0, found.position.index.0)
}

thread_local! {
    static LOGS: Vec<SimDisk> = vec![closed_log()];
}

/// One of a few closed logs.
fn closed_log_of(number: u64) -> SimDisk {
    LOGS.with(|logs| logs[usize::try_from(number).unwrap() % logs.len()].fork())
}
