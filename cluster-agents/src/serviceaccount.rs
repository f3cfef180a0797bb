//! Gives every namespace its `default` service account.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::action::{Action, Decision};
use crate::engine::{self, Controller};
use crate::kinds::{Key, Object, Watched};
use crate::world::{Change, World};

const ACCOUNT: &str = "default";

pub(crate) fn controller() -> Controller {
    Controller {
        name: "serviceaccount-controller",
        keys,
        decide,
        rank: engine::in_order,
        writers: 5,
        back_off: engine::CONTROLLER_BACK_OFF,
    }
}

/// Nothing may be created in a namespace that is going away.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
    !namespace.is_deleting() && phase != Some("Terminating")
}

fn keys(_: &World, change: &Change, out: &mut BTreeSet<Key>) {
    match change {
        Change::Object { new: Some(Object::Namespace(namespace)), .. } => {
            out.insert(namespace.key());
        }
        Change::Object { old: Some(Object::ServiceAccount(account)), new: None } => {
            out.insert(Key::new("", account.namespace()));
        }
        _ => {}
    }
}

fn decide(world: &World, key: &Key, _: Timestamp) -> Decision {
    let namespace = world.tables.namespaces.find(key);
    if !namespace.is_some_and(|namespace| is_active(namespace))
        || world.tables.service_accounts.named(&key.name, ACCOUNT).is_some()
    {
        return Decision::nothing();
    }
    Decision::one(Action::create(&ServiceAccount {
        metadata: ObjectMeta {
            name: Some(ACCOUNT.to_owned()),
            namespace: Some(key.name.clone()),
            ..ObjectMeta::default()
        },
        ..ServiceAccount::default()
    }))
}

#[cfg(test)]
mod tests;
