//! What a service keeps, gets and loses when it is made and changed.
//!
//! Addresses and node ports are allocated elsewhere. What was allocated stays although an update
//! does not repeat it, and goes where the new type of service has no use for it.

use serde_json::Value;

use super::columns::count;
use super::service::is_reached_from_outside;
use super::tree::{each, existing, objects};
use super::with_old_status;
use crate::object::{self, Object};

/// The address stands in two fields, of which one is older: clients that know only that one mean
/// both.
pub(super) fn prepare_create(new: &mut Object) {
    object::set(new, &["status"], serde_json::json!({"loadBalancer": {}}));
    let spec = object::map_mut(new, &["spec"]);
    let first = object::text(spec, &["clusterIP"]).to_owned();
    if !first.is_empty() && object::list(spec, &["clusterIPs"]).is_empty() {
        object::set(spec, &["clusterIPs"], vec![Value::from(first)]);
    }
}

/// What was allocated and is not mentioned stays.
fn keep_allocated(after: &mut Object, before: &Object) {
    if has_cluster_ip(after) && has_cluster_ip(before) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            let missing = match after.get(field) {
                None | Some(Value::Null) => true,
                Some(Value::String(text)) => text.is_empty(),
                Some(Value::Array(items)) => items.is_empty(),
                Some(_) => false,
            };
            if let Some(value) = before.get(field).filter(|_| missing) {
                after.insert(field.to_owned(), value.clone());
            }
        }
    }
    if has_node_ports(after) && has_node_ports(before) {
        keep_node_ports(after, before);
    }
    if has_health_check_port(after)
        && has_health_check_port(before)
        && count(after, &["healthCheckNodePort"]) == 0
        && let Some(port) = before.get("healthCheckNodePort")
    {
        after.insert("healthCheckNodePort".to_owned(), port.clone());
    }
}

/// Ports are known by their names; a node port that another port asks for now is not kept.
fn keep_node_ports(after: &mut Object, before: &Object) {
    let asked_for: Vec<i64> =
        objects(after, &["ports"]).map(|port| count(port, &["nodePort"])).collect();
    each(after, &["ports"], |port| {
        let name = object::text(port, &["name"]);
        let old = objects(before, &["ports"]).rfind(|it| object::text(it, &["name"]) == name);
        let old = old.map_or(0, |it| count(it, &["nodePort"]));
        if count(port, &["nodePort"]) == 0 && old != 0 && !asked_for.contains(&old) {
            object::set(port, &["nodePort"], old);
        }
    });
}

/// Whoever changes one of the two fields of the address means the other one, too.
fn agree_on_addresses(after: &mut Object, before: &Object) {
    let first = |spec: &Object| object::text(spec, &["clusterIP"]).to_owned();
    let (new, old) = (first(after), first(before));
    if new == old || object::list(after, &["clusterIPs"]) != object::list(before, &["clusterIPs"]) {
        return;
    }
    if new.is_empty() {
        after.remove("clusterIPs");
    } else {
        object::set(after, &["clusterIPs"], vec![Value::from(new)]);
    }
}

/// Whether a service of this type has an address within the cluster.
fn has_cluster_ip(spec: &Object) -> bool {
    matches!(object::text(spec, &["type"]), "ClusterIP" | "NodePort" | "LoadBalancer")
}

fn has_node_ports(spec: &Object) -> bool {
    match object::text(spec, &["type"]) {
        "NodePort" => true,
        "LoadBalancer" => object::at(spec, &["allocateLoadBalancerNodePorts"])
            .is_none_or(|allocate| allocate != &Value::Bool(false)),
        _ => false,
    }
}

fn has_health_check_port(spec: &Object) -> bool {
    object::text(spec, &["type"]) == "LoadBalancer"
        && object::text(spec, &["externalTrafficPolicy"]) == "Local"
}

/// The status stays. What another type of service does not have goes, unless the update changes it:
/// then it is a mistake, and validation says so.
pub(super) fn prepare_update(new: &mut Object, old: &Object) {
    with_old_status(new, old);
    let Some(before) = object::map(old, &["spec"]) else { return };
    let after = object::map_mut(new, &["spec"]);
    keep_allocated(after, before);
    agree_on_addresses(after, before);
    let forget = |after: &mut Object, field: &str| {
        if after.get(field) == before.get(field) {
            after.remove(field);
        }
    };
    if has_cluster_ip(before) && !has_cluster_ip(after) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            forget(after, field);
        }
    }
    let node_ports = |spec: &Object| -> Vec<i64> {
        objects(spec, &["ports"]).map(|port| count(port, &["nodePort"])).collect()
    };
    if has_node_ports(before) && !has_node_ports(after) && node_ports(before) == node_ports(after) {
        each(after, &["ports"], |port| drop(port.remove("nodePort")));
    }
    if has_health_check_port(before) && !has_health_check_port(after) {
        forget(after, "healthCheckNodePort");
    }
    let balanced = |spec: &Object| object::text(spec, &["type"]) == "LoadBalancer";
    if balanced(before) && !balanced(after) {
        forget(after, "allocateLoadBalancerNodePorts");
        forget(after, "loadBalancerClass");
    }
    if is_reached_from_outside(before) && !is_reached_from_outside(after) {
        forget(after, "externalTrafficPolicy");
    }
    if !balanced(after)
        && let Some(status) = existing(new, &["status"])
    {
        status.insert("loadBalancer".to_owned(), Value::Object(Object::new()));
    }
}
