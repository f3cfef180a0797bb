//! The keys that wait for a decision: each once, in order of rank, failed ones with a back-off.
//!
//! ```text
//!            add                    pop
//!   idle ──────────► ready ────────────────► busy ──┐
//!    ▲                 ▲                      │     │ add while busy: ready again when done
//!    │   its time has  │                      │     │
//!    │      come       └──── waiting ◄────────┘ finish(After, Failed, Parked)
//!    └────────────────────────────────────────┘ finish(Idle)
//! ```
//!
//! Times are durations since the process began. Nothing here reads a clock.
//!
//! Invariant: a key is in at most one of `ready` and `waiting`, and never popped while it is busy.
//! Invariant: there are at most as many entries as there are objects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::kinds::Key;

/// What is decided first: lower before higher, then whoever came first.
pub(crate) type Rank = (i64, i64);

/// How long a failing key waits: `first`, then twice that, at most `most`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BackOff {
    pub(crate) first: Duration,
    pub(crate) most: Duration,
}

impl BackOff {
    fn after(&self, failures: u32) -> Duration {
        // Past 2^20 times the first wait, every back-off of ours has long reached its end.
        let factor = 1_u32 << failures.saturating_sub(1).min(20);
        self.first.saturating_mul(factor).min(self.most)
    }
}

/// What becomes of a key whose decision has been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, until something changes.
    Idle,
    /// Look again when this much time has passed, even if nothing changes.
    After(Duration),
    /// It went wrong: again after the back-off. A change shortens the wait.
    Failed,
    /// It cannot be done for now: when something changes, but not before the back-off has ended.
    Parked,
}

/// How long a parked key waits at most; then it is tried without a reason.
const PARKED_MOST: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
struct Entry {
    ready: Option<(Rank, u64)>,
    waiting: Option<Duration>,
    rank: Rank,
    busy: bool,
    /// Something changed while it was busy.
    dirty: bool,
    failures: u32,
    /// A parked key is not ready before this.
    not_before: Duration,
}

#[derive(Debug)]
pub(crate) struct Queue {
    back_off: BackOff,
    entries: BTreeMap<Key, Entry>,
    ready: BTreeSet<(Rank, u64, Key)>,
    waiting: BTreeSet<(Duration, Key)>,
    arrivals: u64,
}

impl Queue {
    pub(crate) fn new(back_off: BackOff) -> Self {
        Self {
            back_off,
            entries: BTreeMap::new(),
            ready: BTreeSet::new(),
            waiting: BTreeSet::new(),
            arrivals: 0,
        }
    }

    /// Something about `key` has changed.
    pub(crate) fn add(&mut self, key: Key, rank: Rank, now: Duration) {
        let entry = self.entries.entry(key.clone()).or_default();
        entry.rank = rank;
        if entry.busy {
            entry.dirty = true;
        } else if entry.ready.is_none() {
            let due = entry.not_before;
            self.place(key, if due > now { Some(due) } else { None });
        }
    }

