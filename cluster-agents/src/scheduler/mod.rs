//! Gives each new pod a node: filter the nodes, score those that are left, bind.
//!
//! Pods wait in order of priority, then of age. A pod that fits nowhere is parked: it is told why
//! in its condition and in an event, and tried again when something about the nodes or their pods
//! changes, after a back-off. A pod whose binding is on its way counts as bound already.
//!
//! Deliberately missing, so far: preemption, inter-pod affinity, topology spread constraints,
//! volumes, resource claims.

mod explain;
mod filter;
mod score;
pub(crate) mod usage;

pub(crate) use filter::tolerates;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::action::{Action, Decision, Note, Part, PatchKind, Step, Target};
use crate::engine::Controller;
use crate::kinds::{Key, Object, Watched};
use crate::pods;
use crate::queue::{BackOff, Next, Rank};
use crate::world::{Change, World};

pub(crate) const NAME: &str = "default-scheduler";

pub(crate) fn controller() -> Controller {
    Controller {
        name: NAME,
        keys,
        decide,
        rank,
        writers: 64,
        back_off: BackOff { first: Duration::from_secs(1), most: Duration::from_secs(10) },
    }
}

fn keys(world: &World, change: &Change, out: &mut BTreeSet<Key>) {
    let Change::Object { old, new } = change else { return };
    match (old, new) {
        (old, Some(Object::Pod(pod))) if is_ours(pod) => {
            // Our own note about why it does not fit is no reason to try again.
            let same = matches!(old, Some(Object::Pod(old)) if asks_the_same(old, pod));
            if !same {
                out.insert(pod.key());
            }
        }
        (Some(Object::Pod(old)), new) => {
            // A pod on a node has gone, ended or shrunk: there may be room now.
            let left = pods::node(old).is_some() && !pods::is_finished(old);
            let stays = matches!(new, Some(Object::Pod(new))
                if !pods::is_finished(new) && old.spec == new.spec);
            if left && !stays {
                out.extend(waiting(world));
            }
        }
        (old, Some(Object::Node(node))) => {
            let same = matches!(old, Some(Object::Node(old)) if offers_the_same(old, node));
            if !same {
                out.extend(waiting(world));
            }
        }
        _ => {}
    }
}

fn waiting(world: &World) -> impl Iterator<Item = Key> {
    world.pods_on_node("").filter(|pod| is_ours(pod)).map(|pod| pod.key())
}

fn asks_the_same(old: &Pod, new: &Pod) -> bool {
    is_ours(old) && old.spec == new.spec && old.metadata.labels == new.metadata.labels
}

fn offers_the_same(old: &Node, new: &Node) -> bool {
    let room = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    old.metadata.labels == new.metadata.labels && old.spec == new.spec && room(old) == room(new)
}

/// It waits for a node, and for nobody else to choose one.
fn is_ours(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    let name = spec.scheduler_name.as_deref().unwrap_or(NAME);
    pods::node(pod).is_none() && pods::is_active(pod) && !gated && name == NAME
}

fn rank(world: &World, key: &Key) -> Rank {
    let Some(pod) = world.tables.pods.find(key) else { return (0, 0) };
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    let age = pods::created(&**pod).map_or(0, Timestamp::as_second);
    (-i64::from(priority), age)
}

fn decide(world: &World, key: &Key, now: Timestamp) -> Decision {
    let Some(pod) = world.tables.pods.find(key).filter(|pod| is_ours(pod)) else {
        return Decision::nothing();
    };
    match place(world, pod) {
        Ok(node) => {
            let bind =
                Action::Bind { pod: key.clone(), uid: pod.uid().to_owned(), node: node.clone() };
            let message =
                format!("Successfully assigned {}/{} to {node}", pod.namespace(), pod.name());
            Decision::all(vec![bind, Note::normal(&**pod, NAME, "Scheduled", message)])
        }
        Err(message) => Decision { steps: refuse(pod, &message, now), next: Next::Parked },
    }
}

/// The best node, or why there is none.
fn place(world: &World, pod: &Pod) -> Result<String, String> {
    let nodes: Vec<&Node> = world.tables.nodes.all().map(|node| &**node).collect();
    if nodes.is_empty() {
        return Err("no nodes available to schedule pods".to_owned());
    }
    let asks = filter::Asks::of(pod);
    let mut fitting = Vec::new();
    let mut misfits = Vec::new();
    for node in nodes {
        match filter::check(world, &asks, node) {
            Ok(()) => fitting.push(node),
            Err(misfit) => misfits.push(misfit),
        }
    }
    match score::best(world, &asks, &fitting) {
        Some(node) => Ok(node.name().to_owned()),
        None => Err(explain::explain(pod, &misfits)),
    }
}

/// Tells that a pod fits nowhere, and why.
fn refuse(pod: &Pod, message: &str, now: Timestamp) -> Vec<Step> {
    let mut steps = Vec::new();
    let known = pods::condition(pod, "PodScheduled").is_some_and(|condition| {
        condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
            && condition.message.as_deref() == Some(message)
    });
    let event = Note::warning(pod, NAME, "FailedScheduling", message.to_owned());
    if !known {
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastProbeTime": null,
            "lastTransitionTime": transition(pod, now).to_string(),
            "observedGeneration": pod.metadata.generation,
        });
        let body = json!({
            "metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]},
        });
        steps.push(Step::One(Action::Patch {
            target: Target::of(pod),
            part: Part::Status,
            kind: PatchKind::Strategic,
            body,
        }));
    }
    steps.push(Step::One(event));
    steps
}

/// The condition's status changes when it has not been False before.
fn transition(pod: &Pod, now: Timestamp) -> Timestamp {
    let since = pods::condition(pod, "PodScheduled")
        .filter(|condition| condition.status == "False")
        .and_then(|condition| condition.last_transition_time.as_ref());
    let time = since.map_or(now, |time| time.0);
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests;
