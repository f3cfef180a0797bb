//! One command's effects on the working state, all or none.

use std::fmt::{Debug, Formatter};
use std::ops::Range;

use bytes::Bytes;

use crate::keys::{Cell, CellState, Live, key_prefix, table_key, with_revision};
use crate::log::record::Draft;
use crate::log::writer::Mark;
use crate::look::Walk;
use crate::snapshot::{TableRow, readable};
use crate::store::{Numbers, Pending, Store};
use crate::{
    Fatal, Finished, Index, KeyMeta, KeyRange, KeyValue, LeaseId, NoteKind, RangeAnswer,
    RangeQuery, ReadError, Record, RecordId, RecordKind, RecordsDigest, Revision, Sub, Table,
    Written,
};

/// How the tree gets back to where a command began: what each changed place held before, in the
/// order of the changes.
#[derive(Debug, Default)]
pub(crate) struct Undo {
    /// The changed keys, one after the other.
    keys: Vec<u8>,
    steps: Vec<(Range<usize>, Option<Bytes>)>,
}

impl Undo {
    fn push(&mut self, key: &[u8], before: Option<Bytes>) {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        self.steps.push((start..self.keys.len(), before));
    }

    fn clear(&mut self) {
        self.keys.clear();
        self.steps.clear();
    }
}

/// Whether the command has its revision yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It changed no key so far; the first change makes a new revision.
    Before,
    /// Its changes belong to the store's newest revision.
    Within,
}

/// A command in progress. Reads see its own writes. Ends with [`Write::finish`] or
/// [`Write::abandon`]; one that is dropped otherwise leaves the store unusable, so a caller that
/// meets [`Fatal`] must stop.
pub struct Write<'a> {
    store: &'a mut Store,
    index: Index,
    mark: Mark,
    before: Numbers,
    phase: Phase,
    first_sub: Option<Sub>,
    records: u64,
    changes: u64,
    digest: crc32fast::Hasher,
    /// Room for encoding a cell, used again and again.
    cell: Vec<u8>,
}

impl Debug for Write<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Write")
            .field("index", &self.index)
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

impl<'a> Write<'a> {
    pub(crate) fn begin(store: &'a mut Store, index: Index) -> Self {
        Self::new(store, index, Phase::Before)
    }

    pub(crate) fn resume(store: &'a mut Store, index: Index) -> Self {
        Self::new(store, index, Phase::Within)
    }

    fn new(store: &'a mut Store, index: Index, phase: Phase) -> Self {
        store.undo.clear();
        let mark = store.log.mark();
        let before = store.numbers;
        Self {
            store,
            index,
            mark,
            before,
            phase,
            first_sub: None,
            records: 0,
            changes: 0,
            digest: crc32fast::Hasher::new(),
            cell: Vec::new(),
        }
    }

