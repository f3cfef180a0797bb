//! What the verbs do: between an object that was decoded and checked for its shape, and the store.
//!
//! ```text
//!   create ─┐                                   ┌─► prepare, default, admit, validate
//!   update ─┼─► current state ─► what it becomes ┤
//!   patch  ─┤        ▲                           └─► one write, guarded by the revision read
//!   delete ─┘        └───────── somebody was faster: again ──────────┘
//!   get, list ─► stored bytes at a revision ─┬─► the client's form (http)
//!   watch ─► feed of the kind ───────────────┘
//! ```
//!
//! Invariant: every write is guarded by the revision of the state that it was made from, so that
//! nothing that somebody else wrote in between is lost.
//! Invariant: a write that changes nothing makes no revision.

mod admit;
mod create;
mod delete;
mod event_lease;
mod feed;
mod list;
mod lookup;
pub(crate) mod metadata;
mod patch;
pub(crate) mod revision;
mod scale;
mod service;
pub(crate) mod splice;
pub(crate) mod stored;
mod update;
mod watch;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kstore_host::{Clock, Random};

use crate::access::Access;
use crate::auth::User;
use crate::auth::lookup::Answer;
use crate::kinds::{Kind, Subresource};
use crate::object::Object;
use crate::status::Status;
use crate::storage::{Freshness, Storage, StorageError, Stored};

pub(crate) use delete::{DeleteOptions, Deleted, Propagation};
pub(crate) use event_lease::EventLeases;
pub(crate) use feed::{Feeds, Form as EventForm, Told};
pub(crate) use list::{Filter, ListOptions, Page, Rest};
pub(crate) use patch::Patch;
pub(crate) use service::ServiceNetwork;
pub(crate) use update::{Part, Updated};
pub(crate) use watch::{Shown as WatchShown, WatchEvent, WatchOptions, Watcher};

/// How often a write is tried again when others are faster. (Upstream tries a patch five times and
/// an unconditional update for ever; a bound is kinder.)
const ATTEMPTS: usize = 16;

/// The objects, and what may be done to them.
pub(crate) struct Registry {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) network: ServiceNetwork,
    pub(crate) access: Arc<Access>,
    pub(crate) event_leases: EventLeases,
    /// The admission plugins that the operator left out.
    pub(crate) left_out: Vec<String>,
    pub(crate) feeds: Feeds,
}

/// One request, as the registry sees it.
pub(crate) struct Call<'a> {
    pub(crate) user: &'a User,
    pub(crate) kind: &'static Kind,
    pub(crate) subresource: Option<&'static Subresource>,
    /// Empty for objects of the cluster.
    pub(crate) namespace: &'a str,
    /// Empty for a create or a collection.
    pub(crate) name: &'a str,
    /// Whether all shall be done but the write.
    pub(crate) dry_run: DryRun,
    /// What the client shall be warned of.
    pub(crate) warnings: Mutex<Vec<String>>,
}

/// Whether a write happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DryRun {
    /// It does.
    No,
    /// All but it.
    Yes,
}

impl Call<'_> {
    /// Warns the client, once of the same, however often a write is tried.
    pub(crate) fn warn(&self, text: String) {
        let mut warnings = self.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    fn key(&self) -> Bytes {
        stored::key(self.kind, self.namespace, self.name)
    }

    fn not_found(&self) -> Box<Status> {
        Box::new(Status::not_found(self.kind.named(), self.name))
    }

    /// 409: the object is not the one that is meant, but another of its name.
    pub(crate) fn of_another_uid(&self, asked: &str, real: &str) -> Box<Status> {
        let key = String::from_utf8_lossy(&self.key()).into_owned();
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, \
             AdditionalErrorMsg: Precondition failed: UID in precondition: {asked}, UID in object \
             meta: {real}"
        );
        Box::new(Status::conflict(self.kind.named(), self.name, &why))
    }

    fn modified(&self) -> Box<Status> {
        Box::new(Status::modified(self.kind.named(), self.name))
    }
}

impl Registry {
    /// Seconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        i64::try_from(self.clock.wall().as_secs()).unwrap_or(i64::MAX)
    }

    /// A new unique id.
    pub(crate) fn uuid(&self) -> String {
        metadata::uuid(&*self.random)
    }

    /// What is stored of an object as of now.
    pub(crate) async fn stored(&self, call: &Call<'_>) -> Answer<Stored> {
        self.stored_at(call, Freshness::Latest).await
    }

    /// What is stored of an object, that fresh.
    pub(crate) async fn stored_at(&self, call: &Call<'_>, freshness: Freshness) -> Answer<Stored> {
        let got = self.storage.get(call.key(), freshness).await.map_err(failure)?;
        got.stored.ok_or_else(|| call.not_found())
    }

    /// An object as of now, in the version that was asked for.
    pub(crate) async fn get(&self, call: &Call<'_>) -> Answer<Object> {
        let stored = self.stored(call).await?;
        self.object_of(call.kind, &stored)
    }

    /// The answer when a revision is yet to come.
    pub(crate) async fn too_large(&self, asked: u64) -> Box<Status> {
        match self.storage.current_revision().await {
            Ok(current) => list::too_large(asked, current),
            Err(error) => failure(error),
        }
    }

    /// The object of some stored bytes, in the version of a kind.
    pub(crate) fn object_of(&self, kind: &Kind, stored: &Stored) -> Answer<Object> {
        object_of(kind, &stored.value, stored.mod_revision)
    }
}

/// The object of some stored bytes, in the version of a kind.
pub(crate) fn object_of(kind: &Kind, value: &[u8], revision: u64) -> Answer<Object> {
    let mut object = stored::decode(value, revision)?;
    (kind.from_stored)(&mut object);
    Ok(object)
}

/// What clients are told when the store does not do it.
pub(crate) fn failure(error: StorageError) -> Box<Status> {
    Box::new(match error {
        StorageError::Compacted(_) => Status::expired(error.to_string()),
        StorageError::Future(_) => Status::timeout(error.to_string(), 1),
        StorageError::TooLarge => Status::too_large(
            "Request entity too large: limit is 1572864 (the store takes no larger objects)",
        ),
        StorageError::NoSpace => Status::new(507, "InsufficientStorage", error.to_string()),
        StorageError::Unavailable(_) => {
            Status::new(503, "ServiceUnavailable", error.to_string()).with_retry_after(1)
        }
        StorageError::Damaged(_) => Status::internal(error),
    })
}
