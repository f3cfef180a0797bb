//! The way into the past: what the hub asks, and what it is told.
//!
//! The hub itself reads nothing. It hands out a [`Question`]; whoever polls runs it where blocking
//! is allowed and brings the [`Answer`] back.

use crate::{Event, Keys, SubscriptionId};

/// A store that can tell what happened.
pub trait History<E: Event> {
    /// The events of `keys` from revision `from` on, in order. Whole revisions only; at least one
    /// revision is looked at, and a page should end once it holds `weight` bytes or a good number
    /// of revisions was looked at, so that a page costs bounded work also when nothing matches.
    ///
    /// # Errors
    /// See [`HistoryError`].
    fn events(&self, keys: &Keys, from: u64, weight: usize) -> Result<Page<E>, HistoryError>;
}

/// A piece of the past.
#[derive(Debug, Clone)]
pub struct Page<E> {
    /// What happened, in (revision, sub) order.
    pub events: Vec<E>,
    /// The first revision that was not looked at: everything before it is in this page or in none.
    pub next: u64,
}

/// Why the past cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryError {
    /// It was forgotten.
    Compacted {
        /// The lowest revision that can still be told.
        revision: u64,
    },
    /// It could not be read.
    Failed {
        /// What went wrong.
        why: String,
    },
}

impl std::fmt::Display for HistoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compacted { revision } => write!(f, "history before {revision} was compacted"),
            Self::Failed { why } => write!(f, "read history: {why}"),
        }
    }
}

impl std::error::Error for HistoryError {}

/// What a subscription needs to know of the past before it can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub(crate) subscription: SubscriptionId,
    /// The keys that it is about.
    pub keys: Keys,
    /// The first revision of interest.
    pub from: u64,
    /// How many bytes of events are enough.
    pub weight: usize,
}

impl Question {
    /// Reads the answer. May block for as long as the history does.
    pub fn run<E: Event>(self, history: &dyn History<E>) -> Answer<E> {
        let page = history.events(&self.keys, self.from, self.weight);
        self.answered(page)
    }

    /// The answer made of a page that was read by other means.
    pub fn answered<E: Event>(self, page: Result<Page<E>, HistoryError>) -> Answer<E> {
        Answer { subscription: self.subscription, from: self.from, page }
    }
}

/// The answer to a [`Question`], for [`Hub::answer`](crate::Hub::answer).
#[derive(Debug, Clone)]
pub struct Answer<E> {
    pub(crate) subscription: SubscriptionId,
    pub(crate) from: u64,
    pub(crate) page: Result<Page<E>, HistoryError>,
}
