//! Names of resources such as `cpu` and `example.com/gpu`, and how much of them is asked for.

use serde_json::Value;

use super::amounts;
use super::labels::complain;
use super::names;
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};
use crate::schema::quantity::Quantity;

const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];

const WHOLE: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Whose amounts a list has: which names there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// A container's, or the least and most of containers and pods.
    Container,
    /// A pod's as a whole.
    Pod,
    /// A quota's.
    Quota,
    /// A limit's of something else.
    Any,
}

pub(super) fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_quota_huge_pages(name: &str) -> bool {
    is_huge_pages(name) || name.starts_with("requests.hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified(&format!("requests.{name}")).is_empty()
}

/// Whether more may be promised than there is.
pub(super) fn is_overcommitted(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

/// Whether a quota knows the name without a domain.
pub(super) fn is_standard_quota(name: &str) -> bool {
    STANDARD.contains(&name) || is_quota_huge_pages(name)
}

/// Checks the name of a resource.
pub(super) fn check_name(name: &str, whose: Whose, path: &Path, errors: &mut FieldErrors) {
    let faults = names::qualified(name);
    complain(&faults, path, name, errors);
    let plain = !name.contains('/');
    let known = is_standard_quota(name) || name == "storage";
    if faults.is_empty() && plain && !known {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
        if whose == Whose::Pod {
            return;
        }
    }
    match whose {
        Whose::Container if plain => {
            let of_containers = ["cpu", "memory", "ephemeral-storage"].contains(&name);
            if !of_containers && !is_huge_pages(name) {
                errors.invalid(path, name, "must be a standard resource for containers");
            }
        }
        Whose::Container if !is_native(name) && !is_extended(name) => {
            errors.invalid(path, name, "doesn't follow extended resource name standard");
        }
        Whose::Pod
            if faults.is_empty() && !["cpu", "memory"].contains(&name) && !is_huge_pages(name) =>
        {
            errors.not_supported(path, name, &["cpu", "hugepages-", "memory"]);
        }
        Whose::Quota if plain && !is_standard_quota(name) => {
            errors.invalid(path, name, "must be a standard resource for quota");
        }
        _ => {}
    }
}

/// Checks an amount of a resource: not negative, and whole where it counts things.
pub(super) fn check_amount(name: &str, amount: &Value, path: &Path, errors: &mut FieldErrors) {
    let Some(quantity) = amounts::read(amount) else { return };
    if quantity.is_negative() {
        errors.invalid(path, quantity.to_string(), super::NEGATIVE);
    }
    if (WHOLE.contains(&name) || is_extended(name)) && !amounts::is_whole(&quantity) {
        errors.invalid(path, quantity.to_string(), "must be an integer");
    }
}

/// Checks the names and amounts of a list.
pub(super) fn check_list(
    list: Option<&Object>,
    whose: Whose,
    path: &Path,
    errors: &mut FieldErrors,
) {
    for (name, amount) in list.into_iter().flatten() {
        let path = path.key(name);
        check_name(name, whose, &path, errors);
        check_amount(name, amount, &path, errors);
    }
}

/// Checks what a container or pod asks for, and that it is within its limits.
pub(super) fn check_requirements(
    requirements: &Object,
    whose: Whose,
    path: &Path,
    errors: &mut FieldErrors,
) {
    let (limits_at, requests_at) = (path.child("limits"), path.child("requests"));
    let limits = object::map(requirements, &["limits"]);
    let requests = object::map(requirements, &["requests"]);
    for (name, amount) in limits.into_iter().flatten() {
        let path = limits_at.key(name);
        check_name(name, whose, &path, errors);
        check_amount(name, amount, &path, errors);
        check_huge_pages(name, amount, &path, errors);
    }
    for (name, amount) in requests.into_iter().flatten() {
        let path = requests_at.key(name);
        check_name(name, whose, &path, errors);
        check_amount(name, amount, &path, errors);
        let limit = limits.and_then(|limits| limits.get(name)).and_then(amounts::read);
        if let (Some(request), Some(limit)) = (amounts::read(amount), limit) {
            let shown = request.to_string();
            if request != limit && !is_overcommitted(name) {
                let detail = format!("must be equal to {name} limit of {limit}");
                errors.invalid(&requests_at, shown, detail);
            } else if request > limit {
                let detail = format!("must be less than or equal to {name} limit of {limit}");
                errors.invalid(&requests_at, shown, detail);
            }
        } else if !is_overcommitted(name) {
            errors.required(&limits_at, "Limit must be set for non overcommitable resources");
        }
        check_huge_pages(name, amount, &path, errors);
    }
    let asks_for = |wanted: fn(&str) -> bool| {
        limits.into_iter().chain(requests).flatten().any(|(name, _)| wanted(name))
    };
    if asks_for(is_huge_pages) && !asks_for(|name| ["cpu", "memory"].contains(&name)) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}

/// Huge pages come in whole pages.
fn check_huge_pages(name: &str, amount: &Value, path: &Path, errors: &mut FieldErrors) {
    let Some(size) = name.strip_prefix("hugepages-") else { return };
    let Ok(size) = Quantity::parse(size) else { return };
    let Some(amount) = amounts::read(amount) else { return };
    let pages = size.value();
    if pages <= 0 || amount.value() % pages != 0 {
        let shown = amount.to_string();
        let detail = format!("{shown} is not positive integer multiple of {name}");
        errors.invalid(path, shown, detail);
    }
}
