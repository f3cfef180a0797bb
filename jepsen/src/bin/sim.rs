//! Runs seeds of the simulator: `sim --seeds 20`, or `sim --seed 7` to replay one.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use kstore_jepsen::sim::{FaultClass, Report, RunOptions, run};

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
    /// How many members.
    #[arg(long, default_value_t = 3)]
    members: u64,
    /// How many of the seeds are run twice, to see that they leave the same trace.
    #[arg(long, default_value_t = 2)]
    twice: u64,
    /// Fails unless each class of fault struck in at least this many seeds.
    #[arg(long, default_value_t = 0)]
    least_per_class: u64,
    /// How many seeds run at once.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Plants a known bug: leader-restore, callback-before-sync, root-before-pages,
    /// event-before-publish. Then it is finding nothing that fails.
    #[cfg(feature = "planted")]
    #[arg(long)]
    plant: Option<String>,
}

impl Arguments {
    fn options(&self, seed: u64) -> RunOptions {
        let duration = Duration::from_secs(self.seconds);
        RunOptions { seed, members: self.members, duration }
    }

    fn replay(&self, seed: u64) -> String {
        format!(
            "cargo run -p kstore-jepsen --bin sim -- --seed {seed} --seconds {} --members {}",
            self.seconds, self.members
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
    let failed = judge(&arguments, &reports);
    #[cfg(feature = "planted")]
    if let Some(name) = &arguments.plant {
        if failed {
            println!("the planted bug {name} was found");
            return ExitCode::SUCCESS;
        }
        println!("the planted bug {name} was NOT found");
        return ExitCode::FAILURE;
    }
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

fn run_all(arguments: &Arguments, seeds: &[u64]) -> Vec<Result<Report, String>> {
    let next = AtomicU64::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(seed) = usize::try_from(place).ok().and_then(|p| seeds.get(p)) else {
                        return;
                    };
                    let report = run_once_or_twice(arguments, *seed, place);
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
    if place < arguments.twice {
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
    let (mut acknowledged, mut reads, mut events, mut passed) = (0, 0, 0, 0);
    for report in reports {
        match report {
            Ok(report) => {
                for (class, count) in &report.faults {
                    *seeds_with.entry(*class).or_insert(0) += 1;
                    *strikes.entry(*class).or_insert(0) += count;
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
    if seeds_with.values().any(|seeds| *seeds < arguments.least_per_class)
        || (arguments.least_per_class > 0 && seeds_with.len() < 10)
    {
        println!("some class of fault struck in fewer than {} seeds", arguments.least_per_class);
        failed = true;
    }
    println!("{acknowledged} writes acknowledged, {reads} reads and {events} events checked");
    let total = reports.len() as u64;
    println!("{passed} passed, {} failed", total - passed);
    failed || passed < total
}
