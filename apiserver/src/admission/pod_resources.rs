//! What a pod asks for and is limited to, over all its containers.
//!
//! ```text
//!   containers run together: sum          init containers run before: greatest
//!   sidecars (init containers that stay): with all that start after them
//! ```

use serde_json::Value;

use super::amounts::{Amounts, add, amounts, raise};
use crate::object::{self, Object};

/// Requests or limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// What it asks for.
    Requests,
    /// What it must not exceed.
    Limits,
}

impl Side {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

/// Whether what it takes to run the pod at all counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overhead {
    Counted,
    Left,
}

/// The sum for a pod.
pub(super) fn of_pod(pod: &Object, side: Side, overhead: Overhead) -> Amounts {
    let of = |container: &Object| amounts(container, &["resources", side.name()]);
    let mut total = Amounts::new();
    for container in containers(pod, "containers") {
        add(&mut total, &of(container));
    }
    let (mut sidecars, mut before) = (Amounts::new(), Amounts::new());
    for container in containers(pod, "initContainers") {
        let own = of(container);
        let at_once = if object::text(container, &["restartPolicy"]) == "Always" {
            add(&mut total, &own);
            add(&mut sidecars, &own);
            sidecars.clone()
        } else {
            let mut with = own;
            add(&mut with, &sidecars);
            with
        };
        raise(&mut before, &at_once);
    }
    raise(&mut total, &before);
    for (name, amount) in amounts(pod, &["spec", "resources", side.name()]) {
        if is_pod_level(&name) {
            total.insert(name, amount);
        }
    }
    if overhead == Overhead::Counted {
        for (name, amount) in amounts(pod, &["spec", "overhead"]) {
            // A limit that is not there is none; overhead does not make one.
            if side == Side::Requests || total.get(&name).is_some_and(|limit| !limit.is_zero()) {
                add(&mut total, &Amounts::from([(name, amount)]));
            }
        }
    }
    total
}

/// What can be said for a pod as a whole.
fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// Whether a pod says anything of resources as a whole.
pub(super) fn has_pod_level(pod: &Object) -> bool {
    [Side::Requests, Side::Limits].into_iter().any(|side| {
        amounts(pod, &["spec", "resources", side.name()]).keys().any(|name| is_pod_level(name))
    })
}

/// The containers of one list of a pod.
pub(super) fn containers<'a>(pod: &'a Object, list: &'a str) -> impl Iterator<Item = &'a Object> {
    object::list(pod, &["spec", list]).iter().filter_map(Value::as_object)
}

/// Whether a pod asks for no processor and no memory at all.
pub(super) fn is_best_effort(pod: &Object) -> bool {
    let class = object::text(pod, &["status", "qosClass"]);
    if !class.is_empty() {
        return class == "BestEffort";
    }
    let says = |holder: &Object, path: &[&str]| {
        [Side::Requests, Side::Limits].into_iter().any(|side| {
            let mut path = path.to_vec();
            path.push(side.name());
            amounts(holder, &path).iter().any(|(name, amount)| {
                matches!(name.as_str(), "cpu" | "memory")
                    && !amount.is_zero()
                    && !amount.is_negative()
            })
        })
    };
    if object::map(pod, &["spec", "resources"]).is_some() {
        return !says(pod, &["spec", "resources"]);
    }
    !containers(pod, "containers")
        .chain(containers(pod, "initContainers"))
        .any(|container| says(container, &["resources"]))
}
