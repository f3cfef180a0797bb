//! What lies in the state tree: the order of its keys and the content of its cells, as
//! `docs/formats/state-tree.md` draws them.
//!
//! ```text
//!   01..0f | key                                    side tables, one code each
//!   10 | escaped user key | 00 00 | ~revision       one cell per key and revision, newest first
//! ```
//!
//! The tree compares bytes. A user key may hold any bytes, so each of its zeros is followed by
//! `ff` and the key ends with `00 00`: then no key is a prefix of another one, the order of the
//! escaped keys is that of the keys, and all cells of a key lie together with the newest in front.
//! A read at revision r seeks to (key, ~r) and takes the first cell it meets.
//!
//! A cell holds no address: it names its record by (revision, sub), so records may be moved
//! without touching the tree.

use std::borrow::Cow;

use crate::codec::{self, Input, put_varint};
use crate::{KeyRange, LeaseId, RangeEnd, RecordId, Revision, Sub};

/// A side table: rows of bytes beside the keys, changed by the same commands and checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Leases by their id.
    Lease,
    /// Which keys are attached to which lease.
    LeaseKey,
    /// Users, roles and permissions.
    Auth,
    /// Alarms that are raised.
    Alarm,
    /// Members, past and present.
    Member,
    /// Settings of the whole cluster.
    Meta,
}

impl Table {
    fn code(self) -> u8 {
        match self {
            Self::Lease => 0x01,
            Self::LeaseKey => 0x02,
            Self::Auth => 0x03,
            Self::Alarm => 0x04,
            Self::Member => 0x05,
            Self::Meta => 0x06,
        }
    }
}

/// The part of the tree that holds the cells of user keys.
#[derive(Debug)]
pub(crate) struct KeySpace;

impl KeySpace {
    /// The first tree key that may belong to it.
    pub(crate) const START: &[u8] = &[KEYS];
    /// The first tree key behind it.
    pub(crate) const END: &[u8] = &[AFTER_KEYS];
}

const KEYS: u8 = 0x10;
const AFTER_KEYS: u8 = 0x11;
const REVISION_BYTES: usize = 8;
const TERMINATOR: [u8; 2] = [0, 0];

/// The place of a row of a side table.
pub(crate) fn table_key(table: Table, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(table.code());
    out.extend_from_slice(key);
    out
}

fn escape(key: &[u8], out: &mut Vec<u8>) {
    out.push(KEYS);
    let mut rest = key;
    while let Some(at) = rest.iter().position(|byte| *byte == 0) {
        out.extend_from_slice(&rest[..=at]);
        out.push(0xff);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// What the tree keys of all cells of `key` begin with, and no others do.
pub(crate) fn key_prefix(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len() + TERMINATOR.len() + REVISION_BYTES);
    escape(key, &mut out);
    out.extend_from_slice(&TERMINATOR);
    out
}

/// Appends a revision to the prefix of a key: the place of the key's cell of that revision.
pub(crate) fn with_revision(prefix: &mut Vec<u8>, revision: Revision) {
    prefix.extend_from_slice(&(!revision.0).to_be_bytes());
}

/// The bounds of a range of user keys in the tree: from the first included to the second excluded.
pub(crate) fn range_bounds(range: &KeyRange) -> (Vec<u8>, Vec<u8>) {
    let mut start = Vec::with_capacity(range.start.len() + 4);
    escape(&range.start, &mut start);
    let end = match &range.end {
        RangeEnd::Single => {
            start.extend_from_slice(&TERMINATOR);
            // Behind `00 00` and before `00 01`, which nothing begins with, lie this key's cells.
            let mut end = start.clone();
            *end.last_mut().expect("the terminator is not empty") = 1;
            end
        }
        RangeEnd::Before(end) => {
            let mut out = Vec::with_capacity(end.len() + 2);
            escape(end, &mut out);
            out
        }
        RangeEnd::Unbounded => vec![AFTER_KEYS],
    };
    (start, end)
}

/// A tree key of the key space, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CellKey<'a> {
    /// Everything before the revision: the same for all cells of one key.
    pub(crate) prefix: &'a [u8],
    pub(crate) revision: Revision,
}

impl<'a> CellKey<'a> {
    /// `None` if the bytes are no key of a cell.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (prefix, revision) = bytes.split_last_chunk::<REVISION_BYTES>()?;
        let well_formed = prefix.first() == Some(&KEYS) && prefix.ends_with(&TERMINATOR);
        let revision = Revision(!u64::from_be_bytes(*revision));
        well_formed.then_some(Self { prefix, revision })
    }
}

/// The user key in the prefix of its cells.
pub(crate) fn user_key(prefix: &[u8]) -> Cow<'_, [u8]> {
    let escaped = &prefix[1..prefix.len() - TERMINATOR.len()];
    if !escaped.contains(&0) {
        return Cow::Borrowed(escaped);
    }
    let mut out = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(byte) = bytes.next() {
        out.push(*byte);
        if *byte == 0 {
            bytes.next();
        }
    }
    Cow::Owned(out)
}

