//! What the machine answers to a command.
//!
//! Answers are values of this process and never stored or sent: only the member that proposed a
//! command builds one in full. What *is* equal everywhere is the outcome (which answer, which
//! error, which branches, how many keys); it goes into the chain hash.

use std::fmt::{Display, Formatter};

use kstore_mvcc::{KeyValue, LeaseId, Revision};

use crate::command::AlarmKind;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// For the answer's header: the revision that the command wrote, or else the store's current
    /// one. (A transaction inside a transaction has none in etcd's protocol; leave its header
    /// empty.)
    pub revision: Revision,
    /// The answer itself.
    pub body: Body,
}

/// The answer proper, by kind of command.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// There is nothing to say but that it was done.
    Done,
    /// To a put.
    Put {
        /// What was there before, when asked for.
        previous: Option<KeyValue>,
    },
    /// To a range inside a transaction, and to a client's own.
    Range(RangeReply),
    /// To a delete range.
    DeleteRange {
        /// How many keys were deleted.
        deleted: u64,
        /// What was deleted, when asked for, in key order.
        previous: Vec<KeyValue>,
    },
    /// To a transaction.
    Txn {
        /// Whether all comparisons held.
        succeeded: bool,
        /// One answer for each operation of the branch taken.
        responses: Vec<Reply>,
    },
    /// To a lease grant.
    LeaseGrant {
        /// The lease.
        id: LeaseId,
        /// Seconds that it lives.
        ttl: i64,
    },
    /// To a lease revoke.
    LeaseRevoke {
        /// The leases that existed.
        revoked: Vec<LeaseId>,
    },
    /// To an alarm command.
    Alarm {
        /// The alarms that it raised (also when they were up already) or cleared.
        alarms: Vec<RaisedAlarm>,
    },
}

/// The answer to a range.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RangeReply {
    /// The keys, sorted as asked, at most as many as asked.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left some out.
    pub more: bool,
    /// How many keys the range holds, whatever the limit and the filters.
    pub count: u64,
}

/// An alarm that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RaisedAlarm {
    /// The member that it is about.
    pub member: u64,
    /// What is wrong.
    pub alarm: AlarmKind,
}

/// Why a command was refused. Deterministic: every member refuses alike, and nothing is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// An operation needs a key.
    EmptyKey,
    /// A put that keeps the value or lease needs the key to exist; an operation of a transaction
    /// needs to be something.
    KeyNotFound,
    /// A put that keeps the value brought one.
    ValueProvided,
    /// A put that keeps the lease brought one.
    LeaseProvided,
    /// More operations than a transaction may have.
    TooManyOps,
    /// A transaction may change a key once.
    DuplicateKey,
    /// A sort order or target that does not exist.
    InvalidSortOption,
    /// The revision was forgotten, or is compacted already.
    Compacted {
        /// The lowest revision that can be read.
        compacted: Revision,
    },
    /// The revision does not exist yet.
    FutureRevision {
        /// The highest revision that can be read.
        current: Revision,
    },
    /// No such lease.
    LeaseNotFound,
    /// The lease id is taken.
    LeaseExists,
    /// A lease may not live that long.
    LeaseTtlTooLarge,
    /// The alarm about space is up, and the command would take some.
    NoSpace,
    /// The alarm about damage is up: nothing is served.
    Corrupt,
    /// An alarm that does not exist.
    UnknownAlarm,
    /// No such member.
    MemberNotFound,
    /// The proposer's term was over when its entry was appended.
    TermChanged,
    /// Transactions nested deeper than the machine follows.
    TooDeep,
}

impl Rejected {
    /// A number for each variant, for the chain hash. Never reused.
    #[must_use]
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::EmptyKey => 1,
            Self::KeyNotFound => 2,
            Self::ValueProvided => 3,
            Self::LeaseProvided => 4,
            Self::TooManyOps => 5,
            Self::DuplicateKey => 6,
            Self::InvalidSortOption => 7,
            Self::Compacted { .. } => 8,
            Self::FutureRevision { .. } => 9,
            Self::LeaseNotFound => 10,
            Self::LeaseExists => 11,
            Self::LeaseTtlTooLarge => 12,
            Self::NoSpace => 13,
            Self::Corrupt => 14,
            Self::UnknownAlarm => 15,
            Self::MemberNotFound => 16,
            Self::TermChanged => 17,
            Self::TooDeep => 18,
        }
    }
}

impl Display for Rejected {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::EmptyKey => "key is not provided",
            Self::KeyNotFound => "key not found",
            Self::ValueProvided => "value is provided",
            Self::LeaseProvided => "lease is provided",
            Self::TooManyOps => "too many operations in txn request",
            Self::DuplicateKey => "duplicate key given in txn request",
            Self::InvalidSortOption => "invalid sort option",
            Self::Compacted { .. } => "required revision has been compacted",
            Self::FutureRevision { .. } => "required revision is a future revision",
            Self::LeaseNotFound => "requested lease not found",
            Self::LeaseExists => "lease already exists",
            Self::LeaseTtlTooLarge => "too large lease ttl",
            Self::NoSpace => "database space exceeded",
            Self::Corrupt => "corrupt cluster",
            Self::UnknownAlarm => "unknown alarm",
            Self::MemberNotFound => "member not found",
            Self::TermChanged => "term of the proposer is over",
            Self::TooDeep => "transactions nested too deeply",
        })
    }
}

impl std::error::Error for Rejected {}
