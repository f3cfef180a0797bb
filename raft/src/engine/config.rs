//! openraft's settings, from etcd's two timing flags.
//!
//! With heartbeat H and election timeout T (T ≥ 5 H): a follower that hears nothing campaigns
//! after 0.75 T to 1.2 T. openraft waits a leader's lease (the maximum below) and then a random
//! time between minimum and maximum; each member has a part of that range for itself (its
//! [`Seat`]), so that two followers do not campaign at the same moment, split the votes and wait
//! once more:
//!
//! ```text
//!   0.75 T                0.90 T                1.05 T               1.20 T
//!     ├── seat 0 ────┤      ├── seat 1 ────┤      ├── seat 2 ────┤      │
//! ```
//!
//! Invariant: `enable_leader_restore` is off. A restarted leader that resumed its term could give
//! the ids of entries that it had sent, but not synced, to other payloads, and acknowledged writes
//! would be lost. [`engine_config`] asserts this and the other settings that safety hangs on.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// etcd's timing flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader lets its followers hear from it.
    pub heartbeat: Duration,
    /// How long a follower waits for its leader before it stands for election.
    pub election: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat: Duration::from_millis(100), election: Duration::from_millis(1000) }
    }
}

/// The longest election timeout that etcd takes.
const ELECTION_MAX: Duration = Duration::from_secs(50);

impl Timing {
    /// Checks the flags the way etcd does.
    ///
    /// # Errors
    /// One line that says which rule they break.
    pub fn check(self) -> Result<(), String> {
        if self.heartbeat < Duration::from_millis(4) {
            return Err("--heartbeat-interval must be at least 4 ms".to_owned());
        }
        if self.election < self.heartbeat * 5 {
            return Err(format!(
                "--election-timeout[{}ms] should be at least as 5 times as --heartbeat-interval[{}ms]",
                self.election.as_millis(),
                self.heartbeat.as_millis()
            ));
        }
        if self.election > ELECTION_MAX {
            return Err(format!(
                "--election-timeout[{}ms] is too long, and should be set less than {}ms",
                self.election.as_millis(),
                ELECTION_MAX.as_millis()
            ));
        }
        Ok(())
    }

    /// A leader that has not heard of a quorum for this long takes no proposals.
    #[must_use]
    pub fn lease(self) -> Duration {
        self.election.mul_f64(0.6)
    }
}

/// Which of the members of a cluster this one is, in the order of their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    /// From 0 on.
    pub(crate) number: u16,
    /// How many there are; at least 1.
    pub(crate) of: u16,
}

/// When a follower campaigns, as shares of T: the earliest and the latest of all seats.
const CAMPAIGN: (f64, f64) = (0.75, 1.2);

/// Which part of its seat a member uses; the rest is the distance to the next one.
const USED: f64 = 0.7;

/// How much of it at most, as a share of T: the shortest timeout must stay above one and a half
/// heartbeats, which the library asks for.
const USED_MAX: f64 = 0.15;

impl Seat {
    /// openraft's shortest and longest election timeout: the lease is the longest one, and a
    /// campaign begins after the lease and a random time between the two.
    fn election_timeouts(self, timing: Timing) -> (Duration, Duration) {
        let width = (CAMPAIGN.1 - CAMPAIGN.0) / f64::from(self.of);
        let first = CAMPAIGN.0 + width * f64::from(self.number);
        let longest = (first + (width * USED).min(USED_MAX)) / 2.0;
        (timing.election.mul_f64(first - longest), timing.election.mul_f64(longest))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// openraft's settings for a member.
pub(crate) fn engine_config(
    cluster_name: String,
    timing: Timing,
    seat: Seat,
) -> Result<Config, String> {
    timing.check()?;
    let (shortest, longest) = seat.election_timeouts(timing);
    let config = Config {
        cluster_name,
        heartbeat_interval: millis(timing.heartbeat),
        heartbeat_min_interval: Some(millis(timing.heartbeat / 4)),
        election_timeout_min: millis(shortest),
        election_timeout_max: millis(longest),
        quorum_loss_probe_interval: Some(millis(timing.election.mul_f64(1.2))),
        enable_leader_restore: Some(cfg!(feature = "planted") && crate::planted::leader_restore()),
        enable_pre_vote: Some(true),
        max_payload_entries: 4096,
        max_append_entries: Some(4096),
        api_batch_capacity: 4096,
        api_batch_linger_ms: 0,
        // More than the proposals that may wait, so that RaftCore never waits for apply.
        state_machine_channel_size: Some(64 * 1024),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        purge_batch_size: 1024,
        install_snapshot_timeout: 600_000,
        allow_log_reversion: None,
        ..Default::default()
    };
    let config = config.validate().map_err(|error| format!("raft settings: {error}"))?;
    if !cfg!(feature = "planted") {
        assert_eq!(config.enable_leader_restore, Some(false));
    }
    assert_eq!(config.enable_pre_vote, Some(true));
    assert!(config.snapshot_policy == SnapshotPolicy::Never);
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_of_etcd_make_valid_settings() {
        for (heartbeat, election) in
            [(100, 1000), (10, 50), (29, 271), (500, 5000), (10_000, 50_000)]
        {
            let timing = Timing {
                heartbeat: Duration::from_millis(heartbeat),
                election: Duration::from_millis(election),
            };
            for of in 1..=7 {
                for number in 0..of {
                    engine_config("test".to_owned(), timing, Seat { number, of }).unwrap();
                }
            }
        }
    }

    #[test]
    fn no_two_members_campaign_at_the_same_moment() {
        let timing = Timing::default();
        let mut latest = timing.election.mul_f64(0.7);
        for number in 0..5 {
            let (shortest, longest) = Seat { number, of: 5 }.election_timeouts(timing);
            assert!(longest + shortest > latest + Duration::from_millis(20));
            assert!(shortest > timing.heartbeat * 2);
            latest = longest * 2;
        }
        assert!(latest <= timing.election.mul_f64(1.2));
    }

    #[test]
    fn an_election_timeout_below_five_heartbeats_is_refused() {
        let timing =
            Timing { heartbeat: Duration::from_millis(100), election: Duration::from_millis(499) };
        assert!(timing.check().unwrap_err().contains("5 times"));
    }
}
