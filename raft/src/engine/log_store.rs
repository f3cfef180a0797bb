//! openraft's log storage over the write-ahead log.
//!
//! Everything goes into one stream of bytes in the order of these calls, so no later thing is ever
//! durable before an earlier one. Nothing here touches the disk: writes are queued for the log's
//! lane, and a read that needs the disk runs as a job.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use kstore_host::Jobs;
use kstore_mvcc::{Access, Index, Position, Term};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{AsyncRuntime, LogState, RaftLogReader};
use tokio::sync::oneshot;

use super::codec::{decode_entry, decode_vote, encode_entry, encode_vote};
use super::types::{Entry, LogId, TypeConfig, Vote, log_id_at, position_of};
use crate::wal::{Wal, WalReadError};

/// Bytes of entries in one message to a peer or one batch to apply, if more than one entry.
const BATCH_BYTES: u64 = 1024 * 1024;

/// The term of the place before the first entry of a log that begins above index 0 without ever
/// having been purged. No entry has it.
const NO_TERM: Term = Term(0);

/// The log id of a position, unless it is the place before a log's first entry.
fn real(position: Option<Position>) -> Option<LogId> {
    position.filter(|at| at.term != NO_TERM || at.index == Index(0)).map(log_id_at)
}

/// The log as openraft sees it. Clones are handles on the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    wal: Wal,
    jobs: Arc<dyn Jobs>,
}

impl LogStore {
    pub(crate) fn new(wal: Wal, jobs: Arc<dyn Jobs>) -> Self {
        Self { wal, jobs }
    }

    async fn read(&self, start: u64, end: u64, max_bytes: u64) -> io::Result<Vec<Entry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        let (start, end) = (Index(start), Index(end));
        let entries = match self.wal.read(start, end, max_bytes, Access::Cached) {
            Ok(entries) => entries,
            Err(WalReadError::Cold) => {
                let wal = self.wal.clone();
                let (sender, receiver) = oneshot::channel();
                let read = move || {
                    drop(sender.send(wal.read(start, end, max_bytes, Access::Disk)));
                };
                self.jobs.run(Box::new(read)).map_err(io::Error::other)?;
                let answer =
                    receiver.await.map_err(|_| io::Error::other("read job was dropped"))?;
                answer.map_err(io::Error::other)?
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        let decoded: Result<Vec<_>, _> = entries.into_iter().map(decode_entry).collect();
        Ok(decoded?)
    }

    /// The range as indexes; an open end is the end of the log.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&end) => end.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => u64::MAX,
        };
        let first = self.wal.purged().map_or(0, |p| p.index.0 + 1);
        let after_last = self.wal.last().map_or(0, |p| p.index.0 + 1);
        (start.max(first), end.min(after_last))
    }
}

impl<R: AsyncRuntime> RaftLogReader<TypeConfig<R>> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (start, end) = self.bounds(&range);
        let mut entries = Vec::new();
        let mut next = start;
        while next < end {
            let batch = self.read(next, end, u64::MAX).await?;
            let Some(last) = batch.last() else { break };
            next = last.log_id.index + 1;
            entries.extend(batch);
        }
        // A log that has stopped takes nothing more, but the engine may ask for what it handed in
        // before it learns of that. Without an error it would take the entries for applied.
        let is_short = match range.end_bound() {
            Bound::Included(&wanted) => next <= wanted,
            Bound::Excluded(&wanted) => next < wanted,
            Bound::Unbounded => false,
        };
        match self.wal.failure() {
            Some(error) if is_short => Err(error),
            _ => Ok(entries),
        }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, BATCH_BYTES).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        match self.wal.vote() {
            None => Ok(None),
            Some(bytes) => Ok(Some(decode_vote(&bytes)?)),
        }
    }
}

impl<R: AsyncRuntime> RaftLogStorage<TypeConfig<R>> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig<R>>> {
        let last_purged_log_id = real(self.wal.purged());
        let has_entries = self.wal.last() != self.wal.purged();
        let last = if has_entries { self.wal.last().map(log_id_at) } else { None };
        let last_log_id = last.or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.wal.save_vote(encode_vote(vote), Box::new(move |result| drop(sender.send(result))));
        receiver.await.map_err(|_| io::Error::other("write-ahead log has stopped"))?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(committed) = committed {
            self.wal.save_committed(position_of(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.wal.committed().map(log_id_at))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig<R>>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<_> = entries.into_iter().map(|entry| encode_entry(&entry)).collect();
        if let Some(first) = entries.first()
            && self.wal.last().is_none()
            && first.position.index.0 > 0
        {
            // Only a test's log begins above its first slot; ours says where it begins.
            let before = Index(first.position.index.0 - 1);
            self.wal.purge(Position { term: NO_TERM, index: before });
        }
        self.wal.append(entries, Box::new(move |result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.wal.truncate_after(last.as_ref().map(position_of));
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.wal.purge(position_of(&upto));
        Ok(())
    }
}
