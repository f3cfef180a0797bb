//! Watching: who wants to hear of which keys, and from when on.
//!
//! The store tells what happened as *batches* of events, one batch for each revision. A
//! [`Subscription`](SubscriptionId) is a range of keys and a cursor (the next revision it has not
//! been given). A *stream* is one consumer with any number of subscriptions; it is what gets woken.
//!
//! ```text
//!               publish(batch)                     poll(stream)
//!   apply ─────────────┐                       ┌──────────────► consumer
//!                      ▼                       │                   │ Next::History(question)
//!      ┌───────────── Hub ─────────────────────┴─┐                 ▼
//!      │ window: the newest batches, bounded      │        question.run(&history)   (a job, it
//!      │ index: key ─► subscriptions that are live│                 │                may block)
//!      │ subscriptions: cursor, queue, feed       │◄────────────────┘
//!      └──────────────────────────────────────────┘       answer(answer)
//! ```
//!
//! A subscription is in one of three feeds:
//!
//! - **live**: it has been given, or has in its queue, everything that was published. It stands in
//!   the index, and each batch puts what matches into its queue.
//! - **behind**: something was published that it has not been given. It stands in no index, costs
//!   nothing when batches are published, and catches up when its consumer asks: from the window where
//!   that reaches back far enough, else from history. It starts here when its start lies in the past,
//!   and falls back to here when its queue is full: so a slow consumer holds nobody up.
//! - **compacted**: what it needs next was forgotten; it is told so and ends.
//!
//! The hub does no IO, never blocks, knows no clock and wakes nobody itself: it hands out questions
//! and wakers. One lock around it is enough.
//!
//! Invariant: a subscription is given each event of its keys at or after its start exactly once, in
//! (revision, sub) order, and all events of one revision together, in one [`Next::Events`].
//!
//! Invariant: progress to revision R is told only when every event up to R was given before.
//!
//! Invariant: memory is bounded by the window plus, for each subscription, one queue of bounded
//! length and one page of history. (How many subscriptions there may be is the consumer's to
//! bound.)
//!
//! Deliberately missing: filters by kind of event, previous values, fragments. They change what a
//! consumer shows, not what it is given.

mod history;
mod hub;
mod index;
mod interval;
mod keys;
mod window;

pub use history::{Answer, History, HistoryError, Page, Question};
pub use hub::{Hub, HubOptions, Next, Start, StreamId, SubscriptionId, Wakes};
pub use keys::{Keys, KeysEnd};
pub use window::Batch;

/// Something that happened to a key. Clones should be cheap: each subscription gets its own.
pub trait Event: Clone {
    /// The key that it happened to.
    fn key(&self) -> &[u8];
    /// The revision in which it happened.
    fn revision(&self) -> u64;
    /// Its place within the revision.
    fn sub(&self) -> u64;
    /// About how many bytes of memory it holds; windows and queues are bounded by it.
    fn weight(&self) -> usize;
}
