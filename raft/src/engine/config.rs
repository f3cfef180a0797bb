//! openraft's settings, from etcd's two timing flags.
//!
//! With heartbeat H and election timeout T (T ≥ 5 H): a follower that hears nothing campaigns
//! after 0.9 T to 1.2 T, because openraft waits a leader's lease (the maximum below) and then a
//! random time between minimum and maximum.
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// openraft's settings for a member.
pub(crate) fn engine_config(cluster_name: String, timing: Timing) -> Result<Config, String> {
    timing.check()?;
    let config = Config {
        cluster_name,
        heartbeat_interval: millis(timing.heartbeat),
        heartbeat_min_interval: Some(millis(timing.heartbeat / 4)),
        election_timeout_min: millis(timing.election.mul_f64(0.3)),
        election_timeout_max: millis(timing.lease()),
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
            engine_config("test".to_owned(), timing).unwrap();
        }
    }

    #[test]
    fn an_election_timeout_below_five_heartbeats_is_refused() {
        let timing =
            Timing { heartbeat: Duration::from_millis(100), election: Duration::from_millis(499) };
        assert!(timing.check().unwrap_err().contains("5 times"));
    }
}
