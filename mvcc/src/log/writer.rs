//! The writing end of the revision log; there is one, on the lane that applies.
//!
//! ```text
//!   append  -> pending parts     this writer's own; an abandoned command is cut off again
//!   settle  -> chunks            readers can find the records now
//!   flush   -> segment files     written, not synced; full segments get their footer
//!   sync    -> durable           by the checkpoint only, on another thread
//! ```
//!
//! Invariant: a byte of a segment is written once. Where a segment ends is decided when a record
//! is appended; its file is made by the first flush that has something for it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kstore_host::{Disk, File, OpenMode};

use crate::codec::wide;
use crate::log::footer::{self, Entry};
use crate::log::readers::{Chunk, Index, Log};
use crate::log::record::{self, Draft, Record};
use crate::log::segment::{HEADER_BYTES, Sealed, Segment, SegmentFile, SegmentHeader};
use crate::{Fatal, Lineage, Options, RecordId};

/// The end of the log at one moment: the next record's place, and the last record's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogEnd {
    pub(crate) file: SegmentFile,
    /// The size that the segment was begun with.
    pub(crate) limit: u64,
    /// Where the next record goes; 0 while the segment holds none (and has no file).
    pub(crate) offset: u64,
    /// The newest record; `None` if there are none at all.
    pub(crate) last: Option<RecordId>,
    /// The number that the next segment gets.
    pub(crate) next_number: u64,
}

impl LogEnd {
    pub(crate) fn empty(options: &Options) -> Self {
        Self {
            file: SegmentFile { number: 1, generation: 0 },
            limit: options.segment_first,
            offset: 0,
            last: None,
            next_number: 2,
        }
    }
}

/// Records of one segment that are not settled.
#[derive(Debug)]
struct Part {
    file: SegmentFile,
    limit: u64,
    /// Where `bytes` begin in the segment.
    offset: u64,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// How far the log was when a command began: what to return to if it is abandoned.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    end: LogEnd,
    parts: usize,
    bytes: usize,
    entries: usize,
}

/// What a checkpoint must sync so that the log is durable up to where it was flushed.
#[derive(Debug, Default)]
pub(crate) struct Unsynced {
    pub(crate) files: BTreeMap<SegmentFile, Arc<dyn File>>,
    /// Whether a file was made, so that the directory must be synced too.
    pub(crate) names: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct LogWriter {
    disk: Arc<dyn Disk>,
    home: PathBuf,
    lineage: Lineage,
    log: Arc<Log>,
    end: LogEnd,
    /// Oldest first. Bounded: settled when a command finishes with more than `tail_bytes` here.
    parts: Vec<Part>,
    /// The file that the last flush wrote to, while it may get more.
    open: Option<(SegmentFile, Arc<dyn File>)>,
    unsynced: Unsynced,
    /// Settled bytes that are in no file yet.
    unwritten: usize,
    segment_max: u64,
    tail_bytes: usize,
    recent_bytes: usize,
}

impl LogWriter {
    /// A writer that goes on at `end`; `unsynced` is what recovery wrote on the way.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        home: PathBuf,
        lineage: Lineage,
        log: Arc<Log>,
        end: LogEnd,
        unsynced: Unsynced,
        options: &Options,
    ) -> Self {
        Self {
            disk,
            home,
            lineage,
            log,
            end,
            parts: Vec::new(),
            open: None,
            unsynced,
            unwritten: 0,
            segment_max: options.segment_max,
            tail_bytes: options.tail_bytes,
            recent_bytes: options.recent_bytes,
        }
    }

    pub(crate) fn end(&self) -> LogEnd {
        self.end
    }

    pub(crate) fn mark(&self) -> Mark {
        let last = self.parts.last();
        Mark {
            end: self.end,
            parts: self.parts.len(),
            bytes: last.map_or(0, |part| part.bytes.len()),
            entries: last.map_or(0, |part| part.entries.len()),
        }
    }

