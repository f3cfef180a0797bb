//! Follows the objects of one kind: a list, then a watch from there, for ever.
//!
//! What it learns goes to the engine over a bounded queue; when the engine falls behind, the watch
//! is read more slowly and nothing is lost. A watch that ends goes on from the last revision; when
//! the server no longer knows that revision, everything is listed again.

use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use kube::Client;
use kube::api::{
    Api, DynamicObject, ListParams, ObjectList, PartialObjectMeta, WatchEvent, WatchParams,
};
use kube::discovery::ApiResource;
use tokio::sync::mpsc::Sender;
use tracing::{debug, warn};

use crate::kinds::{Kind, Object, Resource, Watched};
use crate::world::Delta;

/// Objects in one page of a list.
const PAGE: u32 = 500;

/// How long a failing server is left alone: this first, then twice as long, up to the most.
const WAIT_FIRST: Duration = Duration::from_millis(100);
const WAIT_MOST: Duration = Duration::from_secs(10);

/// A kind to follow, or the part of it that a field selector names.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) kind: Kind,
    pub(crate) fields: Option<String>,
}

impl Wanted {
    pub(crate) const fn all(kind: Kind) -> Self {
        Self { kind, fields: None }
    }
}

/// The engine is gone: there is nobody to tell.
struct Gone;

enum Ended {
    /// The watch may go on from here.
    At(String),
    /// Only a new list can tell what is there.
    Expired,
}

/// A watch as it comes in.
type Events<T> = BoxStream<'static, kube::Result<WatchEvent<T>>>;

/// What differs between whole objects and metadata.
trait Follow {
    type Item: Clone;
    fn list(
        &self,
        params: &ListParams,
    ) -> impl Future<Output = kube::Result<ObjectList<Self::Item>>> + Send;
    fn watch(
        &self,
        params: &WatchParams,
        version: &str,
    ) -> impl Future<Output = kube::Result<Events<Self::Item>>> + Send;
    fn version(item: &Self::Item) -> Option<String>;
    fn replaced(&self, revision: u64, items: Vec<Self::Item>) -> Delta;
    fn applied(&self, item: Self::Item) -> Delta;
    fn deleted(&self, item: Self::Item) -> Delta;
    fn seen(&self, revision: u64) -> Option<Delta>;
}

struct Whole<K> {
    api: Api<K>,
    kind: Kind,
}

impl<K> Follow for Whole<K>
where
    K: Watched + kube::Resource<DynamicType = ()> + std::fmt::Debug + Send + Sync + 'static,
    Object: From<K>,
{
    type Item = K;

    async fn list(&self, params: &ListParams) -> kube::Result<ObjectList<K>> {
        self.api.list(params).await
    }

    async fn watch(&self, params: &WatchParams, version: &str) -> kube::Result<Events<K>> {
        Ok(self.api.watch(params, version).await?.boxed())
    }

    fn version(item: &K) -> Option<String> {
        item.metadata().resource_version.clone()
    }

    fn replaced(&self, revision: u64, items: Vec<K>) -> Delta {
        let objects = items.into_iter().map(Object::from).collect();
        Delta::Replaced { kind: self.kind, revision, objects }
    }

    fn applied(&self, item: K) -> Delta {
        Delta::Applied(item.into())
    }

    fn deleted(&self, item: K) -> Delta {
        Delta::Deleted(item.into())
    }

    fn seen(&self, revision: u64) -> Option<Delta> {
        Some(Delta::Seen { kind: self.kind, revision })
    }
}

struct Metadata {
    api: Api<DynamicObject>,
    resource: Resource,
}

impl Follow for Metadata {
    type Item = PartialObjectMeta<DynamicObject>;

    async fn list(&self, params: &ListParams) -> kube::Result<ObjectList<Self::Item>> {
        self.api.list_metadata(params).await
    }

    async fn watch(&self, params: &WatchParams, version: &str) -> kube::Result<Events<Self::Item>> {
        Ok(self.api.watch_metadata(params, version).await?.boxed())
    }

    fn version(item: &Self::Item) -> Option<String> {
        item.metadata.resource_version.clone()
    }

    fn replaced(&self, revision: u64, items: Vec<Self::Item>) -> Delta {
        let metas = items.into_iter().map(|item| item.metadata).collect();
        Delta::MetaReplaced { resource: self.resource.clone(), revision, metas }
    }

    fn applied(&self, item: Self::Item) -> Delta {
        Delta::MetaApplied { resource: self.resource.clone(), meta: item.metadata }
    }

    fn deleted(&self, item: Self::Item) -> Delta {
        Delta::MetaDeleted { meta: item.metadata }
    }

