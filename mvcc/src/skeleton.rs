//! Signatures only, for a short time.
#![expect(clippy::todo, missing_docs, clippy::needless_pass_by_ref_mut, reason = "bodies follow")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kstore_host::Disk;

use crate::{
    Access, ChainHash, Fatal, Finished, HistoryLimit, HistoryPage, Index, KeyMeta, KeyRange,
    KeyValue, LeaseId, NoteKind, OpenError, Options, Position, Pressure, RangeAnswer, RangeQuery,
    ReadError, Record, RecordId, Revision, StoreIdentity, Written,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table { Lease, LeaseKey, Auth, Alarm, Member, Meta }

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    pub position: Option<Position>,
    pub second_position: Option<Position>,
    pub chain: ChainHash,
    pub revision: Revision,
    pub fell_back: Option<String>,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DurableRoots { pub newest: Option<Position>, pub second_newest: Option<Position> }
#[derive(Debug)]
pub struct Store {}
#[derive(Debug, Clone)]
pub struct Reader {}
#[derive(Debug)]
pub struct Write<'a>(std::marker::PhantomData<&'a mut Store>);
#[derive(Debug, Clone)]
pub struct Snapshot {}
#[derive(Debug)]
pub struct CheckpointJob {}
#[derive(Debug)]
pub struct CheckpointDone {}
pub type TableRow = (Bytes, Bytes);

impl Store {
    pub fn open(disk: Arc<dyn Disk>, data_dir: &Path, options: Options, fresh: StoreIdentity) -> Result<(Self, Opening), OpenError> { todo!() }
    pub fn reader(&self) -> Reader { todo!() }
    pub fn begin(&mut self, index: Index) -> Write<'_> { todo!() }
    pub fn resume(&mut self, index: Index) -> Write<'_> { todo!() }
    pub fn publish(&mut self, position: Position, chain: ChainHash) -> Snapshot { todo!() }
    pub fn pressure(&self) -> Pressure { todo!() }
    pub fn checkpoint_due(&self, log_bytes_behind_root: u64, since_last: Duration) -> bool { todo!() }
    pub fn prepare_checkpoint(&mut self) -> Result<Option<CheckpointJob>, Fatal> { todo!() }
    pub fn finish_checkpoint(&mut self, done: CheckpointDone) -> Result<(), Fatal> { todo!() }
    pub fn durable(&self) -> DurableRoots { todo!() }
}
impl CheckpointJob {
    pub fn position(&self) -> Option<Position> { todo!() }
    pub fn run(self) -> Result<CheckpointDone, Fatal> { todo!() }
}
impl Reader { pub fn snapshot(&self) -> Snapshot { todo!() } }
impl Write<'_> {
    pub fn revision(&self) -> Revision { todo!() }
    pub fn compacted(&self) -> Revision { todo!() }
    pub fn retained(&self) -> Revision { todo!() }
    pub fn put(&mut self, key: &[u8], value: &[u8], lease: Option<LeaseId>) -> Result<Written, Fatal> { todo!() }
    pub fn delete(&mut self, key: &[u8]) -> Result<Option<Written>, Fatal> { todo!() }
    pub fn meta(&self, key: &[u8]) -> Result<Option<KeyMeta>, Fatal> { todo!() }
    pub fn get(&self, key: &[u8]) -> Result<Option<KeyValue>, Fatal> { todo!() }
    pub fn range(&self, query: &RangeQuery) -> Result<Result<RangeAnswer, ReadError>, Fatal> { todo!() }
    pub fn record(&self, id: RecordId) -> Result<Option<Record>, Fatal> { todo!() }
    pub fn live_keys(&self, range: &KeyRange, limit: usize) -> Result<Vec<Bytes>, Fatal> { todo!() }
    pub fn note(&mut self, kind: NoteKind, key: &[u8], value: &[u8]) -> Result<RecordId, Fatal> { todo!() }
    pub fn table(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fatal> { todo!() }
    pub fn table_put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), Fatal> { todo!() }
    pub fn table_delete(&mut self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Fatal> { todo!() }
    /// At most `limit` rows whose keys begin with `prefix`, from key `from` on.
    pub fn table_scan(&self, table: Table, prefix: &[u8], from: &[u8], limit: usize) -> Result<Vec<TableRow>, Fatal> { todo!() }
    pub fn set_compacted(&mut self, revision: Revision) { todo!() }
    pub fn set_retained(&mut self, revision: Revision) { todo!() }
    pub fn finish(self) -> Result<Finished, Fatal> { todo!() }
    pub fn abandon(self) -> Result<(), Fatal> { todo!() }
}
impl Snapshot {
    pub fn revision(&self) -> Revision { todo!() }
    pub fn compacted(&self) -> Revision { todo!() }
    pub fn retained(&self) -> Revision { todo!() }
    pub fn position(&self) -> Option<Position> { todo!() }
    pub fn chain(&self) -> ChainHash { todo!() }
    pub fn get(&self, key: &[u8], at: Option<Revision>, access: Access) -> Result<Option<KeyValue>, ReadError> { todo!() }
    pub fn range(&self, query: &RangeQuery, access: Access) -> Result<RangeAnswer, ReadError> { todo!() }
    pub fn record(&self, id: RecordId, access: Access) -> Result<Option<Record>, ReadError> { todo!() }
    pub fn history(&self, range: &KeyRange, from: Revision, limit: HistoryLimit, access: Access) -> Result<HistoryPage, ReadError> { todo!() }
    pub fn table(&self, table: Table, key: &[u8], access: Access) -> Result<Option<Bytes>, ReadError> { todo!() }
    pub fn table_scan(&self, table: Table, prefix: &[u8], from: &[u8], limit: usize, access: Access) -> Result<Vec<TableRow>, ReadError> { todo!() }
    pub fn size_on_disk(&self) -> u64 { todo!() }
    pub fn size_in_use(&self) -> u64 { todo!() }
    /// Reads everything: for jobs.
    pub fn hash_kv(&self, at: Option<Revision>) -> Result<u32, ReadError> { todo!() }
}
