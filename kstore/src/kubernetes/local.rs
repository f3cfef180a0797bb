//! The API server's store: the member in this process, without a network in between.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use kstore_apiserver::storage::{
    Change, Counting, Freshness, Got, Guarded, ListQuery, Listed, Storage, StorageError,
    StorageFuture, Stored, WatchItem, WatchStream, Written,
};
use kstore_machine::command::{
    Command, Compact, Compare, CompareResult, CompareTarget, DeleteRange, LeaseGrant, Operation,
    Put, Range, Step, Txn,
};
use kstore_machine::{Body, Rejected};
use kstore_mvcc::{
    Access, Content, KeyRange, KeyValue, RangeAnswer, RangeEnd, RangeQuery, ReadError, RecordKind,
    Revision, Snapshot,
};
use kstore_raft::{Event, Member, ReadFailure, SubscriptionId, Unavailable};
use tokio::time::{Duration, Instant, sleep_until};

/// How often a watch says how far it is while nothing happens.
const PROGRESS: Duration = Duration::from_secs(1);

/// The store of a member.
#[derive(Debug, Clone)]
pub(crate) struct LocalStorage(pub(crate) Member);

fn stored(found: KeyValue) -> Stored {
    Stored {
        key: found.key,
        value: found.value,
        mod_revision: found.modified.revision.0,
        lease: found.lease.map_or(0, |lease| lease.0),
    }
}

fn refused(why: Rejected) -> StorageError {
    match why {
        Rejected::Compacted { compacted } => StorageError::Compacted(compacted.0),
        Rejected::FutureRevision { current } => StorageError::Future(current.0),
        Rejected::NoSpace => StorageError::NoSpace,
        other => StorageError::Unavailable(other.to_string()),
    }
}

fn unavailable(why: Unavailable) -> StorageError {
    StorageError::Unavailable(why.to_string())
}

fn unread(failure: ReadFailure) -> StorageError {
    match failure {
        ReadFailure::Read(ReadError::Compacted { compacted }) => {
            StorageError::Compacted(compacted.0)
        }
        ReadFailure::Read(ReadError::Future { current }) => StorageError::Future(current.0),
        ReadFailure::Read(ReadError::Damaged(damage)) => StorageError::Damaged(damage.to_string()),
        ReadFailure::Read(other) => StorageError::Unavailable(other.to_string()),
        ReadFailure::Unavailable(why) => unavailable(why),
    }
}

impl LocalStorage {
    /// A view that is as fresh as asked, and the revision to read of it.
    async fn view(
        &self,
        freshness: Freshness,
    ) -> Result<(Snapshot, Option<Revision>), StorageError> {
        if freshness == Freshness::Latest {
            self.0.read_barrier().await.map_err(unavailable)?;
        }
        let snapshot = self.0.snapshot();
        match freshness {
            Freshness::Latest => Ok((snapshot, None)),
            Freshness::NotOlderThan(revision) if snapshot.revision() < Revision(revision) => {
                Err(StorageError::Future(snapshot.revision().0))
            }
            Freshness::NotOlderThan(_) => Ok((snapshot, None)),
            Freshness::Exactly(revision) => Ok((snapshot, Some(Revision(revision)))),
        }
    }

    async fn read_key(&self, key: Bytes, freshness: Freshness) -> Result<Got, StorageError> {
        let (snapshot, at) = self.view(freshness).await?;
        let revision = at.unwrap_or(snapshot.revision()).0;
        let query = move |snapshot: &Snapshot, access: Access| snapshot.get(&key, at, access);
        let found = self.0.read(snapshot, query).await.map_err(unread)?;
        Ok(Got { stored: found.map(stored), revision })
    }

    async fn read_range(&self, query: ListQuery) -> Result<Listed, StorageError> {
        let (snapshot, at) = self.view(query.freshness).await?;
        let revision = at.unwrap_or(snapshot.revision()).0;
        let wanted = RangeQuery {
            range: KeyRange { start: query.start, end: RangeEnd::Before(query.end) },
            at,
            limit: Some(query.limit as u64).filter(|limit| *limit > 0),
            content: Content::Values,
        };
        let read = move |snapshot: &Snapshot, access: Access| match query.counting {
            Counting::All => snapshot.range(&wanted, access),
            Counting::None => snapshot.page(&wanted, access),
        };
        let answer = self.0.read_as_job(snapshot, read).await.map_err(unread)?;
        let RangeAnswer { kvs, more, count } = answer;
        Ok(Listed { items: kvs.into_iter().map(stored).collect(), revision, more, count })
    }

    async fn write_all(&self, writes: Vec<Guarded>) -> Result<Written, StorageError> {
        let outcome = self.0.propose(Command::Txn(txn(writes))).await.map_err(unavailable)?;
        let reply = outcome.reply.map_err(refused)?;
        let revision = reply.revision.0;
        match reply.body {
            Body::Txn { succeeded: true, .. } => Ok(Written::Done { revision }),
            Body::Txn { responses, .. } => {
                let current = responses.into_iter().map(|response| match response.body {
                    Body::Range(found) => found.kvs.into_iter().next().map(stored),
                    _ => None,
                });
                Ok(Written::Refused { current: current.collect() })
            }
            _ => Err(StorageError::Unavailable("a transaction got another answer".to_owned())),
        }
    }

    async fn propose(&self, command: Command) -> Result<Body, StorageError> {
        let outcome = self.0.propose(command).await.map_err(unavailable)?;
        outcome.reply.map(|reply| reply.body).map_err(refused)
    }
}

