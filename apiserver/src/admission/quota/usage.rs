//! What one object uses of which resources of a quota.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::super::amounts::{Amounts, amount, amounts, count, only};
use super::super::pod_resources::{
    Overhead, Side, containers, has_pod_level, is_best_effort, of_pod,
};
use super::count_name;
use crate::object::{self, Object};
use crate::schema::time;
use crate::status::Resource;

/// What of a pod a quota can limit.
const OF_PODS: [&str; 11] = [
    "count/pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// What every container must say if a quota limits it. (An old mistake that upstream keeps.)
const MUST_BE_SAID: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const OF_SERVICES: [&str; 4] =
    ["count/services", "services", "services.nodeports", "services.loadbalancers"];
/// Resources whose count goes by their plain name too.
const PLAIN_COUNTS: [&str; 4] =
    ["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];
const CLASS: &str = ".storageclass.storage.k8s.io/";

/// How objects of a resource are counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted<'a> {
    pub(super) resource: Resource<'a>,
    /// In seconds since 1970.
    pub(super) now: i64,
}

impl Counted<'_> {
    fn is(&self, name: &str) -> bool {
        self.resource.group.is_empty() && self.resource.name == name
    }

    /// Those of a quota's limits that concern the resource.
    pub(super) fn of_hard(&self, hard: &Amounts) -> Amounts {
        only(hard, |name| self.concerns(name))
    }

    fn concerns(&self, name: &str) -> bool {
        if self.is("pods") {
            return OF_PODS.contains(&name)
                || name.starts_with("hugepages-")
                || name.starts_with("requests.hugepages-")
                || is_extended_request(name);
        }
        if self.is("services") {
            return OF_SERVICES.contains(&name);
        }
        if self.is("persistentvolumeclaims") {
            return matches!(
                name,
                "count/persistentvolumeclaims" | "persistentvolumeclaims" | "requests.storage"
            ) || name.contains(CLASS);
        }
        let plain = self.resource.group.is_empty() && PLAIN_COUNTS.contains(&name);
        name == count_name(self.resource) || (plain && name == self.resource.name)
    }

    /// What the object uses.
    pub(super) fn usage(&self, it: &Object) -> Amounts {
        let mut usage = Amounts::from([(count_name(self.resource), count(1))]);
        if self.is("pods") {
            if self.is_alive(it) {
                let requests = of_pod(it, Side::Requests, Overhead::Counted);
                let limits = of_pod(it, Side::Limits, Overhead::Counted);
                usage.extend(compute(&requests, &limits));
            }
        } else if self.is("services") {
            usage.extend(of_service(it));
        } else if self.is("persistentvolumeclaims") {
            usage.extend(of_claim(it));
        } else if self.resource.group.is_empty() && PLAIN_COUNTS.contains(&self.resource.name) {
            usage.insert(self.resource.name.to_owned(), count(1));
        }
        usage
    }

    /// Whether a pod still runs, or may: one that is stuck in its deletion must not keep others out.
    fn is_alive(&self, pod: &Object) -> bool {
        if matches!(object::text(pod, &["status", "phase"]), "Failed" | "Succeeded") {
            return false;
        }
        let deleted = time::parse(object::text(pod, &["metadata", "deletionTimestamp"]));
        let grace = object::number(pod, &["metadata", "deletionGracePeriodSeconds"]);
        deleted.zip(grace).is_none_or(|((time, _), grace)| self.now <= time.saturating_add(grace))
    }

    /// What a pod's containers do not say although a quota limits it, for the text.
    pub(super) fn missing(&self, concerned: &Amounts, pod: &Object) -> Option<String> {
        if !self.is("pods") || has_pod_level(pod) {
            return None;
        }
        let mut missing: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for container in containers(pod, "containers").chain(containers(pod, "initContainers")) {
            let requests = amounts(container, &["resources", "requests"]);
            let limits = amounts(container, &["resources", "limits"]);
            let said = compute(&requests, &limits);
            let name = object::text(container, &["name"]);
            for resource in MUST_BE_SAID {
                if concerned.contains_key(resource) && !said.contains_key(resource) {
                    missing.entry(resource).or_default().insert(name.to_owned());
                }
            }
        }
        let texts: Vec<String> = missing
            .iter()
            .map(|(resource, names)| {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("{resource} for: {}", names.join(","))
            })
            .collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    /// Whether an object is in a scope. Only pods are in any.
    pub(super) fn is_in_scope(&self, selector: &Value, it: &Object) -> bool {
        if !self.is("pods") {
            return false;
        }
        match selector["scopeName"].as_str().unwrap_or_default() {
            "Terminating" => is_terminating(it),
            "NotTerminating" => !is_terminating(it),
            "BestEffort" => is_best_effort(it),
            "NotBestEffort" => !is_best_effort(it),
            "PriorityClass" => has_class(selector, it),
            "CrossNamespacePodAffinity" => crosses_namespaces(it),
            _ => false,
        }
    }
}

/// Resources of others than Kubernetes, which a quota names with `requests.` in front.
fn is_extended_request(name: &str) -> bool {
    name.strip_prefix("requests.").is_some_and(is_extended)
}

fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.")
}

