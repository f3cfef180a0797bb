//! Deployments and replica sets: templates of pods, and how many of them there should be.

use serde_json::Value;

use super::columns::{
    self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR, age, count, integer, name, text,
};
use super::pod::name_warning;
use super::pod_template::default_template;
use super::tree::{fill, have};
use super::{
    Column, Kind, PLAIN, SCALE, status_of, with_old_status, without_status, workload_checks,
};
use crate::field::Path;
use crate::object::{self, Object};

pub(super) const DEPLOYMENTS: Kind = Kind {
    group: "apps",
    kind: "Deployment",
    resource: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    subresources: &[SCALE, status_of("apps", "Deployment")],
    stored_under: "deployments",
    columns: &[
        NAME,
        text("Ready", "How many of the pods are ready."),
        text("Up-to-date", "How many pods have the newest template."),
        text("Available", "How many pods have been ready for long enough."),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells: deployment_cells,
    default: default_deployment,
    prepare_create: without_status,
    prepare_update: with_old_status,
    has_generation: true,
    counts_change: deployment_changed,
    validate: workload_checks::validate_deployment,
    warnings,
    validate_update: workload_checks::validate_update,
    validate_status_update: workload_checks::validate_status,
    prepare_status_update: deployment_labels_stay,
    ..PLAIN
};

const REPLICA_SET_COLUMNS: &[Column] = &[
    NAME,
    integer("Desired", "How many pods there should be."),
    integer("Current", "How many pods there are."),
    integer("Ready", "How many of them are ready."),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) const REPLICA_SETS: Kind = Kind {
    group: "apps",
    kind: "ReplicaSet",
    resource: "replicasets",
    singular: "replicaset",
    short_names: &["rs"],
    categories: &["all"],
    subresources: &[SCALE, status_of("apps", "ReplicaSet")],
    stored_under: "replicasets",
    columns: REPLICA_SET_COLUMNS,
    cells: replica_set_cells,
    selectable: &["status.replicas"],
    selected: |object, _| count(object, &["status", "replicas"]).to_string(),
    default: default_replica_set,
    prepare_create: |new| object::set(new, &["status"], serde_json::json!({"replicas": 0})),
    prepare_update: with_old_status,
    has_generation: true,
    validate: workload_checks::validate_replica_set,
    warnings,
    validate_update: workload_checks::validate_update,
    validate_status_update: workload_checks::validate_status,
    ..PLAIN
};

fn default_deployment(object: &mut Object) {
    let spec = object::map_mut(object, &["spec"]);
    object::set_default(spec, &["replicas"], 1);
    let strategy = object::map_mut(spec, &["strategy"]);
    fill(strategy, "type", "RollingUpdate");
    if object::text(strategy, &["type"]) == "RollingUpdate" {
        object::set_default(strategy, &["rollingUpdate", "maxUnavailable"], "25%");
        object::set_default(strategy, &["rollingUpdate", "maxSurge"], "25%");
    }
    object::set_default(spec, &["revisionHistoryLimit"], 10);
    object::set_default(spec, &["progressDeadlineSeconds"], 600);
    default_template(object::map_mut(spec, &["template"]));
    have(object, "status");
}

fn default_replica_set(object: &mut Object) {
    let spec = object::map_mut(object, &["spec"]);
    object::set_default(spec, &["replicas"], 1);
    default_template(object::map_mut(spec, &["template"]));
    object::set_default(object, &["status", "replicas"], 0);
}

fn deployment_cells(object: &Object, now: i64) -> Vec<Value> {
    let [names, images] = template_containers(object);
    let ready = count(object, &["status", "readyReplicas"]);
    vec![
        name(object),
        format!("{ready}/{}", count(object, &["spec", "replicas"])).into(),
        count(object, &["status", "updatedReplicas"]).into(),
        count(object, &["status", "availableReplicas"]).into(),
        age(object, now),
        names,
        images,
        columns::selector(object::map(object, &["spec", "selector"])).into(),
    ]
}

fn replica_set_cells(object: &Object, now: i64) -> Vec<Value> {
    let [names, images] = template_containers(object);
    let selector = columns::selector(object::map(object, &["spec", "selector"]));
    vec![
        name(object),
        count(object, &["spec", "replicas"]).into(),
        count(object, &["status", "replicas"]).into(),
        count(object, &["status", "readyReplicas"]).into(),
        age(object, now),
        names,
        images,
        columns::or(&selector, "<none>").into(),
    ]
}

fn template_containers(object: &Object) -> [Value; 2] {
    columns::containers(object::map(object, &["spec", "template", "spec"]))
}

/// Annotations count too: they are copied to the deployment's replica sets.
fn deployment_changed(new: &Object, old: &Object) -> bool {
    let annotations = |object| object::map(object, &["metadata", "annotations"]).cloned();
    new.get("spec") != old.get("spec")
        || annotations(new).unwrap_or_default() != annotations(old).unwrap_or_default()
}

fn deployment_labels_stay(new: &mut Object, old: &Object) {
    match object::at(old, &["metadata", "labels"]) {
        Some(labels) => object::set(new, &["metadata", "labels"], labels.clone()),
        None => drop(object::remove(new, &["metadata", "labels"])),
    }
}

/// Templates are looked at when they are new or changed.
fn warnings(new: &Object, old: Option<&Object>) -> Vec<String> {
    let mut warnings = match old {
        Some(old) if !deployment_changed(new, old) => return Vec::new(),
        Some(_) => Vec::new(),
        None => name_warning(new, "Pod names and hostnames"),
    };
    if let Some(template) = object::map(new, &["spec", "template"]) {
        let path = Path::new("spec").child("template");
        warnings.extend(super::pod_spec::warnings(template, &path));
    }
    warnings
}
