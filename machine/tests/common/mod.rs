//! What the tests of the machine share: a machine on a simulated disk, scripts, random commands.

#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may")]

pub mod model;
pub mod random;
pub mod script;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use kstore_machine::command::{Command, Envelope};
use kstore_machine::{Applied, EventBatch, Machine, Rejected, Reply, Wants};
use kstore_mvcc::{
    Index, Lineage, Options, Position, Snapshot, Store, StoreId, StoreIdentity, Term,
};
use kstore_testkit::SimDisk;
use kstore_testkit::disk::{Applied as Carried, CrashPolicy};

/// A machine, with the log that it applied.
pub struct World {
    pub disk: SimDisk,
    pub options: Options,
    pub machine: Machine,
    pub log: Vec<Bytes>,
    pub wants: Wants,
    pub snapshot: Snapshot,
    pub batches: Vec<EventBatch>,
}

pub fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn open(disk: &SimDisk, options: &Options) -> Machine {
    let fresh = StoreIdentity { lineage: Lineage(1), store: StoreId(2) };
    let disk = Arc::new(disk.clone());
    let (store, _) = Store::open(disk, Path::new("/data"), options.clone(), fresh).unwrap();
    Machine::open(store).unwrap()
}

impl World {
    pub fn new() -> Self {
        Self::with(Options::tiny())
    }

    pub fn with(options: Options) -> Self {
        let disk = SimDisk::new(1);
        let machine = open(&disk, &options);
        let snapshot = machine.store().reader().snapshot();
        let (log, batches) = (Vec::new(), Vec::new());
        Self { disk, options, machine, log, wants: Wants::Reply, snapshot, batches }
    }

    pub fn next_position(&self) -> Position {
        Position { term: Term(1), index: Index(self.log.len() as u64) }
    }

    /// Applies without publishing.
    pub fn apply(&mut self, command: Command) -> Applied {
        let payload = Envelope::new(7, self.log.len() as u64, command).encode_to_bytes();
        let position = self.next_position();
        self.log.push(payload.clone());
        self.machine.apply(position, &payload, self.wants).unwrap()
    }

    pub fn publish(&mut self) {
        let published = self.machine.publish();
        self.snapshot = published.snapshot;
        self.batches = published.batches;
    }

    /// Applies and publishes.
    pub fn run(&mut self, command: Command) -> Result<Reply, Rejected> {
        let applied = self.apply(command);
        self.publish();
        applied.reply
    }

    pub fn checkpoint(&mut self) {
        let Some(job) = self.machine.store_mut().prepare_checkpoint().unwrap() else { return };
        let done = job.run().unwrap();
        self.machine.store_mut().finish_checkpoint(done).unwrap();
    }

    /// A checkpoint in which the power is cut after `changes` changes of the disk, or which just
    /// goes through if that is late enough.
    pub fn checkpoint_in_a_storm(&mut self, changes: u64) {
        let store = self.machine.store_mut();
        let Ok(Some(job)) = store.prepare_checkpoint() else { return };
        self.disk.cut_power_after(changes, Carried::No);
        if let Ok(done) = job.run() {
            // May fail if the power goes just here; then the member would stop, and so do we.
            let _ = store.finish_checkpoint(done);
        }
    }

    /// Closes the store, opens it again, and applies what it lacks.
    pub fn reopen(self) -> Self {
        let disk = self.disk.clone();
        self.over(disk)
    }

    /// Loses what was not synced, or some of it, and recovers.
    pub fn crash(self, policy: CrashPolicy) -> Self {
        let disk = self.disk.crash(policy);
        self.over(disk)
    }

    fn over(self, disk: SimDisk) -> Self {
        let Self { options, machine, log, wants, .. } = self;
        drop(machine);
        let mut machine = open(&disk, &options);
        let from = machine.applied().map_or(0, |position| position.index.0 + 1);
        for (index, payload) in log.iter().enumerate().skip(usize::try_from(from).unwrap()) {
            let position = Position { term: Term(1), index: Index(index as u64) };
            machine.apply(position, payload, wants).unwrap();
        }
        let mut snapshot = machine.store().reader().snapshot();
        if machine.applied().is_some() {
            snapshot = machine.publish().snapshot;
        }
        Self { disk, options, machine, log, wants, snapshot, batches: Vec::new() }
    }
}
