//! One change of one object, decoded at most once and encoded once for each form.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::super::list::Filter;
use super::super::object_of;
use super::Bucket;
use crate::auth::lookup::Answer;
use crate::kinds::Kind;
use crate::object::{self, Object};
use crate::status::Status;

/// What an object held, and of that what selectors look at.
#[derive(Debug)]
pub(crate) struct Version {
    value: Bytes,
    /// Read when it is first asked for; small beside the value.
    traits: OnceLock<Result<Traits, Box<Status>>>,
}

/// What selectors look at.
#[derive(Debug)]
struct Traits {
    name: String,
    namespace: String,
    labels: Option<Object>,
    /// The kind's selectable fields.
    fields: Vec<(&'static str, String)>,
}

impl Version {
    /// What these bytes are.
    pub(crate) fn new(value: Bytes) -> Self {
        Self { value, traits: OnceLock::new() }
    }

    /// The bytes, as they are stored.
    pub(crate) fn value(&self) -> &Bytes {
        &self.value
    }

    /// Whether a filter takes it.
    pub(crate) fn is_taken(&self, kind: &Kind, filter: &Filter) -> Answer<bool> {
        if filter.takes_all() {
            return Ok(true);
        }
        let traits = self.traits(kind).map_err(|status| Box::new(status.clone()))?;
        Ok(filter.takes_parts(traits.labels.as_ref(), |field| match field {
            "metadata.name" => traits.name.clone(),
            "metadata.namespace" => traits.namespace.clone(),
            other => traits.field(other).unwrap_or_default().to_owned(),
        }))
    }

    fn traits(&self, kind: &Kind) -> Result<&Traits, &Status> {
        let read = || {
            let object = object_of(kind, &self.value, 0)?;
            Ok(Traits {
                name: object::name(&object).to_owned(),
                namespace: object::namespace(&object).to_owned(),
                labels: object::map(&object, &["metadata", "labels"]).cloned(),
                fields: kind
                    .selectable
                    .iter()
                    .map(|field| (*field, (kind.selected)(&object, field)))
                    .collect(),
            })
        };
        self.traits.get_or_init(read).as_ref().map_err(|status| &**status)
    }
}

impl Traits {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

/// What an event is to somebody who watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Added,
    Modified,
    Deleted,
}

/// An event as it is sent, each way that it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Forms([OnceLock<Bytes>; 6]);

impl Forms {
    /// The bytes of a form, made by `encode` when they are first asked for.
    pub(crate) fn get(&self, told: Told, form: Form, encode: impl FnOnce() -> Bytes) -> Bytes {
        let row = match told {
            Told::Added => 0,
            Told::Modified => 1,
            Told::Deleted => 2,
        };
        let column = match form {
            Form::Json => 0,
            Form::Protobuf => 3,
        };
        self.0[row + column].get_or_init(encode).clone()
    }
}

/// The forms that many ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Protobuf,
}

/// One change of one object.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) key: Bytes,
    pub(crate) revision: u64,
    pub(crate) now: Option<Arc<Version>>,
    pub(crate) before: Option<Arc<Version>>,
    pub(crate) forms: Arc<Forms>,
}

impl Event {
    /// A change.
    pub(crate) fn new(
        key: Bytes,
        revision: u64,
        now: Option<Arc<Version>>,
        before: Option<Arc<Version>>,
    ) -> Self {
        Self { key, revision, now, before, forms: Arc::default() }
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let length = |version: &Option<Arc<Version>>| {
            version.as_ref().map_or(0, |version| version.value.len())
        };
        self.key.len() + length(&self.now) + length(&self.before)
    }

    /// The namespace and the name that its key says.
    pub(super) fn place(&self, kind: &Kind) -> (&str, &str) {
        let key = std::str::from_utf8(&self.key).unwrap_or_default();
        let (rest, name) = key.rsplit_once('/').unwrap_or_default();
        let namespace = rest.rsplit_once('/').map_or("", |(_, namespace)| namespace);
        (if kind.is_namespaced() { namespace } else { "" }, name)
    }

    /// The values that the indexed field has and had. An object that cannot be read has none.
    pub(super) fn indexed(&self, kind: &Kind) -> Vec<String> {
        let Some(field) = kind.indexed else { return Vec::new() };
        let versions = [&self.now, &self.before].into_iter().flatten();
        let mut values: Vec<_> = versions
            .filter_map(|version| version.traits(kind).ok()?.field(field).map(str::to_owned))
            .collect();
        values.dedup();
        values
    }

    /// Whether it is for a bucket.
    pub(super) fn is_in(&self, kind: &Kind, bucket: &Bucket) -> bool {
        let (namespace, name) = self.place(kind);
        match bucket {
            Bucket::All => true,
            Bucket::Namespace(wanted) => namespace == wanted,
            Bucket::Object(within, wanted) => namespace == within && name == wanted,
            Bucket::Indexed(wanted) => self.indexed(kind).contains(wanted),
        }
    }
}
