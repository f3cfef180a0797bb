//! Everything the agents of one process know, with the indexes their decisions need.
//!
//! The engine owns it; decisions read it. Nothing in here waits or asks anybody.
//!
//! Invariant: `pods_by_owner`, `pods_by_node` and `usage` say exactly what `tables.pods` says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::graph::Graph;
use crate::hollow::Hollow;
use crate::kinds::{Key, Kind, Object, Resource, Source, Tables, Watched, version_of};
use crate::pods;
use crate::scheduler::usage::Usage;

/// News from a watch.
#[derive(Debug)]
pub(crate) enum Delta {
    /// All objects of a kind, as of `revision`.
    Replaced {
        kind: Kind,
        revision: u64,
        objects: Vec<Object>,
    },
    Applied(Object),
    Deleted(Object),
    /// A bookmark.
    Seen {
        kind: Kind,
        revision: u64,
    },
    /// The metadata of all objects of a resource, as of `revision`.
    MetaReplaced {
        resource: Resource,
        revision: u64,
        metas: Vec<ObjectMeta>,
    },
    MetaApplied {
        resource: Resource,
        meta: ObjectMeta,
    },
    MetaDeleted {
        meta: ObjectMeta,
    },
    /// The server serves this resource, which is watched as metadata from now on.
    Served {
        resource: Resource,
    },
}

/// What is different now.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Object {
        old: Option<Object>,
        new: Option<Object>,
    },
    /// An object of a resource that is known by its metadata only has come, changed or gone.
    Meta {
        namespace: String,
    },
}

impl Change {
    /// The object as it is, or as it was before it went.
    pub(crate) fn either(&self) -> Option<&Object> {
        match self {
            Self::Object { old, new } => new.as_ref().or(old.as_ref()),
            Self::Meta { .. } => None,
        }
    }

    pub(crate) fn sides(&self) -> impl Iterator<Item = &Object> {
        let (old, new) = match self {
            Self::Object { old, new } => (old.as_ref(), new.as_ref()),
            Self::Meta { .. } => (None, None),
        };
        old.into_iter().chain(new)
    }
}

/// Why a write did not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Somebody else wrote in between.
    Conflict,
    AlreadyExists,
    NotFound,
    /// The namespace is going away.
    NamespaceTerminating,
    /// The server refused, or could not be reached.
    Other,
}

/// The last failure of a controller about a key; it goes with the next success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) message: String,
}

/// What was left in a namespace when it was last emptied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// Resources (as `plural.group`) and how many objects they still have.
    pub(crate) objects: BTreeMap<String, usize>,
    /// Finalizers and how many of these objects carry them.
    pub(crate) finalizers: BTreeMap<String, usize>,
    pub(crate) discovery_failures: Vec<String>,
    pub(crate) deletion_failures: Vec<String>,
}

impl Remains {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) tables: Tables,
    pub(crate) graph: Graph,
    /// Nodes that this process plays.
    pub(crate) hollow: BTreeMap<String, Hollow>,
    /// The certificate authority that `kube-root-ca.crt` tells pods of, as PEM.
    pub(crate) root_ca: Option<String>,
    /// How many finished pods may stay, over all.
    pub(crate) finished_pods_most: usize,
    /// Kinds whose first list has come.
    pub(crate) synced: BTreeSet<Kind>,
    /// What was found when a namespace was last emptied, and when; goes with the namespace.
    pub(crate) remains: BTreeMap<String, (Remains, Timestamp)>,
    pods_by_owner: BTreeMap<String, BTreeSet<Key>>,
    pods_by_node: BTreeMap<String, BTreeSet<Key>>,
    usage: BTreeMap<String, Usage>,
    /// Pods (by uid) whose binding is on its way, with their nodes.
    assumed: BTreeMap<String, String>,
    failures: BTreeMap<(&'static str, Key), Failure>,
}

impl World {
    pub(crate) fn failure(&self, controller: &'static str, key: &Key) -> Option<&Failure> {
        self.failures.get(&(controller, key.clone()))
    }

    pub(crate) fn note_failure(
        &mut self,
        controller: &'static str,
        key: &Key,
        failure: Option<Failure>,
    ) {
        let name = (controller, key.clone());
        match failure {
            Some(failure) => self.failures.insert(name, failure),
            None => self.failures.remove(&name),
        };
    }

