//! The world: virtual time, tasks, and the chance that orders them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Formatter};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll as TaskPoll, Wake, Waker};
use std::time::Duration;

use super::BoxFuture;
use super::runtime::Sleep;
use super::time::{MemberClock, MemberRandom, MemberTime, Timer, nanos};
use crate::Prng;
use crate::prng::{mix, mix_bytes};

/// The member number of whatever is not a member: clients, nemesis, checkers.
pub const HARNESS: u64 = 0;

type TaskId = u64;

/// The future that [`World::block_on`] drives; it is not `Send`, so the world does not hold it.
const ROOT: TaskId = 0;

/// The numbers a world runs by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorldOptions {
    /// Virtual time that one poll of a task takes. Not zero, so that a task which never waits
    /// cannot stop the clock.
    pub poll_cost: Duration,
}

impl Default for WorldOptions {
    fn default() -> Self {
        Self { poll_cost: Duration::from_nanos(500) }
    }
}

/// One line of a world's trace: which task was polled when, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// Virtual time.
    pub at: Duration,
    /// The member on whose behalf the task runs.
    pub member: u64,
    /// The task, numbered in order of spawning.
    pub task: u64,
}

struct Task {
    member: u64,
    /// None while the task is being polled, and always for [`ROOT`].
    future: Option<BoxFuture<'static, ()>>,
    waker: Arc<TaskWaker>,
}

/// Invariant: a task's id is in `woken`, `ready` or `parked` at most once, because `queued` is set
/// when it enters and cleared when it is picked.
struct TaskWaker {
    world: Weak<Shared>,
    id: TaskId,
    queued: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(world) = self.world.upgrade() {
            world.woken().push(self.id);
        }
    }
}

pub(super) struct State {
    options: WorldOptions,
    /// Nanoseconds since the world began; only grows.
    pub(super) now: u64,
    tasks: BTreeMap<TaskId, Task>,
    next_task: TaskId,
    /// Tasks that could run now.
    ready: Vec<TaskId>,
    /// Tasks that could run, were their member not paused.
    parked: Vec<TaskId>,
    /// By due time, then in order of registration.
    pub(super) timers: BTreeMap<(u64, u64), Waker>,
    pub(super) next_timer: u64,
    members: BTreeMap<u64, MemberTime>,
    paused: BTreeSet<u64>,
    /// A member whose tasks are being dropped: what it spawns meanwhile is dropped too.
    dying: Option<u64>,
    prng: Prng,
    trace: u64,
    polls: u64,
    log: Option<Vec<Poll>>,
}

impl State {
    pub(super) fn member(&mut self, member: u64) -> &mut MemberTime {
        let (now, prng) = (self.now, &self.prng);
        self.members.entry(member).or_insert_with(|| MemberTime::from(now, prng.split(member)))
    }

    fn fire_timers(&mut self) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(timer) = self.timers.first_entry() {
            if timer.key().0 > self.now {
                break;
            }
            due.push(timer.remove());
        }
        due
    }

    fn absorb(&mut self, woken: Vec<TaskId>) {
        for id in woken {
            match self.tasks.get(&id) {
                Some(task) if self.paused.contains(&task.member) => self.parked.push(id),
                Some(_) => self.ready.push(id),
                None => {}
            }
        }
    }
}

pub(super) struct Shared {
    state: Mutex<State>,
    /// Tasks woken since the last step. Apart from the state, so that waking never waits for it.
    woken: Mutex<Vec<TaskId>>,
}

impl Debug for Shared {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn woken(&self) -> MutexGuard<'_, Vec<TaskId>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the current thread is: in which world, on whose behalf, in which task.
#[derive(Clone)]
struct Place {
    world: World,
    member: u64,
    task: Option<TaskId>,
}

thread_local! {
    /// A stack, because a world may be entered while another runs.
    static PLACES: RefCell<Vec<Place>> = const { RefCell::new(Vec::new()) };
}

/// Leaves the place on drop, also when a poll panics.
struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        PLACES.with_borrow_mut(|places| places.pop());
    }
}

fn enter(world: &World, member: u64, task: Option<TaskId>) -> Entered {
    let place = Place { world: world.clone(), member, task };
    PLACES.with_borrow_mut(|places| places.push(place));
    Entered
}

