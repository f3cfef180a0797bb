//! Whether limits, quotas, priorities and budgets make sense.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::resources::{self, Whose, check_amount, check_list, check_name};
use super::tree::objects;
use super::workload_checks::{check_not_all, check_not_negative, check_share};
use super::{IMMUTABLE, amounts, labels};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};
use crate::schema::quantity::{Format, Quantity};

/// The highest priority that users can give.
const HIGHEST: i64 = 1_000_000_000;
/// The priorities of the system's own pods.
const OF_THE_SYSTEM: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// Checks the limits of a namespace.
pub(super) fn validate_limits(range: &Object, errors: &mut FieldErrors) {
    let at = Path::new("spec").child("limits");
    let mut seen = BTreeSet::new();
    for (index, item) in objects(range, &["spec", "limits"]).enumerate() {
        let path = at.index(index);
        let kind = object::text(item, &["type"]);
        let kind_at = path.child("type");
        let faults = super::names::qualified(kind);
        labels::complain(&faults, &kind_at, kind, errors);
        let known = ["Pod", "Container", "PersistentVolumeClaim"].contains(&kind);
        if faults.is_empty() && !kind.contains('/') && !known {
            let detail = "must be a standard limit type or fully qualified";
            errors.invalid(&kind_at, kind, detail);
        }
        if !seen.insert(kind) {
            errors.duplicate(&kind_at, kind);
        }
        check_limit_names(item, kind, &path, errors);
        let amounts = |list: &str| -> BTreeMap<String, Quantity> {
            let list = if kind == "Pod" && list.starts_with("default") { "" } else { list };
            let amounts = object::map(item, &[list]).into_iter().flatten();
            amounts.filter_map(|(name, it)| Some((name.clone(), amounts::read(it)?))).collect()
        };
        let limits = Limits {
            min: amounts("min"),
            max: amounts("max"),
            default: amounts("default"),
            request: amounts("defaultRequest"),
            ratio: amounts("maxLimitRequestRatio"),
        };
        limits.check(&path, errors);
    }
}

fn check_limit_names(item: &Object, kind: &str, path: &Path, errors: &mut FieldErrors) {
    let whose = if ["Pod", "Container"].contains(&kind) { Whose::Container } else { Whose::Any };
    let check = |list: &str, errors: &mut FieldErrors| {
        for (name, _) in object::map(item, &[list]).into_iter().flatten() {
            check_name(name, whose, &path.child(list).key(name), errors);
        }
    };
    check("max", errors);
    check("min", errors);
    for list in ["default", "defaultRequest"] {
        if kind != "Pod" {
            check(list, errors);
        } else if object::map(item, &[list]).is_some_and(|list| !list.is_empty()) {
            errors.forbidden(&path.child(list), "may not be specified when `type` is 'Pod'");
        }
    }
    let storage = |list| object::at(item, &[list, "storage"]).is_some();
    if kind == "PersistentVolumeClaim" && !storage("min") && !storage("max") {
        let detail =
            "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&path.child("limits"), detail);
    }
    check("maxLimitRequestRatio", errors);
}

/// The amounts of one limit, by resource.
struct Limits {
    min: BTreeMap<String, Quantity>,
    max: BTreeMap<String, Quantity>,
    default: BTreeMap<String, Quantity>,
    request: BTreeMap<String, Quantity>,
    ratio: BTreeMap<String, Quantity>,
}

impl Limits {
    fn check(&self, path: &Path, errors: &mut FieldErrors) {
        let lists = [&self.min, &self.max, &self.default, &self.request, &self.ratio];
        let names: BTreeSet<&String> = lists.iter().flat_map(|list| list.keys()).collect();
        for name in names {
            self.check_resource(name, path, errors);
        }
    }

    fn check_resource(&self, name: &str, path: &Path, errors: &mut FieldErrors) {
        let (min, max) = (self.min.get(name), self.max.get(name));
        let (default, request) = (self.default.get(name), self.request.get(name));
        let mut order = |low: Option<&Quantity>,
                         high: Option<&Quantity>,
                         (list, shown): (&str, Option<&Quantity>),
                         (what, than): (&str, &str)| {
            if let (Some(low), Some(high), Some(shown)) = (low, high, shown)
                && low > high
            {
                let detail = format!("{what} value {low} is greater than {than} value {high}");
                errors.invalid(&path.child(list).key(name), shown.to_string(), detail);
            }
        };
        order(min, max, ("min", min), ("min", "max"));
        order(min, request, ("defaultRequest", request), ("min", "default request"));
        order(request, max, ("defaultRequest", request), ("default request", "max"));
        order(request, default, ("defaultRequest", request), ("default request", "default limit"));
        order(min, default, ("default", min), ("min", "default"));
        order(default, max, ("default", max), ("default", "max"));
        if let Some(ratio) = self.ratio.get(name) {
            check_ratio(ratio, min.zip(max), &path.child("maxLimitRequestRatio").key(name), errors);
        }
        if let (Some(default), Some(request)) = (default, request)
            && !resources::is_overcommitted(name)
            && default != request
        {
            let detail = format!(
                "default value {default} must equal to defaultRequest value {request} in {name}"
            );
            errors.invalid(&path.child("defaultRequest").key(name), request.to_string(), detail);
        }
    }
}

