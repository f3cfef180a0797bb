//! Power cuts, one after the other, under a load that rolls, splits, merges, compacts and leases.
//!
//! ```text
//!   serve ─► all that was acknowledged is there ─► load ─► cut ─► look at the disks ─► serve ...
//!                                                   └ at once, amid a checkpoint, or at some
//!                                                     change of the disk, perhaps of the start
//! ```
//!
//! And for each acknowledged write: a quorum of disks has written to its log, and synced that, after
//! the write was handed in and before it was answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kstore_testkit::Prng;
use kstore_testkit::disk::{Applied, CrashPolicy, Sector};
use kstore_testkit::sim::{HARNESS, World, WorldOptions, now, sleep};

use super::RunOptions;
use super::check::{self, Ledger};
use super::clients::{self, Load};
use super::cluster::{self, CHECKPOINT, Cluster};
use super::history::History;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct PowerOptions {
    /// Everything is drawn from it.
    pub seed: u64,
    /// How many members.
    pub members: u64,
    /// How many cuts.
    pub cuts: u64,
}

/// What it came to.
#[derive(Debug, Clone)]
pub struct PowerReport {
    /// The seed.
    pub seed: u64,
    /// What was violated; empty when all is well.
    pub violations: Vec<String>,
    /// How often each rare thing happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// A hash of every decision of the run.
    pub trace: u64,
}

/// What a run under power cuts must have seen, or it has shown nothing.
pub const POWER_NEEDS: [&str; 15] = [
    "checkpoints",
    "cuts amid a checkpoint",
    "cuts that lose all",
    "cuts that keep a prefix",
    "cuts that tear at 512 bytes",
    "cuts that tear at 4 KiB",
    "revision segments begun",
    "log segments rolled",
    "log segments purged",
    "state trees with more pages",
    "state trees with fewer pages",
    "compactions",
    "ranges deleted",
    "leases granted",
    "leases revoked",
];

/// How long a cluster may take to serve again.
const SERVE: Duration = Duration::from_secs(30);

/// How long it may take to converge at the end.
const CONVERGE: Duration = Duration::from_secs(20);

/// Runs one seed.
#[must_use]
pub fn power(options: &PowerOptions) -> PowerReport {
    let PowerOptions { seed, members, .. } = *options;
    let world = World::new(seed, WorldOptions::default());
    let history = Arc::new(History::default());
    let run = RunOptions { seed, members, duration: Duration::ZERO };
    let cluster = Arc::new(Cluster::new(&world, &run, Arc::clone(&history)));
    world.enter(HARNESS, || {
        cluster.start_all();
        clients::spawn(&cluster, Load::CHURN, seed, Duration::MAX);
        cluster::spawn_inspector(&cluster);
    });
    let prng = world.prng(seed ^ 0xb01d_0000);
    let cutter = Cutter {
        cluster: Arc::clone(&cluster),
        prng,
        ledger: Ledger::default(),
        counts: BTreeMap::new(),
    };
    let cuts = options.cuts;
    let mut counts = world.block_on(cutter.run(cuts));
    check::offline(&cluster);
    for (what, count) in cluster.tallies().into_iter().chain(history.seen().done.clone()) {
        *counts.entry(what).or_insert(0) += count;
    }
    let begun = counts.get("log segments begun").copied().unwrap_or(0);
    let starts = counts.get("starts").copied().unwrap_or(0);
    // Each start begins one.
    counts.insert("log segments rolled", begun.saturating_sub(starts));
    counts.insert("writes acknowledged", history.counts().acknowledged);
    let report =
        PowerReport { seed, violations: history.violations(), counts, trace: world.trace_hash() };
    world.shut_down();
    report
}

struct Cutter {
    cluster: Arc<Cluster>,
    prng: Prng,
    ledger: Ledger,
    counts: BTreeMap<&'static str, u64>,
}

