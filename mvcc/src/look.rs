//! Reading a state tree together with the log: what snapshots and commands in progress share.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::keys::{
    Cell, CellKey, CellState, Live, key_prefix, range_bounds, user_key, with_revision,
};
use crate::log::readers::Log;
use crate::log::writer::LogWriter;
use crate::tree::{Cursor, PageStore, Tree};
use crate::{
    Access, Content, Damage, KeyRange, KeyValue, RangeAnswer, RangeQuery, ReadError, Record,
    RecordId, Revision,
};

/// After this many cells of one key in a row that are not wanted, a seek is cheaper than the next
/// step.
const STEPS_BEFORE_SEEK: u32 = 8;

/// One state of the store.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) pages: &'a PageStore,
    pub(crate) log: &'a Arc<Log>,
    /// Where records lie that are not settled; for commands only.
    pub(crate) pending: Option<&'a LogWriter>,
    pub(crate) access: Access,
}

/// A key that exists, as the tree knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visible {
    pub(crate) id: RecordId,
    pub(crate) live: Live,
}

/// The tree and the log do not fit together, or a cell makes no sense.
pub(crate) fn inconsistent(what: String) -> ReadError {
    ReadError::Damaged(Damage { file: "state tree".to_owned(), offset: 0, what })
}

pub(crate) fn decode_cell(key: &CellKey<'_>, value: &[u8]) -> Result<Cell, ReadError> {
    Cell::decode(key.revision, value)
        .ok_or_else(|| inconsistent(format!("malformed cell of revision {}", key.revision)))
}

pub(crate) fn decode_key(key: &[u8]) -> Result<CellKey<'_>, ReadError> {
    CellKey::decode(key).ok_or_else(|| inconsistent("malformed key of a cell".to_owned()))
}

