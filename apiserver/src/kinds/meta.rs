//! Whether an object's metadata is well formed, and what an update may change of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::labels::{check_annotations, check_labels, complain};
use super::tree::objects;
use super::{Kind, names};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

/// What owners wait for that want their dependents to stay.
const ORPHAN: &str = "orphan";
/// What owners wait for that want their dependents to go first.
const FOREGROUND: &str = "foregroundDeletion";

/// Checks the metadata of a new object; its name must be there by now.
pub fn validate(object: &Object, kind: &Kind, errors: &mut FieldErrors) {
    let path = Path::new("metadata");
    let prefix = object::text(object, &["metadata", "generateName"]);
    if !prefix.is_empty() {
        let faults = (kind.name_rule)(&names::as_prefix(prefix));
        complain(&faults, &path.child("generateName"), prefix, errors);
    }
    let name = object::name(object);
    if name.is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    } else {
        complain(&(kind.name_rule)(name), &path.child("name"), name, errors);
    }
    let (namespace, at) = (object::namespace(object), path.child("namespace"));
    if !kind.is_namespaced() {
        if !namespace.is_empty() {
            errors.forbidden(&at, "not allowed on this type");
        }
    } else if namespace.is_empty() {
        errors.required(&at, "");
    } else {
        complain(&names::dns_label(namespace), &at, namespace, errors);
    }
    check_common(object, &path, errors);
    check_finalizers(object, &path.child("finalizers"), errors);
}

/// Checks the metadata of an update. What clients cannot change is expected to be the old one's
/// already: uid, times, generation.
pub fn validate_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let path = Path::new("metadata");
    if object::is_deleting(old) {
        let known: BTreeSet<&str> = finalizers(old).collect();
        let extra: BTreeSet<&str> = finalizers(new).filter(|it| !known.contains(it)).collect();
        if !extra.is_empty() {
            let quoted: Vec<String> = extra.iter().map(|it| format!("\"{it}\"")).collect();
            let text = "no new finalizers can be added if the object is being deleted, found new \
                        finalizers";
            let detail = format!("{text} []string{{{}}}", quoted.join(", "));
            errors.forbidden(&path.child("finalizers"), detail);
        }
    }
    if object::text(new, &["metadata", "resourceVersion"]).is_empty() {
        let detail = "must be specified for an update";
        errors.invalid(&path.child("resourceVersion"), "", detail);
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp"] {
        let of = |object| object::text(object, &["metadata", field]);
        if of(new) != of(old) {
            errors.invalid(&path.child(field), of(new), super::IMMUTABLE);
        }
    }
    check_common(new, &path, errors);
    check_finalizers(new, &path.child("finalizers"), errors);
}

fn check_common(object: &Object, path: &Path, errors: &mut FieldErrors) {
    let metadata = |field| object::map(object, &["metadata", field]);
    check_labels(metadata("labels"), &path.child("labels"), errors);
    check_annotations(metadata("annotations"), &path.child("annotations"), errors);
    check_owners(object, &path.child("ownerReferences"), errors);
    for (index, entry) in objects(object, &["metadata", "managedFields"]).enumerate() {
        let path = path.child("managedFields").index(index);
        let operation = object::text(entry, &["operation"]);
        if !matches!(operation, "Apply" | "Update") {
            errors.invalid(&path.child("operation"), operation, "must be `Apply` or `Update`");
        }
        let form = object::text(entry, &["fieldsType"]);
        if !matches!(form, "" | "FieldsV1") {
            errors.invalid(&path.child("fieldsType"), form, "must be `FieldsV1`");
        }
    }
}

fn check_owners(object: &Object, path: &Path, errors: &mut FieldErrors) {
    let mut controller: Option<String> = None;
    for owner in objects(object, &["metadata", "ownerReferences"]) {
        let text = |field: &str| object::text(owner, &[field]);
        if text("apiVersion").is_empty() {
            errors.invalid(&path.child("apiVersion"), "", "version must not be empty");
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                errors.invalid(&path.child(field), "", "must not be empty");
            }
        }
        if text("apiVersion") == "v1" && text("kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            errors.invalid(path, owner.clone(), detail);
        }
        if object::flag(owner, &["controller"]) {
            let this = format!("{}/{}", text("kind"), text("name"));
            if let Some(first) = &controller {
                let all = object::list(object, &["metadata", "ownerReferences"]).to_vec();
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in \
                     references for {first} and {this}"
                );
                errors.invalid(path, all, detail);
            } else {
                controller = Some(this);
            }
        }
    }
}

fn finalizers(object: &Object) -> impl Iterator<Item = &str> {
    object::list(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str)
}

fn check_finalizers(object: &Object, path: &Path, errors: &mut FieldErrors) {
    for finalizer in finalizers(object) {
        complain(&names::qualified(finalizer), path, finalizer, errors);
    }
    let has = |wanted| finalizers(object).any(|it| it == wanted);
    if has(ORPHAN) && has(FOREGROUND) {
        let all = object::list(object, &["metadata", "finalizers"]).to_vec();
        let detail = format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set");
        errors.invalid(path, all, detail);
    }
    for (index, finalizer) in finalizers(object).enumerate() {
        check_standard_finalizer(finalizer, &path.index(index), errors);
    }
}

/// Finalizers without a domain are those that upstream knows.
pub(super) fn check_standard_finalizer(name: &str, path: &Path, errors: &mut FieldErrors) {
    let standard = [super::namespace::FINALIZER, ORPHAN, FOREGROUND].contains(&name);
    if !name.contains('/') && !standard {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.invalid(path, name, detail);
    }
}
