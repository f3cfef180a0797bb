//! A cache bounded by bytes. What was used since the hand last passed stays for another round
//! (second chance); the rest leaves in the order in which it came.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

/// Bytes that every entry costs beside its content: its keys in map and ring, and its slot.
const OVERHEAD: usize = 128;

/// See the module. Values are cheap to clone (reference-counted bytes).
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    /// Split by a hash of the key, so that readers seldom wait for one another.
    shards: [Mutex<Shard<K, V>>; SHARDS],
    /// The bound of each shard. What would exceed it makes older entries leave; what exceeds it
    /// alone is not kept.
    shard_bytes: usize,
}

const SHARDS: usize = 8;

#[derive(Debug)]
struct Shard<K, V> {
    slots: BTreeMap<K, Slot<V>>,
    /// Every key of `slots` once, in the order in which the hand visits them.
    ring: VecDeque<K>,
    /// What `slots` weigh together.
    bytes: usize,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    bytes: usize,
    used: bool,
}

/// How keys are spread over shards.
pub(crate) trait Spread {
    /// Any number; its low bits choose.
    fn spread(&self) -> u64;
}

impl<K: Ord + Copy + Spread, V: Clone> Cache<K, V> {
    pub(crate) fn new(bytes: usize) -> Self {
        let shard =
            || Mutex::new(Shard { slots: BTreeMap::new(), ring: VecDeque::new(), bytes: 0 });
        Self { shards: std::array::from_fn(|_| shard()), shard_bytes: bytes / SHARDS }
    }

    fn shard(&self, key: &K) -> MutexGuard<'_, Shard<K, V>> {
        let modulus = u64::try_from(SHARDS).expect("a handful");
        let n = usize::try_from(key.spread() % modulus).expect("less than a handful");
        self.shards[n].lock().expect("no code panics while it holds a shard")
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut shard = self.shard(key);
        let slot = shard.slots.get_mut(key)?;
        slot.used = true;
        Some(slot.value.clone())
    }

    /// Keeps `value`, which weighs `bytes` of content.
    pub(crate) fn insert(&self, key: K, value: V, bytes: usize) {
        let bytes = bytes + OVERHEAD;
        if bytes > self.shard_bytes {
            return;
        }
        let mut shard = self.shard(&key);
        if shard.slots.contains_key(&key) {
            return;
        }
        shard.slots.insert(key, Slot { value, bytes, used: false });
        shard.ring.push_back(key);
        shard.bytes += bytes;
        while shard.bytes > self.shard_bytes {
            shard.turn();
        }
    }
}

impl<K: Ord + Copy, V> Shard<K, V> {
    /// Moves the hand by one: the oldest entry leaves, or goes to the end if it was used.
    fn turn(&mut self) {
        let key = self.ring.pop_front().expect("a shard with bytes has entries");
        let slot = self.slots.get_mut(&key).expect("each key of the ring has its slot");
        if slot.used {
            slot.used = false;
            self.ring.push_back(key);
            return;
        }
        self.bytes -= slot.bytes;
        self.slots.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Spread for u64 {
        fn spread(&self) -> u64 {
            0
        }
    }

    #[test]
    fn what_is_used_outlives_what_is_not_and_the_bound_holds() {
        let cache = Cache::new(SHARDS * 10 * (OVERHEAD + 100));
        for n in 0..1000u64 {
            cache.insert(n, n, 100);
            if n >= 3 {
                assert_eq!(cache.get(&3), Some(3), "after {n}");
            }
        }
        let kept = (0..1000).filter(|n| cache.get(n).is_some()).count();
        assert_eq!(kept, 10);
        cache.insert(5000, 1, usize::MAX / 2);
        assert_eq!(cache.get(&5000), None);
    }
}
