//! Blocking work in a simulated world.
//!
//! A job waits in its queue until its virtual duration is over and then runs in one go, on behalf
//! of its member. So everything a job does happens at one moment, its end; what a power cut
//! would have found half done is made by [`SimJobs::cut_power`], which runs the jobs that were in
//! progress up to some disk operation.
//!
//! ```text
//!   lane   [job][job][job]     one at a time: wait, run, wait, run
//!            └ in progress
//!   loose  [job] [job]         beside each other, up to a bound; all in progress
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstore_host::{Job, Jobs, Lane, Overloaded};

use super::world::{self, World};
use crate::disk::Applied;
use crate::{Prng, SimDisk, mix};

/// How long something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The least.
    pub least: Duration,
    /// The most, but for slow ones.
    pub most: Duration,
    /// One in this many is slow; zero means none.
    pub slow_one_in: u64,
    /// The most that a slow one takes.
    pub slow: Duration,
}

impl Latency {
    /// Between `least` and `most`, never slower.
    #[must_use]
    pub fn between(least: Duration, most: Duration) -> Self {
        Self { least, most, slow_one_in: 0, slow: most }
    }

    /// Draws one.
    pub fn draw(&self, prng: &mut Prng) -> Duration {
        let slow = self.slow_one_in > 0 && prng.one_in(self.slow_one_in);
        let most = if slow { self.slow } else { self.most };
        let spread = most.saturating_sub(self.least);
        let spread = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
        self.least + Duration::from_nanos(prng.below(spread.saturating_add(1)))
    }
}

/// How a member's jobs run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOptions {
    /// How long a loose job takes.
    pub loose: Latency,
    /// How many loose jobs there may be; further ones are refused.
    pub loose_most: usize,
    /// How long a lane's job takes, by the lane's name.
    pub lanes: BTreeMap<String, Latency>,
    /// The same for lanes not named above.
    pub other_lanes: Latency,
    /// A power cut comes before this many disk changes of the jobs in progress; some come before
    /// the first few, or right after one of the first syncs.
    pub cut_within: u64,
}

impl Default for JobOptions {
    fn default() -> Self {
        let micros = Duration::from_micros;
        Self {
            loose: Latency::between(micros(50), micros(2000)),
            loose_most: 256,
            lanes: BTreeMap::new(),
            other_lanes: Latency {
                least: micros(20),
                most: micros(1000),
                slow_one_in: 200,
                slow: micros(20_000),
            },
            cut_within: 12,
        }
    }
}

/// The jobs of one life of one member. Clones share them.
#[derive(Clone)]
pub struct SimJobs {
    inner: Arc<Inner>,
}

struct Inner {
    world: World,
    member: u64,
    options: JobOptions,
    state: Mutex<State>,
}

struct State {
    prng: Prng,
    next_loose: u64,
    /// Loose jobs in progress.
    loose: BTreeMap<u64, Job>,
    lanes: Vec<LaneState>,
    /// No job ends before this.
    stalled_until: Duration,
    /// Set by the power cut: nothing runs any more.
    cut: bool,
}

/// Of the power cuts some come before this many changes: a sync that is still to come must often
/// not come any more.
const CUT_SOON: u64 = 4;

/// Some come right after one of this many syncs.
const SYNCS: u64 = 4;

/// Invariant: while `queue` is not empty, `working`.
struct LaneState {
    name: String,
    latency: Latency,
    queue: VecDeque<Job>,
    /// Whether the lane's task runs; the first job of the queue is then in progress.
    working: bool,
}

/// When, while the jobs in progress run, the power goes.
enum Moment {
    /// At a change of the disk; at once if it is none.
    Change(u64, Applied),
    /// Right after a sync: what should have been synced before that, but is to be synced after it,
    /// is lost.
    Sync(u64),
}

impl Moment {
    fn draw(prng: &mut Prng, cut_within: u64) -> Self {
        let applied = if prng.one_in(2) { Applied::Yes } else { Applied::No };
        match prng.below(3) {
            0 => Self::Change(prng.below(cut_within.clamp(1, CUT_SOON)), applied),
            1 => Self::Change(prng.below(cut_within.max(1)), applied),
            _ if cut_within < SYNCS => Self::Change(0, applied),
            _ => Self::Sync(prng.between(1, SYNCS)),
        }
    }

    fn plan(&self, disk: &SimDisk) {
        match *self {
            Self::Change(0, _) => disk.cut_power(),
            Self::Change(changes, applied) => disk.cut_power_after(changes, applied),
            Self::Sync(syncs) => disk.cut_power_after_sync(syncs),
        }
    }
}

impl Debug for SimJobs {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimJobs").field("member", &self.inner.member).finish_non_exhaustive()
    }
}

impl SimJobs {
    /// The jobs of `member`, whose chance comes from `seed`.
    #[must_use]
    pub fn new(world: &World, member: u64, seed: u64, options: JobOptions) -> Self {
        let state = State {
            prng: Prng::of("jobs", mix(seed, member)),
            next_loose: 0,
            loose: BTreeMap::new(),
            lanes: Vec::new(),
            stalled_until: Duration::ZERO,
            cut: false,
        };
        let world = world.clone();
        Self { inner: Arc::new(Inner { world, member, options, state: Mutex::new(state) }) }
    }