/// A limit may be so many times the request; the least and the most must leave room for that.
fn check_ratio(
    ratio: &Quantity,
    bounds: Option<(&Quantity, &Quantity)>,
    path: &Path,
    errors: &mut FieldErrors,
) {
    if *ratio < Quantity::new(1, Format::DecimalSi) {
        errors.invalid(path, ratio.to_string(), format!("ratio {ratio} is less than 1"));
    }
    let Some((min, max)) = bounds else { return };
    let most = about(max) / about(min);
    if about(ratio) / 1000.0 > most {
        let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
        errors.invalid(path, ratio.to_string(), detail);
    }
}

/// About how much an amount is: in thousandths where those can be counted.
fn about(amount: &Quantity) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a ratio of amounts need not be exact")]
    let float = |number: i64| number as f64;
    match amount.milli_value() {
        i64::MAX => float(amount.value()) * 1000.0,
        milli => float(milli),
    }
}

/// Checks a quota by itself.
pub(super) fn validate_quota(quota: &Object, errors: &mut FieldErrors) {
    let path = Path::new("spec");
    let hard = object::map(quota, &["spec", "hard"]);
    check_list(hard, Whose::Quota, &path.child("hard"), errors);
    let names: BTreeSet<&String> = hard.into_iter().flat_map(Object::keys).collect();
    let scopes = object::list(quota, &["spec", "scopes"]);
    let at = path.child("scopes");
    let mut seen = BTreeSet::new();
    for scope in scopes.iter().filter_map(Value::as_str) {
        if !is_scope(scope) {
            errors.invalid(&at, scopes.to_vec(), "unsupported scope");
        }
        for name in &names {
            if resources::is_standard_quota(name) && !scope_allows(scope, name) {
                errors.invalid(&at, scopes.to_vec(), "unsupported scope applied to resource");
            }
        }
        seen.insert(scope);
    }
    check_conflicts(&seen, scopes, &at, errors);
    check_scope_selector(quota, &names, &path.child("scopeSelector"), errors);
}

fn check_conflicts(seen: &BTreeSet<&str>, scopes: &[Value], at: &Path, errors: &mut FieldErrors) {
    for [one, other] in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if seen.contains(one) && seen.contains(other) {
            errors.invalid(at, scopes.to_vec(), "conflicting scopes");
        }
    }
}

fn check_scope_selector(
    quota: &Object,
    names: &BTreeSet<&String>,
    path: &Path,
    errors: &mut FieldErrors,
) {
    let Some(selector) = object::map(quota, &["spec", "scopeSelector"]) else { return };
    let at = path.child("matchExpressions");
    let mut seen = BTreeSet::new();
    for term in objects(selector, &["matchExpressions"]) {
        let scope = object::text(term, &["scopeName"]);
        let operator = object::text(term, &["operator"]);
        let values = object::list(term, &["values"]);
        if !is_scope(scope) {
            errors.invalid(&at.child("scopeName"), scope, "unsupported scope");
        }
        for name in names {
            if resources::is_standard_quota(name) && !scope_allows(scope, name) {
                let detail = "unsupported scope applied to resource";
                errors.invalid(&at, selector.clone(), detail);
            }
        }
        let only_exists = !matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if is_scope(scope) && only_exists && operator != "Exists" {
            let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                          ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, \
                          ResourceQuotaScopeNotBestEffort or \
                          ResourceQuotaScopeCrossNamespacePodAffinity";
            errors.invalid(&at.child("operator"), operator, detail);
        }
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for \
                              scope selector";
                errors.required(&at.child("values"), detail);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for \
                              scope selector";
                errors.invalid(&at.child("values"), values.to_vec(), detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => {
                let detail = "not a valid selector operator";
                errors.invalid(&at.child("operator"), operator, detail);
            }
        }
        seen.insert(scope);
    }
    check_conflicts(&seen, object::list(quota, &["spec", "scopes"]), &at, errors);
}

fn is_scope(scope: &str) -> bool {
    let scopes = [
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "VolumeAttributesClass",
        "CrossNamespacePodAffinity",
    ];
    scopes.contains(&scope)
}

fn scope_allows(scope: &str, resource: &str) -> bool {
    let compute =
        ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => {
            ["persistentvolumeclaims", "requests.storage"].contains(&resource)
        }
        _ if is_scope(scope) => resource == "pods" || compute.contains(&resource),
        _ => true,
    }
}

