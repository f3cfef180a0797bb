//! The members of a run: started, crashed, started again on what their disks kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// One member's machine.
struct Node {
    disk: SimDisk,
    jobs: Option<SimJobs>,
    member: Option<Member>,
    /// How often it was started.
    lives: u64,
    /// Whether it should be running.
    is_up: bool,
}

/// All of them.
pub(super) struct Cluster {
    pub(super) world: World,
    pub(super) net: SimNet,
    pub(super) history: Arc<History>,
    seed: u64,
    numbers: Arc<BTreeMap<String, u64>>,
    nodes: BTreeMap<u64, Mutex<Node>>,
    counts: Mutex<BTreeMap<FaultClass, u64>>,
    /// Set once the members are told to stop: then they may end.
    ending: std::sync::atomic::AtomicBool,
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
        ("checkpoint".to_owned(), micros(1_000, 50_000, 20, 300_000)),
    ]);
    JobOptions { lanes, ..JobOptions::default() }
}

impl Cluster {
    pub(super) fn new(world: &World, options: &RunOptions, history: Arc<History>) -> Self {
        let numbers: BTreeMap<String, u64> = (1..=options.members).map(|n| (url(n), n)).collect();
        let node = |number: u64| Node {
            disk: SimDisk::new(options.seed.wrapping_mul(31).wrapping_add(number)),
            jobs: None,
            member: None,
            lives: 0,
            is_up: false,
        };
        Self {
            world: world.clone(),
            net: SimNet::new(world, options.seed, LinkOptions::default()),
            history,
            seed: options.seed,
            numbers: Arc::new(numbers),
            nodes: (1..=options.members).map(|n| (n, Mutex::new(node(n)))).collect(),
            counts: Mutex::default(),
            ending: std::sync::atomic::AtomicBool::new(false),
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
            StartOptions::new(format!("m{number}"), PathBuf::from("/data"), cluster, "sim".into());
        options.store = kstore_mvcc::Options::tiny();
        options.wal = WalOptions::tiny();
        options.hub = HubOptions { window_weight: 4096, queue_weight: 2048, page_weight: 2048 };
        options.kept_entries = 40;
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
                    cluster.node(number).member = Some(member);
                }
                Err(error) => cluster
                    .history
                    .violate(format!("member {number} does not start (life {life}): {error}")),
            }
        });
    }

    /// The power of a member goes; what was not synced is kept or lost by `policy`.
    pub(super) fn cut_power(&self, number: u64, policy: CrashPolicy) {
        let mut node = self.node(number);
        if !node.is_up {
            return;
        }
        node.is_up = false;
        if let Some(jobs) = node.jobs.take() {
            jobs.cut_power(&node.disk);
        }
        self.net.stop_serving(number);
        node.member = None;
        node.disk = node.disk.crash(policy);
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

    /// Whether all members serve, know one leader, and have applied the same entry.
    pub(super) fn has_converged(&self) -> bool {
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
        self.ending.store(true, std::sync::atomic::Ordering::SeqCst);
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
    fn inspect(&self, number: u64) {
        let Some(member) = self.member(number) else { return };
        let view = member.snapshot();
        if let Some(position) = view.position() {
            self.history.chain(number, position.index.0, view.chain().0);
        }
        let status = member.status();
        if status.role == Role::Leader {
            self.history.leader(number, status.term.0);
        }
        if let Some(fatal) = status.fatal
            && !self.ending.load(std::sync::atomic::Ordering::SeqCst)
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
                let numbers = cluster.numbers();
                cluster.witness(numbers[turn / 10 % numbers.len()]);
            }
        }
    });
}
