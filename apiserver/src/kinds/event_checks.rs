//! Whether events make sense: loosely for the core group, strictly for `events.k8s.io`.
//!
//! The names of fields are the stored form's (the core group's) in both cases, because upstream's
//! complaints name them so.

use serde_json::Value;

use super::labels::complain;
use super::{IMMUTABLE, names};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

/// The most characters of an action, a reason and a reporter's name; and of a message.
const MOST: (usize, usize) = (128, 1024);

/// Checks a core event.
pub(super) fn validate_core(event: &Object, errors: &mut FieldErrors) {
    validate(event, "reportingComponent", errors);
}

/// Checks an event of the newer group, in its stored form.
pub(super) fn validate_new(event: &Object, errors: &mut FieldErrors) {
    validate(event, "reportingController", errors);
}

fn is_set(event: &Object, time: &str) -> bool {
    !object::text(event, &[time]).is_empty()
}

/// `controller` is what the group calls the reporter.
fn validate(event: &Object, controller: &str, errors: &mut FieldErrors) {
    const SYSTEM: &str = "kube-system";
    let of = object::text(event, &["involvedObject", "namespace"]);
    let namespace = object::namespace(event);
    let newly_made = is_set(event, "eventTime");
    let agree = match (newly_made, of) {
        (false, "") => matches!(namespace, "" | "default"),
        (false, of) => namespace == of,
        (true, "") => matches!(namespace, "default" | SYSTEM),
        (true, _) => true,
    };
    if !agree {
        let path = Path::new("involvedObject").child("namespace");
        errors.invalid(&path, of, "does not match event.namespace");
    }
    if newly_made {
        let text = |field: &str| object::text(event, &[field]);
        let reporter = text("reportingComponent");
        if reporter.is_empty() {
            errors.required(&Path::new(controller), "");
        }
        complain(&names::qualified(reporter), &Path::new(controller), reporter, errors);
        for field in ["reportingInstance", "action", "reason"] {
            if text(field).is_empty() {
                errors.required(&Path::new(field), "");
            }
            check_length(text(field), MOST.0, &Path::new(field), errors);
        }
        check_length(text("message"), MOST.1, &Path::new("message"), errors);
    }
    complain(&names::dns_subdomain(namespace), &Path::new("namespace"), namespace, errors);
}

fn check_length(text: &str, most: usize, path: &Path, errors: &mut FieldErrors) {
    if text.len() > most {
        errors.invalid(path, "", format!("can have at most {most} characters"));
    }
}

/// Checks what only new events of the newer group must be like.
pub(super) fn validate_new_create(event: &Object, errors: &mut FieldErrors) {
    check_series(event, errors);
    if !is_set(event, "eventTime") {
        errors.required(&Path::new("eventTime"), "");
    }
    let kind = object::text(event, &["type"]);
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid(&Path::new("type"), "", format!("has invalid value: {kind}"));
    }
    let old_source = ["component", "host"]
        .iter()
        .any(|field| !object::text(event, &["source", field]).is_empty());
    for (field, there) in [
        ("firstTimestamp", is_set(event, "firstTimestamp")),
        ("lastTimestamp", is_set(event, "lastTimestamp")),
        ("count", object::number(event, &["count"]).unwrap_or(0) != 0),
        ("source", old_source),
    ] {
        if there {
            errors.invalid(&Path::new(field), "", "needs to be unset");
        }
    }
}

/// Checks a change of an event of the newer group: only its series goes on.
pub(super) fn validate_new_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    if new.get("series") != old.get("series") {
        check_series(new, errors);
    }
    for (field, shown) in [
        ("involvedObject", "involvedObject"),
        ("reason", "reason"),
        ("message", "message"),
        ("source", "source"),
        ("firstTimestamp", "firstTimestamp"),
        ("lastTimestamp", "lastTimestamp"),
        ("count", "count"),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        ("reportingComponent", "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        let of = |event: &Object| event.get(field).cloned().unwrap_or(Value::Null);
        if of(new) != of(old) {
            errors.invalid(&Path::new(shown), of(new), IMMUTABLE);
        }
    }
}

fn check_series(event: &Object, errors: &mut FieldErrors) {
    let Some(series) = object::map(event, &["series"]) else { return };
    if object::number(series, &["count"]).unwrap_or(0) < 2 {
        errors.invalid(&Path::new("series.count"), "", "should be at least 2");
    }
    if object::text(series, &["lastObservedTime"]).is_empty() {
        errors.required(&Path::new("series.lastObservedTime"), "");
    }
}
