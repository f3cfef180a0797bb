//! Errors as clients know them: etcd's codes and texts, and which of them each of ours becomes.
//!
//! Go clients recognise an error by its text, byte by byte, so the texts are data here and are
//! nowhere else built or changed. What has no counterpart in etcd (damaged files, a view that was
//! given up) has a text of its own.
//!
//! Two texts travel with a code that is not their own: etcd sends "too many requests" and "not
//! enough started members" as `Unknown`, and clients find the right code by the text.

use kstore_machine::Rejected;
use kstore_mvcc::ReadError;
use kstore_raft::{MoveLeaderError, ReadFailure, Unavailable};
use tonic::{Code, Status};

/// One of the errors that clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: Code,
    text: &'static str,
}

impl Refusal {
    const fn new(code: Code, text: &'static str) -> Self {
        Self { code, text }
    }

    /// The text that clients recognise it by.
    pub(crate) fn text(self) -> &'static str {
        self.text
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code, refusal.text)
    }
}

macro_rules! refusals {
    ($($name:ident: $code:ident, $text:literal;)*) => {
        $(pub(crate) const $name: Refusal = Refusal::new(Code::$code, $text);)*
    };
}

refusals! {
    EMPTY_KEY: InvalidArgument, "etcdserver: key is not provided";
    KEY_NOT_FOUND: InvalidArgument, "etcdserver: key not found";
    VALUE_PROVIDED: InvalidArgument, "etcdserver: value is provided";
    LEASE_PROVIDED: InvalidArgument, "etcdserver: lease is provided";
    TOO_MANY_OPS: InvalidArgument, "etcdserver: too many operations in txn request";
    DUPLICATE_KEY: InvalidArgument, "etcdserver: duplicate key given in txn request";
    INVALID_SORT_OPTION: InvalidArgument, "etcdserver: invalid sort option";
    COMPACTED: OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    FUTURE_REVISION: OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    NO_SPACE: ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    LEASE_NOT_FOUND: NotFound, "etcdserver: requested lease not found";
    LEASE_EXISTS: FailedPrecondition, "etcdserver: lease already exists";
    LEASE_TTL_TOO_LARGE: OutOfRange, "etcdserver: too large lease TTL";
    MEMBER_NOT_FOUND: NotFound, "etcdserver: member not found";
    REQUEST_TOO_LARGE: InvalidArgument, "etcdserver: request is too large";
    TOO_MANY_REQUESTS: Unknown, "etcdserver: too many requests";
    AUTH_NOT_ENABLED: FailedPrecondition, "etcdserver: authentication is not enabled";
    NO_LEADER: Unavailable, "etcdserver: no leader";
    NOT_LEADER: FailedPrecondition, "etcdserver: not leader";
    LEADER_CHANGED: Unavailable, "etcdserver: leader changed";
    STOPPED: Unavailable, "etcdserver: server stopped";
    TIMED_OUT: Unavailable, "etcdserver: request timed out";
    TIMED_OUT_LEADER_FAIL: Unavailable,
        "etcdserver: request timed out, possibly due to previous leader failure";
    TIMED_OUT_LEADER_TRANSFER: Unknown,
        "etcdserver: request timed out, leader transfer took too long";
    CORRUPT: DataLoss, "etcdserver: corrupt cluster";
    BAD_LEADER_TRANSFEREE: FailedPrecondition, "etcdserver: bad leader transferee";
    WRONG_DOWNGRADE_FORMAT: InvalidArgument,
        "etcdserver: wrong downgrade target version format";
    INVALID_DOWNGRADE_TARGET: InvalidArgument, "etcdserver: invalid downgrade target version";
    UNKNOWN_ALARM: Unknown, "etcdserver: unknown alarm";
    OVERLOADED: Unavailable, "etcdserver: too many reads wait for the disk, try again";
    VIEW_GIVEN_UP: Unavailable, "etcdserver: the read took too long and its view was given up";
    STREAM_SORT: Unimplemented, "RangeStream does not support custom sort orders";
    STREAM_FILTER: Unimplemented, "RangeStream does not support revision filters";
    MEMBERSHIP_UNSUPPORTED: Unimplemented,
        "kstore: changing the membership of a running cluster is not supported yet";
    AUTH_UNSUPPORTED: Unimplemented, "kstore: authentication is not supported yet";
    UNKNOWN_SERVICE: NotFound, "unknown service";
}

