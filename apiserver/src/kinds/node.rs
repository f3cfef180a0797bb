//! Nodes: the machines that pods run on.

use std::collections::BTreeSet;

use serde_json::Value;

use super::columns::{AGE, NAME, age, name, or, text, wide};
use super::resources;
use super::tree::have;
use super::{Kind, PLAIN, Scope, status_of, with_old_status};
use super::{address, amounts, pod_spec};
use crate::field::{Fault, FieldErrors, Path};
use crate::object::{self, Object};

pub(super) const NODES: Kind = Kind {
    kind: "Node",
    resource: "nodes",
    singular: "node",
    short_names: &["no"],
    scope: Scope::Cluster,
    subresources: &[status_of("", "Node")],
    stored_under: "minions",
    columns: &[
        NAME,
        text("Status", "Whether it takes pods."),
        text("Roles", "What it is for."),
        AGE,
        text("Version", "The version of its kubelet."),
        wide("Internal-IP", "Its address within the cluster."),
        wide("External-IP", "Its address outside of the cluster."),
        wide("OS-Image", "The operating system."),
        wide("Kernel-Version", "The kernel, and the processor's architecture."),
        wide("Container-Runtime", "What runs its containers."),
    ],
    cells,
    selectable: &["spec.unschedulable"],
    selected: |node, _| object::flag(node, &["spec", "unschedulable"]).to_string(),
    default,
    prepare_update: with_old_status,
    validate,
    warnings: |node, _| {
        if object::text(node, &["spec", "externalID"]).is_empty() {
            return Vec::new();
        }
        vec!["spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned()]
    },
    validate_update,
    validate_status_update: validate_update,
    ..PLAIN
};

fn cells(node: &Object, now: i64) -> Vec<Value> {
    let info = |field| object::text(node, &["status", "nodeInfo", field]);
    let mut kernel = or(info("kernelVersion"), "<unknown>").to_owned();
    if !info("architecture").is_empty() {
        kernel = format!("{kernel} ({})", info("architecture"));
    }
    vec![
        name(node),
        status(node).into(),
        or(&roles(node), "<none>").into(),
        age(node, now),
        info("kubeletVersion").into(),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        or(info("osImage"), "<unknown>").into(),
        kernel.into(),
        or(info("containerRuntimeVersion"), "<unknown>").into(),
    ]
}

fn status(node: &Object) -> String {
    let ready = object::list(node, &["status", "conditions"])
        .iter()
        .filter_map(Value::as_object)
        .rfind(|condition| object::text(condition, &["type"]) == "Ready");
    let word = match ready.map(|condition| object::text(condition, &["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    if object::flag(node, &["spec", "unschedulable"]) {
        format!("{word},SchedulingDisabled")
    } else {
        word.to_owned()
    }
}

/// Roles are labels: `node-role.kubernetes.io/ROLE` and, of old, `kubernetes.io/role=ROLE`.
fn roles(node: &Object) -> String {
    let mut roles = BTreeSet::new();
    for (key, value) in object::map(node, &["metadata", "labels"]).into_iter().flatten() {
        let role = match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => role,
            None if key == "kubernetes.io/role" => value.as_str().unwrap_or_default(),
            None => "",
        };
        if !role.is_empty() {
            roles.insert(role);
        }
    }
    roles.into_iter().collect::<Vec<_>>().join(",")
}

fn address<'a>(node: &'a Object, wanted: &str) -> &'a str {
    object::list(node, &["status", "addresses"])
        .iter()
        .filter_map(Value::as_object)
        .find(|address| object::text(address, &["type"]) == wanted)
        .map_or("<none>", |address| object::text(address, &["address"]))
}

fn default(node: &mut Object) {
    have(node, "spec");
    let status = object::map_mut(node, &["status"]);
    if let Some(capacity) = status.get("capacity").filter(|it| it.is_object()).cloned() {
        object::set_default(status, &["allocatable"], capacity);
    }
    amounts::normalise_list(status, &["capacity"]);
    amounts::normalise_list(status, &["allocatable"]);
    object::set_default(status, &["daemonEndpoints", "kubeletEndpoint", "Port"], 0);
    for field in [
        "machineID",
        "systemUUID",
        "bootID",
        "kernelVersion",
        "osImage",
        "containerRuntimeVersion",
        "kubeletVersion",
        "kubeProxyVersion",
        "operatingSystem",
        "architecture",
    ] {
        object::set_default(status, &["nodeInfo", field], "");
    }
}

fn validate(node: &Object, errors: &mut FieldErrors) {
    pod_spec::check_taints(node, &Path::new("metadata").child("taints"), errors);
    for list in ["capacity", "allocatable"] {
        let path = Path::new("status").child(list);
        for (name, amount) in object::map(node, &["status", list]).into_iter().flatten() {
            resources::check_amount(name, amount, &path.child(name), errors);
        }
    }
    let at = Path::new("spec").child("podCIDRs");
    let ranges = object::list(node, &["spec", "podCIDRs"]);
    let families = ranges.iter().filter_map(Value::as_str).map(|range| range.contains(':'));
    let families: BTreeSet<bool> = families.collect();
    for (index, range) in ranges.iter().enumerate() {
        address::check_range(range.as_str().unwrap_or_default(), &at.index(index), errors);
    }
    let mut texts = ranges.iter().map(|it| it.as_str().unwrap_or_default()).enumerate();
    let unread = texts.find(|(_, range)| !address::is_range(range));
    if let Some((index, range)) = unread.filter(|_| ranges.len() > 1) {
        let detail = format!(
            "invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{index}]: \
             <nil> (invalid CIDR address: {range})"
        );
        errors.add(Fault::Internal, &at, Value::Null, detail);
    }
    if ranges.len() > 1 && families.len() != ranges.len() {
        let detail = "may specify no more than one CIDR for each IP family";
        errors.invalid(&at, ranges.to_vec(), detail);
    }
}

/// What identifies a node stays once it is there.
fn validate_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let spec = Path::new("spec");
    let mut seen = Vec::new();
    for (index, address) in object::list(new, &["status", "addresses"]).iter().enumerate() {
        if seen.contains(&address) {
            let path = Path::new("status").child("addresses").index(index);
            let text = |field| address.get(field).cloned().unwrap_or_default();
            let shown = serde_json::json!({"Type": text("type"), "Address": text("address")});
            errors.duplicate(&path, shown);
        }
        seen.push(address);
    }
    let ranges = |node| object::list(node, &["spec", "podCIDRs"]);
    if !ranges(old).is_empty() && ranges(new) != ranges(old) {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.forbidden(&spec.child("podCIDRs"), detail);
    }
    let provider = |node| object::text(node, &["spec", "providerID"]);
    if !provider(old).is_empty() && provider(new) != provider(old) {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.forbidden(&spec.child("providerID"), detail);
    }
    let external = |node| object::text(node, &["spec", "externalID"]);
    if external(new) != external(old) {
        errors.forbidden(&spec.child("externalID"), "may not be updated");
    }
}