/// Warns of requests that may be more than the limits.
pub(super) fn quota_warnings(quota: &Object) -> Vec<String> {
    let amount = |name: &str| object::at(quota, &["spec", "hard", name]).and_then(amounts::read);
    let mut warnings = Vec::new();
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let long = format!("requests.{resource}");
        let (name, request) = match (amount(&long), amount(resource)) {
            (Some(request), _) => (long, request),
            (None, Some(request)) if resource != "ephemeral-storage" => {
                (resource.to_owned(), request)
            }
            _ => continue,
        };
        let limit_name = format!("limits.{resource}");
        if let Some(limit) = amount(&limit_name).filter(|limit| request > *limit) {
            warnings.push(format!(
                "ResourceQuota {name} ({request}) should be less than {limit_name} ({limit})"
            ));
        }
    }
    warnings
}

/// What a quota counts stays.
pub(super) fn validate_quota_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let scopes = |quota| -> BTreeSet<String> {
        let scopes = object::list(quota, &["spec", "scopes"]).iter();
        scopes.filter_map(|scope| scope.as_str().map(str::to_owned)).collect()
    };
    if scopes(new) != scopes(old) {
        let shown = object::list(new, &["spec", "scopes"]).to_vec();
        let shown = if shown.is_empty() { Value::Null } else { shown.into() };
        errors.invalid(&Path::new("spec").child("scopes"), shown, IMMUTABLE);
    }
}

/// Checks what is used, and of how much.
pub(super) fn validate_quota_status(new: &Object, _old: &Object, errors: &mut FieldErrors) {
    for list in ["hard", "used"] {
        let path = Path::new("status").child(list);
        for (name, amount) in object::map(new, &["status", list]).into_iter().flatten() {
            check_name(name, Whose::Quota, &path.key(name), errors);
            check_amount(name, amount, &path.key(name), errors);
        }
    }
}

/// Checks a class of priority by itself.
pub(super) fn validate_priority_class(class: &Object, errors: &mut FieldErrors) {
    let (name, value) = (object::name(class), object::number(class, &["value"]).unwrap_or(0));
    if name.starts_with("system-") {
        let known = OF_THE_SYSTEM.iter().find(|(known, _)| *known == name);
        let why = match known {
            None => format!("{name} is not a known system priority class"),
            Some((_, wanted)) if *wanted != value => {
                format!("value of {name} PriorityClass must be {wanted}")
            }
            Some(_) if object::flag(class, &["globalDefault"]) => {
                format!("globalDefault of {name} PriorityClass must be false")
            }
            Some(_) => String::new(),
        };
        if !why.is_empty() {
            let rule = "priority class names with 'system-' prefix are reserved for system use \
                        only. error: ";
            errors.forbidden(&Path::new("metadata").child("name"), format!("{rule}{why}"));
        }
    } else if value > HIGHEST {
        let detail = format!("maximum allowed value of a user defined priority is {HIGHEST}");
        errors.forbidden(&Path::new("value"), detail);
    }
    let policies = ["PreemptLowerPriority", "Never"];
    super::pod_spec::choose(class, "preemptionPolicy", &policies, &Path::default(), errors);
}

/// Pods have their priority for good, so classes do.
pub(super) fn validate_priority_class_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let value = |class| object::number(class, &["value"]).unwrap_or(0);
    if value(new) != value(old) {
        errors.forbidden(&Path::new("value"), "may not be changed in an update.");
    }
    let policy = |class| object::text(class, &["preemptionPolicy"]);
    if policy(new) != policy(old) {
        errors.invalid(&Path::new("preemptionPolicy"), policy(new), IMMUTABLE);
    }
}

/// Checks a budget of disruptions by itself.
pub(super) fn validate_budget(budget: &Object, errors: &mut FieldErrors) {
    let path = Path::new("spec");
    let share = |field| object::at(budget, &["spec", field]).filter(|share| !share.is_null());
    if let (Some(least), Some(most)) = (share("minAvailable"), share("maxUnavailable")) {
        let shown = serde_json::json!({
            "MinAvailable": least,
            "Selector": object::at(budget, &["spec", "selector"]),
            "MaxUnavailable": most,
            "UnhealthyPodEvictionPolicy":
                object::at(budget, &["spec", "unhealthyPodEvictionPolicy"]),
        });
        errors.invalid(&path, shown, "minAvailable and maxUnavailable cannot be both set");
    }
    for field in ["minAvailable", "maxUnavailable"] {
        if let Some(share) = share(field) {
            check_share(share, &path.child(field), errors);
            check_not_all(share, &path.child(field), errors);
        }
    }
    let selector = object::map(budget, &["spec", "selector"]);
    labels::check_selector(selector, &path.child("selector"), errors);
    let policy = object::text(budget, &["spec", "unhealthyPodEvictionPolicy"]);
    if !matches!(policy, "" | "AlwaysAllow" | "IfHealthyBudget") {
        let supported = ["AlwaysAllow", "IfHealthyBudget"];
        errors.not_supported(&path.child("unhealthyPodEvictionPolicy"), policy, &supported);
    }
}

/// Checks the numbers of a budget's status.
pub(super) fn validate_budget_status(new: &Object, _old: &Object, errors: &mut FieldErrors) {
    let nothing = Object::new();
    let status = object::map(new, &["status"]).unwrap_or(&nothing);
    let numbers = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
    check_not_negative(status, &numbers, &Path::new("status"), errors);
}
