//! The simulated disk and this machine's answer the same to any script that no power cut interrupts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kstore_host::os::OsDisk;
use kstore_host::{Disk, File, OpenMode};
use kstore_testkit::{Prng, SimDisk};

/// A directory of this machine that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("kstore-testkit-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        OsDisk.create_dir(&path).expect("the temporary directory can be written");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is the machine's to clean up.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A disk seen from a directory of it, with the files that a script opened.
struct Side {
    disk: Arc<dyn Disk>,
    base: PathBuf,
    open: Vec<Arc<dyn File>>,
}

/// What a step answered, in words.
fn answer<T: std::fmt::Debug>(result: io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?}", error.kind()),
    }
}

#[derive(Debug, Clone)]
enum Step {
    Open(&'static str, OpenMode),
    Close(usize),
    Write(usize, u64, Vec<u8>),
    Read(usize, u64, usize),
    SetLength(usize, u64),
    Allocate(usize, u64),
    Length(usize),
    Sync(usize),
    List(&'static str),
    CreateDir(&'static str),
    RemoveFile(&'static str),
    RemoveDir(&'static str),
    Rename(&'static str, &'static str),
    Link(&'static str, &'static str),
    SyncDir(&'static str),
}

/// Few names, so that steps meet.
const NAMES: [&str; 7] = ["a", "b", "d", "d/a", "d/b", "d/e", "d/e/a"];

fn step(prng: &mut Prng) -> Step {
    let name = *prng.pick(&NAMES);
    let other = *prng.pick(&NAMES);
    let listed = *prng.pick(&["", "d", "d/e", "a"]);
    let directory = *prng.pick(&["d", "d/e"]);
    let file = prng.index(4);
    let offset = prng.below(10_000);
    match prng.below(20) {
        0 | 1 => Step::Open(name, OpenMode::CreateNew),
        2 => Step::Open(name, OpenMode::ReadWrite),
        3 => Step::Open(name, OpenMode::Read),
        4 => Step::Close(file),
        5..=7 => {
            let mut bytes = vec![0; prng.index(6000)];
            prng.fill(&mut bytes);
            Step::Write(file, offset, bytes)
        }
        8 | 9 => Step::Read(file, offset, prng.index(6000)),
        10 => Step::SetLength(file, offset),
        11 => Step::Allocate(file, offset + 1),
        12 => Step::Length(file),
        13 => Step::Sync(file),
        14 => Step::List(listed),
        15 => Step::CreateDir(directory),
        16 => Step::RemoveFile(name),
        17 => Step::RemoveDir(name),
        18 => Step::Rename(name, other),
        _ if prng.one_in(3) => Step::SyncDir(""),
        _ => Step::Link(name, other),
    }
}

impl Side {
    fn new(disk: Arc<dyn Disk>, base: &Path) -> Self {
        Self { disk, base: base.to_owned(), open: Vec::new() }
    }

    fn on_file(&self, file: usize, act: impl FnOnce(&dyn File) -> io::Result<Vec<u8>>) -> String {
        match self.open.get(file) {
            Some(file) => answer(act(file.as_ref())),
            None => "not open".to_owned(),
        }
    }

    fn take(&mut self, step: &Step) -> String {
        let at = |name: &str| self.base.join(name);
        let done = |()| Vec::new();
        match step {
            Step::Open(name, mode) => {
                let opened = self.disk.open(&at(name), *mode);
                let said = answer(opened.as_ref().map(|_| ()).map_err(|e| e.kind().into()));
                self.open.extend(opened);
                said
            }
            Step::Close(file) => {
                if *file < self.open.len() {
                    drop(self.open.remove(*file));
                }
                String::new()
            }
            Step::Write(file, offset, bytes) => {
                self.on_file(*file, |f| f.write_at(bytes, *offset).map(done))
            }
            Step::Read(file, offset, length) => self.on_file(*file, |f| {
                let mut bytes = vec![0; *length];
                let read = f.read_at(&mut bytes, *offset)?;
                bytes.truncate(read);
                Ok(bytes)
            }),
            Step::SetLength(file, length) => {
                self.on_file(*file, |f| f.set_length(*length).map(done))
            }
            Step::Allocate(file, length) => self.on_file(*file, |f| f.allocate(*length).map(done)),
            Step::Length(file) => self.on_file(*file, |f| Ok(f.length()?.to_le_bytes().to_vec())),
            Step::Sync(file) => self.on_file(*file, |f| f.sync().map(done)),
            Step::List(name) => answer(self.disk.read_dir(&at(name))),
            Step::CreateDir(name) => answer(self.disk.create_dir(&at(name))),
            Step::RemoveFile(name) => answer(self.disk.remove_file(&at(name))),
            Step::RemoveDir(name) => answer(self.disk.remove_dir(&at(name))),
            Step::Rename(from, to) => answer(self.disk.rename(&at(from), &at(to))),
            Step::Link(from, to) => answer(self.disk.link(&at(from), &at(to))),
            Step::SyncDir(name) => answer(self.disk.sync_dir(&at(name))),
        }
    }
}

#[test]
fn both_disks_answer_every_script_alike() {
    for seed in 0..150 {
        let scratch = Scratch::new();
        let mut prng = Prng::new(seed);
        let sim = SimDisk::new(seed);
        sim.create_dir(Path::new("/base")).expect("an empty disk has room");
        let mut real = Side::new(Arc::new(OsDisk), &scratch.0);
        let mut simulated = Side::new(Arc::new(sim), Path::new("/base"));
        for number in 0..120 {
            let step = step(&mut prng);
            // Linux opens directories for reading; nobody has a use for that.
            if matches!(step, Step::Open(name, OpenMode::Read) if scratch.0.join(name).is_dir()) {
                continue;
            }
            let (one, other) = (real.take(&step), simulated.take(&step));
            assert_eq!(one, other, "seed {seed}, step {number}: {step:?}");
        }
    }
}
