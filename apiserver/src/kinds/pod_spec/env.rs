//! Variables of containers, and what fills them.

use crate::field::{FieldErrors, Path};
use crate::kinds::amounts;
use crate::kinds::labels::complain;
use crate::kinds::names;
use crate::kinds::tree::objects;
use crate::object::{self, Object};

/// The fields of a pod that variables can have.
const OF_VARIABLES: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// The fields of a pod that files can have.
pub(super) const OF_FILES: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// The fields of a pod that anything can have.
const KNOWN: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// Checks `env` and `envFrom` of a container.
pub(super) fn check(container: &Object, path: &Path, errors: &mut FieldErrors) {
    for (index, variable) in objects(container, &["env"]).enumerate() {
        let path = path.child("env").index(index);
        let name = object::text(variable, &["name"]);
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            complain(&names::variable(name), &path.child("name"), name, errors);
        }
        check_source(variable, &path.child("valueFrom"), errors);
    }
    let at = path.child("envFrom");
    for (index, from) in objects(container, &["envFrom"]).enumerate() {
        let path = at.index(index);
        let prefix = object::text(from, &["prefix"]);
        if !prefix.is_empty() {
            complain(&names::variable(prefix), &path.child("prefix"), prefix, errors);
        }
        let mut sources = 0;
        for field in ["configMapRef", "secretRef"] {
            let Some(source) = object::map(from, &[field]) else { continue };
            sources += 1;
            let (name, path) = (object::text(source, &["name"]), path.child(field).child("name"));
            if name.is_empty() {
                errors.required(&path, "");
            } else {
                complain(&names::dns_subdomain(&names::as_prefix(name)), &path, name, errors);
            }
        }
        match sources {
            0 => errors.invalid(&at, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(&at, "", "may not have more than one field specified at a time"),
        }
    }
}

fn check_source(variable: &Object, path: &Path, errors: &mut FieldErrors) {
    let Some(source) = object::map(variable, &["valueFrom"]) else { return };
    let mut sources = 0;
    let mut of = |field: &str| {
        let of = object::map(source, &[field]);
        sources += u8::from(of.is_some());
        of
    };
    if let Some(field) = of("fieldRef") {
        check_field(field, OF_VARIABLES, &path.child("fieldRef"), errors);
    }
    if let Some(resource) = of("resourceFieldRef") {
        check_resource(resource, Reader::Variable, &path.child("resourceFieldRef"), errors);
    }
    for field in ["configMapKeyRef", "secretKeyRef"] {
        let Some(reference) = of(field) else { continue };
        let path = path.child(field);
        let (name, key) = (object::text(reference, &["name"]), object::text(reference, &["key"]));
        complain(&names::dns_subdomain(name), &path.child("name"), name, errors);
        if key.is_empty() {
            errors.required(&path.child("key"), "");
        } else {
            complain(&names::config_key(key), &path.child("key"), key, errors);
        }
    }
    if let Some(reference) = of("fileKeyRef") {
        check_file_key(reference, &path.child("fileKeyRef"), errors);
    }
    let has_value = !object::text(variable, &["value"]).is_empty();
    let detail = match sources {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, \
             `secretKeyRef` or `fileKeyRef`"
        }
        _ if has_value => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    errors.invalid(path, "", detail);
}

fn check_file_key(reference: &Object, path: &Path, errors: &mut FieldErrors) {
    let mut check = |field: &str, rule: fn(&str) -> Vec<String>| {
        let text = object::text(reference, &[field]);
        if text.is_empty() {
            errors.required(&path.child(field), "");
        } else {
            complain(&rule(text), &path.child(field), text, errors);
        }
    };
    check("key", names::variable);
    check("volumeName", names::dns_label);
    check("path", |path| {
        let steps_back = path.split('/').any(|part| part == "..");
        if steps_back { vec!["must not contain '..'".to_owned()] } else { Vec::new() }
    });
}

