//! Whether endpoints and their slices make sense.

use std::collections::BTreeSet;

use serde_json::Value;

use super::labels::complain;
use super::pod_spec::choose;
use super::tree::objects;
use super::{IMMUTABLE, address, names};
use crate::field::{FieldErrors, Path};
use crate::object::{self, Object};

/// The most endpoints, ports and addresses of a slice, and hints of an endpoint.
const MOST: (usize, usize, usize, usize) = (1000, 20_000, 100, 8);
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

/// Checks endpoints by themselves.
pub(super) fn validate(endpoints: &Object, errors: &mut FieldErrors) {
    for (index, subset) in objects(endpoints, &["subsets"]).enumerate() {
        let path = Path::new("subsets").index(index);
        let lists = ["addresses", "notReadyAddresses"];
        if lists.iter().all(|list| object::list(subset, &[list]).is_empty()) {
            errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
        }
        for list in lists {
            for (index, it) in objects(subset, &[list]).enumerate() {
                check_address(it, &path.child(list).index(index), errors);
            }
        }
        let many = object::list(subset, &["ports"]).len() > 1;
        for (index, port) in objects(subset, &["ports"]).enumerate() {
            let path = path.child("ports").index(index);
            let name = object::text(port, &["name"]);
            if !name.is_empty() {
                complain(&names::dns_label(name), &path.child("name"), name, errors);
            } else if many {
                errors.required(&path.child("name"), "");
            }
            let number = object::number(port, &["port"]).unwrap_or(0);
            for fault in names::port_number(number) {
                errors.invalid(&path.child("port"), number, fault);
            }
            choose(port, "protocol", PROTOCOLS, &path, errors);
            check_app_protocol(port, &path, errors);
        }
    }
}

fn check_address(it: &Object, path: &Path, errors: &mut FieldErrors) {
    let (ip, at) = (object::text(it, &["ip"]), path.child("ip"));
    address::check(ip, &at, errors);
    let host = object::text(it, &["hostname"]);
    if !host.is_empty() {
        complain(&names::dns_label(host), &path.child("hostname"), host, errors);
    }
    check_node(it, path, errors);
    address::check_endpoint(ip, &at, errors);
}

fn check_node(it: &Object, path: &Path, errors: &mut FieldErrors) {
    if let Some(node) = it.get("nodeName").and_then(Value::as_str) {
        complain(&names::dns_subdomain(node), &path.child("nodeName"), node, errors);
    }
}

fn check_app_protocol(port: &Object, path: &Path, errors: &mut FieldErrors) {
    if let Some(protocol) = port.get("appProtocol").and_then(Value::as_str) {
        complain(&names::qualified(protocol), &path.child("appProtocol"), protocol, errors);
    }
}

/// Checks a slice by itself.
pub(super) fn validate_slice(slice: &Object, errors: &mut FieldErrors) {
    let kinds = ["FQDN", "IPv4", "IPv6"];
    choose(slice, "addressType", &kinds, &Path::default(), errors);
    check_slice_ports(slice, &Path::new("ports"), errors);
    let at = Path::new("endpoints");
    let endpoints = object::list(slice, &["endpoints"]).len();
    if endpoints > MOST.0 {
        return errors.too_many(&at, endpoints, MOST.0);
    }
    let kind = object::text(slice, &["addressType"]);
    for (index, endpoint) in objects(slice, &["endpoints"]).enumerate() {
        let path = at.index(index);
        let addresses = object::list(endpoint, &["addresses"]);
        let addresses_at = path.child("addresses");
        if addresses.is_empty() {
            errors.required(&addresses_at, "must contain at least 1 address");
        } else if addresses.len() > MOST.2 {
            errors.too_many(&addresses_at, addresses.len(), MOST.2);
        }
        for (index, text) in addresses.iter().enumerate() {
            let text = text.as_str().unwrap_or_default();
            check_slice_address(text, kind, &addresses_at, index, errors);
        }
        check_node(endpoint, &path, errors);
        if let Some(host) = endpoint.get("hostname").and_then(Value::as_str) {
            complain(&names::dns_label(host), &path.child("hostname"), host, errors);
        }
        check_hints(endpoint, &path.child("hints"), errors);
    }
}

fn check_slice_ports(slice: &Object, at: &Path, errors: &mut FieldErrors) {
    let ports = object::list(slice, &["ports"]).len();
    if ports > MOST.1 {
        return errors.too_many(at, ports, MOST.1);
    }
    let mut seen = BTreeSet::new();
    for (index, port) in objects(slice, &["ports"]).enumerate() {
        let path = at.index(index);
        let name = object::text(port, &["name"]);
        if !name.is_empty() {
            complain(&names::dns_label(name), &path.child("name"), name, errors);
        }
        if !seen.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
        choose(port, "protocol", PROTOCOLS, &path, errors);
        check_app_protocol(port, &path, errors);
    }
}

