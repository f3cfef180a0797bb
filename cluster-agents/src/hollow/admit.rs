//! Turns away pods that do not fit: whoever wrote their node name may not have counted.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::NAME;
use crate::action::{Action, Decision, Note, Part, PatchKind, Step, Target};
use crate::kinds::{Key, Watched};
use crate::pods;
use crate::quantity::Milli;
use crate::queue::Next;
use crate::scheduler::usage::Usage;
use crate::world::World;

/// The decision that rejects a pod, if its node has no room for it.
pub(crate) fn check(world: &World, pod: &Pod, now: Timestamp) -> Option<Decision> {
    let node = world.tables.nodes.named("", pods::node(pod)?)?;
    let room = crate::quantity::amounts(node.status.as_ref()?.allocatable.as_ref());
    let all = world.usage(node.name())?;
    let has = |name: &str| room.get(name).copied().unwrap_or(0);
    let pods_of = |usage: &Usage| Milli::try_from(usage.pods).unwrap_or(Milli::MAX / 1000) * 1000;
    let requests = pods::requests(pod);
    let full = pods_of(all) > has("pods")
        || requests.keys().any(|name| all.requested.get(name).is_some_and(|sum| *sum > has(name)));
    if !full {
        return None;
    }
    // Only now is it worth counting those who were here before.
    let before = earlier(world, node.name(), pod);
    if pods_of(&before) + 1000 > has("pods") {
        return Some(reject(
            pod,
            "OutOfpods",
            ("pods", 1, before.pods as i128, has("pods") / 1000),
            now,
        ));
    }
    requests.iter().find_map(|(name, amount)| {
        let used = before.requested.get(name).copied().unwrap_or(0);
        let unit = if name == "cpu" { 1 } else { 1000 };
        (*amount > 0 && used + amount > has(name)).then(|| {
            let numbers = (name.as_str(), amount / unit, used / unit, has(name) / unit);
            reject(pod, &format!("OutOf{name}"), numbers, now)
        })
    })
}

/// What the pods take that run, or have waited for longer.
fn earlier(world: &World, node: &str, pod: &Pod) -> Usage {
    let mut usage = Usage::default();
    let order = |pod: &Pod| (pods::created(pod), Key::of(&pod.metadata));
    for other in world.pods_on_node(node) {
        let runs = other.status.as_ref().is_some_and(|status| status.start_time.is_some());
        let first = runs || order(other) < order(pod);
        if other.uid() != pod.uid() && !pods::is_finished(other) && first {
            usage.add(other);
        }
    }
    usage
}

fn reject(
    pod: &Pod,
    reason: &str,
    (name, requested, used, capacity): (&str, Milli, Milli, Milli),
    now: Timestamp,
) -> Decision {
    let what = format!(
        "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, \
         capacity: {capacity}"
    );
    let status = PodStatus {
        phase: Some("Failed".to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(format!("Pod was rejected: {what}")),
        start_time: Some(Time(now)),
        ..PodStatus::default()
    };
    let patch = Action::Patch {
        target: Target::of(pod),
        part: Part::Status,
        kind: PatchKind::Strategic,
        body: json!({"metadata": {"uid": pod.uid()}, "status": status}),
    };
    let event = Note::warning(pod, NAME, "OutOfResources", what);
    Decision { steps: vec![Step::One(patch), Step::One(event)], next: Next::Idle }
}
