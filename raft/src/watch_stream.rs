//! One consumer's watches: the hub's stream with its history questions answered by jobs.
//!
//! A hundred watches of one gRPC stream are one task and one waker here; nothing is allocated for
//! an event but its place in the answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use crate::event::Event;
use kstore_host::Jobs;
use kstore_mvcc::{Access, HistoryLimit, KeyRange, RangeEnd, ReadError, Revision, Snapshot};
use kstore_watch::{
    Answer, History, HistoryError, Hub, Keys, KeysEnd, Next, Page, Question, Start, StreamId,
    SubscriptionId,
};
use tokio::sync::oneshot;

use crate::tasks::{BoxFuture, Tasks};

/// The hub, shared by the apply lane and all consumers.
pub(crate) type SharedHub = Arc<Mutex<Hub<Event>>>;

/// Takes the hub's lock; it is never held while anything blocks.
pub(crate) fn lock(hub: &SharedHub) -> MutexGuard<'_, Hub<Event>> {
    hub.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a watch has to tell.
#[derive(Debug)]
pub enum WatchItem {
    /// Events in order, whole revisions; never empty.
    Events(Vec<Event>),
    /// What the watch needs next was compacted; it has ended. A new one may start at the revision.
    Compacted(Revision),
    /// Its history cannot be read; it has ended.
    Failed(String),
}

/// See the module. Dropping it ends its watches.
pub struct WatchStream {
    hub: SharedHub,
    stream: StreamId,
    /// The newest view, for history.
    view: Arc<dyn Fn() -> Snapshot + Send + Sync>,
    jobs: Arc<dyn Jobs>,
    tasks: Arc<dyn Tasks>,
    /// Questions under way; at most one for each subscription.
    asked: Vec<oneshot::Receiver<Answer<Event>>>,
    /// Questions that the pool had no room for, and when to try again.
    refused: Vec<(BoxFuture<'static, ()>, Question)>,
}

impl std::fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WatchStream").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// How long to wait when the pool is full.
const RETRY: Duration = Duration::from_millis(20);

/// Bytes of records and revisions that one question looks at, at most.
const PAGE_REVISIONS: u64 = 16 * 1024;

impl WatchStream {
    pub(crate) fn open(
        hub: SharedHub,
        view: Arc<dyn Fn() -> Snapshot + Send + Sync>,
        jobs: Arc<dyn Jobs>,
        tasks: Arc<dyn Tasks>,
    ) -> Self {
        let stream = lock(&hub).open();
        Self { hub, stream, view, jobs, tasks, asked: Vec::new(), refused: Vec::new() }
    }

    /// Begins to watch `range` from revision `from` on (it may lie in the future), or from now on.
    /// Poll the stream afterwards: the waker of an earlier poll is not woken for this. `None` when
    /// the range is empty.
    pub fn subscribe(&mut self, range: KeyRange, from: Option<Revision>) -> Option<SubscriptionId> {
        let end = match range.end {
            RangeEnd::Single => return self.subscribe_keys(Keys::single(range.start), from),
            RangeEnd::Before(end) => KeysEnd::Before(end),
            RangeEnd::Unbounded => KeysEnd::Unbounded,
        };
        self.subscribe_keys(Keys { start: range.start, end }, from)
    }

    fn subscribe_keys(&self, keys: Keys, from: Option<Revision>) -> Option<SubscriptionId> {
        let start = from.map_or(Start::Now, |revision| Start::At(revision.0));
        lock(&self.hub).subscribe(self.stream, keys, start)
    }

    /// Ends one watch.
    pub fn cancel(&mut self, subscription: SubscriptionId) {
        lock(&self.hub).cancel(subscription);
    }

    /// Everything of this watch up to the revision has been handed out. `None` while it catches
    /// up or its start lies in the future.
    #[must_use]
    pub fn progress(&self, subscription: SubscriptionId) -> Option<Revision> {
        lock(&self.hub).progress(subscription).map(Revision)
    }

    /// Everything of every watch of this stream up to the revision has been handed out.
    #[must_use]
    pub fn progress_of_all(&self) -> Option<Revision> {
        lock(&self.hub).progress_of_all(self.stream).map(Revision)
    }

    /// The next thing that one of the watches has to tell.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<(SubscriptionId, WatchItem)> {
        loop {
            self.take_answers(cx);
            self.ask_again(cx);
            let polled = lock(&self.hub).poll(self.stream, cx.waker());
            let Poll::Ready((id, next)) = polled else { return Poll::Pending };
            let item = match next {
                Next::Events(events) => WatchItem::Events(events),
                Next::Compacted { revision } => WatchItem::Compacted(Revision(revision)),
                Next::Failed { why } => WatchItem::Failed(why),
                Next::History(question) => {
                    self.ask(question);
                    continue;
                }
            };
            return Poll::Ready((id, item));
        }
    }

    /// The next thing that one of the watches has to tell.
    pub async fn next(&mut self) -> (SubscriptionId, WatchItem) {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn ask(&mut self, question: Question) {
        let (sender, receiver) = oneshot::channel();
        let snapshot = (self.view)();
        let asked = question.clone();
        let job = move || drop(sender.send(asked.run(&SnapshotHistory(snapshot))));
        match self.jobs.run(Box::new(job)) {
            Ok(()) => self.asked.push(receiver),
            Err(_) => self.refused.push((self.tasks.sleep(RETRY), question)),
        }
    }

    fn take_answers(&mut self, cx: &mut Context<'_>) {
        let hub = &self.hub;
        self.asked.retain_mut(|receiver| match Pin::new(receiver).poll(cx) {
            Poll::Pending => true,
            Poll::Ready(answer) => {
                // A job that was dropped unrun ends with the member; nobody waits for it then.
                if let Ok(answer) = answer {
                    let wakes = lock(hub).answer(answer);
                    wakes.wake();
                }
                false
            }
        });
    }

    fn ask_again(&mut self, cx: &mut Context<'_>) {
        let mut ready = Vec::new();
        self.refused.retain_mut(|(sleep, question)| match sleep.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(()) => {
                ready.push(question.clone());
                false
            }
        });
        for question in ready {
            self.ask(question);
        }
        // A refusal just now has a sleep that was never polled.
        for (sleep, _) in &mut self.refused {
            let _ = sleep.as_mut().poll(cx);
        }
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        lock(&self.hub).close(self.stream);
    }
}

/// History as one view of the store tells it.
struct SnapshotHistory(Snapshot);

impl History<Event> for SnapshotHistory {
    fn events(&self, keys: &Keys, from: u64, weight: usize) -> Result<Page<Event>, HistoryError> {
        let end = match &keys.end {
            KeysEnd::Single => RangeEnd::Single,
            KeysEnd::Before(end) => RangeEnd::Before(end.clone()),
            KeysEnd::Unbounded => RangeEnd::Unbounded,
        };
        let range = KeyRange { start: keys.start.clone(), end };
        let limit = HistoryLimit { bytes: weight as u64, revisions: PAGE_REVISIONS };
        match self.0.history(&range, Revision(from), limit, Access::Disk) {
            Ok(page) => {
                let events = page.events.into_iter().filter_map(Event::from_record).collect();
                Ok(Page { events, next: page.next.0 })
            }
            Err(ReadError::Compacted { compacted }) => {
                Err(HistoryError::Compacted { revision: compacted.0 })
            }
            Err(error) => Err(HistoryError::Failed { why: error.to_string() }),
        }
    }
}
