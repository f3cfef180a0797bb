//! Containers: each of them, and all of a pod together.

use std::collections::BTreeSet;

use super::volume::Volumes;
use super::{Whole, choose, env, handler, security};
use crate::field::{FieldErrors, Path};
use crate::kinds::labels::complain;
use crate::kinds::names;
use crate::kinds::resources::{self, Whose};
use crate::kinds::tree::objects;
use crate::object::{self, Object};

/// Checks the containers of all three sorts.
pub(super) fn check_all(
    whole: Whole<'_>,
    volumes: &Volumes<'_>,
    path: &Path,
    errors: &mut FieldErrors,
) {
    let at = path.child("containers");
    if object::list(whole.spec, &["containers"]).is_empty() {
        errors.required(&at, "");
    }
    let mut names = BTreeSet::new();
    for (index, container) in objects(whole.spec, &["containers"]).enumerate() {
        let path = at.index(index);
        check(container, whole, volumes, &path, errors);
        let name = object::text(container, &["name"]);
        if !names.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
        handler::check_lifecycle(container, whole.grace_period(), &path, errors);
        handler::check_probes(container, &path, errors);
        check_restart_policy(container, &path, errors);
    }
    check_host_ports(objects(whole.spec, &["containers"]), &at, errors);
    check_init_containers(whole, volumes, &mut names, &path.child("initContainers"), errors);
    check_ephemeral(whole, volumes, names, &path.child("ephemeralContainers"), errors);
}

fn check_init_containers<'a>(
    whole: Whole<'a>,
    volumes: &Volumes<'_>,
    names: &mut BTreeSet<&'a str>,
    at: &Path,
    errors: &mut FieldErrors,
) {
    for (index, container) in objects(whole.spec, &["initContainers"]).enumerate() {
        let path = at.index(index);
        check(container, whole, volumes, &path, errors);
        check_restart_policy(container, &path, errors);
        let name = object::text(container, &["name"]);
        if names.contains(name) {
            errors.duplicate(&path.child("name"), name);
        } else if !name.is_empty() {
            names.insert(name);
        }
        check_host_ports(std::iter::once(container), at, errors);
        if object::text(container, &["restartPolicy"]) == "Always" {
            handler::check_lifecycle(container, whole.grace_period(), &path, errors);
            handler::check_probes(container, &path, errors);
            continue;
        }
        for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
            if object::map(container, &[field]).is_some() {
                let detail = "may not be set for init containers without restartPolicy=Always";
                errors.forbidden(&path.child(field), detail);
            }
        }
    }
}

/// What people look into a running pod with: nothing that the pod's work depends on.
fn check_ephemeral<'a>(
    whole: Whole<'a>,
    volumes: &Volumes<'_>,
    mut names: BTreeSet<&'a str>,
    at: &Path,
    errors: &mut FieldErrors,
) {
    /// What such a container may say.
    const ALLOWED: &[&str] = &[
        "name",
        "image",
        "command",
        "args",
        "workingDir",
        "envFrom",
        "env",
        "volumeMounts",
        "volumeDevices",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "imagePullPolicy",
        "securityContext",
        "stdin",
        "stdinOnce",
        "tty",
        "targetContainerName",
        "resources",
    ];
    let others = names.clone();
    for (index, container) in objects(whole.spec, &["ephemeralContainers"]).enumerate() {
        let path = at.index(index);
        check(container, whole, volumes, &path, errors);
        let name = object::text(container, &["name"]);
        if !names.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
        let target = object::text(container, &["targetContainerName"]);
        if !target.is_empty() && !others.contains(target) {
            errors.not_found(&path.child("targetContainerName"), target);
        }
        let asks = object::map(container, &["resources"]).is_some_and(|it| !it.is_empty());
        let refused = container
            .iter()
            .filter(|(field, value)| !ALLOWED.contains(&field.as_str()) && !value.is_null());
        let refused = refused.map(|(field, _)| field.as_str()).chain(asks.then_some("resources"));
        for field in refused {
            errors.forbidden(&path.child(field), "cannot be set for an Ephemeral Container");
        }
        for (index, mount) in objects(container, &["volumeMounts"]).enumerate() {
            for field in ["subPath", "subPathExpr"] {
                if !object::text(mount, &[field]).is_empty() {
                    let path = path.child("volumeMounts").index(index).child(field);
                    errors.forbidden(&path, "cannot be set for an Ephemeral Container");
                }
            }
        }
    }
}

/// What all sorts of containers have in common.
fn check(
    container: &Object,
    whole: Whole<'_>,
    volumes: &Volumes<'_>,
    path: &Path,
    errors: &mut FieldErrors,
) {
    let name = object::text(container, &["name"]);
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    } else {
        complain(&names::dns_label(name), &path.child("name"), name, errors);
    }
    if object::text(container, &["image"]).is_empty() {
        errors.required(&path.child("image"), "");
    }
    let policies = ["File", "FallbackToLogsOnError"];
    choose(container, "terminationMessagePolicy", &policies, path, errors);
    check_ports(container, &path.child("ports"), errors);
    env::check(container, path, errors);
    volumes.check_mounts(container, &path.child("volumeMounts"), errors);
    volumes.check_devices(container, &path.child("volumeDevices"), errors);
    let policies = ["Always", "IfNotPresent", "Never"];
    choose(container, "imagePullPolicy", &policies, path, errors);
    if let Some(requirements) = object::map(container, &["resources"]) {
        let path = path.child("resources");
        resources::check_requirements(requirements, Whose::Container, &path, errors);
    }
    check_resize_policy(container, whole, &path.child("resizePolicy"), errors);
    security::check_container(container, whole, &path.child("securityContext"), errors);
}

