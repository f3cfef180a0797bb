//! Near which nodes and pods a pod wants to be.

use crate::field::{FieldErrors, Path};
use crate::kinds::labels::{check_selector, complain};
use crate::kinds::names;
use crate::kinds::tree::objects;
use crate::object::{self, Object};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Checks `affinity` of a spec.
pub(super) fn check(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    if let Some(nodes) = object::map(spec, &["affinity", "nodeAffinity"]) {
        check_nodes(nodes, &path.child("nodeAffinity"), errors);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = object::map(spec, &["affinity", name]) else { continue };
        let at = path.child(name).child(REQUIRED);
        for (index, term) in objects(pods, &[REQUIRED]).enumerate() {
            check_pod_term(term, &at.index(index), errors);
        }
        let at = path.child(name).child(PREFERRED);
        for (index, weighted) in objects(pods, &[PREFERRED]).enumerate() {
            let path = at.index(index);
            check_weight(weighted, &path, errors);
            if let Some(term) = object::map(weighted, &["podAffinityTerm"]) {
                check_pod_term(term, &path.child("podAffinityTerm"), errors);
            }
        }
    }
}

fn check_weight(weighted: &Object, path: &Path, errors: &mut FieldErrors) {
    let weight = object::number(weighted, &["weight"]).unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn check_nodes(nodes: &Object, path: &Path, errors: &mut FieldErrors) {
    if let Some(selector) = object::map(nodes, &[REQUIRED]) {
        let at = path.child(REQUIRED).child("nodeSelectorTerms");
        if object::list(selector, &["nodeSelectorTerms"]).is_empty() {
            errors.required(&at, "must have at least one node selector term");
        }
        for (index, term) in objects(selector, &["nodeSelectorTerms"]).enumerate() {
            check_node_term(term, Values::Checked, &at.index(index), errors);
        }
    }
    for (index, weighted) in objects(nodes, &[PREFERRED]).enumerate() {
        let path = path.child(PREFERRED).index(index);
        check_weight(weighted, &path, errors);
        if let Some(term) = object::map(weighted, &["preference"]) {
            check_node_term(term, Values::Any, &path.child("preference"), errors);
        }
    }
}

/// Whether the values of a node's labels must be well formed: what is only preferred may ask for
/// what no node can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Checked,
    Any,
}

fn check_node_term(term: &Object, values: Values, path: &Path, errors: &mut FieldErrors) {
    for (index, expression) in objects(term, &["matchExpressions"]).enumerate() {
        let path = path.child("matchExpressions").index(index);
        check_node_expression(expression, values, &path, errors);
    }
    for (index, field) in objects(term, &["matchFields"]).enumerate() {
        check_node_field(field, &path.child("matchFields").index(index), errors);
    }
}

fn check_node_expression(
    expression: &Object,
    values: Values,
    path: &Path,
    errors: &mut FieldErrors,
) {
    let given = object::list(expression, &["values"]);
    let operator = object::text(expression, &["operator"]);
    let at = path.child("values");
    match operator {
        "In" | "NotIn" if given.is_empty() => {
            errors.required(&at, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !given.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(&at, detail);
        }
        "Gt" | "Lt" if given.len() != 1 => {
            let detail = "must be specified single value when `operator` is 'Lt' or 'Gt'";
            errors.required(&at, detail);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => errors.invalid(&path.child("operator"), operator, "not a valid selector operator"),
    }
    let key = object::text(expression, &["key"]);
    complain(&names::qualified(key), &path.child("key"), key, errors);
    if values == Values::Checked {
        for (index, value) in given.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            complain(&names::label_value(value), &at.index(index), value, errors);
        }
    }
}

fn check_node_field(field: &Object, path: &Path, errors: &mut FieldErrors) {
    let given = object::list(field, &["values"]);
    let operator = object::text(field, &["operator"]);
    if !matches!(operator, "In" | "NotIn") {
        errors.invalid(&path.child("operator"), operator, "not a valid selector operator");
    } else if given.len() != 1 {
        let detail =
            "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
        errors.required(&path.child("values"), detail);
    }
    let key = object::text(field, &["key"]);
    if key != "metadata.name" {
        return errors.invalid(&path.child("key"), key, "not a valid field selector key");
    }
    for (index, value) in given.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        let path = path.child("values").index(index);
        complain(&names::dns_subdomain(value), &path, value, errors);
    }
}

fn check_pod_term(term: &Object, path: &Path, errors: &mut FieldErrors) {
    for field in ["labelSelector", "namespaceSelector"] {
        check_selector(object::map(term, &[field]), &path.child(field), errors);
    }
    for namespace in object::list(term, &["namespaces"]) {
        let name = namespace.as_str().unwrap_or_default();
        complain(&names::dns_label(name), &path.child("namespace"), name, errors);
    }
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        check_label_keys(term, field, path, errors);
    }
    let topology = object::text(term, &["topologyKey"]);
    if topology.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    }
    complain(&names::qualified(topology), &path.child("topologyKey"), topology, errors);
}

/// Keys whose values are those of the pod itself: they narrow a selector, which must be there.
pub(super) fn check_label_keys(term: &Object, field: &str, path: &Path, errors: &mut FieldErrors) {
    let keys = object::list(term, &[field]);
    let at = path.child(field);
    if keys.is_empty() {
        return;
    }
    if object::map(term, &["labelSelector"]).is_none() {
        return errors.forbidden(&at, "must not be specified when labelSelector is not set");
    }
    for (index, key) in keys.iter().enumerate() {
        let key = key.as_str().unwrap_or_default();
        complain(&names::qualified(key), &at.index(index), key, errors);
    }
}
