//! Images: the stream, the directory, and what is installed from them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;
use std::sync::Arc;

use kstore_host::Disk;
use kstore_mvcc::{
    Image, ImageError, ImageReceiver, Options, ReceivedImage, Restart, Store, StoreId, install,
};
use kstore_testkit::disk::{Applied, CrashPolicy, Sector};
use kstore_testkit::{Prng, SimDisk};
use support::model::Model;
use support::script::{Command, apply, random_command};
use support::{DATA, applied, chain, checkpoint, new_disk, open, position};

struct Source {
    disk: SimDisk,
    store: Store,
    script: Vec<Command>,
}

fn source(seed: u64, commands: usize) -> Source {
    let disk = new_disk(seed);
    let (store, _) = open(&disk, &Options::tiny(), seed).unwrap();
    let mut source = Source { disk, store, script: Vec::new() };
    source.go_on(seed, commands);
    assert!(checkpoint(&mut source.store).unwrap());
    source
}

impl Source {
    fn go_on(&mut self, seed: u64, commands: usize) {
        let mut prng = Prng::new(seed);
        for _ in 0..commands {
            let index = self.script.len();
            self.script.push(random_command(&mut prng, 60));
            apply(&mut self.store, index, &self.script[index]).unwrap();
            self.store.publish(position(index), chain(index));
        }
    }

    fn model(&self, commands: usize) -> Model {
        let mut model = Model::new();
        for command in &self.script[..commands] {
            model.apply(command);
        }
        model
    }
}

fn stream(image: &Image) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reader = image.reader();
    while let Some(piece) = reader.next_piece().unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(bytes.len() as u64, image.length());
    bytes
}

fn receive(disk: &SimDisk, bytes: &[u8], prng: &mut Prng) -> Result<ReceivedImage, ImageError> {
    let mut receiver = ImageReceiver::begin(Arc::new(disk.clone()), Path::new("/data/incoming"))?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece = rest.len().min(1 + prng.index(5000));
        receiver.write(&rest[..piece])?;
        rest = &rest[piece..];
    }
    receiver.finish()
}

#[test]
fn a_streamed_image_becomes_the_store_of_another_member() {
    let mut source = source(1, 400);
    let image = source.store.image().unwrap();
    assert_eq!(applied(image.info().position), 400);
    // The source goes on while the image is sent.
    source.go_on(2, 300);
    checkpoint(&mut source.store).unwrap();
    let bytes = stream(&image);
    let mut prng = Prng::new(3);
    let other = new_disk(4);
    let (mut store, _) = open(&other, &Options::tiny(), 4).unwrap();
    for (index, command) in source.script[..50].iter().enumerate() {
        apply(&mut store, index, command).unwrap();
    }
    store.publish(position(49), chain(49));
    checkpoint(&mut store).unwrap();
    drop(store);
    let received = receive(&other, &bytes, &mut prng).unwrap();
    assert_eq!(received.info(), image.info());
    install(&other, Path::new(DATA), &received, StoreId(5), Restart::SameCluster).unwrap();
    received.remove(&other).unwrap();
    let (mut store, opening) = open(&other, &Options::tiny(), 6).unwrap();
    assert_eq!(applied(opening.position), 400);
    assert_eq!(applied(opening.second_position), 400, "both newest roots are the image's");
    assert_eq!(opening.chain, chain(399));
    assert_eq!(other.read_dir(Path::new(DATA)).unwrap().len(), 1, "the old home is gone");
    source.model(400).check_all(&store.snapshot());
    for (index, command) in source.script.iter().enumerate().skip(400) {
        apply(&mut store, index, command).unwrap();
    }
    store.publish(position(699), chain(699));
    checkpoint(&mut store).unwrap();
    source.model(700).check_all(&store.snapshot());
    let disk: Arc<dyn Disk> = Arc::new(other.clone());
    assert_eq!(kstore_mvcc::verify(&disk, Path::new(DATA)).unwrap().damages, []);
    let ours = source.store.snapshot().hash_kv(None).unwrap();
    assert_eq!(store.snapshot().hash_kv(None).unwrap(), ours);
}

#[test]
fn the_directory_form_is_restored_as_a_new_cluster_and_stays_as_it_is() {
    let source = source(10, 300);
    let image = source.store.image().unwrap();
    let dir = Path::new("/backup");
    image.write_dir(&source.disk, dir).unwrap();
    assert!(image.write_dir(&source.disk, dir).is_err(), "a directory with something in it");
    let backup = ReceivedImage::open(&source.disk, dir).unwrap();
    let files = |disk: &SimDisk| {
        let all = disk.files().into_iter();
        all.filter(|(path, _)| path.starts_with(dir)).collect::<Vec<_>>()
    };
    let before = files(&source.disk);
    // The restored store lies in the same file system and shares sealed files with the backup.
    let home = Path::new("/restored");
    source.disk.create_dir(home).unwrap();
    let installed = install(&source.disk, home, &backup, StoreId(11), Restart::NewCluster).unwrap();
    assert_eq!(installed.info.position, None);
    let disk = Arc::new(source.disk.clone());
    let (mut store, opening) =
        Store::open(disk, home, Options::tiny(), support::identity(12)).unwrap();
    assert_eq!((opening.position, opening.fell_back), (None, None));
    source.model(300).check_all(&store.snapshot());
    let mut prng = Prng::new(13);
    for index in 0..200 {
        apply(&mut store, index, &random_command(&mut prng, 60)).unwrap();
        store.publish(position(index), chain(index));
    }
    checkpoint(&mut store).unwrap();
    ReceivedImage::open(&source.disk, dir).expect("the backup did not change");
    assert_eq!(files(&source.disk), before);
}

