//! etcd's range: which keys, in which order, how many. One function for ranges inside transactions
//! (over the working state) and for a client's own (over a snapshot).
//!
//! ```text
//!   plain (by key, no bounds)      the store cuts at the limit
//!   anything else                  read keys without values ─► filter ─► sort ─► cut ─► read values
//! ```
//!
//! etcd's order of steps decides what is answered and is followed: filters and sorting come before
//! the cut, with one exception, a sort target without a direction. There etcd takes `limit + 1`
//! keys in key order, sorts those upwards, and cuts.

use std::ops::ControlFlow;

use bytes::Bytes;
use kstore_mvcc::{
    Access, Content, KeyMeta, KeyRange, KeyValue, RangeAnswer, RangeEnd, RangeQuery, ReadError,
    Revision, Snapshot, Write,
};

use crate::check::after;
use crate::command::{Range, SortOrder, SortTarget};
use crate::reply::{RangeReply, Rejected};
use crate::stop::Fatal;

/// What ranges and comparisons read from.
pub trait Reads {
    /// Why a read fails.
    type Error;

    /// See [`Snapshot::range`].
    ///
    /// # Errors
    /// The read fails.
    fn range(&self, query: &RangeQuery) -> Result<RangeAnswer, Self::Error>;

    /// Shows the newest state of the keys, in order, to `visit` until it says to stop.
    ///
    /// # Errors
    /// The read fails.
    fn visit(
        &self,
        keys: &KeyRange,
        content: Content,
        visit: &mut dyn FnMut(&KeyValue) -> ControlFlow<()>,
    ) -> Result<(), Self::Error>;
}

/// A snapshot with the leave to read from disk or not.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotReads<'a> {
    /// Where to read.
    pub snapshot: &'a Snapshot,
    /// Whether the disk may be waited for.
    pub access: Access,
}

impl Reads for SnapshotReads<'_> {
    type Error = ReadError;

    fn range(&self, query: &RangeQuery) -> Result<RangeAnswer, ReadError> {
        self.snapshot.range(query, self.access)
    }

    fn visit(
        &self,
        keys: &KeyRange,
        content: Content,
        visit: &mut dyn FnMut(&KeyValue) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let query = RangeQuery { range: keys.clone(), at: None, limit: None, content };
        let found = self.range(&query)?;
        let _ = found.kvs.iter().try_for_each(visit);
        Ok(())
    }
}

