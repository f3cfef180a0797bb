//! Who owns whom: the metadata of every object of the cluster, by uid.
//!
//! Fed by the watches of the typed kinds and by metadata watches of all the others. It tells the
//! garbage collector whom to look at (`pending`), and how many objects of a kind a namespace has.
//!
//! Invariant: `dependents[u]` are exactly the items that name `u` among their owners.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::kinds::{Key, Resource, version_of};

/// What the collector needs to know of an object.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) resource: Resource,
    pub(crate) key: Key,
    pub(crate) owners: Vec<OwnerReference>,
    pub(crate) finalizers: Vec<String>,
    pub(crate) deleting: bool,
    pub(crate) version: u64,
}

impl Item {
    fn of(resource: &Resource, meta: &ObjectMeta) -> Self {
        Self {
            resource: resource.clone(),
            key: Key::of(meta),
            owners: meta.owner_references.clone().unwrap_or_default(),
            finalizers: meta.finalizers.clone().unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            version: version_of(meta),
        }
    }

    pub(crate) fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|finalizer| finalizer == name)
    }

    /// Deleted in the foreground: it goes when those that block it have gone.
    pub(crate) fn awaits_dependents(&self) -> bool {
        self.deleting && self.has_finalizer("foregroundDeletion")
    }

    pub(crate) fn orphans_dependents(&self) -> bool {
        self.deleting && self.has_finalizer("orphan")
    }
}

#[derive(Debug, Default)]
pub(crate) struct Graph {
    items: BTreeMap<String, Item>,
    dependents: BTreeMap<String, BTreeSet<String>>,
    by_resource: BTreeMap<Resource, BTreeSet<String>>,
    /// Objects that the collector should look at; taken by the engine.
    pending: BTreeSet<String>,
    /// Owners that the server has said do not exist. Forgotten when their last dependent goes.
    absent: BTreeSet<String>,
    /// How owner references name resources: by group and kind.
    resources: BTreeMap<(String, String), Resource>,
}

impl Graph {
    pub(crate) fn item(&self, uid: &str) -> Option<&Item> {
        self.items.get(uid)
    }

    pub(crate) fn dependents(&self, uid: &str) -> impl Iterator<Item = (&String, &Item)> {
        let uids = self.dependents.get(uid).into_iter().flatten();
        uids.filter_map(|uid| Some((uid, self.items.get(uid)?)))
    }

    pub(crate) fn is_absent(&self, uid: &str) -> bool {
        self.absent.contains(uid)
    }

    pub(crate) fn resource_of(&self, owner: &OwnerReference) -> Option<&Resource> {
        let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
        self.resources.get(&(group.to_owned(), owner.kind.clone()))
    }

    /// The resources that the server was found to serve.
    pub(crate) fn serve(&mut self, resource: Resource) {
        let name = (resource.group.to_string(), resource.kind.to_string());
        self.resources.insert(name, resource);
    }

    /// How many objects of a resource a namespace has.
    pub(crate) fn count(&self, group: &str, plural: &str, namespace: &str) -> usize {
        let uids = self
            .by_resource
            .iter()
            .filter(|(resource, _)| resource.group == group && resource.plural == plural)
            .flat_map(|(_, uids)| uids);
        uids.filter_map(|uid| self.items.get(uid))
            .filter(|item| item.key.namespace == namespace)
            .count()
    }

    pub(crate) fn take_pending(&mut self) -> BTreeSet<String> {
        std::mem::take(&mut self.pending)
    }

    pub(crate) fn insert(&mut self, resource: &Resource, meta: &ObjectMeta) {
        let Some(uid) = meta.uid.clone() else { return };
        let item = Item::of(resource, meta);
        let known = self.items.get(&uid);
        if known.is_some_and(|known| known.version > item.version || *known == item) {
            return;
        }
        let before: Vec<OwnerReference> =
            self.items.remove(&uid).map(|item| item.owners).unwrap_or_default();
        for owner in &before {
            self.unlink(&owner.uid, &uid);
            // An owner that waits for its dependents may have one less to wait for.
            self.pending.insert(owner.uid.clone());
        }
        for owner in &item.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.clone());
        }
        self.by_resource.entry(resource.clone()).or_default().insert(uid.clone());
        if item.awaits_dependents() {
            // They are deleted along with it.
            self.pending.extend(self.dependents.get(&uid).into_iter().flatten().cloned());
        }
        if !item.owners.is_empty() || item.awaits_dependents() || item.orphans_dependents() {
            self.pending.insert(uid.clone());
        }
        self.absent.remove(&uid);
        self.items.insert(uid, item);
    }

    pub(crate) fn remove(&mut self, uid: &str) {
        let Some(item) = self.items.remove(uid) else { return };
        if let Some(uids) = self.by_resource.get_mut(&item.resource) {
            uids.remove(uid);
        }
        for owner in &item.owners {
            self.unlink(&owner.uid, uid);
            self.pending.insert(owner.uid.clone());
        }
        let left = self.dependents.get(uid).cloned().unwrap_or_default();
        if !left.is_empty() {
            self.absent.insert(uid.to_owned());
            self.pending.extend(left);
        }
    }

    /// Forgets items of a resource, not newer than `revision`, that a list did not name.
    pub(crate) fn retain(&mut self, resource: &Resource, listed: &BTreeSet<String>, revision: u64) {
        let known = self.by_resource.get(resource).cloned().unwrap_or_default();
        for uid in known.difference(listed) {
            if self.items.get(uid).is_some_and(|item| item.version <= revision) {
                self.remove(uid);
            }
        }
    }

    /// The server has been asked about an owner that no watch has told of.
    pub(crate) fn confirm_absent(&mut self, uid: &str) {
        self.absent.insert(uid.to_owned());
        self.pending.extend(self.dependents.get(uid).into_iter().flatten().cloned());
    }

    fn unlink(&mut self, owner: &str, dependent: &str) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
                self.absent.remove(owner);
            }
        }
    }
}