fn place() -> Place {
    PLACES
        .with_borrow(|places| places.last().cloned())
        .expect("only tasks of a world, and what runs inside World::enter, ask for its time")
}

/// A handle on a simulated world. Clones are handles on the same one.
#[derive(Clone)]
pub struct World {
    shared: Arc<Shared>,
}

impl Debug for World {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let state = self.shared.state();
        f.debug_struct("World")
            .field("now", &Duration::from_nanos(state.now))
            .field("tasks", &state.tasks.len())
            .finish_non_exhaustive()
    }
}

/// What one step did.
enum Step {
    /// A task was polled.
    Polled,
    /// The root future is the one to poll.
    Root(Waker),
    /// Nothing is ready, and no timer is due before the horizon.
    Idle,
}

/// Making and running worlds.
impl World {
    /// An empty world at time zero.
    #[must_use]
    pub fn new(seed: u64, options: WorldOptions) -> Self {
        let state = State {
            options,
            now: 0,
            tasks: BTreeMap::new(),
            next_task: ROOT + 1,
            ready: Vec::new(),
            parked: Vec::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            members: BTreeMap::new(),
            paused: BTreeSet::new(),
            dying: None,
            prng: Prng::of("world", seed),
            trace: seed,
            polls: 0,
            log: None,
        };
        let shared = Shared { state: Mutex::new(state), woken: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The world that the current thread is in.
    #[must_use]
    pub fn current() -> Option<Self> {
        PLACES.with_borrow(|places| places.last().map(|place| place.world.clone()))
    }

    /// Runs `act` as if `member` did it: what it spawns is the member's, and so are its clocks.
    pub fn enter<T>(&self, member: u64, act: impl FnOnce() -> T) -> T {
        let _entered = enter(self, member, None);
        act()
    }

    /// Virtual time since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.shared.state().now)
    }

    /// How many polls there were.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.shared.state().polls
    }

    /// How many tasks `member` has that have not ended.
    #[must_use]
    pub fn tasks_of(&self, member: u64) -> usize {
        self.shared.state().tasks.values().filter(|task| task.member == member).count()
    }

    /// Starts a task on behalf of `member`.
    pub fn spawn_on(&self, member: u64, future: impl Future<Output = ()> + Send + 'static) {
        self.admit(member, Box::pin(future));
    }

    fn admit(&self, member: u64, future: BoxFuture<'static, ()>) {
        let mut state = self.shared.state();
        if state.dying == Some(member) {
            // Dropped without the lock: its drop may come back here.
            drop(state);
            drop(future);
            return;
        }
        state.member(member);
        let id = state.next_task;
        state.next_task += 1;
        let waker = Arc::new(TaskWaker {
            world: Arc::downgrade(&self.shared),
            id,
            queued: AtomicBool::new(false),
        });
        let task = Task { member, future: Some(future), waker: Arc::clone(&waker) };
        state.tasks.insert(id, task);
        drop(state);
        waker.wake_by_ref();
    }

    /// Runs until `done` says so, asked after every poll, or until virtual time `deadline`.
    /// Returns whether `done` said so.
    pub fn run_until(&self, deadline: Duration, mut done: impl FnMut() -> bool) -> bool {
        let horizon = nanos(deadline);
        loop {
            if self.enter(HARNESS, &mut done) {
                return true;
            }
            if self.shared.state().now >= horizon {
                return false;
            }
            match self.step(horizon) {
                Step::Polled => {}
                Step::Root(_) => unreachable!("block_on is not running"),
                Step::Idle => {
                    let mut state = self.shared.state();
                    state.now = state.now.max(horizon);
                }
            }
        }
    }

    /// Runs for `duration` of virtual time.
    pub fn run_for(&self, duration: Duration) {
        let deadline = self.now() + duration;
        self.run_until(deadline, || false);
    }

