//! Compaction by itself: the leader moves the horizon on, by age or by count of revisions.

use std::collections::VecDeque;
use std::time::Duration;

use kstore_machine::command::{Command, Compact};
use kstore_mvcc::Revision;
use kstore_raft::{Member, Role};
use tokio::time::sleep;

/// What to keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AutoCompaction {
    pub(crate) mode: Mode,
}

/// How what to keep is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// What is younger than this.
    Periodic(Duration),
    /// This many revisions.
    Revision(u64),
}

/// How often revisions are counted (etcd's number).
const REVISION_INTERVAL: Duration = Duration::from_secs(5 * 60);

/// In how many parts an age is counted, and the longest part there is: compaction comes at most
/// that much late.
const PARTS: u32 = 10;
const LONGEST_PART: Duration = Duration::from_secs(6 * 60);

impl Mode {
    /// How often to look.
    fn interval(self) -> Duration {
        match self {
            Self::Periodic(keep) => (keep / PARTS).clamp(Duration::from_secs(1), LONGEST_PART),
            Self::Revision(_) => REVISION_INTERVAL,
        }
    }
}

/// The revisions of the last while, to know which one is how old.
#[derive(Debug, Default)]
struct Past {
    /// When the store was at which revision; oldest first. Bounded by age over interval, which is
    /// `PARTS` or, for ages beyond an hour, one for each six minutes.
    seen: VecDeque<(Duration, Revision)>,
}

impl Past {
    /// Notes that the store is at `current` now; says which revision is old enough to go.
    fn next(&mut self, mode: Mode, now: Duration, current: Revision) -> Option<Revision> {
        match mode {
            Mode::Revision(keep) => current.0.checked_sub(keep).filter(|r| *r > 0).map(Revision),
            Mode::Periodic(keep) => {
                self.seen.push_back((now, current));
                let mut old = None;
                while let Some((then, revision)) = self.seen.front()
                    && now.saturating_sub(*then) >= keep
                {
                    old = Some(*revision);
                    self.seen.pop_front();
                }
                old
            }
        }
    }
}

/// Compacts for as long as it is polled.
pub(crate) async fn run(member: Member, compaction: AutoCompaction) {
    let clock = member.clock();
    let mut past = Past::default();
    loop {
        sleep(compaction.mode.interval()).await;
        let due = past.next(compaction.mode, clock.monotonic(), member.revision());
        let Some(revision) = due else { continue };
        let compacted = member.snapshot().compacted();
        if member.status().role != Role::Leader || revision <= compacted {
            continue;
        }
        let number = i64::try_from(revision.0).unwrap_or(i64::MAX);
        match member.propose(Command::Compact(Compact { revision: number })).await {
            Ok(_) => tracing::info!(%revision, "compacted"),
            Err(why) => {
                tracing::warn!(%revision, %why, "not compacted; the next round tries again")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_revision_that_is_old_enough_goes() {
        let mode = Mode::Periodic(Duration::from_secs(100));
        let mut past = Past::default();
        let at = |past: &mut Past, second: u64, revision: u64| {
            past.next(mode, Duration::from_secs(second), Revision(revision))
        };
        assert_eq!(at(&mut past, 0, 1), None);
        assert_eq!(at(&mut past, 50, 7), None);
        assert_eq!(at(&mut past, 100, 9), Some(Revision(1)));
        assert_eq!(at(&mut past, 149, 9), None);
        assert_eq!(at(&mut past, 300, 20), Some(Revision(9)));
    }

    #[test]
    fn so_many_revisions_are_kept() {
        let mut past = Past::default();
        let mode = Mode::Revision(10);
        assert_eq!(past.next(mode, Duration::ZERO, Revision(10)), None);
        assert_eq!(past.next(mode, Duration::ZERO, Revision(25)), Some(Revision(15)));
    }
}
