//! What an operator may set about the client API.

use std::time::Duration;

/// The limits and intervals of the client API.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The largest request that is proposed. What gRPC takes in is [`Self::GRPC_OVERHEAD`] more,
    /// so that a request a little too large gets etcd's own error.
    pub max_request_bytes: usize,
    /// The most comparisons, and the most operations of a branch, that a transaction may have.
    pub max_txn_ops: usize,
    /// The size of the store's live data from which on writes are refused; `None` for no bound
    /// but the disk.
    pub quota_bytes: Option<u64>,
    /// How long a watch that asked for progress stays silent at most.
    pub progress_interval: Duration,
    /// The interval of the leader's heartbeats.
    pub heartbeat: Duration,
    /// How long members do without a leader before they look for another.
    pub election_timeout: Duration,
}

impl Settings {
    /// What gRPC takes in beyond the largest request.
    pub const GRPC_OVERHEAD: usize = 512 * 1024;

    /// The shortest time to live of a lease, in seconds: one and a half election timeouts, so
    /// that a lease outlives a change of leader.
    pub(crate) fn min_lease_ttl(&self) -> i64 {
        let ticks = self.election_timeout.as_millis() / self.heartbeat.as_millis().max(1);
        let least = ticks * 3 / 2 * self.heartbeat.as_millis();
        i64::try_from(least.div_ceil(1000)).unwrap_or(i64::MAX)
    }
}

impl Default for Settings {
    /// etcd's defaults.
    fn default() -> Self {
        Self {
            max_request_bytes: 1536 * 1024,
            max_txn_ops: 128,
            quota_bytes: Some(2 << 30),
            progress_interval: Duration::from_secs(600),
            heartbeat: Duration::from_millis(100),
            election_timeout: Duration::from_millis(1000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_time_to_live_is_one_and_a_half_election_timeouts_in_whole_seconds() {
        assert_eq!(Settings::default().min_lease_ttl(), 2);
        let slow = Settings { election_timeout: Duration::from_secs(5), ..Settings::default() };
        assert_eq!(slow.min_lease_ttl(), 8);
    }
}
