//! The table of kinds: what is served, and what is particular about each kind.
//!
//! A kind without behaviour of its own is one row and its columns. A row is data plus plain
//! functions over JSON trees; nothing here knows HTTP, the store or who asks.
//!
//! ```text
//!   a write:  decode ─► default ─► prepare_create / prepare_update ─► validate… ─► store
//!   a read:   store ─► answer, or cells (a Table), or selected (a field selector)
//! ```
//!
//! Invariant: these functions take any tree. Whatever is missing or of another type reads as
//! nothing; none of them panics, whatever the object says.
//! Invariant: filling in defaults twice is the same as doing it once.

mod address;
mod amounts;
mod columns;
mod config;
mod config_checks;
mod controlled;
mod diff;
mod endpoints;
mod endpoints_checks;
mod event;
mod event_checks;
mod labels;
mod lease;
pub mod meta;
pub mod names;
mod namespace;
mod node;
mod pod;
mod pod_cells;
mod pod_checks;
mod pod_resources;
mod pod_spec;
mod pod_template;
mod policy;
mod policy_checks;
mod rbac;
mod resources;
mod service;
mod service_checks;
mod service_update;
mod tree;
mod workload;
mod workload_checks;

use serde_json::Value;

use columns::{CREATED_AT, NAME};

use crate::field::FieldErrors;
use crate::object::{self, Object};
use crate::status::Resource;

/// What can be done to a resource, as discovery names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// POST.
    Create,
    /// DELETE of one.
    Delete,
    /// DELETE of many.
    DeleteCollection,
    /// GET of one.
    Get,
    /// GET of many.
    List,
    /// PATCH.
    Patch,
    /// PUT.
    Update,
    /// GET of what happens.
    Watch,
}

impl Verb {
    /// Its name in discovery and in RBAC rules.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

/// All that most resources offer.
pub const ALL_VERBS: &[Verb] = &[
    Verb::Create,
    Verb::Delete,
    Verb::DeleteCollection,
    Verb::Get,
    Verb::List,
    Verb::Patch,
    Verb::Update,
    Verb::Watch,
];

/// A part of a resource with a path of its own.
#[derive(Debug, Clone, Copy)]
pub struct Subresource {
    /// The last part of the path, such as `status`.
    pub name: &'static str,
    /// The group of the kind that it takes and gives.
    pub group: &'static str,
    /// That kind's version.
    pub version: &'static str,
    /// That kind.
    pub kind: &'static str,
    /// What can be done to it.
    pub verbs: &'static [Verb],
}

/// The type of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellType {
    /// A text.
    Text,
    /// A whole number.
    Integer,
    /// Yes or no.
    Boolean,
    /// A time: shown as an age, sent as a text.
    Date,
}

/// A column of `kubectl get`.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// The type of its cells.
    pub cell: CellType,
    /// `name` for the name's column, else empty.
    pub format: &'static str,
    /// What it says, for people.
    pub description: &'static str,
    /// 0: always shown; 1: with `-o wide` only.
    pub priority: u8,
}

/// Where the objects of a kind lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Its objects lie in namespaces.
    Namespaced,
    /// Its objects are the cluster's.
    Cluster,
}

/// A row: one resource of one version of one group.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The version.
    pub version: &'static str,
    /// The kind, such as `Pod`.
    pub kind: &'static str,
    /// The plural name in paths, such as `pods`.
    pub resource: &'static str,
    /// The singular name.
    pub singular: &'static str,
    /// Short names, such as `po`.
    pub short_names: &'static [&'static str],
    /// Categories, such as `all`.
    pub categories: &'static [&'static str],
    /// Where its objects lie.
    pub scope: Scope,
    /// What can be done to it.
    pub verbs: &'static [Verb],
    /// Its parts with paths of their own.
    pub subresources: &'static [Subresource],
    /// Where the store has its objects, with upstream's layout: `pods`, `services/specs`,
    /// `minions` for nodes. The key is `/registry/<this>/[<namespace>/]<name>`.
    pub stored_under: &'static str,
    /// The columns of `kubectl get`.
    pub columns: &'static [Column],
    /// The cells of one object, one for each column. `now` is in seconds since 1970, for ages.
    pub cells: fn(object: &Object, now: i64) -> Vec<Value>,
    /// What stands beside the cells: kubectl hides rows that are `Completed` where it is asked to.
    pub row_conditions: fn(object: &Object) -> Vec<Value>,
    /// The fields that field selectors know besides `metadata.name` (and `metadata.namespace`).
    pub selectable: &'static [&'static str],
    /// The value of one of these fields, as a selector compares it.
    pub selected: fn(object: &Object, field: &str) -> String,
    /// The selectable field by which watches are told apart, where many watch a value each.
    pub indexed: Option<&'static str>,
    /// Fills in what the object does not say. Runs on every write, after decoding.
    pub default: fn(object: &mut Object),
    /// Takes away and puts in what a new object must not or must have (a status, say).
    pub prepare_create: fn(new: &mut Object),
    /// The same for an update through the main path: the old status stays, and so on.
    pub prepare_update: fn(new: &mut Object, old: &Object),
    /// Says what is wrong with an object by itself, on create and on update through the main path.
    /// Metadata is checked by [`meta`], its name there by `name_rule`.
    pub validate: fn(object: &Object, errors: &mut FieldErrors),
    /// Says what is wrong besides with a new object.
    pub validate_create: fn(object: &Object, errors: &mut FieldErrors),
    /// Says what is wrong besides with a change.
    pub validate_update: fn(new: &Object, old: &Object, errors: &mut FieldErrors),
    /// Says what is wrong with a change of the status through its own path.
    pub validate_status_update: fn(new: &Object, old: &Object, errors: &mut FieldErrors),
    /// What is allowed in an object or a change, and probably not meant.
    pub warnings: fn(new: &Object, old: Option<&Object>) -> Vec<String>,
    /// What everybody is told who asks for the kind; empty for nothing.
    pub deprecation: &'static str,
    /// What a name must be; the answer is what is wrong with it, in upstream's words.
    pub name_rule: fn(name: &str) -> Vec<String>,
    /// Whether `metadata.generation` counts changes of `spec`.
    pub has_generation: bool,
    /// Whether an update without a resourceVersion is taken.
    pub unconditional_update: bool,
    /// Whether an update of an object that is not there creates it.
    pub create_on_update: bool,
    /// Whether `metadata.generation` counts this change, if it counts any: most kinds look at
    /// `spec`.
    pub counts_change: fn(new: &Object, old: &Object) -> bool,
    /// What an update through the `status` path must not change, or must add: everything but the
    /// status is the old one's already, but labels and annotations.
    pub prepare_status_update: fn(new: &mut Object, old: &Object),
    /// Turns an object of this version into the one that is stored. Only kinds that share their
    /// storage with another version or group differ from it.
    pub to_stored: fn(object: &mut Object),
    /// Turns a stored object into one of this version.
    pub from_stored: fn(object: &mut Object),
}

