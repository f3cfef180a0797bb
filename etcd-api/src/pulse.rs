//! The member's pulse: a look at it ten times a second, so that requests need not look.
//!
//! ```text
//!   Member::status ──every 100 ms──► Pulse ──► term, bytes in use      read by every request
//!                                      └─────► lost leader             ends streams that need one
//! ```
//!
//! It does three small things of its own: it counts how long there has been no leader, and after
//! three election timeouts tells the streams that asked for one; it raises the alarm about space
//! when a request met the quota; and it clears that alarm again once there is room, so that nobody
//! has to.
//!
//! Invariant: the term only grows, whoever reports it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kstore_machine::command::{Alarm, AlarmAction, AlarmKind, Command};
use kstore_mvcc::Term;
use kstore_raft::{MemberId, Status};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::api::Api;

/// How often the member is looked at.
const BEAT: Duration = Duration::from_millis(100);

/// After how many election timeouts without a leader streams that need one end (etcd's number).
const ELECTION_TIMEOUTS_WITHOUT_LEADER: u32 = 3;

/// The leader that this member knows of, unless that is the member itself and no quorum has heard
/// of it lately: then nothing can be ordered, and clients are better off elsewhere.
pub(crate) fn working_leader(status: &Status) -> Option<MemberId> {
    status.leader.filter(|_| status.has_quorum)
}

#[derive(Debug)]
pub(crate) struct Pulse {
    /// The highest term seen.
    term: AtomicU64,
    /// Whether there was a leader that works, at the last beat.
    has_leader: AtomicBool,
    /// Bytes that live data takes, at the last beat.
    bytes_in_use: AtomicU64,
    /// How often the leader was lost for so long that streams had to end.
    lost_leader: watch::Sender<u64>,
    /// Set by a request that met the quota; the next beat raises the alarm and resets it.
    met_quota: AtomicBool,
    /// Whether an alarm about space of this process's making may be up. Alarms that somebody
    /// else raised are somebody else's to clear.
    raised_alarm: AtomicBool,
}

impl Pulse {
    pub(crate) fn new(status: &Status) -> Self {
        Self {
            term: AtomicU64::new(status.term.0),
            has_leader: AtomicBool::new(working_leader(status).is_some()),
            bytes_in_use: AtomicU64::new(status.store_bytes_in_use),
            lost_leader: watch::Sender::new(0),
            met_quota: AtomicBool::new(false),
            raised_alarm: AtomicBool::new(false),
        }
    }

    pub(crate) fn term(&self) -> Term {
        Term(self.term.load(Ordering::Relaxed))
    }

    pub(crate) fn saw_term(&self, term: Term) {
        // Read first: it hardly ever grows, and a write would move the line between cores.
        if self.term.load(Ordering::Relaxed) < term.0 {
            self.term.fetch_max(term.0, Ordering::Relaxed);
        }
    }

    pub(crate) fn has_leader(&self) -> bool {
        self.has_leader.load(Ordering::Relaxed)
    }

    /// Changes whenever streams that need a leader have to end.
    pub(crate) fn lost_leader(&self) -> watch::Receiver<u64> {
        self.lost_leader.subscribe()
    }

    /// Whether `bytes` more fit into the quota. A request that does not fit has the alarm raised.
    pub(crate) fn has_room(&self, quota: Option<u64>, bytes: u64) -> bool {
        let Some(quota) = quota else { return true };
        if self.bytes_in_use.load(Ordering::Relaxed).saturating_add(bytes) <= quota {
            return true;
        }
        self.met_quota.store(true, Ordering::Relaxed);
        false
    }

    /// Beats until it is dropped.
    pub(crate) async fn run(&self, api: &Api) {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = api.settings().election_timeout * ELECTION_TIMEOUTS_WITHOUT_LEADER;
        let mut without_leader = Duration::ZERO;
        loop {
            beats.tick().await;
            let status = api.member().status();
            self.saw_term(status.term);
            self.bytes_in_use.store(status.store_bytes_in_use, Ordering::Relaxed);
            let before = without_leader;
            let has_leader = working_leader(&status).is_some();
            self.has_leader.store(has_leader, Ordering::Relaxed);
            without_leader = match has_leader {
                true => Duration::ZERO,
                false => without_leader + BEAT,
            };
            if before < patience && without_leader >= patience {
                self.lost_leader.send_modify(|times| *times += 1);
            }
            self.tend_alarm(api, status.store_bytes_in_use).await;
        }
    }

    /// Raises the alarm about space that a request asked for; clears it once a twentieth of the
    /// quota is free again.
    async fn tend_alarm(&self, api: &Api, in_use: u64) {
        let Some(quota) = api.settings().quota_bytes else { return };
        let action = if self.met_quota.swap(false, Ordering::Relaxed) {
            if self.raised_alarm.swap(true, Ordering::Relaxed) {
                return;
            }
            tracing::warn!(
                bytes_in_use = in_use,
                quota,
                "the quota is used up: writes are refused"
            );
            AlarmAction::Activate
        } else if self.raised_alarm.load(Ordering::Relaxed) && in_use < quota - quota / 20 {
            AlarmAction::Deactivate
        } else {
            return;
        };
        let command = Command::Alarm(Alarm {
            action: action.into(),
            member: api.member().member_id().0,
            alarm: AlarmKind::NoSpace.into(),
        });
        // Without a leader nothing can be written anyway; the next beat tries again.
        let done = api.member().propose(command).await.is_ok();
        if done == (action == AlarmAction::Deactivate) {
            self.raised_alarm.store(false, Ordering::Relaxed);
        }
        if done && action == AlarmAction::Deactivate {
            tracing::info!(bytes_in_use = in_use, quota, "there is room again: writes go on");
        }
    }
}
