//! Stored pages that are kept in memory, up to a number of bytes.
//!
//! The cache is cut into shards so that readers rarely meet; a lock is held for one look-up.
//! Within a shard a clock hand goes round: a page that was used since it last came by stays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::page::{Body, Page};
use super::place::{FileNumber, Place};

/// A shard has at least this many bytes, so a small cache has few shards.
const SHARD_MIN: usize = 1 << 20;
const SHARDS_MAX: usize = 16;

/// How many rounds of the hand an unused page survives.
const CREDIT_LEAF: u8 = 1;
const CREDIT_INNER: u8 = 3;

#[derive(Debug)]
pub(super) struct Cache {
    shards: Vec<Mutex<Shard>>,
}

type Key = (FileNumber, u32);

#[derive(Debug)]
struct Shard {
    /// Where in `entries` a page is.
    index: BTreeMap<Key, usize>,
    entries: Vec<Entry>,
    /// Bytes held; at most `capacity` after each insert.
    bytes: usize,
    capacity: usize,
    /// The entry that is looked at next when something must leave.
    hand: usize,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    page: Arc<Page>,
    bytes: usize,
    /// Rounds of the hand that the page survives unless it is used again.
    credit: u8,
}

fn credit_of(page: &Page) -> u8 {
    match page.body {
        Body::Inner(_) => CREDIT_INNER,
        Body::Leaf(_) | Body::Overflow(_) => CREDIT_LEAF,
    }
}

fn key_of(place: &Place) -> Key {
    (place.file, place.offset)
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Self {
        let count = (capacity / SHARD_MIN).clamp(1, SHARDS_MAX);
        let shards = (0..count).map(|_| Mutex::new(Shard::new(capacity / count))).collect();
        Self { shards }
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        // Pages lie close together: the low bits of their offsets alone are a poor choice.
        let mixed = key.1.wrapping_add(key.0.0.wrapping_mul(31)).wrapping_mul(0x9E37_79B1) >> 16;
        let shard = &self.shards[mixed as usize % self.shards.len()];
        // A panic elsewhere cannot leave a shard half changed in a way that matters: at worst a
        // page is not found.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, place: &Place) -> Option<Arc<Page>> {
        let key = key_of(place);
        let mut shard = self.shard(key);
        let index = *shard.index.get(&key)?;
        let entry = &mut shard.entries[index];
        entry.credit = credit_of(&entry.page);
        Some(Arc::clone(&entry.page))
    }

    pub(super) fn insert(&self, place: &Place, page: Arc<Page>) {
        let key = key_of(place);
        self.shard(key).insert(key, page);
    }

    /// Forgets the pages of a file that is removed.
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "files are reclaimed by a part of the store to come")
    )]
    pub(super) fn forget(&self, file: FileNumber) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let of_file = shard.index.range((file, 0)..=(file, u32::MAX));
            let keys: Vec<Key> = of_file.map(|(key, _)| *key).collect();
            for key in keys {
                if let Some(index) = shard.index.get(&key).copied() {
                    shard.remove(index);
                }
            }
        }
    }

    /// Bytes held now.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let bytes =
            |shard: &Mutex<Shard>| shard.lock().unwrap_or_else(PoisonError::into_inner).bytes;
        self.shards.iter().map(bytes).sum()
    }
}

impl Shard {
    fn new(capacity: usize) -> Self {
        Self { index: BTreeMap::new(), entries: Vec::new(), bytes: 0, capacity, hand: 0 }
    }

    fn insert(&mut self, key: Key, page: Arc<Page>) {
        let bytes = page.memory();
        if bytes > self.capacity || self.index.contains_key(&key) {
            return;
        }
        while self.bytes + bytes > self.capacity && !self.entries.is_empty() {
            self.turn();
        }
        self.bytes += bytes;
        self.index.insert(key, self.entries.len());
        let credit = credit_of(&page);
        self.entries.push(Entry { key, page, bytes, credit });
    }

    /// Moves the hand one page on; a page without credit leaves.
    fn turn(&mut self) {
        if self.hand >= self.entries.len() {
            self.hand = 0;
        }
        let entry = &mut self.entries[self.hand];
        if entry.credit == 0 {
            self.remove(self.hand);
        } else {
            entry.credit -= 1;
            self.hand += 1;
        }
    }

    fn remove(&mut self, index: usize) {
        let gone = self.entries.swap_remove(index);
        self.bytes -= gone.bytes;
        self.index.remove(&gone.key);
        if let Some(moved) = self.entries.get(index) {
            self.index.insert(moved.key, index);
        }
    }
}
