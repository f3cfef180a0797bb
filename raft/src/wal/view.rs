//! What readers see of the log: its ends, its terms, and its youngest entries in memory.
//!
//! ```text
//!    purged          in places only             in memory (the tail)
//!   0 ........ 100 | 101 ............... 4 000 | 4 001 ............. 5 000
//!                                                    flushed ^      ^ last
//! ```
//!
//! The view changes at the call that changes the log, ahead of the disk: an entry can be read as
//! soon as `append` has returned. Where the entries that are on the disk lie is known by
//! [`super::places`], which follows behind.
//!
//! Invariant: the tail is contiguous and ends with the last entry, or it is empty.
//! Invariant: an entry that is not flushed is in the tail.

use std::collections::VecDeque;

use kstore_mvcc::{Index, Position, Term};

use super::Entry;
use super::base::{Base, after, later};
use super::format::{RECORD_HEADER_BYTES, Record};

/// An entry in memory.
#[derive(Debug)]
struct Held {
    entry: Entry,
    /// How many entries had been appended when this one was, itself included. It tells apart
    /// entries that had the same index.
    order: u64,
}

/// What readers see of the log.
#[derive(Debug, Default)]
pub(super) struct View {
    /// Its ends, the vote and the rest that a base record tells.
    base: Base,
    /// The first entry of each run of one term, oldest first. The first of them may be purged.
    /// Bounded by the number of elections since the last purge.
    runs: VecDeque<Position>,
    /// The youngest entries, bounded by [`super::WalOptions::tail_bytes`] and what is in flight.
    tail: VecDeque<Held>,
    /// Bytes of the tail as they are on the disk.
    tail_bytes: u64,
    /// Entries appended since the log was opened.
    appended: u64,
    /// How many of them are flushed. Set by the writer; `flushed_order <= appended`.
    flushed_order: u64,
    /// The last entry that is flushed, or the last purged one if that is later.
    flushed: Option<Position>,
}

/// Where an entry is to be looked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It is purged.
    Purged,
    /// There is no such entry yet.
    Beyond,
    /// In the tail.
    Memory,
    /// On the disk only.
    Disk,
}

/// Bytes that an entry takes in the log.
fn entry_bytes(entry: &Entry) -> u64 {
    (RECORD_HEADER_BYTES + entry.payload.len()) as u64
}

impl View {
    /// The log as a base record describes it.
    pub(super) fn at(base: Base) -> Self {
        Self { flushed: base.last, base, ..Self::default() }
    }

    pub(super) fn base(&self) -> &Base {
        &self.base
    }

    pub(super) fn flushed(&self) -> Option<Position> {
        self.flushed
    }

