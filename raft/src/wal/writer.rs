//! Writes groups: the half of the log that lives on the lane.
//!
//! ```text
//!   queue --take--> encode --> pwrite --> fdatasync --> places, flushed --> callbacks --+
//!     ^                                                                                 |
//!     +------------------------- again, while there is something ----------------------+
//! ```
//!
//! One job writes one group, and at most one such job is queued, so groups follow each other
//! strictly: a group is written only after the sync of the one before it returned. The bytes of a
//! group therefore prove that all groups before it were on the disk; recovery rests on that.
//!
//! Upkeep (giving up purged segments, preparing the next one) is done by jobs of the same lane
//! between groups, one file a job, so that it never holds up a group for long.

use std::io;
use std::mem;
use std::sync::Arc;

use super::base::Base;
use super::folder::Folder;
use super::format::{BLOCK, GROUP_HEADER_BYTES, Record, align, seal_group};
use super::places::SegmentFile;
use super::queue::Batch;
use super::{Fault, OnFlushed, Shared};

/// A buffer above this size is given back after the group that needed it.
const BUFFER_BYTES_KEPT: usize = 8 << 20;

/// The segment being written.
#[derive(Debug)]
struct Active {
    segment: SegmentFile,
    /// Where the next group goes.
    end: u64,
    /// The length of the file; everything below it is reserved.
    length: u64,
}

/// What writes groups. Used on the lane alone.
#[derive(Debug)]
pub(super) struct Writer {
    folder: Folder,
    active: Active,
    /// The number of the next group.
    group: u64,
    /// What everything written so far adds up to.
    base: Base,
    /// Where groups are put together; kept for its room.
    buffer: Vec<u8>,
    /// Segments that nothing needs any more, oldest first. Bounded by the segments there are.
    retired: Vec<SegmentFile>,
    /// Whether there was no room to prepare the next segment; it is tried again when it is needed.
    no_room_ahead: bool,
}

/// A group that is on the disk.
#[derive(Debug)]
pub(super) struct Group {
    /// The segment that it is the first of, if it is.
    pub(super) opened: Option<SegmentFile>,
    /// The offset of each record.
    pub(super) offsets: Vec<u32>,
    /// Where it ends.
    pub(super) end: u64,
}

/// Where a writer goes on.
#[derive(Debug)]
pub(super) struct Start {
    /// The number of the segment to open.
    pub(super) segment: u64,
    /// The number of its first group.
    pub(super) group: u64,
    /// What the log adds up to so far.
    pub(super) base: Base,
    /// Segments that nothing needs any more.
    pub(super) retired: Vec<SegmentFile>,
}

impl Writer {
    /// Opens a new segment and writes its base; everything recovered must be on the disk by now.
    pub(super) fn start(mut folder: Folder, start: Start) -> io::Result<(Self, Group)> {
        let (segment, length) = folder.take(start.segment, first_bytes(&start.base, 0))?;
        let mut writer = Self {
            folder,
            active: Active { segment, end: BLOCK, length },
            group: start.group,
            base: start.base,
            buffer: Vec::new(),
            retired: start.retired,
            no_room_ahead: false,
        };
        let group = writer.write(&[])?;
        Ok((writer, group))
    }

    /// Writes and syncs one group.
    pub(super) fn write(&mut self, records: &[Record]) -> io::Result<Group> {
        let records_bytes: u64 = records.iter().map(Record::encoded_bytes).sum();
        let bytes = align(GROUP_HEADER_BYTES as u64 + records_bytes);
        if self.active.end > BLOCK && self.active.end + bytes > self.active.length {
            self.roll(bytes)?;
        }
        let offset = self.active.end;
        let is_first = offset == BLOCK;
        let offsets = self.encode(records);
        let file = &self.active.segment.file;
        file.write_at(&self.buffer, offset)?;
        file.sync()?;
        if is_first {
            self.folder.name(self.active.segment.number)?;
        }
        self.active.end += self.buffer.len() as u64;
        self.group += 1;
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        let opened = is_first.then(|| self.active.segment.clone());
        Ok(Group { opened, offsets, end: self.active.end })
    }

    /// Puts the group together in the buffer. Returns the offset of each record in the file.
    fn encode(&mut self, records: &[Record]) -> Vec<u32> {
        let seed = self.active.segment.seed;
        let offset = self.active.end;
        self.buffer.clear();
        self.buffer.resize(GROUP_HEADER_BYTES, 0);
        if offset == BLOCK {
            let at = offset + self.buffer.len() as u64;
            Record::Base(self.base.clone()).encode(&mut self.buffer, seed, at);
        }
        let mut offsets = Vec::with_capacity(records.len());
        for record in records {
            let at = offset + self.buffer.len() as u64;
            offsets.push(u32::try_from(at).expect("a segment is shorter than 4 GiB"));
            record.encode(&mut self.buffer, seed, at);
            self.base.follow(record);
        }
        seal_group(&mut self.buffer, self.group, self.group - 1, seed, offset);
        offsets
    }

    /// Goes on to the next segment, with room for a group of `bytes` and the base.
    fn roll(&mut self, bytes: u64) -> io::Result<()> {
        let number = self.active.segment.number + 1;
        let (segment, length) = self.folder.take(number, first_bytes(&self.base, bytes))?;
        self.active = Active { segment, end: BLOCK, length };
        self.no_room_ahead = false;
        Ok(())
    }

