//! The catalogue: a small tree of this member's own that says which files the store has
//! (`docs/formats/catalogue.md`).
//!
//! ```text
//!   01 | segment number        a sealed segment of the revision log
//!   02 | segment | chunk       512 bytes of a segment's dead bitmap; none are written yet
//! ```
//!
//! The open segment is not here: the root itself says where it ends. Written by the checkpoints
//! that write the state tree, and part of no hash, since members lay their records out
//! differently.

use crate::codec::Input;
use crate::log::segment::{Sealed, SegmentFile};
use crate::tree::{PageStore, Tree};
use crate::{Access, Damage, ReadError, RecordId, Revision, Sub};

const SEGMENT: u8 = 0x01;

/// A sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentRow {
    pub(crate) file: SegmentFile,
    pub(crate) first: RecordId,
    pub(crate) sealed: Sealed,
    /// Bytes of records that are not known to be dead.
    pub(crate) live_bytes: u64,
}

impl SegmentRow {
    fn key(number: u64) -> Vec<u8> {
        let mut out = vec![SEGMENT];
        out.extend_from_slice(&number.to_be_bytes());
        out
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(60);
        out.extend_from_slice(&self.file.generation.to_le_bytes());
        for number in [
            self.first.revision.0,
            self.first.sub.0,
            self.sealed.last.revision.0,
            self.sealed.last.sub.0,
            self.sealed.data_end,
            self.sealed.length,
            self.live_bytes,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    fn decode(key: &[u8], value: &[u8]) -> Option<Self> {
        let number = u64::from_be_bytes(key.strip_prefix(&[SEGMENT])?.try_into().ok()?);
        let mut input = Input::new(value);
        let file = SegmentFile { number, generation: input.u32()? };
        let first = RecordId { revision: Revision(input.u64()?), sub: Sub(input.u64()?) };
        let last = RecordId { revision: Revision(input.u64()?), sub: Sub(input.u64()?) };
        let sealed = Sealed { last, data_end: input.u64()?, length: input.u64()? };
        let row = Self { file, first, sealed, live_bytes: input.u64()? };
        input.is_empty().then_some(row)
    }

    /// Puts the row into a catalogue.
    pub(crate) fn store(&self, tree: &mut Tree, pages: &PageStore) -> Result<(), ReadError> {
        tree.insert(pages, &Self::key(self.file.number), &self.encode())
    }
}

/// The sealed segments in a catalogue, in order of their numbers.
pub(crate) fn segments(tree: &Tree, pages: &PageStore) -> Result<Vec<SegmentRow>, ReadError> {
    let mut rows = Vec::new();
    let mut cursor = tree.cursor(pages, Access::Disk, std::ops::Bound::Included(&[SEGMENT][..]))?;
    while let Some((key, value)) = cursor.next()? {
        if key.first() != Some(&SEGMENT) {
            break;
        }
        let row = SegmentRow::decode(key, value).ok_or_else(|| {
            ReadError::Damaged(Damage {
                file: "catalogue".to_owned(),
                offset: 0,
                what: "malformed row of a segment".to_owned(),
            })
        })?;
        rows.push(row);
    }
    Ok(rows)
}
