//! What a decision may ask for. Values only: `writer` carries them out.

use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::{Value, json};

use crate::kinds::{Key, Resource, Watched};
use crate::queue::Next;

/// One object by its address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) resource: Resource,
    pub(crate) key: Key,
}

impl Target {
    pub(crate) fn of<K: Watched>(object: &K) -> Self {
        Self { resource: K::resource(), key: object.key() }
    }
}

/// A part of an object that is written apart from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    Status,
    Finalize,
}

impl Part {
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::Whole => "",
            Self::Status => "/status",
            Self::Finalize => "/finalize",
        }
    }
}

/// How a patch is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    Merge,
    Strategic,
}

impl PatchKind {
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
        }
    }
}

/// What a deletion does with the dependents of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Background,
    Foreground,
    Orphan,
}

/// How an object is deleted; what is `None` is left to the server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Deletion {
    pub(crate) uid: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) grace_seconds: Option<i64>,
    pub(crate) propagation: Option<Propagation>,
}

/// Stands in the message of an event for a name that the server has yet to choose.
pub(crate) const NAME_OF_CREATED: &str = "\u{1}";

/// One write, or a look at the server, by REST.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// What is `told` when it has been created may name it by `NAME_OF_CREATED`.
    Create {
        resource: Resource,
        namespace: String,
        body: Value,
        told: Option<Note>,
    },
    /// Guarded by the resource version in the body, when it has one.
    Replace {
        target: Target,
        part: Part,
        body: Value,
    },
    Patch {
        target: Target,
        part: Part,
        kind: PatchKind,
        body: Value,
    },
    Delete {
        target: Target,
        deletion: Deletion,
    },
    Bind {
        pod: Key,
        uid: String,
        node: String,
    },
    /// Recorded on the side; never fails, and nothing waits for it.
    Event(Note),
    /// Finds out whether the object with this uid exists, for the garbage collector.
    Confirm {
        target: Target,
        uid: String,
    },
    /// Deletes what is in a namespace, and counts what remains.
    Empty {
        namespace: String,
    },
}

impl Action {
    pub(crate) fn create<K: Watched>(object: &K) -> Self {
        Self::Create {
            resource: K::resource(),
            namespace: object.namespace().to_owned(),
            body: value(object),
            told: None,
        }
    }

    pub(crate) fn replace<K: Watched>(object: &K) -> Self {
        Self::Replace { target: Target::of(object), part: Part::Whole, body: value(object) }
    }

    pub(crate) fn replace_status<K: Watched>(object: &K) -> Self {
        Self::Replace { target: Target::of(object), part: Part::Status, body: value(object) }
    }

    /// Deletes this very object, and not another one that has taken its name.
    pub(crate) fn delete<K: Watched>(object: &K) -> Self {
        let deletion = Deletion { uid: Some(object.uid().to_owned()), ..Deletion::default() };
        Self::Delete { target: Target::of(object), deletion }
    }
}

pub(crate) fn value<K: Watched>(object: &K) -> Value {
    serde_json::to_value(object).expect("objects of the API are maps with string keys")
}

/// Actions that belong together.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "steps live briefly, and a box would be one more")]
pub(crate) enum Step {
    One(Action),
    /// Independent of each other: 1 at first, then twice as many at a time as long as all go well.
    Batch(Vec<Action>),
}

impl From<Action> for Step {
    fn from(action: Action) -> Self {
        Self::One(action)
    }
}

/// What is to be done about a key: steps in order, up to the first failure, and when to look again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) steps: Vec<Step>,
    pub(crate) next: Next,
}

impl Decision {
    pub(crate) const fn nothing() -> Self {
        Self { steps: Vec::new(), next: Next::Idle }
    }

    pub(crate) fn one(action: Action) -> Self {
        Self { steps: vec![Step::One(action)], next: Next::Idle }
    }

    pub(crate) fn all(actions: Vec<Action>) -> Self {
        Self { steps: actions.into_iter().map(Step::One).collect(), next: Next::Idle }
    }
}

/// Whether an event tells of something good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mood {
    Normal,
    Warning,
}

/// An event to be recorded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Note {
    pub(crate) about: ObjectReference,
    pub(crate) mood: Mood,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// The component that tells it.
    pub(crate) source: &'static str,
}

impl Note {
    pub(crate) fn normal<K: Watched>(
        object: &K,
        source: &'static str,
        reason: &'static str,
        message: String,
    ) -> Action {
        let about = reference(object);
        Action::Event(Self { about, mood: Mood::Normal, reason, message, source })
    }

    pub(crate) fn warning<K: Watched>(
        object: &K,
        source: &'static str,
        reason: &'static str,
        message: String,
    ) -> Action {
        let about = reference(object);
        Action::Event(Self { about, mood: Mood::Warning, reason, message, source })
    }
}

/// A full reference to an object, as events carry it.
pub(crate) fn reference<K: Watched>(object: &K) -> ObjectReference {
    let meta = object.metadata();
    ObjectReference {
        api_version: Some(K::resource().api_version()),
        kind: Some(K::KIND.to_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

/// A merge patch that guards itself by uid and replaces the owners of an object.
pub(crate) fn owners_patch<K: Watched>(
    object: &K,
    owners: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference],
) -> Action {
    let body = json!({"metadata": {
        "uid": object.uid(),
        "resourceVersion": object.metadata().resource_version,
        "ownerReferences": owners,
    }});
    Action::Patch { target: Target::of(object), part: Part::Whole, kind: PatchKind::Merge, body }
}