/// What requests and limits come to by the names that quotas use.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::from([("pods".to_owned(), count(1))]);
    let mut put = |name: String, amount: &crate::schema::quantity::Quantity| {
        usage.insert(name, amount.clone());
    };
    for (name, amount) in requests {
        match name.as_str() {
            "cpu" | "memory" | "ephemeral-storage" => {
                put(name.clone(), amount);
                put(format!("requests.{name}"), amount);
            }
            huge if huge.starts_with("hugepages-") => {
                put(name.clone(), amount);
                put(format!("requests.{name}"), amount);
            }
            extended if is_extended(extended) => put(format!("requests.{name}"), amount),
            _ => {}
        }
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            put(format!("limits.{name}"), amount);
        }
    }
    usage
}

fn of_service(service: &Object) -> Amounts {
    let ports = object::list(service, &["spec", "ports"]);
    let chosen = ports.iter().filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0).count();
    let automatic = object::at(service, &["spec", "allocateLoadBalancerNodePorts"])
        .and_then(Value::as_bool)
        .unwrap_or(true);
    let (node_ports, balancers) = match object::text(service, &["spec", "type"]) {
        "NodePort" => (ports.len(), 0),
        "LoadBalancer" if automatic => (ports.len(), 1),
        "LoadBalancer" => (chosen, 1),
        _ => (0, 0),
    };
    Amounts::from([
        ("services".to_owned(), count(1)),
        ("services.nodeports".to_owned(), count(node_ports)),
        ("services.loadbalancers".to_owned(), count(balancers)),
    ])
}

fn of_claim(claim: &Object) -> Amounts {
    let asked = object::at(claim, &["spec", "resources", "requests", "storage"]).and_then(amount);
    let class = match object::text(claim, &["spec", "storageClassName"]) {
        "" => object::text(
            claim,
            &["metadata", "annotations", "volume.beta.kubernetes.io/storage-class"],
        ),
        class => class,
    };
    let mut usage = Amounts::from([("persistentvolumeclaims".to_owned(), count(1))]);
    if !class.is_empty() {
        usage.insert(format!("{class}{CLASS}persistentvolumeclaims"), count(1));
    }
    if let Some(asked) = asked {
        if !class.is_empty() {
            usage.insert(format!("{class}{CLASS}requests.storage"), asked.clone());
        }
        usage.insert("requests.storage".to_owned(), asked);
    }
    usage
}

/// Whether a pod ends by itself after a while.
pub(super) fn is_terminating(pod: &Object) -> bool {
    object::number(pod, &["spec", "activeDeadlineSeconds"]).is_some_and(|seconds| seconds >= 0)
}

fn has_class(selector: &Value, pod: &Object) -> bool {
    let class = object::text(pod, &["spec", "priorityClassName"]);
    let values = selector["values"].as_array();
    let listed = values.into_iter().flatten().any(|value| *value == class);
    match selector["operator"].as_str().unwrap_or_default() {
        "In" => !class.is_empty() && listed,
        "NotIn" => class.is_empty() || !listed,
        "Exists" => !class.is_empty(),
        "DoesNotExist" => class.is_empty(),
        _ => false,
    }
}

fn crosses_namespaces(pod: &Object) -> bool {
    let crosses = |term: &Value| {
        term["namespaces"].as_array().is_some_and(|list| !list.is_empty())
            || term.get("namespaceSelector").is_some_and(|selector| !selector.is_null())
    };
    ["podAffinity", "podAntiAffinity"].into_iter().any(|kind| {
        let list = |member| object::list(pod, &["spec", "affinity", kind, member]);
        list("requiredDuringSchedulingIgnoredDuringExecution").iter().any(crosses)
            || list("preferredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .any(|weighted| crosses(&weighted["podAffinityTerm"]))
    })
}

/// The resources whose objects a quota's limits count, as group and name.
pub(super) fn counted_resources(hard: &Amounts) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    let core = |name: &str| (String::new(), name.to_owned());
    for name in hard.keys() {
        if let Some(counted) = name.strip_prefix("count/") {
            let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
            found.insert((group.to_owned(), resource.to_owned()));
            continue;
        }
        let special = ["pods", "services", "persistentvolumeclaims"].into_iter().find(|resource| {
            Counted { resource: Resource { group: "", name: resource }, now: 0 }.concerns(name)
        });
        let plain = PLAIN_COUNTS.into_iter().find(|plain| plain == name);
        found.extend(special.or(plain).map(core));
    }
    found
}
