//! openraft's type parameters, filled in: what an entry is, who a peer is, how ids look.

use std::fmt::{Debug, Display, Formatter};
use std::marker::PhantomData;

use bytes::Bytes;
use kstore_mvcc::{Index, Position, Term};
use openraft::errors::{ErrorSource, Fatal};
use openraft::impls::{InlineBatch, leader_id_std};
use openraft::raft::responder::Responder;
use openraft::vote::RaftLeaderId;
use openraft::{AsyncRuntime, RaftTypeConfig};

/// openraft over runtime `R` with kstore's types.
pub(crate) struct TypeConfig<R>(PhantomData<fn() -> R>);

pub(crate) type LeaderId = leader_id_std::LeaderId<u64, u64>;
pub(crate) type CommittedLeaderId = <LeaderId as RaftLeaderId>::Committed;
pub(crate) type LogId = openraft::LogId<CommittedLeaderId>;
pub(crate) type Vote = openraft::Vote<LeaderId>;
pub(crate) type Payload = openraft::EntryPayload<Proposal, u64, PeerAddress>;
pub(crate) type Entry = openraft::Entry<CommittedLeaderId, Payload>;
pub(crate) type Membership = openraft::Membership<u64, PeerAddress>;
pub(crate) type StoredMembership = openraft::StoredMembership<CommittedLeaderId, u64, PeerAddress>;

impl<R: AsyncRuntime> RaftTypeConfig for TypeConfig<R> {
    type D = Proposal;
    type R = ();
    type NodeId = u64;
    type Node = PeerAddress;
    type Term = u64;
    type LeaderId = LeaderId;
    type Vote = Vote;
    type Payload = Payload;
    type Entry = Entry;
    type AsyncRuntime = R;
    type Responder<T>
        = Completion<T>
    where
        T: Send + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = Cause;
}

// The derives would ask all of these of `R`, which is only a name here.
impl<R> Debug for TypeConfig<R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("TypeConfig")
    }
}
impl<R> Clone for TypeConfig<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for TypeConfig<R> {}
impl<R> Default for TypeConfig<R> {
    fn default() -> Self {
        Self(PhantomData)
    }
}
impl<R> PartialEq for TypeConfig<R> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl<R> Eq for TypeConfig<R> {}
impl<R> PartialOrd for TypeConfig<R> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<R> Ord for TypeConfig<R> {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// An encoded command as it stands in the Raft log: the kind byte of a command entry, then the
/// command's envelope. Cloning it shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl Debug for Proposal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        // The bytes may hold secrets; their number does not.
        write!(f, "Proposal({} bytes)", self.0.len())
    }
}

impl Display for Proposal {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Where the other members reach one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerAddress {
    /// Its peer URLs, in its operator's order.
    pub urls: Vec<String>,
}

/// What to do when a proposal has failed or was applied; made once for each proposal.
pub(crate) struct Completion<T>(pub(crate) Box<dyn FnOnce(T) + Send>);

impl<R: AsyncRuntime, T: Send + 'static> Responder<TypeConfig<R>, T> for Completion<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// What the disk or the store said: one line, without the chain of those that passed it on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cause(String);

impl Display for Cause {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

impl ErrorSource for Cause {
    fn from_error<E: std::error::Error + 'static>(error: &E) -> Self {
        Self(error.to_string())
    }

    fn from_string(text: impl ToString) -> Self {
        Self(text.to_string())
    }
}

/// Why the engine ended, in one line: the cause, if the disk or the store is to blame, and not
/// what the engine was about.
pub(crate) fn why_ended<R: AsyncRuntime>(fatal: &Fatal<TypeConfig<R>>) -> String {
    let cause = match fatal {
        Fatal::StorageError(error) => std::error::Error::source(error),
        Fatal::Panicked | Fatal::Stopped => None,
    };
    cause.map_or_else(|| fatal.to_string(), ToString::to_string)
}

/// The position of a log id.
pub(crate) fn position_of(id: &LogId) -> Position {
    Position { term: Term(id.leader_id.term), index: Index(id.index) }
}

/// The log id at a position.
pub(crate) fn log_id_at(position: Position) -> LogId {
    LogId { leader_id: CommittedLeaderId::new(position.term.0), index: position.index.0 }
}
