//! The footer of a sealed segment: how a record is found by its id without reading the records.
//!
//! ```text
//!   header | records ... | gap | entry blocks ... | fence blocks ... | trailer
//!                                 4 KiB each         4 KiB each         4 KiB
//! ```
//!
//! An *entry block* says of each record in order: id, length, kind, previous. The *fences* hold
//! the first id of each entry block. The *trailer* is the last block of the file and says how
//! many there are of each. So a lookup in a cold segment costs the trailer and the fences once,
//! then one entry block, then the record. All blocks are drawn in `docs/formats/revision-log.md`.
//!
//! Invariant: the footer is written once, when the segment is sealed, and never changes. While a
//! segment is open its entries live in memory only and are rebuilt from its records at start.

use bytes::Bytes;

use crate::codec::{Input, put_varint, wide};
use crate::log::record::{Place, RecordKind};
use crate::log::segment::SegmentFile;
use crate::{RecordId, Revision, Sub};

/// The size of every block of a footer.
pub(crate) const BLOCK: usize = 4096;
/// The same, as a number in a file.
pub(crate) const BLOCK_BYTES: u64 = 4096;

const ENTRY_HEAD: usize = 4 + 2 + 2 + 8 + 8 + 8;
const FENCE_HEAD: usize = 4 + 2 + 2;
const FENCES_PER_BLOCK: usize = (BLOCK - FENCE_HEAD) / 16;
const TRAILER_MAGIC: [u8; 8] = *b"kstorend";
const HAS_PREVIOUS: u8 = 0x80;

/// What is kept of one record for finding it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: RecordId,
    pub(crate) offset: u64,
    pub(crate) kind: RecordKind,
    pub(crate) previous: Option<RecordId>,
}

/// The top of a footer: the first id of each entry block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fences {
    pub(crate) firsts: Vec<RecordId>,
    /// Where the first entry block lies.
    pub(crate) start: u64,
}

impl Fences {
    /// The number of the entry block that holds `id` if any does.
    pub(crate) fn block_of(&self, id: RecordId) -> Option<usize> {
        self.firsts.partition_point(|first| *first <= id).checked_sub(1)
    }

    pub(crate) fn offset_of(&self, block: usize) -> u64 {
        self.start + wide(block) * BLOCK_BYTES
    }
}

/// The last block of a sealed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) records: u64,
    pub(crate) entry_blocks: u64,
    pub(crate) fence_blocks: u64,
    pub(crate) data_end: u64,
    pub(crate) first: RecordId,
    pub(crate) last: RecordId,
}

impl Trailer {
    /// The blocks before the trailer fill exactly the room between the records and it.
    pub(crate) fn fits(&self, length: u64) -> bool {
        let blocks = self.entry_blocks.checked_add(self.fence_blocks);
        let bytes = blocks.and_then(|n| n.checked_add(1)?.checked_mul(BLOCK_BYTES));
        bytes.and_then(|n| n.checked_add(align(self.data_end))) == Some(length)
    }
}

/// The next border of a block.
pub(crate) fn align(offset: u64) -> u64 {
    offset.next_multiple_of(BLOCK_BYTES)
}

/// The whole footer for a segment whose records end at `data_end`, with the gap before it.
pub(crate) fn encode(file: SegmentFile, entries: &[Entry], data_end: u64) -> Vec<u8> {
    let (first, last) = match entries {
        [first, .., last] => (first.id, last.id),
        [only] => (only.id, only.id),
        [] => unreachable!("a segment begins with its first record"),
    };
    let gap = usize::try_from(align(data_end) - data_end).expect("less than a block");
    let mut out = Footer { file, base: data_end, bytes: vec![0; gap] };
    let mut firsts = Vec::new();
    let mut block = EntryBlock::new();
    for (n, entry) in entries.iter().enumerate() {
        let end = entries.get(n + 1).map_or(data_end, |next| next.offset);
        if !block.push(entry, end - entry.offset) {
            out.push(block.finish());
            block = EntryBlock::new();
            assert!(block.push(entry, end - entry.offset), "an entry fits into an empty block");
        }
        if block.count == 1 {
            firsts.push(entry.id);
        }
    }
    out.push(block.finish());
    let fence_blocks = firsts.chunks(FENCES_PER_BLOCK).len();
    for chunk in firsts.chunks(FENCES_PER_BLOCK) {
        out.push(encode_fences(chunk));
    }
    let trailer = Trailer {
        records: wide(entries.len()),
        entry_blocks: wide(firsts.len()),
        fence_blocks: wide(fence_blocks),
        data_end,
        first,
        last,
    };
    out.push(encode_trailer(&trailer));
    out.bytes
}

/// A footer under construction; each block's checksum names its place.
struct Footer {
    file: SegmentFile,
    base: u64,
    bytes: Vec<u8>,
}

