//! Where a service's pods are: endpoints, and their slices.

use serde_json::Value;

use super::columns::{self, AGE, NAME, age, count, name, text};
use super::tree::{each, fill, have};
use super::{Kind, PLAIN, endpoints_checks};
use crate::object::{self, Object};

pub(super) const ENDPOINTS: Kind = Kind {
    kind: "Endpoints",
    resource: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    stored_under: "services/endpoints",
    columns: &[NAME, text("Endpoints", "The addresses that answer."), AGE],
    cells: |object, now| vec![name(object), addresses(object).into(), age(object, now)],
    default: |object| {
        each(object, &["subsets"], |subset| {
            each(subset, &["ports"], |port| fill(port, "protocol", "TCP"));
        });
    },
    validate: endpoints_checks::validate,
    warnings: |endpoints, _| endpoints_checks::warnings(endpoints),
    deprecation: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    create_on_update: true,
    ..PLAIN
};

pub(super) const ENDPOINT_SLICES: Kind = Kind {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    resource: "endpointslices",
    singular: "endpointslice",
    stored_under: "endpointslices",
    columns: &[
        NAME,
        text("AddressType", "What the addresses are."),
        text("Ports", "The ports of each of them."),
        text("Endpoints", "The addresses that answer."),
        AGE,
    ],
    cells: slice_cells,
    default: |slice| {
        each(slice, &["ports"], |port| {
            object::set_default(port, &["name"], "");
            object::set_default(port, &["protocol"], "TCP");
        });
        each(slice, &["endpoints"], |endpoint| have(endpoint, "conditions"));
    },
    has_generation: true,
    counts_change: slice_changed,
    validate: endpoints_checks::validate_slice,
    warnings: endpoints_checks::slice_warnings,
    validate_update: endpoints_checks::validate_slice_update,
    ..PLAIN
};

/// Every ready address with every port; without ports, the addresses.
fn addresses(endpoints: &Object) -> String {
    let mut all = Vec::new();
    for subset in objects(object::list(endpoints, &["subsets"])) {
        let ips =
            || objects(object::list(subset, &["addresses"])).map(|it| object::text(it, &["ip"]));
        let ports = object::list(subset, &["ports"]);
        if ports.is_empty() {
            all.extend(ips().map(str::to_owned));
        }
        for port in objects(ports) {
            let port = count(port, &["port"]);
            all.extend(ips().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{port}"),
                false => format!("{ip}:{port}"),
            }));
        }
    }
    if object::list(endpoints, &["subsets"]).is_empty() {
        return "<none>".to_owned();
    }
    if all.is_empty() { String::new() } else { columns::first_of(&all) }
}

fn slice_cells(slice: &Object, now: i64) -> Vec<Value> {
    let ports: Vec<String> = objects(object::list(slice, &["ports"]))
        .map(|port| match (object::number(port, &["port"]), port.get("name")) {
            (Some(number), _) => number.to_string(),
            (None, Some(Value::String(name))) => name.clone(),
            _ => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> = objects(object::list(slice, &["endpoints"]))
        .flat_map(|endpoint| object::list(endpoint, &["addresses"]))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    vec![
        name(slice),
        object::text(slice, &["addressType"]).into(),
        columns::first_of(&ports).into(),
        columns::first_of(&addresses).into(),
        age(slice, now),
    ]
}

fn objects(list: &[Value]) -> impl Iterator<Item = &Object> {
    list.iter().filter_map(Value::as_object)
}

/// Everything counts, of the metadata only labels.
fn slice_changed(new: &Object, old: &Object) -> bool {
    let labels = |slice| object::map(slice, &["metadata", "labels"]).cloned().unwrap_or_default();
    let content = ["addressType", "endpoints", "ports"];
    labels(new) != labels(old) || content.iter().any(|field| new.get(*field) != old.get(*field))
}
