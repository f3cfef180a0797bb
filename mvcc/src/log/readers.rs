//! What the writer of the revision log shares with its readers, and how a record is found.
//!
//! ```text
//!   segments   000001  000002 ... 000041  000042  000043          all, in order of their records
//!   indexes                       000041  000042  000043          entries in memory: a suffix
//!   chunks                          [....][....][..][.][.]        bytes in memory: a suffix
//!                                                    ^ written up to here
//! ```
//!
//! The writer *settles* finished records here; readers see a record if its id is not beyond the
//! end of their snapshot, so settling makes nothing visible by itself. A lookup by id takes the
//! index of a recent segment, or the footer of an older one; the bytes come from a chunk, from
//! the record cache (keyed by id, so it survives records being moved), or from the file.
//!
//! Invariant: a settled record never changes and never goes. Chunks leave memory from the front,
//! and only when they are written to their file.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use kstore_host::{Disk, File, OpenMode};

use crate::cache::{Cache, Spread};
use crate::codec::wide;
use crate::log::footer::{self, BLOCK, BLOCK_BYTES, Entry, Fences};
use crate::log::record::{self, Record};
use crate::log::segment::{Sealed, Segment, SegmentFile};
use crate::{Access, Damage, Options, ReadError, RecordId};

/// Settled bytes in memory.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    pub(crate) file: SegmentFile,
    pub(crate) offset: u64,
    /// Whole records.
    pub(crate) bytes: Bytes,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.offset + wide(self.bytes.len())
    }
}

/// The entries of one recent segment.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) segment: Arc<Segment>,
    /// In order; the first one is the segment's first record.
    pub(crate) entries: Vec<Entry>,
    /// Where the settled records end.
    pub(crate) end: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) indexes: VecDeque<Index>,
    pub(crate) chunks: VecDeque<Chunk>,
    /// How many of `chunks`, from the front, are in their file.
    pub(crate) written: usize,
    /// What `chunks` weigh.
    pub(crate) chunk_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct BlockId {
    file: SegmentFile,
    block: usize,
}

impl Spread for BlockId {
    fn spread(&self) -> u64 {
        self.file.number.wrapping_add(wide(self.block))
    }
}

impl Spread for RecordId {
    fn spread(&self) -> u64 {
        self.revision.0.wrapping_add(self.sub.0)
    }
}

/// Where a record lies.
#[derive(Debug, Clone, Copy)]
struct Found {
    file: SegmentFile,
    offset: u64,
    length: u64,
}

/// The revision log as readers see it.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Arc<dyn Disk>,
    home: PathBuf,
    state: RwLock<State>,
    records: Cache<RecordId, Record>,
    blocks: Cache<BlockId, Bytes>,
    /// Segments open for reading, at most `open_segments`; at the bound the oldest is closed.
    files: Mutex<BTreeMap<SegmentFile, Arc<dyn File>>>,
    open_segments: usize,
}

