//! Watches over nodes: those that fall silent, those that say they are unwell, and the pods on
//! them.
//!
//! ```text
//!   no lease renewal for 40 s ──► conditions Unknown ──► taint unreachable ──► its pods not ready
//!   Ready=False               ─────────────────────────► taint not-ready   ──► its pods not ready
//!   taint NoExecute ──► pods that do not tolerate it (any longer) are deleted
//! ```
//!
//! The age of a lease is told by our clock: clocks of nodes are expected to be right to a few
//! seconds, as certificates expect it too.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, PodCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::action::{Action, Decision, Note, Part, PatchKind, Step, Target};
use crate::engine::{self, Controller};
use crate::kinds::{Key, Object, Watched};
use crate::pods;
use crate::queue::Next;
use crate::scheduler::tolerates;
use crate::world::{Change, World};

const LEASES: &str = "kube-node-lease";
const NAME: &str = "node-controller";
const EVICTION: &str = "taint-eviction-controller";

/// How long a node may be silent.
const GRACE: SignedDuration = SignedDuration::from_secs(40);

/// How often nodes are looked at.
const LOOK: Duration = Duration::from_secs(5);

pub(crate) fn controllers() -> Vec<Controller> {
    let controller = |name, keys, decide| Controller {
        name,
        keys,
        decide,
        rank: engine::in_order,
        writers: 16,
        back_off: engine::CONTROLLER_BACK_OFF,
    };
    vec![controller(NAME, node_keys, decide_node), controller(EVICTION, pod_keys, decide_pod)]
}

fn node_keys(_: &World, change: &Change, out: &mut BTreeSet<Key>) {
    if let Change::Object { new: Some(Object::Node(node)), .. } = change {
        out.insert(node.key());
    }
}

fn decide_node(world: &World, key: &Key, now: Timestamp) -> Decision {
    let Some(node) = world.tables.nodes.find(key).filter(|node| !node.is_deleting()) else {
        return Decision::nothing();
    };
    let next = Next::After(LOOK);
    if is_silent(world, node, now)
        && let Some(write) = unknown_conditions(node, now)
    {
        return Decision { steps: vec![Step::One(write)], next: Next::After(Duration::ZERO) };
    }
    let mut steps = Vec::new();
    steps.extend(taint_write(node, now).map(Step::One));
    if ready(node) != "True" {
        let stale = world.pods_on_node(node.name()).filter(|pod| pods::is_ready(pod));
        let writes: Vec<Action> = stale.map(|pod| not_ready(pod, now)).collect();
        if !writes.is_empty() {
            let message = "Node is not ready".to_owned();
            let about = world.pods_on_node(node.name()).filter(|pod| pods::is_ready(pod));
            let events = about
                .map(|pod| Step::One(Note::warning(&**pod, NAME, "NodeNotReady", message.clone())));
            let events: Vec<Step> = events.collect();
            steps.push(Step::Batch(writes));
            steps.extend(events);
        }
    }
    Decision { steps, next }
}

fn condition<'a>(node: &'a Node, name: &str) -> Option<&'a NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == name)
}

fn ready(node: &Node) -> &str {
    condition(node, "Ready").map_or("Unknown", |condition| condition.status.as_str())
}

fn is_silent(world: &World, node: &Node, now: Timestamp) -> bool {
    let lease = world.tables.leases.named(LEASES, node.name());
    let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref().map(|t| t.0));
    let beat = condition(node, "Ready").and_then(|c| c.last_heartbeat_time.as_ref().map(|t| t.0));
    let last = renewed.into_iter().chain(beat).chain(pods::created(node)).max();
    last.is_none_or(|last| now.duration_since(last) > GRACE)
}

const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

fn unknown_conditions(node: &Node, now: Timestamp) -> Option<Action> {
    let mut conditions = Vec::new();
    for name in CONDITIONS {
        let known = condition(node, name);
        if known.is_some_and(|known| known.status == "Unknown") {
            continue;
        }
        let (reason, message) = match known {
            Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            None => ("NodeStatusNeverUpdated", "Kubelet never posted node status."),
        };
        conditions.push(NodeCondition {
            type_: name.to_owned(),
            status: "Unknown".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: known
                .and_then(|known| known.last_heartbeat_time.clone())
                .or_else(|| node.metadata.creation_timestamp.clone()),
            last_transition_time: Some(Time(now)),
        });
    }
    if conditions.is_empty() {
        return None;
    }
    Some(Action::Patch {
        target: Target::of(node),
        part: Part::Status,
        kind: PatchKind::Strategic,
        body: json!({"metadata": {"resourceVersion": node.metadata.resource_version},
                     "status": {"conditions": conditions}}),
    })
}

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

