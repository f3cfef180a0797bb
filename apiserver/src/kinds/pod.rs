//! Pods: the row, and what is particular about creating and changing one.

use serde_json::Value;

use super::pod_template::{default_spec, requests_from_limits};
use super::tree::{each, existing, fill, have};
use super::{ALL_VERBS, CHANGE_VERBS, Kind, PLAIN, Scope, Subresource, Verb};
use super::{amounts, names, pod_cells, pod_checks, pod_resources, pod_spec, with_old_status};
use crate::field::Path;
use crate::object::{self, Object};

/// The old path by which a scheduler says on which node a pod runs. Nothing is kept there.
pub(super) const BINDINGS: Kind = Kind {
    kind: "Binding",
    resource: "bindings",
    singular: "binding",
    verbs: &[Verb::Create],
    ..PLAIN
};

pub(super) const PODS: Kind = Kind {
    kind: "Pod",
    resource: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    scope: Scope::Namespaced,
    verbs: ALL_VERBS,
    subresources: &[
        Subresource {
            name: "binding",
            group: "",
            version: "v1",
            kind: "Binding",
            verbs: &[Verb::Create],
        },
        Subresource {
            name: "eviction",
            group: "policy",
            version: "v1",
            kind: "Eviction",
            verbs: &[Verb::Create],
        },
        Subresource { name: "log", group: "", version: "v1", kind: "Pod", verbs: &[Verb::Get] },
        Subresource { name: "status", group: "", version: "v1", kind: "Pod", verbs: CHANGE_VERBS },
    ],
    stored_under: "pods",
    columns: pod_cells::COLUMNS,
    cells: pod_cells::cells,
    row_conditions: pod_cells::row_conditions,
    selectable: &[
        "spec.host",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ],
    selected,
    // As upstream's: each kubelet watches the pods of its node.
    indexed: Some("spec.nodeName"),
    default,
    prepare_create,
    prepare_update: with_old_status,
    prepare_status_update,
    validate: pod_checks::validate,
    warnings: |pod, old| match old {
        // Nobody changes pods by hand.
        Some(_) => Vec::new(),
        None => {
            let mut warnings = name_warning(pod, "the Pod's hostname");
            warnings.extend(pod_spec::warnings(pod, &Path::default()));
            warnings
        }
    },
    validate_create: pod_checks::validate_create,
    validate_update: pod_checks::validate_update,
    validate_status_update: pod_checks::validate_status_update,
    has_generation: true,
    ..PLAIN
};

fn selected(pod: &Object, field: &str) -> String {
    match field {
        "spec.hostNetwork" => object::flag(pod, &["spec", "hostNetwork"]).to_string(),
        "status.podIP" => pod_cells::first_ip(pod).to_owned(),
        // Upstream knows the field and gives it no value.
        "status.podIPs" => String::new(),
        "spec.host" => super::text_at(pod, "spec.nodeName"),
        _ => super::text_at(pod, field),
    }
}

fn default(pod: &mut Object) {
    let spec = object::map_mut(pod, &["spec"]);
    for list in ["containers", "initContainers"] {
        each(spec, &[list], requests_from_limits);
    }
    object::set_default(spec, &["enableServiceLinks"], true);
    if object::flag(spec, &["hostNetwork"]) {
        for list in ["containers", "initContainers"] {
            each(spec, &[list], |container| each(container, &["ports"], same_port_of_host));
        }
    }
    default_spec(spec);
    // A pod that shall end before it is told to ends at once; templates keep what they say.
    if object::number(spec, &["terminationGracePeriodSeconds"]).is_some_and(|grace| grace < 0) {
        object::set(spec, &["terminationGracePeriodSeconds"], 1);
    }
    pod_resources::default(spec);
    have(pod, "status");
    for list in ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"] {
        each(pod, &["status", list], |container| {
            amounts::normalise_list(container, &["allocatedResources"]);
            amounts::normalise_list(container, &["resources", "limits"]);
            amounts::normalise_list(container, &["resources", "requests"]);
        });
    }
}

/// In the host's network a container's port is the host's.
fn same_port_of_host(port: &mut Object) {
    let of_container = port.get("containerPort").cloned().unwrap_or(Value::Null);
    fill(port, "hostPort", of_container);
}

fn prepare_create(pod: &mut Object) {
    narrow_selectors(pod);
    let mut status = Object::new();
    status.insert("phase".to_owned(), "Pending".into());
    status.insert("qosClass".to_owned(), pod_resources::quality_of_service(pod).into());
    if !object::list(pod, &["spec", "schedulingGates"]).is_empty() {
        status.insert(
            "conditions".to_owned(),
            serde_json::json!([{
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null,
                "lastTransitionTime": null,
            }]),
        );
    }
    pod.insert("status".to_owned(), Value::Object(status));
}

/// Kubelets must not take the class away, nor tell owners and deletion apart from what they are.
fn prepare_status_update(new: &mut Object, old: &Object) {
    let class = object::text(old, &["status", "qosClass"]).to_owned();
    if !class.is_empty() {
        fill(object::map_mut(new, &["status"]), "qosClass", class);
    }
    if let Some(generation) = object::at(old, &["status", "observedGeneration"]).cloned() {
        fill(object::map_mut(new, &["status"]), "observedGeneration", generation);
    }
    match object::at(old, &["metadata", "ownerReferences"]).cloned() {
        Some(owners) => object::set(new, &["metadata", "ownerReferences"], owners),
        None => drop(object::remove(new, &["metadata", "ownerReferences"])),
    }
}

/// Terms that name labels by their keys mean the values that the pod itself has: they become part
/// of the terms' selectors.
fn narrow_selectors(pod: &mut Object) {
    let labels = object::map(pod, &["metadata", "labels"]).cloned().unwrap_or_default();
    let narrow = |term: &mut Object| {
        for (keys, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
            let keys = object::list(term, &[keys]).to_vec();
            let Some(selector) = existing(term, &["labelSelector"]) else { return };
            let mut terms = object::list(selector, &["matchExpressions"]).to_vec();
            for key in keys.iter().filter_map(Value::as_str) {
                if let Some(value) = labels.get(key) {
                    let values = [value];
                    terms.push(
                        serde_json::json!({"key": key, "operator": operator, "values": values}),
                    );
                }
            }
            if !terms.is_empty() {
                object::set(selector, &["matchExpressions"], terms);
            }
        }
    };
    for affinity in ["podAffinity", "podAntiAffinity"] {
        let terms = |when| ["spec", "affinity", affinity, when];
        let preferred = terms("preferredDuringSchedulingIgnoredDuringExecution");
        each(pod, &preferred, |weighted| {
            existing(weighted, &["podAffinityTerm"]).into_iter().for_each(narrow);
        });
        each(pod, &terms("requiredDuringSchedulingIgnoredDuringExecution"), narrow);
    }
    each(pod, &["spec", "topologySpreadConstraints"], narrow);
}

/// Names of host names are labels; other names are cut or refused by whoever uses them.
pub(super) fn name_warning(object: &Object, used_in: &str) -> Vec<String> {
    let faults = names::dns_label(object::name(object));
    if faults.is_empty() {
        return Vec::new();
    }
    let why = format!(
        "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS \
         label is recommended: [{}]",
        faults.join(" ")
    );
    vec![why]
}
