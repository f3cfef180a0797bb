//! Leads a Deployment from one template to the next, by sizing its replica sets.
//!
//! ```text
//!   adopt, release ─► paused or scaled? ─► size the sets there are, in proportion
//!                  └► Recreate ─► old ones to 0 ─► when their pods are gone: the new one up
//!                  └► RollingUpdate ─► new one up by the surge ─► old ones down by what is ready
//! ```
//!
//! Each decision takes a step and writes the status; what the step changes brings the next one.
//! All is worked out on copies (`Plan`), and each object is written once.
//!
//! Invariant: there are never more pods wanted than `replicas + maxSurge`, and old ones are taken
//! down only as long as `replicas - maxUnavailable` are available.

mod plan;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::jiff::Timestamp;

use crate::action::{self, Action, Decision, Step};
use crate::engine::{self, Controller};
use crate::kinds::{self, Key, Object, Watched};
use crate::labels;
use crate::pods;
use crate::queue::Next;
use crate::rollout;
use crate::world::{Change, World};
use plan::Plan;

pub(crate) const NAME: &str = "deployment-controller";

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
            Object::Deployment(deployment) => {
                out.insert(deployment.key());
            }
            Object::ReplicaSet(set) => match set.controller() {
                Some(owner) if owner.kind == "Deployment" => {
                    out.insert(Key::new(set.namespace(), &owner.name));
                }
                Some(_) => {}
                None => {
                    let all = world.tables.deployments.within(set.namespace());
                    out.extend(all.filter(|d| selects(d, set)).map(|d| d.key()));
                }
            },
            _ => {}
        }
    }
    // Recreate waits for the last old pod to go.
    if let Change::Object { old: Some(Object::Pod(pod)), new } = change {
        let ended = match new {
            Some(Object::Pod(new)) => pods::is_finished(new) && !pods::is_finished(pod),
            _ => true,
        };
        if let Some(key) = ended.then(|| deployment_of(world, pod)).flatten() {
            out.insert(key);
        }
    }
}

fn deployment_of(world: &World, pod: &k8s_openapi::api::core::v1::Pod) -> Option<Key> {
    let set = world.tables.replica_sets.named(pod.namespace(), &pod.controller()?.name)?;
    let key = Key::new(pod.namespace(), &set.controller()?.name);
    let deployment = world.tables.deployments.find(&key)?;
    (!rollout::is_rolling(deployment)).then_some(key)
}

fn selects(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let selector = deployment.spec.as_ref().map(|spec| &spec.selector);
    selector.is_some_and(|selector| {
        !labels::is_empty(selector) && labels::select(selector, set.metadata.labels.as_ref())
    })
}

fn decide(world: &World, key: &Key, now: Timestamp) -> Decision {
    let Some(deployment) = world.tables.deployments.find(key) else { return Decision::nothing() };
    let claims = claims(world, deployment);
    if !claims.is_empty() {
        return Decision { steps: vec![Step::Batch(claims)], next: Next::Idle };
    }
    let own = world.tables.replica_sets.within(deployment.namespace());
    let own: Vec<Arc<ReplicaSet>> =
        own.filter(|set| set.is_controlled_by(deployment.uid())).cloned().collect();
    let mut plan = Plan::new(deployment, &own, now);
    let spec = deployment.spec.clone().unwrap_or_default();
    if deployment.is_deleting() {
        plan.status_while_still();
        return plan.decision();
    }
    plan.note_pause();
    if spec.paused == Some(true) || plan.is_scaled() {
        plan.scale();
        if spec.paused == Some(true) {
            plan.forget_history();
        }
        plan.status_while_still();
    } else if rollout::is_rolling(deployment) {
        roll(world, &mut plan);
    } else {
        recreate(world, &mut plan);
    }
    plan.decision()
}

/// Replica sets that become ours, and those that no longer are.
fn claims(world: &World, deployment: &Deployment) -> Vec<Action> {
    if deployment.is_deleting() {
        return Vec::new();
    }
    let mut claims = Vec::new();
    for set in world.tables.replica_sets.within(deployment.namespace()) {
        let selected = selects(deployment, set);
        match set.controller() {
            Some(owner) if owner.uid == deployment.uid() && !selected => {
                let owners = set.metadata.owner_references.iter().flatten();
                let kept: Vec<_> =
                    owners.filter(|owner| owner.uid != deployment.uid()).cloned().collect();
                claims.push(action::owners_patch(&**set, &kept));
            }
            None if selected && !set.is_deleting() => {
                let mut owners = set.metadata.owner_references.clone().unwrap_or_default();
                owners.push(kinds::controller_reference(deployment));
                claims.push(action::owners_patch(&**set, &owners));
            }
            _ => {}
        }
    }
    claims
}

fn roll(world: &World, plan: &mut Plan<'_>) {
    if plan.find_or_create_new(world) == plan::Found::Created {
        return;
    }
    if !plan.grow_new() && !plan.shrink_old() && plan.is_complete() {
        plan.forget_history();
    }
    plan.status_of_rollout();
}

fn recreate(world: &World, plan: &mut Plan<'_>) {
    plan.sync_revision();
    if plan.stop_old() {
        plan.status_of_rollout();
        return;
    }
    let running = plan.old.iter().any(|set| {
        set.status.as_ref().is_some_and(|status| status.replicas > 0)
            || world.pods_of_owner(set.uid()).any(|pod| !pods::is_finished(pod))
    });
    if !running {
        if plan.find_or_create_new(world) == plan::Found::Created {
            return;
        }
        plan.resize_new_to_all();
        if plan.is_complete() {
            plan.forget_history();
        }
    }
    plan.status_of_rollout();
}

#[cfg(test)]
mod tests;
