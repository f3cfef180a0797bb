//! The one loop behind every agent: watch, queue, decide, write.
//!
//! ```text
//!   informers ──Delta──► World ──Change──► keys ──► Queue (one per controller)
//!                          ▲                          │ pop
//!                          │ lessons                  ▼
//!                        writer ◄──── steps ──── decide(&World, key, now)
//! ```
//!
//! The loop owns the world, so no decision ever sees half of a change, and there is no lock. It
//! never waits for the server: writes are tasks, one at a time for a key, and what the server
//! answers flows back into the world before the key is looked at again.
//!
//! Invariant: a key of a controller is decided about by one decision at a time, writes included.
//! Invariant: a decision is made only after every kind has been listed once.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc::Receiver;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::action::{Action, Decision, Step};
use crate::kinds::{Key, Kind, Object};
use crate::queue::{BackOff, Next, Queue, Rank};
use crate::recorder::Recorder;
use crate::world::{Change, Delta, FailureKind, World};
use crate::writer::{self, Lesson, Report};

/// The back-off of controllers: from 5 ms, doubled up to 16 s.
pub(crate) const CONTROLLER_BACK_OFF: BackOff =
    BackOff { first: Duration::from_millis(5), most: Duration::from_secs(16) };

/// Deltas that are taken in before decisions are made, so that one decision covers many changes.
const DELTAS_AT_ONCE: usize = 256;

/// Decisions of one controller in a row; then the others have their turn.
const DECISIONS_AT_ONCE: usize = 64;

/// A controller: which keys a change concerns, and what to do about a key.
pub(crate) struct Controller {
    pub(crate) name: &'static str,
    /// Keys that should be looked at because of a change.
    pub(crate) keys: fn(&World, &Change, &mut BTreeSet<Key>),
    /// Pure: reads the world and the time that it is given, and nothing else.
    pub(crate) decide: fn(&World, &Key, Timestamp) -> Decision,
    pub(crate) rank: fn(&World, &Key) -> Rank,
    /// Keys that may be written about at the same time; the others wait in the queue.
    pub(crate) writers: usize,
    pub(crate) back_off: BackOff,
}

pub(crate) const fn in_order(_: &World, _: &Key) -> Rank {
    (0, 0)
}

/// The collector takes its keys from the graph instead of from changes.
pub(crate) const GARBAGE: &str = "garbage-collector";

struct Line {
    controller: Controller,
    queue: Queue,
    busy: usize,
}

struct Finished {
    line: usize,
    key: Key,
    next: Next,
    /// The pod that was assumed to be bound by these steps.
    bound: Option<(Key, String)>,
    report: Report,
}

pub(crate) struct Engine {
    client: Client,
    recorder: Recorder,
    world: World,
    wanted: BTreeSet<Kind>,
    lines: Vec<Line>,
    writes: JoinSet<Finished>,
    begun: Instant,
}

impl Engine {
    pub(crate) fn new(
        client: Client,
        recorder: Recorder,
        world: World,
        wanted: BTreeSet<Kind>,
        controllers: Vec<Controller>,
    ) -> Self {
        let lines = controllers.into_iter().map(|controller| Line {
            queue: Queue::new(controller.back_off),
            controller,
            busy: 0,
        });
        Self {
            client,
            recorder,
            world,
            wanted,
            lines: lines.collect(),
            writes: JoinSet::new(),
            begun: Instant::now(),
        }
    }

