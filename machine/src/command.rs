//! What a Raft log entry asks of the machine: the envelope and the commands in it.
//!
//! ```text
//!   client request ──(etcd-api checks, picks ids)──► Envelope { who asked, guard, Command }
//!                                                        │ encode
//!                                                        ▼
//!                                            payload of a Raft log entry
//!                                                        │ decode, on every member
//!                                                        ▼
//!                                                  Machine::apply
//! ```
//!
//! Commands lie in logs for as long as the logs do and are read by members of other versions. They
//! are protobuf messages, so an absent field costs nothing, and they are drawn field by field in
//! `docs/formats/command.md`. Field names and kinds follow etcd's requests one to one, with etcd's
//! meaning of zero, so a request of a client becomes a command by copying its fields.
//!
//! Invariant: a command holds everything that its effects depend on. Whatever a member would have
//! to choose (a lease id, a time to live, a time) is chosen by the proposer and written into it.
//!
//! Invariant: a member never applies a command that it does not understand. A version or a kind
//! from the future is an error that stops the member, for skipping it would be silent divergence.

use std::fmt::{Debug, Formatter};

use bytes::Bytes;
use prost::Message as _;

/// The version of the envelope and of all commands that this program writes. It grows whenever a
/// field is added that changes what a command does.
pub const VERSION: u32 = 1;

/// A command on its way through the log, with the proposer's address for the answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    /// What the command needs the reader to understand; see [`VERSION`].
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// The member that proposed it, so that this member can answer whoever waits.
    #[prost(fixed64, tag = "2")]
    pub origin: u64,
    /// The proposer's own number for the request.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// When given: the command has effects only if its entry was appended in this term. A leader
    /// that was deposed without noticing cannot expire leases, because its entries carry its own
    /// term.
    #[prost(uint64, optional, tag = "4")]
    pub term_guard: Option<u64>,
    /// What to do. Absent only in a command of a kind that this program does not know.
    #[prost(oneof = "Command", tags = "16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26")]
    pub command: Option<Command>,
}

/// What to do. Tags 5 to 15 of the envelope are kept for its own fields.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Command {
    /// Write one key.
    #[prost(message, tag = "16")]
    Put(Put),
    /// Delete the keys of a range.
    #[prost(message, tag = "17")]
    DeleteRange(DeleteRange),
    /// Compare, then do one of two lists of operations.
    #[prost(message, tag = "18")]
    Txn(Txn),
    /// Move the horizon below which clients may not read.
    #[prost(message, tag = "19")]
    Compact(Compact),
    /// Make a lease.
    #[prost(message, tag = "20")]
    LeaseGrant(LeaseGrant),
    /// End leases, and delete the keys attached to them.
    #[prost(message, tag = "21")]
    LeaseRevoke(LeaseRevoke),
    /// Remember how long leases have left.
    #[prost(message, tag = "22")]
    LeaseCheckpoint(LeaseCheckpoint),
    /// Publish what a member is called and where it listens.
    #[prost(message, tag = "23")]
    MemberAttributes(MemberAttributes),
    /// Raise the version that the whole cluster speaks.
    #[prost(message, tag = "24")]
    SetClusterVersion(SetClusterVersion),
    /// Raise or clear an alarm.
    #[prost(message, tag = "25")]
    Alarm(Alarm),
    /// Move the horizon below which the store forgets.
    #[prost(message, tag = "26")]
    Retain(Retain),
}

/// Writes one key.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct Put {
    /// The key; not empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The new value; empty when `ignore_value` is set.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// The lease that the key is attached to from now on; 0 for none.
    #[prost(int64, tag = "3")]
    pub lease: i64,
    /// Whether the answer holds what was there before.
    #[prost(bool, tag = "4")]
    pub prev_kv: bool,
    /// Keep the value that the key has; it must exist.
    #[prost(bool, tag = "5")]
    pub ignore_value: bool,
    /// Keep the lease that the key has; it must exist.
    #[prost(bool, tag = "6")]
    pub ignore_lease: bool,
}

/// Deletes the keys of a range.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRange {
    /// The first key; not empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The end in etcd's way: empty for the one key, a zero byte for all keys from `key` on.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// Whether the answer holds what was deleted.
    #[prost(bool, tag = "3")]
    pub prev_kv: bool,
}

