//! Power cuts on the simulated disk: `power --cuts 1000 --members 3`. A run that finds something
//! says how to replay it.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use kstore_jepsen::sim::{POWER_NEEDS, PowerOptions, PowerReport, power};

/// Cuts the power of members under load, many times, and checks what they kept.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// How many cuts in all.
    #[arg(long, default_value_t = 100)]
    cuts: u64,
    /// How many members the cluster has.
    #[arg(long, default_value_t = 1)]
    members: u64,
    /// The seed of the first run; those after it have the seeds that follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many cuts a run has before the next begins with empty disks.
    #[arg(long, default_value_t = 25)]
    cuts_per_run: u64,
    /// How many runs go on at once.
    #[arg(long, default_value_t = 2)]
    threads: u64,
    /// Plants a known bug, as `sim` does. Then it is finding nothing that fails.
    #[cfg(feature = "planted")]
    #[arg(long)]
    plant: Option<String>,
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
        let found = judge(&run_all(&arguments));
        println!("the planted bug {name} was {}", if found { "found" } else { "NOT found" });
        return if found { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let failed = judge(&run_all(&arguments));
    println!("{}", if failed { "FAILED" } else { "passed" });
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints the totals; whether anything is wrong.
fn judge(reports: &[Result<PowerReport, String>]) -> bool {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let mut failed = false;
    for report in reports {
        match report {
            Ok(report) => {
                for (what, count) in &report.counts {
                    *counts.entry(*what).or_insert(0) += count;
                }
                failed |= !report.violations.is_empty();
            }
            Err(error) => {
                println!("{error}");
                failed = true;
            }
        }
    }
    for (what, count) in &counts {
        println!("  {what}: {count}");
    }
    for need in POWER_NEEDS {
        if counts.get(need).is_none_or(|count| *count == 0) {
            println!("there were no {need}: this run shows little");
            failed = true;
        }
    }
    failed
}

/// A run in a thread of its own: the simulated world is the thread's.
fn run_apart(options: PowerOptions) -> Result<PowerReport, String> {
    let seed = options.seed;
    let thread = std::thread::Builder::new().name(format!("seed-{seed}"));
    let thread = thread.spawn(move || power(&options)).map_err(|e| e.to_string())?;
    thread.join().map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        format!("seed {seed} panicked: {}", text.unwrap_or_default())
    })
}

fn run_all(arguments: &Arguments) -> Vec<Result<PowerReport, String>> {
    let per_run = arguments.cuts_per_run.max(1);
    let runs = arguments.cuts.div_ceil(per_run);
    let next = AtomicU64::new(0);
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let run = next.fetch_add(1, Ordering::Relaxed);
                    if run >= runs {
                        return;
                    }
                    let cuts = per_run.min(arguments.cuts - run * per_run);
                    let seed = arguments.seed + run;
                    let members = arguments.members;
                    let report = run_apart(PowerOptions { seed, members, cuts });
                    if let Ok(report) = &report {
                        tell(arguments, report, cuts);
                    }
                    if let Ok(mut results) = results.lock() {
                        results.insert(run, report);
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_default().into_values().collect()
}

fn tell(arguments: &Arguments, report: &PowerReport, cuts: u64) {
    let count = |what: &str| report.counts.get(what).copied().unwrap_or(0);
    println!(
        "seed {}: {} cuts, {} writes acknowledged, {} answers with a sync before them, trace {:016x}",
        report.seed,
        count("cuts"),
        count("writes acknowledged"),
        count("answers with a sync before them"),
        report.trace
    );
    for violation in &report.violations {
        println!("  VIOLATION: {violation}");
    }
    if !report.violations.is_empty() {
        println!(
            "  replay: cargo run -p kstore-jepsen --bin power -- --seed {} --cuts {cuts} \
             --cuts-per-run {cuts} --members {}",
            report.seed, arguments.members
        );
    }
}
