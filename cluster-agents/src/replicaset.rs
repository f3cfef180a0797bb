//! Keeps as many pods as a ReplicaSet asks for.
//!
//! ```text
//!   pods it owns, and orphans it selects ──► adopt, release ──► too few: create
//!                                                               too many: delete the least useful
//!                                                           ──► status
//! ```
//!
//! Invariant: pods are created or deleted only when nothing is left to adopt or release, so that
//! the count is one that the server agrees with.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;

use crate::action::{self, Action, Decision, Note, Step};
use crate::engine::{self, Controller};
use crate::kinds::{self, Key, Object, Watched};
use crate::labels;
use crate::pods;
use crate::queue::Next;
use crate::world::{Change, Failure, FailureKind, World};

pub(crate) const NAME: &str = "replicaset-controller";

/// Pods that are created or deleted by one decision; more are left to the next one.
const BURST: usize = 500;

pub(crate) fn controller() -> Controller {
    Controller {
        name: NAME,
        keys,
        decide,
        rank: engine::in_order,
        writers: 16,
        back_off: engine::CONTROLLER_BACK_OFF,
    }
}

fn keys(world: &World, change: &Change, out: &mut BTreeSet<Key>) {
    for side in change.sides() {
        match side {
            Object::ReplicaSet(set) => {
                out.insert(set.key());
            }
            Object::Pod(pod) => match pod.controller() {
                Some(owner) if owner.kind == "ReplicaSet" => {
                    out.insert(Key::new(pod.namespace(), &owner.name));
                }
                Some(_) => {}
                None => {
                    let sets = world.tables.replica_sets.within(pod.namespace());
                    out.extend(sets.filter(|set| selects(set, pod)).map(|set| set.key()));
                }
            },
            _ => {}
        }
    }
}

fn selects(set: &ReplicaSet, pod: &Pod) -> bool {
    let selector = set.spec.as_ref().map(|spec| &spec.selector);
    selector.is_some_and(|selector| {
        !labels::is_empty(selector) && labels::select(selector, pod.metadata.labels.as_ref())
    })
}

pub(crate) fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

fn decide(world: &World, key: &Key, now: Timestamp) -> Decision {
    let Some(set) = world.tables.replica_sets.find(key) else { return Decision::nothing() };
    let claims = claims(world, set);
    if !claims.is_empty() {
        return Decision { steps: vec![Step::Batch(claims)], next: Next::Idle };
    }
    let own: Vec<&Arc<Pod>> = world.pods_of_owner(set.uid()).collect();
    let active: Vec<&Arc<Pod>> = own.iter().copied().filter(|pod| pods::is_active(pod)).collect();
    let failure = world.failure(NAME, key).filter(|failure| failure.kind == FailureKind::Other);
    let steps = if set.is_deleting() { Vec::new() } else { manage(world, set, &active, now) };
    let status = status(set, &own, &active, failure, now);
    let mut all = Vec::new();
    // While pods come and go the status would be outdated at once; the next decision writes it.
    if (steps.is_empty() || failure.is_some())
        && let Some(action) = status_write(set, status)
    {
        all.push(Step::One(action));
    }
    if let (Some(failure), false) = (failure, steps.is_empty()) {
        all.push(Step::One(failure_event(set, active.len(), failure)));
    }
    all.extend(steps);
    Decision { steps: all, next: next_check(set, &active, now) }
}

/// Pods that become ours, and pods that no longer are.
fn claims(world: &World, set: &ReplicaSet) -> Vec<Action> {
    if set.is_deleting() {
        return Vec::new();
    }
    let mut claims = Vec::new();
    for pod in world.pods_of_owner(set.uid()) {
        if pods::is_active(pod) && !selects(set, pod) {
            let owners = pod.metadata.owner_references.iter().flatten();
            let kept: Vec<_> = owners.filter(|owner| owner.uid != set.uid()).cloned().collect();
            claims.push(action::owners_patch(&**pod, &kept));
        }
    }
    for pod in world.orphan_pods(set.namespace()) {
        if pods::is_active(pod) && selects(set, pod) {
            let mut owners = pod.metadata.owner_references.clone().unwrap_or_default();
            owners.push(kinds::controller_reference(set));
            claims.push(action::owners_patch(&**pod, &owners));
        }
    }
    claims
}

