//! What an API server does by itself: default objects, its own service, roles kept current,
//! compaction.
//!
//! ```text
//!   prepare ─► default namespaces, roles, classes: those that are missing, together
//!           ─► roles, bindings, pods read and followed ─► ready
//!           ─► rules of roles that collect others' ([`crate::aggregation`])
//!           ─► the `kubernetes` service and its endpoints; events beyond an hour go by their lease
//!           ─► every five minutes: what was written five minutes ago is compacted
//! ```

mod service;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::auth::lookup::Answer;
use crate::auth::rbac::PolicyKind;
use crate::kinds::{self, Kind};
use crate::object::{self, Object};
use crate::registry::metadata;
use crate::registry::stored::{behind, encode, key, prefix};
use crate::registry::{failure, object_of};
use crate::server::Server;
use crate::status::Status;
use crate::storage::{Counting, Freshness, Guarded, ListQuery, StorageError, WatchItem, Written};
use crate::{aggregation, bootstrap};

/// How long to wait before something that failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// How often history is compacted, and how old what goes is (upstream's number).
const COMPACTION: Duration = Duration::from_secs(300);

/// How many objects are written at once: a transaction has room for 128 operations.
const TOGETHER: usize = 100;

/// Makes the server ready, then keeps house for as long as it is polled.
pub async fn run(server: Arc<Server>) {
    let mut told = false;
    while let Err(status) = prepare(&server).await {
        if !told {
            tracing::warn!(why = %status, "not ready yet; trying again");
            told = true;
        }
        sleep(PAUSE).await;
    }
    let mut tasks = tokio::task::JoinSet::new();
    let mut read = Vec::new();
    for followed in FOLLOWED {
        let (done, is_read) = oneshot::channel();
        tasks.spawn(follow(Arc::clone(&server), followed, done));
        read.push(is_read);
    }
    for is_read in read {
        // It fails only if the task ended, and those do not.
        drop(is_read.await);
    }
    server.ready.store(true, Ordering::Release);
    tasks.spawn(service::keep(Arc::clone(&server)));
    tasks.spawn(compact(Arc::clone(&server)));
    tasks.spawn(aggregation::run(Arc::clone(&server)));
    while tasks.join_next().await.is_some() {}
}

/// Writes the default objects that are missing, and brings roles up to date that say they may be.
async fn prepare(server: &Server) -> Answer<()> {
    let registry = &server.registry;
    let mut missing = Vec::new();
    // One look for all: what another server writes meanwhile refuses the writes, which are guarded.
    let mut freshness = Freshness::Latest;
    let all = bootstrap::objects().into_iter().chain(bootstrap::controller_bindings());
    for object in all {
        let Some(kind) = kind_of(&object) else { continue };
        let key = key(kind, object::namespace(&object), object::name(&object));
        let got = registry.storage.get(key.clone(), freshness).await.map_err(failure)?;
        freshness = Freshness::NotOlderThan(got.revision);
        let (expected, object) = match got.stored {
            None => (0, server.dressed(kind, object)),
            Some(stored) => {
                let old = object_of(kind, &stored.value, stored.mod_revision)?;
                let Some(new) = bootstrap::reconciled(&old, &object) else { continue };
                (stored.mod_revision, new)
            }
        };
        let value = Some(encode(object)?);
        missing.push(Guarded { key, expected, value, lease: 0 });
    }
    for writes in missing.chunks(TOGETHER) {
        match registry.storage.write(writes.to_vec()).await.map_err(failure)? {
            Written::Done { .. } => {}
            // Another server was faster with one of them: look again.
            Written::Refused { .. } => return Err(Box::new(Status::unavailable("again"))),
        }
    }
    Ok(())
}

fn kind_of(object: &Object) -> Option<&'static Kind> {
    let version = object::text(object, &["apiVersion"]);
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    kinds::by_kind(group, version, object::text(object, &["kind"]))
}

impl Server {
    /// A default object as a create would have made it.
    fn dressed(&self, kind: &Kind, mut object: Object) -> Object {
        (kind.default)(&mut object);
        (kind.prepare_create)(&mut object);
        let registry = &self.registry;
        metadata::fill_new(&mut object, kind, registry.now(), registry.uuid());
        object
    }
}