    /// Runs the world until `future` is ready. Panics when nothing can ever wake it.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Arc::new(TaskWaker {
            world: Arc::downgrade(&self.shared),
            id: ROOT,
            queued: AtomicBool::new(false),
        });
        let root = Task { member: HARNESS, future: None, waker: Arc::clone(&waker) };
        let outer = self.shared.state().tasks.insert(ROOT, root);
        assert!(outer.is_none(), "block_on inside block_on of the same world");
        waker.wake_by_ref();
        loop {
            match self.step(u64::MAX) {
                Step::Polled => {}
                Step::Root(waker) => {
                    let _entered = enter(self, HARNESS, Some(ROOT));
                    let mut context = Context::from_waker(&waker);
                    if let TaskPoll::Ready(value) = future.as_mut().poll(&mut context) {
                        self.shared.state().tasks.remove(&ROOT);
                        return value;
                    }
                }
                Step::Idle => panic!("every task waits and no timer runs: {self:?}"),
            }
        }
    }

    /// Fires what is due, jumps to the next timer if nothing is ready, and polls one task.
    fn step(&self, horizon: u64) -> Step {
        let (id, member, future, waker) = loop {
            let mut state = self.shared.state();
            let due = state.fire_timers();
            if !due.is_empty() {
                drop(state);
                due.into_iter().for_each(Waker::wake);
                continue;
            }
            state.absorb(std::mem::take(&mut *self.shared.woken()));
            if state.ready.is_empty() {
                match state.timers.first_key_value() {
                    Some(((at, _), _)) if *at <= horizon => state.now = state.now.max(*at),
                    _ => return Step::Idle,
                }
                continue;
            }
            let ready = state.ready.len();
            let index = state.prng.index(ready);
            let id = state.ready.swap_remove(index);
            let Some(task) = state.tasks.get_mut(&id) else { continue };
            task.waker.queued.store(false, Ordering::Relaxed);
            let waker = Waker::from(Arc::clone(&task.waker));
            let (member, future) = (task.member, task.future.take());
            let now = state.now;
            state.trace = mix(mix(state.trace, id), now);
            state.polls += 1;
            if let Some(log) = &mut state.log {
                log.push(Poll { at: Duration::from_nanos(now), member, task: id });
            }
            state.now += nanos(state.options.poll_cost);
            break (id, member, future, waker);
        };
        let Some(mut future) = future else { return Step::Root(waker) };
        let _entered = enter(self, member, Some(id));
        let ended = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let mut state = self.shared.state();
        match state.tasks.get_mut(&id) {
            Some(task) if !ended => task.future = Some(future),
            _ => {
                state.tasks.remove(&id);
                drop(state);
                drop(future);
            }
        }
        Step::Polled
    }
}

/// What happens to members.
impl World {
    /// Drops every task of `member`, in order of spawning: the power is gone. Cut the power of its
    /// disk first, so that nothing that runs on drop reaches it.
    pub fn kill(&self, member: u64) {
        let mut state = self.shared.state();
        let outer = state.dying.replace(member);
        let ids: Vec<TaskId> = state
            .tasks
            .iter()
            .filter(|(id, task)| task.member == member && **id != ROOT)
            .map(|(id, _)| *id)
            .collect();
        let doomed: Vec<Task> = ids.iter().filter_map(|id| state.tasks.remove(id)).collect();
        state.ready.retain(|id| !ids.contains(id));
        state.parked.retain(|id| !ids.contains(id));
        state.paused.remove(&member);
        state.trace = mix(mix(state.trace, u64::MAX), member);
        drop(state);
        self.enter(member, || drop(doomed));
        self.shared.state().dying = outer;
    }

    /// Kills every member and the harness's tasks, so that nothing keeps the world alive.
    pub fn shut_down(&self) {
        let members: BTreeSet<u64> =
            self.shared.state().tasks.values().map(|task| task.member).collect();
        members.into_iter().rev().for_each(|member| self.kill(member));
    }

    /// Stops `member`'s tasks from running until [`Self::resume`]. Its timers pile up, its clocks
    /// go on.
    pub fn pause(&self, member: u64) {
        let mut state = self.shared.state();
        state.paused.insert(member);
        let ready = std::mem::take(&mut state.ready);
        for id in ready {
            let paused = state.tasks.get(&id).is_some_and(|task| task.member == member);
            if paused { state.parked.push(id) } else { state.ready.push(id) }
        }
    }

    /// Lets a paused member go on.
    pub fn resume(&self, member: u64) {
        let mut state = self.shared.state();
        state.paused.remove(&member);
        let parked = std::mem::take(&mut state.parked);
        state.absorb(parked);
    }

