//! When this member heard of its leader last, and how long it ever had to wait for that.
//!
//! The engine of a follower goes on naming a leader that is gone until there is another; what is
//! noted here tells the two apart. The longest wait shows whether heartbeats were missed: whatever
//! else a leader does, it should never be much above the heartbeat interval.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::types::MemberId;

/// See the module.
#[derive(Default)]
pub(crate) struct Hearing {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The leader, and when it was heard of last, by the member's monotonic clock.
    last: Option<(MemberId, Duration)>,
    longest: Duration,
}

impl Hearing {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message came in that only the leader sends.
    pub(crate) fn heard(&self, leader: MemberId, now: Duration) {
        let mut state = self.state();
        if let Some((same, before)) = state.last
            && same == leader
        {
            state.longest = state.longest.max(now.saturating_sub(before));
        }
        state.last = Some((leader, now));
    }

    /// How long ago the leader was heard of, whichever it was; `None` if never.
    pub(crate) fn silence(&self, now: Duration) -> Option<Duration> {
        self.state().last.map(|(_, before)| now.saturating_sub(before))
    }

    /// The longest time between two messages of the same leader.
    pub(crate) fn longest(&self) -> Duration {
        self.state().longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_silence_of_one_leader_counts() {
        let hearing = Hearing::default();
        let at = Duration::from_millis;
        assert_eq!(hearing.silence(at(5)), None);
        hearing.heard(MemberId(1), at(100));
        hearing.heard(MemberId(1), at(130));
        hearing.heard(MemberId(2), at(900));
        hearing.heard(MemberId(2), at(910));
        assert_eq!(hearing.longest(), at(30));
        assert_eq!(hearing.silence(at(950)), Some(at(40)));
    }
}