    /// Lets no job end before the world's clock shows `until`: the member's disk hangs.
    pub fn stall_until(&self, until: Duration) {
        let mut state = self.inner.state();
        state.stalled_until = state.stalled_until.max(until);
    }

    /// How many jobs are queued or in progress.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        let state = self.inner.state();
        state.loose.len() + state.lanes.iter().map(|lane| lane.queue.len()).sum::<usize>()
    }

    /// Whether a job of a lane of this name is in progress.
    #[must_use]
    pub fn is_busy(&self, lane: &str) -> bool {
        self.inner.state().lanes.iter().any(|one| one.name == lane && !one.queue.is_empty())
    }

    /// The power of the member goes: runs the jobs in progress, in random order, until the disk
    /// has made a few more changes; cuts the disk's power; drops the other jobs and all the
    /// member's tasks. What is left is in `disk`, for [`SimDisk::crash`] to settle.
    pub fn cut_power(&self, disk: &SimDisk) {
        self.cut_power_amid(disk, "");
    }

    /// The same, but the jobs in progress of lanes called `lane` come first, so that it is one of
    /// those that the cut finds half done.
    pub fn cut_power_amid(&self, disk: &SimDisk, lane: &str) {
        let Inner { world, member, options, .. } = &*self.inner;
        let mut state = self.inner.state();
        state.cut = true;
        let mut in_progress: Vec<Job> = std::mem::take(&mut state.loose).into_values().collect();
        let (mut first, mut queued) = (Vec::new(), Vec::new());
        for one in &mut state.lanes {
            let mut queue = std::mem::take(&mut one.queue);
            let place = if one.name == lane { &mut first } else { &mut in_progress };
            place.extend(queue.pop_front());
            queued.extend(queue);
        }
        state.prng.shuffle(&mut in_progress);
        let moment = Moment::draw(&mut state.prng, options.cut_within);
        drop(state);
        moment.plan(disk);
        world.enter(*member, || {
            for job in first.into_iter().chain(in_progress) {
                if !disk.is_cut() {
                    job();
                }
            }
            disk.cut_power();
            drop(queued);
        });
        world.kill(*member);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as a job takes, and out any stall.
    async fn take_time(&self, latency: Latency) {
        let duration = latency.draw(&mut self.state().prng);
        world::sleep_until(self.world.now() + duration).await;
        loop {
            let until = self.state().stalled_until;
            if self.world.now() >= until {
                return;
            }
            world::sleep_until(until).await;
        }
    }

    async fn work_lane(self: Arc<Self>, lane: usize) {
        loop {
            let latency = self.state().lanes[lane].latency;
            self.take_time(latency).await;
            let Some(job) = self.state().lanes[lane].queue.pop_front() else { return };
            job();
            let mut state = self.state();
            if state.lanes[lane].queue.is_empty() {
                state.lanes[lane].working = false;
                return;
            }
        }
    }
}

impl Jobs for SimJobs {
    fn run(&self, job: Job) -> Result<(), Overloaded> {
        let mut state = self.inner.state();
        if state.loose.len() >= self.inner.options.loose_most {
            return Err(Overloaded);
        }
        if state.cut {
            // Nobody is left to notice.
            return Ok(());
        }
        let id = state.next_loose;
        state.next_loose += 1;
        state.loose.insert(id, job);
        drop(state);
        let inner = Arc::clone(&self.inner);
        self.inner.world.spawn_on(self.inner.member, async move {
            inner.take_time(inner.options.loose).await;
            let job = inner.state().loose.remove(&id);
            if let Some(job) = job {
                job();
            }
        });
        Ok(())
    }

    fn lane(&self, name: &str) -> Arc<dyn Lane> {
        let options = &self.inner.options;
        let latency = options.lanes.get(name).copied().unwrap_or(options.other_lanes);
        let mut state = self.inner.state();
        let (name_of_lane, queue) = (name.to_owned(), VecDeque::new());
        state.lanes.push(LaneState { name: name_of_lane, latency, queue, working: false });
        let lane = state.lanes.len() - 1;
        drop(state);
        Arc::new(SimLane { inner: Arc::clone(&self.inner), lane, name: name.to_owned() })
    }
}

struct SimLane {
    inner: Arc<Inner>,
    lane: usize,
    name: String,
}

impl Debug for SimLane {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimLane").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Lane for SimLane {
    fn push(&self, job: Job) {
        let mut state = self.inner.state();
        if state.cut {
            drop(state);
            drop(job);
            return;
        }
        let lane = &mut state.lanes[self.lane];
        lane.queue.push_back(job);
        if std::mem::replace(&mut lane.working, true) {
            return;
        }
        drop(state);
        let inner = Arc::clone(&self.inner);
        self.inner.world.spawn_on(self.inner.member, inner.work_lane(self.lane));
    }
}
