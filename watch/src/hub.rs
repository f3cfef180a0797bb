//! The hub: streams, subscriptions, and the switch between history and live.
//!
//! ```text
//!            start > current                     start <= current
//!   subscribe ────────────► Live ◄──────────┐ ┌──────────────── subscribe
//!                            │  next>current│ ▼
//!        queue full, or a    └───────────► Behind ──── next < compacted ───► Compacted ─► ends
//!        batch only named                  ▲    │                                ▲
//!                                   answer │    │ the window does not reach back │
//!                                          │    ▼                                │
//!                                          Asked ────── history says so ─────────┘
//! ```
//!
//! Invariant: `next` of a subscription that is not live is the first revision it was not given; of
//! a live one, the first revision it may be given (all published ones from there on went through
//! its queue).
//!
//! Invariant: a subscription stands in the index exactly when it is live.
//!
//! Invariant: a subscription that has something to tell (a queue, a way to catch up, an end) stands
//! in its stream's ready list exactly once; one that is live with an empty queue, or asked, does
//! not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::task::{Poll, Waker};

use crate::history::{Answer, HistoryError, Question};
use crate::index::Index;
use crate::window::{Batch, Collected, Window};
use crate::{Event, Keys};

/// The bounds of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HubOptions {
    /// Bytes of recent batches kept; who needs older ones reads history.
    pub window_weight: usize,
    /// Bytes of events waiting for one subscription's consumer; with more it falls behind. One
    /// revision is always taken whole.
    pub queue_weight: usize,
    /// Bytes of events that one page of history should hold.
    pub page_weight: usize,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self { window_weight: 16 << 20, queue_weight: 1 << 20, page_weight: 1 << 20 }
    }
}

/// A consumer: what is woken, and what is polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(u64);

/// One range that a stream wants to hear of. Never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriptionId(u64);

/// From when on a subscription wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// What is published from now on.
    Now,
    /// What happened at this revision and after; it may lie in the future.
    At(u64),
}

/// What a poll has for a subscription.
#[derive(Debug)]
pub enum Next<E> {
    /// Events, in order, whole revisions; never empty.
    Events(Vec<E>),
    /// Ask history, where blocking is allowed, and bring the answer to [`Hub::answer`]. Until then
    /// the subscription has nothing.
    History(Question),
    /// What it needs next was forgotten. The subscription has ended.
    Compacted {
        /// The lowest revision that a new subscription may start at.
        revision: u64,
    },
    /// Its history cannot be read. The subscription has ended.
    Failed {
        /// What went wrong.
        why: String,
    },
}

/// Consumers to be woken, best after the hub's lock was given back.
#[derive(Debug, Default)]
#[must_use = "consumers wait until they are woken"]
pub struct Wakes(Vec<Waker>);

impl Wakes {
    /// Wakes them.
    pub fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

/// See the heads of this file and of the crate.
#[derive(Debug)]
pub struct Hub<E> {
    options: HubOptions,
    /// The newest published revision.
    current: u64,
    /// Clients may not start below it.
    compacted: u64,
    window: Window<E>,
    index: Index,
    subscriptions: BTreeMap<u64, Subscription<E>>,
    streams: BTreeMap<u64, Stream>,
    /// The last id given to a stream or subscription.
    last_id: u64,
}

#[derive(Debug, Default)]
struct Stream {
    /// Set by a poll that found nothing; taken when there is something.
    waker: Option<Waker>,
    /// Subscriptions with something to tell, each at most once, served in turn.
    ready: VecDeque<u64>,
    subscriptions: BTreeSet<u64>,
}

#[derive(Debug)]
struct Subscription<E> {
    stream: u64,
    keys: Keys,
    /// No progress is told before this revision is current.
    start: u64,
    /// See the invariant at the head of this file.
    next: u64,
    /// Matching events below `next` (or, of a live one, all published) that were not polled yet.
    queue: VecDeque<E>,
    /// The sum over `queue`.
    queue_weight: usize,
    feed: Feed,
    /// Whether it stands in its stream's ready list.
    ready: bool,
}

#[derive(Debug)]
enum Feed {
    Live,
    Behind,
    /// A question is out.
    Asked,
    Compacted {
        revision: u64,
    },
    Failed {
        why: String,
    },
}

impl<E: Event> Hub<E> {
    /// A hub over a store at revision `current` that was compacted at `compacted` (0 if never).
    #[must_use]
    pub fn new(options: HubOptions, current: u64, compacted: u64) -> Self {
        Self {
            options,
            current,
            compacted,
            window: Window::new(current + 1, options.window_weight),
            index: Index::default(),
            subscriptions: BTreeMap::new(),
            streams: BTreeMap::new(),
            last_id: 0,
        }
    }

