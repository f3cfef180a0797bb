//! The parameters of operations: what may stand in a path and in a query.
//!
//! Only those are named that this server reads. (`fieldManager` is taken from every client, and
//! nothing depends on it yet.)

use serde_json::{Value, json};

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Text,
    Number,
    Truth,
}

/// A parameter of a query.
pub(super) type Parameter = (&'static str, Of);

/// What may be asked of whatever has an answer.
pub(super) const PRETTY: Parameter = ("pretty", Of::Text);

/// Of lists and watches.
pub(super) const LIST: &[Parameter] = &[
    ("allowWatchBookmarks", Of::Truth),
    ("continue", Of::Text),
    ("fieldSelector", Of::Text),
    ("labelSelector", Of::Text),
    ("limit", Of::Number),
    ("resourceVersion", Of::Text),
    ("resourceVersionMatch", Of::Text),
    ("sendInitialEvents", Of::Truth),
    ("timeoutSeconds", Of::Number),
    ("watch", Of::Truth),
];

/// Of whatever writes an object. Clients look for `fieldValidation` here to learn whether the
/// server checks fields, or whether they have to do it themselves.
pub(super) const WRITE: &[Parameter] =
    &[("dryRun", Of::Text), ("fieldManager", Of::Text), ("fieldValidation", Of::Text)];

/// Of deleting one object.
pub(super) const DELETE: &[Parameter] =
    &[("dryRun", Of::Text), ("gracePeriodSeconds", Of::Number), ("propagationPolicy", Of::Text)];

/// Of deleting many.
pub(super) const DELETE_MANY: &[Parameter] = &[
    ("continue", Of::Text),
    ("dryRun", Of::Text),
    ("fieldSelector", Of::Text),
    ("gracePeriodSeconds", Of::Number),
    ("labelSelector", Of::Text),
    ("limit", Of::Number),
    ("propagationPolicy", Of::Text),
    ("resourceVersion", Of::Text),
    ("resourceVersionMatch", Of::Text),
];

/// Of reading a log.
pub(super) const LOG: &[Parameter] = &[("container", Of::Text)];

/// A parameter of a query, as a document says it.
pub(super) fn in_query((name, of): Parameter) -> Value {
    let of = match of {
        Of::Text => "string",
        Of::Number => "integer",
        Of::Truth => "boolean",
    };
    json!({"name": name, "in": "query", "schema": {"type": of, "uniqueItems": true}})
}

/// A part of a path, as a document says it.
pub(super) fn in_path(name: &str) -> Value {
    json!({
        "name": name, "in": "path", "required": true,
        "schema": {"type": "string", "uniqueItems": true},
    })
}
