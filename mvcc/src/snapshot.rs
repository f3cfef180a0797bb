//! Read views: a published state of the store that never changes under its reader.

use std::fmt::{Debug, Formatter};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use kstore_host::Disk;

use crate::history;
use crate::keys::table_key;
use crate::log::readers::Log;
use crate::log::writer::LogEnd;
use crate::look::{Look, Walk};
use crate::tree::{FileNumber, PageStore, Tree};
use crate::{
    Access, ChainHash, HistoryLimit, HistoryPage, KeyRange, KeyValue, Position, RangeAnswer,
    RangeQuery, ReadError, Record, RecordId, Revision, Table,
};

/// A row of a side table: key and value.
pub type TableRow = (Bytes, Bytes);

/// What all views of one store have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) home: PathBuf,
    pub(crate) pages: PageStore,
    pub(crate) log: Arc<Log>,
    /// What the page files weigh, as of the last checkpoint.
    pub(crate) page_bytes: AtomicU64,
    /// The number of the first page file that this process makes.
    pub(crate) first_page_file: FileNumber,
}

/// One published state. Nothing in it ever changes.
pub(crate) struct View {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tree: Tree,
    pub(crate) end: LogEnd,
    pub(crate) revision: Revision,
    pub(crate) compacted: Revision,
    pub(crate) retained: Revision,
    pub(crate) swept: Revision,
    pub(crate) dead_bytes: u64,
    pub(crate) position: Option<Position>,
    pub(crate) chain: ChainHash,
}

impl Debug for View {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("revision", &self.revision)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// A read view at one published state. Cloning it is cheap; it blocks nobody and nobody blocks it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) view: Arc<View>,
}

/// Hands out the newest snapshot; for any number of threads.
#[derive(Debug, Clone)]
pub struct Reader {
    /// Replaced by the writer with each publication. The lock is held for a copy of the pointer.
    newest: Arc<RwLock<Arc<View>>>,
}

impl Reader {
    pub(crate) fn new(view: Arc<View>) -> Self {
        Self { newest: Arc::new(RwLock::new(view)) }
    }

    /// The newest published state.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let view = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        Snapshot { view: Arc::clone(&view) }
    }

    pub(crate) fn publish(&self, view: Arc<View>) {
        let old = {
            let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *newest, view)
        };
        // Dropped here and not under the lock: it may be the last owner of many pages.
        drop(old);
    }
}

impl Snapshot {
    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.view.revision
    }

    /// The lowest revision that can be read, once something was compacted; 0 before that.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        self.view.compacted
    }

    /// How far down the store still holds everything; never above [`Snapshot::compacted`].
    #[must_use]
    pub fn retained(&self) -> Revision {
        self.view.retained
    }

    /// The entry of the Raft log that this state is the outcome of; `None` before the first one.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.view.position
    }

    /// The hash that chains the outcomes of all entries up to [`Snapshot::position`].
    #[must_use]
    pub fn chain(&self) -> ChainHash {
        self.view.chain
    }

    pub(crate) fn look(&self, access: Access) -> Look<'_> {
        let Shared { pages, log, .. } = &*self.view.shared;
        Look { tree: &self.view.tree, pages, log, pending: None, access }
    }

    /// The revision to read at, if it can be read.
    pub(crate) fn readable(&self, at: Option<Revision>) -> Result<Revision, ReadError> {
        readable(at, self.view.revision, self.view.compacted)
    }

    /// One key, at the newest revision or an older one.
    pub fn get(
        &self,
        key: &[u8],
        at: Option<Revision>,
        access: Access,
    ) -> Result<Option<KeyValue>, ReadError> {
        let at = self.readable(at)?;
        self.look(access).get(key, at)
    }

    /// Many keys. Costs time in proportion to the keys of the range, whatever the limit, because
    /// all are counted.
    pub fn range(&self, query: &RangeQuery, access: Access) -> Result<RangeAnswer, ReadError> {
        let at = self.readable(query.at)?;
        self.look(access).range(query, at, Walk::On)
    }

    /// The same as [`Self::range`], for who knows the count or does not want it: the walk ends
    /// behind the limit, and the answer counts no further than one key beyond it.
    pub fn page(&self, query: &RangeQuery, access: Access) -> Result<RangeAnswer, ReadError> {
        let at = self.readable(query.at)?;
        self.look(access).range(query, at, Walk::Stop)
    }

    /// The record with this id. `None` if there is none, it is newer than this view, or it was
    /// forgotten.
    pub fn record(&self, id: RecordId, access: Access) -> Result<Option<Record>, ReadError> {
        if self.view.end.last.is_none_or(|last| id > last) {
            return Ok(None);
        }
        self.look(access).record(id)
    }

    /// The puts and deletes in `range` from revision `from` on, in order. `from` may be as low as
    /// [`Snapshot::compacted`], whose own events are all still there.
    pub fn history(
        &self,
        range: &KeyRange,
        from: Revision,
        limit: HistoryLimit,
        access: Access,
    ) -> Result<HistoryPage, ReadError> {
        history::page(self, range, from, limit, access)
    }

    /// A row of a side table.
    pub fn table(
        &self,
        table: Table,
        key: &[u8],
        access: Access,
    ) -> Result<Option<Bytes>, ReadError> {
        self.view.tree.get(&self.view.shared.pages, access, &table_key(table, key))
    }

    /// At most `limit` rows of a side table whose keys begin with `prefix`, from key `from` on.
    pub fn table_scan(
        &self,
        table: Table,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
        access: Access,
    ) -> Result<Vec<TableRow>, ReadError> {
        self.look(access).rows(&table_key(table, prefix), &table_key(table, from), limit)
    }

    /// Bytes of all files of the store.
    #[must_use]
    pub fn size_on_disk(&self) -> u64 {
        let shared = &*self.view.shared;
        shared.page_bytes.load(Ordering::Relaxed) + shared.log.bytes()
    }

    /// Bytes of all files less those of records that nobody can read any more.
    #[must_use]
    pub fn size_in_use(&self) -> u64 {
        self.size_on_disk().saturating_sub(self.view.dead_bytes)
    }

    /// A hash over every key's records that a client can read at or below a revision. Equal on
    /// all members for an equal revision and an equal compaction horizon. Reads every record:
    /// for jobs.
    pub fn hash_kv(&self, at: Option<Revision>) -> Result<u32, ReadError> {
        history::hash_kv(self, self.readable(at)?)
    }
}

/// Etcd's rule of what revisions can be read.
pub(crate) fn readable(
    at: Option<Revision>,
    current: Revision,
    compacted: Revision,
) -> Result<Revision, ReadError> {
    match at {
        None => Ok(current),
        Some(at) if at > current => Err(ReadError::Future { current }),
        Some(at) if at < compacted => Err(ReadError::Compacted { compacted }),
        Some(at) => Ok(at),
    }
}