impl Log {
    pub(crate) fn new(disk: Arc<dyn Disk>, home: PathBuf, options: &Options, state: State) -> Self {
        Self {
            disk,
            home,
            state: RwLock::new(state),
            records: Cache::new(options.record_cache_bytes),
            blocks: Cache::new(options.footer_cache_bytes),
            files: Mutex::new(BTreeMap::new()),
            open_segments: options.open_segments.max(1),
        }
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settled record with this id. The caller has checked that its snapshot reaches so far.
    pub(crate) fn record(&self, id: RecordId, access: Access) -> Result<Option<Record>, ReadError> {
        let found = {
            let state = self.state();
            let Some(segment) = state.segment_of(id) else { return Ok(None) };
            match state.index_of(&segment) {
                None => Err(segment),
                Some(index) => {
                    let Some(found) = index.find(id) else { return Ok(None) };
                    if let Some(bytes) = state.bytes_at(found.file, found.offset) {
                        return Ok(Some(in_memory(&bytes, found.length)));
                    }
                    Ok(found)
                }
            }
        };
        if let Some(record) = self.records.get(&id) {
            return Ok(Some(record));
        }
        let found = match found {
            Ok(found) => Some(found),
            Err(segment) => self.look_up(&segment, id, access)?,
        };
        let Some(found) = found else { return Ok(None) };
        if access == Access::Cached {
            return Err(ReadError::Cold);
        }
        self.read_record(found, id).map(Some)
    }

    /// What all segments weigh together.
    pub(crate) fn bytes(&self) -> u64 {
        let state = self.state();
        let weigh = |segment: &Arc<Segment>| match segment.sealed.get() {
            Some(sealed) => sealed.length,
            None => state.data_end(segment),
        };
        state.segments.iter().map(weigh).sum()
    }

    fn read_record(&self, found: Found, id: RecordId) -> Result<Record, ReadError> {
        let bytes = self.read(found.file, found.offset, found.length)?;
        let weight = bytes.len();
        let damaged = |what: &str| damage(found.file, found.offset, what);
        let (record, _) = record::decode_checked(&bytes, found.file.at(found.offset))
            .map_err(|fault| damaged(fault.what()))?;
        if record.id != id {
            return Err(damaged("the footer names another record here"));
        }
        self.records.insert(id, record.clone(), weight);
        Ok(record)
    }

    /// Finds a record through the footer of a sealed segment.
    fn look_up(
        &self,
        segment: &Segment,
        id: RecordId,
        access: Access,
    ) -> Result<Option<Found>, ReadError> {
        let fences = self.fences(segment, access)?;
        let Some(block) = fences.block_of(id) else { return Ok(None) };
        let bytes = self.block(segment.file, fences, block, access)?;
        let found = footer::find(&bytes, id).map_err(|footer::MalformedBlock| {
            damage(segment.file, fences.offset_of(block), "footer block malformed")
        })?;
        Ok(found.map(|(entry, length)| Found { file: segment.file, offset: entry.offset, length }))
    }

    /// Where the first record at or after `id` begins in a segment that begins before it; `None`
    /// if all its records come before `id`.
    pub(crate) fn seek(
        &self,
        segment: &Arc<Segment>,
        id: RecordId,
        access: Access,
    ) -> Result<Option<u64>, ReadError> {
        if let Some(index) = self.state().index_of(segment) {
            return Ok(index.entries.get(index.position(id)).map(|entry| entry.offset));
        }
        let fences = self.fences(segment, access)?;
        let first = fences.block_of(id).unwrap_or(0);
        // The record may be the first one of the block after the one that could hold `id`.
        for block in first..fences.firsts.len().min(first + 2) {
            let bytes = self.block(segment.file, fences, block, access)?;
            for item in footer::entries(&bytes) {
                let (entry, _) = item.map_err(|footer::MalformedBlock| {
                    damage(segment.file, fences.offset_of(block), "footer block malformed")
                })?;
                if entry.id >= id {
                    return Ok(Some(entry.offset));
                }
            }
        }
        Ok(None)
    }

    /// The top of a sealed segment's footer, read once.
    pub(crate) fn fences<'s>(
        &self,
        segment: &'s Segment,
        access: Access,
    ) -> Result<&'s Fences, ReadError> {
        if let Some(fences) = segment.fences.get() {
            return Ok(fences);
        }
        if access == Access::Cached {
            return Err(ReadError::Cold);
        }
        let sealed = segment.sealed.get().expect("a segment without an index is sealed");
        let fences = self.read_fences(segment.file, *sealed)?;
        Ok(segment.fences.get_or_init(|| fences))
    }

    fn read_fences(&self, file: SegmentFile, sealed: Sealed) -> Result<Fences, ReadError> {
        let at = sealed.length.saturating_sub(BLOCK_BYTES);
        let block = self.read_block(file, at)?;
        let trailer = footer::decode_trailer(&block)
            .filter(|t| t.fits(sealed.length) && t.data_end == sealed.data_end)
            .ok_or_else(|| damage(file, at, "segment trailer malformed"))?;
        let start = footer::align(sealed.data_end);
        let mut firsts = Vec::new();
        for n in 0..trailer.fence_blocks {
            let at = start + (trailer.entry_blocks + n) * BLOCK_BYTES;
            let block = self.read_block(file, at)?;
            footer::decode_fences(&block, &mut firsts)
                .ok_or_else(|| damage(file, at, "footer fences malformed"))?;
        }
        if wide(firsts.len()) != trailer.entry_blocks {
            return Err(damage(file, at, "footer fences do not match the trailer"));
        }
        Ok(Fences { firsts, start })
    }

    fn block(
        &self,
        file: SegmentFile,
        fences: &Fences,
        block: usize,
        access: Access,
    ) -> Result<Bytes, ReadError> {
        let id = BlockId { file, block };
        if let Some(bytes) = self.blocks.get(&id) {
            return Ok(bytes);
        }
        if access == Access::Cached {
            return Err(ReadError::Cold);
        }
        let bytes = self.read_block(file, fences.offset_of(block))?;
        self.blocks.insert(id, bytes.clone(), BLOCK);
        Ok(bytes)
    }

    /// Reads and checks a block of a footer.
    pub(crate) fn read_block(&self, file: SegmentFile, offset: u64) -> Result<Bytes, ReadError> {
        let bytes = self.read(file, offset, BLOCK_BYTES)?;
        if !footer::block_is_sound(&bytes, file.at(offset)) {
            return Err(damage(file, offset, "footer block checksum mismatch"));
        }
        Ok(bytes)
    }

    /// Reads exactly `length` bytes.
    pub(crate) fn read(
        &self,
        file: SegmentFile,
        offset: u64,
        length: u64,
    ) -> Result<Bytes, ReadError> {
        // A segment is at most a few times its nominal size; a length beyond 4 GiB is damage.
        let length = u32::try_from(length).ok().and_then(|n| usize::try_from(n).ok());
        let length = length.ok_or_else(|| damage(file, offset, "length out of bounds"))?;
        let mut buffer = vec![0; length];
        let handle = self.handle(file)?;
        let read = handle
            .read_at(&mut buffer, offset)
            .map_err(|source| ReadError::Io { file: file.name(), source })?;
        if read < length {
            return Err(damage(file, offset + wide(read), "the file ends too early"));
        }
        Ok(Bytes::from(buffer))
    }

    fn handle(&self, file: SegmentFile) -> Result<Arc<dyn File>, ReadError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = files.get(&file) {
            return Ok(Arc::clone(handle));
        }
        let path = self.home.join(file.name());
        let handle = self
            .disk
            .open(&path, OpenMode::Read)
            .map_err(|source| ReadError::Io { file: file.name(), source })?;
        if files.len() >= self.open_segments {
            files.pop_first();
        }
        files.insert(file, Arc::clone(&handle));
        Ok(handle)
    }
}

