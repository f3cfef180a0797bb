//! Keeps the Endpoints object of each service that selects pods: the older form of endpoint
//! slices, in one object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
    ServicePort,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;

use crate::action::{Action, Decision};
use crate::engine::{self, Controller};
use crate::kinds::{Key, Object, Watched};
use crate::labels;
use crate::pods;
use crate::world::{Change, World};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// Addresses in one object; more are left out, which an annotation says.
const ADDRESSES_MOST: usize = 1000;

pub(crate) fn controller() -> Controller {
    Controller {
        name: "endpoint-controller",
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
            Object::Endpoints(endpoints) => {
                out.insert(endpoints.key());
            }
            Object::Pod(pod) => services_of(world, pod, out),
            _ => {}
        }
    }
}

/// The services that select a pod.
pub(crate) fn services_of(world: &World, pod: &Pod, out: &mut BTreeSet<Key>) {
    for service in world.tables.services.within(pod.namespace()) {
        if selector(service)
            .is_some_and(|wanted| labels::include(pod.metadata.labels.as_ref(), wanted))
        {
            out.insert(service.key());
        }
    }
}

/// What a service selects its pods by; `None` if its endpoints are somebody else's.
pub(crate) fn selector(service: &Service) -> Option<&labels::Labels> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.selector.as_ref()
}

/// Pods that a service selects.
pub(crate) fn selected<'a>(
    world: &'a World,
    service: &'a Service,
    wanted: &'a labels::Labels,
) -> impl Iterator<Item = &'a Arc<Pod>> {
    let pods = world.tables.pods.within(service.namespace());
    pods.filter(move |pod| labels::include(pod.metadata.labels.as_ref(), wanted))
}

pub(crate) fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
    matches!(address, None | Some("" | "None"))
}

pub(crate) fn publishes_unready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// The number of the port that a service's port leads to on a pod.
pub(crate) fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let sidecars = spec.init_containers.iter().flatten().filter(|c| pods::is_sidecar(c));
            let ports =
                spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
            ports
                .filter(|known| known.name.as_deref() == Some(name))
                .find(|known| known.protocol.as_deref().unwrap_or("TCP") == protocol)
                .map(|known| known.container_port)
        }
    }
}

pub(crate) fn pod_reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The host name by which a headless service makes a pod known.
pub(crate) fn host_name(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let subdomain = spec.subdomain.as_deref()?;
    (subdomain == service.name()).then(|| spec.hostname.clone()).flatten()
}

/// When what the endpoints tell has last changed: the service, or the readiness of a pod.
pub(crate) fn trigger_time<'a>(
    service: &Service,
    pods: impl Iterator<Item = &'a Arc<Pod>>,
) -> Option<String> {
    let changes = pods.filter_map(|pod| {
        let ready = pods::condition(pod, "Ready")?;
        ready.last_transition_time.as_ref().map(|time| time.0)
    });
    let last = changes.chain(pods::created(service)).max()?;
    Some(last.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn decide(world: &World, key: &Key, _: Timestamp) -> Decision {
    let known = world.tables.endpoints.find(key);
    let Some(service) = world.tables.services.find(key) else {
        let leftover = known.filter(|known| {
            !known.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(LEADER))
        });
        return leftover.map_or_else(Decision::nothing, |endpoints| {
            Decision::one(Action::delete(&**endpoints))
        });
    };
    let Some(wanted) = selector(service) else { return Decision::nothing() };
    if service.is_deleting() || world.is_terminating(service.namespace()) {
        return Decision::nothing();
    }
    let (subsets, truncated) = truncate(subsets(service, selected(world, service, wanted)));
    let labels = endpoints_labels(service);
    if let Some(known) = known {
        let over =
            known.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(OVER_CAPACITY));
        let same = plain(known.subsets.as_deref().unwrap_or_default()) == plain(&subsets);
        if same && over == truncated && known.metadata.labels.as_ref() == Some(&labels) {
            return Decision::nothing();
        }
    }
    let mut endpoints = known.map_or_else(|| new_endpoints(service), |known| (**known).clone());
    let annotations = endpoints.metadata.annotations.get_or_insert_default();
    match trigger_time(service, selected(world, service, wanted)) {
        Some(time) => annotations.insert(TRIGGER.to_owned(), time),
        None => annotations.remove(TRIGGER),
    };
    if truncated {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else {
        annotations.remove(OVER_CAPACITY);
    }
    endpoints.metadata.labels = Some(labels);
    endpoints.subsets = (!subsets.is_empty()).then_some(subsets);
    Decision::one(match known {
        Some(_) => Action::replace(&endpoints),
        None => Action::create(&endpoints),
    })
}

fn new_endpoints(service: &Service) -> Endpoints {
    Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        subsets: None,
    }
}

