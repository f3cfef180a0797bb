//! The kinds of object that agents watch, and what they all have in common.
//!
//! One table (the macro at the end) makes the enum of objects, the enum of kinds, and the set of
//! tables that `World` keeps. A kind that is not here is seen by the garbage collector alone, as
//! metadata.

use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, Pod, ResourceQuota, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::table::Table;

/// Namespace and name; the namespace is empty for objects that have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.as_str() {
            "" => write!(f, "{}", self.name),
            namespace => write!(f, "{namespace}/{}", self.name),
        }
    }
}

/// Whether objects of a resource live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    Cluster,
    Namespaced,
}

/// A resource as the REST paths name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Resource {
    pub(crate) group: Cow<'static, str>,
    pub(crate) version: Cow<'static, str>,
    pub(crate) plural: Cow<'static, str>,
    pub(crate) kind: Cow<'static, str>,
    pub(crate) scope: Scope,
}

impl Resource {
    pub(crate) const fn of<K: k8s_openapi::Resource>(scope: Scope) -> Self {
        Self {
            group: Cow::Borrowed(K::GROUP),
            version: Cow::Borrowed(K::VERSION),
            plural: Cow::Borrowed(K::URL_PATH_SEGMENT),
            kind: Cow::Borrowed(K::KIND),
            scope,
        }
    }

    /// `v1` or `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        match self.group.as_ref() {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The path of the collection, in one namespace or (when it is empty) everywhere.
    pub(crate) fn path(&self, namespace: &str) -> String {
        let base = match self.group.as_ref() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        match namespace {
            "" => format!("{base}/{}", self.plural),
            namespace => format!("{base}/namespaces/{namespace}/{}", self.plural),
        }
    }
}

/// What every watched kind can tell.
pub(crate) trait Watched:
    k8s_openapi::Metadata<Ty = ObjectMeta> + serde::de::DeserializeOwned + serde::Serialize + Clone
{
    const SCOPE: Scope;

    fn resource() -> Resource {
        Resource::of::<Self>(Self::SCOPE)
    }

    fn key(&self) -> Key {
        Key::of(self.metadata())
    }

    fn uid(&self) -> &str {
        self.metadata().uid.as_deref().unwrap_or_default()
    }

    fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }

    fn is_deleting(&self) -> bool {
        self.metadata().deletion_timestamp.is_some()
    }

    /// The owner that manages this object, if there is one.
    fn controller(&self) -> Option<&OwnerReference> {
        let owners = self.metadata().owner_references.as_deref().unwrap_or_default();
        owners.iter().find(|owner| owner.controller == Some(true))
    }

    fn is_controlled_by(&self, uid: &str) -> bool {
        self.controller().is_some_and(|owner| owner.uid == uid)
    }
}

/// The reference by which `owner` manages what it creates.
pub(crate) fn controller_reference<K: Watched>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::resource().api_version(),
        kind: K::KIND.to_owned(),
        name: owner.name().to_owned(),
        uid: owner.uid().to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The number in a resource version: 0 when there is none. Versions of one server compare.
pub(crate) fn version_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

macro_rules! kinds {
    ($($kind:ident in $table:ident, $scope:ident;)*) => {
        /// A kind that is watched whole.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Kind { $($kind),* }

        /// One object of any watched kind.
        #[derive(Clone, Debug)]
        pub(crate) enum Object { $($kind(Arc<$kind>)),* }

        /// All objects that are known, by kind.
        #[derive(Debug, Default)]
        pub(crate) struct Tables { $(pub(crate) $table: Table<$kind>),* }

        $(
            impl Watched for $kind {
                const SCOPE: Scope = Scope::$scope;
            }

            impl From<$kind> for Object {
                /// Who has set which field is a large part of an object, and nobody here asks.
                fn from(mut object: $kind) -> Self {
                    object.metadata.managed_fields = None;
                    Self::$kind(Arc::new(object))
                }
            }
        )*

        impl Object {
            pub(crate) fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind),* }
            }

            pub(crate) fn meta(&self) -> &ObjectMeta {
                match self { $(Self::$kind(object) => &object.metadata),* }
            }

            /// Reads an object of a resource; `None` for resources that are not watched whole.
            pub(crate) fn parse(resource: &Resource, text: &str) -> Option<Self> {
                $(
                    if resource.kind == <$kind as k8s_openapi::Resource>::KIND
                        && resource.group == <$kind as k8s_openapi::Resource>::GROUP
                    {
                        return serde_json::from_str::<$kind>(text).ok().map(Self::from);
                    }
                )*
                None
            }
        }

        impl Kind {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$kind),*];

            pub(crate) fn resource(self) -> Resource {
                match self { $(Self::$kind => $kind::resource()),* }
            }
        }

        impl Tables {
            /// Puts an object in; the one it replaced, or `Err` when the known one is newer.
            pub(crate) fn insert(&mut self, object: Object, from: Source) -> Result<Option<Object>, Stale> {
                match object {
                    $(Object::$kind(object) => {
                        self.$table.insert(object, from).map(|old| old.map(Object::$kind))
                    })*
                }
            }

            pub(crate) fn remove(&mut self, object: &Object) -> Option<Object> {
                match object {
                    $(Object::$kind(object) => self.$table.remove(object).map(Object::$kind)),*
                }
            }

            /// The watch of a kind has reached this revision.
            pub(crate) fn seen(&mut self, kind: Kind, revision: u64) {
                match kind { $(Kind::$kind => self.$table.seen(revision)),* }
            }

            /// Objects that a complete list of a kind at `revision` should have named and did not.
            pub(crate) fn missing(&self, kind: Kind, listed: &[Object], revision: u64) -> Vec<Object> {
                match kind {
                    $(Kind::$kind => {
                        let keys = listed.iter().map(|object| Key::of(object.meta())).collect();
                        self.$table.missing(&keys, revision).into_iter().map(Object::$kind).collect()
                    })*
                }
            }
        }
    };
}

/// Where news about an object comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The watch (or the list before it) of its kind.
    Watch,
    /// The answer to a write of ours: it may be older than what the watch has told since.
    Answer,
}

/// The table holds something newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stale;

kinds! {
    Pod in pods, Namespaced;
    Node in nodes, Cluster;
    Namespace in namespaces, Cluster;
    Deployment in deployments, Namespaced;
    ReplicaSet in replica_sets, Namespaced;
    Service in services, Namespaced;
    Endpoints in endpoints, Namespaced;
    EndpointSlice in endpoint_slices, Namespaced;
    ServiceAccount in service_accounts, Namespaced;
    ConfigMap in config_maps, Namespaced;
    Lease in leases, Namespaced;
    ResourceQuota in quotas, Namespaced;
}
