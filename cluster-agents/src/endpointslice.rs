//! Keeps the endpoint slices of each service that selects pods.
//!
//! Pods that have the same numbers for the service's ports share slices, one row of slices per
//! address family. A slice is changed as little as possible: endpoints stay in the slice they are
//! in, new ones fill up slices with room, and only then a new slice begins.
//!
//! Invariant: a slice has at most 100 endpoints, all of one family and with the same ports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use crate::action::{Action, Decision};
use crate::endpoints::{self, HEADLESS};
use crate::engine::{self, Controller};
use crate::kinds::{self, Key, Object, Watched};
use crate::labels::Labels;
use crate::pods;
use crate::world::{Change, World};

const ENDPOINTS_MOST: usize = 100;
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const ZONE: &str = "topology.kubernetes.io/zone";

pub(crate) fn controller() -> Controller {
    Controller {
        name: "endpointslice-controller",
        keys,
        decide,
        rank: engine::in_order,
        writers: 5,
        back_off: engine::CONTROLLER_BACK_OFF,
    }
}

fn keys(world: &World, change: &Change, out: &mut BTreeSet<Key>) {
    for side in change.sides() {
        match side {
            Object::Service(service) => {
                out.insert(service.key());
            }
            Object::EndpointSlice(slice) => {
                let name = slice.metadata.labels.as_ref().and_then(|all| all.get(SERVICE_NAME));
                out.extend(name.map(|name| Key::new(slice.namespace(), name)));
            }
            Object::Pod(pod) => endpoints::services_of(world, pod, out),
            _ => {}
        }
    }
}

/// Ports as text, so that they can be compared and sorted.
type Ports = String;

/// What the slices of a service should hold, by family and ports.
type Wanted = BTreeMap<(String, Ports), (Vec<EndpointPort>, BTreeMap<String, Endpoint>)>;

fn decide(world: &World, key: &Key, _: Timestamp) -> Decision {
    let Some(service) = world.tables.services.find(key) else { return Decision::nothing() };
    let Some(selector) = endpoints::selector(service) else { return Decision::nothing() };
    if service.is_deleting() || world.is_terminating(service.namespace()) {
        return Decision::nothing();
    }
    let known = world.tables.endpoint_slices.within(service.namespace()).filter(|slice| {
        let label = |name: &str| slice.metadata.labels.as_ref().and_then(|all| all.get(name));
        label(SERVICE_NAME).is_some_and(|name| name == service.name())
            && label(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
            && !slice.is_deleting()
    });
    let known: Vec<&Arc<EndpointSlice>> = known.collect();
    let pods: Vec<&Arc<Pod>> = endpoints::selected(world, service, selector).collect();
    let trigger = endpoints::trigger_time(service, pods.iter().copied());
    let mut wanted = Wanted::new();
    for family in families(service) {
        gather(world, service, &family, &pods, &mut wanted);
    }
    Decision::all(reconcile(service, &known, wanted, trigger.as_deref()))
}

fn families(service: &Service) -> Vec<String> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.clone());
    families.filter(|families| !families.is_empty()).unwrap_or_else(|| vec!["IPv4".to_owned()])
}

fn gather(world: &World, service: &Service, family: &str, pods: &[&Arc<Pod>], wanted: &mut Wanted) {
    for pod in pods {
        if pods::is_finished(pod) {
            continue;
        }
        let Some(endpoint) = endpoint(world, service, family, pod) else { continue };
        let ports = ports(service, pod);
        let group = wanted.entry((family.to_owned(), text(&ports))).or_default();
        group.0 = ports;
        group.1.insert(pod.uid().to_owned(), endpoint);
    }
    // A service without pods has one slice without endpoints and ports, so that it can be seen
    // that nobody is there.
    if !wanted.keys().any(|(known, _)| known == family) {
        wanted.insert((family.to_owned(), text(&[])), (Vec::new(), BTreeMap::new()));
    }
}

fn text(ports: &[EndpointPort]) -> Ports {
    let mut all: Vec<String> = ports
        .iter()
        .map(|port| serde_json::to_string(port).expect("ports are plain maps"))
        .collect();
    all.sort();
    all.join(",")
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let found = ports.filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(endpoints::target_port(pod, port)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    found.collect()
}

fn endpoint(world: &World, service: &Service, family: &str, pod: &Pod) -> Option<Endpoint> {
    let status = pod.status.as_ref()?;
    let six = family == "IPv6";
    let all = status.pod_ips.iter().flatten().map(|ip| &ip.ip).chain(&status.pod_ip);
    let mut addresses: Vec<String> =
        all.filter(|ip| !ip.is_empty() && ip.contains(':') == six).cloned().collect();
    addresses.truncate(1);
    if addresses.is_empty() {
        return None;
    }
    let serving = pods::is_ready(pod);
    let terminating = pod.is_deleting();
    let ready = endpoints::publishes_unready(service) || serving && !terminating;
    let node = pods::node(pod);
    let labels = node
        .and_then(|node| world.tables.nodes.named("", node))
        .and_then(|node| node.metadata.labels.as_ref());
    Some(Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: endpoints::host_name(pod, service),
        node_name: node.map(str::to_owned),
        target_ref: Some(endpoints::pod_reference(pod)),
        zone: labels.and_then(|labels| labels.get(ZONE)).cloned(),
        ..Endpoint::default()
    })
}