/// Taints (key and effect) that this controller puts on nodes and takes off.
const OURS: [(&str, &str); 9] = [
    (NOT_READY, "NoSchedule"),
    (NOT_READY, "NoExecute"),
    (UNREACHABLE, "NoSchedule"),
    (UNREACHABLE, "NoExecute"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/network-unavailable", "NoSchedule"),
];

fn is_due(node: &Node, key: &str) -> bool {
    let holds = |name: &str| condition(node, name).is_some_and(|c| c.status == "True");
    match key {
        NOT_READY => ready(node) == "False",
        UNREACHABLE => ready(node) == "Unknown",
        "node.kubernetes.io/unschedulable" => {
            node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true)
        }
        "node.kubernetes.io/memory-pressure" => holds("MemoryPressure"),
        "node.kubernetes.io/disk-pressure" => holds("DiskPressure"),
        "node.kubernetes.io/pid-pressure" => holds("PIDPressure"),
        "node.kubernetes.io/network-unavailable" => holds("NetworkUnavailable"),
        _ => false,
    }
}

fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn taint_write(node: &Node, now: Timestamp) -> Option<Action> {
    let before = taints(node);
    let is_ours = |taint: &Taint| OURS.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut after: Vec<Taint> = before
        .iter()
        .filter(|taint| !is_ours(taint) || is_due(node, &taint.key))
        .cloned()
        .collect();
    for (key, effect) in OURS.into_iter().filter(|(key, _)| is_due(node, key)) {
        if !after.iter().any(|taint| taint.key == key && taint.effect == effect) {
            after.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    if after == before {
        return None;
    }
    let taints = if after.is_empty() { json!(null) } else { json!(after) };
    Some(Action::Patch {
        target: Target::of(node),
        part: Part::Whole,
        kind: PatchKind::Merge,
        body: json!({"metadata": {"resourceVersion": node.metadata.resource_version},
                     "spec": {"taints": taints}}),
    })
}

fn pod_condition(pod: &Pod, condition: &PodCondition) -> Action {
    Action::Patch {
        target: Target::of(pod),
        part: Part::Status,
        kind: PatchKind::Strategic,
        body: json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}}),
    }
}

/// Nobody knows how a pod is whose node is silent: it must not get any requests.
fn not_ready(pod: &Pod, now: Timestamp) -> Action {
    let condition = PodCondition {
        type_: "Ready".to_owned(),
        status: "False".to_owned(),
        last_transition_time: Some(Time(now)),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    };
    pod_condition(pod, &condition)
}

fn pod_keys(world: &World, change: &Change, out: &mut BTreeSet<Key>) {
    match change {
        Change::Object { new: Some(Object::Pod(pod)), .. } => {
            let node = pods::node(pod).and_then(|node| world.tables.nodes.named("", node));
            if node.is_some_and(|node| evicts(node).next().is_some()) {
                out.insert(pod.key());
            }
        }
        Change::Object { old, new: Some(Object::Node(node)) } => {
            let same = matches!(old, Some(Object::Node(old)) if taints(old) == taints(node));
            if !same && evicts(node).next().is_some() {
                out.extend(world.pods_on_node(node.name()).map(|pod| pod.key()));
            }
        }
        _ => {}
    }
}

fn evicts(node: &Node) -> impl Iterator<Item = &Taint> {
    taints(node).iter().filter(|taint| taint.effect == "NoExecute")
}

fn decide_pod(world: &World, key: &Key, now: Timestamp) -> Decision {
    let Some(pod) = world.tables.pods.find(key).filter(|pod| !pod.is_deleting()) else {
        return Decision::nothing();
    };
    let node = pods::node(pod).and_then(|node| world.tables.nodes.named("", node));
    let Some(node) = node else { return Decision::nothing() };
    let Some(at) = evicts(node).filter_map(|taint| deadline(pod, taint, now)).min() else {
        return Decision::nothing();
    };
    if at > now {
        let wait = Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
        return Decision { steps: Vec::new(), next: Next::After(wait) };
    }
    let message = format!("Marking for deletion Pod {key}");
    let condition = PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("DeletionByTaintManager".to_owned()),
        message: Some("Taint manager: deleting due to NoExecute taint".to_owned()),
        last_transition_time: Some(Time(now)),
        observed_generation: pod.metadata.generation,
        ..PodCondition::default()
    };
    Decision::all(vec![
        Note::normal(&**pod, EVICTION, "TaintManagerEviction", message),
        pod_condition(pod, &condition),
        Action::delete(&**pod),
    ])
}

/// Until when a pod stands a taint; `None`: for ever.
fn deadline(pod: &Pod, taint: &Taint, now: Timestamp) -> Option<Timestamp> {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
    let mut shortest = i64::MAX;
    let mut tolerated = false;
    for toleration in tolerations.unwrap_or_default() {
        if !tolerates(toleration, taint) {
            continue;
        }
        tolerated = true;
        if let Some(seconds) = toleration.toleration_seconds {
            shortest = shortest.min(seconds.max(0));
        }
    }
    match shortest {
        _ if !tolerated => Some(now),
        i64::MAX => None,
        seconds => {
            let since = taint.time_added.as_ref().map_or(now, |time| time.0);
            since.saturating_add(SignedDuration::from_secs(seconds)).ok()
        }
    }
}

#[cfg(test)]
mod tests;