/// What is kept in memory: group and plural name.
const FOLLOWED: [(&str, &str); 5] = [
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("", "pods"),
];

/// Reads all objects of a kind, says so, and follows what happens to them.
async fn follow(
    server: Arc<Server>,
    (group, resource): (&'static str, &'static str),
    done: oneshot::Sender<()>,
) {
    let Some(kind) = kinds::by_resource(group, "v1", resource) else { return };
    let mut done = Some(done);
    let mut known = BTreeSet::new();
    loop {
        let outcome = follow_once(&server, kind, &mut done, &mut known).await;
        if let Err(error) = outcome
            && !matches!(error, StorageError::Compacted(_))
        {
            tracing::warn!(%error, resource, "following again");
        }
        sleep(PAUSE).await;
    }
}

async fn follow_once(
    server: &Server,
    kind: &'static Kind,
    done: &mut Option<oneshot::Sender<()>>,
    known: &mut BTreeSet<Bytes>,
) -> Result<(), StorageError> {
    let storage = &server.registry.storage;
    let start = Bytes::from(prefix(kind, ""));
    let end = behind(&prefix(kind, ""));
    let freshness = Freshness::Latest;
    let (from, to, counting) = (start.clone(), end.clone(), Counting::None);
    let query = ListQuery { start: from, end: to, limit: 0, freshness, counting };
    let listed = storage.list(query).await?;
    let mut gone = std::mem::take(known);
    for stored in &listed.items {
        gone.remove(&stored.key);
        known.insert(stored.key.clone());
        server.take(kind, &stored.key, Some(&stored.value));
    }
    for key in gone {
        server.take(kind, &key, None);
    }
    if let Some(done) = done.take() {
        // Nobody listens any more when the server stops.
        let _unheard = done.send(());
    }
    let mut changes = storage.watch(start, end, listed.revision + 1).await?;
    while let Some(item) = changes.next().await {
        let WatchItem::Changes(changes) = item? else { continue };
        for change in changes {
            match change.value {
                Some(_) => known.insert(change.key.clone()),
                None => known.remove(&change.key),
            };
            server.take(kind, &change.key, change.value.as_ref());
        }
    }
    Ok(())
}

impl Server {
    /// Takes over how an object stands.
    fn take(&self, kind: &Kind, key: &Bytes, value: Option<&Bytes>) {
        let object = value.and_then(|value| object_of(kind, value, 0).ok());
        let text = String::from_utf8_lossy(key);
        let own = text.strip_prefix(&prefix(kind, "")).unwrap_or_default();
        let (namespace, name) = own.split_once('/').unwrap_or(("", own));
        match PolicyKind::of_resource(kind.resource) {
            Some(which) => {
                self.access
                    .change_policy(|policy| policy.apply(which, object.as_ref(), namespace, name));
                if which == PolicyKind::ClusterRole {
                    self.roles_changed.notify_one();
                }
            }
            None => {
                self.access.change_nodes(|nodes| nodes.apply_pod(object.as_ref(), namespace, name))
            }
        }
    }
}

/// Moves the horizon below which history goes, five minutes behind. Of several servers the first
/// one in each round does it: they agree by upstream's key, `compact_rev_key`.
async fn compact(server: Arc<Server>) {
    let storage = &server.registry.storage;
    let key = Bytes::from_static(b"compact_rev_key");
    let mut seen = 0;
    let mut revision = 0;
    loop {
        sleep(COMPACTION).await;
        let Ok(got) = storage.get(key.clone(), Freshness::Latest).await else { continue };
        let held = got.stored.map_or(0, |stored| stored.mod_revision);
        if held != seen {
            // Somebody else has compacted in this round.
            seen = held;
            revision = got.revision;
            continue;
        }
        let value = Some(Bytes::from(revision.to_string()));
        let write = Guarded { key: key.clone(), expected: held, value, lease: 0 };
        if let Ok(Written::Done { revision: now }) = storage.write(vec![write]).await {
            if revision > 0
                && let Err(error) = storage.compact(revision).await
            {
                tracing::warn!(%error, revision, "not compacted; the next round tries again");
            }
            seen = now;
            revision = now;
        }
    }
}