/// A read: inside a transaction, and of a client's own (it never travels alone through the log).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Range {
    /// The first key; not empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The end in etcd's way: empty for the one key, a zero byte for all keys from `key` on.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// The most keys to answer; 0 for all.
    #[prost(int64, tag = "3")]
    pub limit: i64,
    /// The revision to read at; 0 and below for the newest.
    #[prost(int64, tag = "4")]
    pub revision: i64,
    /// A [`SortOrder`].
    #[prost(enumeration = "SortOrder", tag = "5")]
    pub sort_order: i32,
    /// A [`SortTarget`].
    #[prost(enumeration = "SortTarget", tag = "6")]
    pub sort_target: i32,
    /// Leave out the values.
    #[prost(bool, tag = "7")]
    pub keys_only: bool,
    /// Answer only how many keys there are.
    #[prost(bool, tag = "8")]
    pub count_only: bool,
    /// Leave out keys changed before this revision; 0 for no bound, as in the three below.
    #[prost(int64, tag = "9")]
    pub min_mod_revision: i64,
    /// Leave out keys changed after this revision.
    #[prost(int64, tag = "10")]
    pub max_mod_revision: i64,
    /// Leave out keys created before this revision.
    #[prost(int64, tag = "11")]
    pub min_create_revision: i64,
    /// Leave out keys created after this revision.
    #[prost(int64, tag = "12")]
    pub max_create_revision: i64,
}

/// The direction of a sorted range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SortOrder {
    /// By key, ascending, unless the target is another.
    None = 0,
    /// Smallest first.
    Ascend = 1,
    /// Largest first.
    Descend = 2,
}

/// What a range is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum SortTarget {
    /// The key.
    Key = 0,
    /// How often the key was written since it was created.
    Version = 1,
    /// The revision that created the key.
    Create = 2,
    /// The revision that changed the key last.
    Mod = 3,
    /// The value.
    Value = 4,
}

/// One question of a transaction about the state before it.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct Compare {
    /// The first key; not empty.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The end in etcd's way. With a range, the comparison must hold for each key in it.
    #[prost(bytes = "bytes", tag = "2")]
    pub range_end: Bytes,
    /// A [`CompareTarget`].
    #[prost(enumeration = "CompareTarget", tag = "3")]
    pub target: i32,
    /// A [`CompareResult`].
    #[prost(enumeration = "CompareResult", tag = "4")]
    pub result: i32,
    /// The operand of every target but the value. A client's operand of the wrong kind counts as 0.
    #[prost(int64, tag = "5")]
    pub number: i64,
    /// The operand of the value target.
    #[prost(bytes = "bytes", tag = "6")]
    pub value: Bytes,
}

/// What a comparison looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareTarget {
    /// How often the key was written since it was created; 0 for an absent key.
    Version = 0,
    /// The revision that created the key; 0 for an absent key.
    Create = 1,
    /// The revision that changed the key last; 0 for an absent key.
    Mod = 2,
    /// The value. No comparison with an absent key's value holds.
    Value = 3,
    /// The lease that the key is attached to; 0 for none.
    Lease = 4,
}

/// How what is there must relate to the operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum CompareResult {
    /// Equal to it.
    Equal = 0,
    /// Above it.
    Greater = 1,
    /// Below it.
    Less = 2,
    /// Anything but it.
    NotEqual = 3,
}

/// Compares, then does one of two lists of operations; everything it writes is one revision.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Txn {
    /// All must hold for `success` to be taken.
    #[prost(message, repeated, tag = "1")]
    pub compare: Vec<Compare>,
    /// Done when all comparisons hold.
    #[prost(message, repeated, tag = "2")]
    pub success: Vec<Operation>,
    /// Done otherwise.
    #[prost(message, repeated, tag = "3")]
    pub failure: Vec<Operation>,
}

/// One step of a transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operation {
    /// The step. Absent only in what a careless client sent; refused.
    #[prost(oneof = "Step", tags = "1, 2, 3, 4")]
    pub step: Option<Step>,
}

/// What a step of a transaction does.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Step {
    /// Read.
    #[prost(message, tag = "1")]
    Range(Range),
    /// Write one key.
    #[prost(message, tag = "2")]
    Put(Put),
    /// Delete the keys of a range.
    #[prost(message, tag = "3")]
    DeleteRange(DeleteRange),
    /// Compare (with the state before the outermost transaction) and do.
    #[prost(message, tag = "4")]
    Txn(Txn),
}

/// Moves the horizon below which clients may not read.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Compact {
    /// The lowest revision that stays readable.
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

/// Moves the horizon below which the store forgets.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Retain {
    /// The lowest revision whose state is kept; never above the compacted one.
    #[prost(int64, tag = "1")]
    pub revision: i64,
}

/// Makes a lease.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseGrant {
    /// Its id; never 0 (the proposer has chosen one by now).
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Seconds to live, already raised to the least that the cluster's timing allows.
    #[prost(int64, tag = "2")]
    pub ttl: i64,
}

/// Ends leases. The keys of all of them are deleted in one revision.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseRevoke {
    /// Which; one from a client, many from the leader's clock. Unknown ones are passed over, unless
    /// all are.
    #[prost(int64, repeated, tag = "1")]
    pub ids: Vec<i64>,
}

