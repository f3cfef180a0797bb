//! Namespaces: what everything else lies in, and goes away with.

use serde_json::Value;

use super::columns::{AGE, NAME, age, name, text};
use super::tree::{fill, have};
use super::{
    Kind, PLAIN, Scope, Subresource, Verb, labels, meta, names, status_of, with_old_status,
};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

pub(super) const NAMESPACES: Kind = Kind {
    kind: "Namespace",
    resource: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    scope: Scope::Cluster,
    verbs: &[
        Verb::Create,
        Verb::Delete,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ],
    subresources: &[
        Subresource {
            name: "finalize",
            group: "",
            version: "v1",
            kind: "Namespace",
            verbs: &[Verb::Update],
        },
        status_of("", "Namespace"),
    ],
    stored_under: "namespaces",
    columns: &[NAME, text("Status", "Whether it is going away."), AGE],
    cells,
    selectable: &["status.phase"],
    selected: super::text_at,
    default,
    prepare_create,
    prepare_update,
    validate,
    validate_status_update,
    name_rule: names::dns_label,
    ..PLAIN
};

fn cells(namespace: &Object, now: i64) -> Vec<Value> {
    let phase = object::text(namespace, &["status", "phase"]);
    vec![name(namespace), phase.into(), age(namespace, now)]
}

/// What keeps a namespace until everything in it is gone.
pub(super) const FINALIZER: &str = "kubernetes";

fn default(namespace: &mut Object) {
    let name = object::name(namespace).to_owned();
    if !name.is_empty() {
        object::set(namespace, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
    }
    have(namespace, "spec");
    fill(object::map_mut(namespace, &["status"]), "phase", "Active");
}

fn prepare_create(namespace: &mut Object) {
    object::set(namespace, &["status"], serde_json::json!({"phase": "Active"}));
    let mut finalizers = object::list(namespace, &["spec", "finalizers"]).to_vec();
    if !finalizers.iter().any(|it| it == FINALIZER) {
        finalizers.push(FINALIZER.into());
        object::set(namespace, &["spec", "finalizers"], finalizers);
    }
}

/// Finalizers have a path of their own.
fn prepare_update(new: &mut Object, old: &Object) {
    with_old_status(new, old);
    match object::at(old, &["spec", "finalizers"]) {
        Some(finalizers) => object::set(new, &["spec", "finalizers"], finalizers.clone()),
        None => drop(object::remove(new, &["spec", "finalizers"])),
    }
}

fn validate(namespace: &Object, errors: &mut FieldErrors) {
    let path = Path::new("spec").child("finalizers");
    for finalizer in object::list(namespace, &["spec", "finalizers"]) {
        let name = finalizer.as_str().unwrap_or_default();
        labels::complain(&names::qualified(name), &path, name, errors);
        meta::check_standard_finalizer(name, &path, errors);
    }
}

fn validate_status_update(new: &Object, _old: &Object, errors: &mut FieldErrors) {
    let phase = object::text(new, &["status", "phase"]);
    let (wanted, when) = match object::is_deleting(new) {
        false => ("Active", "empty"),
        true => ("Terminating", "not empty"),
    };
    if phase != wanted {
        let detail = format!("may only be '{wanted}' if `deletionTimestamp` is {when}");
        errors.invalid(&Path::new("status").child("Phase"), phase, detail);
    }
}
