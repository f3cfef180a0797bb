//! Where entries lie on the disk: for each segment, the offset of each of its entries.
//!
//! The table follows the records as they are flushed, in their order, so it may be behind
//! [`super::view`] for what is still queued; readers ask the view first, and only for entries that
//! are flushed does it send them here.
//!
//! Invariant: the entries of all segments together, oldest segment first, have consecutive
//! indices; within a segment they are consecutive in memory, too.
//! Invariant: four bytes an entry; what is purged goes, so the table is bounded by the log.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use kstore_host::File;
use kstore_mvcc::Index;

use super::format::Record;

/// A segment's file and what checksums in it are seeded with.
#[derive(Debug, Clone)]
pub(super) struct SegmentFile {
    pub(super) number: u64,
    pub(super) seed: u64,
    pub(super) file: Arc<dyn File>,
}

/// Some entries in one segment.
#[derive(Debug)]
pub(super) struct Stretch {
    pub(super) segment: SegmentFile,
    /// The offsets of the entries, which have consecutive indices.
    pub(super) offsets: Vec<u32>,
    /// Where the last group of the segment ends so far.
    pub(super) end: u64,
}

#[derive(Debug)]
struct Segment {
    file: SegmentFile,
    /// The index of the first entry in `offsets`; without meaning while that is empty.
    first: Index,
    offsets: Vec<u32>,
    /// Where its last flushed group ends.
    end: u64,
}

impl Segment {
    /// The index after the segment's last entry.
    fn next(&self) -> Index {
        Index(self.first.0 + self.offsets.len() as u64)
    }

    /// The place of `index` in `offsets`, or where it would be.
    fn place(&self, index: Index) -> usize {
        let place = index.0.saturating_sub(self.first.0);
        usize::try_from(place).map_or(self.offsets.len(), |place| place.min(self.offsets.len()))
    }
}

/// Where entries lie on the disk.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// All segments, oldest first; the last one is being written.
    segments: VecDeque<Segment>,
}

impl Places {
    /// Takes in a new last segment.
    pub(super) fn open_segment(&mut self, file: SegmentFile) {
        self.segments.push_back(Segment { file, first: Index(0), offsets: Vec::new(), end: 0 });
    }

    /// Forgets the last segment, which holds no entry.
    pub(super) fn forget_segment(&mut self) {
        self.segments.pop_back();
    }

    /// Follows `record`, which lies at `offset` of the last segment and is on the disk. Returns
    /// the segments that nothing needs any more because of it, oldest first.
    pub(super) fn follow(&mut self, record: &Record, offset: u32) -> Vec<SegmentFile> {
        match record {
            Record::Entry(entry) => self.push(entry.position.index, offset),
            Record::Truncate(None) => self.truncate_from(Index(0)),
            Record::Truncate(Some(last)) => self.truncate_from(Index(last.index.0 + 1)),
            Record::Purge(position) => return self.purge(position.index),
            Record::Base(_) | Record::Vote(_) => {}
            Record::Committed(_) | Record::ExpectImage(_) => {}
        }
        Vec::new()
    }

    /// Notes an entry in the last segment.
    fn push(&mut self, index: Index, offset: u32) {
        let segment = self.segments.back_mut().expect("an entry lies in a segment");
        if segment.offsets.is_empty() {
            segment.first = index;
        }
        assert_eq!(segment.next(), index, "entries follow each other without a gap");
        segment.offsets.push(offset);
    }

    /// Notes where the last group of the last segment ends.
    pub(super) fn set_end(&mut self, end: u64) {
        let segment = self.segments.back_mut().expect("a group lies in a segment");
        segment.end = end;
    }

    /// Forgets the entries from `index` on.
    fn truncate_from(&mut self, index: Index) {
        for segment in self.segments.iter_mut().rev() {
            let kept = segment.place(index);
            segment.offsets.truncate(kept);
            if kept > 0 {
                break;
            }
        }
    }

    /// Forgets the entries up to and with `index`, by whole segments; returns those that nothing
    /// needs any more, oldest first. The last segment stays.
    fn purge(&mut self, index: Index) -> Vec<SegmentFile> {
        for segment in &mut self.segments {
            if !segment.offsets.is_empty() && segment.next() <= Index(index.0 + 1) {
                segment.offsets = Vec::new();
            }
        }
        let mut retired = Vec::new();
        while self.segments.len() > 1 && self.segments[0].offsets.is_empty() {
            retired.extend(self.segments.pop_front().map(|segment| segment.file));
        }
        retired
    }

    /// At most `count_max` entries from `start` on that lie in one segment and begin within
    /// `bytes_max` of the first.
    pub(super) fn find(&self, start: Index, count_max: u64, bytes_max: u64) -> Option<Stretch> {
        let holds = |segment: &&Segment| segment.first <= start && start < segment.next();
        let segment = self.segments.iter().rev().find(holds)?;
        let place = segment.place(start);
        let first = u64::from(segment.offsets[place]);
        let near = |offset: &&u32| u64::from(**offset) - first <= bytes_max;
        let count = usize::try_from(count_max).unwrap_or(usize::MAX);
        let offsets = segment.offsets[place..].iter().take(count).take_while(near);
        let offsets = offsets.copied().collect();
        Some(Stretch { segment: segment.file.clone(), offsets, end: segment.end })
    }

    /// Bytes of log from the entry at `index` on, everything that was written since included.
    pub(super) fn bytes_from(&self, index: Index) -> u64 {
        let mut bytes = 0;
        for segment in self.segments.iter().rev() {
            let place = segment.place(index);
            let begins_here = !segment.offsets.is_empty() && segment.first <= index;
            let start = match segment.offsets.get(place) {
                Some(offset) if begins_here => u64::from(*offset),
                None if begins_here => segment.end,
                _ => 0,
            };
            bytes += segment.end - start;
            if begins_here {
                break;
            }
        }
        bytes
    }
}