fn manage(world: &World, set: &ReplicaSet, active: &[&Arc<Pod>], now: Timestamp) -> Vec<Step> {
    let wanted = usize::try_from(wanted(set)).unwrap_or(0);
    match wanted.cmp(&active.len()) {
        Ordering::Equal => Vec::new(),
        Ordering::Greater if world.is_terminating(set.namespace()) => Vec::new(),
        Ordering::Greater => {
            let missing = (wanted - active.len()).min(BURST);
            let pod = action::value(&new_pod(set));
            let create = Action::Create {
                resource: Pod::resource(),
                namespace: set.namespace().to_owned(),
                body: pod,
                told: Some(created_note(set)),
            };
            vec![Step::Batch(vec![create; missing])]
        }
        Ordering::Less => {
            let surplus = (active.len() - wanted).min(BURST);
            let doomed = least_useful(world, set, active, surplus, now);
            let deletes = doomed.iter().map(|pod| Action::delete(&***pod)).collect();
            let mut steps = vec![Step::Batch(deletes)];
            steps.extend(doomed.iter().map(|pod| {
                let message = format!("Deleted pod: {}", pod.name());
                Step::One(Note::normal(set, NAME, "SuccessfulDelete", message))
            }));
            steps
        }
    }
}

fn created_note(set: &ReplicaSet) -> Note {
    Note {
        about: action::reference(set),
        mood: action::Mood::Normal,
        reason: "SuccessfulCreate",
        message: format!("Created pod: {}", action::NAME_OF_CREATED),
        source: NAME,
    }
}

fn failure_event(set: &ReplicaSet, active: usize, failure: &Failure) -> Action {
    let too_few = usize::try_from(wanted(set)).is_ok_and(|wanted| wanted > active);
    let (reason, verb) =
        if too_few { ("FailedCreate", "creating") } else { ("FailedDelete", "deleting") };
    Note::warning(set, NAME, reason, format!("Error {verb}: {}", failure.message))
}

/// The longest name from which a pod's name can still be generated.
const PREFIX_MOST: usize = 247;