impl Footer {
    fn push(&mut self, mut block: Vec<u8>) {
        block.resize(BLOCK, 0);
        let place = self.file.at(self.base + wide(self.bytes.len()));
        let checksum = block_checksum(&block, place);
        block[..4].copy_from_slice(&checksum.to_le_bytes());
        self.bytes.extend_from_slice(&block);
    }
}

fn block_checksum(block: &[u8], place: Place) -> u32 {
    let mut content = crc32fast::Hasher::new();
    content.update(&block[4..]);
    place.seal(content)
}

/// Whether a block that was read from `place` is what was written there.
pub(crate) fn block_is_sound(block: &[u8], place: Place) -> bool {
    block.len() == BLOCK && Input::new(block).u32() == Some(block_checksum(block, place))
}

struct EntryBlock {
    bytes: Vec<u8>,
    count: u16,
    last: RecordId,
}

impl EntryBlock {
    fn new() -> Self {
        let mut bytes = Vec::with_capacity(BLOCK);
        bytes.resize(ENTRY_HEAD, 0);
        Self { bytes, count: 0, last: RecordId::default() }
    }

    /// Adds an entry unless the block is full.
    fn push(&mut self, entry: &Entry, length: u64) -> bool {
        let before = self.bytes.len();
        if self.count == 0 {
            self.last = entry.id;
            self.bytes[8..16].copy_from_slice(&entry.id.revision.0.to_le_bytes());
            self.bytes[16..24].copy_from_slice(&entry.id.sub.0.to_le_bytes());
            self.bytes[24..32].copy_from_slice(&entry.offset.to_le_bytes());
        }
        let step = entry.id.revision.0 - self.last.revision.0;
        put_varint(&mut self.bytes, step);
        let sub = if step == 0 { entry.id.sub.0 - self.last.sub.0 } else { entry.id.sub.0 };
        put_varint(&mut self.bytes, sub);
        put_varint(&mut self.bytes, length);
        let flag = if entry.previous.is_some() { HAS_PREVIOUS } else { 0 };
        self.bytes.push(entry.kind.code() | flag);
        if let Some(previous) = entry.previous {
            put_varint(&mut self.bytes, entry.id.revision.0 - previous.revision.0);
            put_varint(&mut self.bytes, previous.sub.0);
        }
        if self.bytes.len() > BLOCK {
            self.bytes.truncate(before);
            return false;
        }
        self.last = entry.id;
        self.count += 1;
        true
    }

    fn finish(mut self) -> Vec<u8> {
        self.bytes[4..6].copy_from_slice(&self.count.to_le_bytes());
        self.bytes
    }
}

/// The entries of a sound block, each with the length of its record.
pub(crate) fn entries(block: &[u8]) -> EntryIter<'_> {
    let mut input = Input::new(block);
    let mut head = || {
        input.u32()?;
        let count = input.u16()?;
        input.u16()?;
        let id = RecordId { revision: Revision(input.u64()?), sub: Sub(input.u64()?) };
        Some((count, id, input.u64()?))
    };
    let (left, id, offset) = head().unwrap_or_default();
    EntryIter { input, left, id, offset, failed: false }
}

/// See [`entries`].
#[derive(Debug)]
pub(crate) struct EntryIter<'a> {
    input: Input<'a>,
    left: u16,
    id: RecordId,
    offset: u64,
    failed: bool,
}

impl EntryIter<'_> {
    fn read(&mut self) -> Option<(Entry, u64)> {
        let step = self.input.varint()?;
        let sub = self.input.varint()?;
        self.id = if step == 0 {
            RecordId { sub: Sub(self.id.sub.0.checked_add(sub)?), ..self.id }
        } else {
            RecordId { revision: Revision(self.id.revision.0.checked_add(step)?), sub: Sub(sub) }
        };
        let length = self.input.varint()?;
        let code = self.input.u8()?;
        let kind = RecordKind::from_code(code & !HAS_PREVIOUS)?;
        let previous = match code & HAS_PREVIOUS {
            0 => None,
            _ => {
                let back = self.input.varint()?;
                let revision = Revision(self.id.revision.0.checked_sub(back)?);
                Some(RecordId { revision, sub: Sub(self.input.varint()?) })
            }
        };
        let entry = Entry { id: self.id, offset: self.offset, kind, previous };
        self.offset = self.offset.checked_add(length)?;
        Some((entry, length))
    }
}

impl Iterator for EntryIter<'_> {
    /// An entry and its record's length, or the news that the block is malformed.
    type Item = Result<(Entry, u64), MalformedBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 || self.failed {
            return None;
        }
        self.left -= 1;
        match self.read() {
            Some(item) => Some(Ok(item)),
            None => {
                self.failed = true;
                Some(Err(MalformedBlock))
            }
        }
    }
}

/// A block whose checksum is right and whose content makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MalformedBlock;