    /// The term of the entry at `index`: known for every entry that is there, and the last
    /// purged one.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        match self.base.purged {
            Some(purged) if purged.index == index => return Some(purged.term),
            _ => {}
        }
        if index < self.base.first_index() || index >= self.base.next_index() {
            return None;
        }
        let run = self.runs.partition_point(|first| first.index <= index).checked_sub(1)?;
        Some(self.runs[run].term)
    }

    pub(super) fn whereabouts(&self, index: Index) -> Whereabouts {
        if index < self.base.first_index() {
            Whereabouts::Purged
        } else if index >= self.base.next_index() {
            Whereabouts::Beyond
        } else if index >= self.tail_start() {
            Whereabouts::Memory
        } else {
            Whereabouts::Disk
        }
    }

    /// The index before which entries are on the disk only.
    pub(super) fn tail_start(&self) -> Index {
        self.tail.front().map_or(self.base.next_index(), |held| held.entry.position.index)
    }

    /// The entries from `start`, which is in the tail, up to but without `end`; at least one, and
    /// otherwise no more than `bytes_max`.
    pub(super) fn tail_from(&self, start: Index, end: Index, bytes_max: u64) -> Vec<Entry> {
        let skipped = usize::try_from(start.0 - self.tail_start().0)
            .expect("what lies in memory can be counted in memory");
        let mut bytes = 0;
        let mut entries = Vec::new();
        for held in self.tail.range(skipped..) {
            bytes += entry_bytes(&held.entry);
            let full = bytes > bytes_max && !entries.is_empty();
            if full || held.entry.position.index >= end {
                break;
            }
            entries.push(held.entry.clone());
        }
        entries
    }

    /// Takes in what happens to the log next.
    pub(super) fn follow(&mut self, record: &Record) {
        self.base.follow(record);
        match record {
            Record::Entry(entry) => self.append(entry.clone()),
            Record::Truncate(_) => self.drop_tail(),
            Record::Purge(_) => self.drop_head(),
            Record::Base(_) | Record::Vote(_) => {}
            Record::Committed(_) | Record::ExpectImage(_) => {}
        }
    }

    fn append(&mut self, entry: Entry) {
        if self.runs.back().is_none_or(|run| run.term != entry.position.term) {
            self.runs.push_back(entry.position);
        }
        self.appended += 1;
        self.tail_bytes += entry_bytes(&entry);
        self.tail.push_back(Held { entry, order: self.appended });
    }

    /// Drops what lies behind the log's new end.
    fn drop_tail(&mut self) {
        let end = self.base.next_index();
        while let Some(held) = self.tail.pop_back_if(|held| held.entry.position.index >= end) {
            self.tail_bytes -= entry_bytes(&held.entry);
        }
        while self.runs.pop_back_if(|run| run.index >= end).is_some() {}
        if after(self.flushed) > end {
            self.flushed = self.base.last;
        }
    }

    /// Drops what lies before the log's new start, which may lie behind its end.
    fn drop_head(&mut self) {
        let start = self.base.first_index();
        while let Some(held) = self.tail.pop_front_if(|held| held.entry.position.index < start) {
            self.tail_bytes -= entry_bytes(&held.entry);
        }
        while self.runs.get(1).is_some_and(|run| run.index <= start) {
            self.runs.pop_front();
        }
        if self.base.next_index() == start {
            self.runs.clear();
        }
        self.flushed = later(self.flushed, self.base.purged);
    }

    /// Notes that `entries` more of the appended entries are on the disk.
    pub(super) fn flush(&mut self, entries: u64) {
        self.flushed_order += entries;
        assert!(self.flushed_order <= self.appended, "only appended entries are written");
        let flushed = self.tail.partition_point(|held| held.order <= self.flushed_order);
        if let Some(last) = flushed.checked_sub(1) {
            self.flushed = Some(self.tail[last].entry.position);
        }
    }

    /// Takes the oldest flushed entries out of the tail until it holds at most `bytes_max`, and
    /// returns them, so that they are freed by the caller when it holds no lock.
    pub(super) fn evict(&mut self, bytes_max: u64) -> Vec<Entry> {
        let mut evicted = Vec::new();
        while self.tail_bytes > bytes_max {
            let flushed_order = self.flushed_order;
            let Some(held) = self.tail.pop_front_if(|held| held.order <= flushed_order) else {
                break;
            };
            self.tail_bytes -= entry_bytes(&held.entry);
            evicted.push(held.entry);
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn position(term: u64, index: u64) -> Position {
        Position { term: Term(term), index: Index(index) }
    }

    fn entry(term: u64, index: u64) -> Record {
        let payload = Bytes::from_static(b"payload");
        Record::Entry(Entry { position: position(term, index), payload })
    }

    fn view(terms: &[u64]) -> View {
        let mut view = View::default();
        for (index, term) in (0..).zip(terms) {
            view.follow(&entry(*term, index));
        }
        view
    }

    fn terms(view: &View) -> Vec<Option<u64>> {
        (0..8).map(|index| view.term_at(Index(index)).map(|term| term.0)).collect()
    }

    #[test]
    fn the_term_of_each_entry_is_known_after_truncation_and_purge() {
        let mut view = view(&[1, 1, 2, 2, 5]);
        assert_eq!(terms(&view)[..6], [Some(1), Some(1), Some(2), Some(2), Some(5), None]);
        view.follow(&Record::Truncate(Some(position(2, 2))));
        view.follow(&entry(6, 3));
        assert_eq!(terms(&view)[..5], [Some(1), Some(1), Some(2), Some(6), None]);
        view.follow(&Record::Purge(position(1, 1)));
        assert_eq!(terms(&view)[..5], [None, Some(1), Some(2), Some(6), None]);
        view.follow(&Record::Purge(position(9, 6)));
        assert_eq!(terms(&view), [None, None, None, None, None, None, Some(9), None]);
        view.follow(&entry(9, 7));
        assert_eq!(terms(&view)[5..], [None, Some(9), Some(9)]);
    }

    #[test]
    fn an_entry_that_replaced_a_flushed_one_is_not_flushed() {
        let mut view = view(&[1, 1, 1]);
        view.flush(3);
        assert_eq!(view.flushed(), Some(position(1, 2)));
        view.follow(&Record::Truncate(Some(position(1, 0))));
        assert_eq!(view.flushed(), Some(position(1, 0)));
        view.follow(&entry(2, 1));
        assert_eq!(view.flushed(), Some(position(1, 0)));
        view.flush(1);
        assert_eq!(view.flushed(), Some(position(2, 1)));
    }

    #[test]
    fn entries_truncated_before_they_were_written_do_not_count_as_flushed() {
        let mut view = view(&[1, 1]);
        view.follow(&Record::Truncate(None));
        view.follow(&entry(2, 0));
        view.flush(2);
        assert_eq!(view.flushed(), None);
        view.flush(1);
        assert_eq!(view.flushed(), Some(position(2, 0)));
    }

    #[test]
    fn only_flushed_entries_leave_the_memory() {
        let mut view = view(&[1, 1, 1]);
        view.flush(2);
        assert_eq!(view.evict(0).len(), 2);
        assert_eq!(view.whereabouts(Index(1)), Whereabouts::Disk);
        assert_eq!(view.whereabouts(Index(2)), Whereabouts::Memory);
        assert_eq!(view.whereabouts(Index(3)), Whereabouts::Beyond);
    }
}
