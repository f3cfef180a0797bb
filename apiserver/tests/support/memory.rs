//! A store in memory that keeps everything: the model that tests of the REST API run on.
//!
//! It is etcd's semantics in the plainest way: each key has all its versions, one number counts
//! revisions, and a watch reads the list of changes from where it stands.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::sync::watch;

use kstore_apiserver::storage::{
    Change, Freshness, Got, Guarded, ListQuery, Listed, Storage, StorageError, StorageFuture,
    Stored, WatchItem, WatchStream, Written,
};

/// A store in memory.
#[derive(Debug)]
pub(crate) struct MemoryStorage {
    state: std::sync::Arc<Mutex<State>>,
    revision: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    revision: u64,
    compacted: u64,
    /// All versions of each key, oldest first; `None` where it went.
    keys: BTreeMap<Bytes, Vec<(u64, Option<Bytes>, i64)>>,
    changes: Vec<Change>,
    leases: i64,
}

impl State {
    fn at(&self, key: &[u8], revision: u64) -> Option<Stored> {
        let (name, versions) = self.keys.get_key_value(key)?;
        let (mod_revision, value, lease) =
            versions.iter().rev().find(|(written, _, _)| *written <= revision)?;
        let value = value.clone()?;
        Some(Stored { key: name.clone(), value, mod_revision: *mod_revision, lease: *lease })
    }

    fn revision_of(&self, freshness: Freshness) -> Result<u64, StorageError> {
        match freshness {
            Freshness::Latest => Ok(self.revision),
            Freshness::NotOlderThan(revision) if revision > self.revision => {
                Err(StorageError::Future(self.revision))
            }
            Freshness::NotOlderThan(_) => Ok(self.revision),
            Freshness::Exactly(revision) if revision > self.revision => {
                Err(StorageError::Future(self.revision))
            }
            Freshness::Exactly(revision) if revision < self.compacted => {
                Err(StorageError::Compacted(self.compacted))
            }
            Freshness::Exactly(revision) => Ok(revision),
        }
    }

    fn list(&self, query: &ListQuery) -> Result<Listed, StorageError> {
        let revision = self.revision_of(query.freshness)?;
        let range = query.start.clone()..query.end.clone();
        let all: Vec<Stored> =
            self.keys.range(range).filter_map(|(key, _)| self.at(key, revision)).collect();
        let count = all.len() as u64;
        let limit = if query.limit == 0 { usize::MAX } else { query.limit };
        let items: Vec<Stored> = all.into_iter().take(limit).collect();
        let more = (items.len() as u64) < count;
        Ok(Listed { items, revision: self.revision.max(revision).min(revision), more, count })
    }

    fn write(&mut self, writes: Vec<Guarded>) -> Written {
        let now = self.revision;
        let current: Vec<Option<Stored>> =
            writes.iter().map(|write| self.at(&write.key, now)).collect();
        let held = |stored: &Option<Stored>| stored.as_ref().map_or(0, |s| s.mod_revision);
        if writes.iter().zip(&current).any(|(write, stored)| held(stored) != write.expected) {
            return Written::Refused { current };
        }
        self.revision += 1;
        for (write, stored) in writes.into_iter().zip(current) {
            let previous = stored.map(|stored| stored.value);
            let versions = self.keys.entry(write.key.clone()).or_default();
            versions.push((self.revision, write.value.clone(), write.lease));
            let (key, value, revision) = (write.key, write.value, self.revision);
            self.changes.push(Change { key, value, previous, revision });
        }
        Written::Done { revision: self.revision }
    }

    /// The changes of the next revision at or after `from` to keys of the range, and what comes
    /// after them.
    fn next(&self, range: &(Bytes, Bytes), from: u64) -> Option<(Vec<Change>, u64)> {
        let within = |change: &&Change| change.key >= range.0 && change.key < range.1;
        let first = self.changes.iter().filter(within).find(|change| change.revision >= from)?;
        let revision = first.revision;
        let changes = self.changes.iter().filter(within).filter(|c| c.revision == revision);
        Some((changes.cloned().collect(), revision + 1))
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        let state = State { revision: 1, ..State::default() };
        Self { state: std::sync::Arc::new(Mutex::new(state)), revision: watch::Sender::new(1) }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Storage for MemoryStorage {
    fn get(&self, key: Bytes, freshness: Freshness) -> StorageFuture<'_, Got> {
        let state = lock(&self.state);
        let got = state
            .revision_of(freshness)
            .map(|revision| Got { stored: state.at(&key, revision), revision: state.revision });
        // Others come in between a look and what is made of it, as they do in a real store.
        Box::pin(async move {
            tokio::task::yield_now().await;
            got
        })
    }

    fn list(&self, query: ListQuery) -> StorageFuture<'_, Listed> {
        let listed = lock(&self.state).list(&query);
        Box::pin(async move { listed })
    }

    fn write(&self, writes: Vec<Guarded>) -> StorageFuture<'_, Written> {
        let mut state = lock(&self.state);
        let written = state.write(writes);
        self.revision.send_replace(state.revision);
        Box::pin(async move { Ok(written) })
    }

    fn watch(&self, start: Bytes, end: Bytes, from: u64) -> StorageFuture<'_, WatchStream> {
        let state = std::sync::Arc::clone(&self.state);
        let revision = self.revision.subscribe();
        Box::pin(async move {
            let (now, compacted) = {
                let state = lock(&state);
                (state.revision, state.compacted)
            };
            let from = if from == 0 { now + 1 } else { from };
            if from < compacted {
                return Err(StorageError::Compacted(compacted));
            }
            Ok(changes(state, revision, (start, end), from))
        })
    }

    fn current_revision(&self) -> StorageFuture<'_, u64> {
        let revision = lock(&self.state).revision;
        Box::pin(async move { Ok(revision) })
    }

    fn compact(&self, revision: u64) -> StorageFuture<'_, ()> {
        let mut state = lock(&self.state);
        state.compacted = state.compacted.max(revision);
        Box::pin(async move { Ok(()) })
    }

    fn grant_lease(&self, _seconds: i64) -> StorageFuture<'_, i64> {
        let mut state = lock(&self.state);
        state.leases += 1;
        let lease = state.leases;
        Box::pin(async move { Ok(lease) })
    }
}

/// What happens to keys of a range from a revision on.
fn changes(
    state: std::sync::Arc<Mutex<State>>,
    revision: watch::Receiver<u64>,
    range: (Bytes, Bytes),
    from: u64,
) -> BoxStream<'static, Result<WatchItem, StorageError>> {
    let start = (state, revision, range, from);
    stream::unfold(start, |(state, mut revision, range, from)| async move {
        loop {
            let now = *revision.borrow_and_update();
            let next = lock(&state).next(&range, from);
            if let Some((changes, after)) = next {
                return Some((Ok(WatchItem::Changes(changes)), (state, revision, range, after)));
            }
            if now >= from {
                let item = Ok(WatchItem::Progress(now));
                return Some((item, (state, revision, range, now + 1)));
            }
            revision.changed().await.ok()?;
        }
    })
    .boxed()
}