    /// The newest revision: the command's own once it changed a key.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.store.numbers.revision
    }

    /// The lowest revision that can be read, once something was compacted.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.store.numbers.compacted
    }

    /// How far down the store still holds everything.
    #[must_use]
    pub fn retained(&self) -> Revision {
        self.store.numbers.retained
    }

    /// Gives a key a value and a lease (`None` detaches it from the one it has).
    pub fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        lease: Option<LeaseId>,
    ) -> Result<Written, Fatal> {
        let prefix = key_prefix(key);
        let newest = self.newest_live(&prefix)?;
        let id = self.next_change();
        let (create, version) = match &newest {
            Some((_, live)) => (live.create, live.version + 1),
            None => (id.revision, 1),
        };
        let previous = newest.map(|(id, _)| id);
        let draft = Draft {
            index: self.index,
            id,
            kind: RecordKind::Put,
            key,
            value,
            create,
            version,
            lease,
            previous,
        };
        self.append(&draft);
        let value_length = crate::codec::wide(value.len());
        let live = Live { create, version, lease, value_length };
        self.set_cell(prefix, id, CellState::Live(live), previous)?;
        let previous_lease = newest.and_then(|(_, live)| live.lease);
        Ok(Written { id, create, version, previous, previous_lease })
    }

    /// Deletes a key; `None` if it does not exist, and then nothing is written.
    pub fn delete(&mut self, key: &[u8]) -> Result<Option<Written>, Fatal> {
        let prefix = key_prefix(key);
        let Some((previous, live)) = self.newest_live(&prefix)? else { return Ok(None) };
        let id = self.next_change();
        let draft = Draft {
            index: self.index,
            id,
            kind: RecordKind::Delete,
            key,
            value: &[],
            create: live.create,
            version: 0,
            lease: None,
            previous: Some(previous),
        };
        self.append(&draft);
        self.set_cell(prefix, id, CellState::Tombstone, Some(previous))?;
        Ok(Some(Written {
            id,
            create: live.create,
            version: 0,
            previous: Some(previous),
            previous_lease: live.lease,
        }))
    }

    /// Writes a record without a revision of its own.
    pub fn note(&mut self, kind: NoteKind, key: &[u8], value: &[u8]) -> Result<RecordId, Fatal> {
        let id = self.next_id();
        let draft = Draft {
            index: self.index,
            id,
            kind: RecordKind::Note(kind),
            key,
            value,
            create: Revision(0),
            version: 0,
            lease: None,
            previous: None,
        };
        self.append(&draft);
        Ok(id)
    }

    /// A key without its value.
    pub fn meta(&self, key: &[u8]) -> Result<Option<KeyMeta>, Fatal> {
        let newest = self.newest_live(&key_prefix(key))?;
        Ok(newest.map(|(modified, Live { create, version, lease, value_length })| KeyMeta {
            create,
            modified,
            version,
            lease,
            value_length,
        }))
    }

    /// A key with its value.
    pub fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, Fatal> {
        Ok(self.store.look().get(key, self.revision())?)
    }

    /// Many keys, as [`crate::Snapshot::range`].
    pub fn range(&self, query: &RangeQuery) -> Result<Result<RangeAnswer, ReadError>, Fatal> {
        match readable(query.at, self.revision(), self.compacted()) {
            Ok(at) => Ok(Ok(self.store.look().range(query, at, Walk::On)?)),
            Err(refused) => Ok(Err(refused)),
        }
    }

    /// The record with this id; also one that this command wrote.
    pub fn record(&self, id: RecordId) -> Result<Option<Record>, Fatal> {
        Ok(self.store.look().record(id)?)
    }

    /// At most `limit` keys of the range that exist, from its start on.
    pub fn live_keys(&self, range: &KeyRange, limit: usize) -> Result<Vec<Bytes>, Fatal> {
        Ok(self.store.look().live_keys(range, self.revision(), limit)?)
    }

    /// A row of a side table.
    pub fn table(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fatal> {
        let look = self.store.look();
        Ok(look.tree.get(look.pages, look.access, &table_key(table, key))?)
    }

    /// Sets a row of a side table.
    pub fn table_put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fatal> {
        let key = table_key(table, key);
        let look = self.store.look();
        let before = look.tree.get(look.pages, look.access, &key)?;
        if before.as_deref() == Some(value) {
            return Ok(());
        }
        self.store.undo.push(&key, before);
        self.store.tree.insert(&self.store.shared.pages, &key, value)?;
        Ok(())
    }

    /// Removes a row of a side table; returns what it held.
    pub fn table_delete(&mut self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fatal> {
        let key = table_key(table, key);
        let before = self.store.tree.remove(&self.store.shared.pages, &key)?;
        if before.is_some() {
            self.store.undo.push(&key, before.clone());
        }
        Ok(before)
    }

    /// At most `limit` rows whose keys begin with `prefix`, from key `from` on.
    pub fn table_scan(
        &self,
        table: Table,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<TableRow>, Fatal> {
        let look = self.store.look();
        Ok(look.rows(&table_key(table, prefix), &table_key(table, from), limit)?)
    }

    /// Moves the compaction horizon. It never moves back, nor beyond the newest revision: the
    /// caller has refused that.
    pub fn set_compacted(&mut self, revision: Revision) {
        let numbers = &mut self.store.numbers;
        assert!(revision >= numbers.compacted, "the compaction horizon never moves back");
        assert!(revision <= numbers.revision, "the future cannot be compacted");
        numbers.compacted = revision;
    }

    /// Moves the horizon below which history may be dropped; never beyond the compacted one.
    pub fn set_retained(&mut self, revision: Revision) {
        let numbers = &mut self.store.numbers;
        assert!(revision >= numbers.retained, "the retention horizon never moves back");
        assert!(revision <= numbers.compacted, "what clients may read is retained");
        numbers.retained = revision;
    }

    /// Ends the command. Its effects become visible with the next publication.
    pub fn finish(self) -> Result<Finished, Fatal> {
        self.store.undo.clear();
        self.store.pending = Pending::Commands;
        self.store.log.relieve()?;
        Ok(Finished {
            revision: self.store.numbers.revision,
            first_sub: self.first_sub.unwrap_or_default(),
            records: self.records,
            changes: self.changes,
            digest: RecordsDigest(self.digest.finalize()),
        })
    }

    /// Ends the command as if it had never begun.
    pub fn abandon(self) -> Result<(), Fatal> {
        let store = self.store;
        let undo = std::mem::take(&mut store.undo);
        for (key, before) in undo.steps.iter().rev() {
            let key = &undo.keys[key.clone()];
            match before {
                Some(value) => store.tree.insert(&store.shared.pages, key, value)?,
                None => {
                    store.tree.remove(&store.shared.pages, key)?;
                }
            }
        }
        store.log.rewind(self.mark);
        store.numbers = self.before;
        Ok(())
    }

    /// The newest cell of a key if the key exists.
    fn newest_live(&self, prefix: &[u8]) -> Result<Option<(RecordId, Live)>, Fatal> {
        let mut at = Vec::with_capacity(prefix.len() + 8);
        at.extend_from_slice(prefix);
        Ok(match self.store.look().newest(at, self.revision())? {
            Some((id, Cell { state: CellState::Live(live), .. })) => Some((id, live)),
            _ => None,
        })
    }

    /// The id of the next put or delete; the first one begins the command's revision.
    fn next_change(&mut self) -> RecordId {
        if self.phase == Phase::Before {
            self.phase = Phase::Within;
            let numbers = &mut self.store.numbers;
            numbers.revision = numbers.revision.next();
            numbers.next_sub = Sub(0);
            self.first_sub = None;
        }
        self.changes += 1;
        self.next_id()
    }

    fn next_id(&mut self) -> RecordId {
        let numbers = &mut self.store.numbers;
        let id = RecordId { revision: numbers.revision, sub: numbers.next_sub };
        numbers.next_sub = numbers.next_sub.next();
        self.first_sub.get_or_insert(id.sub);
        id
    }

    fn append(&mut self, draft: &Draft<'_>) {
        let content = self.store.log.append(draft);
        self.records += 1;
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&draft.id.revision.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&draft.id.sub.0.to_le_bytes());
        bytes[16..].copy_from_slice(&content.to_le_bytes());
        self.digest.update(&bytes);
    }

    /// Puts the cell of a new record into the tree. `previous` is the key's newest record before.
    fn set_cell(
        &mut self,
        mut key: Vec<u8>,
        id: RecordId,
        state: CellState,
        previous: Option<RecordId>,
    ) -> Result<(), Fatal> {
        with_revision(&mut key, id.revision);
        let store = &mut *self.store;
        // A key that is changed twice in one revision has one cell for it, the later one. Without
        // a live record before, there may still be a deletion from earlier in this revision.
        let again = match previous {
            Some(previous) => previous.revision == id.revision,
            None => id.sub > Sub(0),
        };
        let before = if again {
            store.tree.get(&store.shared.pages, crate::Access::Disk, &key)?
        } else {
            None
        };
        store.undo.push(&key, before);
        self.cell.clear();
        Cell { sub: id.sub, state }.encode(id.revision, &mut self.cell);
        store.tree.insert(&store.shared.pages, &key, &self.cell)?;
        Ok(())
    }
}
