//! The members of a run: started, crashed, started again on what their disks kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstore_host::Disk;
use kstore_mvcc::{Access, HistoryLimit, KeyRange, RecordKind, Revision};
use kstore_raft::bootstrap::InitialMember;
use kstore_raft::wal::WalOptions;
use kstore_raft::{BoxFuture, HostParts, Member, Role, StartOptions};
use kstore_testkit::SimDisk;
use kstore_testkit::disk::CrashPolicy;
use kstore_testkit::sim::{
    HARNESS, JobOptions, Latency, LinkOptions, SimJobs, SimNet, SimRuntime, World, sleep,
};
use kstore_watch::HubOptions;
use tokio::sync::oneshot;

use super::RunOptions;
use super::faults::FaultClass;
use super::history::{History, Told};
use super::net::{self, SimPeerNet};
use super::tally::{ImageStage, Tally};

/// One member's machine.
struct Node {
    disk: SimDisk,
    jobs: Option<SimJobs>,
    member: Option<Member>,
    /// How often it was started.
    lives: u64,
    /// Whether it should be running.
    is_up: bool,
    /// Whether it ever served: then there is a store on its disk.
    has_served: bool,
    /// Whether the power went since its store was last looked at.
    was_cut: bool,
    /// Pages of its state tree when its store was last looked at.
    pages: u64,
    tally: Tally,
}

impl Node {
    fn follow_disk(&mut self) {
        self.tally.follow(self.disk.take_log());
    }
}

/// The lane of checkpoints.
pub(super) const CHECKPOINT: &str = "checkpoint";

/// The lane where commands are applied and images installed.
pub(super) const APPLY: &str = "apply";

/// The members' data directory.
const DATA: &str = "/data";

/// All of them.
pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) net: SimNet,
    pub(super) history: Arc<History>,
    seed: u64,
    numbers: Arc<BTreeMap<String, u64>>,
    nodes: BTreeMap<u64, Mutex<Node>>,
    counts: Mutex<BTreeMap<FaultClass, u64>>,
    /// How many proposals there were.
    proposals: AtomicU64,
    /// How many clients have not ended.
    clients: AtomicU64,
    /// Set once they are to end.
    silent: AtomicBool,
    /// Set once the members are told to stop: then they may end.
    ending: AtomicBool,
}

fn url(number: u64) -> String {
    format!("http://member-{number}:2380")
}

fn micros(least: u64, most: u64, slow_one_in: u64, slow: u64) -> Latency {
    Latency {
        least: Duration::from_micros(least),
        most: Duration::from_micros(most),
        slow_one_in,
        slow: Duration::from_micros(slow),
    }
}

/// How long the jobs of a member take.
fn job_options() -> JobOptions {
    let lanes = BTreeMap::from([
        ("wal".to_owned(), micros(100, 3_000, 50, 60_000)),
        ("apply".to_owned(), micros(20, 2_000, 100, 20_000)),
        // So long that many a crash finds one under way.
        ("checkpoint".to_owned(), micros(5_000, 150_000, 20, 500_000)),
    ]);
    JobOptions { lanes, ..JobOptions::default() }
}

impl Cluster {
    pub(super) fn new(world: &World, options: &RunOptions, history: Arc<History>) -> Self {
        let numbers: BTreeMap<String, u64> = (1..=options.members).map(|n| (url(n), n)).collect();
        let node = |number: u64| {
            let disk = SimDisk::new(options.seed.wrapping_mul(31).wrapping_add(number));
            disk.start_log();
            Node {
                disk,
                jobs: None,
                member: None,
                lives: 0,
                is_up: false,
                has_served: false,
                was_cut: false,
                pages: 0,
                tally: Tally::default(),
            }
        };
        Self {
            world: world.clone(),
            net: SimNet::new(world, options.seed, LinkOptions::default()),
            history,
            seed: options.seed,
            numbers: Arc::new(numbers),
            nodes: (1..=options.members).map(|n| (n, Mutex::new(node(n)))).collect(),
            counts: Mutex::default(),
            proposals: AtomicU64::new(0),
            clients: AtomicU64::new(0),
            silent: AtomicBool::new(false),
            ending: AtomicBool::new(false),
        }
    }