fn endpoints_labels(service: &Service) -> labels::Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// A port by what makes it the same for two pods.
type Port = (String, i32, String, Option<String>);

/// Addresses that have the same ports share a subset.
fn subsets<'a>(service: &Service, pods: impl Iterator<Item = &'a Arc<Pod>>) -> Vec<EndpointSubset> {
    let unready = publishes_unready(service);
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let mut groups: BTreeMap<BTreeSet<Port>, Vec<(bool, EndpointAddress)>> = BTreeMap::new();
    for pod in pods {
        if pods::is_finished(pod) || pod.is_deleting() && !unready {
            continue;
        }
        let Some(address) = address(service, pod) else { continue };
        let own: BTreeSet<Port> = ports
            .iter()
            .filter_map(|port| {
                let number = target_port(pod, port)?;
                let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
                let name = port.name.clone().unwrap_or_default();
                Some((name, number, protocol, port.app_protocol.clone()))
            })
            .collect();
        if own.is_empty() && !(ports.is_empty() && is_headless(service)) {
            continue;
        }
        groups.entry(own).or_default().push((unready || pods::is_ready(pod), address));
    }
    groups.into_iter().map(|(ports, addresses)| subset(&ports, addresses)).collect()
}

fn subset(ports: &BTreeSet<Port>, mut addresses: Vec<(bool, EndpointAddress)>) -> EndpointSubset {
    addresses.sort_by_key(|(_, address)| sort_key(address));
    let some = |ready: bool| {
        let chosen = addresses.iter().filter(|(known, _)| *known == ready);
        let chosen: Vec<EndpointAddress> = chosen.map(|(_, address)| address.clone()).collect();
        (!chosen.is_empty()).then_some(chosen)
    };
    let ports: Vec<EndpointPort> = ports
        .iter()
        .map(|(name, port, protocol, app)| EndpointPort {
            name: (!name.is_empty()).then(|| name.clone()),
            port: *port,
            protocol: Some(protocol.clone()),
            app_protocol: app.clone(),
        })
        .collect();
    EndpointSubset {
        addresses: some(true),
        not_ready_addresses: some(false),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

fn sort_key(address: &EndpointAddress) -> (String, Option<String>) {
    let uid = address.target_ref.as_ref().and_then(|reference| reference.uid.clone());
    (address.ip.clone(), uid)
}

/// The address of a pod in the service's first family.
fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let status = pod.status.as_ref()?;
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_deref());
    let six = families.and_then(|families| families.first()).is_some_and(|family| family == "IPv6");
    let all = status.pod_ips.iter().flatten().map(|ip| &ip.ip).chain(&status.pod_ip);
    let ip = all.into_iter().find(|ip| !ip.is_empty() && ip.contains(':') == six)?;
    Some(EndpointAddress {
        ip: ip.clone(),
        hostname: host_name(pod, service),
        node_name: pods::node(pod).map(str::to_owned),
        target_ref: Some(pod_reference(pod)),
    })
}

/// Subsets in an order in which equal ones are equal.
fn plain(subsets: &[EndpointSubset]) -> BTreeSet<String> {
    let text = |subset: &EndpointSubset| {
        let mut subset = subset.clone();
        for list in [&mut subset.addresses, &mut subset.not_ready_addresses].into_iter().flatten() {
            list.sort_by_key(sort_key);
            for address in list {
                if let Some(reference) = &mut address.target_ref {
                    reference.resource_version = None;
                }
            }
        }
        if let Some(ports) = &mut subset.ports {
            ports.sort_by_key(|port| (port.name.clone().unwrap_or_default(), port.port));
        }
        serde_json::to_string(&subset).expect("objects of the API are maps with string keys")
    };
    subsets.iter().map(text).collect()
}

/// Leaves out what is too much: addresses that are not ready first.
fn truncate(mut subsets: Vec<EndpointSubset>) -> (Vec<EndpointSubset>, bool) {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    let total: usize =
        subsets.iter().map(|s| count(&s.addresses) + count(&s.not_ready_addresses)).sum();
    if total <= ADDRESSES_MOST {
        return (subsets, false);
    }
    let mut left = ADDRESSES_MOST;
    for subset in &mut subsets {
        keep(&mut subset.addresses, &mut left);
    }
    for subset in &mut subsets {
        keep(&mut subset.not_ready_addresses, &mut left);
    }
    (subsets, true)
}

fn keep(list: &mut Option<Vec<EndpointAddress>>, left: &mut usize) {
    if let Some(addresses) = list {
        addresses.truncate(*left);
        *left -= addresses.len();
    }
    *list = list.take().filter(|addresses| !addresses.is_empty());
}

#[cfg(test)]
pub(crate) mod tests;