    fn seen(&self, _: u64) -> Option<Delta> {
        None
    }
}

/// Follows whole objects until the engine is gone.
pub(crate) async fn follow<K>(client: Client, wanted: Wanted, out: Sender<Delta>)
where
    K: Watched + kube::Resource<DynamicType = ()> + std::fmt::Debug + Send + Sync + 'static,
    Object: From<K>,
{
    let source = Whole::<K> { api: Api::all(client), kind: wanted.kind };
    run(&source, wanted.fields.as_deref(), &out, &format!("{:?}", wanted.kind)).await;
}

/// Follows the metadata of a resource until the engine is gone.
pub(crate) async fn follow_metadata(client: Client, resource: Resource, out: Sender<Delta>) {
    let name = format!("{}.{}", resource.plural, resource.group);
    let described = ApiResource {
        group: resource.group.to_string(),
        version: resource.version.to_string(),
        api_version: resource.api_version(),
        kind: resource.kind.to_string(),
        plural: resource.plural.to_string(),
    };
    let source = Metadata { api: Api::all_with(client, &described), resource };
    run(&source, None, &out, &name).await;
}

async fn run<F: Follow>(source: &F, fields: Option<&str>, out: &Sender<Delta>, name: &str) {
    let mut wait = WAIT_FIRST;
    let mut from: Option<String> = None;
    loop {
        let result = match from.clone() {
            None => list(source, fields, out).await.map(|at| at.map(Ended::At)),
            Some(version) => watch(source, fields, out, version).await,
        };
        match result {
            Err(Gone) => return,
            Ok(Ok(Ended::At(version))) => {
                let listed = from.replace(version).is_none();
                wait = WAIT_FIRST;
                if listed {
                    continue;
                }
            }
            Ok(Ok(Ended::Expired)) => {
                debug!(name, "the watch has expired; listing again");
                from = None;
            }
            // What is not served has no objects. Nobody has to wait for it, and it may come.
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                debug!(name, "not served");
                if out.send(source.replaced(0, Vec::new())).await.is_err() {
                    return;
                }
                from = None;
                wait = WAIT_MOST;
            }
            // The watch goes on from where it was: an unreachable server forgets nothing.
            Ok(Err(error)) => warn!(name, %error, "cannot follow"),
        }
        if out.is_closed() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(WAIT_MOST);
    }
}

async fn list<F: Follow>(
    source: &F,
    fields: Option<&str>,
    out: &Sender<Delta>,
) -> Result<kube::Result<String>, Gone> {
    let mut params = ListParams::default().limit(PAGE);
    params.field_selector = fields.map(str::to_owned);
    let mut items = Vec::new();
    loop {
        let page = match source.list(&params).await {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        let version = page.metadata.resource_version.unwrap_or_default();
        items.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params.continue_token = Some(token),
            None => {
                let revision = version.parse().unwrap_or(0);
                out.send(source.replaced(revision, items)).await.map_err(|_| Gone)?;
                return Ok(Ok(version));
            }
        }
    }
}

async fn watch<F: Follow>(
    source: &F,
    fields: Option<&str>,
    out: &Sender<Delta>,
    mut version: String,
) -> Result<kube::Result<Ended>, Gone> {
    let params = WatchParams {
        field_selector: fields.map(str::to_owned),
        bookmarks: true,
        ..WatchParams::default()
    };
    let mut stream = match source.watch(&params, &version).await {
        Ok(stream) => stream,
        Err(error) => return Ok(ended(error)),
    };
    loop {
        let delta = match stream.try_next().await {
            Ok(None) => return Ok(Ok(Ended::At(version))),
            Err(error) => {
                debug!(%error, "a watch broke");
                return Ok(Ok(Ended::At(version)));
            }
            Ok(Some(WatchEvent::Error(status))) => {
                return Ok(ended(kube::Error::Api(status)));
            }
            Ok(Some(WatchEvent::Bookmark(bookmark))) => {
                version = bookmark.metadata.resource_version;
                source.seen(version.parse().unwrap_or(0))
            }
            Ok(Some(WatchEvent::Added(item) | WatchEvent::Modified(item))) => {
                version = F::version(&item).unwrap_or(version);
                Some(source.applied(item))
            }
            Ok(Some(WatchEvent::Deleted(item))) => {
                version = F::version(&item).unwrap_or(version);
                Some(source.deleted(item))
            }
        };
        if let Some(delta) = delta {
            out.send(delta).await.map_err(|_| Gone)?;
        }
    }
}

fn ended(error: kube::Error) -> kube::Result<Ended> {
    match error {
        kube::Error::Api(status) if status.code == 410 || status.code == 504 => Ok(Ended::Expired),
        other => Err(other),
    }
}
