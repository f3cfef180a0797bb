//! The feed of a kind: what happens to its objects, looked at once for all who watch.
//!
//! ```text
//!   the store's watch ─► event, with what selectors look at ─► window (bounded, for who comes late)
//!                                    │
//!                                    ▼
//!        buckets: everything │ a namespace │ an object │ a value of the kind's index
//!                                    │
//!                                    ▼
//!        watchers: a bounded queue each; who is slow is left behind, and reads the store himself
//! ```
//!
//! A thousand kubelets watch the pods of a node each. Without a feed each of them decodes each
//! change of each pod; with it a change is decoded once and handed to the one or two that it is for.
//!
//! Invariant: who joins behind a revision is handed every event after it that is for his bucket, in
//! order, each once, until he is left behind; and is told so after the last of them.
//! Invariant: [`Feed::told`] never runs ahead of what was put into the queues.

mod event;
mod feeds;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::stored;
use crate::kinds::Kind;
use crate::storage::{Change, Storage, StorageError, WatchItem, WatchStream};

pub(crate) use event::{Event, Form, Forms, Told, Version};
pub(crate) use feeds::Feeds;

/// The values of the events in a window have so many bytes between them at most.
const WINDOW_BYTES: usize = 512 << 10;

/// A window has so many events at most.
const WINDOW_EVENTS: usize = 1024;

/// A queue has so many batches at most: what a store tells at a time is one.
const QUEUE: usize = 64;

/// A feed that nobody watches ends after the store has said so often that nothing happened (once a
/// second).
const IDLE: u32 = 30;

/// Which events a watcher needs to see; of these its selectors choose.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bucket {
    /// All of the kind.
    All,
    /// Those of a namespace.
    Namespace(String),
    /// Those of one object: its namespace and name.
    Object(String, String),
    /// Those of objects whose indexed field has, or had, a value.
    Indexed(String),
}

/// Events that happened together.
pub(crate) type Batch = Vec<Arc<Event>>;

/// The feed of a kind.
pub(crate) struct Feed {
    kind: &'static Kind,
    state: Mutex<State>,
    /// Held while it is started, so that it is started once.
    starting: tokio::sync::Mutex<()>,
    /// Everything up to this revision is in the window or was forgotten, and in the queues.
    told: AtomicU64,
}

#[derive(Default)]
struct State {
    phase: Phase,
    window: VecDeque<Arc<Event>>,
    window_bytes: usize,
    /// What came after this revision is in the window.
    after: u64,
    /// What the objects in the window hold now, so that it is not looked at again when it is what
    /// an object held before. Bounded by the window.
    latest: BTreeMap<Bytes, Arc<Version>>,
    watchers: BTreeMap<u64, Watching>,
    buckets: BTreeMap<Bucket, BTreeSet<u64>>,
    next: u64,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It follows the store.
    Running,
    #[default]
    Stopped,
}

struct Watching {
    queue: mpsc::Sender<Batch>,
    bucket: Bucket,
}

/// A watcher's part of a feed.
pub(crate) struct Subscription {
    feed: Arc<Feed>,
    number: u64,
    /// What had happened already; given first.
    backlog: Option<Batch>,
    queue: mpsc::Receiver<Batch>,
    after: u64,
}

