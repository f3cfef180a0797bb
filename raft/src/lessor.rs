//! The leader's lease clock.
//!
//! Which leases there are is replicated; how long each still lives is known to the leader alone,
//! by its monotonic clock. A lease ends only through the log: the leader proposes to revoke it,
//! guarded by its term, so that a deposed leader that woke up late revokes nothing.
//!
//! ```text
//!   apply ──granted, revoked──► Lessor ◄──renew── keep-alive
//!                                 │ due(now)
//!                                 ▼
//!                     propose LeaseRevoke, guarded by the term
//! ```
//!
//! Invariant: a lease is never due before its whole time to live has passed since the later of
//! its grant, its last renewal, and the moment at which this leader took over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kstore_mvcc::{LeaseId, Term};

use crate::types::LeaseTimes;

/// What the lessor says of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It lives.
    Known(LeaseTimes),
    /// There is none, or it is over.
    Unknown,
    /// This member does not keep the clock.
    NotLeading,
}

/// How many leases one command revokes at most (etcd's bound).
pub(crate) const REVOKE_BATCH: usize = 1000;

/// See the module.
pub(crate) struct Lessor {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The term that this member leads, while it does.
    leading: Option<Term>,
    /// Every lease, while leading; empty otherwise.
    leases: BTreeMap<LeaseId, Lease>,
    /// The same, in the order in which they end.
    by_end: BTreeSet<(Duration, LeaseId)>,
}

#[derive(Clone, Copy)]
struct Lease {
    granted: u64,
    /// By this member's monotonic clock.
    ends: Duration,
}

impl Lease {
    fn times(self, now: Duration) -> Renewal {
        let left = self.ends.saturating_sub(now).as_secs();
        let remaining = i64::try_from(left).unwrap_or(i64::MAX);
        Renewal::Known(LeaseTimes { granted: self.granted, remaining })
    }
}

impl State {
    fn set(&mut self, id: LeaseId, granted: u64, ends: Duration) {
        if let Some(old) = self.leases.insert(id, Lease { granted, ends }) {
            self.by_end.remove(&(old.ends, id));
        }
        self.by_end.insert((ends, id));
    }

    fn forget(&mut self, id: LeaseId) {
        if let Some(old) = self.leases.remove(&id) {
            self.by_end.remove(&(old.ends, id));
        }
    }
}

impl Lessor {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This member leads from now on. Leases that are applied later come by [`Self::granted`];
    /// call [`Self::adopt`] with those that are there already, after this.
    pub(crate) fn lead(&self, term: Term) {
        let mut state = self.lock();
        if state.leading != Some(term) {
            *state = State { leading: Some(term), ..State::default() };
        }
    }

    /// Takes the leases over that were granted before this member led: each gets its whole time
    /// (or what a checkpoint says), and `grace` for the time without a leader.
    pub(crate) fn adopt(&self, leases: Vec<(LeaseId, u64, u64)>, now: Duration, grace: Duration) {
        let mut state = self.lock();
        if state.leading.is_none() {
            return;
        }
        for (id, granted, remaining) in leases {
            if !state.leases.contains_key(&id) {
                state.set(id, granted, now + grace + Duration::from_secs(remaining));
            }
        }
    }

    /// This member leads no more.
    pub(crate) fn follow(&self) {
        *self.lock() = State::default();
    }

    /// A lease was granted: an entry that says so was applied.
    pub(crate) fn granted(&self, id: LeaseId, seconds: u64, now: Duration) {
        let mut state = self.lock();
        if state.leading.is_some() {
            state.set(id, seconds, now + Duration::from_secs(seconds));
        }
    }

    /// A lease was revoked.
    pub(crate) fn revoked(&self, id: LeaseId) {
        self.lock().forget(id);
    }

    /// Gives a lease its whole time again. One that is over is not renewed: its end is on its way
    /// through the log.
    pub(crate) fn renew(&self, id: LeaseId, now: Duration) -> Renewal {
        let mut state = self.lock();
        if state.leading.is_none() {
            return Renewal::NotLeading;
        }
        let Some(lease) = state.leases.get(&id).copied() else { return Renewal::Unknown };
        if lease.ends <= now {
            return Renewal::Unknown;
        }
        let ends = lease.ends.max(now + Duration::from_secs(lease.granted));
        state.set(id, lease.granted, ends);
        Lease { granted: lease.granted, ends }.times(now)
    }

    /// What a lease has left.
    pub(crate) fn times(&self, id: LeaseId, now: Duration) -> Renewal {
        let state = self.lock();
        if state.leading.is_none() {
            return Renewal::NotLeading;
        }
        state.leases.get(&id).map_or(Renewal::Unknown, |lease| lease.times(now))
    }

    /// The leases that are over, at most [`REVOKE_BATCH`], and the term in which to revoke them.
    pub(crate) fn due(&self, now: Duration) -> Option<(Term, Vec<LeaseId>)> {
        let state = self.lock();
        let term = state.leading?;
        let due: Vec<LeaseId> = state
            .by_end
            .iter()
            .take_while(|(ends, _)| *ends <= now)
            .take(REVOKE_BATCH)
            .map(|(_, id)| *id)
            .collect();
        (!due.is_empty()).then_some((term, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_lease_is_due_when_its_time_is_over_and_not_before() {
        let lessor = Lessor::new();
        lessor.lead(Term(2));
        lessor.granted(LeaseId(7), 10, seconds(100));
        assert_eq!(lessor.due(seconds(109)), None);
        assert_eq!(lessor.due(seconds(110)), Some((Term(2), vec![LeaseId(7)])));
    }

    #[test]
    fn a_renewed_lease_lives_its_whole_time_again() {
        let lessor = Lessor::new();
        lessor.lead(Term(2));
        lessor.granted(LeaseId(7), 10, seconds(100));
        assert!(matches!(lessor.renew(LeaseId(7), seconds(108)), Renewal::Known(_)));
        assert_eq!(lessor.due(seconds(117)), None);
        let times = LeaseTimes { granted: 10, remaining: 1 };
        assert_eq!(lessor.times(LeaseId(7), seconds(117)), Renewal::Known(times));
        assert!(lessor.due(seconds(118)).is_some());
    }

    #[test]
    fn a_lease_that_is_over_is_not_renewed_again() {
        let lessor = Lessor::new();
        lessor.lead(Term(2));
        lessor.granted(LeaseId(7), 10, seconds(100));
        assert_eq!(lessor.renew(LeaseId(7), seconds(110)), Renewal::Unknown);
    }

    #[test]
    fn a_new_leader_gives_every_lease_its_time_and_some_grace() {
        let lessor = Lessor::new();
        lessor.lead(Term(3));
        lessor.granted(LeaseId(8), 5, seconds(50));
        lessor.adopt(vec![(LeaseId(7), 10, 10), (LeaseId(8), 5, 5)], seconds(50), seconds(1));
        assert_eq!(lessor.due(seconds(55)), Some((Term(3), vec![LeaseId(8)])));
        assert_eq!(lessor.due(seconds(61)).unwrap().1, vec![LeaseId(8), LeaseId(7)]);
    }

    #[test]
    fn a_follower_ends_no_lease() {
        let lessor = Lessor::new();
        lessor.granted(LeaseId(7), 1, seconds(0));
        assert_eq!(lessor.due(seconds(100)), None);
        lessor.lead(Term(1));
        lessor.adopt(vec![(LeaseId(7), 1, 1)], seconds(100), seconds(0));
        lessor.follow();
        assert_eq!(lessor.due(seconds(200)), None);
    }
}