/// The pod that an endpoint stands for.
fn pod_of(endpoint: &Endpoint) -> &str {
    let reference = endpoint.target_ref.as_ref();
    reference.and_then(|reference| reference.uid.as_deref()).unwrap_or_default()
}

fn reconcile(
    service: &Service,
    known: &[&Arc<EndpointSlice>],
    wanted: Wanted,
    trigger: Option<&str>,
) -> Vec<Action> {
    let mut actions = Vec::new();
    let mut rest: Vec<&Arc<EndpointSlice>> = known.to_vec();
    for ((family, text_of_ports), (ports, mut missing)) in wanted {
        let group: Vec<&Arc<EndpointSlice>> = rest
            .extract_if(.., |slice| {
                slice.address_type == family
                    && text(slice.ports.as_deref().unwrap_or_default()) == text_of_ports
            })
            .collect();
        let mut slices: Vec<EndpointSlice> =
            group.iter().map(|slice| with_wanted(slice, &mut missing)).collect();
        fill(&mut slices, &mut missing);
        let mut kept = 0;
        for (before, mut after) in group.iter().zip(slices) {
            let empty = after.endpoints.as_ref().is_none_or(Vec::is_empty);
            let placeholder = kept == 0 && ports.is_empty() && missing.is_empty();
            if empty && !placeholder {
                actions.push(Action::delete(&***before));
                continue;
            }
            kept += 1;
            after.metadata.labels = Some(slice_labels(service, after.metadata.labels.as_ref()));
            if same(before, &after) {
                continue;
            }
            stamp(&mut after, trigger);
            actions.push(Action::replace(&after));
        }
        let mut left: Vec<Endpoint> = missing.into_values().collect();
        while !left.is_empty() || kept == 0 && ports.is_empty() {
            let some = left.split_off(left.len().saturating_sub(ENDPOINTS_MOST));
            kept += 1;
            actions.push(Action::create(&new_slice(service, &family, &ports, some, trigger)));
        }
    }
    actions.extend(rest.into_iter().map(|slice| Action::delete(&**slice)));
    actions
}

/// The slice without what is no longer wanted, and with what is known about the rest by now.
fn with_wanted(slice: &EndpointSlice, missing: &mut BTreeMap<String, Endpoint>) -> EndpointSlice {
    let mut after = slice.clone();
    let before = after.endpoints.take().unwrap_or_default();
    let kept = before.iter().filter_map(|endpoint| missing.remove(pod_of(endpoint)));
    after.endpoints = Some(kept.collect());
    after
}

/// Puts missing endpoints into slices with room, those that are fullest first.
fn fill(slices: &mut [EndpointSlice], missing: &mut BTreeMap<String, Endpoint>) {
    let mut order: Vec<usize> = (0..slices.len()).collect();
    let count = |slice: &EndpointSlice| slice.endpoints.as_ref().map_or(0, Vec::len);
    order.sort_by_key(|at| std::cmp::Reverse(count(&slices[*at])));
    for at in order {
        let endpoints = slices[at].endpoints.get_or_insert_default();
        while endpoints.len() < ENDPOINTS_MOST
            && let Some((_, endpoint)) = missing.pop_first()
        {
            endpoints.push(endpoint);
        }
    }
}

fn same(before: &EndpointSlice, after: &EndpointSlice) -> bool {
    before.endpoints.as_deref().unwrap_or_default()
        == after.endpoints.as_deref().unwrap_or_default()
        && before.metadata.labels == after.metadata.labels
}

fn stamp(slice: &mut EndpointSlice, trigger: Option<&str>) {
    let annotations = slice.metadata.annotations.get_or_insert_default();
    match trigger {
        Some(time) => annotations.insert(TRIGGER.to_owned(), time.to_owned()),
        None => annotations.remove(TRIGGER),
    };
}

/// The service's labels and our own. Labels that others put on a slice are not kept.
fn slice_labels(service: &Service, _: Option<&Labels>) -> Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.retain(|name, _| name != SERVICE_NAME && name != MANAGED_BY && name != HEADLESS);
    if endpoints::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.name().to_owned());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

fn new_slice(
    service: &Service,
    family: &str,
    ports: &[EndpointPort],
    endpoints: Vec<Endpoint>,
    trigger: Option<&str>,
) -> EndpointSlice {
    let mut slice = EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name())),
            namespace: service.metadata.namespace.clone(),
            labels: Some(slice_labels(service, None)),
            owner_references: Some(vec![kinds::controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.to_vec()),
    };
    stamp(&mut slice, trigger);
    slice
}

#[cfg(test)]
mod tests;
