//! What the log adds up to at some place, entries aside.
//!
//! It is folded from the records in their order, three times over: by the view as they are handed
//! in, by the writer as they are written, and by recovery as they are read. Each segment begins
//! with it, so that the segments before may go, and so that recovery can tell whether what it
//! read is what was written.

use bytes::Bytes;
use kstore_mvcc::{Index, Position};

use super::format::Record;

/// What the records before some place in the log add up to, entries aside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Base {
    /// The last vote.
    pub(super) vote: Option<Bytes>,
    /// The last purged entry. Only grows.
    pub(super) purged: Option<Position>,
    /// How far the log is known to be committed; at most `last`.
    pub(super) committed: Option<Position>,
    /// The last entry; the last purged one when there is no other.
    pub(super) last: Option<Position>,
    /// The last image that was announced.
    pub(super) image: Option<Position>,
}

impl Base {
    /// The index that the next entry must have.
    pub(super) fn next_index(&self) -> Index {
        after(self.last)
    }

    /// The first index that is not purged.
    pub(super) fn first_index(&self) -> Index {
        after(self.purged)
    }

    /// Takes in the record that comes next.
    pub(super) fn follow(&mut self, record: &Record) {
        match record {
            Record::Base(_) => {}
            Record::Entry(entry) => {
                assert_eq!(
                    entry.position.index,
                    self.next_index(),
                    "entries are appended without a gap"
                );
                self.last = Some(entry.position);
            }
            Record::Vote(vote) => self.vote = Some(vote.clone()),
            // Before an image is installed the engine may name a place that the log has not
            // reached; a start could do nothing with it, so it is not kept.
            Record::Committed(position) if position.index < self.next_index() => {
                self.committed = Some(*position);
            }
            Record::Committed(_) => {}
            Record::Truncate(position) => self.truncate(*position),
            Record::Purge(position) => self.purge(*position),
            Record::ExpectImage(position) => self.image = Some(*position),
        }
    }

    fn truncate(&mut self, position: Option<Position>) {
        let position = later(position, self.purged);
        if after(position) > self.next_index() {
            return;
        }
        self.last = position;
        if after(self.committed) > after(position) {
            self.committed = None;
        }
    }

    fn purge(&mut self, position: Position) {
        self.purged = later(self.purged, Some(position));
        self.last = later(self.last, self.purged);
    }
}

/// The index after `position`.
pub(super) fn after(position: Option<Position>) -> Index {
    position.map_or(Index(0), |position| Index(position.index.0 + 1))
}

/// The later of two places in the log, of which each may be missing. Two places at one index are
/// told apart by their terms, which matters only for a log that began above index 0.
pub(super) fn later(one: Option<Position>, two: Option<Position>) -> Option<Position> {
    let place = |position: Option<Position>| (after(position), position.map(|p| p.term));
    if place(one) < place(two) { two } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kstore_mvcc::Term;

    use crate::wal::Entry;

    fn position(term: u64, index: u64) -> Position {
        Position { term: Term(term), index: Index(index) }
    }

    fn base(records: &[Record]) -> Base {
        let mut base = Base::default();
        for record in records {
            base.follow(record);
        }
        base
    }

    fn entry(term: u64, index: u64) -> Record {
        Record::Entry(Entry { position: position(term, index), payload: Bytes::new() })
    }

    #[test]
    fn a_commit_beyond_the_log_is_not_kept() {
        assert_eq!(base(&[entry(1, 0), Record::Committed(position(1, 1))]).committed, None);
        let committed = base(&[entry(1, 0), Record::Committed(position(1, 0))]).committed;
        assert_eq!(committed, Some(position(1, 0)));
    }

    #[test]
    fn truncating_to_before_the_purged_entries_ends_behind_them() {
        let records = [entry(1, 0), entry(1, 1), Record::Purge(position(1, 0))];
        let mut base = base(&records);
        base.follow(&Record::Truncate(None));
        assert_eq!(base.last, Some(position(1, 0)));
        assert_eq!(base.next_index(), Index(1));
    }

    #[test]
    fn purging_beyond_the_log_moves_its_end() {
        let base = base(&[entry(1, 0), Record::Purge(position(4, 9))]);
        assert_eq!((base.last, base.next_index()), (Some(position(4, 9)), Index(10)));
    }
}