/// What the tree knows of a key at one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cell {
    /// The place of its record within the revision; nearly always 0.
    pub(crate) sub: Sub,
    pub(crate) state: CellState,
}

/// Whether the key exists from that revision on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CellState {
    Tombstone,
    Live(Live),
}

/// A live key without its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) create: Revision,
    pub(crate) version: u64,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) value_length: u64,
}

const TOMBSTONE: u8 = 1;
const HAS_SUB: u8 = 2;
const HAS_LEASE: u8 = 4;

impl Cell {
    /// Appends the cell's bytes; `revision` is that of its key.
    pub(crate) fn encode(&self, revision: Revision, out: &mut Vec<u8>) {
        let mut flags = 0;
        if self.sub.0 > 0 {
            flags |= HAS_SUB;
        }
        match &self.state {
            CellState::Tombstone => flags |= TOMBSTONE,
            CellState::Live(live) if live.lease.is_some() => flags |= HAS_LEASE,
            CellState::Live(_) => {}
        }
        out.push(flags);
        if self.sub.0 > 0 {
            put_varint(out, self.sub.0);
        }
        if let CellState::Live(live) = &self.state {
            put_varint(out, revision.0 - live.create.0);
            put_varint(out, live.version);
            put_varint(out, live.value_length);
            if let Some(lease) = live.lease {
                out.extend_from_slice(&lease.0.to_le_bytes());
            }
        }
    }

    /// The opposite of [`Cell::encode`]; `None` if the bytes make no sense.
    pub(crate) fn decode(revision: Revision, bytes: &[u8]) -> Option<Self> {
        let mut input = Input::new(bytes);
        let flags = input.u8()?;
        let sub = Sub(if flags & HAS_SUB == 0 { 0 } else { input.varint()? });
        if flags & TOMBSTONE != 0 {
            return input.is_empty().then_some(Self { sub, state: CellState::Tombstone });
        }
        let create = Revision(revision.0.checked_sub(input.varint()?)?);
        let version = input.varint()?;
        let value_length = input.varint()?;
        let lease = match flags & HAS_LEASE {
            0 => None,
            _ => Some(LeaseId(codec::signed(input.u64()?))),
        };
        let live = Live { create, version, lease, value_length };
        input.is_empty().then_some(Self { sub, state: CellState::Live(live) })
    }

    /// The record that the cell stands for.
    pub(crate) fn record(&self, revision: Revision) -> RecordId {
        RecordId { revision, sub: self.sub }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn cell_key(key: &[u8], revision: u64) -> Vec<u8> {
        let mut out = key_prefix(key);
        with_revision(&mut out, Revision(revision));
        out
    }

    #[test]
    fn tree_order_is_key_order_then_newest_first() {
        let keys: [&[u8]; 12] = [
            b"",
            b"\0",
            b"\0\0",
            b"\0\x01",
            b"\0\xff",
            b"\x01",
            b"a",
            b"a\0",
            b"a\0b",
            b"ab",
            b"b",
            b"\xff\xff",
        ];
        let mut encoded = Vec::new();
        for key in keys {
            for revision in [u64::MAX, 300, 2, 0] {
                encoded.push(cell_key(key, revision));
            }
        }
        assert!(encoded.is_sorted());
        for key in keys {
            let bytes = cell_key(key, 7);
            let decoded = CellKey::decode(&bytes).unwrap();
            assert_eq!(user_key(decoded.prefix), key);
            assert_eq!(decoded.revision, Revision(7));
        }
    }

    #[test]
    fn bounds_hold_exactly_the_keys_of_the_range() {
        let keys: [&[u8]; 9] =
            [b"\0", b"\0\0", b"a", b"a\0", b"a\0\0", b"a\0\xff", b"aa", b"b", b"\xff"];
        for start in keys {
            for end in keys {
                for range in [
                    KeyRange::single(Bytes::copy_from_slice(start)),
                    KeyRange {
                        start: Bytes::copy_from_slice(start),
                        end: RangeEnd::Before(Bytes::copy_from_slice(end)),
                    },
                    KeyRange { start: Bytes::copy_from_slice(start), end: RangeEnd::Unbounded },
                ] {
                    let (low, high) = range_bounds(&range);
                    for key in keys {
                        for revision in [0, 5, u64::MAX] {
                            let at = cell_key(key, revision);
                            assert_eq!(
                                low <= at && at < high,
                                range.contains(key),
                                "{key:?} in {range:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn cells_are_read_as_they_were_written() {
        let live = Live { create: Revision(9), version: 3, lease: None, value_length: 1000 };
        for cell in [
            Cell { sub: Sub(0), state: CellState::Tombstone },
            Cell { sub: Sub(900), state: CellState::Tombstone },
            Cell { sub: Sub(0), state: CellState::Live(live) },
            Cell { sub: Sub(3), state: CellState::Live(Live { lease: Some(LeaseId(-1)), ..live }) },
        ] {
            let mut out = Vec::new();
            cell.encode(Revision(12), &mut out);
            assert_eq!(Cell::decode(Revision(12), &out), Some(cell));
            out.push(0);
            assert_eq!(Cell::decode(Revision(12), &out), None);
        }
    }
}
