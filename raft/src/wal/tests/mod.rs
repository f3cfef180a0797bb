//! What the log promises, tried out on a simulated disk with a lane that runs when it is told to.

mod crash;
mod damage;
mod model;
mod plain;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use kstore_host::{Disk, Job, Lane};
use kstore_mvcc::{Access, Index, Position, Term};
use kstore_testkit::{SimDisk, SimRandom};

use super::{Entry, OnFlushed, OpenError, Recovered, Wal, WalOptions};

const DIR: &str = "/data/wal";

/// A lane whose jobs run when the test says so.
#[derive(Default)]
struct ManualLane {
    jobs: Mutex<VecDeque<Job>>,
}

impl std::fmt::Debug for ManualLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ManualLane")
    }
}

impl Lane for ManualLane {
    fn push(&self, job: Job) {
        self.jobs.lock().unwrap().push_back(job);
    }
}

impl ManualLane {
    /// Runs the oldest job; whether there was one.
    fn run_one(&self) -> bool {
        let job = self.jobs.lock().unwrap().pop_front();
        let ran = job.is_some();
        if let Some(job) = job {
            job();
        }
        ran
    }

    fn run_all(&self) {
        while self.run_one() {}
    }

    fn waiting(&self) -> usize {
        self.jobs.lock().unwrap().len()
    }
}

/// A number, and what the callback that has it was told.
type Answer = (u64, Result<(), io::ErrorKind>);

/// What callbacks were told, in the order in which they were called.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Answer>>>);

impl Told {
    /// A callback that notes what it is told under this number.
    fn note(&self, number: u64) -> OnFlushed {
        let told = Arc::clone(&self.0);
        Box::new(move |result| told.lock().unwrap().push((number, result.map_err(|e| e.kind()))))
    }

    fn all(&self) -> Vec<Answer> {
        self.0.lock().unwrap().clone()
    }

    /// The last number that was told of success.
    fn last_ok(&self) -> Option<u64> {
        self.all().iter().filter(|(_, result)| result.is_ok()).map(|(number, _)| *number).max()
    }
}

/// An open log and what it stands on.
struct Bench {
    disk: SimDisk,
    lane: Arc<ManualLane>,
    wal: Wal,
    recovered: Recovered,
    told: Told,
}

fn try_open(
    disk: &SimDisk,
    seed: u64,
    options: WalOptions,
    applied: Option<Index>,
) -> Result<Bench, OpenError> {
    let lane = Arc::new(ManualLane::default());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let random = SimRandom::new(seed);
    let for_wal = Arc::clone(&lane) as Arc<dyn Lane>;
    let (wal, recovered) = Wal::open(&shared, Path::new(DIR), for_wal, &random, options, applied)?;
    Ok(Bench { disk: disk.clone(), lane, wal, recovered, told: Told::default() })
}

fn new_disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

impl Bench {
    /// A new log on a new disk.
    fn new() -> Self {
        Self::on(&new_disk(1))
    }

    /// The log on `disk`.
    fn on(disk: &SimDisk) -> Self {
        try_open(disk, disk.operations(), WalOptions::tiny(), None).unwrap()
    }

    /// Appends entries of one term with these indices.
    fn append(&self, term: u64, indices: std::ops::Range<u64>) {
        let number = indices.end;
        let entries = indices.map(|index| entry(term, index)).collect();
        self.wal.append(entries, self.told.note(number));
    }

    fn run(&self) {
        self.lane.run_all();
    }

    /// Closes the log cleanly.
    fn close(self) -> SimDisk {
        self.wal.close(self.told.note(u64::MAX));
        self.run();
        assert_eq!(self.told.all().last(), Some(&(u64::MAX, Ok(()))));
        self.disk
    }

    /// All entries, read from wherever they are, as (term, index).
    fn all(&self) -> Vec<(u64, u64)> {
        read_all(&self.wal, u64::MAX).iter().map(numbers).collect()
    }
}

fn numbers(entry: &Entry) -> (u64, u64) {
    (entry.position.term.0, entry.position.index.0)
}

/// All entries, in reads of `bytes_max`.
fn read_all(wal: &Wal, bytes_max: u64) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut next = wal.purged().map_or(0, |purged| purged.index.0 + 1);
    loop {
        let read = || wal.read(Index(next), Index(u64::MAX), bytes_max, Access::Disk);
        // A failed read spoils nothing: it may be tried again.
        let more = read().or_else(|_| read()).unwrap();
        let Some(last) = more.last() else { return entries };
        next = last.position.index.0 + 1;
        entries.extend(more);
    }
}

fn position(term: u64, index: u64) -> Position {
    Position { term: Term(term), index: Index(index) }
}

/// An entry whose payload tells which one it is.
fn entry(term: u64, index: u64) -> Entry {
    let length = usize::try_from(index * 37 % 200).unwrap();
    let mut payload = format!("entry {term}:{index} ").into_bytes();
    payload.resize(payload.len() + length, b'.');
    Entry { position: position(term, index), payload: Bytes::from(payload) }
}

/// Names of the segments, oldest first.
fn segments(disk: &SimDisk) -> Vec<String> {
    let names = disk.read_dir(Path::new(DIR)).unwrap();
    names.into_iter().map(|entry| entry.name).filter(|name| name.starts_with("wal-0")).collect()
}