    /// Whether `member` is paused.
    #[must_use]
    pub fn is_paused(&self, member: u64) -> bool {
        self.shared.state().paused.contains(&member)
    }

    /// Lets `member`'s clocks run at `rate` parts per million of true from now on. Timers that
    /// already run keep their moment.
    pub fn set_clock_rate(&self, member: u64, rate: u64) {
        assert!(rate > 0, "a clock that stands still never fires a timer");
        let mut state = self.shared.state();
        let now = state.now;
        state.member(member).set_rate(now, rate);
    }

    /// Moves `member`'s calendar, and only its calendar, to `offset` nanoseconds from true.
    pub fn set_wall_offset(&self, member: u64, offset: i64) {
        self.shared.state().member(member).wall_offset = offset;
    }

    /// The clock of `member`.
    #[must_use]
    pub fn clock(&self, member: u64) -> MemberClock {
        MemberClock { world: Arc::downgrade(&self.shared), member }
    }

    /// The source of chance of `member`, the same that its tasks draw from.
    #[must_use]
    pub fn random(&self, member: u64) -> MemberRandom {
        MemberRandom { world: Arc::downgrade(&self.shared), member }
    }

    /// A generator named by `label`, for whatever else of the simulation needs chance. Drawing
    /// from it changes nothing else.
    #[must_use]
    pub fn prng(&self, label: u64) -> Prng {
        self.shared.state().prng.split(mix(0x5052_4E47, label))
    }
}

/// The trace.
impl World {
    /// Feeds `bytes` into the trace hash: call it with whatever two equal runs must agree on.
    pub fn trace(&self, bytes: &[u8]) {
        let mut state = self.shared.state();
        state.trace = mix_bytes(state.trace, bytes);
    }

    /// A hash of every choice so far: equal for equal runs.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.shared.state().trace
    }

    /// Starts a log of polls, to find where two runs part. It grows until it is taken.
    pub fn start_log(&self) {
        self.shared.state().log = Some(Vec::new());
    }

    /// Takes what was logged so far; the log goes on.
    #[must_use]
    pub fn take_log(&self) -> Vec<Poll> {
        self.shared.state().log.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// Starts a task on behalf of the member that the current task runs for.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    let Place { world, member, task } = place();
    let doomed = task.is_some_and(|task| !world.shared.state().tasks.contains_key(&task));
    if doomed {
        // The current task was killed while it runs, and what it spawns dies with it.
        drop(future);
    } else {
        world.spawn_on(member, future);
    }
}

/// Starts a task on behalf of `member` in the current world.
pub fn spawn_on(member: u64, future: impl Future<Output = ()> + Send + 'static) {
    place().world.spawn_on(member, future);
}

/// Virtual time since the current world began, by the world's own clock.
#[must_use]
pub fn now() -> Duration {
    place().world.now()
}

/// Waits for `duration` by the clock of the current member.
pub fn sleep(duration: Duration) -> Sleep {
    let deadline = local_now().saturating_add(nanos(duration));
    sleep_until_local(deadline)
}

/// Waits until the world's own clock shows `deadline`.
pub fn sleep_until(deadline: Duration) -> Sleep {
    Sleep::new(Timer {
        world: Arc::downgrade(&place().world.shared),
        due: nanos(deadline),
        key: None,
    })
}

/// What the current member's monotonic clock shows, in nanoseconds.
pub(super) fn local_now() -> u64 {
    let Place { world, member, .. } = place();
    let mut state = world.shared.state();
    let now = state.now;
    state.member(member).local_at(now)
}

pub(super) fn sleep_until_local(local: u64) -> Sleep {
    let Place { world, member, .. } = place();
    let mut state = world.shared.state();
    let due = state.member(member).world_at(local);
    Sleep::new(Timer { world: Arc::downgrade(&world.shared), due, key: None })
}

/// Sixty-four random bits from the current member's source.
pub(super) fn draw() -> u64 {
    let Place { world, member, .. } = place();
    world.shared.state().member(member).prng.next_u64()
}

/// Lets other tasks run first.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return TaskPoll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        TaskPoll::Pending
    })
    .await;
}
