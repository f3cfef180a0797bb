//! The machine against a naive model, over random commands: answers, events, reads at any revision,
//! leases, history; on two machines with other page and segment sizes, checkpoints, restarts,
//! crashes and questions, whose chain hashes must agree throughout.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::World;
use common::model::{Change, Model};
use common::random::Maker;
use kstore_machine::command::{Command, Txn};
use kstore_machine::range::{self, SnapshotReads};
use kstore_machine::{EventBatch, Rejected, Wants, answer_read_only, is_read_only, lease};
use kstore_mvcc::{
    Access, HistoryLimit, KeyRange, LeaseId, Options, PageOptions, Record, RecordKind, Revision,
};
use kstore_testkit::disk::{CrashPolicy, Sector};

fn changes(events: &[Record]) -> Vec<Change> {
    let change = |event: &Record| Change {
        id: event.id,
        key: event.key.clone(),
        value: (event.kind == RecordKind::Put).then(|| event.value.clone()),
        previous: event.previous,
    };
    events.iter().map(change).collect()
}

/// What one run looks at after each command.
struct Run {
    maker: Maker,
    model: Model,
    world: World,
}

impl Run {
    fn check_events(&self, revision_before: u64) {
        let expected = &self.model.changes[usize::try_from(revision_before).unwrap() + 1..];
        assert_eq!(self.world.batches.len(), expected.len());
        for (batch, expected) in self.world.batches.iter().zip(expected) {
            match batch {
                EventBatch::Named { .. } => panic!("there are few events"),
                EventBatch::Events { events, .. } => assert_eq!(&changes(events), expected),
            }
        }
    }

    fn check_range(&mut self) {
        let wanted = self.maker.range();
        let reads = SnapshotReads { snapshot: &self.world.snapshot, access: Access::Disk };
        let found = range::answer(&reads, &wanted)
            .map_err(|error| Rejected::of_read(&error).unwrap_or_else(|| panic!("{error}")));
        assert_eq!(found, self.model.range(&wanted), "{wanted:?}");
    }

    fn check_history(&mut self) {
        let keys = KeyRange::from_request(self.maker.key(), self.maker.end());
        let low = self.model.compacted.max(1);
        let mut from = Revision(low + self.maker.prng.below(self.model.revision() - low + 1));
        let first = usize::try_from(from.0).unwrap();
        let expected: Vec<Change> = self.model.changes[first..]
            .iter()
            .flatten()
            .filter(|change| keys.contains(&change.key))
            .cloned()
            .collect();
        let mut found = Vec::new();
        while from <= self.world.snapshot.revision() {
            let limit = HistoryLimit { bytes: self.maker.prng.below(500), revisions: 10 };
            let page = self.world.snapshot.history(&keys, from, limit, Access::Disk).unwrap();
            assert!(page.next > from, "a page looks at one revision at least");
            found.extend(changes(&page.events));
            from = page.next;
        }
        assert_eq!(found, expected, "{keys:?} from {first}");
    }

    fn check_leases(&self) {
        let known = lease::all(&self.world.snapshot, Access::Disk).unwrap();
        let known: Vec<_> =
            known.iter().map(|lease| (lease.id.0, (lease.granted, lease.remaining))).collect();
        let expected: Vec<_> = self.model.leases.iter().map(|(id, lease)| (*id, *lease)).collect();
        assert_eq!(known, expected);
        for id in 0..7 {
            let keys = lease::keys(&self.world.snapshot, LeaseId(id), Access::Disk).unwrap();
            let newest = self.model.states.last().unwrap().values();
            let expected: Vec<_> = newest
                .filter(|kv| kv.lease == Some(LeaseId(id)))
                .map(|kv| kv.key.clone())
                .collect();
            assert_eq!(keys, expected, "keys of lease {id}");
        }
    }

    fn check_read_only(&mut self) {
        let Command::Txn(txn) = self.maker.command() else { return };
        let empty = |txn: &Txn| kstore_machine::check_txn(txn, kstore_machine::TxnLimits::NONE);
        if !is_read_only(&txn) || empty(&txn).is_err() {
            return;
        }
        let reads = SnapshotReads { snapshot: &self.world.snapshot, access: Access::Disk };
        let found = answer_read_only(&reads, &txn)
            .map_err(|error| Rejected::of_read(&error).unwrap_or_else(|| panic!("{error}")));
        assert_eq!(found, self.model.clone().apply(&Command::Txn(txn)));
    }
}

fn policy(maker: &mut Maker) -> CrashPolicy {
    match maker.prng.below(3) {
        0 => CrashPolicy::LoseAll,
        1 => CrashPolicy::Prefix,
        _ => CrashPolicy::RandomSubset { tear: Sector::Bytes512 },
    }
}

fn other_options(maker: &mut Maker) -> Options {
    Options {
        segment_first: 4 << maker.prng.between(10, 14),
        tail_bytes: 1 << maker.prng.between(8, 12),
        pages: PageOptions { page_bytes: 1 << maker.prng.between(9, 12), ..PageOptions::tiny() },
        ..Options::tiny()
    }
}

fn run(seed: u64) {
    let mut maker = Maker::new(seed);
    let mut twin = World::with(other_options(&mut maker));
    twin.wants = Wants::Nothing;
    let mut run = Run { maker, model: Model::new(), world: World::new() };
    for step in 0..250 {
        run.maker.revision = run.model.revision();
        let command = run.maker.command();
        let revision_before = run.model.revision();
        let expected = run.model.apply(&command);
        twin.apply(command.clone());
        let found = run.world.run(command.clone());
        assert_eq!(found, expected, "step {step}: {command:?}");
        assert_eq!(run.world.snapshot.revision().0, run.model.revision());
        assert_eq!(run.world.machine.chain(), twin.machine.chain(), "after step {step}");
        run.check_events(revision_before);
        run.check_range();
        match run.maker.prng.below(60) {
            0 => run.check_history(),
            1 => run.check_leases(),
            2..6 => run.check_read_only(),
            6 => run.world.checkpoint(),
            7 => {
                twin.publish();
                twin.checkpoint();
            }
            8 => run.world = run.world.reopen(),
            9 => {
                twin.publish();
                twin = twin.reopen();
            }
            10 => {
                twin.publish();
                twin.checkpoint_in_a_storm(run.maker.prng.below(12));
                twin = twin.crash(policy(&mut run.maker));
            }
            11 => run.world = run.world.crash(policy(&mut run.maker)),
            12..20 => twin.publish(),
            _ => {}
        }
    }
    run.check_history();
    run.check_leases();
}

#[test]
fn the_machine_does_what_the_model_does_and_two_machines_agree() {
    let seeds = match std::env::var("KSTORE_TEST_SEED") {
        Ok(seed) => vec![seed.parse().expect("KSTORE_TEST_SEED is a number")],
        Err(_) => (0..400).collect::<Vec<u64>>(),
    };
    for seed in seeds {
        println!("KSTORE_TEST_SEED={seed}");
        run(seed);
    }
}
