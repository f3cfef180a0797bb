//! The table of kinds: what is served, and what is particular about each kind.
//!
//! A kind without behaviour of its own is one row and its columns. A row is data plus plain
//! functions over JSON trees; nothing here knows HTTP, the store or who asks.

use serde_json::Value;

use crate::field::FieldErrors;
use crate::object::Object;
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

/// What may be asked of an update besides what it changes.
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
    /// The fields that field selectors know besides `metadata.name` (and `metadata.namespace`).
    pub selectable: &'static [&'static str],
    /// The value of one of these fields, as a selector compares it.
    pub selected: fn(object: &Object, field: &str) -> String,
    /// Fills in what the object does not say. Runs on every write, after decoding.
    pub default: fn(object: &mut Object),
    /// Takes away and puts in what a new object must not or must have (a status, say).
    pub prepare_create: fn(new: &mut Object),
    /// The same for an update through the main path: the old status stays, and so on.
    pub prepare_update: fn(new: &mut Object, old: &Object),
    /// Says what is wrong with an object by itself. Metadata is checked elsewhere, its name here
    /// by `name_rule`.
    pub validate: fn(object: &Object, errors: &mut FieldErrors),
    /// Says what is wrong with a change.
    pub validate_update: fn(new: &Object, old: &Object, errors: &mut FieldErrors),
    /// Says what is wrong with a change of the status through its own path.
    pub validate_status_update: fn(new: &Object, old: &Object, errors: &mut FieldErrors),
    /// What a name must be; the answer is what is wrong with it, in upstream's words.
    pub name_rule: fn(name: &str) -> Vec<String>,
    /// Whether `metadata.generation` counts changes of `spec`.
    pub has_generation: bool,
    /// Whether an update without a resourceVersion is taken.
    pub unconditional_update: bool,
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

/// Every kind that is served, in the order in which discovery lists groups and resources.
#[must_use]
pub fn all() -> &'static [Kind] {
    &[]
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