fn check_slice_address(text: &str, kind: &str, at: &Path, index: usize, errors: &mut FieldErrors) {
    let path = at.index(index);
    let before = errors.0.len();
    match kind {
        "IPv4" | "IPv6" => {
            address::check(text, &path, errors);
            let canonical = address::parse(text).map(|ip| ip.to_string());
            if kind == "IPv6"
                && errors.0.len() == before
                && let Some(canonical) = canonical.filter(|it| it != text)
            {
                let detail = format!("must be in canonical form (\"{canonical}\")");
                errors.invalid(&path, text, detail);
            }
            if errors.0.len() == before {
                let family = address::parse(text).is_some_and(|ip| ip.is_ipv4());
                if family != (kind == "IPv4") {
                    errors.invalid(at, text, format!("must be an {kind} address"));
                }
                address::check_endpoint(text, &path, errors);
            }
        }
        "FQDN" => {
            let name = text.strip_suffix('.').unwrap_or(text);
            let faults = names::dns_subdomain(name);
            if name.is_empty() {
                errors.required(&path, "");
            } else if !faults.is_empty() {
                errors.invalid(&path, name, faults.join(","));
            } else if !name.contains('.') {
                let detail = "should be a domain with at least two segments separated by dots";
                errors.invalid(&path, name, detail);
            }
        }
        _ => {}
    }
}

fn check_hints(endpoint: &Object, path: &Path, errors: &mut FieldErrors) {
    type Rule = fn(&str) -> Vec<String>;
    let rules: [(&str, Rule); 2] =
        [("forZones", names::label_value), ("forNodes", names::dns_subdomain)];
    for (list, rule) in rules {
        let at = path.child(list);
        let length = object::list(endpoint, &["hints", list]).len();
        if length > MOST.3 {
            return errors.too_many(&at, length, MOST.3);
        }
        let mut seen = BTreeSet::new();
        for (index, hint) in objects(endpoint, &["hints", list]).enumerate() {
            let (name, path) = (object::text(hint, &["name"]), at.index(index).child("name"));
            if !seen.insert(name) {
                errors.duplicate(&path, name);
            }
            complain(&rule(name), &path, name, errors);
        }
    }
}

/// What the addresses of a slice are stays.
pub(super) fn validate_slice_update(new: &Object, old: &Object, errors: &mut FieldErrors) {
    let kind = |slice| object::text(slice, &["addressType"]);
    if kind(new) != kind(old) {
        errors.invalid(&Path::new("addressType"), kind(new), IMMUTABLE);
    }
}

/// Who writes endpoints says so in a label; controllers write addresses in the one way.
fn is_by_a_controller(object: &Object, label: &str) -> bool {
    let by = object::text(object, &["metadata", "labels", label]);
    [
        "endpoint-controller",
        "endpointslice-controller.k8s.io",
        "endpointslicemirroring-controller.k8s.io",
    ]
    .contains(&by)
}

/// Warns of addresses that others may read in another way.
pub(super) fn warnings(endpoints: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    if is_by_a_controller(endpoints, "endpoints.kubernetes.io/managed-by") {
        return warnings;
    }
    for (index, subset) in objects(endpoints, &["subsets"]).enumerate() {
        for list in ["addresses", "notReadyAddresses"] {
            for (place, it) in objects(subset, &[list]).enumerate() {
                let path = Path::new("subsets").index(index).child(list).index(place).child("ip");
                warnings.extend(address::warning(object::text(it, &["ip"]), &path));
            }
        }
    }
    warnings
}

/// The same for slices, and of what they are slices of.
pub(super) fn slice_warnings(slice: &Object, old: Option<&Object>) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none() && object::text(slice, &["addressType"]) == "FQDN" {
        warnings.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
    }
    if is_by_a_controller(slice, "endpointslice.kubernetes.io/managed-by") {
        return warnings;
    }
    for (index, endpoint) in objects(slice, &["endpoints"]).enumerate() {
        for (place, text) in object::list(endpoint, &["addresses"]).iter().enumerate() {
            let path = Path::new("endpoints").index(index).child("addresses").index(place);
            warnings.extend(address::warning(text.as_str().unwrap_or_default(), &path));
        }
    }
    warnings
}
