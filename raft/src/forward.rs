//! What a member asks of the leader in the name of its clients: to take a proposal, to vouch for a
//! read, to renew a lease.

use bytes::Bytes;
use prost::Message;

/// Take this payload as a proposal of yours.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Propose {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) payload: Bytes,
}

/// What became of a request to the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Verdict {
    /// Unknown to this version; taken as an outcome that nobody knows.
    Unknown = 0,
    /// Done, or on its way.
    Accepted = 1,
    /// The member asked does not lead; nothing was done.
    NotLeader = 2,
    /// No quorum confirmed the leader; nothing was done.
    NoQuorum = 3,
    /// The leader has too much to apply; nothing was done.
    TooMany = 4,
}

/// The answer to [`Propose`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Proposed {
    #[prost(enumeration = "Verdict", tag = "1")]
    pub(crate) verdict: i32,
}

/// Which index must a linearizable read have applied?
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReadIndex {}

/// The answer to [`ReadIndex`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReadIndexAnswer {
    #[prost(enumeration = "Verdict", tag = "1")]
    pub(crate) verdict: i32,
    #[prost(uint64, tag = "2")]
    pub(crate) index: u64,
}

/// Renew a lease, or tell what it has left.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaseQuestion {
    #[prost(int64, tag = "1")]
    pub(crate) lease: i64,
}

/// The answer to a [`LeaseQuestion`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaseAnswer {
    #[prost(enumeration = "Verdict", tag = "1")]
    pub(crate) verdict: i32,
    /// Whether there is such a lease.
    #[prost(bool, tag = "2")]
    pub(crate) found: bool,
    #[prost(uint64, tag = "3")]
    pub(crate) granted: u64,
    #[prost(int64, tag = "4")]
    pub(crate) remaining: i64,
}
