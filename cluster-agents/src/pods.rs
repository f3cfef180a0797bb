//! Questions about pods that several agents ask.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;

use crate::kinds::Watched;
use crate::quantity::{self, Amounts};

pub(crate) fn node(pod: &Pod) -> Option<&str> {
    let node = pod.spec.as_ref()?.node_name.as_deref()?;
    (!node.is_empty()).then_some(node)
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Its containers have ended and will not be started again.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// It runs, or is going to.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !pod.is_deleting()
}

pub(crate) fn condition<'a>(pod: &'a Pod, name: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == name)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when it has been ready.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let condition = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// How long until it has been ready for `seconds`; zero when it has. `None`: it is not ready.
pub(crate) fn available_in(pod: &Pod, seconds: i32, now: Timestamp) -> Option<Duration> {
    if !is_ready(pod) {
        return None;
    }
    if seconds <= 0 {
        return Some(Duration::ZERO);
    }
    let since = ready_since(pod)?;
    let ready_for = now.duration_since(since);
    let needed = k8s_openapi::jiff::SignedDuration::from_secs(i64::from(seconds));
    Some(Duration::try_from(needed - ready_for).unwrap_or(Duration::ZERO))
}

/// The age at which ties are broken: when it was created.
pub(crate) fn created<K: Watched>(object: &K) -> Option<Timestamp> {
    object.metadata().creation_timestamp.as_ref().map(|time| time.0)
}

/// Whether an init container keeps running beside the others.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What a pod asks of its node: its containers together, or what starting them takes if that is
/// more, and what its runtime adds.
pub(crate) fn requests(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let mut running = Amounts::new();
    for container in &spec.containers {
        quantity::add(&mut running, &container_requests(container));
    }
    let mut sidecars = Amounts::new();
    let mut starting = Amounts::new();
    for container in spec.init_containers.as_deref().unwrap_or_default() {
        let own = container_requests(container);
        if is_sidecar(container) {
            quantity::add(&mut running, &own);
            quantity::add(&mut sidecars, &own);
            quantity::raise(&mut starting, &sidecars);
        } else {
            let mut together = sidecars.clone();
            quantity::add(&mut together, &own);
            quantity::raise(&mut starting, &together);
        }
    }
    quantity::raise(&mut running, &starting);
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    for (name, amount) in quantity::amounts(whole) {
        running.insert(name, amount);
    }
    quantity::add(&mut running, &quantity::amounts(spec.overhead.as_ref()));
    running
}

fn container_requests(container: &Container) -> Amounts {
    let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
    quantity::amounts(requests)
}

/// A port of the node that a pod takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort {
    pub(crate) port: i32,
    pub(crate) protocol: String,
    pub(crate) address: String,
}

const ANY_ADDRESS: &str = "0.0.0.0";

impl HostPort {
    pub(crate) fn clashes(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address
                || self.address == ANY_ADDRESS
                || other.address == ANY_ADDRESS)
    }
}

pub(crate) fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let taken = ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.as_deref().filter(|address| !address.is_empty());
        Some(HostPort {
            port: number,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            address: address.unwrap_or(ANY_ADDRESS).to_owned(),
        })
    });
    taken.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn asks(cpu: &str) -> serde_json::Value {
        json!({"requests": {"cpu": cpu}})
    }

    #[test]
    fn requests_are_the_containers_or_what_starting_them_takes() {
        let plain = pod(json!({"containers": [
            {"name": "a", "resources": asks("1")}, {"name": "b", "resources": asks("500m")}]}));
        assert_eq!(requests(&plain)["cpu"], 1_500);
        let init = pod(json!({
            "containers": [{"name": "a", "resources": asks("1")}],
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": asks("250m")},
                {"name": "big", "resources": asks("2")}],
            "overhead": {"cpu": "100m"},
        }));
        assert_eq!(requests(&init)["cpu"], 2_350, "the sidecar, the init container, the overhead");
    }

    #[test]
    fn ports_clash_on_the_same_address_or_on_any() {
        let port = |address: &str| HostPort {
            port: 80,
            protocol: "TCP".to_owned(),
            address: address.to_owned(),
        };
        assert!(port("0.0.0.0").clashes(&port("10.0.0.1")));
        assert!(!port("10.0.0.2").clashes(&port("10.0.0.1")));
    }
}
