//! Random scripts against a naive model of the log, with stops of every kind in between.

use super::*;

use std::collections::BTreeMap;

use kstore_testkit::Prng;
use kstore_testkit::disk::{CrashPolicy, Sector};

/// What a log holds, kept the obvious way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Model {
    vote: Option<Bytes>,
    committed: Option<Position>,
    purged: Option<Position>,
    entries: BTreeMap<u64, Entry>,
}

impl Model {
    pub(super) fn last(&self) -> Option<Position> {
        self.entries.last_key_value().map(|(_, entry)| entry.position).or(self.purged)
    }

    fn next(&self) -> u64 {
        self.last().map_or(0, |last| last.index.0 + 1)
    }

    /// What an open log holds, read with reads of random sizes.
    pub(super) fn of(wal: &Wal, random: &mut Prng) -> Self {
        let bytes_max = random.between(1, 2000);
        let entries = read_all(wal, bytes_max);
        for entry in &entries {
            assert_eq!(wal.term_at(entry.position.index), Some(entry.position.term));
        }
        let model = Self {
            vote: wal.vote(),
            committed: wal.committed(),
            purged: wal.purged(),
            entries: entries.into_iter().map(|entry| (entry.position.index.0, entry)).collect(),
        };
        assert_eq!(wal.last(), model.last());
        model
    }
}

/// A script that runs, and what the log may hold if it were cut off now.
pub(super) struct Script {
    pub(super) random: Prng,
    /// What the log held when it was opened, and after each record that was handed in since.
    states: Vec<Model>,
    term: u64,
}

impl Script {
    pub(super) fn new(seed: u64) -> Self {
        Self { random: Prng::of("wal script", seed), states: vec![Model::default()], term: 1 }
    }

    pub(super) fn now(&self) -> &Model {
        self.states.last().expect("there is always one")
    }

    /// The states that a power cut may leave once record number `told` was told of.
    fn allowed(&self, told: Option<u64>) -> &[Model] {
        let least = told.map_or(0, |told| usize::try_from(told).unwrap());
        &self.states[least.min(self.states.len() - 1)..]
    }

    /// An index that a checkpoint may have applied by then.
    pub(super) fn applied(&self, told: Option<u64>) -> Option<Index> {
        let lasts = self.allowed(told).iter().map(|model| model.last().map(|last| last.index));
        lasts.min().flatten()
    }

    /// Checks what was found after a stop, and goes on from there.
    pub(super) fn recover(&mut self, bench: &Bench, told: Option<u64>) {
        let found = Model::of(&bench.wal, &mut self.random);
        assert_eq!(bench.recovered.last, found.last());
        assert_eq!(bench.recovered.vote, found.vote);
        assert_eq!(bench.recovered.committed, found.committed);
        assert_eq!(bench.recovered.purged, found.purged);
        if !self.allowed(told).contains(&found) {
            panic!(
                "told of {told:?} of {} records, but found {:?}, {} entries; expected at least {:?}",
                self.states.len() - 1,
                found.last(),
                found.entries.len(),
                self.allowed(told)[0].last()
            );
        }
        self.states = vec![found];
    }

    fn push(&mut self, change: impl FnOnce(&mut Model)) {
        let mut model = self.now().clone();
        change(&mut model);
        self.states.push(model);
    }

