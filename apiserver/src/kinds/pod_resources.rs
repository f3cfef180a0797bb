//! What a pod needs as a whole: the sum of its containers, and how well it is treated for it.

use super::amounts;
use super::resources::is_huge_pages;
use super::tree::{existing, objects};
use crate::object::{self, Object};
use crate::schema::quantity::Quantity;

/// A pod that limits itself as a whole asks for what its containers ask for together or, where
/// they ask for nothing, for its limit.
pub(super) fn default(spec: &mut Object) {
    let Some(limits) = object::map(spec, &["resources", "limits"]).cloned() else { return };
    let of_containers =
        ["cpu", "memory"].map(|resource| (resource, total(spec, "requests", resource)));
    let Some(resources) = existing(spec, &["resources"]) else { return };
    let mut requests = object::map(resources, &["requests"]).cloned().unwrap_or_default();
    for (resource, sum) in of_containers {
        if let Some(sum) = sum.filter(|_| !requests.contains_key(resource)) {
            requests.insert(resource.to_owned(), sum.to_string().into());
        }
    }
    for (resource, limit) in limits {
        let whole_pods = matches!(&*resource, "cpu" | "memory") || is_huge_pages(&resource);
        if whole_pods && !requests.contains_key(&resource) {
            requests.insert(resource, limit);
        }
    }
    if !requests.is_empty() {
        object::set(resources, &["requests"], requests);
    }
}

/// How much of a resource a pod's containers need at once: all of them and the sidecars together,
/// or one init container with the sidecars that started before it, if that is more.
pub(super) fn total(spec: &Object, which: &str, resource: &str) -> Option<Quantity> {
    let of = |it: &Object| object::at(it, &["resources", which, resource]).and_then(amounts::read);
    let sum = |a: Option<Quantity>, b: Option<Quantity>| match (a, b) {
        (Some(a), Some(b)) => Some(a.plus(&b)),
        (one, other) => one.or(other),
    };
    let more = |a: Option<Quantity>, b: Option<Quantity>| match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (one, other) => one.or(other),
    };
    let mut running = objects(spec, &["containers"]).map(of).fold(None, sum);
    let (mut sidecars, mut starting) = (None, None);
    for container in objects(spec, &["initContainers"]) {
        let with_sidecars = sum(of(container), sidecars.clone());
        starting = more(starting, with_sidecars.clone());
        if object::text(container, &["restartPolicy"]) == "Always" {
            running = sum(running, of(container));
            sidecars = with_sidecars;
        }
    }
    more(running, starting)
}

/// How well a pod is treated when memory is short: `Guaranteed` if every container is limited to
/// what it asks for, `BestEffort` if none asks for anything, else `Burstable`.
pub(super) fn quality_of_service(pod: &Object) -> &'static str {
    let kept = object::text(pod, &["status", "qosClass"]);
    if let Some(class) = ["Guaranteed", "Burstable", "BestEffort"].into_iter().find(|c| *c == kept)
    {
        return class;
    }
    let mut asks = Vec::new();
    if let Some(resources) = object::map(pod, &["spec", "resources"]) {
        asks.push(resources.clone());
    } else {
        for list in ["containers", "initContainers"] {
            let of_list = objects(pod, &["spec", list]);
            asks.extend(
                of_list.map(|it| object::map(it, &["resources"]).cloned().unwrap_or_default()),
            );
        }
    }
    let sum = |which: &str, resource: &str| {
        let amounts = asks.iter().filter_map(|it| amount(it, which, resource));
        amounts.reduce(|a, b| a.plus(&b))
    };
    let mut any = false;
    let mut all_limited = asks.iter().all(|it| {
        ["cpu", "memory"].into_iter().all(|resource| amount(it, "limits", resource).is_some())
    });
    for resource in ["cpu", "memory"] {
        let (request, limit) = (sum("requests", resource), sum("limits", resource));
        any |= request.is_some() || limit.is_some();
        all_limited &= request.zip(limit).is_some_and(|(request, limit)| request == limit);
    }
    match (any, all_limited) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// An amount that is more than nothing.
fn amount(resources: &Object, which: &str, resource: &str) -> Option<Quantity> {
    let amount = object::at(resources, &[which, resource]).and_then(amounts::read)?;
    (!amount.is_negative() && !amount.is_zero()).then_some(amount)
}
