//! A data directory that an earlier build wrote is opened and read by this one.
//!
//! The files lie in `tests/golden`; `UPDATE_GOLDENFILES=1 cargo test -p kstore-mvcc --test golden`
//! writes them anew, which is right only together with a new format version.
#![expect(clippy::disallowed_methods, reason = "the golden files lie on a real disk")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use kstore_host::{Disk, OpenMode};
use kstore_mvcc::{Options, verify};
use kstore_testkit::{Prng, SimDisk};
use support::model::Model;
use support::script::{Command, apply, random_command};
use support::{DATA, applied, chain, checkpoint, new_disk, open, position};

const COMMANDS: usize = 600;
const COVERED: usize = 500;
const HOME: &str = "/data/store-000001";

fn options() -> Options {
    Options { segment_first: 64 << 10, segment_max: 64 << 10, ..Options::tiny() }
}

fn script() -> Vec<Command> {
    let mut prng = Prng::new(20_261_121);
    (0..COMMANDS).map(|_| random_command(&mut prng, 120)).collect()
}

fn model(script: &[Command]) -> Model {
    let mut model = Model::new();
    for command in script {
        model.apply(command);
    }
    model
}

/// Runs the script on a simulated disk: three checkpoints, and records behind the last one.
fn generate() -> SimDisk {
    let disk = new_disk(1);
    let (mut store, _) = open(&disk, &options(), 1).unwrap();
    for (index, command) in script().iter().enumerate() {
        apply(&mut store, index, command).unwrap();
        store.publish(position(index), chain(index));
        if index == 200 || index == 350 || index + 1 == COVERED {
            while !store.sweep(500).unwrap().done {}
            checkpoint(&mut store).unwrap();
        }
    }
    disk
}

fn golden_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn content(disk: &SimDisk, path: &Path, length: u64) -> Vec<u8> {
    let file = disk.open(path, OpenMode::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Writes the golden files anew if that was asked for; once, whichever test comes first.
fn update_if_asked() {
    static UPDATE: Once = Once::new();
    UPDATE.call_once(|| {
        if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
            update();
        }
    });
}

fn update() {
    let _ = fs::remove_dir_all(golden_dir());
    fs::create_dir_all(golden_dir()).unwrap();
    let disk = generate();
    for (path, length) in disk.files().into_iter().filter(|(path, _)| path.starts_with(HOME)) {
        let target = golden_dir().join(path.file_name().unwrap());
        fs::write(target, content(&disk, &path, length)).unwrap();
    }
}

/// The golden files on a simulated disk.
fn load() -> SimDisk {
    let disk = new_disk(2);
    disk.create_dir(Path::new(HOME)).unwrap();
    for entry in fs::read_dir(golden_dir()).unwrap() {
        let entry = entry.unwrap();
        let path = Path::new(HOME).join(entry.file_name());
        let file = disk.open(&path, OpenMode::CreateNew).unwrap();
        file.write_at(&fs::read(entry.path()).unwrap(), 0).unwrap();
    }
    disk
}

#[test]
fn the_golden_directory_is_opened_read_and_written_on() {
    update_if_asked();
    let script = script();
    let disk = load();
    let verified: Arc<dyn Disk> = Arc::new(disk.clone());
    assert_eq!(verify(&verified, Path::new(DATA)).unwrap().damages, []);
    let (mut store, opening) = open(&disk, &options(), 3).unwrap();
    assert_eq!((applied(opening.position), opening.fell_back), (COVERED, None));
    assert_eq!(applied(opening.second_position), 351);
    assert_eq!(opening.chain, chain(COVERED - 1));
    model(&script[..COVERED]).check_all(&store.snapshot());
    for (index, command) in script.iter().enumerate().skip(COVERED) {
        apply(&mut store, index, command).unwrap();
    }
    store.publish(position(COMMANDS - 1), chain(COMMANDS - 1));
    checkpoint(&mut store).unwrap();
    model(&script).check_all(&store.snapshot());
}

#[test]
fn this_build_writes_the_records_and_footers_of_the_golden_directory() {
    update_if_asked();
    let disk = generate();
    let mut compared = 0;
    for entry in fs::read_dir(golden_dir()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.starts_with("log-") {
            let expected = fs::read(entry.path()).unwrap();
            let path = Path::new(HOME).join(&name);
            let actual = content(&disk, &path, expected.len() as u64);
            let same = actual.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            assert_eq!(same, expected.len(), "{name} differs from byte {same} on");
            compared += 1;
        }
    }
    assert!(compared >= 2, "{compared} segments");
}