impl Reads for Write<'_> {
    type Error = Fatal;

    fn range(&self, query: &RangeQuery) -> Result<RangeAnswer, Fatal> {
        // Whether the revision can be read was decided before the command wrote anything.
        let answer = Self::range(self, query)?;
        answer.map_err(|error| Fatal::Store(error.into()))
    }

    fn visit(
        &self,
        keys: &KeyRange,
        content: Content,
        visit: &mut dyn FnMut(&KeyValue) -> ControlFlow<()>,
    ) -> Result<(), Fatal> {
        let mut slices = Slices::of(keys.clone());
        while let Some(slice) = slices.next(self)? {
            for key in slice {
                let Some(kv) = one_key(self, key, content)? else { continue };
                if visit(&kv).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn one_key(write: &Write<'_>, key: Bytes, content: Content) -> Result<Option<KeyValue>, Fatal> {
    if content == Content::Values {
        return Ok(write.get(&key)?);
    }
    let Some(KeyMeta { create, modified, version, lease, .. }) = write.meta(&key)? else {
        return Ok(None);
    };
    Ok(Some(KeyValue { key, value: Bytes::new(), create, modified, version, lease }))
}

/// The live keys of a range, a slice at a time, so that a range of any size takes little memory.
/// Keys of a slice may be deleted before the next one is read.
#[derive(Debug)]
pub(crate) struct Slices {
    rest: Option<KeyRange>,
}

/// Keys in a slice.
const SLICE: usize = 512;

impl Slices {
    pub(crate) fn of(keys: KeyRange) -> Self {
        Self { rest: Some(keys) }
    }

    pub(crate) fn next(&mut self, write: &Write<'_>) -> Result<Option<Vec<Bytes>>, Fatal> {
        let Some(range) = self.rest.take().filter(|range| !range.is_empty()) else {
            return Ok(None);
        };
        if range.end == RangeEnd::Single {
            // Whoever goes on with the key finds out whether it is there.
            return Ok(Some(vec![range.start]));
        }
        let slice = write.live_keys(&range, SLICE)?;
        let Some(last) = slice.last() else { return Ok(None) };
        if slice.len() == SLICE {
            self.rest = Some(KeyRange { start: after(last), end: range.end });
        }
        Ok(Some(slice))
    }
}

impl Rejected {
    /// The refusal that a read error amounts to, if the error is about the revision asked for.
    #[must_use]
    pub fn of_read(error: &ReadError) -> Option<Self> {
        match error {
            ReadError::Compacted { compacted } => Some(Self::Compacted { compacted: *compacted }),
            ReadError::Future { current } => Some(Self::FutureRevision { current: *current }),
            _ => None,
        }
    }
}

/// The revision that a request names: none is the newest.
#[must_use]
pub fn requested_revision(revision: i64) -> Option<Revision> {
    u64::try_from(revision).ok().filter(|revision| *revision > 0).map(Revision)
}

/// Answers a range that was checked by [`crate::check_range`].
///
/// # Errors
/// The reads fail; in particular the revision is compacted or of the future.
pub fn answer<R: Reads>(reads: &R, range: &Range) -> Result<RangeReply, R::Error> {
    let keys = KeyRange::from_request(range.key.clone(), range.range_end.clone());
    let at = requested_revision(range.revision);
    let limit = u64::try_from(range.limit).ok().filter(|limit| *limit > 0);
    let query = RangeQuery { range: keys, at, limit, content: Content::Values };
    if range.count_only {
        let query = RangeQuery { limit: None, content: Content::CountOnly, ..query };
        let RangeAnswer { count, .. } = reads.range(&query)?;
        return Ok(RangeReply { kvs: Vec::new(), more: false, count });
    }
    if is_plain(range) {
        let content = if range.keys_only { Content::KeysOnly } else { Content::Values };
        let RangeAnswer { kvs, more, count } = reads.range(&RangeQuery { content, ..query })?;
        return Ok(RangeReply { kvs, more, count });
    }
    answer_sorted(reads, range, query)
}

/// Whether keys in ascending order, cut at the limit, are the answer.
fn is_plain(range: &Range) -> bool {
    range.sort_target() == SortTarget::Key
        && range.sort_order() != SortOrder::Descend
        && !has_bounds(range)
}

fn has_bounds(range: &Range) -> bool {
    range.min_mod_revision != 0
        || range.max_mod_revision != 0
        || range.min_create_revision != 0
        || range.max_create_revision != 0
}

fn answer_sorted<R: Reads>(
    reads: &R,
    range: &Range,
    query: RangeQuery,
) -> Result<RangeReply, R::Error> {
    let cut_first = range.sort_order() == SortOrder::None && !has_bounds(range);
    let limit = query.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    // Values are read late, for the keys that are answered, unless they decide the order.
    let by_value = range.sort_target() == SortTarget::Value;
    let found = reads.range(&RangeQuery {
        limit: query.limit.filter(|_| cut_first).map(|limit| limit.saturating_add(1)),
        content: if by_value { Content::Values } else { Content::KeysOnly },
        ..query.clone()
    })?;
    let mut kvs = found.kvs;
    kvs.retain(|kv| within_bounds(range, kv));
    sort(range, &mut kvs);
    let more = limit.is_some_and(|limit| kvs.len() > limit);
    kvs.truncate(limit.unwrap_or(usize::MAX));
    if range.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value.clear());
    } else if !by_value {
        for kv in &mut kvs {
            let range = KeyRange::single(kv.key.clone());
            let one = reads.range(&RangeQuery { range, limit: None, ..query.clone() })?;
            if let Some(full) = one.kvs.into_iter().next() {
                *kv = full;
            }
        }
    }
    Ok(RangeReply { kvs, more, count: found.count })
}

/// Zero is no bound. A negative one is a bound that etcd compares as it stands.
fn within_bounds(range: &Range, kv: &KeyValue) -> bool {
    let modified = i64::try_from(kv.modified.revision.0).unwrap_or(i64::MAX);
    let created = i64::try_from(kv.create.0).unwrap_or(i64::MAX);
    let least = |bound: i64, number: i64| bound == 0 || number >= bound;
    let most = |bound: i64, number: i64| bound == 0 || number <= bound;
    least(range.min_mod_revision, modified)
        && most(range.max_mod_revision, modified)
        && least(range.min_create_revision, created)
        && most(range.max_create_revision, created)
}

/// Keys come in ascending order and stay so among equals.
fn sort(range: &Range, kvs: &mut [KeyValue]) {
    match (range.sort_target(), range.sort_order()) {
        (SortTarget::Key, SortOrder::None | SortOrder::Ascend) => {}
        (SortTarget::Key, SortOrder::Descend) => kvs.reverse(),
        (target, SortOrder::None | SortOrder::Ascend) => {
            kvs.sort_by(|one, other| order(target, one, other));
        }
        (target, SortOrder::Descend) => kvs.sort_by(|one, other| order(target, other, one)),
    }
}

fn order(target: SortTarget, one: &KeyValue, other: &KeyValue) -> std::cmp::Ordering {
    match target {
        SortTarget::Key => one.key.cmp(&other.key),
        SortTarget::Version => one.version.cmp(&other.version),
        SortTarget::Create => one.create.cmp(&other.create),
        SortTarget::Mod => one.modified.revision.cmp(&other.modified.revision),
        SortTarget::Value => one.value.cmp(&other.value),
    }
}