/// An image's name with blanks around it is nobody's intention; templates may have it of old.
fn has_padding(image: &str) -> bool {
    image.trim() != image
}

fn check_ports(container: &Object, at: &Path, errors: &mut FieldErrors) {
    let mut used = BTreeSet::new();
    for (index, port) in objects(container, &["ports"]).enumerate() {
        let path = at.index(index);
        let name = object::text(port, &["name"]);
        if !name.is_empty() {
            let faults = names::port_name(name);
            complain(&faults, &path.child("name"), name, errors);
            if faults.is_empty() && !used.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        let number = |field: &str| object::number(port, &[field]).unwrap_or(0);
        if number("containerPort") == 0 {
            errors.required(&path.child("containerPort"), "");
        }
        for field in ["containerPort", "hostPort"] {
            if number(field) != 0 {
                for fault in names::port_number(number(field)) {
                    errors.invalid(&path.child(field), number(field), fault);
                }
            }
        }
        choose(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
    }
}

/// No two containers can have the same port of the host.
fn check_host_ports<'a>(
    containers: impl Iterator<Item = &'a Object>,
    at: &Path,
    errors: &mut FieldErrors,
) {
    let mut used = BTreeSet::new();
    for (index, container) in containers.enumerate() {
        for (port_index, port) in objects(container, &["ports"]).enumerate() {
            let number = object::number(port, &["hostPort"]).unwrap_or(0);
            if number == 0 {
                continue;
            }
            let text = |field| object::text(port, &[field]);
            let socket = format!("{}/{}/{number}", text("protocol"), text("hostIP"));
            if !used.insert(socket.clone()) {
                let path = at.index(index).child("ports").index(port_index).child("hostPort");
                errors.duplicate(&path, socket);
            }
        }
    }
}

fn check_resize_policy(
    container: &Object,
    whole: Whole<'_>,
    path: &Path,
    errors: &mut FieldErrors,
) {
    let mut seen = BTreeSet::new();
    for (index, policy) in objects(container, &["resizePolicy"]).enumerate() {
        let resource = object::text(policy, &["resourceName"]);
        let restart = object::text(policy, &["restartPolicy"]);
        if !seen.insert(resource) {
            errors.duplicate(&path.index(index), resource);
        }
        let supported: [(&str, &[&str]); 2] =
            [(resource, &["cpu", "memory"]), (restart, &["NotRequired", "RestartContainer"])];
        for (value, supported) in supported {
            if value.is_empty() {
                errors.required(path, "");
            } else if !supported.contains(&value) {
                errors.not_supported(path, value, supported);
            }
        }
        if object::text(whole.spec, &["restartPolicy"]) == "Never" && restart != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.invalid(path, restart, detail);
        }
    }
}

fn check_restart_policy(container: &Object, path: &Path, errors: &mut FieldErrors) {
    /// How many rules there may be.
    const MOST: usize = 20;
    let rules = object::list(container, &["restartPolicyRules"]);
    let at = path.child("restartPolicy");
    match container.get("restartPolicy").and_then(serde_json::Value::as_str) {
        None if rules.is_empty() => return,
        None => errors.required(&at, "must specify restartPolicy when restart rules are used"),
        Some(policy) => {
            let supported = ["Always", "Never", "OnFailure"];
            if !supported.contains(&policy) {
                errors.not_supported(&at, policy, &supported);
            }
        }
    }
    if rules.len() > MOST {
        errors.too_many(&path.child("restartPolicyRules"), rules.len(), MOST);
    }
    for (index, rule) in objects(container, &["restartPolicyRules"]).enumerate() {
        let path = path.child("restartPolicyRules").index(index);
        let action = object::text(rule, &["action"]);
        let supported = ["Restart", "RestartAllContainers"];
        if !supported.contains(&action) {
            errors.not_supported(&path.child("action"), action, &supported);
        }
        let Some(codes) = object::map(rule, &["exitCodes"]) else {
            errors.required(&path.child("exitCodes"), "must be specified");
            continue;
        };
        let operator = object::text(codes, &["operator"]);
        if !matches!(operator, "In" | "NotIn") {
            let path = path.child("exitCodes").child("operator");
            errors.not_supported(&path, operator, &["In", "NotIn"]);
        }
        let values = object::list(codes, &["values"]).len();
        if values > 255 {
            errors.too_many(&path.child("exitCodes").child("values"), values, 255);
        }
    }
}

/// What is checked of a pod's containers only.
pub(in crate::kinds) fn check_images(pod: &Object, errors: &mut FieldErrors) {
    for list in ["containers", "initContainers"] {
        for (index, container) in objects(pod, &["spec", list]).enumerate() {
            let image = object::text(container, &["image"]);
            if has_padding(image) {
                let path = Path::new("spec").child(list).index(index).child("image");
                errors.invalid(&path, image, "must not have leading or trailing whitespace");
            }
        }
    }
}