fn new_pod(set: &ReplicaSet) -> Pod {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    let name = set.name();
    let prefix = if name.len() <= PREFIX_MOST { format!("{name}-") } else { name.to_owned() };
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![kinds::controller_reference(set)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The pods that are missed least, in the order in which upstream takes them.
fn least_useful<'a>(
    world: &World,
    set: &ReplicaSet,
    active: &[&'a Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Vec<&'a Arc<Pod>> {
    let related = related_by_node(world, set);
    let mut order: Vec<&Arc<Pod>> = active.to_vec();
    let rank = |pod: &Pod| related.get(pods::node(pod).unwrap_or_default()).copied().unwrap_or(0);
    order.sort_by(|a, b| usefulness((a, rank(a)), (b, rank(b)), now));
    order.truncate(count);
    order
}

/// Per node, active pods of all replica sets that one deployment (or other owner) manages.
fn related_by_node(world: &World, set: &ReplicaSet) -> BTreeMap<String, usize> {
    let siblings: Vec<&Arc<ReplicaSet>> = match set.controller() {
        Some(owner) => {
            let sets = world.tables.replica_sets.within(set.namespace());
            sets.filter(|other| other.is_controlled_by(&owner.uid)).collect()
        }
        None => world.tables.replica_sets.find(&set.key()).into_iter().collect(),
    };
    let mut counts = BTreeMap::new();
    for pod in siblings.iter().flat_map(|sibling| world.pods_of_owner(sibling.uid())) {
        if pods::is_active(pod) {
            *counts.entry(pods::node(pod).unwrap_or_default().to_owned()).or_default() += 1;
        }
    }
    counts
}

/// Less means: goes first.
fn usefulness(a: (&Pod, usize), b: (&Pod, usize), now: Timestamp) -> Ordering {
    let (a, rank_a) = a;
    let (b, rank_b) = b;
    let placed = pods::node(a).is_some().cmp(&pods::node(b).is_some());
    let phase = phase_order(a).cmp(&phase_order(b));
    let ready = pods::is_ready(a).cmp(&pods::is_ready(b));
    let cost = deletion_cost(a).cmp(&deletion_cost(b));
    let crowd = rank_b.cmp(&rank_a);
    let first = placed.then(phase).then(ready).then(cost).then(crowd);
    if first != Ordering::Equal {
        return first;
    }
    if pods::is_ready(a) {
        let since = (pods::ready_since(a), pods::ready_since(b));
        if since.0 != since.1 {
            return younger(since, a, b, now);
        }
    }
    let restarts = Reverse(restarts(a)).cmp(&Reverse(restarts(b)));
    if restarts != Ordering::Equal {
        return restarts;
    }
    let created = (pods::created(a), pods::created(b));
    if created.0 == created.1 { Ordering::Equal } else { younger(created, a, b, now) }
}

/// Younger ones go first, but ages count by their logarithm only: pods of about the same age go in
/// an order that has nothing to do with it, so that not all of one rollout go together.
fn younger(
    times: (Option<Timestamp>, Option<Timestamp>),
    a: &Pod,
    b: &Pod,
    now: Timestamp,
) -> Ordering {
    let (Some(time_a), Some(time_b)) = times else {
        return times.0.is_some().cmp(&times.1.is_some());
    };
    let scale = |time: Timestamp| {
        let age = now.duration_since(time).as_nanos();
        u128::try_from(age).ok().and_then(u128::checked_ilog2).map_or(-1, i64::from)
    };
    scale(time_a).cmp(&scale(time_b)).then_with(|| a.uid().cmp(b.uid()))
}

fn phase_order(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        "Unknown" => 1,
        "Running" => 2,
        _ => 0,
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    let cost = annotations.and_then(|all| all.get("controller.kubernetes.io/pod-deletion-cost"));
    cost.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    statuses.unwrap_or_default().iter().map(|status| status.restart_count).max().unwrap_or(0)
}

fn status(
    set: &ReplicaSet,
    own: &[&Arc<Pod>],
    active: &[&Arc<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let template = spec.template.and_then(|template| template.metadata).and_then(|m| m.labels);
    let template = template.unwrap_or_default();
    let count = |test: &dyn Fn(&Pod) -> bool| {
        let number = active.iter().filter(|pod| test(pod)).count();
        i32::try_from(number).unwrap_or(i32::MAX)
    };
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let available =
        |pod: &Pod| pods::available_in(pod, min_ready, now).is_some_and(|wait| wait.is_zero());
    let terminating =
        own.iter().filter(|pod| pod.is_deleting() && !pods::is_finished(pod) && selects(set, pod));
    let before = set.status.clone().unwrap_or_default();
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: Some(count(&|pod| {
            labels::include(pod.metadata.labels.as_ref(), &template)
        })),
        ready_replicas: Some(count(&pods::is_ready)),
        available_replicas: Some(count(&available)),
        terminating_replicas: Some(i32::try_from(terminating.count()).unwrap_or(i32::MAX)),
        conditions: conditions(set, active.len(), before.conditions, failure, now),
        observed_generation: set.metadata.generation,
    }
}

fn conditions(
    set: &ReplicaSet,
    active: usize,
    before: Option<Vec<ReplicaSetCondition>>,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = before.unwrap_or_default();
    let known = conditions.iter().any(|condition| condition.type_ == "ReplicaFailure");
    match failure {
        Some(failure) if !known => {
            let too_few = usize::try_from(wanted(set)).is_ok_and(|wanted| wanted > active);
            conditions.push(ReplicaSetCondition {
                type_: "ReplicaFailure".to_owned(),
                status: "True".to_owned(),
                reason: Some(if too_few { "FailedCreate" } else { "FailedDelete" }.to_owned()),
                message: Some(failure.message.clone()),
                last_transition_time: Some(Time(now)),
            });
        }
        Some(_) => {}
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// Numbers that are zero are left out on the wire, so they equal those that are absent.
fn status_write(set: &ReplicaSet, status: ReplicaSetStatus) -> Option<Action> {
    let before = set.status.clone().unwrap_or_default();
    let numbers = |status: &ReplicaSetStatus| {
        (
            status.replicas,
            status.fully_labeled_replicas.unwrap_or(0),
            status.ready_replicas.unwrap_or(0),
            status.available_replicas.unwrap_or(0),
            status.terminating_replicas,
            status.observed_generation,
        )
    };
    let known = before.conditions.as_deref().unwrap_or_default();
    let conditions = status.conditions.as_deref().unwrap_or_default();
    if numbers(&before) == numbers(&status) && known == conditions {
        return None;
    }
    let mut changed = set.clone();
    changed.status = Some(status);
    Some(Action::replace_status(&changed))
}

/// When the next ready pod will have been ready for long enough.
fn next_check(set: &ReplicaSet, active: &[&Arc<Pod>], now: Timestamp) -> Next {
    let seconds = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let waits = active.iter().filter_map(|pod| pods::available_in(pod, seconds, now));
    waits.filter(|wait| !wait.is_zero()).min().map_or(Next::Idle, Next::After)
}

#[cfg(test)]
mod tests;
