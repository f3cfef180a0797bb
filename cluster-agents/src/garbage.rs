//! Deletes what has lost its owners, and lets owners go when their dependents have gone.
//!
//! ```text
//!   an object with owners:  one is solid ──► take the others out of its references
//!                           one waits for its dependents ──► delete it
//!                           all are gone ──► delete it
//!   an owner that is deleted:  finalizer foregroundDeletion ──► when nobody blocks it, remove it
//!                              finalizer orphan ──► free the dependents, then remove it
//! ```
//!
//! Keys are uids, from `World::graph`. An owner that no watch has told of is looked up at the
//! server before anything is done because of its absence.
//!
//! Invariant: nothing is deleted as long as one of its owners exists and is not waiting for it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::action::{Action, Decision, Deletion, Part, PatchKind, Propagation, Step, Target};
use crate::engine::{self, Controller};
use crate::graph::Item;
use crate::kinds::{Key, Scope};
use crate::queue::Next;
use crate::world::World;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

pub(crate) fn controller() -> Controller {
    Controller {
        name: engine::GARBAGE,
        keys: |_, _, _| {},
        decide,
        rank: engine::in_order,
        writers: 20,
        back_off: engine::CONTROLLER_BACK_OFF,
    }
}

fn decide(world: &World, key: &Key, _: Timestamp) -> Decision {
    let uid = key.name.as_str();
    let Some(item) = world.graph.item(uid) else { return Decision::nothing() };
    if item.orphans_dependents() {
        return release(world, uid, item);
    }
    if item.awaits_dependents() {
        return let_go(world, uid, item);
    }
    if item.deleting || item.owners.is_empty() {
        return Decision::nothing();
    }
    judge(world, uid, item)
}

/// What an owner means for its dependent.
enum Standing {
    Solid,
    /// Being deleted, when its dependents have gone.
    Waiting,
    Gone,
    /// Nobody here has seen it.
    Unknown,
}

fn standing(world: &World, item: &Item, owner: &OwnerReference) -> Standing {
    match world.graph.item(&owner.uid) {
        // A reference into another namespace is one to nothing.
        Some(known) if !is_reachable(item, known) => Standing::Gone,
        Some(known) if known.awaits_dependents() => Standing::Waiting,
        Some(_) => Standing::Solid,
        None if world.graph.is_absent(&owner.uid) => Standing::Gone,
        None => Standing::Unknown,
    }
}

fn is_reachable(item: &Item, owner: &Item) -> bool {
    owner.resource.scope == Scope::Cluster || owner.key.namespace == item.key.namespace
}

fn target(item: &Item) -> Target {
    Target { resource: item.resource.clone(), key: item.key.clone() }
}

fn judge(world: &World, uid: &str, item: &Item) -> Decision {
    let mut useless = Vec::new();
    let mut solid = false;
    let mut waiting = false;
    let mut questions = Vec::new();
    for owner in &item.owners {
        match standing(world, item, owner) {
            Standing::Solid => solid = true,
            Standing::Waiting => {
                waiting = true;
                useless.push(owner.uid.as_str());
            }
            Standing::Gone => useless.push(owner.uid.as_str()),
            Standing::Unknown => questions.extend(question(world, item, owner)),
        }
    }
    if !questions.is_empty() {
        let steps = questions.into_iter().map(Step::One).collect();
        // The answer comes as news of the graph; if it is that the owner exists, a watch will
        // bring it, or it is of a kind that cannot be watched and will be asked about again.
        return Decision { steps, next: Next::After(std::time::Duration::from_secs(30)) };
    }
    if solid {
        if useless.is_empty() {
            return Decision::nothing();
        }
        return Decision::one(without_owners(uid, item, &useless));
    }
    if useless.len() < item.owners.len() {
        // The kind of an owner is not served (yet): nothing can be said about it.
        return Decision {
            steps: Vec::new(),
            next: Next::After(std::time::Duration::from_secs(30)),
        };
    }
    let dependents = world.graph.dependents(uid).next().is_some();
    let propagation = if waiting && dependents || item.has_finalizer(FOREGROUND) {
        Propagation::Foreground
    } else if item.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else {
        Propagation::Background
    };
    // In a circle everybody would wait for everybody: whoever comes second blocks nobody.
    if waiting && world.graph.dependents(uid).any(|(_, other)| other.awaits_dependents()) {
        let unblock = unblocked(uid, item);
        let at_any_version = Deletion { version: None, ..deletion(uid, item, propagation) };
        let delete = Action::Delete { target: target(item), deletion: at_any_version };
        return Decision::all(vec![unblock, delete]);
    }
    let deletion = deletion(uid, item, propagation);
    Decision::one(Action::Delete { target: target(item), deletion })
}