    /// Runs until the informers are gone.
    pub(crate) async fn run(mut self, mut deltas: Receiver<Delta>) {
        let mut news = Vec::with_capacity(DELTAS_AT_ONCE);
        loop {
            let due = self.next_due().map(|due| self.begun + due);
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = deltas.recv_many(&mut news, DELTAS_AT_ONCE) => {
                    if count == 0 {
                        return;
                    }
                    for delta in news.drain(..) {
                        let changes = self.world.apply(delta);
                        self.wake(&changes);
                    }
                }
                Some(done) = self.writes.join_next() => match done {
                    Ok(done) => self.settle(done),
                    // Only a bug panics, and its key would be busy for ever.
                    Err(error) => match error.try_into_panic() {
                        Ok(panic) => std::panic::resume_unwind(panic),
                        Err(error) => warn!(%error, "a write was given up"),
                    },
                },
                () = timer => {}
            }
            if self.wanted.is_subset(&self.world.synced) {
                self.decide();
            }
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn next_due(&self) -> Option<Duration> {
        if !self.wanted.is_subset(&self.world.synced) {
            return None;
        }
        let free = self.lines.iter().filter(|line| line.busy < line.controller.writers);
        free.filter_map(|line| line.queue.next_due()).min()
    }

    fn wake(&mut self, changes: &[Change]) {
        let now = self.now();
        let collector = self.lines.iter_mut().find(|line| line.controller.name == GARBAGE);
        let pending = self.world.graph.take_pending();
        if let Some(line) = collector {
            for uid in pending {
                line.queue.add(Key::new("", &uid), (0, 0), now);
            }
        }
        let mut keys = BTreeSet::new();
        for change in changes {
            for line in &mut self.lines {
                (line.controller.keys)(&self.world, change, &mut keys);
                for key in std::mem::take(&mut keys) {
                    let rank = (line.controller.rank)(&self.world, &key);
                    line.queue.add(key, rank, now);
                }
            }
        }
    }

    fn decide(&mut self) {
        let now = self.now();
        for line in 0..self.lines.len() {
            for _ in 0..DECISIONS_AT_ONCE {
                let place = &mut self.lines[line];
                if place.busy >= place.controller.writers {
                    break;
                }
                let Some(key) = place.queue.pop(now) else { break };
                let decision = (place.controller.decide)(&self.world, &key, Timestamp::now());
                if decision.steps.is_empty() {
                    place.queue.finish(&key, decision.next, now);
                    self.world.note_failure(self.lines[line].controller.name, &key, None);
                } else {
                    place.busy += 1;
                    self.begin(line, key, decision);
                }
            }
        }
    }

    fn begin(&mut self, line: usize, key: Key, decision: Decision) {
        let bound = decision.steps.iter().find_map(|step| match step {
            Step::One(Action::Bind { pod, uid, node }) => {
                Some((pod.clone(), uid.clone(), node.clone()))
            }
            _ => None,
        });
        if let Some((pod, uid, node)) = &bound {
            self.world.assume(pod, uid, node);
        }
        let bound = bound.map(|(pod, uid, _)| (pod, uid));
        let work = writer::perform(self.client.clone(), self.recorder.clone(), decision.steps);
        self.writes.spawn(async move {
            Finished { line, key, next: decision.next, bound, report: work.await }
        });
    }

    fn settle(&mut self, done: Finished) {
        let Finished { line, key, next, bound, report } = done;
        if let (Some((pod, uid)), Some(_)) = (&bound, &report.failure) {
            let is_bound = report
                .lessons
                .iter()
                .any(|lesson| matches!(lesson, Lesson::Bound { uid: done } if done == uid));
            if !is_bound {
                self.world.forget(pod, uid);
            }
        }
        let changes: Vec<Change> =
            report.lessons.into_iter().filter_map(|lesson| self.learn(lesson)).collect();
        self.wake(&changes);
        let now = self.now();
        let place = &mut self.lines[line];
        place.busy -= 1;
        let name = place.controller.name;
        let next = match &report.failure {
            None => next,
            Some(failure) if failure.kind == FailureKind::NamespaceTerminating => Next::Idle,
            Some(_) => Next::Failed,
        };
        match &report.failure {
            None => {}
            Some(failure) if failure.kind == FailureKind::Other => {
                warn!(controller = name, %key, error = failure.message, "will try again");
            }
            Some(failure) => {
                debug!(controller = name, %key, error = failure.message, "will try again");
            }
        }
        place.queue.finish(&key, next, now);
        self.world.note_failure(name, &key, report.failure);
    }

    fn learn(&mut self, lesson: Lesson) -> Option<Change> {
        match lesson {
            Lesson::Object(object) => self.world.answered(object),
            Lesson::Deleted(key, resource) => self.gone(&key, &resource),
            Lesson::Bound { .. } => None,
            Lesson::Absent { uid } => {
                self.world.graph.confirm_absent(&uid);
                None
            }
            Lesson::Emptied { namespace, remains } => {
                let known = self.world.tables.namespaces.named("", &namespace)?.clone();
                self.world.remains.insert(namespace, (remains, Timestamp::now()));
                let object = Object::Namespace(known);
                Some(Change::Object { old: Some(object.clone()), new: Some(object) })
            }
        }
    }

    /// A deleted pod must not be counted until the watch tells: whoever deleted it would otherwise
    /// delete the next one too.
    fn gone(&mut self, key: &Key, resource: &crate::kinds::Resource) -> Option<Change> {
        if *resource != Kind::Pod.resource() {
            return None;
        }
        let pod = self.world.tables.pods.find(key)?.clone();
        self.world.apply(Delta::Deleted(Object::Pod(pod))).pop()
    }
}
