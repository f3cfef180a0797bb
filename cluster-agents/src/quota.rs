//! Counts what the objects of a namespace use of its resource quotas.
//!
//! The server counts as it admits; this finds what it could not know: what has gone since.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::jiff::Timestamp;

use crate::action::{Action, Decision};
use crate::engine::{self, Controller};
use crate::kinds::{Key, Object, Watched};
use crate::labels;
use crate::pods;
use crate::quantity::{self, Amounts, Milli};
use crate::queue::Next;
use crate::world::{Change, World};

/// How often everything is counted again without a reason.
const RECOUNT: Duration = Duration::from_secs(300);

pub(crate) fn controller() -> Controller {
    Controller {
        name: "resourcequota-controller",
        keys,
        decide,
        rank: engine::in_order,
        writers: 5,
        back_off: engine::CONTROLLER_BACK_OFF,
    }
}

fn keys(world: &World, change: &Change, out: &mut BTreeSet<Key>) {
    let namespace = match change {
        Change::Meta { namespace, .. } => namespace.as_str(),
        Change::Object { old, new } => {
            if let Some(Object::ResourceQuota(quota)) = new {
                out.insert(quota.key());
            }
            // Updates do not change how many there are, but for pods.
            let counts = old.is_none() || new.is_none() || matches!(new, Some(Object::Pod(_)));
            match change.either() {
                Some(object) if counts => object.meta().namespace.as_deref().unwrap_or_default(),
                _ => "",
            }
        }
    };
    if !namespace.is_empty() {
        out.extend(world.tables.quotas.within(namespace).map(|quota| quota.key()));
    }
}

fn decide(world: &World, key: &Key, _: Timestamp) -> Decision {
    let Some(quota) = world.tables.quotas.find(key).filter(|quota| !quota.is_deleting()) else {
        return Decision::nothing();
    };
    let spec = quota.spec.clone().unwrap_or_default();
    let hard = spec.hard.clone().unwrap_or_default();
    let used = used(world, key, &spec);
    let before = quota.status.clone().unwrap_or_default();
    let idle = Decision { steps: Vec::new(), next: Next::After(RECOUNT) };
    if before.hard.unwrap_or_default() == hard && quantity::amounts(before.used.as_ref()) == used {
        return idle;
    }
    let print = |(name, amount): (&String, &Milli)| {
        (name.clone(), Quantity(quantity::print(name, *amount)))
    };
    let mut changed: ResourceQuota = (**quota).clone();
    changed.status = Some(ResourceQuotaStatus {
        hard: Some(hard),
        used: Some(used.iter().map(print).collect()),
    });
    let mut decision = Decision::one(Action::replace_status(&changed));
    decision.next = idle.next;
    decision
}

fn used(world: &World, key: &Key, spec: &ResourceQuotaSpec) -> Amounts {
    let namespace = key.namespace.as_str();
    let mut pods = Amounts::new();
    for pod in world.tables.pods.within(namespace) {
        if !pods::is_finished(pod) && in_scope(pod, spec) {
            quantity::add(&mut pods, &usage(pod));
        }
    }
    let hard = spec.hard.iter().flatten();
    hard.map(|(name, _)| {
        let amount = pods.get(name).copied();
        let amount = amount.unwrap_or_else(|| objects(world, namespace, name));
        (name.clone(), amount)
    })
    .collect()
}

/// Objects that a quota counts by a name of their own.
const COUNTED: [&str; 6] = [
    "configmaps",
    "persistentvolumeclaims",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "services",
];

fn objects(world: &World, namespace: &str, name: &str) -> Milli {
    let count = |group: &str, plural: &str| {
        Milli::try_from(world.graph.count(group, plural, namespace)).unwrap_or(0) * 1000
    };
    if COUNTED.contains(&name) {
        return count("", name);
    }
    if let Some(counted) = name.strip_prefix("count/") {
        let (plural, group) = counted.split_once('.').unwrap_or((counted, ""));
        return count(group, plural);
    }
    let services = world.tables.services.within(namespace);
    let kind = |service: &k8s_openapi::api::core::v1::Service| {
        service.spec.as_ref().and_then(|spec| spec.type_.clone()).unwrap_or_default()
    };
    let number: usize = match name {
        "services.loadbalancers" => services.filter(|s| kind(s) == "LoadBalancer").count(),
        "services.nodeports" => services
            .filter(|s| matches!(kind(s).as_str(), "NodePort" | "LoadBalancer"))
            .map(|s| s.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).count())
            .sum(),
        _ => 0,
    };
    Milli::try_from(number).unwrap_or(0) * 1000
}

/// What one pod counts for, under every name that a quota may use.
fn usage(pod: &Pod) -> Amounts {
    let mut usage = Amounts::new();
    let requests = pods::requests(pod);
    for (name, amount) in &requests {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(name.clone(), *amount);
        }
        usage.insert(format!("requests.{name}"), *amount);
    }
    for (name, amount) in limits(pod) {
        usage.insert(format!("limits.{name}"), amount);
    }
    usage.insert("pods".to_owned(), 1000);
    usage.insert("count/pods".to_owned(), 1000);
    usage
}

/// The limits are added up as the requests are.
fn limits(pod: &Pod) -> Amounts {
    let mut limited = pod.clone();
    let Some(spec) = &mut limited.spec else { return Amounts::new() };
    let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
    for container in containers {
        if let Some(resources) = &mut container.resources {
            resources.requests = resources.limits.take();
        }
    }
    if let Some(resources) = &mut spec.resources {
        resources.requests = resources.limits.take();
    }
    pods::requests(&limited)
}

fn in_scope(pod: &Pod, spec: &ResourceQuotaSpec) -> bool {
    let plain = spec.scopes.iter().flatten().all(|scope| has_scope(pod, scope));
    let terms = spec.scope_selector.iter().flat_map(|s| s.match_expressions.iter().flatten());
    plain
        && terms.into_iter().all(|term| {
            if term.scope_name == "PriorityClass" {
                let class = pod.spec.as_ref().and_then(|spec| spec.priority_class_name.as_ref());
                let values = term.values.as_deref().unwrap_or_default();
                labels::meets(&term.operator, class, values)
            } else {
                has_scope(pod, &term.scope_name)
            }
        })
}

fn has_scope(pod: &Pod, scope: &str) -> bool {
    let spec = pod.spec.as_ref();
    let terminating = spec.is_some_and(|spec| spec.active_deadline_seconds.is_some());
    let class = pod.status.as_ref().and_then(|status| status.qos_class.as_deref());
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => class == Some("BestEffort"),
        "NotBestEffort" => class != Some("BestEffort"),
        "PriorityClass" => spec.is_some_and(|spec| spec.priority_class_name.is_some()),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