    /// The numbers of all members.
    pub(super) fn numbers(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    fn node(&self, number: u64) -> MutexGuard<'_, Node> {
        self.nodes[&number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn options(&self, number: u64) -> StartOptions {
        let cluster = self
            .numbers
            .values()
            .map(|n| InitialMember { name: format!("m{n}"), peer_urls: vec![url(*n)] })
            .collect();
        let mut options =
            StartOptions::new(format!("m{number}"), PathBuf::from(DATA), cluster, "sim".into());
        options.store = kstore_mvcc::Options::tiny();
        options.store.checkpoint_interval = Duration::from_millis(700);
        options.wal = WalOptions::tiny();
        options.hub = HubOptions { window_weight: 4096, queue_weight: 2048, page_weight: 2048 };
        options.kept_entries = 20;
        options
    }

    pub(super) fn start_all(self: &Arc<Self>) {
        for number in self.numbers() {
            self.start(number);
        }
    }

    /// Starts a member on what its disk holds. It serves some virtual time later.
    pub(super) fn start(self: &Arc<Self>, number: u64) {
        let mut node = self.node(number);
        if node.is_up {
            return;
        }
        if std::mem::take(&mut node.was_cut) {
            self.look_at(number, &mut node);
        }
        node.is_up = true;
        node.lives += 1;
        let life = node.lives;
        let seed = self.seed ^ (number << 32) ^ life;
        let jobs = SimJobs::new(&self.world, number, seed, job_options());
        node.jobs = Some(jobs.clone());
        let host = HostParts {
            disk: Arc::new(node.disk.clone()),
            clock: Arc::new(self.world.clock(number)),
            random: Arc::new(self.world.random(number)),
            jobs: Arc::new(jobs),
        };
        drop(node);
        let net =
            SimPeerNet { net: self.net.clone(), from: number, numbers: Arc::clone(&self.numbers) };
        let options = self.options(number);
        let cluster = Arc::clone(self);
        self.world.spawn_on(number, async move {
            match kstore_raft::start::<SimRuntime, _>(options, host, net).await {
                Ok(member) => {
                    net::serve(&cluster.net, number, member.clone());
                    let mut node = cluster.node(number);
                    node.member = Some(member);
                    node.has_served = true;
                }
                // The power went as it started, and the nemesis knows.
                Err(_) if cluster.disk(number).is_cut() => {}
                Err(error) => cluster
                    .history
                    .violate(format!("member {number} does not start (life {life}): {error}")),
            }
        });
    }

    /// The power of a member goes; what was not synced is kept or lost by `policy`. A job of this
    /// lane, if one is in progress, is what the cut finds half done.
    pub(super) fn cut_power(&self, number: u64, lane: &str, policy: CrashPolicy) {
        let mut node = self.node(number);
        if !node.is_up {
            return;
        }
        node.is_up = false;
        node.was_cut = true;
        if let Some(jobs) = node.jobs.take() {
            jobs.cut_power_amid(&node.disk, lane);
        }
        self.net.stop_serving(number);
        node.member = None;
        node.follow_disk();
        node.tally.cut();
        node.disk = node.disk.crash(policy);
    }

    /// Looks at the store that a power cut left, before anybody repairs it.
    ///
    /// A root that was being written may be torn, so one slot may be damaged. Everything that a
    /// whole root names was durable before it was written: to find that missing, and to go back
    /// to the root before, is for disks that lose what they had synced.
    fn look_at(&self, number: u64, node: &mut Node) {
        let disk: Arc<dyn Disk> = Arc::new(node.disk.clone());
        match kstore_mvcc::verify(&disk, Path::new(DATA)) {
            Ok(report) => {
                let (torn, others): (Vec<_>, Vec<_>) =
                    report.damages.iter().partition(|damage| damage.file == "root");
                if torn.len() > 1 || !others.is_empty() {
                    let damages = &report.damages;
                    self.history.violate(format!(
                        "member {number} has damage after a power cut (life {}): {damages:?}",
                        node.lives
                    ));
                }
                if !torn.is_empty() {
                    node.tally.count("torn roots");
                }
                match report.pages.cmp(&node.pages) {
                    std::cmp::Ordering::Greater => node.tally.count("state trees with more pages"),
                    std::cmp::Ordering::Less => node.tally.count("state trees with fewer pages"),
                    std::cmp::Ordering::Equal => {}
                }
                node.pages = report.pages;
                node.tally.count("stores verified after a cut");
            }
            // Nothing was ever promised.
            Err(_) if !node.has_served => {}
            Err(error) => self.history.violate(format!(
                "member {number} does not verify after a power cut (life {}): {error}",
                node.lives
            )),
        }
    }

    /// Whether a member is writing a checkpoint.
    pub(super) fn is_checkpointing(&self, number: u64) -> bool {
        self.node(number).jobs.as_ref().is_some_and(|jobs| jobs.is_busy(CHECKPOINT))
    }

    /// How far an image on its way to a member is.
    pub(super) fn image_stage(&self, number: u64) -> ImageStage {
        let mut node = self.node(number);
        node.follow_disk();
        node.tally.stage
    }

    /// Takes in what the disks did.
    pub(super) fn follow_disks(&self) {
        self.numbers().into_iter().for_each(|number| self.node(number).follow_disk());
    }

    /// How often each thing was seen happening on any disk.
    pub(super) fn tallies(&self) -> BTreeMap<&'static str, u64> {
        self.follow_disks();
        let mut sums = BTreeMap::new();
        for number in self.numbers() {
            let node = self.node(number);
            for (what, count) in &node.tally.counts {
                *sums.entry(*what).or_insert(0) += count;
            }
            *sums.entry("starts").or_insert(0) += node.lives;
        }
        sums
    }

    /// On how many disks a write to the log and its sync lie between question and answer.
    pub(super) fn proofs(&self, proposal: u64) -> usize {
        let numbers = self.numbers().into_iter();
        numbers.filter(|number| self.node(*number).tally.take_proof(proposal)).count()
    }

    /// A number for a proposal.
    pub(super) fn next_proposal(&self) -> u64 {
        self.proposals.fetch_add(1, Ordering::Relaxed)
    }

    /// A client begins.
    pub(super) fn client_begins(&self) {
        self.clients.fetch_add(1, Ordering::Relaxed);
    }

    /// A client has ended, with its last operation.
    pub(super) fn client_ends(&self) {
        self.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Lets the clients end.
    pub(super) fn silence(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Whether the clients are to end.
    pub(super) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// The process is killed; the machine, and what was written, stays.
    pub(super) fn kill(&self, number: u64) {
        let mut node = self.node(number);
        if !node.is_up {
            return;
        }
        node.is_up = false;
        node.jobs = None;
        self.world.kill(number);
        self.net.stop_serving(number);
        node.member = None;
        node.disk = node.disk.crash(CrashPolicy::KeepAll);
    }

    /// The member's disk answers nothing until then.
    pub(super) fn stall_disk(&self, number: u64, until: Duration) {
        if let Some(jobs) = &self.node(number).jobs {
            jobs.stall_until(until);
        }
    }

    /// The member, if it serves.
    pub(super) fn member(&self, number: u64) -> Option<Member> {
        self.node(number).member.clone()
    }

    /// Runs an operation on a member, in its own life: when the member dies the operation dies
    /// with it. `None`: the member is down, died, or took longer than `limit`.
    pub(super) async fn on<T: Send + 'static>(
        &self,
        number: u64,
        limit: Duration,
        operation: impl FnOnce(Member) -> BoxFuture<'static, T> + Send + 'static,
    ) -> Option<T> {
        let member = self.member(number)?;
        let (sender, receiver) = oneshot::channel();
        self.world.spawn_on(number, async move {
            drop(sender.send(operation(member).await));
        });
        let timer = sleep(limit);
        futures_util::pin_mut!(timer);
        match futures_util::future::select(receiver, timer).await {
            futures_util::future::Either::Left((answer, _)) => answer.ok(),
            futures_util::future::Either::Right(_) => None,
        }
    }

    /// Counts a fault.
    pub(super) fn count(&self, class: FaultClass) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(class).or_insert(0) += 1;
    }

    pub(super) fn fault_counts(&self) -> BTreeMap<FaultClass, u64> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends every fault and starts whoever is down.
    pub(super) fn heal(self: &Arc<Self>) {
        self.net.heal();
        self.net.set_options(LinkOptions::default());
        for number in self.numbers() {
            self.world.resume(number);
            self.start(number);
        }
    }

    /// Whether the clients have ended, and all members serve, know one leader, and have applied
    /// the same entry.
    pub(super) fn has_converged(&self) -> bool {
        if self.clients.load(Ordering::Relaxed) > 0 {
            return false;
        }
        let mut states = Vec::new();
        for number in self.numbers() {
            let Some(member) = self.member(number) else { return false };
            let status = member.status();
            if status.leader.is_none() || status.applied_index != status.committed_index {
                return false;
            }
            states.push((status.leader, status.applied_index, status.last_index));
        }
        states.windows(2).all(|pair| pair[0] == pair[1])
    }

    /// Where the members stand, for people.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for number in self.numbers() {
            let line = match self.member(number) {
                None => format!("{number}: not serving; "),
                Some(member) => {
                    let s = member.status();
                    format!(
                        "{number}: {:?} term {} leader {:?} last {:?} committed {:?} applied {:?} fatal {:?}; ",
                        s.role,
                        s.term.0,
                        s.leader,
                        s.last_index,
                        s.committed_index,
                        s.applied_index,
                        s.fatal
                    )
                }
            };
            // Writing to a string cannot fail.
            let _ = text.write_str(&line);
        }
        text
    }

    /// Ends the members cleanly, so that their stores can be verified.
    pub(super) async fn stop_all(&self) {
        self.ending.store(true, Ordering::SeqCst);
        for number in self.numbers() {
            let stopped = self.on(number, Duration::from_secs(30), |member| {
                Box::pin(async move { member.stop().await })
            });
            if stopped.await.is_none() {
                self.history.violate(format!("member {number} does not stop"));
            }
        }
    }

    pub(super) fn disk(&self, number: u64) -> SimDisk {
        self.node(number).disk.clone()
    }

    /// Reads what happened since the witness last looked, from any member that serves.
    pub(super) fn witness(&self, number: u64) {
        let Some(member) = self.member(number) else { return };
        let view = member.snapshot();
        loop {
            let from = self.history.seen().told_below;
            if from > view.revision().0 {
                return;
            }
            let limit = HistoryLimit { bytes: 1 << 20, revisions: 1000 };
            let page = view.history(&KeyRange::everything(), Revision(from), limit, Access::Disk);
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    self.history
                        .violate(format!("member {number} lost history at {from}: {error}"));
                    return;
                }
            };
            let mut seen = self.history.seen();
            seen.told.extend(page.events.iter().map(told));
            seen.told_below = page.next.0;
        }
    }

    /// Looks at a member: its chain hash, its leadership, its end.
    pub(super) fn inspect(&self, number: u64) {
        let Some(member) = self.member(number) else { return };
        if self.disk(number).is_cut() {
            return;
        }
        let view = member.snapshot();
        if let Some(position) = view.position() {
            self.history.chain(number, position.index.0, view.chain().0);
        }
        let status = member.status();
        if status.role == Role::Leader {
            self.history.leader(number, status.term.0);
        }
        if let Some(fatal) = status.fatal
            && !self.ending.load(Ordering::SeqCst)
        {
            self.history.violate(format!("member {number} ended by itself: {fatal}"));
        }
    }
}

/// A record as the checks compare it.
pub(super) fn told(record: &kstore_mvcc::Record) -> Told {
    let is_put = matches!(record.kind, RecordKind::Put);
    Told {
        revision: record.id.revision.0,
        sub: record.id.sub.0,
        key: record.key.clone(),
        value: is_put.then(|| record.value.clone()),
        version: record.version,
    }
}

/// Looks at all members every now and then.
pub(super) fn spawn_inspector(cluster: &Arc<Cluster>) {
    let cluster = Arc::clone(cluster);
    let world = cluster.world.clone();
    world.spawn_on(HARNESS, async move {
        let mut turn: usize = 0;
        loop {
            sleep(Duration::from_millis(7)).await;
            for number in cluster.numbers() {
                cluster.inspect(number);
            }
            turn += 1;
            if turn.is_multiple_of(10) {
                cluster.follow_disks();
                let numbers = cluster.numbers();
                cluster.witness(numbers[turn / 10 % numbers.len()]);
            }
        }
    });
}