    /// Whether a namespace is going away: nothing can be created in it.
    pub(crate) fn is_terminating(&self, namespace: &str) -> bool {
        self.tables.namespaces.named("", namespace).is_some_and(|known| known.is_deleting())
    }

    /// Pods that the object with this uid manages.
    pub(crate) fn pods_of_owner(&self, uid: &str) -> impl Iterator<Item = &Arc<Pod>> {
        let keys = self.pods_by_owner.get(uid).into_iter().flatten();
        keys.filter_map(|key| self.tables.pods.find(key))
    }

    /// Pods that nobody manages, in one namespace.
    pub(crate) fn orphan_pods<'a>(
        &'a self,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Pod>> {
        let keys = self.pods_by_owner.get("").map(|keys| keys.range(Key::new(namespace, "")..));
        keys.into_iter()
            .flatten()
            .take_while(move |key| key.namespace == namespace)
            .filter_map(|key| self.tables.pods.find(key))
    }

    pub(crate) fn pods_on_node(&self, node: &str) -> impl Iterator<Item = &Arc<Pod>> {
        let keys = self.pods_by_node.get(node).into_iter().flatten();
        keys.filter_map(|key| self.tables.pods.find(key))
    }

    /// What the unfinished pods of a node ask for.
    pub(crate) fn usage(&self, node: &str) -> Option<&Usage> {
        self.usage.get(node)
    }

    /// From now on the pod counts as bound, until the watch says so itself.
    pub(crate) fn assume(&mut self, pod: &Key, uid: &str, node: &str) {
        self.assumed.insert(uid.to_owned(), node.to_owned());
        self.place_again(pod, uid);
    }

    /// The binding failed.
    pub(crate) fn forget(&mut self, pod: &Key, uid: &str) {
        if self.assumed.remove(uid).is_none() {
            return;
        }
        let Some(known) = self.tables.pods.find(pod).filter(|known| known.uid() == uid) else {
            return;
        };
        let mut unbound = (**known).clone();
        if let Some(spec) = &mut unbound.spec {
            spec.node_name = None;
        }
        self.insert(unbound.into(), Source::Watch);
    }

    fn place_again(&mut self, pod: &Key, uid: &str) {
        if let Some(known) = self.tables.pods.find(pod).filter(|known| known.uid() == uid) {
            let object = Object::Pod(Arc::clone(known));
            self.insert(object, Source::Watch);
        }
    }

    pub(crate) fn apply(&mut self, delta: Delta) -> Vec<Change> {
        match delta {
            Delta::Applied(object) => self.insert(object, Source::Watch).into_iter().collect(),
            Delta::Deleted(object) => self.remove(&object).into_iter().collect(),
            Delta::Seen { kind, revision } => {
                self.tables.seen(kind, revision);
                Vec::new()
            }
            Delta::Replaced { kind, revision, objects } => self.replace(kind, revision, objects),
            Delta::MetaReplaced { resource, revision, metas } => {
                let listed = metas.iter().filter_map(|meta| meta.uid.clone()).collect();
                self.graph.retain(&resource, &listed, revision);
                let applied = metas
                    .into_iter()
                    .map(|meta| Delta::MetaApplied { resource: resource.clone(), meta });
                applied.flat_map(|delta| self.apply(delta)).collect()
            }
            Delta::MetaApplied { resource, meta } => {
                self.graph.insert(&resource, &meta);
                vec![Change::Meta { namespace: meta.namespace.unwrap_or_default() }]
            }
            Delta::MetaDeleted { meta } => {
                self.graph.remove(meta.uid.as_deref().unwrap_or_default());
                vec![Change::Meta { namespace: meta.namespace.unwrap_or_default() }]
            }
            Delta::Served { resource } => {
                self.graph.serve(resource);
                Vec::new()
            }
        }
    }

    /// The server answered a write with this object.
    pub(crate) fn answered(&mut self, object: Object) -> Option<Change> {
        self.insert(object, Source::Answer)
    }

    fn replace(&mut self, kind: Kind, revision: u64, objects: Vec<Object>) -> Vec<Change> {
        let gone = self.tables.missing(kind, &objects, revision);
        let mut changes: Vec<Change> =
            gone.iter().filter_map(|object| self.remove(object)).collect();
        for object in objects {
            changes.extend(self.insert(object, Source::Watch));
        }
        self.tables.seen(kind, revision);
        self.synced.insert(kind);
        changes
    }

    fn insert(&mut self, object: Object, from: Source) -> Option<Change> {
        let object = self.with_assumed_node(object);
        let old = self.tables.insert(object.clone(), from).ok()?;
        if let Some(old) = &old {
            self.unindex(old);
        }
        if is_whole(object.kind()) {
            if let Some(old) = &old
                && old.meta().uid != object.meta().uid
            {
                self.graph.remove(old.meta().uid.as_deref().unwrap_or_default());
            }
            self.graph.insert(&object.kind().resource(), object.meta());
        }
        self.index(&object);
        let same = old.as_ref().is_some_and(|old| {
            version_of(old.meta()) == version_of(object.meta()) && from == Source::Watch
        });
        // A pod that was only assumed or forgotten has changed without a new version.
        if same && object.kind() != Kind::Pod {
            return None;
        }
        Some(Change::Object { old, new: Some(object) })
    }

    fn remove(&mut self, object: &Object) -> Option<Change> {
        let old = self.tables.remove(object)?;
        self.unindex(&old);
        let uid = old.meta().uid.clone().unwrap_or_default();
        if is_whole(object.kind()) {
            self.graph.remove(&uid);
        }
        match &old {
            Object::Pod(pod) => {
                self.assumed.remove(&uid);
                let node = pods::node(pod).unwrap_or_default();
                if let Some(hollow) = self.hollow.get_mut(node) {
                    hollow.free_address(&uid);
                }
            }
            Object::Namespace(namespace) => {
                self.remains.remove(namespace.name());
            }
            _ => {}
        }
        Some(Change::Object { old: Some(old), new: None })
    }

    fn with_assumed_node(&mut self, object: Object) -> Object {
        let Object::Pod(pod) = object else { return object };
        let Some(node) = self.assumed.get(pod.uid()) else { return Object::Pod(pod) };
        if pods::node(&pod).is_some() {
            self.assumed.remove(pod.uid());
            return Object::Pod(pod);
        }
        let mut bound = (*pod).clone();
        if let Some(spec) = &mut bound.spec {
            spec.node_name = Some(node.clone());
        }
        bound.into()
    }

    fn index(&mut self, object: &Object) {
        let Object::Pod(pod) = object else { return };
        let node = pods::node(pod).unwrap_or_default();
        self.pods_by_owner.entry(owner_of(pod)).or_default().insert(pod.key());
        self.pods_by_node.entry(node.to_owned()).or_default().insert(pod.key());
        if !node.is_empty() && !pods::is_finished(pod) {
            self.usage.entry(node.to_owned()).or_default().add(pod);
        }
        if let Some(hollow) = self.hollow.get_mut(node) {
            hollow.give_address(pod);
        }
    }

    fn unindex(&mut self, object: &Object) {
        let Object::Pod(pod) = object else { return };
        let node = pods::node(pod).unwrap_or_default();
        drop_from(&mut self.pods_by_owner, &owner_of(pod), &pod.key());
        drop_from(&mut self.pods_by_node, node, &pod.key());
        if !node.is_empty()
            && !pods::is_finished(pod)
            && let Some(usage) = self.usage.get_mut(node)
        {
            usage.subtract(pod);
        }
    }
}

/// Whether all objects of a kind are watched, so that the graph can learn of them from there.
pub(crate) const fn is_whole(kind: Kind) -> bool {
    !matches!(kind, Kind::ConfigMap | Kind::Lease)
}

fn owner_of(pod: &Pod) -> String {
    pod.controller().map(|owner| owner.uid.clone()).unwrap_or_default()
}

fn drop_from(index: &mut BTreeMap<String, BTreeSet<Key>>, entry: &str, key: &Key) {
    if let Some(keys) = index.get_mut(entry) {
        keys.remove(key);
        if keys.is_empty() {
            index.remove(entry);
        }
    }
}