    /// The key whose turn it is; it is busy until `finish`.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Key> {
        while let Some((due, key)) = self.waiting.first().cloned() {
            if due > now {
                break;
            }
            self.place(key, None);
        }
        let (_, _, key) = self.ready.pop_first()?;
        let entry = self.entries.get_mut(&key)?;
        entry.ready = None;
        entry.busy = true;
        entry.dirty = false;
        Some(key)
    }

    /// The decision about `key` has been carried out.
    pub(crate) fn finish(&mut self, key: &Key, next: Next, now: Duration) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.busy = false;
        let dirty = std::mem::take(&mut entry.dirty);
        entry.not_before = Duration::ZERO;
        let due = match next {
            Next::Idle | Next::After(_) if dirty => Some(now),
            Next::Idle => None,
            Next::After(wait) => Some(now + wait),
            Next::Failed => {
                entry.failures = entry.failures.saturating_add(1);
                Some(now + self.back_off.after(entry.failures))
            }
            Next::Parked => {
                entry.failures = entry.failures.saturating_add(1);
                entry.not_before = now + self.back_off.after(entry.failures);
                Some(if dirty { entry.not_before } else { now + PARKED_MOST })
            }
        };
        if matches!(next, Next::Idle | Next::After(_)) {
            entry.failures = 0;
        }
        match due {
            None => {
                self.entries.remove(key);
            }
            Some(due) => self.place(key.clone(), (due > now).then_some(due)),
        }
    }

    /// When `pop` has something to give, if nothing is added.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        if self.ready.is_empty() {
            self.waiting.first().map(|(due, _)| *due)
        } else {
            Some(Duration::ZERO)
        }
    }

    /// Makes an entry wait until `due`, or ready.
    fn place(&mut self, key: Key, due: Option<Duration>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let Some(before) = entry.waiting.take() {
            self.waiting.remove(&(before, key.clone()));
        }
        if let Some(due) = due {
            entry.waiting = Some(due);
            self.waiting.insert((due, key));
        } else {
            self.arrivals += 1;
            entry.ready = Some((entry.rank, self.arrivals));
            self.ready.insert((entry.rank, self.arrivals, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    fn queue() -> Queue {
        Queue::new(BackOff { first: ms(5), most: ms(16_000) })
    }

    fn key(name: &str) -> Key {
        Key::new("", name)
    }

    #[test]
    fn a_key_that_is_added_twice_is_given_once() {
        let mut queue = queue();
        queue.add(key("a"), (0, 0), ms(0));
        queue.add(key("a"), (0, 0), ms(0));
        assert_eq!(queue.pop(ms(0)), Some(key("a")));
        assert_eq!(queue.pop(ms(0)), None);
    }

    #[test]
    fn lower_ranks_come_first_and_equal_ones_in_order() {
        let mut queue = queue();
        queue.add(key("late"), (0, 0), ms(0));
        queue.add(key("later"), (0, 0), ms(0));
        queue.add(key("first"), (-7, 0), ms(0));
        let order: Vec<Key> = std::iter::from_fn(|| queue.pop(ms(0))).collect();
        assert_eq!(order, [key("first"), key("late"), key("later")]);
    }

    #[test]
    fn a_change_while_busy_is_not_lost() {
        let mut queue = queue();
        queue.add(key("a"), (0, 0), ms(0));
        queue.pop(ms(0));
        queue.add(key("a"), (0, 0), ms(0));
        assert_eq!(queue.pop(ms(0)), None, "busy");
        queue.finish(&key("a"), Next::Idle, ms(1));
        assert_eq!(queue.pop(ms(1)), Some(key("a")));
    }

    #[test]
    fn failures_wait_longer_each_time_and_a_change_ends_the_wait() {
        let mut queue = queue();
        queue.add(key("a"), (0, 0), ms(0));
        for wait in [5, 10, 20, 40] {
            queue.pop(ms(0));
            queue.finish(&key("a"), Next::Failed, ms(0));
            assert_eq!(queue.next_due(), Some(ms(wait)));
            queue.add(key("a"), (0, 0), ms(0));
            assert_eq!(queue.next_due(), Some(ms(0)));
        }
        for _ in 0..40 {
            queue.pop(ms(0));
            queue.finish(&key("a"), Next::Failed, ms(0));
            queue.add(key("a"), (0, 0), ms(0));
        }
        queue.pop(ms(0));
        queue.finish(&key("a"), Next::Failed, ms(0));
        assert_eq!(queue.next_due(), Some(ms(16_000)));
    }

    #[test]
    fn a_parked_key_waits_for_a_change_and_for_its_back_off() {
        let mut queue = queue();
        queue.add(key("a"), (0, 0), ms(0));
        queue.pop(ms(0));
        queue.finish(&key("a"), Next::Parked, ms(0));
        assert_eq!(queue.next_due(), Some(PARKED_MOST));
        queue.add(key("a"), (0, 0), ms(1));
        assert_eq!(queue.pop(ms(4)), None);
        assert_eq!(queue.pop(ms(5)), Some(key("a")));
    }

    #[test]
    fn an_idle_key_leaves_nothing_behind() {
        let mut queue = queue();
        queue.add(key("a"), (0, 0), ms(0));
        queue.pop(ms(0));
        queue.finish(&key("a"), Next::Idle, ms(0));
        assert!(queue.entries.is_empty());
        assert_eq!(queue.next_due(), None);
    }
}