/// A record that this process wrote: nothing can be wrong with its bytes.
fn in_memory(bytes: &Bytes, length: u64) -> Record {
    let length = usize::try_from(length).expect("the record lies in memory");
    record::decode(&bytes.slice(..length)).expect("bytes in memory are as they were encoded")
}

pub(crate) fn damage(file: SegmentFile, offset: u64, what: &str) -> ReadError {
    ReadError::Damaged(Damage { file: file.name(), offset, what: what.to_owned() })
}

impl Index {
    fn find(&self, id: RecordId) -> Option<Found> {
        let at = self.position(id);
        let entry = self.entries.get(at).filter(|entry| entry.id == id)?;
        let end = self.entries.get(at + 1).map_or(self.end, |next| next.offset);
        let offset = entry.offset;
        Some(Found { file: self.segment.file, offset, length: end - offset })
    }

    /// The place of the first entry at or after `id`. Nearly all revisions have one record, so
    /// it is near the place that counting revisions gives, and steps of growing width from there
    /// touch far less memory than halving the whole index.
    fn position(&self, id: RecordId) -> usize {
        let entries = &self.entries;
        let before = |at: usize| entries.get(at).is_some_and(|entry| entry.id < id);
        let revisions = id.revision.0.saturating_sub(self.segment.first.revision.0);
        let guess = usize::try_from(revisions).map_or(entries.len(), |n| n.min(entries.len()));
        let mut step = 1;
        let (mut low, mut high) = (guess, guess);
        while before(high) {
            low = high + 1;
            high = (high + step).min(entries.len());
            step *= 2;
        }
        // The guess is too high only if revisions are missing, as in a rewritten segment.
        while low > 0 && !before(low - 1) {
            high = low - 1;
            low = low.saturating_sub(step);
            step *= 2;
        }
        low + entries[low..high].partition_point(|entry| entry.id < id)
    }
}