/// The reasons that a cancelled watch carries; they are text in a response, not statuses.
pub(crate) mod watch_reason {
    /// The range of the watch holds no key.
    pub(crate) const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
    /// The stream has as many watches as it may.
    pub(crate) const TOO_MANY: &str = "etcdserver: too many watches on this stream";
    /// The stream has a watch of that id.
    pub(crate) const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
}

/// What a refused command tells its client.
pub(crate) fn rejected(why: Rejected) -> Status {
    Status::from(match why {
        Rejected::EmptyKey => EMPTY_KEY,
        Rejected::KeyNotFound => KEY_NOT_FOUND,
        Rejected::ValueProvided => VALUE_PROVIDED,
        Rejected::LeaseProvided => LEASE_PROVIDED,
        Rejected::TooManyOps | Rejected::TooDeep => TOO_MANY_OPS,
        Rejected::DuplicateKey => DUPLICATE_KEY,
        Rejected::InvalidSortOption => INVALID_SORT_OPTION,
        Rejected::Compacted { .. } => COMPACTED,
        Rejected::FutureRevision { .. } => FUTURE_REVISION,
        Rejected::LeaseNotFound => LEASE_NOT_FOUND,
        Rejected::LeaseExists => LEASE_EXISTS,
        Rejected::LeaseTtlTooLarge => LEASE_TTL_TOO_LARGE,
        Rejected::NoSpace => NO_SPACE,
        Rejected::Corrupt => CORRUPT,
        Rejected::UnknownAlarm => UNKNOWN_ALARM,
        Rejected::MemberNotFound => MEMBER_NOT_FOUND,
        Rejected::TermChanged => LEADER_CHANGED,
    })
}

/// What a request that nobody could serve tells its client.
pub(crate) fn unavailable(why: Unavailable) -> Status {
    Status::from(match why {
        Unavailable::NoLeader => NO_LEADER,
        Unavailable::TimedOut => TIMED_OUT,
        Unavailable::TimedOutLeaderFail => TIMED_OUT_LEADER_FAIL,
        Unavailable::LeaderChanged => LEADER_CHANGED,
        Unavailable::TooManyRequests => TOO_MANY_REQUESTS,
        Unavailable::Stopped => STOPPED,
        Unavailable::Overloaded => OVERLOADED,
    })
}

/// What a read without an answer tells its client. Damage names the file and the offset: who
/// runs the store needs both, and neither is a secret.
pub(crate) fn read_error(why: &ReadError) -> Status {
    match why {
        ReadError::Compacted { .. } => COMPACTED.into(),
        ReadError::Future { .. } => FUTURE_REVISION.into(),
        ReadError::PinExpired => VIEW_GIVEN_UP.into(),
        ReadError::Damaged(_) | ReadError::Io { .. } => {
            Status::data_loss(format!("etcdserver: {why}"))
        }
        ReadError::Cold => Status::internal("etcdserver: a read of the disk was not run as a job"),
    }
}

/// Either of the above.
pub(crate) fn read_failure(why: &ReadFailure) -> Status {
    match why {
        ReadFailure::Read(error) => read_error(error),
        ReadFailure::Unavailable(why) => unavailable(*why),
    }
}

/// Why leadership stayed where it is.
pub(crate) fn move_leader(why: MoveLeaderError) -> Status {
    Status::from(match why {
        MoveLeaderError::NotLeader => NOT_LEADER,
        MoveLeaderError::BadTransferee => BAD_LEADER_TRANSFEREE,
        MoveLeaderError::TimedOut => TIMED_OUT_LEADER_TRANSFER,
    })
}

/// A reply that does not fit its command: a bug of this program, never the client's.
pub(crate) fn reply_mismatch() -> Status {
    Status::internal("etcdserver: the reply is of another kind than the request")
}