    /// The newest published revision.
    #[must_use]
    pub fn current(&self) -> u64 {
        self.current
    }

    /// How many subscriptions there are.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.subscriptions.len()
    }

    /// A new consumer.
    pub fn open(&mut self) -> StreamId {
        self.last_id += 1;
        self.streams.insert(self.last_id, Stream::default());
        StreamId(self.last_id)
    }

    /// Ends a consumer with all its subscriptions. Ended ones are passed over.
    pub fn close(&mut self, stream: StreamId) {
        let Some(stream) = self.streams.remove(&stream.0) else { return };
        for id in stream.subscriptions {
            if let Some(subscription) = self.subscriptions.remove(&id) {
                self.index.remove(&subscription.keys, id);
            }
        }
    }

    /// Lets `stream` hear of `keys`. Poll the stream afterwards: there may be something at once.
    /// None if the stream was closed.
    pub fn subscribe(
        &mut self,
        stream: StreamId,
        keys: Keys,
        start: Start,
    ) -> Option<SubscriptionId> {
        let consumer = self.streams.get_mut(&stream.0)?;
        self.last_id += 1;
        let id = self.last_id;
        consumer.subscriptions.insert(id);
        let (start, next) = match start {
            Start::Now => (0, self.current + 1),
            Start::At(revision) => (revision, revision),
        };
        self.subscriptions.insert(
            id,
            Subscription {
                stream: stream.0,
                keys,
                start,
                next,
                queue: VecDeque::new(),
                queue_weight: 0,
                feed: Feed::Behind,
                ready: false,
            },
        );
        if next > self.current {
            self.go_live(id);
        } else {
            // The consumer is told to poll, so there is no one to wake.
            let _ = self.mark_ready(id);
        }
        Some(SubscriptionId(id))
    }

    /// Ends a subscription. One that ended already is passed over.
    pub fn cancel(&mut self, subscription: SubscriptionId) {
        let id = subscription.0;
        let Some(ended) = self.subscriptions.remove(&id) else { return };
        self.index.remove(&ended.keys, id);
        if let Some(stream) = self.streams.get_mut(&ended.stream) {
            stream.subscriptions.remove(&id);
            if ended.ready {
                stream.ready.retain(|ready| *ready != id);
            }
        }
    }

    /// What happened since the newest published revision. Call it after the store has published the
    /// revision, so that history never knows less than the hub.
    ///
    /// # Panics
    /// If revisions do not come in order, which is a bug of the caller.
    pub fn publish(&mut self, batch: Batch<E>) -> Wakes {
        let revision = batch.revision();
        assert!(revision > self.current, "batches are published in revision order");
        let mut wakes = Wakes::default();
        match &batch {
            Batch::Events { events, .. } => self.deliver(revision, events, &mut wakes),
            Batch::Named { first, last, .. } => {
                let mut touched = Vec::new();
                self.index.each_touching(first, last, &mut |id| touched.push(id));
                for id in touched {
                    self.fall_behind(id, revision, &mut wakes);
                }
            }
        }
        self.window.push(batch);
        self.current = revision;
        wakes
    }

