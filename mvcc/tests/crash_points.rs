//! Power is cut at every single change of the disk that a script makes, in several ways; after
//! each the store opens with exactly the state of its root and goes on as if nothing had been.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;
use std::sync::Arc;

use kstore_host::Disk;
use kstore_mvcc::{Fatal, Opening, Options, Store, verify};
use kstore_testkit::disk::{Applied, CrashPolicy, Fault, OpKind, Sector};
use kstore_testkit::{Prng, SimDisk};
use support::model::Model;
use support::script::{Command, apply, random_command};
use support::{DATA, applied, chain, checkpoint, new_disk, open, position};

const COMMANDS: usize = 200;
const KEYS: u64 = 60;

/// Even smaller than tiny: many writes, many segments.
fn options() -> Options {
    Options {
        segment_first: 4 << 10,
        segment_max: 16 << 10,
        tail_bytes: 300,
        recent_bytes: 4 << 10,
        ..Options::tiny()
    }
}

fn script(seed: u64) -> Vec<Command> {
    let mut prng = Prng::new(seed);
    (0..COMMANDS).map(|_| random_command(&mut prng, KEYS)).collect()
}

fn model_at(script: &[Command], done: usize) -> Model {
    let mut model = Model::new();
    for command in &script[..done] {
        model.apply(command);
    }
    model
}

/// What a run of the script has gone through.
#[derive(Debug, Default)]
struct Progress {
    /// How many commands the newest root that a checkpoint has finished covers.
    durable: usize,
    checkpoints: usize,
    swept: u64,
}

/// Runs the script from command `from` on: checkpoints overlap with commands, sweeps in between.
fn run(
    store: &mut Store,
    script: &[Command],
    from: usize,
    progress: &mut Progress,
) -> Result<(), Fatal> {
    let mut job = None;
    for (index, command) in script.iter().enumerate().skip(from) {
        apply(store, index, command)?;
        if index % 3 == 2 {
            store.publish(position(index), chain(index));
        }
        if index % 5 == 4 {
            progress.swept += store.sweep(40)?.dropped;
        }
        match index % 25 {
            20 => job = store.prepare_checkpoint()?,
            23 => {
                if let Some(job) = job.take() {
                    let done = job.run()?;
                    progress.durable = applied(done.position());
                    progress.checkpoints += 1;
                    store.finish_checkpoint(done)?;
                }
            }
            _ => {}
        }
    }
    store.publish(position(script.len() - 1), chain(script.len() - 1));
    if checkpoint(store)? {
        progress.durable = script.len();
        progress.checkpoints += 1;
    }
    Ok(())
}

/// Opens what a crash has left, checks it, and carries the script on to its end.
fn recover(disk: &SimDisk, script: &[Command], durable: usize, seed: u64) -> Opening {
    let (mut store, opening) = open(disk, &options(), seed).unwrap();
    let done = applied(opening.position);
    assert!(done >= durable, "entries up to {durable} were durable, {opening:?}");
    model_at(script, done).check_all(&store.snapshot());
    run(&mut store, script, done, &mut Progress::default()).unwrap();
    model_at(script, script.len()).check_all(&store.snapshot());
    drop(store);
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = verify(&disk, Path::new(DATA)).unwrap();
    assert_eq!(report.damages, []);
    opening
}

const POLICIES: [CrashPolicy; 5] = [
    CrashPolicy::LoseAll,
    CrashPolicy::KeepAll,
    CrashPolicy::Prefix,
    CrashPolicy::RandomSubset { tear: Sector::Bytes512 },
    CrashPolicy::RandomSubset { tear: Sector::Bytes4096 },
];

#[test]
fn power_is_cut_at_every_change_of_the_disk() {
    let seed = 42;
    println!("seed {seed}");
    let script = script(seed);
    let disk = new_disk(seed);
    let before = disk.changes();
    let mut progress = Progress::default();
    let (mut store, _) = open(&disk, &options(), seed).unwrap();
    run(&mut store, &script, 0, &mut progress).unwrap();
    let points = disk.changes();
    assert!(progress.checkpoints >= 5, "{progress:?}");
    assert!(progress.swept > 0, "{progress:?}");
    let files = disk.files();
    let segments = files.iter().filter(|(path, _)| path.to_str().unwrap().contains("log-"));
    assert!(segments.count() >= 3, "segments should roll: {files:?}");
    println!("{} crash points, {} syncs", points - before, disk.count(OpKind::Sync));
    for point in before + 1..=points {
        for (n, policy) in POLICIES.into_iter().enumerate() {
            let disk = new_disk(seed + point * 10 + n as u64);
            let cut = if n % 2 == 0 { Applied::No } else { Applied::Yes };
            disk.inject(Fault::power_cut(point, cut));
            let mut progress = Progress::default();
            let outcome = open(&disk, &options(), seed)
                .map(|(mut store, _)| run(&mut store, &script, 0, &mut progress));
            assert!(disk.is_cut(), "point {point}: {outcome:?}");
            let disk = disk.crash(policy);
            println!("point {point} {policy:?}");
            recover(&disk, &script, progress.durable, point);
        }
    }
}

#[test]
fn power_is_cut_again_while_the_store_recovers() {
    let seed = 43;
    let script = script(seed);
    let mut prng = Prng::new(seed);
    let whole = new_disk(seed);
    let before = whole.changes();
    let (mut store, _) = open(&whole, &options(), seed).unwrap();
    run(&mut store, &script, 0, &mut Progress::default()).unwrap();
    for round in 0..60 {
        println!("seed {seed} round {round}");
        let disk = new_disk(seed + round);
        let first = prng.between(before + 1, whole.changes());
        disk.inject(Fault::power_cut(first, Applied::Yes));
        let mut progress = Progress::default();
        if let Ok((mut store, _)) = open(&disk, &options(), round) {
            run(&mut store, &script, 0, &mut progress).unwrap_err();
        }
        let disk = disk.crash(CrashPolicy::KeepAll);
        // Recovery itself changes only a few things; a cut at each of them.
        let mut survivor = disk.fork();
        for point in 1..12 {
            let again = disk.fork();
            again.cut_power_after(point, Applied::Yes);
            let failed = open(&again, &options(), round + 1).map(|(mut store, opening)| {
                let done = applied(opening.position);
                run(&mut store, &script, done, &mut Progress::default())
            });
            if !again.is_cut() {
                assert!(matches!(failed, Ok(Ok(()))), "{failed:?}");
                break;
            }
            again.reseed(round * 100 + point);
            survivor = again.crash(CrashPolicy::RandomSubset { tear: Sector::Bytes512 });
            recover(&survivor.fork(), &script, progress.durable, round + 2);
        }
        recover(&survivor, &script, progress.durable, round + 2);
    }
}
