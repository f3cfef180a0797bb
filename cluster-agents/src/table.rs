//! The objects of one kind, as new as anything that has been told about them.
//!
//! Two sources feed a table: the watch, and the answers to our own writes. Because resource
//! versions of one server compare, the newer one always wins, and a controller that has just
//! created a pod sees it in its next decision, whether or not the watch has caught up. This is
//! what upstream needs expectations for.
//!
//! Invariant: an object is never replaced by an older version of itself.
//! Invariant: an answer does not bring back what the watch has already seen go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::kinds::{Key, Source, Stale, Watched, version_of};

#[derive(Debug)]
pub(crate) struct Table<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// The newest revision of which the watch has told; it never falls.
    revision: u64,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), revision: 0 }
    }
}

impl<K: Watched> Table<K> {
    pub(crate) fn find(&self, key: &Key) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    pub(crate) fn named(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(&Key::new(namespace, name))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn within<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<K>> {
        self.objects
            .range(Key::new(namespace, "")..)
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, object)| object)
    }

    pub(crate) fn insert(&mut self, object: Arc<K>, from: Source) -> Result<Option<Arc<K>>, Stale> {
        let version = version_of(object.metadata());
        if from == Source::Watch {
            self.seen(version);
        }
        let key = object.key();
        let stale = match self.objects.get(&key) {
            Some(known) => version < version_of(known.metadata()),
            // What the watch would have told by now and has not is gone again.
            None => from == Source::Answer && version <= self.revision,
        };
        if stale {
            return Err(Stale);
        }
        Ok(self.objects.insert(key, object))
    }

    /// Takes an object out, unless another of its name has come since.
    pub(crate) fn remove(&mut self, object: &K) -> Option<Arc<K>> {
        self.seen(version_of(object.metadata()));
        let key = object.key();
        let same = self.objects.get(&key).is_some_and(|known| known.uid() == object.uid());
        if same { self.objects.remove(&key) } else { None }
    }

    pub(crate) fn seen(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// Known objects, not newer than `revision`, that are not among `listed`.
    pub(crate) fn missing(&self, listed: &BTreeSet<Key>, revision: u64) -> Vec<Arc<K>> {
        let gone = self.objects.iter().filter(|(key, object)| {
            !listed.contains(*key) && version_of(object.metadata()) <= revision
        });
        gone.map(|(_, object)| Arc::clone(object)).collect()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn pod(name: &str, uid: &str, version: u64) -> Arc<Pod> {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some("a".to_owned());
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.uid = Some(uid.to_owned());
        pod.metadata.resource_version = Some(version.to_string());
        Arc::new(pod)
    }

    #[test]
    fn the_newer_version_wins_whoever_tells_it() {
        let mut table = Table::default();
        assert!(table.insert(pod("x", "1", 5), Source::Answer).unwrap().is_none());
        assert_eq!(table.insert(pod("x", "1", 4), Source::Watch).unwrap_err(), Stale);
        assert!(table.insert(pod("x", "1", 6), Source::Watch).unwrap().is_some());
    }

    #[test]
    fn an_answer_does_not_bring_back_what_the_watch_saw_go() {
        let mut table = Table::default();
        table.insert(pod("x", "1", 5), Source::Watch).unwrap();
        assert!(table.remove(&pod("x", "1", 8)).is_some());
        assert_eq!(table.insert(pod("x", "1", 7), Source::Answer).unwrap_err(), Stale);
        assert!(table.insert(pod("x", "2", 9), Source::Answer).unwrap().is_none());
        assert!(table.remove(&pod("x", "1", 8)).is_none(), "that was the one before");
    }

    #[test]
    fn a_list_forgets_only_what_is_older_than_itself() {
        let mut table = Table::default();
        table.insert(pod("old", "1", 5), Source::Watch).unwrap();
        table.insert(pod("new", "2", 9), Source::Answer).unwrap();
        let gone = table.missing(&BTreeSet::new(), 7);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].name(), "old");
    }
}
