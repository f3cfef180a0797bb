//! Which live subscriptions want to hear of a key.
//!
//! Single keys are by far the most, so they have a map of their own: a write costs one lookup
//! there, and a search among the ranges.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use crate::interval::{End, Intervals};
use crate::{Keys, KeysEnd};

/// See the head of this file. Ids are those of subscriptions.
#[derive(Debug, Default)]
pub(crate) struct Index {
    singles: BTreeMap<Bytes, BTreeSet<u64>>,
    ranges: Intervals,
}

impl Index {
    pub(crate) fn insert(&mut self, keys: &Keys, id: u64) {
        match range_end(keys) {
            None => {
                self.singles.entry(keys.start.clone()).or_default().insert(id);
            }
            Some(end) => self.ranges.insert(&keys.start, &end, id),
        }
    }

    pub(crate) fn remove(&mut self, keys: &Keys, id: u64) {
        match range_end(keys) {
            None => {
                if let Some(ids) = self.singles.get_mut(&keys.start) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.singles.remove(&keys.start);
                    }
                }
            }
            Some(end) => self.ranges.remove(&keys.start, &end, id),
        }
    }

    /// Calls `found` with each subscription that holds `key`.
    pub(crate) fn each_at(&self, key: &[u8], found: &mut dyn FnMut(u64)) {
        if let Some(ids) = self.singles.get(key) {
            ids.iter().for_each(|id| found(*id));
        }
        self.ranges.each_at(key, found);
    }

    /// Calls `found` with each subscription that may hold a key between `first` and `last`, both
    /// included.
    pub(crate) fn each_touching(&self, first: &[u8], last: &[u8], found: &mut dyn FnMut(u64)) {
        if first > last {
            return;
        }
        let singles =
            self.singles.range::<[u8], _>((Bound::Included(first), Bound::Included(last)));
        singles.flat_map(|(_, ids)| ids).for_each(|id| found(*id));
        self.ranges.each_touching(first, last, found);
    }
}

fn range_end(keys: &Keys) -> Option<End> {
    match &keys.end {
        KeysEnd::Single => None,
        KeysEnd::Before(end) => Some(End::Before(end.clone())),
        KeysEnd::Unbounded => Some(End::Never),
    }
}
