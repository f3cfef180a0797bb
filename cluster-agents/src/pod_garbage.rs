//! Clears pods away that nobody else will: those of nodes that are gone, those that were deleted
//! before they had a node, and the oldest finished ones when there are too many.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::action::{Action, Decision, Deletion, Part, PatchKind, Step, Target};
use crate::engine::{self, Controller};
use crate::kinds::{Key, Object, Watched};
use crate::pods;
use crate::queue::Next;
use crate::world::{Change, World};

/// A node may be so new that only its pods are known yet.
const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);

/// Pods that are deleted by one decision.
const AT_ONCE: usize = 100;

pub(crate) fn controller() -> Controller {
    Controller {
        name: "pod-garbage-collector",
        keys,
        decide,
        rank: engine::in_order,
        writers: 10,
        back_off: engine::CONTROLLER_BACK_OFF,
    }
}

/// The key under which all finished pods are looked at together; no pod has an empty name.
fn finished() -> Key {
    Key::new("", "")
}

fn keys(world: &World, change: &Change, out: &mut BTreeSet<Key>) {
    match change {
        Change::Object { new: Some(Object::Pod(pod)), .. } => {
            let lost =
                pods::node(pod).is_some_and(|node| world.tables.nodes.named("", node).is_none());
            if lost || pod.is_deleting() && pods::node(pod).is_none() {
                out.insert(pod.key());
            }
            // Counting is worth it only when there can be too many.
            if pods::is_finished(pod) && world.tables.pods.len() > world.finished_pods_most {
                out.insert(finished());
            }
        }
        Change::Object { old: Some(Object::Node(node)), new: None } => {
            out.extend(world.pods_on_node(node.name()).map(|pod| pod.key()));
        }
        _ => {}
    }
}

fn decide(world: &World, key: &Key, now: Timestamp) -> Decision {
    if *key == finished() {
        return too_many(world);
    }
    let Some(pod) = world.tables.pods.find(key) else { return Decision::nothing() };
    if pod.metadata.deletion_grace_period_seconds == Some(0) {
        // It has been done; finalizers hold it.
        return Decision::nothing();
    }
    match pods::node(pod) {
        None if pod.is_deleting() => Decision::all(vec![fail(pod, None), delete_at_once(pod)]),
        Some(node) if world.tables.nodes.named("", node).is_none() => lost(pod, now),
        _ => Decision::nothing(),
    }
}

fn lost(pod: &Pod, now: Timestamp) -> Decision {
    let bound = pods::condition(pod, "PodScheduled")
        .and_then(|condition| condition.last_transition_time.as_ref().map(|time| time.0))
        .or_else(|| pods::created(pod));
    let age = bound.map_or(QUARANTINE, |bound| now.duration_since(bound));
    if age < QUARANTINE {
        let wait = Duration::try_from(QUARANTINE - age).unwrap_or(Duration::ZERO);
        return Decision { steps: Vec::new(), next: Next::After(wait) };
    }
    let condition = PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("DeletionByPodGC".to_owned()),
        message: Some("PodGC: node no longer exists".to_owned()),
        last_transition_time: Some(Time(now)),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    };
    Decision::all(vec![fail(pod, Some(condition)), delete_at_once(pod)])
}

/// A pod that goes like this has failed, unless it had ended before.
fn fail(pod: &Pod, condition: Option<PodCondition>) -> Action {
    let phase = if pods::is_finished(pod) { pods::phase(pod) } else { "Failed" };
    let mut status = json!({"phase": phase});
    if let Some(condition) = condition {
        status["conditions"] = json!([condition]);
    }
    Action::Patch {
        target: Target::of(pod),
        part: Part::Status,
        kind: PatchKind::Strategic,
        body: json!({"metadata": {"uid": pod.uid()}, "status": status}),
    }
}

fn delete_at_once(pod: &Pod) -> Action {
    let deletion =
        Deletion { uid: Some(pod.uid().to_owned()), grace_seconds: Some(0), ..Deletion::default() };
    Action::Delete { target: Target::of(pod), deletion }
}

/// Deletes the oldest finished pods beyond the bound.
fn too_many(world: &World) -> Decision {
    let ended = world.tables.pods.all().filter(|pod| pods::is_finished(pod) && !pod.is_deleting());
    let mut ended: Vec<&std::sync::Arc<Pod>> = ended.collect();
    let surplus = ended.len().saturating_sub(world.finished_pods_most);
    if surplus == 0 {
        return Decision::nothing();
    }
    ended.sort_by_key(|pod| (pods::created(&***pod), pod.key()));
    let doomed = ended.into_iter().take(surplus.min(AT_ONCE));
    let deletes = doomed.map(|pod| delete_at_once(pod)).collect();
    Decision { steps: vec![Step::Batch(deletes)], next: Next::After(Duration::ZERO) }
}

#[cfg(test)]
mod tests;
