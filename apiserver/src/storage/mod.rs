//! The door to the store: keys, values and revisions, of any store that speaks etcd's semantics.
//!
//! Bindings: a local member, in the binary; any etcd over its v3 API ([`etcd`]); and a model in memory,
//! in the tests of the REST API, which run over all of them.

#[cfg(feature = "etcd")]
pub mod etcd;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::stream::BoxStream;

/// A future of the store.
pub type StorageFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StorageError>> + Send + 'a>>;

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
    /// The revision that wrote it last.
    pub mod_revision: u64,
    /// The lease that it hangs on; 0 for none.
    pub lease: i64,
}

/// What a key held, and when that was so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    /// What it held, if it was there.
    pub stored: Option<Stored>,
    /// The revision of the store that this is the state of.
    pub revision: u64,
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// As of now: nothing acknowledged before is missing.
    Latest,
    /// Whatever the nearest member has, but not older than this revision (0: any).
    NotOlderThan(u64),
    /// Exactly the state of this revision.
    Exactly(u64),
}

/// What to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Keys from here on.
    pub start: Bytes,
    /// Keys before here.
    pub end: Bytes,
    /// How many at most; 0 for all.
    pub limit: usize,
    /// Of when.
    pub freshness: Freshness,
    /// Whether the answer says how many there are in the whole range.
    pub counting: Counting,
}

/// Whether all of a range is counted, which takes time in proportion to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counting {
    /// It is.
    All,
    /// No further than the limit.
    None,
}

/// A part of what there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// In the order of their keys.
    pub items: Vec<Stored>,
    /// The revision of the store that this is the state of.
    pub revision: u64,
    /// Whether the limit cut it short.
    pub more: bool,
    /// How many there are in the whole range, also behind the limit, if that was asked for.
    pub count: u64,
}

/// A write that happens only if the key is as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// The key.
    pub key: Bytes,
    /// The revision that must have written it last; 0: it must not be there.
    pub expected: u64,
    /// What it shall hold; `None`: it shall go.
    pub value: Option<Bytes>,
    /// The lease that it shall hang on; 0 for none.
    pub lease: i64,
}

/// What became of guarded writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// All of them happened, in this revision.
    Done {
        /// The revision.
        revision: u64,
    },
    /// None of them happened; this is what the keys hold, in the order of the writes.
    Refused {
        /// What the keys hold.
        current: Vec<Option<Stored>>,
    },
}

/// Something that happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// What it holds now; `None` if it went.
    pub value: Option<Bytes>,
    /// What it held before; `None` if it was not there.
    pub previous: Option<Bytes>,
    /// The revision in which it happened.
    pub revision: u64,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// Changes to the watched keys, in order: all of one revision, or of several.
    Changes(Vec<Change>),
    /// Everything up to this revision has been told.
    Progress(u64),
}

/// A watch. It ends with an error, [`StorageError::Compacted`] if its start is gone.
pub type WatchStream = BoxStream<'static, Result<WatchItem, StorageError>>;

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorageError {
    /// The revision is gone; what is left starts at this one, or later if the store does not tell.
    Compacted(u64),
    /// The revision is yet to come; the store is at this one.
    Future(u64),
    /// The store has no room (a quota).
    NoSpace,
    /// The request is larger than the store takes.
    TooLarge,
    /// It may work later; whether a write happened is not known.
    Unavailable(String),
    /// The data is damaged.
    Damaged(String),
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compacted(revision) => write!(f, "compacted up to revision {revision}"),
            Self::Future(revision) => write!(f, "the store is at revision {revision} only"),
            Self::NoSpace => f.write_str("the store has no space left"),
            Self::TooLarge => f.write_str("the request is too large for the store"),
            Self::Unavailable(why) => write!(f, "the store is unavailable: {why}"),
            Self::Damaged(why) => write!(f, "the store is damaged: {why}"),
        }
    }
}

impl std::error::Error for StorageError {}

/// A store of keys with etcd's semantics.
pub trait Storage: Send + Sync + 'static {
    /// What a key holds.
    fn get(&self, key: Bytes, freshness: Freshness) -> StorageFuture<'_, Got>;

    /// What there is between two keys.
    fn list(&self, query: ListQuery) -> StorageFuture<'_, Listed>;

    /// Writes all of them in one revision, or none.
    fn write(&self, writes: Vec<Guarded>) -> StorageFuture<'_, Written>;

    /// Tells every change between two keys from a revision on (0: from the next one on), with
    /// progress about once a second if nothing else is told.
    fn watch(&self, start: Bytes, end: Bytes, from: u64) -> StorageFuture<'_, WatchStream>;

    /// The newest revision, as of now.
    fn current_revision(&self) -> StorageFuture<'_, u64>;

    /// Forgets what was before a revision.
    fn compact(&self, revision: u64) -> StorageFuture<'_, ()>;

    /// A lease that ends after so many seconds.
    fn grant_lease(&self, seconds: i64) -> StorageFuture<'_, i64>;
}
