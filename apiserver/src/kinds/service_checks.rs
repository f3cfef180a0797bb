//! Whether a service makes sense, and what may change of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::labels::{self, complain};
use super::pod_spec::check_port;
use super::service::is_reached_from_outside;
use super::tree::objects;
use super::{address, names};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

/// The longest time for which clients stay with a pod: a day.
const LONGEST_AFFINITY: i64 = 86_400;

/// Checks a service by itself.
pub(super) fn validate(service: &Object, errors: &mut FieldErrors) {
    let nothing = Object::new();
    let spec = object::map(service, &["spec"]).unwrap_or(&nothing);
    let path = Path::new("spec");
    let kind = object::text(spec, &["type"]);
    let headless = is_headless(spec);
    let no_ports = object::list(spec, &["ports"]).is_empty();
    if no_ports && !headless && kind != "ExternalName" {
        errors.required(&path.child("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.invalid(&path.child("clusterIPs").index(0), "None", detail);
        }
        "ExternalName" => check_external_name(spec, &path, errors),
        _ => {}
    }
    check_ports(spec, &path.child("ports"), errors);
    labels::check_labels(object::map(spec, &["selector"]), &path.child("selector"), errors);
    check_affinity(spec, &path, errors);
    if kind != "ExternalName" {
        check_cluster_ips(spec, &path, errors);
    }
    for (index, ip) in object::list(spec, &["externalIPs"]).iter().enumerate() {
        let (ip, path) = (ip.as_str().unwrap_or_default(), path.child("externalIPs").index(index));
        let before = errors.0.len();
        address::check(ip, &path, errors);
        if errors.0.len() == before {
            address::check_endpoint(ip, &path, errors);
        }
    }
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !kinds.contains(&kind) {
        errors.not_supported(&path.child("type"), kind, &kinds);
    }
    check_unique_ports(spec, kind, &path.child("ports"), errors);
    check_balancer(spec, kind, &path, errors);
    check_policies(spec, kind, &path, errors);
}

/// Whether a service has no address of its own.
pub(super) fn is_headless(spec: &Object) -> bool {
    let ips = object::list(spec, &["clusterIPs"]);
    match ips {
        [] => object::text(spec, &["clusterIP"]) == "None",
        [ip] => ip == "None",
        _ => false,
    }
}

fn is_there(spec: &Object, field: &str) -> bool {
    spec.get(field).is_some_and(|value| !value.is_null())
}

fn check_external_name(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    let has_ips = !object::list(spec, &["clusterIPs"]).is_empty()
        || !object::text(spec, &["clusterIP"]).is_empty();
    for (field, there) in [
        ("clusterIPs", has_ips),
        ("ipFamilies", !object::list(spec, &["ipFamilies"]).is_empty()),
        ("ipFamilyPolicy", is_there(spec, "ipFamilyPolicy")),
    ] {
        if there {
            errors.forbidden(&path.child(field), "may not be set for ExternalName services");
        }
    }
    let name = object::text(spec, &["externalName"]);
    let (name, at) = (name.strip_suffix('.').unwrap_or(name), path.child("externalName"));
    if name.is_empty() {
        errors.required(&at, "");
    } else {
        complain(&names::dns_subdomain(name), &at, name, errors);
    }
}

fn check_ports(spec: &Object, at: &Path, errors: &mut FieldErrors) {
    let many = object::list(spec, &["ports"]).len() > 1;
    let mut seen = BTreeSet::new();
    for (index, port) in objects(spec, &["ports"]).enumerate() {
        let path = at.index(index);
        let name = object::text(port, &["name"]);
        if !name.is_empty() {
            complain(&names::dns_label(name), &path.child("name"), name, errors);
            if !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        } else if many {
            errors.required(&path.child("name"), "");
        }
        let number = object::number(port, &["port"]).unwrap_or(0);
        for fault in names::port_number(number) {
            errors.invalid(&path.child("port"), number, fault);
        }
        super::pod_spec::choose(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
        check_port(port.get("targetPort"), &path.child("targetPort"), errors);
        if let Some(protocol) = port.get("appProtocol").and_then(Value::as_str) {
            let path = path.child("appProtocol");
            complain(&names::qualified(protocol), &path, protocol, errors);
        }
    }
}

fn check_affinity(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    let (affinity, at) = (object::text(spec, &["sessionAffinity"]), path.child("sessionAffinity"));
    if !matches!(affinity, "ClientIP" | "None") {
        errors.not_supported(&at, affinity, &["ClientIP", "None"]);
    }
    let seconds = object::number(spec, &["sessionAffinityConfig", "clientIP", "timeoutSeconds"]);
    if let Some(seconds) = seconds.filter(|_| affinity == "ClientIP")
        && !(1..=LONGEST_AFFINITY).contains(&seconds)
    {
        let at = path.child("sessionAffinityConfig").child("clientIP").child("timeoutSeconds");
        let detail = format!("must be greater than 0 and less than {LONGEST_AFFINITY}");
        errors.invalid(&at, seconds, detail);
    }
}

fn check_cluster_ips(spec: &Object, path: &Path, errors: &mut FieldErrors) {
    let ips = object::list(spec, &["clusterIPs"]);
    let first = object::text(spec, &["clusterIP"]);
    let at = path.child("clusterIPs");
    if !ips.is_empty() && first.is_empty() {
        let detail = "must be empty when `clusterIP` is not specified";
        errors.invalid(&at, ips.to_vec(), detail);
    } else if ips.first().is_some_and(|ip| ip != first) {
        errors.invalid(&at, ips.to_vec(), "first value must match `clusterIP`");
    }
    let mut families = BTreeSet::new();
    for (index, family) in object::list(spec, &["ipFamilies"]).iter().enumerate() {
        let (family, path) =
            (family.as_str().unwrap_or_default(), path.child("ipFamilies").index(index));
        if !matches!(family, "IPv4" | "IPv6") {
            errors.not_supported(&path, family, &["IPv4", "IPv6"]);
        }
        if !families.insert(family) {
            errors.duplicate(&path, family);
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    let policy = object::text(spec, &["ipFamilyPolicy"]);
    if !policy.is_empty() && !policies.contains(&policy) {
        errors.not_supported(&path.child("ipFamilyPolicy"), policy, &policies);
    }
    // Before the two fields are made to agree, the address may stand in the older one alone.
    let only_first = [Value::from(first)];
    let ips = if ips.is_empty() && !first.is_empty() { &only_first[..] } else { ips };
    for (index, ip) in ips.iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if index == 0 && ip == "None" {
            if ips.len() > 1 {
                errors.invalid(&at, ips.to_vec(), "'None' must be the first and only value");
            }
            continue;
        }
        address::check(ip, &at.index(index), errors);
    }
    if ips.len() > 2 {
        errors.invalid(&at, ips.to_vec(), "may only hold up to 2 values");
    }
}

fn check_unique_ports(spec: &Object, kind: &str, at: &Path, errors: &mut FieldErrors) {
    let number = |port: &Object, field: &str| object::number(port, &[field]).unwrap_or(0);
    let with_node_ports =
        || objects(spec, &["ports"]).enumerate().filter(|(_, it)| number(it, "nodePort") != 0);
    if kind == "ClusterIP" {
        for (index, _) in with_node_ports() {
            let detail = "may not be used when `type` is 'ClusterIP'";
            errors.forbidden(&at.index(index).child("nodePort"), detail);
        }
    }
    let mut seen = BTreeSet::new();
    for (index, port) in with_node_ports() {
        if !seen.insert((object::text(port, &["protocol"]), number(port, "nodePort"))) {
            errors.duplicate(&at.index(index).child("nodePort"), number(port, "nodePort"));
        }
    }
    let mut seen = BTreeSet::new();
    for (index, port) in objects(spec, &["ports"]).enumerate() {
        let protocol = object::text(port, &["protocol"]);
        if !seen.insert((protocol, number(port, "port"))) {
            let shown = serde_json::json!({
                "Name": "",
                "Protocol": protocol,
                "AppProtocol": null,
                "Port": number(port, "port"),
                "TargetPort": 0,
                "NodePort": 0,
            });
            errors.duplicate(&at.index(index), shown);
        }
    }
}

fn check_balancer(spec: &Object, kind: &str, path: &Path, errors: &mut FieldErrors) {
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    let balanced = kind == "LoadBalancer";
    let at = path.child("LoadBalancerSourceRanges");
    let ranges = object::list(spec, &["loadBalancerSourceRanges"]);
    if !ranges.is_empty() && !balanced {
        errors.forbidden(&at, ONLY);
    }
    for (index, range) in ranges.iter().enumerate() {
        let range = range.as_str().unwrap_or_default().trim();
        address::check_range(range, &at.index(index), errors);
    }
    if is_there(spec, "allocateLoadBalancerNodePorts") && !balanced {
        errors.forbidden(&path.child("allocateLoadBalancerNodePorts"), ONLY);
    }
    let class_at = path.child("loadBalancerClass");
    if let Some(class) = spec.get("loadBalancerClass").and_then(Value::as_str) {
        if balanced {
            complain(&names::qualified(class), &class_at, class, errors);
        } else {
            errors.forbidden(&class_at, ONLY);
        }
    }
}

fn check_policies(spec: &Object, kind: &str, path: &Path, errors: &mut FieldErrors) {
    let (outside, at) = (object::text(spec, &["externalTrafficPolicy"]), "externalTrafficPolicy");
    if !is_reached_from_outside(spec) {
        if !outside.is_empty() {
            let detail = "may only be set for externally-accessible services";
            errors.invalid(&path.child(at), outside, detail);
        }
    } else {
        super::pod_spec::choose(spec, at, &["Cluster", "Local"], path, errors);
    }
    let port = object::number(spec, &["healthCheckNodePort"]).unwrap_or(0);
    let checked = kind == "LoadBalancer" && outside == "Local";
    let at = path.child("healthCheckNodePort");
    if port != 0 && !checked {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` \
                      is 'Local'";
        errors.invalid(&at, port, detail);
    } else if port != 0 {
        for fault in names::port_number(port) {
            errors.invalid(&at, port, fault);
        }
    }
    let inside = object::text(spec, &["internalTrafficPolicy"]);
    if !matches!(inside, "" | "Cluster" | "Local") {
        let supported = ["Cluster", "Local"];
        errors.not_supported(&path.child("internalTrafficPolicy"), inside, &supported);
    }
    let ways = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    if let Some(way) = spec.get("trafficDistribution").and_then(Value::as_str)
        && !ways.contains(&way)
    {
        errors.not_supported(&path.child("trafficDistribution"), way, &ways);
    }
}

/// An address is a service's for good, unless it becomes or was but another name.
pub(super) fn validate_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let nothing = Object::new();
    let (after, before) = (
        object::map(new, &["spec"]).unwrap_or(&nothing),
        object::map(old, &["spec"]).unwrap_or(&nothing),
    );
    let path = Path::new("spec");
    let kind = |spec| object::text(spec, &["type"]);
    if kind(after) != "ExternalName" && kind(before) != "ExternalName" {
        check_kept(after, before, "clusterIPs", "primary clusterIP can not be unset", errors);
        if is_headless(after) == is_headless(before) && !is_headless(after) {
            check_kept(after, before, "ipFamilies", "primary ipFamily can not be unset", errors);
        }
    }
    let balanced = |spec| kind(spec) == "LoadBalancer";
    let class = |spec: &Object| spec.get("loadBalancerClass").cloned().unwrap_or(Value::Null);
    if balanced(after) && balanced(before) && class(after) != class(before) {
        let path = path.child("loadBalancerClass");
        errors.invalid(&path, class(after), "may not change once set");
    }
    let checked =
        |spec| balanced(spec) && object::text(spec, &["externalTrafficPolicy"]) == "Local";
    let port = |spec| object::number(spec, &["healthCheckNodePort"]);
    if checked(after) && checked(before) && port(after) != port(before) {
        errors.forbidden(&path.child("healthCheckNodePort"), super::IMMUTABLE);
    }
}

/// The first of two values stays; the second may come, and go with a policy that says so.
fn check_kept(after: &Object, before: &Object, field: &str, unset: &str, errors: &mut FieldErrors) {
    if is_headless(after) && is_headless(before) {
        return;
    }
    let path = Path::new("spec").child(field);
    let (now, was) = (object::list(after, &[field]), object::list(before, &[field]));
    let shown = || Value::Array(now.to_vec());
    if now.is_empty() && !was.is_empty() {
        return errors.invalid(&path.index(0), Value::Null, unset);
    }
    let compared = if now.len() == was.len() { now.len() } else { 1 };
    for (index, (now, was)) in now.iter().zip(was).take(compared).enumerate() {
        if now != was {
            errors.invalid(&path.index(index), shown(), "may not change once set");
        }
    }
    let policy = object::text(after, &["ipFamilyPolicy"]);
    if now.len() == 1 && was.len() > 1 && policy != "SingleStack" {
        let secondary = if field == "clusterIPs" { "clusterIP" } else { "ipFamily" };
        let detail =
            format!("must be set to 'SingleStack' when releasing the secondary {secondary}");
        errors.invalid(&Path::new("spec").child("ipFamilyPolicy"), policy, detail);
    }
}

/// Checks what a load balancer says of itself.
pub(super) fn validate_status(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let at = Path::new("status").child("loadBalancer").child("ingress");
    let list = &["status", "loadBalancer", "ingress"];
    let balanced = object::text(new, &["spec", "type"]) == "LoadBalancer";
    if !balanced && !object::list(new, list).is_empty() {
        return errors.forbidden(&at, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    let known: Vec<&str> = objects(old, list).map(|it| object::text(it, &["ip"])).collect();
    for (index, ingress) in objects(new, list).enumerate() {
        let path = at.index(index);
        let text = |field: &str| object::text(ingress, &[field]);
        let (ip, host, mode) = (text("ip"), text("hostname"), text("ipMode"));
        let mode_at = path.child("ipMode");
        if !ip.is_empty() && !known.contains(&ip) {
            address::check(ip, &path.child("ip"), errors);
        }
        match (ip, mode) {
            ("", "") => {}
            (_, "") => errors.required(&mode_at, "must be specified when `ip` is set"),
            ("", _) => errors.forbidden(&mode_at, "may not be specified when `ip` is not set"),
            (_, "Proxy" | "VIP") => {}
            (_, other) => errors.not_supported(&mode_at, other, &["Proxy", "VIP"]),
        }
        if !host.is_empty() {
            let path = path.child("hostname");
            complain(&names::dns_subdomain(host), &path, host, errors);
            if address::parse(host).is_some() {
                errors.invalid(&path, host, "must be a DNS name, not an IP address");
            }
        }
    }
}

/// Warns of what a service of its type has no use for.
pub(super) fn warnings(service: &Object) -> Vec<String> {
    let nothing = Object::new();
    let spec = object::map(service, &["spec"]).unwrap_or(&nothing);
    let text = |field: &str| object::text(spec, &[field]);
    let external = object::list(spec, &["externalIPs"]);
    let named = text("type") == "ExternalName";
    let mut warnings = Vec::new();
    let (old, new) =
        ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode");
    if object::at(service, &["metadata", "annotations", old]).is_some() {
        warnings.push(format!("annotation {old} is deprecated, please use {new} instead"));
    }
    let path = Path::new("spec");
    if !is_headless(spec) {
        warn_of_addresses(
            object::list(spec, &["clusterIPs"]),
            &path.child("clusterIPs"),
            &mut warnings,
        );
    } else {
        for (ignored, there) in [
            ("loadBalancerIP", !text("loadBalancerIP").is_empty()),
            ("externalIPs", !external.is_empty()),
            ("SessionAffinity", text("sessionAffinity") != "None"),
        ] {
            if there {
                warnings.push(format!("spec.{ignored} is ignored for headless services"));
            }
        }
    }
    warn_of_addresses(external, &path.child("externalIPs"), &mut warnings);
    if !external.is_empty() && !is_headless(spec) && !named {
        let why = "is deprecated and may no longer be implemented in some clusters";
        warnings.push(format!("spec.externalIPs {why}"));
    }
    if named && !external.is_empty() {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !named && !text("externalName").is_empty() {
        let why = "spec.externalName is ignored when spec.type is not \"ExternalName\"";
        warnings.push(why.to_owned());
    }
    if text("trafficDistribution") == "PreferClose" {
        let why = "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"";
        warnings.push(why.to_owned());
    }
    warnings
}

fn warn_of_addresses(addresses: &[Value], at: &Path, warnings: &mut Vec<String>) {
    for (index, text) in addresses.iter().enumerate() {
        let text = text.as_str().unwrap_or_default();
        warnings.extend(address::warning(text, &at.index(index)));
    }
}
