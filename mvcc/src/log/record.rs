//! One record of the revision log and its bytes, as `docs/formats/revision-log.md` draws them.
//!
//! ```text
//!   checksum u32 | length u32 | kind u8 | flags u8 | index, revision, sub, ... | key | value
//!                 '------------------- content -------------------------------------'
//! ```
//!
//! The checksum is that of the content, carried on over the record's *place* (segment number,
//! generation, offset). So a record that a disk put elsewhere, or an old one that shines through
//! from a recycled block, does not pass; and the checksum of the content alone, which is the same
//! on all members, falls out of the same pass over the bytes.

use bytes::Bytes;

use crate::codec::{self, Input, put_varint, wide};
use crate::{Index, LeaseId, RecordId, Revision, Sub};

/// The bytes before the content.
pub(crate) const CHECKSUM_BYTES: usize = 4;
/// The bytes that must be read to know how long a record is.
pub(crate) const LENGTH_END: usize = 8;
/// No valid record is shorter.
pub(crate) const RECORD_MIN: usize = LENGTH_END + 2;

const HAS_LEASE: u8 = 1;
const HAS_PREVIOUS: u8 = 2;

/// What a record without a revision of its own is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoteKind {
    /// A lease was granted, revoked or its time set.
    Lease,
    /// Members of the cluster changed.
    Member,
    /// An alarm was raised or taken back.
    Alarm,
    /// A horizon was moved.
    Compaction,
    /// Users, roles or permissions changed.
    Auth,
    /// The cluster's version or another setting of the whole cluster changed.
    Cluster,
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// A key was given a value.
    Put,
    /// A key was deleted.
    Delete,
    /// Something without a revision of its own.
    Note(NoteKind),
}

impl RecordKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Put => 1,
            Self::Delete => 2,
            Self::Note(NoteKind::Lease) => 16,
            Self::Note(NoteKind::Member) => 17,
            Self::Note(NoteKind::Alarm) => 18,
            Self::Note(NoteKind::Compaction) => 19,
            Self::Note(NoteKind::Auth) => 20,
            Self::Note(NoteKind::Cluster) => 21,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Put,
            2 => Self::Delete,
            16 => Self::Note(NoteKind::Lease),
            17 => Self::Note(NoteKind::Member),
            18 => Self::Note(NoteKind::Alarm),
            19 => Self::Note(NoteKind::Compaction),
            20 => Self::Note(NoteKind::Auth),
            21 => Self::Note(NoteKind::Cluster),
            _ => return None,
        })
    }

    /// Whether the record is an event: a put or a delete.
    #[must_use]
    pub fn is_change(self) -> bool {
        matches!(self, Self::Put | Self::Delete)
    }
}

/// One change, as the revision log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The entry of the Raft log whose command wrote it.
    pub index: Index,
    /// Its revision and its place within that.
    pub id: RecordId,
    /// What it says.
    pub kind: RecordKind,
    /// The key; for a note whatever its writer chose.
    pub key: Bytes,
    /// The value; empty for a delete.
    pub value: Bytes,
    /// The key's create revision; for a delete that of the deleted key; 0 for a note.
    pub create: Revision,
    /// The key's version; 0 for a delete or a note.
    pub version: u64,
    /// The lease that the key is attached to from here on.
    pub lease: Option<LeaseId>,
    /// The record that this one replaces: the key's newest before it, if the key was live.
    pub previous: Option<RecordId>,
}

/// A record on its way to the log; key and value are borrowed, so that they are copied once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) index: Index,
    pub(crate) id: RecordId,
    pub(crate) kind: RecordKind,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) create: Revision,
    pub(crate) version: u64,
    pub(crate) lease: Option<LeaseId>,
    pub(crate) previous: Option<RecordId>,
}

/// Where a record begins; part of its checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) number: u64,
    pub(crate) generation: u32,
    pub(crate) offset: u64,
}

impl Place {
    pub(crate) fn seal(self, mut content: crc32fast::Hasher) -> u32 {
        let mut bytes = [0u8; 20];
        bytes[..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.generation.to_le_bytes());
        bytes[12..].copy_from_slice(&self.offset.to_le_bytes());
        content.update(&bytes);
        content.finalize()
    }
}

impl Draft<'_> {
    /// An upper bound of the encoded length.
    pub(crate) fn length_bound(&self) -> usize {
        // Head, eight variable-length numbers of at most ten bytes, the lease.
        RECORD_MIN + 8 * 10 + 8 + self.key.len() + self.value.len()
    }

    /// Appends the record to `out` as it will lie at `place`; returns the checksum of its content.
    pub(crate) fn encode(&self, place: Place, out: &mut Vec<u8>) -> u32 {
        let start = out.len();
        let mut flags = 0;
        if self.lease.is_some() {
            flags |= HAS_LEASE;
        }
        if self.previous.is_some() {
            flags |= HAS_PREVIOUS;
        }
        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, self.kind.code(), flags]);
        put_varint(out, self.index.0);
        put_varint(out, self.id.revision.0);
        put_varint(out, self.id.sub.0);
        put_varint(out, self.create.0);
        put_varint(out, self.version);
        if let Some(lease) = self.lease {
            out.extend_from_slice(&lease.0.to_le_bytes());
        }
        if let Some(previous) = self.previous {
            put_varint(out, previous.revision.0);
            put_varint(out, previous.sub.0);
        }
        put_varint(out, wide(self.key.len()));
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
        let length = u32::try_from(out.len() - start)
            .expect("keys and values are bounded far below 4 GiB by the request limit");
        out[start + CHECKSUM_BYTES..start + LENGTH_END].copy_from_slice(&length.to_le_bytes());
        let mut content = crc32fast::Hasher::new();
        content.update(&out[start + CHECKSUM_BYTES..]);
        let digest = content.clone().finalize();
        let checksum = place.seal(content);
        out[start..start + CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        digest
    }
}

