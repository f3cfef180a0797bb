//! Runs seeds of the simulator: `sim --seeds 20`, or `sim --seed 7` to replay one.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use kstore_jepsen::sim::{CLASS_COUNT, FaultClass, Report, RunOptions, run};

/// Runs a whole cluster in one process from a seed, under faults, and checks what it did.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Runs only this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Simulated seconds under faults.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How many members; without it three, but one in every fifth seed.
    #[arg(long)]
    members: Option<u64>,
    /// How many of the seeds are run twice, to see that they leave the same trace.
    #[arg(long, default_value_t = 2)]
    twice: u64,
    /// Fails unless each class of fault struck in at least this many seeds, and an image was
    /// installed in some.
    #[arg(long, default_value_t = 0)]
    least_per_class: u64,
    /// How many seeds run at once.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Plants a known bug: leader-restore, callback-before-sync, root-before-pages,
    /// event-before-publish. Seeds are run until one finds it; to find nothing is what fails.
    #[cfg(feature = "planted")]
    #[arg(long)]
    plant: Option<String>,
}

impl Arguments {
    fn options(&self, seed: u64) -> RunOptions {
        let duration = Duration::from_secs(self.seconds);
        RunOptions { seed, members: self.members_of(seed), duration }
    }

    fn members_of(&self, seed: u64) -> u64 {
        self.members.unwrap_or(if seed.is_multiple_of(5) { 1 } else { 3 })
    }

    /// The bug that is planted.
    fn planted(&self) -> Option<&str> {
        #[cfg(feature = "planted")]
        return self.plant.as_deref();
        #[cfg(not(feature = "planted"))]
        None
    }

    fn replay(&self, seed: u64) -> String {
        format!(
            "cargo run -p kstore-jepsen --bin sim -- --seed {seed} --seconds {} --members {}",
            self.seconds,
            self.members_of(seed)
        )
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    #[cfg(feature = "planted")]
    if let Some(name) = &arguments.plant {
        let Some(bug) = kstore_raft::planted::Bug::from_name(name) else {
            println!("no such bug: {name}");
            return ExitCode::from(2);
        };
        kstore_raft::planted::plant(bug);
    }
    let seeds: Vec<u64> = match arguments.seed {
        Some(seed) => vec![seed],
        None => (arguments.first..arguments.first + arguments.seeds).collect(),
    };
    let reports = run_all(&arguments, &seeds);
    if let Some(name) = arguments.planted() {
        let found = reports.iter().position(is_wrong);
        let run = reports.len();
        return match found.and_then(|place| seeds.get(place)) {
            Some(seed) => {
                reports.iter().filter_map(|report| report.as_ref().err()).for_each(|error| {
                    println!("{error}");
                });
                println!("the planted bug {name} was found by seed {seed}; {run} seeds were run");
                ExitCode::SUCCESS
            }
            None => {
                println!("the planted bug {name} was NOT found by {run} seeds");
                ExitCode::FAILURE
            }
        };
    }
    let failed = judge(&arguments, &reports);
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// A run of its own thread: the simulated world is the thread's.
fn run_apart(options: RunOptions) -> Result<Report, String> {
    let seed = options.seed;
    let thread = std::thread::Builder::new().name(format!("seed-{seed}"));
    let thread = thread.spawn(move || run(&options)).map_err(|e| e.to_string())?;
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        format!("seed {seed} panicked: {}", text.unwrap_or_default())
    })
}

/// Whether a run found something.
fn is_wrong(report: &Result<Report, String>) -> bool {
    report.as_ref().map_or(true, |report| !report.violations.is_empty())
}

fn run_all(arguments: &Arguments, seeds: &[u64]) -> Vec<Result<Report, String>> {
    let next = AtomicU64::new(0);
    // Set once a planted bug is found: the other seeds need not be run.
    let found = AtomicBool::new(false);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(seed) = usize::try_from(place).ok().and_then(|p| seeds.get(p)) else {
                        return;
                    };
                    if found.load(Ordering::Relaxed) {
                        return;
                    }
                    let report = run_once_or_twice(arguments, *seed, place);
                    let enough = arguments.planted().is_some() && is_wrong(&report);
                    found.fetch_or(enough, Ordering::Relaxed);
                    if let Ok(mut results) = results.lock() {
                        results.insert(place, report);
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_default().into_values().collect()
}

fn run_once_or_twice(arguments: &Arguments, seed: u64, place: u64) -> Result<Report, String> {
    let mut report = run_apart(arguments.options(seed))?;
    println!("{}", report.line());
    if place < arguments.twice && arguments.planted().is_none() {
        let again = run_apart(arguments.options(seed))?;
        if again.trace != report.trace {
            report.violations.push(format!("seed {seed} left another trace the second time"));
        }
    }
    for violation in &report.violations {
        println!("  VIOLATION: {violation}");
    }
    if !report.violations.is_empty() {
        println!("  replay: {}", arguments.replay(seed));
    }
    Ok(report)
}

/// Prints the totals; whether anything is wrong.
fn judge(arguments: &Arguments, reports: &[Result<Report, String>]) -> bool {
    let mut failed = false;
    let mut seeds_with: BTreeMap<FaultClass, u64> = BTreeMap::new();
    let mut strikes: BTreeMap<FaultClass, u64> = BTreeMap::new();
    let mut disks: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut acknowledged, mut reads, mut events, mut passed) = (0, 0, 0, 0);
    for report in reports {
        match report {
            Ok(report) => {
                for (class, count) in &report.faults {
                    *seeds_with.entry(*class).or_insert(0) += 1;
                    *strikes.entry(*class).or_insert(0) += count;
                }
                for (what, count) in &report.disks {
                    *disks.entry(*what).or_insert(0) += count;
                }
                acknowledged += report.acknowledged;
                reads += report.reads;
                events += report.events;
                passed += u64::from(report.violations.is_empty());
            }
            Err(error) => println!("{error}"),
        }
    }
    println!("faults, as class: strikes (seeds)");
    for (class, count) in &strikes {
        println!("  {class}: {count} ({})", seeds_with[class]);
    }
    println!("what the disks were seen doing");
    for (what, count) in &disks {
        println!("  {what}: {count}");
    }
    let least = arguments.least_per_class;
    if least > 0 {
        if seeds_with.len() < CLASS_COUNT || seeds_with.values().any(|seeds| *seeds < least) {
            println!("some class of fault struck in fewer than {least} seeds");
            failed = true;
        }
        if disks.get("images installed").is_none_or(|count| *count == 0) {
            println!("no image was installed");
            failed = true;
        }
    }
    println!("{acknowledged} writes acknowledged, {reads} reads and {events} events checked");
    let total = reports.len() as u64;
    println!("{passed} passed, {} failed", total - passed);
    failed || passed < total
}
