//! What the clients of a run saw, and what was found to be wrong.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

/// A change that a write asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// The key has this value at the write's revision.
    Put(Bytes, Bytes),
    /// The key is deleted at the write's revision.
    Delete(Bytes),
}

/// A write that was acknowledged with a revision of its own.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) began: Duration,
    pub(super) ended: Duration,
    pub(super) revision: u64,
    pub(super) changes: Vec<Change>,
}

/// A read that was answered.
#[derive(Debug, Clone)]
pub(super) struct Read {
    pub(super) began: Duration,
    pub(super) ended: Duration,
    /// The revision of the view that answered.
    pub(super) revision: u64,
    pub(super) key: Bytes,
    pub(super) value: Option<Bytes>,
    /// Whether it had to be linearizable.
    pub(super) linearizable: bool,
    pub(super) member: u64,
}

/// A change as the store's history tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) revision: u64,
    pub(super) sub: u64,
    pub(super) key: Bytes,
    /// `None`: deleted.
    pub(super) value: Option<Bytes>,
    pub(super) version: u64,
}

/// What one watch was given: everything of `prefix` from `from` up to `upto`.
#[derive(Debug, Clone)]
pub(super) struct Watched {
    pub(super) prefix: Bytes,
    pub(super) from: u64,
    pub(super) upto: u64,
    pub(super) events: Vec<Told>,
}

/// A lease that must be there at the end: granted for longer than the run, never revoked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted(pub(super) i64);

/// Totals for the report.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) acknowledged: u64,
    pub(super) unknown: u64,
    pub(super) reads: u64,
    pub(super) events: u64,
    pub(super) revision: u64,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) writes: Vec<Write>,
    pub(super) unknown: u64,
    /// How often each kind of command was done.
    pub(super) done: BTreeMap<&'static str, u64>,
    /// Proposals that were answered, if that is noted, and whose proof was not looked at.
    pub(super) answered: Vec<u64>,
    pub(super) reads: Vec<Read>,
    pub(super) watched: Vec<Watched>,
    pub(super) leases: Vec<Granted>,
    /// The witness' account of everything that happened, in order.
    pub(super) told: Vec<Told>,
    /// The witness has read everything below this revision.
    pub(super) told_below: u64,
    /// The chain hash at each applied index that any member was seen at.
    pub(super) chains: BTreeMap<u64, [u8; 32]>,
    /// The member that led each term.
    pub(super) leaders: BTreeMap<u64, u64>,
    pub(super) violations: Vec<String>,
}

/// See the module.
pub(super) struct History {
    seen: Mutex<Seen>,
}

impl Default for History {
    fn default() -> Self {
        let seen = Seen { told_below: 2, ..Seen::default() };
        Self { seen: Mutex::new(seen) }
    }
}

/// Violations beyond these are not worth reading.
const VIOLATIONS_MAX: usize = 20;

impl History {
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn violate(&self, what: String) {
        let mut seen = self.seen();
        if seen.violations.len() < VIOLATIONS_MAX && !seen.violations.contains(&what) {
            seen.violations.push(what);
        }
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.seen().violations.clone()
    }

    pub(super) fn counts(&self) -> Counts {
        let seen = self.seen();
        Counts {
            acknowledged: seen.writes.len() as u64,
            unknown: seen.unknown,
            reads: seen.reads.len() as u64,
            events: seen.watched.iter().map(|watched| watched.events.len() as u64).sum(),
            revision: seen.told_below.saturating_sub(1),
        }
    }

    /// A member was seen at an applied index with a chain hash: all must agree on it.
    pub(super) fn chain(&self, member: u64, index: u64, chain: [u8; 32]) {
        let known = *self.seen().chains.entry(index).or_insert(chain);
        if known != chain {
            self.violate(format!("member {member} has another chain hash at index {index}"));
        }
    }

    /// A member says that it leads a term: no other may.
    pub(super) fn leader(&self, member: u64, term: u64) {
        let known = *self.seen().leaders.entry(term).or_insert(member);
        if known != member {
            self.violate(format!("members {known} and {member} both lead term {term}"));
        }
    }
}
