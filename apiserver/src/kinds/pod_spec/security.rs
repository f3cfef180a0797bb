//! As whom containers run, and what they may do to their host.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Whole;
use super::volume::check_below;
use crate::field::{FieldErrors, Path};
use crate::kinds::names;
use crate::kinds::tree::objects;
use crate::object::{self, Object};

/// Checks the security context of a pod.
pub(super) fn check_pod(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    let Some(context) = object::map(spec, &["securityContext"]) else { return };
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        check_number(context.get(field), &path.child(field), errors);
    }
    for (index, group) in object::list(context, &["supplementalGroups"]).iter().enumerate() {
        check_number(Some(group), &path.child("supplementalGroups").index(index), errors);
    }
    if object::flag(spec, &["shareProcessNamespace"]) && object::flag(spec, &["hostPID"]) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), true, detail);
    }
    check_sysctls(spec, context, &path.child("sysctls"), errors);
    check_choice(context, "fsGroupChangePolicy", &["Always", "OnRootMismatch"], path, errors);
    check_seccomp(context, &path.child("seccompProfile"), errors);
    check_app_armor(context, &path.child("appArmorProfile"), errors);
    check_choice(context, "supplementalGroupsPolicy", &["Merge", "Strict"], path, errors);
    check_choice(context, "seLinuxChangePolicy", &["MountOption", "Recursive"], path, errors);
}

/// Checks the security context of a container.
pub(super) fn check_container(
    container: &Object,
    whole: Whole<'_>,
    path: &Path,
    errors: &mut FieldErrors,
) {
    let Some(context) = object::map(container, &["securityContext"]) else { return };
    for field in ["runAsUser", "runAsGroup"] {
        check_number(context.get(field), &path.child(field), errors);
    }
    let mount = object::text(context, &["procMount"]);
    if !matches!(mount, "" | "Default" | "Unmasked") {
        errors.not_supported(&path.child("procMount"), mount, &["Default", "Unmasked"]);
    }
    if mount == "Unmasked" && whole.shares_users_with_host() {
        let detail = "`hostUsers` must be false to use `Unmasked`";
        errors.invalid(&path.child("procMount"), mount, detail);
    }
    check_seccomp(context, &path.child("seccompProfile"), errors);
    let escalation = context.get("allowPrivilegeEscalation").and_then(Value::as_bool);
    if escalation == Some(false) {
        let text = "cannot set `allowPrivilegeEscalation` to false and";
        if object::flag(context, &["privileged"]) {
            errors.invalid(path, context.clone(), format!("{text} `privileged` to true"));
        }
        for capability in object::list(context, &["capabilities", "add"]) {
            if capability == "CAP_SYS_ADMIN" {
                let detail = format!("{text} `capabilities.Add` CAP_SYS_ADMIN");
                errors.invalid(path, context.clone(), detail);
            }
        }
    }
    check_app_armor(context, &path.child("appArmorProfile"), errors);
}

fn check_number(id: Option<&Value>, path: &Path, errors: &mut FieldErrors) {
    let Some(id) = id.and_then(Value::as_i64) else { return };
    for fault in names::user_number(id) {
        errors.invalid(path, id, fault);
    }
}

fn check_choice(
    context: &Object,
    field: &str,
    supported: &[&str],
    path: &Path,
    errors: &mut FieldErrors,
) {
    let Some(value) = context.get(field).and_then(Value::as_str) else { return };
    if !supported.contains(&value) {
        errors.not_supported(&path.child(field), value, supported);
    }
}

fn check_sysctls(spec: &Object, context: &Object, at: &Path, errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (index, setting) in objects(context, &["sysctls"]).enumerate() {
        let path = at.index(index).child("name");
        let name = object::text(setting, &["name"]);
        if name.is_empty() {
            errors.required(&path, "");
        } else if !is_sysctl(name) {
            let detail = "must have at most 253 characters and match regex \
                          ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.invalid(&path, name, detail);
        } else if seen.contains(name) {
            errors.duplicate(&path, name);
        }
        let dotted = name.replace('/', ".");
        let of_network = dotted.starts_with("net.");
        let of_ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."];
        let of_ipc = dotted == "kernel.sem" || of_ipc.iter().any(|it| dotted.starts_with(it));
        if of_network && object::flag(spec, &["hostNetwork"]) {
            errors.invalid(&path, name, "may not be specified when 'hostNetwork' is true");
        } else if of_ipc && object::flag(spec, &["hostIPC"]) {
            errors.invalid(&path, name, "may not be specified when 'hostIPC' is true");
        }
        seen.insert(name);
    }
}

fn is_sysctl(name: &str) -> bool {
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            part.starts_with(lower)
                && part.ends_with(lower)
                && part.chars().all(|c| lower(c) || c == '-' || c == '_')
        })
}

fn check_seccomp(context: &Object, path: &Path, errors: &mut FieldErrors) {
    let Some(profile) = object::map(context, &["seccompProfile"]) else { return };
    let kind = object::text(profile, &["type"]);
    match kind {
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        "" => errors.required(&path.child("type"), "type is required when seccompProfile is set"),
        _ => {
            let supported = ["Localhost", "RuntimeDefault", "Unconfined"];
            errors.not_supported(&path.child("type"), kind, &supported);
        }
    }
    let at = path.child("localhostProfile");
    match (kind, profile.get("localhostProfile").and_then(Value::as_str)) {
        ("Localhost", None) => {
            errors.required(&at, "must be set when seccomp type is Localhost");
        }
        ("Localhost", Some(file)) => check_below(file, &at, errors),
        (_, Some(_)) => {
            let detail = "can only be set when seccomp type is Localhost";
            errors.invalid(&at, profile.clone(), detail);
        }
        (_, None) => {}
    }
}

fn check_app_armor(context: &Object, path: &Path, errors: &mut FieldErrors) {
    let Some(profile) = object::map(context, &["appArmorProfile"]) else { return };
    let at = path.child("localhostProfile");
    let file = profile.get("localhostProfile").and_then(Value::as_str);
    match (object::text(profile, &["type"]), file) {
        ("Localhost", None | Some("")) => {
            errors.required(&at, "must be set when AppArmor type is Localhost");
        }
        ("Localhost", Some(file)) if file.trim() != file => {
            errors.invalid(&at, file, "must not be padded with whitespace");
        }
        ("Localhost", Some(_)) | ("RuntimeDefault" | "Unconfined", None) => {}
        ("RuntimeDefault" | "Unconfined", Some(file)) => {
            errors.invalid(&at, file, "can only be set when AppArmor type is Localhost");
        }
        ("", _) => {
            errors.required(&path.child("type"), "type is required when appArmorProfile is set");
        }
        (kind, _) => {
            let supported = ["Localhost", "RuntimeDefault", "Unconfined"];
            errors.not_supported(&path.child("type"), kind, &supported);
        }
    }
}

/// Users of its own, and the host's namespaces: a pod cannot have both.
pub(super) fn check_host_users(whole: Whole<'_>, path: &Path, errors: &mut FieldErrors) {
    if whole.shares_users_with_host() {
        return;
    }
    for (flag, shown) in
        [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
    {
        if object::flag(whole.spec, &[flag]) {
            errors.forbidden(&path.child(shown), "when `hostUsers` is false");
        }
    }
}