/// Asks the server whether an owner exists; `None` if its kind is not served.
fn question(world: &World, item: &Item, owner: &OwnerReference) -> Option<Action> {
    let resource = world.graph.resource_of(owner)?.clone();
    let namespace = match resource.scope {
        Scope::Cluster => "",
        Scope::Namespaced => item.key.namespace.as_str(),
    };
    let target = Target { key: Key::new(namespace, &owner.name), resource };
    Some(Action::Confirm { target, uid: owner.uid.clone() })
}

fn deletion(uid: &str, item: &Item, propagation: Propagation) -> Deletion {
    Deletion {
        uid: Some(uid.to_owned()),
        // If somebody has changed its owners meanwhile, it must be judged anew.
        version: Some(item.version.to_string()),
        grace_seconds: None,
        propagation: Some(propagation),
    }
}

fn unblocked(uid: &str, item: &Item) -> Action {
    let mut owners = item.owners.clone();
    for owner in &mut owners {
        owner.block_owner_deletion = Some(false);
    }
    patch(uid, item, json!({"ownerReferences": owners}))
}

fn without_owners(uid: &str, item: &Item, useless: &[&str]) -> Action {
    let kept: Vec<&OwnerReference> =
        item.owners.iter().filter(|owner| !useless.contains(&owner.uid.as_str())).collect();
    patch(
        uid,
        item,
        json!({"ownerReferences": if kept.is_empty() { json!(null) } else { json!(kept) }}),
    )
}

fn patch(uid: &str, item: &Item, mut metadata: serde_json::Value) -> Action {
    metadata["uid"] = json!(uid);
    metadata["resourceVersion"] = json!(item.version.to_string());
    Action::Patch {
        target: target(item),
        part: Part::Whole,
        kind: PatchKind::Merge,
        body: json!({"metadata": metadata}),
    }
}

fn without_finalizer(uid: &str, item: &Item, name: &str) -> Action {
    let kept: Vec<&String> = item.finalizers.iter().filter(|known| *known != name).collect();
    patch(uid, item, json!({"finalizers": if kept.is_empty() { json!(null) } else { json!(kept) }}))
}

/// The owner stays until nobody who blocks it is left.
fn let_go(world: &World, uid: &str, item: &Item) -> Decision {
    let blocked = world.graph.dependents(uid).any(|(_, dependent)| {
        dependent
            .owners
            .iter()
            .any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
    });
    if blocked {
        Decision::nothing()
    } else {
        Decision::one(without_finalizer(uid, item, FOREGROUND))
    }
}

/// The dependents lose this owner; then it may go.
fn release(world: &World, uid: &str, item: &Item) -> Decision {
    let freed: Vec<Action> = world
        .graph
        .dependents(uid)
        .map(|(dependent, known)| without_owners(dependent, known, &[uid]))
        .collect();
    let mut steps = Vec::new();
    if freed.is_empty() {
        steps.push(Step::One(without_finalizer(uid, item, ORPHAN)));
        return Decision { steps, next: Next::Idle };
    }
    steps.push(Step::Batch(freed));
    // The finalizer goes in a later decision, when the graph says that nobody is left.
    Decision { steps, next: Next::After(std::time::Duration::from_secs(1)) }
}

#[cfg(test)]
mod tests;
