//! Store and naive model side by side: random commands, checkpoints, sweeps, crashes and restarts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "a random test says its seed")]

mod support;

use std::path::Path;
use std::sync::Arc;

use kstore_host::Disk;
use kstore_mvcc::{CheckpointJob, Options, Snapshot, Store, verify};
use kstore_testkit::disk::{CrashPolicy, Sector};
use kstore_testkit::{Prng, SimDisk};
use support::model::Model;
use support::script::{Command, apply, random_command};
use support::{DATA, applied, chain, checkpoint, new_disk, open, position};

struct Run {
    prng: Prng,
    disk: SimDisk,
    options: Options,
    store: Store,
    commands: Vec<Command>,
    model: Model,
    /// How many commands are applied; some may not be published.
    done: usize,
    job: Option<CheckpointJob>,
    keys: u64,
    /// Snapshots taken long ago, and what they must still answer.
    held: Vec<(Snapshot, Model)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let disk = new_disk(seed);
        let options = Options::tiny();
        let (store, opening) = open(&disk, &options, seed).unwrap();
        assert_eq!(opening.position, None);
        let mut prng = Prng::new(seed);
        let keys = *prng.pick(&[5, 60, 400]);
        let model = Model::new();
        let (commands, held) = (Vec::new(), Vec::new());
        Self { prng, disk, options, store, commands, model, done: 0, job: None, keys, held }
    }

    fn publish(&mut self) -> Snapshot {
        match self.done.checked_sub(1) {
            Some(last) => self.store.publish(position(last), chain(last)),
            None => self.store.snapshot(),
        }
    }

    fn command(&mut self) {
        let command = random_command(&mut self.prng, self.keys);
        self.commands.push(command);
        self.apply_next();
    }

    fn apply_next(&mut self) {
        let command = &self.commands[self.done];
        let before = self.model.records;
        self.model.apply(command);
        let finished = apply(&mut self.store, self.done, command).unwrap();
        if let Some(finished) = finished
            && !matches!(command, Command::Slices(..))
        {
            assert_eq!(finished.revision.0, self.model.revision);
            assert_eq!(finished.records, self.model.records - before);
        }
        self.done += 1;
    }

    fn step(&mut self) {
        match self.prng.below(100) {
            0..=69 => self.command(),
            70..=84 => {
                let snapshot = self.publish();
                self.model.check(&snapshot, &mut self.prng, self.keys);
            }
            85..=87 => match self.job.take() {
                None => self.job = self.store.prepare_checkpoint().unwrap(),
                Some(job) => {
                    let done = job.run().unwrap();
                    self.store.finish_checkpoint(done).unwrap();
                }
            },
            88..=92 => {
                let budget = 1 + self.prng.below(300);
                self.store.sweep(budget).unwrap();
            }
            93..=95 => {
                let snapshot = self.publish();
                self.held.push((snapshot, self.model.clone()));
                if self.held.len() > 3 {
                    self.held.remove(0);
                }
            }
            96..=97 if !self.held.is_empty() => {
                let (snapshot, model) = self.prng.pick(&self.held).clone();
                model.check(&snapshot, &mut self.prng, self.keys);
            }
            98 => self.restart(),
            _ => {}
        }
    }

    fn restart(&mut self) {
        let policy = match self.prng.below(4) {
            0 => CrashPolicy::KeepAll,
            1 => CrashPolicy::LoseAll,
            2 => CrashPolicy::RandomSubset { tear: Sector::Bytes512 },
            _ => CrashPolicy::RandomSubset { tear: Sector::Bytes4096 },
        };
        if self.prng.one_in(3) && self.job.is_none() {
            self.publish();
            checkpoint(&mut self.store).unwrap();
        }
        let durable = self.store.durable();
        self.held.clear();
        self.job = None;
        self.disk = self.disk.crash(policy);
        let (store, opening) = open(&self.disk, &self.options, self.prng.next_u64()).unwrap();
        self.store = store;
        let found = opening.position;
        assert!(found >= durable.newest, "{:?} was durable, {opening:?}", durable.newest);
        self.done = applied(opening.position);
        if self.done > 0 {
            assert_eq!(opening.chain, chain(self.done - 1));
        }
        self.model = Model::new();
        for command in &self.commands[..self.done] {
            self.model.apply(command);
        }
        self.model.check_all(&self.store.snapshot());
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        assert_eq!(verify(&disk, Path::new(DATA)).unwrap().damages, []);
        while self.done < self.commands.len() {
            self.apply_next();
        }
    }
}

fn run(seed: u64, steps: usize) {
    println!("seed {seed}");
    let mut run = Run::new(seed);
    for _ in 0..steps {
        run.step();
    }
    let snapshot = run.publish();
    run.model.check_all(&snapshot);
    run.restart();
    let snapshot = run.publish();
    run.model.check_all(&snapshot);
}

/// `SEED=17 cargo test -p kstore-mvcc --test model` replays one, `SEEDS=5000` tries more.
fn seeds(usual: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(usual),
    }
}

#[test]
fn a_random_run_answers_as_the_naive_model_does() {
    for seed in seeds(60) {
        run(seed, 600);
    }
}

#[test]
fn a_long_random_run_answers_as_the_naive_model_does() {
    run(4711, 6000);
}
