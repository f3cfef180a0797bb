//! The names and small types that every part of a member shares.

use std::fmt::{Display, Formatter};
use std::time::Duration;

use kstore_mvcc::{Index, ReadError, Revision, Term};

/// A member of a cluster. Kept for ever, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

/// A cluster: members of different clusters refuse each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

impl Display for MemberId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl Display for ClusterId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// What the members know of one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its id.
    pub id: MemberId,
    /// The name that its operator gave it; empty until it has served.
    pub name: String,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has served.
    pub client_urls: Vec<String>,
    /// Whether it only follows, without a vote.
    pub is_learner: bool,
}

/// A member's part in Raft at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It orders proposals.
    Leader,
    /// It follows a leader, or waits for one.
    Follower,
    /// It stands for election.
    Candidate,
    /// It follows without a vote.
    Learner,
}

/// Where a member stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its part in Raft.
    pub role: Role,
    /// The leader that it knows of.
    pub leader: Option<MemberId>,
    /// Its term.
    pub term: Term,
    /// The last entry of its log.
    pub last_index: Option<Index>,
    /// The last entry that it knows to be committed.
    pub committed_index: Option<Index>,
    /// The last entry that it has applied and published.
    pub applied_index: Option<Index>,
    /// Whether a quorum has been heard of lately: the leader by acknowledgements, others by
    /// knowing a leader.
    pub has_quorum: bool,
    /// The revision of the published view.
    pub revision: Revision,
    /// Bytes of the store's files.
    pub store_bytes: u64,
    /// Bytes of them that live data needs.
    pub store_bytes_in_use: u64,
    /// How often this member has seen the leader change since it started.
    pub leader_changes: u64,
    /// The longest time between two messages of one leader while this member followed it.
    pub longest_silence: Duration,
    /// Proposals of this member that wait for their reply.
    pub proposals_pending: u64,
    /// Why the member ended, if it did.
    pub fatal: Option<String>,
}

/// A request that had no effect that the caller may rely on; it may try again. For a write whose
/// proposal had left this member before, the outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// There is no leader, and there was none until the deadline.
    NoLeader,
    /// The deadline passed.
    TimedOut,
    /// The deadline passed, and the leader changed in between.
    TimedOutLeaderFail,
    /// The leader changed while a linearizable read waited.
    LeaderChanged,
    /// Too many proposals wait to be applied.
    TooManyRequests,
    /// The member is stopping or has stopped.
    Stopped,
    /// Too many blocking jobs wait.
    Overloaded,
}

impl Display for Unavailable {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoLeader => "no leader",
            Self::TimedOut => "request timed out",
            Self::TimedOutLeaderFail => "request timed out while the leader changed",
            Self::LeaderChanged => "leader changed",
            Self::TooManyRequests => "too many requests",
            Self::Stopped => "member stopped",
            Self::Overloaded => "too many blocking jobs",
        })
    }
}

impl std::error::Error for Unavailable {}

/// Why a read gave no answer.
#[derive(Debug)]
pub enum ReadFailure {
    /// The store refuses it or cannot answer it.
    Read(ReadError),
    /// Nothing ran it.
    Unavailable(Unavailable),
}

/// What a lease has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// The time to live that it was granted, in seconds.
    pub granted: u64,
    /// What is left of it by the leader's clock, in seconds; never negative while the lease is.
    pub remaining: i64,
}

/// Why leadership was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MoveLeaderError {
    /// This member does not lead.
    NotLeader,
    /// The target is no voting member of the cluster.
    BadTransferee,
    /// The target did not take over in time.
    TimedOut,
}