    /// Forgets everything appended since `mark`. Nothing was settled since: only whole commands
    /// are.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        assert!(self.parts.len() >= mark.parts, "nothing is settled within a command");
        self.parts.truncate(mark.parts);
        if let Some(last) = self.parts.last_mut() {
            last.bytes.truncate(mark.bytes);
            last.entries.truncate(mark.entries);
        }
        self.end = mark.end;
    }

    /// Appends a record; returns the checksum of its content.
    pub(crate) fn append(&mut self, draft: &Draft<'_>) -> u32 {
        assert!(self.end.last.is_none_or(|last| last < draft.id), "records are appended in order");
        let bound = draft.length_bound();
        if self.end.offset > 0 && self.end.offset + wide(bound) > self.end.limit {
            self.roll();
        }
        if self.end.offset == 0 {
            self.end.offset = HEADER_BYTES;
        }
        let fits = self.parts.last().is_some_and(|part| part.file == self.end.file);
        if !fits {
            let LogEnd { file, limit, offset, .. } = self.end;
            let bytes = Vec::with_capacity(bound);
            self.parts.push(Part { file, limit, offset, bytes, entries: Vec::new() });
        }
        let part = self.parts.last_mut().expect("there is a part for the open segment");
        let offset = self.end.offset;
        let before = part.bytes.len();
        part.bytes.reserve(bound);
        let digest = draft.encode(part.file.at(offset), &mut part.bytes);
        let Draft { id, kind, previous, .. } = *draft;
        part.entries.push(Entry { id, offset, kind, previous });
        self.end.offset += wide(part.bytes.len() - before);
        self.end.last = Some(draft.id);
        digest
    }

    /// Leaves the open segment for a new one of twice its size.
    fn roll(&mut self) {
        self.end.limit = (self.end.limit * 2).min(self.segment_max).max(HEADER_BYTES);
        self.end.file = SegmentFile { number: self.end.next_number, generation: 0 };
        self.end.next_number += 1;
        self.end.offset = 0;
    }

    /// A record that is not settled yet.
    pub(crate) fn pending(&self, id: RecordId) -> Option<Record> {
        let part = self.parts.iter().rev().find(|part| part.entries[0].id <= id)?;
        let at = part.entries.binary_search_by(|entry| entry.id.cmp(&id)).ok()?;
        let within =
            |offset: u64| usize::try_from(offset - part.offset).expect("the part lies in memory");
        let start = within(part.entries[at].offset);
        let end = part.entries.get(at + 1).map_or(part.bytes.len(), |next| within(next.offset));
        let bytes = Bytes::copy_from_slice(&part.bytes[start..end]);
        Some(record::decode(&bytes).expect("bytes in memory are as they were encoded"))
    }

    /// Called when a command is finished: bounds the memory of what is neither settled nor
    /// written.
    pub(crate) fn relieve(&mut self) -> Result<(), Fatal> {
        let pending: usize = self.parts.iter().map(|part| part.bytes.len()).sum();
        if self.unwritten + pending < self.tail_bytes {
            return Ok(());
        }
        self.settle();
        self.flush()
    }

    /// Hands everything appended over to the readers.
    pub(crate) fn settle(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        let mut guard = self.log.state_mut();
        let state = &mut *guard;
        for part in self.parts.drain(..) {
            let known = state.indexes.back().is_some_and(|index| index.segment.file == part.file);
            if !known {
                let segment = Arc::new(Segment::open(part.file, part.entries[0].id, part.limit));
                state.segments.push(Arc::clone(&segment));
                let end = part.offset;
                state.indexes.push_back(Index { segment, entries: Vec::new(), end });
            }
            let index = state.indexes.back_mut().expect("the part's segment has its index");
            index.entries.extend_from_slice(&part.entries);
            index.end = part.offset + wide(part.bytes.len());
            state.chunk_bytes += part.bytes.len();
            self.unwritten += part.bytes.len();
            let bytes = Bytes::from(part.bytes);
            state.chunks.push_back(Chunk { file: part.file, offset: part.offset, bytes });
        }
    }

    /// Writes all settled records to their segments and closes segments that are full.
    pub(crate) fn flush(&mut self) -> Result<(), Fatal> {
        while let Some(chunk) = self.next_unwritten() {
            self.write(&chunk)?;
            self.mark_written(chunk);
            self.seal_full()?;
        }
        self.seal_full()?;
        self.log.state_mut().shrink(self.recent_bytes);
        Ok(())
    }

    /// The unwritten chunks of one segment as one.
    fn next_unwritten(&self) -> Option<Chunk> {
        let state = self.log.state();
        let first = state.chunks.get(state.written)?;
        let same = state.chunks.range(state.written..).take_while(|chunk| chunk.file == first.file);
        let count = same.clone().count();
        if count == 1 {
            return Some(first.clone());
        }
        let mut bytes = Vec::with_capacity(same.clone().map(|chunk| chunk.bytes.len()).sum());
        for chunk in same {
            bytes.extend_from_slice(&chunk.bytes);
        }
        Some(Chunk { file: first.file, offset: first.offset, bytes: Bytes::from(bytes) })
    }

    fn write(&mut self, chunk: &Chunk) -> Result<(), Fatal> {
        let name = chunk.file.name();
        let file = match &self.open {
            Some((open, file)) if *open == chunk.file => Arc::clone(file),
            _ => self.open_for_writing(chunk)?,
        };
        file.write_at(&chunk.bytes, chunk.offset).map_err(Fatal::write("write", &name))?;
        self.unsynced.files.insert(chunk.file, Arc::clone(&file));
        self.open = Some((chunk.file, file));
        Ok(())
    }

    /// The file of a segment: made with its header if `chunk` is its first bytes.
    fn open_for_writing(&mut self, chunk: &Chunk) -> Result<Arc<dyn File>, Fatal> {
        let name = chunk.file.name();
        let path = self.home.join(&name);
        if chunk.offset > HEADER_BYTES {
            return self.disk.open(&path, OpenMode::ReadWrite).map_err(Fatal::write("open", &name));
        }
        let file =
            self.disk.open(&path, OpenMode::CreateNew).map_err(Fatal::write("create", &name))?;
        let limit = {
            let state = self.log.state();
            let index = state.indexes.iter().find(|index| index.segment.file == chunk.file);
            index.expect("an unwritten segment has its index").segment.limit
        };
        let header = SegmentHeader { lineage: self.lineage, file: chunk.file, limit };
        file.write_at(&header.encode(), 0).map_err(Fatal::write("write", &name))?;
        self.unsynced.names = true;
        Ok(file)
    }

    /// Puts the written chunk in the place of the chunks that it was made of.
    fn mark_written(&mut self, chunk: Chunk) {
        let mut guard = self.log.state_mut();
        let state = &mut *guard;
        let same =
            state.chunks.range(state.written..).take_while(|one| one.file == chunk.file).count();
        self.unwritten -= chunk.bytes.len();
        state.chunks.drain(state.written..state.written + same);
        state.chunks.insert(state.written, chunk);
        state.written += 1;
    }

    /// Writes the footers of segments that take no more records and whose records are written.
    fn seal_full(&mut self) -> Result<(), Fatal> {
        // The first segment that takes more records, or already has some that are not settled.
        let open = self.parts.first().map_or(self.end.file, |part| part.file);
        loop {
            let sealing = {
                let state = self.log.state();
                let first_unwritten = state.chunks.get(state.written).map(|chunk| chunk.file);
                let full = |index: &&Index| {
                    let file = index.segment.file;
                    index.segment.sealed.get().is_none()
                        && file < open
                        && first_unwritten.is_none_or(|unwritten| file < unwritten)
                };
                state.indexes.iter().find(full).map(|index| {
                    let footer = footer::encode(index.segment.file, &index.entries, index.end);
                    (
                        Arc::clone(&index.segment),
                        footer,
                        index.end,
                        index.entries.last().map(|e| e.id),
                    )
                })
            };
            let Some((segment, footer, data_end, last)) = sealing else { return Ok(()) };
            let name = segment.file.name();
            let file = match &self.open {
                Some((open, file)) if *open == segment.file => Arc::clone(file),
                _ => self
                    .disk
                    .open(&self.home.join(&name), OpenMode::ReadWrite)
                    .map_err(Fatal::write("open", &name))?,
            };
            file.write_at(&footer, data_end).map_err(Fatal::write("write", &name))?;
            self.unsynced.files.insert(segment.file, file);
            self.open = None;
            let last = last.expect("a segment begins with its first record");
            let sealed = Sealed { last, data_end, length: data_end + wide(footer.len()) };
            segment.sealed.set(sealed).expect("a segment is sealed once, by its one writer");
        }
    }

    /// What must be synced for the flushed records to be durable. The caller syncs it all.
    pub(crate) fn take_unsynced(&mut self) -> Unsynced {
        std::mem::take(&mut self.unsynced)
    }

    /// Settled bytes in no file yet, and pending ones.
    pub(crate) fn memory_bytes(&self) -> u64 {
        wide(self.unwritten) + self.parts.iter().map(|part| wide(part.bytes.len())).sum::<u64>()
    }
}
