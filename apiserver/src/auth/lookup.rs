//! How questions of who and whether reach objects: a narrow door to what the registry has.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::object::{self, Object};
use crate::status::{Resource, Status};

/// The outcome of a question that may fail with an answer for the client. (A `Status` is large.)
pub type Answer<T> = Result<T, Box<Status>>;

/// A future of an answer.
pub type AnswerFuture<'a, T> = Pin<Box<dyn Future<Output = Answer<T>> + Send + 'a>>;

/// Reads objects as they are stored.
pub trait Lookup: Send + Sync {
    /// One object; the namespace is empty for those that lie in none.
    fn get<'a>(
        &'a self,
        resource: Resource<'a>,
        namespace: &'a str,
        name: &'a str,
    ) -> AnswerFuture<'a, Option<Arc<Object>>>;

    /// All objects of a namespace, or of the cluster if it is empty.
    fn list<'a>(
        &'a self,
        resource: Resource<'a>,
        namespace: &'a str,
    ) -> AnswerFuture<'a, Vec<Arc<Object>>>;

    /// Waits a little, for what a controller is about to make.
    fn pause(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// A resource of the core group.
#[must_use]
pub const fn core(name: &str) -> Resource<'_> {
    Resource { group: "", name }
}

/// A few objects in memory, for tests.
#[derive(Debug, Clone, Default)]
pub struct Model {
    objects: BTreeMap<(String, String, String), Arc<Object>>,
}

impl Model {
    /// Adds an object, or replaces it.
    pub fn put(&mut self, resource: Resource<'_>, object: Object) {
        let (namespace, name) = (object::namespace(&object), object::name(&object));
        let key = (resource.to_string(), namespace.to_owned(), name.to_owned());
        self.objects.insert(key, Arc::new(object));
    }

    /// Takes an object away.
    pub fn remove(&mut self, resource: Resource<'_>, namespace: &str, name: &str) {
        self.objects.remove(&(resource.to_string(), namespace.to_owned(), name.to_owned()));
    }
}

impl Lookup for Model {
    fn get<'a>(
        &'a self,
        resource: Resource<'a>,
        namespace: &'a str,
        name: &'a str,
    ) -> AnswerFuture<'a, Option<Arc<Object>>> {
        let key = (resource.to_string(), namespace.to_owned(), name.to_owned());
        let found = self.objects.get(&key).cloned();
        Box::pin(async move { Ok(found) })
    }

    fn list<'a>(
        &'a self,
        resource: Resource<'a>,
        namespace: &'a str,
    ) -> AnswerFuture<'a, Vec<Arc<Object>>> {
        let resource = resource.to_string();
        let found = self
            .objects
            .iter()
            .filter(|((kind, place, _), _)| {
                *kind == resource && (namespace.is_empty() || place == namespace)
            })
            .map(|(_, object)| Arc::clone(object))
            .collect();
        Box::pin(async move { Ok(found) })
    }

    fn pause(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}