/// Checks that a file key's volume is an empty directory of the pod.
pub(super) fn check_file_volumes(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (index, container) in objects(spec, &[list]).enumerate() {
            for (env_index, variable) in objects(container, &["env"]).enumerate() {
                let Some(key) = object::map(variable, &["valueFrom", "fileKeyRef"]) else {
                    continue;
                };
                let name = object::text(key, &["volumeName"]);
                let env = path.child(list).index(index).child("env").index(env_index);
                let path = env.child("valueFrom").child("fileKeyRef").child("volumeName");
                let mut volumes = objects(spec, &["volumes"]);
                match volumes.rfind(|volume| object::text(volume, &["name"]) == name) {
                    None => errors.not_found(&path, name),
                    Some(volume) if object::map(volume, &["emptyDir"]).is_none() => {
                        errors.invalid(&path, name, "referenced volume must be of type emptyDir");
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

/// Checks a reference to a field of the pod.
pub(super) fn check_field(field: &Object, known: &[&str], path: &Path, errors: &mut FieldErrors) {
    let (version, name) =
        (object::text(field, &["apiVersion"]), object::text(field, &["fieldPath"]));
    let at = path.child("fieldPath");
    if version.is_empty() {
        return errors.required(&path.child("apiVersion"), "");
    }
    if name.is_empty() {
        return errors.required(&at, "");
    }
    let entry = name.strip_suffix("']").and_then(|name| name.split_once("['"));
    let plain = entry.map_or(name, |(map, _)| map);
    if version != "v1" {
        let detail = format!("error converting fieldPath: unsupported pod version: {version}");
        return errors.invalid(&at, name, detail);
    }
    match (plain, entry) {
        ("metadata.annotations", Some((_, key))) => {
            let key = key.to_lowercase();
            complain(&names::qualified(&key), path, &key, errors);
        }
        ("metadata.labels", Some((_, key))) => {
            complain(&names::qualified(key), path, key, errors);
        }
        (_, Some(_)) => {
            let detail = "error converting fieldPath: field label does not support subscript: ";
            errors.invalid(&at, name, format!("{detail}{name}"));
        }
        _ if !KNOWN.contains(&plain) => {
            let detail = format!("error converting fieldPath: field label not supported: {plain}");
            errors.invalid(&at, name, detail);
        }
        _ if !known.contains(&plain) => errors.not_supported(&at, plain, known),
        _ => {}
    }
}

/// What reads a resource: only files can read another container's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Variable,
    File,
}

/// Checks a reference to a resource of a container.
pub(super) fn check_resource(
    reference: &Object,
    reader: Reader,
    path: &Path,
    errors: &mut FieldErrors,
) {
    let resource = object::text(reference, &["resource"]);
    let huge = ["limits.hugepages-", "requests.hugepages-"];
    let huge = huge.into_iter().any(|prefix| resource.starts_with(prefix));
    if reader == Reader::File && object::text(reference, &["containerName"]).is_empty() {
        errors.required(&path.child("containerName"), "");
    } else if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge {
        errors.not_supported(&path.child("resource"), resource, RESOURCES);
    }
    let Some(divisor) = reference.get("divisor").and_then(amounts::read) else { return };
    let (divisor, zero) = (divisor.to_string(), divisor.is_zero());
    let sizes = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let (supported, which) = match resource.split_once('.').map_or("", |parts| parts.1) {
        "cpu" => ("1m, 1", "cpu"),
        "memory" => (sizes, "memory"),
        "ephemeral-storage" => (sizes, "local ephemeral storage"),
        _ if huge => (sizes, "hugepages"),
        _ => return,
    };
    if !zero && !supported.split(", ").any(|it| it == divisor) {
        let supported = supported.replace("1m, 1", "1m and 1");
        let detail =
            format!("only divisor's values {supported} are supported with the {which} resource");
        errors.invalid(&path.child("divisor"), resource, detail);
    }
}