    fn wants_next(&self) -> bool {
        let half_full = self.active.end > self.active.length / 2;
        half_full && !self.folder.is_prepared() && !self.no_room_ahead
    }

    fn wants_upkeep(&self) -> bool {
        !self.retired.is_empty() || self.wants_next()
    }

    /// Does one piece of the upkeep.
    fn upkeep(&mut self) -> io::Result<()> {
        if !self.retired.is_empty() {
            let segment = self.retired.remove(0);
            return self.folder.retire(&segment);
        }
        if !self.wants_next() {
            return Ok(());
        }
        match self.folder.prepare(self.active.segment.number + 1) {
            // Purging may make room before the segment is needed.
            Err(e) if e.kind() == io::ErrorKind::StorageFull => {
                self.no_room_ahead = true;
                self.folder.abandon_next()
            }
            other => other,
        }
    }
}

/// The bytes of a segment with `base` and a group of `bytes`.
fn first_bytes(base: &Base, bytes: u64) -> u64 {
    let base = Record::Base(base.clone()).encoded_bytes();
    BLOCK + align(GROUP_HEADER_BYTES as u64 + base + bytes)
}

impl Shared {
    /// Queues a job for the next group.
    pub(super) fn push_group_job(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        self.lane.push(Box::new(move || shared.run_group()));
    }

    fn push_upkeep_job(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        self.lane.push(Box::new(move || shared.run_upkeep()));
    }

    /// The job: writes one group and tells those who wait for it.
    fn run_group(self: &Arc<Self>) {
        let mut batch = {
            let mut state = self.state();
            match &state.fault {
                Some(_) => {
                    let callbacks = state.queue.drain_callbacks();
                    Batch { callbacks, ..Batch::default() }
                }
                None => state.queue.take(self.options.group_bytes),
            }
        };
        if crate::planted::callback_before_sync() {
            // The planted bug: those who wait are told in this job, and a later one writes.
            self.tell(mem::take(&mut batch.callbacks));
            let shared = Arc::clone(self);
            self.lane.push(Box::new(move || shared.finish_group(batch)));
            return;
        }
        self.finish_group(batch);
    }

    fn finish_group(self: &Arc<Self>, batch: Batch) {
        self.write_group(&batch);
        self.tell(batch.callbacks);
        if let Some(done) = batch.close {
            let fault = self.state().fault.clone();
            self.fail(Fault::closed());
            done(fault.map_or(Ok(()), |fault| Err(fault.error())));
        }
        self.continue_or_rest();
    }

    /// Tells those who waited how it went. An error of an earlier group is theirs, too: nothing
    /// after it counts.
    fn tell(&self, callbacks: Vec<OnFlushed>) {
        for callback in callbacks {
            let fault = self.state().fault.clone();
            callback(fault.map_or(Ok(()), |fault| Err(fault.error())));
        }
    }

    fn write_group(&self, batch: &Batch) {
        let mut writer = self.writer();
        let empty = batch.records.is_empty();
        if empty && !batch.mark {
            return;
        }
        match writer.write(&batch.records) {
            Ok(group) => {
                let mut state = self.state();
                let retired = state.publish(&batch.records, group);
                let evicted = state.view.evict(self.options.tail_bytes);
                state.marked = empty;
                drop(state);
                drop(evicted);
                writer.retired.extend(retired);
            }
            Err(e) => self.fail(Fault::from_error("write the log", &e)),
        }
    }

    /// Queues the next job, or notes that none is queued.
    fn continue_or_rest(self: &Arc<Self>) {
        let wants_upkeep = self.writer().wants_upkeep();
        let mut state = self.state();
        state.group_queued = state.queue.wants_group();
        let group = state.group_queued;
        let upkeep = wants_upkeep && state.fault.is_none() && !state.upkeep_queued;
        state.upkeep_queued |= upkeep;
        drop(state);
        if upkeep {
            self.push_upkeep_job();
        }
        if group {
            self.push_group_job();
        }
    }

    fn run_upkeep(self: &Arc<Self>) {
        let mut writer = self.writer();
        let mut state = self.state();
        let stopped = state.fault.is_some();
        state.upkeep_queued = false;
        drop(state);
        if stopped {
            return;
        }
        let done = writer.upkeep();
        let more = writer.wants_upkeep();
        drop(writer);
        match done {
            Ok(()) if more => {
                self.state().upkeep_queued = true;
                self.push_upkeep_job();
            }
            Ok(()) => {}
            Err(e) => {
                self.fail(Fault::from_error("keep the log's segments", &e));
            }
        }
    }

    /// Stops the log: nothing is written any more, everything that waits is told so.
    fn fail(&self, fault: Fault) {
        let mut state = self.state();
        state.fault.get_or_insert(fault);
    }
}

impl super::State {
    /// Follows a group that is on the disk. Returns the segments that nothing needs any more.
    pub(super) fn publish(&mut self, records: &[Record], group: Group) -> Vec<SegmentFile> {
        if let Some(segment) = group.opened {
            self.places.open_segment(segment);
        }
        let mut retired = Vec::new();
        let mut entries = 0;
        for (record, offset) in records.iter().zip(group.offsets) {
            entries += u64::from(matches!(record, Record::Entry(_)));
            retired.extend(self.places.follow(record, offset));
        }
        self.places.set_end(group.end);
        self.view.flush(entries);
        retired
    }
}
