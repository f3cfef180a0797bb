//! What limits others: quotas, limits of containers, priorities, budgets of disruptions.

use serde_json::Value;

use super::columns::{AGE, NAME, age, count, integer, name, text};
use super::tree::{each, have};
use super::{CellType, Column, Kind, PLAIN, Scope, status_of, with_old_status, without_status};
use super::{amounts, policy_checks};
use crate::object::{self, Object};

pub(super) const LIMIT_RANGES: Kind = Kind {
    kind: "LimitRange",
    resource: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    stored_under: "limitranges",
    default: default_limits,
    validate: policy_checks::validate_limits,
    create_on_update: true,
    ..PLAIN
};

pub(super) const RESOURCE_QUOTAS: Kind = Kind {
    kind: "ResourceQuota",
    resource: "resourcequotas",
    singular: "resourcequota",
    short_names: &["quota"],
    subresources: &[status_of("", "ResourceQuota")],
    stored_under: "resourcequotas",
    columns: &[
        NAME,
        text("Request", "What is used and what may be used."),
        text("Limit", "What is used of limits, and what may be used."),
        AGE,
    ],
    cells: quota_cells,
    default: default_quota,
    validate: policy_checks::validate_quota,
    warnings: |quota, _| policy_checks::quota_warnings(quota),
    validate_update: policy_checks::validate_quota_update,
    validate_status_update: policy_checks::validate_quota_status,
    prepare_create: without_status,
    prepare_update: with_old_status,
    ..PLAIN
};

pub(super) const PRIORITY_CLASSES: Kind = Kind {
    group: "scheduling.k8s.io",
    kind: "PriorityClass",
    resource: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    scope: Scope::Cluster,
    stored_under: "priorityclasses",
    columns: &[
        NAME,
        integer("Value", "The priority of its pods."),
        Column {
            name: "Global-Default",
            cell: CellType::Boolean,
            format: "",
            description: "Whether pods without a class are of this one.",
            priority: 0,
        },
        AGE,
        text("PreemptionPolicy", "Whether its pods make room for themselves."),
    ],
    cells: |class, now| {
        vec![
            name(class),
            count(class, &["value"]).into(),
            object::flag(class, &["globalDefault"]).into(),
            age(class, now),
            object::text(class, &["preemptionPolicy"]).into(),
        ]
    },
    default: |class| {
        object::set_default(class, &["value"], 0);
        object::set_default(class, &["preemptionPolicy"], "PreemptLowerPriority");
    },
    validate: policy_checks::validate_priority_class,
    validate_update: policy_checks::validate_priority_class_update,
    has_generation: true,
    counts_change: |_, _| false,
    ..PLAIN
};

pub(super) const POD_DISRUPTION_BUDGETS: Kind = Kind {
    group: "policy",
    kind: "PodDisruptionBudget",
    resource: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    subresources: &[status_of("policy", "PodDisruptionBudget")],
    stored_under: "poddisruptionbudgets",
    columns: &[
        NAME,
        text("Min Available", "How many pods must be there."),
        text("Max Unavailable", "How many pods may be missing."),
        integer("Allowed Disruptions", "How many pods may be evicted now."),
        AGE,
    ],
    cells: |budget, now| {
        vec![
            name(budget),
            number_or_share(budget, "minAvailable").into(),
            number_or_share(budget, "maxUnavailable").into(),
            count(budget, &["status", "disruptionsAllowed"]).into(),
            age(budget, now),
        ]
    },
    default: |budget| {
        have(budget, "spec");
        count_nothing(budget);
    },
    prepare_create: |new| {
        new.remove("status");
        count_nothing(new);
    },
    validate: policy_checks::validate_budget,
    validate_status_update: policy_checks::validate_budget_status,
    prepare_update: with_old_status,
    has_generation: true,
    unconditional_update: false,
    ..PLAIN
};

/// A number or a percentage, `N/A` for none.
fn number_or_share(budget: &Object, field: &str) -> String {
    match object::at(budget, &["spec", field]) {
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(share)) => share.clone(),
        _ => "N/A".to_owned(),
    }
}

/// Each resource with what is used and what may be: those called `limits.…` in a column of theirs.
fn quota_cells(quota: &Object, now: i64) -> Vec<Value> {
    let hard = object::map(quota, &["status", "hard"]);
    let mut names: Vec<&String> = hard.into_iter().flat_map(Object::keys).collect();
    names.sort_unstable();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for resource in names {
        let of = |which| quantity_text(object::at(quota, &["status", which, resource]));
        let shown = format!("{resource}: {}/{}", of("used"), of("hard"));
        if resource.starts_with("limits.") {
            limits.push(shown);
        } else {
            requests.push(shown);
        }
    }
    vec![name(quota), requests.join(", ").into(), limits.join(", ").into(), age(quota, now)]
}

fn quantity_text(quantity: Option<&Value>) -> String {
    match quantity {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "0".to_owned(),
    }
}

/// A limit is what most may be used, and what is asked for is the limit, unless it says otherwise.
fn default_limits(range: &mut Object) {
    have(range, "spec");
    object::set_default(range, &["spec", "limits"], Value::Null);
    each(range, &["spec", "limits"], |item| {
        if object::text(item, &["type"]) == "Container" {
            for (from, to) in
                [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")]
            {
                for (resource, amount) in object::map(item, &[from]).cloned().unwrap_or_default() {
                    object::set_default(item, &[to, &resource], amount);
                }
            }
        }
        for list in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            amounts::normalise_list(item, &[list]);
        }
    });
}

fn default_quota(quota: &mut Object) {
    have(quota, "spec");
    have(quota, "status");
    for path in [["spec", "hard"], ["status", "hard"], ["status", "used"]] {
        amounts::normalise_list(quota, &path);
    }
}

/// The numbers of a budget's status are always there.
fn count_nothing(budget: &mut Object) {
    for number in ["currentHealthy", "desiredHealthy", "disruptionsAllowed", "expectedPods"] {
        object::set_default(budget, &["status", number], 0);
    }
}