impl Kind {
    /// The resource as texts name it.
    #[must_use]
    pub fn named(&self) -> Resource<'static> {
        Resource { group: self.group, name: self.resource }
    }

    /// Group and version as objects write them: `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether its objects lie in namespaces.
    #[must_use]
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// The subresource of this name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

/// What upstream says of a change that may not be.
const IMMUTABLE: &str = "field is immutable";
/// What upstream says of a number that may not be.
const NEGATIVE: &str = "must be greater than or equal to 0";

/// A kind without anything particular: the rest of a row that says what differs.
const PLAIN: Kind = Kind {
    group: "",
    version: "v1",
    kind: "",
    resource: "",
    singular: "",
    short_names: &[],
    categories: &[],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[],
    stored_under: "",
    columns: &[NAME, CREATED_AT],
    cells: columns::name_and_creation,
    row_conditions: |_| Vec::new(),
    selectable: &[],
    selected: |_, _| String::new(),
    indexed: None,
    default: as_it_is,
    prepare_create: as_it_is,
    prepare_update: |_, _| {},
    validate: |_, _| {},
    validate_create: |_, _| {},
    validate_update: |_, _, _| {},
    validate_status_update: |_, _, _| {},
    warnings: |_, _| Vec::new(),
    deprecation: "",
    name_rule: names::dns_subdomain,
    has_generation: false,
    unconditional_update: true,
    create_on_update: false,
    counts_change: |new, old| new.get("spec") != old.get("spec"),
    prepare_status_update: |_, _| {},
    to_stored: as_it_is,
    from_stored: as_it_is,
};

/// The status of a new object is nobody's to write but the controllers'.
fn without_status(new: &mut Object) {
    new.insert("status".to_owned(), Value::Object(Object::new()));
}

/// An update through the main path leaves the status as it is.
fn with_old_status(new: &mut Object, old: &Object) {
    match old.get("status") {
        Some(status) => new.insert("status".to_owned(), status.clone()),
        None => new.remove("status"),
    };
}

/// The text at a path that is written with dots, as field selectors write it.
fn text_at(object: &Object, field: &str) -> String {
    let path: Vec<&str> = field.split('.').collect();
    object::text(object, &path).to_owned()
}

fn as_it_is(_object: &mut Object) {}

/// `status`, which most kinds that have one serve alike.
const fn status_of(group: &'static str, kind: &'static str) -> Subresource {
    Subresource { name: "status", group, version: "v1", kind, verbs: CHANGE_VERBS }
}

/// What can be done to a part such as `status` or `scale`.
const CHANGE_VERBS: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];

/// The number of replicas, which autoscalers read and write.
const SCALE: Subresource = Subresource {
    name: "scale",
    group: "autoscaling",
    version: "v1",
    kind: "Scale",
    verbs: CHANGE_VERBS,
};

static ALL: &[Kind] = &[
    pod::BINDINGS,
    config::CONFIG_MAPS,
    endpoints::ENDPOINTS,
    event::EVENTS,
    policy::LIMIT_RANGES,
    namespace::NAMESPACES,
    node::NODES,
    pod::PODS,
    controlled::POD_TEMPLATES,
    policy::RESOURCE_QUOTAS,
    config::SECRETS,
    config::SERVICE_ACCOUNTS,
    service::SERVICES,
    controlled::CONTROLLER_REVISIONS,
    workload::DEPLOYMENTS,
    workload::REPLICA_SETS,
    event::NEW_EVENTS,
    policy::POD_DISRUPTION_BUDGETS,
    rbac::CLUSTER_ROLE_BINDINGS,
    rbac::CLUSTER_ROLES,
    rbac::ROLE_BINDINGS,
    rbac::ROLES,
    policy::PRIORITY_CLASSES,
    lease::LEASES,
    endpoints::ENDPOINT_SLICES,
];

/// Every kind that is served, in the order in which discovery lists groups and resources.
#[must_use]
pub fn all() -> &'static [Kind] {
    ALL
}

/// The row of a resource.
#[must_use]
pub fn by_resource(group: &str, version: &str, resource: &str) -> Option<&'static Kind> {
    all()
        .iter()
        .find(|kind| kind.group == group && kind.version == version && kind.resource == resource)
}

/// The row of a kind.
#[must_use]
pub fn by_kind(group: &str, version: &str, name: &str) -> Option<&'static Kind> {
    all().iter().find(|kind| kind.group == group && kind.version == version && kind.kind == name)
}
