//! One run of the simulator: a cluster, clients, faults and checks, all drawn from one seed.
//!
//! ```text
//!        seed
//!         │
//!   ┌─────┴────────────── World ───────────────────────────┐
//!   │ cluster: members 1..n on SimDisk, SimNet, SimJobs      │
//!   │ clients ──ops──► members ──outcomes──► History         │
//!   │ watchers ─────► members ──events────► History          │
//!   │ witness: reads the whole revision history as it grows  │
//!   │ nemesis: crashes, pauses, cuts links, stalls disks     │
//!   └────────────────────────────────────────────────────────┘
//!         │ heal, converge
//!         ▼
//!   checks: see `check`
//! ```
//!
//! After each power cut, before the member starts again, its store is verified as the disk kept it:
//! what a whole root names must all be there. `power` is the same cluster under nothing but power
//! cuts, with more keys and a proof that a sync lies between each write and its answer.
//!
//! Segments, pages and checkpoint triggers are tiny here, so that rare paths are common.

mod check;
mod clients;
mod cluster;
mod faults;
mod history;
mod net;
mod power;
mod tally;
mod watchers;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use kstore_testkit::sim::{HARNESS, World, WorldOptions};

pub use faults::{CLASS_COUNT, FaultClass};
pub use power::{POWER_NEEDS, PowerOptions, PowerReport, power};

use clients::Load;
use cluster::Cluster;
use history::History;

/// What to run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Everything is drawn from it.
    pub seed: u64,
    /// How many members.
    pub members: u64,
    /// Simulated time under faults.
    pub duration: Duration,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What was violated; empty when all is well.
    pub violations: Vec<String>,
    /// How often each class of fault struck.
    pub faults: BTreeMap<FaultClass, u64>,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Writes whose outcome is unknown.
    pub unknown: u64,
    /// Linearizable reads that were answered and checked.
    pub reads: u64,
    /// Events that watches were given and that were checked.
    pub events: u64,
    /// The revision at the end.
    pub revision: u64,
    /// What the disks were seen doing, and how often.
    pub disks: BTreeMap<&'static str, u64>,
    /// A hash of every decision of the run.
    pub trace: u64,
}

impl Report {
    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = format!(
            "seed {}: {} acknowledged, {} unknown, {} reads, {} events, revision {}, trace {:016x};",
            self.seed,
            self.acknowledged,
            self.unknown,
            self.reads,
            self.events,
            self.revision,
            self.trace
        );
        for (class, count) in &self.faults {
            // Writing to a string cannot fail.
            let _ = write!(line, " {class}={count}");
        }
        let images = self.disks.get("images installed").copied().unwrap_or(0);
        let _ = write!(line, "; {images} images");
        line
    }
}

/// How long the cluster may take to converge once everything is healed: five elections and the
/// time that requests of before may wait.
const CONVERGE: Duration = Duration::from_secs(20);

/// Runs one seed.
#[must_use]
pub fn run(options: &RunOptions) -> Report {
    let world = World::new(options.seed, WorldOptions::default());
    let history = Arc::new(History::default());
    let cluster = Arc::new(Cluster::new(&world, options, Arc::clone(&history)));
    let end = options.duration;
    world.enter(HARNESS, || {
        cluster.start_all();
        clients::spawn(&cluster, Load::CONTENDED, options.seed, end);
        watchers::spawn(&cluster, options.seed, end);
        faults::spawn(&cluster, options.seed, end);
        cluster::spawn_inspector(&cluster);
    });
    world.run_for(end);
    world.enter(HARNESS, || cluster.heal());
    let converged = world.run_until(end + CONVERGE, || cluster.has_converged());
    if !converged {
        let text = world.enter(HARNESS, || cluster.describe());
        history.violate(format!("no convergence: {text}"));
    }
    let finished = Arc::clone(&cluster);
    world.block_on(async move { check::after_heal(&finished).await });
    check::offline(&cluster);
    let trace = world.trace_hash();
    let report = report(options.seed, &cluster, trace);
    world.shut_down();
    report
}

fn report(seed: u64, cluster: &Cluster, trace: u64) -> Report {
    let history = &cluster.history;
    let counts = history.counts();
    Report {
        seed,
        violations: history.violations(),
        faults: cluster.fault_counts(),
        acknowledged: counts.acknowledged,
        unknown: counts.unknown,
        reads: counts.reads,
        events: counts.events,
        revision: counts.revision,
        disks: cluster.tallies(),
        trace,
    }
}
