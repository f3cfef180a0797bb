//! What applied commands did to keys, for those who watch.

use bytes::Bytes;
use kstore_mvcc::{Record, Revision, Sub};

/// What one revision did: all its events, or, when there are too many to hand around, where to find
/// them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventBatch {
    /// All of them, in order.
    Events {
        /// The revision.
        revision: Revision,
        /// The puts and deletes as the store's records.
        events: Vec<Record>,
    },
    /// Read them from the store's history.
    Named {
        /// The revision.
        revision: Revision,
        /// How many there are.
        events: u64,
        /// The lowest key that changed.
        first: Bytes,
        /// The highest key that changed.
        last: Bytes,
    },
}

impl EventBatch {
    /// The revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        match self {
            Self::Events { revision, .. } | Self::Named { revision, .. } => *revision,
        }
    }

    /// How many events there are.
    #[must_use]
    pub fn events(&self) -> u64 {
        match self {
            Self::Events { events, .. } => events.len() as u64,
            Self::Named { events, .. } => *events,
        }
    }
}

/// The events that one command made, for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSpan {
    /// Their revision.
    pub revision: Revision,
    /// The place of the first within it.
    pub first: Sub,
    /// How many they are.
    pub events: u64,
}

/// A batch with more events than this is only named.
const EVENTS_MAX: usize = 1000;

/// A batch with more bytes of keys and values than this is only named. More than one request may
/// bring, so that what comes from clients directly is handed around.
const BYTES_MAX: usize = 4 << 20;

/// Collects the events of one command.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    /// Empty once there were too many.
    events: Vec<Record>,
    bytes: usize,
    named: Option<Keys>,
    count: u64,
}

/// The lowest and the highest key of a batch that is only named.
#[derive(Debug)]
struct Keys {
    first: Bytes,
    last: Bytes,
}

impl Collector {
    pub(crate) fn push(&mut self, event: Record) {
        self.count += 1;
        if let Some(keys) = &mut self.named {
            keys.widen(&event.key);
            return;
        }
        self.bytes += event.key.len() + event.value.len();
        self.events.push(event);
        if self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let events = std::mem::take(&mut self.events);
            let mut keys = Keys { first: events[0].key.clone(), last: events[0].key.clone() };
            events.iter().for_each(|event| keys.widen(&event.key));
            self.named = Some(keys);
        }
    }

    /// The batch, if anything happened in it.
    pub(crate) fn finish(self, revision: Revision) -> Option<EventBatch> {
        if self.count == 0 {
            return None;
        }
        Some(match self.named {
            None => EventBatch::Events { revision, events: self.events },
            // Copied: the keys may be slices of a large request.
            Some(keys) => EventBatch::Named {
                revision,
                events: self.count,
                first: Bytes::copy_from_slice(&keys.first),
                last: Bytes::copy_from_slice(&keys.last),
            },
        })
    }
}

impl Keys {
    fn widen(&mut self, key: &Bytes) {
        if *key < self.first {
            self.first = key.clone();
        }
        if *key > self.last {
            self.last = key.clone();
        }
    }
}