#[test]
fn a_damaged_cut_or_foreign_stream_is_refused() {
    let source = source(20, 120);
    let bytes = stream(&source.store.image().unwrap());
    let mut prng = Prng::new(21);
    let disk = new_disk(22);
    receive(&disk, &bytes, &mut prng).expect("as it is, it is fine");
    for _ in 0..60 {
        let mut damaged = bytes.clone();
        let at = prng.index(damaged.len());
        damaged[at] ^= 1 << prng.below(8);
        assert!(receive(&disk, &damaged, &mut prng).is_err(), "byte {at}");
        let cut = prng.index(bytes.len());
        assert!(receive(&disk, &bytes[..cut], &mut prng).is_err(), "cut at {cut}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(receive(&disk, &longer, &mut prng).is_err());
    let mut other = bytes;
    other[8] = 7;
    let error = receive(&disk, &other, &mut prng).unwrap_err();
    assert!(matches!(error, ImageError::OtherFormat { found: 7, expected: 1 }), "{error}");
}

#[test]
fn a_crash_while_an_image_is_installed_leaves_the_old_store_or_the_new_one() {
    let source = source(30, 150);
    let bytes = stream(&source.store.image().unwrap());
    let mut prng = Prng::new(31);
    let base = new_disk(32);
    let (mut store, _) = open(&base, &Options::tiny(), 33).unwrap();
    for (index, command) in source.script[..40].iter().enumerate() {
        apply(&mut store, index, command).unwrap();
    }
    store.publish(position(39), chain(39));
    checkpoint(&mut store).unwrap();
    drop(store);
    let (mut old, mut new) = (0, 0);
    for point in 1.. {
        let disk = base.fork();
        disk.reseed(point);
        disk.cut_power_after(point, if point % 2 == 0 { Applied::Yes } else { Applied::No });
        let outcome = receive(&disk, &bytes, &mut prng).and_then(|received| {
            install(&disk, Path::new(DATA), &received, StoreId(34), Restart::SameCluster)
        });
        let finished = !disk.is_cut();
        assert_eq!(finished, outcome.is_ok());
        let disk = disk.crash(CrashPolicy::RandomSubset { tear: Sector::Bytes512 });
        let (store, opening) = open(&disk, &Options::tiny(), point).unwrap();
        let done = applied(opening.position);
        assert!(done == 150 || (done == 40 && !finished), "{opening:?}");
        if done == 40 {
            old += 1
        } else {
            new += 1
        }
        source.model(done).check_all(&store.snapshot());
        if finished {
            break;
        }
    }
    println!("{old} times the old store, {new} times the new one");
    assert!(old > 10 && new >= 1);
}

#[test]
fn an_image_keeps_its_files_while_it_lives() {
    let mut source = source(40, 150);
    source.go_on(41, 60);
    // A crash cuts the log: the newest root names a file that the next one will not.
    let Source { disk, script, .. } = source;
    let disk = disk.crash(CrashPolicy::KeepAll);
    let (store, opening) = open(&disk, &Options::tiny(), 42).unwrap();
    let done = applied(opening.position);
    assert_eq!(done, 150);
    let mut source = Source { disk, store, script: script[..done].to_vec() };
    let image = source.store.image().unwrap();
    for round in 0..3 {
        source.go_on(43 + round, 20);
        assert!(checkpoint(&mut source.store).unwrap());
    }
    let bytes = stream(&image);
    let other = new_disk(44);
    let received = receive(&other, &bytes, &mut Prng::new(45)).unwrap();
    install(&other, Path::new(DATA), &received, StoreId(46), Restart::SameCluster).unwrap();
    let (store, _) = open(&other, &Options::tiny(), 47).unwrap();
    source.model(150).check_all(&store.snapshot());
    let named = |disk: &SimDisk| {
        let logs =
            disk.files().into_iter().filter(|(path, _)| path.to_str().unwrap().contains("log-"));
        logs.count()
    };
    let held = named(&source.disk);
    drop(image);
    source.go_on(50, 1);
    assert!(checkpoint(&mut source.store).unwrap());
    assert_eq!(named(&source.disk), held - 1, "the file that was cut goes");
}
