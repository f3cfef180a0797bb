//! Whether a deployment or a replica set makes sense.

use serde_json::Value;

use super::labels;
use super::pod_spec;
use super::{IMMUTABLE, NEGATIVE, names};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

/// Checks a deployment by itself.
pub(super) fn validate_deployment(object: &Object, errors: &mut FieldErrors) {
    let nothing = Object::new();
    let spec = object::map(object, &["spec"]).unwrap_or(&nothing);
    let path = Path::new("spec");
    check_not_negative(spec, &["replicas"], &path, errors);
    check_template(spec, &path, errors);
    check_strategy(spec, &path.child("strategy"), errors);
    let numbers = ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"];
    check_not_negative(spec, &numbers, &path, errors);
    let ready = object::number(spec, &["minReadySeconds"]).unwrap_or(0);
    let deadline = object::number(spec, &["progressDeadlineSeconds"]);
    if let Some(deadline) = deadline.filter(|seconds| *seconds <= ready) {
        let path = path.child("progressDeadlineSeconds");
        errors.invalid(&path, deadline, "must be greater than minReadySeconds");
    }
}

/// Checks a replica set by itself.
pub(super) fn validate_replica_set(object: &Object, errors: &mut FieldErrors) {
    let nothing = Object::new();
    let spec = object::map(object, &["spec"]).unwrap_or(&nothing);
    let path = Path::new("spec");
    check_not_negative(spec, &["replicas", "minReadySeconds"], &path, errors);
    check_template(spec, &path, errors);
}

/// Pods are found by the selector: another one would leave those that there are alone.
pub(super) fn validate_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let selector = |object| object::at(object, &["spec", "selector"]);
    if selector(new) != selector(old) {
        let path = Path::new("spec").child("selector");
        let selector = selector(new).cloned().unwrap_or(Value::Null);
        errors.invalid(&path, selector, IMMUTABLE);
    }
}

/// Checks the numbers of a status.
pub(super) fn validate_status(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let nothing = Object::new();
    let status = object::map(new, &["status"]).unwrap_or(&nothing);
    let path = Path::new("status");
    let numbers = [
        "observedGeneration",
        "replicas",
        "fullyLabeledReplicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    check_not_negative(status, &numbers, &path, errors);
    let number = |field: &str| object::number(status, &[field]).unwrap_or(0);
    for field in ["fullyLabeledReplicas", "updatedReplicas", "readyReplicas", "availableReplicas"] {
        if number(field) > number("replicas") {
            let detail = "cannot be greater than status.replicas";
            errors.invalid(&path.child(field), number(field), detail);
        }
    }
    let available = number("availableReplicas");
    if available > number("readyReplicas") {
        let detail = "cannot be greater than readyReplicas";
        errors.invalid(&path.child("availableReplicas"), available, detail);
    }
    let collisions = number("collisionCount");
    if object::number(old, &["status", "collisionCount"]).is_some_and(|old| collisions < old) {
        errors.invalid(&path.child("collisionCount"), collisions, "cannot be decremented");
    }
}

/// Notes numbers below zero.
pub(super) fn check_not_negative(
    object: &Object,
    fields: &[&str],
    path: &Path,
    errors: &mut FieldErrors,
) {
    for field in fields {
        if let Some(number) = object::number(object, &[field]).filter(|number| *number < 0) {
            errors.invalid(&path.child(field), number, NEGATIVE);
        }
    }
}

/// Checks the selector, the template, and that the one selects the other.
fn check_template(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    let (selector, at) = (object::map(spec, &["selector"]), path.child("selector"));
    if let Some(selector) = selector {
        labels::check_selector(Some(selector), &at, errors);
        if labels::says_nothing(selector) {
            let detail = "empty selector is invalid for deployment";
            errors.invalid(&at, selector.clone(), detail);
        }
    } else {
        errors.required(&at, "");
    }
    if let Some(selector) = selector.filter(|selector| !labels::is_understood(selector)) {
        return errors.invalid(&at, selector.clone(), "invalid label selector");
    }
    let nothing = Object::new();
    let template = object::map(spec, &["template"]).unwrap_or(&nothing);
    let template_labels = object::map(template, &["metadata", "labels"]);
    let path = path.child("template");
    let selects = match selector {
        None => false,
        Some(selector) => labels::matches(selector, template_labels),
    };
    if !selects {
        let shown = template_labels.cloned().map_or(Value::Null, Value::Object);
        let detail = "`selector` does not match template `labels`";
        errors.invalid(&path.child("metadata").child("labels"), shown, detail);
    }
    pod_spec::check_template(template, &path, errors);
    let policy = object::text(template, &["spec", "restartPolicy"]);
    let path = path.child("spec");
    if policy != "Always" {
        errors.not_supported(&path.child("restartPolicy"), policy, &["Always"]);
    }
    if object::number(template, &["spec", "activeDeadlineSeconds"]).is_some() {
        let detail = "activeDeadlineSeconds in ReplicaSet is not Supported";
        errors.forbidden(&path.child("activeDeadlineSeconds"), detail);
    }
}

fn check_strategy(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    let rolling = object::map(spec, &["strategy", "rollingUpdate"]);
    let at = path.child("rollingUpdate");
    match (object::text(spec, &["strategy", "type"]), rolling) {
        ("Recreate", None) => {}
        ("Recreate", Some(_)) => {
            errors.forbidden(&at, "may not be specified when strategy `type` is 'Recreate'");
        }
        ("RollingUpdate", None) => {
            errors.required(&at, "this should be defaulted and never be nil");
        }
        ("RollingUpdate", Some(rolling)) => {
            let value = |field: &str| rolling.get(field).cloned().unwrap_or(Value::Null);
            let (unavailable, surge) = (value("maxUnavailable"), value("maxSurge"));
            check_share(&unavailable, &at.child("maxUnavailable"), errors);
            check_share(&surge, &at.child("maxSurge"), errors);
            if amount(&unavailable) == 0 && amount(&surge) == 0 {
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.invalid(&at.child("maxUnavailable"), unavailable.clone(), detail);
            }
            check_not_all(&unavailable, &at.child("maxUnavailable"), errors);
        }
        (kind, rolling) => {
            let shown = serde_json::json!({
                "Type": kind,
                "RollingUpdate": rolling,
            });
            errors.not_supported(path, shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

/// Checks a number of pods or a share of them.
pub(super) fn check_share(share: &Value, path: &Path, errors: &mut FieldErrors) {
    match share {
        Value::String(text) => {
            for fault in names::percentage(text) {
                errors.invalid(path, text.as_str(), fault);
            }
        }
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            errors.invalid(path, share.clone(), NEGATIVE);
        }
        _ => {}
    }
}

/// Checks that a share is not more than all.
pub(super) fn check_not_all(share: &Value, path: &Path, errors: &mut FieldErrors) {
    if share.as_str().is_some_and(|text| names::is_percentage(text) && amount(share) > 100) {
        errors.invalid(path, share.clone(), "must not be greater than 100%");
    }
}

/// The number that a share is written with, whatever it is a number of.
fn amount(share: &Value) -> i64 {
    match share {
        Value::String(text) => text.trim_end_matches('%').parse().unwrap_or(0),
        other => other.as_i64().unwrap_or(0),
    }
}