impl Cutter {
    async fn run(mut self, cuts: u64) -> BTreeMap<&'static str, u64> {
        for _ in 0..cuts {
            if !self.serve().await {
                break;
            }
            self.load_and_cut().await;
        }
        self.cluster.heal();
        self.serve().await;
        self.cluster.silence();
        let until = now() + CONVERGE;
        while now() < until && !self.cluster.has_converged() {
            sleep(Duration::from_millis(20)).await;
        }
        check::after_heal(&self.cluster).await;
        self.check_proofs();
        self.counts
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_insert(0) += 1;
    }

    /// Waits until every member answers a linearizable read, and checks what each has kept.
    async fn serve(&mut self) -> bool {
        let until = now() + SERVE;
        for number in self.cluster.numbers() {
            while !check::after_cut(&self.cluster, number, &mut self.ledger).await {
                if now() >= until {
                    let text = self.cluster.describe();
                    let history = &self.cluster.history;
                    history.violate(format!("member {number} does not serve again: {text}"));
                    return false;
                }
                sleep(Duration::from_millis(5)).await;
            }
        }
        self.check_proofs();
        true
    }

    /// Each answered proposal has its proof.
    fn check_proofs(&mut self) {
        self.cluster.follow_disks();
        let quorum = self.cluster.numbers().len() / 2 + 1;
        let answered = std::mem::take(&mut self.cluster.history.seen().answered);
        for proposal in answered {
            let proofs = self.cluster.proofs(proposal);
            if proofs < quorum {
                self.cluster.history.violate(format!(
                    "proposal {proposal} was answered when {proofs} disks had synced anything \
                     since it was handed in"
                ));
            }
            self.count("answers with a sync before them");
        }
    }

    fn policy(&mut self) -> CrashPolicy {
        let (what, policy) = match self.prng.below(9) {
            0 => ("cuts that keep all", CrashPolicy::KeepAll),
            1 | 2 => ("cuts that lose all", CrashPolicy::LoseAll),
            3 | 4 => ("cuts that keep a prefix", CrashPolicy::Prefix),
            5 | 6 => {
                let tear = Sector::Bytes4096;
                ("cuts that tear at 4 KiB", CrashPolicy::RandomSubset { tear })
            }
            _ => {
                let tear = Sector::Bytes512;
                ("cuts that tear at 512 bytes", CrashPolicy::RandomSubset { tear })
            }
        };
        self.count(what);
        policy
    }

    async fn load_and_cut(&mut self) {
        let numbers = self.cluster.numbers();
        let one = *self.prng.pick(&numbers);
        // With three members the power goes for all, or for one of them.
        let victims = if self.prng.one_in(3) { vec![one] } else { numbers };
        let load = match self.prng.below(10) {
            0..3 => self.prng.between(1, 30),
            3..9 => self.prng.between(30, 500),
            _ => self.prng.between(500, 2000),
        };
        sleep(Duration::from_millis(load)).await;
        match self.prng.below(3) {
            0 => {}
            1 => self.until(2000, |cluster| cluster.is_checkpointing(one)).await,
            _ => {
                let disk = self.cluster.disk(one);
                disk.cut_power_after(self.prng.between(1, 40), self.applied());
                self.until(300, |_| disk.is_cut()).await;
            }
        }
        self.cut(&victims);
        self.pause().await;
        if self.prng.one_in(4) {
            // The start writes, too, and the power goes again.
            let disk = self.cluster.disk(one);
            disk.cut_power_after(self.prng.between(1, 25), self.applied());
            self.cluster.start(one);
            self.until(100, |_| disk.is_cut()).await;
            self.count("cuts at a start");
            self.cut(&[one]);
            self.pause().await;
        }
        self.cluster.start_all();
    }

    fn applied(&mut self) -> Applied {
        if self.prng.one_in(2) { Applied::Yes } else { Applied::No }
    }

    async fn pause(&mut self) {
        let time = self.prng.between(1, 50);
        sleep(Duration::from_millis(time)).await;
    }

    /// Waits until `done`, but not longer than so many milliseconds.
    async fn until(&self, most: u64, done: impl Fn(&Cluster) -> bool) {
        let until = now() + Duration::from_millis(most);
        while now() < until && !done(&self.cluster) {
            sleep(Duration::from_micros(300)).await;
        }
    }

    fn cut(&mut self, victims: &[u64]) {
        for number in victims {
            if self.cluster.is_checkpointing(*number) {
                self.count("cuts amid a checkpoint");
            }
            let policy = self.policy();
            self.cluster.cut_power(*number, CHECKPOINT, policy);
        }
        self.count("cuts");
    }
}