/// The length of the record whose first bytes these are, if they can be one.
pub(crate) fn record_length(head: &[u8]) -> Option<usize> {
    let mut input = Input::new(head);
    input.u32()?;
    let length = usize::try_from(input.u32()?).ok()?;
    (length >= RECORD_MIN).then_some(length)
}

/// Why bytes are not the record that should lie at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RecordFault {
    Length,
    Checksum,
    Fields,
}

impl RecordFault {
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Length => "record length out of bounds",
            Self::Checksum => "record checksum mismatch",
            Self::Fields => "record fields malformed",
        }
    }
}

/// Checks the record in `bytes` (exactly its bytes) against its checksum, and decodes it.
pub(crate) fn decode_checked(bytes: &Bytes, place: Place) -> Result<(Record, u32), RecordFault> {
    if record_length(bytes) != Some(bytes.len()) {
        return Err(RecordFault::Length);
    }
    let mut content = crc32fast::Hasher::new();
    content.update(&bytes[CHECKSUM_BYTES..]);
    let digest = content.clone().finalize();
    if Input::new(bytes).u32() != Some(place.seal(content)) {
        return Err(RecordFault::Checksum);
    }
    let record = decode(bytes).ok_or(RecordFault::Fields)?;
    Ok((record, digest))
}

/// Decodes a record whose bytes are known to be good: this process wrote or checked them.
pub(crate) fn decode(bytes: &Bytes) -> Option<Record> {
    let mut input = Input::new(bytes);
    input.take(LENGTH_END)?;
    let kind = RecordKind::from_code(input.u8()?)?;
    let flags = input.u8()?;
    if flags & !(HAS_LEASE | HAS_PREVIOUS) != 0 {
        return None;
    }
    let index = Index(input.varint()?);
    let id = RecordId { revision: Revision(input.varint()?), sub: Sub(input.varint()?) };
    let create = Revision(input.varint()?);
    let version = input.varint()?;
    let lease = match flags & HAS_LEASE {
        0 => None,
        _ => Some(LeaseId(codec::signed(input.u64()?))),
    };
    let previous = match flags & HAS_PREVIOUS {
        0 => None,
        _ => Some(RecordId { revision: Revision(input.varint()?), sub: Sub(input.varint()?) }),
    };
    let key_length = input.length()?;
    let key = input.take(key_length)?;
    let key = bytes.slice_ref(key);
    let value = bytes.slice_ref(input.rest());
    Some(Record { index, id, kind, key, value, create, version, lease, previous })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { number: 7, generation: 2, offset: 4096 };

    fn draft() -> Draft<'static> {
        Draft {
            index: Index(12),
            id: RecordId { revision: Revision(300), sub: Sub(1) },
            kind: RecordKind::Put,
            key: b"/registry/pods/a",
            value: b"the value",
            create: Revision(250),
            version: 3,
            lease: Some(LeaseId(-5)),
            previous: Some(RecordId { revision: Revision(299), sub: Sub(0) }),
        }
    }

    fn encoded(draft: &Draft<'_>) -> (Bytes, u32) {
        let mut out = Vec::new();
        let digest = draft.encode(PLACE, &mut out);
        assert!(out.len() <= draft.length_bound());
        (Bytes::from(out), digest)
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let (bytes, digest) = encoded(&draft());
        let (record, content) = decode_checked(&bytes, PLACE).unwrap();
        assert_eq!(content, digest);
        assert_eq!(record.id, draft().id);
        assert_eq!(record.key, draft().key);
        assert_eq!(record.value, draft().value);
        assert_eq!(record.lease, draft().lease);
        assert_eq!(record.previous, draft().previous);
        assert_eq!(record.index, draft().index);
        assert_eq!((record.create, record.version), (Revision(250), 3));
    }

    #[test]
    fn a_record_at_another_place_is_not_accepted() {
        let (bytes, _) = encoded(&draft());
        for place in [
            Place { number: 8, ..PLACE },
            Place { generation: 3, ..PLACE },
            Place { offset: 4097, ..PLACE },
        ] {
            assert_eq!(decode_checked(&bytes, place), Err(RecordFault::Checksum));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (bytes, _) = encoded(&draft());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_checked(&Bytes::from(damaged), PLACE).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_checksum_does_not_hide_fields_that_make_no_sense() {
        let mut out = Vec::new();
        let mut strange = draft();
        strange.kind = RecordKind::Delete;
        strange.encode(PLACE, &mut out);
        out[LENGTH_END] = 99;
        let mut content = crc32fast::Hasher::new();
        content.update(&out[CHECKSUM_BYTES..]);
        let checksum = PLACE.seal(content);
        out[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(decode_checked(&Bytes::from(out), PLACE), Err(RecordFault::Fields));
    }

    #[test]
    fn the_content_digest_does_not_depend_on_the_place() {
        let (_, here) = encoded(&draft());
        let there = draft().encode(Place { offset: 0, ..PLACE }, &mut Vec::new());
        assert_eq!(here, there);
    }
}