/// All of the writes if every key is as expected, else a look at the keys.
fn txn(writes: Vec<Guarded>) -> Txn {
    let mut txn = Txn::default();
    for write in writes {
        txn.compare.push(Compare {
            key: write.key.clone(),
            target: CompareTarget::Mod.into(),
            result: CompareResult::Equal.into(),
            number: i64::try_from(write.expected).unwrap_or(i64::MAX),
            ..Compare::default()
        });
        let read = Range { key: write.key.clone(), ..Range::default() };
        let step = match write.value {
            Some(value) => {
                Step::Put(Put { key: write.key, value, lease: write.lease, ..Put::default() })
            }
            None => Step::DeleteRange(DeleteRange { key: write.key, ..DeleteRange::default() }),
        };
        txn.success.push(Operation { step: Some(step) });
        txn.failure.push(Operation { step: Some(Step::Range(read)) });
    }
    txn
}

impl Storage for LocalStorage {
    fn get(&self, key: Bytes, freshness: Freshness) -> StorageFuture<'_, Got> {
        Box::pin(self.read_key(key, freshness))
    }

    fn list(&self, query: ListQuery) -> StorageFuture<'_, Listed> {
        Box::pin(self.read_range(query))
    }

    fn write(&self, writes: Vec<Guarded>) -> StorageFuture<'_, Written> {
        Box::pin(self.write_all(writes))
    }

    fn watch(&self, start: Bytes, end: Bytes, from: u64) -> StorageFuture<'_, WatchStream> {
        Box::pin(async move {
            let compacted = self.0.snapshot().compacted().0;
            if from > 0 && from < compacted {
                return Err(StorageError::Compacted(compacted));
            }
            let mut stream = self.0.watch_stream();
            let range = KeyRange { start, end: RangeEnd::Before(end) };
            let from = Some(Revision(from)).filter(|from| from.0 > 0);
            let Some(subscription) = stream.subscribe(range, from) else {
                return Ok(stream::empty().boxed());
            };
            let member = self.0.clone();
            let next = Instant::now() + PROGRESS;
            Ok(changes(Watching { member, stream, subscription, progress: next, over: false }))
        })
    }

    fn current_revision(&self) -> StorageFuture<'_, u64> {
        Box::pin(async move { Ok(self.0.revision().0) })
    }

    fn compact(&self, revision: u64) -> StorageFuture<'_, ()> {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        Box::pin(
            async move { self.propose(Command::Compact(Compact { revision })).await.map(drop) },
        )
    }

    fn grant_lease(&self, seconds: i64) -> StorageFuture<'_, i64> {
        Box::pin(async move {
            // Positive, as etcd's ids are.
            let id = i64::try_from(self.0.random_u64() >> 1).unwrap_or(1).max(1);
            match self.propose(Command::LeaseGrant(LeaseGrant { id, ttl: seconds })).await? {
                Body::LeaseGrant { id, .. } => Ok(id.0),
                _ => Err(StorageError::Unavailable("a grant got another answer".to_owned())),
            }
        })
    }
}

/// A watch under way.
struct Watching {
    member: Member,
    stream: kstore_raft::WatchStream,
    subscription: SubscriptionId,
    /// When it says next how far it is.
    progress: Instant,
    over: bool,
}

fn changes(watching: Watching) -> WatchStream {
    let next = |mut watching: Watching| async move {
        let item = watching.next().await?;
        watching.over = item.is_err();
        watching.progress = Instant::now() + PROGRESS;
        Some((item, watching))
    };
    stream::unfold(watching, next).boxed()
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchItem, StorageError>> {
        if self.over {
            return None;
        }
        loop {
            tokio::select! {
                biased;
                (_, item) = self.stream.next() => {
                    return Some(match item {
                        kstore_raft::WatchItem::Events(events) => {
                            self.with_previous(events).await.map(WatchItem::Changes)
                        }
                        kstore_raft::WatchItem::Compacted(first) => {
                            Err(StorageError::Compacted(first.0))
                        }
                        kstore_raft::WatchItem::Failed(why) => Err(StorageError::Damaged(why)),
                    });
                }
                () = sleep_until(self.progress) => {
                    self.progress = Instant::now() + PROGRESS;
                    if let Some(revision) = self.stream.progress(self.subscription) {
                        return Some(Ok(WatchItem::Progress(revision.0)));
                    }
                }
            }
        }
    }

    /// Events with what was there before: at once if that is in memory, else as a job.
    #[expect(
        clippy::needless_pass_by_ref_mut,
        reason = "shared across an await, the store's stream would have to be Sync"
    )]
    async fn with_previous(&mut self, events: Vec<Event>) -> Result<Vec<Change>, StorageError> {
        let query = move |snapshot: &Snapshot, access: Access| {
            events.iter().map(|event| change(snapshot, event, access)).collect::<Result<_, _>>()
        };
        self.member.read(self.member.snapshot(), query).await.map_err(unread)
    }
}

fn change(snapshot: &Snapshot, event: &Event, access: Access) -> Result<Change, ReadError> {
    let record = match event.previous {
        Some(id) => snapshot.record(id, access)?,
        None => None,
    };
    let previous = record.filter(|record| record.kind == RecordKind::Put);
    Ok(Change {
        key: event.key.clone(),
        value: (event.kind == RecordKind::Put).then(|| event.value.clone()),
        previous: previous.map(|record| record.value),
        revision: event.id.revision.0,
    })
}
