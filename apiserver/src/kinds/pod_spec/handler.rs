//! Probes and hooks: what is asked of a running container.

use serde_json::Value;

use crate::field::{FieldErrors, Path};
use crate::kinds::NEGATIVE;
use crate::kinds::labels::complain;
use crate::kinds::names;
use crate::kinds::tree::objects;
use crate::object::{self, Object};

/// What a probe can do.
const OF_PROBES: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];
/// What a hook can do.
const OF_HOOKS: &[&str] = &["exec", "httpGet", "tcpSocket", "sleep"];

/// Checks the three probes of a container.
pub(super) fn check_probes(container: &Object, path: &Path, errors: &mut FieldErrors) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = object::map(container, &[name]) else { continue };
        let path = path.child(name);
        check_handler(probe, OF_PROBES, None, &path, errors);
        for field in [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ] {
            if let Some(number) = object::number(probe, &[field]).filter(|number| *number < 0) {
                errors.invalid(&path.child(field), number, NEGATIVE);
            }
        }
        let grace = object::number(probe, &["terminationGracePeriodSeconds"]);
        let at = path.child("terminationGracePeriodSeconds");
        if let Some(grace) = grace.filter(|seconds| *seconds <= 0) {
            errors.invalid(&at, grace, "must be greater than 0");
        }
        let successes = object::number(probe, &["successThreshold"]).unwrap_or(0);
        if name != "readinessProbe" && successes != 1 {
            errors.invalid(&path.child("successThreshold"), successes, "must be 1");
        }
        if let Some(grace) = grace.filter(|_| name == "readinessProbe") {
            errors.invalid(&at, grace, "must not be set for readinessProbes");
        }
    }
}

/// Checks the hooks of a container.
pub(super) fn check_lifecycle(
    container: &Object,
    grace_period: Option<i64>,
    path: &Path,
    errors: &mut FieldErrors,
) {
    for hook in ["postStart", "preStop"] {
        if let Some(handler) = object::map(container, &["lifecycle", hook]) {
            let path = path.child("lifecycle").child(hook);
            check_handler(handler, OF_HOOKS, grace_period, &path, errors);
        }
    }
}

fn check_handler(
    handler: &Object,
    known: &[&str],
    grace_period: Option<i64>,
    path: &Path,
    errors: &mut FieldErrors,
) {
    let mut found = known.iter().filter_map(|name| Some((*name, object::map(handler, &[name])?)));
    let Some((name, action)) = found.next() else {
        return errors.required(path, "must specify a handler type");
    };
    let at = path.child(name);
    match name {
        "exec" if object::list(action, &["command"]).is_empty() => {
            errors.required(&at.child("command"), "");
        }
        "httpGet" => check_http_get(action, &at, errors),
        "tcpSocket" | "grpc" => check_port(action.get("port"), &at.child("port"), errors),
        "sleep" => {
            let seconds = object::number(action, &["seconds"]).unwrap_or(0);
            if let Some(most) = grace_period.filter(|most| !(0..=*most).contains(&seconds)) {
                let rule = "must be non-negative and less than terminationGracePeriodSeconds";
                errors.invalid(&at, seconds, format!("{rule} ({most})"));
            }
        }
        _ => {}
    }
    for (name, _) in found {
        errors.forbidden(&path.child(name), "may not specify more than 1 handler type");
    }
}

fn check_http_get(get: &Object, path: &Path, errors: &mut FieldErrors) {
    if object::text(get, &["path"]).is_empty() {
        errors.required(&path.child("path"), "");
    }
    check_port(get.get("port"), &path.child("port"), errors);
    let scheme = object::text(get, &["scheme"]);
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in objects(get, &["httpHeaders"]) {
        let name = object::text(header, &["name"]);
        complain(&names::http_header(name), &path.child("httpHeaders"), name, errors);
    }
}

/// Checks a port that is given by its number or name.
pub(in crate::kinds) fn check_port(port: Option<&Value>, path: &Path, errors: &mut FieldErrors) {
    match port {
        Some(Value::String(name)) => complain(&names::port_name(name), path, name, errors),
        number => {
            let number = number.and_then(Value::as_i64).unwrap_or(0);
            for fault in names::port_number(number) {
                errors.invalid(path, number, fault);
            }
        }
    }
}
