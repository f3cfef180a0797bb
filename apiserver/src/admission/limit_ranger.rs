//! Limits of single pods, containers and claims, and the defaults for those that ask for nothing.

use std::sync::Arc;

use serde_json::Value;

use super::amounts::{Amounts, amounts};
use super::pod_resources::{Overhead, Side, containers, of_pod};
use super::{Operation, Request};
use crate::auth::lookup::{Answer, Lookup, core};
use crate::auth::text::aggregate;
use crate::object::{self, Object};
use crate::schema::quantity::Quantity;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Containers of a pod never change what they ask for through the pod itself, so only new pods are
/// looked at, and resized ones.
fn concerns(request: &Request<'_>) -> bool {
    let matters = match request.operation {
        Operation::Create => request.is("pods", "") || request.is("persistentvolumeclaims", ""),
        Operation::Update => {
            request.is("pods", "resize") || request.is("persistentvolumeclaims", "")
        }
        Operation::Delete | Operation::Connect => false,
    };
    matters && request.object.is_some() && !request.old.is_some_and(object::is_deleting)
}

async fn ranges(request: &Request<'_>, lookup: &dyn Lookup) -> Answer<Vec<Arc<Object>>> {
    if !concerns(request) {
        return Ok(Vec::new());
    }
    lookup.list(core("limitranges"), request.namespace).await
}

fn limits(range: &Object) -> impl Iterator<Item = &Object> {
    object::list(range, &["spec", "limits"]).iter().filter_map(Value::as_object)
}

/// Fills in what containers do not ask for.
pub(super) async fn mutate(request: &mut Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    let ranges = ranges(request, lookup).await?;
    let on_pods = request.resource == "pods";
    let Some(pod) = request.object.as_deref_mut().filter(|_| on_pods) else { return Ok(()) };
    for range in ranges {
        let (mut requests, mut caps) = (Object::new(), Object::new());
        for limit in limits(&range).filter(|l| object::text(l, &["type"]) == "Container") {
            let copy = |to: &mut Object, from: &str| {
                to.extend(object::map(limit, &[from]).cloned().unwrap_or_default());
            };
            copy(&mut requests, "defaultRequest");
            copy(&mut caps, "default");
        }
        let mut notes = Vec::new();
        for (list, word) in [("containers", "container"), ("initContainers", "init container")] {
            fill_containers(pod, list, word, [(Side::Requests, &requests), (Side::Limits, &caps)])
                .for_each(|note| notes.push(note));
        }
        if !notes.is_empty() {
            let text = format!("LimitRanger plugin set: {}", notes.join("; "));
            object::set(pod, &["metadata", "annotations", ANNOTATION], text);
        }
    }
    Ok(())
}

/// The answer says what was filled in.
fn fill_containers(
    pod: &mut Object,
    list: &str,
    word: &str,
    defaults: [(Side, &Object); 2],
) -> impl Iterator<Item = String> + use<> {
    let mut notes = Vec::new();
    let containers = pod
        .get_mut("spec")
        .and_then(|spec| spec.get_mut(list))
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut);
    for container in containers {
        let name = object::text(container, &["name"]).to_owned();
        for (side, defaults) in defaults {
            let path = ["resources", side.name()];
            let known = object::map(container, &path);
            let missing = |name: &String| known.is_none_or(|known| !known.contains_key(name));
            let mut set: Vec<String> = defaults.keys().filter(|n| missing(n)).cloned().collect();
            if set.is_empty() {
                continue;
            }
            let resources = object::map_mut(container, &path);
            for resource in &set {
                resources.insert(resource.clone(), defaults[resource].clone());
            }
            set.sort();
            let side = side.name().trim_end_matches('s');
            notes.push(format!("{} {side} for {word} {name}", set.join(", ")));
        }
    }
    notes.into_iter()
}

/// Refuses what asks for too much or too little.
pub(super) async fn validate(request: &Request<'_>, lookup: &dyn Lookup) -> Answer<()> {
    for range in ranges(request, lookup).await? {
        let mut faults = Vec::new();
        for limit in limits(&range) {
            check(limit, request, &mut faults);
        }
        if !faults.is_empty() {
            return Err(request.forbidden(&aggregate(&faults)));
        }
    }
    Ok(())
}

