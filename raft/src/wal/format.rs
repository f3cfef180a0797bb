//! The bytes of a segment of the write-ahead log: its header, groups and records.
//!
//! Drawn byte by byte in `docs/formats/wal.md`. Everything here is a pure function between values
//! and bytes. Decoders take any bytes at all: they answer `None` or an error, they never panic,
//! and they allocate nothing from a length that they have not compared with what is there.
//!
//! Invariant: each checksum runs over the random seed of the segment and the offset in the file
//! before it runs over the bytes, so that neither the bytes of a client, nor what a recycled
//! file held before, nor a write that went astray can be taken for a group or a record.

use bytes::Bytes;
use kstore_mvcc::{Index, Position, Term};

use super::Entry;
use super::base::Base;

/// Groups begin at multiples of this, and the segment's header has one block to itself: the size
/// of a disk sector, which is the least that a disk writes at once.
pub(super) const BLOCK: u64 = BLOCK_BYTES as u64;
/// The same, for lengths in memory.
pub(super) const BLOCK_BYTES: usize = 512;

/// The version of the format that this code reads and writes.
pub(super) const VERSION: u32 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"kstorwal";
const GROUP_MAGIC: [u8; 4] = *b"kwgr";

/// The bytes of a segment's header that mean something; the rest of its block is slack.
pub(super) const SEGMENT_HEADER_BYTES: usize = 40;
/// The bytes of a group before its first record.
pub(super) const GROUP_HEADER_BYTES: usize = 40;
/// The bytes of a record before its payload.
pub(super) const RECORD_HEADER_BYTES: usize = 28;

/// The longest payload of one record. Requests are cut off far below it; it keeps offsets within
/// a segment, which may hold one such record at its worst, well within 32 bits.
pub const PAYLOAD_BYTES_MAX: usize = 512 << 20;

const KIND_BASE: u8 = 1;
const KIND_ENTRY: u8 = 2;
const KIND_VOTE: u8 = 3;
const KIND_COMMITTED: u8 = 4;
const KIND_TRUNCATE_AFTER: u8 = 5;
const KIND_TRUNCATE_ALL: u8 = 6;
const KIND_PURGE: u8 = 7;
const KIND_EXPECT_IMAGE: u8 = 8;

const BASE_VOTE: u8 = 1;
const BASE_PURGED: u8 = 2;
const BASE_COMMITTED: u8 = 4;
const BASE_LAST: u8 = 8;
const BASE_IMAGE: u8 = 16;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// The number in the file's name.
    pub(super) number: u64,
    /// Random, and another one each time a file becomes a segment.
    pub(super) seed: u64,
    /// Random, the same in all segments of one log.
    pub(super) log: u64,
}

/// Why a segment's header is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderFault {
    /// The bytes are no header, or a damaged one.
    Damaged,
    /// A sound header of a format that this code does not know.
    Version(u32),
}

/// What stands before the records of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupHeader {
    /// Groups are numbered from 1 through all segments, without a gap.
    pub(super) number: u64,
    /// The last group that was known to be on the disk when this one was written; 0 before all.
    pub(super) synced_to: u64,
    /// Bytes of records.
    pub(super) length: u32,
    /// Checksum of these bytes.
    pub(super) body_checksum: u32,
}

/// One thing that happened to the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// Opens each segment.
    Base(Base),
    /// An entry, at the index after the last.
    Entry(Entry),
    /// The member's vote.
    Vote(Bytes),
    /// Entries up to here are committed.
    Committed(Position),
    /// The entries after this one are void; `None`: all of them.
    Truncate(Option<Position>),
    /// The entries up to and with this one are no longer needed.
    Purge(Position),
    /// An image of the store at this position may take the place of the log.
    ExpectImage(Position),
}

/// The checksum of `bytes` at `offset` in the segment with this seed.
fn checksum(seed: u64, offset: u64, bytes: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&seed.to_le_bytes());
    place[8..].copy_from_slice(&offset.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place);
    hasher.update(bytes);
    hasher.finalize()
}