impl Feed {
    fn new(kind: &'static Kind) -> Self {
        Self {
            kind,
            state: Mutex::default(),
            starting: tokio::sync::Mutex::default(),
            told: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts to follow the store from now on, unless it does that already.
    pub(crate) async fn start(self: &Arc<Self>, store: &dyn Storage) -> Result<(), StorageError> {
        let _one = self.starting.lock().await;
        if self.state().phase == Phase::Running {
            return Ok(());
        }
        let now = store.current_revision().await?;
        let prefix = stored::prefix(self.kind, "");
        let end = stored::behind(&prefix);
        let stream = store.watch(Bytes::from(prefix), end, now + 1).await?;
        self.begin(now);
        tokio::spawn(Arc::clone(self).follow(stream));
        Ok(())
    }

    /// It runs, and knows nothing of what was up to a revision.
    fn begin(&self, after: u64) {
        *self.state() = State { phase: Phase::Running, after, ..State::default() };
        self.told.store(after, Ordering::Release);
    }

    /// Tells what the store tells, until that ends or nobody watches.
    async fn follow(self: Arc<Self>, mut stream: WatchStream) {
        let mut idle = 0;
        while idle < IDLE {
            match stream.next().await {
                Some(Ok(WatchItem::Changes(changes))) => self.tell(changes),
                Some(Ok(WatchItem::Progress(revision))) => {
                    self.told.fetch_max(revision, Ordering::AcqRel);
                    idle = if self.state().watchers.is_empty() { idle + 1 } else { 0 };
                }
                // Those who watch read the store themselves then, and hear from it why.
                Some(Err(_)) | None => break,
            }
        }
        // The queues go, and with them those who watch are left behind.
        *self.state() = State::default();
    }

    /// Hands changes to all that they are for.
    fn tell(&self, changes: Vec<Change>) {
        let mut state = self.state();
        let state = &mut *state;
        let Some(revision) = changes.last().map(|change| change.revision) else { return };
        let mut batches: BTreeMap<u64, Batch> = BTreeMap::new();
        for change in changes {
            let event = Arc::new(state.event_of(change));
            for number in state.wanted_by(self.kind, &event) {
                batches.entry(number).or_default().push(Arc::clone(&event));
            }
            state.keep(event);
        }
        for (number, batch) in batches {
            let sent = state.watchers.get(&number).map(|watching| watching.queue.try_send(batch));
            if !matches!(sent, Some(Ok(()))) {
                state.leave(number);
            }
        }
        self.told.fetch_max(revision, Ordering::AcqRel);
    }

    /// Everything up to this revision is in the queues.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// Joins those who watch, behind a revision; `None` if the feed does not reach back that far.
    pub(crate) fn join(self: &Arc<Self>, after: u64, bucket: Bucket) -> Option<Subscription> {
        let mut state = self.state();
        if state.phase == Phase::Stopped || after < state.after {
            return None;
        }
        let missed = state.window.iter().filter(|event| event.revision > after);
        let backlog = missed.filter(|event| event.is_in(self.kind, &bucket)).cloned().collect();
        let (queue, receiver) = mpsc::channel(QUEUE);
        let number = state.next;
        state.next += 1;
        state.buckets.entry(bucket.clone()).or_default().insert(number);
        state.watchers.insert(number, Watching { queue, bucket });
        drop(state);
        let feed = Arc::clone(self);
        Some(Subscription { feed, number, backlog: Some(backlog), queue: receiver, after })
    }
}

impl State {
    fn event_of(&self, change: Change) -> Event {
        let before = change.previous.map(|value| match self.latest.get(&change.key) {
            Some(known) if *known.value() == value => Arc::clone(known),
            _ => Arc::new(Version::new(value)),
        });
        let now = change.value.map(|value| Arc::new(Version::new(value)));
        Event::new(change.key, change.revision, now, before)
    }

    /// Who an event is for.
    fn wanted_by(&self, kind: &Kind, event: &Event) -> BTreeSet<u64> {
        let mut wanted = BTreeSet::new();
        let mut add = |bucket: &Bucket| {
            wanted.extend(self.buckets.get(bucket).into_iter().flatten());
        };
        add(&Bucket::All);
        let (namespace, name) = event.place(kind);
        add(&Bucket::Namespace(namespace.to_owned()));
        add(&Bucket::Object(namespace.to_owned(), name.to_owned()));
        // Only who asks for a value of the index has the event decoded.
        let (first, last) = (Bucket::Indexed(String::new()), self.buckets.last_key_value());
        if last.is_some_and(|(last, _)| *last >= first) {
            for value in event.indexed(kind) {
                add(&Bucket::Indexed(value));
            }
        }
        wanted
    }

    /// Into the window, out of which the oldest go when it is full.
    fn keep(&mut self, event: Arc<Event>) {
        match &event.now {
            Some(now) => self.latest.insert(event.key.clone(), Arc::clone(now)),
            None => self.latest.remove(&event.key),
        };
        self.window_bytes += event.bytes();
        self.window.push_back(event);
        while self.window.len() > WINDOW_EVENTS || self.window_bytes > WINDOW_BYTES {
            let Some(oldest) = self.window.pop_front() else { return };
            self.window_bytes -= oldest.bytes();
            self.after = oldest.revision;
            let is_latest = |latest: &Arc<Version>| {
                oldest.now.as_ref().is_some_and(|now| Arc::ptr_eq(now, latest))
            };
            if self.latest.get(&oldest.key).is_some_and(is_latest) {
                self.latest.remove(&oldest.key);
            }
        }
    }

    fn leave(&mut self, number: u64) {
        let Some(watching) = self.watchers.remove(&number) else { return };
        if let Some(others) = self.buckets.get_mut(&watching.bucket) {
            others.remove(&number);
            if others.is_empty() {
                self.buckets.remove(&watching.bucket);
            }
        }
    }
}

impl Subscription {
    /// What happened next; `None` if the watcher was left behind.
    pub(crate) async fn next(&mut self) -> Option<Batch> {
        loop {
            let mut batch = match self.backlog.take() {
                Some(backlog) => backlog,
                None => self.queue.recv().await?,
            };
            // The feed may be behind the revision from which a watcher joined.
            batch.retain(|event| event.revision > self.after);
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    /// Up to where nothing is left to be told, if that can be said.
    pub(crate) fn told(&self) -> Option<u64> {
        // In this order: what is told after the first look is in the queue at the second.
        let told = self.feed.told();
        (self.backlog.is_none() && self.queue.is_empty() && !self.queue.is_closed()).then_some(told)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.feed.state().leave(self.number);
    }
}
