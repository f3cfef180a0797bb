//! What is asked of the store, and what it answers: plain data, no behaviour.

use bytes::Bytes;

use crate::{KeyRange, LeaseId, Record, RecordId, Revision, Sub};

/// The hash that chains the outcomes of all applied entries, as the layer above computes it. The
/// store keeps it with its root and looks no further into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChainHash(pub [u8; 32]);

/// A digest over the records of one command: (revision, sub, checksum of the content) of each, in
/// order. The same on every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecordsDigest(pub u32);

/// One key at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value; empty if only keys were asked for.
    pub value: Bytes,
    /// The revision in which the key was made since it last did not exist.
    pub create: Revision,
    /// The record that gave it this value.
    pub modified: RecordId,
    /// How often it was written since it was made; 1 for a new key.
    pub version: u64,
    /// The lease that it is attached to.
    pub lease: Option<LeaseId>,
}

/// What the store knows of a live key without reading its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyMeta {
    /// The revision in which the key was made since it last did not exist.
    pub create: Revision,
    /// The record that gave it its value.
    pub modified: RecordId,
    /// How often it was written since it was made.
    pub version: u64,
    /// The lease that it is attached to.
    pub lease: Option<LeaseId>,
    /// The length of its value in bytes.
    pub value_length: u64,
}

/// What a put or delete did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The new record.
    pub id: RecordId,
    /// The key's create revision: as before, or the new revision for a new key. For a delete,
    /// that of the deleted key.
    pub create: Revision,
    /// The key's version now; 0 after a delete.
    pub version: u64,
    /// The record that was the key's newest, if the key was live.
    pub previous: Option<RecordId>,
    /// The lease that the key was attached to before.
    pub previous_lease: Option<LeaseId>,
}

/// How much of each key is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Keys with their values.
    Values,
    /// Keys without values; no record is read.
    KeysOnly,
    /// Only how many there are.
    CountOnly,
}

/// A read of many keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    /// Which keys.
    pub range: KeyRange,
    /// At which revision; `None` is the newest.
    pub at: Option<Revision>,
    /// How many at most; `None` is all.
    pub limit: Option<u64>,
    /// How much of each.
    pub content: Content,
}

/// The answer to a [`RangeQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RangeAnswer {
    /// The keys in ascending order, at most as many as the limit says.
    pub kvs: Vec<KeyValue>,
    /// Whether the limit left keys out.
    pub more: bool,
    /// How many keys there are in the range, whatever the limit.
    pub count: u64,
}

/// Where a page of history ends. A page holds whole revisions only, and at least one, so a single
/// large revision may exceed both bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryLimit {
    /// Stop after the revision in which this many bytes of records were looked at, whether or not
    /// they were in the range: the work of a page is bounded, not only its size.
    pub bytes: u64,
    /// Stop after this many revisions.
    pub revisions: u64,
}

/// Some of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// The puts and deletes in the range, in the order in which they happened.
    pub events: Vec<Record>,
    /// The first revision that was not looked at; one past the snapshot's revision at the end.
    pub next: Revision,
}

/// What one command wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// The store's revision after the command.
    pub revision: Revision,
    /// The place of the command's first record within `revision`. Meaningful if `records` > 0; if
    /// the command wrote keys after notes, the place of the first key's record.
    pub first_sub: Sub,
    /// How many records it wrote.
    pub records: u64,
    /// How many of those are puts and deletes. They are the last ones, from `first_sub` on, unless
    /// notes were written after them.
    pub changes: u64,
    /// Over all its records.
    pub digest: RecordsDigest,
}

impl Finished {
    /// Whether the command made a new revision.
    #[must_use]
    pub fn wrote_revision(&self) -> bool {
        self.changes > 0
    }
}

/// How full the store's dirty memory is, so that the layer above can slow proposals down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pressure {
    /// Bytes of tree pages that are not on the disk yet.
    pub dirty_bytes: u64,
    /// How many there may be. At the bound proposals are slowed, never stopped.
    pub budget: u64,
}
