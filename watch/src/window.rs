//! The newest batches, kept so that whoever is only a little behind need not read history.
//!
//! Invariant: the window holds every batch from `first` (included) up to the newest published one,
//! in order. What it lacks was dropped from its old end.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::{Event, Keys};

/// What one revision did.
#[derive(Debug, Clone)]
pub enum Batch<E> {
    /// All its events, in order.
    Events {
        /// The revision.
        revision: u64,
        /// Its events; each carries this revision.
        events: Vec<E>,
    },
    /// Too many events to hand around: whoever wants them reads history.
    Named {
        /// The revision.
        revision: u64,
        /// The lowest key that it changed.
        first: Bytes,
        /// The highest key that it changed.
        last: Bytes,
    },
}

impl<E: Event> Batch<E> {
    /// The revision whose doing this is.
    pub fn revision(&self) -> u64 {
        match self {
            Self::Events { revision, .. } | Self::Named { revision, .. } => *revision,
        }
    }

    /// About how many bytes it holds.
    fn weight(&self) -> usize {
        match self {
            Self::Events { events, .. } => {
                BATCH_WEIGHT + events.iter().map(E::weight).sum::<usize>()
            }
            Self::Named { first, last, .. } => BATCH_WEIGHT + first.len() + last.len(),
        }
    }
}

/// What a batch weighs beside its events, so that the number of batches is bounded too.
const BATCH_WEIGHT: usize = 64;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Window<E> {
    batches: VecDeque<Batch<E>>,
    /// Revisions below this one are not (all) in the window.
    first: u64,
    /// The sum over `batches`.
    weight: usize,
    /// At the bound the oldest batches are dropped; subscriptions that needed them read history.
    weight_max: usize,
}

/// What [`Window::collect`] found.
pub(crate) enum Collected {
    /// Everything up to the newest batch was looked at.
    All,
    /// There was enough; `next` was not looked at.
    Enough { next: u64 },
    /// What happened to the keys at `revision` must be read from history.
    Named { revision: u64 },
}

impl<E: Event> Window<E> {
    pub(crate) fn new(first: u64, weight_max: usize) -> Self {
        Self { batches: VecDeque::new(), first, weight: 0, weight_max }
    }

    /// Whether everything from `revision` on is here.
    pub(crate) fn reaches_back_to(&self, revision: u64) -> bool {
        revision >= self.first
    }

    pub(crate) fn push(&mut self, batch: Batch<E>) {
        self.weight += batch.weight();
        self.batches.push_back(batch);
        while self.weight > self.weight_max {
            let Some(oldest) = self.batches.pop_front() else { break };
            self.weight -= oldest.weight();
            self.first = oldest.revision() + 1;
        }
    }

    /// Forgets everything; batches from `first` on will follow.
    pub(crate) fn clear(&mut self, first: u64) {
        self.batches.clear();
        self.weight = 0;
        self.first = first;
    }

    /// Copies the events of `keys` from revision `from` on into `into`, until it holds `weight_max`
    /// bytes (always at least one revision).
    pub(crate) fn collect(
        &self,
        keys: &Keys,
        from: u64,
        weight_max: usize,
        into: &mut VecDeque<E>,
    ) -> Collected {
        debug_assert!(
            self.reaches_back_to(from),
            "the caller asked whether the window reaches back"
        );
        let mut weight = 0;
        let begin = self.batches.partition_point(|batch| batch.revision() < from);
        for batch in self.batches.range(begin..) {
            match batch {
                Batch::Named { revision, first, last } if keys.touches(first, last) => {
                    return Collected::Named { revision: *revision };
                }
                Batch::Named { .. } => {}
                Batch::Events { revision, .. } if weight >= weight_max && !into.is_empty() => {
                    return Collected::Enough { next: *revision };
                }
                Batch::Events { events, .. } => {
                    for event in events.iter().filter(|event| keys.contains(event.key())) {
                        weight += event.weight();
                        into.push_back(event.clone());
                    }
                }
            }
        }
        Collected::All
    }
}