/// Where the next group begins after one that ends at `end`.
pub(super) fn align(end: u64) -> u64 {
    end.next_multiple_of(BLOCK)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut out = [0; SEGMENT_HEADER_BYTES];
        out[..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.number.to_le_bytes());
        out[24..32].copy_from_slice(&self.seed.to_le_bytes());
        out[32..40].copy_from_slice(&self.log.to_le_bytes());
        let sum = Self::sum(&out);
        out[12..16].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, HeaderFault> {
        if bytes[..8] != SEGMENT_MAGIC || u32_at(bytes, 12) != Self::sum(bytes) {
            return Err(HeaderFault::Damaged);
        }
        match u32_at(bytes, 8) {
            VERSION => Ok(Self {
                number: u64_at(bytes, 16),
                seed: u64_at(bytes, 24),
                log: u64_at(bytes, 32),
            }),
            other => Err(HeaderFault::Version(other)),
        }
    }

    /// The checksum of all fields but the checksum.
    fn sum(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&bytes[..12]);
        hasher.update(&bytes[16..]);
        hasher.finalize()
    }
}

impl GroupHeader {
    pub(super) fn encode(&self, seed: u64, offset: u64) -> [u8; GROUP_HEADER_BYTES] {
        let mut out = [0; GROUP_HEADER_BYTES];
        out[..4].copy_from_slice(&GROUP_MAGIC);
        out[8..16].copy_from_slice(&seed.to_le_bytes());
        out[16..24].copy_from_slice(&self.number.to_le_bytes());
        out[24..32].copy_from_slice(&self.synced_to.to_le_bytes());
        out[32..36].copy_from_slice(&self.length.to_le_bytes());
        out[36..40].copy_from_slice(&self.body_checksum.to_le_bytes());
        let sum = checksum(seed, offset, &out[8..]);
        out[4..8].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// The header at `offset` of the segment with this seed, if `bytes` begin with one.
    pub(super) fn decode(bytes: &[u8], seed: u64, offset: u64) -> Option<Self> {
        let bytes = bytes.get(..GROUP_HEADER_BYTES)?;
        if bytes[..4] != GROUP_MAGIC || u64_at(bytes, 8) != seed {
            return None;
        }
        if u32_at(bytes, 4) != checksum(seed, offset, &bytes[8..]) {
            return None;
        }
        let header = Self {
            number: u64_at(bytes, 16),
            synced_to: u64_at(bytes, 24),
            length: u32_at(bytes, 32),
            body_checksum: u32_at(bytes, 36),
        };
        (header.synced_to < header.number).then_some(header)
    }

    /// Whether `bytes` look as if the writing of a group's header had begun here.
    pub(super) fn begins(bytes: &[u8], seed: u64) -> bool {
        bytes.len() >= 16 && (bytes[..4] == GROUP_MAGIC || u64_at(bytes, 8) == seed)
    }

    /// Whether `body`, which lies right behind the header at `offset`, is this group's.
    pub(super) fn fits(&self, body: &[u8], seed: u64, offset: u64) -> bool {
        body.len() as u64 == u64::from(self.length)
            && self.body_checksum == checksum(seed, offset + GROUP_HEADER_BYTES as u64, body)
    }

    /// Where a group that begins at `offset` ends.
    pub(super) fn end(&self, offset: u64) -> u64 {
        offset + GROUP_HEADER_BYTES as u64 + u64::from(self.length)
    }
}

/// Turns `out`, which holds room for a header and then the encoded records, into the group at
/// `offset`, padded with zeros to a whole number of blocks.
pub(super) fn seal_group(out: &mut Vec<u8>, number: u64, synced_to: u64, seed: u64, offset: u64) {
    let body = &out[GROUP_HEADER_BYTES..];
    let length = u32::try_from(body.len()).expect("a group is bounded by the size of a payload");
    let body_checksum = checksum(seed, offset + GROUP_HEADER_BYTES as u64, body);
    let header = GroupHeader { number, synced_to, length, body_checksum };
    out[..GROUP_HEADER_BYTES].copy_from_slice(&header.encode(seed, offset));
    let padded = out.len().next_multiple_of(BLOCK_BYTES);
    out.resize(padded, 0);
}

impl Record {
    /// How many bytes the record takes.
    pub(super) fn encoded_bytes(&self) -> u64 {
        let payload = match self {
            Self::Base(base) => base.encoded_bytes(),
            Self::Entry(entry) => entry.payload.len(),
            Self::Vote(vote) => vote.len(),
            Self::Committed(_) | Self::Truncate(_) | Self::Purge(_) | Self::ExpectImage(_) => 0,
        };
        (RECORD_HEADER_BYTES + payload) as u64
    }

