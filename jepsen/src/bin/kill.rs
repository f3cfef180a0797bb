//! Kills real members under load: `kill --binary target/debug/kstore --members 3 --kills 50`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kstore_host::Random;
use kstore_host::os::OsRandom;
use kstore_jepsen::kill::{Campaign, Options, Strike};
use tokio::signal::unix::{SignalKind, signal};

/// Starts a cluster of real processes, kills the leader again and again while clients write, and
/// checks that nothing acknowledged is lost.
#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// The server; one named `etcd` is started without the word `server`.
    #[arg(long)]
    binary: PathBuf,
    /// How many members: 1, which is killed itself, or more, of which the leader is.
    #[arg(long, default_value_t = 1)]
    members: u64,
    /// How many kills.
    #[arg(long, default_value_t = 5)]
    kills: u64,
    /// Replays the moments and the clients' choices, though not the processes' timing.
    #[arg(long)]
    seed: Option<u64>,
    /// How many clients.
    #[arg(long, default_value_t = 8)]
    clients: u64,
    /// The length of a heartbeat, in which outages are told.
    #[arg(long, default_value_t = 100)]
    heartbeat_ms: u64,
    /// Fails a kill after which the next write takes more heartbeats than this.
    #[arg(long)]
    heartbeats_max: Option<u64>,
    /// Where data and logs go, below which a folder is made; kept if a kill failed.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// How a campaign went.
#[derive(Debug, Default)]
struct Tally {
    passed: u64,
    outages: Vec<Duration>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.members == 0 || arguments.clients == 0 {
        eprintln!("kill: there must be a member and a client");
        return ExitCode::from(2);
    }
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("kill: start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            code = campaign(&arguments) => code,
            () = told_to_stop() => {
                eprintln!("kill: told to stop");
                ExitCode::FAILURE
            }
        }
    })
}

/// Ends the members with the program: they are children, but would live on.
async fn told_to_stop() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => std::future::pending().await,
    }
}

async fn campaign(arguments: &Arguments) -> ExitCode {
    let seed = arguments.seed.unwrap_or_else(|| OsRandom.next_u64() % 1_000_000);
    let parent = arguments.dir.clone().unwrap_or_else(std::env::temp_dir);
    let directory = parent.join(format!("kill-{}-{seed}", std::process::id()));
    let (Ok(members), Ok(clients)) =
        (usize::try_from(arguments.members), usize::try_from(arguments.clients))
    else {
        eprintln!("kill: so many do not fit into memory");
        return ExitCode::from(2);
    };
    let binary = arguments.binary.clone();
    println!(
        "{} of {members}, {} kills, {clients} clients, seed {seed}, files in {}",
        binary.display(),
        arguments.kills,
        directory.display()
    );
    let options = Options { binary, members, clients, seed, directory: directory.clone() };
    let mut tally = Tally::default();
    if let Err(stuck) = strike_all(arguments, &options, &mut tally).await {
        println!("STUCK: {stuck}");
    }
    tell(arguments, &mut tally.outages);
    let failed = arguments.kills - tally.passed;
    println!("{} passed, {failed} failed", tally.passed);
    if failed > 0 {
        println!("files are kept in {}", directory.display());
        return ExitCode::FAILURE;
    }
    if let Err(error) = std::fs::remove_dir_all(&directory) {
        eprintln!("kill: remove {}: {error}", directory.display());
    }
    ExitCode::SUCCESS
}

async fn strike_all(
    arguments: &Arguments,
    options: &Options,
    tally: &mut Tally,
) -> Result<(), kstore_jepsen::kill::Stuck> {
    let mut campaign = Campaign::start(options).await?;
    let mut last_passed = false;
    for number in 1..=arguments.kills {
        let strike = campaign.strike().await?;
        last_passed = judge(arguments, number, &strike);
        tally.passed += u64::from(last_passed);
        tally.outages.push(strike.outage);
    }
    // What the last comparison finds is held against the last kill, of all that survived.
    let held_against_last = u64::from(last_passed);
    tally.passed -= held_against_last;
    let violations = campaign.finish().await?;
    print_all(&violations);
    if violations.is_empty() {
        tally.passed += held_against_last;
    }
    let counts = campaign.counts();
    println!(
        "{} writes acknowledged, {} of unknown outcome ({} of them done), {} gets, {} leases, \
         {} revisions",
        counts.acknowledged,
        counts.unknown,
        counts.unknown_seen,
        counts.gets,
        counts.leases,
        counts.revisions
    );
    Ok(())
}

/// Tells of one kill; whether it was survived.
fn judge(arguments: &Arguments, number: u64, strike: &Strike) -> bool {
    let heartbeats = heartbeats(arguments, strike.outage);
    println!(
        "kill {number}: {}, next write after {} ms ({heartbeats:.1} heartbeats), compared up to \
         revision {}",
        strike.victim,
        strike.outage.as_millis(),
        strike.revision
    );
    print_all(&strike.violations);
    let late = arguments.heartbeats_max.is_some_and(|max| heartbeats > max as f64);
    if late {
        println!("  VIOLATION: the next write came too late");
    }
    strike.violations.is_empty() && !late
}

fn print_all(violations: &[String]) {
    for violation in violations {
        println!("  VIOLATION: {violation}");
    }
}

fn heartbeats(arguments: &Arguments, outage: Duration) -> f64 {
    outage.as_secs_f64() * 1e3 / arguments.heartbeat_ms.max(1) as f64
}

fn tell(arguments: &Arguments, outages: &mut [Duration]) {
    outages.sort();
    let Some(max) = outages.last().copied() else { return };
    // The nearest rank: the smallest that so many in a hundred do not exceed.
    let rank = |percent: usize| outages[(outages.len() * percent).div_ceil(100).max(1) - 1];
    let [p50, p99, max] = [rank(50), rank(99), max]
        .map(|time| format!("{} ms ({:.1})", time.as_millis(), heartbeats(arguments, time)));
    println!("kill to next write (in heartbeats): p50 {p50}, p99 {p99}, max {max}");
}