impl State {
    /// The segment that holds `id` if any does.
    fn segment_of(&self, id: RecordId) -> Option<Arc<Segment>> {
        // Nearly all lookups are for the newest segment.
        if let Some(last) = self.segments.last()
            && last.first <= id
        {
            return Some(Arc::clone(last));
        }
        let at = self.segments.partition_point(|segment| segment.first <= id);
        at.checked_sub(1).map(|at| Arc::clone(&self.segments[at]))
    }

    /// The index of a segment, if it is a recent one.
    fn index_of(&self, segment: &Segment) -> Option<&Index> {
        self.indexes.iter().rev().find(|index| index.segment.file == segment.file)
    }

    /// The bytes in memory from a place on, to the end of their chunk.
    pub(crate) fn bytes_at(&self, file: SegmentFile, offset: u64) -> Option<Bytes> {
        let after =
            self.chunks.partition_point(|chunk| (chunk.file, chunk.offset) <= (file, offset));
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        if chunk.file != file || chunk.end() <= offset {
            return None;
        }
        let skip = usize::try_from(offset - chunk.offset).expect("within a chunk in memory");
        Some(chunk.bytes.slice(skip..))
    }

    /// Where the next chunk of a segment begins behind `offset`: what lies before it is in the
    /// file, what follows may not be yet.
    pub(crate) fn next_in_memory(&self, file: SegmentFile, offset: u64) -> Option<u64> {
        let after =
            self.chunks.partition_point(|chunk| (chunk.file, chunk.offset) <= (file, offset));
        self.chunks.get(after).filter(|chunk| chunk.file == file).map(|chunk| chunk.offset)
    }

    /// The first segment that may hold records at or after `id`.
    pub(crate) fn first_from(&self, id: RecordId) -> Option<Arc<Segment>> {
        let after = self.segments.partition_point(|segment| segment.first <= id);
        self.segments.get(after.saturating_sub(1)).map(Arc::clone)
    }

    /// Where a segment's settled records end.
    pub(crate) fn data_end(&self, segment: &Segment) -> u64 {
        match self.index_of(segment) {
            Some(index) => index.end,
            None => segment.sealed.get().map_or(0, |sealed| sealed.data_end),
        }
    }

    /// Lets the oldest chunks go while there are more than `bound` bytes, and with them the
    /// indexes of segments of which nothing is in memory any more.
    pub(crate) fn shrink(&mut self, bound: usize) {
        while self.chunk_bytes > bound && self.written > 0 {
            let chunk = self.chunks.pop_front().expect("written chunks are chunks");
            self.written -= 1;
            self.chunk_bytes -= chunk.bytes.len();
        }
        while self.indexes.len() > 1 {
            let index = &self.indexes[0];
            let sealed = index.segment.sealed.get().is_some();
            let oldest = self.chunks.front().map(|chunk| chunk.file);
            if !sealed || oldest.is_some_and(|file| file <= index.segment.file) {
                break;
            }
            self.indexes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RecordKind, Revision, Sub};

    #[test]
    fn an_index_finds_what_halving_it_would_find() {
        let id = |revision, sub| RecordId { revision: Revision(revision), sub: Sub(sub) };
        let shapes: [Vec<RecordId>; 4] = [
            (10..60).map(|n| id(n, 0)).collect(),
            (10..60).flat_map(|n| (0..n % 7).map(move |sub| id(n, sub))).collect(),
            (10..300).filter(|n| n % 11 == 0).map(|n| id(n, 0)).collect(),
            vec![id(40, 2)],
        ];
        for ids in shapes {
            let segment = Segment::open(SegmentFile { number: 1, generation: 0 }, ids[0], 0);
            let entry = |(n, id): (usize, &RecordId)| {
                let offset = wide(n) * 10;
                Entry { id: *id, offset, kind: RecordKind::Put, previous: None }
            };
            let entries: Vec<Entry> = ids.iter().enumerate().map(entry).collect();
            let index = Index { segment: Arc::new(segment), entries, end: 0 };
            for revision in 0..400 {
                for sub in 0..9 {
                    let id = id(revision, sub);
                    let expected = ids.partition_point(|one| *one < id);
                    assert_eq!(index.position(id), expected, "{id} among {ids:?}");
                }
            }
        }
    }
}