    /// What history said.
    pub fn answer(&mut self, answer: Answer<E>) -> Wakes {
        let id = answer.subscription.0;
        let mut wakes = Wakes::default();
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return wakes };
        if !matches!(subscription.feed, Feed::Asked) || subscription.next != answer.from {
            return wakes;
        }
        match answer.page {
            Ok(page) => {
                debug_assert!(
                    page.events.iter().all(|event| {
                        (answer.from..page.next).contains(&event.revision())
                            && subscription.keys.contains(event.key())
                    }),
                    "history tells what it was asked"
                );
                debug_assert!(
                    page.events.is_sorted_by_key(|event| (event.revision(), event.sub())),
                    "history tells in order"
                );
                subscription.feed = Feed::Behind;
                subscription.next = page.next.max(answer.from);
                subscription.queue_weight = page.events.iter().map(E::weight).sum();
                subscription.queue = page.events.into();
            }
            Err(HistoryError::Compacted { revision }) => {
                subscription.feed = Feed::Compacted { revision: revision.max(self.compacted) };
            }
            Err(HistoryError::Failed { why }) => subscription.feed = Feed::Failed { why },
        }
        wakes.0.extend(self.mark_ready(id));
        wakes
    }

    /// Revisions below `revision` may no longer be asked for. Who is behind and still needs them is
    /// told at the next poll, after what was queued already.
    pub fn compact(&mut self, revision: u64) {
        self.compacted = self.compacted.max(revision);
    }

    /// The store was replaced by one at a later revision (an installed image): what lies in between
    /// was not published, so every subscription catches up.
    pub fn reset(&mut self, current: u64, compacted: u64) -> Wakes {
        let mut wakes = Wakes::default();
        let missed = self.current + 1;
        self.current = self.current.max(current);
        self.compacted = self.compacted.max(compacted);
        self.window.clear(self.current + 1);
        let live = self.subscriptions.iter().filter(|(_, known)| matches!(known.feed, Feed::Live));
        let live: Vec<u64> = live.map(|(id, _)| *id).collect();
        for id in live {
            self.fall_behind(id, missed, &mut wakes);
        }
        wakes
    }

    /// The next thing that one of the stream's subscriptions has, in turn. When there is none (or
    /// the stream was closed), `waker` is woken once there is.
    pub fn poll(&mut self, stream: StreamId, waker: &Waker) -> Poll<(SubscriptionId, Next<E>)> {
        loop {
            let Some(consumer) = self.streams.get_mut(&stream.0) else { return Poll::Pending };
            let Some(id) = consumer.ready.pop_front() else {
                if !consumer.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                    consumer.waker = Some(waker.clone());
                }
                return Poll::Pending;
            };
            if let Some(next) = self.advance(id) {
                return Poll::Ready((SubscriptionId(id), next));
            }
        }
    }

    /// The revision up to which the subscription was given everything there is. None while it was
    /// not: something is queued, it is catching up, or its start lies in the future.
    #[must_use]
    pub fn progress(&self, subscription: SubscriptionId) -> Option<u64> {
        let known = self.subscriptions.get(&subscription.0)?;
        let synced = matches!(known.feed, Feed::Live) && known.queue.is_empty();
        if !synced || known.start > self.current {
            return None;
        }
        // History can be ahead of what was published; then so is this subscription.
        Some(self.current.max(known.next.saturating_sub(1)))
    }

    /// The revision up to which all subscriptions of the stream were given everything there is.
    #[must_use]
    pub fn progress_of_all(&self, stream: StreamId) -> Option<u64> {
        let consumer = self.streams.get(&stream.0)?;
        let each = consumer.subscriptions.iter().map(|id| self.progress(SubscriptionId(*id)));
        each.collect::<Option<Vec<u64>>>()?.into_iter().min().or(Some(self.current))
    }

    /// Gives each live subscription its part of a revision.
    fn deliver(&mut self, revision: u64, events: &[E], wakes: &mut Wakes) {
        debug_assert!(events.iter().all(|event| event.revision() == revision), "one revision");
        debug_assert!(events.is_sorted_by_key(|event| event.sub()), "in order");
        let mut hits: Vec<(u64, usize)> = Vec::new();
        for (place, event) in events.iter().enumerate() {
            self.index.each_at(event.key(), &mut |id| hits.push((id, place)));
        }
        hits.sort_unstable();
        for hit in hits.chunk_by(|one, other| one.0 == other.0) {
            let id = hit[0].0;
            let Some(subscription) = self.subscriptions.get_mut(&id) else { continue };
            if subscription.next > revision {
                continue;
            }
            let weight: usize = hit.iter().map(|(_, place)| events[*place].weight()).sum();
            let total = subscription.queue_weight + weight;
            if total > self.options.queue_weight && !subscription.queue.is_empty() {
                self.fall_behind(id, revision, wakes);
                continue;
            }
            subscription.queue_weight = total;
            subscription.queue.extend(hit.iter().map(|(_, place)| events[*place].clone()));
            wakes.0.extend(self.mark_ready(id));
        }
    }

    /// A live subscription will not be given `revision` here and must fetch it.
    fn fall_behind(&mut self, id: u64, revision: u64, wakes: &mut Wakes) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        self.index.remove(&subscription.keys, id);
        subscription.feed = Feed::Behind;
        subscription.next = subscription.next.max(revision);
        wakes.0.extend(self.mark_ready(id));
    }

    fn go_live(&mut self, id: u64) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.feed = Feed::Live;
        self.index.insert(&subscription.keys, id);
    }

    /// Puts a subscription on its stream's ready list; the waker, if the stream waits.
    fn mark_ready(&mut self, id: u64) -> Option<Waker> {
        let subscription = self.subscriptions.get_mut(&id)?;
        if subscription.ready {
            return None;
        }
        subscription.ready = true;
        let stream = self.streams.get_mut(&subscription.stream)?;
        stream.ready.push_back(id);
        stream.waker.take()
    }

    /// What a subscription that was taken from the ready list has; it is put back if there is more.
    fn advance(&mut self, id: u64) -> Option<Next<E>> {
        let subscription = self.subscriptions.get_mut(&id)?;
        subscription.ready = false;
        if subscription.queue.is_empty()
            && matches!(subscription.feed, Feed::Behind)
            && let Some(question) = self.catch_up(id)
        {
            return Some(Next::History(question));
        }
        let subscription = self.subscriptions.get_mut(&id)?;
        if !subscription.queue.is_empty() {
            subscription.queue_weight = 0;
            let events = std::mem::take(&mut subscription.queue);
            if !matches!(subscription.feed, Feed::Live) {
                // Whoever polls now is awake.
                let _ = self.mark_ready(id);
            }
            return Some(Next::Events(events.into()));
        }
        let end = match &mut subscription.feed {
            Feed::Live | Feed::Behind | Feed::Asked => return None,
            Feed::Compacted { revision } => Next::Compacted { revision: *revision },
            Feed::Failed { why } => Next::Failed { why: std::mem::take(why) },
        };
        self.cancel(SubscriptionId(id));
        Some(end)
    }

    /// Brings a subscription that is behind and has an empty queue one step further: it gets a
    /// queue, goes live, ends, or has a question.
    fn catch_up(&mut self, id: u64) -> Option<Question> {
        let subscription = self.subscriptions.get_mut(&id)?;
        if subscription.next < self.compacted {
            subscription.feed = Feed::Compacted { revision: self.compacted };
            return None;
        }
        if subscription.next > self.current {
            self.go_live(id);
            return None;
        }
        if self.window.reaches_back_to(subscription.next) {
            let Subscription { keys, queue, next, .. } = subscription;
            match self.window.collect(keys, *next, self.options.queue_weight, queue) {
                Collected::All => {
                    *next = self.current + 1;
                    self.go_live(id);
                    return None;
                }
                Collected::Enough { next: rest } => {
                    *next = rest;
                    return None;
                }
                Collected::Named { revision } => *next = revision,
            }
            if !subscription.queue.is_empty() {
                return None;
            }
        }
        subscription.feed = Feed::Asked;
        Some(Question {
            subscription: SubscriptionId(id),
            keys: subscription.keys.clone(),
            from: subscription.next,
            weight: self.options.page_weight,
        })
    }
}
