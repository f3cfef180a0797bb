//! Empties namespaces that are going away, and lets them go.
//!
//! ```text
//!   Terminating ──► empty it (pods first) ──► something remains? ──► say so, later again
//!                        ▲                          │ nothing
//!                        └── pods have gone         ▼
//!                                             remove the finalizer `kubernetes`
//! ```
//!
//! Invariant: the finalizer is removed only after a look at the server that found the namespace
//! empty, and never by the decision that writes conditions.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use crate::action::{self, Action, Decision, Part, Step, Target};
use crate::engine::{self, Controller};
use crate::kinds::{Key, Object, Watched};
use crate::queue::Next;
use crate::world::{Change, Remains, World};

const FINALIZER: &str = "kubernetes";

/// How long a namespace that is not empty is left alone: a quarter of the time that it has been
/// going away, within these bounds.
const WAIT_LEAST: Duration = Duration::from_millis(200);
const WAIT_MOST: Duration = Duration::from_secs(16);

pub(crate) fn controller() -> Controller {
    Controller {
        name: "namespace-controller",
        keys,
        decide,
        rank: engine::in_order,
        writers: 10,
        back_off: engine::CONTROLLER_BACK_OFF,
    }
}

fn keys(world: &World, change: &Change, out: &mut BTreeSet<Key>) {
    match change {
        Change::Object { new: Some(Object::Namespace(namespace)), .. }
            if namespace.is_deleting() =>
        {
            out.insert(namespace.key());
        }
        Change::Object { old: Some(Object::Pod(pod)), new: None }
            if world.remains.contains_key(pod.namespace()) =>
        {
            out.insert(Key::new("", pod.namespace()));
        }
        _ => {}
    }
}

fn decide(world: &World, key: &Key, now: Timestamp) -> Decision {
    let Some(namespace) = world.tables.namespaces.find(key).filter(|n| n.is_deleting()) else {
        return Decision::nothing();
    };
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref());
    if !finalizers.unwrap_or_default().iter().any(|name| name == FINALIZER) {
        return Decision::nothing();
    }
    let empty = Action::Empty { namespace: key.name.clone() };
    let Some((remains, at)) = world.remains.get(&key.name) else { return Decision::one(empty) };
    if let Some(write) = conditions_write(namespace, remains, now) {
        return Decision::one(write);
    }
    if remains.is_empty() {
        return Decision::one(finalize(namespace));
    }
    let pods_went = remains.objects.contains_key("pods.")
        && world.tables.pods.within(&key.name).next().is_none();
    let age = Duration::try_from(now.duration_since(*at)).unwrap_or(Duration::ZERO);
    let wait = if pods_went { Duration::ZERO } else { patience(namespace, now) };
    if age >= wait {
        // Whatever happens, it is looked at again: what holds it may not be anything we watch.
        return Decision { steps: vec![Step::One(empty)], next: Next::After(WAIT_LEAST) };
    }
    Decision { steps: Vec::new(), next: Next::After(wait - age) }
}

fn patience(namespace: &Namespace, now: Timestamp) -> Duration {
    let since = namespace.metadata.deletion_timestamp.as_ref().map_or(now, |time| time.0);
    let age = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    (age / 4).clamp(WAIT_LEAST, WAIT_MOST)
}

fn finalize(namespace: &Namespace) -> Action {
    let mut changed = namespace.clone();
    if let Some(finalizers) = changed.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
        finalizers.retain(|name| name != FINALIZER);
    }
    Action::Replace {
        target: Target::of(namespace),
        part: Part::Finalize,
        body: action::value(&changed),
    }
}

/// Name, reason and message of what all is well, in the order in which they are reported.
const WELL: [(&str, &str, &str); 5] = [
    (
        "NamespaceDeletionDiscoveryFailure",
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        "NamespaceDeletionGroupVersionParsingFailure",
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    (
        "NamespaceFinalizersRemaining",
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
];

/// What is not well: reason and message, by condition.
fn trouble(name: &str, remains: &Remains) -> Option<(&'static str, String)> {
    let list = |items: Vec<String>| items.join(", ");
    match name {
        "NamespaceDeletionDiscoveryFailure" if !remains.discovery_failures.is_empty() => {
            let failures = &remains.discovery_failures;
            let message = format!(
                "Discovery failed for some groups, {} failing: {}",
                failures.len(),
                failures.join(", ")
            );
            Some(("DiscoveryFailed", message))
        }
        "NamespaceDeletionContentFailure" if !remains.deletion_failures.is_empty() => {
            let failures = &remains.deletion_failures;
            let message = format!(
                "Failed to delete all resource types, {} remaining: {}",
                failures.len(),
                failures.join(", ")
            );
            Some(("ContentDeletionFailed", message))
        }
        "NamespaceContentRemaining" if !remains.objects.is_empty() => {
            let all = remains.objects.iter();
            let all = all.map(|(name, count)| format!("{name} has {count} resource instances"));
            let message = format!("Some resources are remaining: {}", list(all.collect()));
            Some(("SomeResourcesRemain", message))
        }
        "NamespaceFinalizersRemaining" if !remains.finalizers.is_empty() => {
            let all = remains.finalizers.iter();
            let all = all.map(|(name, count)| format!("{name} in {count} resource instances"));
            let message = format!(
                "Some content in the namespace has finalizers remaining: {}",
                list(all.collect())
            );
            Some(("SomeFinalizersRemain", message))
        }
        _ => None,
    }
}

/// Writes the conditions if they say something else by now. A namespace that was empty at the
/// first look goes without any.
fn conditions_write(namespace: &Namespace, remains: &Remains, now: Timestamp) -> Option<Action> {
    let status = namespace.status.clone().unwrap_or_default();
    let known = status.conditions.clone().unwrap_or_default();
    if remains.is_empty() && known.is_empty() {
        return None;
    }
    let mut after: Vec<NamespaceCondition> = known.clone();
    for (name, reason, message) in WELL {
        let trouble = trouble(name, remains);
        let (status, reason, message) = match &trouble {
            Some((reason, message)) => ("True", *reason, message.as_str()),
            None => ("False", reason, message),
        };
        set(&mut after, name, status, reason, message, now);
    }
    if after == known {
        return None;
    }
    let mut changed = namespace.clone();
    changed.status.get_or_insert_default().conditions = Some(after);
    Some(Action::replace_status(&changed))
}

fn set(
    conditions: &mut Vec<NamespaceCondition>,
    name: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let at = conditions.iter().position(|condition| condition.type_ == name);
    let known = at.and_then(|at| conditions.get(at));
    let same = known.is_some_and(|known| {
        known.status == status
            && known.reason.as_deref() == Some(reason)
            && known.message.as_deref() == Some(message)
    });
    if same {
        return;
    }
    let since = known.filter(|known| known.status == status);
    let since = since.and_then(|known| known.last_transition_time.clone());
    let condition = NamespaceCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(since.unwrap_or(Time(now))),
    };
    match at {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests;
