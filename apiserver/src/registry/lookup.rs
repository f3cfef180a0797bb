//! What admission and authentication see of the objects: reads of the nearest state.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Registry, object_of, stored};
use crate::auth::lookup::{Answer, AnswerFuture, Lookup};
use crate::kinds::{self, Kind};
use crate::object::Object;
use crate::status::Resource;
use crate::storage::{Counting, Freshness, ListQuery};

/// How long to wait for what a controller is about to make.
const PAUSE: Duration = Duration::from_millis(50);

/// The row that serves a resource; the first version that does.
fn row(resource: Resource<'_>) -> Option<&'static Kind> {
    let same = |kind: &&Kind| kind.group == resource.group && kind.resource == resource.name;
    kinds::all().iter().find(same)
}

impl Lookup for Registry {
    fn get<'a>(
        &'a self,
        resource: Resource<'a>,
        namespace: &'a str,
        name: &'a str,
    ) -> AnswerFuture<'a, Option<Arc<Object>>> {
        Box::pin(async move {
            let Some(kind) = row(resource) else { return Ok(None) };
            Ok(self.nearby(kind, namespace, name).await?.map(Arc::new))
        })
    }

    fn list<'a>(
        &'a self,
        resource: Resource<'a>,
        namespace: &'a str,
    ) -> AnswerFuture<'a, Vec<Arc<Object>>> {
        Box::pin(async move {
            let Some(kind) = row(resource) else { return Ok(Vec::new()) };
            self.all(kind, namespace).await
        })
    }

    fn pause(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(sleep(PAUSE))
    }
}

impl Registry {
    /// All objects of a kind that the nearest member has.
    async fn all(&self, kind: &Kind, namespace: &str) -> Answer<Vec<Arc<Object>>> {
        let prefix = stored::prefix(kind, namespace);
        let end = stored::behind(&prefix);
        let freshness = Freshness::NotOlderThan(0);
        let counting = Counting::None;
        let query = ListQuery { start: prefix.into(), end, limit: 0, freshness, counting };
        let listed = self.storage.list(query).await.map_err(super::failure)?;
        let read = |stored: &crate::storage::Stored| {
            object_of(kind, &stored.value, stored.mod_revision).map(Arc::new)
        };
        listed.items.iter().map(read).collect()
    }
}