/// Finds `id` in a sound entry block.
pub(crate) fn find(block: &[u8], id: RecordId) -> Result<Option<(Entry, u64)>, MalformedBlock> {
    for item in entries(block) {
        let (entry, length) = item?;
        if entry.id >= id {
            return Ok((entry.id == id).then_some((entry, length)));
        }
    }
    Ok(None)
}

fn encode_fences(firsts: &[RecordId]) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK);
    out.extend_from_slice(&[0; 4]);
    let count = u16::try_from(firsts.len()).expect("at most 255 fit into a block");
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    for first in firsts {
        out.extend_from_slice(&first.revision.0.to_le_bytes());
        out.extend_from_slice(&first.sub.0.to_le_bytes());
    }
    out
}

/// Appends the fences of a sound block to `firsts`; `None` if the block makes no sense.
pub(crate) fn decode_fences(block: &Bytes, firsts: &mut Vec<RecordId>) -> Option<()> {
    let mut input = Input::new(block);
    input.u32()?;
    let count = input.u16()?;
    input.u16()?;
    for _ in 0..count {
        let id = RecordId { revision: Revision(input.u64()?), sub: Sub(input.u64()?) };
        if firsts.last().is_some_and(|last| *last >= id) {
            return None;
        }
        firsts.push(id);
    }
    Some(())
}

fn encode_trailer(trailer: &Trailer) -> Vec<u8> {
    let mut out = Vec::with_capacity(BLOCK);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&TRAILER_MAGIC);
    for number in [
        trailer.records,
        trailer.entry_blocks,
        trailer.fence_blocks,
        trailer.data_end,
        trailer.first.revision.0,
        trailer.first.sub.0,
        trailer.last.revision.0,
        trailer.last.sub.0,
    ] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out
}

/// Decodes the last block of a sealed segment.
pub(crate) fn decode_trailer(block: &[u8]) -> Option<Trailer> {
    let mut input = Input::new(block);
    input.u32()?;
    if input.take(8)? != TRAILER_MAGIC {
        return None;
    }
    Some(Trailer {
        records: input.u64()?,
        entry_blocks: input.u64()?,
        fence_blocks: input.u64()?,
        data_end: input.u64()?,
        first: RecordId { revision: Revision(input.u64()?), sub: Sub(input.u64()?) },
        last: RecordId { revision: Revision(input.u64()?), sub: Sub(input.u64()?) },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: SegmentFile = SegmentFile { number: 3, generation: 0 };

    fn some_entries(count: u64) -> (Vec<Entry>, u64) {
        let mut offset = 64;
        let mut list = Vec::new();
        for n in 0..count {
            let id = RecordId { revision: Revision(10 + n / 3), sub: Sub(n % 3) };
            let previous = (n % 2 == 0)
                .then_some(RecordId { revision: Revision(id.revision.0 - n % 10), sub: Sub(n) });
            list.push(Entry { id, offset, kind: RecordKind::Put, previous });
            offset += 50 + n % 300;
        }
        (list, offset)
    }

    #[test]
    fn every_record_is_found_through_fences_and_blocks() {
        let (list, data_end) = some_entries(200_000);
        let footer = Bytes::from(encode(FILE, &list, data_end));
        let gap = usize::try_from(align(data_end) - data_end).unwrap();
        let length = data_end + footer.len() as u64;
        let blocks: Vec<Bytes> =
            (gap..footer.len()).step_by(BLOCK).map(|at| footer.slice(at..at + BLOCK)).collect();
        for (n, block) in blocks.iter().enumerate() {
            let place = FILE.at(align(data_end) + n as u64 * BLOCK_BYTES);
            assert!(block_is_sound(block, place));
            assert!(!block_is_sound(block, FILE.at(0)));
        }
        let trailer = decode_trailer(blocks.last().unwrap()).unwrap();
        assert!(trailer.fits(length));
        assert!(trailer.fence_blocks > 1, "the test should cover more than one fence block");
        assert_eq!((trailer.first, trailer.last), (list[0].id, list[199_999].id));
        let mut firsts = Vec::new();
        for n in 0..trailer.fence_blocks {
            let at = usize::try_from(trailer.entry_blocks + n).unwrap();
            decode_fences(&blocks[at], &mut firsts).unwrap();
        }
        assert_eq!(firsts.len() as u64, trailer.entry_blocks);
        let fences = Fences { firsts, start: align(data_end) };
        for (n, entry) in list.iter().enumerate().step_by(97) {
            let end = list.get(n + 1).map_or(data_end, |next| next.offset);
            let block = &blocks[fences.block_of(entry.id).unwrap()];
            assert_eq!(find(block, entry.id), Ok(Some((*entry, end - entry.offset))));
        }
        let absent = RecordId { revision: Revision(11), sub: Sub(7) };
        assert_eq!(find(&blocks[fences.block_of(absent).unwrap()], absent), Ok(None));
        assert_eq!(fences.block_of(RecordId::default()), None);
    }
}