/// Remembers how long leases have left, so that a new leader need not give them all their time
/// anew.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseCheckpoint {
    /// The leases; unknown ones are passed over.
    #[prost(message, repeated, tag = "1")]
    pub leases: Vec<LeaseRemaining>,
}

/// How long one lease has left.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LeaseRemaining {
    /// The lease.
    #[prost(int64, tag = "1")]
    pub id: i64,
    /// Seconds left; 0 means all of its time.
    #[prost(int64, tag = "2")]
    pub ttl: i64,
}

/// Publishes what a member is called and where it listens.
#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberAttributes {
    /// The member.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// Its name; empty while it has not started.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Where other members reach it; an empty list leaves what is known.
    #[prost(string, repeated, tag = "3")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it; an empty list leaves what is known.
    #[prost(string, repeated, tag = "4")]
    pub client_urls: Vec<String>,
}

/// Raises the version that the whole cluster speaks.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SetClusterVersion {
    /// Such as `3.7.0`.
    #[prost(string, tag = "1")]
    pub version: String,
}

/// Raises or clears an alarm.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Alarm {
    /// An [`AlarmAction`].
    #[prost(enumeration = "AlarmAction", tag = "1")]
    pub action: i32,
    /// The member that it is about; 0 when clearing means all members.
    #[prost(fixed64, tag = "2")]
    pub member: u64,
    /// An [`AlarmKind`]; none when clearing means all kinds.
    #[prost(enumeration = "AlarmKind", tag = "3")]
    pub alarm: i32,
}

/// What to do with an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmAction {
    /// Raise it (0 is etcd's read, which needs no command).
    Activate = 1,
    /// Clear it.
    Deactivate = 2,
}

/// The alarms that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum AlarmKind {
    /// No alarm.
    None = 0,
    /// The quota is used up: what would make the store grow is refused.
    NoSpace = 1,
    /// A member's data is damaged: everything is refused.
    Corrupt = 2,
}

impl Envelope {
    /// A command that is answered to `sequence` of `origin`.
    #[must_use]
    pub fn new(origin: u64, sequence: u64, command: Command) -> Self {
        Self { version: VERSION, origin, sequence, term_guard: None, command: Some(command) }
    }

    /// The same, but without effects in an entry of any other term.
    #[must_use]
    pub fn guarded_by_term(mut self, term: kstore_mvcc::Term) -> Self {
        self.term_guard = Some(term.0);
        self
    }

    /// The payload of the Raft log entry.
    #[must_use]
    pub fn encode_to_bytes(&self) -> Bytes {
        Bytes::from(self.encode_to_vec())
    }

    /// Reads a payload. The byte fields of the command share the payload's memory.
    ///
    /// # Errors
    /// The payload is no envelope, or of a version or kind that this program does not know.
    pub fn decode_from_bytes(payload: &Bytes) -> Result<(Self, Command), CommandFault> {
        let mut envelope = Self::decode(payload.clone())
            .map_err(|error| CommandFault::Malformed(error.to_string()))?;
        if envelope.version == 0 || envelope.version > VERSION {
            return Err(CommandFault::UnknownVersion(envelope.version));
        }
        let command = envelope.command.take().ok_or(CommandFault::UnknownKind)?;
        Ok((envelope, command))
    }
}

/// Why a payload cannot be applied. It stops the member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandFault {
    /// The bytes are no envelope.
    Malformed(String),
    /// The envelope was written by a later program.
    UnknownVersion(u32),
    /// The envelope holds a command that only a later program knows.
    UnknownKind,
}

impl std::fmt::Display for CommandFault {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(why) => write!(f, "decode command: {why}"),
            Self::UnknownVersion(version) => write!(
                f,
                "command of version {version}, this program knows versions 1 to {VERSION}: \
                 a newer kstore wrote it, upgrade this member"
            ),
            Self::UnknownKind => write!(
                f,
                "command of a kind that this program does not know: \
                 a newer kstore wrote it, upgrade this member"
            ),
        }
    }
}

impl std::error::Error for CommandFault {}

// Values may be secrets and never reach a log, so they are not printed.
impl Debug for Put {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Put")
            .field("key", &self.key)
            .field("value_bytes", &self.value.len())
            .field("lease", &self.lease)
            .field("prev_kv", &self.prev_kv)
            .field("ignore_value", &self.ignore_value)
            .field("ignore_lease", &self.ignore_lease)
            .finish()
    }
}

impl Debug for Compare {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compare")
            .field("key", &self.key)
            .field("range_end", &self.range_end)
            .field("target", &self.target())
            .field("result", &self.result())
            .field("number", &self.number)
            .field("value_bytes", &self.value.len())
            .finish()
    }
}

impl Operation {
    /// A step as the message that holds it.
    #[must_use]
    pub fn new(step: Step) -> Self {
        Self { step: Some(step) }
    }
}