    /// Appends the record to `out`, as it stands at `offset` of the segment with this seed.
    pub(super) fn encode(&self, out: &mut Vec<u8>, seed: u64, offset: u64) {
        let at = out.len();
        let none = Position { term: Term(0), index: Index(0) };
        let (kind, position) = match self {
            Self::Base(_) => (KIND_BASE, none),
            Self::Entry(entry) => (KIND_ENTRY, entry.position),
            Self::Vote(_) => (KIND_VOTE, none),
            Self::Committed(position) => (KIND_COMMITTED, *position),
            Self::Truncate(Some(position)) => (KIND_TRUNCATE_AFTER, *position),
            Self::Truncate(None) => (KIND_TRUNCATE_ALL, none),
            Self::Purge(position) => (KIND_PURGE, *position),
            Self::ExpectImage(position) => (KIND_EXPECT_IMAGE, *position),
        };
        let length = self.encoded_bytes() - RECORD_HEADER_BYTES as u64;
        let length = u32::try_from(length).expect("payloads are bounded where they enter the log");
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[kind, 0, 0, 0]);
        put_position(out, position);
        match self {
            Self::Base(base) => base.encode(out),
            Self::Entry(entry) => out.extend_from_slice(&entry.payload),
            Self::Vote(vote) => out.extend_from_slice(vote),
            Self::Committed(_) | Self::Truncate(_) | Self::Purge(_) | Self::ExpectImage(_) => {}
        }
        let sum = checksum(seed, offset, &out[at + 4..]);
        out[at..at + 4].copy_from_slice(&sum.to_le_bytes());
    }

    /// The record that `bytes` begin with, which stand at `offset` of the segment with this seed,
    /// and how many bytes it takes.
    pub(super) fn decode(
        bytes: &Bytes,
        seed: u64,
        offset: u64,
    ) -> Result<(Self, usize), &'static str> {
        let length = payload_bytes(bytes).ok_or("a record is cut off in its header")?;
        let total = RECORD_HEADER_BYTES + length;
        if total > bytes.len() {
            return Err("a record is cut off in its payload");
        }
        if u32_at(bytes, 0) != checksum(seed, offset, &bytes[4..total]) {
            return Err("a record does not match its checksum");
        }
        if bytes[9..12] != [0; 3] {
            return Err("a record has bits set that mean nothing");
        }
        let position = position_at(bytes, 12);
        let payload = bytes.slice(RECORD_HEADER_BYTES..total);
        let record = match (bytes[8], length) {
            (KIND_BASE, _) => Self::Base(Base::decode(&payload).ok_or("a base record is unsound")?),
            (KIND_ENTRY, _) => Self::Entry(Entry { position, payload }),
            (KIND_VOTE, _) => Self::Vote(payload),
            (KIND_COMMITTED, 0) => Self::Committed(position),
            (KIND_TRUNCATE_AFTER, 0) => Self::Truncate(Some(position)),
            (KIND_TRUNCATE_ALL, 0) => Self::Truncate(None),
            (KIND_PURGE, 0) => Self::Purge(position),
            (KIND_EXPECT_IMAGE, 0) => Self::ExpectImage(position),
            _ => return Err("a record is of an unknown kind"),
        };
        Ok((record, total))
    }
}

/// The payload length that a record's header states; `None` when the header is not all there.
pub(super) fn payload_bytes(record: &[u8]) -> Option<usize> {
    let header = record.get(..RECORD_HEADER_BYTES)?;
    usize::try_from(u32_at(header, 4)).ok()
}

fn put_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(&position.term.0.to_le_bytes());
    out.extend_from_slice(&position.index.0.to_le_bytes());
}

fn position_at(bytes: &[u8], at: usize) -> Position {
    Position { term: Term(u64_at(bytes, at)), index: Index(u64_at(bytes, at + 8)) }
}

impl Base {
    /// In the order in which they are written.
    fn positions(&self) -> [(u8, Option<Position>); 4] {
        [
            (BASE_PURGED, self.purged),
            (BASE_COMMITTED, self.committed),
            (BASE_LAST, self.last),
            (BASE_IMAGE, self.image),
        ]
    }