fn check(limit: &Object, request: &Request<'_>, faults: &mut Vec<String>) {
    let kind = object::text(limit, &["type"]);
    let sent = request.sent();
    match (request.resource, kind) {
        ("pods", "Container") => {
            for container in
                containers(sent, "containers").chain(containers(sent, "initContainers"))
            {
                let requests = amounts(container, &["resources", "requests"]);
                let caps = amounts(container, &["resources", "limits"]);
                Limit { kind, limit }.check(&requests, &caps, faults);
            }
        }
        ("pods", "Pod") => {
            let requests = of_pod(sent, Side::Requests, Overhead::Left);
            let caps = of_pod(sent, Side::Limits, Overhead::Left);
            Limit { kind, limit }.check(&requests, &caps, faults);
        }
        ("persistentvolumeclaims", "PersistentVolumeClaim") => {
            let requests = amounts(sent, &["spec", "resources", "requests"]);
            Limit { kind, limit }.check_claim(&requests, faults);
        }
        _ => {}
    }
}

struct Limit<'a> {
    kind: &'a str,
    limit: &'a Object,
}

impl Limit<'_> {
    fn check(&self, requests: &Amounts, caps: &Amounts, faults: &mut Vec<String>) {
        for (name, least) in amounts(self.limit, &["min"]) {
            faults.extend(self.below(&name, &least, requests.get(&name), caps.get(&name)));
        }
        for (name, most) in amounts(self.limit, &["max"]) {
            faults.extend(self.above(&name, &most, requests.get(&name), caps.get(&name)));
        }
        for (name, most) in amounts(self.limit, &["maxLimitRequestRatio"]) {
            faults.extend(self.ratio(&name, &most, requests.get(&name), caps.get(&name)));
        }
    }

    /// Claims know requests only.
    fn check_claim(&self, requests: &Amounts, faults: &mut Vec<String>) {
        for (name, least) in amounts(self.limit, &["min"]) {
            faults.extend(self.below(&name, &least, requests.get(&name), None));
        }
        for (name, most) in amounts(self.limit, &["max"]) {
            let head = format!("maximum {name} usage per {} is {most}", self.kind);
            match requests.get(&name) {
                None => faults.push(format!("{head}.  No request is specified")),
                Some(asked) if *asked > most => {
                    faults.push(format!("{head}, but request is {asked}"));
                }
                Some(_) => {}
            }
        }
    }

    fn below(
        &self,
        name: &str,
        least: &Quantity,
        asked: Option<&Quantity>,
        cap: Option<&Quantity>,
    ) -> Option<String> {
        let head = format!("minimum {name} usage per {} is {least}", self.kind);
        match (asked, cap) {
            (None, _) => Some(format!("{head}.  No request is specified")),
            (Some(asked), _) if asked < least => Some(format!("{head}, but request is {asked}")),
            (_, Some(cap)) if cap < least => Some(format!("{head}, but limit is {cap}")),
            _ => None,
        }
    }

    fn above(
        &self,
        name: &str,
        most: &Quantity,
        asked: Option<&Quantity>,
        cap: Option<&Quantity>,
    ) -> Option<String> {
        let head = format!("maximum {name} usage per {} is {most}", self.kind);
        match (asked, cap) {
            (_, None) => Some(format!("{head}.  No limit is specified")),
            (_, Some(cap)) if cap > most => Some(format!("{head}, but limit is {cap}")),
            (Some(asked), _) if asked > most => Some(format!("{head}, but request is {asked}")),
            _ => None,
        }
    }

    fn ratio(
        &self,
        name: &str,
        most: &Quantity,
        asked: Option<&Quantity>,
        cap: Option<&Quantity>,
    ) -> Option<String> {
        let head = format!("{name} max limit to request ratio per {} is {most}", self.kind);
        let given = |amount: Option<&Quantity>| amount.filter(|amount| !amount.is_zero()).cloned();
        let Some(asked) = given(asked) else {
            return Some(format!("{head}, but no request is specified or request is 0"));
        };
        let Some(cap) = given(cap) else {
            return Some(format!("{head}, but no limit is specified or limit is 0"));
        };
        let ratio = thousandths(&cap) / thousandths(&asked);
        let over = ratio * 1_000.0 > thousandths(most);
        over.then(|| format!("{head}, but provided ratio is {ratio:.6}"))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio of amounts needs no more digits")]
fn thousandths(amount: &Quantity) -> f64 {
    amount.milli_value() as f64
}
