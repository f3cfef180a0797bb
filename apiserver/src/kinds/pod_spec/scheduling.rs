//! On which nodes a pod may run: tolerations and taints, gates, and how pods spread.

use std::collections::BTreeSet;

use super::affinity::check_label_keys;
use crate::field::{Fault, FieldErrors, Path};
use crate::kinds::labels::{check_selector, complain};
use crate::kinds::names;
use crate::kinds::tree::objects;
use crate::object::{self, Object};

const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Checks `tolerations` of a spec.
pub(in crate::kinds) fn check_tolerations(spec: &Object, at: &Path, errors: &mut FieldErrors) {
    for (index, toleration) in objects(spec, &["tolerations"]).enumerate() {
        let path = at.index(index);
        let text = |field: &str| object::text(toleration, &[field]);
        let (key, operator, value) = (text("key"), text("operator"), text("value"));
        let operator_at = path.child("operator");
        if !key.is_empty() {
            complain(&names::qualified(key), &path.child("key"), key, errors);
        } else if operator != "Exists" {
            let detail = "operator must be Exists when `key` is empty, which means \"match all \
                          values and all keys\"";
            errors.invalid(&operator_at, operator, detail);
        }
        let effect = text("effect");
        if object::number(toleration, &["tolerationSeconds"]).is_some() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.invalid(&path.child("effect"), effect, detail);
        }
        match operator {
            "Equal" | "" => {
                let faults = names::label_value(value);
                if !faults.is_empty() {
                    errors.invalid(&operator_at, value, faults.join(";"));
                }
            }
            "Exists" if !value.is_empty() => {
                let detail = "value must be empty when `operator` is 'Exists'";
                errors.invalid(&operator_at, value, detail);
            }
            "Exists" => {}
            "Lt" | "Gt" => {
                let supported = ["Equal", "Exists", "Lt", "Gt"];
                errors.not_supported(&operator_at, operator, &supported);
            }
            _ => errors.not_supported(&operator_at, operator, &["Equal", "Exists"]),
        }
        if !effect.is_empty() && !EFFECTS.contains(&effect) {
            errors.not_supported(&path.child("effect"), effect, EFFECTS);
        }
    }
}

/// Checks `spec.taints` of a node.
pub(in crate::kinds) fn check_taints(node: &Object, at: &Path, errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (index, taint) in objects(node, &["spec", "taints"]).enumerate() {
        let path = at.index(index);
        let text = |field: &str| object::text(taint, &[field]);
        complain(&names::qualified(text("key")), &path.child("key"), text("key"), errors);
        let faults = names::label_value(text("value"));
        if !faults.is_empty() {
            errors.invalid(&path.child("value"), text("value"), faults.join(";"));
        }
        super::choose(taint, "effect", EFFECTS, &path, errors);
        if !seen.insert((text("effect"), text("key"))) {
            let detail = "taints must be unique by key and effect pair";
            let shown = serde_json::json!({
                "Key": text("key"),
                "Value": text("value"),
                "Effect": text("effect"),
                "TimeAdded": taint.get("timeAdded"),
            });
            errors.add(Fault::Duplicate, &path, shown, detail);
        }
    }
}

/// Checks the gates of readiness and scheduling.
pub(super) fn check_gates(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    for (index, gate) in objects(spec, &["readinessGates"]).enumerate() {
        let path = path.child("readinessGates").index(index).child("conditionType");
        let condition = object::text(gate, &["conditionType"]);
        complain(&names::qualified(condition), &path, condition, errors);
    }
    let mut seen = BTreeSet::new();
    for (index, gate) in objects(spec, &["schedulingGates"]).enumerate() {
        let path = path.child("schedulingGates").index(index);
        let name = object::text(gate, &["name"]);
        complain(&names::qualified(name), &path, name, errors);
        if !seen.insert(name) {
            errors.duplicate(&path, name);
        }
    }
}

/// Checks how pods spread.
pub(super) fn check_spread(spec: &Object, at: &Path, errors: &mut FieldErrors) {
    let all: Vec<&Object> = objects(spec, &["topologySpreadConstraints"]).collect();
    for (index, constraint) in all.iter().enumerate() {
        let path = at.index(index);
        let of = |it: &Object, field: &str| object::text(it, &[field]).to_owned();
        let number = |field: &str| object::number(constraint, &[field]);
        let (key, action) = (of(constraint, "topologyKey"), of(constraint, "whenUnsatisfiable"));
        let skew = number("maxSkew").unwrap_or(0);
        if skew <= 0 {
            errors.invalid(&path.child("maxSkew"), skew, "must be greater than zero");
        }
        if key.is_empty() {
            errors.required(&path.child("topologyKey"), "can not be empty");
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if !actions.contains(&action.as_str()) {
            errors.not_supported(&path.child("whenUnsatisfiable"), action.as_str(), &actions);
        }
        let again = all[index + 1..]
            .iter()
            .any(|it| of(it, "topologyKey") == key && of(it, "whenUnsatisfiable") == action);
        if again {
            let path = path.child("{topologyKey, whenUnsatisfiable}");
            errors.duplicate(&path, format!("{{{key}, {action}}}"));
        }
        if let Some(domains) = number("minDomains") {
            let path = path.child("minDomains");
            if domains <= 0 {
                errors.invalid(&path, domains, "must be greater than zero");
            }
            if action != "DoNotSchedule" {
                let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ";
                errors.invalid(&path, domains, format!("{detail}{action}"));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let policy = of(constraint, field);
            if !matches!(policy.as_str(), "" | "Honor" | "Ignore") {
                errors.not_supported(&path.child(field), policy, &["Honor", "Ignore"]);
            }
        }
        check_label_keys(constraint, "matchLabelKeys", &path, errors);
        let selector = object::map(constraint, &["labelSelector"]);
        check_selector(selector, &path.child("labelSelector"), errors);
    }
}