    fn encoded_bytes(&self) -> usize {
        let positions = self.positions().iter().filter(|(_, p)| p.is_some()).count();
        1 + 16 * positions + self.vote.as_ref().map_or(0, Bytes::len)
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = if self.vote.is_some() { BASE_VOTE } else { 0 };
        for (flag, position) in self.positions() {
            flags |= if position.is_some() { flag } else { 0 };
        }
        out.push(flags);
        for (_, position) in self.positions() {
            if let Some(position) = position {
                put_position(out, position);
            }
        }
        if let Some(vote) = &self.vote {
            out.extend_from_slice(vote);
        }
    }

    fn decode(bytes: &Bytes) -> Option<Self> {
        let flags = *bytes.first()?;
        let mut at = 1;
        let mut next = |flag: u8| -> Option<Option<Position>> {
            if flags & flag == 0 {
                return Some(None);
            }
            let position = position_at(bytes.get(at..at + 16)?, 0);
            at += 16;
            Some(Some(position))
        };
        let purged = next(BASE_PURGED)?;
        let committed = next(BASE_COMMITTED)?;
        let last = next(BASE_LAST)?;
        let image = next(BASE_IMAGE)?;
        let vote = (flags & BASE_VOTE != 0).then(|| bytes.slice(at..));
        let whole = vote.is_some() || at == bytes.len();
        whole.then_some(Self { vote, purged, committed, last, image })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(term: u64, index: u64) -> Position {
        Position { term: Term(term), index: Index(index) }
    }

    fn one_of_each() -> Vec<Record> {
        let vote = Bytes::from_static(b"vote");
        let base = Base {
            vote: Some(vote.clone()),
            purged: Some(position(1, 2)),
            committed: None,
            last: Some(position(3, 4)),
            image: Some(position(9, 9)),
        };
        vec![
            Record::Base(Base::default()),
            Record::Base(base),
            Record::Entry(Entry { position: position(3, 5), payload: Bytes::from_static(b"abc") }),
            Record::Vote(vote),
            Record::Committed(position(3, 5)),
            Record::Truncate(Some(position(3, 4))),
            Record::Truncate(None),
            Record::Purge(position(3, 4)),
            Record::ExpectImage(position(7, 70)),
        ]
    }

    #[test]
    fn each_record_reads_back_as_it_was_written() {
        for record in one_of_each() {
            let mut out = Vec::new();
            record.encode(&mut out, 7, 512);
            assert_eq!(out.len() as u64, record.encoded_bytes());
            let length = out.len();
            assert_eq!(Record::decode(&Bytes::from(out), 7, 512), Ok((record, length)));
        }
    }

    #[test]
    fn a_record_with_any_bit_flipped_or_cut_short_is_refused() {
        for record in one_of_each() {
            let mut out = Vec::new();
            record.encode(&mut out, 7, 512);
            for bit in 0..out.len() * 8 {
                let mut bytes = out.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert!(Record::decode(&Bytes::from(bytes), 7, 512).is_err());
            }
            for length in 0..out.len() {
                assert!(Record::decode(&Bytes::copy_from_slice(&out[..length]), 7, 512).is_err());
            }
        }
    }

    #[test]
    fn a_record_under_another_seed_or_at_another_offset_is_refused() {
        let mut out = Vec::new();
        Record::Truncate(None).encode(&mut out, 7, 512);
        let bytes = Bytes::from(out);
        assert!(Record::decode(&bytes, 8, 512).is_err());
        assert!(Record::decode(&bytes, 7, 1024).is_err());
    }

    #[test]
    fn a_group_header_with_any_bit_flipped_is_none() {
        let header = GroupHeader { number: 5, synced_to: 4, length: 17, body_checksum: 99 };
        let bytes = header.encode(7, 512);
        assert_eq!(GroupHeader::decode(&bytes, 7, 512), Some(header));
        assert_eq!(GroupHeader::decode(&bytes, 8, 512), None);
        assert_eq!(GroupHeader::decode(&bytes, 7, 1024), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(GroupHeader::decode(&flipped, 7, 512), None, "bit {bit}");
        }
    }

    #[test]
    fn a_segment_header_with_any_bit_flipped_is_damaged() {
        let header = SegmentHeader { number: 3, seed: 7, log: 11 };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), Err(HeaderFault::Damaged), "bit {bit}");
        }
    }
}