    /// The number to note for a callback that waits for everything so far.
    fn number(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    /// Does something.
    pub(super) fn step(&mut self, bench: &Bench) {
        match self.random.below(20) {
            0..=7 => self.append(bench),
            8 => self.vote(bench),
            9..=10 => self.commit(bench),
            11 => self.truncate(bench),
            12 => self.purge(bench),
            13 => bench.wal.when_flushed(bench.told.note(self.number())),
            14 => bench.wal.idle_tick(),
            15..=16 => bench.run(),
            _ => drop(bench.lane.run_one()),
        }
    }

    fn append(&mut self, bench: &Bench) {
        self.term += u64::from(self.random.one_in(4));
        let mut entries = Vec::new();
        for _ in 0..self.random.between(0, 6) {
            let mut payload = vec![0; self.random.index(400)];
            self.random.fill(&mut payload);
            let position = position(self.term, self.now().next());
            let entry = Entry { position, payload: Bytes::from(payload) };
            entries.push(entry.clone());
            self.push(|model| drop(model.entries.insert(position.index.0, entry)));
        }
        bench.wal.append(entries, bench.told.note(self.number()));
    }

    fn vote(&mut self, bench: &Bench) {
        let vote = Bytes::from(self.random.next_u64().to_le_bytes().to_vec());
        self.push(|model| model.vote = Some(vote.clone()));
        bench.wal.save_vote(vote, bench.told.note(self.number()));
    }

    /// Some entry of the log.
    fn some_entry(&mut self) -> Option<Position> {
        let count = self.now().entries.len();
        if count == 0 {
            return None;
        }
        let place = self.random.index(count);
        self.now().entries.values().nth(place).map(|entry| entry.position)
    }

    fn commit(&mut self, bench: &Bench) {
        if let Some(position) = self.some_entry() {
            self.push(|model| model.committed = Some(position));
            bench.wal.save_committed(position);
        }
    }

    fn truncate(&mut self, bench: &Bench) {
        let after = if self.random.one_in(8) { None } else { self.some_entry() };
        self.term += 1;
        self.push(|model| {
            model.entries.retain(|index, _| after.is_some_and(|last| *index <= last.index.0));
            let last = model.last();
            model.committed = model.committed.filter(|c| last.is_some_and(|l| c.index <= l.index));
        });
        bench.wal.truncate_after(after);
    }

    fn purge(&mut self, bench: &Bench) {
        let position = if self.random.one_in(8) {
            Some(position(self.term, self.now().next() + self.random.below(5)))
        } else {
            self.some_entry()
        };
        if let Some(position) = position {
            self.push(|model| {
                model.entries.retain(|index, _| *index > position.index.0);
                model.purged = Some(position);
            });
            bench.wal.purge(position);
        }
    }
}

/// The ways for a crash to choose what survives.
pub(super) const POLICIES: [CrashPolicy; 5] = [
    CrashPolicy::LoseAll,
    CrashPolicy::KeepAll,
    CrashPolicy::Prefix,
    CrashPolicy::RandomSubset { tear: Sector::Bytes512 },
    CrashPolicy::RandomSubset { tear: Sector::Bytes4096 },
];

#[test]
fn the_log_holds_what_a_naive_model_holds_through_stops_of_every_kind() {
    for seed in 0..150 {
        println!("seed {seed}");
        let mut script = Script::new(seed);
        let mut disk = new_disk(seed);
        for _ in 0..6 {
            let bench = Bench::on(&disk);
            script.recover(&bench, None);
            for _ in 0..script.random.between(1, 60) {
                script.step(&bench);
                assert_eq!(&Model::of(&bench.wal, &mut script.random), script.now());
            }
            match script.random.below(3) {
                0 => {
                    disk = bench.close();
                    let now = script.now().clone();
                    script.states = vec![now];
                }
                // The process is killed.
                1 => disk = crash(&mut script, &bench, CrashPolicy::KeepAll),
                _ => {
                    let policy = *script.random.pick(&POLICIES);
                    disk = crash(&mut script, &bench, policy);
                }
            }
        }
    }
}

/// Ends a process, and brings the script to where the disk is.
fn crash(script: &mut Script, bench: &Bench, policy: CrashPolicy) -> SimDisk {
    let told = bench.told.last_ok();
    let disk = bench.disk.crash(policy);
    let applied = script.applied(told);
    let again = try_open(&disk, disk.operations(), WalOptions::tiny(), applied).unwrap();
    script.recover(&again, told);
    disk
}
