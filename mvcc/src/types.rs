//! The numbers that name things in the store, each its own type so that none is taken for another.

use std::fmt::{Display, Formatter};
use std::ops::Bound;

use bytes::Bytes;

/// etcd's global counter: it grows by one with each transaction that changes a key. A fresh store
/// has revision 1; 0 is never a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(pub u64);

/// The place of a change within its revision, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sub(pub u64);

/// What a record of the revision log is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RecordId {
    /// The revision that the record belongs to.
    pub revision: Revision,
    /// Its place within that revision.
    pub sub: Sub,
}

/// An etcd lease. Ids are positive when the server chooses them; clients may choose others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

/// A slot of the Raft log. The first entry of a cluster has index 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(pub u64);

/// A Raft epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

/// The id of an entry of the Raft log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The term in which the entry was first appended.
    pub term: Term,
    /// Its slot.
    pub index: Index,
}

impl Revision {
    /// The revision of a store that nothing was written to yet (etcd's rule).
    pub const FIRST: Self = Self(1);

    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Sub {
    /// The place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Display for Revision {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl Display for RecordId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.revision.0, self.sub.0)
    }
}

impl Display for Position {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.term.0, self.index.0)
    }
}

/// Where a [`KeyRange`] ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeEnd {
    /// After the start itself: the range is that one key.
    Single,
    /// Before this key.
    Before(Bytes),
    /// Never: all keys from the start on.
    Unbounded,
}

/// Some keys, in etcd's way of saying so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: Bytes,
    /// Where the range ends.
    pub end: RangeEnd,
}

impl KeyRange {
    /// The range of a request with `key` and `range_end` as etcd defines them: an empty end is
    /// the key alone, an end of one zero byte is everything from the key on.
    #[must_use]
    pub fn from_request(key: Bytes, range_end: Bytes) -> Self {
        let end = match range_end.as_ref() {
            [] => RangeEnd::Single,
            [0] => RangeEnd::Unbounded,
            _ => RangeEnd::Before(range_end),
        };
        Self { start: key, end }
    }

    /// One key.
    #[must_use]
    pub fn single(key: Bytes) -> Self {
        Self { start: key, end: RangeEnd::Single }
    }

    /// Every key.
    #[must_use]
    pub fn everything() -> Self {
        Self { start: Bytes::new(), end: RangeEnd::Unbounded }
    }

    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            RangeEnd::Single => key == self.start,
            RangeEnd::Before(end) => key >= self.start.as_ref() && key < end.as_ref(),
            RangeEnd::Unbounded => key >= self.start.as_ref(),
        }
    }

    /// Whether no key can lie in the range.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, RangeEnd::Before(end) if *end <= self.start)
    }

    /// Whether some key may lie in both ranges.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        if self.is_empty() || other.is_empty() {
            return false;
        }
        self.starts_before_end_of(other) && other.starts_before_end_of(self)
    }

    fn starts_before_end_of(&self, other: &Self) -> bool {
        match other.upper() {
            Bound::Included(last) => self.start.as_ref() <= last,
            Bound::Excluded(end) => self.start.as_ref() < end,
            Bound::Unbounded => true,
        }
    }

    /// The end of the range as a bound.
    #[must_use]
    pub fn upper(&self) -> Bound<&[u8]> {
        match &self.end {
            RangeEnd::Single => Bound::Included(self.start.as_ref()),
            RangeEnd::Before(end) => Bound::Excluded(end.as_ref()),
            RangeEnd::Unbounded => Bound::Unbounded,
        }
    }
}