impl<'a> Look<'a> {
    fn cursor(&self, start: Bound<&[u8]>) -> Result<Cursor<'a>, ReadError> {
        self.tree.cursor(self.pages, self.access, start)
    }

    /// The newest cell of a key at or below a revision; `prefix` is what [`key_prefix`] makes,
    /// with room for a revision.
    pub(crate) fn newest(
        &self,
        mut prefix: Vec<u8>,
        at: Revision,
    ) -> Result<Option<(RecordId, Cell)>, ReadError> {
        let length = prefix.len();
        with_revision(&mut prefix, at);
        let mut cursor = self.cursor(Bound::Included(&prefix))?;
        let Some((key, value)) = cursor.next()? else { return Ok(None) };
        if !key.starts_with(&prefix[..length]) {
            return Ok(None);
        }
        let key = decode_key(key)?;
        let cell = decode_cell(&key, value)?;
        Ok(Some((cell.record(key.revision), cell)))
    }

    /// The key at a revision, without its value.
    pub(crate) fn visible(&self, key: &[u8], at: Revision) -> Result<Option<Visible>, ReadError> {
        Ok(match self.newest(key_prefix(key), at)? {
            Some((id, Cell { state: CellState::Live(live), .. })) => Some(Visible { id, live }),
            _ => None,
        })
    }

    pub(crate) fn get(&self, key: &[u8], at: Revision) -> Result<Option<KeyValue>, ReadError> {
        match self.visible(key, at)? {
            Some(visible) => self.with_value(key, visible).map(Some),
            None => Ok(None),
        }
    }

    fn with_value(&self, key: &[u8], visible: Visible) -> Result<KeyValue, ReadError> {
        if visible.live.value_length == 0 {
            return Ok(visible.key_value(Bytes::copy_from_slice(key), Bytes::new()));
        }
        let record = self.record_of(visible.id)?;
        if record.key != key {
            return Err(inconsistent(format!("record {} belongs to another key", visible.id)));
        }
        Ok(visible.key_value(record.key, record.value))
    }

    fn record_of(&self, id: RecordId) -> Result<Record, ReadError> {
        self.record(id)?.ok_or_else(|| inconsistent(format!("record {id} is missing")))
    }

    pub(crate) fn record(&self, id: RecordId) -> Result<Option<Record>, ReadError> {
        if let Some(record) = self.pending.and_then(|writer| writer.pending(id)) {
            return Ok(Some(record));
        }
        self.log.record(id, self.access)
    }

    /// Answers a query whose revision was checked. `beyond` says what to do with the keys that the
    /// limit leaves out: go on to count them, or stop at the first.
    pub(crate) fn range(
        &self,
        query: &RangeQuery,
        at: Revision,
        beyond: Walk,
    ) -> Result<RangeAnswer, ReadError> {
        let mut answer = RangeAnswer::default();
        let limit = query.limit.unwrap_or(u64::MAX);
        self.each_visible(&query.range, at, |prefix, visible| {
            answer.count += 1;
            if answer.count > limit {
                return Ok(beyond);
            }
            if query.content == Content::CountOnly {
                return Ok(Walk::On);
            }
            let key = user_key(prefix);
            answer.kvs.push(match query.content {
                Content::Values => self.with_value(&key, visible)?,
                _ => visible.key_value(Bytes::copy_from_slice(&key), Bytes::new()),
            });
            Ok(Walk::On)
        })?;
        answer.more = query.content != Content::CountOnly && answer.count > limit;
        Ok(answer)
    }

    /// The first keys of a range that exist.
    pub(crate) fn live_keys(
        &self,
        range: &KeyRange,
        at: Revision,
        limit: usize,
    ) -> Result<Vec<Bytes>, ReadError> {
        let mut keys = Vec::new();
        if limit == 0 {
            return Ok(keys);
        }
        self.each_visible(range, at, |prefix, _| {
            keys.push(Bytes::copy_from_slice(&user_key(prefix)));
            Ok(if keys.len() < limit { Walk::On } else { Walk::Stop })
        })?;
        Ok(keys)
    }

    /// Calls `visit` for each key of the range that exists at a revision, in order, with the
    /// prefix of its cells.
    fn each_visible(
        &self,
        range: &KeyRange,
        at: Revision,
        mut visit: impl FnMut(&[u8], Visible) -> Result<Walk, ReadError>,
    ) -> Result<(), ReadError> {
        if range.is_empty() {
            return Ok(());
        }
        let (low, high) = range_bounds(range);
        let mut cursor = self.cursor(Bound::Included(&low))?;
        // The key whose cells the walk is in, and whether its cell for `at` was met already.
        let mut current = Vec::new();
        let mut met = false;
        let mut steps = 0;
        while let Some((bytes, value)) = cursor.next()? {
            if bytes >= high.as_slice() {
                break;
            }
            let key = decode_key(bytes)?;
            if key.prefix != current.as_slice() {
                current.clear();
                current.extend_from_slice(key.prefix);
                met = false;
                steps = 0;
            }
            if !met && key.revision <= at {
                met = true;
                let cell = decode_cell(&key, value)?;
                let id = cell.record(key.revision);
                if let CellState::Live(live) = cell.state
                    && matches!(visit(&current, Visible { id, live })?, Walk::Stop)
                {
                    break;
                }
                continue;
            }
            steps += 1;
            if steps > STEPS_BEFORE_SEEK {
                steps = 0;
                let length = current.len();
                if met {
                    // Behind the last cell of this key: its prefix ends with `00 00`.
                    current[length - 1] = 1;
                } else {
                    with_revision(&mut current, at);
                }
                cursor.seek(Bound::Included(&current))?;
                current.truncate(length);
                current[length - 1] = 0;
            }
        }
        Ok(())
    }

    /// Rows of a side table: at most `limit` whose keys begin with `prefix` and are not below
    /// `from`; `prefix` and `from` are tree keys.
    pub(crate) fn rows(
        &self,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, ReadError> {
        let mut rows = Vec::new();
        let mut cursor = self.cursor(Bound::Included(prefix.max(from)))?;
        while rows.len() < limit
            && let Some((key, value)) = cursor.next()?
            && key.starts_with(prefix)
        {
            rows.push((Bytes::copy_from_slice(&key[1..]), Bytes::copy_from_slice(value)));
        }
        Ok(rows)
    }
}

/// Whether a walk goes on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Walk {
    On,
    Stop,
}

impl Visible {
    fn key_value(self, key: Bytes, value: Bytes) -> KeyValue {
        let Live { create, version, lease, .. } = self.live;
        KeyValue { key, value, create, modified: self.id, version, lease }
    }
}
