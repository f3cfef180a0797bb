//! Services: names and ports in front of pods. Addresses and node ports are the allocators'.

use std::collections::BTreeSet;

use serde_json::Value;

use super::columns::{self, AGE, NAME, age, count, name, text, wide};
use super::tree::{each, fill};
use super::{Kind, PLAIN, names, service_checks, service_update, status_of};
use crate::object::{self, Object};

pub(super) const SERVICES: Kind = Kind {
    kind: "Service",
    resource: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[status_of("", "Service")],
    stored_under: "services/specs",
    columns: &[
        NAME,
        text("Type", "How it is reached."),
        text("Cluster-IP", "Its address within the cluster."),
        text("External-IP", "Its addresses outside of the cluster."),
        text("Port(s)", "Its ports, with those of the nodes."),
        AGE,
        wide("Selector", "Which pods answer for it."),
    ],
    cells,
    selectable: &["spec.clusterIP", "spec.type"],
    selected: super::text_at,
    default,
    prepare_create: service_update::prepare_create,
    prepare_update: service_update::prepare_update,
    validate: service_checks::validate,
    warnings: |service, _| service_checks::warnings(service),
    validate_update: service_checks::validate_update,
    validate_status_update: service_checks::validate_status,
    name_rule: names::dns_label,
    create_on_update: true,
    ..PLAIN
};

fn cells(service: &Object, now: i64) -> Vec<Value> {
    let first = object::list(service, &["spec", "clusterIPs"]).first().and_then(Value::as_str);
    let address = first.unwrap_or_else(|| object::text(service, &["spec", "clusterIP"]));
    let ports: Vec<String> = object::list(service, &["spec", "ports"])
        .iter()
        .filter_map(Value::as_object)
        .map(port)
        .collect();
    vec![
        name(service),
        object::text(service, &["spec", "type"]).into(),
        columns::or(address, "<none>").into(),
        external_addresses(service).into(),
        columns::or(&ports.join(","), "<none>").into(),
        age(service, now),
        columns::labels(object::map(service, &["spec", "selector"])).into(),
    ]
}

fn port(port: &Object) -> String {
    let number = count(port, &["port"]);
    let protocol = object::text(port, &["protocol"]);
    match count(port, &["nodePort"]) {
        node_port if node_port > 0 => format!("{number}:{node_port}/{protocol}"),
        _ => format!("{number}/{protocol}"),
    }
}

fn external_addresses(service: &Object) -> String {
    let by_hand: Vec<&str> =
        object::list(service, &["spec", "externalIPs"]).iter().filter_map(Value::as_str).collect();
    match object::text(service, &["spec", "type"]) {
        "ClusterIP" | "NodePort" => columns::or(&by_hand.join(","), "<none>").to_owned(),
        "LoadBalancer" => {
            let balancer = balancer_addresses(service);
            let all: Vec<&str> = balancer.into_iter().chain(by_hand).collect();
            columns::or(&all.join(","), "<pending>").to_owned()
        }
        "ExternalName" => object::text(service, &["spec", "externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// What the load balancer was given: addresses, or names where there is none.
fn balancer_addresses(service: &Object) -> BTreeSet<&str> {
    object::list(service, &["status", "loadBalancer", "ingress"])
        .iter()
        .filter_map(Value::as_object)
        .map(|at| columns::or(object::text(at, &["ip"]), object::text(at, &["hostname"])))
        .filter(|address| !address.is_empty())
        .collect()
}

fn default(service: &mut Object) {
    let spec = object::map_mut(service, &["spec"]);
    fill(spec, "sessionAffinity", "None");
    match object::text(spec, &["sessionAffinity"]) {
        "None" => drop(spec.remove("sessionAffinityConfig")),
        "ClientIP" => {
            object::set_default(
                spec,
                &["sessionAffinityConfig", "clientIP", "timeoutSeconds"],
                10_800,
            );
        }
        _ => {}
    }
    fill(spec, "type", "ClusterIP");
    each(spec, &["ports"], |port| {
        fill(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or(Value::Null);
        fill(port, "targetPort", number);
    });
    if is_reached_from_outside(spec) {
        fill(spec, "externalTrafficPolicy", "Cluster");
    }
    let kind = object::text(spec, &["type"]).to_owned();
    if matches!(&*kind, "NodePort" | "LoadBalancer" | "ClusterIP") {
        object::set_default(spec, &["internalTrafficPolicy"], "Cluster");
    }
    if kind == "LoadBalancer" {
        object::set_default(spec, &["allocateLoadBalancerNodePorts"], true);
        each(service, &["status", "loadBalancer", "ingress"], |ingress| {
            if !object::text(ingress, &["ip"]).is_empty() {
                object::set_default(ingress, &["ipMode"], "VIP");
            }
        });
    }
    object::set_default(service, &["status", "loadBalancer"], Object::new());
}

pub(super) fn is_reached_from_outside(spec: &Object) -> bool {
    match object::text(spec, &["type"]) {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !object::list(spec, &["externalIPs"]).is_empty(),
        _ => false,
    }
}
